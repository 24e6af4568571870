"""A TCP line between host and device that is as slow as a serial line: so many bits a second each way, no more.

    with paced_line(firmware.url, baud=115200) as url, open_device(url) as device: ...

Each direction takes bytes only while it has room for them, as a UART does, so that a sender feels the line; its FIFO is
64 bytes, a USB adapter's packet. Start and stop bit count: ten bits a byte. It is a process of its own
(`python -m benchmarks.paced_line TARGET BAUD`), for in the host's it would wait for the host's turns.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

BITS_PER_BYTE = 10
FIFO_BYTES = 64
#: How late a byte may be sent without the line being the slower for it: what a sleep overshoots.
_CATCH_UP_S = 0.004


@contextlib.contextmanager
def paced_line(target: str, *, baud: int) -> Iterator[str]:
    """Start a line for one host; gives its `socket://` address.

    Args:
        target: `socket://host:port` of the device.
        baud: bits a second, in each direction.
    """
    command = [sys.executable, "-m", "benchmarks.paced_line", target, str(baud)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as line:
        try:
            assert line.stdout is not None
            yield line.stdout.readline().strip()
        finally:
            line.terminate()


def main() -> None:
    """Print the line's address, then carry bytes until one side closes."""
    target, baud = urlsplit(sys.argv[1]), int(sys.argv[2])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"socket://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        host, _ = listener.accept()
    device = socket.create_connection((target.hostname, target.port))
    for end in (host, device):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    back = threading.Thread(target=_carry, args=(device, host, baud))
    back.start()
    _carry(host, device, baud)
    back.join()


def _carry(source: socket.socket, destination: socket.socket, baud: int) -> None:
    byte_s, free_at_s = BITS_PER_BYTE / baud, 0.0
    with contextlib.suppress(OSError):
        while data := source.recv(FIFO_BYTES):
            # An idle line starts at once; a busy one goes on where it was, also after a sleep that was too long.
            free_at_s = max(free_at_s, time.perf_counter() - _CATCH_UP_S) + len(data) * byte_s
            wait_s = free_at_s - time.perf_counter()
            if wait_s > 0:
                time.sleep(wait_s)
            destination.sendall(data)
        destination.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
