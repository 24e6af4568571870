"""Marking the head: which layer, which loss, which weights, how many outputs, which labels."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from edgelearn import ir
from edgelearn.convert.head import FloatParameter, mark_head
from edgelearn.convert.passes import run_passes
from edgelearn.convert.tflite_loader import load_tflite
from edgelearn.errors import HeadError, LabelError, OptionError
from edgelearn.ir import Activation, DType, LossKind
from edgelearn.ir.edges import Edges
from tests.support.models import reference_model
from tests.support.tflite_builder import TfliteBuilder


def build(*, softmax: bool = True, activation: str = "none", per_channel: bool = True, tail: str = "") -> ir.Graph:
    builder = TfliteBuilder(7)
    x = builder.fully_connected(builder.input((1, 6)), units=5, activation="relu", name="hidden")
    x = builder.fully_connected(x, units=4, activation=activation, per_channel=per_channel, name="last")
    if tail == "reshape":
        x = builder.reshape(x, (1, 1, 4))
    if tail == "square":
        x = builder.reshape(x, (1, 2, 2))
    if tail == "pool":
        x = builder.max_pool_2d(builder.reshape(x, (1, 2, 2, 1)))
    if softmax:
        x = builder.softmax(x)
    return run_passes(load_tflite(builder.build(x), name="model"))


def float_head(graph: ir.Graph) -> tuple[FloatParameter, FloatParameter]:
    """A float kernel [F, C] and bias that the int8 ones are the nearest steps of."""
    rng = np.random.default_rng(0)
    op = next(op for op in graph.ops if op.name == "last")
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    scale = np.array(weight.quant.scale).reshape(-1, 1)
    kernel = weight.array() * scale + rng.uniform(-0.5, 0.5, weight.shape) * scale
    values = (bias.array() + rng.uniform(-0.5, 0.5, 4)) * scale[:, 0] * x.scale
    return (
        FloatParameter(layer="Keras_Last", values=kernel.T.astype(np.float32)),
        FloatParameter(layer="Keras_Last", values=values.astype(np.float32)),
    )


def trainable(graph: ir.Graph) -> tuple[ir.Tensor, ir.Tensor]:
    (op,) = graph.trainable_ops
    return graph.tensor(op.inputs[1]), graph.tensor(op.inputs[2])


@pytest.mark.parametrize(
    ("name", "head", "outputs", "loss"),
    [
        ("kws_ref_model", "dense", 12, LossKind.CROSS_ENTROPY),
        ("pretrainedResnet_quant", "dense", 10, LossKind.CROSS_ENTROPY),
        ("ad01_int8", "dense_9", 640, LossKind.SQUARED_ERROR),
    ],
)
def test_heads_of_the_reference_models(name, head, outputs, loss):
    marked = mark_head(run_passes(load_tflite(reference_model(name).read_bytes(), name=name)))
    assert marked.head == head
    assert marked.graph.output.shape == (1, outputs)
    assert marked.graph.output.dtype is DType.FLOAT32
    assert marked.graph.loss.kind is loss
    assert len(marked.labels) == (outputs if loss is LossKind.CROSS_ENTROPY else 0)
    assert bool(marked.notices) == (loss is LossKind.SQUARED_ERROR)
    assert marked.is_whole


@pytest.mark.parametrize("tail", ["", "reshape"])
def test_the_softmax_belongs_to_the_head(tail):
    marked = mark_head(build(tail=tail))
    assert [op.TITLE for op in marked.graph.ops] == ["FULLY_CONNECTED", "FULLY_CONNECTED"]
    assert marked.graph.loss == ir.Loss(kind=LossKind.CROSS_ENTROPY, prediction="last")
    assert marked.notices == ()
    assert marked.labels == ("0", "1", "2", "3")


def test_without_softmax_it_is_squared_error_with_a_notice():
    marked = mark_head(build(softmax=False))
    assert marked.graph.loss.kind is LossKind.SQUARED_ERROR
    assert "squared error" in marked.notices[0]
    assert marked.labels == ()
    chosen = mark_head(build(softmax=False), loss=LossKind.CROSS_ENTROPY)
    assert chosen.notices == ()
    assert len(chosen.labels) == 4


def test_squared_error_in_spite_of_a_softmax_is_told():
    marked = mark_head(build(), loss=LossKind.SQUARED_ERROR)
    assert marked.graph.loss.kind is LossKind.SQUARED_ERROR
    assert "softmax" in marked.notices[0]


def test_float_weights_are_found_by_their_values():
    graph = build()
    kernel, bias = float_head(graph)
    other = FloatParameter(layer="other", values=np.zeros((5, 4), np.float32))
    marked = mark_head(graph, parameters=(other, bias, kernel))
    weight, start = trainable(marked.graph)
    assert weight.dtype is DType.FLOAT32
    assert weight.quant is None
    assert np.array_equal(weight.array(), kernel.values.T)
    assert np.array_equal(start.array(), bias.values)
    assert marked.notices == ()


def test_float_weights_that_differ_are_not_taken():
    graph = build()
    kernel, bias = float_head(graph)
    values = kernel.values.copy()
    values[2, 1] += 0.01 + graph.tensor("last_weight").quant.scale[1]
    marked = mark_head(graph, parameters=(FloatParameter(layer="Keras_Last", values=values), bias))
    weight, start = trainable(marked.graph)
    assert weight.dtype is DType.INT8
    assert "int8" in marked.notices[0]
    before = graph.tensor("last_bias")
    assert np.allclose(start.array(), ir.dequantize_array(before.array(), before.quant))


def test_a_bias_that_is_not_found_is_the_int32_one():
    graph = build()
    kernel, _ = float_head(graph)
    _, start = trainable(mark_head(graph, parameters=(kernel,)).graph)
    before = graph.tensor("last_bias")
    assert start.dtype is DType.FLOAT32
    assert np.allclose(start.array(), ir.dequantize_array(before.array(), before.quant))


@pytest.mark.parametrize("per_channel", [True, False])
def test_spare_outputs_of_an_int8_head(per_channel):
    graph = build(per_channel=per_channel)
    marked = mark_head(graph, classes=6)
    weight, bias = trainable(marked.graph)
    before = graph.tensor("last_weight")
    assert weight.shape == (6, 5)
    assert np.array_equal(weight.array()[:4], before.array())
    assert not weight.array()[4:].any()
    assert not bias.array()[4:].any()
    if per_channel:
        assert weight.quant.scale == (*before.quant.scale, *(max(before.quant.scale),) * 2)
    else:
        assert weight.quant == before.quant
    assert marked.labels == ("0", "1", "2", "3", "4", "5")


def test_spare_outputs_of_a_float_head():
    graph = build()
    weight, bias = trainable(mark_head(graph, classes=5, parameters=float_head(graph)).graph)
    assert weight.shape == (5, 5)
    assert bias.shape == (5,)
    assert not weight.array()[4].any()


def test_too_few_classes():
    with pytest.raises(HeadError, match="3 classes are fewer than the 4 outputs"):
        mark_head(build(), classes=3)


def test_another_layer_by_name():
    marked = mark_head(build(), head="hidden")
    assert marked.head == "hidden"
    assert [op.name for op in marked.graph.ops] == ["hidden"]
    assert marked.graph.ops[0].activation is Activation.NONE
    assert "last, softmax" in marked.notices[0]
    assert "relu" in marked.notices[1]
    assert not marked.is_whole


def test_another_layer_by_its_keras_name():
    graph = build()
    assert mark_head(graph, head="Keras_Last", parameters=float_head(graph)).head == "last"


@pytest.mark.parametrize("name", ["nothing", "softmax"])
def test_an_unknown_head_lists_the_dense_layers(name):
    with pytest.raises(HeadError) as error:
        mark_head(build(), head=name)
    assert "hidden, last" in error.value.cause
    assert name in error.value.message


def test_no_head_on_request():
    graph = build()
    marked = mark_head(graph, head="none")
    assert marked.graph is graph
    assert (marked.head, marked.notices, marked.graph.loss) == (None, (), None)
    assert len(marked.labels) == 4
    with pytest.raises(OptionError):
        mark_head(graph, head="none", classes=5)
    with pytest.raises(OptionError):
        mark_head(graph, head="none", loss=LossKind.CROSS_ENTROPY)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"softmax": False, "tail": "pool"}, "max_pool"),
        ({"activation": "relu"}, "relu"),
        ({"tail": "square"}, "no plain softmax"),
    ],
)
def test_a_model_that_ends_otherwise_has_no_head(options, words):
    graph = build(**options)
    marked = mark_head(graph)
    assert marked.head is None
    assert marked.graph.loss is None
    assert words in marked.notices[0]
    with pytest.raises(HeadError, match="no head"):
        mark_head(graph, classes=5)
    assert mark_head(graph, head="last").head == "last"


def test_a_softmax_that_is_sharpened_is_not_the_head_s():
    builder = TfliteBuilder(1)
    x = builder.fully_connected(builder.input((1, 6)), units=4, name="last")
    graph = load_tflite(builder.build(builder.softmax(x, beta=2.0)), name="model")
    assert mark_head(graph).head is None


def test_a_weight_that_a_frozen_layer_shares_is_copied():
    builder = TfliteBuilder(3)
    x = builder.fully_connected(builder.input((1, 6)), units=6, name="first")
    scale, zero_point = builder.quant(x)
    first = builder._operators[-1]
    out = builder.tensor((1, 6), scale=scale, zero_point=zero_point, name="second")
    builder.op("FULLY_CONNECTED", [x, *first.inputs[1:]], out, options=first.builtinOptions, version=3)
    graph = mark_head(load_tflite(builder.build(out), name="model")).graph
    assert graph.trainable_ops[0].name == "second"
    assert graph.tensor("first_weight").training is None


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (("a", "b", "c", "d"), None, ("a", "b", "c", "d")),
        (("a", "b", "c", "d"), 6, ("a", "b", "c", "d", "class 4", "class 5")),
        (("a", "b", "c", "d", "e"), 5, ("a", "b", "c", "d", "e")),
    ],
)
def test_labels(labels, classes, expected):
    assert mark_head(build(), labels=labels, classes=classes).labels == expected


@pytest.mark.parametrize("labels", [("a",), ("a", "b", "c", "d", "e"), ("a", "b", "a", "d"), ("a", "b", " ", "d"), ()])
def test_bad_labels(labels):
    with pytest.raises(LabelError):
        mark_head(build(), labels=labels)
    with pytest.raises(LabelError):
        mark_head(build(), labels=labels, head="none")


def test_a_dense_layer_on_several_rows_is_no_head():
    builder = TfliteBuilder(7)
    x = builder.fully_connected(builder.input((1, 5, 6)), units=4, rows=True, name="each_step")
    graph = run_passes(load_tflite(builder.build(x), name="model"))
    with pytest.raises(HeadError, match="each_step takes 5 rows of 6 values, and a head takes one") as error:
        mark_head(graph, head="each_step")
    assert "--head none" in error.value.hint
    marked = mark_head(graph)
    assert marked.head is None
    assert "each_step takes 5 rows of 6 values" in marked.notices[0]


# Several outputs


def two_outputs(*, float_edges: bool = False) -> ir.Graph:
    """Outputs: a convolution's image, a softmax of `classes`, and `value`, on the same features."""
    builder = TfliteBuilder(7)
    image = builder.conv_2d(builder.input((1, 4, 4, 2)), filters=3, name="image")
    x = builder.fully_connected(image, units=5, activation="relu", name="hidden")
    classes = builder.softmax(builder.fully_connected(x, units=4, name="classes"))
    value = builder.fully_connected(x, units=2, name="value")
    outputs = (image, builder.dequantize(classes) if float_edges else classes, value)
    edges = Edges.FLOAT if float_edges else Edges.INT8
    return run_passes(load_tflite(builder.build(*outputs), name="model", edges=edges))


