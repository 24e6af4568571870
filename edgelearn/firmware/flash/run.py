"""prepare() and flash(): the file that the flasher takes, checked, and then written to the board."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec.structs import replace

from edgelearn import process
from edgelearn.board import Board, UsbMode
from edgelearn.board.ways import Drive, EspTool, Way
from edgelearn.errors import FlashError, PortError, ProcessError, ProgramMissingError, UnsafeImageError, reason
from edgelearn.firmware.flash import drive, uf2
from edgelearn.firmware.flash.choose import Candidate
from edgelearn.firmware.flash.guard import check_bootloader, check_firmware, check_image
from edgelearn.firmware.flash.image import FlashImage, read_image, to_bin, to_hex
from edgelearn.firmware.flash.methods import erases_of, format_of
from edgelearn.firmware.flash.ports import RETURN_S, find_again, listed_port, serial_ports, touch, usb_of, wait_for
from edgelearn.firmware.flash.tool import (
    DOUBLE_RESET,
    Erases,
    Failure,
    Format,
    Job,
    Reach,
    flash_error,
    run_tool,
    way_as,
)

#: The files that flashers are given, in a project's build folder.
_FILE = "flash"
#: How long a board may take to leave after its port was touched.
_LEAVE_S = 3.0
#: How long a flasher may take to say its version.
_VERSION_S = 20.0
#: The first byte of an image for Espressif's chips (Espressif, esptool documentation, "Firmware Image Format").
_ESPRESSIF_MAGIC = b"\xe9"


def written_ranges(image: FlashImage, format_: Format) -> tuple[tuple[int, int], ...]:
    """The addresses that a file of that format writes: each the first, and the one after the last."""
    if format_ is Format.BIN:
        return ((image.begin, image.end),)
    segments = uf2.pages(image).segments if format_ is Format.UF2 else image.segments
    return tuple((segment.address, segment.end) for segment in segments)


def prepare(board: Board, project: Path, candidate: Candidate, *, force: bool = False) -> Job:
    """Check the project's image and write the file that the flasher takes.

    Args:
        board: as the project uses it: without its non-volatile memory where nothing trains.
        project: the project's folder, built.
        candidate: the way.
        force: do not check the image.

    Raises:
        UnsafeImageError: the image must not be flashed, see `edgelearn.firmware.flash.guard`.
    """
    job = _job(board, project, candidate)
    format_ = format_of(candidate.way)
    if format_ is None:
        return replace(job, file=project)
    image = read_image(project / "build" / "firmware.elf")
    file = project / "build" / f"{_FILE}.{format_.value}"
    file.unlink(missing_ok=True)
    if not force:
        written = written_ranges(image, format_)
        check_image(board, image, written, erases=erases_of(candidate.way))
        if isinstance(candidate.way, Drive) and candidate.drive:
            check_bootloader(board, candidate.way, candidate.drive, written)
    family = getattr(candidate.way, "family", 0)
    data = {
        Format.HEX: lambda: to_hex(image).encode("ascii"),
        Format.BIN: lambda: to_bin(image),
        Format.UF2: lambda: uf2.to_uf2(image, family),
    }[format_]()
    file.write_bytes(data)
    return replace(job, address=image.begin, file=file)


def prepare_firmware(board: Board, firmware: Path, candidate: Candidate, *, force: bool = False) -> Job:
    """Check somebody else's firmware, as far as it can be.

    Raises:
        UnsafeImageError: it is no firmware for the board, or would write over a bootloader.
    """
    if not force:
        written = firmware_ranges(board, firmware, candidate.way)
        check_firmware(board, written)
        if isinstance(candidate.way, Drive) and candidate.drive:
            check_bootloader(board, candidate.way, candidate.drive, written)
    return replace(_job(board, firmware.parent, candidate), file=firmware)


def firmware_ranges(board: Board, firmware: Path, way: Way) -> tuple[tuple[int, int], ...]:
    """The addresses that somebody else's firmware writes.

    Raises:
        UnsafeImageError: it cannot be read, is damaged, or for another kind of chip.
    """
    try:
        data = firmware.read_bytes()
    except OSError as error:
        raise UnsafeImageError(
            f"{firmware} cannot be read", cause=reason(error), hint="give the file that you have downloaded"
        ) from error
    if isinstance(way, Drive):
        image, family = uf2.from_uf2(data)
        wrong = f"it is for the family 0x{family:08x}, the chip's is 0x{way.family:08x}" if family != way.family else ""
        ranges = written_ranges(image, Format.HEX)
    else:
        wrong = "" if data[:1] == _ESPRESSIF_MAGIC else "it does not begin as images for Espressif's chips do"
        offset = way_as(way, EspTool).offset
        ranges = ((offset, offset + len(data)),)
    if wrong:
        raise UnsafeImageError(
            f"{firmware} is no firmware for {board.name}",
            cause=wrong,
            hint="download the file for the board from https://micropython.org/download",
        )
    return ranges


def _job(board: Board, project: Path, candidate: Candidate) -> Job:
    return Job(
        board=board,
        way=candidate.way,
        project=project,
        port=candidate.port,
        serial_number=candidate.serial_number,
        drive=candidate.drive.path if candidate.drive else Path(),
        program=candidate.program,
        version=_version(candidate),
    )


def _version(candidate: Candidate) -> str:
    """The flasher's version where its commands depend on it; empty where they do not, or it does not say."""
    if not isinstance(candidate.way, EspTool):
        return ""
    try:
        said = process.run((candidate.program, candidate.tool.version_argument), timeout_s=_VERSION_S)
    except (ProcessError, ProgramMissingError):
        return ""
    found = re.search(r"\d+(\.\d+)+", said)
    return found.group(0) if found else ""


