"""Kernel calls of ops that move bytes."""

from __future__ import annotations

from edgelearn.codegen.lowering.call import Call, Lowerings, Source, Target, image_shape
from edgelearn.ir import Graph
from edgelearn.ir.movement import Pad, Reshape

_SOURCE = Source(name="elearn_pad_s8.c", code_bytes=180)


def _pad(graph: Graph, op: Pad, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    return Call(
        function="elearn_pad_s8",
        sources=(_SOURCE,),
        params_type="elearn_pad_params",
        params=(
            ("input", image_shape(x)),
            ("output", image_shape(out)),
            ("pad_top", op.pad_top),
            ("pad_left", op.pad_left),
            ("value", x.zero_point),
        ),
    )


def _reshape(_graph: Graph, _op: Reshape, _target: Target) -> None:
    """The output is the input under another shape: no code, and the same bytes in the arena."""


LOWERINGS: Lowerings = {Pad: _pad, Reshape: _reshape}
