"""The store of what was learned compiles without a warning for every core."""

from __future__ import annotations

import subprocess

import pytest

from edgelearn import resources
from edgelearn.board import COMPILE_FLAGS, COMPILERS, Core, load_board
from edgelearn.codegen.board_files import board_files
from tests.support.tools import require_tool


@pytest.mark.parametrize("core", [core for core in COMPILERS if core is not Core.HOST], ids=lambda core: core.value)
def test_the_store_compiles_for_every_core(core, tmp_path):
    flags = COMPILERS[core]
    require_tool(flags.program)
    board = load_board("netduinoplus2")
    files = board_files(board, runtime_sources=[], generated_sources=[], baud=9600, ring_bytes=64)
    (tmp_path / "elearn_board.h").write_text(files["src/elearn_board.h"])
    runtime = resources.firmware_folder() / "runtime"
    argv = [flags.program, *flags.gnu, "-O2", *COMPILE_FLAGS, f"-I{tmp_path}", f"-I{runtime}", "-fsyntax-only"]
    done = subprocess.run([*argv, str(runtime / "elearn_store.c")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
