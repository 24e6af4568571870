"""Passes that take away ops which change no bytes: idle ones, reshapes in a row, padding before a window."""

from __future__ import annotations

from msgspec.structs import replace

from edgelearn.convert.passes.unused import drop_unused
from edgelearn.ir import AnyOp, Graph
from edgelearn.ir.activation import Requantize
from edgelearn.ir.convolution import Conv2D, DepthwiseConv2D
from edgelearn.ir.movement import Pad, Reshape
from edgelearn.ir.pooling import MaxPool2D


def merge_reshapes(graph: Graph) -> Graph:
    """Lets a RESHAPE behind a RESHAPE read what is before it."""
    before: dict[str, str] = {}
    ops = []
    for op in graph.ops:
        if isinstance(op, Reshape):
            op = replace(op, inputs=(before.get(op.inputs[0], op.inputs[0]),))
            before[op.output] = op.inputs[0]
        ops.append(op)
    return drop_unused(replace(graph, ops=tuple(ops)))


def drop_idle_ops(graph: Graph) -> Graph:
    """Drops each RESHAPE to the same shape, PAD by nothing and QUANTIZE to the same scale and zero point.

    Their readers read their inputs.
    """
    ops = []
    stands_for: dict[str, str] = {}
    for op in graph.ops:
        moved = replace(op, inputs=tuple(stands_for.get(name, name) for name in op.inputs))
        idle = isinstance(op, Reshape | Pad | Requantize) and (
            graph.tensor(op.inputs[0]).shape == graph.tensor(op.output).shape
            and graph.tensor(op.inputs[0]).quant == graph.tensor(op.output).quant
        )
        if idle:
            stands_for[op.output] = moved.inputs[0]
        else:
            ops.append(moved)
    outputs = tuple(stands_for.get(name, name) for name in graph.outputs)
    return drop_unused(replace(graph, ops=tuple(ops), outputs=outputs))


def fold_padding(graph: Graph) -> Graph:
    """Folds each PAD into the windows of its readers, where all of them can take it.

    A convolution takes what lies outside its input as the zero point, which is what PAD writes. Max pooling leaves it
    out, which is the same only where the zero point is the smallest int8 and each window has an element inside. Average
    pooling divides by the elements inside, so it takes no PAD.
    """
    for pad in [op for op in reversed(graph.ops) if isinstance(op, Pad)]:
        if pad.output in graph.outputs:
            continue
        folded = {op.name: _with_padding(graph, op, pad) for op in graph.consumers(pad.output)}
        if None not in folded.values():
            graph = drop_unused(replace(graph, ops=tuple(folded.get(op.name) or op for op in graph.ops)))
    return graph


def _with_padding(graph: Graph, op: AnyOp, pad: Pad) -> AnyOp | None:
    """The op on the input of the PAD, or None where it would not give the same bytes."""
    if not isinstance(op, Conv2D | DepthwiseConv2D | MaxPool2D):
        return None
    window = replace(
        op.window,
        pad_top=op.window.pad_top + pad.pad_top,
        pad_bottom=op.window.pad_bottom + pad.pad_bottom,
        pad_left=op.window.pad_left + pad.pad_left,
        pad_right=op.window.pad_right + pad.pad_right,
    )
    if isinstance(op, MaxPool2D):
        reaches_inside = (
            max(window.pad_top, window.pad_bottom) < window.kernel_h
            and max(window.pad_left, window.pad_right) < window.kernel_w
        )
        if graph.tensor(pad.output).zero_point != -128 or not reaches_inside:
            return None
    return replace(op, inputs=(pad.inputs[0], *op.inputs[1:]), window=window)
