"""Arithmetic of two tensors: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.codegen.fold_add import Operands, exact, fold, folded, operands
from edgelearn.codegen.requantize import Scale, to_scale
from edgelearn.errors import UnsupportedOpError
from edgelearn.ir.elementwise import Add, Maximum, Minimum, Mul, Sub
from tests.support.firmware import load_graph, plan
from tests.support.tflite_builder import INT32, TfliteBuilder
from tests.vectors.models import ACTIVATIONS, Drawn, assert_same_bytes, check, examples


def small(code):
    """Makes the op on a tensor and itself."""

    def make(b, x):
        scale, zero_point = b.quant(x)
        return b.op(code, [x, x], b.tensor(b.shape(x), scale=scale, zero_point=zero_point), options=options_of(code))

    return make


#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {
    Add: small("ADD"),
    Sub: small("SUB"),
    Mul: small("MUL"),
    Maximum: small("MAXIMUM"),
    Minimum: small("MINIMUM"),
}


def options_of(code, activation="none"):
    """The op's options with a fused activation."""
    from ai_edge_litert import schema_py_generated as schema

    if code in ("MAXIMUM", "MINIMUM"):
        return schema.MaximumMinimumOptionsT()
    options = {"ADD": schema.AddOptionsT, "SUB": schema.SubOptionsT, "MUL": schema.MulOptionsT}[code]()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation.upper())
    if code != "MUL":
        options.potScaleInt16 = False
    return options


def broadcast(data, code):
    """An op on an input and a constant, or on an input and a part of it, of shapes that go together."""
    drawn = Drawn(data)
    b = drawn.builder
    same_scale = code in ("MAXIMUM", "MINIMUM")
    rank = drawn.integer(2, 5)
    shape = (1, *(drawn.integer(1, 4) for _ in range(rank - 1)))
    scale = drawn.scale(-16, 6)
    x = b.input(shape, scale=scale, zero_point=drawn.zero_point())
    quant = {"scale": drawn.near(scale, drawn.choice(1, 6, 14)), "zero_point": drawn.zero_point()}
    if same_scale:
        quant = {"scale": b.quant(x)[0], "zero_point": b.quant(x)[1]}
    if drawn.choice(True, False):
        other_shape = [drawn.choice(n, 1) if n > 1 else drawn.integer(1, 3) for n in shape][
            drawn.integer(0, rank - 1) :
        ]
        values = drawn.rng.integers(-128, 128, other_shape).astype(np.int8)
        other = b.tensor(other_shape, data=values, **quant)
    else:
        # The largest of all, along some axes: it keeps the scale.
        axes = [axis for axis in range(1, rank) if drawn.choice(True, False)]
        other = x
        if axes:
            kept = [1 if axis in axes else n for axis, n in enumerate(shape)]
            reduced = b.tensor(kept, scale=b.quant(x)[0], zero_point=b.quant(x)[1])
            from ai_edge_litert import schema_py_generated as schema

            reducer = schema.ReducerOptionsT()
            reducer.keepDims = True
            axis = b.tensor((len(axes),), INT32, data=np.array(axes, np.int32))
            other = b.op("REDUCE_MAX", [x, axis], reduced, options=reducer, version=2)
    pair = (x, other) if drawn.choice(True, False) else (other, x)
    scales = [b.quant(number)[0] for number in pair]
    if not same_scale:
        near = scales[0] * scales[1] * drawn.choice(1.0, 100.0) if code == "MUL" else max(scales)
        quant = {"scale": drawn.near(near, drawn.choice(1, 6, 14)), "zero_point": drawn.zero_point()}
    out = b.tensor(np.broadcast_shapes(b.shape(x), b.shape(other)), **quant)
    check(drawn, x, b.op(code, pair, out, options=options_of(code, drawn.choice(*ACTIVATIONS)), version=2))


@examples(100)
@given(st.data())
def test_mul(data):
    broadcast(data, "MUL")


@examples(100)
@given(st.data())
def test_sub(data):
    broadcast(data, "SUB")


@examples(80)
@given(st.data())
def test_add_broadcast(data):
    broadcast(data, "ADD")


@examples(60)
@given(st.data())
def test_maximum(data):
    broadcast(data, "MAXIMUM")


@examples(60)
@given(st.data())
def test_minimum(data):
    broadcast(data, "MINIMUM")


