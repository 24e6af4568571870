"""Finds boards/, templates/ and the device code, in a checkout or an installed wheel, from any working directory."""

from __future__ import annotations

import os
from pathlib import Path

#: The environment variable with the folders of somebody's own board files.
OWN_BOARDS = "EDGELEARN_BOARDS"
_PACKAGE = Path(__file__).resolve().parent


def _data_folder(name: str) -> Path:
    installed = _PACKAGE / "_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def boards_folder() -> Path:
    """The folder of board files, one TOML each."""
    return _data_folder("boards")


def own_boards_folders() -> tuple[Path, ...]:
    """Folders of somebody's own board files, which come before ours: those that EDGELEARN_BOARDS names."""
    named = os.environ.get(OWN_BOARDS, "").split(os.pathsep)
    # Unlike Path.expanduser() it leaves a user as it is whom nobody knows.
    return tuple(Path(os.path.expanduser(folder)) for folder in named if folder)  # noqa: PTH111


def templates_folder() -> Path:
    """The folder of Jinja2 templates."""
    return _data_folder("templates")


def pages_folder() -> Path:
    """The folder of the HTML pages' templates and styles."""
    return _PACKAGE / "host" / "pages"


def firmware_folder() -> Path:
    """The folder with the static device code: `runtime/` (portable) and `port/` (one driver per peripheral family)."""
    return _PACKAGE / "firmware"
