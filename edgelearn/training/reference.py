"""The head's reference semantics in NumPy: every rounding of `edgelearn.training.head`, written for reading.

`IntegerHead` is what the generated firmware must match bit for bit. It computes in int64 and asserts that nothing
leaves the int32 range the device has. `FloatHead` is plain float32 SGD, the yardstick for accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn.errors import LearningRateError
from edgelearn.ir import LossKind
from edgelearn.protocol import encode_learning_rate
from edgelearn.recipe import DenseHead, FloatRows, IntegerRows, Residual, TrainingPlan

_INT32_MAX = 2**31 - 1
_INT16_MIN, _INT16_MAX = -(2**15), 2**15 - 1
_LARGEST_UPDATE_SHIFT = 24
_RANDOM_SEED = 2463534242

Int64Array = npt.NDArray[np.int64]


class HeadStep(Struct, frozen=True, kw_only=True, eq=False):
    """What one forward pass gave.

    Attributes:
        logits: int64 [outputs], fixed point.
        probabilities: int64 [outputs], Q15; zeros for squared error.
        prediction: the largest output.
        loss_a, loss_b: the loss as the device sends it, 0 without a label or targets.
    """

    logits: Int64Array
    probabilities: Int64Array
    prediction: int
    loss_a: int
    loss_b: int


def _rs(value: Int64Array, shift: int) -> Int64Array:
    """Rounding right shift, halves up; 0 leaves the value."""
    return value if shift == 0 else _int32(value + (1 << (shift - 1))) >> shift


def _int32(value: Int64Array) -> Int64Array:
    if np.abs(value).max(initial=0) > _INT32_MAX:
        raise OverflowError("a value left the int32 range of the device")
    return value


class XorShift32:
    """Marsaglia's xorshift32, many numbers at once.

    The generator is linear over GF(2), so 2^n steps are one 32 x 32 bit matrix; a block of numbers is made by
    doubling. Each matrix is kept as four tables, one for each byte of the state.
    """

    def __init__(self, seed: int) -> None:
        self.state = seed
        self._jumps = [_table_of(_one_step)]

    def take(self, count: int) -> npt.NDArray[np.uint32]:
        """The next `count` states, uint32."""
        block = np.array([_one_step(self.state)], dtype=np.uint32)
        level = 0
        while block.size < count:
            if level == len(self._jumps):
                self._jumps.append(_twice(self._jumps[-1]))
            block = np.concatenate([block, _apply(self._jumps[level], block)])
            level += 1
        block = block[:count]
        if count:
            self.state = int(block[-1])
        return block


def _one_step(value: int) -> int:
    value ^= (value << 13) & 0xFFFFFFFF
    value ^= value >> 17
    return value ^ ((value << 5) & 0xFFFFFFFF)


def _table_of(step: Callable[[int], int]) -> npt.NDArray[np.uint32]:
    columns = np.array([step(1 << bit) for bit in range(32)], dtype=np.uint32)
    table = np.zeros((4, 256), dtype=np.uint32)
    for byte in range(4):
        for value in range(256):
            for bit in range(8):
                if value >> bit & 1:
                    table[byte, value] ^= columns[8 * byte + bit]
    return table


def _twice(table: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The table of the step made of two of the given table's steps."""
    return _table_of(lambda value: int(_apply(table, _apply(table, np.array([value], np.uint32)))[0]))


