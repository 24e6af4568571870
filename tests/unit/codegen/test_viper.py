"""The near form of a requantisation, against the exact one."""

from __future__ import annotations

import numpy as np
import pytest

from edgelearn.codegen.requantize import Scale, requantize_twice
from edgelearn.codegen.viper import _near


@pytest.mark.parametrize("fraction_bits", [18, 20])
def test_the_near_form_is_right_where_it_is_not_in_doubt(fraction_bits: int):
    rng = np.random.default_rng(fraction_bits)
    doubts = []
    for _ in range(300):
        scale = Scale(multiplier=int(rng.integers(2**30, 2**31)), shift=-int(rng.integers(0, 16)))
        zero_point = int(rng.choice([-128, 127, int(rng.integers(-128, 128))]))
        # From less than the outputs' range to many times as much.
        reach = int(min(2 ** rng.uniform(4, 13) * 2.0**-scale.shift, 2**29))
        right, factor, offset, limit = _near(scale.multiplier, scale.shift, zero_point, reach, fraction_bits)
        sums = np.concatenate([rng.integers(-reach, reach + 1, 3000), [-reach, reach, 0, -1, 1]])
        # Beside the thresholds too
        halves = np.rint((np.arange(-140, 140) - 0.5) * 2.0**31 / scale.multiplier * 2.0**-scale.shift).astype(np.int64)
        sums = np.concatenate([sums, *(np.clip(halves + step, -reach, reach) for step in (-1, 0, 1))])
        near = (sums >> right) * factor + offset
        assert np.abs(near).max() < 2**31
        in_doubt = near & (2**fraction_bits - 1) > limit
        exact = np.clip(requantize_twice(sums, scale) + zero_point, -128, 127) + 128
        found = np.clip(near >> fraction_bits, 0, 255)
        np.testing.assert_array_equal(found[~in_doubt], exact[~in_doubt])
        doubts.append(in_doubt[:3000].mean())
    # Most of the scales of real layers are among these; where none is found, all is in doubt.
    assert np.median(doubts) < 0.2


@pytest.mark.parametrize("scale", [Scale(multiplier=0, shift=0), Scale(multiplier=2**30, shift=1)])
def test_without_a_near_form_all_is_in_doubt(scale: Scale):
    assert _near(scale.multiplier, scale.shift, 5, 1000, 18) == (0, 0, 0, -1)
