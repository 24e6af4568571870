"""PacedLine: a TCP port in front of an emulated serial line, which hands bytes on no faster than a real line would.

QEMU's AVR takes a byte as soon as its interrupt has read the one before: a longer frame would fill the 64 bytes that an
Arduino core keeps before the sketch has its turn. What the device sends is handed on at once.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time

_LOOPBACK = "127.0.0.1"
_PIECE_BYTES = 8
_BUFFER_BYTES = 1 << 16


class PacedLine:
    """Serves one client after another, in a thread of its own, until it is closed.

    Attributes:
        port: where clients connect.
    """

    def __init__(self, port: int, target_port: int, *, bytes_per_s: float) -> None:
        """Listen.

        Args:
            port: TCP port on this machine.
            target_port: TCP port of the emulator's serial line.
            bytes_per_s: the most that is handed on to it.

        Raises:
            OSError: the port is taken.
        """
        self._listener = socket.create_server((_LOOPBACK, port), backlog=1)
        self.port = int(self._listener.getsockname()[1])
        self._target_port = target_port
        self._piece_s = _PIECE_BYTES / bytes_per_s
        self._wake, self._waker = socket.socketpair()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it, and the connection that is open."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._waker.send(b"x")
        self._thread.join()
        for one in (self._listener, self._wake, self._waker):
            one.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._closing.is_set():
                selector.select()
                if self._closing.is_set():
                    return
                client, _ = self._listener.accept()
                with (
                    client,
                    contextlib.suppress(OSError),
                    socket.create_connection((_LOOPBACK, self._target_port)) as target,
                ):
                    self._carry(client, target)

    def _carry(self, client: socket.socket, target: socket.socket) -> None:
        """Carry bytes both ways until either side ends."""
        for one in (client, target):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting = bytearray()
        next_s = 0.0
        with selectors.DefaultSelector() as selector:
            for one in (client, target, self._wake):
                selector.register(one, selectors.EVENT_READ)
            while not self._closing.is_set():
                timeout_s = max(next_s - time.monotonic(), 0.0) if waiting else None
                for key, _ in selector.select(timeout_s):
                    if key.fileobj is client:
                        data = client.recv(_BUFFER_BYTES)
                        waiting += data
                    elif key.fileobj is target:
                        data = target.recv(_BUFFER_BYTES)
                        client.sendall(data)
                    else:
                        return
                    if not data:
                        return
                if waiting and time.monotonic() >= next_s:
                    target.sendall(waiting[:_PIECE_BYTES])
                    del waiting[:_PIECE_BYTES]
                    # Lost time is not made up for: that would be a burst.
                    next_s = time.monotonic() + self._piece_s
