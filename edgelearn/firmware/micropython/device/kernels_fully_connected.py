"""FULLY_CONNECTED, int8, in viper: the bytes of elearn_fully_connected_s8.c.

Weights and values as in kernels_conv2d.py, where more is said. A row of the table has, for each output: bias,
multiplier, shift. Rounded once, halves away from zero.
"""

import micropython
from micropython import const

# Words of elearn_fully_connected_params
_ROWS = const(0)
_FEATURES = const(1)
_OUTPUTS = const(2)
_OUTPUT_ZERO_POINT = const(4)
_OUTPUT_MIN = const(5)
_OUTPUT_MAX = const(6)
_WEIGHTS = const(7)
_TABLE = const(9)


@micropython.viper
def elearn_fully_connected_s8(call: ptr32):
    # In registers. `call` is used again as the pointer to expanded values, once everything is read from it.
    total = 0

    params = ptr32(call[1])
    values = ptr8(call[2])
    output = ptr8(call[3])
    scratch = call[4]
    zero_point = params[_OUTPUT_ZERO_POINT]
    low = params[_OUTPUT_MIN]
    high = params[_OUTPUT_MAX]
    fours = (params[_FEATURES] + 3) >> 2
    sixteens = fours >> 2
    eight = fours & 2
    four = fours & 1
    row = params[_ROWS]
    while row:
        call = ptr32(scratch)
        total = 0
        i = params[_FEATURES]
        while i:
            value = values[0] ^ 128
            ptr8(call)[0] = value
            total += value
            values = ptr8(int(values) + 1)
            call = ptr32(int(call) + 1)
            i -= 1
        of_values = total << 7
        weights = ptr8(params[_WEIGHTS])
        table = ptr32(params[_TABLE])
        left = params[_OUTPUTS]
        while left:
            call = ptr32(scratch)
            total = table[0] - of_values
            i = sixteens
            while i:
                total = weights[0] * ptr8(call)[0] + total
                total = weights[1] * ptr8(call)[1] + total
                total = weights[2] * ptr8(call)[2] + total
                total = weights[3] * ptr8(call)[3] + total
                total = weights[4] * ptr8(call)[4] + total
                total = weights[5] * ptr8(call)[5] + total
                total = weights[6] * ptr8(call)[6] + total
                total = weights[7] * ptr8(call)[7] + total
                total = weights[8] * ptr8(call)[8] + total
                total = weights[9] * ptr8(call)[9] + total
                total = weights[10] * ptr8(call)[10] + total
                total = weights[11] * ptr8(call)[11] + total
                total = weights[12] * ptr8(call)[12] + total
                total = weights[13] * ptr8(call)[13] + total
                total = weights[14] * ptr8(call)[14] + total
                total = weights[15] * ptr8(call)[15] + total
                weights = ptr8(int(weights) + 16)
                call = ptr32(int(call) + 16)
                i -= 1
            if eight:
                total = weights[0] * ptr8(call)[0] + total
                total = weights[1] * ptr8(call)[1] + total
                total = weights[2] * ptr8(call)[2] + total
                total = weights[3] * ptr8(call)[3] + total
                total = weights[4] * ptr8(call)[4] + total
                total = weights[5] * ptr8(call)[5] + total
                total = weights[6] * ptr8(call)[6] + total
                total = weights[7] * ptr8(call)[7] + total
                weights = ptr8(int(weights) + 8)
                call = ptr32(int(call) + 8)
            if four:
                total = weights[0] * ptr8(call)[0] + total
                total = weights[1] * ptr8(call)[1] + total
                total = weights[2] * ptr8(call)[2] + total
                total = weights[3] * ptr8(call)[3] + total
                weights = ptr8(int(weights) + 4)

            shift = table[2]
            if shift > 0:
                # The factor is at least 1 then: from 512 on every output saturates.
                limit = 512 >> shift
                if limit == 0:
                    limit = 1
                if total > limit:
                    total = limit
                if total < 0 - limit:
                    total = 0 - limit
                total = total << shift
                shift = 0
            shift = 0 - shift
            # The product from four products of 16 bits, less 1 where it is negative: halves go away from zero.
            low_word = table[1]
            high_word = low_word >> 16
            low_word = low_word & 0xFFFF
            upper = total >> 16
            total = total & 0xFFFF
            product = total * low_word
            i = (product >> 16) & 0xFFFF
            if upper < 0 and product & 0xFFFF == 0:
                i -= 1
            product = total * high_word
            low_word = upper * low_word
            i += (product & 0x7FFF) + (low_word & 0x7FFF)
            total = (upper * high_word << 1) + (product >> 15) + (low_word >> 15) + (i >> 15)
            if shift:
                total = (total >> shift) + ((total >> (shift - 1)) & 1)
            else:
                total += (i >> 14) & 1
            total += zero_point
            if total < low:
                total = low
            if total > high:
                total = high
            output[0] = total
            output = ptr8(int(output) + 1)
            table = ptr32(int(table) + 12)
            left -= 1
        row -= 1
