"""pyOCD: a debug probe of any maker. It erases the sectors that the image covers.

By default pyOCD unlocks a protected Nordic chip by erasing all of it, without a question (`auto_unlock`, pyOCD's page
of session options): that is always turned off.
"""

from __future__ import annotations

from edgelearn.board import Output
from edgelearn.board.ways import PyOcd
from edgelearn.firmware.flash.tool import Failure, Format, Job, Reach, Symptom, Tool, way_as


def argv(target: str, file: str, *, serial_number: str = "") -> tuple[str, ...]:
    """The command that flashes; a probe is known by any part of its number, whose leading zeros some leave out."""
    probe = serial_number.lstrip("0")
    return (
        *("pyocd", "flash", "--no-wait", "--no-config", "--target", target, "--erase", "sector"),
        *("-O", "auto_unlock=false"),
        *(("--uid", probe) if probe else ()),
        *("--format", "hex", file),
    )


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    way = way_as(job.way, PyOcd)
    return (argv(way.target, str(job.file), serial_number=job.serial_number),)


_UNLOCK = (
    "`pyocd reset --target TARGET` unlocks it, which erases all of its flash with bootloader and settings, and writes "
    "what keeps newer chips open; edgelearn never does that"
)

TOOL = Tool(
    title="pyOCD",
    program="pyocd",
    install=('any system: pip install "edgelearn[flash]"',),
    output=Output.BARE_METAL,
    reach=Reach.PROBE,
    format=Format.HEX,
    commands=_commands,
    symptoms=(
        Symptom(pattern=r"APPROTECT enabled|in secure state: not", failure=Failure.LOCKED, hint=_UNLOCK),
        Symptom(
            pattern=r"More than one debug probe matches|Enter the number of the debug probe",
            failure=Failure.SEVERAL_DEVICES,
        ),
        Symptom(pattern=r"Access denied|can probably be remedied with a udev rule", failure=Failure.NO_PERMISSION),
        Symptom(pattern=r"No connected debug probe|No available debug probe", failure=Failure.NO_DEVICE),
        Symptom(
            pattern=r"Target type .* not recognized",
            failure=Failure.NOT_SUPPORTED,
            hint="`pyocd pack find NAME` and `pyocd pack install NAME` get what pyOCD needs to know of the chip",
        ),
        Symptom(pattern=r"No such device|may have been disconnected|Pipe error", failure=Failure.VANISHED),
        Symptom(
            pattern=r"no memory region defined for address|attempt to program invalid flash address",
            failure=Failure.TOO_LARGE,
        ),
        Symptom(
            pattern=r"flash init (failure|timed out)",
            failure=Failure.WRONG_CHIP,
            hint="the chip does not run the code that programs the flash of the board's chip: is it another board?",
        ),
        Symptom(
            pattern=r"flash (program page|program phrase|erase sector) (failure|timed out)", failure=Failure.VERIFY
        ),
        Symptom(pattern=r"Resource busy|Unable to open device", failure=Failure.BUSY),
        Symptom(
            pattern=r"communication failure|Memory transfer fault",
            failure=Failure.NO_ANSWER,
            hint="is the board powered, and its debug connector wired? hold its reset button while flashing begins",
        ),
    ),
)
