"""Kernel calls of ops that move bytes, and of resizing.

Nearly all of them are elearn_copy_s8 with other numbers: pieces that are copied from a view of an input to a view of an
output, each with strides of its own. Axes are merged so that as many bytes as possible are copied at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from edgelearn.codegen.lowering.call import Call, Constant, Lowerings, Source, Target, image_shape
from edgelearn.ir import Graph
from edgelearn.ir.movement import (
    Concatenation,
    Gather,
    MirrorPad,
    Pad,
    PadV2,
    Reshape,
    ResizeBilinear,
    ResizeNearestNeighbor,
    Split,
    StridedSlice,
    Tile,
    Transpose,
)

_COPY = Source(name="elearn_copy_s8.c", code_bytes=650)
_NEAREST = Source(name="elearn_resize_s8.c", code_bytes=390)
_BILINEAR = Source(name="elearn_resize_s8.c", code_bytes=240)

Shape = tuple[int, ...]


class _View(Struct, frozen=True, kw_only=True):
    """Where the elements of a piece lie in a tensor: the first one, and from one to the next along each axis."""

    start: int
    steps: Shape


class _Piece(Struct, frozen=True, kw_only=True):
    """A box of elements that is copied from a view to a view."""

    sizes: Shape
    source: _View
    destination: _View
    input_number: int = 0
    output_number: int = 0


def _whole(shape: Sequence[int]) -> _View:
    """All elements of a tensor."""
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return _View(start=0, steps=tuple(steps))


def _part(shape: Sequence[int], begin: Sequence[int], strides: Sequence[int] | None = None) -> _View:
    """Elements of a tensor from a place on, in strides along each axis."""
    steps = _whole(shape).steps
    start = sum(first * step for first, step in zip(begin, steps, strict=True))
    strides = strides or (1,) * len(steps)
    return _View(start=start, steps=tuple(stride * step for stride, step in zip(strides, steps, strict=True)))


def _axes(piece: _Piece, *, keep_order: bool) -> tuple[int, list[Shape]]:
    """The bytes of a run, and (count, input step, output step) of each axis that is left; the last one is the longest.

    Args:
        piece: what is copied.
        keep_order: the bytes must be written in the order of the piece's axes.
    """
    axes: list[Shape] = []
    for count, source, destination in zip(piece.sizes, piece.source.steps, piece.destination.steps, strict=True):
        if count == 1:
            continue
        if axes and axes[-1][1:] == (count * source, count * destination):
            axes[-1] = (axes[-1][0] * count, source, destination)
        else:
            axes.append((count, source, destination))
    run = axes.pop()[0] if axes and axes[-1][1:] == (1, 1) else 1
    if not keep_order:
        axes.sort(key=lambda axis: axis[0])
    return run, axes or [(1, 0, 0)]


def _copy(
    pieces: Iterable[_Piece],
    *,
    fill: int = 0,
    fill_bytes: int = 0,
    keep_order: bool = False,
    in_place: tuple[int, ...] = (),
) -> Call:
    """The call that copies pieces one after another, after the first output was filled."""
    rows: list[Shape] = []
    axes: list[Shape] = []
    for piece in pieces:
        run, left = _axes(piece, keep_order=keep_order)
        starts = (piece.source.start, piece.destination.start)
        rows.append((piece.input_number, piece.output_number, *starts, run, len(axes), len(left)))
        axes += left
    return Call(
        function="elearn_copy_s8",
        sources=(_COPY,),
        params_type="elearn_copy_params",
        params=(
            ("pieces", "pieces"),
            ("piece_count", len(rows)),
            ("axes", "axes"),
            ("fill_bytes", fill_bytes),
            ("fill", fill),
        ),
        constants=(
            Constant(suffix="pieces", c_type="elearn_copy_piece", elements=tuple(rows), size_bytes=28 * len(rows)),
            Constant(suffix="axes", c_type="elearn_copy_axis", elements=tuple(axes), size_bytes=12 * len(axes)),
        ),
        in_arrays=True,
        in_place=in_place,
    )


def _pad(graph: Graph, op: Pad, _target: Target) -> Call:
    value = graph.tensor(op.output).zero_point
    return _padded(graph, op, (0, op.pad_top, op.pad_left, 0), value)


def _pad_v2(graph: Graph, op: PadV2, _target: Target) -> Call:
    return _padded(graph, op, op.before, op.value)


def _padded(graph: Graph, op: Pad | PadV2, before: Shape, value: int) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    piece = _Piece(sizes=x.shape, source=_whole(x.shape), destination=_part(out.shape, before))
    return _copy([piece], fill=value, fill_bytes=out.elements)


def _mirror_pad(graph: Graph, op: MirrorPad, _target: Target) -> Call:
    """Along each axis the elements before, those of the input, and those behind; a piece for each combination."""
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    border = 0 if op.symmetric else 1
    # For each axis: begin and stride in the input, begin in the output, size.
    parts = [
        [
            part
            for part in (
                (before - 1 + border, -1, 0, before),
                (0, 1, before, size),
                (size - 1 - border, -1, before + size, after),
            )
            if part[3]
        ]
        for before, size, after in zip(op.before, x.shape, op.after, strict=True)
    ]
    pieces = []
    for combination in itertools.product(*parts):
        begin, strides, place, sizes = zip(*combination, strict=True)
        source = _part(x.shape, begin, strides)
        pieces.append(_Piece(sizes=sizes, source=source, destination=_part(out.shape, place)))
    return _copy(pieces)


def _reshape(_graph: Graph, _op: Reshape, _target: Target) -> None:
    """The output is the input under another shape: no code, and the same bytes in the arena."""


def _concatenation(graph: Graph, op: Concatenation, _target: Target) -> Call:
    out = graph.tensor(op.output)
    begin = [0] * len(out.shape)
    pieces = []
    for number, name in enumerate(op.inputs):
        shape = graph.tensor(name).shape
        view = _part(out.shape, begin)
        pieces.append(_Piece(sizes=shape, source=_whole(shape), destination=view, input_number=number))
        begin[op.axis] += shape[op.axis]
    return _copy(pieces)


def _split(graph: Graph, op: Split, _target: Target) -> Call:
    x = graph.tensor(op.inputs[0])
    begin = [0] * len(x.shape)
    pieces = []
    for number, name in enumerate(op.outputs):
        shape = graph.tensor(name).shape
        view = _part(x.shape, begin)
        pieces.append(_Piece(sizes=shape, source=view, destination=_whole(shape), output_number=number))
        begin[op.axis] += shape[op.axis]
    # The last part first, so that the first part may take the place of the input.
    return _copy(reversed(pieces), keep_order=True, in_place=(0,))


def _strided_slice(graph: Graph, op: StridedSlice, _target: Target) -> Call:
    x = graph.tensor(op.inputs[0])
    piece = _Piece(sizes=op.sizes, source=_part(x.shape, op.begin, op.strides), destination=_whole(op.sizes))
    # Forwards each byte lies at or behind the place that it is copied to.
    forwards = all(stride > 0 for stride, size in zip(op.strides, op.sizes, strict=True) if size > 1)
    return _copy([piece], keep_order=forwards, in_place=(0,) if forwards else ())


def _transpose(graph: Graph, op: Transpose, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    steps = _whole(x.shape).steps
    source = _View(start=0, steps=tuple(steps[axis] for axis in op.permutation))
    return _copy([_Piece(sizes=out.shape, source=source, destination=_whole(out.shape))])


def _tile(graph: Graph, op: Tile, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    source, destination = _whole(x.shape).steps, _whole(out.shape).steps
    sizes, sources, destinations = [], [], []
    for axis, (size, multiple) in enumerate(zip(x.shape, op.multiples, strict=True)):
        sizes += [multiple, size]
        sources += [0, source[axis]]
        destinations += [size * destination[axis], destination[axis]]
    views = (_View(start=0, steps=tuple(steps)) for steps in (sources, destinations))
    return _copy([_Piece(sizes=tuple(sizes), source=next(views), destination=next(views))])


def _gather(graph: Graph, op: Gather, _target: Target) -> Call:
    """One piece for each series of indices with the same distance."""
    x = graph.tensor(op.inputs[0])
    outer, inner = math.prod(x.shape[: op.axis]), math.prod(x.shape[op.axis + 1 :])
    shape, out_shape = (outer, x.shape[op.axis], inner), (outer, len(op.indices), inner)
    pieces = []
    place = 0
    while place < len(op.indices):
        series = op.indices[place:]
        stride = series[1] - series[0] if len(series) > 1 else 0
        count = next((n for n in range(1, len(series)) if series[n] - series[n - 1] != stride), len(series))
        pieces.append(
            _Piece(
                sizes=(outer, count, inner),
                source=_part(shape, (0, series[0], 0), (1, stride, 1)),
                destination=_part(out_shape, (0, place, 0)),
            )
        )
        place += count
    return _copy(pieces)


def _resize_nearest(graph: Graph, op: ResizeNearestNeighbor, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    rows, columns = (op.sources(x.shape[axis], out.shape[axis]) for axis in (1, 2))
    return Call(
        function="elearn_resize_nearest_s8",
        sources=(_NEAREST,),
        params_type="elearn_resize_nearest_params",
        params=(
            ("input", image_shape(x)),
            ("output", image_shape(out)),
            ("rows", "rows"),
            ("columns", "columns"),
        ),
        constants=(
            Constant(suffix="rows", c_type="uint16_t", elements=rows, size_bytes=2 * len(rows)),
            Constant(suffix="columns", c_type="uint16_t", elements=columns, size_bytes=2 * len(columns)),
        ),
    )


def _resize_bilinear(graph: Graph, op: ResizeBilinear, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    rows, columns = (op.blends(x.shape[axis], out.shape[axis]) for axis in (1, 2))
    return Call(
        function="elearn_resize_bilinear_s8",
        sources=(_BILINEAR,),
        params_type="elearn_resize_bilinear_params",
        params=(
            ("input", image_shape(x)),
            ("output", image_shape(out)),
            ("rows", "rows"),
            ("columns", "columns"),
        ),
        constants=(
            Constant(suffix="rows", c_type="elearn_resize_blend", elements=rows, size_bytes=4 * len(rows)),
            Constant(suffix="columns", c_type="elearn_resize_blend", elements=columns, size_bytes=4 * len(columns)),
        ),
    )


LOWERINGS: Lowerings = {
    Pad: _pad,
    PadV2: _pad_v2,
    MirrorPad: _mirror_pad,
    Reshape: _reshape,
    Concatenation: _concatenation,
    Split: _split,
    StridedSlice: _strided_slice,
    Transpose: _transpose,
    Tile: _tile,
    Gather: _gather,
    ResizeNearestNeighbor: _resize_nearest,
    ResizeBilinear: _resize_bilinear,
}
