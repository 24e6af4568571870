"""The float edges of a model: from float32 to int8 and back."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Op, Tensors
from edgelearn.ir.tensor import DType, Tensor


class Edges(enum.Enum):
    """What a model takes and gives where its file has float edges.

    INT8: QUANTIZE and DEQUANTIZE are folded into the interface, the host quantises. FLOAT: they run on the device.
    """

    INT8 = "int8"
    FLOAT = "float"


class Quantize(Op, frozen=True, kw_only=True):
    """From float32 to int8; with `--edges int8` the host does it instead."""

    TITLE: ClassVar[str] = "QUANTIZE"

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Types and shapes before and after."""
        return _edge_problems(tensors[self.inputs[0]], tensors[self.output], DType.FLOAT32, DType.INT8)


class Dequantize(Op, frozen=True, kw_only=True):
    """From int8 to float32 at an output; with `--edges int8` the host does it instead."""

    TITLE: ClassVar[str] = "DEQUANTIZE"
    LIMITS: ClassVar[str] = "only at outputs of the model and before a QUANTIZE"

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Types and shapes before and after."""
        return _edge_problems(tensors[self.inputs[0]], tensors[self.output], DType.INT8, DType.FLOAT32)


def _edge_problems(x: Tensor, out: Tensor, before: DType, after: DType) -> Iterator[str]:
    if (x.dtype, out.dtype) != (before, after):
        yield f"{x.dtype.value} becomes {out.dtype.value}, not {before.value} {after.value}"
    if x.shape != out.shape:
        yield f"{x.shape} cannot become {out.shape}"


EdgeOp = Quantize | Dequantize
