"""`edgelearn head` from the command line, with a real firmware behind a socket."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn.bundle import read_bundle, write_bundle
from edgelearn.cli import main
from edgelearn.errors import DeviceRefusedError, HeadError
from edgelearn.host.device import open_device
from tests.support.fake_device import FakeDevice, Model
from tests.support.firmware import HostFirmware
from tests.unit.test_heads import classifier_bundle, firmware, regression_bundle


@pytest.fixture(scope="module")
def program():
    return firmware(classifier_bundle())


@pytest.fixture
def run(program):
    with HostFirmware(program) as running:

        def call(*arguments, code=0):
            result = CliRunner().invoke(main, ["head", *map(str, arguments), "--port", running.url])
            assert result.exit_code == code, result.output
            assert "Traceback" not in result.output
            return result.output

        yield call


@pytest.fixture
def bundle(tmp_path):
    write_bundle(classifier_bundle(), tmp_path / "m.elb")
    return tmp_path / "m.elb"


def shown(run):
    return json.loads(run("show", "--json").splitlines()[-1])


def test_show_says_what_is_there(run):
    found = shown(run)
    assert found["classes"] == ["a", "b", "c", "d"]
    assert found["spare_outputs"] == 1
    assert (found["step"], found["saves"], found["saved_step"]) == (0, 0, 0)
    text = run("show")
    assert "classes: a, b, c, d, room for 1 more" in text
    assert "saved 0 times" in text
    assert "learning rate 0.001," in text
    assert found["flash_life"]["record_bytes"] > 200
    assert "memory that does not wear out" in text


def test_nobody_knows_how_long_a_file_system_lasts():
    """A microbit with a heap runs MicroPython."""
    for heap_bytes in ((0, 0), (4000, 4000)):
        with FakeDevice(Model(board="microbit", can_save=True, heap_bytes=heap_bytes)) as fake:
            result = CliRunner().invoke(main, ["head", "show", "--port", fake.url])
        assert result.exit_code == 0, result.output
        assert ("wears out" in result.output) == (heap_bytes == (0, 0))


def test_show_says_how_long_flash_lasts():
    """A device that claims to be a microbit; its sensor teaches it 50 samples a second."""
    model = Model(board="microbit", can_save=True, label_bytes=16, has_sensor=True, sensor_hz=50.0)
    with FakeDevice(model) as fake:
        for rate, words in ((("--rate-hz", "5"), "at 5 samples/s: at most 43,200 a day"), ((), "a day")):
            with open_device(fake.url) as device:
                device.set_autosave(10)
                device.set_sensor(run=True, train=True, label=1)
            argv = ["head", "show", "--port", fake.url, *rate]
            assert words in CliRunner().invoke(main, argv).output
        life = json.loads(CliRunner().invoke(main, [*argv, "--json"]).output.splitlines()[-1])["flash_life"]
    assert 5 < life["samples_per_s"] < 100
    assert life["years"] == pytest.approx(life["saves"] / life["saves_a_day"] / 365.25)


def test_classes_are_added_and_renamed_and_saved(run):
    assert "class 4 is e" in run("add-class", "e")
    assert "saved 1 time, last" in run("show")
    assert "class 0 is alpha" in run("rename-class", "a", "alpha")
    assert "class 1 is beta" in run("rename-class", "1", "beta")
    found = shown(run)
    assert found["classes"] == ["alpha", "beta", "c", "d", "e"]
    assert found["saves"] == 3
    assert "--classes N" in run("add-class", "f", code=13)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add-class", "a"), "there is a class a already"),
        (("add-class", " "), "a class needs a name of one line"),
        (("add-class", "x" * 40), "the name"),
        (("rename-class", "zebra", "x"), "no class zebra"),
        (("rename-class", "a", "b"), "there is a class b already"),
        (("rename-class", "9", "x"), "no class 9"),
    ],
)
def test_names_that_make_no_sense(run, arguments, words):
    with pytest.raises(AssertionError, match=words):
        run(*arguments)


def test_pull_diff_push_reset(run, bundle, tmp_path):
    run("add-class", "e")
    out = tmp_path / "learned.elb"
    assert "after 0 training steps" in run("pull", "--bundle", bundle, "--output", out)
    assert read_bundle(out).labels[4] == "e"
    rows = json.loads(run("diff", out, "--json").splitlines()[-1])["rows"]
    assert all(row["changed"] == 0 for row in rows)
    assert "weights changed" in run("diff", out)
    assert "as generated" in run("reset")
    assert shown(run)["classes"] == ["a", "b", "c", "d"]
    assert "and saved" in run("push", out)
    assert shown(run)["classes"] == ["a", "b", "c", "d", "e"]
    run("save")
    assert "as generated" in run("reset", "--forget")
    assert shown(run)["saves"] == 0


def test_a_bundle_of_another_model_is_refused(run, tmp_path):
    write_bundle(regression_bundle(), tmp_path / "other.elb")
    with pytest.raises(AssertionError, match="is not of the model on the device"):
        run("push", tmp_path / "other.elb")
    with pytest.raises(AssertionError, match="runs another model"):
        run("pull", "--bundle", tmp_path / "other.elb", "--output", tmp_path / "o.elb")


def test_two_files_are_compared_without_a_device(bundle, tmp_path):
    write_bundle(classifier_bundle(), tmp_path / "same.elb")
    result = CliRunner().invoke(main, ["head", "diff", str(bundle), str(tmp_path / "same.elb")])
    assert result.exit_code == 0
    assert "0 of 12" in result.output
    write_bundle(regression_bundle(), tmp_path / "other.elb")
    result = CliRunner().invoke(main, ["head", "diff", str(bundle), str(tmp_path / "other.elb")])
    assert result.exit_code == HeadError.exit_code
    assert f"{bundle} and {tmp_path / 'other.elb'} are of different models" in result.stderr
    assert "Hint:  take two heads of one model" in result.stderr
    assert CliRunner().invoke(main, ["head", "diff", str(bundle)]).exit_code == 2
    assert CliRunner().invoke(main, ["head", "diff", str(bundle), str(tmp_path / "no.npz")]).exit_code != 0


def untaught(fake):
    """The CLI at a device that has learned five samples and saved none."""
    with open_device(fake.url) as device:
        for _ in range(5):
            device.train(np.zeros(16, np.int8), label=1)

    def call(*arguments):
        return CliRunner().invoke(main, [*map(str, arguments), "--port", fake.url])

    return call


def test_nothing_is_saved_unasked(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 16), np.int8), y=np.ones(3, np.int64))
    with FakeDevice(Model(can_save=True, label_bytes=16)) as fake:
        call = untaught(fake)
        streams = ("stream", "--data", tmp_path / "x.npz", "--runs", tmp_path / "runs")
        for command in (("head", "show"), (*streams, "--predict"), (*streams, "--train", "--no-save")):
            result = call(*command)
            assert result.exit_code == 0, result.output
            assert fake.flash is None
        assert call(*streams, "--train").exit_code == 0
        assert fake.flash is not None, "saved where it is asked to learn"


def test_a_board_that_cannot_write_its_memory_is_of_use_all_the_same(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 16), np.int8), y=np.ones(3, np.int64))
    streams = ("stream", "--data", tmp_path / "x.npz", "--runs", tmp_path / "runs", "--train")
    with FakeDevice(Model(can_save=True, store_fails=True, label_bytes=16, classes=3)) as fake:
        call = untaught(fake)
        assert call("head", "show").exit_code == 0
        result = call(*streams)
        assert result.exit_code == 0, result.output
        assert "could not save what it had learned before, so that a reset would end the session" in result.output
        assert "warning: --save" not in result.output
        result = call(*streams, "--save")
        assert "warning: --save: the board kept nothing without power: its memory did not take" in result.output
        for command, done in ((("rename-class", "zero", "nil"), "class 0 is nil"), (("add-class", "four"), "is four")):
            result = call("head", *command)
            assert result.exit_code == 0, result.output
            assert f"{done} until the next reset" in result.output
            assert "warning: it is not kept: the device refused save" in result.output
            assert "head pull" in result.output
        result = call("head", "save")
        assert result.exit_code == DeviceRefusedError.exit_code
        assert "head pull" in result.output
