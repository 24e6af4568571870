"""Boards by name or file: read, converted strictly, checked."""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path

import msgspec

from edgelearn import resources
from edgelearn.board import parts, ways
from edgelearn.board.checks import problem
from edgelearn.board.parts import Board
from edgelearn.errors import BoardFileError, UnknownBoardError, reason

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load_board_file(path: Path) -> Board:
    """Load and validate one board file.

    Raises:
        BoardFileError: the file cannot be read, is no TOML, or breaks the schema; an unknown key is named with the
            key that was probably meant.
    """
    try:
        board = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Board, strict=True)
    except (OSError, UnicodeDecodeError) as error:
        raise BoardFileError(f"{path} cannot be read", cause=reason(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise BoardFileError(f"{path} is not valid TOML", cause=str(error)) from error
    except msgspec.ValidationError as error:
        raise BoardFileError(
            f"{path} is not a valid board file", cause=str(error), hint=_did_you_mean(str(error))
        ) from error
    wrong = problem(board, path)
    if wrong:
        raise BoardFileError(f"{path} is not a valid board file", cause=wrong)
    return board


def _did_you_mean(message: str) -> str:
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if not unknown:
        return ""
    known = {field for part in _structs() for field in part.__struct_fields__}
    close = difflib.get_close_matches(unknown.group(1), sorted(known), n=1)
    return f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(sorted(known))}"


def _structs() -> list[type[msgspec.Struct]]:
    """The schema's structs: each part of a board file, and each way to flash."""
    found = [*vars(parts).values(), *vars(ways).values()]
    return [one for one in found if isinstance(one, type) and issubclass(one, msgspec.Struct)]


def board_names() -> tuple[str, ...]:
    """The names of all boards, sorted."""
    return tuple(sorted(path.stem for path in resources.boards_folder().glob("*.toml")))


def load_board(name: str) -> Board:
    """Load a board by name.

    Raises:
        UnknownBoardError: there is no such board; names the closest.
        BoardFileError: its file is not valid.
    """
    names = board_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        raise UnknownBoardError(
            f"there is no board {name}",
            cause=f"known boards: {', '.join(names)}",
            hint=f"did you mean `{close[0]}`?" if close else "`edgelearn boards` lists them",
        )
    return load_board_file(resources.boards_folder() / f"{name}.toml")
