"""Requantisation constants, worked out as the LiteRT kernels do in their preparation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn.ir import Activation, Tensor

#: The largest shift to the left that the kernels can do, and so the limit of real factors is 2^30.
LARGEST_SHIFT = 30


class Scale(Struct, frozen=True, kw_only=True):
    """A positive real factor: multiplier 2^(shift - 31), the multiplier in [2^30, 2^31)."""

    multiplier: int
    shift: int


def _round_half_away(value: float) -> int:
    return math.floor(value + 0.5) if value >= 0 else math.ceil(value - 0.5)


def to_scale(real: float) -> Scale:
    """The nearest Scale to a real factor (LiteRT: QuantizeMultiplier); beyond LARGEST_SHIFT also for infinity."""
    if real == 0.0:
        return Scale(multiplier=0, shift=0)
    fraction, shift = math.frexp(min(real, 2.0**64))
    multiplier = _round_half_away(fraction * 2**31)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -31:
        return Scale(multiplier=0, shift=0)
    return Scale(multiplier=multiplier, shift=shift)


def requantize_twice(values: npt.NDArray[np.int64], scale: Scale) -> npt.NDArray[np.int64]:
    """Multiply by a factor as CONV_2D and most kernels do (LiteRT: MultiplyByQuantizedMultiplier).

    A saturating rounding doubling high multiply of int32, then a rounding shift to the right, halves away from zero.

    Args:
        values: int32 values; what a shift to the left takes beyond 32 bits is lost, as on the device.
        scale: its shift is at most LARGEST_SHIFT.
    """
    left, right = max(scale.shift, 0), max(-scale.shift, 0)
    wrapped = ((values << left) + 2**31 & 0xFFFFFFFF) - 2**31
    high = (wrapped * scale.multiplier + (1 << 30)) >> 31
    mask = (1 << right) - 1
    result: npt.NDArray[np.int64] = (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))
    return result


def convolution_scales(x: Tensor, weight: Tensor, out: Tensor, channels: int) -> tuple[Scale, ...]:
    """One Scale for each output channel: s_x s_w / s_out."""
    if weight.quant is None:
        raise ValueError(f"{weight.name} has no quantisation")
    scales = weight.quant.scale
    if len(scales) == 1:
        scales = scales * channels
    return tuple(to_scale(x.scale * scale / out.scale) for scale in scales)


def dense_factors(x: Tensor, weight: Tensor, out: Tensor, channels: int) -> tuple[float, ...]:
    """s_x s_w / s_out for each output, in float64 as LiteRT's FULLY_CONNECTED has it.

    Its reference kernel multiplies the sum by it in float64 and rounds that product, halves away from zero.
    """
    if weight.quant is None:
        raise ValueError(f"{weight.name} has no quantisation")
    scales = weight.quant.scale
    if len(scales) == 1:
        scales = scales * channels
    return tuple(x.scale * scale / out.scale for scale in scales)


def exact_scale(factor: float, largest_sum: int) -> Scale | None:
    """The Scale that gives what `dense_factors` says for every sum within reach, or None where 31 bits cannot.

    Both functions are symmetric and never fall, so they are equal where the smallest sum that reaches each output is.

    Args:
        factor: from `dense_factors`.
        largest_sum: the largest magnitude of a sum.
    """
    nearest = to_scale(factor)
    total = 31 - nearest.shift
    if nearest.multiplier == 0 or total < 1:
        return nearest  # no sum reaches 1; or it is refused, being beyond LARGEST_SHIFT
    halves = np.arange(1, 256) - 0.5
    reached = np.ceil(halves / factor)
    # The quotient is rounded: one sum less or more may be the first whose product reaches the half.
    reached = np.where((reached - 1) * factor >= halves, reached - 1, reached)
    reached = np.where(reached * factor < halves, reached + 1, reached)
    firsts = [(output, min(int(first), largest_sum + 1)) for output, first in enumerate(reached, start=1)]
    half = 1 << (total - 1)

    def meets(multiplier: int, output: int, first: int) -> bool:
        reaches = first > largest_sum or first * multiplier + half >= output << total
        return reaches and (first - 1) * multiplier + half < output << total

    for step in (0, 1, -1, 2, -2, 3, -3):
        multiplier = nearest.multiplier + step
        if multiplier < 2**31 and all(meets(multiplier, output, first) for output, first in firsts):
            return Scale(multiplier=multiplier, shift=nearest.shift)
    return None


def mean_scale(x: Tensor, out: Tensor, count: int) -> Scale:
    """s_x / (s_out count), the division folded into the multiplier (LiteRT: QuantizedMeanOrSum)."""
    scale = to_scale(x.scale / out.scale)
    shift = min(count.bit_length() - 1, 32, 31 + scale.shift)
    return Scale(multiplier=(scale.multiplier << shift) // count, shift=scale.shift - shift)


def output_range(out: Tensor, activation: Activation) -> tuple[int, int]:
    """Smallest and largest int8 output under a fused activation (LiteRT: CalculateActivationRangeQuantized)."""
    low, high = -128, 127
    if activation is not Activation.NONE:
        low = max(low, quantized_bound(out, 0.0))
    if activation is Activation.RELU6:
        high = min(high, quantized_bound(out, 6.0))
    return low, high


def quantized_bound(out: Tensor, value: float) -> int:
    """A real bound in steps of the output, not clamped to int8."""
    # The float32 quotient: both are float32, so rounding their double quotient gives it. Beyond int8 all is one.
    return out.zero_point + _round_half_away(float(np.float32(min(value / out.scale, 2.0**31))))