@examples(150)
@given(st.data())
def test_add(data):
    from ai_edge_litert import schema_py_generated as schema

    drawn = Drawn(data)
    x = drawn.image(4, 4)
    b = drawn.builder
    # The other operand has a scale of its own: a 1x1 depthwise convolution gives it.
    window = {"kernel": (1, 1), "stride": (1, 1), "padding": "valid"}
    other = drawn.weighted(x, "DEPTHWISE_CONV_2D", window=window)
    first, second = (x, other) if drawn.choice(False, True) else (other, x)
    if drawn.choice(False, False, True):
        second = first
    largest = max(b.quant(first)[0], b.quant(second)[0])
    out = b.tensor(b.shape(x), scale=drawn.near(largest, drawn.choice(1, 6, 14)), zero_point=drawn.zero_point())
    options = schema.AddOptionsT()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, drawn.choice(*ACTIVATIONS).upper())
    options.potScaleInt16 = False
    check(drawn, x, b.op("ADD", [first, second], out, options=options, version=2))


def function_of(model):
    """The kernel that the last op of the model calls."""
    call = plan(load_graph(model)).steps[-1].call
    assert call is not None
    return call.function


@pytest.mark.parametrize(
    ("scales", "activation", "is_folded"),
    [
        ((1.0, 1.0, 1.0), "NONE", True),
        ((1.0, 1.0, 3.0), "RELU", True),
        ((1.0, 1.0, 2.0), "NONE", True),  # ties at every other sum
        ((0.4, 0.3, 0.5), "NONE", True),
        ((0.4, 0.3, 0.5), "RELU", True),
        ((1.0, 0.25, 0.4), "RELU6", True),
        ((1.0, 1.0, 1e4), "NONE", True),
        ((1.0, 1.0, 1e-3), "NONE", False),  # sums beyond 32 bits
        ((1.0, 1.0, 0.02), "RELU", False),
        ((1.0, 2.0**-7, 1.0), "NONE", False),
    ],
)
def test_add_of_all_pairs(scales, activation, is_folded):
    from ai_edge_litert import schema_py_generated as schema

    first, second, out = (float(np.float32(scale)) for scale in scales)
    b = TfliteBuilder()
    x = b.input((1, 256, 256, 1), scale=first, zero_point=1)
    turned = b.tensor((1, 256, 256, 1), scale=first, zero_point=1)
    permutation = b.tensor((4,), INT32, data=np.array([0, 2, 1, 3], np.int32))
    b.op("TRANSPOSE", [x, permutation], turned, options=schema.TransposeOptionsT())
    # A convolution by one that leaves the bytes as they are gives the other operand its scale.
    other = b.tensor((1, 256, 256, 1), scale=second, zero_point=1)
    one = b.tensor((1, 1, 1, 1), scale=second / first, data=np.ones((1, 1, 1, 1), np.int8))
    bias = b.tensor((1,), INT32, scale=second, data=np.zeros(1, np.int32))
    convolution = schema.Conv2DOptionsT()
    convolution.strideH = convolution.strideW = convolution.dilationHFactor = convolution.dilationWFactor = 1
    b.op("CONV_2D", [turned, one, bias], other, options=convolution, version=3)
    y = b.tensor((1, 256, 256, 1), scale=out, zero_point=1)
    options = schema.AddOptionsT()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
    options.potScaleInt16 = False
    model = b.build(b.op("ADD", [x, other], y, options=options, version=2))
    assert (function_of(model) == "elearn_add_folded_s8") is is_folded
    columns = np.arange(-128, 128).astype(np.int8).repeat(256)
    assert_same_bytes(model, columns.reshape(1, 256, 256, 1))


