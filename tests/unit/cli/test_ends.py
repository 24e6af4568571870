"""Models of several inputs and outputs, and of float edges, from the command line to the last byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn.bundle import read_bundle
from edgelearn.cli import main
from tests.support.tflite_builder import TfliteBuilder


def run(*argv):
    result = CliRunner().invoke(main, [str(a) for a in argv], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def write_model(folder: Path) -> Path:
    """Two inputs, `left` int8 and `right` float; outputs: an image, a classifier, and a float value."""
    b = TfliteBuilder(8)
    left, right = b.input((1, 5, 5, 1), name="left"), b.input((1, 5, 5, 2), name="right", float_edge=True)
    image = b.add(b.conv_2d(left, filters=3, padding="same"), b.conv_2d(right, filters=3, padding="same"))
    features = b.fully_connected(b.max_pool_2d(image), units=8, activation="relu", name="features")
    classes = b.softmax(b.fully_connected(features, units=4, name="classes"))
    value = b.dequantize(b.fully_connected(features, units=2, name="value"))
    path = folder / "ends.tflite"
    path.write_bytes(b.build(image, classes, value))
    return path


def write_data(path: Path, *, names: tuple[str, str] = ("left", "right"), **more: np.ndarray) -> Path:
    rng = np.random.default_rng(3)
    shapes = {names[0]: (40, 5, 5, 1), names[1]: (40, 5, 5, 2)}
    np.savez(path, **{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}, **more)
    return path


@pytest.mark.parametrize("edges", ["int8", "float"])
@pytest.mark.parametrize("head", ["none", "classes", "value"])
def test_verify_compares_every_output(tmp_path, edges, head):
    bundle = tmp_path / "o.elb"
    run("convert", write_model(tmp_path), "-o", bundle, "--head", head, "--edges", edges)
    graph = read_bundle(bundle).graph
    float_value = edges == "float" and head != "value"
    assert graph.tensor("right").dtype.value == ("float32" if edges == "float" else "int8")
    argv = ("verify", bundle, "--board", "host", "--samples", 6, "--train-steps", 9, "--json")
    found = json.loads(run(*argv).output.splitlines()[-1])
    assert found["output_bytes_different"] == 0
    outputs_bytes = 75 + 4 + (8 if float_value else 2)
    if head == "none":
        assert found["output_bytes_compared"] == 6 * outputs_bytes
        return
    assert found["head_weights_different"] == 0
    assert found["train_steps"] == 9
    own = 4 if head == "classes" else 2
    frozen_bytes = outputs_bytes - own if head == "classes" else 75 + 4
    compared = 15 * (8 + frozen_bytes + 4 * own + 8 + 2 + (2 * own if head == "classes" else 0))
    assert found["output_bytes_compared"] == compared


@pytest.mark.parametrize("names", [("left", "right"), ("x", "x_1")])
def test_stream_takes_an_array_for_each_input(tmp_path, names):
    bundle, project = tmp_path / "o.elb", tmp_path / "p"
    calibration = write_data(tmp_path / "c.npz", names=names, y=np.arange(40) % 4)
    text = run("convert", write_model(tmp_path), "-o", bundle, "-c", calibration, "--edges", "float").output
    assert "3 outputs: classes is the head" in text
    assert "left (5x5x1 int8), right (5x5x2 float32)" in text
    assert "classes (4 float32), value_float (2 float32)" in text
    run("generate", bundle, "--board", "host", "-o", project)
    argv = ("stream", "--port", "emulate", "--project", project, "--data", calibration, "--train")
    run(*argv, "--runs", tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["samples"], summary["step"]) == (40, 40)
    (notice,) = summary["notices"]  # of the int8 input only: the device clips the float one
    assert "of the values of left are outside" in notice


def test_float_edges_of_an_int8_file_are_refused(tmp_path):
    b = TfliteBuilder(1)
    model = tmp_path / "m.tflite"
    model.write_bytes(b.build(b.softmax(b.input((1, 4)))))
    result = CliRunner().invoke(main, ["convert", str(model), "-o", str(tmp_path / "o.elb"), "--edges", "float"])
    assert result.exit_code == 37
    assert "no float edges" in result.output
