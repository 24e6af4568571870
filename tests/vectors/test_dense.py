"""Dense layers: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgelearn.ir.dense import FullyConnected
from tests.vectors.models import Drawn, check, examples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {FullyConnected: lambda b, x: b.fully_connected(x, units=2)}


@examples(150)
@given(st.data())
def test_fully_connected(data):
    drawn = Drawn(data)
    x = drawn.vector()
    check(drawn, x, drawn.weighted(x, "FULLY_CONNECTED", outputs=drawn.integer(1, 12)))


@examples(80)
@given(st.data())
def test_fully_connected_on_several_rows(data):
    drawn = Drawn(data)
    x = drawn.rows()
    features = drawn.builder.shape(x)[-1]
    keep_axes = drawn.choice(False, True)
    check(
        drawn,
        x,
        drawn.weighted(x, "FULLY_CONNECTED", outputs=drawn.integer(1, 9), features=features, keep_axes=keep_axes),
    )
