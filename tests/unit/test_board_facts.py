"""What the board files say of real boards is plausible, and agrees with what is known from elsewhere."""

from __future__ import annotations

import itertools
import re

import pytest

from edgelearn.board import Board, Core, Kept, Memory, MemoryKind, Output, UsbMode, board_names, load_board
from edgelearn.board.ways import ArduinoCli, Bossac, DfuUtil, Drive, DriveFormat, EspTool, MpRemote, NrfUtil

BOARDS = {name: load_board(name) for name in board_names()}
#: An FPGA's and this machine's memory is no chip's.
REAL = {
    name: board for name, board in BOARDS.items() if board.core is not Core.HOST and not board.chip.startswith("AN")
}
MIB = 1 << 20
KIB = 1 << 10

#: Of chips, by their data sheets: where flash begins, its size, the fastest clock in MHz, all RAM on it.
CHIPS = {
    "ATmega2560": (0, 256 * KIB, 16, 8 * KIB),
    "ESP32": (0, 4 * MIB, 240, 520 * KIB),
    "ESP32-C3": (0, 4 * MIB, 160, 400 * KIB),
    "ESP32-S3": (0, 8 * MIB, 240, 512 * KIB),
    "R7FA4M1AB3CFM": (0, 256 * KIB, 48, 32 * KIB),
    "RP2040": (0x1000_0000, 16 * MIB, 133, 264 * KIB),
    "STM32F405RG": (0x0800_0000, 1 * MIB, 168, 192 * KIB),
    "STM32F411CE": (0x0800_0000, 512 * KIB, 100, 128 * KIB),
    "STM32F446RE": (0x0800_0000, 512 * KIB, 180, 128 * KIB),
    "STM32F746NG": (0x0800_0000, 1 * MIB, 216, 336 * KIB),
    "STM32H747XI": (0x0800_0000, 2 * MIB, 480, 1024 * KIB),
    "STM32L475VG": (0x0800_0000, 1 * MIB, 80, 128 * KIB),
    "STM32L4R5ZI": (0x0800_0000, 2 * MIB, 120, 640 * KIB),
    "nRF51822-QFAA": (0, 256 * KIB, 16, 16 * KIB),
    "nRF52833-QDAA": (0, 512 * KIB, 64, 128 * KIB),
    "nRF52840-QIAA": (0, 1 * MIB, 64, 256 * KIB),
}

#: EEPROM of chips, by their data sheets: where it begins (of an AVR, as avr-ld counts) and its size.
EEPROM = {"ATmega2560": (0x81_0000, 4 * KIB)}

#: Who vendor identifiers belong to, by the list of the USB-IF; 0xF055 is nobody's and used by MicroPython.
VENDORS = {
    0x0403: "FTDI",
    0x0451: "Texas Instruments",
    0x045B: "Renesas",
    0x0483: "STMicroelectronics",
    0x04D8: "Microchip",
    0x0D28: "Arm",
    0x10C4: "Silicon Labs",
    0x1209: "pid.codes",
    0x1366: "SEGGER",
    0x16C0: "Van Ooijen Technische Informatica",
    0x1915: "Nordic Semiconductor",
    0x1A86: "WCH",
    0x1B4F: "SparkFun",
    0x1FC9: "NXP",
    0x2341: "Arduino",
    0x239A: "Adafruit",
    0x2886: "Seeed",
    0x2E8A: "Raspberry Pi",
    0x303A: "Espressif",
    0xF055: "MicroPython",
}

#: Bootloaders in ROM, by USB identifier: they keep nothing of the flash.
IN_ROM = {(0x0483, 0xDF11), (0x2E8A, 0x0003)}

#: Architectures of machine code in .mpy files that each core runs, from MicroPython's documentation of mpy-cross.
MPY = {
    Core.CORTEX_M0PLUS: {"armv6m"},
    Core.CORTEX_M4F: {"armv7emsp"},
    Core.CORTEX_M7F: {"armv7emsp", "armv7emdp"},
    Core.XTENSA_LX6: {"xtensawin"},
    Core.XTENSA_LX7: {"xtensawin"},
    Core.RISCV_IMC: {"rv32imc"},
}


