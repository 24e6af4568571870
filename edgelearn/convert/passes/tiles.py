"""Takes TILE, RESHAPE, TILE as one TILE: Keras' nearest upsampling repeats rows, then columns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from msgspec.structs import replace

from edgelearn.convert.passes.movement import merge_reshapes
from edgelearn.convert.passes.unused import drop_unused
from edgelearn.ir import AnyOp, Graph, Tensor
from edgelearn.ir.movement import Reshape, Tile

#: A run of places along a tensor: how many there are, and whether they repeat one place of the source.
_Digit = tuple[int, bool]
#: What one copy can do, see elearn_copy_s8.h.
_MOST_AXES = 5


def merge_tiles(graph: Graph) -> Graph:
    """Repeats along both axes at once, without the tensor between, which is as large as half of the result.

    The places of the first result, counted in row-major order, are a number with digits: those of the source's axes and
    those that repeat. A RESHAPE keeps the number, and the second TILE puts further digits into it.
    """
    for second in [op for op in graph.ops if isinstance(op, Tile)]:
        between = graph.producer(second.inputs[0])
        first = graph.producer(between.inputs[0]) if isinstance(between, Reshape) else None
        if not isinstance(first, Tile) or not isinstance(between, Reshape):
            continue
        alone = all(len(graph.consumers(op.output)) == 1 and op.output not in graph.outputs for op in (first, between))
        digits = _placed(_digits(graph.tensor(first.inputs[0]).shape, first.multiples), graph, second)
        if alone and digits is not None and _axes(digits) <= _MOST_AXES:
            graph = _merged(graph, first, second, digits)
    return merge_reshapes(graph)


def _digits(shape: Sequence[int], multiples: Sequence[int]) -> list[_Digit]:
    """The digits of a TILE's result, the first one slowest."""
    pairs = [((multiple, True), (size, False)) for size, multiple in zip(shape, multiples, strict=True)]
    return [digit for pair in pairs for digit in pair if digit[0] > 1]


def _placed(digits: list[_Digit], graph: Graph, tile: Tile) -> list[_Digit] | None:
    """The digits with those of a TILE behind them; None where its axes cut through a digit."""
    left = list(digits)
    placed: list[_Digit] = []
    for size, multiple in zip(graph.tensor(tile.inputs[0]).shape, tile.multiples, strict=True):
        if multiple > 1:
            placed.append((multiple, True))
        while size > 1:
            count, repeats = left.pop(0)
            if size % count == 0:
                placed.append((count, repeats))
                size //= count
            elif count % size == 0:
                placed.append((size, repeats))
                left.insert(0, (count // size, repeats))
                size = 1
            else:
                return None
    return placed


def _axes(digits: list[_Digit]) -> int:
    """How many axes the copy has besides its runs of bytes: neighbouring digits of one kind are one axis."""
    kinds = [repeats for _, repeats in digits]
    changes = sum(1 for one, other in itertools.pairwise(kinds) if one != other)
    return changes if kinds and not kinds[-1] else changes + 1


def _merged(graph: Graph, first: Tile, second: Tile, digits: list[_Digit]) -> Graph:
    taken = {tensor.name for tensor in graph.tensors} | {op.name for op in graph.ops}
    names = [name for name in (f"{second.name}_part{n}" for n in range(len(taken) + 2)) if name not in taken][:2]
    quant, dtype = graph.tensor(second.output).quant, graph.tensor(second.output).dtype
    shapes = tuple(1 if repeats else n for n, repeats in digits), tuple(n for n, _ in digits)
    source, tiled = (
        Tensor(name=name, shape=shape, dtype=dtype, quant=quant) for name, shape in zip(names, shapes, strict=True)
    )
    index = second.index
    made: tuple[AnyOp, ...] = (
        Reshape(name=source.name, inputs=first.inputs, outputs=(source.name,), index=index),
        Tile(
            name=tiled.name,
            inputs=(source.name,),
            outputs=(tiled.name,),
            index=index,
            multiples=tuple(n if repeats else 1 for n, repeats in digits),
        ),
        Reshape(name=second.name, inputs=(tiled.name,), outputs=second.outputs, index=index),
    )
    ops = tuple(new for op in graph.ops for new in (made if op is second else (op,)))
    return drop_unused(replace(graph, ops=ops, tensors=(*graph.tensors, source, tiled)))
