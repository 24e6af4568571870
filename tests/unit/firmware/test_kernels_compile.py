"""Every kernel compiles for every core without a warning, whichever of them a model uses."""

from __future__ import annotations

import subprocess

import pytest

from edgelearn import resources
from edgelearn.board import COMPILE_FLAGS, COMPILERS
from tests.support.tools import require_tool


@pytest.mark.parametrize("core", COMPILERS, ids=lambda core: core.value)
def test_kernels_compile(core):
    flags = COMPILERS[core]
    require_tool(flags.program)
    folder = resources.firmware_folder() / "runtime"
    kernels = sorted(str(path) for path in folder.glob("elearn_*_s8.c"))
    assert kernels
    argv = [flags.program, *flags.gnu, "-O2", *COMPILE_FLAGS, f"-I{folder}", "-fsyntax-only", *kernels]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
