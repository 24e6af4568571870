"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Op, Tensors
from edgelearn.ir.tensor import DType


class Mean(Op, frozen=True, kw_only=True):
    """Mean over any axes."""

    TITLE: ClassVar[str] = "MEAN"
    LIMITS: ClassVar[str] = "constant axes; at most 5 axes"
    axes: tuple[int, ...] = (1, 2)
    keep_dims: bool

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The output has what the axes leave."""
        return _reduction_problems(self, tensors)


class Sum(Op, frozen=True, kw_only=True):
    """Sum over any axes; its bytes are those of LiteRT's MEAN at the n-th part of the output's scale.

    LiteRT's own reference kernel of SUM reads int8 as uint8, so that it is right for no sum with a negative element.
    """

    TITLE: ClassVar[str] = "SUM"
    LIMITS: ClassVar[str] = "constant axes; at most 5 axes. LiteRT's reference kernel of SUM misreads int8"
    axes: tuple[int, ...]
    keep_dims: bool

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The output has what the axes leave."""
        return _reduction_problems(self, tensors)


class ReduceMax(Op, frozen=True, kw_only=True):
    """The largest element over any axes."""

    TITLE: ClassVar[str] = "REDUCE_MAX"
    LIMITS: ClassVar[str] = "constant axes; at most 5 axes"
    axes: tuple[int, ...]
    keep_dims: bool

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The output has what the axes leave, in the same quantisation."""
        yield from _reduction_problems(self, tensors)
        if tensors[self.inputs[0]].quant != tensors[self.output].quant:
            yield "input and output differ in quantisation"


class ReduceMin(Op, frozen=True, kw_only=True):
    """The smallest element over any axes."""

    TITLE: ClassVar[str] = "REDUCE_MIN"
    LIMITS: ClassVar[str] = "constant axes; at most 5 axes"
    axes: tuple[int, ...]
    keep_dims: bool

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The output has what the axes leave, in the same quantisation."""
        yield from _reduction_problems(self, tensors)
        if tensors[self.inputs[0]].quant != tensors[self.output].quant:
            yield "input and output differ in quantisation"


class ArgMax(Op, frozen=True, kw_only=True):
    """The place of the largest element along an axis, the first of equal ones, as int32 or int64."""

    TITLE: ClassVar[str] = "ARG_MAX"
    LIMITS: ClassVar[str] = "only at outputs of the model; a constant axis"
    axis: int

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """An integer for each place along the other axes."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if out.dtype not in (DType.INT32, DType.INT64):
            yield f"places as {out.dtype.value}"
        if not 0 <= self.axis < len(x.shape) or out.shape != (*x.shape[: self.axis], *x.shape[self.axis + 1 :]):
            yield f"places along axis {self.axis} of {x.shape} are not {out.shape}"


def _reduction_problems(op: Mean | Sum | ReduceMax | ReduceMin, tensors: Tensors) -> Iterator[str]:
    x, out = tensors[op.inputs[0]], tensors[op.output]
    if not all(0 <= axis < len(x.shape) for axis in op.axes):
        yield f"{x.shape} has not all axes {op.axes}"
        return
    kept = [n if axis not in op.axes else 1 for axis, n in enumerate(x.shape) if op.keep_dims or axis not in op.axes]
    if out.shape != tuple(kept):
        yield f"{x.shape} reduced over the axes {op.axes} is not {out.shape}"


def scale_of_mean(scale: float, count: int) -> float:
    """The output scale at which a mean of `count` elements has the bytes of their sum at `scale`; float32."""
    import numpy as np

    return float(np.float32(scale) / np.float32(count))


def reduced_elements(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """How many elements of the input make one of the output."""
    return math.prod(shape[axis] for axis in set(axes))


ReductionOp = Mean | Sum | ReduceMax | ReduceMin | ArgMax
