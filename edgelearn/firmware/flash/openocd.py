"""OpenOCD: a debug probe, by configuration files. It erases the sectors that the image covers, and verifies."""

from __future__ import annotations

from edgelearn.board import Output
from edgelearn.board.ways import OpenOcd
from edgelearn.firmware.flash.tool import Failure, Format, Job, Reach, Symptom, Tool, way_as


def argv(configs: tuple[str, ...], file: str, *, serial_number: str = "") -> tuple[str, ...]:
    """The command that flashes. Braces keep a path with spaces one word of OpenOCD's language."""
    return (
        "openocd",
        *(word for config in configs for word in ("-f", config)),
        *(("-c", f"adapter serial {serial_number}") if serial_number else ()),
        *("-c", "gdb_port disabled; tcl_port disabled; telnet_port disabled"),
        *("-c", f"program {{{file}}} verify reset exit"),
    )


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    way = way_as(job.way, OpenOcd)
    return (argv(way.configs, str(job.file), serial_number=job.serial_number),)


_UNLOCK = (
    "unlocking it erases all of its flash with bootloader and settings, so edgelearn never does that; a person may: "
    "`nrf52_recover` of OpenOCD for Nordic's chips, `stm32f4x unlock 0` and its like for ST's"
)

TOOL = Tool(
    title="OpenOCD",
    program="openocd",
    install=("Debian, Ubuntu: sudo apt install openocd", "macOS: brew install open-ocd"),
    output=Output.BARE_METAL,
    reach=Reach.PROBE,
    format=Format.HEX,
    commands=_commands,
    symptoms=(
        Symptom(
            pattern=r"AP lock engaged|RDP level [12]",
            failure=Failure.LOCKED,
            hint=_UNLOCK,
        ),
        Symptom(pattern=r"LIBUSB_ERROR_ACCESS|[Pp]ermission denied", failure=Failure.NO_PERMISSION),
        Symptom(pattern=r"LIBUSB_ERROR_BUSY|(could not|unable to) claim", failure=Failure.BUSY),
        Symptom(pattern=r"Multiple devices found", failure=Failure.SEVERAL_DEVICES),
        Symptom(
            pattern=r"LIBUSB_ERROR_NO_DEVICE|CMSIS-DAP command (\S+ )?(failed|mismatch)",
            failure=Failure.VANISHED,
        ),
        Symptom(
            pattern=r"unable to find a matching CMSIS-DAP device|Error: open failed|"
            r"No J-Link device found|no device found",
            failure=Failure.NO_DEVICE,
        ),
        Symptom(
            pattern=r"UNEXPECTED idcode|[Cc]annot identify target|HWID 0x\w+ mismatch",
            failure=Failure.WRONG_CHIP,
        ),
        Symptom(
            pattern=r"Can't find \S+\.cfg",
            failure=Failure.NOT_SUPPORTED,
            hint="install a newer OpenOCD, which brings this configuration file, or take another way with --method",
        ),
        Symptom(
            pattern=r"exceeds flash bank size|[Nn]o flash at address|no flash bank found", failure=Failure.TOO_LARGE
        ),
        Symptom(pattern=r"\*\* Verify Failed|checksum mismatch|contents differ", failure=Failure.VERIFY),
        Symptom(pattern=r"flash memory write protected|[Ss]ector \d+ (is )?protected", failure=Failure.PROTECTED),
        Symptom(
            pattern=r"cannot read IDR|examination failed|not examined yet|init mode failed|timed out while waiting",
            failure=Failure.NO_ANSWER,
            hint="is the board powered, and its debug connector wired? hold its reset button while flashing begins",
        ),
    ),
)
