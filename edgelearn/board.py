"""Board and its parts, loaded and validated from one strict TOML file in `boards/`.

No board or chip name appears in Python code: everything that tells one board from another is in its file, and the
file names the drivers of `firmware/port/` that it is built from together with their parameters.
"""

from __future__ import annotations

import difflib
import enum
import re
import sys
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
    """Processor cores; compiler flags for each stand in `edgelearn.firmware.toolchain`."""

    CORTEX_M4F = "cortex-m4f"
    HOST = "host"


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
    """The drivers the board is built from: C files of `firmware/port/`, their constants and their interrupts."""

    sources: tuple[str, ...]
    interrupt_count: int = 0
    interrupts: tuple[Interrupt, ...] = ()
    defines: dict[str, int | str] = {}


class Counter(_Part, frozen=True, kw_only=True):
    """The counter that is read before and after the work.

    Attributes:
        unit: what one tick is on real hardware: `cycles`, or `none` where there is no counter.
        hz: ticks a second.
    """

    unit: str
    hz: int = 0


class Emulator(_Part, frozen=True, kw_only=True):
    """How the board is emulated.

    Attributes:
        engine: the emulator, `qemu`, or `host` for a process of this machine.
        machine: the emulator's own name of the machine.
        icount_shift: each instruction takes 2^shift ns of virtual time, which makes counts repeat exactly.
        ticks_per_instruction: ticks of the board's counter for one instruction at that shift; 0 where none is counted.
    """

    engine: str
    machine: str = ""
    icount_shift: int = 0
    ticks_per_instruction: float = 0.0


class Board(_Part, frozen=True, kw_only=True):
    """One board. Sizes in bytes, frequencies in Hz; `sources` names the documents the facts come from."""

    name: str
    title: str
    chip: str
    core: Core
    clock_hz: int
    stack_bytes: int
    memory: tuple[Memory, ...]
    port: Port
    counter: Counter
    emulator: Emulator | None = None
    sources: tuple[str, ...]

    def size_bytes(self, kind: MemoryKind) -> int:
        """Bytes of all regions of that kind."""
        return sum(memory.size_bytes for memory in self.memory if memory.kind is kind)

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
    known = {field for part in (Board, Memory, Interrupt, Port, Counter, Emulator) for field in part.__struct_fields__}
    close = difflib.get_close_matches(unknown.group(1), sorted(known), n=1)
    return f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(sorted(known))}"


def _problem(board: Board, path: Path) -> str:
    if board.name != path.stem:
        return f"the board is named {board.name}, the file {path.stem}"
    for kind in MemoryKind:
        if board.size_bytes(kind) <= 0:
            return f"no {kind.value} region"
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
