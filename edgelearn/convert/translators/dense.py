"""Translates dense layers and other products of matrices."""

from __future__ import annotations

import math

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators.context import (
    Context,
    UnsupportedParameter,
    activation_quant,
    contradiction,
    fused_activation,
    weight_quant,
)
from edgelearn.ir.dense import MOST_AXES, BatchMatMul, DenseOp, FullyConnected


def _fully_connected(c: Context, op: FileOp) -> DenseOp:
    x, weight = c.activation(op, 0, any_batch=True), c.constant(op, 1, "INT8", rank=2)
    out = c.output(op)
    if op.number("WeightsFormat", 0) != 0:
        raise UnsupportedParameter("shuffled weights; convert without them")
    if not weight.shape[1] or math.prod(x.shape) % weight.shape[1]:
        raise contradiction(op, f"weight {weight.shape} does not fit input {x.shape}")
    name = c.name_op(op, out, weight)
    quant = weight_quant(op, weight, axis=0)
    return FullyConnected(
        name=name,
        inputs=(
            c.activation_name(op, 0),
            c.define_constant(name, "weight", weight, quant),
            c.bias(op, name, weight.shape[0], quant),
        ),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        activation=fused_activation(op),
    )


def _batch_matmul(c: Context, op: FileOp) -> DenseOp:
    tensors = [c.file_tensor(op, position) for position in (0, 1)]
    out = c.output(op)
    if all(tensor.data for tensor in tensors):
        raise UnsupportedParameter("two constant operands; let the converter fold them")
    for tensor in tensors:
        if not 2 <= len(tensor.shape) <= MOST_AXES:
            raise UnsupportedParameter(f"an operand of the shape {tensor.shape}; two to five axes are needed")
    name = c.name_op(op, out)
    operands = []
    for position, tensor in enumerate(tensors):
        if not tensor.data:
            c.activation(op, position, any_batch=True)
            operands.append(c.activation_name(op, position))
            continue
        constant = c.constant(op, position, "INT8", rank=len(tensor.shape))
        operands.append(c.define_constant(name, "operand", constant, activation_quant(constant, "its operand")))
    return BatchMatMul(
        name=name,
        inputs=tuple(operands),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        adj_x=bool(op.number("AdjX", 0)),
        adj_y=bool(op.number("AdjY", 0)),
    )


TRANSLATORS = {"FULLY_CONNECTED": _fully_connected, "BATCH_MATMUL": _batch_matmul}
