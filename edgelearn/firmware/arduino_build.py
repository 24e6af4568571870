"""build_library(): the sketch of a generated Arduino library as an image.

With arduino-cli where it is installed. Without it, for AVR boards, with what Debian has: the core of arduino-core-avr,
whose boards.txt says what the board is, and gcc-avr. Both leave `build/firmware.elf`.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from edgelearn import process, resources
from edgelearn.board import COMPILE_FLAGS
from edgelearn.errors import BuildError, CompilerMissingError, ProjectError
from edgelearn.firmware.flash import arduino_cli
from edgelearn.firmware.toolchain import BuildResult, run_step, section_sizes, symbol_sizes

#: Where Debian's arduino-core-avr puts the core, and the package and architecture that it is.
DEBIAN_CORE = Path("/usr/share/arduino/hardware/arduino/avr")
_DEBIAN_FQBN = "arduino:avr:"
#: The Arduino release whose sources Debian has: what sketches see as ARDUINO.
_ARDUINO = 10819

SKETCH = "examples/Learn/Learn.ino"
_CLI = "arduino-cli"
_CC, _CXX, _AR, _OBJCOPY = "avr-gcc", "avr-g++", "avr-gcc-ar", "avr-objcopy"

#: What Arduino asks of its compilers, but for link-time optimisation: with it no symbol would tell its size.
_COMMON = ("-g", "-Os", "-ffunction-sections", "-fdata-sections")
_CORE_C = ("-std=gnu11", "-w")
#: float.h of avr-gcc 5 has DECIMAL_DIG for C only, which the core wants.
_CORE_CXX = (
    *("-std=gnu++11", "-fpermissive", "-fno-exceptions", "-fno-threadsafe-statics"),
    *("-DDECIMAL_DIG=__DECIMAL_DIG__", "-w"),
)
#: The library's C as strictly as elsewhere; address spaces need GNU C.
_LIBRARY_C = (
    "-std=gnu99",
    *(flag for flag in COMPILE_FLAGS if not flag.startswith(("-std=", "-g", "-ffunction", "-fdata"))),
    "-Waddr-space-convert",
)
_LIBRARY_CXX = ("-std=gnu++11", "-fno-exceptions", "-fno-threadsafe-statics", "-Wall", "-Wextra", "-Werror")

DEBIAN_INSTALL_HINTS = ("AVR boards on Debian, Ubuntu: sudo apt install gcc-avr avr-libc arduino-core-avr",)
#: What arduino-cli says where the board's core is not there.
_NO_CORE = re.compile(r"[Pp]latform\b.*\bnot (?:found|installed)")


class AvrBoard(Struct, frozen=True, kw_only=True):
    """What the core's boards.txt says of a board."""

    mcu: str
    f_cpu: str
    define: str
    core: str
    variant: str

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags for every file."""
        return (
            f"-mmcu={self.mcu}",
            f"-DF_CPU={self.f_cpu}",
            f"-DARDUINO={_ARDUINO}",
            f"-DARDUINO_{self.define}",
            "-DARDUINO_ARCH_AVR",
        )


def build_library(
    folder: Path, *, fqbn: str, sources: Sequence[str], package_url: str = "", jobs: int | None = None
) -> BuildResult:
    """Compile and link the library's sketch, into its `build` folder.

    Args:
        folder: a generated Arduino library.
        fqbn: the board's name for Arduino's tools.
        sources: the library's C and C++ files, as paths in it.
        package_url: index of the board manager that offers the core; empty for Arduino's own.
        jobs: files compiled at a time; None takes the number of processors.

    Raises:
        CompilerMissingError: there is neither arduino-cli with the board's core nor, for an AVR board, Debian's core
            with its compiler.
        BuildError: it failed; the first error is the cause, everything it printed is kept.
        ProjectError: the folder is not complete.
    """
    for source in (*sources, SKETCH):
        if not (folder / source).is_file():
            raise ProjectError(f"the project in {folder} is not complete", cause=f"{source} is missing")
    build = folder / "build"
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    if process.find_program(_CLI):
        files, version = _with_cli(folder, fqbn, package_url), process.run((_CLI, "version")).strip()
    elif fqbn.startswith(_DEBIAN_FQBN) and DEBIAN_CORE.is_dir() and process.find_program(_CC):
        files, version = _with_debian(folder, fqbn, sources, jobs), process.run((_CC, "--version")).splitlines()[0]
    else:
        raise _nothing_to_build_with(fqbn, package_url)
    elf = build / "firmware.elf"
    sections = section_sizes(elf)
    return BuildResult(
        elf=elf,
        files=files,
        toolchain="arduino",
        version=version,
        flash_bytes=sum(section.size_bytes for section in sections if section.in_flash),
        ram_bytes=sum(section.size_bytes for section in sections if section.in_ram),
        sections=sections,
        symbols=symbol_sizes(elf),
    )


def _nothing_to_build_with(fqbn: str, package_url: str) -> CompilerMissingError:
    missing = [f"{_CLI} is not on PATH, which builds for any board whose core it has"]
    hints = [*arduino_cli.TOOL.install, f"then: {core_command(fqbn, package_url)}"]
    if fqbn.startswith(_DEBIAN_FQBN):
        there = bool(process.find_program(_CC))
        lacking = f"the core in {DEBIAN_CORE} is not there" if there else f"{_CC} is not on PATH"
        missing.append(f"{lacking}, which would do in its place")
        hints += DEBIAN_INSTALL_HINTS
    return CompilerMissingError(
        f"there is nothing to build an Arduino sketch for {fqbn} with", cause="\n".join(missing), hint="\n".join(hints)
    )


def core_command(fqbn: str, package_url: str) -> str:
    """What a person types to get a board's core."""
    command = f"{_CLI} core install {':'.join(fqbn.split(':')[:2])}"
    return f"{command} --additional-urls {package_url}" if package_url else command


