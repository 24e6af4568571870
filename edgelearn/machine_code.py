"""Machine code of the kernels for MicroPython: the library of pieces that was compiled once, and its linker.

The C kernels of firmware/runtime/ are compiled by the people who make edgelearn (`make machine-code`), so that those
who use it need no compiler. What is kept is one piece of code for each function, and where in it the address of another
piece belongs. `link` puts those that a model needs side by side: code that runs at any address that is a multiple of
four, and holds no address itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from edgelearn import resources
from edgelearn.board import Core
from edgelearn.errors import BuildError

#: Core -> the library that holds code for it. Not what the firmware's own .mpy architecture tells: a firmware for a
#: Cortex-M3 loads code with instructions of a Cortex-M4, and faults when it comes to one.
LIBRARIES: Mapping[Core, str] = {
    Core.CORTEX_M0: "cortex-m0",
    Core.CORTEX_M0PLUS: "cortex-m0",
    Core.CORTEX_M3: "cortex-m3",
    Core.CORTEX_M4F: "cortex-m4",
    Core.CORTEX_M7F: "cortex-m4",
}
#: The reach of a BL instruction.
_BL_LIMIT_BYTES = 1 << 24


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all parts of the file have in common."""


class Link(_Part, frozen=True, kw_only=True):
    """A place in a piece that depends on where another piece lies.

    Attributes:
        at: offset of the place, in bytes.
        to: the other piece.
        offset: in the other piece, in bytes; odd for the address of a function.
        is_call: a BL instruction (R_ARM_THM_CALL); otherwise a word with the distance from the place (R_ARM_REL32).
    """

    at: int
    to: str
    offset: int = 0
    is_call: bool = False


class Piece(_Part, frozen=True, kw_only=True):
    """A function, or a table of constants, with its links set to zero.

    Attributes:
        code: in hexadecimal, a multiple of four bytes.
    """

    code: str
    links: tuple[Link, ...] = ()


class Field(_Part, frozen=True, kw_only=True):
    """A member of a struct.

    Attributes:
        type: a struct's name, an integer such as `int32_t`, `float`, or `pointer`.
        count: of elements, for an array.
    """

    name: str
    offset: int
    type: str
    count: int = 1


class Layout(_Part, frozen=True, kw_only=True):
    """How a struct lies in memory, on every 32-bit processor that MicroPython runs on."""

    size_bytes: int
    fields: tuple[Field, ...]


class Library(_Part, frozen=True, kw_only=True):
    """The kernels for one kind of processor.

    Attributes:
        core: the processor's name for compilers.
        sources_sha256: of the C files, headers and flags that it was compiled from, in hex.
        functions: name -> piece that begins with it.
        pieces: by name.
    """

    core: str
    sources_sha256: str
    functions: dict[str, str]
    pieces: dict[str, Piece]


class Linked(msgspec.Struct, frozen=True, kw_only=True):
    """Code that runs wherever it lies.

    Attributes:
        code: begins with the first of the functions that were asked for.
        offsets: of the functions that were asked for.
    """

    code: bytes
    offsets: Mapping[str, int]


def folder() -> Path:
    """Where the libraries lie, one for each core, and the layouts of all parameter structs."""
    return resources.firmware_folder() / "micropython" / "machine_code"


def load_library(core: str) -> Library:
    """The library for a core, such as `cortex-m4`."""
    return msgspec.json.decode((folder() / f"{core}.json").read_bytes(), type=Library)


def load_layouts() -> dict[str, Layout]:
    """All parameter structs by name."""
    return msgspec.json.decode((folder() / "layouts.json").read_bytes(), type=dict[str, Layout])


def encode_call(distance: int) -> bytes:
    """BL to an address `distance` bytes after the end of the instruction.

    Raises:
        BuildError: too far.

    Source: Armv7-M Architecture Reference Manual, A7.7.18, encoding T1.
    """
    if not -_BL_LIMIT_BYTES <= distance < _BL_LIMIT_BYTES or distance % 2:
        raise BuildError(f"machine code: a call over {distance} bytes cannot be encoded")
    sign = distance >> 24 & 1
    j1 = (distance >> 23 & 1) ^ sign ^ 1
    j2 = (distance >> 22 & 1) ^ sign ^ 1
    return struct.pack(
        "<HH", 0xF000 | sign << 10 | distance >> 12 & 0x3FF, 0xD000 | j1 << 13 | j2 << 11 | distance >> 1 & 0x7FF
    )


def _needed(library: Library, functions: Iterable[str]) -> list[str]:
    """The pieces of the functions and of all that they lead to, in the order in which they are met."""
    found: list[str] = []
    waiting = [library.functions[name] for name in functions][::-1]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            waiting += [link.to for link in library.pieces[name].links][::-1]
    return found


def link(library: Library, functions: tuple[str, ...]) -> Linked:
    """Put functions and all that they need side by side.

    Args:
        library: for the processor.
        functions: their names; the code begins with the first.

    Raises:
        KeyError: the library has no such function.
    """
    names = _needed(library, functions)
    places: dict[str, int] = {}
    size = 0
    for name in names:
        places[name] = size
        size += len(library.pieces[name].code) // 2
    code = bytearray()
    for name in names:
        piece = library.pieces[name]
        part = bytearray.fromhex(piece.code)
        for place in piece.links:
            distance = places[place.to] + place.offset - (places[name] + place.at)
            part[place.at : place.at + 4] = encode_call(distance - 4) if place.is_call else struct.pack("<i", distance)
        code += part
    return Linked(code=bytes(code), offsets={name: places[library.functions[name]] for name in functions})
