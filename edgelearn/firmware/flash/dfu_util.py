"""dfu-util: a bootloader that speaks USB DFU, ST's in ROM among them. It erases the pages that the image covers.

None of the modifiers `mass-erase`, `unprotect` and `force` is ever given.
"""

from __future__ import annotations

from edgelearn.board import Output
from edgelearn.board.ways import DfuUtil
from edgelearn.firmware.flash.tool import Failure, Format, Job, Reach, Symptom, Tool, way_as


def argv(way: DfuUtil, file: str, address: int, *, serial_number: str = "") -> tuple[str, ...]:
    """The command that flashes; ST's extension is told the address, others know where programs begin."""
    return (
        *("dfu-util", "--device", f"{way.vid:04x}:{way.pid:04x}", "--alt", str(way.alternate)),
        *(("--serial", serial_number) if serial_number else ()),
        *(("--dfuse-address", f"0x{address:08x}:leave") if way.dfuse else ("--reset",)),
        *("--download", file),
    )


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    way = way_as(job.way, DfuUtil)
    return (argv(way, str(job.file), job.address, serial_number=job.serial_number),)


TOOL = Tool(
    title="dfu-util",
    program="dfu-util",
    install=("Debian, Ubuntu: sudo apt install dfu-util", "macOS: brew install dfu-util"),
    output=Output.BARE_METAL,
    reach=Reach.DFU,
    format=Format.BIN,
    commands=_commands,
    # Many bootloaders leave before they answer the last request: the exit code is then 74, and all is written.
    success=r"File downloaded successfully|Download done\.",
    symptoms=(
        Symptom(pattern=r"More than one DFU capable USB device found", failure=Failure.SEVERAL_DEVICES),
        Symptom(pattern=r"LIBUSB_ERROR_ACCESS", failure=Failure.NO_PERMISSION),
        Symptom(pattern=r"LIBUSB_ERROR_BUSY|Cannot claim interface", failure=Failure.BUSY),
        Symptom(
            pattern=r"LIBUSB_ERROR_(NO_DEVICE|IO|PIPE)|error get_status|USB communication error",
            failure=Failure.VANISHED,
        ),
        Symptom(pattern=r"No DFU capable USB device available", failure=Failure.NO_DEVICE),
        Symptom(
            pattern=r"age at 0x\w+ (is not writeable|can not be erased)|address that is out of range",
            failure=Failure.TOO_LARGE,
        ),
        Symptom(
            pattern=r"File ID \S+ does not match device|not targeted for use by this device", failure=Failure.WRONG_CHIP
        ),
        Symptom(
            pattern=r"not correctly executed|unable to write memory",
            failure=Failure.LOCKED,
            hint="its read protection may be set; taking that away erases all of its flash, so edgelearn never does: "
            "`dfu-util -s :unprotect:force` does, for a person who wants it",
        ),
        Symptom(pattern=r"failed verification|Program memory function failed|Memory erase", failure=Failure.VERIFY),
    ),
)
