"""A serial line of limited speed between a host and an emulated board.

    with PacedLine(running.url, baud=115200) as line, open_device(line.port, baud=115200) as device: ...

The host's end is a pseudo-terminal, so that it goes through pyserial like a real port. Each direction is a UART of 8N1,
ten bits a byte: a byte arrives when it has been shifted out behind those before it, never earlier, and what does not
fit its buffer is held back at the sender. Both directions run at the same time. The line is a process of its own, for
what it does must not cost the host's interpreter any time.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
import tty
from types import TracebackType

import msgspec
from msgspec import Struct

BITS_PER_BYTE = 10
#: What a direction holds that is not yet shifted out: a page, as the buffer of a Linux serial port.
BUFFER_BYTES = 4096
#: Bytes that have arrived are handed on together, so late at most; a USB serial port takes up to a millisecond.
_TICK_S = 0.0002


class Direction:
    """One direction: takes bytes as they come and gives each when the line has carried it.

    Args:
        baud: bits a second.
        buffer_bytes: it takes no more than that at a time.
    """

    def __init__(self, baud: int, *, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.byte_s = BITS_PER_BYTE / baud
        self._buffer_bytes = buffer_bytes
        self._waiting = bytearray()
        #: When the first byte that waits began to be shifted out.
        self._began_s = 0.0

    @property
    def room_bytes(self) -> int:
        """How many more bytes it takes."""
        return self._buffer_bytes - len(self._waiting)

    def put(self, data: bytes, now_s: float) -> None:
        """Take bytes, at most `room_bytes`."""
        if not self._waiting:
            self._began_s = max(self._began_s, now_s)
        self._waiting += data

    def arrived(self, now_s: float) -> bytes:
        """The bytes that have arrived, which stay in the line until `take`."""
        # A rounding error must not hold back a byte whose time has come.
        count = int((now_s - self._began_s) / self.byte_s + 1e-6)
        return bytes(self._waiting[: max(0, count)])

    def take(self, count: int) -> None:
        """That many of the bytes that had arrived are handed on."""
        del self._waiting[:count]
        self._began_s += count * self.byte_s

    def due_s(self) -> float | None:
        """When to look again: after a tick, or as soon as all has arrived; None with nothing on the way."""
        if not self._waiting:
            return None
        return self._began_s + min(max(self.byte_s, _TICK_S), len(self._waiting) * self.byte_s)


class _End:
    """One end of the line: a pseudo-terminal or a socket, which does not block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        """For `select`."""
        return self._descriptor

    def read(self, most_bytes: int) -> bytes:
        """What is there; b"" where nothing is any more."""
        return os.read(self._descriptor, most_bytes)

    def write(self, data: bytes) -> int:
        """Write what fits now; how many bytes that were."""
        with contextlib.suppress(BlockingIOError):
            return os.write(self._descriptor, data)
        return 0


class Usage(Struct, kw_only=True):
    """Seconds from the first byte to the last.

    Attributes:
        all_s: in which the line carried something to the device or the device had a request to work on.
        line_s: in which the line carried something to the device.
        device_s: in which the device had a request to work on.
    """

    all_s: float = 0.0
    line_s: float = 0.0
    device_s: float = 0.0


class _Watch:
    """Adds up what is busy, by the frames that go into the device and come out."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._requests = 0
        self._last_byte = 0
        self._last_s = time.monotonic()

    def tick(self, now_s: float, *, line_is_busy: bool) -> None:
        passed_s = now_s - self._last_s
        self._last_s = now_s
        self._usage.line_s += passed_s if line_is_busy else 0.0
        self._usage.device_s += passed_s if self._requests > 0 else 0.0
        self._usage.all_s += passed_s if line_is_busy or self._requests > 0 else 0.0

    def gave(self, data: bytes) -> None:
        for byte in data:
            # A zero after a zero ends no frame.
            self._requests += byte == 0 != self._last_byte
            self._last_byte = byte

    def got(self, data: bytes) -> None:
        self._requests -= data.count(0)


def carry(host: _End, device: _End, baud: int, usage: Usage) -> None:
    """Carry bytes both ways, until the device's end is closed."""
    ways = ((host, device, Direction(baud)), (device, host, Direction(baud)))
    watch = _Watch(usage)
    while True:
        dues = [due for _, _, line in ways if (due := line.due_s()) is not None]
        wait_s = max(0.0, min(dues) - time.monotonic()) if dues else None
        readable, _, _ = select.select([source for source, _, line in ways if line.room_bytes], [], [], wait_s)
        now_s = time.monotonic()
        watch.tick(now_s, line_is_busy=ways[0][2].due_s() is not None)
        for source, target, line in ways:
            if arrived := line.arrived(now_s):
                count = target.write(arrived)
                line.take(count)
                if target is device:
                    watch.gave(arrived[:count])
            if source in readable:
                data = source.read(line.room_bytes)
                if source is device:
                    if not data:
                        return
                    watch.got(data)
                line.put(data, now_s)


class PacedLine:
    """A context manager; `port` is the host's end, a serial port by name, `usage` tells afterwards what was busy.

    Args:
        target: the device's port, `socket://host:port`.
        baud: bits a second in each direction.
    """

    def __init__(self, target: str, *, baud: int) -> None:
        self._target = target
        self._baud = baud

    def __enter__(self) -> PacedLine:
        terminal, self._host = os.openpty()
        tty.setraw(self._host)
        self.port = os.ttyname(self._host)
        argv = [sys.executable, "-m", __name__, str(terminal), self._target, str(self._baud)]
        self._process = subprocess.Popen(argv, pass_fds=[terminal], stdout=subprocess.PIPE)
        os.close(terminal)
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise OSError(f"the line did not reach the device at {self._target}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        said, _ = self._process.communicate()
        os.close(self._host)
        if error is None:
            self.usage = msgspec.json.decode(said, type=Usage)


def main() -> None:
    """Carry between a terminal, given by its descriptor, and a device."""
    terminal, target, baud = sys.argv[1:]
    address, port = target.removeprefix("socket://").split(":")
    with socket.create_connection((address, int(port)), timeout=5.0) as device:
        device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        usage = Usage()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        print("ready", flush=True)
        try:
            carry(_End(int(terminal)), _End(device.fileno()), int(baud), usage)
        finally:
            print(msgspec.json.encode(usage).decode(), flush=True)


if __name__ == "__main__":
    main()
