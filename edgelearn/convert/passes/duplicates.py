"""Merges constants that are equal, then ops that compute the same from the same."""

from __future__ import annotations

from msgspec.structs import replace

from edgelearn.convert.passes.unused import drop_unused
from edgelearn.ir import AnyOp, Graph, Tensor


def merge_duplicates(graph: Graph) -> Graph:
    """Lets all readers of equal tensors read the first of them; what is left without readers goes."""
    first: dict[str, str] = {}
    constants: dict[Tensor, str] = {}
    for tensor in graph.tensors:
        if tensor.is_constant and tensor.training is None:
            first[tensor.name] = constants.setdefault(replace(tensor, name="", source_index=None), tensor.name)
    tensors = graph.tensors_by_name
    computed: dict[tuple[AnyOp, tuple[Tensor, ...]], AnyOp] = {}
    ops = []
    for op in graph.ops:
        op = replace(op, inputs=tuple(first.get(name, name) for name in op.inputs))
        results = tuple(replace(tensors[name], name="", source_index=None) for name in op.outputs)
        same = computed.setdefault((replace(op, name="", outputs=(), index=0), results), op)
        if same is op:
            ops.append(op)
        first.update(zip(op.outputs, same.outputs, strict=True))
    outputs = tuple(first.get(name, name) for name in graph.outputs)
    return drop_unused(replace(graph, ops=tuple(ops), outputs=outputs))
