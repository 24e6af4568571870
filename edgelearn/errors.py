"""Every exception the library raises on purpose, with its data and its exit code.

An error says three things: what happened (`message`), why (`cause`) and what to do (`hint`). The command line renders
them as Error / Cause / Hint and exits with `exit_code`; library users catch the class and read the numbers.
Exit codes are unique; 1 is an unexpected failure and 2 is click's own usage error.
"""

from __future__ import annotations

from typing import ClassVar


class EdgelearnError(Exception):
    """Base of all errors that a person can cause and mend."""

    exit_code: ClassVar[int]

    def __init__(self, message: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        return "; ".join(part for part in (self.message, self.cause, self.hint) if part)


def reason(error: BaseException) -> str:
    """Why something failed, for a cause; of what the operating system refused its words, without the number."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


# Models and bundles


class ModelFileError(EdgelearnError):
    """The file is not a model that can be read."""

    exit_code = 10


class NotQuantizedError(EdgelearnError):
    """The model is a `.tflite` whose arithmetic is not int8."""

    exit_code = 11


class UnsupportedOpError(EdgelearnError):
    """The model holds ops, or parameters of ops, that edgelearn does not have; names all of them."""

    exit_code = 12

    def __init__(self, ops: tuple[str, ...], *, hint: str = "") -> None:
        # A line for each reason, behind the ops it is for.
        listed = "".join(f"{op}\n" if ": " in op else f"{op}, " for op in ops).strip(", \n")
        separator = "\n" if "\n" in listed else " "
        super().__init__(
            f"the model uses {'ops' if len(ops) > 1 else 'an op'} that edgelearn does not support:{separator}{listed}",
            hint=hint or "replace or remove these layers in the model, or cut it before them and convert again",
        )
        self.ops = ops


class HeadError(EdgelearnError):
    """The named head does not exist, or cannot be made trainable."""

    exit_code = 13


class CalibrationError(EdgelearnError):
    """Calibration samples are missing or do not fit the model."""

    exit_code = 14


class BundleError(EdgelearnError):
    """The file is not a bundle, is damaged, or was written by another format version."""

    exit_code = 15


class GraphError(EdgelearnError):
    """A graph broke one of its invariants; names the pass and the node. Always a defect of edgelearn."""

    exit_code = 16


# Data


class DataError(EdgelearnError):
    """A data file cannot be read, or its samples do not fit the model."""

    exit_code = 20


class LabelError(EdgelearnError):
    """A label is not one of the classes."""

    exit_code = 21


class LearningRateError(EdgelearnError):
    """The learning rate is beyond what the integer update can represent."""

    exit_code = 22


# Boards, plans and builds


class BoardFileError(EdgelearnError):
    """A board file is not valid."""

    exit_code = 30


class UnknownBoardError(EdgelearnError):
    """No board of that name exists."""

    exit_code = 31


class DoesNotFitError(EdgelearnError):
    """The model does not fit the board's flash or RAM."""

    exit_code = 32

    def __init__(
        self, *, memory: str, needed_bytes: int, available_bytes: int, board: str, cause: str, hint: str
    ) -> None:
        super().__init__(
            f"needs {needed_bytes:,} bytes of {memory}, {board} has {available_bytes:,} bytes", cause=cause, hint=hint
        )
        self.memory = memory
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes
        self.board = board


class CompilerMissingError(EdgelearnError):
    """No C compiler for the board was found."""

    exit_code = 33


class BuildError(EdgelearnError):
    """The compiler or the linker failed; its output is kept."""

    exit_code = 34

    def __init__(self, message: str, *, cause: str = "", hint: str = "", output: str = "") -> None:
        super().__init__(message, cause=cause, hint=hint)
        self.output = output


class PlanMismatchError(EdgelearnError):
    """The linker's figures are not the plan's. Always a defect of edgelearn."""

    exit_code = 35


class ProjectError(EdgelearnError):
    """The folder is not a project that `edgelearn generate` wrote."""

    exit_code = 36


class OptionError(EdgelearnError):
    """Options that exclude each other, or that the model does not allow."""

    exit_code = 37


# Emulators, ports and devices


class EmulatorMissingError(EdgelearnError):
    """The emulator of the board is not installed, or the board has none."""

    exit_code = 40


class EmulatorError(EdgelearnError):
    """The emulator ended, or the image in it never said hello."""

    exit_code = 41


class PortError(EdgelearnError):
    """The port does not exist, is busy, or vanished."""

    exit_code = 42


class WrongModelError(EdgelearnError):
    """The device runs another model than the one asked for; names both."""

    exit_code = 43


class ProtocolVersionError(EdgelearnError):
    """The device speaks another version of the protocol; names both."""

    exit_code = 44


class DeviceTimeoutError(EdgelearnError):
    """The device stopped answering."""

    exit_code = 45


class DeviceResetError(EdgelearnError):
    """The device was reset while a session was open."""

    exit_code = 46


class ResultLostError(EdgelearnError):
    """The device carried a request out, but was reset before its reply arrived; it is not to be repeated."""

    exit_code = 48


class DeviceRefusedError(EdgelearnError):
    """The device answered a request with an error status."""

    exit_code = 47


# Flashing


class UnsafeImageError(EdgelearnError):
    """The image would write over what is not the firmware's, or could not start on the board."""

    exit_code = 60


class NoFlasherError(EdgelearnError):
    """None of the ways to flash the board can be used now; says what each lacks."""

    exit_code = 61


class FlashError(EdgelearnError):
    """The board could not be flashed.

    Attributes:
        step: what failed: `choose`, `enter` the bootloader, `write`, or `hello`; with MicroPython `connect`, `look`,
            `plan`, `verify` too.
        failure: what went wrong, one of `edgelearn.firmware.flash.tool.Failure`.
    """

    exit_code = 62

    def __init__(self, message: str, *, step: str, failure: str, cause: str = "", hint: str = "") -> None:
        super().__init__(message, cause=cause, hint=hint)
        self.step = step
        self.failure = failure


# The rest


class VerificationFailedError(EdgelearnError):
    """Outputs or learned weights differ from the reference."""

    exit_code = 50


class StorageError(EdgelearnError):
    """A file or folder could not be written (full disk, no permission, a file in the way)."""

    exit_code = 51


class MissingPackageError(EdgelearnError):
    """A Python package of an extra is not installed; names the extra."""

    exit_code = 52

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the Python package {package}, which is not installed",
            hint=f'pip install "edgelearn[{extra}]"',
        )
        self.package = package
        self.extra = extra


class ProcessError(EdgelearnError):
    """An external program failed; carries its argv, exit code and output."""

    exit_code = 53

    def __init__(self, argv: tuple[str, ...], returncode: int, output: str) -> None:
        last_lines = "\n".join(output.strip().splitlines()[-20:])
        super().__init__(f"{argv[0]} failed with exit code {returncode}", cause=last_lines)
        self.argv = argv
        self.returncode = returncode
        self.output = output


class ProgramMissingError(EdgelearnError):
    """An external program was not found."""

    exit_code = 54

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} was not found", hint="`edgelearn doctor` says how to install it")
        self.program = program


class WebError(EdgelearnError):
    """The page for a browser cannot be served."""

    exit_code = 55
