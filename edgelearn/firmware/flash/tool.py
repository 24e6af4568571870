"""Tool: what every flasher is to us. Its exact command, and what the failures that it prints mean for a person.

A failure is known by a line of the flasher's output. What it means is the same for all of them (`Failure`), so that the
same mistake gets the same message whichever program was used; the line itself is the cause.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from edgelearn import process
from edgelearn.board import Board, Output
from edgelearn.board.ways import Way
from edgelearn.errors import FlashError, ProcessError

_Kind = TypeVar("_Kind", bound=Struct)

#: A flasher that has not ended by then is ended.
TIMEOUT_S = 300.0
#: How the bootloaders that are entered at 1200 baud are entered by hand (Arduino, Adafruit: "double tap").
DOUBLE_RESET = "press the board's reset button twice, fast, which starts its bootloader"


class Reach(enum.Enum):
    """How a flasher gets at the board."""

    PROBE = "a debug probe"
    DFU = "the USB bootloader"
    PORT = "the serial port"
    DRIVE = "the drive"


class Format(enum.Enum):
    """The file that a flasher is given."""

    HEX = "hex"
    BIN = "bin"
    UF2 = "uf2"


class Erases(enum.Enum):
    """What a flasher erases."""

    PAGES = "the pages that the image covers"
    REST = "all flash from the image on"
    CHIP = "all flash of the chip"


class Failure(enum.Enum):
    """What can go wrong, whichever flasher it is."""

    NO_DEVICE = "no device"
    SEVERAL_DEVICES = "several devices"
    WRONG_CHIP = "wrong chip"
    LOCKED = "locked chip"
    PROTECTED = "write protection"
    VERIFY = "verify error"
    VANISHED = "port vanished"
    TOO_LARGE = "image too large"
    NO_PERMISSION = "no permission"
    BUSY = "in use"
    NO_ANSWER = "no answer"
    NOT_SUPPORTED = "not supported"
    UNKNOWN = "unknown"


#: What happened, and what to try next. A symptom may say better what to do.
_MEANINGS: dict[Failure, tuple[str, str]] = {
    Failure.NO_DEVICE: (
        "{title} found no {board}",
        "plug it in with a cable that carries data, and look with `edgelearn devices`",
    ),
    Failure.SEVERAL_DEVICES: (
        "{title} found several boards and does not know which to flash",
        "unplug all but one; `edgelearn devices` lists them",
    ),
    Failure.WRONG_CHIP: (
        "the chip that {title} found is not that of {board}",
        "is another board plugged in? nothing was written; `edgelearn devices` shows what is there",
    ),
    Failure.LOCKED: ("the chip is locked against debuggers", ""),
    Failure.PROTECTED: (
        "the flash of the chip is protected against writing",
        "take the protection away with the chip maker's own program; edgelearn never does",
    ),
    Failure.VERIFY: (
        "what {title} wrote to {board} does not read back",
        "flash again; if it stays so, take another cable or probe, or the flash is worn out",
    ),
    Failure.VANISHED: (
        "{board} vanished while {title} was writing to it",
        "check the cable and plug the board into the computer itself, then flash again; its bootloader is untouched",
    ),
    Failure.TOO_LARGE: (
        "the image is too large for {board}",
        "`edgelearn inspect BUNDLE --board {board}` shows what takes most",
    ),
    Failure.NO_PERMISSION: (
        "{title} has no permission to use {board}",
        "on Linux a udev rule gives it: the package of the flasher brings one, or "
        '`SUBSYSTEM=="usb", ATTR{{idVendor}}=="{vid}", MODE="0660", TAG+="uaccess"` in '
        "/etc/udev/rules.d/60-board.rules; "
        "for serial ports `sudo usermod -a -G dialout $USER`; then plug the board in anew",
    ),
    Failure.BUSY: (
        "{board} is in use by another program",
        "close the serial monitor, the debugger or the other edgelearn",
    ),
    Failure.NO_ANSWER: (
        "{board} does not answer {title}",
        "press its reset button, or start its bootloader by hand as its maker describes, and flash again",
    ),
    Failure.NOT_SUPPORTED: (
        "{title} cannot flash {board}",
        "install a newer {title}, or take another way with --method",
    ),
    Failure.UNKNOWN: ("{title} could not flash {board}", "what it printed is above; try another way with --method"),
}


class Symptom(Struct, frozen=True, kw_only=True):
    """A line of a flasher's output that tells what went wrong.

    Attributes:
        pattern: a regular expression for the line.
        failure: what it means.
        hint: what to try next, where that is special to this flasher.
    """

    pattern: str
    failure: Failure
    hint: str = ""


class Job(Struct, frozen=True, kw_only=True):
    """One board to flash in one way.

    Attributes:
        board: what is flashed.
        way: how, an entry of the board's file.
        project: folder of the project.
        address: where the image begins; 0 where the flasher knows by itself.
        file: that holds the image in the flasher's format; of mpremote the folder whose contents are copied.
        port: its serial port, where it has one.
        serial_number: of the debug probe or the board, where several are there.
        drive: its drive, where it is flashed by one.
        program: the flasher's name on PATH.
        version: what it says of its version, where its spelling depends on that.
    """

    board: Board
    way: Way
    project: Path
    address: int = 0
    file: Path = Path()
    port: str = ""
    serial_number: str = ""
    drive: Path = Path()
    program: str = ""
    version: str = ""


class Tool(Struct, frozen=True, kw_only=True):
    """A flasher.

    Attributes:
        title: its name for a person.
        program: its name on PATH; empty where none is needed.
        other_program: another name that it may have.
        install: ways to get it, one a line.
        output: what kind of firmware it flashes.
        reach: how it gets at the board.
        commands: the exact commands that flash, one after the other.
        symptoms: how its failures are known, the most telling first.
        format: of the file that it is given; None where it makes that itself.
        success: a pattern of what it prints where it succeeded, for one whose exit code does not tell.
        version_argument: makes it say its version; empty where nothing does.
        touches: whether its bootloader is entered by opening the serial port at 1200 baud.
    """

    title: str
    program: str
    install: tuple[str, ...]
    output: Output
    reach: Reach
    commands: Callable[[Job], tuple[tuple[str, ...], ...]]
    symptoms: tuple[Symptom, ...]
    format: Format | None = None
    other_program: str = ""
    success: str = ""
    version_argument: str = "--version"
    touches: bool = False


def which_of_several(reach: Reach) -> str:
    """How a person says which of several boards is meant, where a flasher gets at them in this way."""
    how = {
        Reach.PROBE: "say which with --port, the serial port of the board or its probe",
        Reach.DFU: "bring only one into its bootloader",
        Reach.PORT: "say which with --port",
        Reach.DRIVE: "say which with --port, where the board that offers the drive has a serial port",
    }[reach]
    return f"unplug all but one, or {how}; `edgelearn devices` lists them"


def way_as(way: Way, kind: type[_Kind]) -> _Kind:
    """The way as the class that a flasher is for."""
    if not isinstance(way, kind):
        raise TypeError(f"{way} is no {kind.__name__}")
    return way


def flash_error(
    failure: Failure, *, title: str, board: Board, step: str = "write", cause: str = "", hint: str = ""
) -> FlashError:
    """The one message for a failure."""
    message, usual = _MEANINGS[failure]
    names = {"title": title, "board": board.name, "vid": f"{board.usb[0].vid:04x}" if board.usb else "VID"}
    return FlashError(
        message.format(**names),
        step=step,
        failure=failure.value,
        cause=cause,
        hint=hint or usual.format(**names),
    )


def explain(tool: Tool, board: Board, output: str) -> FlashError:
    """What a flasher's output means: the first symptom that any line of it shows, else its last lines."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", output) if line.strip()]
    for symptom in tool.symptoms:
        for line in lines:
            if re.search(symptom.pattern, line):
                several = which_of_several(tool.reach) if symptom.failure is Failure.SEVERAL_DEVICES else ""
                hint = symptom.hint or several
                return flash_error(symptom.failure, title=tool.title, board=board, cause=line, hint=hint)
    return flash_error(Failure.UNKNOWN, title=tool.title, board=board, cause="\n".join(lines[-8:]))


def run_tool(tool: Tool, job: Job) -> str:
    """Run the flasher's commands to their end and return what they printed.

    Raises:
        FlashError: one failed; says why and what to try.
        ProgramMissingError: it is not installed.
    """
    printed = ""
    for argv in tool.commands(job):
        try:
            printed = process.run(argv, timeout_s=TIMEOUT_S)
        except ProcessError as error:
            if tool.success and re.search(tool.success, error.output):
                return error.output
            if error.returncode == -1:
                raise flash_error(Failure.NO_ANSWER, title=tool.title, board=job.board, cause=error.output) from error
            raise explain(tool, job.board, error.output) from error
    if tool.success and not re.search(tool.success, printed):
        raise explain(tool, job.board, printed)
    return printed
