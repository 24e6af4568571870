"""docs/boards.md says what the board files say."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from edgelearn.board import Board, MemoryKind, board_names, load_board
from edgelearn.board.ways import method_of
from edgelearn.board.words import memory_map, page, size_words

PAGE = Path(__file__).parents[2] / "docs" / "boards.md"
BOARDS = [load_board(name) for name in board_names()]


def test_the_page_of_boards_is_true(update_golden: bool) -> None:
    text = page(BOARDS)
    if update_golden:
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_page_has_what_a_person_looks_for(board: Board) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"| [{board.name}](#{board.name}) | {board.chip} |" in text
    section = text.split(f"\n## {board.name}\n")[1].split("\n## ")[0]
    for wanted in (board.title, *board.sources, *(kept.holder for kept in board.kept), *map(method_of, board.flash)):
        assert wanted in section
    for usb in board.usb:
        assert f"{usb.vid:04x}:{usb.pid:04x} {usb.mode.value}" in section
        for prefix in usb.serial_prefixes:
            assert f"{prefix}..." in section
    if board.uart:
        assert board.uart.tx in section
        assert board.uart.rx in section


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_memory_map_has_every_byte_once(board: Board) -> None:
    stretches = memory_map(board)
    for one, other in itertools.pairwise(stretches):
        assert one.end <= other.origin
    named = sum(kept.size_bytes for kept in board.kept) + (board.nvm.size_bytes if board.nvm else 0)
    usable = sum(board.size_bytes(kind) for kind in MemoryKind)
    assert sum(part.size_bytes for part in stretches) == named + usable


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (2048, "2 KiB"),
        (1536, "1.5 KiB"),
        (0xC3000, "780 KiB"),
        (1 << 20, "1 MiB"),
        (1310720, "1,280 KiB"),
        (700, "700 bytes"),
    ],
)
def test_sizes(size_bytes: int, words: str) -> None:
    assert size_words(size_bytes) == words
