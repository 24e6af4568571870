"""ADD and SUB of two tensors of one shape as a linear form, int8, in viper: the bytes of elearn_add_folded_s8.c.

See kernels_conv2d.py about variables.
"""

import micropython
from micropython import const

# Words of elearn_add_folded_params
_ELEMENTS = const(0)
_MULTIPLIER1 = const(1)
_MULTIPLIER2 = const(2)
_OFFSET = const(3)
_SHIFT = const(4)
_OUTPUT_MIN = const(5)
_OUTPUT_MAX = const(6)


@micropython.viper
def elearn_add_folded_s8(call: ptr32):
    # In registers: `call` becomes the first input.
    total = 0
    i = 0
    params = ptr32(call[1])
    second = ptr8(call[3])
    output = ptr8(call[4])
    multiplier1 = params[_MULTIPLIER1]
    multiplier2 = params[_MULTIPLIER2]
    # Values are taken as x + 128.
    offset = params[_OFFSET] - (multiplier1 + multiplier2 << 7)
    shift = params[_SHIFT]
    low = params[_OUTPUT_MIN] + 128
    high = params[_OUTPUT_MAX] + 128
    i = params[_ELEMENTS]
    call = ptr32(call[2])
    while i:
        i -= 1
        total = ((ptr8(call)[i] ^ 128) * multiplier1 + (second[i] ^ 128) * multiplier2 + offset) >> shift
        if total < low:
            total = low
        if total > high:
            total = high
        output[i] = total ^ 128
