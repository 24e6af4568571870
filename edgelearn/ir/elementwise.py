"""Arithmetic of two tensors, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Activation, Op, Tensors


class Add(Op, frozen=True, kw_only=True):
    """Elementwise sum of two int8 tensors of the same shape."""

    TITLE: ClassVar[str] = "ADD"
    activation: Activation = Activation.NONE

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Shapes of operands and output."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if tensors[self.inputs[1]].shape != x.shape or out.shape != x.shape:
            yield "operands differ in shape"


ElementwiseOp = Add
