"""Translates ops that move bytes, and resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edgelearn.convert.tflite_file import FileOp, FileTensor
from edgelearn.convert.translators.context import (
    Context,
    UnsupportedParameter,
    activation_quant,
    contradiction,
    require_same_quant,
)
from edgelearn.ir import DType, Tensor
from edgelearn.ir.movement import (
    Concatenation,
    Gather,
    MirrorPad,
    MovementOp,
    Pad,
    PadV2,
    Reshape,
    ResizeBilinear,
    ResizeNearestNeighbor,
    Split,
    StridedSlice,
    Tile,
    Transpose,
    bilinear_blends,
)

_MOST_AXES = 5
Shape = tuple[int, ...]
Translated = MovementOp | tuple[MovementOp, ...]


class _Chain:
    """Ops in a row that together do what one op of the file does, from its first input to its only output.

    Each method adds an op; the one with `last=True` writes the file's output and has the op's name.
    """

    def __init__(self, c: Context, op: FileOp, *, any_rank: bool = False) -> None:
        self._c, self._op = c, op
        x = c.activation(op, 0, any_batch=True) if any_rank else _moved(c, op)
        self._out = c.output(op)
        require_same_quant(x, self._out)
        self.quant = activation_quant(x, "its input")
        self.shape, self.out_shape = x.shape, self._out.shape
        self._now = c.activation_name(op, 0)
        self._name = c.name_op(op, self._out)
        self.ops: tuple[MovementOp, ...] = ()

    def add(self, kind: type[MovementOp], shape: Sequence[int], *, last: bool = False, **fields: Any) -> _Chain:
        """An op of a kind with the shape of its output, which for the last one is what the file says."""
        if last:
            name, self.shape = self._name, self.out_shape
            output = self._c.define_output(self._op, name, self._out)
        else:
            output = name = self._c.take_name(f"{self._name}_step")
            self.shape = tuple(shape)
            self._c.tensors[name] = Tensor(name=name, shape=self.shape, dtype=DType.INT8, quant=self.quant)
        made = kind(name=name, inputs=(self._now,), outputs=(output,), index=self._op.index, **fields)
        self._now = output
        self.ops = (*self.ops, made)
        return self

    def reshape(self, shape: Sequence[int] = (), *, last: bool = False) -> _Chain:
        """The same bytes."""
        return self.add(Reshape, shape, last=last)

    def transpose(self, permutation: Sequence[int], *, last: bool = False) -> _Chain:
        """Permuted axes."""
        shape = [self.shape[axis] for axis in permutation]
        return self.add(Transpose, shape, last=last, permutation=tuple(permutation))

    def pad(self, amounts: Sequence[tuple[int, int]], value: int, *, last: bool = False) -> _Chain:
        """Each axis padded with (before, after) elements."""
        shape = [n + before + after for n, (before, after) in zip(self.shape, amounts, strict=True)]
        if _is_image_padding(self.shape, amounts) and value == self.quant.zero_point[0]:
            (top, bottom), (left, right) = amounts[1:3]
            return self.add(Pad, shape, last=last, pad_top=top, pad_bottom=bottom, pad_left=left, pad_right=right)
        before, after = tuple(b for b, _ in amounts), tuple(a for _, a in amounts)
        return self.add(PadV2, shape, last=last, before=before, after=after, value=value)

    def slice(self, begin: Shape, strides: Shape, sizes: Shape, *, last: bool = False) -> _Chain:
        """A slice of each axis."""
        if sizes == self.shape and all(stride == 1 or n == 1 for stride, n in zip(strides, sizes, strict=True)):
            return self.reshape(sizes, last=last)
        return self.add(StridedSlice, sizes, last=last, begin=begin, strides=strides, sizes=sizes)


def _is_image_padding(shape: Shape, amounts: Sequence[tuple[int, int]]) -> bool:
    """Whether only height and width of [1,H,W,C] are padded."""
    return len(shape) == 4 and shape[0] == 1 and not any((*amounts[0], *amounts[3]))


def _moved(c: Context, op: FileOp, position: int = 0) -> FileTensor:
    """The activation whose bytes are moved; of any batch."""
    x = c.activation(op, position, any_batch=True)
    _require_few_axes(x.shape)
    if min(x.shape) < 1:
        raise UnsupportedParameter(f"an empty input of the shape {x.shape}")
    return x


def _require_few_axes(shape: Shape) -> None:
    if len(shape) > _MOST_AXES:
        raise UnsupportedParameter(f"the shape {shape}; at most {_MOST_AXES} axes can be moved")


def _axis(op: FileOp, axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise contradiction(op, f"it has no axis {axis}")
    return axis % rank


def _numbers(c: Context, op: FileOp, position: int, count: int | None = None) -> Shape:
    """A constant list of numbers, of a length that is checked where it is known."""
    values = tuple(int(n) for n in c.integers(op, position))
    if count is not None and len(values) != count:
        raise contradiction(op, f"{len(values)} numbers where {count} belong")
    return values


def _step(c: Context, name: str, x: FileTensor, shape: Shape) -> str:
    """A tensor between two ops that one op of the file becomes; returns its name."""
    name = c.take_name(name)
    c.tensors[name] = Tensor(name=name, shape=shape, dtype=DType.INT8, quant=activation_quant(x, "its input"))
    return name


# Padding


def _pad(c: Context, op: FileOp) -> Translated:
    return _padded(c, op, activation_quant(_moved(c, op), "its input").zero_point[0])


def _pad_v2(c: Context, op: FileOp) -> Translated:
    x, value = _moved(c, op), c.file_tensor(op, 2)
    if len(value.data) != 1 or activation_quant(value, "its value") != activation_quant(x, "its input"):
        raise UnsupportedParameter("a value that is no constant of the input's scale and zero point")
    return _padded(c, op, int.from_bytes(value.data, "little", signed=True))


def _padded(c: Context, op: FileOp, value: int) -> Translated:
    chain = _Chain(c, op)
    shape = chain.shape
    amounts = _amounts(c, op, len(shape))
    if not any(before or after for before, after in amounts):
        return chain.reshape(last=True).ops
    if len(shape) == 3 and _is_image_padding((shape[0], 1, *shape[1:]), [(0, 0), *amounts]):
        # A sequence as an image of one row, so that the padding can be folded into a convolution behind it.
        return chain.reshape((shape[0], 1, *shape[1:])).pad([(0, 0), *amounts], value).reshape(last=True).ops
    return chain.pad(amounts, value, last=True).ops


def _mirror_pad(c: Context, op: FileOp) -> Translated:
    chain = _Chain(c, op)
    amounts = _amounts(c, op, len(chain.shape))
    before, after = tuple(b for b, _ in amounts), tuple(a for _, a in amounts)
    symmetric = op.number("Mode", 0) == 1
    return chain.add(MirrorPad, (), last=True, before=before, after=after, symmetric=symmetric).ops


def _amounts(c: Context, op: FileOp, rank: int) -> list[tuple[int, int]]:
    """Padding before and after each axis."""
    numbers = _numbers(c, op, 1, 2 * rank)
    if min(numbers, default=0) < 0:
        raise UnsupportedParameter("negative padding")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


# Joining and cutting


def _reshape(c: Context, op: FileOp) -> Translated:
    return _Chain(c, op, any_rank=True).reshape(last=True).ops


def _concatenation(c: Context, op: FileOp) -> Translated:
    out = c.output(op)
    if op.word("FusedActivationFunction", "NONE") != "NONE":
        raise UnsupportedParameter("a fused activation; put the activation before it")
    for position in range(len(op.inputs)):
        require_same_quant(_moved(c, op, position), out)
    name = c.name_op(op, out)
    return Concatenation(
        name=name,
        inputs=tuple(c.activation_name(op, position) for position in range(len(op.inputs))),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        axis=_axis(op, op.number("Axis", 0), len(out.shape)),
    )


def _pack(c: Context, op: FileOp) -> Translated:
    out = c.output(op)
    _require_few_axes(out.shape)
    axis = _axis(op, op.number("Axis", 0), len(out.shape))
    name = c.name_op(op, out)
    reshapes = []
    for position in range(len(op.inputs)):
        x = _moved(c, op, position)
        require_same_quant(x, out)
        part = _step(c, f"{name}_part", x, (*x.shape[:axis], 1, *x.shape[axis:]))
        reshapes.append(Reshape(name=part, inputs=(c.activation_name(op, position),), outputs=(part,), index=op.index))
    parts = tuple(reshape.output for reshape in reshapes)
    output = c.define_output(op, name, out)
    return (*reshapes, Concatenation(name=name, inputs=parts, outputs=(output,), index=op.index, axis=axis))


def _split(c: Context, op: FileOp) -> Translated:
    return _cut(c, op, 1, _numbers(c, op, 0, 1)[0])


def _split_v(c: Context, op: FileOp) -> Translated:
    return _cut(c, op, 0, _numbers(c, op, 2, 1)[0])


def _cut(c: Context, op: FileOp, position: int, axis: int) -> Translated:
    """The sizes of the parts are those of the outputs."""
    x, outs = _moved(c, op, position), c.outputs(op)
    for out in outs:
        require_same_quant(x, out)
    name = c.name_op(op, outs[0])
    return Split(
        name=name,
        inputs=(c.activation_name(op, position),),
        outputs=tuple(c.define_output(op, c.take_name(f"{name}_part"), out) for out in outs),
        index=op.index,
        axis=_axis(op, axis, len(x.shape)),
    )


def _unpack(c: Context, op: FileOp) -> Translated:
    x, outs = _moved(c, op), c.outputs(op)
    axis = _axis(op, op.number("Axis", 0), len(x.shape))
    name = c.name_op(op, outs[0])
    shape = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
    parts = tuple(_step(c, f"{name}_part", x, shape) for _ in outs)
    split = Split(name=name, inputs=(c.activation_name(op, 0),), outputs=parts, index=op.index, axis=axis)
    reshapes = []
    for part, out in zip(parts, outs, strict=True):
        require_same_quant(x, out)
        output = c.define_output(op, c.take_name(f"{name}_output"), out)
        reshapes.append(Reshape(name=output, inputs=(part,), outputs=(output,), index=op.index))
    return (split, *reshapes)


# Slices


def _slice(c: Context, op: FileOp) -> Translated:
    # The sizes are those of the output; the file's may be -1 for all that is left.
    chain = _Chain(c, op)
    begin, sizes = _numbers(c, op, 1, len(chain.shape)), chain.out_shape
    if len(sizes) != len(begin):
        raise contradiction(op, f"a slice of {chain.shape} with the shape {sizes}")
    return chain.slice(begin, (1,) * len(begin), sizes, last=True).ops


def _reverse(c: Context, op: FileOp) -> Translated:
    chain = _Chain(c, op)
    sizes = chain.shape
    axes = {_axis(op, axis, len(sizes)) for axis in _numbers(c, op, 1)}
    begin = tuple(n - 1 if i in axes else 0 for i, n in enumerate(sizes))
    strides = tuple(-1 if i in axes else 1 for i in range(len(sizes)))
    return chain.slice(begin, strides, sizes, last=True).ops


def _strided_slice(c: Context, op: FileOp) -> Translated:
    """The masks have one bit for each entry of begin and strides, as in TensorFlow; the ends follow from the sizes."""
    chain = _Chain(c, op)
    begin = _numbers(c, op, 1)
    strides = _numbers(c, op, 3, len(begin))
    ellipsis, new, shrink = (op.number(f"{word}Mask", 0) for word in ("Ellipsis", "NewAxis", "ShrinkAxis"))
    if op.number("Offset", 0):
        raise UnsupportedParameter("ends that count from the begin")
    named = sum(1 for i in range(len(begin)) if not (ellipsis | new) >> i & 1)
    whole = len(chain.shape) - named  # axes that an ellipsis stands for, or that follow behind the last entry
    left = list(chain.out_shape)
    axes: list[tuple[int, int, int]] = []
    try:
        for i, (first, stride) in enumerate(zip(begin, strides, strict=True)):
            if ellipsis >> i & 1:
                axes += [(0, 1, left.pop(0)) for _ in range(whole)]
                whole = 0
            elif new >> i & 1:
                left.pop(0)
            elif shrink >> i & 1:
                axes.append((first % chain.shape[len(axes)], 1, 1))
            else:
                limit = chain.shape[len(axes)]
                if op.number("BeginMask", 0) >> i & 1:
                    first = 0 if stride > 0 else limit - 1
                first = max(first + limit if first < 0 else first, 0)
                axes.append((min(first, limit - 1), stride, left.pop(0)))
        axes += [(0, 1, left.pop(0)) for _ in range(whole)]
    except IndexError:
        raise contradiction(op, f"a slice of {chain.shape} with the shape {chain.out_shape}") from None
    begin, strides, sizes = (tuple(column) for column in zip(*axes, strict=True))
    return chain.slice(begin, strides, sizes, last=True).ops


def _gather(c: Context, op: FileOp) -> Translated:
    chain = _Chain(c, op)
    axis = _axis(op, op.number("Axis", 0), len(chain.shape))
    if op.number("BatchDims", 0):
        raise UnsupportedParameter("indices for each batch")
    return chain.add(Gather, (), last=True, axis=axis, indices=_numbers(c, op, 1)).ops


# Order and repetition


def _transpose(c: Context, op: FileOp) -> Translated:
    chain = _Chain(c, op)
    shape = chain.shape
    permutation = tuple(_axis(op, axis, len(shape)) for axis in _numbers(c, op, 1, len(shape)))
    moved = [axis for axis in permutation if shape[axis] > 1]
    return (chain.reshape(last=True) if moved == sorted(moved) else chain.transpose(permutation, last=True)).ops


def _tile(c: Context, op: FileOp) -> Translated:
    # The multiples follow from the shapes, however the file computes them. BROADCAST_TO may add axes in front.
    chain = _Chain(c, op)
    _require_few_axes(chain.out_shape)
    shape = (1,) * (len(chain.out_shape) - len(chain.shape)) + chain.shape
    if len(shape) != len(chain.out_shape) or any(m % n for n, m in zip(shape, chain.out_shape, strict=True)):
        raise contradiction(op, f"{chain.shape} repeated is not {chain.out_shape}")
    if shape == chain.out_shape:
        return chain.reshape(last=True).ops
    if shape != chain.shape:
        chain.reshape(shape)
    multiples = tuple(m // n for n, m in zip(shape, chain.out_shape, strict=True))
    if sum(n > 1 for n in (*shape, *multiples)) > _MOST_AXES:
        # More axes than one copy has: one axis after another.
        for axis in [axis for axis, m in enumerate(multiples) if m > 1][1:]:
            single = tuple(m if i == axis else 1 for i, m in enumerate(multiples))
            chain.add(Tile, [n * m for n, m in zip(chain.shape, single, strict=True)], multiples=single)
            multiples = tuple(1 if i == axis else m for i, m in enumerate(multiples))
    return chain.add(Tile, (), last=True, multiples=multiples).ops


def _space_to_depth(c: Context, op: FileOp) -> Translated:
    n, h, w, depth, block = _block(c, op)
    chain = _Chain(c, op).reshape((n, h // block, block, w // block, block, depth))
    return chain.transpose((0, 1, 3, 2, 4, 5)).reshape(last=True).ops


def _depth_to_space(c: Context, op: FileOp) -> Translated:
    n, h, w, depth, block = _block(c, op)
    chain = _Chain(c, op).reshape((n, h, w, block, block, depth // block**2))
    return chain.transpose((0, 1, 3, 2, 4, 5)).reshape(last=True).ops


def _block(c: Context, op: FileOp) -> Shape:
    """The input's shape and the side of a block."""
    block = op.number("BlockSize", 0)
    if block < 1:
        raise contradiction(op, f"blocks of {block}")
    return (*c.activation(op, 0, rank=4, any_batch=True).shape, block)


