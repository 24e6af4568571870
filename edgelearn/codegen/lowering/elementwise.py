"""Kernel calls of arithmetic of two tensors."""

from __future__ import annotations

from edgelearn.codegen.lowering.call import Call, Lowerings, Source, Target
from edgelearn.codegen.requantize import output_range, to_scale
from edgelearn.ir import Graph
from edgelearn.ir.elementwise import Add

#: LiteRT: the headroom of the int8 ADD.
_ADD_LEFT_SHIFT = 20
_SOURCE = Source(name="elearn_add_s8.c", code_bytes=500)


def _add(graph: Graph, op: Add, _target: Target) -> Call:
    a, b, out = graph.tensor(op.inputs[0]), graph.tensor(op.inputs[1]), graph.tensor(op.output)
    twice = 2.0 * max(a.scale, b.scale)
    scales = (to_scale(a.scale / twice), to_scale(b.scale / twice), to_scale(twice / (2**_ADD_LEFT_SHIFT * out.scale)))
    low, high = output_range(out, op.activation)
    return Call(
        function="elearn_add_s8",
        sources=(_SOURCE,),
        params_type="elearn_add_params",
        params=(
            ("elements", out.elements),
            ("input1_zero_point", a.zero_point),
            ("input2_zero_point", b.zero_point),
            ("input1_scale", (scales[0].multiplier, scales[0].shift)),
            ("input2_scale", (scales[1].multiplier, scales[1].shift)),
            ("output_scale", (scales[2].multiplier, scales[2].shift)),
            ("output_zero_point", out.zero_point),
            ("output_min", low),
            ("output_max", high),
        ),
    )


LOWERINGS: Lowerings = {Add: _add}
