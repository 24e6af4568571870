"""Pooling: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.ir.pooling import AveragePool2D, MaxPool2D
from tests.support.firmware import load_graph, plan
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.models import ACTIVATIONS, Drawn, assert_same_bytes, check, examples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {
    AveragePool2D: lambda b, x: b.average_pool_2d(x),
    MaxPool2D: lambda b, x: b.max_pool_2d(x),
}


def _pool(data: st.DataObject, kind: str) -> None:
    """A pool, and one behind it that may take its place, over few channels or many."""
    drawn = Drawn(data)
    x = drawn.image(largest_depth=drawn.choice(4, 40))
    out = x
    for _ in range(drawn.integer(1, 2)):
        window = drawn.window(out, dilated=False)
        out = getattr(drawn.builder, kind)(out, **window, activation=drawn.choice(*ACTIVATIONS))
    check(drawn, x, out)


@examples(60)
@given(st.data())
def test_average_pool_2d(data):
    _pool(data, "average_pool_2d")


@examples(60)
@given(st.data())
def test_max_pool_2d(data):
    _pool(data, "max_pool_2d")


@pytest.mark.parametrize(
    ("height", "width", "is_proved"),
    [
        (13, 13, True),
        (14, 14, True),
        (7, 29, True),
        (16, 17, False),
        (3, 300, False),
        (1, 256, True),
        (2, 256, False),
        (300, 1, False),
    ],
)
def test_average_of_many_elements(height, width, is_proved):
    """Up to 256 elements are averaged by a reciprocal, more by a division."""
    builder = TfliteBuilder(height)
    x = builder.input((1, height, width, 11))
    out = builder.average_pool_2d(x, kernel=(height, width), stride=(1, 1))
    shape = (4, height, width, 11)
    samples = builder.rng.integers(-128, 128, shape).astype(np.int8)
    samples[0], samples[1], samples[2] = -128, 127, np.where(builder.rng.random(shape[1:]) < 0.5, -128, 127)
    model = builder.build(out)
    (step,) = plan(load_graph(model)).steps
    assert (dict(step.call.params)["has_reciprocals"] == 1) == is_proved
    assert_same_bytes(model, samples)


@pytest.mark.parametrize("kind", ["average_pool_2d", "max_pool_2d"])
def test_a_pool_takes_the_place_of_its_input_where_it_can(kind):
    for padding, kernel in (("valid", (2, 2)), ("same", (3, 3))):
        builder = TfliteBuilder(0)
        x = builder.conv_2d(builder.input((1, 8, 8, 3)), filters=4)
        out = getattr(builder, kind)(x, kernel=kernel, stride=(1, 1), padding=padding)
        pool = plan(load_graph(builder.build(out))).steps[1]
        assert (pool.inputs[0].offset == pool.outputs[0].offset) == (padding == "valid")
