"""The files of a generated project that depend on the board: Makefile, linker script, constants, vector table."""

from __future__ import annotations

from collections.abc import Sequence

from edgelearn.board import (
    COMPILE_FLAGS,
    COMPILERS,
    INCLUDE_FLAGS,
    OPTIMIZATION,
    SANITIZE_FLAGS,
    Board,
    Core,
    MemoryKind,
)
from edgelearn.codegen.render import render
from edgelearn.project import SENSOR_FOLDER

_SYSTEM_VECTORS = 16
_NMI = 2
#: Armv7-M exceptions that exist, besides the initial stack pointer and reset; the others are reserved.
_SYSTEM_EXCEPTIONS = {
    _NMI: "NMI",
    3: "HardFault",
    4: "MemManage",
    5: "BusFault",
    6: "UsageFault",
    11: "SVCall",
    12: "DebugMonitor",
    14: "PendSV",
    15: "SysTick",
}
#: Those of Armv6-M: one fault, and no debug monitor.
_SYSTEM_EXCEPTIONS_V6 = {number: _SYSTEM_EXCEPTIONS[number] for number in (_NMI, 3, 11, 14, 15)}


def board_files(
    board: Board,
    *,
    runtime_sources: Sequence[str],
    generated_sources: Sequence[str],
    baud: int,
    ring_bytes: int,
    sensor_sources: Sequence[str] = (),
) -> dict[str, str]:
    """The board's files of a generated project, by their path in it.

    Args:
        board: the board.
        runtime_sources: names of the C files in the project's `runtime/`; headers among them are left out.
        generated_sources: names of the C files in its `src/`, without the vector table, which is added here.
        baud: speed of the serial line in bits a second.
        ring_bytes: size of the receive ring, a power of two.
        sensor_sources: names of the C files in its `sensor/`, which are somebody's own: their warnings are no errors.

    Returns:
        `Makefile`, `CMakeLists.txt`, `src/elearn_board.h`, for a board without an operating system `link.ld`,
        `toolchain.cmake` and `src/elearn_vectors.c`, and `platformio.ini` for one that PlatformIO knows.
    """
    bare_metal = board.core is not Core.HOST
    generated = [*generated_sources, "elearn_vectors.c"] if bare_metal else list(generated_sources)
    sources = sorted(
        f"{folder}/{name}"
        for folder, names in (
            ("src", generated),
            ("runtime", runtime_sources),
            ("port", board.port.sources),
            (SENSOR_FOLDER, sensor_sources),
        )
        for name in set(names)
        if name.endswith(".c")
    )
    files = {
        "Makefile": _makefile(board, sources),
        "CMakeLists.txt": _cmake(board, sources),
        "src/elearn_board.h": board_header(board, baud=baud, ring_bytes=ring_bytes),
    }
    if board.platformio:
        files |= _platformio(board, sources)
    if bare_metal:
        files["toolchain.cmake"] = render(
            "toolchain.cmake.j2", board=board, prefix=COMPILERS[board.core].program.removesuffix("gcc")
        )
        files["link.ld"] = _linker_script(board)
        files["src/elearn_vectors.c"] = _vectors(board)
    return files


def board_header(board: Board, *, baud: int, ring_bytes: int) -> str:
    """elearn_board.h: the constants of the board's drivers; see `board_files`."""
    if ring_bytes <= 0 or ring_bytes & (ring_bytes - 1):
        raise ValueError(f"ring_bytes is {ring_bytes}, which is no power of two")
    return render(
        "elearn_board.h.j2",
        board=board,
        baud=baud,
        ring_bytes=ring_bytes,
        defines=[(name, _number(name, value)) for name, value in board.port.defines.items()],
        **nvm_values(board),
    )


def nvm_values(board: Board) -> dict[str, object]:
    """What elearn_board_nvm.h.j2 wants to know."""
    return {"nvm": board.nvm, "nvm_address": _number("_ADDRESS", board.nvm.address) if board.nvm else ""}


