"""build_project(): compile and link a generated project, and read sizes from the ELF file.

The compiler is called directly, with the flags that the project's Makefile holds too, so that a person needs no
`make`: either `arm-none-eabi-gcc` (for the host `cc`), or clang from the PyPI package ziglang.
"""

from __future__ import annotations

import concurrent.futures
import functools
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from msgspec import Struct

from edgelearn import process, resources
from edgelearn.board import COMPILE_FLAGS, COMPILERS, INCLUDE_FLAGS, OPTIMIZATION, SANITIZE_FLAGS, Core
from edgelearn.errors import BuildError, CompilerMissingError, ProcessError, ProgramMissingError, ProjectError
from edgelearn.project import SENSOR_FOLDER

#: Compilers by the name that `build --toolchain` takes; the first that is installed is taken.
TOOLCHAINS = ("gnu", "zig")


class Toolchain(Struct, frozen=True, kw_only=True):
    """A compiler that is installed, with what it needs for one core.

    Attributes:
        name: one of `TOOLCHAINS`.
        version: what it says of itself.
        program: the argv that starts it.
        compile_flags: flags for compiling one file.
        link_flags: flags for linking.
        objcopy: the argv that starts its objcopy; empty where there is none.
        writes_map: whether its linker writes a map file.
        writes_stack_usage: whether it writes what each function takes from the stack beside the object, as `.su`.
    """

    name: str
    version: str
    program: tuple[str, ...]
    compile_flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    objcopy: tuple[str, ...] = ()
    writes_map: bool = False
    writes_stack_usage: bool = False


class Section(Struct, frozen=True, kw_only=True):
    """A section of the image that takes memory on the device."""

    name: str
    address: int
    size_bytes: int
    in_flash: bool
    in_ram: bool


class Symbol(Struct, frozen=True, kw_only=True):
    """A function or an object of the image.

    Attributes:
        section: the section that holds it.
        address: of its first byte.
        source: the project's C file that defines it, such as `runtime/elearn_head.c`; empty for the compiler's library.
    """

    name: str
    section: str
    address: int
    size_bytes: int
    source: str


class BuildResult(Struct, frozen=True, kw_only=True):
    """What was built.

    Attributes:
        elf: the image.
        files: the image in other formats, and the linker's map, as far as the toolchain writes them.
        toolchain: the compiler's name.
        version: the compiler's version.
        flash_bytes: code, constants and the first values of data.
        ram_bytes: data and bss, without the stack.
        sections: all sections that take memory.
        symbols: all functions and objects.
    """

    elf: Path
    files: tuple[Path, ...]
    toolchain: str
    version: str
    flash_bytes: int
    ram_bytes: int
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]


def find_toolchain(core: Core, name: str | None = None, *, sanitize: bool = False) -> Toolchain:
    """The compiler of that name for a core; without a name the first one that is installed.

    Raises:
        CompilerMissingError: there is none; says how to install each.
    """
    if name is not None and name not in TOOLCHAINS:
        raise CompilerMissingError(f"there is no toolchain {name}", hint=f"toolchains: {', '.join(TOOLCHAINS)}")
    if core is Core.HOST and os.name == "nt":
        raise CompilerMissingError(
            "the board that is this machine needs POSIX sockets, which Windows does not have",
            hint="take an emulated board, or work in the Windows Subsystem for Linux",
        )
    for candidate in TOOLCHAINS if name is None else (name,):
        found = _gnu(core, sanitize=sanitize) if candidate == "gnu" else _zig(core, sanitize=sanitize)
        if found is not None:
            return found
    wanted = COMPILERS[core].program
    raise CompilerMissingError(
        f"no C compiler for {core.value} was found"
        if name is None
        else f"the {name} compiler for {core.value} was not found",
        cause=f"neither {wanted} nor the Python package ziglang is installed"
        if name is None
        else ("the Python package ziglang is not installed" if name == "zig" else f"{wanted} is not on PATH"),
        hint="\n".join(INSTALL_HINTS[core]),
    )


_CORTEX_M_HINTS = (
    'any system: pip install "edgelearn[zig]"',
    "Debian, Ubuntu: sudo apt install gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "macOS: brew install --cask gcc-arm-embedded",
    "Windows: winget install Arm.GnuArmEmbeddedToolchain",
)

#: Ways to a compiler, for a message.
INSTALL_HINTS: dict[Core, tuple[str, ...]] = {
    **{core: _CORTEX_M_HINTS for core in Core if core is not Core.HOST},
    Core.HOST: (
        'any system: pip install "edgelearn[zig]"',
        "Debian, Ubuntu: sudo apt install gcc",
        "macOS: xcode-select --install",
    ),
}


