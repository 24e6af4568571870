"""Translates dense layers."""

from __future__ import annotations

import math

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators.context import (
    Context,
    UnsupportedParameter,
    contradiction,
    fused_activation,
    weight_quant,
)
from edgelearn.ir.dense import DenseOp, FullyConnected


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


TRANSLATORS = {"FULLY_CONNECTED": _fully_connected}
