"""Weights and constants in the order in which the walks of elearn_matmul_s8.c read them.

See elearn_matmul_s8.h for the stream, and for why two channels fit into one 16-bit lane.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn.codegen.fold import LARGEST_SHIFT, Channel, Folded, fold, is_equal, shift_of, thresholds
from edgelearn.codegen.lowering.call import Constant, Source
from edgelearn.codegen.requantize import Scale

MATMUL = Source(name="elearn_matmul_s8.c", code_bytes=1390)
WINDOWS = Source(name="elearn_windows_s8.c", code_bytes=1290)

#: The sum of the second channel of a pair is known modulo 2^24 only; that of the first is doubled.
_SECOND_SUM_LIMIT = 2**23
_FIRST_SUM_LIMIT = 2**30

Integers = npt.NDArray[np.int64]


class Layer(Struct, frozen=True, kw_only=True):
    """A layer as a product of matrices.

    Attributes:
        weights: [outputs, inputs], int8 values.
        bias: [outputs], to which the input's zero point is not yet applied.
        scales: one for each output.
        input_zero_point, output_zero_point, low, high: of input and output, and the output's clamp.
    """

    weights: Integers
    bias: Integers
    scales: tuple[Scale, ...]
    input_zero_point: int
    output_zero_point: int
    low: int
    high: int


class Stream(Struct, frozen=True, kw_only=True):
    """What a walk reads.

    Attributes:
        words: the stream.
        shift: of the folded form; -1 where the stream has one for each channel.
        constants: multiplier and offset, where they serve all outputs and the stream has none.
    """

    words: tuple[int, ...]
    shift: int
    constants: tuple[int, ...] = ()

    def constant(self) -> Constant:
        """The array in flash."""
        return Constant(suffix="weights", c_type="uint32_t", elements=self.words, size_bytes=4 * len(self.words))


def eights(inputs: int) -> int:
    """Groups of eight values, the last one padded."""
    return -(-inputs // 8)


def windows_scratch_bytes(count: int, *, kernel_w: int, channels: int) -> int:
    """What elearn_windows_s8 needs for windows of `count` groups of eight values."""
    return 32 * count + (16 * count + 4 if channels % 4 else kernel_w * channels)


def _bias_with_zero_point(layer: Layer) -> Integers:
    """The sum to begin with when the values are used as they are: bias - zero point * sum of weights."""
    bias: Integers = layer.bias - layer.input_zero_point * layer.weights.sum(axis=1)
    return bias


def _channels(layer: Layer) -> list[Channel]:
    """The range of each output's sum, over all int8 values that its inputs can have."""
    bias = _bias_with_zero_point(layer)
    up, down = np.maximum(layer.weights, 0).sum(axis=1), np.minimum(layer.weights, 0).sum(axis=1)
    return [
        Channel(
            scale=scale,
            sum_min=int(bias[i] - 128 * up[i] + 127 * down[i]),
            sum_max=int(bias[i] + 127 * up[i] - 128 * down[i]),
            zero_point=layer.output_zero_point,
            low=layer.low,
            high=layer.high,
        )
        for i, scale in enumerate(layer.scales)
    ]


def _lanes(weights: Integers) -> Integers | None:
    """[outputs / 2, inputs / 2] words of the pairs; None where a pair does not fit 16 bits."""
    outputs, inputs = weights.shape
    padded = np.zeros((outputs + outputs % 2, 8 * eights(inputs)), np.int64)
    padded[:outputs, :inputs] = weights
    both = padded[0::2] + 256 * padded[1::2]
    if both.min(initial=0) < -(2**15) or both.max(initial=0) >= 2**15:
        return None
    groups = both.reshape(len(both), -1, 4)
    low, high = groups[:, :, [0, 1]], groups[:, :, [2, 3]]
    words: Integers = ((low & 0xFFFF) | ((high & 0xFFFF) << 16)).reshape(len(both), -1)
    return words


def _sums_fit(channels: list[Channel], biases: list[int]) -> bool:
    for number, (channel, bias) in enumerate(zip(channels, biases, strict=True)):
        limit = _SECOND_SUM_LIMIT if number % 2 else _FIRST_SUM_LIMIT
        if not (-limit < channel.sum_min + bias and channel.sum_max + bias < limit):
            return False
    return True


def _unsigned(values: list[int]) -> list[int]:
    return [value % 2**32 for value in values]


def _fold_all(channels: list[Channel], *, rounds_twice: bool) -> tuple[int, list[Folded]] | None:
    shift = shift_of(channels)
    if shift is None:
        return None
    folded: list[Folded] = []
    for channel in channels:
        if channel.scale.shift > 0 or channel.scale.shift < -31:
            return None
        found = fold(channel, shift, rounds_twice=rounds_twice)
        if found is None:
            return None
        folded.append(found)
    return shift, folded


