"""choose(board): the way to flash that can be used now, from what is plugged in and installed.

The order is the board file's. A way counts as usable where its program is installed and the board is seen in the mode
that it needs; where this system does not list USB devices without a serial port, a bootloader or a probe may be there
unseen, and is tried only where nothing is known to be usable. Two boards that fit are never guessed between.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from edgelearn import process
from edgelearn.board import Board, Output, Usb, UsbMode, board_names, load_board
from edgelearn.board.ways import DfuUtil, Drive, EspTool, StFlash, Way, method_of
from edgelearn.errors import FlashError, NoFlasherError, PortError
from edgelearn.firmware.flash import drives as drive_list
from edgelearn.firmware.flash.drives import FoundDrive
from edgelearn.firmware.flash.methods import METHODS, firmware_suffixes, tool_of
from edgelearn.firmware.flash.ports import (
    SerialPort,
    UsbDevice,
    identifier,
    listed_port,
    ports_of,
    serial_ports,
    usb_devices,
    usb_of,
)
from edgelearn.firmware.flash.tool import DOUBLE_RESET, Failure, Reach, Tool, flash_error, way_as, which_of_several

#: What debug probes call themselves on USB.
_PROBES = re.compile(r"CMSIS-DAP|DAPLink|J-Link|ST-?LINK|Debug Probe|Black Magic", re.IGNORECASE)
_ST_LINK = re.compile(r"ST-?LINK", re.IGNORECASE)

_Reached = TypeVar("_Reached", UsbDevice, FoundDrive)


class Surroundings(Struct, frozen=True, kw_only=True):
    """What this machine has now.

    Attributes:
        ports: serial ports.
        usb: USB devices; None where the system does not list them.
        drives: that may be a board's.
        programs: names of the flashers that are installed.
    """

    ports: tuple[SerialPort, ...]
    usb: tuple[UsbDevice, ...] | None
    drives: tuple[FoundDrive, ...]
    programs: frozenset[str]


class Candidate(Struct, frozen=True, kw_only=True):
    """One way to flash a board, and what keeps it from being used.

    Attributes:
        way: of the board's file.
        lacks: what is missing; empty where it can be used.
        maybe: whether the board may be there although it is not seen.
        several: the boards among which a person must choose.
        program: the flasher's name on PATH.
        port: the board's serial port, where the way needs one.
        serial_number: of the probe or the board, where the flasher takes one.
        drive: the board's drive.
        named: whether its port is taken only because a person names it: it is not known as the board's.
    """

    way: Way
    lacks: tuple[str, ...] = ()
    maybe: bool = False
    several: tuple[str, ...] = ()
    program: str = ""
    port: str = ""
    serial_number: str = ""
    drive: FoundDrive | None = None
    named: bool = False

    @property
    def method(self) -> str:
        """The name that `--method` takes."""
        return method_of(self.way)

    @property
    def tool(self) -> Tool:
        """Its flasher."""
        return tool_of(self.way)


def look() -> Surroundings:
    """What is plugged in and installed now."""
    programs = {name for tool in METHODS.values() for name in (tool.program, tool.other_program) if name}
    return Surroundings(
        ports=serial_ports(),
        usb=usb_devices(),
        drives=drive_list.drives(),
        programs=frozenset(name for name in programs if process.find_program(name)),
    )


def candidates(
    board: Board, ways: Iterable[Way], here: Surroundings, *, port: str = "", spare_port: str = "", asked: bool = False
) -> tuple[Candidate, ...]:
    """Each of these ways with what it lacks, in their order.

    Args:
        board: what is to be flashed.
        ways: of its file.
        here: what is plugged in and installed.
        port: serial port that a person names.
        spare_port: one that a person names for a board whose serial line is on pins: an adapter's, unless the way was
            asked for and no port is known as the board's.
        asked: whether a person asked for the way: then the interface chip of another board may be the probe.
    """
    return tuple(_candidate(board, way, here, port, spare_port, asked) for way in ways)


def _candidate(board: Board, way: Way, here: Surroundings, port: str, spare_port: str, asked: bool) -> Candidate:
    tool = tool_of(way)
    names = [name for name in (tool.program, tool.other_program) if name]
    installed = [name for name in names if name in here.programs]
    missing = (f"{tool.program} is not installed ({'; '.join(tool.install)})",) if names and not installed else ()
    reached = (
        _by_probe(board, way, here, port, asked)
        if tool.reach is Reach.PROBE
        else _by_dfu(board, way, here, port)
        if tool.reach is Reach.DFU
        else _by_drive(board, way, here, port)
        if tool.reach is Reach.DRIVE
        else _by_port(board, way, here, port, spare_port, asked)
    )
    return Candidate(
        way=way,
        lacks=(*missing, *reached.lacks),
        maybe=reached.maybe and not missing,
        several=reached.several,
        program=installed[0] if installed else tool.program,
        port=reached.port,
        serial_number=reached.serial_number if re.fullmatch(r"[0-9A-Za-z_:.-]*", reached.serial_number) else "",
        drive=reached.drive,
        named=reached.named,
    )


def _device_text(device: UsbDevice) -> str:
    return f"{device.product or identifier(device.vid, device.pid)} {device.serial_number}".strip()


def _is_at(device: UsbDevice | FoundDrive, port: SerialPort) -> bool:
    """Whether both are of one thing that is plugged in, as far as they say it."""
    return (device.serial_number != "" and device.serial_number == port.serial_number) or (
        device.location != "" and device.location == port.location
    )


def _of_port(board: Board, here: Surroundings, port: str, found: Sequence[_Reached]) -> list[_Reached]:
    """Those of the board whose serial port a person named; all where that is none of the board's.

    What does not say its serial number is taken for the board's where no other board of the kind is there; the
    bootloader of one that runs its program never is.
    """
    named = listed_port(here.ports, port)
    usb = usb_of(board, named) if named else None
    if named is None or usb is None:
        return list(found)
    same = [one for one in found if _is_at(one, named)]
    if same or usb.mode is UsbMode.APPLICATION or ports_of(board, here.ports) != (named,):
        return same
    return [one for one in found if not (one.serial_number and named.serial_number)]


def _not_at(port: str, here: Surroundings, what: str) -> str:
    """That something is not known to be of the board at a port."""
    named = listed_port(here.ports, port)
    serial = f" (serial number {named.serial_number})" if named and named.serial_number else ""
    return f"{what} is not known as that of the board at {port}{serial}; leave --port out to take it all the same"


def is_probe(device: UsbDevice) -> bool:
    """Whether a USB device calls itself a debug probe."""
    return bool(_PROBES.search(device.product))


def _by_probe(board: Board, way: Way, here: Surroundings, port: str, asked: bool) -> Candidate:
    own = [usb for usb in board.usb if usb.mode is UsbMode.INTERFACE]
    seen = here.usb
    if seen is None:  # only what has a serial port is seen
        seen = tuple(
            UsbDevice(vid=p.vid, pid=p.pid, serial_number=p.serial_number, location=p.location, product=p.description)
            for p in here.ports
            if p.vid
        )
    probes = [one for one in seen if any(usb.fits(one.vid, one.pid, one.serial_number) for usb in own)]
    if not own:
        kind = _ST_LINK if isinstance(way, StFlash) else _PROBES
        probes = [one for one in seen if kind.search(one.product)]
        # That on another board programs that board.
        probes = [one for one in probes if asked or not boards_of(one)]
    named = listed_port(here.ports, port)
    usb = usb_of(board, named) if named else None
    if named and usb and usb.mode is UsbMode.INTERFACE:
        there, probes = probes, _of_port(board, here, port, probes)
        if there and not probes:
            return Candidate(way=way, lacks=(_not_at(port, here, ", ".join(map(_device_text, there))),))
    elif named:  # a probe of one's own may have a serial port, that of the board does not tell which it is
        probes = [one for one in probes if _is_at(one, named)] or probes
    if len(probes) == 1:
        return Candidate(way=way, serial_number=probes[0].serial_number)
    if probes:
        return Candidate(way=way, several=tuple(_device_text(probe) for probe in probes))
    what = (
        f"its interface chip ({_usb_text(own)}) is not plugged in"
        if own
        else "no debug probe is plugged in, and the board has none of its own"
    )
    return Candidate(way=way, lacks=(what,), maybe=here.usb is None)


def _by_dfu(board: Board, way: Way, here: Surroundings, port: str) -> Candidate:
    dfu = way_as(way, DfuUtil)
    there = [one for one in here.usb or () if (one.vid, one.pid) == (dfu.vid, dfu.pid)]
    found = _of_port(board, here, port, there)
    if there and not found:
        what = f"the bootloader {', '.join(map(_device_text, there))}"
        return Candidate(way=way, lacks=(_not_at(port, here, what),))
    if len(found) == 1:
        return Candidate(way=way, serial_number=found[0].serial_number)
    if found:
        return Candidate(way=way, several=tuple(_device_text(one) for one in found))
    lacks = f"its bootloader ({identifier(dfu.vid, dfu.pid)}) is not there: {dfu.enter}"
    return Candidate(way=way, lacks=(lacks,), maybe=here.usb is None)


def _usb_text(kinds: Iterable[Usb]) -> str:
    """The USB identifiers of a board, with how serial numbers begin where that tells it from others."""
    return ", ".join(
        identifier(usb.vid, usb.pid)
        + (f" with a serial number {'... or '.join(usb.serial_prefixes)}..." if usb.serial_prefixes else "")
        for usb in kinds
    )


def _by_port(board: Board, way: Way, here: Surroundings, port: str, spare_port: str, asked: bool) -> Candidate:
    if port:
        at = listed_port(here.ports, port)
        return Candidate(way=way, port=port, named=at is None or usb_of(board, at) is None)
    found = ports_of(board, here.ports)
    if len(found) == 1:
        return Candidate(way=way, port=found[0].device)
    if found:
        return Candidate(way=way, several=tuple(f"{one.device} {one.serial_number}".strip() for one in found))
    if spare_port and asked:
        return Candidate(way=way, port=spare_port, named=True)
    known = _usb_text(board.usb)
    lacks = f"no serial port of it is there{f' ({known})' if known else ''}"
    if spare_port:
        lacks += f"; {spare_port} is taken for the adapter at its pins, unless you add `--method {method_of(way)}`"
    if tool_of(way).touches:
        lacks += f"; {DOUBLE_RESET}"
    return Candidate(way=way, lacks=(lacks,))


def offers_drive(board: Board, drive: FoundDrive) -> bool:
    """Whether a drive may be a board's: by its label, and by the interface chip's serial number where it says that."""
    chips = [usb for usb in board.usb if usb.mode is UsbMode.INTERFACE]
    return any(isinstance(way, Drive) and drive.is_called(way.volume) for way in board.flash) and (
        not chips or any(usb.fits(usb.vid, usb.pid, drive.serial_number) for usb in chips)
    )


def _by_drive(board: Board, way: Way, here: Surroundings, port: str) -> Candidate:
    wanted = way_as(way, Drive)
    labelled = [drive for drive in here.drives if drive.is_called(wanted.volume)]
    offered = [drive for drive in labelled if offers_drive(board, drive)]
    found = _of_port(board, here, port, offered)
    if offered and not found:
        return Candidate(way=way, lacks=(_not_at(port, here, f"the drive {', '.join(map(_drive_text, offered))}"),))
    if len(found) == 1:
        return Candidate(way=way, drive=found[0], serial_number=found[0].serial_number)
    if found:
        return Candidate(way=way, several=tuple(map(_drive_text, found)))
    if labelled:
        other = ", ".join(f"{drive.path} (serial number {drive.serial_number})" for drive in labelled)
        return Candidate(
            way=way, lacks=(f"the drive {other} is another board's: that of {board.name} is {_usb_text(board.usb)}",)
        )
    lacks = f"its drive {wanted.volume} is not there, or not mounted{f': {wanted.enter}' if wanted.enter else ''}"
    return Candidate(way=way, lacks=(lacks,))


def _drive_text(drive: FoundDrive) -> str:
    return f"{drive.path} {drive.serial_number}".strip()


def ports_text(here: Surroundings) -> str:
    """The serial ports that are there, with the boards that they may be."""
    texts = []
    for port in here.ports:
        names = [name for name, _ in boards_of(port)] if port.vid else []
        texts.append(port.device + (f" ({' or '.join(names)})" if names else ""))
    return ", ".join(texts)


def find_port(here: Surroundings, port: str) -> str:
    """A serial port that a person names, by the name under which it is listed: also behind a link to it.

    Raises:
        PortError: there is no such port.
    """
    # Windows has COM3 and com3 for the same port.
    listed = {os.path.normcase(one.device): one.device for one in here.ports}
    for name in (port, os.path.realpath(port)):
        if os.path.normcase(name) in listed:
            return listed[os.path.normcase(name)]
    if _is_terminal(port):
        return port
    there = ports_text(here)
    raise PortError(
        f"there is no port {port}",
        cause=f"there are: {there}" if there else "no serial port is there",
        hint="plug the board in with a cable that carries data; `edgelearn devices` shows what is there",
    )


def _is_terminal(port: str) -> bool:
    """Whether it is a device that pyserial does not list, such as a pseudo terminal."""
    try:
        return Path(port).is_char_device()
    except (OSError, ValueError):
        return False


def ways_for(
    board: Board, *, output: Output | None = None, method: str = "", firmware: Path | None = None
) -> tuple[Way, ...]:
    """The ways to flash a board with a project of that output or with somebody else's firmware, in their order.

    Args:
        board: what is to be flashed.
        output: what the project is; None where it is somebody else's firmware.
        method: the one way that a person asks for; empty: all.
        firmware: the file of that.

    Raises:
        NoFlasherError: there is none, or not that one.
    """
    ways = [way for way in board.flash if _is_for(way, output, firmware)]
    offered = list(dict.fromkeys(method_of(way) for way in ways))
    what = firmware.name if firmware else f"a project for {output.value}" if output else "it"
    if method and method not in offered:
        other = next((way for way in board.flash if method_of(way) == method), None)
        if method not in METHODS:
            why = f"there is no method {method}"
        elif other is None:
            why = "its board file does not list it"
        elif isinstance(other, EspTool):
            why = "it puts MicroPython itself on the board: `--board BOARD --firmware FILE`"
        else:
            why = f"it is not for {what}"
        raise NoFlasherError(
            f"{board.name} cannot be flashed with {method}",
            cause=f"{why}; for {what} its ways are: {', '.join(offered) or 'none'}",
            hint="leave --method out to take the first that can be used",
        )
    if not ways:
        raise NoFlasherError(
            f"{board.name} cannot be flashed",
            cause=f"its board file lists no way for {what}",
            hint="`edgelearn emulate DIR` boots the project" if board.emulator else "flash it with the maker's program",
        )
    return tuple(way for way in ways if not method or method_of(way) == method)


def choose(
    board: Board,
    here: Surroundings,
    *,
    output: Output | None = None,
    method: str = "",
    port: str = "",
    spare_port: str = "",
    firmware: Path | None = None,
    force: bool = False,
    anyway: bool = False,
) -> Candidate:
    """The way to flash a board now.

    Args:
        board: what is to be flashed.
        here: what is plugged in and installed.
        output: what the project is; None where it is somebody else's firmware.
        method: the way that a person asks for; empty: the first that can be used.
        port: serial port that a person names.
        spare_port: see `candidates`.
        firmware: the file of that.
        force: go on although another board is plugged in at that port.
        anyway: where no way can be used now, give the first with what it lacks.

    Raises:
        NoFlasherError: no way can be used; says what each lacks.
        FlashError: several boards fit, or the port is of another board.
    """
    if port and not force:
        check_board_at(board, here, port)
    ways = ways_for(board, output=output, method=method, firmware=firmware)
    wanted = candidates(board, ways, here, port=port, spare_port=spare_port, asked=bool(method))
    usable = [one for one in wanted if not one.lacks and not one.several]
    # A port that is known as the board's goes before one that is only named, and that before what nobody has seen.
    in_order = (*sorted(usable, key=lambda one: one.named), *(one for one in wanted if one.maybe))
    best = next(iter(in_order), None)
    if best is not None:
        if port and not force and best.tool.reach is not Reach.PORT:
            _check_own_port(board, here, port, best)
        return best
    undecided = next((one for one in wanted if one.several and not one.lacks), None)
    if anyway:
        return undecided or wanted[0]
    if undecided is not None:
        raise flash_error(
            Failure.SEVERAL_DEVICES,
            title="edgelearn",
            board=board,
            step="choose",
            cause=f"for {undecided.method} there are: {', '.join(undecided.several)}",
            hint=which_of_several(undecided.tool.reach),
        )
    others = _others(board, here)
    raise NoFlasherError(
        f"{board.name} cannot be flashed now" if not method else f"{board.name} cannot be flashed with {method} now",
        cause="\n".join(f"{one.method}: {'; '.join(one.lacks)}" for one in wanted)
        + (f"\nplugged in: {', '.join(others)}" if others else ""),
        hint="plug the board in, or install what one of these ways lacks; `edgelearn devices` shows what is there",
    )


def _is_for(way: Way, output: Output | None, firmware: Path | None) -> bool:
    """Whether a way is for that kind of project, or for that file."""
    if firmware is not None:
        return firmware.suffix.lower() in firmware_suffixes(way)
    return tool_of(way).output is output and not isinstance(way, EspTool)


def boards_of(device: SerialPort | UsbDevice) -> tuple[tuple[str, UsbMode], ...]:
    """The boards that something on USB may be, with what then runs behind it."""
    found = ((name, usb_of(load_board(name), device)) for name in board_names())
    return tuple((name, usb.mode) for name, usb in found if usb is not None)


def _others(board: Board, here: Surroundings) -> list[str]:
    """Ports at which other boards are known to be."""
    return [
        f"{port.device} ({' or '.join(name for name, _ in known)})"
        for port in here.ports
        if port.vid and (known := boards_of(port)) and board.name not in dict(known)
    ]


def check_board_at(board: Board, here: Surroundings, port: str) -> None:
    """Refuse a port at which another board is known to be.

    Raises:
        FlashError: it is.
    """
    named = listed_port(here.ports, port)
    known = boards_of(named) if named else ()
    if named and known and board.name not in dict(known):
        names = " or ".join(dict(known))
        serial = f", its serial number {named.serial_number}" if named.serial_number else ""
        raise FlashError(
            f"at {port} is a {names}, the project is for {board.name}",
            step="choose",
            failure=Failure.WRONG_CHIP.value,
            cause=f"its USB identifier is {identifier(named.vid, named.pid)}{serial}",
            hint="name another port, or generate the project for that board; `--force` flashes it all the same",
        )


def _check_own_port(board: Board, here: Surroundings, port: str, best: Candidate) -> None:
    """Refuse a port that is not the board's where it only tells which board is meant: the way does not go through it.

    Raises:
        FlashError: it is on USB, and not known as the board's.
    """
    named = listed_port(here.ports, port)
    if named is None or usb_of(board, named) is not None:
        return
    own = ", ".join(one.device for one in ports_of(board, here.ports))
    raise FlashError(
        f"{port} is no port of {board.name}",
        step="choose",
        failure=Failure.WRONG_CHIP.value,
        cause=f"its USB identifier is {identifier(named.vid, named.pid)}, those of {board.name} are "
        f"{_usb_text(board.usb) or 'not known'}; {best.method} does not go through a port",
        hint=(f"its ports are: {own}" if own else f"the ports that are there: {ports_text(here)}")
        + "; or leave --port out, and `--force` flashes it all the same",
    )
