"""Loading .tflite models: every op, the refusals, and damaged files."""

from __future__ import annotations

import builtins
import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelearn import ir
from edgelearn.convert.head import mark_head
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.convert.passes import run_passes
from edgelearn.convert.tflite_loader import load_tflite
from edgelearn.convert.translators import TRANSLATORS
from edgelearn.errors import MissingPackageError, ModelFileError, NotQuantizedError, OptionError, UnsupportedOpError
from edgelearn.ir.edges import Edges
from tests.support import tflite_builder
from tests.support.models import REFERENCE_MODELS, reference_model
from tests.support.tflite_builder import TfliteBuilder, single_op_model


def load(model: bytes) -> ir.Graph:
    return load_tflite(model, name="model")


def refusal(model: bytes) -> UnsupportedOpError:
    with pytest.raises(UnsupportedOpError) as error:
        load(model)
    return error.value


@pytest.mark.parametrize("name", REFERENCE_MODELS)
def test_reference_models_load_with_readable_names(name):
    graph = run_passes(load(reference_model(name).read_bytes()))
    assert all(op.name.isidentifier() for op in graph.ops)
    assert all(t.name.isidentifier() for t in graph.tensors)
    assert graph.ops[0].name in ("conv2d", "dense")
    macs = {"kws_ref_model": 2_656_768, "pretrainedResnet_quant": 12_501_632, "ad01_int8": 264_192}
    assert sum(op.multiply_accumulates(graph.tensors_by_name) for op in graph.ops) == macs[name]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (4, 4)])
@pytest.mark.parametrize(
    ("stride", "dilation"),  # a convolution has one or the other
    [((1, 1), (1, 1)), ((2, 1), (1, 1)), ((2, 2), (1, 1)), ((3, 2), (1, 1)), ((1, 1), (2, 2)), ((1, 1), (1, 3))],
)
def test_windows_give_the_file_s_shapes_and_litert_s_padding(padding, stride, kernel, dilation):
    for size in (13, 14, 15):
        model = single_op_model(
            "CONV_2D",
            shape=(1, size, size + 1, 2),
            filters=3,
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            padding=padding,
        )
        graph = load(model)
        window = graph.ops[0].window
        assert graph.output.shape[1:3] == window.output_size(size, size + 1)
        interpreter = ReferenceInterpreter(model)
        sample = np.random.default_rng(size).integers(-128, 128, graph.input.shape).astype(np.int8)
        measured = interpreter.run(sample, [interpreter.output_index])[interpreter.output_index]
        assert np.abs(_convolve(graph, sample).astype(int) - measured).max() <= 1


def _convolve(graph: ir.Graph, sample: np.ndarray) -> np.ndarray:
    """The convolution in float, to show that the padding is where LiteRT has it."""
    op = graph.ops[0]
    w = op.window
    x = ir.dequantize_array(sample, graph.input.quant).astype(np.float64)
    weight, bias = graph.tensor(op.inputs[1]), graph.tensor(op.inputs[2])
    kernel = ir.dequantize_array(weight.array(), weight.quant).astype(np.float64)
    x = np.pad(x, ((0, 0), (w.pad_top, w.pad_bottom), (w.pad_left, w.pad_right), (0, 0)))
    out = np.zeros(graph.output.shape)
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            top, left = i * w.stride_h, j * w.stride_w
            patch = x[
                0,
                top : top + (w.kernel_h - 1) * w.dilation_h + 1 : w.dilation_h,
                left : left + (w.kernel_w - 1) * w.dilation_w + 1 : w.dilation_w,
            ]
            out[0, i, j] = (patch * kernel).sum((1, 2, 3))
    out += ir.dequantize_array(bias.array(), bias.quant)
    return ir.quantize_array(out, graph.output.quant)


