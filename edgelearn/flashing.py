"""flash(folder): a project onto a real board, until the program there has said which model it runs.

    image    built where there is none, and checked against the board's memory     edgelearn.firmware.flash.guard
    way      found from what is plugged in and installed                           edgelearn.firmware.flash.choose
    flash    with somebody's flasher, again where the board vanished midway        edgelearn.firmware.flash.run
    port     found again, also under another name                                  edgelearn.firmware.flash.ports
    hello    the device must name the project's model                              edgelearn.host.device

What fails says which of these it was, why, and what to try next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict, replace

from edgelearn import pipeline
from edgelearn.board import Board, Output, UsbMode, load_board
from edgelearn.errors import (
    DeviceTimeoutError,
    EdgelearnError,
    FlashError,
    OptionError,
    PortError,
    ProtocolVersionError,
    WrongModelError,
)
from edgelearn.firmware.flash import choose, ports, run
from edgelearn.firmware.flash.choose import Candidate
from edgelearn.firmware.flash.devices import FoundDevice, find_devices
from edgelearn.firmware.flash.ports import SerialPort
from edgelearn.firmware.flash.tool import Failure, Job
from edgelearn.host.device import open_device
from edgelearn.project import Project, read_project

#: How often a board is flashed where it vanishes while it is written.
ATTEMPTS = 3
#: How long to wait for the program's hello after the board was flashed, and for each single one.
HELLO_S = 30.0
_EACH_HELLO_S = 4.0
_PAUSE_S = 0.2
#: How long a port that only seems to hold a device is asked, for `devices`.
_LOOK_S = 1.5

_Say = Callable[[str], None]


class Flashed(Struct, frozen=True, kw_only=True):
    """What was done.

    Attributes:
        board: its name.
        method: the way it was flashed.
        commands: the exact command lines; a bootloader may have got the port another name meanwhile.
        attempts: how often it was flashed; 0 for a dry run.
        port: where the program said hello; empty where it was not asked.
        model_hash: that it named; empty where it was not asked.
        notes: what a person should know.
    """

    board: str
    method: str
    commands: tuple[tuple[str, ...], ...]
    attempts: int = 0
    port: str = ""
    model_hash: str = ""
    notes: tuple[str, ...] = ()


class SeenDevice(FoundDevice, frozen=True, kw_only=True):
    """What is plugged in, and what the program on it says.

    Attributes:
        program: board and model of the program that answers; empty where none does, or it was not asked.
    """

    program: str = ""


def flash(
    folder: Path,
    *,
    port: str = "",
    method: str = "",
    force: bool = False,
    dry_run: bool = False,
    say: _Say = lambda text: None,
) -> Flashed:
    """Flash a generated project and check that its program runs.

    Args:
        folder: the project; it is built where there is no image yet.
        port: of the board, where several are there; where its serial line is on pins, of the adapter.
        method: the way, by the name that board files use; by default the first that can be used.
        force: flash although the image is unsafe, or another board is at the port.
        dry_run: check everything, prepare the file for the flasher, and flash nothing.
        say: takes what a person should see as it happens.

    Raises:
        ProjectError, BuildError and others: see `edgelearn.pipeline.build`.
        NoFlasherError: no way can be used now.
        UnsafeImageError: the image would write over a bootloader or what was learned, or could not start.
        FlashError: flashing failed; `step` says where.
        WrongModelError, ProtocolVersionError: another program answers.
    """
    project = read_project(folder)
    board = load_board(project.board)
    board = board if project.trains else board.without_nvm()
    output = Output(project.output)
    _check_port(port)
    flash_port, hello_port = _split_port(board, output, port)
    candidate = choose.choose(board, choose.look(), output=output, method=method, port=flash_port, force=force)
    if output is Output.BARE_METAL and not (folder / "build" / "firmware.elf").is_file():
        say(f"building {folder}")
        pipeline.build(folder)
    job = run.prepare(board, folder, candidate, force=force)
    done = Flashed(
        board=board.name,
        method=candidate.method,
        commands=candidate.tool.commands(job),
        notes=run.warnings(job),
    )
    if dry_run:
        return done
    for note in done.notes:
        say(f"note: {note}")
    known = _known_port(board, output, hello_port, candidate)
    done = replace(done, attempts=_flash(board, candidate, job, say))
    why_not = "" if hello_port else _unasked(board, output)
    if why_not:
        return replace(done, notes=(*done.notes, why_not))
    say("waiting for the program's hello")
    at, model_hash = _hello(board, project, output, hello_port, known)
    return replace(done, port=at, model_hash=model_hash)


def flash_firmware(
    firmware: Path,
    board: Board,
    *,
    port: str = "",
    method: str = "",
    force: bool = False,
    dry_run: bool = False,
    say: _Say = lambda text: None,
) -> Flashed:
    """Flash somebody else's firmware, such as MicroPython itself; nobody says hello then.

    Raises:
        NoFlasherError, UnsafeImageError, FlashError: see `flash`.
    """
    _check_port(port)
    if "://" in port:
        raise OptionError(f"{port} is no port of a board that can be flashed", hint="name a serial port")
    here = choose.look()
    candidate = choose.choose(board, here, method=method, port=port, firmware=firmware, force=force)
    job = run.prepare_firmware(board, firmware, candidate, force=force)
    attempts = 0 if dry_run else _flash(board, candidate, job, say)
    return Flashed(board=board.name, method=candidate.method, commands=candidate.tool.commands(job), attempts=attempts)


def _check_port(port: str) -> None:
    if port == pipeline.EMULATE:
        raise OptionError(
            "an emulated board is not flashed",
            hint="`edgelearn emulate DIR` boots the project; `stream --port emulate --project DIR` streams to it",
        )


def _split_port(board: Board, output: Output, port: str) -> tuple[str, str]:
    """The port to flash by and the port to ask, of the one that a person named; empty where it is to be found."""
    if not port or "://" in port:
        return "", port
    named = _usb_port(port)
    usb = ports.usb_of(board, named.vid, named.pid) if named else None
    if usb is not None:  # the board's own: bare-metal firmware is not behind it where that is the processor's USB
        return port, port if usb.mode in _modes(output) else ""
    on_pins = output is Output.BARE_METAL and board.uart is not None and not board.uart.reaches_usb
    return ("", port) if on_pins else (port, port)


def _usb_port(device: str) -> SerialPort | None:
    return next((one for one in ports.serial_ports() if one.device == device and one.vid), None)


def _flash(board: Board, candidate: Candidate, job: Job, say: _Say) -> int:
    """Flash, again where the board vanished meanwhile and came back; how often it was."""
    attempt = 1
    while True:
        say(f"flashing {board.name} with {candidate.tool.title}" + (f", attempt {attempt}" if attempt > 1 else ""))
        known = _usb_port(job.port)
        others = [one for one in ports.serial_ports() if one != known]
        try:
            run.flash(candidate, job)
        except FlashError as error:
            if error.failure != Failure.VANISHED.value or attempt == ATTEMPTS:
                raise
            say(f"{error.message}; waiting for it to come back")
            job = _returned(board, job, known, others, error)
        else:
            return attempt
        attempt += 1


def _returned(board: Board, job: Job, known: SerialPort | None, others: list[SerialPort], error: FlashError) -> Job:
    """The job at the port where the board came back, which is none of those that were there beside it.

    Raises:
        FlashError: the given one, where it does not come back.
    """
    if known is None:
        time.sleep(_PAUSE_S)
        return job
    identifiers = [(usb.vid, usb.pid) for usb in board.usb] or [(known.vid, known.pid)]
    found = ports.wait_for(lambda: ports.find_again(known, ports.serial_ports(), identifiers, others), ports.RETURN_S)
    if not found:
        raise error
    return replace(job, port=found)


def _modes(output: Output) -> tuple[UsbMode, ...]:
    """The modes in which a program's serial line is on USB: bare-metal firmware has no USB of its own."""
    if output is Output.BARE_METAL:
        return (UsbMode.INTERFACE,)
    return (UsbMode.APPLICATION, UsbMode.INTERFACE)


