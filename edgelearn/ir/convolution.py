"""Ops with weights that slide over an image: convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Activation, Op, Tensors, Window, batch_problems
from edgelearn.ir.tensor import DType, Tensor


class Conv2D(Op, frozen=True, kw_only=True):
    """Convolution. Inputs: x [1,H,W,I] int8, weight [O,KH,KW,I/groups] int8, bias [O] int32.

    With several groups the n-th part of the outputs sees the n-th part of the input channels.
    """

    TITLE: ClassVar[str] = "CONV_2D"
    window: Window
    activation: Activation = Activation.NONE

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Window, weight and bias against input and output."""
        x, weight = tensors[self.inputs[0]], tensors[self.inputs[1]]
        yield from _window_problems(self.window, x, tensors[self.output], weight.shape[0])
        yield from _bias_problems(tensors[self.inputs[2]], weight.shape[0])
        if x.shape[3] % weight.shape[3] or weight.shape[0] % (x.shape[3] // weight.shape[3]):
            yield f"weight {weight.shape} does not fit input {x.shape}"

    def multiply_accumulates(self, tensors: Tensors) -> int:
        """One for each weight and output pixel."""
        _, kernel_h, kernel_w, depth = tensors[self.inputs[1]].shape
        return tensors[self.output].elements * kernel_h * kernel_w * depth


class DepthwiseConv2D(Op, frozen=True, kw_only=True):
    """Depthwise convolution. Inputs: x [1,H,W,I], weight [1,KH,KW,I*multiplier], bias [I*multiplier]."""

    TITLE: ClassVar[str] = "DEPTHWISE_CONV_2D"
    window: Window
    multiplier: int = 1
    activation: Activation = Activation.NONE

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Window, weight and bias against input and output."""
        x, weight = tensors[self.inputs[0]], tensors[self.inputs[1]]
        yield from _window_problems(self.window, x, tensors[self.output], weight.shape[3])
        yield from _bias_problems(tensors[self.inputs[2]], weight.shape[3])
        if weight.shape[3] != x.shape[3] * self.multiplier:
            yield f"weight {weight.shape} does not fit input {x.shape} times {self.multiplier}"

    def multiply_accumulates(self, tensors: Tensors) -> int:
        """One for each tap and output element."""
        return tensors[self.output].elements * self.window.kernel_h * self.window.kernel_w


class TransposeConv(Op, frozen=True, kw_only=True):
    """Transposed convolution. Inputs: x [1,H,W,I], weight [O,KH,KW,I] int8, bias [O]; output [1,H',W',O].

    Input pixel (y, x) adds to the output pixels (y stride_h - pad_top + i, x stride_w - pad_left + j), of those that
    lie inside; the padding at the far sides is what is left.
    """

    TITLE: ClassVar[str] = "TRANSPOSE_CONV"
    window: Window
    activation: Activation = Activation.NONE

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Weight and bias against input and output."""
        x, weight, out = tensors[self.inputs[0]], tensors[self.inputs[1]], tensors[self.output]
        yield from batch_problems(x)
        yield from _bias_problems(tensors[self.inputs[2]], weight.shape[0])
        if len(out.shape) != 4 or (out.shape[0], out.shape[3]) != (1, weight.shape[0]) or weight.shape[3] != x.shape[3]:
            yield f"weight {weight.shape} does not fit {x.shape} -> {out.shape}"

    def multiply_accumulates(self, tensors: Tensors) -> int:
        """One for each weight and input pixel."""
        outputs, kernel_h, kernel_w, _ = tensors[self.inputs[1]].shape
        return tensors[self.inputs[0]].elements * kernel_h * kernel_w * outputs


def _window_problems(window: Window, x: Tensor, out: Tensor, depth: int) -> Iterator[str]:
    yield from batch_problems(x)
    if out.shape != (1, *window.output_size(x.shape[1], x.shape[2]), depth):
        yield f"output {out.shape} does not follow from input {x.shape} and {window}"


def _bias_problems(bias: Tensor, depth: int) -> Iterator[str]:
    if bias.shape != (depth,) or bias.dtype is not DType.INT32:
        yield f"bias {bias.shape} {bias.dtype.value} is not [{depth}] int32"


ConvolutionOp = Conv2D | DepthwiseConv2D | TransposeConv