@pytest.mark.parametrize(
    ("op", "kind", "parameters"),
    [
        ("CONV_2D", "Conv2D", {"filters": 5, "activation": "relu", "per_channel": False}),
        ("DEPTHWISE_CONV_2D", "DepthwiseConv2D", {"multiplier": 2, "activation": "relu6"}),
        ("FULLY_CONNECTED", "FullyConnected", {"units": 7, "per_channel": True}),
        ("FULLY_CONNECTED", "FullyConnected", {"units": 7, "per_channel": False}),
        ("DEPTHWISE_CONV_2D", "DepthwiseConv2D", {"bias": False}),
        ("FULLY_CONNECTED", "FullyConnected", {"units": 3, "bias": False}),
        ("AVERAGE_POOL_2D", "AveragePool2D", {"kernel": (3, 2), "padding": "same"}),
        ("MAX_POOL_2D", "MaxPool2D", {"activation": "relu"}),
        ("MEAN", "Mean", {"keep_dims": False}),
        ("MEAN", "Mean", {"keep_dims": True, "axes": (-3, -2)}),
        ("ADD", "Add", {"other_scale": True, "activation": "relu"}),
        ("PAD", "Pad", {"paddings": [(0, 0), (1, 2), (0, 3), (0, 0)]}),
        ("RESHAPE", "Reshape", {"new_shape": (1, 4, 64)}),
        ("SOFTMAX", "Softmax", {"beta": 0.5}),
    ],
)
@pytest.mark.parametrize("float_edges", [False, True])
def test_each_op_loads(op, kind, parameters, float_edges):
    model = single_op_model(op, seed=5, float_edges=float_edges, **parameters)
    graph = load(model)
    assert type(graph.ops[-1]).__name__ == kind
    assert graph.input.dtype is graph.output.dtype is ir.DType.INT8
    for name in ("activation", "multiplier", "keep_dims", "beta"):
        if name in parameters:
            value = getattr(graph.ops[-1], name)
            assert (value.value if isinstance(value, ir.Activation) else value) == parameters[name]
    interpreter = ReferenceInterpreter(model)
    sample = np.zeros(graph.input.shape, np.int8)
    for tensor in graph.tensors:
        if not tensor.is_constant:
            measured = interpreter.run(sample, [tensor.source_index])[tensor.source_index]
            assert measured.shape == tensor.shape
            assert measured.dtype == np.int8


def test_every_op_of_the_graph_has_a_translator():
    assert {op.TITLE for op in ir.OP_TYPES} <= set(TRANSLATORS)


def test_a_missing_bias_becomes_zeros_of_the_right_scale():
    graph = load(single_op_model("CONV_2D", filters=3, bias=False))
    weight, bias = (graph.tensor(name) for name in graph.ops[0].inputs[1:])
    assert bias.array().tolist() == [0, 0, 0]
    assert bias.quant.scale == pytest.approx([graph.input.scale * s for s in weight.quant.scale], rel=1e-6)


def test_shared_weights_are_one_tensor():
    builder = TfliteBuilder(3)
    x = builder.input((1, 6))
    first = builder.fully_connected(x, units=6, name="first")
    weight, bias = builder._operators[-1].inputs[1:]
    options = tflite_builder.schema.FullyConnectedOptionsT()
    scale, zero_point = builder.quant(x)
    out = builder.tensor((1, 6), scale=scale, zero_point=zero_point, name="second")
    builder.op("FULLY_CONNECTED", [first, weight, bias], out, options=options, version=3)
    graph = load(builder.build(out))
    assert graph.ops[0].inputs[1] == graph.ops[1].inputs[1]


def test_shape_arithmetic_before_a_reshape_vanishes():
    builder = TfliteBuilder()
    x = builder.input((1, 4, 4, 2), signature=(-1, 4, 4, 2))
    scale, zero_point = builder.quant(x)
    shape = builder.tensor((4,), tflite_builder.INT32)
    builder.op("SHAPE", [x], shape)
    sliced = builder.tensor((), tflite_builder.INT32)
    builder.op("STRIDED_SLICE", [shape], sliced)
    packed = builder.tensor((2,), tflite_builder.INT32)
    builder.op("PACK", [sliced], packed)
    out = builder.tensor((1, 32), scale=scale, zero_point=zero_point, signature=(-1, 32))
    builder.op("RESHAPE", [x, packed], out)
    graph = load(builder.build(builder.fully_connected(out, units=3)))
    assert [op.TITLE for op in graph.ops] == ["RESHAPE", "FULLY_CONNECTED"]


def test_all_unsupported_ops_come_in_one_error():
    builder = TfliteBuilder()
    x = builder.input((1, 8, 8, 4))
    scale, zero_point = builder.quant(x)
    for code in ("DIV", "CUSTOM", "TOPK_V2"):
        out = builder.tensor((1, 8, 8, 4), scale=scale, zero_point=zero_point)
        x = builder.op(code, [x], out, custom="Wavelet" if code == "CUSTOM" else None)
    error = refusal(builder.build(builder.conv_2d(x, filters=2, activation="tanh")))
    assert [text.partition(":")[0] for text in error.ops] == [
        "CONV_2D (op #3)",
        "DIV (op #0)",
        "Wavelet (op #1)",
        "TOPK_V2 (op #2)",
    ]
    assert "TANH" in error.ops[0]
    lines = error.message.splitlines()[1:]
    assert lines == [error.ops[0], "DIV (op #0), Wavelet (op #1), TOPK_V2 (op #2)"]
    assert "DIV: multiply by the reciprocal instead" in error.hint
    assert error.exit_code == 12


