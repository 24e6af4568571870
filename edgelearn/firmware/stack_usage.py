"""The most stack that firmware for Cortex-M can use, known from its image before anything runs.

The bound is the deepest chain of calls from reset, and on top of it one interrupt with its deepest chain: all
interrupts have the same priority, so that none interrupts another; the
non-maskable one, where a driver handles it, comes on top. What a function takes is what its instructions push
and subtract, wherever they stand in it, or what the compiler says of it (`-fstack-usage`) where that is more; so
functions in assembler and those of the compiler's library are known too. A call through a pointer is taken to reach
every function whose address the project takes. A fault, which ends the program, is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection
from msgspec import Struct

from edgelearn.board import Board
from edgelearn.firmware.image import Function, Image, read_image

RESET_FUNCTION = "elearn_reset_handler"

#: Words that an interrupt leaves on the stack, with one to align it: registers alone, and with those of an FPU.
#: DDI0403, B1.5.6 (exception entry) and B1.5.7 (stack alignment).
_FRAME_WORDS, _FRAME_WORDS_WITH_FPU = 9, 27

#: Relocations of direct calls and jumps: THM_CALL, THM_JUMP24, THM_JUMP19, THM_JUMP11, THM_JUMP8 and, in code of other
#: instruction sets, CALL and JUMP24 (Arm IHI0044, ELF for the Arm Architecture, 5.6).
_CALLS = frozenset({10, 30, 51, 102, 103, 28, 29})
#: A word that is an address: ABS32.
_ABSOLUTE = 2
#: Where an address does not lead to a call: the vector table, and tables for unwinding.
_NOT_TAKEN_IN = (".vectors", ".ARM.exidx", ".ARM.extab")


class StackBound(Struct, frozen=True, kw_only=True):
    """The bound and where it comes from.

    Attributes:
        size_bytes: the most stack that can be used; None where that cannot be known.
        problem: why it cannot; otherwise empty.
        chain: the deepest chain of calls, from reset, each function with the bytes that it takes itself.
        interrupt: the same for the deepest interrupt, begun by what the processor puts on the stack.
    """

    size_bytes: int | None
    problem: str
    chain: tuple[tuple[str, int], ...]
    interrupt: tuple[tuple[str, int], ...]


def stack_bound(elf: Path, board: Board) -> StackBound:
    """The bound of an image for a Cortex-M board.

    Args:
        elf: the image; its objects lie beside it, and the compiler's `.su` files where it writes them.
        board: what it was built for.
    """
    calls = _Calls(read_image(elf), elf.parent)
    # The non-maskable interrupt comes on top of any other.
    levels = [
        sorted({one.handler for one in board.port.interrupts}),
        [board.nvm.nmi_handler] if board.nvm and board.nvm.nmi_handler else [],
    ]
    words = _FRAME_WORDS_WITH_FPU if board.core.has_fpu else _FRAME_WORDS
    interrupt: tuple[tuple[str, int], ...] = ()
    try:
        chain = calls.deepest([RESET_FUNCTION])
        for handlers in levels:
            if handlers:
                interrupt = (*interrupt, ("an interrupt", 4 * words), *calls.deepest(handlers))
    except _UnboundedError as error:
        return StackBound(size_bytes=None, problem=str(error), chain=(), interrupt=())
    size_bytes = sum(own for _, own in (*chain, *interrupt))
    return StackBound(size_bytes=size_bytes, problem="", chain=chain, interrupt=interrupt)


class StackUse(Struct, frozen=True, kw_only=True):
    """What the compiler says of one function. `is_bounded` is false where it depends on values (alloca, VLAs)."""

    size_bytes: int
    is_bounded: bool


def read_stack_usage(build: Path) -> dict[tuple[str, str], StackUse]:
    """What the compiler's `.su` files say, by source and function; none where it wrote none."""
    found = {}
    for path in sorted(build.glob("*/*.su")):
        source = path.relative_to(build).with_suffix(".c").as_posix()
        for line in path.read_text(encoding="utf-8").splitlines():
            place, size, kind = line.split("\t")
            name = place.rpartition(":")[2]
            found[source, name] = StackUse(
                size_bytes=int(size), is_bounded=kind == "static" or kind.endswith("bounded")
            )
    return found


class _UnboundedError(Exception):
    """Says what has no bound."""


