"""Functions of a linked image: where each is, which source it comes from, and its code without the data in between."""

from __future__ import annotations

import bisect
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from msgspec import Struct

from edgelearn.firmware.thumb import Instruction, decode
from edgelearn.firmware.toolchain import symbol_sizes


class Function(Struct, frozen=True, kw_only=True):
    """A function of an image for Cortex-M.

    Attributes:
        names: its symbols; several may stand for one function.
        source: the project's C file that defines it; empty for the compiler's library.
        address: of its first instruction.
        size_bytes: with the constants that lie between its instructions.
        instructions: in the order of their addresses.
    """

    names: tuple[str, ...]
    source: str
    address: int
    size_bytes: int
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]


class Image(Struct, frozen=True, kw_only=True):
    """What runs on the device.

    Attributes:
        functions: by address. Those of the compiler's library may overlap: several entries into one piece of code.
        sections: address and contents of each section that holds code or data.
    """

    functions: tuple[Function, ...]
    sections: tuple[tuple[int, bytes], ...]

    def read(self, address: int, size_bytes: int) -> bytes:
        """The bytes at an address, as many of them as the image holds."""
        for begin, contents in self.sections:
            if begin <= address < begin + len(contents):
                return contents[address - begin : address - begin + size_bytes]
        return b""

    def function_at(self, address: int) -> Function | None:
        """The function that begins at an address or, where none does, the first that holds it."""
        holding = None
        for function in self.functions:
            if function.address == address:
                return function
            if holding is None and function.address <= address < function.address + function.size_bytes:
                holding = function
        return holding


def read_image(elf: Path) -> Image:
    """Read a linked image; its objects lie beside it, as a build left them.

    Code and data are told apart by the mapping symbols `$t` and `$d` of the ABI (Arm IHI0044, ELF for the Arm
    Architecture, 5.5.5).
    """
    sources = {symbol.address: symbol.source for symbol in symbol_sizes(elf)}
    with elf.open("rb") as file:
        image = ELFFile(file)
        sections = tuple(
            (int(section["sh_addr"]), section.data())
            for section in image.iter_sections()
            if section["sh_type"] == "SHT_PROGBITS" and section["sh_flags"] & 2
        )
        table = image.get_section_by_name(".symtab")
        symbols = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
    marks = sorted(
        (int(symbol["st_value"]) & ~1, symbol.name.startswith("$t"))
        for symbol in symbols
        if symbol.name.split(".")[0] in ("$t", "$d") and isinstance(symbol["st_shndx"], int)
    )
    names: dict[int, list[str]] = {}
    sizes: dict[int, int] = {}
    for symbol in symbols:
        if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"] > 0:
            address, size_bytes = int(symbol["st_value"]) & ~1, int(symbol["st_size"])
            names.setdefault(address, []).append(symbol.name)
            sizes[address] = max(size_bytes, sizes.get(address, 0))
    blank = Image(functions=(), sections=sections)
    functions = tuple(
        Function(
            names=tuple(sorted(names[address])),
            source=sources.get(address, ""),
            address=address,
            size_bytes=size_bytes,
            instructions=_instructions(blank, marks, address, address + size_bytes),
        )
        for address, size_bytes in sorted(sizes.items())
    )
    return Image(functions=functions, sections=sections)


def _instructions(image: Image, marks: list[tuple[int, bool]], begin: int, end: int) -> tuple[Instruction, ...]:
    """What is code between two addresses."""
    found: list[Instruction] = []
    position = begin
    while position < end:
        after = bisect.bisect_right(marks, (position, True))
        is_code = after == 0 or marks[after - 1][1]
        stop = min(end, marks[after][0]) if after < len(marks) else end
        if is_code:
            found += decode(image.read(position, stop - position), position)
        position = stop
    return tuple(found)
