"""Recurrent layers: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.codegen.lowering import Target, lower
from edgelearn.errors import ModelFileError, UnsupportedOpError
from edgelearn.ir.recurrent import UnidirectionalSequenceLstm
from tests.support.firmware import load_graph
from tests.support.tflite_builder import FLOAT32, INT16, INT32, TfliteBuilder
from tests.vectors.models import Drawn, assert_same_bytes, check, examples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {UnidirectionalSequenceLstm: lambda b, x: b.unidirectional_sequence_lstm(b.reshape(x, (1, 8, 4)), units=3)}


def _lstm(
    b: TfliteBuilder,
    x: int,
    weights: list[tuple[np.ndarray, float]],
    biases: list[np.ndarray],
    *,
    output: tuple[float, int],
    cell_exponent: int,
    cell_clip: float,
    state: tuple[float, int] | None = None,
    labelled: tuple[float, int] | None = None,
    time_major: bool = False,
) -> int:
    """The op with four input weights, four recurrent ones, each with its scale, and four biases."""
    units = len(biases[0])
    scale, zero_point = output
    tensors = [b.tensor(w.shape, scale=s, data=w.astype(np.int8)) for w, s in weights]
    x_scale = np.float32(b.quant(x)[0])
    tensors_bias = [
        b.tensor((units,), INT32, scale=x_scale * np.float32(s), data=bias.astype(np.int32))
        for bias, (_, s) in zip(biases, weights[:4], strict=True)
    ]
    state_scale, state_zero_point = state or output
    state_tensor = b.tensor((1, units), scale=state_scale, zero_point=state_zero_point, variable=True)
    cell = b.tensor((1, units), INT16, scale=2.0**cell_exponent, variable=True)
    intermediates = [b.tensor((0,), FLOAT32) for _ in range(4)]
    intermediates.append(b.tensor((0,), scale=scale, zero_point=zero_point))
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    options.cellClip = cell_clip
    options.timeMajor = time_major
    scale, zero_point = labelled or output
    out = b.tensor((*b.shape(x)[:2], units), scale=scale, zero_point=zero_point)
    inputs = [x, *tensors, -1, -1, -1, *tensors_bias, -1, -1, state_tensor, cell, -1, -1, -1, -1]
    return b.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, out, options=options, intermediates=intermediates)


@examples(120)
@given(st.data())
def test_unidirectional_sequence_lstm(data):
    """Sequences through gates that are open, shut and in between, with cells of every scale."""
    drawn = Drawn(data)
    b, rng = drawn.builder, drawn.rng
    steps, features, units = drawn.integer(1, 9), drawn.integer(1, 9), drawn.integer(1, 9)
    time_major = drawn.choice(False, True)
    x = b.input((1, steps, features), scale=drawn.scale(-12, 2), zero_point=drawn.zero_point())
    x_scale, _ = b.quant(x)
    output = (drawn.choice(1 / 128, drawn.near(1 / 150, 2)), drawn.zero_point())
    others = drawn.choice(False, True)  # as the converter leaves it where another op decides the output's scale
    state = (drawn.near(output[0], 1), drawn.zero_point()) if others else None
    labelled = (drawn.near(output[0], 1), drawn.zero_point()) if others else None
    reach = drawn.choice(0.05, 1.0, 4.0, 30.0)
    weights, biases = [], []
    for count, of_scale in ((features, x_scale),) * 4 + ((units, output[0]),) * 4:
        scale = float(np.float32(drawn.near(reach / (of_scale * 74 * 74 * count**0.5), 1)))
        weights.append((rng.integers(-127, 128, (units, count)), scale))
    for _, scale in weights[:4]:
        limit = int(min(reach / (x_scale * scale), 2**30))
        biases.append(rng.integers(-limit, limit + 1, units))
    out = _lstm(
        b,
        b.reshape(x, (steps, 1, features)) if time_major else x,
        weights,
        biases,
        output=output,
        state=state,
        labelled=labelled,
        cell_exponent=drawn.integer(-15, -9),
        cell_clip=drawn.choice(0.0, 10.0, 0.3, 1e-9),
        time_major=time_major,
    )
    check(drawn, x, out)


@pytest.mark.parametrize("dsp", [False, True])
@pytest.mark.parametrize("cell_exponent", range(-15, -8))
def test_all_sums_of_a_gate(cell_exponent, dsp):
    """A quarter of all int16 sums, of every gate: biases of 64 units are 256 apart, and each step adds one."""
    units = 64
    b = TfliteBuilder(cell_exponent % 4)
    x = b.input((1, 256, 1), scale=2.0**-6, zero_point=0)
    first = -(2**15) + 64 * 256 * (cell_exponent % 4) + 128
    weights = [(np.ones((units, 1)), 2.0**-6)] * 4 + [(np.zeros((units, units)), 1.0)] * 4
    biases = [first + 256 * b.rng.permutation(units) for _ in range(4)]
    out = _lstm(b, x, weights, biases, output=(1 / 128, 3), cell_exponent=cell_exponent, cell_clip=0.0)
    assert_same_bytes(b.build(out), np.arange(-128, 128).astype(np.int8).reshape(1, 256, 1), dsp=dsp)


@pytest.mark.parametrize("weight", [-127, -128])
def test_weights_that_do_not_fit_in_pairs(weight):
    """Two gates share a lane as A + 256 B, where -128 of both leaves 16 bits: the plain kernel takes these."""
    b = TfliteBuilder(1)
    x = b.input((1, 5, 3), scale=2.0**-6, zero_point=-7)
    weights = [(np.full((2, count), weight), 2.0**-9) for count in (3,) * 4 + (2,) * 4]
    out = _lstm(b, x, weights, [np.zeros(2)] * 4, output=(1 / 128, 3), cell_exponent=-12, cell_clip=0.0)
    model = b.build(out)
    graph = load_graph(model)
    function = lower(graph, graph.ops[-1], Target(dsp=True)).function
    assert function == ("elearn_lstm_s8" if weight == -128 else "elearn_lstm_fours_s8")
    assert_same_bytes(model, b.rng.integers(-128, 128, (4, 5, 3)).astype(np.int8), dsp=True)


def _plain_lstm() -> tuple[TfliteBuilder, int, schema.OperatorT]:
    b = TfliteBuilder(2)
    out = b.unidirectional_sequence_lstm(b.input((1, 4, 3)), units=2)
    return b, out, b._operators[-1]


@pytest.mark.parametrize(
    ("position", "shape", "words"),
    [
        (9, (2,), "peephole"),
        (16, (2, 2), "projection"),
        (21, (2,), "layer normalisation"),
        (1, None, "coupled input and forget gates"),
    ],
)
def test_variants_with_other_inputs_are_refused(position, shape, words):
    b, out, op = _plain_lstm()
    op.inputs[position] = -1 if shape is None else b.tensor(shape, scale=0.1, data=np.ones(shape, np.int8))
    with pytest.raises(UnsupportedOpError, match=words):
        load_graph(b.build(out))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("fusedActivationFunction", schema.ActivationFunctionType.RELU, "another activation than tanh"),
        ("diagonalRecurrentTensors", True, "diagonal"),
        ("timeMajor", True, "a batch of 4"),
    ],
)
def test_variants_by_options_are_refused(option, value, words):
    b, out, op = _plain_lstm()
    setattr(op.builtinOptions, option, value)
    with pytest.raises(UnsupportedOpError, match=words):
        load_graph(b.build(out))


@pytest.mark.parametrize("scale", [2.0**-16, 2.0**-8, 1.5 * 2.0**-12, 0.0])
def test_cell_states_of_other_scales_are_refused(scale):
    b, out, op = _plain_lstm()
    b._tensors[op.inputs[19]].quantization.scale = [scale]
    with pytest.raises(UnsupportedOpError, match="a cell state in steps of"):
        load_graph(b.build(out))


def test_a_cell_state_of_another_type_and_weights_of_many_scales_are_refused():
    b, out, op = _plain_lstm()
    b._tensors[op.inputs[19]].type = INT32
    with pytest.raises(UnsupportedOpError, match="a cell state that is not int16"):
        load_graph(b.build(out))
    b, out, op = _plain_lstm()
    quant = b._tensors[op.inputs[5]].quantization
    quant.scale, quant.zeroPoint = [0.1, 0.2], [0, 0]
    with pytest.raises(UnsupportedOpError, match="weights with several scales"):
        load_graph(b.build(out))


def test_files_that_contradict_themselves():
    b, out, op = _plain_lstm()
    op.intermediates = op.intermediates[:4]
    with pytest.raises(ModelFileError, match="intermediate 4 is missing"):
        load_graph(b.build(out))
    b, out, op = _plain_lstm()
    op.builtinOptions.cellClip = -1.0
    with pytest.raises(ModelFileError, match="its cell clip is -1"):
        load_graph(b.build(out))
    b, out, op = _plain_lstm()
    op.inputs[5] = op.inputs[1]
    with pytest.raises(ModelFileError, match="is no constant"):
        load_graph(b.build(out))