def _unasked(board: Board, output: Output) -> str:
    """Why nobody can ask the program for its hello; empty where its port is on USB."""
    if output is Output.MICROPYTHON:
        return "whether the program runs is seen with `mpremote`"
    if output is Output.BARE_METAL and board.uart is None:
        return "its board file does not say where its serial line is: give its port with --port"
    if output is Output.BARE_METAL and board.uart is not None and not board.uart.reaches_usb:
        return (
            f"its serial line is not on USB: connect a 3.3 V USB serial adapter, RX to {board.uart.tx}, TX to "
            f"{board.uart.rx}, ground to ground, and give the adapter's port with --port"
        )
    return ""


def _known_port(board: Board, output: Output, named: str, candidate: Candidate) -> SerialPort | None:
    """The serial port to ask, as it is before the board is flashed: by this it is known again."""
    if named:
        return _usb_port(named)
    own = ports.ports_of(board, ports.serial_ports(), *_modes(output))
    if candidate.port:
        return next((one for one in own if one.device == candidate.port), None)
    same = [one for one in own if candidate.serial_number and one.serial_number == candidate.serial_number]
    fitting = same or list(own)
    return fitting[0] if len(fitting) == 1 else None


def _find_port(board: Board, output: Output, named: str, known: SerialPort | None) -> str:
    """Where the program is to be asked now; empty where its port is not there (yet)."""
    there = ports.serial_ports()
    if known is not None:
        own = ports.usb_of(board, known.vid, known.pid) is not None
        identifiers = [(usb.vid, usb.pid) for usb in board.usb if usb.mode in _modes(output)]
        return ports.find_again(known, there, identifiers if own else [(known.vid, known.pid)])
    if named:
        return named
    found = ports.ports_of(board, there, *_modes(output))
    return found[0].device if len(found) == 1 else ""


