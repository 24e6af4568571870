"""Drivers of flash compile without a warning for cores of the chips that they are for, boards of ours or not."""

from __future__ import annotations

import subprocess

import pytest

from edgelearn import resources
from edgelearn.board import COMPILE_FLAGS, COMPILERS, Core, load_board
from edgelearn.codegen.board_files import board_files
from edgelearn.protocol import c_header
from tests.support.tools import require_tool

#: An STM32L476 at the end of its second bank, and an nRF52832.
L4 = {"ADDRESS": 0x080F_8000, "PAGE_BYTES": 2048, "PAGES": 16, "WRITE_BYTES": 8, "ERASE_MS": 25}
NRF52 = {"ADDRESS": 0x0007_8000, "PAGE_BYTES": 4096, "PAGES": 8, "WRITE_BYTES": 4, "ERASE_MS": 90}
F7 = {"ADDRESS": 0x080C_0000, "PAGE_BYTES": 256 * 1024, "PAGES": 2, "WRITE_BYTES": 4, "ERASE_MS": 4000}


@pytest.mark.parametrize(
    ("source", "core", "nvm", "defines"),
    [
        ("nrf5_nvmc.c", Core.CORTEX_M4F, NRF52, {"ELEARN_CLOCK_HZ": 64_000_000}),
        ("stm32f4_flash.c", Core.CORTEX_M7F, F7, {"ELEARN_CLOCK_HZ": 216_000_000, "ELEARN_NVM_FIRST_SECTOR": 6}),
        (
            "stm32l4_flash.c",
            Core.CORTEX_M4F,
            L4,
            {"ELEARN_CLOCK_HZ": 80_000_000, "ELEARN_NVM_FIRST_PAGE": 240, "ELEARN_NVM_BANK": 1},
        ),
    ],
)
def test_drivers_of_flash_compile(source, core, nvm, defines, tmp_path):
    flags = COMPILERS[core]
    require_tool(flags.program)
    values = {**defines, **{f"ELEARN_NVM_{name}": value for name, value in nvm.items()}}
    (tmp_path / "elearn_board.h").write_text("".join(f"#define {name} {value}u\n" for name, value in values.items()))
    firmware = resources.firmware_folder()
    includes = [f"-I{tmp_path}", f"-I{firmware / 'runtime'}", f"-I{firmware / 'port'}"]
    (tmp_path / "elearn_protocol.h").write_text(c_header())
    sources = [str(firmware / "port" / source), str(firmware / "runtime" / "elearn_store.c")]
    argv = [flags.program, *flags.gnu, "-O2", *COMPILE_FLAGS, *includes, "-fsyntax-only", *sources]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_drivers_of_an_nrf52_compile(tmp_path):
    """The nRF52 has the registers of the nRF51 that these drivers use."""
    flags = COMPILERS[Core.CORTEX_M4F]
    require_tool(flags.program)
    board = load_board("microbit")
    files = board_files(board, runtime_sources=[], generated_sources=[], baud=1_000_000, ring_bytes=256)
    (tmp_path / "elearn_board.h").write_text(files["src/elearn_board.h"].replace("16000000u", "64000000u"))
    firmware = resources.firmware_folder()
    includes = [f"-I{tmp_path}", f"-I{firmware / 'runtime'}", f"-I{firmware / 'port'}"]
    sources = [str(firmware / "port" / name) for name in ("nrf5_clock.c", "nrf5_timer.c", "nrf5_uart.c", "nrf5_nvmc.c")]
    argv = [flags.program, *flags.gnu, "-O2", *COMPILE_FLAGS, *includes, "-fsyntax-only", *sources]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("core", [core for core in COMPILERS if core is not Core.HOST], ids=lambda core: core.value)
def test_the_store_compiles_for_every_core(core, tmp_path):
    flags = COMPILERS[core]
    require_tool(flags.program)
    board = load_board("netduinoplus2")
    files = board_files(board, runtime_sources=[], generated_sources=[], baud=9600, ring_bytes=64)
    (tmp_path / "elearn_board.h").write_text(files["src/elearn_board.h"])
    runtime = resources.firmware_folder() / "runtime"
    argv = [flags.program, *flags.gnu, "-O2", *COMPILE_FLAGS, f"-I{tmp_path}", f"-I{runtime}", "-fsyntax-only"]
    done = subprocess.run([*argv, str(runtime / "elearn_store.c")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
