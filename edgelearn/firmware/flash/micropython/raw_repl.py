"""RawRepl: MicroPython's raw REPL at a port, by mpremote's own transport, with and without raw-paste.

Whatever runs is interrupted, and a soft reset gives a heap in which nothing is left of it. Who leaves starts main.py
again. Ports are those of pyserial: `/dev/ttyACM0`, `COM3`, `socket://HOST:PORT`.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import importlib.util
import io
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from edgelearn.board import Board
from edgelearn.errors import FlashError, MissingPackageError
from edgelearn.firmware.flash.methods import firmware_suffixes
from edgelearn.firmware.flash.tool import Failure, flash_error

#: Who talks to the device, in messages.
TITLE = "edgelearn"
#: How long a device may take until it listens, and after what a person is asked to help.
PATIENCE_S = 12.0
_HELP_S = 3.0
#: Between two attempts to interrupt what runs: a program of ours leaves the link at the carriage return after it.
_QUIET_S = 0.15
_ANSWER_S = 1.0
#: How long boot.py may take.
_BOOT_S = 15.0
#: How long the device may work without a byte: flash chips erase slowly.
_WORK_S = 20.0
#: Sent at once, where the heap has so many times as much: as text and as bytes it takes three times as much.
PIECE_BYTES = 4096
_HEAP_SHARE = 16

_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_INTERRUPT = b"\r\x03\x03"
_ENTER = b"\r\x01"
_LEAVE = b"\r\x02"
_SOFT_RESET = b"\x04"

#: _bytes decodes what is sent as text, _inflated what is compressed besides; None where it cannot.
_DECODER = """\
_bytes=_inflated=None
try:
 from binascii import a2b_base64 as _bytes
 from io import BytesIO as _Buffer
 import deflate as _deflate
 def _inflated(t):
  return _deflate.DeflateIO(_Buffer(_bytes(t)),_deflate.RAW,9).read()
except ImportError:
 pass
