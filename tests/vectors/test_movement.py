"""Ops that move bytes: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edgelearn.ir.movement import Pad, Reshape
from tests.vectors.models import Drawn, check, examples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {
    Pad: lambda b, x: b.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]),
    Reshape: lambda b, x: b.reshape(x, (1, 32)),
}


@examples(30)
@given(st.data())
def test_pad(data):
    drawn = Drawn(data)
    x = drawn.image()
    amounts = [(0, 0), *((drawn.integer(0, 3), drawn.integer(0, 3)) for _ in range(2)), (0, 0)]
    check(drawn, x, drawn.builder.max_pool_2d(drawn.builder.pad(x, amounts), kernel=(1, 1), stride=(1, 1)))


@examples(20)
@given(st.data())
def test_reshape(data):
    drawn = Drawn(data)
    x = drawn.image()
    size = math.prod(drawn.builder.shape(x))
    flat = drawn.builder.reshape(x, (1, size))
    check(drawn, x, drawn.weighted(flat, "FULLY_CONNECTED", outputs=3))
