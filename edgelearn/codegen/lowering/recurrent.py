"""Kernel calls of recurrent layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn.codegen.lowering.call import Call, Constant, Initializer, Lowerings, Source, Target, scale_constant
from edgelearn.codegen.lowering.cost import lstm_in_fours, plain_lstm
from edgelearn.codegen.lowering.matmul import MATMUL, eights, sums_stream
from edgelearn.codegen.requantize import Scale, to_scale
from edgelearn.ir import Graph
from edgelearn.ir.recurrent import GATES, UnidirectionalSequenceLstm

_SOURCE = Source(name="elearn_lstm_s8.c", code_bytes=450)
_CELL = Source(name="elearn_lstm_cell_s8.c", code_bytes=1080)
_FOURS = Source(name="elearn_lstm_fours_s8.c", code_bytes=1690)
_GATES = Source(name="elearn_lstm_gates_s8.c", code_bytes=420)

#: LiteRT: the gates' sums are int16 with 12 fraction bits; activations and their products have 15.
_GATE_STEP = np.float32(2.0**-12)
_Q15_STEP = np.float32(2.0**-15)


Integers = npt.NDArray[np.int64]


class _Layer(Struct, frozen=True, kw_only=True):
    """What both variants are made from; index 0 is of the input's products, 1 of the recurrent ones.

    Attributes:
        steps, features, units: sizes.
        weights: [gate, unit, value] each.
        begins: [gate, unit] each, the sums to begin with, zero points folded in.
        scales: of each gate each, to int16 with 12 fraction bits.
        output_scale: from a product of two int16 with 15 fraction bits.
    """

    steps: int
    features: int
    units: int
    weights: tuple[Integers, Integers]
    begins: tuple[Integers, Integers]
    scales: tuple[tuple[Scale, ...], tuple[Scale, ...]]
    output_scale: Scale


def _lstm(graph: Graph, op: UnidirectionalSequenceLstm, target: Target) -> tuple[Call, ...]:
    layer = _layer(graph, op)
    plain = _plain(op, layer)
    fours = _fours(op, layer) if target.dsp else None
    return (plain, fours) if fours else (plain,)


def _layer(graph: Graph, op: UnidirectionalSequenceLstm) -> _Layer:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    tensors = [graph.tensor(name) for name in op.inputs[1:]]
    inputs, recurrent, biases = (tensors[n : n + GATES] for n in range(0, 3 * GATES, GATES))
    input_weights = np.stack([w.array() for w in inputs]).astype(np.int64)
    recurrent_weights = np.stack([w.array() for w in recurrent]).astype(np.int64)
    begins = np.stack([b.array() for b in biases]).astype(np.int64) - x.zero_point * input_weights.sum(axis=2)
    return _Layer(
        steps=out.elements // out.shape[2],
        features=x.shape[2],
        units=out.shape[2],
        weights=(input_weights, recurrent_weights),
        begins=(begins, -op.state.zero_point[0] * recurrent_weights.sum(axis=2)),
        # Of all scales LiteRT makes the product in float32.
        scales=(
            tuple(to_scale(float(np.float32(w.scale) * np.float32(x.scale) / _GATE_STEP)) for w in inputs),
            tuple(to_scale(float(np.float32(w.scale) * np.float32(op.state.scale[0]) / _GATE_STEP)) for w in recurrent),
        ),
        output_scale=to_scale(float(_Q15_STEP / np.float32(op.hidden.scale[0]) * _Q15_STEP)),
    )


def _plain(op: UnidirectionalSequenceLstm, layer: _Layer) -> Call:
    bias = np.stack(layer.begins).transpose(2, 0, 1).reshape(-1)
    weights = np.concatenate([_in_fours(weights) for weights in layer.weights], axis=1).reshape(-1)
    return Call(
        function="elearn_lstm_s8",
        sources=(_SOURCE, _CELL),
        params_type="elearn_lstm_params",
        params=(
            *_sizes(op, layer),
            ("cell_clip", op.cell_clip),
            ("output_scale", _fields(layer.output_scale)),
            ("weights", "weights"),
            ("bias", "bias"),
            ("scales", "scales"),
        ),
        constants=(
            Constant(suffix="weights", c_type="int8_t", elements=_integers(weights), size_bytes=len(weights)),
            Constant(suffix="bias", c_type="int32_t", elements=_integers(bias), size_bytes=4 * len(bias)),
            scale_constant(layer.scales[0] + layer.scales[1]),
        ),
        scratch_bytes=2 * layer.units,
        instructions=plain_lstm(features=layer.features, units=layer.units, steps=layer.steps),
    )


def _fours(op: UnidirectionalSequenceLstm, layer: _Layer) -> Call | None:
    """The variant of four gates at a time; None where its sums would not be exact."""
    streams, scales = [], []
    for weights, begins, of_gates in zip(layer.weights, layer.begins, layer.scales, strict=True):
        # [gate, unit] as [unit, gate]
        stream = sums_stream(weights.swapaxes(0, 1).reshape(-1, weights.shape[2]), begins.transpose().reshape(-1))
        reach = np.maximum(-begins, begins).max(axis=1) + 128 * np.abs(weights).sum(axis=2).max(axis=1)
        fields = [_gate_scale(gate, scale, int(reach[gate])) for gate, scale in enumerate(of_gates)]
        if stream is None or None in fields:
            return None
        streams.append(stream.words)
        scales.append(tuple(field for field in fields if field is not None))
    # A product of two int16 leaves room for the half of 2^29 and less.
    if not 1 <= -layer.output_scale.shift <= 30:
        return None
    words = streams[0] + streams[1]
    most = max(eights(layer.features), eights(layer.units))
    return Call(
        function="elearn_lstm_fours_s8",
        sources=(_FOURS, _GATES, MATMUL),
        params_type="elearn_lstm_fours_params",
        params=(
            *_sizes(op, layer),
            ("cell_clip", op.cell_clip or 2**15),
            ("output_scale", _fields(layer.output_scale)),
            ("input_words", len(streams[0])),
            ("input_scales", scales[0]),
            ("recurrent_scales", scales[1]),
            ("stream", "weights"),
        ),
        constants=(Constant(suffix="weights", c_type="uint32_t", elements=words, size_bytes=4 * len(words)),),
        scratch_bytes=16 * most + 10 * layer.units + 4,
        instructions=lstm_in_fours(features=layer.features, units=layer.units, steps=layer.steps),
    )


def _sizes(op: UnidirectionalSequenceLstm, layer: _Layer) -> tuple[tuple[str, Initializer], ...]:
    return (
        ("steps", layer.steps),
        ("features", layer.features),
        ("units", layer.units),
        ("output_zero_point", op.hidden.zero_point[0]),
        ("cell_integer_bits", 15 + op.cell_exponent),
    )


def _gate_scale(gate: int, scale: Scale, reach: int) -> tuple[int, int, int] | None:
    """The members of elearn_gate_scale; None where a sum would leave 32 bits.

    Args:
        gate: of odd ones the sums come times 256.
        scale: the factor.
        reach: the largest magnitude of a sum.
    """
    left = 1 + max(scale.shift, 0)
    if reach << left >= 2**31 or left > 8:
        return None
    return scale.multiplier, 8 - left if gate % 2 else left, max(-scale.shift, 0)


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
