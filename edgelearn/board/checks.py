"""first_fault(board): what is wrong in a board file beyond its schema. Each message is about one value and names it."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from edgelearn import resources
from edgelearn.board import drivers
from edgelearn.board.compilers import COMPILERS
from edgelearn.board.parts import Board, Core, MemoryKind, NonVolatileMemory, Output
from edgelearn.board.ways import ArduinoCli, DfuUtil, Drive, DriveFormat, EspTool, MpRemote, method_of


class Fault(Struct, frozen=True, kw_only=True):
    """Something that is wrong.

    Attributes:
        cause: what.
        hint: what to do; empty where that is plain.
    """

    cause: str
    hint: str = ""


#: Of machine code in .mpy files, as mpy-cross names them.
MPY_ARCHITECTURES = (
    *("armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp"),
    *("xtensa", "xtensawin", "rv32imc", "x86", "x64"),
)


def first_fault(board: Board, path: Path) -> Fault | None:
    """The first thing that is wrong with the board of that file; None where nothing is.

    Each check may rely on those before it, which is why only the first is told.
    """
    checks = (_names, _memory, _processor, _kept, _outputs, _port, _nvm, _serial_line, _emulators)
    return next((fault for check in checks for fault in check(board, path)), None)


def _names(board: Board, path: Path) -> Iterator[Fault]:
    if board.name != path.stem:
        yield Fault(
            cause=f"the board is named {board.name}, the file {path.stem}",
            hint=f'rename the file to {board.name}.toml, or give it `name = "{path.stem}"`',
        )
    if not board.sources:
        yield Fault(cause="sources is empty", hint="name the documents that the facts come from")


_END_OF_ADDRESSES = 1 << 32


def _memory(board: Board, path: Path) -> Iterator[Fault]:
    for kind in MemoryKind:
        if not any(memory.kind is kind for memory in board.memory):
            yield Fault(cause=f"no {kind.value} region", hint=f'add a [[memory]] with kind = "{kind.value}"')
    regions = sorted(board.memory, key=lambda memory: memory.origin)
    for memory in regions:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", memory.name):
            yield Fault(cause=f"memory {memory.name}: the linker script wants names like RAM or FLASH_2")
        if memory.size_bytes <= 0:
            yield Fault(cause=f"memory {memory.name} has a size of {memory.size_bytes} bytes")
        if memory.origin < 0 or memory.end > _END_OF_ADDRESSES:
            yield Fault(cause=f"memory {memory.name} is outside 32 bits of address")
    if len({memory.name for memory in regions}) != len(regions):
        yield Fault(cause="two memory regions have the same name")
    for one, other in itertools.pairwise(regions):
        if one.end > other.origin:
            yield Fault(cause=f"memory {one.name} and {other.name} overlap")


def _processor(board: Board, path: Path) -> Iterator[Fault]:
    if board.clock_hz <= 0:
        yield Fault(cause=f"clock_hz is {board.clock_hz}, which is no frequency")
    if board.stack_bytes < 0 or board.stack_bytes % 8 != 0:
        yield Fault(cause=f"stack_bytes is {board.stack_bytes}, and must be a multiple of 8, from 0 on")
    ram_bytes = sum(memory.size_bytes for memory in board.memory if memory.kind is MemoryKind.RAM)
    if board.stack_bytes >= ram_bytes:
        yield Fault(cause=f"stack_bytes is {board.stack_bytes:,}, and there are {ram_bytes:,} bytes of RAM in all")
    counter = board.counter
    if counter.unit not in ("cycles", "none"):
        yield Fault(cause=f"counter.unit is {counter.unit}, which is neither cycles nor none")
    if counter.unit == "cycles" and counter.hz * counter.cycles_per_tick != board.clock_hz:
        yield Fault(
            cause=f"the counter's ticks, {counter.hz:,} a second of {counter.cycles_per_tick} cycles each, "
            f"do not make up clock_hz, {board.clock_hz:,}",
            hint='mend counter.hz or counter.cycles_per_tick; counter.unit = "none" where nothing is counted',
        )


def _kept(board: Board, path: Path) -> Iterator[Fault]:
    for kept in board.kept:
        if not kept.holder:
            yield Fault(cause=f"what is kept at 0x{kept.origin:x} has no holder")
        if kept.size_bytes <= 0:
            yield Fault(cause=f"what {kept.holder} keeps has a size of {kept.size_bytes} bytes")
        if kept.origin < 0 or kept.end > _END_OF_ADDRESSES:
            yield Fault(cause=f"what {kept.holder} keeps is outside 32 bits of address")
        stretch = f"what {kept.holder} keeps, 0x{kept.origin:x} to 0x{kept.end:x}"
        for memory in board.memory:
            if kept.origin < memory.end and memory.origin < kept.end:
                yield Fault(
                    cause=f"memory {memory.name}, 0x{memory.origin:x} to 0x{memory.end:x}, overlaps {stretch}",
                    hint="memory is what the firmware may use whole: leave out of it what is kept",
                )
        nvm = board.nvm
        if nvm and kept.origin < nvm.end and nvm.address < kept.end:
            yield Fault(cause=f"nvm, 0x{nvm.address:x} to 0x{nvm.end:x}, overlaps {stretch}")


def _outputs(board: Board, path: Path) -> Iterator[Fault]:
    if not board.outputs:
        yield Fault(
            cause="nothing can be generated for it: it has neither port.sources, nor arduino, nor micropython",
            hint="docs/drivers.md lists the drivers for port.sources",
        )
    if board.port.sources and board.core not in COMPILERS:
        yield Fault(
            cause=f"there are no compiler flags for bare-metal firmware of a {board.core.value}",
            hint=f"port.sources goes with {', '.join(core.value for core in COMPILERS)}",
        )
    if board.micropython and board.micropython.architecture not in MPY_ARCHITECTURES:
        name = board.micropython.architecture
        yield Fault(
            cause=f"micropython.architecture is {name}, which MicroPython does not have",
            hint=meant(name, MPY_ARCHITECTURES, "it has"),
        )
    if board.micropython and board.micropython.heap_bytes <= 0:
        yield Fault(
            cause=f"micropython.heap_bytes is {board.micropython.heap_bytes:,}",
            hint="on the board, `import gc; gc.collect(); print(gc.mem_free())` tells it",
        )
    identifiers = [(usb.vid, usb.pid) for usb in board.usb]
    for vid, pid in (*identifiers, *((way.vid, way.pid) for way in board.flash if isinstance(way, DfuUtil))):
        if not 0 <= vid < 1 << 16 or not 0 <= pid < 1 << 16:
            yield Fault(cause=f"0x{vid:x}:0x{pid:x} is no USB identifier")
    if len(set(identifiers)) != len(identifiers):
        yield Fault(cause="a USB identifier stands there twice")
    for prefix in (prefix for usb in board.usb for prefix in usb.serial_prefixes):
        if not re.fullmatch(r"[0-9A-Za-z]+", prefix):
            yield Fault(cause=f"{prefix!r} is no beginning of a serial number", hint="letters and digits, at least one")
    for way in board.flash:
        if isinstance(way, ArduinoCli) and board.arduino is None:
            yield Fault(cause="arduino-cli can flash it, but it has no arduino")
        if isinstance(way, MpRemote | EspTool) and board.micropython is None:
            yield Fault(cause=f"{method_of(way)} can flash it, but it has no micropython")
        if isinstance(way, Drive):
            yield from _drive(board, way)
    if not board.engines and Output.BARE_METAL in board.outputs and len(board.outputs) == 2 and not board.flash:
        yield Fault(cause="there is no way to flash it and no emulator")


def _drive(board: Board, way: Drive) -> Iterator[Fault]:
    if (way.family != 0) != (way.format is DriveFormat.UF2):
        yield Fault(cause=f"drive {way.volume}: a family belongs to a drive that takes UF2, and to no other")
    if (way.programs_at or way.earlier) and way.format is not DriveFormat.UF2:
        yield Fault(cause=f"drive {way.volume}: programs_at and earlier are of bootloaders that take UF2")
    flash = [memory for memory in board.memory if memory.kind is MemoryKind.FLASH]
    if way.programs_at and not {memory.origin for memory in flash} & set(way.programs_at.values()):
        yield Fault(
            cause=f"drive {way.volume}: programs_at does not name 0x{flash[0].origin:x}, where the flash of the board "
            "file begins"
        )
    if way.earlier and not any(memory.origin < way.earlier.end < memory.end for memory in flash):
        yield Fault(
            cause=f"drive {way.volume}: the end of the earlier bootloader, 0x{way.earlier.end:x}, is not within flash"
        )


def _port(board: Board, path: Path) -> Iterator[Fault]:
    known = drivers.driver_names()
    for source in board.port.sources:
        if source not in known:
            yield Fault(cause=f"there is no driver firmware/port/{source}", hint=meant(source, known, "drivers"))
    for source in board.port.sources:
        for header in sorted(drivers.driver(source).includes & set(known)):
            if header not in board.port.sources:
                yield Fault(cause=f"{source} includes {header}, which is not one of port.sources", hint="add it")
    yield from _functions(board)
    yield from _defines(board)
    yield from _interrupts(board)


#: How pages that are mapped are read, and others; which of them `_nvm_driver` checks.
_READING = frozenset({"elearn_nvm_bytes", "elearn_nvm_read"})

#: What the vector table names.
_OF_EVERY_PROCESSOR = frozenset({"elearn_reset_handler", "elearn_fault_handler"})


def _functions(board: Board) -> Iterator[Fault]:
    """What the runtime and the drivers call of each other must be there, once."""
    if not board.port.sources:
        return
    parts = [drivers.driver(source) for source in board.port.sources]
    named = {name for part in parts if part.name.endswith(".c") for name in part.named}
    declared = {name for part in parts for name in part.declared}
    wanted = drivers.runtime_functions("elearn_port.h") | (declared & named)
    if board.core is not Core.HOST:
        wanted |= _OF_EVERY_PROCESSOR
    if board.nvm:
        wanted |= drivers.runtime_functions("elearn_nvm.h") - _READING
    for function in sorted(wanted):
        definers = [part.name for part in parts if function in part.defined]
        if not definers:
            able = [name for name in drivers.driver_names() if function in drivers.driver(name).defined]
            yield Fault(cause=f"none of port.sources defines {function}()", hint=f"add one of {', '.join(able)}")
        if len(definers) > 1:
            yield Fault(cause=f"both {' and '.join(definers)} define {function}()", hint="leave one of them out")


def _defines(board: Board) -> Iterator[Fault]:
    taken = drivers.defines_of(board.port.sources)
    given = board.port.defines
    strange = [name for name in given if name not in taken]
    for name, takers in taken.items():
        define = next(iter(takers.values()))
        if name not in given and define.required:
            numbers = f" ({define.numbers})" if define.numbers else ""
            close = difflib.get_close_matches(name, strange, n=1)
            yield Fault(
                cause=f"port.defines lacks {name}, which {' and '.join(takers)} wants{numbers}: {define.meaning}",
                hint=f"is it what you call {close[0]}?" if close else "docs/drivers.md lists what each driver wants",
            )
    for name in strange:
        close = difflib.get_close_matches(name, taken, n=1)
        yield Fault(
            cause=f"port.defines has {name}, which none of port.sources takes",
            hint=f"did you mean `{close[0]}`?"
            if close
            else "leave it out; docs/drivers.md lists what each driver takes",
        )
    for name, value in given.items():
        if not 0 <= value < 1 << 32:
            yield Fault(cause=f"{name} is {value}, which is no unsigned 32-bit number")
        for taker, wanted in taken[name].items():
            if not wanted.allows(value):
                yield Fault(cause=f"{name} is {value}; {taker} takes {wanted.numbers}: {wanted.meaning}")


def _interrupts(board: Board) -> Iterator[Fault]:
    port = board.port
    for interrupt in port.interrupts:
        if not 0 <= interrupt.number < port.interrupt_count:
            yield Fault(
                cause=f"interrupt {interrupt.number} is outside the {port.interrupt_count} of port.interrupt_count"
            )
    numbers = [interrupt.number for interrupt in port.interrupts]
    if len(set(numbers)) != len(numbers):
        yield Fault(cause="an interrupt has two handlers")
    defined = {name for source in port.sources for name in drivers.driver(source).defined}
    handlers = [interrupt.handler for interrupt in port.interrupts]
    for handler in (*handlers, *((board.nvm.nmi_handler,) if board.nvm and board.nvm.nmi_handler else ())):
        if handler not in defined:
            yield Fault(
                cause=f"{handler} is a handler, but none of port.sources defines that function",
                hint=meant(
                    handler, sorted(name for name in defined if name.endswith(("_interrupt", "_nmi"))), "theirs"
                ),
            )
    number = port.defines.get("ELEARN_UART_INTERRUPT")
    if number is not None and number not in numbers:
        yield Fault(
            cause=f"ELEARN_UART_INTERRUPT is {number}, which port.interrupts gives no handler",
            hint=f'add {{ number = {number}, handler = "elearn_uart_interrupt" }} to port.interrupts',
        )


#: What a record's header is a multiple of: see runtime/elearn_store.c.
_WRITE_BYTES = (1, 2, 4, 8, 16, 32)


def _nvm(board: Board, path: Path) -> Iterator[Fault]:
    nvm = board.nvm
    if nvm is None:
        pages = [source for source in board.port.sources if "elearn_nvm.h" in drivers.driver(source).includes]
        for source in pages:
            yield Fault(cause=f"{source} keeps pages, but there is no nvm", hint="add [nvm], or leave the driver out")
        if board.arduino and board.arduino.saves:
            yield Fault(cause="arduino saves, but there is no nvm to save in", hint="add [nvm], or leave saves out")
        return
    yield from _nvm_driver(board, nvm)
    if nvm.write_bytes not in _WRITE_BYTES:
        yield Fault(
            cause=f"nvm is programmed in {nvm.write_bytes} bytes; possible are {', '.join(map(str, _WRITE_BYTES))}"
        )
    if nvm.page_bytes <= 0 or nvm.page_bytes % nvm.write_bytes:
        yield Fault(cause=f"the {nvm.page_bytes} bytes of a page of nvm are not whole units of {nvm.write_bytes} bytes")
    if nvm.pages < 2:
        yield Fault(cause=f"nvm has {nvm.pages} pages; two are needed, so that one stays while the other is erased")
    if nvm.address < 0 or nvm.end > _END_OF_ADDRESSES:
        yield Fault(cause="nvm is outside 32 bits of address")
    if nvm.address % nvm.page_bytes:
        yield Fault(cause=f"nvm at 0x{nvm.address:x} does not begin with a page of {nvm.page_bytes} bytes")
    if nvm.erase_cycles < 0:
        yield Fault(cause=f"nvm.erase_cycles is {nvm.erase_cycles}; it cannot be negative")
    if nvm.erase_ms < 0:
        yield Fault(cause=f"nvm.erase_ms is {nvm.erase_ms}; it cannot be negative")
    yield from _nvm_place(board, nvm)
    yield from _nvm_pages(board, nvm)


def _nvm_driver(board: Board, nvm: NonVolatileMemory) -> Iterator[Fault]:
    saves = board.arduino is not None and board.arduino.saves
    if not board.port.sources and not saves:
        yield Fault(
            cause="nothing keeps what it learned in nvm: there is no port.sources, and arduino.saves is not true",
            hint="leave [nvm] out, or say arduino.saves = true",
        )
    if board.port.sources and nvm.source not in board.port.sources:
        yield Fault(cause=f"the driver of nvm, {nvm.source}, is not one of port.sources", hint="add it")
    known = [name for name in drivers.driver_names() if "elearn_nvm.h" in drivers.driver(name).includes]
    if nvm.source not in known:
        yield Fault(
            cause=f"there is no driver of nvm firmware/port/{nvm.source}", hint=meant(nvm.source, known, "drivers")
        )
    driver = drivers.driver(nvm.source)
    if nvm.mapped and "elearn_nvm_read" in driver.defined:
        yield Fault(
            cause=f"{nvm.source} drives pages that the processor cannot read like RAM", hint="nvm.mapped = false"
        )
    if not nvm.mapped and "elearn_nvm_bytes" in driver.defined:
        yield Fault(cause=f"{nvm.source} drives pages that the processor reads like RAM", hint="leave nvm.mapped out")
    if not saves:
        return
    lacking = [
        *sorted(driver.includes & set(drivers.driver_names())),
        *(one.name for one in driver.defines if one.required),
    ]
    if lacking:
        yield Fault(
            cause=f"arduino saves, but {nvm.source} wants {lacking[0]}, which a sketch does not have",
            hint="leave saves out, or take a driver that wants nothing of port",
        )


def _nvm_pages(board: Board, nvm: NonVolatileMemory) -> Iterator[Fault]:
    """What the driver is made for."""
    driver = drivers.driver(nvm.source)
    pages = driver.pages.get(board.core.value)
    if pages is None:
        yield Fault(
            cause=f"{nvm.source} drives no pages of a {board.core.value}",
            hint=f"it is for {', '.join(driver.pages)}; docs/drivers.md lists the drivers",
        )
        return
    if pages.sizes_bytes and nvm.page_bytes not in pages.sizes_bytes:
        sizes = " or ".join(map(str, pages.sizes_bytes))
        yield Fault(cause=f"nvm.page_bytes is {nvm.page_bytes}; {nvm.source} erases {sizes} of a {board.core.value}")
    if nvm.write_bytes % pages.unit_bytes:
        yield Fault(
            cause=f"nvm.write_bytes is {nvm.write_bytes}; {nvm.source} programs units of {pages.unit_bytes} bytes",
            hint=f"a multiple of {pages.unit_bytes}",
        )


def _nvm_place(board: Board, nvm: NonVolatileMemory) -> Iterator[Fault]:
    """Pages end a region, or are of a memory that is none: of one that the image cannot use, or cannot even address."""
    stretch = f"nvm, 0x{nvm.address:x} to 0x{nvm.end:x},"
    if nvm.separate and not nvm.mapped:
        yield Fault(cause=f"{stretch} is not mapped, and so separate anyhow", hint="leave nvm.separate out")
    apart = nvm.separate or not nvm.mapped
    touched = [memory for memory in board.memory if nvm.address < memory.end and nvm.end > memory.origin]
    for memory in touched:
        region = f"memory {memory.name}, 0x{memory.origin:x} to 0x{memory.end:x}"
        if apart:
            state, key = ("is separate", "nvm.separate") if nvm.separate else ("is not mapped", "nvm.mapped")
            yield Fault(cause=f"{stretch} {state}, but overlaps {region}", hint=f"leave {key} out")
        if nvm.address <= memory.origin or nvm.end != memory.end:
            yield Fault(cause=f"{stretch} does not end {region}", hint="its pages are the last ones of the region")
    if not touched and not apart:
        regions = ", ".join(f"{one.name} 0x{one.origin:x} to 0x{one.end:x}" for one in board.memory)
        yield Fault(
            cause=f"{stretch} is in none of the memory regions: {regions}",
            hint="its pages end a region; nvm.separate = true where they are of a memory that is not listed, "
            "nvm.mapped = false where the processor cannot read that like RAM",
        )


def _serial_line(board: Board, path: Path) -> Iterator[Fault]:
    given = board.port.defines
    # Where pins are not counted on from one port to the next, the port is part of them.
    tx, rx = ([given.get(f"ELEARN_UART_{way}_{part}") for part in ("GPIO_ADDRESS", "PIN")] for way in ("TX", "RX"))
    if "ELEARN_UART_TX_PIN" in given and tx == rx:
        yield Fault(cause=f"ELEARN_UART_TX_PIN is {given['ELEARN_UART_TX_PIN']}, which is the pin that receives")
    if board.uart is None:
        return
    for name, pin in (("tx", board.uart.tx), ("rx", board.uart.rx)):
        if not pin.strip():
            yield Fault(cause=f"uart.{name} names no pin")
    if board.uart.tx == board.uart.rx:
        yield Fault(cause=f"uart.tx and uart.rx are the same pin, {board.uart.tx}")


def _emulators(board: Board, path: Path) -> Iterator[Fault]:
    if board.emulator and board.emulator.engine not in ("qemu", "host"):
        yield Fault(cause=f"emulator.engine is {board.emulator.engine}, which is neither qemu nor host")
    if board.emulator and (board.emulator.engine == "host") != (board.core is Core.HOST):
        yield Fault(cause=f"emulator.engine is {board.emulator.engine}, which does not run a {board.core.value}")
    pieces = resources.firmware_folder() / "renode_parts"
    known = sorted(path.name for path in pieces.iterdir())
    for piece in board.renode.additions if board.renode else ():
        if piece not in known:
            yield Fault(cause=f"there is no piece firmware/renode_parts/{piece}", hint=meant(piece, known, "pieces"))


def meant(name: str, known: Iterable[str], what: str) -> str:
    """The one that was probably meant, else all of them; empty where there are none."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean `{close[0]}`?" if close else f"{what}: {', '.join(known)}" if known else ""
