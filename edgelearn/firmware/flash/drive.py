"""A drive that the board's bootloader or interface chip offers: a file copied to it is written to flash.

What is written is the file's: of a UF2 file the pages that its blocks name; HEX its records; BIN from the beginning of
flash on. UF2 bootloaders restart the board when they have all blocks, and their drive goes; interface chips take their
drive away for a moment and leave FAIL.TXT on it where they could not program the chip (Arm, DAPLink,
docs/MSD_COMMANDS.md).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from msgspec.structs import replace

from edgelearn.board import Board, Output
from edgelearn.board.ways import Drive, DriveFormat
from edgelearn.errors import FlashError, reason
from edgelearn.firmware.flash.drives import failure
from edgelearn.firmware.flash.ports import wait_for
from edgelearn.firmware.flash.tool import Failure, Format, Job, Reach, Symptom, Tool, explain, flash_error, way_as

#: How long a drive may take to go after the copy, and to come back.
LEAVE_S = 20.0
RETURN_S = 20.0
_CHUNK_BYTES = 65536


def file_format(way: Drive) -> Format:
    """The file that the drive takes."""
    return Format(way.format.value)


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    """What is done, for a person: no program is started."""
    return (("copy", str(job.file), str(job.drive / f"firmware.{job.file.suffix.lstrip('.')}")),)


TOOL = Tool(
    title="the drive",
    program="",
    install=(),
    output=Output.BARE_METAL,
    reach=Reach.DRIVE,
    commands=_commands,
    # The texts of DAPLink, source/daplink/error.c.
    symptoms=(
        Symptom(
            pattern=r"FAILED to unlock the target|trying to set security bits",
            failure=Failure.LOCKED,
            hint="unlocking it erases all of its flash with bootloader and settings; edgelearn never does that",
        ),
        Symptom(pattern=r"out of bounds address|mismatch between file size", failure=Failure.TOO_LARGE),
        Symptom(pattern=r"isn't compatible with this mode or device", failure=Failure.WRONG_CHIP),
        Symptom(pattern=r"Flash algorithm .* command FAILURE", failure=Failure.VERIFY),
        Symptom(
            pattern=r"transfer timed out|out of order|error occurred during the transfer", failure=Failure.VANISHED
        ),
        Symptom(pattern=r"FAILED to (reset/halt|initialize|download)", failure=Failure.NO_ANSWER),
    ),
)


def copy(job: Job) -> None:
    """Copy the file and wait for what the board makes of it.

    Raises:
        FlashError: the drive is full, read-only or vanished before all was written; the board did not take the file,
            or says that it could not program the chip.
    """
    way = way_as(job.way, Drive)
    title, board = f"the drive {job.drive.name}", job.board
    target = job.drive / f"firmware{job.file.suffix}"
    data = job.file.read_bytes()
    earlier = failure(job.drive)
    written = 0
    try:
        with target.open("wb", buffering=0) as file:
            while written < len(data):
                written += file.write(data[written : written + _CHUNK_BYTES])
            os.fsync(file.fileno())
    except OSError as error:
        # A bootloader that has all blocks restarts the board without waiting for the system to be done.
        if written < len(data) or job.drive.is_dir():
            raise _copy_error(error, title, board) from error
    if way.format is DriveFormat.UF2:
        if not wait_for(lambda: not _is_there(target), LEAVE_S):
            raise flash_error(
                Failure.WRONG_CHIP,
                title=title,
                board=board,
                cause=f"the bootloader did not take the file: its drive is still there after {LEAVE_S:g} s",
                hint="a bootloader ignores blocks for another family of chips: is it another board?",
            )
        return
    # Gone and back again, or the reason at once: whichever comes first.
    wait_for(lambda: not _is_there(target) or failure(job.drive) != earlier, LEAVE_S)
    wait_for(job.drive.is_dir, RETURN_S)
    said = failure(job.drive)
    if said:
        raise explain(_named(title), board, said)


def _is_there(path: Path) -> bool:
    """Whether a file is there; a drive that is just leaving gives errors."""
    try:
        return path.exists()
    except OSError:
        return False


def _named(title: str) -> Tool:
    return replace(TOOL, title=title)


def _copy_error(error: OSError, title: str, board: Board) -> FlashError:
    kinds = {
        errno.ENOSPC: Failure.TOO_LARGE,
        errno.EFBIG: Failure.TOO_LARGE,
        errno.EACCES: Failure.NO_PERMISSION,
        errno.EPERM: Failure.NO_PERMISSION,
        errno.EROFS: Failure.PROTECTED,
    }
    hints = {
        Failure.NO_PERMISSION: "mount the drive so that you may write to it",
        Failure.PROTECTED: "mount the drive so that it can be written to",
    }
    kind = kinds.get(error.errno or 0, Failure.VANISHED)
    return flash_error(kind, title=title, board=board, cause=reason(error), hint=hints.get(kind, ""))
