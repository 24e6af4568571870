"""Kernel calls of functions of one tensor."""

from __future__ import annotations

from typing import get_args

import numpy as np

from edgelearn.codegen import functions
from edgelearn.codegen.exponentials import exponentials
from edgelearn.codegen.lowering.call import Call, Constant, Lowerings, Source, Target, too_far_apart
from edgelearn.codegen.lowering.cost import softmax, softmax_by_table
from edgelearn.codegen.requantize import Scale, to_scale
from edgelearn.ir import Graph
from edgelearn.ir.activation import FunctionOp, Prelu, Softmax

#: LiteRT: kScaledDiffIntegerBits of the int8 softmax.
_SOFTMAX_INTEGER_BITS = 5
_LOOKUP = Source(name="elearn_lookup_s8.c", code_bytes=120)
_PRELU = Source(name="elearn_prelu_s8.c", code_bytes=320)
_SOFTMAX = Source(name="elearn_softmax_s8.c", code_bytes=820)
_SOFTMAX_TABLE = Source(name="elearn_softmax_table_s8.c", code_bytes=480)


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
    real = min(op.beta * x.scale * 2.0 ** (31 - _SOFTMAX_INTEGER_BITS), 2.0**31 - 1.0)
    scale = to_scale(real)
    if scale.shift < 0:
        # So narrow an input that all its exponentials are one: the kernel shifts to the left only.
        scale = Scale(multiplier=scale.multiplier >> -scale.shift, shift=0)
    radius = (2**_SOFTMAX_INTEGER_BITS - 1) * 2.0 ** (31 - _SOFTMAX_INTEGER_BITS) / 2.0**scale.shift
    table = exponentials(scale, -int(np.floor(radius)))
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


LOWERINGS: Lowerings = {**dict.fromkeys(get_args(FunctionOp), _function), Prelu: _prelu, Softmax: _softmax}
