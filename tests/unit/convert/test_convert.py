"""Whole conversions: int8 .tflite files, float Keras models and SavedModels, and everything that is refused."""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgelearn import ir
from edgelearn.bundle import bundle_bytes, read_bundle, write_bundle
from edgelearn.convert import convert_model
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import (
    CalibrationError,
    DataError,
    HeadError,
    LabelError,
    MissingPackageError,
    ModelFileError,
    NotQuantizedError,
    OptionError,
    UnsupportedOpError,
)
from edgelearn.ir.edges import Edges
from tests.support.models import REFERENCE_MODELS, reference_model
from tests.support.tflite_builder import FLOAT32, TfliteBuilder, single_op_model

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"
)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    builder = TfliteBuilder(4)
    x = builder.fully_connected(builder.input((1, 6), scale=0.02, zero_point=0), units=4, name="last")
    path = tmp_path / "classifier.tflite"
    path.write_bytes(builder.build(builder.softmax(x)))
    return path


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def empty_zip(path: Path) -> Path:
    zipfile.ZipFile(path, "w").close()
    return path


# int8 models


@pytest.mark.parametrize("name", REFERENCE_MODELS)
def test_reference_models_convert_and_survive_the_file(name, tmp_path):
    path = reference_model(name)
    bundle = convert_model(path)
    write_bundle(bundle, tmp_path / "out.elb")
    assert read_bundle(tmp_path / "out.elb") == bundle
    assert bundle.name == name
    assert bundle.model_tflite == path.read_bytes()
    source = bundle.provenance.sources[0]
    assert (source.name, source.size_bytes) == (path.name, path.stat().st_size)
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {"edgelearn", "numpy", "tflite"} <= set(bundle.provenance.tools)
    assert bundle.provenance.agreement is None
    assert bundle_bytes(bundle) == bundle_bytes(convert_model(path))


def test_accuracy_of_an_int8_model(classifier, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    plain = convert_model(classifier, calibration=save(tmp_path / "x.npz", x=x))
    assert plain.provenance.agreement is None
    assert plain.provenance.calibration.samples == 40
    quant = plain.graph.input.quant
    interpreter = ReferenceInterpreter(classifier.read_bytes())
    index = interpreter.output_index
    y = np.array([interpreter.run(q, [index])[index].argmax() for q in ir.quantize_array(x, quant)])
    y[:10] = (y[:10] + 1) % 4
    agreement = convert_model(classifier, calibration=save(tmp_path / "xy.npz", x=x, y=y)).provenance.agreement
    assert (agreement.samples, agreement.int8_accuracy, agreement.float_accuracy) == (40, 0.75, None)
    assert agreement.same_prediction == 1.0
    quantised = save(tmp_path / "q.npz", x=ir.quantize_array(x, quant), y=y)
    assert convert_model(classifier, calibration=quantised).provenance.agreement.int8_accuracy == 0.75
    names = np.array(["a", "b", "c", "d"])[y]
    named = convert_model(
        classifier, calibration=save(tmp_path / "n.npz", x=x, y=names), labels=("a", "b", "c", "d"), classes=5
    )
    assert named.provenance.agreement.int8_accuracy == 0.75
    assert named.labels[4] == "class 4"


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1, 4]),
        np.array([0, -1, 1]),
        np.array([0.5, 1, 1]),
        np.array([0, np.nan, 1]),
        np.array([0, 1, 2], "M8[s]"),
        np.zeros((3, 4)),
        np.array(["0", "1", "x"]),
    ],
)
def test_labels_outside_the_classes(classifier, tmp_path, y):
    with pytest.raises(LabelError):
        convert_model(classifier, calibration=save(tmp_path / "c.npz", x=np.zeros((3, 6)), y=y))


def test_labels_of_a_regression_are_left_alone(tmp_path):
    builder = TfliteBuilder(4)
    path = tmp_path / "regression.tflite"
    path.write_bytes(builder.build(builder.fully_connected(builder.input((1, 6)), units=4)))
    calibration = save(tmp_path / "c.npz", x=np.zeros((3, 6)), y=np.zeros((3, 4)))
    assert convert_model(path, calibration=calibration).provenance.agreement is None


