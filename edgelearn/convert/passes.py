"""The passes over a loaded graph, in one explicit order; the graph is verified after each.

The loader has already stripped the edges and made padding explicit. Marking the head is a step of its own, because it
has options; see `edgelearn.convert.head`.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from edgelearn.ir import Graph, verify
from edgelearn.ir.movement import Pad, Reshape

Pass = tuple[str, Callable[[Graph], Graph]]


def drop_idle_ops(graph: Graph) -> Graph:
    """Drops each RESHAPE to the same shape and each PAD by nothing; their readers read their inputs."""
    ops = []
    stands_for: dict[str, str] = {}
    for op in graph.ops:
        moved = replace(op, inputs=tuple(stands_for.get(name, name) for name in op.inputs))
        idle = isinstance(op, Reshape | Pad) and (
            graph.tensor(op.inputs[0]).shape == graph.tensor(op.output).shape
            and graph.tensor(op.inputs[0]).quant == graph.tensor(op.output).quant
        )
        if idle:
            stands_for[op.output] = moved.inputs[0]
        else:
            ops.append(moved)
    outputs = tuple(stands_for.get(name, name) for name in graph.outputs)
    return drop_unused(replace(graph, ops=tuple(ops), outputs=outputs))


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


PASSES: tuple[Pass, ...] = (
    ("drop idle ops", drop_idle_ops),
    ("drop unused", drop_unused),
)


def run_passes(graph: Graph) -> Graph:
    """Run all passes in order.

    Raises:
        GraphError: a pass broke the graph; always a defect of edgelearn.
    """
    for name, function in PASSES:
        graph = verify(function(graph), after=name)
    return graph
