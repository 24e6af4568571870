"""Parts of a model that no input reaches are computed when it is converted."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import ModelFileError, UnsupportedOpError
from tests.support.firmware import generate, load_graph, run_model
from tests.support.tflite_builder import FLOAT32, INT32, TfliteBuilder


def constant_weights(b: TfliteBuilder, x: int, *, from_float: bool) -> int:
    """A dense layer whose weights are a transposed constant, or a quantised float one."""
    scale = 0.01
    if from_float:
        real = b.tensor((3, 8), FLOAT32, data=b.rng.normal(size=(3, 8)).astype(np.float32) * scale * 60)
        weight = b.tensor((3, 8), scale=scale)
        b.op("QUANTIZE", [real], weight, options=schema.QuantizeOptionsT())
    else:
        stored = b.tensor((8, 3), scale=scale, data=b.rng.integers(-127, 128, (8, 3)).astype(np.int8))
        order = b.tensor((2,), INT32, data=np.array([1, 0], np.int32))
        weight = b.tensor((3, 8), scale=scale)
        b.op("TRANSPOSE", [stored, order], weight, options=schema.TransposeOptionsT(), version=2)
    out = b.tensor((1, 3), scale=0.05, zero_point=4)
    return b.op("FULLY_CONNECTED", [x, weight, -1], out, options=schema.FullyConnectedOptionsT(), version=3)


@pytest.mark.parametrize("from_float", [False, True])
def test_constants_are_computed_and_the_rest_keeps_its_bytes(from_float):
    b = TfliteBuilder(3)
    x = b.input((1, 8), scale=0.05, zero_point=-3)
    model = b.build(constant_weights(b, x, from_float=from_float))
    graph = load_graph(model)
    assert [op.TITLE for op in graph.ops] == ["FULLY_CONNECTED"]
    oracle = ReferenceInterpreter(model)
    inputs = np.random.default_rng(0).integers(-128, 128, (6, 8)).astype(np.int8)
    expected = np.stack([oracle.run(s, [oracle.output_index])[oracle.output_index].reshape(-1) for s in inputs])
    np.testing.assert_array_equal(run_model(generate(graph), inputs), expected)


def test_an_op_that_never_gives_the_same_is_not_computed():
    b = TfliteBuilder(3)
    x = b.input((1, 8), scale=0.05, zero_point=-3)
    shape = b.tensor((2,), INT32, data=np.array([3, 8], np.int32))
    real = b.tensor((3, 8), FLOAT32)
    b.op("RANDOM_STANDARD_NORMAL", [shape], real, options=schema.RandomOptionsT())
    weight = b.tensor((3, 8), scale=0.01)
    b.op("QUANTIZE", [real], weight, options=schema.QuantizeOptionsT())
    out = b.tensor((1, 3), scale=0.05, zero_point=4)
    b.op("FULLY_CONNECTED", [x, weight, -1], out, options=schema.FullyConnectedOptionsT(), version=3)
    with pytest.raises(UnsupportedOpError, match="RANDOM_STANDARD_NORMAL"):
        load_graph(b.build(out))


def test_an_output_that_no_input_reaches_is_refused():
    b = TfliteBuilder(3)
    x = b.softmax(b.input((1, 8)))
    stored = b.tensor((1, 8), scale=0.1, zero_point=0, data=np.zeros((1, 8), np.int8))
    with pytest.raises(ModelFileError, match="an output of the model is a constant"):
        load_graph(b.build(x, b.reshape(stored, (8, 1))))
