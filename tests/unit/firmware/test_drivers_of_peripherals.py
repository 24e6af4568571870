"""Serial lines, flash, watchdogs and counters of boards against a model of their registers: the order in which they are
written, the numbers, and what happens where the hardware does not answer. Addresses and bits are those of the reference
manuals, written down here a second time.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgelearn.board import Board, board_names, load_board
from edgelearn.protocol import ResetCause
from tests.support.registers import BAUD, Registers

ALL = {name: load_board(name) for name in board_names()}
KIB = 1024


def with_driver(source: str) -> list[str]:
    return [name for name, board in ALL.items() if source in board.port.sources]


NVIC_ENABLE = 0xE000_E100

# -- serial lines


def uart_model(board: Board, source: str) -> Registers:
    clock = next(name for name in board.port.sources if name.endswith("_clock.c"))
    return Registers(board, [clock, source])


#: Port and pin of each STM32 board's serial line, TX then RX, and the alternate function: from the data sheets.
PINS = {
    "b_l475e_iot01a": ("B6", "B7", 7),
    "blackpill_f411ce": ("A9", "A10", 7),
    "disco_f746ng": ("A9", "B7", 7),
    "netduinoplus2": ("B6", "B7", 7),
    "nucleo_f446re": ("A2", "A3", 7),
    "nucleo_l4r5zi": ("G7", "G8", 8),
    "pyboard_v11": ("B6", "B7", 7),
}
#: Address, register and bit of its clock, interrupt.
LINES = {
    "b_l475e_iot01a": (0x4001_3800, 0x4002_1060, 14, 37),
    "blackpill_f411ce": (0x4001_1000, 0x4002_3844, 4, 37),
    "disco_f746ng": (0x4001_1000, 0x4002_3844, 4, 37),
    "netduinoplus2": (0x4001_1000, 0x4002_3844, 4, 37),
    "nucleo_f446re": (0x4000_4400, 0x4002_3840, 17, 38),
    "nucleo_l4r5zi": (0x4000_8000, 0x4002_105C, 0, 70),
    "pyboard_v11": (0x4001_1000, 0x4002_3844, 4, 37),
}


@pytest.mark.parametrize("name", sorted(PINS))
def test_an_stm32_sets_up_its_serial_line(name: str) -> None:
    board = ALL[name]
    is_l4 = "stm32l4_clock.c" in board.port.sources
    is_second_set = "stm32_usart_v2.c" in board.port.sources
    model = uart_model(board, "stm32_usart_v2.c" if is_second_set else "stm32_usart.c")
    gpio, gpio_clock = (0x4800_0000, 0x4002_104C) if is_l4 else (0x4002_0000, 0x4002_3830)
    # Pins of the debug port are in another mode, and stay so.
    model.values |= {gpio: 0xA800_0000, gpio + 0x0C: 0x6400_0000}
    model.call("elearn_uart_init")
    address, clock, bit, interrupt = LINES[name]
    assert model.values[clock] >> bit & 1
    function = PINS[name][2]
    for pin in PINS[name][:2]:
        letter, number = ord(pin[0]) - ord("A"), int(pin[1:])
        port = gpio + 0x400 * letter
        assert model.values[gpio_clock] >> letter & 1
        assert model.values[port] >> 2 * number & 3 == 2, "alternate function"
        assert model.values[port + 0x0C] >> 2 * number & 3 == 1, "pulled up"
        assert model.values[port + 0x20 + 4 * (number // 8)] >> 4 * (number % 8) & 0xF == function
    assert model.values[gpio] & 0xFC00_0000 == 0xA800_0000
    assert model.values[gpio + 0x0C] & 0xFC00_0000 == 0x6400_0000
    control = address + (0x00 if is_second_set else 0x0C)
    assert model.written(control)[0] == 0, "off while it is set up"
    enable = 1 if is_second_set else 1 << 13
    assert model.last(control) == enable | 1 << 2 | 1 << 3 | 1 << 5
    speed = address + (0x0C if is_second_set else 0x08)
    assert model.writes.index((control, 0)) < model.writes.index((speed, model.last(speed)))
    assert model.last(NVIC_ENABLE + 4 * (interrupt // 32)) == 1 << interrupt % 32
    assert [one.number for one in board.port.interrupts] == [interrupt]


@pytest.mark.parametrize(
    ("name", "second"), [("nucleo_f446re", False), ("disco_f746ng", True), ("nucleo_l4r5zi", True)]
)
def test_an_stm32_receives_and_counts_what_was_lost(name: str, second: bool) -> None:
    board = ALL[name]
    model = uart_model(board, "stm32_usart_v2.c" if second else "stm32_usart.c")
    address = LINES[name][0]
    status, data = (address + 0x1C, address + 0x24) if second else (address, address + 0x04)
    model.values |= {status: 1 << 5, data: 0x1A5}
    model.call("elearn_uart_interrupt")
    assert model.received() == b"\xa5"
    model.values[status] = 1 << 5 | 1 << 3
    model.call("elearn_uart_interrupt")
    assert model.received() == b"\xa5\xa5"
    assert model.variable("ring_overruns").value == 1
    if second:
        assert model.last(address + 0x20) == 1 << 3, "the flag is taken back, or the interrupt comes for ever"
    model.values[status] = 1 << 3
    model.call("elearn_uart_interrupt")
    assert (len(model.received()), model.variable("ring_overruns").value) == (2, 2)
    # A full ring leaves the byte where it is.
    model.variable("ring_full").value = 1
    reads = model.reads
    model.call("elearn_uart_interrupt")
    assert model.reads == reads


@pytest.mark.parametrize(("name", "second"), [("nucleo_f446re", False), ("disco_f746ng", True)])
def test_an_stm32_sends_and_gives_up(name: str, second: bool) -> None:
    model = uart_model(ALL[name], "stm32_usart_v2.c" if second else "stm32_usart.c")
    address = LINES[name][0]
    status, data = (address + 0x1C, address + 0x28) if second else (address, address + 0x04)
    model.values[status] = 1 << 7
    model.call("elearn_port_write", b"abc", 3)
    assert model.written(data) == list(b"abc")
    model.values[status] = 0
    before = model.reads
    model.call("elearn_port_write", b"d", 1)
    assert model.written(data) == list(b"abc"), "a byte that the line does not take is given up"
    # As many looks as the core has cycles in two bytes' time; a look takes several.
    assert model.reads - before == pytest.approx(20 * ALL[name].clock_hz / BAUD, rel=0.01)


#: TX and RX as (port, pin), from the schematics.
NRF_PINS = {
    "feather_nrf52840": ((0, 25), (0, 24)),
    "microbit": ((0, 24), (0, 25)),
    "microbit_v2": ((0, 6), (1, 8)),
    "nano33ble": ((1, 3), (1, 10)),
    "nrf52840dk": ((0, 6), (0, 8)),
    "xiao_ble_nrf52840": ((1, 11), (1, 12)),
}


@pytest.mark.parametrize("name", with_driver("nrf5_uart.c"))
def test_an_nrf5_sets_up_its_serial_line(name: str) -> None:
    model = uart_model(ALL[name], "nrf5_uart.c")
    model.call("elearn_uart_init")
    (tx_port, tx), (rx_port, rx) = NRF_PINS[name]
    uart = 0x4000_2000
    gpio = (0x5000_0000, 0x5000_0300)
    assert model.last(gpio[tx_port] + 0x508) == 1 << tx, "high before it is an output: the line is idle"
    assert model.last(gpio[tx_port] + 0x700 + 4 * tx) & 3 == 3
    assert model.last(gpio[rx_port] + 0x700 + 4 * rx) == 3 << 2
    # PSEL: bits 0 to 4 the pin, bit 5 the port, bit 31 clear: connected.
    assert model.last(uart + 0x50C) == tx | tx_port << 5
    assert model.last(uart + 0x514) == rx | rx_port << 5
    assert model.last(uart + 0x508) == model.last(uart + 0x510) == 0xFFFF_FFFF
    assert model.written(uart + 0x500) == [0, 4], "off while the pins are chosen; 4 is the one without DMA"
    assert model.last(uart + 0x524) * 16_000_000 / 2**32 == pytest.approx(BAUD, rel=0.001)
    assert model.writes.index((uart + 0x514, rx | rx_port << 5)) < model.writes.index((uart + 0x500, 4))
    assert model.last(uart + 0x304) == 1 << 2
    assert model.last(NVIC_ENABLE) == 1 << 2


# -- flash


class Flash:
    """The flash controller of an STM32: locked until both keys came in order."""

    KEYS = (0x4567_0123, 0xCDEF_89AB)

    def __init__(self, board: Board, source: str, base: int, keys: int, status: int, control: int) -> None:
        self.base, self.keys, self.status, self.control = base, base + keys, base + status, base + control
        self.model = Registers(board, [source], {"ELEARN_NVM_ERASE_MS": 1})
        self.model.values[self.control] = 1 << 31
        self.given: list[int] = []
        self.started: list[int] = []
        self.model.on_write = {self.keys: self.key, self.control: self.write, self.status: self.clear}

    def key(self, value: int) -> int:
        self.given.append(value)
        if tuple(self.given[-2:]) == self.KEYS:
            self.model.values[self.control] &= ~(1 << 31)
        return value

    def clear(self, value: int) -> int:
        return self.model.values.get(self.status, 0) & ~value

    def write(self, value: int) -> int:
        if self.model.values[self.control] >> 31:
            return 1 << 31  # locked: nothing is taken
        if value >> 16 & 1:
            self.started.append(value)
        return value & ~(1 << 16)


def f4_sector(address: int, *, is_f7: bool) -> int:
    """The number of the sector that begins at an address: RM0090 table 5, RM0385 table 3."""
    sizes = [32] * 4 + [128] + [256] * 3 if is_f7 else [16] * 4 + [64] + [128] * 7
    begins = [0x0800_0000 + sum(sizes[:i]) * KIB for i in range(len(sizes))]
    return begins.index(address)


@pytest.mark.parametrize("name", with_driver("stm32f4_flash.c"))
def test_an_f4_or_f7_erases_its_own_sectors_and_locks_again(name: str) -> None:
    board = ALL[name]
    nvm = board.nvm
    assert nvm is not None
    flash = Flash(board, "stm32f4_flash.c", 0x4002_3C00, 0x04, 0x0C, 0x10)
    for page in range(nvm.pages):
        assert flash.model.flag("elearn_nvm_erase", page)
        sector = f4_sector(nvm.address + page * nvm.page_bytes, is_f7=nvm.page_bytes == 256 * KIB)
        assert flash.started[-1] == 1 << 16 | 2 << 8 | sector << 3 | 1 << 1
        assert flash.model.values[flash.control] >> 31, "locked again"
    assert flash.given == list(Flash.KEYS) * nvm.pages


@pytest.mark.parametrize("name", with_driver("stm32l4_flash.c"))
def test_an_l4_erases_its_own_pages_and_locks_again(name: str) -> None:
    board = ALL[name]
    nvm = board.nvm
    assert nvm is not None
    flash = Flash(board, "stm32l4_flash.c", 0x4002_2000, 0x08, 0x10, 0x14)
    flash.model.values[0x4002_2020] = 1 << 22 | 1 << 21  # FLASH_OPTR: DBANK or DUALBANK
    bank_bytes = 512 * KIB if nvm.page_bytes == 2 * KIB else 1024 * KIB
    for page in range(nvm.pages):
        assert flash.model.flag("elearn_nvm_erase", page)
        offset = nvm.address + page * nvm.page_bytes - 0x0800_0000
        bank, number = offset // bank_bytes, offset % bank_bytes // nvm.page_bytes
        assert flash.started[-1] == 1 << 16 | bank << 11 | number << 3 | 1 << 1
        assert flash.model.values[flash.control] >> 31


@pytest.mark.parametrize("name", [*with_driver("stm32f4_flash.c"), *with_driver("stm32l4_flash.c")])
def test_pages_that_are_none_are_not_compiled(name: str) -> None:
    nvm = ALL[name].nvm
    assert nvm is not None
    for address in (0x0800_0000 - nvm.page_bytes, nvm.address + 8, 0x0800_0000 + (1 << 22)):
        with pytest.raises(AssertionError, match=r"nvm\.address"):
            Registers(ALL[name], [nvm.source], {"ELEARN_NVM_ADDRESS": address})
    if nvm.source == "stm32f4_flash.c":
        with pytest.raises(AssertionError, match=r"nvm\.address"):
            Registers(ALL[name], [nvm.source], {"ELEARN_NVM_ADDRESS": 0x0800_0000})


@pytest.mark.parametrize("source", ["nrf5_nvmc.c", "stm32f4_flash.c", "stm32l4_flash.c"])
def test_units_of_programming_that_are_none_are_not_compiled(source: str) -> None:
    with pytest.raises(AssertionError, match=r"nvm\.write_bytes"):
        Registers(ALL[with_driver(source)[0]], [source], {"ELEARN_NVM_WRITE_BYTES": 2})


def test_an_l4_plus_whose_banks_are_one_is_not_erased() -> None:
    """Its pages have 8 KiB then, and the number would be that of another one."""
    flash = Flash(ALL["nucleo_l4r5zi"], "stm32l4_flash.c", 0x4002_2000, 0x08, 0x10, 0x14)
    flash.model.values[0x4002_2020] = 0
    assert not flash.model.flag("elearn_nvm_erase", 0)
    assert not flash.started
    assert flash.model.values[flash.control] >> 31


@pytest.mark.parametrize(
    ("name", "source", "offsets", "unit"),
    [
        ("nucleo_f446re", "stm32f4_flash.c", (0x4002_3C00, 0x04, 0x0C, 0x10), 4),
        ("b_l475e_iot01a", "stm32l4_flash.c", (0x4002_2000, 0x08, 0x10, 0x14), 8),
    ],
)
def test_an_stm32_programs_words_in_order(
    name: str, source: str, offsets: tuple[int, int, int, int], unit: int
) -> None:
    board = ALL[name]
    assert board.nvm is not None
    assert board.nvm.write_bytes == unit
    flash = Flash(board, source, *offsets)
    data = bytes(range(1, 17))
    assert flash.model.flag("elearn_nvm_program", 64, data, 16)
    words = [(at, value) for at, value in flash.model.writes if at >= board.nvm.address and at < board.nvm.end]
    expected = [(board.nvm.address + 64 + i, int.from_bytes(data[i : i + 4], "little")) for i in range(0, 16, 4)]
    assert words == expected
    # An error of the flash ends it, and is told.
    flash.model.on_write[expected[0][0]] = lambda value: flash.model.values.__setitem__(flash.status, 1 << 4) or value
    assert not flash.model.flag("elearn_nvm_program", 64, data, 16)
    assert flash.model.values[flash.control] >> 31
    # Errors left from before are cleared and do no harm.
    del flash.model.on_write[expected[0][0]]
    assert flash.model.flag("elearn_nvm_program", 64, data, 16)


@pytest.mark.parametrize("name", with_driver("stm32l4_flash.c"))
@pytest.mark.parametrize("cached", [False, True])
def test_the_data_cache_of_an_l4_is_off_while_its_flash_is_written(name: str, cached: bool) -> None:
    """The program reads from the other bank meanwhile (ST ES0250); a reset of the cache is taken while it is off."""
    board = ALL[name]
    assert board.nvm is not None
    flash = Flash(board, "stm32l4_flash.c", 0x4002_2000, 0x08, 0x10, 0x14)
    model, acr, on, reset = flash.model, 0x4002_2000, 1 << 10, 1 << 12
    model.values |= {acr: 0x304 | cached << 10, 0x4002_2020: 1 << 22}
    started: list[int] = []
    write = flash.write

    def start(value: int) -> int:
        started.append(model.values[acr] & on)
        return write(value)

    model.on_write[flash.control] = start
    assert model.flag("elearn_nvm_erase", 0)
    assert model.flag("elearn_nvm_program", 0, bytes(16), 16)
    assert set(started) == {0}
    assert len(model.written(acr)) >= 6
    assert [value & on for value in model.written(acr) if value & reset] == [0, 0], "emptied after each"
    assert model.values[acr] == 0x304 | cached << 10


@pytest.mark.parametrize(
    ("name", "source", "offsets"),
    [
        ("nucleo_f446re", "stm32f4_flash.c", (0x4002_3C00, 0x04, 0x0C, 0x10)),
        ("b_l475e_iot01a", "stm32l4_flash.c", (0x4002_2000, 0x08, 0x10, 0x14)),
    ],
)
def test_flash_that_stays_busy_is_given_up(name: str, source: str, offsets: tuple[int, int, int, int]) -> None:
    flash = Flash(ALL[name], source, *offsets)
    flash.model.on_read[flash.status] = lambda: 1 << 16
    assert not flash.model.flag("elearn_nvm_erase", 0)
    assert not flash.started
    assert flash.model.reads < 500_000


@pytest.mark.parametrize("name", with_driver("nrf5_nvmc.c"))
def test_an_nrf5_erases_and_programs(name: str) -> None:
    board = ALL[name]
    nvm = board.nvm
    assert nvm is not None
    model = Registers(board, ["nrf5_nvmc.c"], {"ELEARN_NVM_ERASE_MS": 1})
    ready, config, erase = 0x4001_E400, 0x4001_E504, 0x4001_E508
    model.values[ready] = 1
    assert model.flag("elearn_nvm_erase", 3)
    assert model.writes == [(config, 2), (erase, nvm.address + 3 * nvm.page_bytes), (config, 0)]
    model.writes.clear()
    assert model.flag("elearn_nvm_program", 8, b"\1\2\3\4\5\6\7\x08", 8)
    first = nvm.address + 8
    assert model.writes == [(config, 1), (first, 0x0403_0201), (first + 4, 0x0807_0605), (config, 0)]
    model.values[ready] = 0
    assert not model.flag("elearn_nvm_erase", 0)
    assert model.last(config) == 0, "left for reading all the same"


# -- watchdogs and causes of resets


@pytest.mark.parametrize("name", with_driver("stm32_watchdog.c"))
def test_the_watchdog_of_an_stm32(name: str) -> None:
    board = ALL[name]
    model = Registers(board, ["stm32_watchdog.c"])
    key, prescaler, reload, status = 0x4000_3000, 0x4000_3004, 0x4000_3008, 0x4000_300C
    # First what ST's bootloader left pending, without an oscillator that would end it; then what is written here.
    pending = iter([3, 2, 0, 3, 1, 0])
    model.on_read[status] = lambda: next(pending)
    model.call("elearn_watchdog_start")
    debug = (0xE004_2008, 1 << 12)
    assert model.writes[0] == debug, "it stands still while a debugger holds the processor"
    value = model.last(reload)
    assert model.writes[1:] == [(key, 0xCCCC), (key, 0x5555), (prescaler, 6), (reload, value), (key, 0xAAAA)]
    assert value < 1 << 12
    # DS of all families: 17 to 47 kHz.
    assert 256 * (value + 1) / 47_000 > 15
    assert 256 * (value + 1) / 32_000 == pytest.approx(30, rel=0.01)
    model.writes.clear()
    model.call("elearn_port_feed")
    assert model.writes == [(key, 0xAAAA)]


def test_the_watchdog_of_an_stm32_does_not_wait_for_ever() -> None:
    model = Registers(ALL["nucleo_f446re"], ["stm32_watchdog.c"])
    model.on_read[0x4000_300C] = lambda: 3
    model.call("elearn_watchdog_start")
    assert model.last(0x4000_3000) == 0xAAAA
    assert model.reads < 1_000_000


def test_an_stm32_sleeps_no_longer_than_its_watchdog_has_patience() -> None:
    """SysTick wakes it, and is gone before interrupts are let in: it has no handler."""
    model = Registers(ALL["disco_f746ng"], ["stm32_watchdog.c"])
    model.call("elearn_watchdog_sleep")
    control, load, value, pending = 0xE000_E010, 0xE000_E014, 0xE000_E018, 0xE000_ED04
    assert model.writes == [(load, 0xFF_FFFF), (value, 0), (control, 7), (control, 0), (pending, 1 << 25)]
    assert (1 << 24) / 216_000_000 < 15


@pytest.mark.parametrize(
    ("name", "flags", "cause"),
    [
        # RCC_CSR of the F4 and F7: LPWR, WWDG, IWDG, SFT, POR, PIN, BOR from bit 31 down; RMVF 24.
        ("nucleo_f446re", 0x0E00_0000, ResetCause.POWER_ON),
        ("nucleo_f446re", 0x0600_0000, ResetCause.POWER_ON),
        ("nucleo_f446re", 0x0400_0000, ResetCause.PIN),
        ("nucleo_f446re", 0x1400_0000, ResetCause.SOFTWARE),
        ("nucleo_f446re", 0x2400_0000, ResetCause.WATCHDOG),
        ("disco_f746ng", 0x4400_0000, ResetCause.WATCHDOG),
        ("disco_f746ng", 0x0000_0000, ResetCause.UNKNOWN),
        # Of the L4: LPWR, WWDG, IWDG, SFT, BOR, PIN, OBL, FW from bit 31 down; RMVF 23.
        ("b_l475e_iot01a", 0x0C00_0000, ResetCause.POWER_ON),
        ("b_l475e_iot01a", 0x0400_0000, ResetCause.PIN),
        ("b_l475e_iot01a", 0x1400_0000, ResetCause.SOFTWARE),
        ("nucleo_l4r5zi", 0x2400_0000, ResetCause.WATCHDOG),
        ("nucleo_l4r5zi", 0x0200_0000, ResetCause.UNKNOWN),
    ],
)
def test_an_stm32_knows_why_it_was_reset(name: str, flags: int, cause: ResetCause) -> None:
    is_l4 = "stm32l4_clock.c" in ALL[name].port.sources
    csr, clear = (0x4002_1094, 1 << 23) if is_l4 else (0x4002_3874, 1 << 24)
    model = Registers(ALL[name], ["stm32_watchdog.c"])
    model.values[csr] = flags | 3
    assert model.call("elearn_watchdog_reset_cause") == cause
    assert model.written(csr) == [flags | 3 | clear], "taken back, or the next cause is mixed with it"


@pytest.mark.parametrize("name", with_driver("nrf5_watchdog.c"))
@pytest.mark.parametrize("runs", [False, True])
def test_the_watchdog_of_an_nrf5(name: str, runs: bool) -> None:
    model = Registers(ALL[name], ["nrf5_watchdog.c"])
    base = 0x4001_0000
    model.values[base + 0x400] = runs
    model.call("elearn_watchdog_start")
    settings = [] if runs else [(base + 0x50C, 0), (base + 0x504, 30 * 32768 - 1), (base + 0x508, 1), (base, 1)]
    fed = [(base + 0x600 + 4 * i, 0x6E52_4635) for i in range(8)]
    assert model.writes == settings + fed, "one that runs has its settings locked; it is fed whatever it asks for"


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        (0, ResetCause.POWER_ON),
        (1, ResetCause.PIN),
        (2, ResetCause.WATCHDOG),
        (4, ResetCause.SOFTWARE),
        (8, ResetCause.LOCKUP),
        # nRF52840 errata, anomaly 136: with the pin's, bits are set that should not be.
        (3, ResetCause.PIN),
        (0xF, ResetCause.PIN),
        (1 << 16, ResetCause.UNKNOWN),
    ],
)
def test_an_nrf5_knows_why_it_was_reset(flags: int, cause: ResetCause) -> None:
    model = Registers(ALL["nrf52840dk"], ["nrf5_watchdog.c"])
    reasons = 0x4000_0400
    model.values[reasons] = flags
    clear: Callable[[int], int] = lambda value: model.values[reasons] & ~value  # noqa: E731
    model.on_write[reasons] = clear
    assert model.call("elearn_watchdog_reset_cause") == cause
    assert model.values[reasons] == 0


def test_a_register_that_is_none_tells_nothing() -> None:
    """QEMU's nRF51 reads 1 everywhere in that block."""
    model = Registers(ALL["microbit"], ["nrf5_watchdog.c"])
    model.on_read[0x4000_0400] = lambda: 1
    assert model.call("elearn_watchdog_reset_cause") == ResetCause.UNKNOWN


