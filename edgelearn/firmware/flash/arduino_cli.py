"""arduino-cli: compiles the sketch of an Arduino project and uploads it with whatever the board's core brings.

Where in flash the sketch lies, and that it leaves the bootloader alone, is for the core to know: no address is given.
"""

from __future__ import annotations

from edgelearn.board import Output
from edgelearn.firmware.flash.tool import Failure, Job, Reach, Symptom, Tool

#: Where an Arduino project keeps its sketch, and what is made of it.
SKETCH, BUILD = "examples/Learn", "build/arduino"


def compile_argv(fqbn: str, library: str, sketch: str, build: str) -> tuple[str, ...]:
    """The command that compiles a sketch with the library it belongs to."""
    return ("arduino-cli", "compile", "--fqbn", fqbn, "--library", library, "--build-path", build, sketch)


def argv(fqbn: str, port: str, sketch: str, build: str) -> tuple[str, ...]:
    """The command that uploads what was compiled."""
    return ("arduino-cli", "upload", "--fqbn", fqbn, "--port", port, "--input-dir", build, sketch)


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    # A board file that lists this way says how Arduino knows the board (edgelearn/board/checks.py).
    fqbn = job.board.arduino.fqbn if job.board.arduino else ""
    sketch, build = str(job.project / SKETCH), str(job.project / BUILD)
    return (compile_argv(fqbn, str(job.project), sketch, build), argv(fqbn, job.port, sketch, build))


TOOL = Tool(
    title="arduino-cli",
    program="arduino-cli",
    install=(
        "any system: https://arduino.github.io/arduino-cli/latest/installation",
        "macOS: brew install arduino-cli",
    ),
    output=Output.ARDUINO,
    reach=Reach.PORT,
    version_argument="version",
    commands=_commands,
    symptoms=(
        Symptom(
            pattern=r"platform (\S+ is )?not installed",
            failure=Failure.NOT_SUPPORTED,
            hint="`arduino-cli core install VENDOR:ARCHITECTURE` gets the board's core, which its FQBN begins with",
        ),
        Symptom(pattern=r"[Pp]ermission denied", failure=Failure.NO_PERMISSION),
        Symptom(pattern=r"[Rr]esource busy|port is busy|Access is denied", failure=Failure.BUSY),
        Symptom(pattern=r"More than one DFU capable USB device found", failure=Failure.SEVERAL_DEVICES),
        Symptom(
            pattern=r"text section exceeds available space|Sketch too big|data section exceeds|"
            r"not enough memory|region .* overflowed",
            failure=Failure.TOO_LARGE,
        ),
        Symptom(
            pattern=r"Invalid device signature|This chip is .*, not|expected signature|Device unsupported",
            failure=Failure.WRONG_CHIP,
        ),
        Symptom(pattern=r"verification error|Verify failed|MD5 of file does not match", failure=Failure.VERIFY),
        Symptom(
            pattern=r"No device found on|No DFU capable USB device|can't open device .*No such file|"
            r"no upload port provided|"
            r"unable to open .*port",
            failure=Failure.NO_DEVICE,
        ),
        Symptom(
            pattern=r"device disconnected|Input/output error|ser_(send|recv)\(\): (write|read) error",
            failure=Failure.VANISHED,
        ),
        Symptom(
            pattern=r"not in sync|programmer is not responding|timeout communicating|Failed to connect to",
            failure=Failure.NO_ANSWER,
        ),
        Symptom(
            pattern=r"Error during build",
            failure=Failure.UNKNOWN,
            hint="compile it with `edgelearn build DIR`, which shows all of the compiler's messages",
        ),
    ),
)
