"""Functions of one tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Op, Tensors


class Softmax(Op, frozen=True, kw_only=True):
    """Softmax over the last axis, int8 to int8 (scale 1/256, zero point -128)."""

    TITLE: ClassVar[str] = "SOFTMAX"
    beta: float = 1.0

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The shape stays."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if out.shape != x.shape:
            yield f"softmax of {x.shape} is not {out.shape}"


ActivationOp = Softmax
