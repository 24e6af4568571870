"""bossac: a bootloader that speaks SAM-BA over its serial port, such as that of Arduino's boards.

Addresses are counted from where the bootloader's application begins, so that it cannot reach the bootloader. Erasing
takes all flash from there on, with what was learned: boards whose file lists something kept behind are refused.
"""

from __future__ import annotations

from edgelearn.board import Output
from edgelearn.board.ways import Bossac
from edgelearn.firmware.flash.tool import Failure, Format, Job, Reach, Symptom, Tool, way_as


def argv(file: str, port: str, offset: int) -> tuple[str, ...]:
    """The command that flashes."""
    return (
        *("bossac", f"--port={port}", "--usb-port", "--info", "--erase", "--write", "--verify"),
        *((f"--offset=0x{offset:x}",) if offset else ()),
        *("--reset", file),
    )


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    way = way_as(job.way, Bossac)
    return (argv(str(job.file), job.port, way.offset),)


TOOL = Tool(
    title="bossac",
    program="bossac",
    install=(
        "any system: `arduino-cli core install` of the board's core brings it, in ~/.arduino15/packages/arduino/tools",
        "Debian, Ubuntu: sudo apt install bossa-cli (only for boards with an Atmel SAM)",
    ),
    output=Output.BARE_METAL,
    reach=Reach.PORT,
    format=Format.BIN,
    touches=True,
    version_argument="",
    commands=_commands,
    symptoms=(
        # It says the same where the port is in use, or may not be opened.
        Symptom(
            pattern=r"No device found on|No serial ports available",
            failure=Failure.NO_DEVICE,
            hint="press the board's reset button twice, fast, and flash again; close the serial monitor; on Linux "
            "`sudo usermod -a -G dialout $USER` lets you use serial ports",
        ),
        Symptom(
            pattern=r"Device unsupported",
            failure=Failure.WRONG_CHIP,
            hint="is it the right board? Debian's bossac does not know Nordic's chips: take the one of Arduino's core",
        ),
        Symptom(pattern=r"Verify failed", failure=Failure.VERIFY),
        Symptom(pattern=r"exceeds flash size", failure=Failure.TOO_LARGE),
        Symptom(
            pattern=r"Flash page is locked|lock region",
            failure=Failure.PROTECTED,
            hint="`bossac --unlock` takes the lock of its flash regions away; edgelearn never does",
        ),
        Symptom(pattern=r"SAM-BA operation failed|File I/O operation failed", failure=Failure.VANISHED),
        Symptom(pattern=r"Flash (command|erase) failed", failure=Failure.VERIFY),
    ),
)
