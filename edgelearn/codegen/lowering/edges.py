"""Kernel calls of the float edges."""

from __future__ import annotations

from edgelearn.codegen.lowering.call import Call, Lowerings, Source, Target
from edgelearn.ir import Graph
from edgelearn.ir.edges import Dequantize, Quantize

_SOURCE = Source(name="elearn_edges_s8.c", code_bytes=180)


def _edge(graph: Graph, op: Quantize | Dequantize, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    name, int8 = ("quantize", out) if isinstance(op, Quantize) else ("dequantize", x)
    return Call(
        function=f"elearn_{name}_s8",
        sources=(_SOURCE,),
        params_type="elearn_edge_params",
        params=(("elements", x.elements), ("scale", int8.scale), ("zero_point", int8.zero_point)),
    )


LOWERINGS: Lowerings = {Quantize: _edge, Dequantize: _edge}