def pixels_stream(layer: Layer) -> Stream | None:
    """The stream of a convolution: folded where that is proved for all channels, else rounded twice, or None."""
    channels, words = _channels(layer), _lanes(layer.weights)
    if words is None:
        return None
    first = _bias_with_zero_point(layer)
    # Rounding halves away from zero has one sign only where the output never goes below its zero point.
    found = _fold_all(channels, rounds_twice=True) if layer.low >= layer.output_zero_point else None
    if found is not None:
        shift, folded = found
        biases = [f.bias for f in folded]
        if _sums_fit(channels, biases):
            constants = [_unsigned([f.multiplier, f.offset]) for f in folded]
            return Stream(words=_pairs(first + np.array(biases), words, constants, []), shift=shift)
    if not _sums_fit(channels, [0] * len(channels)):
        return None
    constants, shifts = [], []
    for channel in channels:
        right = -channel.scale.shift
        if channel.scale.multiplier == 0:
            right = 1
        if not 1 <= right <= LARGEST_SHIFT:
            return None
        constants.append(_unsigned([channel.scale.multiplier, (1 << (right - 1)) + (channel.zero_point << right)]))
        shifts.append(right)
    return Stream(words=_pairs(first, words, constants, shifts), shift=-1)


def _pairs(bias: Integers, words: Integers, constants: list[list[int]], shifts: list[int]) -> tuple[int, ...]:
    """For each pair: first sums, weights, constants, shifts."""
    stream: list[int] = []
    if len(bias) % 2:
        bias, constants = np.append(bias, 0), [*constants, [0, 0]]
        shifts = [*shifts, 0] if shifts else []
    for pair, row in enumerate(words):
        a, b = 2 * pair, 2 * pair + 1
        stream += _unsigned([int(bias[a] + 256 * bias[b]), int(bias[a])])
        stream += row.tolist()
        stream += constants[a] + constants[b]
        if shifts:
            stream.append(shifts[a] + 256 * shifts[b])
    return tuple(stream)


def sums_stream(weights: Integers, begins: Integers) -> Stream | None:
    """The stream of a walk that leaves requantisation to others; None where pairs or sums would not be exact.

    Args:
        weights: [outputs, inputs], int8 values; outputs are a multiple of four.
        begins: [outputs], the sums to begin with.
    """
    words = _lanes(weights)
    up, down = np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)
    lowest, highest = begins - 128 * up + 127 * down, begins + 127 * up - 128 * down
    limits = np.resize([_FIRST_SUM_LIMIT, _SECOND_SUM_LIMIT], len(begins))
    if words is None or (lowest <= -limits).any() or (highest >= limits).any():
        return None
    return Stream(words=_fours(begins, words, []), shift=0)


def vector_stream(layer: Layer) -> Stream | None:
    """The stream of a dense layer, folded; None where that is not proved for all outputs."""
    channels, words = _channels(layer), _lanes(layer.weights)
    if words is None:
        return None
    bias = _bias_with_zero_point(layer)
    uniform = _uniform(channels)
    if uniform is not None:
        if not _sums_fit(channels, [0] * len(channels)):
            return None
        shift, constants = uniform
        stream = _fours(bias, words, [])
        return Stream(words=stream, shift=shift, constants=tuple(constants) * 4)
    found = _fold_all(channels, rounds_twice=False)
    if found is None:
        return None
    shift, folded = found
    biases = [f.bias for f in folded]
    if not _sums_fit(channels, biases):
        return None
    constants_of = [_unsigned([f.multiplier, f.offset]) for f in folded]
    return Stream(words=_fours(bias + np.array(biases), words, constants_of), shift=shift)


def _uniform(channels: list[Channel]) -> tuple[int, list[int]] | None:
    """Shift, multiplier and offset where one scale serves all outputs and no half below zero is within reach."""
    scale, zero_point = channels[0].scale, channels[0].zero_point
    shift = -1 - scale.shift
    if any(channel.scale != scale for channel in channels) or not 1 <= shift <= LARGEST_SHIFT:
        return None
    plain = Folded(multiplier=scale.multiplier, offset=(1 << (shift - 1)) + (zero_point << shift), bias=0)
    if not all(is_equal(c, shift, plain, thresholds(c, rounds_twice=False)) for c in channels):
        return None
    return shift, [plain.multiplier, plain.offset]


def _fours(bias: Integers, words: Integers, constants: list[list[int]]) -> tuple[int, ...]:
    """For each four outputs: first sums, weights of the two pairs word by word, constants."""
    missing = -len(bias) % 4
    bias = np.append(bias, np.zeros(missing, np.int64))
    if constants:
        constants = constants + [[0, 0]] * missing
    if len(words) % 2:
        words = np.vstack([words, np.zeros_like(words[:1])])
    stream: list[int] = []
    for four in range(len(bias) // 4):
        a = 4 * four
        for i in (a, a + 2):
            stream += _unsigned([int(bias[i] + 256 * bias[i + 1]), int(bias[i])])
        stream += np.stack([words[2 * four], words[2 * four + 1]], axis=1).reshape(-1).tolist()
        for constant in constants[a : a + 4]:
            stream += constant
    return tuple(stream)
