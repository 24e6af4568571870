"""Takes DEQUANTIZE and QUANTIZE in a row, from models that were quantised in parts, as one function of int8."""

from __future__ import annotations

from msgspec.structs import replace

from edgelearn.convert.passes.unused import drop_unused
from edgelearn.ir import AnyOp, Graph
from edgelearn.ir.activation import Requantize
from edgelearn.ir.edges import Dequantize, Quantize


def merge_quantize_pairs(graph: Graph) -> Graph:
    """Lets what reads a QUANTIZE behind a DEQUANTIZE read a table of both, without the float32 tensor between."""
    ops: list[AnyOp] = []
    for op in graph.ops:
        before = graph.producer(op.inputs[0]) if isinstance(op, Quantize) else None
        if isinstance(before, Dequantize):
            ops.append(
                Requantize(name=op.name, inputs=before.inputs, outputs=op.outputs, index=op.index, through_float=True)
            )
        else:
            ops.append(op)
    return drop_unused(replace(graph, ops=tuple(ops)))
