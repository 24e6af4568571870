"""Board and its parts, loaded and validated from one strict TOML file in `boards/`.

No board or chip name appears in Python code: everything that tells one board from another is in its file, and the
file names the drivers of `firmware/port/` that it is built from together with their parameters.
"""

from __future__ import annotations

import difflib
import enum
import itertools
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgelearn import resources
from edgelearn.errors import BoardFileError, UnknownBoardError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class MemoryKind(enum.Enum):
    """What a memory region is for."""

    FLASH = "flash"
    RAM = "ram"


class Core(enum.Enum):
    """Processor cores; compiler flags for each stand in `COMPILERS`."""

    CORTEX_M0 = "cortex-m0"
    CORTEX_M3 = "cortex-m3"
    CORTEX_M4F = "cortex-m4f"
    CORTEX_M7F = "cortex-m7f"
    HOST = "host"

    @property
    def has_dsp(self) -> bool:
        """Whether it has the DSP extension of Armv7E-M: SMLAD, SXTB16, SMMLA and their like."""
        return self in (Core.CORTEX_M4F, Core.CORTEX_M7F)

    @property
    def has_fpu(self) -> bool:
        """Whether it has a floating-point unit whose registers an interrupt may have to save."""
        return self in (Core.CORTEX_M4F, Core.CORTEX_M7F)


class CompilerFlags(msgspec.Struct, frozen=True, kw_only=True):
    """What a core needs from each compiler, for compiling and for linking.

    Attributes:
        program: the compiler that the Makefile asks for.
        gnu: flags of GCC, and of clang where it takes the place of the host's compiler.
        gnu_link: further flags for linking.
        zig: flags of `zig cc`, which is clang with its own linker and run-time support.
        zig_link: further flags for linking.
    """

    program: str
    gnu: tuple[str, ...]
    gnu_link: tuple[str, ...]
    zig: tuple[str, ...]
    zig_link: tuple[str, ...]


#: The one place where the device code's optimisation is chosen.
OPTIMIZATION = "-O2"

#: For every core and compiler. No multiply is fused with an add, so that float code gives the same bits everywhere.
COMPILE_FLAGS = (
    "-std=c99",
    "-g",
    "-ffunction-sections",
    "-fdata-sections",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Werror",
)

#: Folders of a generated project that hold C files and headers.
INCLUDE_FLAGS = ("-Isrc", "-Iruntime", "-Iport")

#: For a build that stops at the first memory error or undefined behaviour; only on a host.
SANITIZE_FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")

_BARE_METAL_LINK = ("-Tlink.ld", "-Wl,--gc-sections")


def _cortex_m(gnu: tuple[str, ...], *, zig_target: str, zig_cpu: str) -> CompilerFlags:
    return CompilerFlags(
        program="arm-none-eabi-gcc",
        gnu=gnu,
        gnu_link=("-nostartfiles", "--specs=nano.specs", *_BARE_METAL_LINK),
        zig=(
            "-target",
            zig_target,
            f"-mcpu={zig_cpu}",
            "-ffreestanding",
            "-fomit-frame-pointer",
            "-fno-unwind-tables",
            "-fno-asynchronous-unwind-tables",
            "-fno-sanitize=undefined",
        ),
        zig_link=("-nostdlib", "-rtlib=compiler-rt", "-Wl,-e,elearn_reset_handler", *_BARE_METAL_LINK),
    )


#: Both the generated Makefile and `edgelearn build` read this table. Only single precision is asked of any FPU: a
#: Cortex-M7 has double precision as an option.
COMPILERS: Mapping[Core, CompilerFlags] = {
    Core.CORTEX_M0: _cortex_m(
        ("-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft"),
        zig_target="thumb-freestanding-eabi",
        zig_cpu="cortex_m0",
    ),
    Core.CORTEX_M3: _cortex_m(
        ("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft"),
        zig_target="thumb-freestanding-eabi",
        zig_cpu="cortex_m3",
    ),
    Core.CORTEX_M4F: _cortex_m(
        ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        zig_target="thumb-freestanding-eabihf",
        zig_cpu="cortex_m4+vfp4d16sp",
    ),
    Core.CORTEX_M7F: _cortex_m(
        ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
        zig_target="thumb-freestanding-eabihf",
        zig_cpu="cortex_m7-fp64",
    ),
    Core.HOST: CompilerFlags(
        program="cc",
        gnu=(),
        gnu_link=(),
        zig=("-fomit-frame-pointer", "-fno-sanitize=undefined"),
        zig_link=(),
    ),
}


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Memory(_Part, frozen=True, kw_only=True):
    """One memory region that the firmware may use whole."""

    name: str
    kind: MemoryKind
    origin: int
    size_bytes: int


class Interrupt(_Part, frozen=True, kw_only=True):
    """One entry of the vector table."""

    number: int
    handler: str


