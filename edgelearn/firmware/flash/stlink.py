"""st-flash of the stlink tools: an ST-LINK. It erases the pages that the image covers, and reads back what it wrote."""

from __future__ import annotations

from edgelearn.board import Output
from edgelearn.firmware.flash.tool import Failure, Format, Job, Reach, Symptom, Tool


def argv(file: str, address: int, *, serial_number: str = "") -> tuple[str, ...]:
    """The command that flashes."""
    return (
        *("st-flash", "--reset"),
        *(("--serial", serial_number) if serial_number else ()),
        *("write", file, f"0x{address:08x}"),
    )


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    return (argv(str(job.file), job.address, serial_number=job.serial_number),)


TOOL = Tool(
    title="st-flash",
    program="st-flash",
    install=("Debian, Ubuntu: sudo apt install stlink-tools", "macOS: brew install stlink"),
    output=Output.BARE_METAL,
    reach=Reach.PROBE,
    format=Format.BIN,
    commands=_commands,
    symptoms=(
        Symptom(
            pattern=r"Failed to unlock flash|Flash unlock failed|read.?protect",
            failure=Failure.LOCKED,
            hint="ST's own program STM32_Programmer_CLI takes a read protection away (-ob RDP=0xAA), which erases all "
            "of "
            "its flash; edgelearn never does that",
        ),
        Symptom(pattern=r"write protected", failure=Failure.PROTECTED),
        Symptom(pattern=r"access error|LIBUSB_ERROR_ACCESS", failure=Failure.NO_PERMISSION),
        Symptom(pattern=r"unable to claim|already in use", failure=Failure.BUSY),
        Symptom(pattern=r"Couldn't find .*ST-Link devices", failure=Failure.NO_DEVICE),
        Symptom(pattern=r"[Uu]nknown chip ?id|Could not find chip id|unknown coreid", failure=Failure.WRONG_CHIP),
        Symptom(pattern=r"Verification of flash failed", failure=Failure.VERIFY),
        Symptom(pattern=r"addr (too high|overruns)", failure=Failure.TOO_LARGE),
        Symptom(pattern=r"LIBUSB_ERROR_(NO_DEVICE|IO|PIPE)|(send_recv|read|write) .*failed", failure=Failure.VANISHED),
        Symptom(
            pattern=r"[Cc]an not connect to target|Failed to (connect|enter SWD|halt|get Core)",
            failure=Failure.NO_ANSWER,
            hint="hold the board's reset button while flashing begins, and let it go then",
        ),
        Symptom(pattern=r"Flash (programming error|loader run error)|flash_loader_run", failure=Failure.VERIFY),
    ),
)