def cli_argv(folder: Path, fqbn: str) -> tuple[str, ...]:
    """The command of arduino-cli that builds the sketch."""
    return (
        *(_CLI, "compile", "--fqbn", fqbn),
        *("--library", str(folder), "--build-path", str(folder / "build" / "arduino")),
        str((folder / SKETCH).parent),
    )


def _with_cli(folder: Path, fqbn: str, package_url: str) -> tuple[Path, ...]:
    folder = folder.resolve()
    try:
        run_step(cli_argv(folder, fqbn), folder, "the sketch")
    except BuildError as error:
        said = next((line.strip() for line in error.output.splitlines() if _NO_CORE.search(line)), "")
        if not said:
            raise
        raise CompilerMissingError(
            f"{_CLI} does not have the core for {fqbn}", cause=said, hint=core_command(fqbn, package_url)
        ) from error
    made = folder / "build" / "arduino" / Path(SKETCH).name
    shutil.copyfile(f"{made}.elf", folder / "build" / "firmware.elf")
    files = []
    for suffix in ("hex", "bin"):
        if Path(f"{made}.{suffix}").is_file():
            files.append(folder / "build" / f"firmware.{suffix}")
            shutil.copyfile(f"{made}.{suffix}", files[-1])
    return tuple(files)


def avr_board(boards: str, fqbn: str) -> AvrBoard:
    """A board of the core's boards.txt.

    Args:
        boards: text of that file.
        fqbn: `package:architecture:board`, or with menu options, `:menu=value,...`.

    Raises:
        CompilerMissingError: the core does not know the board.
    """
    properties = dict(
        line.split("=", 1) for line in map(str.strip, boards.splitlines()) if "=" in line and not line.startswith("#")
    )
    name, *options = fqbn.split(":")[2:]
    prefixes = [name]
    prefixes += [f"{name}.menu.{option.replace('=', '.', 1)}" for option in options[0].split(",")] if options else []

    def value(key: str) -> str:
        found = [properties[f"{prefix}.build.{key}"] for prefix in prefixes if f"{prefix}.build.{key}" in properties]
        if not found:
            raise CompilerMissingError(
                f"the installed Arduino core does not know {fqbn}", cause=f"its boards.txt has no build.{key} for it"
            )
        return found[-1]

    return AvrBoard(
        mcu=value("mcu"),
        f_cpu=value("f_cpu"),
        define=value("board"),
        core=value("core"),
        variant=value("variant"),
    )


