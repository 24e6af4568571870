"""Products of matrices: dense layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Activation, Op, Tensors
from edgelearn.ir.tensor import DType


class FullyConnected(Op, frozen=True, kw_only=True):
    """Dense layer on rows of F values. Inputs: x [1,F] or [...,F] int8, weight [O,F], bias [O].

    Trainable, it takes one row: the weight is float32, or int8 with its scales, the bias is float32, and the output is
    a float32 logit [1,O], which the device keeps in fixed point, see `edgelearn.training`.
    """

    TITLE: ClassVar[str] = "FULLY_CONNECTED"
    activation: Activation = Activation.NONE

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Weight and bias against input and output, and what trains."""
        x, weight, bias = (tensors[name] for name in self.inputs)
        out = tensors[self.output]
        if len(weight.shape) != 2 or x.elements % weight.shape[1]:
            yield f"weight {weight.shape} does not fit {x.shape}"
            return
        rows = self.rows(tensors)
        if out.elements != rows * weight.shape[0] or (weight.training is not None and rows != 1):
            yield f"weight {weight.shape} does not fit {x.shape} -> {out.shape}"
        if bias.shape != (weight.shape[0],):
            yield f"bias {bias.shape} does not fit weight {weight.shape}"
        if (weight.training is None) != (bias.training is None):
            yield "weight and bias must train together"
        if (weight.training is not None) == (out.dtype is DType.INT8):
            yield f"output is {out.dtype.value}"

    def rows(self, tensors: Tensors) -> int:
        """How many rows it takes in one execution."""
        return tensors[self.inputs[0]].elements // tensors[self.inputs[1]].shape[1]

    def multiply_accumulates(self, tensors: Tensors) -> int:
        """One for each weight and row of the output."""
        return tensors[self.output].elements * tensors[self.inputs[1]].shape[1]


DenseOp = FullyConnected