def claims(board: Board) -> list[tuple[int, int, str]]:
    """What is said of flash: begin, end and whose, sorted. Pages for what was learned that end a region are in it."""
    regions: list[Memory | Kept] = [m for m in board.memory if m.kind is MemoryKind.FLASH]
    found = [(part.origin, part.end, getattr(part, "name", "kept")) for part in (*regions, *board.kept)]
    nvm = board.nvm
    if nvm and nvm.mapped and not any(m.origin <= nvm.address < m.end for m in board.memory):
        found.append((nvm.address, nvm.end, "nvm"))
    return sorted(found)


def test_names_and_titles_are_unique() -> None:
    titles = [board.title for board in BOARDS.values()]
    assert len(set(titles)) == len(titles)
    for board in BOARDS.values():
        regions = [memory.name for memory in board.memory]
        assert len(set(regions)) == len(regions)


def test_every_core_has_a_board() -> None:
    assert {board.core for board in BOARDS.values()} == set(Core)


def test_every_output_and_every_way_is_some_boards() -> None:
    assert {output for board in BOARDS.values() for output in board.outputs} == set(Output)
    ways = {type(way) for board in BOARDS.values() for way in board.flash}
    assert len(ways) == 10


def test_every_chip_here_is_on_a_board() -> None:
    assert set(CHIPS) <= {board.chip for board in REAL.values()}


@pytest.mark.parametrize("board", [b for b in REAL.values() if b.chip in CHIPS], ids=lambda board: board.name)
def test_memory_kept_and_nvm_are_within_the_chip(board: Board) -> None:
    origin, flash_bytes, fastest_mhz, ram_bytes = CHIPS[board.chip]
    parts = claims(board)
    for (_, end, whose), (begin, _, other) in itertools.pairwise(parts):
        assert end <= begin, f"{whose} and {other} overlap"
    assert parts[0][0] >= origin
    assert parts[-1][1] <= origin + flash_bytes
    assert sum(end - begin for begin, end, _ in parts) <= flash_bytes
    assert sum(memory.size_bytes for memory in board.memory if memory.kind is MemoryKind.RAM) <= ram_bytes
    assert board.clock_hz <= fastest_mhz * 1_000_000
    if board.nvm and not board.nvm.mapped:
        first, eeprom_bytes = EEPROM[board.chip]
        assert first <= board.nvm.address < board.nvm.end <= first + eeprom_bytes


@pytest.mark.parametrize("board", REAL.values(), ids=lambda board: board.name)
def test_usb_identifiers_are_plausible(board: Board) -> None:
    assert {usb.vid for usb in board.usb} <= set(VENDORS)
    assert all(usb.pid for usb in board.usb)
    by_mode = {mode: [(usb.vid, usb.pid) for usb in board.usb if usb.mode is mode] for mode in UsbMode}
    through_a_chip = board.uart is not None and board.uart.reaches_usb
    assert bool(by_mode[UsbMode.INTERFACE]) == through_a_chip, "an interface chip carries the serial line to USB"
    for way in board.flash:
        if isinstance(way, DfuUtil):
            assert (way.vid, way.pid) in by_mode[UsbMode.BOOTLOADER]
            assert way.enter
        if isinstance(way, Bossac | NrfUtil):
            assert by_mode[UsbMode.BOOTLOADER]
            assert by_mode[UsbMode.APPLICATION], "it is entered by opening the application's port"


@pytest.mark.parametrize("board", REAL.values(), ids=lambda board: board.name)
def test_every_bootloader_in_flash_is_kept(board: Board) -> None:
    bootloaders = {(usb.vid, usb.pid) for usb in board.usb if usb.mode is UsbMode.BOOTLOADER}
    in_flash = bool(bootloaders - IN_ROM) or any(isinstance(way, EspTool) for way in board.flash)
    if board.core is Core.AVR:
        in_flash = any(isinstance(way, ArduinoCli) for way in board.flash)
    assert bool(board.kept) == in_flash
    if in_flash:
        words = " ".join(kept.holder for kept in board.kept)
        assert "bootloader" in words


