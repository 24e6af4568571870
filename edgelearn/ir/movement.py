"""Ops that move bytes and compute nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Op, Tensors, batch_problems


class Pad(Op, frozen=True, kw_only=True):
    """Pads height and width of [1,H,W,C] with the zero point."""

    TITLE: ClassVar[str] = "PAD"
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


class Reshape(Op, frozen=True, kw_only=True):
    """The same bytes under another shape; costs nothing on the device."""

    TITLE: ClassVar[str] = "RESHAPE"

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """As many elements before and after, of the same quantisation."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if out.elements != x.elements or out.quant != x.quant or out.dtype != x.dtype:
            yield f"{x.shape} cannot become {out.shape}"


MovementOp = Pad | Reshape