def test_class_numbers_and_odd_ranges_are_noticed_in_a_regression(tmp_path):
    builder = TfliteBuilder(4)
    path = tmp_path / "regression.tflite"
    path.write_bytes(builder.build(builder.fully_connected(builder.input((1, 6)), units=4, name="last")))
    x = np.zeros((3, 6))

    def notices(y: np.ndarray, **options: object) -> str:
        calibration = save(tmp_path / "c.npz", x=x, y=y)
        return "; ".join(convert_model(path, calibration=calibration, **options).provenance.notices)

    assert "y holds class numbers" in notices(np.array([0, 3, 1]))
    assert "y holds class numbers" in notices(np.array([[0], [3], [1]], np.uint8))
    for y in (np.array([0, 4, 1]), np.array([0, -1, 1]), np.array([0.0, 3, 1])):
        assert "y holds" not in notices(y)
    assert "y holds" not in notices(np.array([0, 3, 1]), loss=ir.LossKind.SQUARED_ERROR)
    assert "y holds" not in notices(np.array([0, 3, 1]), loss=ir.LossKind.CROSS_ENTROPY)

    quant = convert_model(path).graph.output.quant
    low, high = ir.dequantize_array(np.array([-128, 127], np.int8), quant).tolist()
    assert "targets" not in notices(np.full((3, 4), high + 0.9 * (high - low)))
    far = high + 1.1 * (high - low)
    said = notices(np.full((3, 4), far))
    assert f"{far:.4g}" in said
    assert f"from {low:.4g} to {high:.4g}" in said


def test_options_reach_the_head(classifier):
    bundle = convert_model(classifier, head="none", name="other")
    assert (bundle.name, bundle.graph.name, bundle.graph.loss) == ("other", "other", None)
    with pytest.raises(HeadError):
        convert_model(classifier, head="nothing")
    with pytest.raises(LabelError):
        convert_model(classifier, labels=("a",))


def test_float_edges_are_stripped(tmp_path):
    path = tmp_path / "edges.tflite"
    path.write_bytes(single_op_model("FULLY_CONNECTED", shape=(1, 6), units=3, float_edges=True))
    bundle = convert_model(path, head="none")
    assert [op.TITLE for op in bundle.graph.ops] == ["FULLY_CONNECTED"]


# What is refused