def _gnu(core: Core, *, sanitize: bool) -> Toolchain | None:
    flags = COMPILERS[core]
    try:
        version = process.run((flags.program, "--version")).splitlines()[0].strip()
    except (ProgramMissingError, ProcessError, IndexError):
        return None
    objcopy = flags.program.removesuffix("gcc") + "objcopy"
    bare_metal = core is not Core.HOST
    return Toolchain(
        name="gnu",
        version=version,
        program=(flags.program,),
        compile_flags=(*flags.gnu, *(SANITIZE_FLAGS if sanitize else ())),
        link_flags=flags.gnu_link,
        objcopy=(objcopy,) if bare_metal and process.find_program(objcopy) else (),
        writes_map=bare_metal,
        writes_stack_usage=bare_metal,
    )


def _zig(core: Core, *, sanitize: bool) -> Toolchain | None:
    if sanitize or importlib.util.find_spec("ziglang") is None:
        return None  # its package brings no run-time support for the address sanitizer
    zig = (sys.executable, "-m", "ziglang")
    try:
        version = process.run((*zig, "version")).strip()
    except (ProgramMissingError, ProcessError):
        return None
    flags = COMPILERS[core]
    headers = resources.firmware_folder() / "port" / "freestanding"
    bare_metal = core is not Core.HOST
    return Toolchain(
        name="zig",
        version=f"zig cc {version}",
        program=(*zig, "cc"),
        compile_flags=(*flags.zig, *(("-isystem", str(headers)) if bare_metal else ())),
        link_flags=flags.zig_link,
    )


def project_sources(folder: Path) -> tuple[str, ...]:
    """The C files of a generated project, as its Makefile lists them.

    Raises:
        ProjectError: the folder holds no such Makefile, or a file that it lists is missing.
    """
    try:
        text = (folder / "Makefile").read_text(encoding="utf-8")
    except OSError as error:
        raise ProjectError(
            f"{folder} is not a project that edgelearn generated", cause="it has no Makefile", hint="edgelearn generate"
        ) from error
    found = re.search(r"^SOURCES := *((?:.*\\\n)*.*)$", text, re.MULTILINE)
    sources = tuple(found.group(1).replace("\\\n", " ").split()) if found else ()
    if not sources:
        raise ProjectError(f"{folder} is not a project that edgelearn generated", cause="its Makefile lists no sources")
    for source in sources:
        if not (folder / source).is_file():
            raise ProjectError(f"the project in {folder} is not complete", cause=f"{source} is missing")
    return sources


def compile_argv(toolchain: Toolchain, source: str) -> tuple[str, ...]:
    """The command that compiles one C file, to be run in the project's folder."""
    return (
        *toolchain.program,
        *toolchain.compile_flags,
        OPTIMIZATION,
        *COMPILE_FLAGS,
        *INCLUDE_FLAGS,
        *(("-Wno-error",) if source.startswith(f"{SENSOR_FOLDER}/") else ()),
        *(("-fstack-usage",) if toolchain.writes_stack_usage else ()),
        "-c",
        "-o",
        _object(source),
        source,
    )


def link_argv(toolchain: Toolchain, sources: Sequence[str]) -> tuple[str, ...]:
    """The command that links the image, to be run in the project's folder."""
    return (
        *toolchain.program,
        *toolchain.compile_flags,
        OPTIMIZATION,
        *toolchain.link_flags,
        *(("-Wl,-Map=build/firmware.map",) if toolchain.writes_map else ()),
        "-o",
        "build/firmware.elf",
        *(_object(source) for source in sources),
        *(() if toolchain.name == "zig" else ("-lm",)),
    )


def _object(source: str) -> str:
    return f"build/{source.removesuffix('.c')}.o"


def build_project(
    folder: Path, *, core: Core, toolchain: str | None = None, sanitize: bool = False, jobs: int | None = None
) -> BuildResult:
    """Compile and link the project in `folder`, into its `build` folder.

    Args:
        folder: a generated project.
        core: the core it was generated for.
        toolchain: one of `TOOLCHAINS`; None takes the first that is installed.
        sanitize: stop at the first memory error or undefined behaviour (host only).
        jobs: files compiled at a time; None takes the number of processors.

    Raises:
        CompilerMissingError: no compiler is installed.
        BuildError: it failed; the first error is the cause, everything it printed is kept.
        ProjectError: the folder is not a generated project.
    """
    if sanitize and core is not Core.HOST:
        raise ValueError("only a host has sanitizers")
    sources = project_sources(folder)
    tools = find_toolchain(core, toolchain, sanitize=sanitize)
    build = folder / "build"
    _clear(build)
    for source in sources:
        (folder / _object(source)).parent.mkdir(parents=True, exist_ok=True)

    with concurrent.futures.ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        compiled = [pool.submit(run_step, compile_argv(tools, source), folder, source) for source in sources]
        try:
            for future in compiled:
                future.result()
        except BuildError:
            pool.shutdown(cancel_futures=True)
            raise
    run_step(link_argv(tools, sources), folder, "the image")

    elf = build / "firmware.elf"
    files = []
    if tools.objcopy:
        for kind, suffix in (("ihex", "hex"), ("binary", "bin")):
            image = f"build/firmware.{suffix}"
            run_step((*tools.objcopy, "-O", kind, "build/firmware.elf", image), folder, image)
            files.append(folder / image)
    if tools.writes_map:
        files.append(build / "firmware.map")
    sections = section_sizes(elf)
    return BuildResult(
        elf=elf,
        files=tuple(files),
        toolchain=tools.name,
        version=tools.version,
        flash_bytes=sum(section.size_bytes for section in sections if section.in_flash),
        ram_bytes=sum(section.size_bytes for section in sections if section.in_ram),
        sections=sections,
        symbols=symbol_sizes(elf),
    )


