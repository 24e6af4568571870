"""Pooling: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgelearn.ir.pooling import AveragePool2D, MaxPool2D
from tests.vectors.models import ACTIVATIONS, Drawn, check, examples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {
    AveragePool2D: lambda b, x: b.average_pool_2d(x),
    MaxPool2D: lambda b, x: b.max_pool_2d(x),
}


@examples(40)
@given(st.data())
def test_average_pool_2d(data):
    drawn = Drawn(data)
    x = drawn.image()
    window = drawn.window(x, dilated=False)
    check(drawn, x, drawn.builder.average_pool_2d(x, **window, activation=drawn.choice(*ACTIVATIONS)))


@examples(40)
@given(st.data())
def test_max_pool_2d(data):
    drawn = Drawn(data)
    x = drawn.image()
    window = drawn.window(x, dilated=False)
    check(drawn, x, drawn.builder.max_pool_2d(x, **window, activation=drawn.choice(*ACTIVATIONS)))
