"""All device code compiles for AVR without a warning, pointers between flash and RAM included."""

from __future__ import annotations

import re
import subprocess

import pytest

from edgelearn import resources
from edgelearn.firmware.arduino_build import _LIBRARY_C
from tests.support.tools import require_tool
from tests.unit.codegen.test_arduino import AVR_BOARD, library

#: It wants float64, which avr-gcc does not have; the plan refuses a layer that needs it.
DOUBLE = "elearn_fully_connected_double_s8.c"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Generated headers of a model with a head."""
    folder = tmp_path_factory.mktemp("generated")
    for path, text in library(AVR_BOARD.name).items():
        if path in ("src/elearn_config.h", "src/elearn_protocol.h", "src/elearn_board.h", "src/edgelearn.h"):
            (folder / path.removeprefix("src/")).write_text(text)
    return folder


def compile_all(folder, sources, *flags, mcu="atmega2560", to=("-fsyntax-only",)):
    require_tool("avr-gcc")
    runtime = resources.firmware_folder() / "runtime"
    argv = ["avr-gcc", f"-mmcu={mcu}", "-Os", *_LIBRARY_C, *flags, f"-I{runtime}", f"-I{folder}", *to]
    return subprocess.run([*argv, *map(str, sources)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("residual", ["INT8", "STOCHASTIC", "NONE", "FLOAT"])
def test_runtime_compiles(folder, residual, tmp_path):
    runtime = resources.firmware_folder() / "runtime"
    config = (folder / "elearn_config.h").read_text()
    (tmp_path / "elearn_config.h").write_text(config.replace("ELEARN_RESIDUAL_INT8", f"ELEARN_RESIDUAL_{residual}"))
    sources = [
        path
        for path in runtime.glob("elearn_*.c")
        if path.name not in (DOUBLE, "elearn_sensing.c") and (residual == "INT8" or "head" in path.name)
    ]
    done = compile_all(folder, sources, f"-I{tmp_path}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("mcu", "is_written"), [("atmega2560", True), ("atmega328p", False)])
def test_the_eeprom_is_written_where_it_is_large_enough(folder, mcu, is_written, tmp_path):
    """An ATmega328P has a quarter of it: there nothing is kept."""
    driver = resources.firmware_folder() / "port" / "avr_eeprom.c"
    done = compile_all(folder, [driver], mcu=mcu, to=("-S", "-o", str(tmp_path / "driver.s")))
    assert done.returncode == 0, done.stderr
    # EEMPE and EEPE of EECR, the second right after the first: within four cycles.
    found = re.search(r"\bsbi 31, 2\n\s*sbi 31, 1\n", (tmp_path / "driver.s").read_text())
    assert bool(found) == is_written


def test_float64_is_an_error_of_its_own(folder):
    done = compile_all(folder, [resources.firmware_folder() / "runtime" / DOUBLE])
    assert "this layer needs float64" in done.stderr


def test_a_pointer_to_flash_is_not_one_to_ram(folder, tmp_path):
    (tmp_path / "wrong.c").write_text(
        '#include "elearn_flash.h"\nconst int8_t *wrong(const ELEARN_FLASH int8_t *p);\n'
        "const int8_t *wrong(const ELEARN_FLASH int8_t *p) { return p; }\n"
    )
    assert "address space" in compile_all(folder, [tmp_path / "wrong.c"]).stderr
