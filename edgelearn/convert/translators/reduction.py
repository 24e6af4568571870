"""Translates reductions."""

from __future__ import annotations

from edgelearn.convert.tflite_file import FileOp, FileTensor
from edgelearn.convert.translators.context import Context, UnsupportedParameter, contradiction, require_same_quant
from edgelearn.ir.reduction import (
    ArgMax,
    Mean,
    ReduceMax,
    ReduceMin,
    ReductionOp,
    Sum,
    reduced_elements,
    scale_of_mean,
)

_MOST_AXES = 5


def _mean(c: Context, op: FileOp) -> ReductionOp:
    x = _input(c, op)
    return _reduction(c, op, Mean, x)


def _sum(c: Context, op: FileOp) -> ReductionOp:
    x = _input(c, op)
    made = _reduction(c, op, Sum, x)
    scale = c.tensors[made.output].scale
    if not scale_of_mean(scale, reduced_elements(x.shape, made.axes)) > 0.0:
        raise UnsupportedParameter(f"the output's scale {scale:g} is too small")
    return made


def _reduce_max(c: Context, op: FileOp) -> ReductionOp:
    x = _input(c, op)
    require_same_quant(x, c.output(op))
    return _reduction(c, op, ReduceMax, x)


def _reduce_min(c: Context, op: FileOp) -> ReductionOp:
    x = _input(c, op)
    require_same_quant(x, c.output(op))
    return _reduction(c, op, ReduceMin, x)


def _arg_max(c: Context, op: FileOp) -> ReductionOp:
    x, out = c.activation(op, 0, any_batch=True), c.output(op, types=("INT32", "INT64"))
    if not c.is_output(out.index):
        raise UnsupportedParameter("its numbers are used inside the model; let it be an output")
    axes, rank = c.integers(op, 1).tolist(), len(x.shape)
    if len(axes) != 1 or not -rank <= axes[0] < rank:
        raise contradiction(op, f"axis {axes} of {x.shape}")
    name = c.name_op(op, out)
    return ArgMax(
        name=name,
        inputs=(c.activation_name(op, 0),),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        axis=axes[0] % rank,
    )


def _input(c: Context, op: FileOp) -> FileTensor:
    x = c.activation(op, 0, any_batch=True)
    if len(x.shape) > _MOST_AXES or min(x.shape) < 1:
        raise UnsupportedParameter(f"an input of the shape {x.shape}; 1 to {_MOST_AXES} axes can be reduced")
    return x


def _reduction(
    c: Context, op: FileOp, kind: type[Mean | Sum | ReduceMax | ReduceMin], x: FileTensor
) -> Mean | Sum | ReduceMax | ReduceMin:
    out, rank = c.output(op), len(x.shape)
    axes = {int(axis) for axis in c.integers(op, 1)}
    if not all(-rank <= axis < rank for axis in axes):
        raise contradiction(op, f"axes {sorted(axes)} of {x.shape}")
    name = c.name_op(op, out)
    return kind(
        name=name,
        inputs=(c.activation_name(op, 0),),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        axes=tuple(sorted({axis % rank for axis in axes})),
        keep_dims=bool(op.number("KeepDims", 0)),
    )


TRANSLATORS = {"MEAN": _mean, "SUM": _sum, "REDUCE_MAX": _reduce_max, "REDUCE_MIN": _reduce_min, "ARG_MAX": _arg_max}
