"""Runs MicroPython for 32-bit Arm Linux under qemu-user: viper and native code run, assembler for Thumb does not.

    done = run("print(1 + 1)", heap_bytes=100_000)                     # to its end: output and exit code
    with LinkedProgram(program, heap_bytes=100_000) as device:         # its stdin and stdout are a serial line
        open_device(device.url)

Both have a limit in seconds, after which the program is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from msgspec import Struct

from edgelearn.process import Guard
from tests.support.micropython.packages import require_armhf

_PIECE_BYTES = 1 << 16


class Done(Struct, frozen=True, kw_only=True):
    """What a program left.

    Attributes:
        output: standard output and standard error together.
        exit_code: 0 where it ended well, 1 after an exception.
    """

    output: str
    exit_code: int


class RanOutOfTimeError(Exception):
    """The program was killed at its limit; its output so far."""


def _argv(root: Path, script: Path, heap_bytes: int, arguments: Sequence[str]) -> tuple[str, ...]:
    interpreter = root / "usr/bin/micropython"
    # Multiples of a block, 16 bytes, are all that the heap is made of.
    return ("qemu-arm", "-L", str(root), str(interpreter), "-X", f"heapsize={heap_bytes}", str(script), *arguments)


def _write(folder: Path, script: str, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    path = folder / "main.py"
    path.write_text(script, encoding="utf-8")
    return path


def _environment(folder: Path) -> dict[str, str]:
    """The person's own modules are out of reach."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def _end(program: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)


def run(
    script: str,
    *,
    heap_bytes: int,
    files: Mapping[str, bytes] | None = None,
    arguments: Sequence[str] = (),
    folder: Path | None = None,
    timeout_s: float = 60.0,
) -> Done:
    """Run a script to its end.

    Args:
        script: Python source; it is `main.py` in `folder`.
        heap_bytes: the size of the heap, with what the collector itself needs of it.
        files: paths relative to `folder`, and what is written there before.
        arguments: `sys.argv[1:]`.
        folder: the working directory, from which modules are imported; None is an empty one that goes away.
        timeout_s: after so long the script and all that it started are killed.

    Raises:
        RanOutOfTimeError: it was killed.
    """
    root = require_armhf()
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = subprocess.Popen(
            _argv(root, _write(folder, script, files or {}), heap_bytes, arguments),
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with program:
            try:
                output, _ = program.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                _end(program)
                output, _ = program.communicate()
                raise RanOutOfTimeError(f"no end within {timeout_s} s: {output.decode(errors='replace')}") from None
            finally:
                _end(program)
    return Done(output=output.decode(errors="replace"), exit_code=program.returncode)


class LinkedProgram:
    """A script whose standard input and output are the serial line of a device, on a TCP port of this machine.

    One host at a time is connected; one that goes away may come back, and what is written meanwhile is lost, as on a
    line. What the script writes to standard error is in `errors()`.

    Args:
        script, heap_bytes, files, arguments, folder: as for `run`; without `folder` it goes away with the program.
        timeout_s: after so long the script is killed, whatever it does.
    """

    def __init__(
        self,
        script: str,
        *,
        heap_bytes: int,
        files: Mapping[str, bytes] | None = None,
        arguments: Sequence[str] = (),
        folder: Path | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        root = require_armhf()
        self._own_folder = tempfile.TemporaryDirectory()
        self.folder = folder or Path(self._own_folder.name)
        script_path = _write(self.folder, script, files or {})
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._program = subprocess.Popen(
            _argv(root, script_path, heap_bytes, arguments),
            cwd=self.folder,
            env=_environment(self.folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            bufsize=0,
        )
        self._guard = Guard(self._program)
        self._limit = threading.Timer(timeout_s, _end, (self._program,))
        self._limit.daemon = True
        self._limit.start()
        self._host: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._to_device, self._to_host)]
        for thread in self._threads:
            thread.start()

    def _to_device(self) -> None:
        assert self._program.stdin is not None
        with contextlib.suppress(OSError):
            while True:
                host, _ = self._listener.accept()
                host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._host = host
                with host, contextlib.suppress(ConnectionError):
                    while piece := host.recv(_PIECE_BYTES):
                        self._program.stdin.write(piece)

    def _to_host(self) -> None:
        assert self._program.stdout is not None
        while piece := os.read(self._program.stdout.fileno(), _PIECE_BYTES):
            host = self._host
            if host is not None:
                with contextlib.suppress(OSError):
                    host.sendall(piece)
        if self._host is not None:
            with contextlib.suppress(OSError):
                self._host.shutdown(socket.SHUT_RDWR)

    def errors(self) -> str:
        """What came on standard error so far, such as the traceback it ended with."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._program.poll()

    def close(self) -> None:
        """End the script; twice does no harm."""
        self._limit.cancel()
        self._guard.release()
        _end(self._program)
        self._program.wait()
        for closing in (self._listener, self._host):
            if closing is not None:
                with contextlib.suppress(OSError):
                    closing.shutdown(socket.SHUT_RDWR)
                closing.close()
        for thread in self._threads:
            thread.join(timeout=10.0)
        for pipe in (self._program.stdin, self._program.stdout, self._log):
            assert pipe is not None
            pipe.close()
        self._own_folder.cleanup()

    def __enter__(self) -> LinkedProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
