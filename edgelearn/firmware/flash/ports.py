"""Serial ports and USB devices of this machine: which are there, which board each is, and waiting for one to come back.

A board that is flashed leaves USB and comes back, often under another name of its port and with another identifier. It
is known again by its serial number, else by the connector it is plugged into, else by its identifier.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from edgelearn.board import Board, Usb, UsbMode
from edgelearn.errors import PortError

#: Where Linux lists USB devices; other systems have no such folder, and there only serial ports and drives are seen.
USB_DEVICES = Path("/sys/bus/usb/devices")
#: How long a board may take to come back after it was touched or flashed.
RETURN_S = 15.0
_POLL_S = 0.1
#: A port that was opened at this speed and closed starts the bootloader (Arduino, "1200-bps touch").
_TOUCH_BAUD = 1200

_Found = TypeVar("_Found")


class SerialPort(Struct, frozen=True, kw_only=True):
    """A serial port.

    Attributes:
        device: its name: `/dev/ttyACM0`, `COM3`.
        vid, pid: USB identifier; 0 for a port that is not on USB.
        serial_number: of the USB device; empty where it has none.
        location: the connector it is plugged into; empty where that is not known.
        description: what the system calls it.
    """

    device: str
    vid: int = 0
    pid: int = 0
    serial_number: str = ""
    location: str = ""
    description: str = ""


class UsbDevice(Struct, frozen=True, kw_only=True):
    """A USB device, with a serial port or without."""

    vid: int
    pid: int
    serial_number: str = ""
    location: str = ""
    product: str = ""


def serial_ports() -> tuple[SerialPort, ...]:
    """The serial ports of this machine, by name."""
    from serial.tools import list_ports

    return tuple(
        SerialPort(
            device=port.device,
            vid=port.vid or 0,
            pid=port.pid or 0,
            serial_number=port.serial_number or "",
            # "1-2:1.0" is an interface of what is plugged in at 1-2.
            location=(port.location or "").split(":")[0],
            description=port.description if port.description not in (None, "n/a") else "",
        )
        for port in sorted(list_ports.comports(), key=lambda port: str(port.device))
    )


def usb_devices() -> tuple[UsbDevice, ...] | None:
    """The USB devices of this machine; None where the system does not list them to us."""
    if not USB_DEVICES.is_dir():
        return None
    found = []
    for folder in sorted(USB_DEVICES.iterdir()):
        vid, pid = _line(folder / "idVendor"), _line(folder / "idProduct")
        if vid and pid:
            found.append(
                UsbDevice(
                    vid=int(vid, 16),
                    pid=int(pid, 16),
                    serial_number=_line(folder / "serial"),
                    location=folder.name,
                    product=_line(folder / "product"),
                )
            )
    return tuple(found)


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def identifier(vid: int, pid: int) -> str:
    """A USB identifier as people write it."""
    return f"{vid:04x}:{pid:04x}"


def usb_of(board: Board, device: SerialPort | UsbDevice) -> Usb | None:
    """The entry of the board's file for what is plugged in; None where it is not that board."""
    return next((usb for usb in board.usb if usb.fits(device.vid, device.pid, device.serial_number)), None)


def ports_of(board: Board, ports: Iterable[SerialPort], *modes: UsbMode) -> tuple[SerialPort, ...]:
    """The ports that may be of a board in one of these modes; without any, in whichever."""
    return tuple(port for port in ports if (usb := usb_of(board, port)) and (not modes or usb.mode in modes))


def listed_port(ports: Iterable[SerialPort], device: str) -> SerialPort | None:
    """The USB port of that name; None where none is."""
    return next((port for port in ports if port.device == device and port.vid), None)


def fitting_ports(
    known: SerialPort,
    ports: Iterable[SerialPort],
    kinds: Iterable[Usb] | None,
    others: Iterable[SerialPort] = (),
) -> list[str]:
    """The ports that a board may have come back as: one where that is certain.

    Args:
        known: as it was.
        ports: that are there now.
        kinds: as which the board may have come back; None where nobody knows.
        others: ports that were there beside it: as long as they are the same they are other boards'.
    """
    beside = tuple(others)
    wanted = None if kinds is None else tuple(kinds)
    there = [
        port
        for port in ports
        if port not in beside
        and (wanted is None or any(usb.fits(port.vid, port.pid, port.serial_number) for usb in wanted))
    ]
    same_board = [port for port in there if known.serial_number and port.serial_number == known.serial_number]
    same_place = [port for port in there if known.location and port.location == known.location]
    found = next((fitting for fitting in (same_board, same_place) if len(fitting) == 1), there)
    return [port.device for port in found]


def find_again(
    known: SerialPort,
    ports: Iterable[SerialPort],
    kinds: Iterable[Usb] | None,
    others: Iterable[SerialPort] = (),
) -> str:
    """The port of a board that has come back, see `fitting_ports`; empty where none, or several, can be it."""
    found = fitting_ports(known, ports, kinds, others)
    return found[0] if len(found) == 1 else ""


def wait_for(find: Callable[[], _Found], timeout_s: float) -> _Found:
    """Ask until something is found, at most so long; what was found last, also where that is nothing."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = find()
        if found or time.monotonic() >= deadline:
            return found
        time.sleep(_POLL_S)


def touch(device: str) -> None:
    """Start the bootloader of a board: open its port at 1200 baud and close it.

    Raises:
        PortError: the port does not open.
    """
    import serial

    try:
        port = serial.Serial(device, baudrate=_TOUCH_BAUD)
    except (OSError, ValueError) as error:
        raise PortError(
            f"{device} cannot be opened to start the board's bootloader",
            cause=str(error),
            hint="close the serial monitor or the other edgelearn; `edgelearn devices` shows which ports are there",
        ) from error
    # A board that leaves at once makes these fail, which is what is wanted.
    with contextlib.suppress(OSError):
        port.dtr = False
    with contextlib.suppress(OSError):
        port.close()
