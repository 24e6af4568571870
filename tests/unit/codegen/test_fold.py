"""Folded requantisation: equal to the reference for every sum within reach, or not used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edgelearn.codegen.fold import Channel, fold, is_equal, shift_of, thresholds
from edgelearn.codegen.lowering.matmul import Layer, pixels_stream, vector_stream
from edgelearn.codegen.requantize import Scale, to_scale


def reference(sums, scale, *, rounds_twice):
    """MultiplyByQuantizedMultiplier for shifts to the right, as gemmlowp states it."""
    right = -scale.shift
    product = sums.astype(object) * scale.multiplier
    if not rounds_twice:
        return (product + (1 << (30 + right)) - (product < 0)) >> (31 + right)
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.array([_towards_zero(value) for value in product + nudge], object)
    mask = (1 << right) - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> right) + ((high & mask) > threshold)


def _towards_zero(value):
    """value / 2^31 without its fraction."""
    return -((-value) >> 31) if value < 0 else value >> 31


def outputs(sums, channel, *, rounds_twice):
    value = reference(sums, channel.scale, rounds_twice=rounds_twice) + channel.zero_point
    return np.clip(value.astype(np.int64), channel.low, channel.high)


def folded_outputs(sums, channel, found, shift):
    value = (found.offset + ((sums + found.bias) * found.multiplier >> 32)) >> shift
    return np.clip(np.clip(value, -128, 127), channel.low, channel.high)


@st.composite
def channels(draw, *, one_sign):
    scale = to_scale(2.0 ** draw(st.floats(-13, -2)))
    reach = int(draw(st.floats(0.01, 900)) * 2.0 ** (31 - scale.shift) / scale.multiplier)
    middle = int(draw(st.floats(-1, 1)) * reach)
    zero_point = draw(st.integers(-128, 127))
    high = draw(st.sampled_from([127, min(127, zero_point + 40)]))
    low = zero_point if one_sign else draw(st.sampled_from([-128, zero_point]))
    return Channel(
        scale=scale,
        sum_min=middle - reach,
        sum_max=middle + reach,
        zero_point=zero_point,
        low=low,
        high=max(low, high),
    )


def near(channel, reached):
    """Sums around every threshold, at the ends, and at random, all within reach."""
    edges = (reached[:, None] + np.arange(-2, 3)).reshape(-1)
    ends = np.array([channel.sum_min, channel.sum_min + 1, channel.sum_max - 1, channel.sum_max])
    some = np.linspace(channel.sum_min, channel.sum_max, 500).astype(np.int64)
    return np.clip(np.concatenate([edges, ends, some]), channel.sum_min, channel.sum_max)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.data(), st.booleans())
def test_what_is_folded_is_equal_everywhere(data, rounds_twice):
    channel = data.draw(channels(one_sign=rounds_twice))
    shift = shift_of([channel])
    reached = thresholds(channel, rounds_twice=rounds_twice)
    sums = near(channel, reached)
    expected = outputs(sums, channel, rounds_twice=rounds_twice)
    for output, threshold in zip(range(channel.low + 1, channel.high + 1), reached.tolist(), strict=True):
        if channel.sum_min < threshold <= channel.sum_max:
            two = outputs(np.array([threshold - 1, threshold]), channel, rounds_twice=rounds_twice)
            assert two[0] < output <= two[1]
    found = fold(channel, shift, rounds_twice=rounds_twice)
    assert found is not None
    np.testing.assert_array_equal(folded_outputs(sums, channel, found, shift), expected)


def test_rounding_halves_away_from_zero_is_not_folded():
    """With both signs within reach no multiply-add is the same: nothing is found, whatever is searched."""
    generator = np.random.default_rng(1)
    for _ in range(30):
        scale = to_scale(float(2.0 ** generator.uniform(-11, -6)))
        reach = round(300 * 2.0 ** (31 - scale.shift) / scale.multiplier)
        channel = Channel(scale=scale, sum_min=-reach, sum_max=reach, zero_point=3, low=-128, high=127)
        assert fold(channel, shift_of([channel]), rounds_twice=True) is None


def test_a_wrong_constant_is_found_out():
    scale = to_scale(0.0037)
    channel = Channel(scale=scale, sum_min=-90_000, sum_max=90_000, zero_point=-128, low=-128, high=127)
    shift = shift_of([channel])
    reached = thresholds(channel, rounds_twice=True)
    found = fold(channel, shift, rounds_twice=True)
    assert is_equal(channel, shift, found, reached)
    for other in (
        replace(found, multiplier=found.multiplier + 100_000),
        replace(found, bias=found.bias + 1),
        replace(found, offset=found.offset + 1),
    ):
        assert not is_equal(channel, shift, other, reached)


def layer(scales, *, low, zero_point, weights=None, bias=0):
    if weights is None:
        weights = np.random.default_rng(2).integers(-127, 128, (len(scales), 40))
    weights = np.asarray(weights, np.int64)
    return Layer(
        weights=weights,
        bias=np.full(len(scales), bias, np.int64),
        scales=tuple(to_scale(s) for s in scales),
        input_zero_point=-128,
        output_zero_point=zero_point,
        low=low,
        high=127,
    )


def test_a_layer_falls_back_as_a_whole():
    assert pixels_stream(layer([0.002, 0.003], low=-128, zero_point=-128)).shift >= 0
    # Both signs: two roundings, one after another.
    assert pixels_stream(layer([0.002, 0.003], low=-128, zero_point=-10)).shift == -1
    # A scale that shifts to the left, and one next to it that is tiny.
    assert pixels_stream(layer([1.7, 0.003], low=-128, zero_point=-128)) is None
    assert pixels_stream(layer([0.4, 2.0**-29], low=-128, zero_point=5)) is None
    # Sums of the second channel that 24 bits do not hold; those of the first may.
    big = np.zeros((2, 40), np.int64)
    assert pixels_stream(layer([2.0**-17] * 2, low=-128, zero_point=-128, weights=big, bias=2**24)) is None
    assert pixels_stream(layer([2.0**-17], low=-128, zero_point=-128, weights=big[:1], bias=2**24)) is not None
    # Two weights that do not fit one lane together.
    assert pixels_stream(layer([0.002, 0.003], low=-128, zero_point=-128, weights=[[-1] * 40, [-128] * 40])) is None


@pytest.mark.parametrize(("scales", "uniform"), [([0.004] * 5, True), ([0.004, 0.002, 0.001], False)])
def test_dense_layers_fold_both_signs(scales, uniform):
    stream = vector_stream(layer(scales, low=-128, zero_point=7))
    assert bool(stream.constants) is uniform
    groups = -(-len(scales) // 4)
    assert len(stream.words) == groups * (4 + 40 * 4 // 4 + (0 if uniform else 8))


def test_a_dead_channel_gives_its_zero_point():
    channel = Channel(scale=Scale(multiplier=0, shift=0), sum_min=-9, sum_max=9, zero_point=4, low=-128, high=127)
    found = fold(channel, 3, rounds_twice=True)
    assert found is not None
    assert set(folded_outputs(np.arange(-9, 10), channel, found, 3).tolist()) == {4}