"""
_WINDOW_BITS = 9


class DeviceRaisedError(Exception):
    """Code on the device raised.

    Attributes:
        errno: of an OSError; 0 for anything else.
    """

    def __init__(self, traceback: str) -> None:
        last = traceback.strip().splitlines()[-1] if traceback.strip() else ""
        super().__init__(last)
        found = re.match(r"OSError: (?:\[Errno )?(\d+)", last)
        self.errno = int(found.group(1)) if found else 0


class RawRepl:
    """The raw REPL of a device, open until it is left.

    Args:
        port: its name or URL; no other program may have it open.
        board: that should be there, for messages.
        say: takes what a person should see.

    Raises:
        MissingPackageError: mpremote is not installed.
        FlashError: with step `connect`; nobody has the port, nobody answers, or not MicroPython.
    """

    def __init__(self, port: str, board: Board, say: Callable[[str], None] = lambda text: None) -> None:
        if importlib.util.find_spec("mpremote") is None:
            raise MissingPackageError("mpremote", extra="micropython", purpose="deploying to MicroPython boards")
        from mpremote.transport import TransportError
        from mpremote.transport_serial import SerialTransport

        self._board = board
        self.port = port
        self._step = "connect"
        self._decoders: tuple[bool, bool] | None = None
        self._piece_bytes = PIECE_BYTES
        self._transport_error = TransportError
        try:
            self._transport: Any = SerialTransport(port, timeout=_WORK_S)
        except (TransportError, OSError, ValueError) as error:
            raise FlashError(
                f"{port} cannot be opened",
                step="connect",
                failure=Failure.BUSY.value,
                cause=f"{error}: another program has it, or it is not there",
                hint="close the serial monitor, mpremote or the other edgelearn; `edgelearn devices` shows whether the "
                "port is there; on Linux `sudo usermod -a -G dialout $USER` lets you use serial ports",
            ) from error
        self._serial.write_timeout = _WORK_S
        try:
            with self._faults():
                self._enter(say)
                self._reset()
        except BaseException:
            self._close()
            raise
        self._step = "write"

    @property
    def piece_bytes(self) -> int:
        """How much may be sent at once."""
        return self._piece_bytes

    def use_heap(self, free_bytes: int) -> None:
        """Send less at once than `PIECE_BYTES` where the heap is small."""
        self._piece_bytes = max(min(PIECE_BYTES, free_bytes // _HEAP_SHARE // 256 * 256), 256)

    @property
    def _serial(self) -> Any:
        return self._transport.serial

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """What the line does, as a FlashError; what mpremote prints is left out."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except OSError as error:
            raise flash_error(
                Failure.VANISHED,
                title=TITLE,
                board=self._board,
                step=self._step,
                cause=str(error),
                hint="check the cable and plug the board into the computer itself, then flash again: it goes on where "
                "it was cut",
            ) from error
        except (self._transport_error, struct.error) as error:
            raise flash_error(
                Failure.NO_ANSWER,
                title=TITLE,
                board=self._board,
                step=self._step,
                cause=str(error),
                hint="press its reset button and flash again: it goes on where it stopped",
            ) from error

    def _enter(self, say: Callable[[str], None]) -> None:
        begin = time.monotonic()
        heard = b""
        is_told = False
        while True:
            self._serial.write(_INTERRUPT)
            heard += self._hear(_QUIET_S)
            self._serial.write(_ENTER)
            answer = self._transport.read_until(1, _BANNER, timeout=_ANSWER_S, timeout_overall=2 * _ANSWER_S)
            if answer.endswith(_BANNER):
                return
            heard = (heard + answer)[-500:]
            passed = time.monotonic() - begin
            if passed > _HELP_S and not is_told:
                is_told = True
                say("MicroPython does not answer yet: press the board's reset button now")
            if passed > PATIENCE_S:
                raise _unheard(self._board, self.port, heard)

    def _hear(self, for_s: float) -> bytes:
        """What comes until it is quiet, or for twice that time."""
        heard = b""
        begin = last = time.monotonic()
        while time.monotonic() - last < for_s and time.monotonic() - begin < 2 * for_s:
            count = self._serial.in_waiting
            if count:
                heard += self._serial.read(count)
                last = time.monotonic()
            else:
                time.sleep(0.01)
        return heard

    def _reset(self) -> None:
        self._serial.write(_SOFT_RESET)
        answer = self._transport.read_until(1, _BANNER, timeout=_BOOT_S, timeout_overall=_BOOT_S)
        if not answer.endswith(_BANNER):
            raise FlashError(
                f"MicroPython on {self._board.name} does not come back after a soft reset",
                step="connect",
                failure=Failure.NO_ANSWER.value,
                cause=f"boot.py does not end within {_BOOT_S:g} s: {_shown(answer)}" if answer else "it is silent",
                hint="press its reset button and flash again; a boot.py that does not end keeps others out: look at it "
                f"with `mpremote connect {self.port} resume`",
            )
        self._transport.in_raw_repl = True

    def exec(self, code: str, *, timeout_s: float = _WORK_S) -> str:
        """Run code to its end and return what it wrote.

        Raises:
            DeviceRaisedError: it raised.
            FlashError: the device went away, or is silent.
        """
        with self._faults():
            output, errors = self._transport.exec_raw(code, timeout=timeout_s)
        if errors:
            raise DeviceRaisedError(errors.decode(errors="replace"))
        return str(output.decode(errors="replace"))

    def value(self, expression: str, *, after: str = "", timeout_s: float = _WORK_S) -> Any:
        """What an expression of literals is on the device, after these lines of code: one exchange takes 50 ms.

        Raises:
            DeviceRaisedError, FlashError: see `exec`; FlashError too where something else prints meanwhile.
        """
        said = self.exec(f"{after}print(repr({expression}))", timeout_s=timeout_s)
        try:
            return ast.literal_eval(said.strip())
        except (SyntaxError, ValueError) as error:
            raise FlashError(
                f"{self._board.name} does not say what was asked",
                step=self._step,
                failure=Failure.NO_ANSWER.value,
                cause=f"{expression}: {_shown(said.encode())}",
                hint="something else prints there, such as a timer of boot.py: stop it, and flash again",
            ) from error

    def send(self, data: bytes, use: str) -> None:
        """Send at most `piece_bytes`; the statements `use` are carried out then, which find them in `_piece`.

        Raises:
            DeviceRaisedError, FlashError: see `exec`.
        """
        if self._decoders is None:
            self._decoders = self.value("(_bytes is not None,_inflated is not None)", after=_DECODER)
        packed = zlib.compressobj(9, wbits=-_WINDOW_BITS)
        small = packed.compress(data) + packed.flush()
        if self._decoders[1] and len(small) < len(data):
            text = f"_inflated({base64.b64encode(small)!r})"
        elif self._decoders[0]:
            text = f"_bytes({base64.b64encode(data)!r})"
        else:
            text = repr(data)
        self.exec(f"_piece={text}\n{use}")

    def write_file(self, path: str, data: bytes) -> None:
        """Write a file on the device.

        Raises:
            DeviceRaisedError, FlashError: see `exec`; an unfinished file stays, closed.
        """
        opens = f"_file=open({path!r},'wb')\n"
        try:
            for start in range(0, max(len(data), 1), self._piece_bytes):
                piece = data[start : start + self._piece_bytes]
                ends = "_file.close()\n" if start + self._piece_bytes >= len(data) else ""
                self.send(piece, f"{opens}if _file.write(_piece)!=len(_piece):\n raise OSError(28)\n{ends}")
                opens = ""
        except DeviceRaisedError:
            with contextlib.suppress(DeviceRaisedError):
                self.exec("_file.close()")
            raise

    def leave(self) -> None:
        """Start main.py again and let the port go; a device that is gone does no harm."""
        with contextlib.suppress(FlashError), self._faults():
            self._serial.write(_LEAVE)
            self._transport.read_until(1, b">>> ", timeout=_ANSWER_S, timeout_overall=_ANSWER_S)
            self._serial.write(_SOFT_RESET)
            self._transport.read_until(1, b"soft reboot\r\n", timeout=_ANSWER_S, timeout_overall=2 * _ANSWER_S)
        self._close()

    def _close(self) -> None:
        line = self._serial
        # pyserial lets go of a socket without closing it where the other side went first.
        connection = getattr(line, "_socket", None)
        with contextlib.suppress(OSError):
            self._transport.close()
        with contextlib.suppress(OSError):
            line.close()
        if connection is not None:
            connection.close()

    def __enter__(self) -> RawRepl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def _shown(data: bytes) -> str:
    """The end of what was received, on one line."""
    text = " ".join(data.decode(errors="backslashreplace").split())
    return ascii(text[-120:])