def test_contradictions_and_bad_calibration_come_before_the_model(tmp_path, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("edgelearn.convert.quantize.load_float_model", never)
    model = empty_zip(tmp_path / "m.keras")
    good = save(tmp_path / "c.npz", x=np.zeros((3, 6)))
    with pytest.raises(DataError, match="does not exist"):
        convert_model(model, calibration=tmp_path / "none.npz")
    with pytest.raises(CalibrationError, match="int8"):
        convert_model(model, calibration=save(tmp_path / "q.npz", x=np.zeros((3, 6), np.int8)))
    with pytest.raises(OptionError):
        convert_model(model, calibration=good, head="none", classes=3)
    with pytest.raises(LabelError, match="twice"):
        convert_model(model, calibration=good, labels=("a", "a"))
    with pytest.raises(LabelError, match="3 labels do not fit 2 outputs"):
        convert_model(model, calibration=good, labels=("a", "b", "c"), classes=2)


def test_a_keras_file_that_is_none(tmp_path):
    calibration = save(tmp_path / "c.npz", x=np.zeros((3, 6)))
    path = tmp_path / "junk.keras"
    for content, words in (
        (b"junk", "is not a Keras file"),
        (b"PK\3\4 cut", "damaged"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=words) as error:
            convert_model(path, calibration=calibration)
        assert "not found" not in str(error.value)
        assert error.value.hint


def test_more_labels_than_outputs(classifier):
    with pytest.raises(LabelError) as error:
        convert_model(classifier, labels=tuple("abcdef"))
    assert "--classes 6" in error.value.hint
    with pytest.raises(LabelError) as error:
        convert_model(classifier, labels=tuple("abcdef"), head="none")
    assert "--classes" not in error.value.hint


def test_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(ModelFileError, match="does not exist"):
        convert_model(tmp_path / "none.tflite")


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx", "model", "saved_model.pb"])
def test_a_file_that_is_no_model(tmp_path, name):
    for content in (b"", b"this is no model at all"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError) as error:
            convert_model(tmp_path / name)
        assert error.value.exit_code == 10
        assert error.value.hint


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="not a SavedModel"):
        convert_model(tmp_path)


def test_a_float_tflite(tmp_path):
    builder = TfliteBuilder()
    x = builder.tensor((1, 4), FLOAT32)
    builder._inputs.append(x)
    out = builder.tensor((1, 4), FLOAT32)
    builder.op("SOFTMAX", [x], out)
    (tmp_path / "float.tflite").write_bytes(builder.build(out))
    with pytest.raises(NotQuantizedError):
        convert_model(tmp_path / "float.tflite")


def test_an_unsupported_op(tmp_path):
    builder = TfliteBuilder()
    out = builder.tensor((1, 4), scale=1 / 256, zero_point=-128)
    builder.op("RSQRT", [builder.input((1, 4))], out)
    (tmp_path / "m.tflite").write_bytes(builder.build(out))
    with pytest.raises(UnsupportedOpError, match=r"RSQRT \(op #0\)"):
        convert_model(tmp_path / "m.tflite")


def test_a_float_model_needs_calibration(tmp_path):
    with pytest.raises(CalibrationError) as error:
        convert_model(empty_zip(tmp_path / "m.keras"))
    assert "--calibration" in error.value.hint


def test_bad_calibration_of_an_int8_model(classifier, tmp_path):
    with pytest.raises(CalibrationError, match=r"\[7\].*\[6\]"):
        convert_model(classifier, calibration=save(tmp_path / "c.npz", x=np.zeros((3, 7))))
    with pytest.raises(DataError, match="sample 0"):
        convert_model(classifier, calibration=save(tmp_path / "c.npz", x=np.full((3, 6), np.nan)))


def test_tensorflow_is_named_where_it_is_missing(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_tensorflow(name, *arguments, **keywords):
        if name == "tensorflow":
            raise ModuleNotFoundError(name="tensorflow")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_tensorflow)
    with pytest.raises(MissingPackageError) as error:
        convert_model(empty_zip(tmp_path / "m.keras"), calibration=save(tmp_path / "c.npz", x=np.zeros((3, 6))))
    assert (error.value.package, error.value.extra) == ("tensorflow", "convert")


# Float models: made in another process, because TensorFlow prints and warns as it likes

_MAKE = """
import os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0")
import keras, numpy as np
from keras import layers as l
folder = sys.argv[1]
keras.utils.set_random_seed(0)
i = keras.Input((8, 8, 1), name="image")
x = l.Conv2D(4, 3, padding="same", name="conv2d")(i)
x = l.ReLU()(l.BatchNormalization()(x))
y = l.DepthwiseConv2D(3, padding="same", use_bias=False, activation="relu6")(x)
x = l.Add()([x, l.Conv2D(4, 1, name="conv2d_1")(y)])
x = l.MaxPooling2D()(l.ZeroPadding2D(1)(x))
x = l.GlobalAveragePooling2D()(x)
x = l.Dense(6, activation="relu", name="dense")(x)
x = l.Dense(5, activation="softmax", name="head", bias_initializer="random_normal")(l.Dropout(0.2)(x))
model = keras.Model(i, x)
model.save(folder + "/m.keras"); model.save(folder + "/m.h5"); model.export(folder + "/saved", verbose=False)
kernel, bias = model.get_layer("head").get_weights()
np.savez(folder + "/head.npz", kernel=kernel, bias=bias)
samples = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype(np.float32)
np.savez(folder + "/c.npz", x=samples, y=model.predict(samples, verbose=0).argmax(1))
flat = keras.Sequential([keras.Input((4, 4, 1)), l.Flatten(), l.Dense(3)]); flat.save(folder + "/flat.keras")
left, right = keras.Input((4, 4, 1), name="left"), keras.Input((4, 4, 2), name="right")
y = l.Add()([l.Conv2D(3, 3, name="of_left")(left), l.Conv2D(3, 3, name="of_right")(right)])
y = l.Dense(6, activation="relu", name="mixed")(l.Flatten()(y))
classes, value = l.Dense(3, activation="softmax", name="classes")(y), l.Dense(2, name="value")(y)
two = keras.Model({"left": left, "right": right}, [value, classes])
two.save(folder + "/two.keras"); two.export(folder + "/two", verbose=False)
rng = np.random.default_rng(1)
a, b = rng.normal(size=(30, 4, 4, 1)).astype(np.float32), rng.normal(size=(30, 4, 4, 2)).astype(np.float32)
predicted = two.predict({"left": a, "right": b}, verbose=0)
np.savez(folder + "/two.npz", left=a, right=b, y=predicted[1].argmax(1), values=predicted[0])
wide = keras.Sequential([keras.Input((None, 8, 1)), l.GlobalMaxPooling2D()]); wide.save(folder + "/open.keras")
softsign = keras.Sequential([keras.Input((4,)), l.Dense(3, activation="softsign"), l.Dense(2)])
softsign.save(folder + "/softsign.keras")
keras.Sequential([keras.Input((6, 2)), l.GRU(3), l.Dense(2)]).save(folder + "/loop.keras")
x = keras.ops.erf(keras.ops.cos(l.Conv2D(3, 3, name="last")(keras.ops.sin(i))))
keras.Model(i, x).save(folder + "/functions.keras")
x = l.GRU(3, name="recurrent")(l.Reshape((16, 4))(l.Conv3D(1, 1, name="volume")(keras.ops.expand_dims(i, -1))))
keras.Model(i, x).save(folder + "/several.keras")
@keras.saving.register_keras_serializable()
class Mine(l.Layer):
    def call(self, x): return x
custom = keras.Sequential([keras.Input((4,)), Mine(), l.Dense(2)])
custom.save(folder + "/custom.keras"); custom.save(folder + "/custom.h5")
"""


@pytest.fixture(scope="module")
def float_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("float")
    subprocess.run([sys.executable, "-c", _MAKE, str(folder)], check=True, capture_output=True)
    return folder


@needs_tensorflow
@pytest.mark.parametrize("name", ["m.keras", "m.h5", "saved"])
def test_float_models_convert(float_models, name, capfd):
    bundle = convert_model(float_models / name, calibration=float_models / "c.npz", classes=7)
    assert capfd.readouterr() == ("", "")
    graph = bundle.graph
    assert [op.name for op in graph.ops] == [
        "conv2d",
        "depthwise_conv2d",
        "conv2d_1",
        "add",
        "zero_padding2d",
        "max_pooling2d",
        "global_average_pooling2d",
        "dense",
        "head",
    ]
    head = np.load(float_models / "head.npz")
    weight, bias = (graph.tensor(tensor) for tensor in graph.ops[-1].inputs[1:])
    assert np.array_equal(weight.array()[:5], head["kernel"].T)
    assert np.array_equal(bias.array()[:5], head["bias"])
    assert not weight.array()[5:].any()
    provenance = bundle.provenance
    (notice,) = provenance.notices
    assert notice.startswith(f"float and int8 agree on only {provenance.agreement.same_prediction:.1%}")
    assert {"tensorflow", "keras", "numpy", "edgelearn", "ai-edge-litert"} <= set(provenance.tools)
    assert [source.name for source in provenance.sources] == [name, "c.npz"]
    assert provenance.float_model_bytes > 0
    assert provenance.calibration.samples == 24
    assert provenance.agreement.float_accuracy == 1.0
    assert provenance.agreement.same_prediction == provenance.agreement.int8_accuracy > 0.8
    assert 0 < provenance.agreement.mean_absolute_difference < 0.02 < provenance.agreement.output_range < 1
    assert bundle_bytes(convert_model(float_models / name, calibration=float_models / "c.npz", classes=7)) == (
        bundle_bytes(bundle)
    )


@needs_tensorflow
def test_another_process_gives_the_same_bytes(float_models):
    code = (
        "import hashlib, sys; from pathlib import Path; from edgelearn.convert import convert_model; "
        "from edgelearn.bundle import bundle_bytes; folder = Path(sys.argv[1]); "
        "b = convert_model(folder / 'm.keras', calibration=folder / 'c.npz'); "
        "print(hashlib.sha256(bundle_bytes(b)).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code, str(float_models)], check=True, capture_output=True, text=True)
    here = convert_model(float_models / "m.keras", calibration=float_models / "c.npz")
    assert run.stdout.strip() == hashlib.sha256(bundle_bytes(here)).hexdigest()
    assert run.stderr == ""


@needs_tensorflow
def test_a_flat_regression_model(float_models, tmp_path):
    calibration = save(tmp_path / "c.npz", x=np.random.default_rng(0).normal(size=(9, 16)))
    bundle = convert_model(float_models / "flat.keras", calibration=calibration)
    assert bundle.graph.loss.kind is ir.LossKind.SQUARED_ERROR
    assert bundle.labels == ()
    assert [op.TITLE for op in bundle.graph.ops] == ["RESHAPE", "FULLY_CONNECTED"]
    agreement = bundle.provenance.agreement
    assert agreement.same_prediction is None
    assert 0 < agreement.mean_absolute_difference < agreement.output_range
    assert any(notice.startswith("only 9 calibration samples;") for notice in bundle.provenance.notices)
    write_bundle(bundle, tmp_path / "out.elb")
    assert read_bundle(tmp_path / "out.elb") == bundle
    classifier = convert_model(float_models / "flat.keras", calibration=calibration, loss=ir.LossKind.CROSS_ENTROPY)
    assert classifier.provenance.agreement.same_prediction > 0.5


@needs_tensorflow
@pytest.mark.parametrize("edges", list(Edges))
@pytest.mark.parametrize("name", ["two.keras", "two"])
def test_several_inputs_and_outputs(float_models, name, edges):
    """Keras keeps its order, a SavedModel may have another one: inputs and outputs are known by name."""
    bundle = convert_model(float_models / name, calibration=float_models / "two.npz", head="classes", edges=edges)
    graph = bundle.graph
    assert sorted(graph.inputs) == ["left", "right"]
    assert [graph.tensor(name).shape for name in sorted(graph.inputs)] == [(1, 4, 4, 1), (1, 4, 4, 2)]
    assert {graph.tensor(name).dtype for name in graph.inputs} == {
        ir.DType.INT8 if edges is Edges.INT8 else ir.DType.FLOAT32
    }
    head = graph.outputs.index("classes")
    assert graph.loss == ir.Loss(kind=ir.LossKind.CROSS_ENTROPY, prediction="classes")
    value = graph.tensor(graph.outputs[1 - head])
    assert (value.shape, value.dtype) == ((1, 2), ir.DType.INT8 if edges is Edges.INT8 else ir.DType.FLOAT32)
    assert len(bundle.labels) == 3
    agreement = bundle.provenance.agreement
    assert agreement.float_accuracy == 1.0
    assert agreement.int8_accuracy > 0.8
    assert agreement.mean_absolute_difference < 0.02


@needs_tensorflow
def test_the_first_output_that_ends_in_a_dense_layer_is_the_head(float_models, tmp_path):
    arrays = np.load(float_models / "two.npz")
    numbered = save(tmp_path / "n.npz", x=arrays["left"], x_1=arrays["right"])
    bundle = convert_model(float_models / "two.keras", calibration=numbered)
    assert bundle.graph.loss.prediction == bundle.graph.outputs[0] == "value"
    assert any("2 outputs: value is the head, the others stay frozen" in n for n in bundle.provenance.notices)
    with pytest.raises(DataError, match="no array for each of the model's 2 inputs") as error:
        convert_model(float_models / "two.keras", calibration=save(tmp_path / "l.npz", left=arrays["left"]))
    assert "left, right (or x, x_1)" in error.value.hint
    with pytest.raises(DataError, match="right has 5 samples, left has 30"):
        convert_model(
            float_models / "two.keras",
            calibration=save(tmp_path / "m.npz", left=arrays["left"], right=arrays["right"][:5]),
        )
    with pytest.raises(CalibrationError, match=r"the model's input right \[4, 4, 2\]"):
        convert_model(
            float_models / "two.keras", calibration=save(tmp_path / "s.npz", left=arrays["left"], right=arrays["left"])
        )


@needs_tensorflow
def test_no_figures_of_the_whole_model_for_a_part_of_it(float_models):
    bundle = convert_model(float_models / "m.keras", calibration=float_models / "c.npz", head="dense")
    assert bundle.graph.ops[-1].name == "dense"
    assert bundle.provenance.agreement is None
    assert bundle.provenance.float_model_bytes == 0
    assert "ai-edge-litert" not in bundle.provenance.tools


@needs_tensorflow
@pytest.mark.parametrize("name", ["custom.keras", "custom.h5"])
def test_an_unknown_layer_is_named(float_models, name):
    with pytest.raises(ModelFileError, match=f"{name} needs the class Mine") as error:
        convert_model(float_models / name, calibration=float_models / "c.npz")
    assert "deserialized" not in str(error.value)
    assert "model.export" in error.value.hint


@needs_tensorflow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("functions", ["SIN", "COS", "Erf"]),
        ("several", ["recurrent: it does not have the four gates", "CONV_3D in volume"]),
    ],
)
def test_all_that_a_float_model_has_and_edgelearn_not_is_named_in_one_error(float_models, name, expected):
    """TensorFlow's converter would stop at the first."""
    with pytest.raises(UnsupportedOpError) as error:
        convert_model(float_models / f"{name}.keras", calibration=float_models / "c.npz")
    assert [found for found in error.value.ops if found.startswith(tuple(expected))] == list(error.value.ops)
    assert len(error.value.ops) == len(expected)


