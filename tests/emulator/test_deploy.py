"""`edgelearn deploy`: a model file to a board in one go, and where it stops."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgelearn import flashing
from edgelearn.board import load_board
from edgelearn.cli import main
from edgelearn.deployment import STEPS
from edgelearn.errors import DoesNotFitError, NoFlasherError, OptionError, StorageError
from edgelearn.firmware.flash import choose
from edgelearn.firmware.flash.choose import Surroundings
from edgelearn.flashing import Flashed
from edgelearn.project import read_project
from tests.support.bundles import write_model
from tests.support.tools import require_tool

SENSOR = Path(__file__).parents[2] / "examples" / "sensor_window.c"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "small.tflite")
    return Path("small.tflite")


def deploy(*words: str | Path):
    return CliRunner().invoke(main, ["deploy", *map(str, words)])


@pytest.fixture
def nothing_is_plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    here = dict.fromkeys(Surroundings.__struct_fields__, ())
    monkeypatch.setattr(choose, "look", lambda: Surroundings(**here))


@pytest.mark.parametrize("board", ["mps2-an386", "host"])
def test_an_emulated_board_runs_the_model(board, model):
    require_tool("arm-none-eabi-gcc" if board != "host" else "cc")
    require_tool("qemu-system-arm")
    done = deploy(model, "--board", board, "--port", "emulate", "--json")
    assert done.exit_code == 0, done.output + done.stderr
    said = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert said == list(STEPS)
    # The estimate and what was linked are of the same: with the stack, and on this machine nothing is called flash.
    planned, built = (next(line for line in done.stderr.splitlines() if line.startswith(w)) for w in ("plan", "build"))
    about = int(re.search(r"RAM with the stack about ([\d,]+)", planned).group(1).replace(",", ""))
    linked = int(re.search(r"([\d,]+) of RAM with the stack", built).group(1).replace(",", ""))
    if board != "host":
        assert linked == pytest.approx(about, rel=0.2)
    assert ("flash" in planned, "flash" in built) == ((False, False) if board == "host" else (True, True))
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["board"], found["port"], found["learns"]) == (board, "emulate", True)
    project = Path(found["project"])
    assert project == Path(f"small-{board}") / "project"
    assert read_project(project).model_hash == found["model_hash"]
    # What it names is what the next command takes.
    again = deploy(found["bundle"], "--board", board, "--port", "emulate", "-o", f"small-{board}")
    assert again.exit_code == 0, again.output + again.stderr
    assert f"edgelearn stream --port emulate --project small-{board}/project --data FILE --train" in again.stdout


def test_a_real_board_is_flashed_and_asked(model, monkeypatch):
    require_tool("arm-none-eabi-gcc")
    calls = []

    def flash(folder, **options):
        calls.append((folder, options["port"], options["method"], options["force"]))
        name = read_project(folder)
        return Flashed(
            board=name.board, method="openocd", commands=(), attempts=1, port="/dev/ttyACM7", model_hash=name.model_hash
        )

    monkeypatch.setattr(flashing, "flash", flash)
    done = deploy(model, "--board", "nucleo_f446re", "--method", "openocd", "-o", "out")
    assert done.exit_code == 0, done.output + done.stderr
    assert calls == [(Path("out/project"), "", "openocd", False)]
    assert "edgelearn stream --port /dev/ttyACM7 --data FILE --train" in done.stdout


def test_it_stops_where_nothing_is_plugged_in_and_keeps_what_it_made(model, nothing_is_plugged_in):
    require_tool("arm-none-eabi-gcc")
    done = deploy(model, "--board", "nucleo_f446re", "-o", "out")
    assert done.exit_code == NoFlasherError.exit_code, done.output + done.stderr
    assert "Hint:" in done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()][:4] == list(STEPS[:4])
    assert Path("out/small.elb").is_file()
    assert Path("out/project/build/firmware.elf").is_file()


def test_it_stops_where_it_does_not_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "small.tflite", units=4000)
    done = deploy("small.tflite", "--board", "microbit", "--port", "emulate")
    assert done.exit_code == DoesNotFitError.exit_code, done.output + done.stderr
    assert load_board("microbit").name in done.stderr


def test_it_stops_at_files_that_a_person_changed(model):
    require_tool("cc")
    words = (model, "--board", "host", "--port", "emulate", "-o", "out")
    assert deploy(*words).exit_code == 0
    changed = Path("out/project/src/model.c")
    changed.write_text(changed.read_text() + "/* mine */\n")
    done = deploy(*words)
    assert done.exit_code == StorageError.exit_code
    assert "src/model.c" in done.stderr
    assert "/* mine */" in changed.read_text()
    done = deploy(*words, "--force")
    assert done.exit_code == 0
    assert "overwritten, although changed since they were generated: src/model.c" in done.output


def test_its_folder_takes_another_board_and_another_target(model, nothing_is_plugged_in):
    """The folder is deploy's own: only what a person changed there is kept."""
    require_tool("cc")
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    for board in ("host", "mps2-an386"):
        done = deploy(model, "--board", board, "--port", "emulate", "-o", "out")
        assert done.exit_code == 0, done.output + done.stderr
        assert read_project(Path("out/project")).board == board
    # Nothing is plugged in, and perhaps nothing there to build it with.
    deploy(model, "--board", "nano33ble", "--target", "arduino", "-o", "out")
    project = read_project(Path("out/project"))
    assert (project.board, project.output) == ("nano33ble", "arduino")
    assert not Path("out/project/Makefile").exists()


def test_a_sensor_counts_and_is_not_left_out_silently(model):
    require_tool("cc")
    shutil.copy(SENSOR, "own.c")
    words = (model, "--board", "host", "--port", "emulate", "-o", "out")

    def planned_ram(done) -> str:
        assert done.exit_code == 0, done.output + done.stderr
        return next(line for line in done.stderr.splitlines() if line.startswith("plan:"))

    with_it = deploy(*words, "--sensor", "own.c")
    without = deploy(*words)
    assert planned_ram(with_it) != planned_ram(without)
    assert "no longer with" not in with_it.stderr
    assert "generate: out/project; no longer with sensor/own.c: --sensor adds it" in without.stderr.splitlines()
    assert "no longer with" not in deploy(*words).stderr


def test_a_bundle_is_not_converted_again(model):
    require_tool("cc")
    assert deploy(model, "--board", "host", "--port", "emulate", "-o", "out").exit_code == 0
    done = deploy("out/small.elb", "--board", "host", "--port", "emulate", "--classes", "9")
    assert done.exit_code == OptionError.exit_code
    assert "converted already" in done.stderr


def test_a_float_model_wants_calibration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"no model at all")
    done = deploy("model.keras", "--board", "host", "--port", "emulate")
    assert done.exit_code not in (0, 1)
    assert done.stderr.startswith("Error:")
