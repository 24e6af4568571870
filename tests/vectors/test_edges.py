"""Float edges: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.ir import Graph
from edgelearn.ir.edges import Dequantize, Edges, Quantize
from tests.support.firmware import generate, load_graph, run_model_bytes
from tests.support.tflite_builder import FLOAT32, TfliteBuilder
from tests.vectors.models import Drawn, examples, samples


def _quantize_smallest(b: TfliteBuilder, x: int) -> int:
    """The input as float32, and the QUANTIZE behind it."""
    b._inputs[0] = b.tensor(b.shape(x), FLOAT32, name="real")
    b.op("QUANTIZE", b._inputs, x)
    return b.softmax(x)


#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {Quantize: _quantize_smallest, Dequantize: lambda b, x: b.dequantize(b.softmax(x))}


def load_float(model: bytes) -> Graph:
    return load_graph(model, edges=Edges.FLOAT)


def assert_same_bytes(model: bytes, inputs: np.ndarray) -> None:
    oracle = ReferenceInterpreter(model)
    index = oracle.output_index
    expected = b"".join(oracle.run(sample, [index])[index].tobytes() for sample in inputs)
    assert run_model_bytes(generate(load_float(model)), inputs.tobytes()) == expected


@examples(60)
@given(st.data())
def test_quantize(data):
    """On steps, on halves and beside them, at the ends of the range and beyond."""
    drawn = Drawn(data)
    b = drawn.builder
    scale = drawn.choice(drawn.scale(-120, 90), drawn.scale(-9, 3))
    x = b.input((1, 64), scale=scale, zero_point=drawn.zero_point(), float_edge=True)
    steps = drawn.rng.integers(-300, 300, (6, 64)) + drawn.rng.choice([0.0, 0.5, -0.5, 0.25], (6, 64))
    inputs = (steps * np.float32(scale)).astype(np.float32)
    inputs[1] = np.nextafter(inputs[1], np.float32(np.inf))
    inputs[2] = np.nextafter(inputs[2], np.float32(-np.inf))
    inputs[3] = drawn.rng.normal(size=64) * np.float32(scale) * 90
    inputs[4] *= np.float32(1e6)
    inputs[5, :4] = (0.0, -0.0, 1e-45, -1e-45)
    assert_same_bytes(b.build(b.max_pool_2d(b.reshape(x, (1, 8, 8, 1)), kernel=(1, 1), stride=(1, 1))), inputs)


def test_quantize_beyond_int32_saturates():
    """What the reference kernel leaves undefined: C has no conversion of such a float to int32."""
    b = TfliteBuilder(0)
    x = b.input((1, 6), scale=0.5, zero_point=3, float_edge=True)
    model = b.build(b.reshape(x, (1, 6, 1)))
    real = np.array([[3e38, -3e38, np.inf, -np.inf, np.nan, 2.0**40]], np.float32)
    files = generate(load_float(model))
    assert np.frombuffer(run_model_bytes(files, real.tobytes()), np.int8).tolist() == [127, -128, 127, -128, -128, 127]


@examples(40)
@given(st.data())
def test_dequantize(data):
    drawn = Drawn(data)
    b = drawn.builder
    x = b.input((1, 256), scale=drawn.scale(-126, 120), zero_point=drawn.zero_point())
    inputs = samples(drawn, x, 3)
    inputs[2] = np.arange(-128, 128)
    assert_same_bytes(b.build(b.dequantize(b.reshape(x, (1, 256, 1)))), inputs)


@pytest.mark.parametrize("input_is_float", [True, False])
def test_a_whole_model_with_float_edges(input_is_float):
    b = TfliteBuilder(5)
    x = b.input((1, 6, 6, 2), float_edge=input_is_float)
    scale, zero_point = b.quant(x)
    out = b.softmax(b.fully_connected(b.mean(b.conv_2d(x, filters=4, activation="relu")), units=3))
    model = b.build(b.dequantize(out))
    graph = load_float(model)
    assert [op.TITLE for op in graph.ops][:: len(graph.ops) - 1] == [
        "QUANTIZE" if input_is_float else "CONV_2D",
        "DEQUANTIZE",
    ]
    inputs = np.random.default_rng(1).integers(-128, 128, (5, 6, 6, 2)).astype(np.int8)
    if input_is_float:
        inputs = ((inputs + 0.3 - zero_point) * scale).astype(np.float32)
    assert_same_bytes(model, inputs)
