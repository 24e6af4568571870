"""What Renode is given to run a board: a platform description, a script, a command line. emulator.py starts it.

The description takes Renode's own platform and adds what it lacks: pieces in `firmware/renode_parts/`, which a board
file names. Known of 1.15 and 1.16: start-up takes 2 to 4 s; bytes of a serial line are not paced; one instruction
counts as one cycle; there is no USB of the nRF52, and its UART with DMA loses bytes between two transfers, which
the older register set, that of our driver, does not.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path

from edgelearn import resources
from edgelearn.board import Board
from edgelearn.errors import EmulatorError

PROGRAM = "renode"
INSTALL_HINTS = ("https://renode.io: packages for Linux, macOS and Windows; `renode` must be on PATH",)
#: Renode counts instructions by this many millions a second of virtual time: one cycle each.
_HZ_PER_MIPS = 1_000_000
_TERMINAL = "serial"


def additions_folder() -> Path:
    """Where pieces of descriptions and models of peripherals lie."""
    return resources.firmware_folder() / "renode_parts"


def files(board: Board, image: Path, folder: Path, *, port: int) -> Mapping[str, str]:
    """The text of `board.repl` and `board.resc`, by name.

    Args:
        board: the board.
        image: the ELF file.
        folder: where they are written to.
        port: TCP port of the serial line.

    Raises:
        ValueError: the board file does not say how Renode emulates it.
        EmulatorError: Renode's scripts cannot name the image.
    """
    if board.renode is None:
        raise ValueError(f"{board.name} has no [renode]")
    flash = [memory for memory in board.memory if memory.kind.value == "flash"]
    values = {
        "clock_hz": str(board.clock_hz),
        "counter_hz": str(board.counter.hz),
        "folder": _path(additions_folder()),
        "uart": board.renode.uart,
    }
    pieces = [f'using "{board.renode.platform}"']
    for name in board.renode.additions:
        text = (additions_folder() / name).read_text(encoding="utf-8")
        pieces.append(string.Template(text).substitute(values).strip())
    script = (
        "using sysbus",
        f'mach create "{board.name}"',
        f"machine LoadPlatformDescription @{_path(folder / 'board.repl')}",
        f"{board.renode.cpu} PerformanceInMips {max(1, board.clock_hz // _HZ_PER_MIPS)}",
        # No telnet negotiation: its bytes would be part of the stream.
        f'emulation CreateServerSocketTerminal {port} "{_TERMINAL}" false',
        f"connector Connect sysbus.{board.renode.uart} {_TERMINAL}",
        f"sysbus LoadELF @{_path(image)}",
        f"{board.renode.cpu} VectorTableOffset 0x{flash[0].origin:X}",
        "start",
    )
    return {"board.repl": "\n\n".join(pieces) + "\n", "board.resc": "\n".join(script) + "\n"}


def argv(script: Path, *, monitor_port: int) -> tuple[str, ...]:
    """The command that runs a script, without a window, its monitor on a TCP port."""
    return (PROGRAM, "--disable-xwt", "--plain", "--port", str(monitor_port), "--execute", f"include @{_path(script)}")


def _path(path: Path) -> str:
    """A path as scripts of Renode take it: absolute, with blanks escaped."""
    text = path.absolute().as_posix()
    if any(character in text for character in '"\n;'):
        raise EmulatorError(
            f"Renode cannot be given the path {text!r}", hint="put the project into a folder with a simpler name"
        )
    return text.replace(" ", "\\ ")
