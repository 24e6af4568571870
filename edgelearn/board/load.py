"""Boards by name or file: read, converted strictly, checked."""

from __future__ import annotations

import difflib
import enum
import functools
import re
import sys
import types
import typing
import warnings
from pathlib import Path
from typing import Any

import msgspec

from edgelearn import resources
from edgelearn.board.checks import first_fault, meant
from edgelearn.board.parts import Board
from edgelearn.board.wrong_value import example, plain_words
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
            f"{path} is not a valid board file", cause=plain_words(cause), hint=_hint(cause, read)
        ) from error
    fault = first_fault(board, path)
    if fault is not None:
        raise BoardFileError(f"{path} is not a valid board file", cause=fault.cause, hint=fault.hint)
    return board


def board_names() -> tuple[str, ...]:
    """The names of all boards that can be used, sorted.

    Each file that is not valid is left out with a BoardFileWarning: only who asks for that board minds.
    """
    return tuple(name for name in _file_names() if _is_valid(name))


def load_board(name: str) -> Board:
    """Load a board by name.

    Raises:
        UnknownBoardError: there is no such board; names the closest.
        BoardFileError: its file is not valid.
    """
    names = _file_names()
    if name not in names:
        raise _unknown(name, names)
    return _load(name)


def _unknown(name: str, names: tuple[str, ...]) -> UnknownBoardError:
    """What to tell somebody who named a board that does not exist."""
    if name.endswith(".toml") or "/" in name or "\\" in name:
        stem = Path(name.replace("\\", "/")).stem
        return UnknownBoardError(
            f"a board is named, not given as a file such as {name}",
            cause=f"board files lie in {resources.boards_folder()}",
            hint=f"give the name, {stem}" if stem in names else f"put the file there, then the board's name is {stem}",
        )
    lower = {known.lower(): known for known in names}
    close = [lower[one] for one in difflib.get_close_matches(name.lower(), lower, n=3)]
    return UnknownBoardError(
        f"there is no board {name}",
        hint=f"did you mean {' or '.join(f'`{one}`' for one in close)}?" if close else "`edgelearn boards` lists them",
    )


def _file_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in resources.boards_folder().glob("*.toml")))


def _load(name: str) -> Board:
    path = resources.boards_folder() / f"{name}.toml"
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


def _is_valid(name: str) -> bool:
    try:
        _load(name)
    except BoardFileError as error:
        why = " ".join(error.cause.split())
        warnings.warn(f"{error.message}, and is left out: {why}", BoardFileWarning, stacklevel=3)
        return False
    return True


def _hint(cause: str, read: dict[str, Any]) -> str:
    """What the schema has in the place where the file does not agree with it; empty where nothing could help.

    Args:
        cause: what msgspec says, such as "Object contains unknown field `x` - at `$.flash[0]`".
        read: the whole file.
    """
    found = re.search(r" - at `\$(.*)`$", cause)
    place = found.group(1) if found else ""
    kind, value = _at(place, read)
    missing = re.search(r"missing required field `([^`]+)`", cause)
    unknown = re.search(r"unknown field `([^`]+)`", cause)
    wrong = re.search(r"[Ii]nvalid (?:enum )?value '([^']*)'", cause)
    if unknown:
        name = unknown.group(1)
        keys = sorted(set(kind.__struct_fields__) | ({"method"} if kind.__struct_config__.tag else set()))
        if place and name in Board.__struct_fields__ and not difflib.get_close_matches(name, keys, n=1):
            return f"`{name}` belongs before the first [section]"
        return meant(name, keys, "known keys")
    if wrong and place.endswith(".method"):
        return meant(wrong.group(1), _ways(_at(place.removesuffix(".method"), read, whole=True)[0]), "methods")
    if wrong and isinstance(kind, enum.EnumMeta):
        values: list[enum.Enum] = list(kind)
        return meant(wrong.group(1), [str(one.value) for one in values], "possible are")
    if place.startswith(".flash[") and "missing required field `method`" in cause:
        return f"methods: {', '.join(_ways(_at(place, read, whole=True)[0]))}"
    if missing:
        return example(missing.group(1), typing.get_type_hints(kind).get(missing.group(1)))
    if place.endswith("[...]") and isinstance(value, dict):
        return f"not a whole number: {', '.join(name for name, one in value.items() if type(one) is not int)}"
    if cause.startswith("Expected `int") and not place.endswith("]"):
        return example(place.rpartition(".")[2], int)
    return ""


def _at(place: str, read: dict[str, Any], *, whole: bool = False) -> tuple[Any, Any]:
    """The schema's type and the file's value in a place such as `.flash[0].enter`.

    Args:
        place: as msgspec tells it, without the dollar sign.
        read: the whole file.
        whole: leave a union of several structs, instead of the one whose tag the file has.
    """
    kind: Any = Board
    value: Any = read
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", place):
        if name == "method":
            break
        if name:
            kind, value = typing.get_type_hints(kind)[name], value.get(name)
            if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
                (kind,) = (one for one in typing.get_args(kind) if one is not types.NoneType)
        else:
            kind, value = typing.get_args(kind)[0], value[int(index)]
            if not whole and _ways(kind):
                named = [o for o in typing.get_args(kind) if o.__struct_config__.tag == value.get("method")]
                kind = named[0] if named else kind
    return kind, value


def _ways(kind: Any) -> list[str]:
    """The tags of a union of structs, sorted; none where it is no union."""
    return sorted(str(one.__struct_config__.tag) for one in typing.get_args(kind))
