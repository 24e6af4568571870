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
    ports_of,
    serial_ports,
    usb_devices,
    usb_of,
)
from edgelearn.firmware.flash.tool import Failure, Reach, Tool, flash_error, way_as

#: What debug probes call themselves on USB.
_PROBES = re.compile(r"CMSIS-DAP|DAPLink|J-Link|ST-?LINK|Debug Probe|Black Magic", re.IGNORECASE)
_ST_LINK = re.compile(r"ST-?LINK", re.IGNORECASE)


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
        spare_port: one that a person names, perhaps an adapter's: the board's where no other port is known as its.
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
        else _by_dfu(way, here)
        if tool.reach is Reach.DFU
        else _by_drive(board, way, here)
        if tool.reach is Reach.DRIVE
        else _by_port(board, way, here, port, spare_port)
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


def _at_port(devices: Sequence[UsbDevice], here: Surroundings, port: str) -> list[UsbDevice]:
    """Those that belong to the serial port which a person named; all where that tells nothing."""
    named = next((one for one in here.ports if one.device == port and one.vid), None)
    if named is None:
        return list(devices)
    found = [one for one in devices if one.serial_number and one.serial_number == named.serial_number]
    return found or [one for one in devices if one.location == named.location] or list(devices)


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
    probes = _at_port(probes, here, port)
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


def _by_dfu(way: Way, here: Surroundings) -> Candidate:
    dfu = way_as(way, DfuUtil)
    found = [one for one in here.usb or () if (one.vid, one.pid) == (dfu.vid, dfu.pid)]
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


def _by_port(board: Board, way: Way, here: Surroundings, port: str, spare_port: str) -> Candidate:
    if port:
        at = _listed(here, port)
        return Candidate(way=way, port=port, named=at is None or usb_of(board, at) is None)
    found = ports_of(board, here.ports)
    if len(found) == 1:
        return Candidate(way=way, port=found[0].device)
    if found:
        return Candidate(way=way, several=tuple(f"{one.device} {one.serial_number}".strip() for one in found))
    if spare_port:
        return Candidate(way=way, port=spare_port, named=True)
    known = _usb_text(board.usb)
    return Candidate(way=way, lacks=(f"no serial port of it is there{f' ({known})' if known else ''}",))


def offers_drive(board: Board, drive: FoundDrive) -> bool:
    """Whether a drive may be a board's: by its label, and by the interface chip's serial number where it says that."""
    chips = [usb for usb in board.usb if usb.mode is UsbMode.INTERFACE]
    return any(isinstance(way, Drive) and way.volume == drive.label for way in board.flash) and (
        not chips or any(usb.fits(usb.vid, usb.pid, drive.serial_number) for usb in chips)
    )


def _by_drive(board: Board, way: Way, here: Surroundings) -> Candidate:
    wanted = way_as(way, Drive)
    labelled = [drive for drive in here.drives if drive.label == wanted.volume]
    found = [drive for drive in labelled if offers_drive(board, drive)]
    if len(found) == 1:
        return Candidate(way=way, drive=found[0], serial_number=found[0].serial_number)
    if found:
        return Candidate(way=way, several=tuple(f"{one.path} {one.serial_number}".strip() for one in found))
    if labelled:
        other = ", ".join(f"{drive.path} (serial number {drive.serial_number})" for drive in labelled)
        return Candidate(
            way=way, lacks=(f"the drive {other} is another board's: that of {board.name} is {_usb_text(board.usb)}",)
        )
    lacks = f"its drive {wanted.volume} is not there, or not mounted{f': {wanted.enter}' if wanted.enter else ''}"
    return Candidate(way=way, lacks=(lacks,))


def _listed(here: Surroundings, port: str) -> SerialPort | None:
    """The port of that name where it is on USB."""
    return next((one for one in here.ports if one.device == port and one.vid), None)


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
    named = _listed(here, port)
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
    named = _listed(here, port)
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
