"""mpremote: copies a MicroPython project into the board's file system; no flash but that of the files is written."""

from __future__ import annotations

from edgelearn.board import Output
from edgelearn.firmware.flash.tool import Failure, Job, Reach, Symptom, Tool


def argv(folder: str, port: str) -> tuple[str, ...]:
    """The command that copies what a folder holds, and starts it."""
    return ("mpremote", "connect", port, "fs", "cp", "-r", f"{folder}/", ":", "+", "reset")


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    return (argv(str(job.file), job.port),)


TOOL = Tool(
    title="mpremote",
    program="mpremote",
    install=('any system: pip install "edgelearn[flash]"',),
    output=Output.MICROPYTHON,
    reach=Reach.PORT,
    commands=_commands,
    symptoms=(
        Symptom(pattern=r"no device (found|with serial number)", failure=Failure.NO_DEVICE),
        Symptom(
            pattern=r"failed to access",
            failure=Failure.BUSY,
            hint="close the serial monitor or the other edgelearn; `edgelearn devices` shows whether the port is "
            "there; on Linux `sudo usermod -a -G dialout $USER` lets you use serial ports",
        ),
        Symptom(
            pattern=r"could not enter raw repl|could not exec",
            failure=Failure.NO_ANSWER,
            hint="press Ctrl-C in "
            "`mpremote`, or is it MicroPython that runs there? `edgelearn flash --firmware FILE` puts it there",
        ),
        Symptom(pattern=r"No space left on device|ENOSPC|OSError: 28|MemoryError", failure=Failure.TOO_LARGE),
        Symptom(
            pattern=r"device disconnected|Input/output error|device reports readiness",
            failure=Failure.VANISHED,
        ),
        Symptom(pattern=r"Error with transport", failure=Failure.VANISHED),
        Symptom(pattern=r"EROFS|Read-only file ?system", failure=Failure.PROTECTED),
    ),
)
