"""adafruit-nrfutil: Nordic's serial DFU, over the port of a bootloader of Adafruit's kind.

The bootloader itself decides where the program goes, and writes nothing but the application. It ends with 0 also where
it failed: what it prints tells.
"""

from __future__ import annotations

from edgelearn.board import Output
from edgelearn.board.ways import NrfUtil
from edgelearn.firmware.flash.tool import Failure, Format, Job, Reach, Symptom, Tool, way_as

_BAUD = 115200


def package_argv(device_type: int, softdevice: int, file: str, package: str) -> tuple[str, ...]:
    """The command that makes a package of a HEX file; the bootloader compares both numbers with its own."""
    return (
        *("adafruit-nrfutil", "dfu", "genpkg", "--dev-type", f"0x{device_type:04x}"),
        *("--sd-req", f"0x{softdevice:04x}", "--application", file, package),
    )


def argv(package: str, port: str) -> tuple[str, ...]:
    """The command that flashes a package."""
    return (
        *("adafruit-nrfutil", "dfu", "serial", "--package", package, "--port", port),
        *("--baudrate", str(_BAUD), "--singlebank"),
    )


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    way = way_as(job.way, NrfUtil)
    package = str(job.file.with_suffix(".zip"))
    return (
        package_argv(way.device_type, way.softdevice, str(job.file), package),
        argv(package, job.port),
    )


TOOL = Tool(
    title="adafruit-nrfutil",
    program="adafruit-nrfutil",
    install=('any system: pip install "edgelearn[flash]"',),
    output=Output.BARE_METAL,
    reach=Reach.PORT,
    format=Format.HEX,
    touches=True,
    version_argument="version",
    commands=_commands,
    success=r"Device programmed\.",
    symptoms=(
        Symptom(pattern=r"Permission denied|Errno 13", failure=Failure.NO_PERMISSION),
        Symptom(pattern=r"Errno 16|Device or resource busy|Access is denied", failure=Failure.BUSY),
        Symptom(pattern=r"could not be opened.*(No such file|FileNotFound)", failure=Failure.NO_DEVICE),
        Symptom(
            pattern=r"No data received on serial port",
            failure=Failure.NO_ANSWER,
            hint="press the board's reset button twice, fast, which starts its bootloader, and flash again; "
            "a bootloader "
            "for another chip or SoftDevice refuses the program in this way too",
        ),
        Symptom(
            pattern=r"Three failed tx attempts|device reports readiness|write failed|Errno 5|Input/output error|"
            r"device disconnected",
            failure=Failure.VANISHED,
        ),
    ),
)