def warnings(job: Job) -> tuple[str, ...]:
    """What a person should know before the board is flashed."""
    erased = erases_of(job.way)
    if erased is not Erases.PAGES and job.board.nvm is not None:
        return (f"this way erases {erased.value}: what the board has learned and saved is lost",)
    return ()


def flash(candidate: Candidate, job: Job) -> None:
    """Flash the board.

    Raises:
        FlashError: says which step failed, why, and what to try next.
        ProgramMissingError: the flasher is not installed.
    """
    tool = candidate.tool
    if tool.reach is Reach.DRIVE:
        drive.copy(job)
        return
    if tool.touches:
        job = _enter_bootloader(job)
    run_tool(tool, job)


def _enter_bootloader(job: Job) -> Job:
    """Touch the port where the board's program runs, and wait for the bootloader's.

    Raises:
        FlashError: the port does not open, or no bootloader comes.
    """
    before = serial_ports()
    known = listed_port(before, job.port)
    if known is None:
        return job
    usb = usb_of(job.board, known)
    if usb is not None and usb.mode is UsbMode.BOOTLOADER:
        return job
    try:
        touch(job.port)
    except PortError as error:
        raise FlashError(
            error.message, step="enter", failure=Failure.BUSY.value, cause=error.cause, hint=error.hint
        ) from error
    wait_for(lambda: known not in serial_ports(), _LEAVE_S)
    # What a board that is not known by its identifiers comes back as, nobody knows; its bootloader may also stay there.
    kinds = [one for one in job.board.usb if one.mode is UsbMode.BOOTLOADER] if usb else None
    others = [port for port in before if port != known]
    found = wait_for(lambda: find_again(known, serial_ports(), kinds, others), RETURN_S)
    if not found:
        raise flash_error(
            Failure.NO_ANSWER,
            title="edgelearn",
            board=job.board,
            step="enter",
            cause=f"no bootloader came within {RETURN_S:g} s after {job.port} was opened at 1200 baud",
            hint=f"{DOUBLE_RESET}, and flash again",
        )
    return replace(job, port=found)
