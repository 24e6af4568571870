"""Translates recurrent layers."""

from __future__ import annotations

import math

import numpy as np

from edgelearn.convert.tflite_file import FileOp, FileTensor
from edgelearn.convert.translators.context import (
    Context,
    UnsupportedParameter,
    activation_quant,
    contradiction,
    weight_quant,
)
from edgelearn.ir import Quant
from edgelearn.ir.recurrent import RecurrentOp, UnidirectionalSequenceLstm

#: Positions of the inputs in the schema's order; gates are input, forget, cell, output.
_INPUT_WEIGHTS, _RECURRENT_WEIGHTS, _PEEPHOLE, _BIASES, _PROJECTION = 1, 5, range(9, 12), 12, range(16, 18)
_OUTPUT_STATE, _CELL_STATE, _LAYER_NORM = 18, 19, range(20, 24)
_GATE_NAMES = ("input", "forget", "cell", "output")
#: Which of the op's intermediates tells the quantisation of the output before any projection.
_HIDDEN = 4


def _lstm(c: Context, op: FileOp) -> RecurrentOp:
    x, out = c.activation(op, 0, rank=3, any_batch=True), c.output(op)
    _require_plain(c, op, x)
    name = c.name_op(op, out, c.file_tensor(op, _INPUT_WEIGHTS))
    weights, biases = [], []
    for first, kind in ((_INPUT_WEIGHTS, "input"), (_RECURRENT_WEIGHTS, "recurrent")):
        for gate, gate_name in enumerate(_GATE_NAMES):
            weight = c.constant(op, first + gate, "INT8", rank=2)
            quant = weight_quant(op, weight, axis=0)
            if quant.is_per_channel:
                raise UnsupportedParameter("weights with several scales; quantise them per tensor")
            weights.append(c.define_constant(name, f"{kind}_weight_{gate_name}", weight, quant))
    x_scale = np.float32(activation_quant(x, "its input").scale[0])
    for gate, gate_name in enumerate(_GATE_NAMES):
        bias = c.constant(op, _BIASES + gate, "INT32", rank=1)
        scale = float(x_scale * np.float32(weight_quant(op, c.file_tensor(op, _INPUT_WEIGHTS + gate), axis=0).scale[0]))
        biases.append(c.define_constant(name, f"bias_{gate_name}", bias, Quant(scale=(scale,), zero_point=(0,))))
    exponent, clip = _cell_state(c, op)
    return UnidirectionalSequenceLstm(
        name=name,
        inputs=(c.activation_name(op, 0), *weights, *biases),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        hidden=activation_quant(c.intermediate(op, _HIDDEN), "its hidden state"),
        state=activation_quant(c.file_tensor(op, _OUTPUT_STATE), "its output state"),
        cell_exponent=exponent,
        cell_clip=clip,
    )


def _require_plain(c: Context, op: FileOp, x: FileTensor) -> None:
    """Refuse the variants of the op that Keras' LSTM does not use."""
    is_time_major = bool(op.number("TimeMajor", 0))
    batch = x.shape[1 if is_time_major else 0]
    if batch != 1:
        raise UnsupportedParameter(f"a batch of {batch}; export the model with a batch of 1")
    for positions, what in (
        (_PEEPHOLE, "peephole connections"),
        (_PROJECTION, "a projection"),
        (_LAYER_NORM, "layer normalisation"),
    ):
        if any(position < len(op.inputs) and op.inputs[position] >= 0 for position in positions):
            raise UnsupportedParameter(f"{what}; use a plain LSTM")
    if len(op.inputs) > _INPUT_WEIGHTS and op.inputs[_INPUT_WEIGHTS] < 0:
        raise UnsupportedParameter("coupled input and forget gates; use a plain LSTM")
    if op.number("DiagonalRecurrentTensors", 0):
        raise UnsupportedParameter("diagonal recurrent weights; use a plain LSTM")
    if op.word("FusedActivationFunction", "NONE") != "TANH":
        raise UnsupportedParameter("another activation than tanh")


def _cell_state(c: Context, op: FileOp) -> tuple[int, int]:
    """The exponent of the cell state's scale, and the clip in its steps (LiteRT: PopulateQuantizedLstmParams8x8_16)."""
    state = c.file_tensor(op, _CELL_STATE)
    if state.type != "INT16" or state.quant is None or len(state.quant.scale) != 1 or any(state.quant.zero_point):
        raise UnsupportedParameter("a cell state that is not int16 with a zero point of 0")
    scale = state.quant.scale[0]
    mantissa, exponent = math.frexp(scale)
    if mantissa != 0.5 or not -15 <= exponent - 1 <= -9:
        raise UnsupportedParameter(f"a cell state in steps of {scale}, which is no power of two from 2^-15 to 2^-9")
    clip = op.real("CellClip", 0.0)
    if not 0.0 <= clip < math.inf:
        raise contradiction(op, f"its cell clip is {clip}")
    return exponent - 1, int(min(clip / scale, 32767.0))


TRANSLATORS = {"UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm}
