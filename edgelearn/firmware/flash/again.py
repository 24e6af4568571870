"""The serial port of a board that has been flashed: known again among those of its like.

Two boards of one kind may be plugged in, and one that is flashed leaves USB and comes back, also under another name of
its port. What was there before tells: its serial number, its connector, else that it is the one which has appeared.
Between ports that fit alike nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from edgelearn.board import Board, Output, Usb, UsbMode
from edgelearn.firmware.flash.choose import Candidate
from edgelearn.firmware.flash.ports import SerialPort, fitting_ports, listed_port, ports_of, serial_ports, usb_of


def serial_modes(output: Output) -> tuple[UsbMode, ...]:
    """The modes in which a program's serial line is on USB: bare-metal firmware has no USB of its own."""
    if output is Output.BARE_METAL:
        return (UsbMode.INTERFACE,)
    return (UsbMode.APPLICATION, UsbMode.INTERFACE)


class Before(Struct, frozen=True, kw_only=True):
    """The serial ports before a board was flashed: by them its own is known again afterwards.

    Attributes:
        ports: all of them.
        known: the one to ask, or the one to flash by; None where that is not known.
        kinds: as which it comes back; None where nobody knows.
        serial_number: of what the board is flashed through; empty where it has none.
    """

    ports: tuple[SerialPort, ...]
    known: SerialPort | None
    kinds: tuple[Usb, ...] | None
    serial_number: str


def look_before(board: Board, output: Output, named: str, candidate: Candidate) -> Before:
    """What is there before a board is flashed."""
    there = serial_ports()
    own = ports_of(board, there, *serial_modes(output))
    if named or candidate.port:
        known = listed_port(there, named or candidate.port)
    else:
        fitting = _same_board(own, candidate.serial_number)
        known = fitting[0] if len(fitting) == 1 else None
    kinds: tuple[Usb, ...] | None = tuple(usb for usb in board.usb if usb.mode in serial_modes(output))
    if known is not None and usb_of(board, known) is None:
        adapter = Usb(vid=known.vid, pid=known.pid, mode=UsbMode.INTERFACE)
        kinds = None if candidate.named else (adapter,)
    serial_number = candidate.serial_number or (known.serial_number if known else "")
    return Before(ports=there, known=known, kinds=kinds, serial_number=serial_number)


def _same_board(there: Iterable[SerialPort], serial_number: str) -> list[SerialPort]:
    """The ports with a serial number; where none has it, those of which none is known."""
    all_ = list(there)
    same = [one for one in all_ if serial_number and one.serial_number == serial_number]
    return same or [one for one in all_ if not (serial_number and one.serial_number)]


def possible_ports(board: Board, output: Output, named: str, before: Before) -> list[str]:
    """Where the program may have to be asked now; empty where its port is not there (yet)."""
    there = serial_ports()
    if before.known is not None:
        others = [one for one in before.ports if one != before.known]
        return fitting_ports(before.known, there, before.kinds, others)
    if named:
        return [named]
    own = ports_of(board, there, *serial_modes(output))
    appeared = [one for one in own if one not in before.ports]
    return [one.device for one in appeared or _same_board(own, before.serial_number)]
