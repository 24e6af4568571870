"""Byte transports: a serial device or a TCP socket opened by name, behind one small interface.

Serial devices go through pyserial. `socket://host:port` uses a plain socket: pyserial's own socket reader can only ask
whether *a* byte is waiting, and took 0.56 ms for a round trip of 100 bytes where a plain socket takes 0.015 ms.
"""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

from edgelearn.errors import PortError

#: A port that takes no byte for so long is given up.
WRITE_TIMEOUT_S = 5.0
#: pyserial's timeout is fixed, for each change costs system calls; longer waits are made of several.
_SERIAL_POLL_S = 0.05
_READ_BYTES = 65536
#: Whoever tries again and again waits not so long for a single try.
_RECONNECT_TIMEOUT_S = 1.0
#: Start bit, eight data bits, stop bit.
_BITS_PER_BYTE = 10


class Transport(Protocol):
    """Bytes to and from a device. All methods raise PortError when the port fails."""

    @property
    def name(self) -> str:
        """The port as the person named it."""

    @property
    def byte_s(self) -> float:
        """Seconds that one byte takes on the wire, 0 where that is unknown."""

    def read(self, timeout_s: float) -> bytes:
        """What has arrived; waits up to `timeout_s` for the first byte, and returns b"" if none came."""

    def write(self, data: bytes) -> None:
        """Send all bytes."""

    def close(self) -> None:
        """Close the port; closing twice does no harm."""


def open_transport(url: str, *, baud: int = 115200, connect_timeout_s: float = 5.0) -> Transport:
    """Open a port by name.

    Args:
        url: a serial device (`/dev/ttyACM0`, `COM3`), `socket://host:port`, or another URL that pyserial knows.
        baud: bits per second of a serial device; without meaning for sockets.
        connect_timeout_s: how long to wait for a socket to connect.

    Raises:
        PortError: no such port (names those there are), busy, no permission, or nothing listens.
    """
    if url.lower().startswith("socket://"):
        return SocketTransport(url, connect_timeout_s=connect_timeout_s)
    return SerialTransport(url, baud=baud)


def reopener(url: str, *, baud: int = 115200) -> Callable[[], Transport]:
    """What opens the same port again after it has vanished, also under another name.

    A USB device is known again by its serial number, else by its vendor and product where only one such is there; any
    other port by its name.

    Args:
        url: of a port that is there now.
        baud: as for `open_transport`.
    """
    known = None if "://" in url else _usb_port(lambda port: port.device == url)

    def reopen() -> Transport:
        found = None
        if known is not None:
            found = _usb_port(lambda port: known.serial_number and port.serial_number == known.serial_number)
            found = found or _usb_port(lambda port: (port.vid, port.pid) == (known.vid, known.pid))
        device = found.device if found else url
        return open_transport(device, baud=baud, connect_timeout_s=_RECONNECT_TIMEOUT_S)

    return reopen


def _usb_port(is_it: Callable[[Any], Any]) -> Any | None:
    """The one USB serial port that is meant, None where there is none or several."""
    from serial.tools import list_ports as tools

    found = [port for port in tools.comports() if port.vid is not None and is_it(port)]
    return found[0] if len(found) == 1 else None


def list_ports() -> tuple[str, ...]:
    """The serial ports of this machine, each with its description where it has one."""
    from serial.tools import list_ports as tools

    return tuple(
        f"{port.device} ({port.description})" if port.description not in ("", "n/a") else port.device
        for port in sorted(tools.comports())
    )


