"""Each kernel, through generated C under sanitizers, against the LiteRT reference kernels: the same bytes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn import resources
from edgelearn.codegen.lowering import LOWERINGS
from edgelearn.errors import UnsupportedOpError
from edgelearn.ir import OP_TYPES, Op
from tests.support.firmware import generate, load_graph, plan, run_model
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.models import ACTIVATIONS, Drawn, assert_same_bytes, examples, samples


def check(drawn: Drawn, x: int, out: int) -> None:
    assert_same_bytes(drawn.builder.build(out), samples(drawn, x))


@examples(150)
@given(st.data())
def test_conv_2d(data):
    drawn = Drawn(data)
    x = drawn.image()
    window = drawn.window(x, dilated=drawn.choice(False, True))
    check(drawn, x, drawn.weighted(x, "CONV_2D", window=window, outputs=drawn.integer(1, 6)))


@examples(150)
@given(st.data())
def test_depthwise_conv_2d(data):
    drawn = Drawn(data)
    x = drawn.image()
    window = drawn.window(x, dilated=drawn.choice(False, True))
    check(drawn, x, drawn.weighted(x, "DEPTHWISE_CONV_2D", window=window, multiplier=drawn.integer(1, 3)))


@examples(150)
@given(st.data())
def test_fully_connected(data):
    drawn = Drawn(data)
    x = drawn.vector()
    check(drawn, x, drawn.weighted(x, "FULLY_CONNECTED", outputs=drawn.integer(1, 12)))


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


@examples(150)
@given(st.data())
def test_add(data):
    from ai_edge_litert import schema_py_generated as schema

    drawn = Drawn(data)
    x = drawn.image(4, 4)
    b = drawn.builder
    # The other operand has a scale of its own: a 1x1 depthwise convolution gives it.
    window = {"kernel": (1, 1), "stride": (1, 1), "padding": "valid"}
    other = drawn.weighted(x, "DEPTHWISE_CONV_2D", window=window)
    first, second = (x, other) if drawn.choice(False, True) else (other, x)
    if drawn.choice(False, False, True):
        second = first
    largest = max(b.quant(first)[0], b.quant(second)[0])
    out = b.tensor(b.shape(x), scale=drawn.near(largest, drawn.choice(1, 6, 14)), zero_point=drawn.zero_point())
    options = schema.AddOptionsT()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, drawn.choice(*ACTIVATIONS).upper())
    options.potScaleInt16 = False
    check(drawn, x, b.op("ADD", [first, second], out, options=options, version=2))


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


@examples(180)
@given(st.data())
def test_softmax(data):
    drawn = Drawn(data)
    b = drawn.builder
    # From 512 columns on, equal inputs make the reference kernel shift by 32 and the interpreter abort.
    shape = drawn.choice((1, drawn.integer(1, 12)), (1, drawn.integer(13, 511)), (1, 2, 3, drawn.integer(1, 9)))
    x = b.input(shape, scale=drawn.scale(-12, 7), zero_point=drawn.zero_point())
    beta = drawn.choice(1.0, 0.25, 3.0, drawn.scale(-6, 4))
    inputs = samples(drawn, x, 8)
    # Rows in which one or two elements stand out, as trained networks give them.
    inputs[2] = np.clip(inputs[2].astype(np.int32) // 16 - 90, -128, 127)
    inputs[2].reshape(-1)[: 1 + drawn.integer(0, 1)] = drawn.integer(-60, 127)
    inputs[3] = np.clip(inputs[3].astype(np.int32) // 50, -128, 127)
    assert_same_bytes(b.build(b.softmax(x, beta=beta)), inputs)


@pytest.mark.parametrize("columns", [512, 1024, 5000])
def test_softmax_wider_than_the_reference_kernel_can(columns):
    builder = TfliteBuilder(0)
    x = builder.input((1, columns), scale=0.1, zero_point=0)
    files = generate(load_graph(builder.build(builder.softmax(x))))
    inputs = np.zeros((2, columns), np.int8)
    inputs[1, 7] = 127
    flat, peaked = run_model(files, inputs)
    assert (flat == -128).all()
    assert peaked.argmax() == 7
    assert peaked[7] > 100


@pytest.mark.parametrize("scale", [1e-9, 1e-20])
def test_softmax_of_an_input_narrower_than_the_reference_kernel_takes(scale):
    builder = TfliteBuilder(0)
    x = builder.input((1, 4), scale=scale, zero_point=0)
    files = generate(load_graph(builder.build(builder.softmax(x))))
    assert run_model(files, np.array([[-128, 0, 5, 127]], np.int8)).tolist() == [[-64] * 4]


@pytest.mark.parametrize("kind", ["FULLY_CONNECTED", "CONV_2D"])
def test_scales_too_far_apart_are_refused(kind):
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
    with pytest.raises(UnsupportedOpError, match=rf"{kind} \(op #0\): the scales"):
        plan(graph)


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


@pytest.mark.parametrize("op_type", OP_TYPES, ids=lambda op_type: op_type.TITLE)
def test_every_op_is_complete(op_type: type[Op]):
    """Each op is loaded, lowered, has a kernel with an estimate of its size, and a vector test."""
    assert op_type in LOWERINGS
    assert f"test_{op_type.TITLE.lower()}" in globals()
    builder = TfliteBuilder(1)
    x = builder.input((1, 4, 4, 2))
    if op_type.TITLE == "ADD":
        out = builder.add(x, x)
    elif op_type.TITLE == "PAD":
        out = builder.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    elif op_type.TITLE == "RESHAPE":
        out = builder.reshape(x, (1, 32))
    else:
        more = {"CONV_2D": {"filters": 2}, "FULLY_CONNECTED": {"units": 2}}.get(op_type.TITLE, {})
        out = getattr(builder, op_type.TITLE.lower())(x, **more)
    graph = load_graph(builder.build(out))
    assert [type(op) for op in graph.ops] == [op_type]
    (step,) = plan(graph).steps
    if step.call is None:
        assert op_type.TITLE == "RESHAPE"
        return
    source = (resources.firmware_folder() / "runtime" / step.call.sources[0].name).read_text()
    assert f"void {step.call.function}(" in source


def test_nothing_is_kept_for_ops_that_do_not_exist():
    assert set(LOWERINGS) == set(OP_TYPES)
