"""The board that CONTRIBUTING.md shows: its one file is enough to list it, to show it and to build for it."""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from elftools.elf.elffile import ELFFile

from edgelearn import convert, pipeline, resources
from edgelearn.board import Board, MemoryKind, Output, board_names, load_board
from edgelearn.board.words import page
from edgelearn.cli import main
from tests.support.bundles import write_model
from tests.support.tools import OPTIONAL, require_toolchain
from tests.unit import test_board, test_board_facts

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """The board of the page, in a boards folder beside all others."""
    (text,) = re.findall(r"^```toml\n(.*?)^```$", CONTRIBUTING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    name = re.search(r'^name = "(\w+)"$', text, re.MULTILINE)
    assert name
    assert name.group(1) not in board_names(), "it would show nothing new"
    assert f"as `boards/{name.group(1)}.toml`" in CONTRIBUTING.read_text(encoding="utf-8")
    drivers = re.findall(r'"(\w+\.[ch])"', text)
    missing = [driver for driver in drivers if not (resources.firmware_folder() / "port" / driver).is_file()]
    if missing:
        pytest.skip(f"{OPTIONAL}{', '.join(missing)} are still to come")
    folder = tmp_path / "boards"
    shutil.copytree(resources.boards_folder(), folder)
    (folder / f"{name.group(1)}.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(resources, "boards_folder", lambda: folder)
    return load_board(name.group(1))


def test_it_is_listed_and_shown(board: Board) -> None:
    assert board.name in board_names()
    shown = page([load_board(name) for name in board_names()])
    assert f"| [{board.name}](#{board.name}) | {board.chip} |" in shown
    assert f"\n## {board.name}\n\n{board.title}: " in shown
    assert board.name in CliRunner().invoke(main, ["boards"]).output
    assert board.title in CliRunner().invoke(main, ["boards", board.name]).output


def test_no_other_file_knows_it_and_no_test_minds(board: Board) -> None:
    test_board.test_no_board_or_chip_is_named_in_python_or_c()
    test_board.test_every_board_is_valid(board.name)
    test_board_facts.test_usb_identifiers_are_plausible(board)
    test_board_facts.test_every_bootloader_in_flash_is_kept(board)
    test_board_facts.test_arduino_and_micropython_agree_with_the_board(board)
    test_board_facts.test_stacks_and_serial_lines(board)


@pytest.mark.parametrize("toolchain", ["gnu", "zig"])
def test_it_is_built(board: Board, toolchain: str, tmp_path: Path) -> None:
    require_toolchain(toolchain, board.name)
    assert Output.BARE_METAL in board.outputs
    project = tmp_path / "firmware"
    bundle = convert.convert_model(write_model(tmp_path / "small.tflite"))
    pipeline.generate(bundle, board, project)
    built = pipeline.build(project, toolchain=toolchain)
    assert built.board == board
    regions = {memory.kind: memory for memory in board.memory}
    with built.image.open("rb") as file:
        loaded = [part for part in ELFFile(file).iter_segments() if part["p_type"] == "PT_LOAD" and part["p_filesz"]]
        stack_end, reset = struct.unpack("<2I", min(loaded, key=lambda part: part["p_paddr"]).data()[:8])
    flash, ram = regions[MemoryKind.FLASH], regions[MemoryKind.RAM]
    assert {flash.origin <= part["p_paddr"] < flash.end for part in loaded} == {True}
    assert min(part["p_paddr"] for part in loaded) == flash.origin
    assert stack_end == ram.end
    assert reset % 2 == 1
    assert flash.origin <= reset < flash.end
