"""`edgelearn flash` and `edgelearn devices` as a person runs them: stand-ins flash, a fake device says hello."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgelearn import flashing
from edgelearn.board import Board, Output, board_names, load_board
from edgelearn.board.ways import Drive, EspTool, method_of
from edgelearn.cli import main
from edgelearn.errors import (
    EdgelearnError,
    FlashError,
    NoFlasherError,
    OptionError,
    PortError,
    UnsafeImageError,
    WrongModelError,
)
from edgelearn.firmware.flash import ports, run
from edgelearn.firmware.flash.image import make_image
from edgelearn.firmware.flash.methods import METHODS
from edgelearn.firmware.flash.micropython.found import Found
from edgelearn.firmware.flash.micropython.plan import Deployment
from edgelearn.firmware.flash.tool import Failure, Job
from edgelearn.firmware.package import Package
from tests.support.fake_device import FakeDevice, Model
from tests.support.flashing import Bench, boards_with, image_for, port, usb, write_project

HASH = bytes(range(8)).hex()
PROBED = next(
    board
    for board in map(load_board, boards_with("openocd"))
    if board.uart and board.uart.reaches_usb and any(one.mode.value == "interface" for one in board.usb)
)
SAMBA = next(board for board in map(load_board, boards_with("bossac")) if board.uart and not board.uart.reaches_usb)
SERIAL = load_board(boards_with("esptool")[0])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(flashing, "HELLO_S", 1.5)
    monkeypatch.setattr(flashing, "_EACH_HELLO_S", 0.5)
    monkeypatch.setattr(flashing, "_PAUSE_S", 0.02)
    monkeypatch.setattr(ports, "RETURN_S", 1.0)
    monkeypatch.setattr(ports, "_POLL_S", 0.02)
    monkeypatch.setattr(run, "_LEAVE_S", 0.1)
    return Bench(tmp_path / "bench", monkeypatch)


def invoke(*argv: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in argv], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def project(tmp_path: Path, board: Board, output: Output | None = None) -> Path:
    return write_project(
        tmp_path / "project", board, image_for(board, 5000), model_hash=HASH + "00" * 24, output=output
    )


def plug(bench: Bench, board: Board, mode: str, device: str, *, serial: str = "S1", at: str = "1-1") -> None:
    one = usb(board, mode)
    bench.ports.append(port(device, one.vid, one.pid, serial, f"{at}:1.0"))
    bench.plug(at, one.vid, one.pid, serial=serial)


def test_flashed_and_heard(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, PROBED)
    bench.program("openocd", ("** Verified OK **\n", 0))
    with FakeDevice(Model(board=PROBED.name)) as device:
        plug(bench, PROBED, "interface", device.url)
        result = invoke("flash", folder, "--method", "openocd")
        assert f"flashed {PROBED.name} with openocd" in result.stdout
        assert f"it runs the model {HASH}; stream to it with --port {device.url}" in result.stdout
        assert f"flashing {PROBED.name} with OpenOCD" in result.stderr
        done = json.loads(invoke("flash", folder, "--method", "openocd", "--json").stdout)
    assert (done["board"], done["attempts"], done["model_hash"]) == (PROBED.name, 1, HASH)
    (argv, _) = bench.calls("openocd")
    assert argv[-1] == f"program {{{folder / 'build' / 'flash.hex'}}} verify reset exit"
    assert done["commands"] == [["openocd", *argv]]
    assert "adapter serial S1" in argv


def test_a_dry_run_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, PROBED)
    bench.program("st-flash")
    plug(bench, PROBED, "interface", "/dev/ttyACM0")
    result = invoke("flash", folder, "--method", "st-flash", "--dry-run")
    assert f"{PROBED.name} would be flashed with st-flash:\n  st-flash --reset --serial S1 write " in result.stdout
    assert bench.calls("st-flash") == []


def test_a_dry_run_shows_the_command_where_program_and_board_are_missing(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, PROBED)
    first = PROBED.flash[0]
    result = invoke("flash", folder, "--dry-run")
    lines = result.stdout.splitlines()
    assert lines[0] == f"{PROBED.name} would be flashed with {method_of(first)}:"
    assert lines[1].startswith(f"  {METHODS[method_of(first)].program} ")
    assert lines[2].startswith(f"note: missing: {METHODS[method_of(first)].program} is not installed (")
    assert lines[3].startswith("note: missing: its interface chip (")
    assert len(lines) == 4
    asked = invoke("flash", folder, "--dry-run", "--method", "openocd").stdout
    assert f"program {{{folder / 'build' / 'flash.hex'}}} verify reset exit" in asked
    assert "note: missing: openocd is not installed" in asked
    done = json.loads(invoke("flash", folder, "--dry-run", "--method", "drive", "--json").stdout)
    (way,) = (way for way in PROBED.flash if isinstance(way, Drive))
    file = f"flash.{way.format.value}"
    assert done["commands"] == [
        ["copy", str(folder / "build" / file), str(Path(way.volume) / f"firmware.{way.format.value}")]
    ]
    assert done["attempts"] == 0
    assert done["notes"][0].startswith(f"missing: its drive {way.volume} is not there")
    # Nothing of what is wrong in itself is passed over.
    invoke("flash", folder, "--dry-run", "--method", "nonsense", code=NoFlasherError.exit_code)


def test_a_dry_run_through_a_port_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, SAMBA)
    assert "  bossac --port=PORT " in invoke("flash", folder, "--dry-run").stdout
    shown = invoke("flash", folder, "--dry-run", "--port", "/dev/absent").stdout
    assert "  bossac --port=/dev/absent " in shown
    assert "note: missing: there is no port /dev/absent; no serial port is there\n" in shown
    assert "by its USB identifier" not in shown
    plug(bench, SAMBA, "bootloader", "/dev/ttyACM0")
    plug(bench, SAMBA, "bootloader", "/dev/ttyACM1", serial="S2", at="1-2")
    shown = invoke("flash", folder, "--dry-run").stdout
    assert (
        "note: several boards fit: /dev/ttyACM0 S1, /dev/ttyACM1 S2; unplug all but one, or say which with --port"
        in shown
    )


def test_port_and_method_are_looked_at_before_anything_is_built(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(path: Path) -> None:
        raise AssertionError("built")

    monkeypatch.setattr("edgelearn.pipeline.build", build)
    monkeypatch.setattr("edgelearn.pipeline.convert", build)
    folder = write_project(tmp_path / "project", PROBED)
    model = tmp_path / "model.keras"
    for command in (["flash", folder], ["deploy", model, "--board", PROBED.name, "-o", tmp_path / "out"]):
        bench.ports.clear()
        said = invoke(*command, "--method", "nonsense", code=NoFlasherError.exit_code).stderr
        assert "there is no method nonsense; for a project for bare-metal its ways are: " in said
        said = invoke(*command, "--method", "arduino-cli", code=NoFlasherError.exit_code).stderr
        assert "it is not for a project for bare-metal" in said
        said = invoke(*command, "--port", "/dev/absent", code=PortError.exit_code).stderr
        assert "Error: there is no port /dev/absent\nCause: no serial port is there\n" in said
        one = usb(SAMBA, "application")
        bench.ports.append(port("/dev/ttyACM7", one.vid, one.pid))
        said = invoke(*command, "--port", "/dev/absent", code=PortError.exit_code).stderr
        assert f"Cause: there are: /dev/ttyACM7 ({SAMBA.name})\n" in said
        said = invoke(*command, "--port", "/dev/ttyACM7", code=FlashError.exit_code).stderr
        assert f"at /dev/ttyACM7 is a {SAMBA.name}, the project is for {PROBED.name}" in said
        invoke(*command, "--method", "drive", "--port", "emulate", code=OptionError.exit_code)
    assert not (tmp_path / "out").exists()


def test_a_board_that_is_not_known_by_its_identifier_is_flashed_by_the_port_that_is_named(
    bench: Bench, tmp_path: Path
) -> None:
    """Its bootloader comes back with an identifier that nobody knows either."""
    folder = project(tmp_path, SAMBA)
    bench.program("bossac", ("Verify successful\n", 0))
    bench.ports = [port("/dev/ttyUSB0", 0x1234, 0x1, "C1", "1-1:1.0"), port("/dev/ttyACM9", 0x1234, 0x1, "C2", "1-2")]
    bench.after_touch = [
        port("/dev/ttyACM1", 0x1234, 0x2, "", "1-1:1.0"),
        port("/dev/ttyACM9", 0x1234, 0x1, "C2", "1-2"),
    ]
    result = invoke("flash", folder, "--port", "/dev/ttyUSB0", "--method", "bossac")
    note = f"/dev/ttyUSB0 is not known as a {SAMBA.name} by its USB identifier; it is taken because you name it"
    assert f"note: {note}\n" in result.stderr
    assert f"note: {note}\n" in result.stdout
    assert "its serial line is not on USB" in result.stdout
    assert bench.touched == ["/dev/ttyUSB0"]
    assert [argv[0] for argv in bench.calls("bossac")] == ["--port=/dev/ttyACM1"]
    # Without the name nothing is guessed.
    assert "no serial port of it is there" in invoke("flash", folder, code=NoFlasherError.exit_code).stderr


#: Boards whose serial line is on pins, flashed through a port that is opened at 1200 baud first.
TOUCHED = [
    board
    for name in board_names()
    if (board := load_board(name)).uart
    and not board.uart.reaches_usb
    and any(METHODS[method_of(way)].touches for way in board.flash)
]


@pytest.mark.parametrize("board", TOUCHED, ids=lambda board: board.name)
def test_the_port_of_another_board_or_of_an_adapter_is_never_flashed(
    bench: Bench, tmp_path: Path, board: Board
) -> None:
    folder = project(tmp_path, board)
    method = next(method_of(way) for way in board.flash if METHODS[method_of(way)].touches)
    program = METHODS[method].program
    bench.program(program, ("Device programmed.\nVerify successful\n", 0))
    others = [(0x0403, 0x6001)]  # an adapter
    own = {(one.vid, one.pid) for one in board.usb}
    others += sorted({(one.vid, one.pid) for name in board_names() for one in load_board(name).usb} - own)
    for vid, pid in others:
        bench.ports = [port("/dev/ttyUSB0", vid, pid, "", "1-1")]
        for more in ((), ("--method", method)):
            if more and vid == 0x0403:
                continue  # then the person means it
            result = CliRunner().invoke(main, ["flash", str(folder), "--port", "/dev/ttyUSB0", *more])
            assert result.exit_code in (FlashError.exit_code, NoFlasherError.exit_code), result.output
            assert "/dev/ttyUSB0 is a" in result.stderr or "press the board's reset button twice" in result.stderr
    assert bench.touched == []
    assert bench.calls(program) == []
    # Beside it the board itself is flashed, through its own port.
    with FakeDevice(Model(board=board.name)) as device:
        bench.ports = [port(device.url, 0x0403, 0x6001, "A1", "1-1")]
        plug(bench, board, "bootloader", "/dev/ttyACM0", at="1-2")
        invoke("flash", folder, "--port", device.url, "--method", method)
    argv = " ".join(bench.calls(program)[-1])
    assert "/dev/ttyACM0" in argv
    assert device.url not in argv


def test_an_unsafe_image_is_refused_before_anything_runs(bench: Bench, tmp_path: Path) -> None:
    begin = image_for(SAMBA).begin
    folder = write_project(
        tmp_path / "project", SAMBA, make_image({begin - 1: b"\0" + image_for(SAMBA).segments[0].data})
    )
    bench.program("bossac")
    plug(bench, SAMBA, "bootloader", "/dev/ttyACM0")
    result = invoke("flash", folder, code=UnsafeImageError.exit_code)
    assert f"Error: flashing {SAMBA.name} in this way would erase {SAMBA.kept[0].holder}" in result.stderr
    assert "--force" in result.stderr
    assert bench.calls("bossac") == []
    assert f"flashed {SAMBA.name}" in invoke("flash", folder, "--force").stdout


def test_a_serial_line_on_pins_needs_an_adapter(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, SAMBA)
    bench.program("bossac", ("Verify successful\n", 0))
    plug(bench, SAMBA, "bootloader", "/dev/ttyACM0")
    result = invoke("flash", folder)
    assert SAMBA.uart is not None
    assert "its serial line is not on USB: connect a 3.3 V USB serial adapter" in result.stdout
    assert f"RX to {SAMBA.uart.tx}" in result.stdout
    with FakeDevice(Model(board=SAMBA.name)) as device:
        # The adapter's port is for hello; the board is flashed through its own.
        bench.ports.append(port(device.url, 0x0403, 0x6001, "FT1"))
        for named in (device.url, "socket://localhost:" + device.url.rsplit(":", 1)[1]):
            result = invoke("flash", folder, "--port", named)
            assert f"stream to it with --port {named}" in result.stdout
    assert [argv[0] for argv in bench.calls("bossac")] == ["--port=/dev/ttyACM0"] * 3


def test_a_port_that_vanishes_midway_is_flashed_again_under_its_new_name(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, SAMBA)
    bench.program("bossac", ("[===    ] 11% (22/195 pages)\nSAM-BA operation failed\n", 1), ("Verify successful\n", 0))
    plug(bench, SAMBA, "bootloader", "/dev/ttyACM0")
    here, back = bench.ports, [port("/dev/ttyACM5", usb(SAMBA, "bootloader").vid, usb(SAMBA, "bootloader").pid, "S1")]
    looks = 0

    def seen() -> list[object]:
        nonlocal looks
        if bench.calls("bossac"):  # after the failure it is gone for a while
            looks += 1
            return [] if looks < 4 else list(back)
        return list(here)

    bench.see(seen)
    result = invoke("flash", folder)
    assert "vanished while bossac was writing to it; waiting for it to come back" in result.stderr
    assert "with bossac, attempt 2" in result.stderr
    assert [argv[0] for argv in bench.calls("bossac")] == ["--port=/dev/ttyACM0", "--port=/dev/ttyACM5"]


def test_a_port_that_does_not_come_back(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, SAMBA)
    bench.program("bossac", ("SAM-BA operation failed\n", 1))
    plug(bench, SAMBA, "bootloader", "/dev/ttyACM0")
    here = bench.ports
    bench.see(lambda: [] if bench.calls("bossac") else list(here))
    result = invoke("flash", folder, code=FlashError.exit_code)
    assert f"{SAMBA.name} vanished while bossac was writing to it" in result.stderr
    assert "Cause: SAM-BA operation failed" in result.stderr
    assert len(bench.calls("bossac")) == 1


def test_it_is_not_flashed_for_ever(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, SAMBA)
    bench.program("bossac", ("SAM-BA operation failed\n", 1))
    plug(bench, SAMBA, "bootloader", "/dev/ttyACM0")
    invoke("flash", folder, code=FlashError.exit_code)
    assert len(bench.calls("bossac")) == flashing.ATTEMPTS


def test_other_failures_are_not_tried_again(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, SAMBA)
    bench.program("bossac", ("Verify failed\nPage errors: 1\nByte errors: 7\n", 2))
    plug(bench, SAMBA, "bootloader", "/dev/ttyACM0")
    result = invoke("flash", folder, code=FlashError.exit_code)
    assert "does not read back" in result.stderr
    assert len(bench.calls("bossac")) == 1


def test_an_arduino_board_returns_under_another_name(bench: Bench, tmp_path: Path) -> None:
    """Its port leaves and comes back as another after the upload; the same serial number is waited for."""
    folder = project(tmp_path, SAMBA, Output.ARDUINO)
    bench.program("arduino-cli", ("compiled\n", 0), ("New upload port\n", 0))
    one = usb(SAMBA, "application")
    plug(bench, SAMBA, "application", "/dev/ttyACM0")
    here = bench.ports
    with FakeDevice(Model(board=SAMBA.name)) as device:
        looks = 0

        def seen() -> list[object]:
            nonlocal looks
            if len(bench.calls("arduino-cli")) < 2:
                return list(here)
            looks += 1
            other = port("/dev/ttyACM9", one.vid, one.pid, "another board")
            return [other] if looks < 3 else [other, port(device.url, one.vid, one.pid, "S1")]

        bench.see(seen)
        result = invoke("flash", folder)
    assert f"stream to it with --port {device.url}" in result.stdout
    assert SAMBA.arduino is not None
    assert bench.calls("arduino-cli")[1] == [
        *("upload", "--fqbn", SAMBA.arduino.fqbn, "--port", "/dev/ttyACM0"),
        *("--input-dir", str(folder / "build/arduino"), str(folder / "examples/Learn")),
    ]


def test_the_same_board_beside_it_is_not_asked(bench: Bench, tmp_path: Path) -> None:
    """It runs the same model already; the one that is flashed comes back late, with another serial number."""
    folder = project(tmp_path, SAMBA, Output.ARDUINO)
    bench.program("arduino-cli")
    one = usb(SAMBA, "application")
    with FakeDevice(Model(board=SAMBA.name)) as beside, FakeDevice(Model(board=SAMBA.name)) as flashed:
        other = port(beside.url, one.vid, one.pid, "S2", "1-2:1.0")
        looks = 0

        def seen() -> list[object]:
            nonlocal looks
            if len(bench.calls("arduino-cli")) < 2:
                return [port("/dev/ttyACM0", one.vid, one.pid, "S1", "1-1:1.0"), other]
            looks += 1
            return [other] if looks < 4 else [port(flashed.url, one.vid, one.pid, "S3", "1-7:1.0"), other]

        bench.see(seen)
        result = invoke("flash", folder, "--port", "/dev/ttyACM0")
    assert f"stream to it with --port {flashed.url}" in result.stdout
    assert looks > 3


def test_the_port_with_the_serial_number_of_the_chip_is_asked(bench: Bench, tmp_path: Path) -> None:
    """Another chip of the kind comes while the board is flashed, and the board's own a moment later."""
    folder = project(tmp_path, PROBED)
    bench.program("openocd")
    one = usb(PROBED, "interface")
    bench.plug("1-1", one.vid, one.pid, serial="S1")
    with FakeDevice(Model(board=PROBED.name)) as beside, FakeDevice(Model(board=PROBED.name)) as flashed:
        looks = 0

        def seen() -> list[object]:
            nonlocal looks
            looks += 1
            other = port(beside.url, one.vid, one.pid, "S2", "1-2:1.0")
            return [other] if looks < 6 else [port(flashed.url, one.vid, one.pid, "S1", "1-1:1.0"), other]

        bench.see(seen)
        result = invoke("flash", folder, "--method", "openocd")
    assert f"stream to it with --port {flashed.url}" in result.stdout
    assert looks > 5


