"""Board files: every one in boards/ is valid, and what is wrong in one is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgelearn import resources
from edgelearn.board import COMPILERS, Board, Core, MemoryKind, Output, board_names, load_board, load_board_file
from edgelearn.codegen.board_files import board_files
from edgelearn.errors import BoardFileError, UnknownBoardError

VALID = """
name = "tiny"
title = "Tiny"
chip = "T1"
core = "cortex-m4f"
clock_hz = 16_000_000
stack_bytes = 1024
sources = ["its datasheet"]

[[memory]]
name = "FLASH"
kind = "flash"
origin = 0
size_bytes = 65536

[[memory]]
name = "RAM"
kind = "ram"
origin = 0x2000_0000
size_bytes = 16384

[port]
sources = [
    "cmsdk_timer.c",
    "cmsdk_uart.c",
    "cortex_m_port.h",
    "cortex_m_reset.c",
    "cortex_m_stack.c",
    "cortex_m_stack.h",
    "cortex_m_startup.c",
    "fixed_clock.c",
    "no_watchdog.c",
    "uart_ring.c",
    "uart_ring.h",
]
interrupt_count = 4
interrupts = [{ number = 1, handler = "elearn_uart_interrupt" }]

[port.defines]
ELEARN_TIMER_ADDRESS = 0x4001_0000
ELEARN_UART_ADDRESS = 0x4000_0000
ELEARN_UART_INTERRUPT = 1

[counter]
unit = "none"

[[usb]]
vid = 0x1234
pid = 0x5678
mode = "application"

