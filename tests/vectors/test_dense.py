"""Dense layers: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.codegen.lowering import dense
from edgelearn.errors import UnsupportedOpError
from edgelearn.ir.dense import BatchMatMul, FullyConnected
from tests.support.firmware import load_graph, plan
from tests.support.tflite_builder import INT32, TfliteBuilder
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


def _at_halves(drawn: Drawn, x_scale: float, weight_scale: float, out_scale: float) -> tuple[bytes, np.ndarray]:
    """A dense layer whose biases alone put its sums on and beside the halves between outputs."""
    b = drawn.builder
    factor = x_scale * weight_scale / out_scale
    halves = (drawn.rng.integers(-128, 128, 60) + 0.5) / factor
    bias = (np.rint(halves) + drawn.rng.integers(-1, 2, 60)).clip(-(2**31) + 2**20, 2**31 - 2**20).astype(np.int32)
    per_channel = drawn.choice(False, True)
    x = b.input((1, 3), scale=x_scale, zero_point=0)
    weights = drawn.rng.integers(-1, 2, (60, 3)).astype(np.int8)
    scales = [weight_scale] * 60 if per_channel else weight_scale
    weight = b.tensor((60, 3), scale=scales, data=weights)
    product = float(np.float32(np.float32(x_scale) * np.float32(weight_scale)))
    bias_scales = [product] * 60 if per_channel else product
    out = b.tensor((1, 60), scale=out_scale, zero_point=drawn.choice(0, 3, -128))
    inputs = [x, weight, b.tensor((60,), INT32, scale=bias_scales, data=bias)]
    b.op("FULLY_CONNECTED", inputs, out, options=schema.FullyConnectedOptionsT(), version=3)
    return b.build(out), drawn.rng.integers(-2, 3, (6, 3)).astype(np.int8)


@examples(60)
@given(st.data())
def test_fully_connected_rounds_halves_as_the_reference_does(data):
    """Its product is one of float64: scales of few bits give halves, others come as near as they can."""
    drawn = Drawn(data)
    kind = drawn.choice("powers", "odd", "usual", "same", "far")
    scales = (1.0, 0.5, 2.0 ** drawn.integer(0, 12))
    if kind == "odd":
        scales = (1.0, 1.0, float(drawn.integer(1, 2**12) * 2 + 1) * 2.0 ** drawn.integer(0, 4))
    elif kind == "usual":
        scales = (drawn.rng.uniform(0.001, 0.1), drawn.rng.uniform(0.001, 0.1), 0.05)
    elif kind == "same":
        scales = (0.05, drawn.choice(0.01, 0.005, 1 / 255), 0.05)
    elif kind == "far":
        scales = (0.05, 0.004, 0.05 * 0.004 * 2.0 ** drawn.integer(14, 22))
    model, inputs = _at_halves(drawn, *(float(np.float32(scale)) for scale in scales))
    assert_same_bytes(model, inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense, "_in_fours", lambda *_: None)
        assert_same_bytes(model, inputs)


def test_sums_that_31_bits_of_a_factor_cannot_round_are_requantised_in_float64():
    b = TfliteBuilder(1)
    x = b.input((1, 2), scale=0.05, zero_point=0)
    weight = b.tensor((400, 2), scale=0.004, data=b.rng.integers(-1, 2, (400, 2)).astype(np.int8))
    factor = 2.0**-21 / 1.01
    scale = float(np.float32(0.05) * np.float32(0.004) / factor)
    halves = (b.rng.integers(-128, 128, 400) + 0.5) / (0.05 * 0.004 / scale)
    bias = (np.rint(halves) + b.rng.integers(-1, 2, 400)).astype(np.int32)
    out = b.tensor((1, 400), scale=scale, zero_point=0)
    inputs = [x, weight, b.tensor((400,), INT32, scale=float(np.float32(0.05) * np.float32(0.004)), data=bias)]
    b.op("FULLY_CONNECTED", inputs, out, options=schema.FullyConnectedOptionsT(), version=3)
    model = b.build(out)
    (step,) = plan(load_graph(model)).steps
    assert step.call.function == "elearn_fully_connected_double_s8"
    assert_same_bytes(model, b.rng.integers(-128, 128, (20, 2)).astype(np.int8))


def _of_scales(bias: int, scale: float) -> tuple[TfliteBuilder, bytes]:
    """A dense layer whose sums are those of its bias, and a bit more, in steps of 1."""
    b = TfliteBuilder(1)
    x = b.input((1, 16), scale=1.0, zero_point=0)
    weight = b.tensor((2, 16), scale=1.0, data=b.rng.integers(-127, 128, (2, 16)).astype(np.int8))
    inputs = [x, weight, b.tensor((2,), INT32, scale=1.0, data=np.array([bias, -bias], np.int32))]
    out = b.tensor((1, 2), scale=scale, zero_point=3)
    b.op("FULLY_CONNECTED", inputs, out, options=schema.FullyConnectedOptionsT(), version=3)
    return b, b.build(out)


@pytest.mark.parametrize("exponent", [-24, -3, 0, 1])
def test_sums_beyond_32_bits_run_on_as_those_of_the_reference_do(exponent):
    """Sums around 2^31 and, at scales of less than a step, products around it."""
    bias = 2**31 - 1 if exponent < 0 else 2**29
    b, model = _of_scales(bias, 1.01 * 2.0**-exponent)
    assert_same_bytes(model, b.rng.choice([-128, 127], (20, 16)).astype(np.int8))


@pytest.mark.parametrize(("bias", "exponent"), [(2**31 - 1, 0), (2**30, 1), (2**20, 12), (0, 14)])
def test_products_that_the_reference_cannot_convert_are_refused(bias, exponent):
    _, model = _of_scales(bias, 2.0**-exponent)
    with pytest.raises(UnsupportedOpError, match=r"FULLY_CONNECTED \(op #0\): its sums, .* leave 32 bits"):
        plan(load_graph(model))


def test_sums_of_too_many_features_are_refused():
    b = TfliteBuilder(1)
    x = b.input((1, 66_000), scale=1.0, zero_point=-128)
    weight = b.tensor((1, 66_000), scale=1.0, data=np.full((1, 66_000), -128, np.int8))
    out = b.tensor((1, 1), scale=2.0**24, zero_point=0)
    b.op("FULLY_CONNECTED", [x, weight], out, options=schema.FullyConnectedOptionsT(), version=3)
    with pytest.raises(UnsupportedOpError, match="leave 32 bits"):
        plan(load_graph(b.build(out)))


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


def test_a_product_of_many_axes_is_refused():
    b = TfliteBuilder()
    x = b.input((1, 1, 1, 1, 2, 2))
    with pytest.raises(UnsupportedOpError, match="two to five axes"):
        load_graph(b.build(_batch_matmul(b, x, x, (1, 1, 1, 1, 2, 2), scale=1.0, zero_point=0)))
