"""From an op to the call of its kernel: function, parameter struct and constants, all numbers worked out.

One file for each family and one function for each op type. A function may give several variants of the same bits; the
cheapest by `Call.instructions` is taken.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgelearn.codegen.lowering import (
    activation,
    batch_matmul,
    convolution,
    dense,
    edges,
    elementwise,
    movement,
    pooling,
    recurrent,
    reduction,
    transpose_conv,
)
from edgelearn.codegen.lowering.call import (
    CONSTANT_SUFFIXES,
    Call,
    Constant,
    Initializer,
    Lowerings,
    Source,
    Target,
    too_far_apart,
)
from edgelearn.codegen.requantize import LARGEST_SHIFT
from edgelearn.ir import AnyOp, Graph
from edgelearn.ir.activation import Softmax

__all__ = ["CONSTANT_SUFFIXES", "LOWERINGS", "Call", "Constant", "Initializer", "Source", "Target", "lower"]

LOWERINGS: Lowerings = {
    **edges.LOWERINGS,
    **convolution.LOWERINGS,
    **transpose_conv.LOWERINGS,
    **dense.LOWERINGS,
    **batch_matmul.LOWERINGS,
    **recurrent.LOWERINGS,
    **pooling.LOWERINGS,
    **reduction.LOWERINGS,
    **elementwise.LOWERINGS,
    **activation.LOWERINGS,
    **movement.LOWERINGS,
}


def lower(graph: Graph, op: AnyOp, target: Target) -> Call | None:
    """The kernel call of a frozen op, or None where the op costs nothing.

    Raises:
        UnsupportedOpError: its scales are so far apart that the kernels' 32 bits cannot bridge them.
    """
    lowered = LOWERINGS[type(op)](graph, op, target)
    call = min(lowered, key=lambda variant: variant.instructions) if isinstance(lowered, tuple) else lowered
    # A softmax caps its own factor and shifts a small difference only.
    if call is not None and not isinstance(op, Softmax) and any(s > LARGEST_SHIFT for s in _shifts(call)):
        raise too_far_apart(op)
    return call


def _shifts(call: Call) -> Iterator[int]:
    values = [value for name, value in call.params if name == "scale" or name.endswith("_scale")]
    values += [element for constant in call.constants if constant.suffix == "scales" for element in constant.elements]
    for value in values:
        if isinstance(value, tuple) and isinstance(value[1], int):
            yield value[1]
