"""Translates ops that move bytes and compute nothing."""

from __future__ import annotations

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators.context import Context, UnsupportedParameter, require_same_quant
from edgelearn.ir.movement import MovementOp, Pad, Reshape


def _pad(c: Context, op: FileOp) -> MovementOp:
    x, out = c.activation(op, 0), c.output(op)
    amounts = c.integers(op, 1).reshape(-1)
    if len(x.shape) != 4 or len(amounts) != 8 or amounts[[0, 1, 6, 7]].any():
        raise UnsupportedParameter("padding of other axes than height and width")
    if (amounts < 0).any():
        raise UnsupportedParameter("negative padding")
    require_same_quant(x, out)
    name = c.name_op(op, out)
    return Pad(
        name=name,
        inputs=(c.activation_name(op, 0),),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        pad_top=int(amounts[2]),
        pad_bottom=int(amounts[3]),
        pad_left=int(amounts[4]),
        pad_right=int(amounts[5]),
    )


def _reshape(c: Context, op: FileOp) -> MovementOp:
    x, out = c.activation(op, 0, any_batch=True), c.output(op)
    require_same_quant(x, out)
    name = c.name_op(op, out)
    return Reshape(
        name=name,
        inputs=(c.activation_name(op, 0),),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
    )


TRANSLATORS = {"PAD": _pad, "RESHAPE": _reshape}
