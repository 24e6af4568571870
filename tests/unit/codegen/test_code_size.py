"""The estimate of code has a number for each driver; builds elsewhere compare the sums with the linker's figures."""

from __future__ import annotations

import pytest

from edgelearn.board import Core, Output, board_names, drivers, load_board
from edgelearn.codegen.code_size import AVR, GNU, ZIG, Measured, code_bytes


@pytest.mark.parametrize("measured", [GNU, ZIG], ids=["gnu", "zig"])
def test_every_driver_was_measured(measured: Measured) -> None:
    processors = {name for name in drivers.driver_names() if name.endswith(".c") and not name.startswith("host_")}
    assert set(measured.drivers) == processors - set(AVR.drivers)


def test_every_driver_of_a_sketch_was_measured() -> None:
    boards = [load_board(name) for name in board_names()]
    sketches = [board for board in boards if board.core is Core.AVR and board.keeps(Output.ARDUINO)]
    assert {board.nvm.source for board in sketches if board.nvm} == set(AVR.drivers)


def size(board: str = "netduinoplus2", output: Output = Output.BARE_METAL, **asked: bool) -> int:
    wanted = {"trains": False, "keeps": False, "senses": False} | asked
    return code_bytes(GNU, load_board(board), output, (), steps=1, **wanted)


def test_more_is_larger() -> None:
    assert size() < size(trains=True) < size(trains=True, keeps=True) < size(trains=True, keeps=True, senses=True)
    assert size(output=Output.LIBRARY) < size()
