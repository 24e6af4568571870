"""Kernel calls of functions of one tensor."""

from __future__ import annotations

import numpy as np

from edgelearn.codegen.lowering.call import Call, Lowerings, Source, Target
from edgelearn.codegen.requantize import Scale, to_scale
from edgelearn.ir import Graph
from edgelearn.ir.activation import Softmax

#: LiteRT: kScaledDiffIntegerBits of the int8 softmax.
_SOFTMAX_INTEGER_BITS = 5
_SOURCE = Source(name="elearn_softmax_s8.c", code_bytes=900)


def _softmax(graph: Graph, op: Softmax, _target: Target) -> Call:
    x = graph.tensor(op.inputs[0])
    real = min(op.beta * x.scale * 2.0 ** (31 - _SOFTMAX_INTEGER_BITS), 2.0**31 - 1.0)
    scale = to_scale(real)
    if scale.shift < 0:
        # So narrow an input that all its exponentials are one: the kernel shifts to the left only.
        scale = Scale(multiplier=scale.multiplier >> -scale.shift, shift=0)
    radius = (2**_SOFTMAX_INTEGER_BITS - 1) * 2.0 ** (31 - _SOFTMAX_INTEGER_BITS) / 2.0**scale.shift
    columns = x.shape[-1]
    return Call(
        function="elearn_softmax_s8",
        sources=(_SOURCE,),
        params_type="elearn_softmax_params",
        params=(
            ("rows", x.elements // columns),
            ("columns", columns),
            ("scale", (scale.multiplier, scale.shift)),
            ("difference_min", -int(np.floor(radius))),
        ),
    )


LOWERINGS: Lowerings = {Softmax: _softmax}
