"""The echo program (echo.c) as a project for any board, and a client that speaks to it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from edgelearn import resources
from edgelearn.board import Board
from edgelearn.codegen.board_files import board_files
from edgelearn.protocol import c_header

RING_BYTES = 512
_START_S = 20.0


def write_echo_project(
    folder: Path, board: Board, *, main: str | None = None, runtime_sources: tuple[str, ...] = ()
) -> Path:
    """Write a project of drivers, one main program, echo.c by default, and parts of the device code; returns it."""
    sources = ["main.c", *runtime_sources]
    files = board_files(board, runtime_sources=sources, generated_sources=[], baud=115_200, ring_bytes=RING_BYTES)
    files["src/elearn_protocol.h"] = c_header()
    files["runtime/main.c"] = main if main is not None else (Path(__file__).parent / "echo.c").read_text()
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    firmware = resources.firmware_folder()
    (folder / "port").mkdir(exist_ok=True)
    for name in board.port.sources:
        shutil.copy(firmware / "port" / name, folder / "port")
    headers = ("port", "nvm", "bytes", "flash", "frame", "store")
    for name in (*(f"elearn_{header}.h" for header in headers), *runtime_sources):
        shutil.copy(firmware / "runtime" / name, folder / "runtime")
    return folder


class Memory(NamedTuple):
    """What the device says of its memory, in bytes; overruns are a count."""

    stack: int
    stack_size: int
    static_ram: int
    overruns: int
    ring: int


class EchoClient:
    """Speaks to the echo program; waits at first until the device listens."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("socket://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait_for_device()

    def _wait_for_device(self) -> None:
        """What arrives before the device's line is set up is lost: ask until it answers, then take all answers."""
        deadline = time.monotonic() + _START_S
        self._socket.settimeout(0.1)
        asked = answered = 0
        while answered == 0:
            assert time.monotonic() < deadline, "the device does not answer"
            self._socket.sendall(b"s")
            asked += 1
            with contextlib.suppress(TimeoutError):
                answered += len(self._socket.recv(65536))
        self._socket.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while self._socket.recv(65536):
                pass
        self._socket.settimeout(30.0)

    def _receive(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            part = self._socket.recv(65536)
            assert part, "the device hung up"
            received += part
        assert len(received) == size
        return received

    def memory(self) -> Memory:
        self._socket.sendall(b"s")
        return Memory(*struct.unpack("<5I", self._receive(20)))

    def loop_ticks(self, turns: int) -> int:
        self._socket.sendall(b"t" + struct.pack("<I", turns))
        return int(struct.unpack("<I", self._receive(4))[0])

    def counter_hz(self) -> int:
        self._socket.sendall(b"h")
        return int(struct.unpack("<I", self._receive(4))[0])

    def echo_while_busy(self, turns: int, data: bytes) -> bytes:
        """Send everything at once, behind a command that keeps the device from reading for so many turns."""
        echo = b"e" + struct.pack("<I", len(data)) + data
        self._socket.sendall(b"t" + struct.pack("<I", turns) + echo)
        return self._receive(4 + len(data))[4:]

    def use_stack(self, size_bytes: int) -> None:
        self._socket.sendall(b"d" + struct.pack("<I", size_bytes))
        self._receive(4)

    def mark_stack(self) -> None:
        self._socket.sendall(b"m")
        self._receive(4)

    def stack_since_mark(self) -> int:
        self._socket.sendall(b"p")
        return int(struct.unpack("<I", self._receive(4))[0])

    def echo(self, data: bytes) -> bytes:
        """Send everything without waiting while receiving it back."""
        sender = threading.Thread(target=self._socket.sendall, args=(b"e" + struct.pack("<I", len(data)) + data,))
        sender.start()
        try:
            return self._receive(len(data))
        finally:
            sender.join()

    def __enter__(self) -> EchoClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
