"""Requantisation folded into one multiply-add, and the proof that it is the same.

The LiteRT kernels take a sum to an int8 output by a function that never falls: it is known by its thresholds, for each
output the smallest sum that reaches it. So is the folded form

    output = saturate8((offset + high32((sum + bias) * multiplier)) >> shift)

and the two are equal when all thresholds within reach are. `fold` searches the constants: the thresholds of the folded
form are ceil(j P - phi) with the period P = 2^(32 + shift) / multiplier and the phase phi = offset 2^32 / multiplier +
bias, so each output j bounds phi for a given P, and as 2^32 / multiplier is no whole number, offset and bias reach
phases much finer than one. What is found is checked in whole numbers before it is used.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn.codegen.requantize import Scale

#: Beyond it offsets would leave 32 bits.
LARGEST_SHIFT = 22
#: How far from their nearest values multipliers and offsets are searched.
_MULTIPLIERS = 48
_OFFSETS = 6000
#: Thresholds beyond what 32 bits hold are all alike: never reached.
_NEVER = 2**40

Integers = npt.NDArray[np.int64]


class Channel(Struct, frozen=True, kw_only=True):
    """One output channel's requantisation.

    Attributes:
        scale: the factor.
        sum_min, sum_max: what the sum, bias included, can be.
        zero_point, low, high: of the output, with its clamp.
    """

    scale: Scale
    sum_min: int
    sum_max: int
    zero_point: int
    low: int
    high: int


class Folded(Struct, frozen=True, kw_only=True):
    """Constants of the folded form for one channel; `bias` is to be added to the sum."""

    multiplier: int
    offset: int
    bias: int


def thresholds(channel: Channel, *, rounds_twice: bool) -> Integers:
    """For each output from low + 1 to high the smallest sum that reaches it.

    Args:
        channel: its shift must not be to the left.
        rounds_twice: as CONV_2D does (`MultiplyByQuantizedMultiplier`: a saturating rounding doubling high multiply,
            then a rounding shift to the right, halves away from zero), else once, halves away from zero, as
            FULLY_CONNECTED is with an `exact_scale`.
    """
    multiplier, right = channel.scale.multiplier, -channel.scale.shift
    outputs = range(channel.low + 1, channel.high + 1)
    if multiplier == 0:
        return np.array([-_NEVER if v <= channel.zero_point else _NEVER for v in outputs], np.int64)
    found = []
    for output in outputs:
        value = output - channel.zero_point
        if rounds_twice:
            half = (1 << right) >> 1
            # Halves go up where the value is positive and down where it is negative.
            reached = (value << right) - half + (1 if value <= 0 and right > 0 else 0)
            product = (reached << 31) - (1 << 30)
        else:
            product = (value << (31 + right)) - (1 << (30 + right)) + (1 if value <= 0 else 0)
        found.append(max(-_NEVER, min(_NEVER, -(-product // multiplier))))
    return np.array(found, np.int64)


def shift_of(channels: list[Channel]) -> int | None:
    """The shift that leaves the multipliers of all channels as many bits as 31 hold; None where there is none."""
    largest = max((math.ldexp(c.scale.multiplier, c.scale.shift - 31) for c in channels), default=0.0)
    if largest <= 0.0:
        return 0
    shift = math.floor(-1.001 - math.log2(largest))
    return min(shift, LARGEST_SHIFT) if shift >= 0 else None


def fold(channel: Channel, shift: int, *, rounds_twice: bool) -> Folded | None:
    """Constants with which the folded form is equal for every sum within reach, or None where none were found."""
    reached = thresholds(channel, rounds_twice=rounds_twice)
    outputs = np.arange(channel.low + 1, channel.high + 1, dtype=np.int64)
    # A threshold is met when output j begins in (above, upto]; out of reach any place out of reach will do.
    above = np.where(reached > channel.sum_max, channel.sum_max, reached - 1).astype(np.float64)
    upto = np.where(reached <= channel.sum_min, channel.sum_min, reached).astype(np.float64)
    above[reached <= channel.sum_min] = -np.inf
    upto[reached > channel.sum_max] = np.inf
    real = math.ldexp(channel.scale.multiplier, channel.scale.shift - 31)
    nearest = round(real * 2.0 ** (32 + shift))
    multipliers = nearest + np.array(sorted(range(-_MULTIPLIERS, _MULTIPLIERS + 1), key=abs))
    multipliers = multipliers[(multipliers > 0) & (multipliers < 2**31)]
    if not len(multipliers):
        multipliers = np.array([1])
    begins = outputs * (2.0 ** (32 + shift) / multipliers)[:, None]
    lowest = np.max(begins - upto, axis=1, initial=-np.inf)
    highest = np.min(begins - above, axis=1, initial=np.inf)
    for index in np.flatnonzero(lowest < highest):
        found = _with_phase(
            channel, shift, int(multipliers[index]), float(lowest[index]), float(highest[index]), reached
        )
        if found is not None:
            return found
    return None


def _with_phase(
    channel: Channel, shift: int, multiplier: int, lowest: float, highest: float, reached: Integers
) -> Folded | None:
    """Offset and bias whose phase lies in [lowest, highest), checked; the smallest bias first."""
    unit = 2.0**32 / multiplier
    if not math.isfinite(lowest) and not math.isfinite(highest):
        lowest = highest = 0.0
    middle = (max(lowest, highest - 4 * unit) + min(highest, lowest + 4 * unit)) / 2
    if not math.isfinite(middle):
        middle = lowest + 1.0 if math.isfinite(lowest) else highest - 1.0
    offsets = round(middle / unit) + np.array(sorted(range(-_OFFSETS, _OFFSETS + 1), key=abs), dtype=np.int64)
    # In the middle of what is allowed, so that rounding here cannot spoil it.
    biases = np.round(min(max(middle, lowest), highest) - offsets * unit)
    phases = offsets * unit + biases
    for index in np.flatnonzero((phases >= lowest) & (phases < highest))[:4]:
        found = Folded(multiplier=multiplier, offset=int(offsets[index]), bias=int(biases[index]))
        if is_equal(channel, shift, found, reached):
            return found
    return None


def is_equal(channel: Channel, shift: int, folded: Folded, reached: Integers) -> bool:
    """Whether the folded form meets every threshold within reach, in whole numbers and within 32 bits."""
    low_end, high_end = channel.sum_min + folded.bias, channel.sum_max + folded.bias
    if not (low_end >= -(2**31) and high_end < 2**31 and 0 < folded.multiplier < 2**31):
        return False
    extremes = [folded.offset + (end * folded.multiplier >> 32) for end in (low_end, high_end)]
    if not (min(extremes) >= -(2**31) and max(extremes) < 2**31 and -(2**31) <= folded.offset < 2**31):
        return False

    def output(sums: Integers) -> Integers:
        values: Integers = (folded.offset + ((sums + folded.bias) * folded.multiplier >> 32)) >> shift
        return values

    outputs = np.arange(channel.low + 1, channel.high + 1, dtype=np.int64)
    ends = (channel.sum_min, channel.sum_max)
    at = np.clip(reached, *ends)
    before = np.clip(reached - 1, *ends)
    reaches = output(at) >= outputs
    stays = output(before) < outputs
    # At a threshold within reach the output is reached, and not one sum before; beyond, it never or always is.
    inside = (reached > channel.sum_min) & (reached <= channel.sum_max)
    always, never = reached <= channel.sum_min, reached > channel.sum_max
    right = (inside & reaches & stays) | (always & reaches) | (never & stays)
    return bool(right.all())
