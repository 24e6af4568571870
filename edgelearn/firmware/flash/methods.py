"""The flasher of each way that a board file can list."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edgelearn.board.ways import (
    ArduinoCli,
    Bossac,
    DfuUtil,
    Drive,
    DriveFormat,
    EspTool,
    MpRemote,
    NrfUtil,
    OpenOcd,
    PyOcd,
    StFlash,
    Way,
    method_of,
)
from edgelearn.firmware.flash import (
    arduino_cli,
    bossac,
    dfu_util,
    drive,
    esptool,
    micropython,
    nrfutil,
    openocd,
    pyocd,
    stlink,
)
from edgelearn.firmware.flash.tool import Erases, Format, Tool

_TOOLS: Mapping[type[msgspec.Struct], Tool] = {
    PyOcd: pyocd.TOOL,
    OpenOcd: openocd.TOOL,
    StFlash: stlink.TOOL,
    DfuUtil: dfu_util.TOOL,
    Bossac: bossac.TOOL,
    NrfUtil: nrfutil.TOOL,
    Drive: drive.TOOL,
    ArduinoCli: arduino_cli.TOOL,
    EspTool: esptool.TOOL,
    MpRemote: micropython.TOOL,
}


#: All flashers, by the name that `--method` takes.
METHODS: Mapping[str, Tool] = {method_of(way): tool for way, tool in _TOOLS.items()}


def tool_of(way: Way) -> Tool:
    """The flasher of a way."""
    return _TOOLS[type(way)]


def format_of(way: Way) -> Format | None:
    """The file that a way's flasher is given; None where it makes that itself."""
    return drive.file_format(way) if isinstance(way, Drive) else tool_of(way).format


#: The files in which somebody else's firmware comes.
FIRMWARE_SUFFIXES = (".uf2", ".bin")


def firmware_suffixes(way: Way) -> tuple[str, ...]:
    """The files of somebody else's firmware, such as MicroPython itself, that a way can put on the board."""
    if isinstance(way, Drive) and way.format is DriveFormat.UF2:
        return (".uf2",)
    return (".bin",) if isinstance(way, EspTool) else ()


def erases_of(way: Way) -> Erases:
    """What a way's flasher erases: never more than this, and none is asked to.

    Interface chips may erase the whole chip for a file on their drive (Arm, DAPLink, docs/MSD_COMMANDS.md: only where
    "page erasing" is on they do not); bossac erases from the offset on (its `--help`).
    """
    if isinstance(way, Drive):
        return Erases.PAGES if way.format is DriveFormat.UF2 else Erases.CHIP
    return Erases.REST if isinstance(way, Bossac) else Erases.PAGES
