"""problem(board): what is wrong in a board file beyond its schema; each message names the values."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from edgelearn import resources
from edgelearn.board.compilers import COMPILERS
from edgelearn.board.parts import Board, MemoryKind, Output
from edgelearn.board.ways import ArduinoCli, DfuUtil, Drive, DriveFormat, EspTool, MpRemote


def problem(board: Board, path: Path) -> str:
    """What is wrong with the board of that file; empty where nothing is."""
    if board.name != path.stem:
        return f"the board is named {board.name}, the file {path.stem}"
    for kind in MemoryKind:
        if board.size_bytes(kind) <= 0:
            return f"no {kind.value} region"
    wrong = _memory_problem(board) or _kept_problem(board) or _nvm_problem(board) or _outputs_problem(board)
    if wrong:
        return wrong
    if board.clock_hz <= 0 or board.stack_bytes < 0 or board.stack_bytes % 8 != 0:
        return "clock_hz must be positive, stack_bytes a multiple of 8"
    if board.counter.unit not in ("cycles", "none"):
        return f"counter unit {board.counter.unit} is neither cycles nor none"
    if board.emulator and board.emulator.engine not in ("qemu", "host"):
        return f"emulator engine {board.emulator.engine} is neither qemu nor host"
    for source in board.port.sources:
        if not _is_driver(source):
            return f"there is no driver firmware/port/{source}"
    for piece in board.renode.additions if board.renode else ():
        if not (resources.firmware_folder() / "renode_parts" / piece).is_file():
            return f"there is no piece firmware/renode_parts/{piece}"
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
        return "arduino saves, but there is no nvm to save in" if board.arduino and board.arduino.saves else ""
    saves = board.arduino is not None and board.arduino.saves
    if nvm.source not in board.port.sources and (board.port.sources or not saves):
        return f"the driver of nvm, {nvm.source}, is not one of the port's sources"
    if not _is_driver(nvm.source):
        return f"there is no driver firmware/port/{nvm.source}"
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


def _is_driver(source: str) -> bool:
    return (resources.firmware_folder() / "port" / source).is_file()


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
        if one.end > other.origin:
            return f"memory {one.name} and {other.name} overlap"
    return ""


def _kept_problem(board: Board) -> str:
    for kept in board.kept:
        if not kept.holder or kept.origin < 0 or kept.size_bytes <= 0 or kept.end > 1 << 32:
            return f"what is kept at 0x{kept.origin:x} has no holder, is empty or outside 32 bits of address"
        for memory in board.memory:
            if kept.origin < memory.end and memory.origin < kept.end:
                return f"memory {memory.name} overlaps what {kept.holder} keeps, 0x{kept.origin:x} to 0x{kept.end:x}"
        if board.nvm and kept.origin < board.nvm.end and board.nvm.address < kept.end:
            return f"nvm overlaps what {kept.holder} keeps, 0x{kept.origin:x} to 0x{kept.end:x}"
    return ""


def _outputs_problem(board: Board) -> str:
    if not board.outputs:
        return "nothing can be generated for it: it has neither port.sources, nor arduino, nor micropython"
    if board.port.sources and board.core not in COMPILERS:
        return f"there are no compiler flags for bare-metal firmware of a {board.core.value}"
    identifiers = [(usb.vid, usb.pid) for usb in board.usb]
    for vid, pid in (*identifiers, *((way.vid, way.pid) for way in board.flash if isinstance(way, DfuUtil))):
        if not 0 <= vid < 1 << 16 or not 0 <= pid < 1 << 16:
            return f"0x{vid:x}:0x{pid:x} is no USB identifier"
    if len(set(identifiers)) != len(identifiers):
        return "a USB identifier stands there twice"
    for prefix in (prefix for usb in board.usb for prefix in usb.serial_prefixes):
        if not re.fullmatch(r"[0-9A-Za-z]+", prefix):
            return f"{prefix!r} is no beginning of a serial number"
    if any(isinstance(way, ArduinoCli) for way in board.flash) and board.arduino is None:
        return "arduino-cli can flash it, but it has no arduino"
    if any(isinstance(way, MpRemote | EspTool) for way in board.flash) and board.micropython is None:
        return "mpremote or esptool can flash it, but it has no micropython"
    if any(isinstance(way, Drive) and (way.family != 0) != (way.format is DriveFormat.UF2) for way in board.flash):
        return "a family belongs to a drive that takes UF2, and to no other"
    for way in (way for way in board.flash if isinstance(way, Drive)):
        wrong = _drive_problem(board, way)
        if wrong:
            return f"drive {way.volume}: {wrong}"
    if board.emulator is None and Output.BARE_METAL in board.outputs and len(board.outputs) == 2 and not board.flash:
        return "there is no way to flash it and no emulator"
    return ""


def _drive_problem(board: Board, way: Drive) -> str:
    if (way.programs_at or way.earlier) and way.format is not DriveFormat.UF2:
        return "programs_at and earlier are of bootloaders that take UF2"
    flash = [memory for memory in board.memory if memory.kind is MemoryKind.FLASH]
    if way.programs_at and not {memory.origin for memory in flash} & set(way.programs_at.values()):
        return f"programs_at does not name 0x{flash[0].origin:x}, where the flash of the board file begins"
    if way.earlier and not any(memory.origin < way.earlier.end < memory.end for memory in flash):
        return f"the end of the earlier bootloader, 0x{way.earlier.end:x}, is not within flash"
    return ""
