"""The exponentials of a softmax as a table, in fixed point as the LiteRT reference kernel computes them.

Outputs depend on how far each input is below its row's largest: on at most 256 differences. What is so small that it
changes neither the sum nor its own output is left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgelearn.codegen.requantize import Scale, requantize_twice

#: gemmlowp: exp(-2^n) in Q0.31 for n = -2 to 4 (exp_on_negative_values).
_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_INTEGER_BITS = 5
_FRACTION_BITS = 31 - _INTEGER_BITS
#: From here on an exponential in Q0.31 counts in the sum, which has 19 fraction bits; an output needs far more.
_SMALLEST = 2**11

Integers = npt.NDArray[np.int64]


def exponentials(scale: Scale, difference_min: int) -> tuple[int, ...]:
    """The exponentials in Q0.31 of 0, -1, -2, ... steps of the input.

    Args:
        scale: of a step to Q5.26; its shift is not negative.
        difference_min: below it LiteRT takes an exponential for 0.
    """
    differences = np.arange(0, max(-256, difference_min - 1), -1, dtype=np.int64)
    values = _exp_of_negative(requantize_twice(differences, scale))
    return tuple(int(v) for v in values[: np.flatnonzero(values >= _SMALLEST).max() + 1])


def _exp_of_negative(a: Integers) -> Integers:
    """exp(a) in Q0.31 for a <= 0 in Q5.26 (gemmlowp: exp_on_negative_values)."""
    quarter = 1 << (_FRACTION_BITS - 2)
    fraction = (a & (quarter - 1)) - quarter
    remainder = fraction - a
    result = _exp_near_zero(np.maximum(fraction << _INTEGER_BITS, -(2**31)))
    for bit, factor in enumerate(_FACTORS):
        result = np.where(remainder & (quarter << bit), _multiply_high(result, factor), result)
    return np.where(a == 0, 2**31 - 1, result)


def _exp_near_zero(a: Integers) -> Integers:
    """exp(a) in Q0.31 for -1/4 <= a < 0 (gemmlowp: exp_on_interval_between_negative_one_quarter_and_0_excl)."""
    exp_minus_eighth, third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = _multiply_high(x, x)
    x3, x4 = _multiply_high(x2, x), _multiply_high(x2, x2)
    quarter_x4 = (x4 + 2) >> 2
    high = _half(_multiply_high(quarter_x4 + x3, third) + x2)
    return exp_minus_eighth + _multiply_high(x + high, exp_minus_eighth)


def _multiply_high(a: Integers, b: Integers | int) -> Integers:
    result: Integers = (a * b + (1 << 30)) >> 31
    return result


def _half(values: Integers) -> Integers:
    """Halved, halves away from zero."""
    result: Integers = (values + (values >= 0)) >> 1
    return result
