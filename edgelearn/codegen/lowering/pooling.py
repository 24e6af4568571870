"""Kernel calls of pooling."""

from __future__ import annotations

import numpy as np

from edgelearn.codegen.lowering.call import Call, Lowerings, Source, Target, image_shape, window_fields
from edgelearn.codegen.requantize import output_range
from edgelearn.ir import Graph, Tensor, Window
from edgelearn.ir.pooling import AveragePool2D, MaxPool2D

_AVERAGE = Source(name="elearn_pool2d_s8.c", code_bytes=780)
_MAX = Source(name="elearn_pool2d_s8.c", code_bytes=790)


def _average_pool(graph: Graph, op: AveragePool2D, _target: Target) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    heights, widths = _sides_inside(op.window, x, out)
    counts = {height * width for height in heights for width in widths}
    # The kernel's sums have 16 bits then, which is enough for so many int8.
    is_short = max(counts) <= 256
    proved = is_short and all(_reciprocal_is_exact(count) for count in counts)
    return _pool(graph, op, "average", _AVERAGE, (("has_reciprocals", int(proved)),))


def _max_pool(graph: Graph, op: MaxPool2D, _target: Target) -> Call:
    return _pool(graph, op, "max", _MAX, ())


def _pool(
    graph: Graph, op: AveragePool2D | MaxPool2D, kind: str, source: Source, more: tuple[tuple[str, int], ...]
) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    low, high = output_range(out, op.activation)
    return Call(
        function=f"elearn_{kind}_pool2d_s8",
        sources=(source,),
        params_type="elearn_pool2d_params",
        params=(
            ("input", image_shape(x)),
            ("output", image_shape(out)),
            ("window", window_fields(op.window)),
            ("output_min", low),
            ("output_max", high),
            ("is_clamped", int((low, high) != (-128, 127))),
            *more,
        ),
        in_place=(0,) if _runs_in_place(op.window, x, out) else (),
    )


def _sides_inside(window: Window, x: Tensor, out: Tensor) -> tuple[set[int], set[int]]:
    """Heights and widths that the windows' parts inside the input have."""
    tops = [y * window.stride_h - window.pad_top for y in range(out.shape[1])]
    lefts = [i * window.stride_w - window.pad_left for i in range(out.shape[2])]
    return (
        {min(top + window.kernel_h, x.shape[1]) - max(top, 0) for top in tops},
        {min(left + window.kernel_w, x.shape[2]) - max(left, 0) for left in lefts},
    )


def _reciprocal_is_exact(count: int) -> bool:
    """Whether the kernel's multiplication gives sum / count, halves away from zero, for each sum of `count` int8."""
    sums = np.arange(-128 * count, 127 * count + 1, dtype=np.int64)
    averages = (sums * (2**30 // count + 1) + 2**29) >> 30
    halves = np.where(sums > 0, count // 2, -(count // 2))
    quotients = np.sign(sums) * (np.abs(sums + halves) // count)
    return bool((averages == quotients).all())


def _runs_in_place(window: Window, x: Tensor, out: Tensor) -> bool:
    """Whether each window begins at or behind the place of its output, so that no later one reads what is written."""
    return all(
        max(y * window.stride_h - window.pad_top, 0) * x.shape[2] + max(i * window.stride_w - window.pad_left, 0)
        >= y * out.shape[2] + i
        for y in range(out.shape[1])
        for i in range(out.shape[2])
    )


LOWERINGS: Lowerings = {AveragePool2D: _average_pool, MaxPool2D: _max_pool}
