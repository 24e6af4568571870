"""Translates functions of one tensor."""

from __future__ import annotations

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators.context import Context, UnsupportedParameter, activation_quant
from edgelearn.ir.activation import ActivationOp, Softmax


def _softmax(c: Context, op: FileOp) -> ActivationOp:
    c.activation(op, 0)
    out = c.output(op)
    quant = activation_quant(out, "its output")
    if quant.scale != (1 / 256,) or quant.zero_point != (-128,):
        raise UnsupportedParameter(
            "an output that is not in steps of 1/256 from -128, as the int8 specification has it"
        )
    beta = op.real("Beta", 1.0)
    if not 1e-3 <= beta <= 1e3:
        raise UnsupportedParameter(f"a beta of {beta}")
    name = c.name_op(op, out)
    return Softmax(
        name=name,
        inputs=(c.activation_name(op, 0),),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        beta=beta,
    )


TRANSLATORS = {"SOFTMAX": _softmax}
