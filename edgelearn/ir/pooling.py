"""Pooling over windows of an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Activation, Op, Tensors, Window, batch_problems


class AveragePool2D(Op, frozen=True, kw_only=True):
    """Average pooling; border windows divide by the number of elements inside the input."""

    TITLE: ClassVar[str] = "AVERAGE_POOL_2D"
    window: Window
    activation: Activation = Activation.NONE

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Window against input and output."""
        return _pool_problems(self, tensors)


class MaxPool2D(Op, frozen=True, kw_only=True):
    """Max pooling."""

    TITLE: ClassVar[str] = "MAX_POOL_2D"
    window: Window
    activation: Activation = Activation.NONE

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Window against input and output."""
        return _pool_problems(self, tensors)


def _pool_problems(op: AveragePool2D | MaxPool2D, tensors: Tensors) -> Iterator[str]:
    x, out = tensors[op.inputs[0]], tensors[op.output]
    yield from batch_problems(x)
    if out.shape != (1, *op.window.output_size(x.shape[1], x.shape[2]), x.shape[3]):
        yield f"output {out.shape} does not follow from input {x.shape} and {op.window}"
    window = op.window
    if (
        max(window.pad_top, window.pad_bottom) >= window.kernel_h
        or max(window.pad_left, window.pad_right) >= window.kernel_w
    ):
        yield f"{window} has places outside the input only"
    if x.quant != out.quant:
        yield "input and output differ in quantisation"


PoolingOp = AveragePool2D | MaxPool2D
