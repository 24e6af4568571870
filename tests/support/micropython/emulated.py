"""Runs MicroPython's firmware on emulated boards: a Cortex-M4F with what boards have today, and an old micro:bit.

    with EmulatedBoard(heap_bytes=200 * 1024) as board:
        with board.repl() as repl:
            repl.put("model.mpy", data)
            assert repl.exec("print(1 + 1)") == "2\\n"
            repl.start("import main")             # runs on when the REPL is closed
        open_device(board.url)

The serial line is a TCP port of this machine. Our board (board/) has a file system of 2 MiB and a ROM partition of 4
MiB, which end with the emulator; the file system outlives a reset, the ROM partition is again what it was at the start.
`boot.py` and `main.py` run at the start. A fault ends QEMU; everything here has a limit in seconds.

Under `-icount` an instruction takes 128 ns of the board's time, which goes much faster than ours while it works: limits
that a program on it keeps come early. It is the same on every machine; without, its time is ours.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import serial

from edgelearn import process
from tests.support.micropython.packages import require_firmware, require_microbit

_LOOPBACK = "127.0.0.1"
#: Where our board's start looks for the size of its heap.
_HEAP_BYTES_ADDRESS = 0x2180_0000
_ROM_ADDRESS = 0x2140_0000
_START_TIMEOUT_S = 10.0
_POLL_S = 0.01
_ATTEMPTS = 5
#: Ticks of timer 0, 25 MHz, in an instruction of 128 ns.
_TICKS_PER_INSTRUCTION = 3.2
_CHUNK_BYTES = 2048

#: Counts ticks of timer 0 while `f` runs.
_COUNTER = """\
import gc, micropython
@micropython.viper
def _ticks(f) -> int:
    timer = ptr32(0x40000000)
    timer[2] = -1
    timer[1] = -1
    timer[0] = 1
    before = timer[1]
    f()
    return before - timer[1]
"""


class DeviceError(Exception):
    """Code on the device raised; the message is its traceback, `output` what it had written."""

    def __init__(self, output: str, traceback: str) -> None:
        super().__init__(traceback)
        self.output = output


class Repl:
    """The raw REPL of a device, by mpremote's transport.

    Args:
        url: the port; no other program may have it open.
        raw_paste: whether raw-paste may be used; older firmware has none.
        soft_reset: start from a fresh interpreter; start-up files run then, except main.py.
        timeout_s: how long to wait for each answer.
        last_words: what is known of a device that went away.

    Raises:
        mpremote.transport.TransportError: the device does not answer.
    """

    def __init__(
        self,
        url: str,
        *,
        raw_paste: bool = True,
        soft_reset: bool = True,
        timeout_s: float = 30.0,
        last_words: Callable[[], str] = str,
    ) -> None:
        from mpremote.transport_serial import SerialTransport

        self._last_words = last_words
        self.timeout_s = timeout_s
        self.transport: Any = SerialTransport(url, timeout=timeout_s)
        self.transport.use_raw_paste = raw_paste
        try:
            self.transport.enter_raw_repl(soft_reset=soft_reset, timeout_overall=timeout_s)
        except BaseException:
            self.transport.close()
            raise

    def exec(self, code: str, *, timeout_s: float | None = None) -> str:
        """Run code to its end and return what it wrote, with plain line ends.

        Raises:
            DeviceError: it raised, or the device went away.
            mpremote.transport.TransportError: no byte came for `timeout_s`.
        """
        try:
            output, errors = self.transport.exec_raw(code, timeout=self.timeout_s if timeout_s is None else timeout_s)
        except serial.SerialException as error:
            raise DeviceError("", f"the line was cut ({error}); {self._last_words()}") from error
        text = output.decode(errors="replace").replace("\r\n", "\n")
        if errors:
            raise DeviceError(text, errors.decode(errors="replace").replace("\r\n", "\n"))
        return text

    def start(self, code: str) -> None:
        """Run code that goes on when this REPL is closed, and has the serial line for itself."""
        self.transport.exec_raw_no_follow(code)

    def put(self, path: str, data: bytes) -> None:
        """Write a file on the device, about 20 KB a second: the emulated line takes each byte by itself."""
        self.exec(f"from binascii import a2b_base64 as _decode\n_file = open({path!r}, 'wb')")
        for start in range(0, len(data), _CHUNK_BYTES):
            text = base64.b64encode(data[start : start + _CHUNK_BYTES]).decode()
            self.exec(f"_file.write(_decode('{text}')) and None")
        self.exec("_file.close()")

    def get(self, path: str) -> bytes:
        """Read a file on the device."""
        return bytes(self.transport.fs_readfile(path, chunk_size=_CHUNK_BYTES))

    def instructions(self, call: str) -> int:
        """Instructions that an expression takes, without those of counting; for boards started with `count=True`.

        The expression sees the globals of what was executed before; it is run once.
        """
        code = f"{_COUNTER}gc.collect()\n_empty = _ticks(lambda: None)\nprint(_ticks(lambda: {call}) - _empty)"
        return round(int(self.exec(code).split()[-1]) / _TICKS_PER_INSTRUCTION)

    def close(self) -> None:
        """Leave the device as it is."""
        self.transport.close()

    def __enter__(self) -> Repl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def rom_image(files: Mapping[str, bytes]) -> bytes:
    """An image for a ROM partition, by mpremote's own writer: files without folders."""
    from mpremote.romfs import VfsRomWriter

    writer: Any = VfsRomWriter()
    for name, content in sorted(files.items()):
        writer.mkfile(name, content)
    return bytes(writer.finalise())


