"""Translates pooling."""

from __future__ import annotations

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators.context import Context, fused_activation, require_same_quant, window
from edgelearn.ir import Window
from edgelearn.ir.pooling import AveragePool2D, MaxPool2D, PoolingOp


def _average_pool_2d(c: Context, op: FileOp) -> PoolingOp:
    name, source, output, window_ = _pool(c, op)
    return AveragePool2D(
        name=name,
        inputs=(source,),
        outputs=(output,),
        index=op.index,
        window=window_,
        activation=fused_activation(op),
    )


def _max_pool_2d(c: Context, op: FileOp) -> PoolingOp:
    name, source, output, window_ = _pool(c, op)
    return MaxPool2D(
        name=name,
        inputs=(source,),
        outputs=(output,),
        index=op.index,
        window=window_,
        activation=fused_activation(op),
    )


def _pool(c: Context, op: FileOp) -> tuple[str, str, str, Window]:
    x, out = c.activation(op, 0, rank=4), c.output(op)
    require_same_quant(x, out)
    fused_activation(op)
    window_ = window(op, x, (op.number("FilterHeight", 1), op.number("FilterWidth", 1)))
    name = c.name_op(op, out)
    return name, c.activation_name(op, 0), c.define_output(op, name, out), window_


TRANSLATORS = {"AVERAGE_POOL_2D": _average_pool_2d, "MAX_POOL_2D": _max_pool_2d}
