"""Clocks of boards against a model of their clock controllers: the frequencies that come out, by the formulas of the
reference manuals worked out here, what the chips demand on the way, and what happens where an oscillator is dead.
"""

from __future__ import annotations

import pytest

from edgelearn.board import Board, board_names, load_board
from tests.support.registers import BAUD, Registers

ALL = {name: load_board(name) for name in board_names()}
MHZ = 1_000_000
#: What feeds the PLL of each board, in Hz, and whether it is a clock from outside rather than a crystal.
SOURCES = {
    "netduinoplus2": (25 * MHZ, False),
    "pyboard_v11": (12 * MHZ, False),
    "blackpill_f411ce": (25 * MHZ, False),
    "disco_f746ng": (25 * MHZ, False),
    "nucleo_f446re": (8 * MHZ, True),
}
#: The most of the buses 1 and 2 and of the core without over-drive, in MHz; MHz for each wait state; and the values of
#: the voltage scale that allow this. Data sheets and reference manuals: DS8626, RM0090 table 10 and 5.4.1; RM0383 table
#: 5 and 5.4.1; RM0390 table 5 and 5.4.1; RM0385 table 5 and 4.4.1.
LIMITS = {
    "STM32F405RG": (42, 84, 168, 30, {1}),
    "STM32F411CE": (50, 100, 100, 30, {3}),
    "STM32F446RE": (45, 90, 168, 30, {3}),
    "STM32F746NG": (54, 108, 180, 30, {3}),
}
F4 = [name for name, board in ALL.items() if "stm32f4_clock.c" in board.port.sources]
L4 = [name for name, board in ALL.items() if "stm32l4_clock.c" in board.port.sources]


def uart_of(board: Board) -> str:
    return next(name for name in board.port.sources if name.startswith("stm32_usart"))


def divider_of(field: int) -> int:
    """RCC_CFGR: what a bus is divided by."""
    return 1 if field < 4 else 2 << (field - 4)


