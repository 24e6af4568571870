"""start(): boots an image on an emulated board and offers its serial line on a TCP socket of this machine.

QEMU's settings, and why (measured with 7.2 on the boards in `boards/`):

- `-icount shift=N`: every instruction takes 2^N ns of virtual time, so a counter of the board counts instructions and
  gives the same number each time. It costs nothing here: round trips take as long without it.
- `sleep=on`: a board that waits for its serial line takes no processor time. With `sleep=off` QEMU runs from one
  timer event to the next without a pause (a whole processor for a board that does nothing) and warns where there is
  no timer. The counts are the same: time passes by other means only while the board waits.
- A TCP socket, because a PTY holds back the last byte of a frame, and `nodelay`. QEMU hands over byte by byte, at about
  40 us each, and holds the sender back while the board takes none, so nothing is lost.
- To keep what a board has in flash, `-device loader` puts it back at the start (with `cpu-num` it would start the
  board there), and QMP's `memsave` reads it out; `pmemsave` reads zeros from the nRF51's flash. A reset inside of
  QEMU puts back what was loaded at the start: reset such a board with `cut_power` and a new start.
- An AVR's image is given with `-bios`; with `-icount` QEMU 7.2 does not run it ("Bad icount read"). Bytes for it are
  paced (paced_line.py). Its defects are worked around where they show: constants beyond 64 KiB (here), interrupts that
  come while they are off (elearn_arduino.cpp), a skipped return (avr_products.S). Timer 0 and the EEPROM are missing.
- `-d exec,nochain,in_asm`, to trace: its log, on standard error, says what code it runs (see trace.py). The counts stay
  the same.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from edgelearn import process
from edgelearn.board import Board, Core, NonVolatileMemory
from edgelearn.errors import EmulatorError, EmulatorMissingError, ProgramMissingError, reason
from edgelearn.firmware import renode
from edgelearn.firmware.paced_line import PacedLine
from edgelearn.firmware.toolchain import section_sizes

_LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 10.0
_RENODE_START_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 3.0
_QMP_TIMEOUT_S = 10.0
_POLL_S = 0.005
#: How long after a save the file that keeps flash may be behind.
_KEEP_S = 0.4
_ATTEMPTS = 5
_PIECE_BYTES = 1 << 18

_RENODE = "renode"

#: What the first line of QEMU's log begins with; what comes before it is for a person.
_LOG_BEGINS = b"IN: "

#: QEMU's program for each core.
QEMU_PROGRAMS = {
    **dict.fromkeys((Core.CORTEX_M0, Core.CORTEX_M3, Core.CORTEX_M4F, Core.CORTEX_M7F), "qemu-system-arm"),
    Core.AVR: "qemu-system-avr",
}

#: What a line of 115,200 baud carries.
_AVR_BYTES_PER_S = 11_520
#: ELPM of QEMU 7.2 leaves the upper byte of the address out.
_AVR_READABLE_BYTES = 1 << 16

#: Ways to QEMU, for a message.
QEMU_INSTALL_HINTS = (
    "Debian, Ubuntu: sudo apt install qemu-system-arm, for AVR boards qemu-system-misc",
    "macOS: brew install qemu",
    "Windows: winget install SoftwareFreedomConservancy.QEMU",
)


class _FlashFile:
    """The file that holds the pages of a board's non-volatile memory.

    A process maps the file itself; from QEMU they are read over its control connection (QMP), several times a second,
    so that what a board has saved stays however its host ends.
    """

    def __init__(self, path: Path, nvm: NonVolatileMemory, *, qmp_port: int | None) -> None:
        self.path = path
        self._nvm = nvm
        self._qmp_port = qmp_port
        # QEMU takes one control connection at a time.
        self._lock = threading.Lock()
        self._stored: bytes | None = None
        self._ended = threading.Event()
        self._keeper: threading.Thread | None = None
        if qmp_port is not None:
            self._keeper = threading.Thread(target=self._keep, daemon=True)
            self._keeper.start()

    def read(self, *, stop: bool = False) -> bytes:
        """The pages as they are; with `stop` the board stands still from this instant on."""
        with self._lock:
            return self._read(stop=stop)

    def store(self, *, stop: bool = False) -> None:
        """Write the pages to the file, whole or not at all.

        Raises:
            EmulatorError: the emulator does not answer, or the file cannot be written.
        """
        if self._qmp_port is None:
            return
        with self._lock:
            self._write(self._read(stop=stop))

    def end(self) -> None:
        """Look no more for what has changed."""
        self._ended.set()
        if self._keeper is not None:
            self._keeper.join()

    def _keep(self) -> None:
        while not self._ended.wait(_KEEP_S):
            try:
                self._store_at_rest()
            except (EmulatorError, OSError):
                # The emulator is about to end, or the disk is full: `store` says so if it still is at the end.
                continue

    def _store_at_rest(self) -> None:
        """Store the pages if they have changed and nothing is being written to them just now.

        The board goes on meanwhile, so one reading may hold pages of different instants; two that are the same do not.
        """
        with self._lock:
            pages = self._read()
            if pages != self._stored and pages == self._read():
                self._write(pages)

    def _read(self, *, stop: bool = False) -> bytes:
        if self._qmp_port is None:
            return self.path.read_bytes()
        with tempfile.TemporaryDirectory(prefix="edgelearn-emulator-") as folder:
            saved = Path(folder) / "nvm"
            address, size = self._nvm.address, self._nvm.size_bytes
            command = {"val": address, "size": size, "filename": str(saved), "cpu-index": 0}
            _qmp(self._qmp_port, ("stop", {}) if stop else None, ("memsave", command))
            return saved.read_bytes()

    def _write(self, pages: bytes) -> None:
        if pages == self._stored:
            return
        beside = _beside(self.path)
        try:
            beside.write_bytes(pages)
            beside.replace(self.path)
        except OSError as error:
            raise _cannot_keep(self.path, error) from error
        self._stored = pages


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


def _cannot_keep(path: Path, error: OSError) -> EmulatorError:
    return EmulatorError(
        f"the board's flash cannot be kept in {path}",
        cause=reason(error),
        hint="name a file in a folder that exists and can be written to",
    )


def _qmp(port: int, *commands: tuple[str, dict[str, Any]] | None) -> None:
    """Carry out commands of QEMU's control protocol, one after the other.

    Raises:
        EmulatorError: QEMU does not answer, or refuses one.
    """
    try:
        with (
            socket.create_connection((_LOOPBACK, port), timeout=_QMP_TIMEOUT_S) as line,
            line.makefile("rb") as answers,
        ):
            for name, arguments in (("qmp_capabilities", {}), *(command for command in commands if command)):
                line.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
                answer: dict[str, Any] = {}
                while not {"return", "error"} & answer.keys():
                    answer = json.loads(answers.readline() or b'{"error": {"desc": "it hung up"}}')
                if "error" in answer:
                    raise EmulatorError(f"the emulator refused `{name}`", cause=str(answer["error"].get("desc")))
    except (OSError, ValueError) as error:
        raise EmulatorError("the emulator's control connection does not answer", cause=reason(error)) from error


class RunningEmulator:
    """A running emulator; a context manager that ends it.

    Attributes:
        url: where its serial line is, `socket://127.0.0.1:NNNN`.
        engine: `qemu`, `host` or `renode`.
    """

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        *,
        url: str,
        engine: str,
        log_path: Path,
        guard: process.Guard,
        reader: _TraceReader | None = None,
        flash: _FlashFile | None = None,
        line: PacedLine | None = None,
    ) -> None:
        self.url = url
        self._line = line
        self.engine = engine
        self._flash = flash
        self._child = child
        self._guard = guard
        self._log_path = log_path
        self._reader = reader
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        is_alive = self._child.poll() is None
        if not is_alive:
            self._guard.release()
        return is_alive

    @property
    def output(self) -> str:
        """What it has printed so far; empty once it was stopped."""
        return _read(self._log_path)

    def check(self) -> None:
        """Raise if it has ended by itself.

        Raises:
            EmulatorError: it has; the cause is the last that it printed.
        """
        if not self.alive:
            raise _ended(self._child, self._log_path, self._reader)

    def read_nvm(self) -> bytes:
        """The pages of its non-volatile memory as they are at this moment.

        Raises:
            EmulatorError: it was started without `nvm_file`, or does not answer.
        """
        if self._flash is None:
            raise EmulatorError("the emulator was started without a file for its flash")
        return self._flash.read()

    def cut_power(self) -> None:
        """End it at this instant, whatever it is doing; its flash stays in `nvm_file` as it then is.

        Raises:
            EmulatorError: it does not answer.
        """
        try:
            if self._flash and self.alive:
                self._flash.store(stop=True)
        finally:
            self._guard.release()
            self._child.kill()
            self._finish()

    def stop(self) -> None:
        """End it; does nothing where that has been done. Its flash goes to `nvm_file`.

        Raises:
            EmulatorError: its flash cannot be read.
        """
        try:
            if self._flash and self.alive:
                self._flash.store()
        finally:
            self._finish()

    def _finish(self) -> None:
        atexit.unregister(self.stop)
        if self._flash:
            self._flash.end()
        self._guard.release()
        if self._line:
            self._line.close()
        _end(self._child)
        if self._reader:
            self._reader.join()
        _remove(self._log_path)

    def __enter__(self) -> RunningEmulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None and self._reader and self._reader.error:
            raise self._reader.error


class _TraceReader(threading.Thread):
    """Hands on the trace that a child writes to its standard error, to the end.

    Attributes:
        error: what the taker raised; the rest of the trace was thrown away.
    """

    def __init__(self, child: subprocess.Popen[bytes], take: Callable[[bytes], None], log_path: Path) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self._child = child
        self._take = take
        self._log_path = log_path

    def run(self) -> None:
        """Read until the child ends."""
        pipe = self._child.stderr
        assert pipe is not None  # noqa: S101
        begun = False
        with pipe, self._log_path.open("ab") as log:
            while piece := pipe.read1(_PIECE_BYTES):  # type: ignore[attr-defined]
                if not begun:
                    begun = _LOG_BEGINS in piece
                    log.write(piece.partition(_LOG_BEGINS)[0].rstrip(b"-\n"))
                    log.flush()
                if self.error is None:
                    try:
                        self._take(piece)
                    except Exception as error:  # raised again where the emulator is left
                        self.error = error


def start(
    board: Board,
    image: Path,
    *,
    port: int | None = None,
    trace: Callable[[bytes], None] | None = None,
    nvm_file: Path | None = None,
    engine: str | None = None,
) -> RunningEmulator:
    """Boot an image on the board's emulator.

    It returns once the serial line can be connected to; the device may still be starting, and drops what it receives
    before its serial line is set up, so a first request is to be repeated until it is answered.

    Args:
        board: the board.
        image: the ELF file.
        port: TCP port of the serial line; None takes a free one.
        trace: takes QEMU's log of executed blocks, in pieces, in a thread of its own; what it raises is raised again
            on leaving the context. Without it nothing is traced.
        nvm_file: keeps the board's non-volatile memory from one run to the next, and is brought up to date within a
            second of a save; made where there is none.
        engine: `qemu`, `host` or `renode`; None for the board's first one.

    Raises:
        EmulatorMissingError: the board has no emulator, or it is not installed.
        EmulatorError: the emulator ended, or did not start in time; the file is not this board's, or cannot be written.
    """
    require_emulator(board, engine)
    engine = engine or board.engines[0]
    if engine == _RENODE and (nvm_file is not None or trace is not None):
        raise EmulatorError(
            "Renode is not asked for a trace or for what flash keeps", hint=f"run {board.name} without that"
        )
    if nvm_file is not None:
        _check_nvm_file(board, nvm_file, engine)
    if port is not None:
        _require_free(port)
    attempts = _ATTEMPTS if port is None else 1
    for attempt in range(attempts):
        number = port if port is not None else 0 if engine == "host" else _free_port()
        try:
            return _start_once(board, image, number, engine, trace, nvm_file)
        except _PortTakenError:
            if attempt + 1 == attempts:
                raise
    raise AssertionError("unreachable")


def _check_nvm_file(board: Board, path: Path, engine: str) -> None:
    if board.nvm is None:
        raise EmulatorError(f"{board.name} has no non-volatile memory to keep", hint="see [nvm] in its board file")
    if not board.saves_in(engine):
        raise EmulatorError(
            f"{engine} does not emulate the memory in which {board.name} keeps what it has learned",
            cause="it cannot write that flash"
            if board.nvm.mapped
            else "it has no addresses of the processor: an EEPROM, or flash behind a bus",
            hint="run it without a file for that; a host keeps the head (`edgelearn head pull`)",
        )
    try:
        # Made now, and a second one beside it as later: better refused here than when there is something to lose.
        with path.open("ab"):
            size = path.stat().st_size
        _beside(path).touch()
        _beside(path).unlink()
    except OSError as error:
        raise _cannot_keep(path, error) from error
    if size not in (0, board.nvm.size_bytes):
        raise EmulatorError(
            f"{path} does not hold the flash of {board.name}",
            cause=f"it has {size:,} bytes, the board's pages have {board.nvm.size_bytes:,}",
            hint="give the file that an earlier run of this board made, or another name for a new one",
        )


def require_emulator(board: Board, engine: str | None = None) -> None:
    """Find out before anything is built whether the board can be emulated here.

    Args:
        board: the board.
        engine: the emulator; None for the board's first one.

    Raises:
        EmulatorMissingError: the board has no emulator, or not this one, or it is not installed.
    """
    if not board.engines:
        raise EmulatorMissingError(
            f"{board.name} has no emulator", hint="`edgelearn boards` says which boards have one"
        )
    if engine is not None and engine not in board.engines:
        raise EmulatorMissingError(
            f"{engine} does not emulate {board.name}", hint=f"it is emulated by {' and '.join(board.engines)}"
        )
    if (engine or board.engines[0]) == _RENODE:
        if process.find_program(renode.PROGRAM) is None:
            raise _missing(board, renode.PROGRAM, renode.INSTALL_HINTS)
    elif board.emulator and board.emulator.engine == "qemu" and process.find_program(QEMU_PROGRAMS[board.core]) is None:
        raise _missing(board, QEMU_PROGRAMS[board.core], QEMU_INSTALL_HINTS)


def _missing(board: Board, program: str, hints: tuple[str, ...]) -> EmulatorMissingError:
    return EmulatorMissingError(
        f"the emulator of {board.name} is not installed",
        cause=f"{program} was not found",
        hint="\n".join(hints),
    )


class _PortTakenError(EmulatorError):
    """Another program took the port first."""


def emulator_argv(
    board: Board,
    image: Path,
    *,
    port: int,
    trace: bool = False,
    nvm_file: Path | None = None,
    qmp_port: int | None = None,
) -> tuple[str, ...]:
    """The command that boots an image.

    Args:
        board: the board.
        image: the ELF file.
        port: TCP port of the serial line; 0 lets a host process choose.
        trace: log what QEMU runs.
        nvm_file: what the board's non-volatile memory holds at the start; where QEMU is not given `qmp_port` too, it is
            only put back.
        qmp_port: TCP port of QEMU's control connection.
    """
    if board.emulator is None:
        raise ValueError(f"{board.name} has no emulator")
    if board.emulator.engine == "host":
        program = str(image.absolute())
        variables = (f"ELEARN_PORT={port}",) if port else ()
        if nvm_file:
            variables = (*variables, f"ELEARN_NVM_FILE={nvm_file.absolute()}")
        return ("env", *variables, program) if variables else (program,)
    flash: tuple[str, ...] = ()
    if nvm_file and board.nvm and nvm_file.is_file() and nvm_file.stat().st_size:
        # A comma in QEMU's options is written twice.
        path = str(nvm_file.absolute()).replace(",", ",,")
        flash = ("-device", f"loader,file={path},addr=0x{board.nvm.address:x},force-raw=on")
    if qmp_port is not None:
        flash = (*flash, "-qmp", f"tcp:{_LOOPBACK}:{qmp_port},server=on,wait=off")
    return (
        QEMU_PROGRAMS[board.core],
        "-machine",
        board.emulator.machine,
        *_image(board, image),
        "-display",
        "none",
        "-monitor",
        "none",
        "-chardev",
        f"socket,id=uart0,host={_LOOPBACK},port={port},server=on,wait=off,nodelay=on",
        "-serial",
        "chardev:uart0",
        *flash,
        *(("-d", "exec,nochain,in_asm") if trace else ()),
    )


def _check_avr_image(image: Path) -> None:
    flash_bytes = sum(section.size_bytes for section in section_sizes(image) if section.in_flash)
    if flash_bytes > _AVR_READABLE_BYTES:
        raise EmulatorError(
            f"the image has {flash_bytes:,} bytes, and QEMU's AVR reads constants from the first "
            f"{_AVR_READABLE_BYTES:,} of flash only",
            hint="a real board reads all of them; here, try a smaller model",
        )


def _image(board: Board, image: Path) -> tuple[str, ...]:
    """What QEMU boots, and what time an instruction takes. Its AVR has no counter that an Arduino core would use."""
    if board.core is Core.AVR:
        return ("-bios", str(image))
    assert board.emulator is not None  # noqa: S101
    return ("-kernel", str(image), "-icount", f"shift={board.emulator.icount_shift},sleep=on")


def _start_once(
    board: Board, image: Path, port: int, engine: str, trace: Callable[[bytes], None] | None, nvm_file: Path | None
) -> RunningEmulator:
    if not image.is_file():
        raise EmulatorError(f"there is no image {image}", hint="build it first: edgelearn build")
    own_port = port
    paced = board.core is Core.AVR and engine == "qemu"
    if paced:
        _check_avr_image(image)
        own_port = _free_port()
    qmp_port = _free_port() if nvm_file and engine == "qemu" else None
    if engine == _RENODE:
        argv = renode.argv(_write_renode_files(board, image, port), monitor_port=_free_port())
    else:
        argv = emulator_argv(board, image, port=own_port, trace=trace is not None, nvm_file=nvm_file, qmp_port=qmp_port)
    with tempfile.NamedTemporaryFile(prefix="edgelearn-emulator-", suffix=".log", delete=False) as log:
        log_path = Path(log.name)
    try:
        child = process.spawn(argv, log_path=log_path, pipe_errors=trace is not None)
    except ProgramMissingError as error:
        _remove(log_path)
        raise _missing(board, argv[0], renode.INSTALL_HINTS if engine == _RENODE else QEMU_INSTALL_HINTS) from error
    except OSError as error:
        _remove(log_path)
        raise EmulatorError(f"{image} cannot be run", cause=reason(error)) from error
    guard = process.Guard(child)
    reader = None
    if trace is not None:
        reader = _TraceReader(child, trace, log_path)
        reader.start()
    try:
        url = _wait_for_url(child, log_path, reader, port=own_port, engine=engine)
        line = PacedLine(port, own_port, bytes_per_s=_AVR_BYTES_PER_S) if paced else None
    except BaseException:
        guard.release()
        _end(child)
        if reader:
            reader.join()
        _remove(log_path)
        raise
    flash = _FlashFile(nvm_file, board.nvm, qmp_port=qmp_port) if nvm_file and board.nvm else None
    if line:
        url = f"socket://{_LOOPBACK}:{line.port}"
    return RunningEmulator(
        child, url=url, engine=engine, log_path=log_path, guard=guard, reader=reader, flash=flash, line=line
    )


def _write_renode_files(board: Board, image: Path, port: int) -> Path:
    """Beside the image, where a person can run them too; the path of the script."""
    folder = image.parent / _RENODE
    try:
        folder.mkdir(exist_ok=True)
        for name, text in renode.files(board, image, folder, port=port).items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EmulatorError(f"{folder} cannot be written", cause=reason(error)) from error
    return folder / "board.resc"


def _wait_for_url(
    child: subprocess.Popen[bytes], log_path: Path, reader: _TraceReader | None, *, port: int, engine: str
) -> str:
    timeout_s = _RENODE_START_TIMEOUT_S if engine == _RENODE else _START_TIMEOUT_S
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise _ended(child, log_path, reader)
        if engine == "host":
            said = re.search(rf"^port (socket://{_LOOPBACK}:\d+)$", _read(log_path), re.MULTILINE)
            if said:
                return said.group(1)
        elif _accepts(port):
            if child.poll() is None:
                return f"socket://{_LOOPBACK}:{port}"
            raise _ended(child, log_path, reader)
        time.sleep(_POLL_S)
    raise EmulatorError(
        "the emulator did not open its serial line", cause=f"it had {timeout_s:g} s; {_last_lines(log_path)}"
    )


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, port), timeout=1.0):
        return True
    return False


def _require_free(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the emulators do: a port that a program has just left is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError as error:
            raise EmulatorError(
                f"TCP port {port} is taken",
                cause=reason(error),
                hint="name another, or none for a free one",
            ) from error


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _ended(child: subprocess.Popen[bytes], log_path: Path, reader: _TraceReader | None) -> EmulatorError:
    if reader:
        reader.join()
    said = _last_lines(log_path)
    taken = "Address already in use" in said or "find an available port" in said
    kind = _PortTakenError if taken else EmulatorError
    return kind(f"the emulator ended with code {child.returncode}", cause=said or "it said nothing")


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _last_lines(log_path: Path) -> str:
    return "\n".join(_read(log_path).strip().splitlines()[-20:])


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