def test_two_ports_that_it_may_be_are_not_guessed_between(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, PROBED)
    bench.program("openocd")
    one = usb(PROBED, "interface")
    bench.plug("1-1", one.vid, one.pid)
    with FakeDevice(Model(board=PROBED.name)) as device:
        bench.ports = [port(device.url, one.vid, one.pid), port("/dev/ttyACM1", one.vid, one.pid)]
        result = invoke("flash", folder, "--method", "openocd", code=FlashError.exit_code)
        assert f"{PROBED.name} was flashed, but which port is its cannot be told" in result.stderr
        assert f"it may be any of /dev/ttyACM1, {device.url}" in result.stderr
        assert "name it with --port" in result.stderr
        assert device.url in invoke("flash", folder, "--method", "openocd", "--port", device.url).stdout


def test_nobody_says_hello(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, PROBED)
    bench.program("openocd")
    plug(bench, PROBED, "interface", "socket://127.0.0.1:9")
    result = invoke("flash", folder, "--method", "openocd", code=FlashError.exit_code)
    assert f"{PROBED.name} was flashed, but no program says hello at socket://127.0.0.1:9" in result.stderr
    assert "press its reset button" in result.stderr


def test_the_port_does_not_come_back(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, PROBED)
    bench.program("openocd")
    plug(bench, PROBED, "interface", "/dev/ttyACM0")
    here = bench.ports
    bench.see(lambda: [] if bench.calls("openocd") else list(here))
    result = invoke("flash", folder, "--method", "openocd", code=FlashError.exit_code)
    assert "its serial port did not come back within 1.5 s" in result.stderr


