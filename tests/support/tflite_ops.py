"""Ops that move bytes or reduce, for models that are built with a TfliteBuilder `b`.

Every function adds an op on tensors of the builder, in the quantisation of its input unless another is given, and
returns the number of its output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.support.tflite_builder import INT32, TfliteBuilder


def integers(b: TfliteBuilder, values: Any) -> int:
    """An int32 constant."""
    array = np.array(values, np.int32)
    return b.tensor(array.shape, INT32, data=array)


def like(b: TfliteBuilder, x: int, shape: Sequence[int]) -> int:
    """A tensor of the quantisation of another."""
    scale, zero_point = b.quant(x)
    return b.tensor(shape, scale=scale, zero_point=zero_point)


def pad_v2(b: TfliteBuilder, x: int, amounts: Sequence[tuple[int, int]], value: int) -> int:
    scale, zero_point = b.quant(x)
    constant = b.tensor((), scale=scale, zero_point=zero_point, data=np.array(value, np.int8))
    shape = [n + before + after for n, (before, after) in zip(b.shape(x), amounts, strict=True)]
    return b.op("PADV2", [x, integers(b, amounts), constant], like(b, x, shape), options=schema.PadV2OptionsT())


def mirror_pad(b: TfliteBuilder, x: int, amounts: Sequence[tuple[int, int]], mode: int) -> int:
    shape = [n + before + after for n, (before, after) in zip(b.shape(x), amounts, strict=True)]
    options = schema.MirrorPadOptionsT()
    options.mode = mode
    return b.op("MIRROR_PAD", [x, integers(b, amounts)], like(b, x, shape), options=options)


def concatenation(b: TfliteBuilder, parts: Sequence[int], axis: int) -> int:
    shape = list(b.shape(parts[0]))
    shape[axis] = sum(b.shape(part)[axis] for part in parts)
    options = schema.ConcatenationOptionsT()
    options.axis = axis
    return b.op("CONCATENATION", parts, like(b, parts[0], shape), options=options, version=2)


def split(b: TfliteBuilder, x: int, axis: int, sizes: Sequence[int], *, equal: bool) -> list[int]:
    outs = []
    for size in sizes:
        shape = list(b.shape(x))
        shape[axis] = size
        outs.append(like(b, x, shape))
    if equal:
        options: Any = schema.SplitOptionsT()
        options.numSplits = len(sizes)
        b.op("SPLIT", [integers(b, axis), x], outs, options=options, version=2)
    else:
        options = schema.SplitVOptionsT()
        options.numSplits = len(sizes)
        b.op("SPLIT_V", [x, integers(b, sizes), integers(b, axis)], outs, options=options, version=2)
    return outs


def strided_slice(b: TfliteBuilder, x: int, begin: Any, end: Any, strides: Any, shape: Any, **masks: int) -> int:
    options = schema.StridedSliceOptionsT()
    for name, mask in masks.items():
        setattr(options, name, mask)
    inputs = [x, *(integers(b, values) for values in (begin, end, strides))]
    return b.op("STRIDED_SLICE", inputs, like(b, x, shape), options=options, version=2)


def transpose(b: TfliteBuilder, x: int, permutation: Sequence[int]) -> int:
    shape = [b.shape(x)[axis] for axis in permutation]
    options = schema.TransposeOptionsT()
    return b.op("TRANSPOSE", [x, integers(b, permutation)], like(b, x, shape), options=options, version=2)


def tile(b: TfliteBuilder, x: int, multiples: Sequence[int]) -> int:
    shape = [n * m for n, m in zip(b.shape(x), multiples, strict=True)]
    return b.op("TILE", [x, integers(b, multiples)], like(b, x, shape), options=schema.TileOptionsT(), version=2)


def gather(b: TfliteBuilder, x: int, axis: int, indices: Any) -> int:
    shape = b.shape(x)
    options = schema.GatherOptionsT()
    options.axis = axis
    out = like(b, x, (*shape[:axis], *np.shape(indices), *shape[axis + 1 :]))
    return b.op("GATHER", [x, integers(b, indices)], out, options=options, version=2)


def resize(b: TfliteBuilder, x: int, code: str, size: tuple[int, int], *, align: bool, half: bool) -> int:
    nearest = code == "RESIZE_NEAREST_NEIGHBOR"
    options: Any = schema.ResizeNearestNeighborOptionsT() if nearest else schema.ResizeBilinearOptionsT()
    options.alignCorners, options.halfPixelCenters = align, half
    shape = b.shape(x)
    return b.op(code, [x, integers(b, size)], like(b, x, (shape[0], *size, shape[3])), options=options, version=3)


def reduce(
    b: TfliteBuilder,
    x: int,
    code: str,
    axes: Sequence[int],
    *,
    keep_dims: bool = False,
    scale: float | None = None,
    zero_point: int | None = None,
) -> int:
    shape = b.shape(x)
    reduced = {axis % len(shape) for axis in axes}
    left = [1 if axis in reduced else n for axis, n in enumerate(shape) if keep_dims or axis not in reduced]
    same = b.quant(x)
    out = b.tensor(
        left,
        scale=same[0] if scale is None else scale,
        zero_point=same[1] if zero_point is None else zero_point,
    )
    options = schema.ReducerOptionsT()
    options.keepDims = keep_dims
    constant = b.tensor((len(axes),), INT32, data=np.array(axes, np.int32))
    return b.op(code, [x, constant], out, options=options, version=2)


def arg_max(b: TfliteBuilder, x: int, axis: int, type_: int = schema.TensorType.INT64) -> int:
    shape = b.shape(x)
    axis_ = b.tensor((), INT32, data=np.array(axis, np.int32))
    out = b.tensor([n for i, n in enumerate(shape) if i != axis % len(shape)], type_)
    options = schema.ArgMaxOptionsT()
    options.outputType = type_
    return b.op("ARG_MAX", [x, axis_], out, options=options)