class Port(_Part, frozen=True, kw_only=True):
    """The drivers the board is built from.

    Attributes:
        sources: C files and headers of `firmware/port/`.
        interrupt_count: entries of the vector table after the processor's own 16.
        interrupts: those that have a handler.
        defines: the drivers' constants, in the generated `elearn_board.h`.
    """

    sources: tuple[str, ...]
    interrupt_count: int = 0
    interrupts: tuple[Interrupt, ...] = ()
    defines: dict[str, int] = {}


class NonVolatileMemory(_Part, frozen=True, kw_only=True):
    """Pages that keep what was learned over a reset. The firmware's own image may not reach them.

    Attributes:
        source: their driver, one of the port's sources.
        address: of the first page. The pages end a memory region, or lie outside of all.
        page_bytes: of what is erased at once.
        pages: how many there are.
        write_bytes: of what is programmed at once.
        erase_cycles: how often a page may be erased, by the chip's data sheet; 0 where it does not wear.
        erase_ms: the longest that erasing a page takes, by the data sheet.
        nmi_handler: the driver's handler of the non-maskable interrupt; empty where its flash raises none.
    """

    source: str
    address: int
    page_bytes: int
    pages: int
    write_bytes: int
    erase_cycles: int
    erase_ms: int
    nmi_handler: str = ""

    @property
    def size_bytes(self) -> int:
        """Bytes of all pages."""
        return self.pages * self.page_bytes

    @property
    def end(self) -> int:
        """The address after the last page."""
        return self.address + self.size_bytes


class Counter(_Part, frozen=True, kw_only=True):
    """The counter that is read before and after the work.

    Attributes:
        unit: what one tick is on real hardware: `cycles`, or `none` where there is no counter.
        cycles_per_tick: processor cycles of one tick on real hardware.
        hz: ticks a second.
    """

    unit: str
    cycles_per_tick: int = 1
    hz: int = 0


class Emulator(_Part, frozen=True, kw_only=True):
    """How the board is emulated.

    Attributes:
        engine: the emulator, `qemu`, or `host` for a process of this machine.
        machine: the emulator's own name of the machine.
        icount_shift: each instruction takes 2^shift ns of virtual time, which makes counts repeat exactly.
        ticks_per_instruction: ticks of the board's counter for one instruction at that shift; 0 where none is counted.
        demo: whether `edgelearn demo` takes this board.
    """

    engine: str
    machine: str = ""
    icount_shift: int = 0
    ticks_per_instruction: float = 0.0
    demo: bool = False


class Board(_Part, frozen=True, kw_only=True):
    """One board. Sizes in bytes, frequencies in Hz; `sources` names the documents the facts come from.

    Attributes:
        nvm: where what was learned is kept; None where it is lost at a reset.
    """

    name: str
    title: str
    chip: str
    core: Core
    clock_hz: int
    stack_bytes: int
    memory: tuple[Memory, ...]
    port: Port
    counter: Counter
    nvm: NonVolatileMemory | None = None
    emulator: Emulator | None = None
    sources: tuple[str, ...]

    def without_nvm(self) -> Board:
        """The board for firmware that learns nothing: all of its flash is for the image."""
        if self.nvm is None:
            return self
        sources = tuple(source for source in self.port.sources if source != self.nvm.source)
        return msgspec.structs.replace(self, nvm=None, port=msgspec.structs.replace(self.port, sources=sources))

    def usable_bytes(self, memory: Memory) -> int:
        """Bytes of a region, without the pages of non-volatile memory that end it."""
        inside = self.nvm is not None and memory.origin <= self.nvm.address < memory.origin + memory.size_bytes
        return memory.size_bytes - (self.nvm.size_bytes if self.nvm and inside else 0)

    def size_bytes(self, kind: MemoryKind) -> int:
        """Bytes that the firmware may use of all regions of that kind."""
        return sum(self.usable_bytes(memory) for memory in self.memory if memory.kind is kind)

    @property
    def flash_bytes(self) -> int:
        """Bytes of flash that the firmware may use."""
        return self.size_bytes(MemoryKind.FLASH)

    @property
    def ram_bytes(self) -> int:
        """Bytes of RAM that the firmware may use."""
        return self.size_bytes(MemoryKind.RAM)


def load_board_file(path: Path) -> Board:
    """Load and validate one board file.

    Raises:
        BoardFileError: the file cannot be read, is no TOML, or breaks the schema; an unknown key is named with the
            key that was probably meant.
    """
    try:
        board = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Board, strict=True)
    except (OSError, UnicodeDecodeError) as error:
        raise BoardFileError(f"{path} cannot be read", cause=str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise BoardFileError(f"{path} is not valid TOML", cause=str(error)) from error
    except msgspec.ValidationError as error:
        raise BoardFileError(
            f"{path} is not a valid board file", cause=str(error), hint=_did_you_mean(str(error))
        ) from error
    problem = _problem(board, path)
    if problem:
        raise BoardFileError(f"{path} is not a valid board file", cause=problem)
    return board


def _did_you_mean(message: str) -> str:
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if not unknown:
        return ""
    parts = (Board, Memory, Interrupt, Port, NonVolatileMemory, Counter, Emulator)
    known = {field for part in parts for field in part.__struct_fields__}
    close = difflib.get_close_matches(unknown.group(1), sorted(known), n=1)
    return f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(sorted(known))}"


