"""Every board with bare-metal firmware: a small model builds for it with both compilers, as the plan says.

`edgelearn build` itself compares each buffer and constant with the linker's figures; here is looked at what it does
not: where the image lies and where its vectors lead. A file with the same text, headers and flags is compiled once for
all boards.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from edgelearn import pipeline, process
from edgelearn.board import Board, Core, MemoryKind, Output, board_names, load_board
from edgelearn.bundle import Bundle
from edgelearn.firmware.toolchain import TOOLCHAINS
from tests.support.bundles import write_model
from tests.support.tools import require_toolchain

BOARDS = [
    name
    for name in board_names()
    if Output.BARE_METAL in load_board(name).outputs and load_board(name).core is not Core.HOST
]
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small model whose head learns."""
    folder = tmp_path_factory.mktemp("bundle")
    return pipeline.convert(write_model(folder / "small.tflite"), folder / "small.elb")


class Objects:
    """Takes the place of `process.run`: what was compiled before is copied."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run = process.run

    def __call__(self, argv: Sequence[str], *, cwd: Path | None = None, **options: Any) -> str:
        if cwd is None or "-c" not in argv:
            return self._run(argv, cwd=cwd, **options)
        target = cwd / argv[argv.index("-o") + 1]
        key = hashlib.sha256(repr((argv, self._texts(cwd, cwd / argv[-1]))).encode()).hexdigest()
        kept = self._folder / key
        if not kept.is_dir():
            said = self._run(argv, cwd=cwd, **options)
            kept.mkdir()
            for made in (target, target.with_suffix(".su")):
                if made.exists():
                    shutil.copy(made, kept)
            return said
        target.parent.mkdir(parents=True, exist_ok=True)
        for made in kept.iterdir():
            shutil.copy(made, target.parent)
        return ""

    def _texts(self, project: Path, source: Path) -> dict[str, str]:
        """The source and all headers of the project that it includes, directly or not."""
        found: dict[str, str] = {}
        waiting = [source]
        while waiting:
            path = waiting.pop()
            if path.name not in found:
                found[path.name] = path.read_text()
                named = [*_INCLUDE.findall(found[path.name])]
                waiting += [p for name in named for p in project.glob(f"*/{name}")]
        return found


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return Objects(tmp_path_factory.mktemp("objects"))


def vector_words(board: Board) -> int:
    return 16 + board.port.interrupt_count


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize("name", BOARDS)
def test_it_builds(
    name: str, toolchain: str, bundle: Bundle, objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_toolchain(toolchain, name)
    board = load_board(name)
    pipeline.generate(bundle, board, tmp_path)
    monkeypatch.setattr(process, "run", objects)
    built = pipeline.build(tmp_path, toolchain=toolchain)
    assert built.stack is not None
    assert built.stack.size_bytes is not None
    project = built.project
    estimated = project.zig_code_estimate_bytes if toolchain == "zig" else project.code_estimate_bytes
    linked = built.flash_bytes - project.constants_bytes
    assert abs(estimated - linked) < 0.1 * linked, "what was said before the build is within 10 %"
    flash = next(memory for memory in board.memory if memory.kind is MemoryKind.FLASH)
    ram = next(memory for memory in board.memory if memory.kind is MemoryKind.RAM)
    with built.result.elf.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        symbols = {symbol.name: int(symbol["st_value"]) for symbol in table.iter_symbols()}
        loaded = [s for s in elf.iter_segments("PT_LOAD") if s["p_filesz"]]
        for segment in loaded:
            first = segment["p_paddr"]
            assert flash.origin <= first < first + segment["p_filesz"] <= flash.origin + board.usable_bytes(flash)
            for kept in board.kept:
                assert first >= kept.end or first + segment["p_filesz"] <= kept.origin, kept.holder
        at_origin = next(s for s in loaded if s["p_paddr"] <= flash.origin < s["p_paddr"] + s["p_filesz"])
        data = at_origin.data()[flash.origin - at_origin["p_paddr"] :]
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, 4 * vector_words(board), 4)]
    # The processor, or a bootloader, finds stack and entry at the beginning; what VTOR takes is aligned to its size.
    assert symbols["elearn_vectors"] == flash.origin
    assert flash.origin % (1 << (4 * vector_words(board) - 1).bit_length()) == 0
    assert words[0] == symbols["elearn_stack_end"] == ram.end
    assert words[1] == symbols["elearn_reset_handler"] | 1
    assert words[3] == symbols["elearn_fault_handler"] | 1
    for interrupt in board.port.interrupts:
        assert words[16 + interrupt.number] == symbols[interrupt.handler] | 1
    if board.nvm and board.nvm.nmi_handler:
        assert words[2] == symbols[board.nvm.nmi_handler] | 1
    # What outlives a reset lies between bss and stack.
    assert symbols["elearn_bss_end"] <= symbols["elearn_kept"] < symbols["elearn_stack_begin"]


@pytest.mark.parametrize("name", BOARDS)
def test_its_watchdog_has_patience(name: str) -> None:
    """Longer than erasing all pages, even where its oscillator runs at 47 kHz rather than 32, as data sheets allow."""
    board = load_board(name)
    patience_ms = board.port.defines.get("ELEARN_WATCHDOG_MS")
    if patience_ms is None:
        assert "no_watchdog.c" in board.port.sources
        return
    assert board.nvm is not None
    assert board.nvm.pages * board.nvm.erase_ms < patience_ms * 32 / 47 / 2
