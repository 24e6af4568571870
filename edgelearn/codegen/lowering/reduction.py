"""Kernel calls of reductions."""

from __future__ import annotations

import math

from msgspec.structs import replace

from edgelearn.codegen.lowering.call import Call, Initializer, Lowerings, Source, Target
from edgelearn.codegen.requantize import mean_scale
from edgelearn.ir import Graph, Quant
from edgelearn.ir.reduction import ArgMax, Mean, ReduceMax, ReduceMin, Sum, reduced_elements, scale_of_mean

_MEAN = Source(name="elearn_reduce_s8.c", code_bytes=910)
_MAX = Source(name="elearn_reduce_s8.c", code_bytes=750)
_ARG_MAX = Source(name="elearn_arg_max_s8.c", code_bytes=130)

#: An axis of one place.
_ONE = (1, 0)


def _axes(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[Initializer, ...]:
    """The members of elearn_reduce_axes: neighbouring axes that are both kept, or both reduced, are one axis."""
    groups: list[tuple[bool, int, int]] = []  # whether it is reduced, places, bytes from one to the next
    step = 1
    for axis in range(len(shape) - 1, -1, -1):
        count, is_reduced = shape[axis], axis in axes
        if count > 1:
            if groups and groups[-1][0] == is_reduced:
                groups[-1] = (is_reduced, groups[-1][1] * count, groups[-1][2])
            else:
                groups.append((is_reduced, count, step))
        step *= count
    kept = [group[1:] for group in groups if not group[0]]
    reduced = [group[1:] for group in groups if group[0]]
    channels = kept.pop(0)[0] if kept and kept[0][1] == 1 else 1
    inner_kept, outer_kept = ([*kept, _ONE, _ONE])[:2]
    inner, middle, outer = ([*reduced, _ONE, _ONE, _ONE])[:3]
    return (outer_kept, inner_kept, channels, outer, middle, inner)


def _mean(graph: Graph, op: Mean | Sum, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    count = reduced_elements(x.shape, op.axes)
    if isinstance(op, Sum):
        out = replace(out, quant=Quant(scale=(scale_of_mean(out.scale, count),), zero_point=(out.zero_point,)))
    scale = mean_scale(x, out, count)
    return Call(
        function="elearn_mean_s8",
        sources=(_MEAN,),
        params_type="elearn_mean_params",
        params=(
            ("axes", _axes(x.shape, op.axes)),
            ("output_zero_point", out.zero_point),
            ("sum_offset", count * x.zero_point),
            ("scale", (scale.multiplier, scale.shift)),
        ),
        in_place=(0,),
    )


def _max(graph: Graph, op: ReduceMax | ReduceMin, _target: Target) -> Call:
    x = graph.tensor(op.inputs[0])
    return Call(
        function="elearn_reduce_max_s8",
        sources=(_MAX,),
        params_type="elearn_reduce_max_params",
        params=(("axes", _axes(x.shape, op.axes)), ("flip", -1 if isinstance(op, ReduceMin) else 0)),
        in_place=(0,),
    )


def _arg_max(graph: Graph, op: ArgMax, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    return Call(
        function="elearn_arg_max_s8",
        sources=(_ARG_MAX,),
        params_type="elearn_arg_max_params",
        params=(
            ("outer", math.prod(x.shape[: op.axis])),
            ("count", x.shape[op.axis]),
            ("inner", math.prod(x.shape[op.axis + 1 :])),
            ("words", out.dtype.size_bytes // 4),
        ),
    )


LOWERINGS: Lowerings = {Mean: _mean, Sum: _mean, ReduceMax: _max, ReduceMin: _max, ArgMax: _arg_max}
