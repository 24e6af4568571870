"""Tools that a test needs: without one it skips and names it; where every test must run (CI) it fails instead.

That a skip fails in CI is seen to in tests/conftest.py, for every test; what may be absent there too says so by
starting its reason with OPTIONAL.
"""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

#: Starts the reason of a skip that is no failure in CI either.
OPTIONAL = "optional: "


def is_strict() -> bool:
    """Whether every test must run."""
    return os.environ.get("CI") == "true" or os.environ.get("EDGELEARN_REQUIRE_TOOLS") == "1"


def require_tool(name: str) -> None:
    """Go on only if there is a program of that name on PATH."""
    if name == "cc" and os.name == "nt":
        pytest.skip(f"{OPTIONAL}the board `host` needs POSIX sockets")
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")


def require_browser() -> tuple[str, str]:
    """Go on only if there is a Chromium or Chrome with its driver; their paths."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed")
    return browser, driver


def require_package(name: str) -> None:
    """Go on only if there is a Python package of that name."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"the Python package {name} is not installed")


def optional_tool(name: str) -> None:
    """Go on only if there is a program of that name; it is a second opinion, which CI may lack too."""
    if shutil.which(name) is None:
        pytest.skip(f"{OPTIONAL}{name} is not installed")


def require_toolchain(toolchain: str, board: str) -> None:
    """Go on only if the compiler of that toolchain for that board is there."""
    if toolchain == "zig":
        require_package("ziglang")
    else:
        require_tool("cc" if board == "host" else "arm-none-eabi-gcc")