@pytest.mark.parametrize("float_edges", [False, True])
def test_the_first_output_that_ends_in_a_dense_layer_is_the_head_and_the_others_stay(float_edges):
    marked = mark_head(two_outputs(float_edges=float_edges))
    assert marked.head == "classes"
    assert marked.graph.outputs == ("image", "classes", "value")
    assert [marked.graph.tensor(name).dtype.value for name in marked.graph.outputs] == ["int8", "float32", "int8"]
    assert marked.graph.loss == ir.Loss(kind=LossKind.CROSS_ENTROPY, prediction="classes")
    assert [op.name for op in marked.graph.ops] == ["image", "hidden", "classes", "value"]
    assert marked.is_whole
    assert len(marked.labels) == 4
    (notice,) = marked.notices
    assert "3 outputs: classes is the head, the others stay frozen" in notice


def test_another_output_can_be_the_head():
    marked = mark_head(two_outputs(), head="value")
    graph = marked.graph
    assert graph.loss == ir.Loss(kind=LossKind.SQUARED_ERROR, prediction="value")
    assert [graph.tensor(name).shape for name in graph.outputs] == [(1, 2, 2, 3), (1, 4), (1, 2)]
    assert graph.producer(graph.outputs[1]).TITLE == "SOFTMAX"
    assert marked.is_whole


def test_outputs_that_depend_on_the_head_go():
    marked = mark_head(two_outputs(), head="hidden")
    assert marked.graph.outputs == ("image", "hidden")
    assert not marked.is_whole
    assert any("dropped, because the head is hidden" in notice and "value" in notice for notice in marked.notices)


def test_a_classifier_that_names_the_class_itself_has_that_many_labels():
    graph = two_outputs()
    image = graph.outputs[0]
    number = ir.Tensor(name="number", shape=(1,), dtype=DType.INT32)
    # As ARG_MAX over the four classes would give it; the op itself does not matter here.
    ops = tuple(replace(op, outputs=("number",)) if op.TITLE == "SOFTMAX" else op for op in graph.ops)
    named = replace(graph, tensors=(*graph.tensors, number), ops=ops, outputs=("number", image))
    assert mark_head(named, head="none").labels == ("0", "1", "2", "3")
    assert mark_head(named, head="none", labels=["a", "b", "c", "d"]).labels == ("a", "b", "c", "d")
    with pytest.raises(LabelError, match="2 labels do not fit 4 outputs"):
        mark_head(named, head="none", labels=["a", "b"])
