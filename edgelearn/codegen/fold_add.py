"""ADD and SUB of two int8 tensors as one linear form, and the proof that it is the same.

The LiteRT kernel rounds three times. Over all 65,536 pairs of int8 it is, for nearly all scales, also

    output = clamp(((a * multiplier1 + b * multiplier2 + offset) >> shift) - 128)

with integers that are searched here: each pair bounds the offset from one side or from both, so for two multipliers
the offset lies in an interval, which is empty or gives the answer. What is found is then checked over all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn.codegen.requantize import Scale, requantize_twice, to_scale
from edgelearn.ir import Tensor

Integers = npt.NDArray[np.int64]

#: LiteRT: the headroom of the int8 ADD.
LEFT_SHIFT = 20
#: The shifts that are tried, the finest first: elearn_add_folded_s8 has 22 and 21 as constants.
SHIFTS = (22, 21, 20, 19, 18)
#: How far from their nearest values the multipliers are searched.
_REACH = 12
_ALL = np.arange(-128, 128, dtype=np.int64)


class Operands(Struct, frozen=True, kw_only=True):
    """The constants of the LiteRT kernel (`AddElementwise`): scales and zero points of a, b and the output.

    Attributes:
        scales: of a and b to what both share, and from there to the output; that of b is negative in a difference.
        low, high: the clamp of the output.
    """

    scales: tuple[Scale, Scale, Scale]
    zero_points: tuple[int, int, int]
    low: int
    high: int


class Folded(Struct, frozen=True, kw_only=True):
    """The constants of the linear form; 128 lies in the offset, as the kernel saturates to unsigned bytes."""

    multiplier1: int
    multiplier2: int
    offset: int
    shift: int


def operands(a: Tensor, b: Tensor, out: Tensor, clamp: tuple[int, int], *, is_difference: bool) -> Operands:
    """The constants as LiteRT works them out in its preparation."""
    twice = 2.0 * max(a.scale, b.scale)
    second = to_scale(b.scale / twice)
    if is_difference:
        second = Scale(multiplier=-second.multiplier, shift=second.shift)
    return Operands(
        scales=(to_scale(a.scale / twice), second, to_scale(twice / (2**LEFT_SHIFT * out.scale))),
        zero_points=(a.zero_point, b.zero_point, out.zero_point),
        low=clamp[0],
        high=clamp[1],
    )


def exact(constants: Operands) -> Integers:
    """The outputs of the LiteRT kernel for all pairs; [a + 128, b + 128]."""
    first, second = (
        requantize_twice((_ALL - zero_point) << LEFT_SHIFT, scale)
        for zero_point, scale in zip(constants.zero_points, constants.scales[:2], strict=False)
    )
    sums = first[:, None] + second[None, :]
    values = requantize_twice(sums, constants.scales[2]) + constants.zero_points[2]
    outputs: Integers = np.clip(values, constants.low, constants.high)
    return outputs


def folded(constants: Folded, low: int, high: int) -> Integers:
    """The outputs of the linear form for all pairs."""
    sums = constants.multiplier1 * _ALL[:, None] + constants.multiplier2 * _ALL[None, :] + constants.offset
    outputs: Integers = np.clip((sums >> constants.shift) - 128, low, high)
    return outputs


def fold(constants: Operands) -> Folded | None:
    """A linear form with the same bytes for all pairs and sums within 32 bits, or None where none was found."""
    outputs = exact(constants)
    for shift in SHIFTS:
        found = next((f for f in _candidates(constants, outputs, shift) if _fits(f)), None)
        if found is not None and np.array_equal(folded(found, constants.low, constants.high), outputs):
            return found
    return None


def _candidates(constants: Operands, outputs: Integers, shift: int) -> Iterator[Folded]:
    """Linear forms that meet the bounds of all pairs, from the nearest multipliers outwards."""
    ratios = [
        math.ldexp(s.multiplier * constants.scales[2].multiplier, s.shift + constants.scales[2].shift - 62 + LEFT_SHIFT)
        for s in constants.scales[:2]
    ]
    nearest = [round(ratio * 2**shift) for ratio in ratios]
    if max(abs(k) for k in nearest) * 128 >= 2**31:
        return
    a, b = (values.reshape(-1) for values in np.broadcast_arrays(_ALL[:, None], _ALL[None, :]))
    flat = outputs.reshape(-1)
    linear = a * nearest[0] + b * nearest[1]
    # offset >= from_below for outputs above the lowest, offset < from_above for those below the highest.
    from_below, from_above = (flat + 128 << shift) - linear, (flat + 129 << shift) - linear
    above, below = flat > constants.low, flat < constants.high
    lower, upper = from_below[above], from_above[below]
    if not len(lower) or not len(upper):
        return
    # Only pairs that can bind within the reach of the search; the proof later looks at all.
    margin = 4 * 128 * _REACH
    tight_below = np.flatnonzero(above)[lower >= lower.max() - margin]
    tight_above = np.flatnonzero(below)[upper <= upper.min() + margin]
    steps = sorted(range(-_REACH, _REACH + 1), key=abs)
    grid = sorted(((i, j) for i in steps for j in steps), key=lambda step: max(abs(step[0]), abs(step[1])))
    for i, j in grid:
        lowest = int((from_below[tight_below] - i * a[tight_below] - j * b[tight_below]).max())
        end = int((from_above[tight_above] - i * a[tight_above] - j * b[tight_above]).min())
        if lowest < end:
            yield Folded(
                multiplier1=nearest[0] + i, multiplier2=nearest[1] + j, offset=(lowest + end) // 2, shift=shift
            )


def _fits(constants: Folded) -> bool:
    """Whether every partial sum of the kernel and both multipliers, shifted by 8, fit in 32 bits."""
    ends = [(constants.multiplier1 * v, constants.multiplier2 * w) for v in (-128, 127) for w in (-128, 127)]
    sums = [s for first, second in ends for s in (constants.offset + first, constants.offset + first + second)]
    multipliers = [constants.multiplier1 << 8, constants.multiplier2 << 8]
    return all(-(2**31) <= value < 2**31 for value in (constants.offset, *sums, *multipliers))
