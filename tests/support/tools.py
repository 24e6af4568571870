"""Tools that a test needs: without one it skips and names it; where every test must run (CI) it fails instead."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest


def _strict() -> bool:
    return os.environ.get("CI") == "true" or os.environ.get("EDGELEARN_REQUIRE_TOOLS") == "1"


def require_tool(name: str) -> None:
    """Go on only if there is a program of that name on PATH, or else a Python package of that name."""
    if shutil.which(name) is not None or (name.isidentifier() and importlib.util.find_spec(name) is not None):
        return
    if _strict():
        pytest.fail(f"{name} is not installed, and this test must run here", pytrace=False)
    pytest.skip(f"{name} is not installed")


def require_toolchain(toolchain: str, board: str) -> None:
    """Go on only if the compiler of that toolchain for that board is there."""
    require_tool("ziglang" if toolchain == "zig" else "cc" if board == "host" else "arm-none-eabi-gcc")