class EmulatedBoard:
    """A running board with MicroPython.

    Args:
        heap_bytes: the size of its heap, with what the collector itself needs of it; at most 2 MiB.
        rom: files of its ROM partition, which it finds below /rom; much faster than `Repl.put`.
        count: whether its timer counts instructions.
        timeout_s: after so long the emulator is killed, whatever it does.
    """

    def __init__(
        self, *, heap_bytes: int, rom: Mapping[str, bytes] | None = None, count: bool = True, timeout_s: float = 120.0
    ) -> None:
        firmware = require_firmware()
        self._folder = tempfile.TemporaryDirectory()
        image = Path(self._folder.name) / "rom"
        image.write_bytes(rom_image(rom or {}))
        self._start(
            (
                *("-machine", "mps2-an386", "-semihosting", "-kernel", str(firmware)),
                *("-device", f"loader,addr={_HEAP_BYTES_ADDRESS:#x},data={heap_bytes},data-len=4"),
                *("-device", f"loader,addr={_ROM_ADDRESS:#x},file={image},force-raw=on"),
                *(("-icount", "shift=7") if count else ()),
            ),
            timeout_s,
        )

    def _start(self, options: tuple[str, ...], timeout_s: float) -> None:
        self._log = Path(self._folder.name) / "log"
        # Somebody may take the port before QEMU does.
        for attempt in range(_ATTEMPTS):
            with socket.create_server((_LOOPBACK, 0)) as free:
                port = free.getsockname()[1]
            self._program = process.spawn(
                (
                    *("qemu-system-arm", "-display", "none", "-monitor", "none"),
                    *("-chardev", f"socket,id=line,host={_LOOPBACK},port={port},server=on,wait=off,nodelay=on"),
                    *("-serial", "chardev:line", *options),
                ),
                log_path=self._log,
            )
            if self._listens(port):
                break
            self._kill()
            self._program.wait()
            if attempt == _ATTEMPTS - 1:
                raise RuntimeError(f"QEMU does not start: {self._log.read_text()}")
        self._guard = process.Guard(self._program)
        self._limit = threading.Timer(timeout_s, self._kill)
        self._limit.daemon = True
        self._limit.start()
        self.url = f"socket://{_LOOPBACK}:{port}"

    def _listens(self, port: int) -> bool:
        end = time.monotonic() + _START_TIMEOUT_S
        while self._program.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, port)):
                return True
            time.sleep(_POLL_S)
        return False

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._program.pid, signal.SIGKILL)

    def repl(self, *, raw_paste: bool = True, soft_reset: bool = True, timeout_s: float = 30.0) -> Repl:
        """Its raw REPL; whatever ran is interrupted."""
        return Repl(self.url, raw_paste=raw_paste, soft_reset=soft_reset, timeout_s=timeout_s, last_words=self.log)

    def log(self) -> str:
        """What QEMU said, and a fault's registers."""
        return self._log.read_text(errors="replace")

    def is_running(self) -> bool:
        """Whether the emulator is; a fault or its limit may have ended it."""
        return self._program.poll() is None

    def close(self) -> None:
        """End the emulator; twice does no harm."""
        self._limit.cancel()
        self._guard.release()
        self._kill()
        self._program.wait()
        self._folder.cleanup()

    def __enter__(self) -> EmulatedBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EmulatedMicrobit(EmulatedBoard):
    """A micro:bit with MicroPython 1.9.2: no raw-paste, no viper, a Cortex-M0, about 9 KiB of heap.

    Args:
        timeout_s: after so long the emulator is killed, whatever it does.
    """

    def __init__(self, *, timeout_s: float = 120.0) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._start(("-machine", "microbit", "-device", f"loader,file={require_microbit()}"), timeout_s)
