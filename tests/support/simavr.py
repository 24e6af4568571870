"""A board with an AVR in simavr, and its EEPROM, which QEMU lacks, in a file that outlives it: see simavr_board.c."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType

import pytest

from edgelearn import process
from edgelearn.board import Board
from tests.support.tools import require_tool

_SOURCE = Path(__file__).parent / "simavr_board.c"
_HEADERS = Path("/usr/include/simavr")
_END_S = 30.0


def build_simavr(folder: Path) -> Path:
    """The program."""
    require_tool("cc")
    if not _HEADERS.is_dir():
        pytest.skip("the Debian package libsimavr-dev is not installed")
    program = folder / "simavr_board"
    flags = ["-std=gnu99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-isystem", str(_HEADERS)]
    argv = ["cc", *flags, "-o", str(program), str(_SOURCE), "-lsimavr"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


class SimavrBoard:
    """A running board; leaving the context cuts its power.

    Attributes:
        url: where its serial line is.
    """

    def __init__(self, program: Path, board: Board, image: Path, eeprom: Path, *, writes: int | None = None) -> None:
        """Boot it.

        Args:
            program: of `build_simavr`.
            board: the board.
            image: the HEX file.
            eeprom: keeps its EEPROM.
            writes: bytes of the EEPROM that are written before power is cut in the next one.
        """
        argv = [program, board.chip.lower(), board.clock_hz, image, eeprom, *([] if writes is None else [writes])]
        self._child = subprocess.Popen([*map(str, argv)], stdout=subprocess.PIPE)
        self._guard = process.Guard(self._child)
        assert self._child.stdout is not None
        said = self._child.stdout.readline().decode()
        assert said.startswith("port "), said
        self.url = f"socket://127.0.0.1:{said.split()[1]}"

    def wait_for_cut(self) -> None:
        """Until power was cut in a write."""
        assert self._child.stdout is not None
        self._guard.release()
        assert self._child.wait(_END_S) == 0
        assert self._child.stdout.read() == b"cut\n"

    def __enter__(self) -> SimavrBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.release()
        self._child.kill()
        self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()
