"""Builds store_model.c: the store of the device code on a model of flash, under sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from edgelearn import resources
from edgelearn.board import COMPILE_FLAGS, SANITIZE_FLAGS
from edgelearn.protocol import c_header

_SOURCE = Path(__file__).parent / "store_model.c"


class Geometry(NamedTuple):
    """Flash of one kind, and the sizes of a record's parts in it.

    Attributes:
        programs: how often a unit may be programmed after an erase.
        is_eeprom: erased byte by byte, where that changes it, and read through the driver.
    """

    name: str
    pages: int
    page_bytes: int
    write_bytes: int
    programs: int
    parts: tuple[int, ...]
    is_eeprom: bool = False

    @property
    def defines(self) -> dict[str, int]:
        """What elearn_board.h would say."""
        return {
            "ELEARN_NVM_PAGES": self.pages,
            "ELEARN_NVM_PAGE_BYTES": self.page_bytes,
            "ELEARN_NVM_WRITE_BYTES": self.write_bytes,
            "ELEARN_NVM_MAPPED": int(not self.is_eeprom),
            "MODEL_PROGRAMS": self.programs,
            "MODEL_IS_EEPROM": int(self.is_eeprom),
        }


#: Pages of real sizes, but few of them and with short records, so that every operation can be cut.
GEOMETRIES = (
    Geometry("nrf51-several-in-a-page", 5, 1024, 4, 2, (130, 40, 4)),
    Geometry("nrf51-one-in-a-page", 3, 1024, 4, 2, (600, 30)),
    Geometry("nrf52-record-of-two-pages", 4, 512, 4, 2, (700, 33, 2)),
    Geometry("stm32l4-programmed-once", 4, 2048, 8, 1, (450, 21)),
    Geometry("stm32l4-record-of-three-pages", 7, 256, 8, 1, (512, 90, 1)),
    Geometry("stm32f4-sectors", 2, 128 * 1024, 4, 255, (150, 7)),
    Geometry("stm32h7-wide-units", 3, 2048, 32, 1, (300,)),
    Geometry("bytes", 2, 256, 1, 1, (37, 60)),
    Geometry("eeprom-of-an-avr", 7, 64, 1, 1, (70, 21), is_eeprom=True),
)


def build_store_model(folder: Path, geometry: Geometry) -> Path:
    """The program for one geometry."""
    defines = "".join(f"#define {name} {value}u\n" for name, value in geometry.defines.items())
    (folder / "elearn_board.h").write_text(defines)
    (folder / "elearn_protocol.h").write_text(c_header())
    runtime = resources.firmware_folder() / "runtime"
    program = folder / "store_model"
    argv = ["cc", *COMPILE_FLAGS, "-O1", *SANITIZE_FLAGS, f"-I{folder}"]
    argv += [f"-I{runtime}", "-o", str(program), str(_SOURCE), str(runtime / "elearn_frame.c")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def run_store_model(program: Path, *arguments: object, commands: str = "") -> str:
    """What the program says; a complaint of its own or of a sanitizer is an error."""
    argv = [str(program), *(str(argument) for argument in arguments)]
    done = subprocess.run(argv, input=commands, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
