"""Kernel calls of reductions."""

from __future__ import annotations

from edgelearn.codegen.lowering.call import Call, Lowerings, Source, Target, image_shape
from edgelearn.codegen.requantize import mean_scale
from edgelearn.ir import Graph
from edgelearn.ir.reduction import Mean

_SOURCE = Source(name="elearn_mean_s8.c", code_bytes=230)


def _mean(graph: Graph, op: Mean, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    count = x.shape[1] * x.shape[2]
    scale = mean_scale(x, out, count)
    return Call(
        function="elearn_mean_s8",
        sources=(_SOURCE,),
        params_type="elearn_mean_params",
        params=(
            ("input", image_shape(x)),
            ("output_zero_point", out.zero_point),
            ("sum_offset", count * x.zero_point),
            ("scale", (scale.multiplier, scale.shift)),
        ),
    )


LOWERINGS: Lowerings = {Mean: _mean}