def _unheard(board: Board, port: str, heard: bytes) -> FlashError:
    """Nobody answers, or somebody else."""
    if heard.strip():
        return FlashError(
            f"what runs at {port} does not let MicroPython answer",
            step="connect",
            failure=Failure.NO_ANSWER.value,
            cause=f"a program that ignores Ctrl-C, or something other than MicroPython, says {_shown(heard)}",
            hint="flash again and press the board's reset button meanwhile, so that Ctrl-C comes before the program; "
            f"if MicroPython is not there yet, {how_to_get(board)}",
        )
    return FlashError(
        f"no MicroPython answers at {port}",
        step="connect",
        failure=Failure.NO_ANSWER.value,
        cause="it is silent: no MicroPython is there, or a program that ignores Ctrl-C",
        hint="flash again and press the board's reset button meanwhile, so that Ctrl-C comes before a program; "
        f"if MicroPython is not there yet, {how_to_get(board)}",
    )


def how_to_get(board: Board) -> str:
    """How MicroPython comes onto a board, for a hint."""
    name = board.micropython.board if board.micropython else ""
    page = f"https://micropython.org/download/{name}"
    suffixes = list(dict.fromkeys(suffix for way in board.flash for suffix in firmware_suffixes(way)))
    if suffixes:
        return f"download its {' or '.join(suffixes)} file from {page} and add `--firmware FILE`"
    return f"{page} says how to put it on the board"