def _space_to_batch(c: Context, op: FileOp) -> Translated:
    chain = _Chain(c, op)
    blocks, amounts = _batch_blocks(c, op, chain.shape)
    if chain.out_shape[0] != chain.shape[0] * math.prod(blocks):
        raise UnsupportedParameter("a batch of open size; export the model with a batch of 1")
    if any(before or after for before, after in amounts):
        chain.pad([(0, 0), *amounts, (0, 0)], chain.quant.zero_point[0])
    batch, *sides, depth = chain.shape
    cut = [n for side, block in zip(sides, blocks, strict=True) for n in (side // block, block)]
    within, across = range(2, len(cut) + 1, 2), range(1, len(cut), 2)
    chain.reshape((batch, *cut, depth))
    return chain.transpose((*within, 0, *across, len(cut) + 1)).reshape(last=True).ops


def _batch_to_space(c: Context, op: FileOp) -> Translated:
    chain = _Chain(c, op)
    blocks, crops = _batch_blocks(c, op, chain.shape)
    batch, *sides, depth = chain.shape
    if batch % math.prod(blocks):
        raise UnsupportedParameter("a batch of open size; export the model with a batch of 1")
    k, left = len(blocks), batch // math.prod(blocks)
    whole = [n * block for n, block in zip(sides, blocks, strict=True)]
    sizes = [n - before - after for n, (before, after) in zip(whole, crops, strict=True)]
    begin = (0, *(before for before, _ in crops), 0)
    chain.reshape((*blocks, left, *sides, depth))
    chain.transpose((k, *(axis for i in range(k) for axis in (k + 1 + i, i)), 2 * k + 1))
    chain.reshape((left, *whole, depth))
    return chain.slice(begin, (1,) * len(begin), (left, *sizes, depth), last=True).ops


def _batch_blocks(c: Context, op: FileOp, shape: Shape) -> tuple[Shape, list[tuple[int, int]]]:
    """Sides of a block, and amounts of padding or cropping, of the axes behind the batch: one or two."""
    blocks = _numbers(c, op, 1)
    if len(blocks) not in (1, 2) or len(shape) != len(blocks) + 2 or min(blocks) < 1:
        raise UnsupportedParameter(f"blocks of {blocks} of {shape}; sequences or images are needed")
    amounts = _numbers(c, op, 2, 2 * len(blocks))
    if min(amounts) < 0:
        raise contradiction(op, f"amounts of {amounts}")
    return blocks, list(zip(amounts[::2], amounts[1::2], strict=True))


# Resizing


def _resize_nearest(c: Context, op: FileOp) -> Translated:
    c.activation(op, 0, rank=4)
    return _Chain(c, op).add(ResizeNearestNeighbor, (), last=True, **_resizing(op)).ops


def _resize_bilinear(c: Context, op: FileOp) -> Translated:
    c.activation(op, 0, rank=4)
    chain = _Chain(c, op)
    for n, m in zip(chain.shape[1:3], chain.out_shape[1:3], strict=False):
        if any(first >= n for first, _ in bilinear_blends(n, m, **_resizing(op))):
            raise UnsupportedParameter(f"a side of {n} resized to {m}, where LiteRT reads outside the input")
    return chain.add(ResizeBilinear, (), last=True, **_resizing(op)).ops


def _resizing(op: FileOp) -> dict[str, bool]:
    return {
        "align_corners": bool(op.number("AlignCorners", 0)),
        "half_pixel_centers": bool(op.number("HalfPixelCenters", 0)),
    }


TRANSLATORS = {
    "PAD": _pad,
    "PADV2": _pad_v2,
    "MIRROR_PAD": _mirror_pad,
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "CONCATENATION": _concatenation,
    "PACK": _pack,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "UNPACK": _unpack,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "REVERSE_V2": _reverse,
    "GATHER": _gather,
    "TRANSPOSE": _transpose,
    "TILE": _tile,
    "BROADCAST_TO": _tile,
    "SPACE_TO_DEPTH": _space_to_depth,
    "DEPTH_TO_SPACE": _depth_to_space,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest,
    "RESIZE_BILINEAR": _resize_bilinear,
}