class SocketTransport:
    """A TCP connection."""

    byte_s = 0.0

    def __init__(self, url: str, *, connect_timeout_s: float = 5.0) -> None:
        self.name = url
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or not port:
            raise PortError(f"{url} is not a port", hint="a socket is named socket://host:port")
        try:
            self._socket = socket.create_connection((host, port), timeout=connect_timeout_s)
        except socket.gaierror as error:
            raise PortError(
                f"there is no host {host}",
                cause=error.strerror or "its name is not known",
                hint="check the name; a program on this machine is at socket://127.0.0.1:port",
            ) from error
        except (OSError, OverflowError) as error:
            raise PortError(
                f"nothing answers at {url}",
                cause=_why_no_answer(error, connect_timeout_s),
                hint="is the emulator running? `edgelearn emulate DIR` starts one and prints its port",
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._closed = False

    def read(self, timeout_s: float) -> bytes:
        """What has arrived within `timeout_s`; b"" if nothing did."""
        try:
            self._socket.settimeout(max(timeout_s, 0.0005))
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            return b""
        except OSError as error:
            raise _vanished(self.name, str(error)) from error
        if not data:
            raise _vanished(self.name, "")
        return data

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        try:
            self._socket.settimeout(WRITE_TIMEOUT_S)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise PortError(f"{self.name} has taken no byte for {WRITE_TIMEOUT_S:g} s") from error
        except OSError as error:
            raise _vanished(self.name, str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()


class SerialTransport:
    """A serial device, or any URL of pyserial's."""

    def __init__(self, url: str, *, baud: int = 115200) -> None:
        import serial

        self.name = url
        self.byte_s = _BITS_PER_BYTE / baud if baud > 0 else 0.0
        self._error: tuple[type[Exception], ...] = (OSError, serial.SerialException, TypeError)
        try:
            # The types know no `in_waiting` on the base class, which every kind of port has.
            self._port: Any = serial.serial_for_url(
                url, baudrate=baud, timeout=_SERIAL_POLL_S, write_timeout=WRITE_TIMEOUT_S, do_not_open=True
            )
            # A second program on the same port would take bytes that are ours.
            with contextlib.suppress(AttributeError, ValueError):
                self._port.exclusive = True
            self._port.open()
        except (OSError, ValueError, serial.SerialException) as error:
            raise _cannot_open(url, error) from error
        with contextlib.suppress(*self._error):
            self._port.reset_input_buffer()

    def read(self, timeout_s: float) -> bytes:
        """What has arrived within `timeout_s`; b"" if nothing did."""
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                data: bytes = self._port.read(max(1, self._port.in_waiting))
                if data:
                    waiting = self._port.in_waiting
                    return data + self._port.read(waiting) if waiting else data
                if time.monotonic() >= deadline:
                    return b""
        except self._error as error:
            raise _vanished(self.name, str(error)) from error

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        import serial

        try:
            self._port.write(data)
        except serial.SerialTimeoutException as error:
            raise PortError(f"{self.name} has taken no byte for {WRITE_TIMEOUT_S:g} s") from error
        except self._error as error:
            raise _vanished(self.name, str(error)) from error

    def close(self) -> None:
        """Close the port."""
        with contextlib.suppress(*self._error):
            self._port.close()


def _vanished(name: str, cause: str) -> PortError:
    return PortError(
        f"the connection to {name} broke off",
        cause=cause,
        hint="the program at the other end ended or closed the connection"
        if "://" in name
        else "check the cable; a board that restarts may come back under another name",
    )


def _why_no_answer(error: Exception, timeout_s: float) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    return getattr(error, "strerror", None) or str(error)


def _cannot_open(url: str, error: Exception) -> PortError:
    """The message for a port that does not open. Windows has no errno, only the text of the exception."""
    code = getattr(error, "errno", None)
    text = str(error)
    number = re.search(r"(?:\[Errno |Error\(|port: \()(\d+)", text)
    if code is None and number:
        code = int(number.group(1))
    windows = bool(re.match(r"com\d", url, re.IGNORECASE))
    if code in (errno.EBUSY, errno.EAGAIN) or (windows and code == errno.EACCES):
        return PortError(
            f"{url} is in use by another program", cause=text, hint="close the serial monitor or the other edgelearn"
        )
    if code in (errno.EACCES, errno.EPERM):
        return PortError(
            f"no permission to open {url}",
            cause=text,
            hint="`sudo usermod -a -G dialout $USER` lets you use serial ports; then log in anew",
        )
    ports = list_ports()
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        message, cause = f"there is no port {url}", ""
    elif code in (errno.ENOTTY, errno.EISDIR):
        message, cause = f"{url} is not a serial port", ""
    else:
        message, cause = f"{url} cannot be opened", text
    there = f"give one of the ports of this machine: {', '.join(ports)}" if ports else "plug the board in"
    if not ports:
        cause = "; ".join(part for part in (cause, "this machine has no serial ports") if part)
    return PortError(message, cause=cause, hint=f"{there}; an emulated board is at socket://host:port")
