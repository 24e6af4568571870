"""Translates arithmetic of two tensors."""

from __future__ import annotations

from edgelearn.convert.tflite_file import FileOp, FileTensor
from edgelearn.convert.translators.context import (
    Context,
    UnsupportedParameter,
    activation_quant,
    contradiction,
    fused_activation,
    require_same_quant,
)
from edgelearn.ir.elementwise import MOST_AXES, Add, ElementwiseOp, Maximum, Minimum, Mul, Sub, broadcast_shape


def _operands(c: Context, op: FileOp) -> tuple[FileTensor, FileTensor, FileTensor]:
    """Both operands and the output, checked."""
    first, second = c.file_tensor(op, 0), c.file_tensor(op, 1)
    out = c.output(op)
    if first.data and second.data:
        raise UnsupportedParameter("two constant operands; let the converter fold them")
    for position, tensor in enumerate((first, second)):
        if tensor.data:
            c.constant(op, position, "INT8", rank=len(tensor.shape))
            activation_quant(tensor, "its constant operand")
        else:
            c.activation(op, position, any_batch=True)
    if len(out.shape) > MOST_AXES:
        raise UnsupportedParameter(f"operands of {len(out.shape)} axes; at most {MOST_AXES} are supported")
    if broadcast_shape(first.shape, second.shape) != out.shape:
        raise contradiction(op, f"operands {first.shape} and {second.shape} do not make the output {out.shape}")
    return first, second, out


def _names(c: Context, op: FileOp, name: str) -> tuple[str, ...]:
    """The graph's names of the operands; constants are defined."""
    names = []
    for position in (0, 1):
        tensor = c.file_tensor(op, position)
        if tensor.data:
            names.append(c.define_constant(name, "operand", tensor, activation_quant(tensor, "its constant operand")))
        else:
            names.append(c.activation_name(op, position))
    return tuple(names)


def _arithmetic(c: Context, op: FileOp) -> ElementwiseOp:
    _, _, out = _operands(c, op)
    name = c.name_op(op, out)
    kinds: dict[str, type[Add | Sub | Mul]] = {"ADD": Add, "SUB": Sub, "MUL": Mul}
    return kinds[op.code](
        name=name,
        inputs=_names(c, op, name),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        activation=fused_activation(op),
    )


def _extreme(c: Context, op: FileOp) -> ElementwiseOp:
    first, second, out = _operands(c, op)
    require_same_quant(first, out)
    require_same_quant(second, out)
    name = c.name_op(op, out)
    kinds: dict[str, type[Maximum | Minimum]] = {"MAXIMUM": Maximum, "MINIMUM": Minimum}
    return kinds[op.code](
        name=name,
        inputs=_names(c, op, name),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
    )


TRANSLATORS = {"ADD": _arithmetic, "SUB": _arithmetic, "MUL": _arithmetic, "MAXIMUM": _extreme, "MINIMUM": _extreme}
