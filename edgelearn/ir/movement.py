"""Ops that move bytes, and resizing, which moves and blends them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Op, Tensors, batch_problems
from edgelearn.ir.tensor import Tensor


class Pad(Op, frozen=True, kw_only=True):
    """Pads height and width of [1,H,W,C] with the zero point; other axes are padded as by PADV2."""

    TITLE: ClassVar[str] = "PAD"
    LIMITS: ClassVar[str] = "constant amounts; at most 5 axes"
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Sizes before and after."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        yield from batch_problems(x)
        height, width = x.shape[1] + self.pad_top + self.pad_bottom, x.shape[2] + self.pad_left + self.pad_right
        if out.shape != (1, height, width, x.shape[3]) or x.quant != out.quant:
            yield f"{x.shape} padded is not {out.shape}, or the quantisation changed"


class PadV2(Op, frozen=True, kw_only=True):
    """Pads any axes with any constant.

    `before` and `after` are elements of each axis, `value` is int8.
    """

    TITLE: ClassVar[str] = "PADV2"
    LIMITS: ClassVar[str] = "constant amounts and value; at most 5 axes"
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: int

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Sizes before and after, and the value."""
        yield from _padding_problems(self, tensors)
        if not -128 <= self.value <= 127:
            yield f"the value {self.value} is no int8"


class MirrorPad(Op, frozen=True, kw_only=True):
    """Pads any axes with their own elements in reverse order, with the element at the border (symmetric) or without."""

    TITLE: ClassVar[str] = "MIRROR_PAD"
    LIMITS: ClassVar[str] = "constant amounts; at most 5 axes"
    before: tuple[int, ...]
    after: tuple[int, ...]
    symmetric: bool

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Sizes before and after; no axis is padded with more than it has."""
        yield from _padding_problems(self, tensors)
        shape = tensors[self.inputs[0]].shape
        if any(max(b, a) > n - (not self.symmetric) for b, a, n in zip(self.before, self.after, shape, strict=True)):
            yield f"{shape} has not enough elements for padding by {self.before} and {self.after}"


class Reshape(Op, frozen=True, kw_only=True):
    """The same bytes under another shape; costs nothing on the device. SQUEEZE and EXPAND_DIMS become it."""

    TITLE: ClassVar[str] = "RESHAPE"

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """As many elements before and after, of the same quantisation."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if out.elements != x.elements or out.quant != x.quant or out.dtype != x.dtype:
            yield f"{x.shape} cannot become {out.shape}"


class Concatenation(Op, frozen=True, kw_only=True):
    """Joins tensors along an axis. PACK becomes it, with reshapes."""

    TITLE: ClassVar[str] = "CONCATENATION"
    LIMITS: ClassVar[str] = "all inputs and the output of one scale and zero point, as LiteRT demands; at most 5 axes"
    axis: int

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The parts fill the output."""
        yield from _parts_problems([tensors[n] for n in self.inputs], tensors[self.output], self.axis)


class Split(Op, frozen=True, kw_only=True):
    """Cuts a tensor into parts along an axis, of equal or given sizes. SPLIT_V and UNPACK become it."""

    TITLE: ClassVar[str] = "SPLIT"
    LIMITS: ClassVar[str] = "constant axis and sizes; at most 5 axes"
    axis: int

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The parts fill the input."""
        yield from _parts_problems([tensors[n] for n in self.outputs], tensors[self.inputs[0]], self.axis)


class StridedSlice(Op, frozen=True, kw_only=True):
    """Takes elements of each axis in steps, forwards or backwards. SLICE and REVERSE_V2 become it.

    Of each axis of the input `sizes` elements, from `begin` in steps of `strides`; the output has any shape of as many.
    """

    TITLE: ClassVar[str] = "STRIDED_SLICE"
    LIMITS: ClassVar[str] = "constant begin and strides; at most 5 axes"
    begin: tuple[int, ...]
    strides: tuple[int, ...]
    sizes: tuple[int, ...]

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Every element that is read exists."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if not len(self.begin) == len(self.strides) == len(self.sizes) == len(x.shape):
            yield f"a slice of {len(self.begin)} axes of {x.shape}"
            return
        for first, stride, size, limit in zip(self.begin, self.strides, self.sizes, x.shape, strict=True):
            if size < 1 or not 0 <= first < limit or not 0 <= first + stride * (size - 1) < limit:
                yield f"a slice of {size} from {first} in steps of {stride} leaves an axis of {limit}"
        if math.prod(self.sizes) != out.elements or x.quant != out.quant:
            yield f"a slice of {self.sizes} is not {out.shape}, or the quantisation changed"


