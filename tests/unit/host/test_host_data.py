"""Data files: what is accepted, how it becomes the device's integers, and what is refused with which words."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edgelearn.errors import DataError, HeadError, LabelError
from edgelearn.host.data import load_dataset, make_dataset, visits
from edgelearn.host.device import DeviceInfo
from edgelearn.protocol import LossCode, ResidualCode, TensorInfo, TensorType

INFO = DeviceInfo(
    board="b",
    labels=("cat", "dog", "eel"),
    protocol_version=1,
    model_hash="00" * 8,
    max_payload_bytes=100,
    inputs=(TensorInfo(name="image", is_input=True, type=TensorType.INT8, elements=4, scale=0.5, zero_point=-10),),
    outputs=(TensorInfo(name="classes", is_input=False, type=TensorType.LOGITS, elements=3),),
    feature_elements=8,
    feature_scale=0.1,
    feature_zero_point=0,
    logit_fraction_bits=16,
    error_shift=0,
    target_shift=4,
    loss=LossCode.CROSS_ENTROPY,
    residual=ResidualCode.INT8,
    learning_rate=0.01,
    step=0,
    counter_hz=0,
    static_ram_bytes=0,
    stack_size_bytes=0,
)
SQUARED = msgspec.structs.replace(INFO, loss=LossCode.SQUARED_ERROR)
INFERENCE = msgspec.structs.replace(INFO, loss=LossCode.NONE, feature_elements=0, labels=())
AUTOENCODER = msgspec.structs.replace(SQUARED, outputs=(msgspec.structs.replace(INFO.outputs[0], elements=4),))
X = np.arange(24, dtype=np.float32).reshape(6, 2, 2) / 10
Y = np.array([0, 1, 2, 0, 1, 2])


def test_floats_are_quantised_and_int8_is_taken_as_it_is():
    data = make_dataset(X, Y, INFO)
    assert data.inputs[0].shape == (6, 4)
    assert data.inputs[0].dtype == np.int8
    assert data.inputs[0][0].tolist() == [-10, -10, -10, -9]
    assert make_dataset(data.inputs[0].reshape(6, 2, 2), Y, INFO).inputs[0].tolist() == data.inputs[0].tolist()
    assert data.labels.tolist() == Y.tolist()
    assert data.can_train
    assert len(data) == 6


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.uint8, np.int32, np.bool_])
def test_other_numbers_are_in_the_models_input_units(dtype):
    x = np.array([[0, 1, 1, 0]], dtype)
    assert make_dataset(x, None, INFO).inputs[0].tolist() == [[-10, -8, -8, -10]]


def test_halves_are_rounded_away_from_zero_and_large_values_clamped():
    x = np.array([[0.25, 0.75, -0.25, -0.75], [0.2499999, -0.2499999, 3e38, -3e38]], np.float32)
    assert make_dataset(x, None, INFO).inputs[0].tolist() == [[-9, -8, -11, -12], [-10, -10, 127, -128]]


def test_clipped_inputs_are_told():
    x = np.full((2, 4), 1000.0)
    x[0] = 0
    (notice,) = make_dataset(x, None, INFO).notices
    assert "50 %" in notice
    assert "-59 to 68.5" in notice


def test_names_become_numbers():
    for y in (np.array(["dog", "cat", "eel", "eel", "dog", "cat"]), np.array([b"dog", b"cat", b"eel"] * 2)):
        assert make_dataset(X, y, INFO).labels[:3].tolist() == [1, 0, 2]


@pytest.mark.parametrize("y", [Y.reshape(6, 1), Y.astype(np.float64), Y.astype(np.uint8)])
def test_class_numbers_in_other_forms(y):
    assert make_dataset(X, y, INFO).labels.tolist() == Y.tolist()


@pytest.mark.parametrize("bad", [3, -1, 1.5, np.nan])
def test_a_label_outside_the_classes_is_named(bad):
    y = Y.astype(np.float64)
    y[4] = bad
    with pytest.raises(LabelError, match="sample 4") as caught:
        make_dataset(X, y, INFO)
    assert str(bad) in caught.value.message
    assert "0 to 2: cat, dog, eel" in caught.value.cause


def test_a_name_that_is_no_class_is_named():
    with pytest.raises(LabelError, match="sample 1 has the label 'cow'") as caught:
        make_dataset(X, np.array(["cat", "cow", "eel"] * 2), INFO)
    assert "cat, dog, eel" in caught.value.cause
    assert "use these names or class numbers" in caught.value.hint
    assert "edgelearn convert --labels" in caught.value.hint
    nameless = msgspec.structs.replace(INFO, labels=())
    with pytest.raises(LabelError) as caught:
        make_dataset(X, np.array(["cat"] * 6), nameless)
    assert "class numbers" in caught.value.hint
    assert "edgelearn convert --labels" in caught.value.hint


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X[:, :, :1], Y, "2 elements, the model takes 4"),
        (np.zeros((0, 4)), np.zeros(0), "no samples"),
        (np.float32(1), None, "no samples"),
        (np.array([["a"] * 4]), None, "samples are numbers"),
        (X, Y[:5], "x has 6 samples, y has 5"),
        (X, np.int64(3), "a single value"),
        (X, np.eye(3)[Y], r"argmax"),
        (X, Y.astype(complex), "class numbers or names"),
    ],
)
def test_arrays_that_do_not_fit(x, y, words):
    with pytest.raises(DataError) as caught:
        make_dataset(np.asarray(x), None if y is None else np.asarray(y), INFO, name="d.npz")
    assert words in str(caught.value)
    assert caught.value.message.startswith("d.npz")


def test_samples_of_a_wrong_shape_are_told_the_right_one():
    with pytest.raises(DataError, match="a sample of x has 1 element, the model takes 4") as caught:
        make_dataset(np.zeros((6, 1)), None, INFO)
    for words in ("4 values for each sample", "input units", "int8"):
        assert words in caught.value.hint
    with pytest.raises(DataError, match="no samples") as caught:
        make_dataset(np.zeros((0, 4)), None, INFO)
    assert "each with 4 values" in caught.value.hint


def test_one_is_singular():
    with pytest.raises(DataError, match="x has 1 sample, y has 2 entries"):
        make_dataset(np.zeros((1, 4)), np.zeros(2), INFO)
    x = np.zeros((6, 4))
    x[:2] = np.nan
    with pytest.raises(DataError, match="1 more sample has"):
        make_dataset(x, None, INFO)


def test_a_single_sample_without_its_axis_gets_a_hint():
    with pytest.raises(DataError, match="newaxis"):
        make_dataset(np.zeros(4), None, INFO)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_values_that_are_no_numbers_name_their_sample(value, word):
    x = X.copy()
    x[3, 1, 0] = value
    with pytest.raises(DataError, match="sample 3 of x") as caught:
        make_dataset(x, Y, INFO)
    assert word in caught.value.message
    huge = X.astype(np.float64)
    huge[2, 0, 0] = 1e300
    with pytest.raises(DataError, match="sample 2 of x"):
        make_dataset(huge, Y, INFO)


def test_without_labels_it_can_only_predict():
    data = make_dataset(X, None, INFO)
    assert data.labels is None
    assert not data.can_train


def test_targets_are_int16_and_saturation_is_told():
    y = np.array([[0.0, 1.0, -1.0]] * 99 + [[100.0, -100.0, 0.0]])
    data = make_dataset(np.zeros((100, 4)), y, SQUARED)
    assert data.targets.dtype == np.int16
    assert data.targets[0].tolist() == [0, 4096, -4096]
    assert data.targets[99].tolist() == [32767, -32768, 0]
    assert "2 of 300 targets" in data.notices[0]
    assert "-8 to 8 in the model's output units" in data.notices[0]
    assert data.can_train


def test_targets_beyond_the_device_are_refused_above_one_percent():
    y = np.zeros((100, 3))
    y[0] = 7.9, 8.1, -55.25
    assert make_dataset(np.zeros((100, 4)), y, SQUARED).notices
    y[1:3] = 30
    with pytest.raises(DataError, match="8 of 300 targets are beyond") as caught:
        make_dataset(np.zeros((100, 4)), y, SQUARED, name="d.npz")
    assert "-8 to 8 in the model's output units" in caught.value.message
    assert "from -55.25 to 30" in caught.value.cause
    assert "scale the targets" in caught.value.hint
    assert "calibration samples and targets that cover the range" in caught.value.hint


@pytest.mark.parametrize("y", [np.ones((6, 3)), np.full((6, 3), np.nan), np.ones((6, 3, 1), np.float32)])
def test_an_inference_only_model_passes_over_floats_for_each_output(y):
    data = make_dataset(X, y, INFERENCE)
    assert data.labels is None
    assert data.targets is None
    assert "is not compared" in data.notices[0]
    one = msgspec.structs.replace(INFERENCE, outputs=(msgspec.structs.replace(INFO.outputs[0], elements=1),))
    assert make_dataset(X, np.linspace(0, 1, 6), one).labels is None


def test_an_inference_only_model_still_takes_class_numbers():
    assert make_dataset(X, Y, INFERENCE).labels.tolist() == Y.tolist()
    assert make_dataset(X, Y.astype(np.float64), INFERENCE).labels.tolist() == Y.tolist()


def test_argmax_is_only_advised_where_outputs_are_classes():
    with pytest.raises(DataError) as caught:
        make_dataset(X, np.eye(3, dtype=int)[Y], INFERENCE)
    assert "argmax" not in str(caught.value)
    assert "leave y out" in caught.value.hint
    named = msgspec.structs.replace(INFERENCE, labels=("a", "b", "c"))
    with pytest.raises(DataError, match="argmax"):
        make_dataset(X, np.eye(3, dtype=int)[Y], named)


def test_learning_without_a_trainable_head_is_refused_before_y_is_judged(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=X, y=np.array(["no class"] * 6))
    with pytest.raises(HeadError, match="no trainable head"):
        load_dataset(path, INFERENCE, train=True)
    with pytest.raises(HeadError, match="no trainable head"):
        make_dataset(X, np.ones((6, 7)), INFERENCE, train=True)
    assert make_dataset(X, Y, INFO, train=True).can_train


def test_targets_that_do_not_fit():
    with pytest.raises(DataError, match="1 element, the model has 3 outputs"):
        make_dataset(X, Y, SQUARED)
    with pytest.raises(DataError, match="learns numbers"):
        make_dataset(X, np.array(["cat"] * 6), SQUARED)
    with pytest.raises(DataError, match="sample 0 of y"):
        make_dataset(X, np.full((6, 3), np.nan), SQUARED)


def test_an_autoencoder_needs_no_y():
    data = make_dataset(X, None, AUTOENCODER)
    assert data.target_is_input
    assert data.can_train
    assert not make_dataset(X, None, SQUARED).target_is_input  # to predict, nothing more is needed
    with pytest.raises(DataError, match="no autoencoder"):
        make_dataset(X, None, SQUARED, train=True)


def test_files(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=X, y=Y)
    data = load_dataset(path, INFO)
    assert data.name == "d.npz"
    assert len(data.sha256) == 64
    np.savez_compressed(path, x=X)
    assert load_dataset(path, INFO).labels is None


def write_array(path):
    with path.open("wb") as file:
        np.save(file, X)


def write_truncated(path):
    np.savez(path, x=X, y=Y)
    path.write_bytes(path.read_bytes()[:-60])


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(b""), "is not an .npz file"),
        (lambda path: path.write_bytes(b"not a zip at all"), "is not an .npz file"),
        (write_truncated, "is not an .npz file"),
        (lambda path: np.savez(path, images=X), "has no array x"),
        (lambda path: np.savez(path, x=np.array([{}, {}], object)), "Python objects"),
        (lambda path: np.savez(path, x=X, y=np.array(["a", None] * 3, object)), "y holds Python objects"),
    ],
)
def test_files_that_are_no_data(tmp_path, write, words):
    path = tmp_path / "d.npz"
    write(path)
    with pytest.raises(DataError) as caught:
        load_dataset(path, INFO)
    assert words in caught.value.message


def test_a_single_array_is_the_samples(tmp_path):
    write_array(tmp_path / "d.npy")
    found = load_dataset(tmp_path / "d.npy", INFO)
    assert len(found) == len(X)
    assert found.labels is None


def test_empty_files_say_how_to_make_one(tmp_path):
    path = tmp_path / "d.npz"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty") as caught:
        load_dataset(path, INFO)
    assert "numpy.savez" in caught.value.hint
    np.savez(path)
    with pytest.raises(DataError, match="no arrays at all") as caught:
        load_dataset(path, INFO)
    assert "numpy.savez" in caught.value.hint


def test_visits():
    assert [tuple(visit) for visit in visits(2, repeat=2)] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(list(visits(10, repeat=3, limit=25))) == 25
    assert [visit.pass_number for visit in visits(10, repeat=3, limit=12)][-2:] == [1, 1]
    assert len(list(visits(10, limit=5))) == 5
    assert len(list(visits(10, limit=50))) == 10
    shuffled = list(visits(50, repeat=2, shuffle=True, seed=3))
    assert shuffled == list(visits(50, repeat=2, shuffle=True, seed=3))
    assert shuffled != list(visits(50, repeat=2, shuffle=True, seed=4))
    first, second = shuffled[:50], shuffled[50:]
    assert sorted(visit.sample for visit in first) == list(range(50))
    assert [visit.sample for visit in first] != [visit.sample for visit in second]
    some = [visit.sample for visit in visits(50, shuffle=True, seed=3, limit=7)]
    assert some == [visit.sample for visit in first[:7]]
