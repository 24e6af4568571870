"""Models of several inputs and outputs of every type: generated C gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.ir import DType
from edgelearn.ir.edges import Edges
from tests.support.firmware import generate, load_graph, run_model_bytes
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.models import Drawn, examples


def assert_same_bytes(model: bytes, inputs: list[np.ndarray], edges: Edges = Edges.INT8) -> None:
    """Compare every output, for samples [N, ...] of each input."""
    graph = load_graph(model, edges=edges)
    oracle = ReferenceInterpreter(model)
    indices = [graph.tensor(name).source_index for name in graph.outputs]
    payload, expected = b"", b""
    for sample in zip(*inputs, strict=True):
        payload += b"".join(values.tobytes() for values in sample)
        outputs = oracle.run(sample, indices)
        expected += b"".join(outputs[index].tobytes() for index in indices)
    assert run_model_bytes(generate(graph), payload) == expected


@examples(80)
@given(st.data())
def test_several_inputs_and_outputs(data):
    """Branches that meet or do not, outputs in the middle, twice the same, or an input itself."""
    drawn = Drawn(data)
    b = drawn.builder
    side = drawn.integer(2, 5)
    float_input = drawn.choice(True, False)
    ends = [b.input((1, side, side, 2), name=f"in{n}") for n in range(drawn.integer(1, 3))]
    if float_input:
        ends.append(b.input((1, side, side, 2), name="real", float_edge=True))
    images = [b.depthwise_conv_2d(x, padding="same") for x in ends]
    for _ in range(drawn.integer(0, 4)):
        one, other = drawn.choice(*images), drawn.choice(*images)
        kind = drawn.choice("conv", "add", "pool", "pad")
        if kind == "conv":
            images.append(b.conv_2d(one, filters=2, padding="same"))
        elif kind == "add":
            images.append(b.add(one, other))
        elif kind == "pool":
            images.append(b.max_pool_2d(one, kernel=(2, 2), stride=(1, 1), padding="same"))
        else:
            images.append(b.conv_2d(b.pad(one, [(0, 0), (1, 1), (1, 1), (0, 0)]), filters=2))
    outputs = [drawn.choice(*images) for _ in range(drawn.integer(1, 3))]
    outputs.append(b.reshape(drawn.choice(*images), (1, side * side * 2)))
    if drawn.choice(True, False):
        outputs.append(b.softmax(b.fully_connected(outputs[-1], units=3)))
    if drawn.choice(True, False):
        outputs[0] = b.dequantize(outputs[0])
    edges = drawn.choice(*Edges) if float_input else Edges.INT8
    used = list(b._inputs)
    rng = drawn.rng
    inputs = [rng.integers(-128, 128, (4, *b.shape(x)[1:])).astype(np.int8) for x in used]
    if edges is Edges.FLOAT:
        scale, zero_point = b.quant(ends[-1])
        inputs[-1] = ((inputs[-1] + rng.normal(size=inputs[-1].shape) - zero_point) * scale).astype(np.float32)
    # Inputs that nothing reads are refused, so each is read by an output of its own.
    outputs += images[: len(ends)]
    assert_same_bytes(b.build(*outputs), inputs, edges)


def test_an_input_that_is_an_output_too():
    b = TfliteBuilder(1)
    x = b.input((1, 3, 3, 2))
    inputs = np.random.default_rng(0).integers(-128, 128, (3, 3, 3, 2)).astype(np.int8)
    assert_same_bytes(b.build(x, b.conv_2d(x, filters=2, kernel=(1, 1)), x), [inputs])


def test_an_output_is_not_overwritten_by_what_comes_after_it():
    b = TfliteBuilder(1)
    first = b.conv_2d(b.input((1, 6, 6, 2)), filters=2, padding="same")
    x = first
    for _ in range(5):
        x = b.conv_2d(x, filters=2, padding="same")
    model = b.build(x, first)
    graph = load_graph(model)
    assert [graph.tensor(name).dtype for name in graph.outputs] == [DType.INT8] * 2
    assert_same_bytes(model, [np.random.default_rng(0).integers(-128, 128, (3, 6, 6, 2)).astype(np.int8)])
