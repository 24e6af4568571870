"""Reductions: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import ModelFileError, UnsupportedOpError
from edgelearn.ir.reduction import ArgMax, Mean, ReduceMax, ReduceMin, Sum
from tests.support.firmware import load_graph
from tests.support.tflite_builder import INT32, TfliteBuilder
from tests.support.tflite_ops import arg_max, reduce
from tests.vectors.models import Drawn, check, examples
from tests.vectors.test_ends import assert_same_bytes as assert_same_outputs

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {
    Mean: lambda b, x: b.mean(x),
    Sum: lambda b, x: reduce(b, x, "SUM", (1, 2)),
    ReduceMax: lambda b, x: reduce(b, x, "REDUCE_MAX", (1, 2)),
    ReduceMin: lambda b, x: reduce(b, x, "REDUCE_MIN", (3,)),
    ArgMax: lambda b, x: arg_max(b, x, 3),
}


class Reduced(Drawn):
    """A model whose input has any shape, and some of its axes."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__(data)
        shape = [self.integer(1, 5) for _ in range(self.integer(1, 5))]
        if self.choice(False, True):
            shape[-1] = self.integer(1, 40)  # channels that are taken several at a time
        if self.choice(False, False, True):
            shape = [self.integer(1, 700), *shape[-2:]]  # more elements than 16 bits hold the sum of
        self.input = self.builder.input((1, math.prod(shape)), scale=self.scale(-16, 6), zero_point=self.zero_point())
        self.x = self.builder.reshape(self.input, shape)
        rank = len(shape)
        chosen = self.rng.permutation(rank)[: self.integer(1, rank)].tolist()
        self.axes = [axis - rank if self.choice(False, True) else axis for axis in chosen]
        self.count = math.prod(shape[axis] for axis in chosen)
        self.keep_dims = self.choice(False, True)

    def check(self, out: int) -> None:
        ReferenceInterpreter(self.builder.build(out))  # that it refuses nothing
        check(self, self.input, out)


@examples(120)
@given(st.data())
def test_mean(data):
    drawn = Reduced(data)
    scale, zero_point = drawn.builder.quant(drawn.x)
    if drawn.choice(False, True):
        scale, zero_point = drawn.near(scale, drawn.choice(1, 6, 16)), drawn.zero_point()
    axes, keep = drawn.axes, drawn.keep_dims
    drawn.check(reduce(drawn.builder, drawn.x, "MEAN", axes, keep_dims=keep, scale=scale, zero_point=zero_point))


@examples(80)
@given(st.data())
def test_mean_over_height_and_width(data):
    drawn = Drawn(data)
    x = drawn.image(largest_side=drawn.choice(4, 12, 33), largest_depth=drawn.choice(3, 20))
    b = drawn.builder
    keep_dims = drawn.choice(False, True)
    if drawn.choice(False, True):
        out = b.mean(x, keep_dims=keep_dims, same_quant=drawn.choice(False, True))
    else:
        # Any output scale and zero point at all.
        scale, zero_point = drawn.near(b.quant(x)[0], drawn.choice(1, 6, 16)), drawn.zero_point()
        axes = drawn.choice((1, 2), (2, 1), (-3, -2))
        out = reduce(b, x, "MEAN", axes, keep_dims=keep_dims, scale=scale, zero_point=zero_point)
    check(drawn, x, out)


@examples(60)
@given(st.data())
def test_sum(data):
    drawn = Reduced(data)
    scale, zero_point = drawn.builder.quant(drawn.x)
    if drawn.choice(False, True):
        wide = scale * drawn.choice(1, math.sqrt(drawn.count), drawn.count)
        scale, zero_point = drawn.near(wide, drawn.choice(1, 6)), drawn.zero_point()
    axes, keep = drawn.axes, drawn.keep_dims
    drawn.check(reduce(drawn.builder, drawn.x, "SUM", axes, keep_dims=keep, scale=scale, zero_point=zero_point))


@examples(60)
@given(st.data())
def test_reduce_max(data):
    drawn = Reduced(data)
    drawn.check(reduce(drawn.builder, drawn.x, "REDUCE_MAX", drawn.axes, keep_dims=drawn.keep_dims))


@examples(60)
@given(st.data())
def test_reduce_min(data):
    drawn = Reduced(data)
    drawn.check(reduce(drawn.builder, drawn.x, "REDUCE_MIN", drawn.axes, keep_dims=drawn.keep_dims))


@examples(60)
@given(st.data())
def test_arg_max(data):
    """Few different values, so that there are ties."""
    drawn = Reduced(data)
    b = drawn.builder
    type_ = drawn.choice(schema.TensorType.INT32, schema.TensorType.INT64)
    out = arg_max(b, drawn.x, drawn.axes[0], type_)
    shape = b.shape(drawn.input)[1:]
    samples = [drawn.rng.integers(-n, n + 1, (1, *shape)).astype(np.int8) for n in (0, 1, 2, 127)]
    assert_same_outputs(b.build(out), [np.concatenate(samples)])


def test_arg_max_inside_a_model_is_refused():
    b = TfliteBuilder(0)
    places = arg_max(b, b.input((1, 4, 4, 2)), 1, INT32)
    flat = b.op("RESHAPE", [places, b.tensor((1,), INT32, data=np.array([8], np.int32))], b.tensor((8,), INT32))
    with pytest.raises(UnsupportedOpError, match="inside the model"):
        load_graph(b.build(flat))


def test_a_reduction_of_other_scales_is_refused():
    b = TfliteBuilder(0)
    out = reduce(b, b.input((1, 4, 4, 2), scale=0.5), "REDUCE_MAX", (1,), scale=0.25)
    with pytest.raises(UnsupportedOpError, match="differ in scale"):
        load_graph(b.build(out))


def test_axes_that_do_not_exist_are_one_error():
    b = TfliteBuilder(0)
    x = b.input((1, 4, 4, 2))
    axes = b.tensor((1,), INT32, data=np.array([4], np.int32))
    scale, zero_point = b.quant(x)
    out = b.op("MEAN", [x, axes], b.tensor((1, 4, 4), scale=scale, zero_point=zero_point), version=2)
    with pytest.raises(ModelFileError, match="contradicts itself"):
        load_graph(b.build(out))


def test_the_oracle_sums_signed_bytes():
    """LiteRT's reference kernel of SUM takes int8 for uint8, so the oracle's SUM is its MEAN at another scale.

    Its other kernel is right, and a step at most away, because it rounds otherwise.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    b = TfliteBuilder(3)
    x = b.input((1, 9, 5), scale=0.1, zero_point=-10)
    out = reduce(b, x, "SUM", (1,), scale=0.5, zero_point=3)
    model = b.build(out)
    other = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    other.allocate_tensors()
    oracle = ReferenceInterpreter(model)
    for _ in range(50):
        sample = b.rng.integers(-128, 128, (1, 9, 5)).astype(np.int8)
        other.set_tensor(other.get_input_details()[0]["index"], sample)
        other.invoke()
        expected = other.get_tensor(other.get_output_details()[0]["index"]).astype(int)
        assert np.abs(oracle.run(sample, [out])[out] - expected).max() <= 1
        real = (sample.astype(int) + 10).sum(1) * 0.1 / 0.5 + 3
        assert np.abs(expected - np.clip(real, -128, 127)).max() <= 1
