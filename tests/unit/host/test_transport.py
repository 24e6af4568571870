"""Ports: sockets, serial devices over a PTY, and what can be wrong with each."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time

import pytest
import serial

from edgelearn.errors import PortError
from edgelearn.host import transport
from edgelearn.host.transport import open_transport


@pytest.fixture
def pair():
    """An open socket transport and the other end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = open_transport(f"socket://127.0.0.1:{server.getsockname()[1]}")
        other, _ = server.accept()
    with other:
        yield port, other
        port.close()


def test_socket_bytes_go_both_ways(pair):
    port, other = pair
    port.write(b"abc\0")
    assert other.recv(10) == b"abc\0"
    other.sendall(b"x" * 5000)
    received = b""
    while len(received) < 5000:
        received += port.read(1.0)
    assert received == b"x" * 5000


def test_socket_read_waits_no_longer_than_asked(pair):
    port, _ = pair
    start = time.monotonic()
    assert port.read(0.05) == b""
    assert 0.03 < time.monotonic() - start < 5


def test_socket_has_no_delay(pair):
    port, _ = pair
    assert port._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_socket_that_was_closed_has_vanished(pair):
    port, other = pair
    other.close()
    with pytest.raises(PortError, match="broke off") as caught:
        port.read(1.0)
    assert "the program at the other end ended or closed the connection" in caught.value.hint
    assert "cable" not in str(caught.value)


def test_closing_twice_does_no_harm(pair):
    port, _ = pair
    port.close()
    port.close()


def test_nothing_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    with pytest.raises(PortError, match="nothing answers at") as caught:
        open_transport(f"socket://127.0.0.1:{number}", connect_timeout_s=1.0)
    assert caught.value.cause == "nothing listens there"
    assert "is the emulator running? `edgelearn emulate DIR`" in caught.value.hint


@pytest.mark.parametrize("url", ["socket://", "socket://127.0.0.1", "socket://127.0.0.1:no", "socket://h:70000"])
def test_a_socket_that_is_no_address(url):
    with pytest.raises(PortError, match="is not a port") as caught:
        open_transport(url)
    assert "socket://host:port" in caught.value.hint


def test_a_port_that_does_not_exist_names_those_that_do(monkeypatch):
    monkeypatch.setattr(transport, "list_ports", lambda: ("/dev/ttyACM0 (a board)", "/dev/ttyS0"))
    with pytest.raises(PortError, match="there is no port /dev/ttyNOPE") as caught:
        open_transport("/dev/ttyNOPE")
    assert "/dev/ttyACM0 (a board), /dev/ttyS0" in caught.value.hint


def test_a_machine_without_ports_says_so(monkeypatch):
    monkeypatch.setattr(transport, "list_ports", lambda: ())
    with pytest.raises(PortError, match="no serial ports"):
        open_transport("/dev/ttyNOPE")


def test_a_file_is_no_serial_port(monkeypatch, tmp_path):
    monkeypatch.setattr(transport, "list_ports", lambda: ("/dev/ttyACM0 (a board)",))
    path = tmp_path / "file"
    path.write_bytes(b"")
    for name in (path, tmp_path):
        with pytest.raises(PortError, match="is not a serial port") as caught:
            open_transport(str(name))
        assert "ports of this machine: /dev/ttyACM0 (a board)" in caught.value.hint
        assert "Errno" not in str(caught.value)


def test_an_unknown_host(monkeypatch):
    def unknown(*_args, **_kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    with pytest.raises(PortError, match="there is no host nowhere") as caught:
        open_transport("socket://nowhere:1234")
    assert "Errno" not in str(caught.value)
    assert "check the name" in caught.value.hint


def test_a_host_that_does_not_answer(monkeypatch):
    def silent(*_args, **_kwargs):
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", silent)
    with pytest.raises(PortError, match="no answer within 5 s"):
        open_transport("socket://127.0.0.1:1234")


def test_listing_ports_works_here():
    assert all(isinstance(name, str) for name in transport.list_ports())


@pytest.mark.parametrize(
    ("url", "error", "expected"),
    [
        ("/dev/ttyACM0", serial.SerialException(errno.EACCES, "Permission denied"), "no permission"),
        ("/dev/ttyACM0", serial.SerialException(errno.EBUSY, "Device or resource busy"), "in use"),
        (
            "/dev/ttyACM0",
            serial.SerialException(errno.EAGAIN, "Could not exclusively lock port"),
            "in use",
        ),
        (
            "COM3",
            serial.SerialException("could not open port 'COM3': PermissionError(13, 'Access is denied.', None, 5)"),
            "in use",
        ),
        (
            "COM9",
            serial.SerialException("could not open port 'COM9': FileNotFoundError(2, 'not found', None, 2)"),
            "there is no port COM9",
        ),
        ("strange://x", ValueError("invalid URL, protocol 'strange' not known"), "cannot be opened"),
    ],
)
def test_a_port_that_does_not_open_says_why(monkeypatch, url, error, expected):
    def refuse(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(PortError, match=expected):
        open_transport(url)


def test_permission_hint_names_the_group(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise serial.SerialException(errno.EACCES, "Permission denied")

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(PortError) as caught:
        open_transport("/dev/ttyACM0")
    assert "dialout" in caught.value.hint


@pytest.fixture
def pty():
    """The controlling side of a PTY and the name of the other."""
    if not hasattr(os, "openpty"):
        pytest.skip("optional: no PTY on this system")
    import tty

    try:
        master, slave = os.openpty()
    except OSError as error:
        pytest.skip(f"optional: no PTY on this system: {error}")
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    yield master, name
    with contextlib.suppress(OSError):
        os.close(master)


def test_serial_bytes_go_both_ways(pty):
    master, name = pty
    port = open_transport(name, baud=115200)
    try:
        assert port.byte_s == pytest.approx(10 / 115200)
        port.write(b"hello")
        assert os.read(master, 10) == b"hello"
        os.write(master, b"world")
        received = port.read(1.0)
        while len(received) < 5:
            received += port.read(1.0)
        assert received == b"world"
        assert port.read(0.01) == b""
    finally:
        port.close()


def test_serial_port_is_ours_alone(pty):
    _, name = pty
    port = open_transport(name)
    try:
        with pytest.raises(PortError, match="in use"):
            open_transport(name)
    finally:
        port.close()


def read_on(port):
    for _ in range(20):
        port.read(0.05)


def test_serial_port_that_vanishes(pty):
    master, name = pty
    port = open_transport(name)
    try:
        os.close(master)
        with pytest.raises(PortError, match="broke off") as caught:
            read_on(port)
        assert "check the cable" in caught.value.hint
    finally:
        port.close()
        port.close()
