"""What the schema's check says of a board file, in words: which key, in which section, and what it takes."""

from __future__ import annotations

import enum
import re
import types
import typing
from typing import Any

import msgspec

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
    if field := re.search(r"missing required field `(\w+)`", what):
        return f"`{field.group(1)}` is missing" + (f" {_section(place)}" if place else "")
    if field := re.search(r"unknown field `([^`]+)`", what):
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
    value = re.search(r"[Ii]nvalid (?:enum )?value '([^']*)'", what)
    return f"{where} cannot be '{value.group(1)}'" if value else f"{where}: {what}"


def example(name: str, kind: Any) -> str:
    """What a key looks like in a file; empty where that cannot be said in a few words.

    Args:
        name: of the key.
        kind: the schema's type of it.
    """
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        kind = next(one for one in typing.get_args(kind) if one is not types.NoneType)
    if isinstance(kind, enum.EnumMeta):
        values: list[enum.Enum] = list(kind)
        return f"`{name}` is one of {', '.join(str(one.value) for one in values)}"
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


def _section(place: str) -> str:
    """Where a place such as `.memory[0]` is, in words."""
    names = ".".join(re.findall(r"\.(\w+)", place))
    if not names:
        return "before the first [section]"
    numbers = re.findall(r"\[(\d+)\]", place)
    return f"in [[{names}]] number {int(numbers[-1]) + 1}" if numbers else f"in [{names}]"