def _makefile(board: Board, sources: Sequence[str]) -> str:
    compiler = COMPILERS[board.core]
    return render(
        "Makefile.j2",
        **_build_values(board, sources),
        program=compiler.program,
        prefix=compiler.program.removesuffix("gcc"),
        include_flags=" ".join(INCLUDE_FLAGS),
        link_flags=" ".join(compiler.gnu_link),
        sanitize_flags=" ".join(SANITIZE_FLAGS),
        sensor_folder=SENSOR_FOLDER if any(source.startswith(f"{SENSOR_FOLDER}/") for source in sources) else "",
    )


def _cmake(board: Board, sources: Sequence[str]) -> str:
    return render(
        "CMakeLists.txt.j2",
        **_build_values(board, sources),
        sensor_sources=" ".join(source for source in sources if source.startswith(f"{SENSOR_FOLDER}/")),
        include_folders=[flag.removeprefix("-I") for flag in INCLUDE_FLAGS],
        link_flags=" ".join(_here(flag) for flag in COMPILERS[board.core].gnu_link),
    )


def _build_values(board: Board, sources: Sequence[str]) -> dict[str, object]:
    """What every build file says."""
    return {
        "board": board,
        "bare_metal": board.core is not Core.HOST,
        "sources": sources,
        "optimization": OPTIMIZATION,
        "core_flags": " ".join(COMPILERS[board.core].gnu),
        "compile_flags": " ".join(COMPILE_FLAGS),
    }


def _here(flag: str) -> str:
    """A flag that names the linker script, for a build that runs in another folder."""
    return "-T${CMAKE_CURRENT_SOURCE_DIR}/link.ld" if flag == "-Tlink.ld" else flag


def _platformio(board: Board, sources: Sequence[str]) -> dict[str, str]:
    known = board.platformio
    assert known is not None  # noqa: S101  (for the type checker)
    compiler = COMPILERS[board.core]
    files = {
        "platformio.ini": render(
            "platformio.ini.j2",
            **_build_values(board, sources),
            platform=known.platform,
            platform_board=known.board,
            include_flags=" ".join(INCLUDE_FLAGS),
        )
    }
    if known.board:
        # PlatformIO hands the linker script over itself.
        flags = [*compiler.gnu, *(flag for flag in compiler.gnu_link if flag != "-Tlink.ld")]
        files["platformio_link.py"] = render("platformio_link.py.j2", link_flags=flags)
    return files


def _number(name: str, value: int) -> str:
    return f"0x{value:08X}u" if name.endswith("_ADDRESS") else f"{value}u"


def _linker_script(board: Board) -> str:
    vectors = _SYSTEM_VECTORS + board.port.interrupt_count
    return render(
        "link.ld.j2",
        board=board,
        regions=[
            (memory.name, "rx" if memory.kind is MemoryKind.FLASH else "rwx", memory.origin, board.usable_bytes(memory))
            for memory in board.memory
        ],
        flash=next(memory for memory in board.memory if memory.kind is MemoryKind.FLASH),
        ram=next(memory for memory in board.memory if memory.kind is MemoryKind.RAM),
        vector_count=vectors,
        # Armv7-M, B3.2.5: at least 32 words.
        vector_alignment=max(4 * (1 << (vectors - 1).bit_length()), 128),
    )


def _vectors(board: Board) -> str:
    handlers = {interrupt.number: interrupt.handler for interrupt in board.port.interrupts}
    exceptions = _SYSTEM_EXCEPTIONS_V6 if board.core is Core.CORTEX_M0 else _SYSTEM_EXCEPTIONS
    own = {_NMI: board.nvm.nmi_handler} if board.nvm and board.nvm.nmi_handler else {}
    entries = [
        (
            own.get(number, "elearn_fault_handler") if number in exceptions else "0",
            exceptions.get(number, "reserved"),
        )
        for number in range(2, _SYSTEM_VECTORS)
    ] + [
        (handlers.get(number, "elearn_fault_handler"), f"interrupt {number}")
        for number in range(board.port.interrupt_count)
    ]
    return render(
        "elearn_vectors.c.j2",
        board=board,
        entries=entries,
        entry_count=len(entries),
        handlers=sorted(set(handlers.values())),
    )