def test_layers_are_named_and_sentences_not_repeated():
    builder = TfliteBuilder()
    x = builder.input((1, 8, 8, 4))
    scale, zero_point = builder.quant(x)
    for name in ("model/gate_1/truediv", "model/gate_1_1/truediv", "StatefulPartitionedCall:0"):
        x = builder.op("DIV", [x], builder.tensor((1, 8, 8, 4), scale=scale, zero_point=zero_point, name=name))
    for name in ("a", "b"):
        x = builder.conv_2d(x, filters=4, activation="tanh", name=name)
    with pytest.raises(UnsupportedOpError) as raised:
        load_tflite(builder.build(x), name="model", layers={"gate_1": "gate", "gate_1_1": "gate_1"})
    error = raised.value
    assert error.ops[0] == "CONV_2D (op #3) in a"
    assert error.ops[1].startswith("CONV_2D (op #4) in b: the fused activation TANH")
    assert error.ops[2:] == ("DIV (op #0) in gate", "DIV (op #1) in gate_1", "DIV (op #2)")
    assert str(error).count("the fused activation") == str(error).count("multiply by the reciprocal") == 1


@pytest.mark.parametrize(
    ("op", "parameters", "words"),
    [
        ("CONV_2D", {"filters": 4, "activation": "relu_n1_to_1"}, "RELU_N1_TO_1"),
        ("AVERAGE_POOL_2D", {"activation": "tanh"}, "TANH"),
    ],
)
def test_unsupported_parameters_are_named(op, parameters, words):
    error = refusal(single_op_model(op, **parameters))
    assert len(error.ops) == 1
    assert words in error.ops[0]


@pytest.mark.parametrize("type_", ["UINT8", "FLOAT16", "FLOAT64"])
def test_an_input_of_another_type_is_named(type_):
    builder = TfliteBuilder()
    edge = builder.tensor((1, 4), getattr(tflite_builder.schema.TensorType, type_), scale=0.1, zero_point=0)
    builder._inputs.append(edge)
    x = builder.op("QUANTIZE", [edge], builder.tensor((1, 4), scale=0.1))
    assert f"the input is {type_.lower()}, not int8" in str(refusal(builder.build(builder.fully_connected(x, units=2))))


def test_unsupported_weights_are_named():
    builder = TfliteBuilder()
    x = builder.input((1, 6))
    out = builder.fully_connected(x, units=3)
    builder._tensors[builder._operators[0].inputs[1]].quantization.zeroPoint = [4]
    assert "zero point" in refusal(builder.build(out)).ops[0]

    builder = TfliteBuilder()
    x = builder.input((1, 6))
    out = builder.fully_connected(x, units=3)
    builder._tensors[builder._operators[0].inputs[1]].buffer = 0
    assert "not constant" in refusal(builder.build(out)).ops[0]


def test_a_dense_layer_on_a_sequence_takes_rows():
    builder = TfliteBuilder()
    x = builder.input((1, 5, 6))
    graph = load(builder.build(builder.fully_connected(x, units=3, rows=True)))
    assert graph.output.shape == (1, 5, 3)
    assert graph.ops[0].rows(graph.tensors_by_name) == 5


def test_groups_that_do_not_divide_the_outputs_are_a_contradiction():
    with pytest.raises(ModelFileError, match="contradicts itself") as error:
        load(single_op_model("CONV_2D", filters=3, groups=2))
    assert "does not fit" in error.value.cause


def test_arithmetic_that_the_kernels_do_not_have_is_refused():
    builder = TfliteBuilder()
    x = builder.input((1, 1, 1, 1, 1, 4))
    assert "6 axes; at most 5" in refusal(builder.build(builder.add(x, x))).ops[0]
    builder = TfliteBuilder()
    x = builder.input((1, 4), scale=0.2, zero_point=0)
    fixed = builder.tensor((1, 4), scale=0.1, data=np.ones(4, np.int8))
    out = builder.op("MAXIMUM", [x, fixed], builder.tensor((1, 4), scale=0.2))
    assert "differ in scale" in refusal(builder.build(out)).ops[0]


