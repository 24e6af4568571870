"""Ports that vanish and come back: known again by serial number, connector, identifier; never mistaken."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from edgelearn.board import Usb, UsbMode, load_board
from edgelearn.board.ways import Drive, DriveFormat
from edgelearn.errors import FlashError, PortError
from edgelearn.firmware.flash import drive, ports, run
from edgelearn.firmware.flash.choose import Candidate
from edgelearn.firmware.flash.ports import SerialPort, find_again
from edgelearn.firmware.flash.tool import Failure, Job
from tests.support.flashing import Bench, boards_with, port, usb

KNOWN = SerialPort(device="/dev/ttyACM0", vid=1, pid=2, serial_number="S1", location="1-2")
KINDS = [Usb(vid=1, pid=pid, mode=UsbMode.APPLICATION) for pid in (2, 3)]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path / "bench", monkeypatch)


def at(device: str, pid: int, serial: str = "", location: str = "") -> SerialPort:
    return SerialPort(device=device, vid=1, pid=pid, serial_number=serial, location=location)


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ([], ""),
        ([at("a", 3, "S1")], "a"),
        ([at("a", 3, "S2"), at("b", 3, "S1")], "b"),
        # A bootloader may have another serial number, or none: then the connector tells.
        ([at("a", 3, "", "1-1"), at("b", 3, "", "1-2")], "b"),
        ([at("a", 3, "S9", "1-2"), at("b", 3, "S8", "1-3")], "a"),
        # Only one of the kind is there.
        ([at("a", 3, "S9", "1-7")], "a"),
        # Two of the kind, neither known: nothing is guessed.
        ([at("a", 3, "S9", "1-7"), at("b", 3, "S8", "1-8")], ""),
        # Another kind of device at the same connector is not the board.
        ([at("a", 9, "", "1-2")], ""),
        # The serial number of another kind of device is not the board either.
        ([at("a", 9, "S1", "1-2")], ""),
    ],
)
def test_find_again(there: list[SerialPort], found: str) -> None:
    assert find_again(KNOWN, there, KINDS) == found


def test_what_was_there_beside_the_board_is_not_the_board() -> None:
    other = at("b", 3, "S8", "1-8")
    assert find_again(KNOWN, [other], KINDS) == "b"
    assert find_again(KNOWN, [other], KINDS, [other]) == ""
    assert find_again(KNOWN, [other, at("a", 3, "S9", "1-7")], KINDS, [other]) == "a"


def test_ports_are_read_as_pyserial_gives_them(bench: Bench) -> None:
    bench.ports = [port("/dev/ttyUSB1", 0x10, 0x20, "S1", "1-2.3:1.0"), port("/dev/ttyS0")]
    assert ports.serial_ports() == (
        SerialPort(device="/dev/ttyS0"),
        SerialPort(device="/dev/ttyUSB1", vid=0x10, pid=0x20, serial_number="S1", location="1-2.3"),
    )


def test_touching_opens_at_1200_baud(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int]] = []

    class Port:
        dtr = True

        def __init__(self, device: str, baudrate: int) -> None:
            opened.append((device, baudrate))

        def close(self) -> None:
            raise OSError("gone already")

    monkeypatch.setattr("serial.Serial", Port)
    ports.touch("/dev/ttyACM0")
    assert opened == [("/dev/ttyACM0", 1200)]


def test_a_port_that_cannot_be_touched() -> None:
    with pytest.raises(PortError, match="/dev/absent cannot be opened to start the board's bootloader"):
        ports.touch("/dev/absent")


SAMBA = load_board(boards_with("bossac")[0])


def samba_job(device: str) -> tuple[Candidate, Job]:
    way = next(way for way in SAMBA.flash if way.__struct_config__.tag == "bossac")
    return Candidate(way=way, port=device), Job(
        board=SAMBA, way=way, project=Path(), file=Path("a.bin"), port=device, address=0x10000
    )


def ids(mode: str) -> tuple[int, int]:
    one = usb(SAMBA, mode)
    return one.vid, one.pid


def test_the_bootloader_is_entered_and_found_under_another_name(bench: Bench) -> None:
    bench.program("bossac", ("Verify successful\n", 0))
    bench.ports = [port("/dev/ttyACM0", *ids("application"), "S1", "1-2:1.0")]
    bench.after_touch = [port("/dev/ttyACM7", *ids("bootloader"), "", "1-2:1.0")]
    candidate, job = samba_job("/dev/ttyACM0")
    run.flash(candidate, job)
    assert bench.touched == ["/dev/ttyACM0"]
    assert bench.calls("bossac") == [
        ["--port=/dev/ttyACM7", "--usb-port", "--info", "--erase", "--write", "--verify", "--reset", "a.bin"]
    ]


def test_a_bootloader_that_runs_already_is_not_touched(bench: Bench) -> None:
    bench.program("bossac", ("", 0))
    bench.ports = [port("/dev/ttyACM3", *ids("bootloader"), "S1")]
    run.flash(*samba_job("/dev/ttyACM3"))
    assert bench.touched == []
    assert bench.calls("bossac")[0][0] == "--port=/dev/ttyACM3"


def test_the_bootloader_of_another_board_is_not_taken_for_its_own(bench: Bench) -> None:
    """It is there all along, and alone until the right one comes."""
    bench.program("bossac", ("Verify successful\n", 0))
    other = port("/dev/ttyACM1", *ids("bootloader"), "S2", "1-3:1.0")
    looks = iter([[port("/dev/ttyACM0", *ids("application"), "S1", "1-2:1.0"), other], [other], [other], [other]])
    bench.see(lambda: next(looks, [port("/dev/ttyACM7", *ids("bootloader"), "", "1-2:1.0"), other]))
    run.flash(*samba_job("/dev/ttyACM0"))
    assert bench.calls("bossac")[0][0] == "--port=/dev/ttyACM7"


def test_no_bootloader_comes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "RETURN_S", 0.3)
    monkeypatch.setattr(run, "_LEAVE_S", 0.1)
    bench.program("bossac", ("", 0))
    bench.ports = [port("/dev/ttyACM0", *ids("application"), "S1")]
    bench.after_touch = []
    with pytest.raises(FlashError, match="does not answer") as error:
        run.flash(*samba_job("/dev/ttyACM0"))
    assert error.value.step == "enter"
    assert "no bootloader came within 0.3 s" in error.value.cause
    assert "reset button twice" in error.value.hint
    assert bench.calls("bossac") == []


# Drives


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "LEAVE_S", 0.6)
    monkeypatch.setattr(drive, "RETURN_S", 0.6)


def drive_job(bench: Bench, tmp_path: Path, format_: DriveFormat) -> Job:
    folder = bench.drive("BOOT")
    file = tmp_path / f"flash.{format_.value}"
    file.write_bytes(bytes(range(256)) * 600)
    way = Drive(volume="BOOT", format=format_, family=7 if format_ is DriveFormat.UF2 else 0)
    return Job(board=SAMBA, way=way, project=tmp_path, file=file, drive=folder)


def in_background(act: object) -> threading.Thread:
    thread = threading.Thread(target=act)  # type: ignore[arg-type]
    thread.start()
    return thread


def wait_until_copied(job: Job) -> Path:
    target = job.drive / f"firmware{job.file.suffix}"
    deadline = time.monotonic() + 5
    while not (target.is_file() and target.stat().st_size == job.file.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return target


def take_away(target: Path) -> None:
    """Remove a file; on some systems only when nobody has it open any more."""
    for _ in range(100):
        with contextlib.suppress(PermissionError):
            target.unlink()
            return
        time.sleep(0.01)


def test_a_uf2_bootloader_takes_the_file_and_leaves(bench: Bench, tmp_path: Path, impatient: None) -> None:
    job = drive_job(bench, tmp_path, DriveFormat.UF2)
    copied = []

    def leave() -> None:
        target = wait_until_copied(job)
        copied.append(target.read_bytes())
        take_away(target)

    thread = in_background(leave)
    drive.copy(job)
    thread.join()
    assert copied == [job.file.read_bytes()]


def test_a_uf2_bootloader_of_another_chip_ignores_the_file(bench: Bench, tmp_path: Path, impatient: None) -> None:
    with pytest.raises(FlashError, match="is not that of") as error:
        drive.copy(drive_job(bench, tmp_path, DriveFormat.UF2))
    assert error.value.failure == Failure.WRONG_CHIP.value
    assert "the bootloader did not take the file" in error.value.cause


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        # github.com/ARMmbed/DAPLink, issues 454, 512 and 951; source/daplink/error.c
        ("error: Flash algorithm write command FAILURE\r\ntype: target\r\n", Failure.VERIFY),
        ("error: The interface firmware FAILED to reset/halt the target MCU\r\ntype: target\r\n", Failure.NO_ANSWER),
        (
            "error: The interface firmware FAILED to unlock the target for programming\r\ntype: target\r\n",
            Failure.LOCKED,
        ),
        ("error: In application programming aborted due to an out of bounds address.\r\n", Failure.TOO_LARGE),
        ("error: The hex file you dropped isn't compatible with this mode or device.\r\n", Failure.WRONG_CHIP),
        ("error: The transfer timed out.\r\ntype: user\r\n", Failure.VANISHED),
        ("error: An internal error has occurred\r\ntype: internal\r\n", Failure.UNKNOWN),
    ],
)
def test_an_interface_chip_says_why_it_failed(
    bench: Bench, tmp_path: Path, impatient: None, said: str, failure: Failure
) -> None:
    job = drive_job(bench, tmp_path, DriveFormat.HEX)

    def fail() -> None:
        take_away(wait_until_copied(job))
        (job.drive / "FAIL.TXT").write_text(said)

    thread = in_background(fail)
    with pytest.raises(FlashError) as error:
        drive.copy(job)
    thread.join()
    assert error.value.failure == failure.value
    assert said.split("\r")[0] in error.value.cause


def test_an_interface_chip_is_done(bench: Bench, tmp_path: Path, impatient: None) -> None:
    job = drive_job(bench, tmp_path, DriveFormat.BIN)
    thread = in_background(lambda: take_away(wait_until_copied(job)))
    drive.copy(job)
    thread.join()


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (OSError(28, "No space left on device"), Failure.TOO_LARGE),
        (OSError(5, "Input/output error"), Failure.VANISHED),
        (OSError(13, "Permission denied"), Failure.NO_PERMISSION),
        (OSError(30, "Read-only file system"), Failure.PROTECTED),
    ],
)
def test_a_copy_that_breaks_off(
    bench: Bench, tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch, error: OSError, failure: Failure
) -> None:
    def fails(number: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(FlashError) as raised:
        drive.copy(drive_job(bench, tmp_path, DriveFormat.UF2))
    assert raised.value.failure == failure.value


def test_a_drive_that_vanishes_before_all_is_written(bench: Bench, tmp_path: Path, impatient: None) -> None:
    job = drive_job(bench, tmp_path, DriveFormat.UF2)
    with pytest.raises(FlashError) as raised:
        drive.copy(replace(job, drive=job.drive / "gone"))
    assert raised.value.failure == Failure.VANISHED.value
