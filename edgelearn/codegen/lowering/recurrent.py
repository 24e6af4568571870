"""Kernel calls of recurrent layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgelearn.codegen.lowering.call import Call, Constant, Lowerings, Source, Target, scale_constant
from edgelearn.codegen.requantize import Scale, to_scale
from edgelearn.ir import Graph
from edgelearn.ir.recurrent import GATES, UnidirectionalSequenceLstm

_SOURCE = Source(name="elearn_lstm_s8.c", code_bytes=450)
_CELL = Source(name="elearn_lstm_cell_s8.c", code_bytes=1080)

#: LiteRT: the gates' sums are int16 with 12 fraction bits; activations and their products have 15.
_GATE_STEP = np.float32(2.0**-12)
_Q15_STEP = np.float32(2.0**-15)


def _lstm(graph: Graph, op: UnidirectionalSequenceLstm, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    tensors = [graph.tensor(name) for name in op.inputs[1:]]
    inputs, recurrent, biases = (tensors[n : n + GATES] for n in range(0, 3 * GATES, GATES))
    steps, units, features = out.elements // out.shape[2], out.shape[2], x.shape[2]
    # Of all scales LiteRT makes the product in float32.
    scales = [to_scale(float(np.float32(w.scale) * np.float32(x.scale) / _GATE_STEP)) for w in inputs]
    scales += [to_scale(float(np.float32(w.scale) * np.float32(op.state.scale[0]) / _GATE_STEP)) for w in recurrent]
    input_weights = np.stack([w.array() for w in inputs]).astype(np.int64)
    recurrent_weights = np.stack([w.array() for w in recurrent]).astype(np.int64)
    # Zero points are folded into the sums to begin with: [gate, unit].
    begins = np.stack([b.array() for b in biases]).astype(np.int64) - x.zero_point * input_weights.sum(axis=2)
    recurrent_begins = -op.state.zero_point[0] * recurrent_weights.sum(axis=2)
    bias = np.stack([begins, recurrent_begins]).transpose(2, 0, 1).reshape(-1)
    weights = np.concatenate([_in_fours(input_weights), _in_fours(recurrent_weights)], axis=1).reshape(-1)
    return Call(
        function="elearn_lstm_s8",
        sources=(_SOURCE, _CELL),
        params_type="elearn_lstm_params",
        params=(
            ("steps", steps),
            ("features", features),
            ("units", units),
            ("output_zero_point", op.hidden.zero_point[0]),
            ("cell_integer_bits", 15 + op.cell_exponent),
            ("cell_clip", op.cell_clip),
            ("output_scale", _fields(to_scale(float(_Q15_STEP / np.float32(op.hidden.scale[0]) * _Q15_STEP)))),
            ("weights", "weights"),
            ("bias", "bias"),
            ("scales", "scales"),
        ),
        constants=(
            Constant(suffix="weights", c_type="int8_t", elements=_integers(weights), size_bytes=len(weights)),
            Constant(suffix="bias", c_type="int32_t", elements=_integers(bias), size_bytes=4 * len(bias)),
            scale_constant(tuple(scales)),
        ),
        scratch_bytes=2 * units,
    )


def _in_fours(weights: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """[gate, unit, value] as [unit, fours of values times gate times value within the four], padded with zeros."""
    gates, units, count = weights.shape
    fours = -(-count // 4)
    padded = np.pad(weights, ((0, 0), (0, 0), (0, 4 * fours - count)))
    arranged: npt.NDArray[np.int64] = padded.reshape(gates, units, fours, 4).transpose(1, 2, 0, 3).reshape(units, -1)
    return arranged


def _integers(values: npt.NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(v) for v in values)


def _fields(scale: Scale) -> tuple[int, int]:
    return scale.multiplier, scale.shift


LOWERINGS: Lowerings = {UnidirectionalSequenceLstm: _lstm}
