"""Recurrent Keras layers: LSTM in all its forms converts to one op a layer, everything else is refused by name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgelearn.convert import convert_model
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.convert.quantize import load_float_model
from edgelearn.convert.tflite_file import read_tflite
from edgelearn.errors import UnsupportedOpError
from edgelearn.ir import Quant, quantize_array
from edgelearn.ir.recurrent import UnidirectionalSequenceLstm
from tests.support.firmware import generate, run_model

pytestmark = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed")

#: Made in another process, because TensorFlow prints and warns as it likes.
_MAKE = """
import os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0")
import keras, numpy as np
from keras import layers as l
folder = sys.argv[1]
keras.utils.set_random_seed(0)
def make(name, *layers, form=".keras"):
    model = keras.Sequential([keras.Input((9, 5)), *layers])
    for weight in model.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape) * 0.4)
    if form: model.save(folder + "/" + name + form)
    else: model.export(folder + "/" + name, verbose=False)
    np.save(folder + "/" + name + "_expected.npy", model.predict(samples, verbose=0))
samples = np.random.default_rng(0).normal(size=(40, 9, 5)).astype(np.float32)
np.savez(folder + "/c.npz", x=samples)
stack = lambda: (l.LSTM(7, return_sequences=True), l.LSTM(6), l.Dense(3))
make("stacked", *stack()); make("stacked", *stack(), form=".h5"); make("saved", *stack(), form="")
make("sequence", l.LSTM(4, return_sequences=True), l.Flatten(), l.Dense(3))
make("small", l.Rescaling(0.1), l.LSTM(4), l.Dense(3))
make("square", l.LSTM(5, use_bias=False), l.Dense(3))
make("both_ways", l.Bidirectional(l.LSTM(3)), l.Dense(3))
make("backwards", l.LSTM(4, go_backwards=True, return_sequences=True), l.TimeDistributed(l.Dense(2)))
make("gru", l.GRU(3), l.Dense(2))
make("simple", l.SimpleRNN(3), l.Dense(2))
make("masked", l.Masking(), l.LSTM(3), l.Dense(2))
make("relu", l.LSTM(3, activation="relu"), l.Dense(2))
late, early = keras.Input((9, 5), name="late"), keras.Input((9, 5), name="early")
ends = [l.Dense(2, name="second")(l.LSTM(4)(late)), l.Dense(3, name="first")(l.LSTM(4)(early))]
keras.Model([late, early], ends).save(folder + "/two.keras")
np.savez(folder + "/two.npz", late=samples * 3, early=samples)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recurrent")
    subprocess.run([sys.executable, "-c", _MAKE, str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("stacked.keras", 2),
        ("stacked.h5", 2),
        ("saved", 2),
        ("sequence.keras", 1),
        ("square.keras", 1),
        ("backwards.keras", 1),
    ],
)
def test_lstm_layers_convert_and_run(folder, name, layers):
    bundle = convert_model(folder / name, calibration=folder / "c.npz", head="none")
    assert sum(isinstance(op, UnidirectionalSequenceLstm) for op in bundle.graph.ops) == layers
    oracle = ReferenceInterpreter(bundle.model_tflite)
    samples = np.load(folder / "c.npz")["x"]
    assert_close_to_keras(bundle.model_tflite, samples, folder / f"{Path(name).stem}_expected.npy")
    inputs = quantize_array(samples[:12], bundle.graph.input.quant)
    expected = np.stack([oracle.run(s, [oracle.output_index])[oracle.output_index].reshape(-1) for s in inputs])
    np.testing.assert_array_equal(run_model(generate(bundle.graph), inputs), expected)


def assert_close_to_keras(model: bytes, samples: np.ndarray, expected: Path) -> None:
    """Every sample starts from a state of zero, and the int8 model gives what Keras computes."""
    oracle = ReferenceInterpreter(model)
    file = read_tflite(model)
    x, out = (file.tensors[n].quant for n in (file.inputs[0], file.outputs[0]))
    inputs = quantize_array(samples, Quant(scale=x.scale, zero_point=x.zero_point))
    found = np.stack([oracle.run(s, [oracle.output_index])[oracle.output_index].reshape(-1) for s in inputs])
    reals = (found.astype(np.float32) - out.zero_point[0]) * np.float32(out.scale[0])
    of_keras = np.load(expected).reshape(len(samples), -1)
    assert np.abs(reals - of_keras).max() < 0.04 * np.ptp(of_keras)


def test_a_small_cell_state_gets_the_finest_steps_that_the_op_has(folder):
    """It stays below 1/2, as an untrained layer's often does."""
    samples = np.load(folder / "c.npz")["x"]
    bundle = convert_model(folder / "small.keras", calibration=folder / "c.npz", head="none")
    (layer,) = [op for op in bundle.graph.ops if isinstance(op, UnidirectionalSequenceLstm)]
    assert layer.cell_exponent == -15
    assert_close_to_keras(bundle.model_tflite, samples, folder / "small_expected.npy")
    oracle = ReferenceInterpreter(bundle.model_tflite)
    inputs = quantize_array(samples[:12], bundle.graph.input.quant)
    expected = np.stack([oracle.run(s, [oracle.output_index])[oracle.output_index].reshape(-1) for s in inputs])
    np.testing.assert_array_equal(run_model(generate(bundle.graph), inputs), expected)


def test_two_directions_keep_their_own_scales(folder):
    samples = np.load(folder / "c.npz")["x"]
    model = load_float_model(folder / "both_ways.keras").quantize([samples])
    assert [op.code for op in read_tflite(model).ops].count("QUANTIZE") == 2
    assert_close_to_keras(model, samples, folder / "both_ways_expected.npy")


def test_several_inputs_and_outputs_keep_their_order(folder):
    """The converter's way through a SavedModel forgets it."""
    bundle = convert_model(folder / "two.keras", calibration=folder / "two.npz", head="none")
    graph = bundle.graph
    assert graph.inputs == ("late", "early")
    assert graph.tensor("late").scale > 2 * graph.tensor("early").scale
    assert graph.outputs == ("second", "first")
    assert bundle.provenance.agreement.mean_absolute_difference < 0.02


def test_the_same_model_gives_the_same_bundle(folder):
    one, two = (convert_model(folder / "stacked.keras", calibration=folder / "c.npz") for _ in range(2))
    assert one == two


def test_a_dense_layer_behind_an_lstm_is_a_head(folder):
    bundle = convert_model(folder / "stacked.keras", calibration=folder / "c.npz", classes=5)
    (op,) = bundle.graph.trainable_ops
    assert op.name == "dense"
    assert bundle.graph.output.shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gru", "gru: it does not have the four gates of an LSTM"),
        ("simple", "simple_rnn: it does not have the four gates of an LSTM"),
        ("masked", "as a mask"),
        ("relu", "its activations are not sigmoid and tanh"),
    ],
)
def test_other_loops_are_refused_by_name(folder, name, words):
    with pytest.raises(UnsupportedOpError) as error:
        convert_model(folder / f"{name}.keras", calibration=folder / "c.npz")
    assert words in error.value.ops[0]
    assert "LSTM" in error.value.hint
