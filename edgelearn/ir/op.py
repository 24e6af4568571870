"""What all ops have in common: the base class, fused activations, sliding windows.

An op says what is wrong with it (`problems`) and how much work it is (`multiply_accumulates`); the families beside
this file hold the ops.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import ClassVar

import msgspec

from edgelearn.ir.tensor import Tensor

#: The tensors of a graph by name.
Tensors = Mapping[str, Tensor]


class Activation(enum.Enum):
    """Activation fused into an op; the plan turns it into the clamp of the int8 output."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"


class Op(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag=lambda name: name,
):
    """Base of all ops. `index` is the op's place in the model file it came from, for messages."""

    #: The field's own name of the op, as the LiteRT schema spells it.
    TITLE: ClassVar[str]
    #: What of it is refused, for docs/operators.md; the docstring's first paragraph says what it does.
    LIMITS: ClassVar[str] = ""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    index: int

    @property
    def output(self) -> str:
        """The name of the only output, or of the first one."""
        return self.outputs[0]

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """What contradicts the op's definition: shapes, types and quantisation that do not go together."""
        raise NotImplementedError

    def multiply_accumulates(self, tensors: Tensors) -> int:
        """Multiply-accumulates of one execution, padding included, the way MLPerf Tiny counts them."""
        return 0


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sliding window over height and width: kernel, stride, dilation and explicit padding, in elements."""

    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_bottom: int = 0
    pad_left: int = 0
    pad_right: int = 0

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the output for an input of `height` x `width`."""
        extent_h = (self.kernel_h - 1) * self.dilation_h + 1
        extent_w = (self.kernel_w - 1) * self.dilation_w + 1
        return (
            (height + self.pad_top + self.pad_bottom - extent_h) // self.stride_h + 1,
            (width + self.pad_left + self.pad_right - extent_w) // self.stride_w + 1,
        )


def batch_problems(x: Tensor) -> Iterator[str]:
    """An op on images or vectors takes one sample at a time."""
    if not x.shape or x.shape[0] != 1:
        yield f"input {x.shape} is no batch of 1"
