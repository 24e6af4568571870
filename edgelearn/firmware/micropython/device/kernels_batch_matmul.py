"""BATCH_MATMUL, int8, in viper: the bytes of elearn_batch_matmul_s8.c.

A row of the left matrix is expanded to words without its zero point. Values of the right one are taken as x + 128: what
that and its zero point add is taken away by the sum of the row. See kernels_conv2d.py about variables.
"""

import micropython
from micropython import const

# Words of elearn_batch_matmul_params
_BATCHES = const(0)
_LEFT_STRIDES = const(3)
_RIGHT_STRIDES = const(8)
_ROWS = const(13)
_DEPTH = const(14)
_COLUMNS = const(15)
_LEFT_ZERO_POINT = const(16)
_RIGHT_ZERO_POINT = const(17)
_OUTPUT_ZERO_POINT = const(18)
_MULTIPLIER = const(19)
_SHIFT = const(20)
_CONSTANT = const(21)

_NONE_CONSTANT = const(0)
_RIGHT_CONSTANT = const(1)
_LEFT_CONSTANT = const(2)


def elearn_batch_matmul_s8(call):
    _multiply(call, _NONE_CONSTANT)


def elearn_batch_matmul_by_constant_s8(call):
    _multiply(call, _RIGHT_CONSTANT)


def elearn_batch_matmul_of_constant_s8(call):
    _multiply(call, _LEFT_CONSTANT)


@micropython.viper
def _multiply(call: ptr32, constant: int):
    # In registers. `call` is used again as the pointer to expanded values, once everything is read from it.
    params = ptr32(call[1])
    left = call[2]
    right = params[_CONSTANT]
    if constant == _LEFT_CONSTANT:
        right = left
        left = params[_CONSTANT]
    if constant == _NONE_CONSTANT:
        right = call[3]
        call = ptr32(int(call) + 4)
    output = ptr8(call[3])
    scratch = call[4]
    zero = params[_LEFT_ZERO_POINT] + 128
    step = params[_RIGHT_STRIDES + 3]
    shift = params[_SHIFT]
    high_word = params[_MULTIPLIER] >> 16
    low_word = params[_MULTIPLIER] & 0xFFFF
    i = 0
    while i < params[_BATCHES]:
        j = 0
        while j < params[_BATCHES + 1]:
            k = 0
            while k < params[_BATCHES + 2]:
                row = left + i * params[_LEFT_STRIDES] + j * params[_LEFT_STRIDES + 1] + k * params[_LEFT_STRIDES + 2]
                begin = i * params[_RIGHT_STRIDES] + j * params[_RIGHT_STRIDES + 1] + k * params[_RIGHT_STRIDES + 2]
                begin += right
                m = params[_ROWS]
                while m:
                    call = ptr32(scratch)
                    place = ptr8(row)
                    of_row = 0
                    n = params[_DEPTH]
                    while n:
                        total = (place[0] ^ 128) - zero
                        call[0] = total
                        of_row += total
                        call = ptr32(int(call) + 4)
                        place = ptr8(int(place) + params[_LEFT_STRIDES + 4])
                        n -= 1
                    of_row = of_row * (params[_RIGHT_ZERO_POINT] + 128)
                    column = begin
                    c = params[_COLUMNS]
                    while c:
                        call = ptr32(scratch)
                        place = ptr8(column)
                        total = 0 - of_row
                        n = params[_DEPTH]
                        while n:
                            total = (place[0] ^ 128) * call[0] + total
                            call = ptr32(int(call) + 4)
                            place = ptr8(step + int(place))
                            n -= 1
                        if shift > 0:
                            total = total << shift
                        # The high word of the product, from four products of 16 bits.
                        upper = total >> 16
                        total = total & 0xFFFF
                        cross1 = total * high_word
                        cross2 = upper * low_word
                        total = (total * low_word >> 16) & 0xFFFF
                        total = (cross1 & 0x7FFF) + (cross2 & 0x7FFF) + total + 0x4000 >> 15
                        total += (upper * high_word << 1) + (cross1 >> 15) + (cross2 >> 15)
                        if shift < 0:
                            # Halves away from zero
                            total += total >> 31
                            total = (total >> (0 - shift)) + ((total >> (0 - shift - 1)) & 1)
                        total += params[_OUTPUT_ZERO_POINT]
                        if total < -128:
                            total = -128
                        if total > 127:
                            total = 127
                        output[0] = total
                        output = ptr8(int(output) + 1)
                        column += params[_RIGHT_STRIDES + 4]
                        c -= 1
                    row += params[_LEFT_STRIDES + 3]
                    m -= 1
                k += 1
            j += 1
        i += 1
