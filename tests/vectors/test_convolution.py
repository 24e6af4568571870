"""Convolutions: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.codegen.lowering import Target, lower, transpose_conv
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.ir.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from tests.support.firmware import generate, load_graph, run_model
from tests.support.tflite_builder import INT32, TfliteBuilder
from tests.vectors.models import Drawn, assert_same_bytes, check, examples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {
    Conv2D: lambda b, x: b.conv_2d(x, filters=2),
    DepthwiseConv2D: lambda b, x: b.depthwise_conv_2d(x),
    TransposeConv: lambda b, x: b.transpose_conv(x, filters=2),
}


@examples(150)
@given(st.data())
def test_conv_2d(data):
    drawn = Drawn(data)
    x = drawn.image()
    window = drawn.window(x, dilated=drawn.choice(False, True))
    check(drawn, x, drawn.weighted(x, "CONV_2D", window=window, outputs=drawn.integer(1, 6)))


@examples(80)
@given(st.data())
def test_conv_2d_in_groups(data):
    drawn = Drawn(data)
    groups = drawn.integer(2, 4)
    x = drawn.image(largest_depth=3, times=groups)
    window = drawn.window(x, dilated=drawn.choice(False, True))
    outputs = groups * drawn.integer(1, 3)
    check(drawn, x, drawn.weighted(x, "CONV_2D", window=window, outputs=outputs, groups=groups))


@examples(150)
@given(st.data())
def test_depthwise_conv_2d(data):
    drawn = Drawn(data)
    x = drawn.image()
    window = drawn.window(x, dilated=drawn.choice(False, True))
    check(drawn, x, drawn.weighted(x, "DEPTHWISE_CONV_2D", window=window, multiplier=drawn.integer(1, 3)))


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("scale", [2.0**24, 0.4])
def test_sums_beyond_32_bits_run_on_as_those_of_the_reference_do(kind, scale):
    """Biases at the ends of int32; at the smaller scale it is the product and the zero point that run on."""
    b = TfliteBuilder(1)
    x = b.input((1, 2, 2, 4), scale=1.0, zero_point=0)
    shape = (4, 1, 1, 4) if kind == "CONV_2D" else (1, 1, 1, 4)
    weight = b.tensor(shape, scale=1.0, data=b.rng.integers(-127, 128, shape).astype(np.int8))
    bias = np.array([2**31 - 1, -(2**31), 2**30, round(2**31 * 0.4)], np.int32)
    out = b.tensor((1, 2, 2, 4), scale=scale, zero_point=100)
    options = schema.Conv2DOptionsT() if kind == "CONV_2D" else schema.DepthwiseConv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    b.op(kind, [x, weight, b.tensor((4,), INT32, scale=1.0, data=bias)], out, options=options, version=3)
    assert_same_bytes(b.build(out), b.rng.choice([-128, 127], (20, 2, 2, 4)).astype(np.int8))


@pytest.mark.parametrize("seed", range(6))
def test_depthwise_conv_2d_in_bands(seed):
    """Images whose lines are expanded a few at a time, rows or columns, in place or not."""
    builder = TfliteBuilder(seed)
    x = builder.input((1, (40, 61, 40, 9, 33, 70)[seed], (61, 40, 60, 90, 64, 33)[seed], (4, 8, 6, 4, 5, 12)[seed]))
    stride = (1, 1) if seed != 3 else (2, 2)
    kernel = (3, 3) if seed != 4 else (5, 4)
    now = builder.depthwise_conv_2d(x, kernel=kernel, stride=stride, padding="same", activation="relu")
    now = builder.depthwise_conv_2d(now, kernel=(3, 3), padding="same")
    model = builder.build(now)
    graph, target = load_graph(model), Target(dsp=True)
    assert "elearn_depthwise_conv2d_fours_s8" in generate(graph, target=target)["src/model.c"]
    inputs = builder.rng.integers(-128, 128, (2, *builder.shape(x)[1:])).astype(np.int8)
    oracle = ReferenceInterpreter(model)
    index = oracle.output_index
    expected = np.stack([oracle.run(sample, [index])[index].reshape(-1) for sample in inputs])
    np.testing.assert_array_equal(run_model(generate(graph, target=target), inputs), expected)


@examples(150)
@given(st.data())
def test_transpose_conv(data):
    drawn = Drawn(data)
    many = drawn.choice(False, True)
    x = drawn.image(largest_side=5, largest_depth=16 if many else 5)
    padding = drawn.choice("same", "valid")
    kernel, stride = [(drawn.integer(1, 5), drawn.integer(1, 4)) for _ in range(2)]
    sizes = drawn.builder.shape(x)[1:3]
    # Sizes as TensorFlow takes them, and others: the op adds whatever lies inside the output.
    output = [
        n * s + (0 if padding == "same" else max(k - s, 0)) for n, k, s in zip(sizes, kernel, stride, strict=True)
    ]
    if drawn.choice(False, True):
        output = [max(n + drawn.integer(-3, 3), k) for n, k in zip(output, kernel, strict=True)]
    window = {"kernel": kernel, "stride": stride, "padding": padding, "output": tuple(output)}
    out = drawn.weighted(x, "TRANSPOSE_CONV", window=window, outputs=drawn.integer(1, 20 if many else 6))
    # All ways to compute the phases of an output together, whichever is the cheapest.
    way = drawn.integer(0, 3)
    splits = transpose_conv.splits
    with (
        mock.patch.object(transpose_conv, "splits", lambda window, out: (splits(window, out)[way],)),
        mock.patch.object(transpose_conv, "plain_transpose_conv", return_value=math.inf),
    ):
        check(drawn, x, out)


@pytest.mark.parametrize(
    ("shape", "filters", "kernel", "together"),
    [
        ((8, 8, 32), 16, (3, 3), [(1, 1)] * 4),
        ((8, 8, 32), 16, (2, 3), [(2, 1)] * 2),
        ((16, 16, 8), 8, (4, 4), [(2, 2)]),
        ((16, 16, 16), 1, (3, 3), [(2, 2)]),
    ],
)
def test_transpose_conv_computes_phases_together_where_that_is_cheaper(shape, filters, kernel, together):
    b = TfliteBuilder(filters)
    out = b.transpose_conv(b.input((1, *shape)), filters=filters, kernel=kernel, stride=(2, 2))
    graph = load_graph(b.build(out))
    call = lower(graph, graph.ops[-1], Target(dsp=True))
    assert [row[5:7] for c in call.constants if c.suffix == "phases" for row in c.elements] == together
    assert lower(graph, graph.ops[-1], Target(dsp=False)).function == "elearn_transpose_conv_s8"
