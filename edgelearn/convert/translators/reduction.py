"""Translates reductions."""

from __future__ import annotations

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators.context import Context, UnsupportedParameter
from edgelearn.ir.reduction import Mean, ReductionOp


def _mean(c: Context, op: FileOp) -> ReductionOp:
    x, out = c.activation(op, 0), c.output(op)
    axes = {int(axis) % max(len(x.shape), 1) for axis in c.integers(op, 1)}
    if len(x.shape) != 4 or axes != {1, 2}:
        listed = ", ".join(str(axis) for axis in sorted(axes))
        raise UnsupportedParameter(
            f"a mean over the axes {listed} of {x.shape}; only height and width of images can be averaged, "
            "elsewhere use average pooling over the whole length"
        )
    name = c.name_op(op, out)
    return Mean(
        name=name,
        inputs=(c.activation_name(op, 0),),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        keep_dims=bool(op.number("KeepDims", 0)),
    )


TRANSLATORS = {"MEAN": _mean}
