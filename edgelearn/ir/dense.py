"""Products of matrices: dense layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Activation, Op, Tensors, batch_problems
from edgelearn.ir.tensor import DType


class FullyConnected(Op, frozen=True, kw_only=True):
    """Dense layer. Inputs: x [1,F] int8, weight [O,F], bias [O].

    With trainable parameters the weight is float32, or int8 with its scales, the bias is float32, and the output is a
    float32 logit [1,O]: the device keeps it in fixed point, see `edgelearn.training`.
    """

    TITLE: ClassVar[str] = "FULLY_CONNECTED"
    activation: Activation = Activation.NONE

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Weight and bias against input and output, and what trains."""
        x, weight, bias = (tensors[name] for name in self.inputs)
        out = tensors[self.output]
        yield from batch_problems(x)
        if len(weight.shape) != 2 or x.elements != weight.shape[1] or out.elements != weight.shape[0]:
            yield f"weight {weight.shape} does not fit {x.shape} -> {out.shape}"
        if bias.shape != (weight.shape[0],):
            yield f"bias {bias.shape} does not fit weight {weight.shape}"
        if (weight.training is None) != (bias.training is None):
            yield "weight and bias must train together"
        if (weight.training is not None) == (out.dtype is DType.INT8):
            yield f"output is {out.dtype.value}"

    def multiply_accumulates(self, tensors: Tensors) -> int:
        """One for each weight and row of the output."""
        return tensors[self.output].elements * tensors[self.inputs[1]].shape[1]


DenseOp = FullyConnected