[[flash]]
method = "drive"
volume = "TINY"
format = "uf2"
family = 0x1234_5678
"""


NVM = """
[nvm]
source = "ram_nvm.c"
address = 0xF000
page_bytes = 1024
pages = 4
write_bytes = 4
erase_cycles = 10000
erase_ms = 20
"""


#: The same with pages that keep what was learned.
KEEPING = VALID.replace('"no_watchdog.c",', '"no_watchdog.c", "ram_nvm.c",') + NVM

#: The same with pages that have no addresses of the processor.
BEHIND_A_BUS = KEEPING.replace("ram_nvm.c", "avr_eeprom.c") + "mapped = false\n"


#: What the driver of an STM32L4's flash wants.
TWO_BANKS = "ELEARN_NVM_BANK_PAGES = 64\nELEARN_NVM_TWO_BANKS_MASK = 0\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", board_names())
def test_every_board_is_valid(name: str) -> None:
    board = load_board(name)
    assert board.sources, "the facts come from somewhere"
    assert board.stack_bytes < board.ram_bytes
    if board.emulator and board.emulator.ticks_per_instruction:
        assert board.counter.unit == "cycles"
        assert board.counter.hz * board.counter.cycles_per_tick == board.clock_hz


def test_every_core_has_a_board_and_compilers() -> None:
    boards = [load_board(name) for name in board_names()]
    assert {board.core for board in boards if Output.BARE_METAL in board.outputs} == set(COMPILERS)


def test_cores_with_dsp_instructions() -> None:
    assert [core for core in Core if core.has_dsp] == [Core.CORTEX_M4F, Core.CORTEX_M7F]


def test_there_are_boards_and_one_is_for_the_demonstration() -> None:
    demo = [name for name in board_names() if (emulator := load_board(name).emulator) and emulator.demo]
    assert len(demo) == 1


def test_every_driver_belongs_to_a_board() -> None:
    boards = [load_board(name) for name in board_names()]
    used = {source for board in boards for source in board.port.sources}
    used |= {board.nvm.source for board in boards if board.nvm}
    there = {path.name for path in (resources.firmware_folder() / "port").iterdir() if path.is_file()}
    assert used == there


def test_no_board_or_chip_is_named_in_python_or_c() -> None:
    package = resources.firmware_folder().parent
    names = {name for name in board_names() if load_board(name).core is not Core.HOST}
    names |= {re.sub(r"[^a-z0-9].*", "", load_board(name).chip.lower()) for name in names}
    pattern = re.compile(rf"(?<![a-z0-9])({'|'.join(sorted(names))})")
    files = [path for ending in ("py", "c", "h", "cpp", "robot") for path in package.rglob(f"*.{ending}")]
    assert len(files) > 100
    for path in [*files, *resources.templates_folder().rglob("*.j2")]:
        text = path.read_text(encoding="utf-8").lower()
        if path.suffix in (".c", ".h", ".cpp"):
            # Comments cite the vendors' documents.
            text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
        assert not pattern.search(text), path


def test_valid_file(tmp_path: Path) -> None:
    board = load_board_file(write(tmp_path, VALID))
    assert board.flash_bytes == 65536
    assert board.ram_bytes == 16384
    assert board.size_bytes(MemoryKind.RAM) == 16384


def test_unknown_key_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, VALID.replace("stack_bytes", "stak_bytes")))
    assert "stak_bytes" in caught.value.cause
    assert caught.value.hint == "did you mean `stack_bytes`?"


def test_unknown_key_far_from_any_lists_the_keys(tmp_path: Path) -> None:
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, "zzzzqq = 1\n" + VALID))
    assert caught.value.hint.startswith("known keys: ")


@pytest.mark.parametrize(
    ("old", "new", "said", "hint"),
    [
        ('name = "tiny"', 'name = "other"', "the file tiny", "other.toml"),
        ("cortex-m4f", "z80", "z80", "possible are: avr, cortex-m0,"),
        ("cortex-m4f", "cortex-m4", "cortex-m4", "did you mean `cortex-m4f`?"),
        ("stack_bytes = 1024", "stack_bytes = 1020", "stack_bytes is 1020", ""),
        ("stack_bytes = 1024", "stack_bytes = 16384", "16,384 bytes of RAM in all", ""),
        (
            "stack_bytes = 1024",
            'stack_bytes = "1 KiB"',
            '`stack_bytes` before the first [section] must be a whole number, and is text in "quotes"',
            "`stack_bytes = 0x1_0000`",
        ),
        ("vid = 0x1234", 'vid = "1234"', "`vid` in [[usb]] number 1 must be a whole number", "`vid = 0x1366`"),
        ('kind = "ram"', "", "`kind` is missing in [[memory]] number 2", "one of flash, ram"),
        ('volume = "TINY"', "volume = [3]", "`volume` in [[flash]] number 1 ", ""),
        ('[counter]\nunit = "none"', "", "`counter` is missing", "it is a section, [counter]"),
        ("[counter]", "[counters]", "`counters` is unknown before the first [section]", "did you mean `counter`?"),
        ('["its datasheet"]', "[7]", 'a value of `sources` before the first [section] must be text in "quotes"', ""),
        ("clock_hz = 16_000_000", "clock_hz = 0", "clock_hz is 0", ""),
        ('["its datasheet"]', "[]", "sources is empty", "documents"),
        ('name = "RAM"', 'name = "FLASH"', "same name", ""),
        ('name = "RAM"', 'name = "my ram"', "my ram", ""),
        ('kind = "ram"', 'kind = "flash"', "no ram region", 'kind = "ram"'),
        ('kind = "ram"', 'kind = "rom"', "rom", "did you mean `ram`?"),
        ("origin = 0x2000_0000", "origin = 0x100", "overlap", ""),
        ("size_bytes = 16384", "size_bytes = 0xF000_0000", "outside 32 bits", ""),
        ("size_bytes = 16384", "size_bytes = 0", "memory RAM has a size of 0", ""),
        ('"uart_ring.c"', '"missing.c"', "missing.c", "drivers: avr_eeprom.c, cmsdk_timer.c,"),
        ('"uart_ring.c"', '"uart_rings.c"', "uart_rings.c", "did you mean `uart_ring.c`?"),
        ('"uart_ring.h",', "", "cmsdk_uart.c includes uart_ring.h", "add it"),
        ('"no_watchdog.c",', "", "elearn_port_feed()", "no_watchdog.c, "),
        ('"no_watchdog.c",', '"no_watchdog.c", "nrf5_watchdog.c",', "both no_watchdog.c and nrf5", "leave one"),
        ('"no_watchdog.c",', '"no_watchdog.c", "ram_nvm.c",', "there is no nvm", "[nvm]"),
        ("number = 1", "number = 4", "interrupt 4", ""),
        ("number = 1", "number = 2", "ELEARN_UART_INTERRUPT is 1", "{ number = 1,"),
        ("interrupt_count = 4", "interrupts_count = 4", "interrupts_count", "did you mean `interrupt_count`?"),
        (
            '"elearn_uart_interrupt" }',
            '"elearn_uart_interrupt" }, { number = 1, handler = "elearn_uart_interrupt" }',
            "two handlers",
            "",
        ),
        ('handler = "elearn_uart_interrupt"', 'handler = "no name"', "no name", "theirs: "),
        ("ELEARN_UART_ADDRESS = 0x4000_0000", "UART = 1", "lacks ELEARN_UART_ADDRESS", "docs/drivers.md"),
        (
            "ELEARN_UART_ADDRESS = 0x4000_0000",
            "ELEARN_UART_ADRESS = 1",
            "ELEARN_UART_ADDRESS, which cmsdk_uart.c wants: the first register",
            "is it what you call ELEARN_UART_ADRESS?",
        ),
        ("ELEARN_UART_ADDRESS = ", "UART = 1\nELEARN_UART_ADDRESS = ", "UART, which none", "leave it out"),
        ("ELEARN_UART_ADDRESS = 0x4000_0000", "ELEARN_UART_ADDRESS = -1", "ELEARN_UART_ADDRESS is -1", ""),
        (
            "ELEARN_UART_ADDRESS = 0x4000_0000",
            'ELEARN_UART_ADDRESS = "x"',
            "a value of `defines` in [port]",
            "number: ELEARN_UART_ADDRESS",
        ),
        ("ELEARN_UART_INTERRUPT = 1", "ELEARN_UART_INTERRUPT = 500", "cmsdk_uart.c takes 0 to 495", ""),
        ('unit = "none"', 'unit = "apples"', "apples", ""),
        ('unit = "none"', 'unit = "cycles"\nhz = 8_000_000', "16,000,000", "cycles_per_tick"),
        ('unit = "none"', 'unit = "none"\nclock_hz = 3', "clock_hz", "before the first [section]"),
        ('[counter]\nunit = "none"', "", "counter", ""),
        ("cortex-m4f", "xtensa-lx6", "no compiler flags", "cortex-m4f, "),
        ("vid = 0x1234", "vid = 0x12345", "0x12345:0x5678", ""),
        ("[[flash]]", '[[usb]]\nvid = 0x1234\npid = 0x5678\nmode = "bootloader"\n[[flash]]', "twice", ""),
        ('method = "drive"', 'method = "telepathy"', "telepathy", "methods: adafruit-nrfutil, "),
        ('method = "drive"', 'method = "drives"', "drives", "did you mean `drive`?"),
        ('method = "drive"', "", "method", "methods: "),
        ('volume = "TINY"', 'volum = "TINY"', "volum", "did you mean `volume`?"),
        ('format = "uf2"', 'format = "hex"', "takes UF2", ""),
        (
            "pid = 0x5678",
            'pid = 0x5678\nserial_prefixes = ["12 "]',
            "'12 ' is no beginning of a serial number",
            "letters",
        ),
        ('format = "uf2"', 'format = "uf2"\nprograms_at = { "S1 1" = 0x1000 }', "programs_at does not name 0x0", ""),
        (
            'format = "uf2"\nfamily = 0x1234_5678',
            'format = "hex"\nprograms_at = { "S1 1" = 0 }',
            "drive TINY: programs_at and earlier are of bootloaders that take UF2",
            "",
        ),
        ("family = 0x1234_5678", "earlier = { before = 2021-08-04, end = 0x100 }", "a family belongs", ""),
        (
            "family = 0x1234_5678",
            "family = 0x1234_5678\nearlier = { before = 2021-08-04, end = 0x9_0000 }",
            "0x90000, is not within",
            "",
        ),
        (
            "family = 0x1234_5678",
            'family = 0x1234_5678\nearlier = { before = "soon", end = 0x100 }',
            "be a date, as",
            "",
        ),
        ('format = "uf2"', 'format = "elf"', "elf", "possible are: uf2, hex, bin"),
        ("[[flash]]", '[[flash]]\nmethod = "mpremote"\n[[flash]]', "no micropython", ""),
        ("[[flash]]", '[[flash]]\nmethod = "arduino-cli"\n[[flash]]', "no arduino", ""),
        ("[port]", '[[kept]]\nholder = "a bootloader"\norigin = 0xFFFF\nsize_bytes = 9\n[port]', "a bootloader", ""),
        ("[port]", '[[kept]]\nholder = ""\norigin = 0x20000\nsize_bytes = 9\n[port]', "no holder", ""),
        ("[port]", '[uart]\ntx = "P1"\nrx = "P1"\nreaches_usb = false\n[port]', "the same pin, P1", ""),
        ("[port]", '[uart]\ntx = "P1"\nrx = ""\nreaches_usb = false\n[port]', "uart.rx names no pin", ""),
        ("[port]", '[emulator]\nengine = "qemo"\n[port]', "qemo", ""),
        ("[port]", '[emulator]\nengine = "host"\n[port]', "does not run a cortex-m4f", ""),
        (
            "[port]",
            '[renode]\nplatform = "p"\nuart = "u"\nadditions = ["cycle_counters.repl"]\n[port]',
            "cycle_counters.repl",
            "did you mean `cycle_counter.repl`?",
        ),
    ],
)
def test_bad_values_are_named(tmp_path: Path, old: str, new: str, said: str, hint: str) -> None:
    assert old in VALID
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, VALID.replace(old, new)))
    assert said in caught.value.cause
    assert hint in caught.value.hint


def test_a_board_of_nothing_that_can_be_generated(tmp_path: Path) -> None:
    port = VALID[VALID.index("[port]") : VALID.index("[counter]")]
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, VALID.replace(port, "")))
    assert "neither port.sources" in caught.value.cause


def test_the_pin_that_sends_is_not_the_one_that_receives(tmp_path: Path) -> None:
    text = VALID.replace("cmsdk_uart.c", "nrf5_uart.c")
    pins = "[port.defines]\nELEARN_UART_TX_PIN = 6\nELEARN_UART_RX_PIN = "
    assert load_board_file(write(tmp_path, text.replace("[port.defines]", pins + "8"))).name == "tiny"
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, text.replace("[port.defines]", pins + "6")))
    assert caught.value.cause == "ELEARN_UART_TX_PIN is 6, which is the pin that receives"


@pytest.mark.parametrize(
    ("right", "wrong", "cause", "hint"),
    [
        ('"armv7emsp"', '"armv9"', "architecture is armv9, which MicroPython does not have", "did you mean `armv6`?"),
        ('"armv7emsp"', '"armv7emsq"', "architecture is armv7emsq", "did you mean `armv7em"),
        ("heap_bytes = ", "heap_bytes = 0 # ", "heap_bytes is 0", "gc.mem_free()"),
    ],
)
def test_what_micropython_does_not_have(tmp_path: Path, right: str, wrong: str, cause: str, hint: str) -> None:
    text = (resources.boards_folder() / "nano33ble.toml").read_text(encoding="utf-8")
    assert right in text
    path = tmp_path / "nano33ble.toml"
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(BoardFileError) as caught:
        load_board_file(path)
    assert cause in caught.value.cause
    assert hint in caught.value.hint


def test_of_two_mistakes_one_is_told(tmp_path: Path) -> None:
    text = VALID.replace("stack_bytes = 1024", "stack_bytes = 1020").replace("16_000_000", "0")
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, text))
    assert caught.value.cause == "clock_hz is 0, which is no frequency"
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, text.replace("clock_hz = 0", "clock_hz = 16_000_000")))
    assert caught.value.cause == "stack_bytes is 1020, and must be a multiple of 8, from 0 on"


def test_nvm_ends_the_flash_that_the_image_may_use(tmp_path: Path) -> None:
    board = load_board_file(write(tmp_path, KEEPING))
    assert board.nvm is not None
    assert board.flash_bytes == 61440
    files = board_files(board, runtime_sources=[], generated_sources=[], baud=9600, ring_bytes=64)
    assert "FLASH (rx) : ORIGIN = 0x00000000, LENGTH = 0xF000" in files["link.ld"]
    assert "#define ELEARN_NVM_PAGES 4u\n" in files["src/elearn_board.h"]
    assert "#define ELEARN_NVM_ADDRESS 0x0000F000u\n" in files["src/elearn_board.h"]
    outside = load_board_file(write(tmp_path, KEEPING.replace("0xF000", "0x3000_0000") + "separate = true"))
    assert outside.flash_bytes == 65536
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, BEHIND_A_BUS.replace("0xF000", "0x3000_0000")))
    assert caught.value.cause == "avr_eeprom.c drives no pages of a cortex-m4f"
    assert caught.value.hint.startswith("it is for avr;")


SKETCH = """
[arduino]
fqbn = "a:b:c"
architecture = "b"
core_flash_bytes = 1000
core_ram_bytes = 100
saves = true
"""


def test_what_a_sketch_keeps(tmp_path: Path) -> None:
    both = load_board_file(write(tmp_path, KEEPING + SKETCH))
    assert [output for output in Output if both.keeps(output)] == [Output.BARE_METAL, Output.LIBRARY, Output.ARDUINO]
    firmware = load_board_file(write(tmp_path, KEEPING + SKETCH.replace("saves = true\n", "")))
    assert [output for output in Output if firmware.keeps(output)] == [Output.BARE_METAL, Output.LIBRARY]
    assert not any(both.without_nvm().keeps(output) for output in Output)


def test_a_sketch_that_saves_needs_somewhere(tmp_path: Path) -> None:
    with pytest.raises(BoardFileError, match="no nvm to save in"):
        load_board_file(write(tmp_path, VALID + SKETCH))


def test_a_driver_of_a_sketch_alone_must_be_there(tmp_path: Path) -> None:
    avr = resources.boards_folder() / "mega2560.toml"
    text = avr.read_text(encoding="utf-8")
    (tmp_path / avr.name).write_text(text.replace("saves = true", "saves = false"))
    with pytest.raises(BoardFileError) as caught:
        load_board_file(tmp_path / avr.name)
    assert "nothing keeps what it learned in nvm" in caught.value.cause
    (tmp_path / avr.name).write_text(text.replace('source = "avr_eeprom.c"', 'source = "nosuch.c"'))
    with pytest.raises(BoardFileError, match="is not a valid board file") as caught:
        load_board_file(tmp_path / avr.name)
    assert caught.value.cause == "there is no driver of nvm firmware/port/nosuch.c"
    assert "avr_eeprom.c" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "lacking", "given"),
    [
        ("nrf5_nvmc.c", "cortex_m_port.h", ""),
        ("stm32l4_flash.c", "cortex_m_port.h", TWO_BANKS),
    ],
)
def test_a_sketch_has_no_part_of_bare_metal_firmware(tmp_path: Path, source: str, lacking: str, given: str) -> None:
    text = KEEPING.replace("ram_nvm.c", source).replace("[port.defines]\n", f"[port.defines]\n{given}")
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, text + SKETCH))
    assert caught.value.cause == f"arduino saves, but {source} wants {lacking}, which a sketch does not have"


def test_a_board_without_nvm_says_so_to_the_firmware(tmp_path: Path) -> None:
    files = board_files(
        load_board_file(write(tmp_path, VALID)), runtime_sources=[], generated_sources=[], baud=9600, ring_bytes=64
    )
    assert "#define ELEARN_NVM_PAGES 0u\n" in files["src/elearn_board.h"]
    assert "ELEARN_NVM_WRITE_BYTES" not in files["src/elearn_board.h"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('source = "ram_nvm.c"', 'source = "other.c"', "other.c"),
        ("write_bytes = 4", "write_bytes = 3", "1, 2, 4, 8, 16, 32"),
        ("page_bytes = 1024", "page_bytes = 1022", "whole units of 4"),
        ("page_bytes = 1024", "page_bytes = 0", "whole units"),
        ("pages = 4", "pages = 1", "two are needed"),
        ("pages = 4", "pages = 3", "does not end memory FLASH, 0x0 to 0x10000"),
        ("pages = 4", "pages = 5", "does not end memory FLASH"),
        ("address = 0xF000", "address = 0xF200", "does not begin with a page"),
        ("address = 0xF000", "address = 0x2000_0000", "does not end memory RAM"),
        ("address = 0xF000", "address = 0xFFFF_FC00", "outside 32 bits"),
        ("address = 0xF000", "address = 0x3000_0000", "is in none of the memory regions: FLASH 0x0 to 0x10000, RAM"),
        ("erase_ms = 20", "erase_ms = 20\nseparate = true", "is separate, but overlaps memory FLASH"),
        (
            "erase_ms = 20",
            "erase_ms = 20\nmapped = false",
            "ram_nvm.c drives pages that the processor reads like RAM",
        ),
        ("erase_cycles = 10000", "erase_cycles = -1", "erase_cycles is -1"),
        ("erase_ms = 20", "erase_mss = 20", "erase_mss"),
        ("erase_ms = 20", 'erase_ms = 20\nmapped = "no"', "mapped"),
    ],
)
def test_bad_nvm_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in NVM
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, KEEPING.replace(old, new)))
    assert said in caught.value.cause


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("mapped = false\n", "", "avr_eeprom.c drives pages that the processor cannot read like RAM"),
        ("mapped = false", "mapped = false", "is not mapped, but overlaps memory FLASH, 0x0 to 0x10000"),
        ("mapped = false", "mapped = false\nseparate = true", "is not mapped, and so separate anyhow"),
    ],
)
def test_pages_without_addresses(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in BEHIND_A_BUS
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, BEHIND_A_BUS.replace(old, new)))
    assert said in caught.value.cause


@pytest.mark.parametrize(
    ("source", "page_bytes", "write_bytes", "said"),
    [
        ("nrf5_nvmc.c", 1024, 4, "nvm.page_bytes is 1024; nrf5_nvmc.c erases 4096 of a cortex-m4f"),
        ("stm32f4_flash.c", 2048, 4, "nvm.page_bytes is 2048; stm32f4_flash.c erases 131072 of a cortex-m4f"),
        ("stm32l4_flash.c", 8192, 8, "nvm.page_bytes is 8192; stm32l4_flash.c erases 2048 or 4096 of a cortex-m4f"),
        ("nrf5_nvmc.c", 4096, 2, "nvm.write_bytes is 2; nrf5_nvmc.c programs units of 4 bytes"),
        ("stm32l4_flash.c", 4096, 4, "nvm.write_bytes is 4; stm32l4_flash.c programs units of 8 bytes"),
        ("host_nvm.c", 4096, 4, "host_nvm.c drives no pages of a cortex-m4f"),
    ],
)
def test_pages_are_those_that_the_driver_is_made_for(
    tmp_path: Path, source: str, page_bytes: int, write_bytes: int, said: str
) -> None:
    text = KEEPING.replace("ram_nvm.c", source).replace("pages = 4", "pages = 2")
    text = text.replace("page_bytes = 1024", f"page_bytes = {page_bytes}")
    text = text.replace("write_bytes = 4", f"write_bytes = {write_bytes}")
    text = text.replace("0xF000", hex(0x1_0000 - 2 * page_bytes))
    if source == "stm32l4_flash.c":
        text = text.replace("[port.defines]\n", "[port.defines]\n" + TWO_BANKS)
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, text))
    assert caught.value.cause == said


def test_a_driver_may_handle_the_nmi(tmp_path: Path) -> None:
    text = KEEPING.replace("ram_nvm.c", "stm32l4_flash.c") + 'nmi_handler = "elearn_flash_nmi"\n'
    text = text.replace(
        "page_bytes = 1024\npages = 4\nwrite_bytes = 4", "page_bytes = 2048\npages = 2\nwrite_bytes = 8"
    )
    text = text.replace("[port.defines]\n", "[port.defines]\n" + TWO_BANKS)
    board = load_board_file(write(tmp_path, text))
    files = board_files(board, runtime_sources=[], generated_sources=[], baud=9600, ring_bytes=64)
    assert "        elearn_flash_nmi, /* NMI */\n" in files["src/elearn_vectors.c"]
    without = board_files(board.without_nvm(), runtime_sources=[], generated_sources=[], baud=9600, ring_bytes=64)
    assert "        elearn_fault_handler, /* NMI */\n" in without["src/elearn_vectors.c"]
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, text.replace("elearn_flash_nmi", "elearn_flash_nmy")))
    assert "elearn_flash_nmy" in caught.value.cause
    assert caught.value.hint == "did you mean `elearn_flash_nmi`?"


def test_a_file_that_is_not_valid_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, VALID.replace("stack_bytes = 1024", "stack_bytes = 1020"))
    monkeypatch.setattr(resources, "boards_folder", lambda: tmp_path)
    read: list[Path] = []

    def load(path: Path) -> Board:
        read.append(path)
        return load_board_file(path)

    monkeypatch.setattr("edgelearn.board.load.load_board_file", load)
    for _ in range(3):
        with pytest.raises(BoardFileError, match="is not a valid board file"):
            load_board("tiny")
    assert len(read) == 1
    # Mended, it is read again.
    write(tmp_path, VALID)
    assert load_board("tiny").name == "tiny"
    assert len(read) == 2


def test_there_is_a_way_to_run_what_is_made(tmp_path: Path) -> None:
    text = VALID.partition("[[flash]]")[0]
    with pytest.raises(BoardFileError) as caught:
        load_board_file(write(tmp_path, text))
    assert caught.value.cause == "there is no way to flash it and no emulator"
    renode = '[renode]\nplatform = "p"\nuart = "u"\n'
    assert load_board_file(write(tmp_path, text + renode)).engines == ("renode",)


def test_firmware_that_learns_nothing_has_all_flash(tmp_path: Path) -> None:
    with_nvm = load_board_file(write(tmp_path, KEEPING))
    without = with_nvm.without_nvm()
    assert without.flash_bytes == 65536
    assert set(with_nvm.port.sources) - set(without.port.sources) == {"ram_nvm.c"}
    assert without.without_nvm() is without


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(BoardFileError, match="not valid TOML"):
        load_board_file(write(tmp_path, "= ="))
    with pytest.raises(BoardFileError, match="cannot be read"):
        load_board_file(tmp_path / "none.toml")
    (tmp_path / "tiny.toml").write_bytes(b'title = "caf\xe9"')
    with pytest.raises(BoardFileError, match="it is not in UTF-8: the byte 13 is 0xE9; save it as UTF-8"):
        load_board_file(tmp_path / "tiny.toml")
    with pytest.raises(BoardFileError, match="cannot be read; it is a folder"):
        load_board_file(tmp_path)


def test_unknown_board_names_the_closest() -> None:
    name = board_names()[0]
    with pytest.raises(UnknownBoardError) as caught:
        load_board(name + "x")
    assert caught.value.hint.splitlines()[0] == f"did you mean `{name}`?"


def test_board_files(tmp_path: Path) -> None:
    board = load_board_file(write(tmp_path, VALID))
    files = board_files(
        board, runtime_sources=["main.c", "x.h"], generated_sources=["model.c"], baud=9600, ring_bytes=64
    )
    assert sorted(files) == [
        "CMakeLists.txt",
        "Makefile",
        "link.ld",
        "src/elearn_board.h",
        "src/elearn_vectors.c",
        "toolchain.cmake",
    ]
    assert "#define ELEARN_UART_ADDRESS 0x40000000u\n" in files["src/elearn_board.h"]
    assert "#define ELEARN_BAUD 9600u\n" in files["src/elearn_board.h"]
    assert "LENGTH = 0x4000" in files["link.ld"]
    assert files["src/elearn_vectors.c"].count("/* interrupt ") == 4
    assert "        elearn_uart_interrupt, /* interrupt 1 */\n" in files["src/elearn_vectors.c"]
    listed = re.search(r"^SOURCES := \\\n((?:  \S+(?: \\)?\n)+)\n", files["Makefile"], re.MULTILINE)
    assert listed
    assert listed.group(1).replace("\\", "").split() == [
        *sorted(f"port/{source}" for source in board.port.sources if source.endswith(".c")),
        "runtime/main.c",
        "src/elearn_vectors.c",
        "src/model.c",
    ]


def test_ring_must_be_a_power_of_two(tmp_path: Path) -> None:
    board = load_board_file(write(tmp_path, VALID))
    with pytest.raises(ValueError, match="power of two"):
        board_files(board, runtime_sources=[], generated_sources=[], baud=9600, ring_bytes=100)
