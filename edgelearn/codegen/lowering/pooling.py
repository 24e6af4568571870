"""Kernel calls of pooling."""

from __future__ import annotations

from edgelearn.codegen.lowering.call import Call, Lowerings, Source, Target, image_shape, window_fields
from edgelearn.codegen.requantize import output_range
from edgelearn.ir import Graph
from edgelearn.ir.pooling import AveragePool2D, MaxPool2D

_SOURCE = Source(name="elearn_pool2d_s8.c", code_bytes=400)


def _pool(graph: Graph, op: AveragePool2D | MaxPool2D, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    low, high = output_range(out, op.activation)
    kind = "average" if isinstance(op, AveragePool2D) else "max"
    return Call(
        function=f"elearn_{kind}_pool2d_s8",
        sources=(_SOURCE,),
        params_type="elearn_pool2d_params",
        params=(
            ("input", image_shape(x)),
            ("output", image_shape(out)),
            ("window", window_fields(op.window)),
            ("output_min", low),
            ("output_max", high),
        ),
    )


LOWERINGS: Lowerings = {AveragePool2D: _pool, MaxPool2D: _pool}