def _problem(board: Board, path: Path) -> str:
    if board.name != path.stem:
        return f"the board is named {board.name}, the file {path.stem}"
    for kind in MemoryKind:
        if board.size_bytes(kind) <= 0:
            return f"no {kind.value} region"
    problem = _memory_problem(board) or _nvm_problem(board)
    if problem:
        return problem
    if board.clock_hz <= 0 or board.stack_bytes < 0 or board.stack_bytes % 8 != 0:
        return "clock_hz must be positive, stack_bytes a multiple of 8"
    if board.counter.unit not in ("cycles", "none"):
        return f"counter unit {board.counter.unit} is neither cycles nor none"
    if board.emulator and board.emulator.engine not in ("qemu", "host"):
        return f"emulator engine {board.emulator.engine} is neither qemu nor host"
    for source in board.port.sources:
        if not (resources.firmware_folder() / "port" / source).is_file():
            return f"there is no driver firmware/port/{source}"
    for interrupt in board.port.interrupts:
        if not 0 <= interrupt.number < board.port.interrupt_count:
            return f"interrupt {interrupt.number} is outside the {board.port.interrupt_count} of the vector table"
    handlers = [interrupt.handler for interrupt in board.port.interrupts]
    for handler in (*handlers, *((board.nvm.nmi_handler,) if board.nvm and board.nvm.nmi_handler else ())):
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", handler):
            return f"{handler} is not the name of a C function"
    numbers = [interrupt.number for interrupt in board.port.interrupts]
    if len(set(numbers)) != len(numbers):
        return "an interrupt has two handlers"
    for name, value in board.port.defines.items():
        if not re.fullmatch(r"ELEARN_[A-Z0-9_]+", name):
            return f"define {name} does not look like ELEARN_NAME"
        if not 0 <= value < 1 << 32:
            return f"define {name} is not an unsigned 32-bit number"
    return ""


#: What a record's header is a multiple of: see runtime/elearn_store.c.
_WRITE_BYTES = (1, 2, 4, 8, 16, 32)


def _nvm_problem(board: Board) -> str:
    nvm = board.nvm
    if nvm is None:
        return ""
    if nvm.source not in board.port.sources:
        return f"the driver of nvm, {nvm.source}, is not one of the port's sources"
    if nvm.write_bytes not in _WRITE_BYTES:
        return f"nvm is programmed in {nvm.write_bytes} bytes; possible are {', '.join(map(str, _WRITE_BYTES))}"
    if nvm.page_bytes <= 0 or nvm.page_bytes % nvm.write_bytes:
        return f"the {nvm.page_bytes} bytes of a page of nvm are not whole units of {nvm.write_bytes} bytes"
    if nvm.pages < 2:
        return f"nvm has {nvm.pages} pages; two are needed, so that one stays while the other is erased"
    if nvm.address < 0 or nvm.end > 1 << 32:
        return "nvm is outside 32 bits of address"
    if nvm.address % nvm.page_bytes:
        return f"nvm at 0x{nvm.address:x} does not begin with a page of {nvm.page_bytes} bytes"
    if nvm.erase_cycles < 0 or nvm.erase_ms < 0:
        return "erase_cycles and erase_ms of nvm cannot be negative"
    for memory in board.memory:
        end = memory.origin + memory.size_bytes
        overlaps = nvm.address < end and nvm.end > memory.origin
        if overlaps and (nvm.address <= memory.origin or nvm.end != end):
            return (
                f"nvm, 0x{nvm.address:x} to 0x{nvm.end:x}, neither ends memory {memory.name}, "
                f"0x{memory.origin:x} to 0x{end:x}, nor lies outside of it"
            )
    return ""


def _memory_problem(board: Board) -> str:
    regions = sorted(board.memory, key=lambda memory: memory.origin)
    for memory in regions:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", memory.name):
            return f"memory {memory.name}: the linker script wants names like RAM or FLASH_2"
        if memory.origin < 0 or memory.size_bytes <= 0 or memory.origin + memory.size_bytes > 1 << 32:
            return f"memory {memory.name} is empty or outside 32 bits of address"
    if len({memory.name for memory in regions}) != len(regions):
        return "two memory regions have the same name"
    for one, other in itertools.pairwise(regions):
        if one.origin + one.size_bytes > other.origin:
            return f"memory {one.name} and {other.name} overlap"
    return ""


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