class Transpose(Op, frozen=True, kw_only=True):
    """Permutes axes. SPACE_TO_DEPTH, DEPTH_TO_SPACE, SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND become it, with reshapes.

    Axis i of the output is axis permutation[i] of the input.
    """

    TITLE: ClassVar[str] = "TRANSPOSE"
    LIMITS: ClassVar[str] = "constant permutation; at most 5 axes"
    permutation: tuple[int, ...]

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """A permutation, and the output's shape by it."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if sorted(self.permutation) != list(range(len(x.shape))):
            yield f"{self.permutation} is no permutation of the axes of {x.shape}"
        elif out.shape != tuple(x.shape[axis] for axis in self.permutation) or x.quant != out.quant:
            yield f"{x.shape} permuted by {self.permutation} is not {out.shape}, or the quantisation changed"


class Tile(Op, frozen=True, kw_only=True):
    """Repeats a tensor along axes, `multiples` times each. BROADCAST_TO becomes it."""

    TITLE: ClassVar[str] = "TILE"
    LIMITS: ClassVar[str] = "constant multiples; at most 5 axes"
    multiples: tuple[int, ...]

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Sizes before and after."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        same_rank = len(x.shape) == len(out.shape) == len(self.multiples)
        if not same_rank or out.shape != tuple(n * m for n, m in zip(x.shape, self.multiples, strict=True)):
            yield f"{x.shape} repeated {self.multiples} times is not {out.shape}"
        if x.quant != out.quant:
            yield "input and output differ in quantisation"


class Gather(Op, frozen=True, kw_only=True):
    """Takes the slices of an axis that constant indices name, in their order."""

    TITLE: ClassVar[str] = "GATHER"
    LIMITS: ClassVar[str] = "constant indices; at most 5 axes"
    axis: int
    indices: tuple[int, ...]

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The slices exist and fill the output."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if not 0 <= self.axis < len(x.shape) or not all(0 <= i < x.shape[self.axis] for i in self.indices):
            yield f"axis {self.axis} of {x.shape} has not all slices {self.indices}"
        elif out.elements != x.elements // x.shape[self.axis] * len(self.indices) or x.quant != out.quant:
            yield f"{len(self.indices)} slices of {x.shape} are not {out.shape}, or the quantisation changed"


class ResizeNearestNeighbor(Op, frozen=True, kw_only=True):
    """Resizes height and width of [1,H,W,C]; each output pixel is the input pixel nearest to it."""

    TITLE: ClassVar[str] = "RESIZE_NEAREST_NEIGHBOR"
    align_corners: bool
    half_pixel_centers: bool

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The same batch, channels and quantisation before and after."""
        yield from _resize_problems(self, tensors)

    def sources(self, input_size: int, output_size: int) -> tuple[int, ...]:
        """For each output row (or column) the input row it is, in float32 as LiteRT's GetNearestNeighbor has it."""
        import numpy as np

        if self.align_corners and output_size > 1:
            scale = np.float32(input_size - 1) / np.float32(output_size - 1)
        else:
            scale = np.float32(input_size) / np.float32(output_size)
        places = (np.arange(output_size).astype(np.float32) + np.float32(0.5 * self.half_pixel_centers)) * scale
        # Halves away from zero: no place is negative, and a float64 sum of it and a half is exact.
        nearest = np.floor(places.astype(np.float64) + 0.5 * self.align_corners)
        return tuple(int(n) for n in np.minimum(nearest, input_size - 1))


