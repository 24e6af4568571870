"""Functions of one tensor: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.ir.activation import Softmax
from tests.support.firmware import generate, load_graph, run_model
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.models import Drawn, assert_same_bytes, examples, samples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {Softmax: lambda b, x: b.softmax(x)}


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
