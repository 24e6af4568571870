"""Functions of an int8 as tables: for each of the 256 inputs the output of the LiteRT reference kernel.

Some kernels requantise in whole numbers; the others compute in float32 and call the C library of the machine that they
run on (`LUTPopulate`). Its float functions are not always rounded to the nearest and may differ in the last bit from
version to version. So that a table has the bytes of the reference beside it, it is made with the same functions.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgelearn.codegen.requantize import LARGEST_SHIFT, Scale, quantized_bound, requantize_twice, to_scale
from edgelearn.ir import Op, Tensor
from edgelearn.ir.activation import (
    Abs,
    Elu,
    Exp,
    Gelu,
    HardSwish,
    LeakyRelu,
    Log,
    Logistic,
    Neg,
    Relu,
    Relu0To1,
    Relu6,
    ReluN1To1,
    Requantize,
    Tanh,
)

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

#: All inputs, in order.
INPUTS: Integers = np.arange(-128, 128, dtype=np.int64)

_f32 = np.float32


def table(op: Op, x: Tensor, out: Tensor) -> tuple[int, ...] | None:
    """The outputs for all inputs, in the order of their bits as unsigned numbers: 0 to 127, then -128 to -1.

    Args:
        op: one of `ir.activation.FunctionOp`.
        x: its input, int8.
        out: its output, int8.

    Returns:
        None where the scales are so far apart that the reference leaves 32 bits, or gives what is no number.
    """
    with np.errstate(all="ignore"):
        outputs = _FUNCTIONS[type(op)](op, x, out)
    return None if outputs is None else tuple(int(v) for v in np.roll(np.clip(outputs, -128, 127), 128))


# Kernels that requantise in whole numbers


def _requantized(values: Integers, real: float) -> Integers | None:
    """The values times a real factor, which may be negative: LiteRT's rounding looks at the factor's amount only."""
    scale = to_scale(abs(real))
    if scale.shift > LARGEST_SHIFT:
        return None
    result = requantize_twice(values, scale)
    return -result if real < 0 else result


def _quotient(x: Tensor, out: Tensor) -> float:
    """s_x / s_out as most kernels have it, divided in float32."""
    return float(_f32(x.scale) / _f32(out.scale))


def _requantize(op: Requantize, x: Tensor, out: Tensor) -> Integers | None:
    values: Integers | None
    if op.through_float:
        # reference_ops::Dequantize, AffineQuantize; beyond int8 it saturates, as elearn_quantize_s8 has it.
        ratios = (_f32(x.scale) * (INPUTS - x.zero_point).astype(_f32) / _f32(out.scale)).clip(-512, 512)
        values = (np.sign(ratios) * np.floor(np.abs(ratios).astype(np.float64) + 0.5)).astype(np.int64)
    else:
        # reference_ops::Requantize; its factor is divided in float64.
        values = _requantized(INPUTS - x.zero_point, x.scale / out.scale)
    return None if values is None else values + out.zero_point


def _clamped(low: float, high: float | None) -> Callable[[Any, Tensor, Tensor], Integers | None]:
    # ReluPrepare, reference_ops::ReluX
    def function(_op: Op, x: Tensor, out: Tensor) -> Integers | None:
        values = _requantized(INPUTS - x.zero_point, _quotient(x, out))
        if values is None:
            return None
        largest = 127 if high is None else min(127, quantized_bound(out, high))
        smallest = max(-128, quantized_bound(out, low))
        return np.minimum(np.maximum(values + out.zero_point, smallest), largest)

    return function


def _leaky_relu(op: LeakyRelu, x: Tensor, out: Tensor) -> Integers | None:
    # LeakyReluPrepare, reference_ops::QuantizeLeakyRelu
    values = INPUTS - x.zero_point
    positive = _requantized(values, _quotient(x, out))
    negative = _requantized(values, float(_f32(x.scale) * _f32(op.alpha) / _f32(out.scale)))
    if positive is None or negative is None:
        return None
    return np.where(values >= 0, positive, negative) + out.zero_point


def _abs(_op: Abs, x: Tensor, out: Tensor) -> Integers | None:
    # AbsEvalQuantized
    values = np.abs(INPUTS - x.zero_point)
    rescaled = values if x.scale == out.scale else _requantized(values, _quotient(x, out))
    return None if rescaled is None else rescaled + out.zero_point


def _neg(_op: Neg, _x: Tensor, _out: Tensor) -> Integers:
    # reference_ops::Negate on the bytes
    return np.where(INPUTS == -128, -128, -INPUTS)


def _hard_swish(_op: HardSwish, x: Tensor, out: Tensor) -> Integers | None:
    # HardSwishPrepare, reference_ops::HardSwish: all in int16
    hires = _f32(1 / 128) * _f32(x.scale)
    to_output, to_relu = to_scale(float(hires / _f32(out.scale))), to_scale(float(hires / _f32(3 / 32768)))
    if to_relu.shift > LARGEST_SHIFT or to_output.shift > 0:
        return None
    values = (INPUTS - x.zero_point) * 128
    scaled = _high_multiply_16(values, _to_16_bits(to_output))
    fraction = values
    if to_relu.shift > 0:
        fraction = np.clip(values << (to_relu.shift - 1), -(2**15), 2**15 - 1)
    fraction = _high_multiply_16(fraction, _to_16_bits(to_relu))
    if to_relu.shift > 0:
        fraction = np.clip(fraction << 1, -(2**15), 2**15 - 1)
    else:
        fraction = _round_shift_16(fraction, -to_relu.shift)
    product = ((fraction + 2**15) >> 1) * scaled
    truncated = np.where(product >= 0, product >> 15, -(-product >> 15))
    return _wrapped_16(_round_shift_16(truncated, -to_output.shift) + out.zero_point)


def _to_16_bits(scale: Scale) -> int:
    """DownScaleInt32ToInt16Multiplier."""
    return min((scale.multiplier + 2**15) >> 16, 2**15 - 1)


def _high_multiply_16(values: Integers, multiplier: int) -> Integers:
    """SaturatingRoundingDoublingHighMul of int16."""
    result: Integers = (values * multiplier + 2**14) >> 15
    return result


def _round_shift_16(values: Integers, shift: int) -> Integers:
    """RoundingDivideByPOT of int16, whose mask has 16 bits also where more are shifted out."""
    mask = int(_wrapped_16(np.int64((1 << shift) - 1)))
    return _wrapped_16((values >> shift) + ((values & mask) > (mask >> 1) + (values < 0)))


def _wrapped_16(values: Any) -> Integers:
    result: Integers = ((values + 2**15) & 0xFFFF) - 2**15
    return result


# Kernels that compute in float32


def _of_floats(real: Callable[[Any, Floats], Floats]) -> Callable[[Any, Tensor, Tensor], Integers | None]:
    """The table of a function of reals (LiteRT: LUTPopulate)."""

    def function(op: Op, x: Tensor, out: Tensor) -> Integers | None:
        reals = real(op, _f32(x.scale) * (INPUTS - x.zero_point).astype(_f32))
        steps = _rounded(reals * (_f32(1) / _f32(out.scale))) + _f32(out.zero_point)
        # Infinity times zero: the reference converts it to an integer, which C++ leaves undefined.
        return None if np.isnan(steps).any() else np.clip(steps, -128, 127).astype(np.int64)

    return function


def _rounded(values: Floats) -> Floats:
    """Whole numbers, halves away from zero (C: roundf)."""
    whole = np.trunc(values)
    return whole + np.copysign((np.abs(values - whole) >= _f32(0.5)).astype(_f32), values)


@cache
def _c_function(name: str) -> Callable[[float], float] | None:
    """A function float -> float of the C library; None where it cannot be called."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):
        return None
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    return function  # type: ignore[no-any-return]