def test_another_program_answers(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, PROBED)
    bench.program("openocd")
    with FakeDevice(Model(hash=b"another!")) as device:
        plug(bench, PROBED, "interface", device.url)
        result = invoke("flash", folder, "--method", "openocd", code=WrongModelError.exit_code)
    assert f"{PROBED.name} was flashed, but another program answers at {device.url}" in result.stderr
    assert b"another!".hex() in result.stderr
    assert HASH in result.stderr


def test_a_program_that_comes_late_is_waited_for(bench: Bench, tmp_path: Path) -> None:
    """The old program still answers once; then the new one does."""
    folder = project(tmp_path, PROBED)
    bench.program("openocd")
    with FakeDevice(Model(hash=b"old one!")) as old, FakeDevice(Model()) as new:
        one = usb(PROBED, "interface")
        plug(bench, PROBED, "interface", old.url)
        here = bench.ports
        looks = 0

        def seen() -> list[object]:
            nonlocal looks
            looks += bool(bench.calls("openocd"))
            return list(here) if looks < 2 else [port(new.url, one.vid, one.pid, "S1")]

        bench.see(seen)
        result = invoke("flash", folder, "--method", "openocd")
    assert f"--port {new.url}" in result.stdout


def test_nothing_is_plugged_in(bench: Bench, tmp_path: Path) -> None:
    result = invoke("flash", project(tmp_path, PROBED), code=NoFlasherError.exit_code)
    assert f"Error: {PROBED.name} cannot be flashed now" in result.stderr
    for way in ("openocd:", "pyocd:", "drive:"):
        assert way in result.stderr
    assert "Hint:  plug the board in" in result.stderr


