"""Drives that boards offer: found by their label; a file on them says more.

UF2 bootloaders say in INFO_UF2.TXT what they are, those of Adafruit's kind also when they were made and behind
which SoftDevice they start programs. Interface chips with DAPLink say their serial number in DETAILS.TXT.
"""

from __future__ import annotations

import datetime
import os
import re
import string
import sys
from pathlib import Path

from msgspec import Struct

from edgelearn.board.ways import NO_SOFTDEVICE

#: Below these folders systems show drives by their label: Linux, with a folder for each user or without, and macOS.
ROOTS = (Path("/media"), Path("/run/media"), Path("/Volumes"))
#: Where Linux says which device a mounted drive is, by the numbers of its file system.
BLOCK_DEVICES = Path("/sys/dev/block")
#: In every UF2 bootloader's drive: Microsoft, USB Flashing Format (UF2), "Embedding sources, readme".
INFO_UF2 = "INFO_UF2.TXT"
#: On the drive of interface chips with DAPLink (Arm, DAPLink, docs/MSD_COMMANDS.md).
DETAILS = "DETAILS.TXT"
#: "SoftDevice: S140 6.1.1"; in between it was "S140 version 6.1.1", and before that "s140 6.1.1" ended the first line
#: (Adafruit, Adafruit_nRF52_Bootloader, src/usb/uf2/ghostfat.c).
_SOFTDEVICE = re.compile(r"\b(S\d{3})(?: version)? (\d+(?:\.\d+)*)", re.IGNORECASE)
#: As C compilers write them in dates, whatever the language of this machine.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: What interface chips write where they could not program the target.
FAIL = "FAIL.TXT"


class FoundDrive(Struct, frozen=True, kw_only=True):
    """A drive.

    Attributes:
        path: where it is.
        label: its name, or that of the folder where it is mounted.
        info: what a UF2 bootloader says of itself: `Board-ID`, else `Model`; empty for other drives.
        softdevice: that a UF2 bootloader has found: `S140 6.1.1`, or `not found`; empty where it says nothing of one.
        built: when a UF2 bootloader was made; None where it does not say.
        serial_number: of the interface chip, or on USB; empty where that is not known.
        location: the connector it is plugged into; empty where that is not known.
    """

    path: Path
    label: str
    info: str = ""
    softdevice: str = ""
    built: datetime.date | None = None
    serial_number: str = ""
    location: str = ""

    def is_called(self, *volumes: str) -> bool:
        """Whether one of these may be its label.

        A system adds a number to the folder of a second drive of the same label: Linux (udisks) makes it `LABEL1`,
        macOS `LABEL 1`.
        """
        return any(re.fullmatch(rf"{re.escape(volume)}(?: ?\d+)?", self.label) for volume in volumes)


def drives() -> tuple[FoundDrive, ...]:
    """The drives of this machine that may be a board's, by path."""
    found = {}
    for root in ROOTS:
        for folder in (*_folders(root), *(inner for outer in _folders(root) for inner in _folders(outer))):
            if os.path.ismount(folder) or (folder / INFO_UF2).is_file():
                found[folder] = folder.name
    if os.name == "nt":
        found |= _windows_drives()
    return tuple(_drive(path, label) for path, label in sorted(found.items()))


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(inner for inner in path.iterdir() if inner.is_dir())
    except OSError:
        return []


def _windows_drives() -> dict[Path, str]:
    """Drive letters with the labels of their volumes."""
    import ctypes

    found = {}
    for letter in string.ascii_uppercase[2:]:
        label = ctypes.create_unicode_buffer(261)
        root = f"{letter}:\\"
        # The function exists on Windows only, and so do the types know it.
        if getattr(ctypes, "windll").kernel32.GetVolumeInformationW(  # noqa: B009
            root, label, len(label), None, None, None, None, 0
        ):
            found[Path(root)] = label.value
    return found


def _drive(path: Path, label: str) -> FoundDrive:
    text = _read(path / INFO_UF2)
    said = _entries(text)
    usb = _usb_folder(path)
    return FoundDrive(
        path=path,
        label=label,
        info=said.get("Board-ID") or said.get("Model") or "",
        softdevice=_softdevice(said.get("SoftDevice") or text.partition("\n")[0]),
        built=_date(said.get("Date", "")),
        serial_number=_entries(_read(path / DETAILS)).get("Unique ID", "")
        or (_read(usb / "serial").strip() if usb else ""),
        location=usb.name if usb else "",
    )


def _usb_folder(path: Path) -> Path | None:
    """Where Linux describes the USB device that a mounted drive is; None where it does not, or it is none."""
    if sys.platform == "win32":
        return None
    try:
        device = path.stat().st_dev
        block = (BLOCK_DEVICES / f"{os.major(device)}:{os.minor(device)}").resolve(strict=True)
    except OSError:
        return None
    return next((folder for folder in block.parents if (folder / "idVendor").is_file()), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _entries(text: str) -> dict[str, str]:
    """The lines `name: value` of a text."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _softdevice(said: str) -> str:
    if said.lower() == NO_SOFTDEVICE:
        return NO_SOFTDEVICE
    found = _SOFTDEVICE.search(said)
    return f"{found.group(1).upper()} {found.group(2)}" if found else ""


def _date(said: str) -> datetime.date | None:
    """A date as C compilers write it, `Jul 13 2019`."""
    found = re.fullmatch(rf"({'|'.join(_MONTHS)}) +(\d+) (\d+)", said)
    try:
        return found and datetime.date(int(found.group(3)), _MONTHS.index(found.group(1)) + 1, int(found.group(2)))
    except ValueError:
        return None


def failure(drive: Path) -> str:
    """Why an interface chip did not take the last file; empty where it says nothing."""
    return _read(drive / FAIL).strip()
