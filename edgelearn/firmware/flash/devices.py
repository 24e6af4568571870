"""find_devices(): what is plugged in, and which board each may be."""

from __future__ import annotations

from msgspec import Struct

from edgelearn.board import board_names, load_board
from edgelearn.board.ways import DfuUtil
from edgelearn.board.words import softdevice_words
from edgelearn.firmware.flash.choose import Surroundings, boards_of, is_probe, offers_drive
from edgelearn.firmware.flash.ports import SerialPort, UsbDevice, identifier


class MaybeBoard(Struct, frozen=True, kw_only=True):
    """A board that something may be, and the mode in which it then is: `application`, `bootloader` or `interface`."""

    name: str
    mode: str


class FoundDevice(Struct, frozen=True, kw_only=True):
    """Something that is plugged in.

    Attributes:
        kind: `port`, `usb` for a device without a serial port, or `drive`.
        name: of the port or the drive's folder; of a USB device the connector.
        identifier: on USB, vendor and product in hex; empty where it is not on USB or that is not known.
        serial_number: empty where it has none.
        description: what it calls itself.
        boards: what it may be; an interface chip may be that of several boards.
    """

    kind: str
    name: str
    identifier: str = ""
    serial_number: str = ""
    description: str = ""
    boards: tuple[MaybeBoard, ...] = ()


def find_devices(here: Surroundings) -> tuple[FoundDevice, ...]:
    """Serial ports, other USB devices that belong to a board or are debug probes, and drives."""
    ports = [
        FoundDevice(
            kind="port",
            name=port.device,
            identifier=_identifier(port.vid, port.pid),
            serial_number=port.serial_number,
            description=port.description,
            boards=_boards(port),
        )
        for port in here.ports
    ]
    shown = {port.location for port in here.ports if port.location}
    usb = [
        FoundDevice(
            kind="usb",
            name=device.location,
            identifier=_identifier(device.vid, device.pid),
            serial_number=device.serial_number,
            description=device.product,
            boards=_boards(device),
        )
        for device in here.usb or ()
        if device.location not in shown and (is_probe(device) or _boards(device))
    ]
    drives = [
        FoundDevice(
            kind="drive",
            name=str(drive.path),
            serial_number=drive.serial_number,
            description=", ".join(filter(None, (drive.info, softdevice_words(drive.softdevice)))),
            boards=tuple(
                MaybeBoard(name=name, mode="bootloader" if drive.info else "interface")
                for name in board_names()
                if offers_drive(load_board(name), drive)
            ),
        )
        for drive in here.drives
    ]
    return (*ports, *usb, *(drive for drive in drives if drive.boards or drive.description))


def _identifier(vid: int, pid: int) -> str:
    return identifier(vid, pid) if vid else ""


def _boards(device: SerialPort | UsbDevice) -> tuple[MaybeBoard, ...]:
    """By the identifiers of board files; chips whose bootloader is in ROM share one that stands among the ways."""
    known = {name: mode.value for name, mode in boards_of(device)} if device.vid else {}
    there = (device.vid, device.pid)
    for name in board_names():
        if any(isinstance(way, DfuUtil) and (way.vid, way.pid) == there for way in load_board(name).flash):
            known.setdefault(name, "bootloader")
    return tuple(MaybeBoard(name=name, mode=mode) for name, mode in sorted(known.items()))
