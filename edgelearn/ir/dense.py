"""Products of matrices: dense layers, and products of two tensors."""

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


class BatchMatMul(Op, frozen=True, kw_only=True):
    """Products of matrices [...,M,K] by [...,K,N], one perhaps constant; a leading axis of 1 serves all of the other's.

    Inputs: left, right, int8; with `adj_x` the left ones are [...,K,M], with `adj_y` the right ones [...,N,K].
    """

    TITLE: ClassVar[str] = "BATCH_MATMUL"
    LIMITS: ClassVar[str] = "at most five axes"
    adj_x: bool = False
    adj_y: bool = False

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Shapes of both operands and of the output."""
        left, right, out = (tensors[name].shape for name in (*self.inputs, self.output))
        if min(len(left), len(right)) < 2 or max(len(left), len(right)) > MOST_AXES:
            yield f"{left} by {right}"
            return
        rows, depth = left[:-3:-1] if self.adj_x else left[-2:]
        depth_of_right, columns = right[:-3:-1] if self.adj_y else right[-2:]
        axes = max(len(left), len(right)) - 2
        leads = [(1,) * (axes + 2 - len(shape)) + shape[:-2] for shape in (left, right)]
        fits = depth == depth_of_right and all(a == b or 1 in (a, b) for a, b in zip(*leads, strict=True))
        if not fits or out != (*(max(a, b) for a, b in zip(*leads, strict=True)), rows, columns):
            yield f"{left} by {right} is not {out}"

    def multiply_accumulates(self, tensors: Tensors) -> int:
        """One for each output element and step of the inner axis."""
        return tensors[self.output].elements * tensors[self.inputs[0]].shape[-2 if self.adj_x else -1]


#: Of each operand of BATCH_MATMUL.
MOST_AXES = 5
DenseOp = FullyConnected | BatchMatMul