def _apply(table: npt.NDArray[np.uint32], states: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    out = table[0, states & 255]
    for byte in range(1, 4):
        out = out ^ table[byte, (states >> np.uint32(8 * byte)) & 255]
    return np.asarray(out, dtype=np.uint32)


def softmax_table() -> Int64Array:
    """T[i] = round(2^(15 - i/64)), i = 0..64."""
    return np.array([round(2 ** (15 - i / 64)) for i in range(65)], dtype=np.int64)


_TABLE = softmax_table()


def softmax_q15(logits: Int64Array, fraction_bits: int) -> tuple[Int64Array, int]:
    """Probabilities in Q15 and the sum of exponentials in Q15, from int32 logits."""
    distance = logits.max() - logits
    d = distance >> (fraction_bits - 12) if fraction_bits >= 12 else distance << (12 - fraction_bits)
    v = np.minimum(d, 65535) * 23637 >> 10
    n, i, w = v >> 16, v >> 10 & 63, v & 1023
    e = (_TABLE[i] - _rs((_TABLE[i] - _TABLE[i + 1]) * w, 10)) >> np.minimum(n, 31)
    e = np.where(n > 15, 0, e)
    total = int(e.sum())
    return ((e << 15) + (total >> 1)) // total, total


class IntegerHead:
    """The state of an integer head and its one step of learning, bit for bit the device's.

    Attributes:
        q, residual: int64 [outputs, features] with the ranges of int8 and uint8; the residual is 128 where not kept.
        bias: int64 [outputs]; row_t, row_rho: int64 [outputs].
        rescales: how many rows were rescaled so far.
    """

    def __init__(self, plan: DenseHead, *, mantissa: int, exponent: int) -> None:
        if not isinstance(plan.rows, IntegerRows):
            raise TypeError("a float head has no integer rows")
        self.plan = plan
        self._rows = plan.rows
        self.row_m = np.array(plan.rows.row_m, dtype=np.int64)
        self.row_r = np.array(plan.rows.row_r, dtype=np.int64)
        self._initial_rate = (mantissa, exponent)
        self.mantissa, self.exponent = mantissa, exponent
        self.reset()

    def reset(self) -> None:
        """Back to the weights the model came with; the learning rate stays.

        One that only the rescaled rows could take falls back to the one the head started with.
        """
        shape = (self.plan.outputs, self.plan.features)
        self.q: Int64Array = np.frombuffer(self._rows.weights, np.int8).reshape(shape).astype(np.int64)
        self.residual: Int64Array = np.full(shape, 128, dtype=np.int64)
        if self._rows.residual:
            self.residual = np.frombuffer(self._rows.residual, np.uint8).reshape(shape).astype(np.int64)
        self.bias: Int64Array = np.array(self._rows.bias, dtype=np.int64)
        self.row_t = np.array(self._rows.row_t, dtype=np.int64)
        self.row_rho = np.array(self._rows.row_rho, dtype=np.int64)
        self.random = XorShift32(_RANDOM_SEED)
        self.rescales = 0
        try:
            self._set(self.mantissa, self.exponent)
        except LearningRateError:
            self._set(*self._initial_rate)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Learn at another rate from now on.

        Raises:
            LearningRateError: the integer update could not represent it; nothing changes.
        """
        self._set(*encode_learning_rate(learning_rate))

    def _set(self, mantissa: int, exponent: int) -> None:
        if mantissa:
            bias_shift = exponent + self.plan.gradient_fraction_bits - self.plan.logit_fraction_bits - 8
            shifts = exponent + self.row_rho + self.plan.gradient_fraction_bits - 30
            if bias_shift < 0 or int(shifts.min()) < 1:
                raise LearningRateError(
                    f"a learning rate of {math.ldexp(mantissa, -exponent):g} is too large for the integer update",
                    hint="give a smaller one",
                )
        self.mantissa, self.exponent = mantissa, exponent
        self.row_k = _rs(mantissa * self.row_r, 15)

    def forward(self, features: npt.NDArray[np.int8]) -> HeadStep:
        """Logits, probabilities and prediction of int8 features [features]."""
        x = features.reshape(-1).astype(np.int64) - self.plan.feature_zero_point
        acc = _int32(self.q @ x)
        high, low = acc >> 15, acc & 0x7FFF
        logits: Int64Array = np.empty(self.plan.outputs, dtype=np.int64)
        for row, t in enumerate(self.row_t.tolist()):
            hi, lo, m = high[row : row + 1], low[row : row + 1], self.row_m[row]
            if t > 15:
                logits[row] = _rs(_int32(_int32(hi * m) + _rs(lo * m, 15)), t - 15)[0]
            else:
                logits[row] = _int32(_int32(hi * m << (15 - t)) + _rs(lo * m, t))[0]
        # rs(b, 8), without the sum that a bias near the end of its range would not survive.
        logits = _int32(logits + _rs(self.bias >> 7, 1))
        probabilities, total = np.zeros_like(logits), 0
        if self.plan.loss is LossKind.CROSS_ENTROPY:
            probabilities, total = softmax_q15(logits, self.plan.logit_fraction_bits)
        return HeadStep(
            logits=logits,
            probabilities=probabilities,
            prediction=int(logits.argmax()),
            loss_a=0,
            loss_b=total,
        )

    def input_targets(self, input_q: npt.NDArray[np.int8]) -> Int64Array:
        """The targets of an autoencoder: the int8 input in the outputs' fixed point."""
        mantissa, shift = self.plan.input_target
        product = (input_q.reshape(-1).astype(np.int64) - self.plan.input_zero_point) * mantissa
        return _rs(product, shift) if shift >= 0 else product << -shift

    def scaled_targets(self, targets: npt.NDArray[np.int16]) -> Int64Array:
        """int16 targets as they cross the link, in the outputs' fixed point."""
        return targets.reshape(-1).astype(np.int64) << self.plan.target_shift

    def gradient(self, step: HeadStep, *, label: int | None, targets: Int64Array | None) -> Int64Array:
        """The gradient of the loss by the outputs, int64 [outputs] within +-32767."""
        if self.plan.loss is LossKind.CROSS_ENTROPY:
            g = step.probabilities.copy()
            g[label] -= 1 << 15
        else:
            g = _rs(_int32(step.logits - np.asarray(targets)), self.plan.error_shift)
        return np.asarray(np.clip(g, -32767, 32767))

    def judge(self, step: HeadStep, *, label: int | None = None, targets: Int64Array | None = None) -> HeadStep:
        """The step with its loss against a class or targets [outputs] in fixed point."""
        if self.plan.loss is LossKind.CROSS_ENTROPY:
            loss_a, loss_b = int(step.logits.max() - step.logits[label]), step.loss_b
        else:
            square = self.gradient(step, label=label, targets=targets) ** 2
            loss_a, loss_b = int((square >> 16).sum()), int((square & 0xFFFF).sum())
        return HeadStep(
            logits=step.logits,
            probabilities=step.probabilities,
            prediction=step.prediction,
            loss_a=loss_a,
            loss_b=loss_b,
        )

    def learn(
        self,
        features: npt.NDArray[np.int8],
        step: HeadStep,
        *,
        label: int | None = None,
        targets: Int64Array | None = None,
    ) -> None:
        """One step of stochastic gradient descent on what `forward` gave for these features."""
        if self.mantissa == 0:
            return
        x = features.reshape(-1).astype(np.int64) - self.plan.feature_zero_point
        g = self.gradient(step, label=label, targets=targets)
        k = _rs(_int32(g * self.row_k), 15)
        shifts = self.exponent + self.row_rho + self.plan.gradient_fraction_bits - 30
        rows = np.flatnonzero((k != 0) & (shifts <= _LARGEST_UPDATE_SHIFT))
        if rows.size:
            self._update(rows, k[rows], shifts[rows], x)
        bias_shift = self.exponent + self.plan.gradient_fraction_bits - self.plan.logit_fraction_bits - 8
        if bias_shift <= 30:
            self.bias = np.clip(self.bias - _rs(_int32(g * self.mantissa), bias_shift), -(2**31), _INT32_MAX)

    def _update(self, rows: npt.NDArray[np.intp], k: Int64Array, shifts: Int64Array, x: Int64Array) -> None:
        low = self.residual[rows]
        if self.plan.residual is Residual.STOCHASTIC:
            low = (self.random.take(low.size) >> np.uint32(24)).astype(np.int64).reshape(low.shape)
        s = shifts[:, None]
        product = _int32(k[:, None] * x[None, :] + (1 << (s - 1)))
        wide = (self.q[rows] << 8) + low - (product >> s)
        u = np.clip(wide, _INT16_MIN, _INT16_MAX)
        saturated = (u != wide).any(axis=1) & (self.row_t[rows] > self.plan.row_t_min)
        half = u if self.plan.residual is Residual.INT8 else (u >> 8 << 8) + 128
        u = np.where(saturated[:, None], ((half - 127) >> 1) + 128, u)
        self.row_t[rows] -= saturated
        self.row_rho[rows] += saturated
        self.rescales += int(saturated.sum())
        self.q[rows] = u >> 8
        if self.plan.residual is Residual.INT8:
            self.residual[rows] = u & 255

    def real_weights(self) -> npt.NDArray[np.float64]:
        """The weights as real numbers, [outputs, features]."""
        scale = self.row_m * 2.0**-self.row_t / (2.0**self.plan.logit_fraction_bits * self.plan.feature_scale)
        return np.asarray((256 * self.q + self.residual - 128) * scale[:, None] / 256.0)

    def real_bias(self) -> npt.NDArray[np.float64]:
        """The biases as real numbers, [outputs]."""
        return np.asarray(self.bias * 2.0 ** -(self.plan.logit_fraction_bits + 8))


class FloatHead:
    """The same layer in float32, learning by plain SGD: z = W x + b, w -= lr g x, b -= lr g."""

    def __init__(self, plan: DenseHead, *, learning_rate: float) -> None:
        if not isinstance(plan.rows, FloatRows):
            raise TypeError("an integer head has no float rows")
        self.plan = plan
        self.learning_rate = np.float32(learning_rate)
        self._rows = plan.rows
        self.reset()

    def reset(self) -> None:
        """Back to the weights the model came with."""
        shape = (self.plan.outputs, self.plan.features)
        self.weights = np.frombuffer(self._rows.weights, "<f4").reshape(shape).copy()
        self.bias = np.frombuffer(self._rows.bias, "<f4").copy()

    def _real(self, features: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        x = features.reshape(-1).astype(np.float32) - np.float32(self.plan.feature_zero_point)
        return np.asarray(x * np.float32(self.plan.feature_scale))

    def forward(self, features: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """Outputs, float32 [outputs]; logits for cross-entropy."""
        return np.asarray(self.weights @ self._real(features) + self.bias)

    def learn(
        self,
        features: npt.NDArray[np.int8],
        outputs: npt.NDArray[np.float32],
        *,
        label: int | None = None,
        targets: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """One step of SGD on what `forward` gave; targets [outputs] in output units."""
        if self.plan.loss is LossKind.CROSS_ENTROPY:
            e = np.exp(outputs - outputs.max())
            g = e / e.sum()
            g[label] -= 1
        else:
            g = outputs - np.asarray(targets, dtype=np.float32)
        step = self.learning_rate * g
        self.weights -= np.outer(step, self._real(features))
        self.bias -= step


def make_head(plan: TrainingPlan) -> IntegerHead:
    """The reference of the plan's first trainable layer, at the plan's learning rate."""
    rate = plan.learning_rate
    return IntegerHead(plan.layers[0], mantissa=rate.mantissa, exponent=rate.exponent)
