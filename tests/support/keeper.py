"""The program keeper.c as an image for any board, and a client that speaks to it."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
import zlib
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from edgelearn.board import Board
from edgelearn.firmware.toolchain import build_project
from tests.support.echo import write_echo_project

PAYLOAD_BYTES = 600
_START_S = 20.0


def build_keeper(folder: Path, board: Board, *, toolchain: str = "gnu", sanitize: bool = False) -> Path:
    """The image."""
    main = (Path(__file__).parent / "keeper.c").read_text()
    write_echo_project(folder, board, main=main, runtime_sources=("elearn_store.c", "elearn_frame.c"))
    return build_project(folder, core=board.core, toolchain=toolchain, sanitize=sanitize).elf


def payload_crc(value: int) -> int:
    """The CRC of a value's bytes."""
    rest = bytes(((value * 31 + i * 7) ^ (value >> 3) ^ (i >> 4)) & 0xFF for i in range(4, PAYLOAD_BYTES))
    return zlib.crc32(struct.pack("<I", value) + rest)


class Loaded(NamedTuple):
    """What the store found; a value of 0 is none."""

    value: int
    crc: int
    sequence: int


class KeeperClient:
    """Speaks to the program; waits at first until the device listens."""

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
            self._socket.sendall(b"l")
            asked += 1
            with contextlib.suppress(TimeoutError):
                answered += len(self._socket.recv(65536))
        if asked > 1 or answered != 12:
            self._socket.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                while self._socket.recv(65536):
                    pass
        self._socket.settimeout(30.0)

    def _numbers(self, count: int) -> tuple[int, ...]:
        received = b""
        while len(received) < 4 * count:
            part = self._socket.recv(4 * count - len(received))
            assert part, "the device hung up"
            received += part
        return struct.unpack(f"<{count}I", received)

    def load(self) -> Loaded:
        self._socket.sendall(b"l")
        return Loaded(*self._numbers(3))

    def save(self, value: int) -> bool:
        self._socket.sendall(b"s" + struct.pack("<I", value))
        return self._numbers(1) == (1,)

    def forget(self) -> bool:
        self._socket.sendall(b"f")
        return self._numbers(1) == (1,)

    def start_counting(self, first: int) -> None:
        """Let it save one value after the other, until its power is cut."""
        self._socket.sendall(b"c" + struct.pack("<I", first))

    def rest(self) -> list[int]:
        """The numbers that it had sent when its power was cut; a last one that is cut off is left out."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := self._socket.recv(65536):
                received += part
        whole = received[: len(received) // 4 * 4]
        return list(struct.unpack(f"<{len(whole) // 4}I", whole))

    def __enter__(self) -> KeeperClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
