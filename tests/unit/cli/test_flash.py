"""`edgelearn flash` and `edgelearn devices` as a person runs them: stand-ins flash, a fake device says hello."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgelearn import flashing
from edgelearn.board import Board, Output, load_board
from edgelearn.cli import main
from edgelearn.errors import FlashError, NoFlasherError, OptionError, UnsafeImageError, WrongModelError
from edgelearn.firmware.flash import ports, run
from edgelearn.firmware.flash.image import make_image
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


@pytest.mark.parametrize("argv", [["flash"], ["flash", "x", "--firmware", "y"], ["flash", "x", "--board", "y"]])
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
