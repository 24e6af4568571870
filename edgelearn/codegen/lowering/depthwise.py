"""DEPTHWISE_CONV_2D for DSP instructions, four channels at a time: see elearn_depthwise_conv2d_fours_s8.h."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn.codegen.fold import LARGEST_SHIFT, Channel, fold, shift_of
from edgelearn.codegen.lowering.call import Call, Constant, Source
from edgelearn.codegen.lowering.cost import depthwise_in_fours
from edgelearn.codegen.requantize import convolution_scales, output_range
from edgelearn.ir import Graph
from edgelearn.ir.convolution import DepthwiseConv2D

_SOURCE = Source(name="elearn_depthwise_conv2d_fours_s8.c", code_bytes=2440)
#: Expanded lines take as much of the arena, or as much as one line of outputs needs.
_BAND_BYTES = 4096
#: Sums are doubled where they are requantised with two roundings.
_SUM_LIMIT = 2**30

Integers = npt.NDArray[np.int64]


class _Axis(Struct, frozen=True, kw_only=True):
    """One of the two axes, as elearn_taps_axis has it."""

    inputs: int
    outputs: int
    taps: int
    stride: int
    pad: int
    input_step: int
    output_step: int

    def fields(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__)


def depthwise_fours(graph: Graph, op: DepthwiseConv2D) -> Call | None:
    """The call, or None where the kernel cannot do the window or its constants would not be exact."""
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out, window = graph.tensor(op.output), op.window
    channels, depth = x.shape[3], out.shape[3]
    if channels < 4 or window.dilation_h != 1 or window.dilation_w != 1:
        return None
    low, high = output_range(out, op.activation)
    taps = weight.array().astype(np.int64)[0]
    first = bias.array().astype(np.int64) - x.zero_point * taps.sum(axis=(0, 1))
    up, down = np.maximum(taps, 0).sum(axis=(0, 1)), np.minimum(taps, 0).sum(axis=(0, 1))
    requantized = _constants(
        [
            Channel(
                scale=scale,
                sum_min=int(first[i] - 128 * up[i] + 127 * down[i]),
                sum_max=int(first[i] + 127 * up[i] - 128 * down[i]),
                zero_point=out.zero_point,
                low=low,
                high=high,
            )
            for i, scale in enumerate(convolution_scales(x, weight, out, depth))
        ]
    )
    if requantized is None:
        return None
    is_folded, constants = requantized
    rows = _Axis(
        inputs=x.shape[1],
        outputs=out.shape[1],
        taps=window.kernel_h,
        stride=window.stride_h,
        pad=window.pad_top,
        input_step=x.shape[2] * channels,
        output_step=out.shape[2] * depth,
    )
    columns = _Axis(
        inputs=x.shape[2],
        outputs=out.shape[2],
        taps=window.kernel_w,
        stride=window.stride_w,
        pad=window.pad_left,
        input_step=channels,
        output_step=depth,
    )
    # Two places are computed at a time: the axis where fewer are wasted is the one along a line.
    turned = _waste(rows) < _waste(columns)
    line, place = (columns, rows) if turned else (rows, columns)
    weights = taps.transpose(2, 1, 0) if turned else taps.transpose(2, 0, 1)
    threes = line.taps == place.taps == 3 and line.stride == place.stride <= 2
    words = _words(place, threes=threes)
    fit = (_BAND_BYTES // (16 * words) - line.taps) // line.stride + 1
    band = max(1, min(line.outputs, fit))
    held = (band - 1) * line.stride + line.taps
    stream = _stream(weights, first, constants, threes=threes)
    return Call(
        function="elearn_depthwise_conv2d_fours_s8",
        sources=(_SOURCE,),
        params_type="elearn_depthwise_conv2d_fours_params",
        params=(
            ("line", line.fields()),
            ("place", place.fields()),
            ("input_channels", channels),
            ("multiplier", depth // channels),
            ("words", words),
            ("band", band),
            ("input_zero_point", x.zero_point),
            ("output_min", low),
            ("output_max", high),
            ("is_folded", int(is_folded)),
            ("channel_words", len(stream) // depth),
            ("stream", "weights"),
        ),
        constants=(Constant(suffix="weights", c_type="uint32_t", elements=stream, size_bytes=4 * len(stream)),),
        scratch_bytes=16 * words * held,
        in_place=(0,) if out.shape == x.shape and window.stride_h == window.stride_w == 1 and channels % 4 == 0 else (),
        instructions=depthwise_in_fours(window, outputs=out.elements, inputs=x.elements, threes=threes),
    )


def _waste(axis: _Axis) -> float:
    return (axis.outputs % 2) / axis.outputs


def _words(place: _Axis, *, threes: bool) -> int:
    """Pairs of places in an expanded line, so many as the sweep reads."""
    if threes:
        pairs = (place.outputs + 1) // 2
        return pairs + 1 if place.stride == 1 else 2 * pairs + 1
    return (place.outputs - 1) * place.stride // 2 + place.taps // 2 + 1


def _constants(channels: list[Channel]) -> tuple[bool, list[tuple[int, int, int, int]]] | None:
    """Whether all are folded, and for each what to add to the sum, multiplier, offset and shift."""
    if any(c.sum_min <= -_SUM_LIMIT or c.sum_max >= _SUM_LIMIT for c in channels):
        return None
    folded: list[tuple[int, int, int, int]] = []
    for channel in channels:
        shift = shift_of([channel])
        one_sign = channel.low >= channel.zero_point and -31 <= channel.scale.shift <= 0
        found = fold(channel, shift, rounds_twice=True) if shift is not None and one_sign else None
        if found is None or shift is None:
            break
        folded.append((found.bias, found.multiplier, found.offset, shift))
    else:
        return True, folded
    twice = []
    for channel in channels:
        right = -channel.scale.shift if channel.scale.multiplier else 1
        if not 1 <= right <= LARGEST_SHIFT:
            return None
        twice.append((0, channel.scale.multiplier, (1 << (right - 1)) + (channel.zero_point << right), right))
    return False, twice


def _stream(
    weights: Integers, first: Integers, constants: list[tuple[int, int, int, int]], *, threes: bool
) -> tuple[int, ...]:
    """For each output channel: first sum, multiplier, offset, shift, weights [lines, places] in pairs."""
    lines, places = weights.shape[1:]
    pairs = np.zeros((2, len(weights), lines, 2 * (places // 2 + 1)), np.int64)
    pairs[0, :, :, :places] = weights
    pairs[1, :, :, 1 : places + 1] = weights
    stream: list[int] = []
    for channel, (bias, multiplier, offset, shift) in enumerate(constants):
        stream += [(int(first[channel]) + bias) % 2**32, multiplier, offset % 2**32, shift]
        words = pairs[:, channel]
        if threes:
            # (w0, w1) of the even form and (w1, w2) of the odd one
            words = np.stack([words[0, :, :2], words[1, :, 2:]], axis=1)
        words = words.reshape(-1, 2) & 0xFFFF
        stream += (words[:, 0] | words[:, 1] << 16).tolist()
    return tuple(stream)
