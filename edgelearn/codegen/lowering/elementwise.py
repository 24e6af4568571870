"""Kernel calls of arithmetic of two tensors."""

from __future__ import annotations

import math

import numpy as np

from edgelearn.codegen.fold_add import fold, operands
from edgelearn.codegen.lowering.call import Call, Initializer, Lowerings, Source, Target, integers
from edgelearn.codegen.requantize import Scale, output_range, to_scale
from edgelearn.ir import Graph, Tensor
from edgelearn.ir.elementwise import MOST_AXES, Add, ElementwiseOp, Maximum, Minimum, Mul, Sub

_SUM = Source(name="elearn_elementwise_s8.c", code_bytes=545)
_SUM_FOLDED = Source(name="elearn_elementwise_s8.c", code_bytes=420)
_MUL = Source(name="elearn_elementwise_s8.c", code_bytes=375)
_MUL_RIGHT = Source(name="elearn_elementwise_s8.c", code_bytes=460)
_EXTREME = Source(name="elearn_elementwise_s8.c", code_bytes=230)
_FOLDED = Source(name="elearn_add_folded_s8.c", code_bytes=1110)
_NONE = Scale(multiplier=0, shift=0)
#: Beyond it the output's zero point would leave 32 bits.
_LARGEST_SHIFT = 22


def _sum(graph: Graph, op: Add | Sub, _target: Target) -> Call:
    a, b, out = graph.tensor(op.inputs[0]), graph.tensor(op.inputs[1]), graph.tensor(op.output)
    low, high = output_range(out, op.activation)
    constants = operands(a, b, out, (low, high), is_difference=isinstance(op, Sub))
    is_plain = a.shape == b.shape and not a.is_constant and not b.is_constant
    found = fold(constants)
    if found is not None and not is_plain:
        linear = ((found.multiplier1, 0), (found.multiplier2, 0), (found.offset, found.shift))
        return _broadcast(graph, op, "elearn_sum_folded_s8", _SUM_FOLDED, linear, (low, high))
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
    return _broadcast(graph, op, "elearn_sum_s8", _SUM, _fields(constants.scales), (low, high))


def _mul(graph: Graph, op: Mul, _target: Target) -> Call:
    a, b, out = graph.tensor(op.inputs[0]), graph.tensor(op.inputs[1]), graph.tensor(op.output)
    # LiteRT works out this factor in float32 (mul.cc, Prepare).
    with np.errstate(over="ignore"):
        factor = float(np.float32(a.scale) * np.float32(b.scale) / np.float32(out.scale))
    # A factor that overflows is refused like any other that is too large.
    scale = to_scale(min(factor, 2.0**64))
    shifts_right = 1 <= -scale.shift <= _LARGEST_SHIFT
    function, source = ("elearn_mul_right_s8", _MUL_RIGHT) if shifts_right else ("elearn_mul_s8", _MUL)
    return _broadcast(graph, op, function, source, _fields((_NONE, _NONE, scale)), output_range(out, op.activation))


def _maximum(graph: Graph, op: Maximum, _target: Target) -> Call:
    return _broadcast(graph, op, "elearn_maximum_s8", _EXTREME, _fields((_NONE,) * 3), (-128, 127))


def _minimum(graph: Graph, op: Minimum, _target: Target) -> Call:
    return _broadcast(graph, op, "elearn_minimum_s8", _EXTREME, _fields((_NONE,) * 3), (-128, 127))


def _broadcast(
    graph: Graph,
    op: ElementwiseOp,
    function: str,
    source: Source,
    scales: tuple[tuple[int, int], ...],
    clamp: tuple[int, int],
) -> Call:
    """The call of one of the kernels that walk both operands with strides."""
    a, b, out = graph.tensor(op.inputs[0]), graph.tensor(op.inputs[1]), graph.tensor(op.output)
    axes = _axes(a.shape, b.shape, out.shape)
    pointers: list[Initializer] = ["weights" if tensor.is_constant else 0 for tensor in (a, b)]
    constant = next((tensor for tensor in (a, b) if tensor.is_constant), None)
    return Call(
        function=function,
        sources=(source,),
        params_type="elearn_elementwise_params",
        params=(
            ("sizes", tuple(axis[0] for axis in axes)),
            ("input1_steps", tuple(axis[1] for axis in axes)),
            ("input2_steps", tuple(axis[2] for axis in axes)),
            ("constant1", pointers[0]),
            ("constant2", pointers[1]),
            ("input1_zero_point", a.zero_point),
            ("input2_zero_point", b.zero_point),
            ("input1_scale", scales[0]),
            ("input2_scale", scales[1]),
            ("output_scale", scales[2]),
            ("output_zero_point", out.zero_point),
            ("output_min", clamp[0]),
            ("output_max", clamp[1]),
        ),
        constants=(integers("weights", "int8_t", constant),) if constant else (),
        in_arrays=True,
        in_place=_not_repeated((a, b), out),
    )


def _fields(scales: tuple[Scale, Scale, Scale]) -> tuple[tuple[int, int], ...]:
    return tuple((scale.multiplier, scale.shift) for scale in scales)


def _not_repeated(tensors: tuple[Tensor, ...], out: Tensor) -> tuple[int, ...]:
    """Numbers of the inputs that are read once, in the order of the output."""
    return tuple(n for n, t in enumerate(tensors) if not t.is_constant and t.elements == out.elements)


def _axes(first: tuple[int, ...], second: tuple[int, ...], out: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(size, step of the first operand, step of the second) of each axis, joined where one step serves both."""
    joined: list[tuple[int, int, int]] = []
    for size, *steps in zip(out, _steps(first, len(out)), _steps(second, len(out)), strict=True):
        if size == 1:
            continue
        if joined and joined[-1][1:] == (size * steps[0], size * steps[1]):
            joined[-1] = (joined[-1][0] * size, steps[0], steps[1])
        else:
            joined.append((size, steps[0], steps[1]))
    return [(1, 0, 0)] * (MOST_AXES - len(joined)) + joined


def _steps(shape: tuple[int, ...], rank: int) -> list[int]:
    """Elements from one place to the next along each of `rank` axes, 0 where one serves all."""
    padded = (1,) * (rank - len(shape)) + shape
    return [math.prod(padded[axis + 1 :]) if padded[axis] > 1 else 0 for axis in range(rank)]


LOWERINGS: Lowerings = {Add: _sum, Sub: _sum, Mul: _mul, Maximum: _maximum, Minimum: _minimum}