def test_an_emulated_board_is_not_flashed(bench: Bench, tmp_path: Path) -> None:
    result = invoke("flash", project(tmp_path, PROBED), "--port", "emulate", code=OptionError.exit_code)
    assert "edgelearn emulate DIR" in result.stderr


def test_a_project_is_built_where_it_has_no_image(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_project(tmp_path / "project", PROBED)
    bench.program("st-flash")
    plug(bench, PROBED, "interface", "/dev/ttyACM0")
    built: list[Path] = []

    def build(path: Path) -> None:
        built.append(path)
        write_project(path, PROBED, image_for(PROBED))

    monkeypatch.setattr("edgelearn.pipeline.build", build)
    invoke("flash", folder, "--method", "st-flash", "--dry-run")
    assert built == [folder]


def test_micropython_itself(bench: Bench, tmp_path: Path) -> None:
    firmware = tmp_path / "mp.bin"
    firmware.write_bytes(b"\xe9" + bytes(5000))
    bench.program("esptool", ("esptool v5.6.0\n5.6.0\n", 0), ("Hash of data verified.\n", 0))
    plug(bench, SERIAL, SERIAL.usb[0].mode.value, "/dev/ttyUSB0")
    flash: Callable[..., Result] = lambda *more, code=0: invoke(  # noqa: E731
        "flash", "--firmware", firmware, "--board", SERIAL.name, *more, code=code
    )
    assert "--force" in flash(code=UnsafeImageError.exit_code).stderr
    assert f"flashed {SERIAL.name} with esptool" in flash("--force").stdout
    assert bench.calls("esptool")[-1][:5] == [
        "--chip",
        SERIAL.name.replace("_", ""),
        "--port",
        "/dev/ttyUSB0",
        "write-flash",
    ]
    assert "no port of a board" in flash("--port", "socket://127.0.0.1:1", code=OptionError.exit_code).stderr


def test_a_project_is_for_its_own_board(tmp_path: Path) -> None:
    folder = project(tmp_path, PROBED)
    assert "a project is for the board that it was" in invoke("flash", folder, "--board", PROBED.name, code=2).stderr
    assert "--board and --firmware" in invoke("flash", "--firmware", folder, code=2).stderr


def test_what_is_no_firmware_is_told_first(bench: Bench, tmp_path: Path) -> None:
    """Nothing is installed or plugged in: what is wrong with the file comes before."""
    drive = next(board for board in map(load_board, boards_with("mpremote")) if isinstance(board.flash[0], Drive))

    def said(file: Path, board: Board, error: type[EdgelearnError], *more: str) -> str:
        return invoke("flash", "--firmware", file, "--board", board.name, *more, code=error.exit_code).stderr

    absent = said(tmp_path / "absent.bin", SERIAL, UnsafeImageError)
    assert f"{tmp_path / 'absent.bin'} cannot be read\nCause: there is no such file" in absent
    text = tmp_path / "notes.txt"
    text.write_text("notes")
    wrong = said(text, SERIAL, OptionError, "--force")
    assert f"notes.txt is neither .uf2 nor .bin\nCause: {SERIAL.name} wants .bin" in wrong
    assert f"notes.txt is neither .uf2 nor .bin\nCause: {drive.name} wants .uf2" in said(text, drive, OptionError)
    assert "takes no firmware of others" in said(text, PROBED, OptionError)
    binary = tmp_path / "mp.bin"
    binary.write_bytes(b"PK\x03\x04")
    assert f"mp.bin is no .uf2 file\nCause: {drive.name} wants .uf2" in said(binary, drive, OptionError)
    assert f"{binary} is no firmware for {SERIAL.name}" in said(binary, SERIAL, UnsafeImageError)
    assert "cannot be flashed with mpremote" in said(binary, SERIAL, NoFlasherError, "--method", "mpremote")
    binary = binary.rename(tmp_path / "mp.uf2")
    assert "4 bytes are not a UF2 file" in said(binary, drive, UnsafeImageError)
    folder = project(tmp_path, SERIAL, Output.ARDUINO)
    assert f"flashed with `edgelearn flash {folder}`" in said(folder, SERIAL, OptionError)


def test_a_library_is_not_flashed_with_the_words_of_build(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path, PROBED, Output.LIBRARY)
    built = invoke("build", folder, code=OptionError.exit_code).stderr
    said = f"Error: {folder} is a library, which becomes part of your own firmware\nHint:  its README.md says how;"
    assert said in built
    assert invoke("flash", folder, code=OptionError.exit_code).stderr.startswith(said)
    assert invoke("flash", folder, "--dry-run", code=OptionError.exit_code).stderr.startswith(said)


def test_micropython_itself_goes_first_where_it_does_not_answer(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware = tmp_path / "mp.bin"
    firmware.write_bytes(b"\xe9" + bytes(5000))
    folder = project(tmp_path, SERIAL, Output.MICROPYTHON)
    package = Package(folder=folder / "build", sizes_bytes={"model/weights.bin": 10, "main.py": 20}, compiler="")
    monkeypatch.setattr("edgelearn.pipeline.build_package", lambda folder: package)
    bench.program("esptool", ("esptool v5.6.0\n5.6.0\n", 0), ("Hash of data verified.\n", 0))
    found = Found(name="micropython", version=(1, 25, 0), mpy=0, machine="", build="", heap_free_bytes=0)
    made = Deployment(
        found=found, in_rom=False, aside="", remove=(), moved=(), image=b"", write=(), files={}, listed=(), folder=""
    )
    asked: list[str] = []

    def deploy(job: Job, given: Package, **options: object) -> Deployment:
        assert given is package
        asked.append(job.port)
        if options["romfs"]:
            raise FlashError("no room in ROM", step="plan", failure=Failure.NOT_SUPPORTED.value, hint="without")
        if not any("write-flash" in call for call in bench.calls("esptool")):
            raise FlashError("no MicroPython answers", step="connect", failure=Failure.NO_ANSWER.value, hint="press")
        return made

    monkeypatch.setattr("edgelearn.firmware.flash.micropython.deploy.deploy", deploy)
    # Nothing is there yet: what would be done is shown.
    dry = invoke("flash", folder, "--firmware", firmware, "--dry-run", "--force").stdout
    assert "where MicroPython does not answer, mp.bin is flashed first" in dry
    assert "write model/weights.bin (10 bytes)" in dry
    assert "write-flash" in dry
    with FakeDevice(Model(board=SERIAL.name)) as device:
        plug(bench, SERIAL, SERIAL.usb[0].mode.value, device.url)
        error = invoke("flash", folder, code=FlashError.exit_code).stderr
        assert f"firmware of edgelearn that is no MicroPython runs there: {SERIAL.name}" in error
        done = invoke("flash", folder, "--firmware", firmware, "--force")
        assert "no MicroPython answers: mp.bin goes there first" in done.stderr
        assert "write-flash" in bench.calls("esptool")[-1]
        assert f"it runs the model {HASH}" in done.stdout
        assert asked == [device.url] * 3
        # What the package does not fit on is none that lacks MicroPython.
        count = len(bench.calls("esptool"))
        error = invoke("flash", folder, "--firmware", firmware, "--force", "--romfs", code=FlashError.exit_code).stderr
        assert "no room in ROM" in error
        assert len(bench.calls("esptool")) == count
        assert (
            "MicroPython is not emulated"
            in invoke("flash", folder, "--port", "emulate", code=OptionError.exit_code).stderr
        )
        # Nor is a way that no package goes by.
        words = ("flash", folder, "--firmware", firmware, "--force", "--method", "openocd")
        assert "cannot be flashed with openocd" in invoke(*words, code=NoFlasherError.exit_code).stderr
        assert len(bench.calls("esptool")) == count
    error = invoke("flash", folder, "--firmware", folder, code=OptionError.exit_code).stderr
    assert "is a folder, not a firmware's file" in error


def test_a_dry_run_of_micropython_itself(bench: Bench, tmp_path: Path) -> None:
    firmware = tmp_path / "mp.bin"
    firmware.write_bytes(b"\xe9" + bytes(5000))
    words = ("flash", "--firmware", firmware, "--board", SERIAL.name, "--force")
    shown = invoke(*words, "--dry-run", "--port", "/dev/absent").stdout
    assert f"write-flash 0x{next(w.offset for w in SERIAL.flash if isinstance(w, EspTool)):x} {firmware}" in shown
    assert "--port /dev/absent" in shown
    assert "note: missing: there is no port /dev/absent" in shown
    assert "note: missing: esptool is not installed" in shown
    invoke(*words, "--port", "/dev/absent", code=PortError.exit_code)


@pytest.mark.parametrize("argv", [["flash"], ["flash", "--firmware", "y"], ["flash", "x", "--board", "y"]])
def test_wrong_usage(argv: list[str]) -> None:
    invoke(*argv, code=2)


def test_devices(bench: Bench) -> None:
    assert "no serial port" in invoke("devices").stdout
    with FakeDevice(Model(board="fakeboard")) as device:
        plug(bench, PROBED, "interface", device.url)
        plug(bench, SAMBA, "bootloader", "socket://127.0.0.1:9", serial="S2", at="1-2")
        bench.plug("1-3", 0x0483, 0xDF11, serial="357A")
        text = invoke("devices").stdout
        for word in (device.url, PROBED.name, f"{SAMBA.name} (bootloader)", "0483:df11", "357A"):
            assert word in text
        assert "program" not in text
        shown = invoke("devices", "--hello").stdout
        assert "fakeboard" in shown
        assert HASH in shown
        listed = {one["name"]: one for one in json.loads(invoke("devices", "--hello", "--json").stdout)}
    assert listed[device.url]["program"] == f"fakeboard, model {HASH}"
    assert listed["socket://127.0.0.1:9"]["program"] == ""
    assert {"name": SAMBA.name, "mode": "bootloader"} in listed["socket://127.0.0.1:9"]["boards"]
    assert listed["1-3"]["kind"] == "usb"
