"""How large code will be, before it is compiled: what each part of a firmware had when it was measured.

Kernels say their own size (`codegen/lowering/`); here is everything else, for each compiler, and how cores compare.
Measured on a Cortex-M4 with arm-none-eabi-gcc 12.2 and with zig 0.17, at -O2, and on an AVR with avr-gcc 5.4, at -Os;
tests compare the sum with the linker's figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from edgelearn.board import Board, Core, Output
from edgelearn.codegen.lowering.call import DOT, Source

#: Bytes of an entry of the vector table, and the entries of the processor itself.
_VECTOR_BYTES, _SYSTEM_VECTORS = 4, 16


class Measured(Struct, frozen=True, kw_only=True):
    """Bytes of code and small constants of one compiler.

    Attributes:
        base: link, frames, statistics, the generated model.c of a small model and the compiler's library.
        step: of each further layer in model.c.
        training: the trainable layer, and what link and state have more with it.
        store: the log of records.
        sensor: what takes samples from a sensor of the board; without the person's own file.
        api: the calls in edgelearn.h, and Arduino's class on them, which a sketch has beside the link.
        kernels: that a kernel takes, for each byte that it says.
        drivers: by their names, those of any core that the compiler knows.
        other_driver: one that is not among them.
        cores: all of these together on another core, for each byte on a Cortex-M4.
    """

    base: int
    step: int
    training: int
    store: int
    sensor: int
    api: int
    kernels: float
    drivers: Mapping[str, int]
    other_driver: int
    cores: Mapping[Core, float]


GNU = Measured(
    base=4_150,
    step=50,
    training=3_370,
    store=1_690,
    sensor=1_060,
    api=1_200,
    kernels=1.0,
    drivers={
        "cmsdk_timer.c": 38,
        "cmsdk_uart.c": 168,
        "cortex_m_dwt.c": 112,
        "cortex_m_reset.c": 480,
        "cortex_m_stack.c": 204,
        "cortex_m_startup.c": 530,
        "fixed_clock.c": 10,
        "no_watchdog.c": 16,
        "nrf5_clock.c": 80,
        "nrf5_nvmc.c": 234,
        "nrf5_timer.c": 80,
        "nrf5_uart.c": 264,
        "nrf5_watchdog.c": 198,
        "ram_nvm.c": 78,
        "stm32_timer.c": 80,
        "stm32_usart.c": 330,
        "stm32_usart_v2.c": 350,
        "stm32_watchdog.c": 204,
        "stm32f4_clock.c": 470,
        "stm32f4_flash.c": 392,
        "stm32l4_clock.c": 380,
        "stm32l4_flash.c": 460,
        "uart_ring.c": 260,
    },
    other_driver=250,
    cores={Core.CORTEX_M0: 1.125},
)
#: How large zig makes the store depends on the geometry of the pages; what that adds is told with their driver.
ZIG = Measured(
    base=5_270,
    step=50,
    training=5_950,
    store=3_000,
    sensor=1_220,
    api=1_200,
    kernels=1.4,
    drivers={
        "cmsdk_timer.c": 46,
        "cmsdk_uart.c": 300,
        "cortex_m_dwt.c": 108,
        "cortex_m_reset.c": 504,
        "cortex_m_stack.c": 420,
        "cortex_m_startup.c": 1_300,
        "fixed_clock.c": 12,
        "no_watchdog.c": 16,
        "nrf5_clock.c": 266,
        "nrf5_nvmc.c": 392 + 2_900,
        "nrf5_timer.c": 66,
        "nrf5_uart.c": 555,
        "nrf5_watchdog.c": 190,
        "ram_nvm.c": 192,
        "stm32_timer.c": 78,
        "stm32_usart.c": 412,
        "stm32_usart_v2.c": 400,
        "stm32_watchdog.c": 298,
        "stm32f4_clock.c": 1_200,
        "stm32f4_flash.c": 520 + 1_350,
        "stm32l4_clock.c": 1_220,
        "stm32l4_flash.c": 850 + 150,
        "uart_ring.c": 412,
    },
    other_driver=450,
    cores={Core.CORTEX_M3: 1.05, Core.CORTEX_M7F: 0.95},
)

#: Its registers have 8 bits.
AVR = Measured(
    base=4_900,
    step=100,
    training=8_980,
    store=6_360,
    sensor=3_400,
    api=2_900,
    kernels=3.2,
    drivers={"avr_eeprom.c": 470},
    other_driver=500,
    cores={},
)

#: A library for somebody's own firmware has the calls, but not the link, nor what the trainable layer adds to it.
_LINK_BYTES, _TRAINING_LINK_BYTES = 4_070, 1_040


def code_bytes(
    measured: Measured,
    board: Board,
    output: Output,
    kernels: Iterable[Source],
    *,
    steps: int,
    trains: bool,
    keeps: bool,
    senses: bool,
) -> int:
    """Bytes of code and small constants, by estimate.

    Args:
        measured: of the compiler.
        board: with its drivers.
        output: what is generated; Arduino's core is told with it.
        kernels: that are called.
        steps: layers that are computed.
        trains: whether there is a trainable layer.
        keeps: whether what it learned is saved.
        senses: whether a sensor on the board is read.
    """
    found = measured.base + measured.step * steps + measured.kernels * sum(one.code_bytes for one in set(kernels))
    if trains:
        found += measured.training + measured.kernels * DOT.code_bytes
    if keeps:
        found += measured.store
    if senses:
        found += measured.sensor
    if output is Output.BARE_METAL:
        sources = [source for source in board.port.sources if source.endswith(".c")]
        found += sum(measured.drivers.get(source, measured.other_driver) for source in sources)
    else:
        found += measured.api
        found += measured.drivers.get(board.nvm.source, measured.other_driver) if keeps and board.nvm else 0
    if output is Output.LIBRARY:
        found -= _LINK_BYTES + (_TRAINING_LINK_BYTES if trains else 0)
    found *= measured.cores.get(board.core, 1.0)
    if output is Output.BARE_METAL and board.core is not Core.HOST:
        found += _VECTOR_BYTES * (_SYSTEM_VECTORS + board.port.interrupt_count)
    if output is Output.ARDUINO and board.arduino:
        found += board.arduino.core_flash_bytes
    return round(found)
