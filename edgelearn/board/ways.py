"""The ways to put firmware on a board, as a board file lists them; firmware/flash/ carries them out.

Each way has its own class, told apart by `method`. A board lists those that its maker or its chip offers, the one to
prefer first; which of them can be used depends on what is plugged in and installed.
"""

from __future__ import annotations

import datetime
import enum
from typing import TypeAlias

import msgspec

#: What INFO_UF2.TXT says where there is none.
NO_SOFTDEVICE = "not found"


class DriveFormat(enum.Enum):
    """What a board's drive takes."""

    UF2 = "uf2"
    HEX = "hex"
    BIN = "bin"


class _Way(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="method"):
    pass


class PyOcd(_Way, frozen=True, kw_only=True, tag="pyocd"):
    """A debug probe, driven by pyOCD.

    Attributes:
        target: pyOCD's name of the chip.
    """

    target: str


class OpenOcd(_Way, frozen=True, kw_only=True, tag="openocd"):
    """A debug probe, driven by OpenOCD.

    Attributes:
        configs: its own configuration files: the probe's, the chip's.
    """

    configs: tuple[str, ...]


class StFlash(_Way, frozen=True, kw_only=True, tag="st-flash"):
    """An ST-LINK, driven by st-flash of the stlink tools."""


class DfuUtil(_Way, frozen=True, kw_only=True, tag="dfu-util"):
    """A bootloader that speaks USB DFU.

    Attributes:
        vid, pid: of the bootloader.
        alternate: number of its setting that holds the flash.
        dfuse: whether it is ST's extension, which is given the address.
        enter: what a person does to start the bootloader.
    """

    vid: int
    pid: int
    alternate: int = 0
    dfuse: bool = True
    enter: str


class Bossac(_Way, frozen=True, kw_only=True, tag="bossac"):
    """A bootloader that speaks SAM-BA over a serial port; it is entered by opening the port at 1200 baud.

    Attributes:
        offset: where it writes to, in bytes from the beginning of what it calls flash.
    """

    offset: int


class NrfUtil(_Way, frozen=True, kw_only=True, tag="adafruit-nrfutil"):
    """Nordic's serial DFU, with adafruit-nrfutil; its bootloader is entered by opening the port at 1200 baud.

    Attributes:
        device_type: what the bootloader checks: the chip's family.
        softdevice: identifier of the SoftDevice that is on the board and stays there.
    """

    device_type: int
    softdevice: int


class EarlierBootloader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bootloader that writes less than later ones do, and says nothing of it.

    Attributes:
        before: what its INFO_UF2.TXT is dated before.
        end: the address from which on it writes nothing.
    """

    before: datetime.date
    end: int


class Drive(_Way, frozen=True, kw_only=True, tag="drive"):
    """A drive that the bootloader or the interface chip offers; a file copied to it is written to flash.

    Attributes:
        volume: the drive's label.
        other_volumes: labels that it has on variants of the board, or with other bootloaders.
        format: of the file.
        family: for UF2, the number of the chip's family.
        enter: what a person does to make the drive appear; empty where it is always there.
        programs_at: of a UF2 bootloader that starts programs behind a SoftDevice: where, by what its INFO_UF2.TXT says
            of that, a name with the beginning of a version, or NO_SOFTDEVICE.
        earlier: a bootloader of before, which may still be on the board.
    """

    volume: str
    other_volumes: tuple[str, ...] = ()
    format: DriveFormat
    family: int = 0
    enter: str = ""
    programs_at: dict[str, int] = {}
    earlier: EarlierBootloader | None = None

    @property
    def volumes(self) -> tuple[str, ...]:
        """All labels that it may have."""
        return (self.volume, *self.other_volumes)


class ArduinoCli(_Way, frozen=True, kw_only=True, tag="arduino-cli"):
    """arduino-cli, with whatever uploader the board's Arduino core brings."""


class EspTool(_Way, frozen=True, kw_only=True, tag="esptool"):
    """The bootloader in ROM of Espressif's chips, for the firmware of MicroPython.

    Attributes:
        chip: esptool's name of it.
        offset: where MicroPython's image begins.
    """

    chip: str
    offset: int


class MpRemote(_Way, frozen=True, kw_only=True, tag="mpremote"):
    """MicroPython's file system or ROM partition, over its serial port, with mpremote's transport."""


Way: TypeAlias = PyOcd | OpenOcd | StFlash | DfuUtil | Bossac | NrfUtil | Drive | ArduinoCli | EspTool | MpRemote


def method_of(way: Way | type[msgspec.Struct]) -> str:
    """The name of a way, as board files and `--method` have it."""
    return str(way.__struct_config__.tag)
