"""What the schema's check says of a board file, in words: which key, in which section, and what it takes."""

from __future__ import annotations

import difflib
import enum
import re
import types
import typing
from typing import Any

import msgspec

from edgelearn.board.checks import meant
from edgelearn.board.parts import Board

#: What msgspec says.
_MISSING = re.compile(r"missing required field `([^`]+)`")
_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
_WRONG = re.compile(r"[Ii]nvalid (?:enum )?value '([^']*)'")
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": 'text in "quotes"',
    "bool": "true or false",
    "array": "a list in [ ]",
    "object": "a table of keys",
    "date": "a date, as 2021-08-04",
}
#: What a number of that name, or of one that ends so, looks like.
_NUMBERS = {
    "vid": "0x1366",
    "pid": "0x1015",
    "_bytes": "0x1_0000",
    "origin": "0x2000_0000",
    "address": "0x8_0000",
    "_hz": "64_000_000",
}


def plain_words(cause: str) -> str:
    """What is wrong, and where in the file.

    Args:
        cause: what msgspec says, such as "Object missing required field `kind` - at `$.memory[0]`".
    """
    what, _, place = cause.partition(" - at `$")
    if place and not place.endswith("`"):
        return cause
    place = place.removesuffix("`")
    if field := _MISSING.search(what):
        return f"`{field.group(1)}` is missing" + (f" {_section(place)}" if place else "")
    if field := _UNKNOWN.search(what):
        return f"`{field.group(1)}` is unknown {_section(place)}"
    # The last name is the key, what comes before it the section.
    found = re.fullmatch(r"(.*)\.(\w+)((?:\[[^\]]+\])*)", place)
    if found is None:
        return cause
    section, key, inside = found.groups()
    where = f"{'a value of ' if inside else ''}`{key}` {_section(section)}"
    expected = re.match(r"Expected `([^`]+)`, got `([^`]+)`", what)
    if expected:
        wanted, got = (
            " or ".join(_KINDS.get(kind, kind) for kind in kinds.split(" | ") if kind != "null")
            for kinds in expected.groups()
        )
        return f"{where} must be {wanted}, and is {got}"
    if "RFC3339" in what:
        return f"{where} must be {_KINDS['date']}"
    value = _WRONG.search(what)
    return f"{where} cannot be '{value.group(1)}'" if value else f"{where}: {what}"


def hint(cause: str, read: dict[str, Any]) -> str:
    """What the schema has in the place where the file does not agree with it; empty where nothing could help.

    Args:
        cause: what msgspec says, such as "Object contains unknown field `x` - at `$.flash[0]`".
        read: the whole file.
    """
    found = re.search(r" - at `\$(.*)`$", cause)
    place = found.group(1) if found else ""
    kind, value = _at(place, read)
    missing, unknown, wrong = _MISSING.search(cause), _UNKNOWN.search(cause), _WRONG.search(cause)
    if unknown:
        name = unknown.group(1)
        keys = sorted(set(kind.__struct_fields__) | ({"method"} if kind.__struct_config__.tag else set()))
        if place and name in Board.__struct_fields__ and not difflib.get_close_matches(name, keys, n=1):
            return f"`{name}` belongs before the first [section]"
        return meant(name, keys, "known keys")
    if wrong and place.endswith(".method"):
        return meant(wrong.group(1), _ways(_at(place.removesuffix(".method"), read, whole=True)[0]), "methods")
    if wrong and isinstance(kind, enum.EnumMeta):
        return meant(wrong.group(1), _values(kind), "possible are")
    if place.startswith(".flash[") and "missing required field `method`" in cause:
        return f"methods: {', '.join(_ways(_at(place, read, whole=True)[0]))}"
    if missing:
        return _example(missing.group(1), typing.get_type_hints(kind).get(missing.group(1)))
    if place.endswith("[...]") and isinstance(value, dict):
        return f"not a whole number: {', '.join(name for name, one in value.items() if type(one) is not int)}"
    if cause.startswith("Expected `int") and not place.endswith("]"):
        return _example(place.rpartition(".")[2], int)
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
            kind = _of_optional(kind)
        else:
            kind, value = typing.get_args(kind)[0], value[int(index)]
            if not whole and _ways(kind):
                named = [o for o in typing.get_args(kind) if o.__struct_config__.tag == value.get("method")]
                kind = named[0] if named else kind
    return kind, value


def _ways(kind: Any) -> list[str]:
    """The tags of a union of structs, sorted; none where it is no union."""
    return sorted(str(one.__struct_config__.tag) for one in typing.get_args(kind))


def _example(name: str, kind: Any) -> str:
    """What a key looks like in a file; empty where that cannot be said in a few words.

    Args:
        name: of the key.
        kind: the schema's type of it.
    """
    kind = _of_optional(kind)
    if isinstance(kind, enum.EnumMeta):
        return f"`{name}` is one of {', '.join(_values(kind))}"
    if kind is int:
        number = next((text for end, text in _NUMBERS.items() if name.endswith(end)), "16")
        return f"it looks like `{name} = {number}`"
    if kind in (str, bool):
        value = "true" if kind is bool else '"..."'
        return f"it looks like `{name} = {value}`"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"it is a section, [{name}]"
    of = typing.get_args(kind)
    if typing.get_origin(kind) is tuple and of[0] is str:
        return f'it looks like `{name} = ["...", "..."]`'
    if typing.get_origin(kind) is tuple and isinstance(of[0], type) and issubclass(of[0], msgspec.Struct):
        return f"there is a section [[{name}]] for each"
    return ""


def _of_optional(kind: Any) -> Any:
    """A type without None."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return next(one for one in typing.get_args(kind) if one is not types.NoneType)
    return kind


def _values(kind: enum.EnumMeta) -> list[str]:
    values: list[enum.Enum] = list(kind)
    return [str(one.value) for one in values]


def _section(place: str) -> str:
    """Where a place such as `.memory[0]` is, in words."""
    names = ".".join(re.findall(r"\.(\w+)", place))
    if not names:
        return "before the first [section]"
    numbers = re.findall(r"\[(\d+)\]", place)
    return f"in [[{names}]] number {int(numbers[-1]) + 1}" if numbers else f"in [{names}]"