def avr_commands(
    board: AvrBoard, core: Path, core_sources: Sequence[str], sources: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], tuple[tuple[str, ...], ...]]:
    """The commands that build the sketch for an AVR, to be run in the library's folder.

    Args:
        board: of boards.txt.
        core: folder of the core's `cores` and `variants`.
        core_sources: its C, C++ and assembler files, in the folder of the board's core.
        sources: the library's C and C++ files, as paths in it.

    Returns:
        What compiles each file, by its object; then what archives, links and converts, in that order.
    """
    own = core / "cores" / board.core
    includes = (f"-I{own}", f"-I{core / 'variants' / board.variant}")
    compiled: dict[str, tuple[str, ...]] = {}
    archived = []
    for source in core_sources:
        target = f"build/core/{source}.o"
        language: tuple[str, ...] = ()
        if source.endswith(".cpp"):
            language = _CORE_CXX
        elif source.endswith(".c"):
            language = _CORE_C
        compiled[target] = _compile(board, str(own / source), target, language, includes)
        archived.append(target)
    linked = ["build/sketch/Learn.ino.o", "build/sketch/avr_products.o"]
    products = str(resources.firmware_folder() / "arduino" / "avr_products.S")
    compiled[linked[1]] = _compile(board, products, linked[1], (), ())
    for source in sources:
        target = f"build/{source.removesuffix('.c')}.o"
        language = _LIBRARY_CXX if source.endswith(".cpp") else _LIBRARY_C
        if "/" in source.removeprefix("src/"):  # a person's own code: its warnings are no errors
            language = (*language, "-Wno-error")
        compiled[target] = _compile(board, source, target, language, ("-Isrc", *includes))
        linked.append(target)
    sketch = (*_LIBRARY_CXX, "-x", "c++", "-include", "Arduino.h")
    compiled[linked[0]] = _compile(board, SKETCH, linked[0], sketch, ("-Isrc", *includes))
    return compiled, (
        (_AR, "rcs", "build/core/core.a", *archived),
        (
            *(_CC, f"-mmcu={board.mcu}", "-Os", "-g", "-Wl,--gc-sections", "-Wl,-Map=build/firmware.map"),
            *("-o", "build/firmware.elf", *linked, "build/core/core.a", "-lm"),
        ),
        (_OBJCOPY, "-O", "ihex", "-R", ".eeprom", "build/firmware.elf", "build/firmware.hex"),
    )


def _compile(
    board: AvrBoard, source: str, target: str, language: Sequence[str], includes: Sequence[str]
) -> tuple[str, ...]:
    program = _CXX if source.endswith((".cpp", ".ino")) else _CC
    assembler = ("-x", "assembler-with-cpp") if source.endswith(".S") else ()
    return (program, *board.flags, *_COMMON, *language, *assembler, *includes, "-c", "-o", target, source)


def _with_debian(folder: Path, fqbn: str, sources: Sequence[str], jobs: int | None) -> tuple[Path, ...]:
    board = avr_board((DEBIAN_CORE / "boards.txt").read_text(encoding="utf-8"), fqbn)
    own = DEBIAN_CORE / "cores" / board.core
    core_sources = sorted(
        path.relative_to(own).as_posix() for path in own.rglob("*") if path.suffix in (".c", ".cpp", ".S")
    )
    compiled, steps = avr_commands(board, DEBIAN_CORE, core_sources, sources)
    _compile_all(folder, compiled, jobs)
    for argv in steps:
        run_step(argv, folder, "the image")
    return (folder / "build" / "firmware.hex", folder / "build" / "firmware.map")


def _compile_all(folder: Path, compiled: Mapping[str, tuple[str, ...]], jobs: int | None) -> None:
    for target in compiled:
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        running = [pool.submit(run_step, argv, folder, argv[-1]) for argv in compiled.values()]
        try:
            for future in running:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
