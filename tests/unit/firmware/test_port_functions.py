"""Every board gives what elearn_port.h asks of it, also what only some projects call, such as those with a sensor."""

from __future__ import annotations

import re

import pytest

from edgelearn import resources
from edgelearn.board import Board, Core, Output, board_names, load_board

_DECLARED = re.compile(r"^[\w *]+?\b(elearn_port_\w+)\([^)]*\);", re.MULTILINE)
_DEFINED = re.compile(r"^[\w *\"]+?\b(elearn_port_\w+)\([^)]*\)\n\{", re.MULTILINE)


def text(path: str) -> str:
    return (resources.firmware_folder() / path).read_text(encoding="utf-8")


def declared() -> set[str]:
    return set(_DECLARED.findall(text("runtime/elearn_port.h")))


#: Those of a processor; the one on this machine has its sockets instead.
BARE_METAL = [b for b in map(load_board, board_names()) if Output.BARE_METAL in b.outputs and b.core is not Core.HOST]


@pytest.mark.parametrize("board", BARE_METAL, ids=lambda board: board.name)
def test_the_drivers_of_a_board_define_each_function_once(board: Board) -> None:
    found = [name for source in board.port.sources for name in _DEFINED.findall(text(f"port/{source}"))]
    assert sorted(found) == sorted(declared())


def test_an_arduino_sketch_defines_each_function() -> None:
    assert set(_DEFINED.findall(text("arduino/elearn_arduino.cpp"))) == declared()
