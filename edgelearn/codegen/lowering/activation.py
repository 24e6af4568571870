"""Kernel calls of functions of one tensor."""

from __future__ import annotations

from typing import get_args

import numpy as np

from edgelearn.codegen import functions
from edgelearn.codegen.exponentials import exponentials
from edgelearn.codegen.lowering.call import Call, Constant, Lowerings, Source, Target, too_far_apart
from edgelearn.codegen.lowering.cost import softmax, softmax_by_table
from edgelearn.codegen.requantize import Scale, requantize_twice, to_scale
from edgelearn.ir import Graph
from edgelearn.ir.activation import FunctionOp, LogSoftmax, Prelu, Softmax

#: LiteRT: kScaledDiffIntegerBits of the int8 softmax, and kInputIntegerBits of its logarithm.
_SOFTMAX_INTEGER_BITS = 5
_SOFTMAX_FRACTION_BITS = 31 - _SOFTMAX_INTEGER_BITS
#: Q0.31 to Q12.19: the exponentials as terms of a sum.
_TERM_SHIFT = 12
#: From this difference on a log softmax in int8 is -128.
_SMALLEST_LOG = -16
_LOOKUP = Source(name="elearn_lookup_s8.c", code_bytes=120)
_PRELU = Source(name="elearn_prelu_s8.c", code_bytes=320)
_SOFTMAX = Source(name="elearn_softmax_s8.c", code_bytes=820)
_SOFTMAX_TABLE = Source(name="elearn_softmax_table_s8.c", code_bytes=480)
_LOG_SOFTMAX = Source(name="elearn_log_softmax_s8.c", code_bytes=840)


def _function(graph: Graph, op: FunctionOp, _target: Target) -> Call:
    out = graph.tensor(op.output)
    table = functions.table(op, graph.tensor(op.inputs[0]), out)
    if table is None:
        raise too_far_apart(op)
    return _lookup(table, out.elements)


def _lookup(table: tuple[int, ...], elements: int) -> Call:
    unsigned = tuple(value % 256 for value in table)
    return Call(
        function="elearn_lookup_s8",
        sources=(_LOOKUP,),
        params_type="elearn_lookup_params",
        params=(("elements", elements), ("table", "table")),
        constants=(Constant(suffix="table", c_type="uint8_t", elements=unsigned, size_bytes=256),),
        in_place=(0,),
    )


def _prelu(graph: Graph, op: Prelu, _target: Target) -> Call:
    x, alpha, out = graph.tensor(op.inputs[0]), graph.tensor(op.inputs[1]), graph.tensor(op.output)
    with np.errstate(over="ignore"):
        positive = to_scale(float(np.float32(x.scale) / np.float32(out.scale)))
        negative = to_scale(float(np.float32(x.scale) * np.float32(alpha.scale) / np.float32(out.scale)))
    # Axes that alpha repeats along before those it has elements for are left to the kernel.
    shape = (1,) * (len(x.shape) - len(alpha.shape)) + alpha.shape
    first = next((axis for axis, size in enumerate(shape) if size > 1), len(shape) - 1)
    slopes = np.broadcast_to(alpha.array().reshape(shape[first:]), x.shape[first:]).reshape(-1)
    return Call(
        function="elearn_prelu_s8",
        sources=(_PRELU,),
        params_type="elearn_prelu_params",
        params=(
            ("elements", out.elements),
            ("slopes", len(slopes)),
            ("alpha", "weights"),
            ("input_zero_point", x.zero_point),
            ("alpha_zero_point", alpha.zero_point),
            ("output_zero_point", out.zero_point),
            ("positive_scale", (positive.multiplier, positive.shift)),
            ("negative_scale", (negative.multiplier, negative.shift)),
        ),
        constants=(
            Constant(suffix="weights", c_type="int8_t", elements=tuple(int(v) for v in slopes), size_bytes=len(slopes)),
        ),
        in_place=(0,),
    )


def _softmax(graph: Graph, op: Softmax, _target: Target) -> tuple[Call, ...]:
    x = graph.tensor(op.inputs[0])
    scale = _difference_scale(op.beta * x.scale)
    table = exponentials(scale, _difference_min(scale))
    columns = x.shape[-1]
    rows = x.elements // columns
    plain = Call(
        function="elearn_softmax_s8",
        sources=(_SOFTMAX,),
        params_type="elearn_softmax_params",
        params=(
            ("rows", rows),
            ("columns", columns),
            ("scale", (scale.multiplier, scale.shift)),
            ("difference_min", 1 - len(table)),
        ),
        in_place=(0,),
        instructions=softmax(rows=rows, columns=columns),
    )
    by_table = Call(
        function="elearn_softmax_table_s8",
        sources=(_SOFTMAX_TABLE,),
        params_type="elearn_softmax_table_params",
        params=(("rows", rows), ("columns", columns), ("exponentials", "table"), ("count", len(table))),
        constants=(Constant(suffix="table", c_type="int32_t", elements=table, size_bytes=4 * len(table)),),
        in_place=(0,),
        instructions=softmax_by_table(rows=rows, columns=columns, table_bytes=4 * len(table)),
    )
    return plain, by_table


def _difference_scale(step: float) -> Scale:
    """Of a difference of two inputs to Q5.26 (LiteRT: PreprocessSoftmaxScaling)."""
    return to_scale(min(step * 2.0**_SOFTMAX_FRACTION_BITS, 2.0**31 - 1.0))


def _difference_min(scale: Scale) -> int:
    """The smallest difference that LiteRT takes an exponential of (CalculateInputRadius); not positive."""
    return -int(np.floor((2**_SOFTMAX_INTEGER_BITS - 1) * 2.0**_SOFTMAX_FRACTION_BITS / 2.0**scale.shift))


def _log_softmax(graph: Graph, op: LogSoftmax, _target: Target) -> Call:
    x = graph.tensor(op.inputs[0])
    scale = _difference_scale(x.scale)
    difference_min = _difference_min(scale)
    steps = np.arange(0, max(-256, difference_min - 1), -1, dtype=np.int64)
    differences = requantize_twice(steps, scale)
    differences = differences[differences > _SMALLEST_LOG * 2**_SOFTMAX_FRACTION_BITS]
    terms = np.zeros(len(differences), np.int64)
    large = np.array(exponentials(scale, difference_min), np.int64)
    terms[: len(large)] = (large + (1 << (_TERM_SHIFT - 1))) >> _TERM_SHIFT
    columns = x.shape[-1]
    return Call(
        function="elearn_log_softmax_s8",
        sources=(_LOG_SOFTMAX,),
        params_type="elearn_log_softmax_params",
        params=(
            ("rows", x.elements // columns),
            ("columns", columns),
            ("table", "table"),
            ("count", len(differences)),
        ),
        constants=(
            Constant(
                suffix="table",
                c_type="elearn_log_softmax_entry",
                elements=tuple((int(d), int(t)) for d, t in zip(differences, terms, strict=True)),
                size_bytes=8 * len(differences),
            ),
        ),
        in_place=(0,),
    )


LOWERINGS: Lowerings = {
    **dict.fromkeys(get_args(FunctionOp), _function),
    Prelu: _prelu,
    Softmax: _softmax,
    LogSoftmax: _log_softmax,
}
