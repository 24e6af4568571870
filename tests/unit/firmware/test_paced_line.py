"""The line in front of an emulator: every byte in order, no bursts, one client after another."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time

from edgelearn.firmware.paced_line import PacedLine


class Target:
    """A server that answers each byte with itself, and notes how many came at a time."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.pieces: list[int] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                with client:
                    while data := client.recv(4096):
                        self.pieces.append(len(data))
                        client.sendall(data)

    def close(self) -> None:
        self._server.close()


def receive(client: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        data = client.recv(4096)
        assert data
        found += data
    return found


def test_bytes_come_in_order_and_in_small_pieces() -> None:
    target, data = Target(), random.Random(1).randbytes(400)
    line = PacedLine(0, target.port, bytes_per_s=100_000)
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", line.port)) as client:
            client.settimeout(20)
            began = time.monotonic()
            client.sendall(data)
            assert receive(client, len(data)) == data
            assert time.monotonic() - began >= 0.9 * 400 / 100_000
    line.close()
    target.close()
    assert max(target.pieces) < 100


def test_closing_ends_an_open_connection() -> None:
    target = Target()
    line = PacedLine(0, target.port, bytes_per_s=1000)
    with socket.create_connection(("127.0.0.1", line.port)) as client:
        client.settimeout(20)
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        line.close()
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    target.close()
