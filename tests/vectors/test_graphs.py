"""Graphs of several ops: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.errors import UnsupportedOpError
from tests.support.firmware import load_graph, plan
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.models import ACTIVATIONS, Drawn, check, examples


@pytest.mark.parametrize(
    ("kind", "words"), [("FULLY_CONNECTED", "its sums, or these in steps of its output"), ("CONV_2D", "the scales")]
)
def test_scales_too_far_apart_are_refused(kind, words):
    from ai_edge_litert import schema_py_generated as schema

    builder = TfliteBuilder(0)
    x = builder.input((1, 1, 1, 2), scale=2.0**20)
    ones = np.ones((3, 2) if kind == "FULLY_CONNECTED" else (3, 1, 1, 2), np.int8)
    weight = builder.tensor(ones.shape, scale=1.0, data=ones)
    out = builder.tensor((1, 3) if kind == "FULLY_CONNECTED" else (1, 1, 1, 3), scale=2.0**-11, zero_point=0)
    options = schema.FullyConnectedOptionsT() if kind == "FULLY_CONNECTED" else schema.Conv2DOptionsT()
    if kind == "CONV_2D":
        options.strideH = options.strideW = 1
    graph = load_graph(builder.build(builder.op(kind, [x, weight], out, options=options, version=3)))
    with pytest.raises(UnsupportedOpError, match=rf"{kind} \(op #0\): {words}"):
        plan(graph)


def test_all_that_cannot_be_lowered_is_named_in_one_error():
    b = TfliteBuilder(0)
    x = b.input((1, 4, 4, 1), scale=2.0**20)
    for scale in (2.0**-20, 2.0**20, 2.0**-20):
        x = b.depthwise_conv_2d(x, kernel=(1, 1))
        b._tensors[x].quantization.scale = [scale]
    with pytest.raises(UnsupportedOpError) as error:
        plan(load_graph(b.build(x)))
    assert [op.partition(":")[0] for op in error.value.ops] == [
        "DEPTHWISE_CONV_2D (op #0)",
        "DEPTHWISE_CONV_2D (op #2)",
    ]
    assert error.value.hint.count("quantise the model again") == 1


@examples(120)
@given(st.data())
def test_several_ops_share_the_arena(data):
    """A random chain with branches: what lives longer must not be overwritten."""
    drawn = Drawn(data)
    b = drawn.builder
    x = b.input((1, drawn.integer(4, 8), drawn.integer(4, 8), drawn.integer(1, 4)))
    now, kept = x, x
    for _ in range(drawn.integer(1, 5)):
        kind = drawn.choice("CONV_2D", "DEPTHWISE_CONV_2D", "average", "max", "pad", "add")
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            window = drawn.window(now, dilated=False)
            now = drawn.weighted(now, kind, window=window, outputs=drawn.integer(1, 6), any_scale=False)
        elif kind == "average":
            now = b.average_pool_2d(now, **drawn.window(now, dilated=False))
        elif kind == "max":
            now = b.max_pool_2d(now, **drawn.window(now, dilated=False))
        elif kind == "pad":
            now = b.pad(now, [(0, 0), (1, 0), (0, 2), (0, 0)])
        elif b.shape(kept) == b.shape(now):
            now = b.add(now, kept, activation=drawn.choice(*ACTIVATIONS))
        if drawn.choice(False, True):
            kept = now
    ending = drawn.choice("mean", "reshape", "none")
    if ending == "mean":
        now = b.mean(now, keep_dims=drawn.choice(False, True))
    elif ending == "reshape":
        now = b.reshape(now, (1, math.prod(b.shape(now))))
    if ending != "none" and drawn.choice(False, True):
        now = drawn.weighted(now, "FULLY_CONNECTED", outputs=drawn.integer(2, 6), any_scale=False)
        now = b.softmax(now)
    if now != x:
        check(drawn, x, now)
