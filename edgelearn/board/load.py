"""Boards by name or file: read, converted strictly, checked."""

from __future__ import annotations

import difflib
import functools
import sys
import warnings
from pathlib import Path

import msgspec

from edgelearn import resources
from edgelearn.board.checks import first_fault
from edgelearn.board.parts import Board
from edgelearn.board.wrong_value import hint, plain_words
from edgelearn.errors import BoardFileError, UnknownBoardError, reason

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class BoardFileWarning(UserWarning):
    """A board file is not valid; commands that do not need that board go on."""


def load_board_file(path: Path) -> Board:
    """Load and validate one board file.

    Raises:
        BoardFileError: the file cannot be read, is no TOML, or breaks the schema; what is not known is named with what
            was probably meant, or with all that is.
    """
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise BoardFileError(
            f"{path} cannot be read",
            cause=f"it is not in UTF-8: the byte {error.start + 1:,} is 0x{error.object[error.start]:02X}",
            hint="save it as UTF-8 text",
        ) from error
    except OSError as error:
        cause = "it is a folder" if path.is_dir() else reason(error)
        raise BoardFileError(f"{path} cannot be read", cause=cause) from error
    except tomllib.TOMLDecodeError as error:
        raise BoardFileError(f"{path} is not valid TOML", cause=str(error)) from error
    try:
        board = msgspec.convert(read, Board, strict=True)
    except msgspec.ValidationError as error:
        cause = str(error)
        raise BoardFileError(
            f"{path} is not a valid board file", cause=plain_words(cause), hint=hint(cause, read)
        ) from error
    fault = first_fault(board, path)
    if fault is not None:
        raise BoardFileError(f"{path} is not a valid board file", cause=fault.cause, hint=fault.hint)
    return board


def board_names() -> tuple[str, ...]:
    """The names of all boards that can be used, sorted.

    Each file that is not valid is left out with a BoardFileWarning: only who asks for that board minds.

    Raises:
        BoardFileError: a folder of somebody's own is not there.
    """
    return tuple(name for name, path in _files().items() if _is_valid(path))


def load_board(name: str) -> Board:
    """Load a board by name.

    Raises:
        UnknownBoardError: there is no such board; names the closest.
        BoardFileError: its file is not valid, or a folder of somebody's own is not there.
    """
    files = _files()
    if name not in files:
        raise _unknown(name, tuple(files))
    return _load(files[name])


def _unknown(name: str, names: tuple[str, ...]) -> UnknownBoardError:
    """What to tell somebody who named a board that does not exist."""
    if name.endswith(".toml") or "/" in name or "\\" in name:
        stem = Path(name.replace("\\", "/")).stem
        return UnknownBoardError(
            f"a board is named, not given as a file such as {name}",
            cause=f"board files lie in {resources.boards_folder()} and where {resources.OWN_BOARDS} says",
            hint=f"give the name, {stem}"
            if stem in names
            else f"set {resources.OWN_BOARDS} to the file's folder, then the board's name is {stem}",
        )
    lower = {known.lower(): known for known in names}
    close = [lower[one] for one in difflib.get_close_matches(name.lower(), lower, n=3)]
    told = f"did you mean {' or '.join(f'`{one}`' for one in close)}?" if close else "`edgelearn boards` lists them"
    return UnknownBoardError(
        f"there is no board {name}",
        hint=f"{told}\n{resources.OWN_BOARDS} names the folder of a board file of your own",
    )


def _files() -> dict[str, Path]:
    """The file of each board, by name, sorted; of two the one that is somebody's own.

    Raises:
        BoardFileError: a folder of somebody's own is not there.
    """
    own = resources.own_boards_folders()
    for folder in own:
        if not folder.is_dir():
            raise BoardFileError(
                f"{folder} is no folder of board files",
                cause=f"it does not exist, or is no folder, and {resources.OWN_BOARDS} names it",
                hint=f"set {resources.OWN_BOARDS} to the folders of your own board files, or leave it unset",
            )
    found: dict[str, Path] = {}
    for folder in (*own, resources.boards_folder()):
        for path in folder.glob("*.toml"):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def _load(path: Path) -> Board:
    try:
        found = path.stat()
    except OSError:
        return load_board_file(path)
    board = _load_once(path, found.st_mtime_ns, found.st_size)
    if isinstance(board, BoardFileError):
        raise board.with_traceback(None)
    return board


@functools.cache
def _load_once(path: Path, changed_ns: int, size_bytes: int) -> Board | BoardFileError:
    """The board of a file that has not changed since, or what is wrong with it.

    Commands that look through all boards do so several times.
    """
    try:
        return load_board_file(path)
    except BoardFileError as error:
        return error


def _is_valid(path: Path) -> bool:
    try:
        _load(path)
    except BoardFileError as error:
        why = " ".join(error.cause.split())
        warnings.warn(f"{error.message}, and is left out: {why}", BoardFileWarning, stacklevel=3)
        return False
    return True