@needs_tensorflow
def test_float_models_that_are_refused(float_models, tmp_path):
    calibration = float_models / "c.npz"
    (tmp_path / "bad.keras").write_bytes((float_models / "m.keras").read_bytes()[:3000])
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\xff\xfe nothing")
    for path in (tmp_path / "bad.keras", tmp_path / "bad.h5", tmp_path / "saved", float_models / "custom.keras"):
        with pytest.raises(ModelFileError) as error:
            convert_model(path, calibration=calibration)
        assert error.value.cause
        assert error.value.hint
    with pytest.raises(ModelFileError, match=r"input input_layer\w* has the open shape \[\?, 8, 1\]"):
        convert_model(float_models / "open.keras", calibration=calibration)
    with pytest.raises(UnsupportedOpError, match="it does not have the four gates of an LSTM"):
        convert_model(float_models / "loop.keras", calibration=calibration)
    with pytest.raises(CalibrationError, match=r"\[4, 4, 1\]"):
        convert_model(float_models / "flat.keras", calibration=calibration)
    with pytest.raises(UnsupportedOpError, match=r"DIV \(op #\d\) in dense"):
        convert_model(float_models / "softsign.keras", calibration=save(tmp_path / "s.npz", x=np.eye(4)))
    x = np.zeros((4, 8, 8, 1))
    x[2] = np.nan
    with pytest.raises(DataError, match="sample 2 holds NaN"):
        convert_model(float_models / "m.keras", calibration=save(tmp_path / "n.npz", x=x))
