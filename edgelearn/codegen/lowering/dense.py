"""Kernel calls of dense layers."""

from __future__ import annotations

import numpy as np

from edgelearn.codegen.lowering.call import (
    DOT,
    Call,
    Lowerings,
    Source,
    Target,
    integers,
    offset_fields,
    scale_constant,
)
from edgelearn.codegen.lowering.cost import dense_in_fours, plain_dense
from edgelearn.codegen.lowering.matmul import MATMUL, Layer, eights, vector_stream
from edgelearn.codegen.requantize import dense_scales, output_range
from edgelearn.ir import Graph
from edgelearn.ir.dense import FullyConnected

_FOURS = Source(name="elearn_fully_connected_fours_s8.c", code_bytes=400)
_SOURCE = Source(name="elearn_fully_connected_s8.c", code_bytes=170)


def _fully_connected(graph: Graph, op: FullyConnected, target: Target) -> tuple[Call, ...]:
    plain = _plain(graph, op)
    fours = _in_fours(graph, op) if target.dsp else None
    return (plain, fours) if fours else (plain,)


def _in_fours(graph: Graph, op: FullyConnected) -> Call | None:
    """The variant of four outputs at a time; None where its sums or constants would not be exact."""
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out = graph.tensor(op.output)
    outputs, features = weight.shape
    rows = out.elements // outputs
    low, high = output_range(out, op.activation)
    layer = Layer(
        weights=weight.array().astype(np.int64),
        bias=bias.array().astype(np.int64),
        scales=dense_scales(x, weight, out, outputs),
        input_zero_point=x.zero_point,
        output_zero_point=out.zero_point,
        low=low,
        high=high,
    )
    stream = vector_stream(layer)
    if stream is None:
        return None
    count = eights(features)
    return Call(
        function="elearn_fully_connected_fours_s8",
        sources=(_FOURS, MATMUL),
        params_type="elearn_fully_connected_fours_params",
        params=(
            ("rows", rows),
            ("features", features),
            ("outputs", outputs),
            ("output_min", low),
            ("output_max", high),
            ("words_of_four", len(stream.words) // ((outputs + 3) // 4)),
            ("shift", stream.shift),
            ("is_uniform", int(bool(stream.constants))),
            ("constants", stream.constants or (0,) * 8),
            ("stream", "weights"),
        ),
        constants=(stream.constant(),),
        scratch_bytes=16 * count + 8,
        instructions=dense_in_fours(features=features, outputs=outputs, rows=rows),
    )


def _plain(graph: Graph, op: FullyConnected) -> Call:
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out, outputs = graph.tensor(op.output), weight.shape[0]
    return Call(
        function="elearn_fully_connected_s8",
        sources=(_SOURCE, DOT),
        params_type="elearn_fully_connected_params",
        params=(
            ("rows", out.elements // outputs),
            ("features", weight.shape[1]),
            ("outputs", outputs),
            ("offsets", offset_fields(x, out, *output_range(out, op.activation))),
            ("weights", "weights"),
            ("bias", "bias"),
            ("scales", "scales"),
        ),
        constants=(
            integers("weights", "int8_t", weight),
            integers("bias", "int32_t", bias),
            scale_constant(dense_scales(x, weight, out, outputs)),
        ),
        instructions=plain_dense(features=weight.shape[1], outputs=out.elements),
    )


LOWERINGS: Lowerings = {FullyConnected: _fully_connected}
