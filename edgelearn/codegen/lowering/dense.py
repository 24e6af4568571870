"""Kernel calls of dense layers."""

from __future__ import annotations

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
from edgelearn.codegen.requantize import dense_scales, output_range
from edgelearn.ir import Graph
from edgelearn.ir.dense import FullyConnected

_SOURCE = Source(name="elearn_fully_connected_s8.c", code_bytes=170)


def _fully_connected(graph: Graph, op: FullyConnected, _target: Target) -> Call:
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
    )


LOWERINGS: Lowerings = {FullyConnected: _fully_connected}
