"""Which way is taken: from what is plugged in and installed, never by guessing between two boards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edgelearn import process
from edgelearn.board import Board, Output, board_names, load_board
from edgelearn.board.ways import Drive
from edgelearn.errors import FlashError, NoFlasherError, PortError, ProgramMissingError
from edgelearn.firmware.flash import choose, drives
from edgelearn.firmware.flash.choose import Candidate
from edgelearn.firmware.flash.devices import find_devices
from edgelearn.firmware.flash.drives import FoundDrive
from edgelearn.firmware.flash.methods import method_of
from tests.support.flashing import Bench, boards_with, port, usb


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path / "bench", monkeypatch)


def with_interface(method: str) -> Board:
    """A board with an interface chip of its own, that lists the method and another."""
    return next(
        board
        for board in map(load_board, boards_with(method))
        if any(one.mode.value == "interface" for one in board.usb) and len(board.flash) > 2
    )


def take(board: Board, output: Output | None = Output.BARE_METAL, **options: object) -> Candidate:
    return choose.choose(board, choose.look(), output=output, **options)  # type: ignore[arg-type]


ST = with_interface("st-flash")
DFU = next(
    board for board in map(load_board, boards_with("dfu-util")) if board.flash[0].__class__.__name__ == "DfuUtil"
)
SAMBA = load_board(boards_with("bossac")[0])
UF2 = load_board(boards_with("adafruit-nrfutil")[0])


def plug(
    bench: Bench, board: Board, mode: str = "interface", *, device: str = "/dev/ttyACM0", serial: str = "S1"
) -> None:
    one = usb(board, mode)
    bench.ports.append(port(device, one.vid, one.pid, serial, f"1-{len(bench.ports) + 1}:1.0"))
    bench.plug(f"1-{len(bench.ports)}", one.vid, one.pid, serial=serial)


def test_the_first_way_that_is_there_and_installed(bench: Bench) -> None:
    plug(bench, ST)
    ways = [method_of(way) for way in ST.flash]
    bench.program("pyocd")
    assert take(ST).method == "pyocd"
    bench.program("st-flash")
    bench.program("openocd")
    found = take(ST)
    assert found.method == ways[0] == "st-flash"
    assert found.serial_number == "S1"
    assert take(ST, method="openocd").method == "openocd"


def test_nothing_is_there(bench: Bench) -> None:
    bench.program("st-flash")
    with pytest.raises(NoFlasherError, match="cannot be flashed now") as error:
        take(ST)
    lines = error.value.cause.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        method_of(way) for way in ST.flash if method_of(way) not in ("arduino-cli", "mpremote")
    ]
    assert "interface chip" in lines[0]
    assert "is not plugged in" in lines[0]
    assert "not installed" not in lines[0]
    assert "pip install" in next(line for line in lines if line.startswith("pyocd"))
    assert "its drive" in next(line for line in lines if line.startswith("drive"))


def test_what_is_plugged_in_instead_is_said(bench: Bench) -> None:
    plug(bench, SAMBA, "application")
    with pytest.raises(NoFlasherError) as error:
        take(ST)
    assert f"plugged in: /dev/ttyACM0 ({SAMBA.name})" in error.value.cause


def test_methods_that_the_board_does_not_have(bench: Bench) -> None:
    with pytest.raises(NoFlasherError, match="cannot be flashed with bossac") as error:
        take(ST, method="bossac")
    assert "its ways are: st-flash" in error.value.cause
    with pytest.raises(NoFlasherError) as error:
        take(ST, method="nonsense")
    assert "there is no method nonsense" in error.value.cause
    with pytest.raises(NoFlasherError, match="cannot be flashed; its board file lists no way") as error:
        take(next(board for board in map(load_board, board_names()) if board.emulator and not board.flash))
    assert "emulate" in error.value.hint


def test_two_boards_are_never_guessed_between(bench: Bench) -> None:
    bench.program("st-flash")
    plug(bench, ST)
    plug(bench, ST, device="/dev/ttyACM1", serial="S2")
    with pytest.raises(FlashError, match="several boards") as error:
        take(ST)
    assert error.value.step == "choose"
    assert error.value.failure == "several devices"
    assert "S1" in error.value.cause
    assert "S2" in error.value.cause
    assert "--port" in error.value.hint
    assert take(ST, port="/dev/ttyACM1").serial_number == "S2"


def test_the_port_of_another_board_is_refused(bench: Bench) -> None:
    bench.program("st-flash")
    plug(bench, ST)
    plug(bench, SAMBA, "application", device="/dev/ttyACM1")
    with pytest.raises(FlashError, match=f"at /dev/ttyACM1 is a {SAMBA.name}, the project is for {ST.name}") as error:
        take(ST, port="/dev/ttyACM1")
    assert error.value.failure == "wrong chip"
    take(ST, port="/dev/ttyACM1", force=True)


def test_a_bootloader_in_rom(bench: Bench) -> None:
    bench.program("dfu-util")
    with pytest.raises(NoFlasherError) as error:
        take(DFU)
    way = DFU.flash[0]
    assert f"dfu-util: its bootloader (0483:df11) is not there: {way.enter}" in error.value.cause  # type: ignore[union-attr]
    bench.plug("1-1", 0x0483, 0xDF11, serial="357A")
    assert (take(DFU).method, take(DFU).serial_number) == ("dfu-util", "357A")
    bench.plug("1-2", 0x0483, 0xDF11, serial="357B")
    with pytest.raises(FlashError, match="several boards"):
        take(DFU)


def test_a_system_that_does_not_list_usb_devices_lets_the_flasher_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edgelearn.firmware.flash.ports.USB_DEVICES", tmp_path / "absent")
    bench.program("dfu-util")
    assert take(DFU).method == "dfu-util"
    # Something that is seen for certain goes before.
    bench.program("openocd")
    bench.program("st-flash")
    bench.ports = [port("/dev/cu.usbmodem1", *(lambda one: (one.vid, one.pid))(usb(ST, "interface")), "S1")]
    assert take(ST).method == "st-flash"


def test_a_probe_of_ones_own(bench: Bench) -> None:
    bench.program("openocd")
    with pytest.raises(NoFlasherError, match="cannot be flashed now") as error:
        take(DFU)
    assert "openocd: no debug probe is plugged in, and the board has none of its own" in error.value.cause
    bench.plug("1-4", 0x1209, 0x1234, serial="E1", product="Somebody's CMSIS-DAP v2")
    assert (take(DFU).method, take(DFU).serial_number) == ("openocd", "E1")


def test_the_interface_chip_of_another_board_is_no_probe_unless_asked(bench: Bench) -> None:
    bench.program("openocd")
    one = usb(ST, "interface")
    bench.plug("1-4", one.vid, one.pid, serial="E1", product="STM32 STLink")
    with pytest.raises(NoFlasherError):
        take(DFU)
    assert take(DFU, method="openocd").serial_number == "E1"


def test_serial_bootloaders(bench: Bench) -> None:
    bench.program("bossac")
    with pytest.raises(NoFlasherError) as error:
        take(SAMBA)
    assert "bossac: no serial port of it is there (2341:" in error.value.cause
    plug(bench, SAMBA, "application")
    assert take(SAMBA).port == "/dev/ttyACM0"
    plug(bench, SAMBA, "bootloader", device="/dev/ttyACM1")
    with pytest.raises(FlashError, match="several boards"):
        take(SAMBA)
    assert take(SAMBA, port="/dev/ttyACM1").port == "/dev/ttyACM1"


def test_drives_are_known_by_their_label(bench: Bench) -> None:
    way = UF2.flash[0]
    with pytest.raises(NoFlasherError) as error:
        take(UF2)
    assert f"drive: its drive {way.volume} is not there" in error.value.cause  # type: ignore[union-attr]
    bench.drive("OTHER")
    with pytest.raises(NoFlasherError):
        take(UF2)
    folder = bench.drive(way.volume)  # type: ignore[union-attr]
    found = take(UF2)
    assert found.method == "drive"
    assert found.drive is not None
    assert found.drive.path == folder
    assert found.drive.info == "A-Board-v1"


def test_the_kind_of_firmware_chooses_the_flasher(bench: Bench) -> None:
    board = load_board(boards_with("esptool")[0])
    plug(bench, board)
    for program in ("arduino-cli", "esptool.py", "mpremote"):
        bench.program(program)
    assert take(board, Output.ARDUINO).method == "arduino-cli"
    assert take(board, Output.MICROPYTHON).method == "mpremote"
    found = take(board, None, firmware=Path("mp.bin"))
    assert (found.method, found.program) == ("esptool", "esptool.py")


#: Two boards whose interface chips have the same identifier and offer a drive of the same name.
TWINS = [board for board in map(load_board, board_names()) if any(one.serial_prefixes for one in board.usb)][:2]
SERIALS = [usb(board, "interface").serial_prefixes[-1] + "0000012345" for board in TWINS]


def test_twins_are_told_apart_by_their_serial_numbers(bench: Bench) -> None:
    bench.program("pyocd")
    one, other = TWINS
    assert (usb(one, "interface").vid, usb(one, "interface").pid) == (
        usb(other, "interface").vid,
        usb(other, "interface").pid,
    )
    plug(bench, other, serial=SERIALS[1])
    with pytest.raises(NoFlasherError) as error:
        take(one)
    prefixes = "... or ".join(usb(one, "interface").serial_prefixes)
    assert f"with a serial number {prefixes}...) is not plugged in" in error.value.cause
    assert f"plugged in: /dev/ttyACM0 ({other.name})" in error.value.cause
    with pytest.raises(FlashError, match=f"at /dev/ttyACM0 is a {other.name}, the project is for {one.name}") as wrong:
        take(one, port="/dev/ttyACM0")
    assert SERIALS[1] in wrong.value.cause
    plug(bench, one, device="/dev/ttyACM1", serial=SERIALS[0])
    assert take(one).serial_number == SERIALS[0]
    assert take(other).serial_number == SERIALS[1]
    names = {found.name: [b.name for b in found.boards] for found in find_devices(choose.look())}
    assert names == {"/dev/ttyACM0": [other.name], "/dev/ttyACM1": [one.name]}


def test_a_serial_number_that_nobody_has_is_neither_and_an_unknown_one_may_be_both(bench: Bench) -> None:
    plug(bench, TWINS[0], serial="0000000001")
    (found,) = find_devices(choose.look())
    assert [b.name for b in found.boards] == []
    plug(bench, TWINS[0], device="/dev/ttyACM1", serial="")
    assert {b.name for b in find_devices(choose.look())[1].boards} == {board.name for board in TWINS}


def test_drives_of_twins(bench: Bench) -> None:
    one, other = TWINS
    label = next(way.volume for way in one.flash if isinstance(way, Drive))
    assert label in [way.volume for way in other.flash if isinstance(way, Drive)]
    folder = bench.chip_drive(label, SERIALS[1])
    with pytest.raises(NoFlasherError) as error:
        take(one, method="drive")
    assert f"the drive {folder} (serial number {SERIALS[1]}) is another board's" in error.value.cause
    found = take(other, method="drive")
    assert (found.drive.path if found.drive else None, found.serial_number) == (folder, SERIALS[1])
    (listed,) = find_devices(choose.look())
    assert ([b.name for b in listed.boards], listed.serial_number) == ([other.name], SERIALS[1])
    second = bench.chip_drive(label, SERIALS[0], at="second")
    assert take(one, method="drive").drive.path == second  # type: ignore[union-attr]


def test_a_named_port_tells_which_drive_is_meant(bench: Bench) -> None:
    board = TWINS[0]
    label = next(way.volume for way in board.flash if isinstance(way, Drive))
    one, other = (f"{usb(board, 'interface').serial_prefixes[-1]}{number:010}" for number in (1, 2))
    plug(bench, board, serial=one)
    plug(bench, board, device="/dev/ttyACM1", serial=other)
    folder = bench.chip_drive(label, other)
    # Only the other's drive is mounted: it is not that of the port.
    with pytest.raises(NoFlasherError) as error:
        take(board, method="drive", port="/dev/ttyACM0")
    assert f"the drive {folder} {other} is not known as that of the board at /dev/ttyACM0 (serial number {one})" in str(
        error.value.cause
    )
    assert take(board, method="drive", port="/dev/ttyACM1").drive.path == folder  # type: ignore[union-attr]
    # A second one of the same label is mounted under a name with a number.
    second = bench.chip_drive(f"{label}1", one)
    with pytest.raises(FlashError, match="several boards") as several:
        take(board, method="drive")
    assert str(folder) in several.value.cause
    assert str(second) in several.value.cause
    assert "--port" in several.value.hint
    assert take(board, method="drive", port="/dev/ttyACM0").drive.path == second  # type: ignore[union-attr]
    assert take(board, method="drive", port="/dev/ttyACM1").drive.path == folder  # type: ignore[union-attr]


def test_a_drive_without_serial_number_is_taken_for_that_of_a_port_only_where_no_other_is_there(bench: Bench) -> None:
    board = UF2
    volume = next(way.volume for way in board.flash if isinstance(way, Drive))
    folder = bench.drive(volume)
    plug(bench, board, "bootloader", serial="S1")
    assert take(board, method="drive", port="/dev/ttyACM0").drive.path == folder  # type: ignore[union-attr]
    plug(bench, board, "application", device="/dev/ttyACM1", serial="S2")
    # A board that runs its program offers no drive, and of the other nobody knows it any more.
    for device in ("/dev/ttyACM0", "/dev/ttyACM1"):
        with pytest.raises(NoFlasherError, match="is not known as that of the board at"):
            take(board, method="drive", port=device)


def test_linux_says_which_device_a_drive_is(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    volume = next(way.volume for way in UF2.flash if isinstance(way, Drive))
    folder = bench.drive(volume)
    number = folder.stat().st_dev
    device = tmp_path / "devices" / "1-5"
    block = device / "1-5:1.2" / "host0" / "block" / "sda"
    block.mkdir(parents=True)
    (device / "idVendor").write_text("239a\n")
    (device / "serial").write_text("S5\n")
    (tmp_path / f"{os.major(number)}:{os.minor(number)}").symlink_to(block)
    monkeypatch.setattr(drives, "BLOCK_DEVICES", tmp_path)
    found = take(UF2, method="drive")
    assert found.drive is not None
    assert (found.drive.serial_number, found.drive.location) == ("S5", "1-5")
    plug(bench, UF2, "bootloader", serial="S4")
    with pytest.raises(NoFlasherError, match="is not known as that of the board at"):
        take(UF2, method="drive", port="/dev/ttyACM0")


def test_a_named_port_tells_which_bootloader_is_meant(bench: Bench) -> None:
    bench.program("dfu-util")
    bench.plug("1-8", 0x0483, 0xDF11, serial="357A")
    plug(bench, DFU, "application", serial="357B")
    with pytest.raises(NoFlasherError) as error:
        take(DFU, port="/dev/ttyACM0")
    assert "the bootloader 0483:df11 357A is not known as that of the board at /dev/ttyACM0" in error.value.cause
    assert take(DFU).serial_number == "357A"
    bench.plug("1-9", 0x0483, 0xDF11, serial="357B")
    assert take(DFU, port="/dev/ttyACM0").serial_number == "357B"
    with pytest.raises(FlashError, match="several boards") as several:
        take(DFU)
    assert "--port" not in several.value.hint


def test_the_chip_of_another_board_is_not_that_of_a_named_port(bench: Bench) -> None:
    """Also where ports do not say into which connectors they are plugged."""
    bench.program("st-flash")
    one = usb(ST, "interface")
    bench.ports.append(port("/dev/ttyACM0", one.vid, one.pid, "S1"))
    bench.plug("1-1", one.vid, one.pid, serial="S2")
    with pytest.raises(NoFlasherError) as error:
        take(ST, port="/dev/ttyACM0", method="st-flash")
    assert "S2 is not known as that of the board at /dev/ttyACM0 (serial number S1)" in error.value.cause


def test_no_drive_is_called_like_a_second_one_of_another_board() -> None:
    volumes = {way.volume for name in board_names() for way in load_board(name).flash if isinstance(way, Drive)}
    for volume in volumes:
        for name in (volume, f"{volume}1", f"{volume} 1", f"{volume}12"):
            drive = FoundDrive(path=Path(name), label=name)
            assert [one for one in volumes if drive.is_called(one)] == [volume]
        assert not FoundDrive(path=Path("x"), label=f"{volume}X").is_called(volume)


def test_a_method_for_another_kind_of_project(bench: Bench) -> None:
    with pytest.raises(NoFlasherError, match="cannot be flashed with arduino-cli") as error:
        take(ST, method="arduino-cli")
    assert "it is not for a project for bare-metal" in error.value.cause
    assert "its ways are: st-flash" in error.value.cause
    board = load_board(boards_with("esptool")[0])
    with pytest.raises(NoFlasherError) as error:
        take(board, Output.ARDUINO, method="esptool")
    assert "--firmware FILE" in error.value.cause


@pytest.mark.skipif(sys.platform == "win32", reason="optional: links to devices")
def test_a_port_that_is_there_under_another_name(bench: Bench, tmp_path: Path) -> None:
    device = tmp_path / "ttyACM3"
    device.touch()
    (tmp_path / "by-id").symlink_to(device)
    bench.ports = [port(str(device), 1, 2)]
    here = choose.look()
    assert choose.find_port(here, str(tmp_path / "by-id")) == str(device)
    assert choose.find_port(here, str(device)) == str(device)
    # A file is no port, a device that nobody lists may be one.
    (tmp_path / "file").touch()
    with pytest.raises(PortError, match=f"there is no port {tmp_path / 'file'}") as error:
        choose.find_port(here, str(tmp_path / "file"))
    assert error.value.cause == f"there are: {device}"
    assert choose.find_port(here, os.devnull) == os.devnull


def test_a_port_of_nobody_is_refused_where_the_way_does_not_go_through_it(bench: Bench) -> None:
    bench.program("st-flash")
    plug(bench, ST)
    bench.ports.append(port("/dev/ttyUSB0", 0x1234, 0x5678))
    with pytest.raises(FlashError, match=f"/dev/ttyUSB0 is no port of {ST.name}") as error:
        take(ST, port="/dev/ttyUSB0")
    assert "its USB identifier is 1234:5678" in error.value.cause
    assert "its ports are: /dev/ttyACM0" in error.value.hint
    take(ST, port="/dev/ttyUSB0", force=True)


def test_a_port_that_is_named_is_taken_where_the_board_is_not_known(bench: Bench) -> None:
    bench.program("bossac")
    bench.ports.append(port("/dev/ttyACM4", 0x1234, 0x5678))
    found = take(SAMBA, port="/dev/ttyACM4")
    assert (found.port, found.named) == ("/dev/ttyACM4", True)
    # One that is probably an adapter's only where the way is asked for.
    with pytest.raises(NoFlasherError) as error:
        take(SAMBA, spare_port="/dev/ttyACM4")
    assert "/dev/ttyACM4 is taken for the adapter at its pins, unless you add `--method bossac`" in error.value.cause
    assert "press the board's reset button twice" in error.value.cause
    found = take(SAMBA, spare_port="/dev/ttyACM4", method="bossac")
    assert (found.port, found.named) == ("/dev/ttyACM4", True)
    # A board that is known goes before.
    plug(bench, SAMBA, "bootloader")
    found = take(SAMBA, spare_port="/dev/ttyACM4")
    assert (found.port, found.named) == ("/dev/ttyACM0", False)


def test_the_first_way_with_what_it_lacks(bench: Bench) -> None:
    found = take(ST, anyway=True)
    assert found.method == method_of(ST.flash[0])
    assert len(found.lacks) == 2
    bench.program("openocd")
    plug(bench, ST)
    assert take(ST, anyway=True).method == "openocd"
    plug(bench, ST, device="/dev/ttyACM1", serial="S2")
    assert take(ST, anyway=True).several


def test_what_is_plugged_in(bench: Bench) -> None:
    assert find_devices(choose.look()) == ()
    plug(bench, SAMBA, "bootloader")
    bench.ports.append(port("/dev/ttyS0"))
    bench.plug("1-7", 0x0483, 0xDF11, serial="357A", product="STM32  BOOTLOADER")
    bench.plug("1-8", 0x1D6B, 0x0002, product="a hub")
    bench.drive(UF2.flash[0].volume)  # type: ignore[union-attr]
    found = {one.name: one for one in find_devices(choose.look())}
    assert len(found) == 4
    assert [(b.name, b.mode) for b in found["/dev/ttyACM0"].boards] == [(SAMBA.name, "bootloader")]
    assert found["/dev/ttyACM0"].serial_number == "S1"
    assert found["/dev/ttyS0"].boards == ()
    assert found["1-7"].kind == "usb"
    assert DFU.name in [b.name for b in found["1-7"].boards]
    drive = next(one for one in found.values() if one.kind == "drive")
    assert UF2.name in [b.name for b in drive.boards]
    assert drive.description == "A-Board-v1"
    for said, shown in (("S140 7.3.0", "SoftDevice S140 7.3.0"), ("not found", "no SoftDevice")):
        bench.drive(f"OTHER {said}", f"Board-ID: B\nSoftDevice: {said}\n")
        assert f"B, {shown}" in [one.description for one in find_devices(choose.look())]


def test_programs_beside_the_interpreter_are_found(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.program("pyocd", ("said\n", 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert process.find_program("pyocd") == bench.bin / "pyocd"
    assert process.run(("pyocd", "list")) == "said\n"
    monkeypatch.setattr(process, "OWN_FOLDER", tmp_path)
    assert process.find_program("pyocd") is None
    with pytest.raises(ProgramMissingError):
        process.run(("pyocd", "list"))
