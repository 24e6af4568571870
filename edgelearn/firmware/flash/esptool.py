"""esptool: puts MicroPython itself on a chip of Espressif, by the bootloader in its ROM. It erases what it replaces."""

from __future__ import annotations

from edgelearn.board import Output
from edgelearn.board.ways import EspTool
from edgelearn.firmware.flash.tool import Failure, Job, Reach, Symptom, Tool, way_as

#: From this version on commands are spelled with a hyphen.
_HYPHENS_SINCE = 5


def argv(way: EspTool, file: str, port: str, *, version: str, program: str = "esptool") -> tuple[str, ...]:
    """The command that flashes.

    Args:
        way: chip and offset.
        file: MicroPython's image.
        port: the serial port.
        version: what `esptool version` says.
        program: `esptool`, or `esptool.py` as older ones are called.
    """
    major = int(version.split(".")[0]) if version.split(".")[0].isdigit() else _HYPHENS_SINCE
    write = "write-flash" if major >= _HYPHENS_SINCE else "write_flash"
    return (program, "--chip", way.chip, "--port", port, write, f"0x{way.offset:x}", file)


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    way = way_as(job.way, EspTool)
    return (argv(way, str(job.file), job.port, version=job.version, program=job.program),)


TOOL = Tool(
    title="esptool",
    program="esptool",
    other_program="esptool.py",
    install=('any system: pip install "edgelearn[flash]"',),
    output=Output.MICROPYTHON,
    reach=Reach.PORT,
    version_argument="version",
    commands=_commands,
    symptoms=(
        Symptom(pattern=r"Permission denied", failure=Failure.NO_PERMISSION),
        Symptom(
            pattern=r"This chip is .*, not|Wrong chip argument|is not (an?|for) \S+ image", failure=Failure.WRONG_CHIP
        ),
        Symptom(
            pattern=r"[Ff]lash [Ee]ncryption|[Ss]ecure ([Dd]ownload|[Bb]oot)",
            failure=Failure.LOCKED,
            hint="fuses of the chip let it take only programs that are signed or encrypted; that cannot be undone",
        ),
        Symptom(pattern=r"No such file or directory", failure=Failure.NO_DEVICE),
        Symptom(pattern=r"Device or resource busy|Access is denied|port is busy", failure=Failure.BUSY),
        Symptom(
            pattern=r"will not fit in|larger than detected flash size|flash regions larger", failure=Failure.TOO_LARGE
        ),
        Symptom(
            pattern=r"MD5 of file does not match|Verification failed|written flash region is empty",
            failure=Failure.VERIFY,
        ),
        Symptom(
            pattern=r"[Dd]evice disconnected|device reports readiness|The chip stopped responding|No more data to read|"
            r"Lost connection|serial exception error",
            failure=Failure.VANISHED,
        ),
        Symptom(
            pattern=r"Failed to connect|Wrong boot mode detected|No serial data received",
            failure=Failure.NO_ANSWER,
            hint="hold the board's BOOT button, press its reset button, let BOOT go, and flash again",
        ),
    ),
)