def _each(name: str, exact: Callable[[float], float]) -> Callable[[Floats], Floats]:
    """A function of the C library on float32 values; where there is none, the exact result rounded to float32."""

    def function(values: Floats) -> Floats:
        call = _c_function(name) or exact
        return np.array([call(float(value)) for value in values], dtype=_f32)

    return function


def _double_exp(value: float) -> float:
    return float(np.exp(np.float64(value)))


def _double_log(value: float) -> float:
    return float(np.log(np.float64(value)))


def _double_expm1(value: float) -> float:
    return float(np.expm1(np.float64(value)))


_expf = _each("expf", _double_exp)
_logf = _each("logf", _double_log)
_expm1f = _each("expm1f", _double_expm1)
_tanhf = _each("tanhf", math.tanh)
_erfcf = _each("erfcf", math.erfc)


def _logistic(_op: Logistic, x: Floats) -> Floats:
    return _f32(1) / (_f32(1) + _expf(-x))


def _elu(_op: Elu, x: Floats) -> Floats:
    return np.where(x < 0, _expm1f(x), x)


def _gelu(op: Gelu, x: Floats) -> Floats:
    if op.approximate:
        cube = _f32(0.044715) * x * x * x
        return _f32(0.5) * x * (_f32(1) + _tanhf(_f32(math.sqrt(2 / math.pi)) * (x + cube)))
    return _f32(0.5) * x * _erfcf(x * _f32(-math.sqrt(0.5)))


_FUNCTIONS: Mapping[type[Op], Callable[[Any, Tensor, Tensor], Integers | None]] = {
    Requantize: _requantize,
    Relu: _clamped(0.0, None),
    Relu6: _clamped(0.0, 6.0),
    Relu0To1: _clamped(0.0, 1.0),
    ReluN1To1: _clamped(-1.0, 1.0),
    LeakyRelu: _leaky_relu,
    Elu: _of_floats(_elu),
    Gelu: _of_floats(_gelu),
    HardSwish: _hard_swish,
    Logistic: _of_floats(_logistic),
    Tanh: _of_floats(lambda _op, x: _tanhf(x)),
    Exp: _of_floats(lambda _op, x: _expf(x)),
    Log: _of_floats(lambda _op, x: _logf(x)),
    Abs: _abs,
    Neg: _neg,
}
