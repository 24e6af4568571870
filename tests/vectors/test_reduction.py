"""Reductions: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.ir.reduction import Mean
from tests.vectors.models import Drawn, check, examples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {Mean: lambda b, x: b.mean(x)}


@examples(180)
@given(st.data())
def test_mean(data):
    drawn = Drawn(data)
    x = drawn.image(largest_side=drawn.choice(4, 12, 33), largest_depth=3)
    b = drawn.builder
    scale, zero_point = b.quant(x)
    keep_dims = drawn.choice(False, True)
    if drawn.choice(False, True):
        out = b.mean(x, keep_dims=keep_dims, same_quant=drawn.choice(False, True))
    else:
        # Any output scale and zero point at all.
        out = _mean_to(drawn, x, drawn.near(scale, drawn.choice(1, 6, 16)), drawn.zero_point(), keep_dims)
    assert zero_point == b.quant(x)[1]
    check(drawn, x, out)


def _mean_to(drawn: Drawn, x: int, scale: float, zero_point: int, keep_dims: bool) -> int:
    from ai_edge_litert import schema_py_generated as schema

    b = drawn.builder
    depth = b.shape(x)[3]
    out = b.tensor((1, 1, 1, depth) if keep_dims else (1, depth), scale=scale, zero_point=zero_point)
    options = schema.ReducerOptionsT()
    options.keepDims = keep_dims
    axes = drawn.choice((1, 2), (2, 1), (-3, -2))
    axis = b.tensor((2,), 2, data=np.array(axes, np.int32))
    return b.op("MEAN", [x, axis], out, options=options, version=2)
