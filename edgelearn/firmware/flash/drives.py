"""Drives that boards offer: found by their label; UF2 bootloaders also say in INFO_UF2.TXT what they are."""

from __future__ import annotations

import os
import string
from pathlib import Path

from msgspec import Struct

#: Below these folders systems show drives by their label: Linux, with a folder for each user or without, and macOS.
ROOTS = (Path("/media"), Path("/run/media"), Path("/Volumes"))
#: In every UF2 bootloader's drive: Microsoft, USB Flashing Format (UF2), "Embedding sources, readme".
INFO_UF2 = "INFO_UF2.TXT"
#: What interface chips write where they could not program the target.
FAIL = "FAIL.TXT"


class FoundDrive(Struct, frozen=True, kw_only=True):
    """A drive.

    Attributes:
        path: where it is.
        label: its name.
        info: what a UF2 bootloader says of itself: `Board-ID`, else `Model`; empty for other drives.
    """

    path: Path
    label: str
    info: str = ""


def drives() -> tuple[FoundDrive, ...]:
    """The drives of this machine that may be a board's, by path."""
    found = {}
    for root in ROOTS:
        for folder in (*_folders(root), *(inner for outer in _folders(root) for inner in _folders(outer))):
            if os.path.ismount(folder) or (folder / INFO_UF2).is_file():
                found[folder] = folder.name
    if os.name == "nt":
        found |= _windows_drives()
    return tuple(FoundDrive(path=path, label=label, info=_info(path)) for path, label in sorted(found.items()))


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


def _info(path: Path) -> str:
    try:
        text = (path / INFO_UF2).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    said = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return (said.get("Board-ID") or said.get("Model") or "").strip()


def failure(drive: Path) -> str:
    """Why an interface chip did not take the last file; empty where it says nothing."""
    try:
        return (drive / FAIL).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