def _clear(build: Path) -> None:
    """Remove what an earlier build made, with whatever compiler or flags; `make` then starts anew as well."""
    for pattern in ("*/*.o", "*/*.d", "*/*.su", "firmware.*", "command"):
        for path in build.glob(pattern):
            path.unlink()


def run_step(argv: tuple[str, ...], folder: Path, what: str) -> None:
    """Run one command of a build in the project's folder.

    Raises:
        BuildError: `what` could not be built: the first error is the cause.
    """
    try:
        process.run(argv, cwd=folder)
    except ProcessError as error:
        lines = [line.strip() for line in error.output.splitlines() if line.strip()]
        cause = next((line for line in lines if re.search(r"\berror\b|overflowed|undefined reference", line)), "")
        raise BuildError(
            f"{what} could not be built",
            cause=cause or (lines[0] if lines else f"{argv[0]} ended with code {error.returncode}"),
            output=error.output,
        ) from error


def section_sizes(elf: Path) -> tuple[Section, ...]:
    """The sections of an image that take memory on the device, by address; none of an image that is not ELF."""
    if not _is_elf(elf):
        return ()
    with elf.open("rb") as file:
        sections = [
            Section(
                name=section.name,
                address=section["sh_addr"],
                size_bytes=section["sh_size"],
                in_flash=section["sh_type"] != "SHT_NOBITS",
                in_ram=bool(section["sh_flags"] & SH_FLAGS.SHF_WRITE),
            )
            for section in ELFFile(file).iter_sections()
            if section["sh_flags"] & SH_FLAGS.SHF_ALLOC and section["sh_size"] > 0
        ]
    return tuple(sorted(sections, key=lambda section: section.address))


def symbol_sizes(elf: Path) -> tuple[Symbol, ...]:
    """The functions and objects of an image, by source and name.

    The source of each is known from the object files that lie beside the image, as a build left them.
    """
    build = elf.parent
    sources: dict[tuple[str, str], str] = {}
    for path in sorted(build.glob("*/*.o")):
        source = path.relative_to(build).with_suffix(".c").as_posix()
        for name, file_name, *_ in _symbols(path):
            sources[file_name, name] = source
    return tuple(
        sorted(
            (
                Symbol(
                    name=name,
                    section=section,
                    address=address,
                    size_bytes=size_bytes,
                    source=sources.get((file_name, name), ""),
                )
                for name, file_name, section, address, size_bytes in _symbols(elf)
            ),
            key=lambda symbol: (symbol.source, symbol.name),
        )
    )


def _is_elf(path: Path) -> bool:
    """Whether a file is ELF: what macOS links for itself is not, and its sizes stay unknown."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _symbols(path: Path) -> tuple[tuple[str, str, str, int, int], ...]:
    """Name, file (of a symbol that only its file sees, otherwise empty), section, address and size in bytes."""
    stat = path.stat()
    return _symbols_as_of(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _symbols_as_of(path: Path, _mtime_ns: int, _size_bytes: int) -> tuple[tuple[str, str, str, int, int], ...]:
    """The same of a file as it was: a build asks several times, and reading takes longer than compiling."""
    if not _is_elf(path):
        return ()
    found = []
    with path.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            return ()
        file_name = ""
        for symbol in table.iter_symbols():
            kind, index = symbol["st_info"]["type"], symbol["st_shndx"]
            if kind == "STT_FILE":
                file_name = Path(symbol.name).name
            elif kind in ("STT_FUNC", "STT_OBJECT") and isinstance(index, int) and symbol["st_size"] > 0:
                local = symbol["st_info"]["bind"] == "STB_LOCAL"
                section = elf.get_section(index)
                if section["sh_flags"] & SH_FLAGS.SHF_ALLOC:
                    # Bit 0 of a function's value says that it is Thumb code.
                    address = int(symbol["st_value"]) & (~1 if kind == "STT_FUNC" else ~0)
                    defined_in = file_name if local else ""
                    found.append((symbol.name, defined_in, section.name, address, int(symbol["st_size"])))
    return tuple(found)