def test_operands_that_do_not_make_the_output_are_a_contradiction():
    builder = TfliteBuilder()
    x = builder.input((1, 4))
    fixed = builder.tensor((1, 3), scale=0.1, data=np.ones(3, np.int8))
    with pytest.raises(ModelFileError, match="contradicts itself") as error:
        load(builder.build(builder.op("MUL", [x, fixed], builder.tensor((1, 4), scale=0.2))))
    assert "do not make the output" in error.value.cause


def test_quantisation_changes_where_none_may_be_are_refused():
    builder = TfliteBuilder()
    x = builder.input((1, 4, 4, 2), scale=0.5)
    out = builder.max_pool_2d(x)
    builder._tensors[out].quantization.scale = [0.25]
    assert "differ in scale" in refusal(builder.build(out)).ops[0]
    builder = TfliteBuilder()
    out = builder.softmax(builder.input((1, 4)))
    builder._tensors[out].quantization.scale = [0.5]
    assert "1/256" in refusal(builder.build(out)).ops[0]


def test_requantisation_inside_is_an_op():
    builder = TfliteBuilder()
    x = builder.input((1, 4))
    out = builder.tensor((1, 4), scale=0.3)
    builder.op("QUANTIZE", [x], out)
    assert [type(op).__name__ for op in load(builder.build(builder.softmax(out))).ops] == ["Requantize", "Softmax"]


def test_quantisation_to_and_from_other_integers_is_refused():
    builder = TfliteBuilder()
    x = builder.input((1, 4))
    unsigned = builder.tensor((1, 4), tflite_builder.UINT8, scale=0.3)
    builder.op("QUANTIZE", [x], unsigned)
    out = builder.tensor((1, 4), scale=0.3)
    builder.op("QUANTIZE", [unsigned], out)
    first, second = refusal(builder.build(builder.softmax(out))).ops
    assert first.startswith("QUANTIZE (op #0): its output is uint8")
    assert second.startswith("QUANTIZE (op #1): its input is uint8")


def test_several_inputs_and_outputs_keep_their_order():
    builder = TfliteBuilder()
    a, b = builder.input((1, 4), name="serving_default_left:0"), builder.input((1, 4), name="right")
    out = builder.add(a, b)
    graph = load(builder.build(builder.softmax(out), out))
    assert graph.inputs == ("left", "right")
    assert [graph.tensor(name).source_index for name in graph.inputs] == [a, b]
    assert [graph.producer(name).TITLE for name in graph.outputs] == ["SOFTMAX", "ADD"]


def test_an_input_that_nothing_reads_is_refused():
    builder = TfliteBuilder()
    x = builder.input((1, 4))
    builder.input((1, 4), name="spare")
    with pytest.raises(ModelFileError, match="does not read its input spare") as error:
        load(builder.build(builder.softmax(x)))
    assert "without it" in error.value.hint


def test_a_constant_output_is_refused():
    builder = TfliteBuilder()
    x = builder.softmax(builder.input((1, 4)))
    constant = builder.tensor((1, 2), scale=1.0, data=np.zeros((1, 2), np.int8))
    with pytest.raises(ModelFileError, match="an output of the model is a constant"):
        load(builder.build(x, constant))


@pytest.mark.parametrize("edges", list(Edges))
def test_each_float_edge_is_folded_or_kept(edges):
    builder = TfliteBuilder()
    a, b = builder.input((1, 4), float_edge=True, name="a"), builder.input((1, 4), name="b")
    out = builder.add(a, b)
    model = builder.build(builder.dequantize(out), out)
    graph = load_tflite(model, name="model", edges=edges)
    assert graph.inputs == ("a", "b")
    assert [graph.tensor(name).dtype.value for name in graph.inputs + graph.outputs] == (
        ["int8"] * 4 if edges is Edges.INT8 else ["float32", "int8", "float32", "int8"]
    )


def test_a_float_input_of_two_quantisations_can_only_be_kept():
    builder = TfliteBuilder()
    a = builder.input((1, 4), float_edge=True)
    b = builder.tensor((1, 4), scale=0.3, zero_point=1)
    builder.op("QUANTIZE", builder._inputs, b)
    model = builder.build(builder.add(a, b))
    assert "the input is float32" in refusal(model).ops[0]
    assert [op.TITLE for op in load_tflite(model, name="m", edges=Edges.FLOAT).ops] == ["QUANTIZE", "QUANTIZE", "ADD"]


def test_float_edges_of_an_int8_file_are_refused():
    builder = TfliteBuilder()
    model = builder.build(builder.softmax(builder.input((1, 4))))
    with pytest.raises(OptionError, match="no float edges") as error:
        load_tflite(model, name="model", edges=Edges.FLOAT)
    assert "--edges float" in error.value.hint


