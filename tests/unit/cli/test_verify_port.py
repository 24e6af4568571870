"""`edgelearn verify --port`: a device that runs the model already, here firmware on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgelearn import pipeline
from edgelearn.cli import main
from edgelearn.host.device import open_device
from tests.support.bundles import write_model
from tests.support.tools import require_tool


def run(*argv: object, code: int = 0, says: tuple[str, ...] = ()) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in argv])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for words in says:
        assert words in result.stderr
    return result


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "small.elb"
    run("convert", write_model(tmp_path / "small.tflite"), "-o", path, "--classes", 6)
    return path


@pytest.fixture
def url(tmp_path, bundle) -> Iterator[str]:
    require_tool("cc")
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p", "--lr", 0.01)
    with pipeline.emulate(tmp_path / "p") as running:
        yield running.url


def test_a_device_is_compared_as_generated(bundle, url):
    with open_device(url) as device:
        device.set_learning_rate(0.02)
    argv = ("verify", bundle, "--port", url, "--samples", 5, "--train-steps", 40, "--json")
    found = json.loads(run(*argv).output.splitlines()[-1])
    assert found["output_bytes_compared"] == 45 * (12 + 24 + 12 + 8 + 2)
    assert (found["output_bytes_different"], found["head_weights_different"]) == (0, 0)
    assert found["inference_ms"] is None  # this machine counts nothing
    with open_device(url) as device:
        assert device.info.step == 0
    assert "exact" in run("verify", bundle, "--port", url, "--samples", 1, "--train-steps", 1).output


def test_what_was_saved_stays_saved(bundle, url):
    with open_device(url) as device:
        device.train(np.zeros(device.info.input_elements, np.int8), label=1)
        device.save()
        device.set_autosave(5)
    run("verify", bundle, "--port", url, "--samples", 1, "--train-steps", 30)
    with open_device(url) as device:
        info = device.info
    assert (info.saves, info.saved_step, info.autosave_steps, info.step) == (1, 1, 5, 0)


def test_a_device_that_cannot_be_compared_is_left_as_generated(bundle, url, tmp_path):
    data = tmp_path / "no-labels.npz"
    with open_device(url) as device:
        np.savez(data, x=np.zeros((4, device.info.input_elements), np.int8))
        device.set_autosave(5)
    run("verify", bundle, "--port", url, "--data", data, code=20, says=("no labels",))
    with open_device(url) as device:
        assert (device.info.step, device.info.autosave_steps) == (0, 5)


def test_what_was_learned_is_not_forgotten_unasked(bundle, url):
    with open_device(url) as device:
        device.train(np.zeros(device.info.input_elements, np.int8), label=1)
    run("verify", bundle, "--port", url, code=37, says=("1 step", "saved", "--force"))
    with open_device(url) as device:
        assert device.info.step == 1
    run("verify", bundle, "--port", url, "--samples", 1, "--train-steps", 1, "--force")


def test_a_head_that_starts_otherwise_is_told(tmp_path, bundle, url):
    other = tmp_path / "other.elb"
    with open_device(url) as device:
        for label in (0, 1, 2):
            device.train(np.full(device.info.input_elements, 40, np.int8), label=label)
    run("head", "pull", "--port", url, "--bundle", bundle, "-o", other)
    run("verify", other, "--port", url, "--force", code=37, says=("does not start", "another bundle"))


def test_another_model_is_refused(tmp_path, url):
    plain = tmp_path / "plain.elb"
    run("convert", write_model(tmp_path / "small.tflite"), "-o", plain, "--head", "none")
    run("verify", plain, "--port", url, code=43, says=("model",))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "--board"),
        (("--board", "host", "--port", "x"), "either"),
        (("--port", "x", "--residual", "none"), "--residual"),
        (("--board", "host", "--force"), "--force"),
    ],
)
def test_options_that_do_not_go_together(bundle, options, says):
    run("verify", bundle, *options, code=2, says=(says,))
