"""`edgelearn generate --sensor`: somebody's C file becomes part of the firmware."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgelearn import pipeline, process
from edgelearn.bundle import write_bundle
from edgelearn.cli import main
from edgelearn.errors import BuildError, DoesNotFitError, StorageError
from edgelearn.project import read_project
from tests.support.tools import require_tool, require_toolchain
from tests.unit.test_heads import classifier_bundle

EXAMPLE = Path(__file__).parents[3] / "examples" / "sensor_window.c"
#: More RAM than the plan knows of, a warning, and a constant that has to go to flash.
OWN = """#include "elearn_sensor.h"
static int8_t history[5000];
static const int8_t offsets[3000] = {1};
bool elearn_sensor_read(elearn_sensor_sample *sample)
{
    int8_t *x = sample->inputs[0];
    int narrowed = (int)sample->number * 3;
    for (int32_t i = 0; i < ELEARN_SENSOR_INPUT_0_ELEMENTS; i++) {
        history[(sample->number + (uint32_t)i) % sizeof history] = narrowed + i;
        x[i] = (int8_t)(history[(sample->number * 7u + (uint32_t)i) % sizeof history] + offsets[i % 3000]);
    }
    sample->label = (int32_t)(sample->number % 3u);
    return true;
}
"""


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "m.elb"
    write_bundle(classifier_bundle(), path)
    return path


def generate(bundle, folder, sensor, *more, board="host", code=0):
    argv = ["generate", str(bundle), "-b", board, "-o", str(folder), "--sensor", str(sensor), *more]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == code, result.output
    return result.output


def test_a_board_learns_from_it(bundle, tmp_path):
    own, folder = tmp_path / "my sensor.c", tmp_path / "p"
    own.write_text(OWN)
    generate(bundle, folder, own)
    assert (folder / "sensor" / "my_sensor.c").read_text() == OWN
    assert "sensor/my_sensor.c" in read_project(folder).files
    pipeline.build(folder)
    with pipeline.connect("emulate", project=folder) as device:
        assert device.info.has_sensor
        device.set_sensor(run=True, train=True, samples=50)
        while device.statistics().sensor_samples < 50:
            time.sleep(0.01)
        assert device.statistics().sensor_learned == 50


@pytest.mark.parametrize("board", ["netduinoplus2", "microbit"])
def test_its_memory_is_not_held_against_the_plan(bundle, tmp_path, board):
    require_toolchain("gnu", board)
    own, plain, folder = tmp_path / "own.c", tmp_path / "plain", tmp_path / "p"
    own.write_text(OWN)
    generate(bundle, folder, own, board=board)
    built = pipeline.build(folder)
    assert CliRunner().invoke(main, ["generate", str(bundle), "-b", board, "-o", str(plain)]).exit_code == 0
    without = pipeline.build(plain)
    assert 5000 <= built.ram_bytes - without.ram_bytes < 5100
    assert 3000 < built.flash_bytes - without.flash_bytes < 5500
    assert built.flash_model_bytes == without.flash_model_bytes


def test_the_project_builds_with_make(bundle, tmp_path):
    own, folder = tmp_path / "own.c", tmp_path / "p"
    own.write_text(OWN)
    generate(bundle, folder, own)
    require_tool("make")
    process.run(("make", "-C", str(folder)))
    assert (folder / "build" / "firmware.elf").is_file()


def test_the_example_runs_with_a_model_of_no_three_axes(bundle, tmp_path):
    """The model has 64 inputs."""
    require_toolchain("gnu", "microbit")
    generate(bundle, tmp_path / "p", EXAMPLE, board="microbit")
    pipeline.build(tmp_path / "p")
    generate(bundle, tmp_path / "host", EXAMPLE)
    pipeline.build(tmp_path / "host")
    with pipeline.connect("emulate", project=tmp_path / "host") as device:
        device.set_sensor(run=True, train=False, samples=2)
        deadline = time.monotonic() + 60
        while device.statistics().sensor_samples < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_what_a_sensor_says_against_a_model_is_the_cause(bundle, tmp_path):
    own = tmp_path / "own.c"
    own.write_text(OWN + '#error "the model\'s input is too small for me"\n')
    generate(bundle, tmp_path / "p", own)
    with pytest.raises(BuildError, match="could not be built") as failed:
        pipeline.build(tmp_path / "p")
    assert "the model's input is too small for me" in failed.value.cause
    assert "generate" in failed.value.hint


@pytest.mark.parametrize(
    ("board", "target", "path"),
    [("host", "bare-metal", "sensor/own.c"), ("mega2560", "arduino", "src/sensor/own.c")],
)
def test_a_sensor_is_not_dropped_unasked(bundle, tmp_path, board, target, path):
    own, folder = tmp_path / "own.c", tmp_path / "p"
    own.write_text(OWN)
    generate(bundle, folder, own, "--target", target, board=board)
    assert read_project(folder).sensor == path
    argv = ["generate", str(bundle), "-b", board, "--target", target, "-o", str(folder)]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == StorageError.exit_code
    assert "has a sensor, and without --sensor it would have none" in result.stderr
    assert f"give --sensor {folder / path}, " in result.stderr
    assert (folder / path).read_text() == OWN
    # What the hint names can be given.
    generate(bundle, folder, folder / path, "--target", target, board=board)
    assert (folder / path).read_text() == OWN
    result = CliRunner().invoke(main, [*argv, "--force"])
    assert result.exit_code == 0, result.output
    assert read_project(folder).sensor == ""
    assert not (folder / path).exists()


def test_a_changed_copy_is_not_overwritten(bundle, tmp_path):
    own, folder = tmp_path / "own.c", tmp_path / "p"
    own.write_text(OWN)
    generate(bundle, folder, own)
    (folder / "sensor" / "own.c").write_text("/* mine */")
    assert "sensor/own.c" in generate(bundle, folder, own, code=51)
    generate(bundle, folder, own, "--force")
    assert (folder / "sensor" / "own.c").read_text() == OWN


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("own.txt", OWN, "is no C file"),
        ("own.c", None, "Cause: No such file or directory\nHint:"),
        ("own.c", "int main(void) { return 0; }", "does not define elearn_sensor_read()"),
    ],
)
def test_what_is_no_sensor_is_refused(bundle, tmp_path, name, text, words):
    own = tmp_path / name
    if text is not None:
        own.write_text(text)
    said = generate(bundle, tmp_path / "p", own, code=37)
    assert words in said
    assert not (tmp_path / "p").exists()


def test_a_sensor_that_takes_too_much_is_told_with_numbers(bundle, tmp_path):
    require_toolchain("gnu", "microbit")
    own = tmp_path / "own.c"
    own.write_text(OWN.replace("history[5000]", "history[50000]"))
    generate(bundle, tmp_path / "p", own, board="microbit")
    with pytest.raises(DoesNotFitError, match="RAM"):
        pipeline.build(tmp_path / "p")
