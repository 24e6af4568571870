"""Dense layers: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.errors import UnsupportedOpError
from edgelearn.ir.dense import BatchMatMul, FullyConnected
from tests.support.firmware import load_graph
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.models import Drawn, assert_same_bytes, check, examples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {
    FullyConnected: lambda b, x: b.fully_connected(x, units=2),
    BatchMatMul: lambda b, x: _batch_matmul(b, x, x, (1, 4, 4, 4), adj_y=True, scale=1.0, zero_point=0),
}


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


def _batch_matmul(
    b: TfliteBuilder,
    left: int,
    right: int,
    shape: tuple[int, ...],
    *,
    scale: float,
    zero_point: int,
    adj_x: bool = False,
    adj_y: bool = False,
) -> int:
    options = schema.BatchMatMulOptionsT()
    options.adjX, options.adjY = adj_x, adj_y
    out = b.tensor(shape, scale=scale, zero_point=zero_point)
    return b.op("BATCH_MATMUL", [left, right], out, options=options, version=2)


@examples(150)
@given(st.data())
def test_batch_matmul(data):
    """Matrices of any layout, axes that serve all, operands that are constant or both the same."""
    drawn = Drawn(data)
    b = drawn.builder
    rows, depth, columns = (drawn.integer(1, 9) for _ in range(3))
    adj_x, adj_y = drawn.choice(False, True), drawn.choice(False, True)
    leading = [drawn.integer(1, 3) for _ in range(drawn.integer(0, 3))]
    left_shape = [drawn.choice(n, n, 1) for n in leading] + ([depth, rows] if adj_x else [rows, depth])
    right_shape = [drawn.choice(n, n, 1) for n in leading] + ([columns, depth] if adj_y else [depth, columns])
    right_shape = right_shape[drawn.integer(0, len(leading)) if 1 in left_shape[:1] else 0 :]
    leads = [(1,) * (len(leading) + 2 - len(shape)) + tuple(shape[:-2]) for shape in (left_shape, right_shape)]
    shape = (*(max(a, c) for a, c in zip(*leads, strict=True)), rows, columns)
    kind = drawn.choice("both", "left constant", "right constant")
    x = drawn.vector(8)
    operands = []
    for position, wanted in enumerate((left_shape, right_shape)):
        if kind == ("left constant", "right constant")[position]:
            values = drawn.rng.integers(-128, 128, wanted).astype(np.int8)
            operands.append(b.tensor(wanted, scale=drawn.scale(-12, 2), zero_point=drawn.zero_point(), data=values))
        elif position == 1 and drawn.choice(False, left_shape == right_shape):
            operands.append(operands[0])
        else:
            operands.append(b.reshape(b.fully_connected(x, units=math.prod(wanted)), wanted))
    scales = [b.quant(operand)[0] for operand in operands]
    scale = float(np.float32(scales[0] * scales[1] * 80 * 80 * depth**0.5 / drawn.choice(0.4, 40.0, 150.0)))
    out = _batch_matmul(b, *operands, shape, scale=scale, zero_point=drawn.zero_point(), adj_x=adj_x, adj_y=adj_y)
    check(drawn, x, out)


def test_batch_matmul_multiplies_its_scales_in_float32():
    """Long sums at the edges where a product of the scales in float64 would round to the other side."""
    depth, left_scale, right_scale = 2048, np.float32(0.0437), np.float32(0.0713)
    scale = np.float32(left_scale * right_scale * np.float32(5e5))
    edges = (np.arange(238, 250) + 0.5) * float(scale) / float(left_scale * right_scale)
    sums = (np.rint(edges)[:, None] + np.arange(-7, 8)).astype(np.int64).reshape(-1)
    left = np.full(depth, 255)
    left[-1] = 1
    right = np.zeros((depth, len(sums)), np.int64)
    for column, total in enumerate(sums):
        quotient, right[-1, column] = divmod(total, 255)
        full, right[quotient // 255, column] = divmod(quotient, 255)
        right[:full, column] = 255
    np.testing.assert_array_equal(left @ right, sums)
    b = TfliteBuilder()
    x = b.input((1, depth), scale=float(left_scale), zero_point=-128)
    operand = b.tensor(right.shape, scale=float(right_scale), zero_point=-128, data=(right - 128).astype(np.int8))
    out = _batch_matmul(b, x, operand, (1, len(sums)), scale=float(scale), zero_point=-128)
    assert_same_bytes(b.build(out), (left - 128).astype(np.int8)[None])


def test_a_product_of_constants_or_of_many_axes_is_refused():
    b = TfliteBuilder()
    x = b.input((1, 2, 2))
    fixed = b.tensor((1, 2, 2), scale=1.0, data=np.ones((1, 2, 2), np.int8))
    product = _batch_matmul(b, fixed, fixed, (1, 2, 2), scale=1.0, zero_point=0)
    with pytest.raises(UnsupportedOpError, match="two constant operands"):
        load_graph(b.build(b.add(x, product)))
    b = TfliteBuilder()
    x = b.input((1, 1, 1, 1, 2, 2))
    with pytest.raises(UnsupportedOpError, match="two to five axes"):
        load_graph(b.build(_batch_matmul(b, x, x, (1, 1, 1, 1, 2, 2), scale=1.0, zero_point=0)))
