"""What a board file says, in words: for `edgelearn boards` and for docs/boards.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from edgelearn.board.parts import Board, Core, MemoryKind, Output, Usb
from edgelearn.board.ways import NO_SOFTDEVICE, Bossac, DfuUtil, Drive, EspTool, NrfUtil, OpenOcd, PyOcd, Way, method_of

_OUTPUTS = {
    Output.BARE_METAL: "bare metal",
    Output.ARDUINO: "Arduino",
    Output.MICROPYTHON: "MicroPython",
}
_CORES = {
    Core.AVR: "AVR",
    Core.CORTEX_M0: "Cortex-M0",
    Core.CORTEX_M0PLUS: "Cortex-M0+",
    Core.CORTEX_M3: "Cortex-M3",
    Core.CORTEX_M4F: "Cortex-M4F",
    Core.CORTEX_M7F: "Cortex-M7F",
    Core.RISCV_IMC: "RISC-V IMC",
    Core.XTENSA_LX6: "Xtensa LX6",
    Core.XTENSA_LX7: "Xtensa LX7",
    Core.HOST: "this machine",
}


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of addresses and what it is for.

    Attributes:
        end: the address after it.
    """

    origin: int
    end: int
    use: str

    @property
    def size_bytes(self) -> int:
        """Its bytes."""
        return self.end - self.origin


def size_words(size_bytes: int) -> str:
    """A size in KiB, or MiB where it is whole; what is less in bytes."""
    if size_bytes < 1 << 10:
        return f"{size_bytes} bytes"
    if size_bytes % (1 << 20) == 0:
        return f"{size_bytes >> 20:,} MiB"
    return f"{size_bytes / 1024:,.4g} KiB" if size_bytes < 1000 << 10 else f"{size_bytes // 1024:,} KiB"


def outputs_words(outputs: Iterable[Output]) -> str:
    """What can be generated, the default first."""
    return ", ".join(_OUTPUTS.get(output, output.value) for output in outputs)


def core_words(core: Core) -> str:
    """A core by its maker's name."""
    return _CORES[core]


def methods_words(ways: Sequence[Way]) -> str:
    """The ways to flash, the one to prefer first."""
    return ", ".join(dict.fromkeys(method_of(way) for way in ways)) or "-"


def softdevice_words(name: str) -> str:
    """A SoftDevice as INFO_UF2.TXT names it; empty where it says nothing."""
    return "no SoftDevice" if name == NO_SOFTDEVICE else name and f"SoftDevice {name}"


def way_words(board: Board, way: Way) -> str:
    """A way to flash a board with what it needs to know, and what a person does."""
    match way:
        case PyOcd():
            detail = way.target
        case OpenOcd():
            detail = ", ".join(way.configs)
        case DfuUtil():
            detail = f"{way.vid:04x}:{way.pid:04x}"
        case Drive():
            begins = {memory.origin for memory in board.memory}
            behind = (f"behind {softdevice_words(name)}" for name, at in way.programs_at.items() if at in begins)
            detail = ", ".join((" or ".join(way.volumes), way.format.value, *behind))
        case NrfUtil():
            detail = f"SoftDevice 0x{way.softdevice:04X}"
        case EspTool():
            detail = f"{way.chip}, from 0x{way.offset:X}"
        case Bossac():
            detail = "opens the port at 1200 baud"
        case _:
            detail = ""
    enter = way.enter if isinstance(way, DfuUtil | Drive) else ""
    details = ": ".join(part for part in (detail, enter) if part)
    return method_of(way) + (f" ({details})" if details else "")


def serial_words(board: Board) -> str:
    """Where the serial line is, in a word or two."""
    if board.uart is None:
        return "USB" if board.usb else "-"
    return "USB" if board.uart.reaches_usb else "pins"


def emulator_words(board: Board) -> str:
    """What emulates it."""
    found = [board.emulator.engine] if board.emulator else []
    return ", ".join([*found, *(["renode"] if board.renode else [])]) or "-"


def memory_map(board: Board) -> tuple[Stretch, ...]:
    """All stretches of flash and RAM that the file names, by address."""
    found = [Stretch(origin=k.origin, end=k.end, use=f"kept: {k.holder}") for k in board.kept]
    nvm = board.nvm
    if nvm:
        found.append(Stretch(origin=nvm.address, end=nvm.end, use="what was learned"))
    for memory in board.memory:
        use = "program and constants" if memory.kind is MemoryKind.FLASH else "data and stack"
        end = memory.origin + board.usable_bytes(memory)
        found.append(Stretch(origin=memory.origin, end=end, use=f"{memory.name}: {use}"))
    return tuple(sorted(found, key=lambda stretch: stretch.origin))