def test_a_batch_is_refused():
    with pytest.raises(ModelFileError, match="a batch of 2"):
        load(single_op_model("CONV_2D", filters=4, shape=(2, 8, 8, 4)))


@pytest.mark.parametrize("beta", [0.0, -1.0, 1e-30, float("nan")])
def test_a_senseless_beta_is_refused(beta):
    assert "beta" in refusal(single_op_model("SOFTMAX", shape=(1, 4), beta=beta)).ops[0]


def test_an_edge_that_changes_the_shape_is_a_contradiction():
    builder = TfliteBuilder()
    x = builder.input((1, 4), float_edge=True)
    builder._tensors[x].shape = [1, 5]
    with pytest.raises(ModelFileError, match="contradicts"):
        load(builder.build(builder.softmax(x)))


def test_dynamic_shapes_are_refused_but_not_a_dynamic_batch():
    builder = TfliteBuilder()
    assert load(builder.build(builder.mean(builder.input((1, 4, 4, 2), signature=(-1, 4, 4, 2)))))
    builder = TfliteBuilder()
    model = builder.build(builder.mean(builder.input((1, 4, 4, 2), signature=(1, -1, 4, 2))))
    with pytest.raises(ModelFileError, match="dynamic shape"):
        load(model)


@pytest.mark.parametrize("type_", [tflite_builder.FLOAT32, tflite_builder.UINT8])
def test_a_model_that_is_not_int8_is_refused(type_):
    builder = TfliteBuilder()
    x = builder.tensor((1, 4), type_, scale=0.1)
    builder._inputs.append(x)
    out = builder.tensor((1, 4), type_, scale=0.1)
    builder.op("SOFTMAX", [x], out)
    with pytest.raises(NotQuantizedError) as error:
        load(builder.build(out))
    assert ("float32" if type_ == tflite_builder.FLOAT32 else "uint8") in error.value.cause
    assert "--calibration" in error.value.hint


def test_a_float_part_inside_is_named():
    builder = TfliteBuilder()
    x = builder.input((1, 4))
    x = builder.dequantize(x, name="float")
    out = builder.tensor((1, 4), tflite_builder.FLOAT32)
    builder.op("SOFTMAX", [x], out)
    error = refusal(builder.build(out))
    assert error.ops[0].startswith("DEQUANTIZE (op #0) in float: part of the model is still float")
    assert "float32" in error.ops[1]


@pytest.mark.parametrize("data", [b"", b"\0", b"hello, this is a text file", b"\0\0\0\0TFL3", b"\x1c\0\0\0TFL3" * 9])
def test_garbage_is_no_model(data):
    with pytest.raises(ModelFileError):
        load(data)


def test_a_model_without_ops_is_refused():
    builder = TfliteBuilder()
    with pytest.raises(ModelFileError):
        load(builder.build(builder.input((1, 4))))


def test_the_schema_package_is_named_where_it_is_missing(monkeypatch):
    real = builtins.__import__

    def without_tflite(name, *arguments, **keywords):
        if name == "tflite":
            raise ModuleNotFoundError(name="tflite")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_tflite)
    with pytest.raises(MissingPackageError) as error:
        load(b"")
    assert (error.value.package, error.value.extra) == ("tflite", "litert")


def _small_model() -> bytes:
    builder = TfliteBuilder(1)
    x = builder.input((1, 8, 8, 3), float_edge=True)
    x = builder.conv_2d(x, filters=4, padding="same", activation="relu")
    x = builder.add(x, builder.depthwise_conv_2d(x, padding="same", bias=False))
    x = builder.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    x = builder.mean(builder.average_pool_2d(builder.max_pool_2d(x)))
    x = builder.fully_connected(builder.reshape(x, (1, 4)), units=3)
    return builder.build(builder.dequantize(builder.softmax(x)))


SMALL_MODEL = _small_model()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    edits=st.lists(st.tuples(st.integers(0, len(SMALL_MODEL) - 1), st.integers(0, 255)), max_size=12),
    length=st.one_of(st.just(len(SMALL_MODEL)), st.integers(0, len(SMALL_MODEL))),
)
def test_damaged_files_are_refused_and_never_crash(edits, length):
    data = bytearray(SMALL_MODEL[:length])
    for position, value in edits:
        if position < len(data):
            data[position] = value
    with contextlib.suppress(ModelFileError, UnsupportedOpError, NotQuantizedError):
        mark_head(run_passes(load(bytes(data))))
