"""Takes away what reaches no output: after each pass that leads readers elsewhere, and where a graph is cut."""

from __future__ import annotations

from msgspec.structs import replace

from edgelearn.ir import Graph


def drop_unused(graph: Graph) -> Graph:
    """Drops ops whose results reach no output, and tensors that no op uses."""
    needed = set(graph.outputs)
    ops = []
    for op in reversed(graph.ops):
        if not needed.isdisjoint(op.outputs):
            ops.append(op)
            needed.update(op.inputs)
    needed.update(graph.inputs)
    needed.update(name for op in ops for name in op.outputs)
    return replace(graph, ops=tuple(ops[::-1]), tensors=tuple(t for t in graph.tensors if t.name in needed))