class F4Clock:
    """RCC, PWR and FLASH_ACR of an STM32F4 or F7 that works, except for what a test takes away."""

    CR, PLLCFGR, CFGR, PWR_CR, PWR_CSR, ACR = 0x40023800, 0x40023804, 0x40023808, 0x40007000, 0x40007004, 0x40023C00

    def __init__(self, board: Board, *, crystal: bool = True, pll: bool = True, over_drive: bool = True) -> None:
        self.board = board
        self.crystal, self.pll, self.over_drive = crystal, pll, over_drive
        self.hse_hz, self.is_external = SOURCES[board.name]
        self.faults: list[str] = []
        self.model = Registers(board, ["stm32f4_clock.c", uart_of(board)])
        self.model.values |= {self.CR: 0x83, self.PLLCFGR: 0x2400_3010, self.CFGR: 0, self.PWR_CR: 0x8000}
        self.model.on_write = {self.CR: self.write_cr, self.PLLCFGR: self.write_pll, self.CFGR: self.write_cfgr}
        self.model.on_read = {self.PWR_CSR: self.read_csr}

    def write_cr(self, value: int) -> int:
        before = self.model.values[self.CR]
        if (value ^ before) >> 18 & 1 and before >> 16 & 1:
            self.faults.append("the bypass was changed while the oscillator was on")
        value &= ~0x0202_0002
        value |= (value & 1) << 1
        if value >> 16 & 1 and self.crystal and bool(value >> 18 & 1) == self.is_external:
            value |= 1 << 17
        if value >> 24 & 1 and self.pll and value >> 17 & 1:
            value |= 1 << 25
        return value

    def write_pll(self, value: int) -> int:
        if self.model.values[self.CR] >> 24 & 1:
            self.faults.append("the PLL's settings are locked while it is on")
        return value

    def read_csr(self) -> int:
        pll = self.model.values[self.CR] >> 25 & 1
        drive = self.model.values.get(self.PWR_CR, 0) >> 16 & 3
        return pll << 14 | (drive if self.over_drive and pll else 0) << 16

    def write_cfgr(self, value: int) -> int:
        wanted = value & 3
        ready = {0: 1, 1: 17, 2: 25}.get(wanted, 31)
        if self.model.values[self.CR] >> ready & 1:
            value = value & ~0xC | wanted << 2
            if wanted == 2:
                self.check_at_full_speed(value)
        else:
            value = value & ~0xC | self.model.values[self.CFGR] & 0xC
        return value

    def check_at_full_speed(self, cfgr: int) -> None:
        """What has to be true when the processor goes to the PLL."""
        bus1, bus2, undriven, for_each, scales = LIMITS[self.board.chip]
        pll = self.model.values[self.PLLCFGR]
        m, n, p = pll & 0x3F, pll >> 6 & 0x1FF, 2 * ((pll >> 16 & 3) + 1)
        assert pll >> 22 & 1, "the source is the external oscillator"
        assert pll >> 28 == 2, "reserved bits, or a divider of its own, are as after a reset"
        assert 1 * MHZ <= self.hse_hz / m <= 2 * MHZ
        assert 100 * MHZ <= self.hse_hz / m * n <= 432 * MHZ
        assert 50 <= n <= 432
        assert pll >> 24 & 0xF >= 2
        hz = self.hse_hz * n // m // p
        assert hz == self.board.clock_hz
        assert hz / divider_of(cfgr >> 10 & 7) <= bus1 * MHZ
        assert hz / divider_of(cfgr >> 13 & 7) <= bus2 * MHZ
        waits = self.model.values[self.ACR] & 0xF
        assert waits >= -(-hz // (for_each * MHZ)) - 1
        assert self.model.values[self.PWR_CR] >> 14 & 3 in scales
        if hz > undriven * MHZ:
            assert self.model.values[self.PWR_CR] >> 16 & 3 == 3, "over-drive is on and switched to"

    def run(self) -> tuple[int, int]:
        """Set the clock; the frequencies that the driver says of core and the serial line's bus."""
        self.model.call("elearn_clock_init")
        assert not self.faults
        apb = self.board.port.defines["ELEARN_UART_APB"]
        return self.model.call("elearn_clock_core_hz"), self.model.call("elearn_clock_bus_hz", apb)

    def check_bus(self, core_hz: int, bus_hz: int) -> None:
        """The bus as it is set up gives what the driver says of it."""
        shift = 10 if self.board.port.defines["ELEARN_UART_APB"] == 1 else 13
        assert core_hz // divider_of(self.model.values[self.CFGR] >> shift & 7) == bus_hz


@pytest.mark.parametrize("name", F4)
def test_an_f4_or_f7_reaches_its_clock(name: str) -> None:
    clock = F4Clock(ALL[name])
    core_hz, bus_hz = clock.run()
    assert core_hz == ALL[name].clock_hz
    assert clock.model.values[clock.CFGR] >> 2 & 3 == 2
    clock.check_bus(core_hz, bus_hz)


@pytest.mark.parametrize("dead", ["crystal", "pll", "over_drive"])
@pytest.mark.parametrize("name", ["nucleo_f446re", "disco_f746ng", "pyboard_v11"])
def test_an_f4_or_f7_stays_on_its_internal_oscillator_where_something_is_dead(name: str, dead: str) -> None:
    board = ALL[name]
    clock = F4Clock(board, **{dead: False})
    core_hz, bus_hz = clock.run()
    if dead == "over_drive" and not board.port.defines["ELEARN_OVER_DRIVE"]:
        assert core_hz == board.clock_hz
        return
    assert core_hz == 16 * MHZ
    assert clock.model.values[clock.CFGR] >> 2 & 3 == 0
    assert not clock.model.values[clock.CR] >> 24 & 1, "the PLL is off"
    clock.check_bus(core_hz, bus_hz)
    assert clock.model.reads < 250_000


@pytest.mark.parametrize("name", F4)
def test_an_f4_or_f7_leaves_the_clock_of_a_bootloader(name: str) -> None:
    """The PLL runs on other settings, the processor on it."""
    clock = F4Clock(ALL[name])
    bypass = 1 << 18 if clock.is_external else 0
    clock.model.values |= {clock.CR: 0x0303_0083 | bypass, clock.PLLCFGR: 0x2740_5419, clock.CFGR: 0x940A}
    assert clock.run()[0] == ALL[name].clock_hz


def test_a_clock_controller_that_reads_zero_is_passed() -> None:
    """As QEMU's, which has none."""
    model = Registers(ALL["netduinoplus2"], ["stm32f4_clock.c"])
    for address in (F4Clock.CR, F4Clock.CFGR):
        model.on_write[address] = lambda value: 0
    model.call("elearn_clock_init")
    assert model.call("elearn_clock_core_hz") == 16 * MHZ
    assert model.reads < 250_000


#: The most in MHz without and with boost, MHz for each wait state in range 1: RM0351 table 9, RM0432 table 12.
L4_LIMITS = {"STM32L475VG": (80, 80, 16), "STM32L4R5ZI": (80, 120, 20)}


class L4Clock:
    """RCC, PWR and FLASH_ACR of an STM32L4 that works, except for what a test takes away."""

    CR, CFGR, PLLCFGR = 0x40021000, 0x40021008, 0x4002100C
    PWR_CR1, PWR_CR2, PWR_CR5, ACR = 0x40007000, 0x40007004, 0x40007080, 0x40022000

    def __init__(self, board: Board, *, internal: bool = True, pll: bool = True) -> None:
        self.board, self.internal, self.pll = board, internal, pll
        self.core_dividers: list[int] = []
        self.faults: list[str] = []
        self.model = Registers(board, ["stm32l4_clock.c", uart_of(board)])
        self.model.values |= {
            self.CR: 0x63,
            self.CFGR: 0,
            self.PLLCFGR: 0x1000,
            self.PWR_CR1: 0x200,
            self.PWR_CR5: 0x100,
        }
        self.model.on_write = {self.CR: self.write_cr, self.CFGR: self.write_cfgr, self.PLLCFGR: self.write_pll}

    def write_cr(self, value: int) -> int:
        value &= ~(1 << 10 | 1 << 25)
        if value >> 8 & 1 and self.internal:
            value |= 1 << 10
        if value >> 24 & 1 and value >> 10 & 1 and self.pll:
            value |= 1 << 25
        return value

    def write_pll(self, value: int) -> int:
        if self.model.values[self.CR] >> 24 & 1 and (value ^ self.model.values[self.PLLCFGR]) & ~(1 << 24):
            self.faults.append("the PLL's settings are locked while it is on")
        return value

    def write_cfgr(self, value: int) -> int:
        wanted = value & 3
        ready = {0: 1, 1: 10, 3: 25}.get(wanted, 31)
        if not self.model.values[self.CR] >> ready & 1:
            return value & ~0xC | self.model.values[self.CFGR] & 0xC
        if wanted == 3:
            self.core_dividers.append(1 if value >> 4 & 0xF < 8 else 2)
            self.check_at_full_speed()
        return value & ~0xC | wanted << 2

    def check_at_full_speed(self) -> None:
        plain, boosted, for_each = L4_LIMITS[self.board.chip]
        values = self.model.values
        pll = values[self.PLLCFGR]
        m, n, r = (pll >> 4 & 0xF) + 1, pll >> 8 & 0x7F, 2 * ((pll >> 25 & 3) + 1)
        assert pll & 3 == 2, "the source is the internal 16 MHz oscillator"
        assert pll >> 24 & 1, "the output to the processor is on"
        assert 4 * MHZ <= 16 * MHZ / m <= 16 * MHZ
        assert 8 <= n <= 86
        assert 64 * MHZ <= 16 * MHZ / m * n <= 344 * MHZ
        hz = 16 * MHZ * n // m // r
        assert hz == self.board.clock_hz <= boosted * MHZ
        assert values[self.PWR_CR1] >> 9 & 3 == 1, "voltage range 1"
        assert (values[self.PWR_CR5] >> 8 & 1 == 0) == (hz > plain * MHZ), "boosted above 80 MHz, and only then"
        assert values[self.ACR] & 0xF >= -(-hz // (for_each * MHZ)) - 1


@pytest.mark.parametrize("name", L4)
def test_an_l4_reaches_its_clock(name: str) -> None:
    board = ALL[name]
    clock = L4Clock(board)
    clock.model.call("elearn_clock_init")
    assert not clock.faults
    assert clock.model.call("elearn_clock_core_hz") == board.clock_hz
    assert clock.model.values[clock.CFGR] & 0xFC == 0xC, "on the PLL, undivided"
    # RM0432, 5.1.8: to more than 80 MHz by way of half of it.
    assert clock.core_dividers == ([2, 1] if board.clock_hz > 80 * MHZ else [1, 1])
    needs_io2 = board.port.defines["ELEARN_UART_TX_GPIO_ADDRESS"] == 0x4800_1800
    assert clock.model.values.get(clock.PWR_CR2, 0) >> 9 & 1 == needs_io2, "port G is supplied by VddIO2"


@pytest.mark.parametrize(("dead", "hz"), [("pll", 16 * MHZ), ("internal", 4 * MHZ)])
@pytest.mark.parametrize("name", L4)
def test_an_l4_goes_on_where_something_is_dead(name: str, dead: str, hz: int) -> None:
    clock = L4Clock(ALL[name], **{dead: False})
    clock.model.call("elearn_clock_init")
    assert clock.model.call("elearn_clock_core_hz") == hz
    assert not clock.faults
    assert clock.model.values[clock.CFGR] & 0xF0 == 0, "undivided"
    assert clock.model.reads < 450_000


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", [*F4, *L4])
def test_the_serial_line_has_its_speed_at_every_clock(name: str, fails: bool) -> None:
    board = ALL[name]
    clock = F4Clock(board, pll=not fails) if name in F4 else L4Clock(board, pll=not fails)
    clock.model.call("elearn_clock_init")
    clock.model.call("elearn_uart_init")
    defines = board.port.defines
    is_second_set = uart_of(board) == "stm32_usart_v2.c"
    divider = clock.model.last(defines["ELEARN_UART_ADDRESS"] + (0x0C if is_second_set else 0x08))
    bus_hz = clock.model.call("elearn_clock_bus_hz", defines["ELEARN_UART_APB"])
    low_power = defines.get("ELEARN_UART_LOW_POWER", 0)
    if low_power:
        assert 0x300 <= divider < 1 << 20
        assert 3 * BAUD <= bus_hz <= 4096 * BAUD
    else:
        assert 16 <= divider < 1 << 16
    assert (256 if low_power else 1) * bus_hz / divider == pytest.approx(BAUD, rel=0.01)


@pytest.mark.parametrize("dead", [False, True])
def test_an_nrf5_waits_for_its_crystal_and_no_longer(dead: bool) -> None:
    board = ALL["nrf52840dk"]
    model = Registers(board, ["nrf5_clock.c"])
    start, started, cache = 0x4000_0000, 0x4000_0100, 0x4001_E540
    model.on_read[0x1000_1208] = lambda: 0xFFFF_FFFF  # UICR.APPROTECT, erased
    if not dead:
        model.on_write[start] = lambda value: model.values.__setitem__(started, 1) or value
    model.call("elearn_clock_init")
    assert model.writes[:2] == [(started, 0), (start, 1)], "the event is taken back before the oscillator is started"
    assert model.reads == 1 + (80_000 if dead else 1)
    assert model.last(cache) == 1
    # Either oscillator has the same frequency.
    assert model.call("elearn_clock_core_hz") == 64 * MHZ
    assert model.call("elearn_clock_bus_hz", 1) == 16 * MHZ


@pytest.mark.parametrize(
    ("uicr", "opened"), [(0xFFFF_FFFF, False), (0xFFFF_FF5A, True), (0x5A, True), (0xFFFF_FF00, False), (0, False)]
)
@pytest.mark.parametrize("name", ["nrf52840dk", "microbit_v2", "microbit"])
def test_an_nrf52_leaves_the_debug_port_as_its_uicr_says(name: str, uicr: int, opened: bool) -> None:
    """Newer chips want it of the firmware after each reset (nrfx, mdk/system_nrf52_approtect.h); the nRF51 has none."""
    model = Registers(ALL[name], ["nrf5_clock.c"])
    model.values[0x1000_1208] = uicr
    model.call("elearn_clock_init")
    assert model.written(0x4000_0558) == ([0x5A] if opened and name != "microbit" else [])
