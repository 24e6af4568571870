"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Op, Tensors, batch_problems


class Mean(Op, frozen=True, kw_only=True):
    """Mean over height and width of [1,H,W,C]; output [1,C] or [1,1,1,C]."""

    TITLE: ClassVar[str] = "MEAN"
    keep_dims: bool

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """One output for each channel."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        yield from batch_problems(x)
        if len(x.shape) != 4 or out.elements != x.shape[3]:
            yield f"mean of {x.shape} is not {out.shape}"


ReductionOp = Mean
