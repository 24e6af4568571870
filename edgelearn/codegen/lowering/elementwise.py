"""Kernel calls of arithmetic of two tensors."""

from __future__ import annotations

from edgelearn.codegen.fold_add import fold, operands
from edgelearn.codegen.lowering.call import Call, Lowerings, Source, Target
from edgelearn.codegen.requantize import output_range
from edgelearn.ir import Graph
from edgelearn.ir.elementwise import Add

_EXACT = Source(name="elearn_add_s8.c", code_bytes=500)
_FOLDED = Source(name="elearn_add_folded_s8.c", code_bytes=1110)


def _add(graph: Graph, op: Add, _target: Target) -> Call:
    a, b, out = graph.tensor(op.inputs[0]), graph.tensor(op.inputs[1]), graph.tensor(op.output)
    low, high = output_range(out, op.activation)
    constants = operands(a, b, out, (low, high))
    found = fold(constants)
    if found is not None:
        return Call(
            function="elearn_add_folded_s8",
            sources=(_FOLDED,),
            params_type="elearn_add_folded_params",
            params=(
                ("elements", out.elements),
                ("multiplier1", found.multiplier1),
                ("multiplier2", found.multiplier2),
                ("offset", found.offset),
                ("shift", found.shift),
                ("output_min", low),
                ("output_max", high),
                ("is_clamped", int((low, high) != (-128, 127))),
            ),
            in_place=(0, 1),
        )
    return Call(
        function="elearn_add_s8",
        sources=(_EXACT,),
        params_type="elearn_add_params",
        params=(
            ("elements", out.elements),
            ("input1_zero_point", a.zero_point),
            ("input2_zero_point", b.zero_point),
            ("input1_scale", (constants.scales[0].multiplier, constants.scales[0].shift)),
            ("input2_scale", (constants.scales[1].multiplier, constants.scales[1].shift)),
            ("output_scale", (constants.scales[2].multiplier, constants.scales[2].shift)),
            ("output_zero_point", out.zero_point),
            ("output_min", low),
            ("output_max", high),
        ),
        in_place=(0, 1),
    )


LOWERINGS: Lowerings = {Add: _add}