class ResizeBilinear(Op, frozen=True, kw_only=True):
    """Resizes height and width of [1,H,W,C]; each output pixel blends the four input pixels around it."""

    TITLE: ClassVar[str] = "RESIZE_BILINEAR"
    LIMITS: ClassVar[str] = "sizes for which LiteRT's arithmetic in steps of 1/1024 pixel stays inside the input"
    align_corners: bool
    half_pixel_centers: bool

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The same batch, channels and quantisation before and after; no pixel outside the input is read."""
        yield from _resize_problems(self, tensors)
        x, out = tensors[self.inputs[0]], tensors[self.output]
        for axis in (1, 2):
            if any(first >= x.shape[axis] for first, _ in self.blends(x.shape[axis], out.shape[axis])):
                yield f"resizing {x.shape[axis]} to {out.shape[axis]} reads outside the input"

    def blends(self, input_size: int, output_size: int) -> tuple[tuple[int, int], ...]:
        """What each output row (or column) is blended from; see `bilinear_blends`."""
        return bilinear_blends(
            input_size,
            output_size,
            align_corners=self.align_corners,
            half_pixel_centers=self.half_pixel_centers,
        )


def bilinear_blends(
    input_size: int, output_size: int, *, align_corners: bool, half_pixel_centers: bool
) -> tuple[tuple[int, int], ...]:
    """For each output row (or column) an input row and the weight of the next one, in 1/1024.

    LiteRT: ComputeInterpolationValuesInteger of resize_bilinear.h. A row may lie outside the input.
    """
    step = (1024 * input_size + output_size // 2) // output_size
    if align_corners and output_size > 1:
        step = (1024 * (input_size - 1) + (output_size - 1) // 2) // (output_size - 1)
    blends = []
    for number in range(output_size):
        place = number * step + (step // 2 - 512 if half_pixel_centers else 0)
        first = max(place, 0) // 1024
        second = min(max(place + 1023, 0) // 1024, input_size - 1)
        blends.append((first, place - 1024 * first if second > first else 0))
    return tuple(blends)


def _padding_problems(op: PadV2 | MirrorPad, tensors: Tensors) -> Iterator[str]:
    x, out = tensors[op.inputs[0]], tensors[op.output]
    if not len(op.before) == len(op.after) == len(x.shape) or min(*op.before, *op.after) < 0:
        yield f"padding by {op.before} and {op.after} of {x.shape}"
    elif out.shape != tuple(b + n + a for b, n, a in zip(op.before, x.shape, op.after, strict=True)):
        yield f"{x.shape} padded is not {out.shape}"
    if x.quant != out.quant:
        yield "input and output differ in quantisation"


def _parts_problems(parts: list[Tensor], whole: Tensor, axis: int) -> Iterator[str]:
    if not 0 <= axis < len(whole.shape):
        yield f"{whole.shape} has no axis {axis}"
        return
    for part in parts:
        others = [(n, m) for i, (n, m) in enumerate(zip(part.shape, whole.shape, strict=False)) if i != axis]
        if len(part.shape) != len(whole.shape) or any(n != m for n, m in others) or part.quant != whole.quant:
            yield f"{part.shape} is no part of {whole.shape} along axis {axis}, or the quantisation changed"
            return
    if sum(part.shape[axis] for part in parts) != whole.shape[axis]:
        yield f"the parts along axis {axis} do not make {whole.shape}"


def _resize_problems(op: ResizeNearestNeighbor | ResizeBilinear, tensors: Tensors) -> Iterator[str]:
    x, out = tensors[op.inputs[0]], tensors[op.output]
    yield from batch_problems(x)
    if len(x.shape) != 4 or len(out.shape) != 4 or (x.shape[0], x.shape[3]) != (out.shape[0], out.shape[3]):
        yield f"{x.shape} cannot be resized to {out.shape}"
    if x.quant != out.quant:
        yield "input and output differ in quantisation"


MovementOp = (
    Pad
    | PadV2
    | MirrorPad
    | Reshape
    | Concatenation
    | Split
    | StridedSlice
    | Transpose
    | Tile
    | Gather
    | ResizeNearestNeighbor
    | ResizeBilinear
)