@pytest.mark.parametrize(
    ("code", "out_scale", "activation", "function"),
    [
        ("MUL", 0.3, "NONE", "elearn_mul_s8"),  # shifts to the left
        ("MUL", 2.0, "NONE", "elearn_mul_s8"),  # does not shift
        ("MUL", 4.0, "RELU", "elearn_mul_right_s8"),  # ties at every second product
        ("MUL", 130.0, "NONE", "elearn_mul_right_s8"),
        ("MUL", 2.0**23, "NONE", "elearn_mul_right_s8"),
        ("MUL", 2.0**24, "RELU6", "elearn_mul_s8"),
        ("ADD", 1.7, "NONE", "elearn_sum_folded_s8"),
        ("ADD", 2.0, "RELU6", "elearn_sum_folded_s8"),
        ("SUB", 1.7, "RELU", "elearn_sum_folded_s8"),
        ("SUB", 1e-3, "NONE", "elearn_sum_s8"),
    ],
)
@pytest.mark.parametrize("is_repeated", [False, True])
def test_broadcast_of_all_pairs(code, out_scale, activation, function, is_repeated):
    """A row against a column, each of all 256 values; the row is the input or, repeated in each place, the constant."""
    b = TfliteBuilder()
    row, column = (1, 1, 256), (1, 256, 1)
    x = b.input(column if is_repeated else row, scale=1.0, zero_point=-3)
    values = np.arange(-128, 128).astype(np.int8)
    shape = row if is_repeated else column
    other = b.tensor(shape, scale=1.0, zero_point=100, data=values.reshape(shape))
    out = b.tensor((1, 256, 256), scale=out_scale, zero_point=-77)
    model = b.build(b.op(code, [x, other], out, options=options_of(code, activation), version=2))
    assert function_of(model) == function
    assert_same_bytes(model, values.reshape(1, *b.shape(x)[1:]))


@pytest.mark.parametrize("code", ["ADD", "SUB"])
@pytest.mark.parametrize("seed", range(12))
def test_constants_are_those_of_the_reference_for_all_pairs(code, seed):
    """Scales of few bits give halves at each of the three roundings, those of a negative factor among them."""
    b = TfliteBuilder(seed)
    few, many = b.rng.integers(1, 2**10) / 2**10, b.rng.uniform(0.01, 1)
    scales = [(1.0, few), (few, 1.0), (1.0, many), (many, few)][seed % 4]
    out_scale = float(np.float32(sum(scales) * [1.0, 0.5, b.rng.uniform(0.1, 1)][seed % 3]))
    every = np.arange(-128, 128).astype(np.int8)
    x = b.input((1, 256, 1), scale=float(np.float32(scales[0])), zero_point=b.random_zero_point())
    quant = {"scale": float(np.float32(scales[1])), "zero_point": b.random_zero_point()}
    constant = b.tensor((1, 1, 256), data=every.reshape(1, 1, 256), **quant)
    out = b.tensor((1, 256, 256), scale=out_scale, zero_point=b.random_zero_point())
    model = b.build(b.op(code, [x, constant], out, options=options_of(code), version=2))
    expected = assert_same_bytes(model, every.reshape(1, 256, 1)).reshape(256, 256)
    graph = load_graph(model)
    tensors = (graph.tensor(name) for name in (*graph.ops[0].inputs, graph.ops[0].output))
    constants = operands(*tensors, (-128, 127), is_difference=code == "SUB")
    np.testing.assert_array_equal(exact(constants), expected)


@examples(150)
@given(st.data())
def test_folded_add_is_proved(data):
    drawn = Drawn(data)
    first = drawn.scale(-16, 6)
    second, out = (drawn.near(first, drawn.choice(1, 6, 14)) for _ in range(2))
    twice = 2.0 * max(first, second)
    other = to_scale(second / twice)
    other = Scale(multiplier=drawn.choice(1, -1) * other.multiplier, shift=other.shift)
    low = drawn.choice(-128, drawn.integer(-128, 127))
    constants = Operands(
        scales=(to_scale(first / twice), other, to_scale(twice / (2**20 * out))),
        zero_points=(drawn.zero_point(), drawn.zero_point(), drawn.zero_point()),
        low=low,
        high=drawn.choice(127, drawn.integer(low, 127)),
    )
    found = fold(constants)
    if found is None:
        return
    np.testing.assert_array_equal(folded(found, constants.low, constants.high), exact(constants))
    values = np.array([-128, 127], np.int64)
    partial = found.offset + found.multiplier1 * values
    sums = partial[:, None] + found.multiplier2 * values
    for number in (partial, sums, 256 * found.multiplier1, 256 * found.multiplier2):
        assert np.all((np.asarray(number) >= -(2**31)) & (np.asarray(number) < 2**31))


@pytest.mark.parametrize(("code", "scale"), [("MUL", 1e25), ("MUL", 1e6), ("ADD", 2.0**40), ("SUB", 2.0**40)])
def test_scales_too_far_apart_are_refused(code, scale):
    b = TfliteBuilder()
    x = b.input((1, 4), scale=scale, zero_point=0)
    out = b.op(code, [x, x], b.tensor((1, 4), scale=2.0**-12, zero_point=0), options=options_of(code), version=2)
    with pytest.raises(UnsupportedOpError, match=rf"{code} \(op #0\): the scales"):
        plan(load_graph(b.build(out)))
