"""The estimate of code has a number for each driver; builds elsewhere compare the sums with the linker's figures."""

from __future__ import annotations

import pytest

from edgelearn.board import Output, drivers, load_board
from edgelearn.codegen.code_size import GNU, ZIG, Measured, code_bytes


@pytest.mark.parametrize("measured", [GNU, ZIG], ids=["gnu", "zig"])
def test_every_driver_was_measured(measured: Measured) -> None:
    processors = {name for name in drivers.driver_names() if name.endswith(".c") and not name.startswith("host_")}
    assert set(measured.drivers) == processors


def size(board: str = "netduinoplus2", output: Output = Output.BARE_METAL, **asked: bool) -> int:
    wanted = {"trains": False, "keeps": False, "senses": False} | asked
    return code_bytes(GNU, load_board(board), output, (), steps=1, **wanted)


def test_more_is_larger() -> None:
    assert size() < size(trains=True) < size(trains=True, keeps=True) < size(trains=True, keeps=True, senses=True)
    assert size(output=Output.LIBRARY) < size()