def facts(board: Board) -> tuple[tuple[str, str], ...]:
    """Everything else about a board that a person may want to know, as labels and sentences."""
    found = [("outputs", outputs_words(board.outputs)), ("serial line", _serial_sentence(board))]
    if board.core is Core.AVR:
        found.append(("addresses", "as avr-ld has them: data memory from 0x800000 on, EEPROM from 0x810000 on"))
    if board.nvm:
        nvm = board.nvm
        wears = f"{nvm.erase_cycles:,} erases each" if nvm.erase_cycles else "which do not wear"
        found.append(("learned heads", f"kept in {nvm.pages} pages of {size_words(nvm.page_bytes)}, {wears}"))
    if board.usb:
        found.append(("USB", ", ".join(_usb_words(usb) for usb in board.usb)))
    if board.flash:
        found.append(("flash with", "; ".join(way_words(board, way) for way in board.flash)))
    if board.arduino:
        index = board.arduino.package_url
        found.append(("Arduino", f"{board.arduino.fqbn}" + (f", core from {index}" if index else "")))
    if board.micropython:
        python = board.micropython
        heap = f"about {python.heap_bytes:,} bytes of heap"
        line = f"a REPL that takes {python.repl_receive_bytes} bytes while it computes"
        found.append(("MicroPython", f"{python.board}, {python.architecture}, {heap}, {line}"))
    if board.emulator:
        machine = f" {board.emulator.machine}" if board.emulator.machine else ""
        found.append(("emulator", f"{board.emulator.engine}{machine}"))
    if board.renode:
        found.append(("Renode", board.renode.platform))
    return (*found, ("sources", "; ".join(board.sources)))


def _usb_words(usb: Usb) -> str:
    serials = f" (serial numbers {', '.join(f'{one}...' for one in usb.serial_prefixes)})"
    return f"{usb.vid:04x}:{usb.pid:04x} {usb.mode.value}" + (serials if usb.serial_prefixes else "")


def _serial_sentence(board: Board) -> str:
    own_usb = "over the processor's own USB"
    if board.uart is None:
        return own_usb if board.usb else "given by the emulator"
    pins = f"TX at {board.uart.tx}, RX at {board.uart.rx}"
    if board.uart.reaches_usb:
        return f"over USB, through the interface chip; {pins}"
    others = [output for output in board.outputs if output in (Output.ARDUINO, Output.MICROPYTHON)]
    return f"{pins}: connect a 3.3 V USB serial adapter" + (
        f"; {outputs_words(others)} {own_usb}" if others and board.usb else ""
    )


_HEAD = """\
# Boards

What edgelearn knows of each board: the files in [boards/](../boards). Flash and RAM are what firmware may use. Where
the serial line is on pins, connect a USB serial adapter to them; Arduino and MicroPython use the board's own USB.
[CONTRIBUTING.md](../CONTRIBUTING.md) says how to add a board. This page is written by
`pytest tests/unit/test_boards_page.py --update-golden`.

| board | chip | core | MHz | flash | RAM | outputs | flash with | serial line | emulator |
|---|---|---|---:|---:|---:|---|---|---|---|
"""


def page(boards: Sequence[Board]) -> str:
    """The page of all boards, as Markdown."""
    rows = [
        (
            f"[{board.name}](#{board.name})",
            board.chip,
            core_words(board.core),
            f"{board.clock_hz / 1e6:g}",
            size_words(board.flash_bytes),
            size_words(board.ram_bytes),
            outputs_words(board.outputs),
            methods_words(board.flash),
            serial_words(board),
            emulator_words(board),
        )
        for board in boards
    ]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return _HEAD + table + "".join(_section(board) for board in boards)


def _section(board: Board) -> str:
    lines = [
        f"\n## {board.name}\n",
        f"{board.title}: {board.chip}, {core_words(board.core)} at {board.clock_hz / 1e6:g} MHz.\n",
        "| from | to | size | for |",
        "|---|---|---:|---|",
        *(
            f"| 0x{part.origin:08X} | 0x{part.end - 1:08X} | {size_words(part.size_bytes)} | {part.use} |"
            for part in memory_map(board)
        ),
        "",
        *(f"- {label}: {text}" for label, text in facts(board)),
    ]
    return "\n".join(lines) + "\n"