class _Calls:
    """Which function calls which, and what each takes."""

    def __init__(self, image: Image, build: Path) -> None:
        self._image = image
        self._stack_usage = read_stack_usage(build)
        self._by_name = {name: function for function in image.functions for name in function.names}
        self._taken = _functions_by_address(image, build)
        self._deepest: dict[int, tuple[tuple[str, int], ...]] = {}
        self._under_way: list[Function] = []

    def deepest(self, names: list[str]) -> tuple[tuple[str, int], ...]:
        """The deepest of the chains that begin at these functions."""
        missing = [name for name in names if name not in self._by_name]
        if missing:
            raise _UnboundedError(f"the image has no function {missing[0]}")
        return self._deepest_of([self._by_name[name] for name in names])

    def _deepest_of(self, functions: list[Function]) -> tuple[tuple[str, int], ...]:
        chains = [self._chain(function) for function in functions]
        return max(chains, key=lambda chain: sum(own for _, own in chain), default=())

    def _chain(self, function: Function) -> tuple[tuple[str, int], ...]:
        known = self._deepest.get(function.address)
        if known is not None:
            return known
        addresses = [one.address for one in self._under_way]
        if function.address in addresses:
            circle = (*self._under_way[addresses.index(function.address) :], function)
            raise _UnboundedError(f"recursion: {' calls '.join(one.name for one in circle)}")
        self._under_way.append(function)
        chain = ((function.name, self._own_bytes(function)), *self._deepest_of(self._callees(function)))
        self._under_way.pop()
        self._deepest[function.address] = chain
        return chain

    def _callees(self, function: Function) -> list[Function]:
        found = {}
        for instruction in function.instructions:
            target = instruction.target
            if instruction.is_indirect:
                found.update({callee.address: callee for callee in self._taken})
            elif target is not None and not function.address <= target < function.address + function.size_bytes:
                callee = self._image.function_at(target)
                if callee is None:
                    raise _UnboundedError(f"{function.name} goes to 0x{target:08x}, which is in no function")
                found[callee.address] = callee
        return [callee for _, callee in sorted(found.items())]

    def _own_bytes(self, function: Function) -> int:
        """What a function takes; two ways of a prologue count both, although only one of them runs."""
        # GCC names its clones without their number in .su files: `name.constprop`, in the image `name.constprop.0`.
        by_compiler = self._stack_usage.get((function.source, re.sub(r"\.\d+$", "", function.name)))
        if by_compiler is not None and not by_compiler.is_bounded:
            raise _UnboundedError(f"what {function.name} takes depends on the values it works with")
        if any(instruction.sets_stack for instruction in function.instructions):
            raise _UnboundedError(f"{function.name} sets the stack pointer in a way that cannot be followed")
        own = sum(instruction.stack_bytes for instruction in function.instructions)
        return max(own, by_compiler.size_bytes if by_compiler else 0)


def _functions_by_address(image: Image, build: Path) -> list[Function]:
    """The functions whose address the project takes, other than for the vector table.

    The objects tell it by their relocations: every use of a function's symbol that is no direct call. The compiler's
    library comes without objects; it calls nothing of ours but through pointers that we give it.
    """
    taken: set[tuple[str, str]] = set()
    for path in sorted(build.glob("*/*.o")):
        source = path.relative_to(build).with_suffix(".c").as_posix()
        with path.open("rb") as file:
            taken |= {(source if is_local else "", name) for name, is_local in _taken_symbols(ELFFile(file))}
    return [
        function
        for function in image.functions
        if any((source, name) in taken for name in function.names for source in ("", function.source))
    ]


def _taken_symbols(elf: ELFFile) -> Iterator[tuple[str, bool]]:
    """Names that an object uses other than to call them, and whether only this object knows them."""
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return
    symbols = list(table.iter_symbols())
    for section in elf.iter_sections():
        if not isinstance(section, RelocationSection):
            continue
        place = elf.get_section(section["sh_info"])
        if not place["sh_flags"] & SH_FLAGS.SHF_ALLOC or place.name.startswith(_NOT_TAKEN_IN):
            continue
        for relocation in section.iter_relocations():
            if relocation["r_info_type"] in _CALLS:
                continue
            symbol = symbols[relocation["r_info_sym"]]
            if symbol["st_info"]["type"] != "STT_SECTION":
                yield symbol.name, symbol["st_info"]["bind"] == "STB_LOCAL"
                continue
            offset = None
            if relocation["r_info_type"] == _ABSOLUTE:
                at = relocation["r_offset"]
                offset = int.from_bytes(place.data()[at : at + 4], "little") & ~1
            for other in symbols:
                if other["st_info"]["type"] != "STT_FUNC" or other["st_shndx"] != symbol["st_shndx"]:
                    continue
                # A place inside of a function is where one of its own tables of jumps leads.
                if offset is None or int(other["st_value"]) & ~1 == offset:
                    yield other.name, other["st_info"]["bind"] == "STB_LOCAL"
