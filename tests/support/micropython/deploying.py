"""For tests of deployments to MicroPython: a board file for the emulated board, lines that are cut or silent."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
import types
from pathlib import Path
from types import TracebackType

import pytest

from edgelearn import resources

_LOOPBACK = "127.0.0.1"
#: The board's name.
EMULATED = "emulated"


def use_emulated_board(folder: Path, monkeypatch: pytest.MonkeyPatch, *, romfs_bytes: int = 0) -> str:
    """Make the emulated MicroPython board one of the boards; its name."""
    shutil.copytree(resources.boards_folder(), folder)
    text = (folder / "mps2-an386.toml").read_text(encoding="utf-8").partition("\n[micropython]")[0]
    text = text.replace('name = "mps2-an386"', f'name = "{EMULATED}"')
    text = text.replace(
        "\n[port]\n",
        '\n[[flash]]\nmethod = "mpremote"\n\n[micropython]\nboard = "MPS2_AN385"\narchitecture = "armv7emsp"\n'
        f"heap_bytes = 200_000\nromfs_bytes = {romfs_bytes}\n\n[port]\n",
    )
    (folder / f"{EMULATED}.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(resources, "boards_folder", lambda: folder)
    return EMULATED


def close_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pyserial close a socket without its rest of 0.3 s, which servers here do not need."""
    import serial.urlhandler.protocol_socket

    restless = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr(serial.urlhandler.protocol_socket, "time", restless)


class CutLine:
    """A line to a device that is cut, both ways, after so many bytes from the host; one host after the other.

    Args:
        target: URL of the device; empty: nobody listens, all stays silent.
        after_bytes: of all hosts together; 0: never.
        says: what comes in answer to anything, where nobody is there.
    """

    def __init__(self, target: str = "", *, after_bytes: int = 0, says: bytes = b"") -> None:
        self._target = target
        self._left = after_bytes or None
        self._says = says
        self._server = socket.create_server((_LOOPBACK, 0))
        self.url = f"socket://{_LOOPBACK}:{self._server.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                host, _ = self._server.accept()
                self._open.append(host)
                if not self._target:
                    with contextlib.suppress(OSError):
                        while host.recv(4096):
                            host.sendall(self._says)
                    continue
                name, _, number = self._target.removeprefix("socket://").partition(":")
                device = socket.create_connection((name, int(number)))
                self._open.append(device)
                back = threading.Thread(target=self._carry, args=(device, host, False), daemon=True)
                back.start()
                self._carry(host, device, True)
                back.join()

    def _carry(self, source: socket.socket, to: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if counts and self._left is not None:
                    to.sendall(data[: self._left])
                    if len(data) >= self._left:
                        self._left = None
                        break
                    self._left -= len(data)
                else:
                    to.sendall(data)
        for one in (source, to):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    @property
    def was_cut(self) -> bool:
        """Whether it has been; a line that is never cut says so too."""
        return self._left is None

    def __enter__(self) -> CutLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._server, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join()
