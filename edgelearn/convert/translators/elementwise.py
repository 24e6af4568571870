"""Translates arithmetic of two tensors."""

from __future__ import annotations

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators.context import Context, UnsupportedParameter, fused_activation
from edgelearn.ir.elementwise import Add, ElementwiseOp


def _add(c: Context, op: FileOp) -> ElementwiseOp:
    for position in (0, 1):
        if c.file_tensor(op, position).data:
            raise UnsupportedParameter("a constant operand; use the bias of a layer instead")
    a, b, out = c.activation(op, 0), c.activation(op, 1), c.output(op)
    if a.shape != b.shape:
        raise UnsupportedParameter(f"operands of different shapes, {a.shape} and {b.shape}")
    name = c.name_op(op, out)
    return Add(
        name=name,
        inputs=(c.activation_name(op, 0), c.activation_name(op, 1)),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        activation=fused_activation(op),
    )


TRANSLATORS = {"ADD": _add}