def test_where_known_bootloaders_lie() -> None:
    """From the documentation of each; written down here a second time."""
    where = {
        "nano33ble": [(0, 0x10000)],
        "feather_nrf52840": [(0, 0x26000), (0xF4000, 0xFE000), (0xFE000, 0x100000)],
        "xiao_ble_nrf52840": [(0, 0x27000), (0xF4000, 0xFE000), (0xFE000, 0x100000)],
        "portenta_h7": [(0x0800_0000, 0x0804_0000)],
        "uno_r4_minima": [(0, 0x4000)],
        "mega2560": [(0x3E000, 0x40000)],
        "esp32": [(0x1000, 0x8000), (0x8000, 0x9000), (0x9000, 0x10000)],
        "esp32s3": [(0, 0x8000), (0x8000, 0x9000), (0x9000, 0x10000)],
        "esp32c3": [(0, 0x8000), (0x8000, 0x9000), (0x9000, 0x10000)],
    }
    assert {name: [(kept.origin, kept.end) for kept in BOARDS[name].kept] for name in where} == where


def test_the_later_bootloader_of_the_nano_33_ble_is_not_written_over() -> None:
    """It lies at 0xE0000 where somebody put it: ArduinoCore-mbed, Nano33_updateBLandSoftDevice."""
    board = BOARDS["nano33ble"]
    assert board.nvm is not None
    assert {*(m.end for m in board.memory if m.kind is MemoryKind.FLASH), board.nvm.end} == {0xE0000}


@pytest.mark.parametrize("board", REAL.values(), ids=lambda board: board.name)
def test_arduino_and_micropython_agree_with_the_board(board: Board) -> None:
    if board.arduino:
        parts = board.arduino.fqbn.split(":")
        assert len(parts) in (3, 4)
        assert all(re.fullmatch(r"[\w.=,-]+", part) for part in parts)
        assert parts[1] == board.arduino.architecture
        assert (parts[0] == "arduino") == (board.arduino.package_url == "")
        assert board.arduino.package_url == "" or board.arduino.package_url.startswith("https://")
        assert 0 < board.arduino.core_flash_bytes < board.flash_bytes
        assert 0 < board.arduino.core_ram_bytes < board.ram_bytes
    assert (board.arduino is not None) == any(isinstance(way, ArduinoCli) for way in board.flash)
    if board.micropython:
        assert board.micropython.architecture in MPY[board.core]
        assert re.fullmatch(r"[A-Z0-9_]+", board.micropython.board)
        assert board.micropython.heap_bytes > 0
        assert 32 <= board.micropython.repl_receive_bytes <= 256
    if any(isinstance(way, MpRemote) for way in board.flash):
        assert board.micropython


@pytest.mark.parametrize("board", REAL.values(), ids=lambda board: board.name)
def test_stacks_and_serial_lines(board: Board) -> None:
    if Output.BARE_METAL in board.outputs:
        assert board.uart, "bare-metal firmware talks through a UART"
    assert board.stack_bytes >= (512 if board.core is Core.AVR else 2048)
    assert board.flash or board.emulator, "there is no way to put firmware on it"
    for drive in (way for way in board.flash if isinstance(way, Drive)):
        assert re.fullmatch(r"[A-Z0-9_-]{1,11}", drive.volume), "FAT labels have at most 11 characters"
        assert (drive.format is DriveFormat.UF2) == bool(drive.enter)


def test_families_are_those_of_the_uf2_format() -> None:
    """From the list in Microsoft's uf2 repository, utils/uf2families.json."""
    families = {"nRF52840-QIAA": 0xADA52840, "RP2040": 0xE48BFF56}
    for board in BOARDS.values():
        for way in board.flash:
            if isinstance(way, Drive) and way.format is DriveFormat.UF2 and board.chip in families:
                assert way.family == families[board.chip]
