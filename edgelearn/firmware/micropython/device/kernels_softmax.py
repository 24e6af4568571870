"""SOFTMAX by a table of exponentials, int8, in viper: the bytes of elearn_softmax_table_s8.c.

A product's high word is put together from four products of 16 bits. See kernels_conv2d.py about variables.
"""

import micropython
from micropython import const

# Words of elearn_softmax_table_params
_ROWS = const(0)
_COLUMNS = const(1)
_EXPONENTIALS = const(2)
_COUNT = const(3)


@micropython.viper
def elearn_softmax_table_s8(call: ptr32):
    params = ptr32(call[1])
    values = ptr8(call[2])
    output = ptr8(call[3])
    exponentials = ptr32(params[_EXPONENTIALS])
    columns = params[_COLUMNS]
    count = params[_COUNT]
    # 48/17 and -32/17 in Q2.29, of more bits than a constant may have
    first = 23130
    first = (first << 16) | 23130
    slope = -15421
    slope = (slope << 16) | 50116
    one = 1 << 29  # Q2.29
    top_bit = 1
    top_bit = top_bit << 31
    row = params[_ROWS]
    while row:
        largest = 0
        i = columns
        while i:
            i -= 1
            b = values[i] ^ 128
            if b > largest:
                largest = b
        # Of the exponentials, in Q12.19
        total = 0
        i = columns
        while i:
            i -= 1
            below = largest - (values[i] ^ 128)
            if below < count:
                total += ((exponentials[below] >> 1) + 1024) >> 11
        right = 35
        while total > 0:
            total = total << 1
            right -= 1
        # 1 / (1 + a) for 0 <= a < 1: three Newton steps, whose products are steps of one loop.
        half = ((total ^ top_bit) >> 1) + one + one
        x = 0
        error = 0
        step = 0
        while step < 7:
            a = half
            b = slope
            if step:
                b = x
                if step & 1 == 0:
                    a = error
            al = a & 0xFFFF
            a = a >> 16
            bl = b & 0xFFFF
            b = b >> 16
            low = al * b
            high = a * bl
            bl = (low & 0x7FFF) + (high & 0x7FFF) + ((al * bl >> 16) & 0xFFFF) + 0x4000
            a = (a * b << 1) + (low >> 15) + (high >> 15) + (bl >> 15)
            if step == 0:
                x = first + a
            elif step & 1:
                error = one - a
            else:
                x += a << 2
            step += 1
        # Twice x, which may be 1.
        if x >> 30:
            x = top_bit ^ -1
        else:
            x = x << 1
        half = x >> 16
        x = x & 0xFFFF
        i = 0
        while i < columns:
            below = largest - (values[i] ^ 128)
            a = 0
            if below < count and right < 32:
                a = exponentials[below]
                al = a & 0xFFFF
                a = a >> 16
                low = al * half
                high = a * x
                bl = (low & 0x7FFF) + (high & 0x7FFF) + ((al * x >> 16) & 0xFFFF) + 0x4000
                a = (a * half << 1) + (low >> 15) + (high >> 15) + (bl >> 15)
                a = (a >> right) + ((a >> (right - 1)) & 1)
                if a > 255:
                    a = 255
            output[i] = a ^ 128
            i += 1
        values = ptr8(int(values) + columns)
        output = ptr8(int(output) + columns)
        row -= 1
