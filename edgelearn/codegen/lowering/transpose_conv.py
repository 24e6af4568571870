"""Kernel calls of transposed convolutions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn.codegen.lowering.call import (
    DOT,
    Call,
    Constant,
    Lowerings,
    Source,
    Target,
    image_shape,
    integers,
    offset_fields,
    scale_constant,
    window_fields,
)
from edgelearn.codegen.lowering.cost import plain_transpose_conv, transpose_conv_in_pairs
from edgelearn.codegen.lowering.matmul import MATMUL, WINDOWS, Layer, eights, pixels_stream, windows_scratch_bytes
from edgelearn.codegen.requantize import convolution_scales, output_range
from edgelearn.ir import Graph, Tensor, Window
from edgelearn.ir.convolution import TransposeConv

_SOURCE = Source(name="elearn_transpose_conv_s8.c", code_bytes=560)
_PAIRS = Source(name="elearn_transpose_conv_pairs_s8.c", code_bytes=590)

#: sizeof(elearn_transpose_conv_phases).
_PHASES_BYTES = 68

Integers = npt.NDArray[np.int64]


class _Span(Struct, frozen=True, kw_only=True):
    """Phases of one axis that are computed together.

    Attributes:
        first, count: of the phases.
        taps: of the window; the last one is the kernel's first that reaches each phase.
        position, positions: of the window's last tap in the input, those that reach the output.
        start: the output at the first position and phase, which may lie outside.
    """

    first: int
    count: int
    taps: int
    position: int
    positions: int
    start: int


class _Phases(Struct, frozen=True, kw_only=True):
    """Phases of both axes that are computed together."""

    rows: _Span
    columns: _Span

    def channels(self, depth: int) -> int:
        """Of the convolution, where the output has `depth`."""
        return self.rows.count * self.columns.count * depth


def _transpose_conv(graph: Graph, op: TransposeConv, target: Target) -> tuple[Call, ...]:
    plain = _plain(graph, op)
    pairs = _in_pairs(graph, op) if target.dsp else None
    return (plain, pairs) if pairs else (plain,)


def _spans(kernel: int, stride: int, pad: int, outputs: int, *, together: bool) -> tuple[_Span, ...]:
    """The phases of an axis, together or one by one; those without an output are left out."""
    count = stride if together else 1
    spans = []
    for first in range(0, stride, count):
        position = -((first + count - 1 - pad) // stride)
        positions = (outputs - 1 + pad - first) // stride + 1 - position
        if positions > 0:
            spans.append(
                _Span(
                    first=first,
                    count=count,
                    taps=max(1, -(-(kernel - first) // stride)),
                    position=position,
                    positions=positions,
                    start=position * stride + first - pad,
                )
            )
    return tuple(spans)


def splits(window: Window, out: Tensor) -> tuple[tuple[_Phases, ...], ...]:
    """Ways to compute the phases of an output: rows and columns, each together or one by one."""

    def spans(together: tuple[bool, bool]) -> tuple[_Phases, ...]:
        rows = _spans(window.kernel_h, window.stride_h, window.pad_top, out.shape[1], together=together[0])
        columns = _spans(window.kernel_w, window.stride_w, window.pad_left, out.shape[2], together=together[1])
        return tuple(_Phases(rows=r, columns=c) for r in rows for c in columns)

    return tuple(spans((rows, columns)) for rows in (True, False) for columns in (True, False))


def _in_pairs(graph: Graph, op: TransposeConv) -> Call | None:
    """The variant of two positions by two channels; None where its sums or constants would not be exact."""
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out, window = graph.tensor(op.output), op.window
    channels, depth = x.shape[3], out.shape[3]
    in_fours = channels % 4 == 0

    def count(phases: _Phases) -> int:
        return eights(phases.rows.taps * phases.columns.taps * channels)

    def instructions(split: tuple[_Phases, ...]) -> float:
        return sum(
            transpose_conv_in_pairs(
                count(phases),
                positions=phases.rows.positions * phases.columns.positions,
                channels=phases.channels(depth),
                rows=phases.rows.count,
                in_fours=in_fours,
            )
            for phases in split
        )

    split = min(splits(window, out), key=instructions)
    low, high = output_range(out, op.activation)
    kernel = weight.array().astype(np.int64)
    scales = convolution_scales(x, weight, out, depth)
    words: list[int] = []
    table: list[tuple[tuple[int, ...] | int, ...]] = []
    scratch_bytes = 0
    for phases in split:
        rows, columns = phases.rows, phases.columns
        pixels = rows.count * columns.count
        stream = pixels_stream(
            Layer(
                weights=_weights(kernel, window, phases),
                bias=np.tile(bias.array().astype(np.int64), pixels),
                scales=scales * pixels,
                input_zero_point=x.zero_point,
                output_zero_point=out.zero_point,
                low=low,
                high=high,
            )
        )
        if stream is None:
            return None
        # The window's last tap lies at the position.
        pads = (rows.taps - 1 - rows.position, columns.taps - 1 - columns.position)
        table.append(
            (
                (rows.taps, columns.taps, 1, 1, 1, 1, *pads),
                rows.positions,
                columns.positions,
                rows.start,
                columns.start,
                rows.count,
                columns.count,
                count(phases),
                stream.shift,
                len(words),
            )
        )
        words += stream.words
        windows_bytes = windows_scratch_bytes(count(phases), kernel_w=columns.taps, channels=channels)
        even = phases.channels(depth) + phases.channels(depth) % 2
        scratch_bytes = max(scratch_bytes, windows_bytes + 2 * even)
    return Call(
        function="elearn_transpose_conv_pairs_s8",
        sources=(_PAIRS, WINDOWS, MATMUL),
        params_type="elearn_transpose_conv_pairs_params",
        params=(
            ("input", image_shape(x)),
            ("output", image_shape(out)),
            ("stride_h", window.stride_h),
            ("stride_w", window.stride_w),
            ("offsets", offset_fields(x, out, low, high)),
            ("count", len(table)),
            ("phases", "phases"),
            ("stream", "weights"),
        ),
        constants=(
            Constant(
                suffix="phases",
                c_type="elearn_transpose_conv_phases",
                elements=tuple(table),
                size_bytes=_PHASES_BYTES * len(table),
            ),
            Constant(suffix="weights", c_type="uint32_t", elements=tuple(words), size_bytes=4 * len(words)),
        ),
        scratch_bytes=scratch_bytes,
        instructions=instructions(split),
    )


def _weights(kernel: Integers, window: Window, phases: _Phases) -> Integers:
    """[channels, values under the window] of the phases' convolution; taps that do not reach a phase are zero.

    Args:
        kernel: [outputs, kernel_h, kernel_w, inputs].
        window: of the transposed convolution.
        phases: those that are computed together.
    """
    depth, _, _, inputs = kernel.shape
    rows, columns = phases.rows, phases.columns
    weights = np.zeros((rows.count, columns.count, depth, rows.taps, columns.taps, inputs), np.int64)
    for i in range(rows.count):
        for j in range(columns.count):
            taps = kernel[:, rows.first + i :: window.stride_h, columns.first + j :: window.stride_w]
            weights[i, j, :, rows.taps - taps.shape[1] :, columns.taps - taps.shape[2] :] = taps[:, ::-1, ::-1]
    return weights.reshape(-1, rows.taps * columns.taps * inputs)


def _plain(graph: Graph, op: TransposeConv) -> Call:
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out = graph.tensor(op.output)
    return Call(
        function="elearn_transpose_conv_s8",
        sources=(_SOURCE, DOT),
        params_type="elearn_transpose_conv_params",
        params=(
            ("input", image_shape(x)),
            ("output", image_shape(out)),
            ("window", window_fields(op.window)),
            ("offsets", offset_fields(x, out, *output_range(out, op.activation))),
            ("weights", "weights"),
            ("bias", "bias"),
            ("scales", "scales"),
        ),
        constants=(
            integers("weights", "int8_t", weight),
            integers("bias", "int32_t", bias),
            scale_constant(convolution_scales(x, weight, out, out.shape[3])),
        ),
        instructions=plain_transpose_conv(
            op.window, channels=x.shape[3], pixels=out.shape[1] * out.shape[2], depth=out.shape[3]
        ),
    )


LOWERINGS: Lowerings = {TransposeConv: _transpose_conv}