def _hello(board: Board, project: Project, output: Output, named: str, known: SerialPort | None) -> tuple[str, str]:
    """Ask until the right program answers; its port and the model it names.

    Raises:
        FlashError: the port did not come back, or nobody answers there.
        WrongModelError, ProtocolVersionError: another program answers, to the end.
    """
    deadline = time.monotonic() + HELLO_S
    last: EdgelearnError | None = None
    at = ""
    while True:
        found = _find_port(board, output, named, known)
        if found:
            at = found
            try:
                with open_device(
                    found,
                    expected_model_hash=project.model_hash,
                    expected_model_name=project.name,
                    hello_timeout_s=_EACH_HELLO_S,
                ) as device:
                    return found, device.info.model_hash
            except (PortError, DeviceTimeoutError, WrongModelError, ProtocolVersionError) as error:
                last = error
        if time.monotonic() >= deadline:
            break
        time.sleep(_PAUSE_S)
    if isinstance(last, (WrongModelError, ProtocolVersionError)):
        raise type(last)(
            f"{board.name} was flashed, but another program answers at {at}",
            cause=last.cause or last.message,
            hint="is another board at that port? `edgelearn devices --hello` shows what each runs; name it with --port",
        ) from last
    if last is None:
        several = [one.device for one in ports.ports_of(board, ports.serial_ports(), *_modes(output))]
        raise FlashError(
            f"{board.name} was flashed, but its serial port did not come back within {HELLO_S:g} s",
            step="hello",
            failure=(Failure.SEVERAL_DEVICES if len(several) > 1 else Failure.NO_DEVICE).value,
            cause=f"it may be any of {', '.join(several)}" if several else "",
            hint="press its reset button or plug it in anew; `edgelearn devices` lists the ports, --port names one",
        )
    raise FlashError(
        f"{board.name} was flashed, but no program says hello at {at}",
        step="hello",
        failure=Failure.NO_ANSWER.value,
        cause=str(last),
        hint="press its reset button and look with `edgelearn devices --hello`; if it stays silent, check the "
        "board's power and the pins of its serial line, and flash again",
    ) from last


def devices(*, hello: bool = False) -> tuple[SeenDevice, ...]:
    """What is plugged in, and which board each may be.

    Args:
        hello: ask each serial port whether a program of edgelearn answers; opening a port restarts some boards.
    """
    return tuple(
        SeenDevice(**asdict(found), program=_program(found.name) if hello and found.kind == "port" else "")
        for found in find_devices(choose.look())
    )


def _program(port: str) -> str:
    """Board and model of the program at a port; empty where none answers."""
    try:
        with open_device(port, hello_timeout_s=_LOOK_S) as device:
            return f"{device.info.board}, model {device.info.model_hash[:16]}"
    except EdgelearnError:
        return ""
