"""The passes over a loaded graph, in one explicit order; the graph is verified after each.

The loader has already stripped the edges and made padding explicit. Marking the head is a step of its own, because it
has options; see `edgelearn.convert.head`.

Every pass keeps the bytes of each tensor that stays in the graph, and a tensor keeps its `source_index`, so that any of
them can still be compared with the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from edgelearn.convert.passes.activations import fold_activations
from edgelearn.convert.passes.duplicates import merge_duplicates
from edgelearn.convert.passes.edges import merge_quantize_pairs
from edgelearn.convert.passes.movement import drop_idle_ops, fold_padding, merge_reshapes
from edgelearn.convert.passes.tiles import merge_tiles
from edgelearn.convert.passes.unused import drop_unused
from edgelearn.ir import Graph, verify

__all__ = ["PASSES", "drop_unused", "run_passes"]

Pass = tuple[str, Callable[[Graph], Graph]]

PASSES: tuple[Pass, ...] = (
    ("merge reshapes", merge_reshapes),
    ("merge tiles", merge_tiles),
    ("merge quantize pairs", merge_quantize_pairs),
    ("drop idle ops", drop_idle_ops),
    ("merge duplicates", merge_duplicates),
    ("fold activations", fold_activations),
    ("fold padding", fold_padding),
    ("drop unused", drop_unused),
)


def run_passes(graph: Graph, *, without: Collection[str] = ()) -> Graph:
    """Run all passes in order, but those named in `without`.

    Raises:
        GraphError: a pass broke the graph; always a defect of edgelearn.
    """
    for name, function in PASSES:
        if name not in without:
            graph = verify(function(graph), after=name)
    return graph