# -- counters


@pytest.mark.parametrize("name", with_driver("cortex_m_dwt.c"))
def test_the_cycle_counter_counts_at_the_speed_of_the_core(name: str) -> None:
    board = ALL[name]
    clock = next(source for source in board.port.sources if source.endswith("_clock.c"))
    model = Registers(board, ["cortex_m_dwt.c", clock])
    trace, control, count, lock = 0xE000_EDFC, 0xE000_1000, 0xE000_1004, 0xE000_1FB0
    model.values[control] = 0x4000_0000
    model.call("elearn_timer_init")
    # Without the trace unit on nothing else of it answers; a Cortex-M7 wants a key.
    assert model.writes == [(trace, 1 << 24), (lock, 0xC5AC_CE55), (count, 0), (control, 0x4000_0001)]
    model.values[count] = 123_456
    assert model.call("elearn_port_ticks") == 123_456
    # pyOCD writes 0 there when it goes (pyocd/coresight/cortex_m.py, disconnect), after it has started the program.
    model.values |= {trace: 0, control: 0x4000_0000}
    assert model.call("elearn_port_ticks") == 123_456
    assert (model.values[trace], model.values[control]) == (1 << 24, 0x4000_0001)
    assert model.call("elearn_port_counter_hz") == model.call("elearn_clock_core_hz")
    assert (board.counter.unit, board.counter.hz) == ("cycles", board.clock_hz)
