"""All device code compiles for AVR without a warning, pointers between flash and RAM included."""

from __future__ import annotations

import subprocess

import pytest

from edgelearn import resources
from edgelearn.firmware.arduino_build import _LIBRARY_C
from tests.support.tools import require_tool
from tests.unit.codegen.test_arduino import library

#: It wants float64, which avr-gcc does not have; the plan refuses a layer that needs it.
DOUBLE = "elearn_fully_connected_double_s8.c"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Generated headers of a model with a head."""
    folder = tmp_path_factory.mktemp("generated")
    for path, text in library().items():
        if path in ("src/elearn_config.h", "src/elearn_protocol.h", "src/elearn_board.h", "src/edgelearn.h"):
            (folder / path.removeprefix("src/")).write_text(text)
    return folder


def compile_all(folder, sources, *flags):
    require_tool("avr-gcc")
    runtime = resources.firmware_folder() / "runtime"
    argv = ["avr-gcc", "-mmcu=atmega2560", "-Os", *_LIBRARY_C, *flags, f"-I{runtime}", f"-I{folder}", "-fsyntax-only"]
    return subprocess.run([*argv, *map(str, sources)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("residual", ["INT8", "STOCHASTIC", "NONE", "FLOAT"])
def test_runtime_compiles(folder, residual, tmp_path):
    runtime = resources.firmware_folder() / "runtime"
    config = (folder / "elearn_config.h").read_text()
    (tmp_path / "elearn_config.h").write_text(config.replace("ELEARN_RESIDUAL_INT8", f"ELEARN_RESIDUAL_{residual}"))
    sources = [
        path
        for path in runtime.glob("elearn_*.c")
        if path.name not in (DOUBLE, "elearn_sensing.c", "elearn_store.c")
        and (residual == "INT8" or "head" in path.name)
    ]
    done = compile_all(folder, sources, f"-I{tmp_path}")
    assert done.returncode == 0, done.stderr


def test_float64_is_an_error_of_its_own(folder):
    done = compile_all(folder, [resources.firmware_folder() / "runtime" / DOUBLE])
    assert "this layer needs float64" in done.stderr


def test_a_pointer_to_flash_is_not_one_to_ram(folder, tmp_path):
    (tmp_path / "wrong.c").write_text(
        '#include "elearn_flash.h"\nconst int8_t *wrong(const ELEARN_FLASH int8_t *p);\n'
        "const int8_t *wrong(const ELEARN_FLASH int8_t *p) { return p; }\n"
    )
    assert "address space" in compile_all(folder, [tmp_path / "wrong.c"]).stderr
