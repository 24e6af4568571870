"""PRELU, int8, in viper: the bytes of elearn_prelu_s8.c. See kernels_conv2d.py about variables."""

import micropython
from micropython import const

# Words of elearn_prelu_params
_ELEMENTS = const(0)
_SLOPES = const(1)
_ALPHA = const(2)
_INPUT_ZERO_POINT = const(3)
_ALPHA_ZERO_POINT = const(4)
_OUTPUT_ZERO_POINT = const(5)
_POSITIVE_SCALE_BYTES = const(24)
_NEGATIVE_SCALE_BYTES = const(32)


@micropython.viper
def elearn_prelu_s8(call: ptr32):
    value = 0
    params = ptr32(call[1])
    values = ptr8(call[2])
    output = ptr8(call[3])
    alpha = ptr8(params[_ALPHA])
    slopes = params[_SLOPES]
    zero = params[_INPUT_ZERO_POINT] + 128
    alpha_zero = params[_ALPHA_ZERO_POINT] + 128
    slope = 0
    i = 0
    while i < params[_ELEMENTS]:
        value = (values[i] ^ 128) - zero
        call = ptr32(int(params) + _POSITIVE_SCALE_BYTES)
        if value < 0:
            value = value * ((alpha[slope] ^ 128) - alpha_zero)
            call = ptr32(int(params) + _NEGATIVE_SCALE_BYTES)
        shift = call[1]
        if shift > 0:
            value = value << shift
        # The high word of the product, from four products of 16 bits.
        low_word = call[0]
        high_word = low_word >> 16
        low_word = low_word & 0xFFFF
        upper = value >> 16
        value = value & 0xFFFF
        cross1 = value * high_word
        cross2 = upper * low_word
        value = (cross1 & 0x7FFF) + (cross2 & 0x7FFF) + ((value * low_word >> 16) & 0xFFFF) + 0x4000 >> 15
        value += (upper * high_word << 1) + (cross1 >> 15) + (cross2 >> 15)
        if shift < 0:
            # Halves away from zero
            shift = 0 - shift
            value += value >> 31
            value = (value >> shift) + ((value >> (shift - 1)) & 1)
        value += params[_OUTPUT_ZERO_POINT]
        if value < -128:
            value = -128
        if value > 127:
            value = 127
        output[i] = value
        slope += 1
        if slope == slopes:
            slope = 0
        i += 1
