"""flash(folder): a project onto a real board, until the program there has said which model it runs.

A MicroPython package goes another way in the place of image and flash: it is compiled, and put onto the board through
its raw REPL (`edgelearn.firmware.flash.micropython`).

    image    built where there is none, and checked against the board's memory     edgelearn.firmware.flash.guard
    way      found from what is plugged in and installed                           edgelearn.firmware.flash.choose
    flash    with somebody's flasher, again where the board vanished midway        edgelearn.firmware.flash.run
    port     found again, also under another name, beside others of its kind       edgelearn.firmware.flash.again
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
from edgelearn.board.ways import Drive
from edgelearn.errors import (
    DeviceTimeoutError,
    EdgelearnError,
    FlashError,
    NoFlasherError,
    OptionError,
    PortError,
    ProtocolVersionError,
    UnsafeImageError,
    WrongModelError,
)
from edgelearn.firmware.flash import choose, ports, run
from edgelearn.firmware.flash.again import Before, look_before, possible_ports, serial_modes
from edgelearn.firmware.flash.choose import Candidate, Surroundings
from edgelearn.firmware.flash.devices import FoundDevice, find_devices
from edgelearn.firmware.flash.drives import FoundDrive
from edgelearn.firmware.flash.methods import FIRMWARE_SUFFIXES, firmware_suffixes
from edgelearn.firmware.flash.micropython import deploy as micropython
from edgelearn.firmware.flash.micropython.plan import Deployment, head_file_bytes
from edgelearn.firmware.flash.ports import SerialPort, listed_port
from edgelearn.firmware.flash.tool import Failure, Job, Reach, which_of_several
from edgelearn.firmware.package import Package
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
        steps: what was done, or would be, where no program is started.
        attempts: how often it was flashed; 0 for a dry run.
        port: where the program said hello; empty where it was not asked.
        model_hash: that it named; empty where it was not asked.
        notes: what a person should know.
    """

    board: str
    method: str
    commands: tuple[tuple[str, ...], ...]
    steps: tuple[str, ...] = ()
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
    firmware: Path | None = None,
    romfs: bool | None = None,
    say: _Say = lambda text: None,
) -> Flashed:
    """Flash a generated project and check that its program runs.

    Args:
        folder: the project; it is built where there is no image yet.
        port: of the board, where several are there or it is not known by its USB identifier. Where its serial line
            is on pins, of the adapter; or of the board, where `method` is given and no port is known as its.
        method: the way, by the name that board files use; by default the first that can be used.
        force: flash although the image is unsafe, or another board is at the port.
        dry_run: check everything, prepare the file for the flasher, and flash nothing; a program or a board that is
            missing is a note. A MicroPython board is connected to and looked at: its program starts anew.
        firmware: MicroPython itself, which is flashed first where it does not answer, or is too old.
        romfs: whether a MicroPython package goes into the board's ROM partition; see
            `edgelearn.firmware.flash.micropython.plan`.
        say: takes what a person should see as it happens.

    Raises:
        ProjectError, BuildError and others: see `edgelearn.pipeline.build`.
        PortError: there is no such port.
        NoFlasherError: no way can be used now.
        UnsafeImageError: the image would write over a bootloader or what was learned, or could not start.
        FlashError: flashing failed; `step` says where.
        WrongModelError, ProtocolVersionError: another program answers.
    """
    project = read_project(folder)
    board = load_board(project.board)
    board = board if project.trains else board.without_nvm()
    output = Output(project.output)
    if output is Output.LIBRARY:
        raise pipeline.library_refusal(folder)
    if output is Output.MICROPYTHON:
        wish = _Wish(port=port, method=method, force=force, dry_run=dry_run, firmware=firmware, romfs=romfs)
        return _flash_package(folder, project, board, wish, say)
    if firmware is not None or romfs is not None:
        raise OptionError(
            f"{folder} is a project for {output.value}, not for MicroPython",
            hint="leave --firmware and --romfs out, or `edgelearn generate --target micropython`",
        )
    asked, candidate, notes = _find_way(board, output, port=port, method=method, force=force, dry_run=dry_run)
    if output is Output.BARE_METAL and not (folder / "build" / "firmware.elf").is_file():
        say(f"building {folder}")
        pipeline.build(folder)
    job = run.prepare(board, folder, _imagined(candidate) if dry_run else candidate, force=force)
    done = Flashed(
        board=board.name,
        method=candidate.method,
        commands=candidate.tool.commands(job),
        notes=(*(notes or _unknown(board, candidate)), *_lacking(candidate), *run.warnings(job)),
    )
    if dry_run:
        return done
    for note in done.notes:
        say(f"note: {note}")
    # A port that the board is flashed by is no adapter's at its pins.
    hello_port = "" if asked.spare_port and candidate.port == asked.spare_port else asked.hello_port
    before = look_before(board, output, hello_port, candidate)
    attempts, _ = _flash(board, candidate, job, say, lambda at: run.flash(candidate, at))
    done = replace(done, attempts=attempts)
    why_not = "" if hello_port else _unasked(board, output)
    if why_not:
        return replace(done, notes=(*done.notes, why_not))
    say("waiting for the program's hello")
    at, model_hash = _hello(board, project, output, hello_port, before)
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
        OptionError: it is another kind of file.
        PortError, NoFlasherError, UnsafeImageError, FlashError: see `flash`.
    """
    _check_firmware(firmware, board, method, force=force)
    _check_emulated(port)
    if "://" in port:
        raise OptionError(f"{port} is no port of a board that can be flashed", hint="name a serial port")
    here = choose.look()
    notes = []
    try:
        port = port and choose.find_port(here, port)
    except PortError as error:
        if not dry_run:
            raise
        notes.append(f"missing: {error.message}; {error.cause}")
    candidate = choose.choose(board, here, method=method, port=port, firmware=firmware, force=force, anyway=dry_run)
    job = run.prepare_firmware(board, firmware, _imagined(candidate) if dry_run else candidate, force=force)
    notes = [*(notes or _unknown(board, candidate)), *_lacking(candidate)]
    if not dry_run:
        for note in notes:
            say(f"note: {note}")
    return Flashed(
        board=board.name,
        method=candidate.method,
        commands=candidate.tool.commands(job),
        attempts=0 if dry_run else _flash(board, candidate, job, say, lambda at: run.flash(candidate, at))[0],
        notes=tuple(notes),
    )


class _Wish(Struct, frozen=True, kw_only=True):
    """What a person asks of a MicroPython deployment; see `flash`."""

    port: str
    method: str
    force: bool
    dry_run: bool
    firmware: Path | None
    romfs: bool | None


def _flash_package(folder: Path, project: Project, board: Board, wish: _Wish, say: _Say) -> Flashed:
    """Compile a MicroPython package and put it onto a board, MicroPython itself first where that is needed."""
    if wish.port == pipeline.EMULATE:
        raise pipeline.no_emulated_micropython()
    choose.ways_for(board, output=Output.MICROPYTHON, method=wish.method)
    if wish.firmware is not None:
        _check_firmware(wish.firmware, board, "", force=wish.force)
    say(f"compiling {folder}")
    package = pipeline.build_package(folder)
    if wish.dry_run and wish.firmware is not None:
        first = flash_firmware(wish.firmware, board, port=wish.port, force=wish.force, dry_run=True)
        done = _deploy(folder, project, board, package, wish, say)
        note = f"where MicroPython does not answer, {wish.firmware.name} is flashed first"
        return replace(done, commands=first.commands, notes=(note, *done.notes))
    try:
        return _deploy(folder, project, board, package, wish, say)
    except (FlashError, NoFlasherError) as error:
        if wish.firmware is None or not _wants_firmware(error):
            raise
        say(f"{error.message}: {wish.firmware.name} goes there first")
    first = flash_firmware(wish.firmware, board, port=wish.port, force=wish.force, say=say)
    ports.wait_for(lambda: _is_back(board, wish.port), ports.RETURN_S)
    done = _deploy(folder, project, board, package, wish, say)
    return replace(done, commands=first.commands, notes=(*first.notes, *done.notes))


def _wants_firmware(error: FlashError | NoFlasherError) -> bool:
    """Whether MicroPython itself may be what is missing, or too old; what `plan` refuses runs on one that works."""
    if isinstance(error, NoFlasherError):
        return True
    return (error.step, error.failure) in (
        ("connect", Failure.NO_ANSWER.value),
        ("look", Failure.NOT_SUPPORTED.value),
    )


def _is_back(board: Board, port: str) -> bool:
    there = ports.serial_ports()
    return any(one.device == port for one in there) if port else bool(ports.ports_of(board, there))


def _deploy(folder: Path, project: Project, board: Board, package: Package, wish: _Wish, say: _Say) -> Flashed:
    """Put a compiled package onto a board where MicroPython runs, and wait for its hello."""
    output = Output.MICROPYTHON
    asked, candidate, notes = _find_way(
        board, output, port=wish.port, method=wish.method, force=wish.force, dry_run=wish.dry_run
    )
    job = run.prepare(board, folder, candidate)
    done = Flashed(
        board=board.name,
        method=candidate.method,
        commands=(),
        notes=(*(notes or _unknown(board, candidate)), *_lacking(candidate)),
    )
    if not job.port:  # a dry run, and no board is there
        return replace(
            done, steps=tuple(f"write {path} ({size:,} bytes)" for path, size in package.sizes_bytes.items())
        )
    if not wish.dry_run:
        for note in done.notes:
            say(f"note: {note}")
    before = look_before(board, output, asked.hello_port, candidate)
    made: list[Deployment] = []

    def write(at: Job) -> None:
        made.append(
            micropython.deploy(
                at,
                package,
                heap_bytes=project.heap_bytes,
                head_bytes=head_file_bytes(project),
                romfs=wish.romfs,
                force=wish.force,
                dry_run=wish.dry_run,
                say=say,
            )
        )

    try:
        if wish.dry_run:
            attempts = 0
            write(job)
        else:
            attempts, job = _flash(board, candidate, job, say, write)
    except FlashError as error:
        raise _answering(error, job.port) from error
    done = replace(done, steps=made[-1].steps, notes=(*done.notes, *made[-1].notes))
    if wish.dry_run:
        return done
    say("waiting for the program's hello")
    at, model_hash = _hello(board, project, output, asked.hello_port or job.port, before)
    return replace(done, attempts=attempts, port=at, model_hash=model_hash)


def _answering(error: FlashError, port: str) -> FlashError:
    """The same error, with the program of ours that answers in place of MicroPython."""
    if (error.step, error.failure) != ("connect", Failure.NO_ANSWER.value):
        return error
    program = _program(port)
    if not program:
        return error
    return FlashError(
        error.message,
        step=error.step,
        failure=error.failure,
        cause=f"firmware of edgelearn that is no MicroPython runs there: {program}",
        hint=error.hint,
    )


def _check_firmware(firmware: Path, board: Board, method: str, *, force: bool) -> None:
    """Refuse a file that is no firmware for a board, whatever is plugged in.

    Raises:
        NoFlasherError: the board takes none by that method, or at all.
        OptionError: it is another kind of file.
        UnsafeImageError: it cannot be read, is damaged, or for another chip.
    """
    if firmware.is_dir():
        raise OptionError(
            f"{firmware} is a folder, not a firmware's file",
            hint=f"a project is flashed with `edgelearn flash {firmware}`",
        )
    if not firmware.is_file():
        raise UnsafeImageError(f"{firmware} cannot be read", cause="there is no such file", hint="is its name right?")
    taken = dict.fromkeys(suffix for way in board.flash for suffix in firmware_suffixes(way))
    if firmware.suffix.lower() not in FIRMWARE_SUFFIXES or (taken and firmware.suffix.lower() not in taken):
        wrong = f"neither {' nor '.join(FIRMWARE_SUFFIXES)}" if firmware.suffix.lower() not in FIRMWARE_SUFFIXES else ""
        raise OptionError(
            f"{firmware.name} is {wrong or f'no {next(iter(taken))} file'}",
            cause=f"{board.name} wants {' or '.join(taken)}" if taken else f"{board.name} takes no firmware of others",
            hint=f"download the file for {board.name} from https://micropython.org/download"
            if taken
            else "generate a project for it, and flash that: `edgelearn flash DIR`",
        )
    (way, *_) = choose.ways_for(board, method=method, firmware=firmware)
    if not force:
        run.firmware_ranges(board, firmware, way)


def check_way(board: Board, output: Output, *, port: str = "", method: str = "", force: bool = False) -> None:
    """Refuse a port or a method that a board cannot be flashed by, before anything is made for it.

    Args:
        board: what is to be flashed.
        output: what is to be generated for it.
        port: that a person names; empty: to be found.
        method: that a person asks for; empty: the first that can be used.
        force: go on although another board is at that port.

    Raises:
        OptionError: the port is an emulated board's.
        NoFlasherError: it is not a method of the board, or not for that output.
        PortError: there is no such port.
        FlashError: at the port is another board.
    """
    _check_asked(board, output, choose.look(), port=port, method=method, force=force)


class _Asked(Struct, frozen=True, kw_only=True):
    """What a port that a person named is for.

    Attributes:
        flash_port: to flash by; empty where it is to be found.
        hello_port: to ask; empty where it is to be found.
        spare_port: an adapter's, as it seems: to flash by only where that is asked for, see `choose.candidates`.
    """

    flash_port: str = ""
    hello_port: str = ""
    spare_port: str = ""


def _check_asked(board: Board, output: Output, here: Surroundings, *, port: str, method: str, force: bool) -> _Asked:
    """What a person asks for, where it can be done; see `check_way`."""
    _check_emulated(port)
    choose.ways_for(board, output=output, method=method)
    if not port or "://" in port:
        return _Asked(flash_port=port if output is Output.MICROPYTHON else "", hello_port=port)
    port = choose.find_port(here, port)
    return _asked(board, output, here, port, force=force)


def _find_way(
    board: Board, output: Output, *, port: str, method: str, force: bool, dry_run: bool
) -> tuple[_Asked, Candidate, list[str]]:
    """What the named port is for, the way to flash, and what a dry run finds missing; see `flash`."""
    here = choose.look()
    notes = []
    try:
        asked = _check_asked(board, output, here, port=port, method=method, force=force)
    except PortError as error:
        if not dry_run:
            raise
        notes.append(f"missing: {error.message}; {error.cause}")
        # A package is compared with what is on the board, a command only shown.
        asked = _Asked() if output is Output.MICROPYTHON else _Asked(flash_port=port, hello_port=port)
    candidate = choose.choose(
        board,
        here,
        output=output,
        method=method,
        port=asked.flash_port,
        spare_port=asked.spare_port,
        force=force,
        anyway=dry_run,
    )
    return asked, candidate, notes


def _check_emulated(port: str) -> None:
    if port == pipeline.EMULATE:
        raise OptionError(
            "an emulated board is not flashed",
            hint="`edgelearn emulate DIR` boots the project; `stream --port emulate --project DIR` streams to it",
        )


def _asked(board: Board, output: Output, here: Surroundings, port: str, *, force: bool) -> _Asked:
    """What a serial port is for.

    Raises:
        FlashError: it is another board's. That of an interface chip may be an adapter, as many chips are both.
    """
    named = listed_port(here.ports, port)
    usb = ports.usb_of(board, named) if named else None
    if usb is not None:  # the board's own: bare-metal firmware is not behind it where that is the processor's USB
        return _Asked(flash_port=port, hello_port=port if usb.mode in serial_modes(output) else "")
    others = choose.boards_of(named) if named and not force else ()
    on_pins = output is Output.BARE_METAL and board.uart is not None and not board.uart.reaches_usb
    if not (on_pins and all(mode is UsbMode.INTERFACE for _, mode in others)) and not force:
        choose.check_board_at(board, here, port)
    if on_pins:
        return _Asked(hello_port=port, spare_port="" if others else port)
    return _Asked(flash_port=port, hello_port=port)


def _imagined(candidate: Candidate) -> Candidate:
    """A way with a word where it lacks a port or a drive, for the command that a dry run shows."""
    if isinstance(candidate.way, Drive) and candidate.drive is None:
        return replace(candidate, drive=FoundDrive(path=Path(candidate.way.volume), label=candidate.way.volume))
    if candidate.tool.reach is Reach.PORT and not candidate.port:
        return replace(candidate, port="PORT")
    return candidate


def _lacking(candidate: Candidate) -> list[str]:
    """What keeps a way from being used now."""
    notes = [f"missing: {lack}" for lack in candidate.lacks]
    if candidate.several:
        which = which_of_several(candidate.tool.reach)
        notes.append(f"several boards fit: {', '.join(candidate.several)}; {which}")
    return notes


def _unknown(board: Board, candidate: Candidate) -> list[str]:
    """That a board is flashed by a port which only a person knows as its."""
    if not candidate.named or "://" in candidate.port:
        return []
    return [f"{candidate.port} is not known as a {board.name} by its USB identifier; it is taken because you name it"]


def _flash(board: Board, candidate: Candidate, job: Job, say: _Say, write: Callable[[Job], None]) -> tuple[int, Job]:
    """Flash, again where the board vanished meanwhile and came back; how often it was, and where at last."""
    attempt = 1
    while True:
        say(f"flashing {board.name} with {candidate.tool.title}" + (f", attempt {attempt}" if attempt > 1 else ""))
        known = listed_port(ports.serial_ports(), job.port)
        others = [one for one in ports.serial_ports() if one != known]
        try:
            write(job)
        except FlashError as error:
            if error.failure != Failure.VANISHED.value or attempt == ATTEMPTS:
                raise
            say(f"{error.message}; waiting for it to come back")
            job = _returned(board, job, known, others, error)
        else:
            return attempt, job
        attempt += 1


def _returned(board: Board, job: Job, known: SerialPort | None, others: list[SerialPort], error: FlashError) -> Job:
    """The job at the port where the board came back, which is none of those that were there beside it.

    Raises:
        FlashError: the given one, where it does not come back.
    """
    if known is None:
        time.sleep(_PAUSE_S)
        return job
    kinds = board.usb if ports.usb_of(board, known) else None
    found = ports.wait_for(lambda: ports.find_again(known, ports.serial_ports(), kinds, others), ports.RETURN_S)
    if not found:
        raise error
    return replace(job, port=found)


def _unasked(board: Board, output: Output) -> str:
    """Why nobody can ask the program for its hello; empty where its port is on USB."""
    if output is Output.BARE_METAL and board.uart is None:
        return "its board file does not say where its serial line is: give its port with --port"
    if output is Output.BARE_METAL and board.uart is not None and not board.uart.reaches_usb:
        return (
            f"its serial line is not on USB: connect a 3.3 V USB serial adapter, RX to {board.uart.tx}, TX to "
            f"{board.uart.rx}, ground to ground, and give the adapter's port with --port"
        )
    return ""


def _hello(board: Board, project: Project, output: Output, named: str, before: Before) -> tuple[str, str]:
    """Ask until the right program answers; its port and the model it names.

    Raises:
        FlashError: the port did not come back, or nobody answers there.
        WrongModelError, ProtocolVersionError: another program answers, to the end.
    """
    deadline = time.monotonic() + HELLO_S
    last: EdgelearnError | None = None
    at = ""
    while True:
        possible = possible_ports(board, output, named, before)
        if len(possible) == 1:
            at = possible[0]
            try:
                with open_device(
                    at,
                    expected_model_hash=project.model_hash,
                    expected_model_name=project.name,
                    hello_timeout_s=_EACH_HELLO_S,
                ) as device:
                    return at, device.info.model_hash
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
    if last is None and len(possible) > 1:
        raise FlashError(
            f"{board.name} was flashed, but which port is its cannot be told",
            step="hello",
            failure=Failure.SEVERAL_DEVICES.value,
            cause=f"it may be any of {', '.join(possible)}",
            hint="name it with --port, or unplug the other boards, and flash again",
        )
    if last is None:
        raise FlashError(
            f"{board.name} was flashed, but its serial port did not come back within {HELLO_S:g} s",
            step="hello",
            failure=Failure.NO_DEVICE.value,
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
