"""LOG_SOFTMAX, int8, in viper: the bytes of elearn_log_softmax_s8.c.

The logarithm of a row's sum is a chain of rounded high words of products; they are the steps of one loop, so that the
product of 64 bits, put together from four of 16, stands here once. See kernels_conv2d.py about variables.
"""

import micropython
from micropython import const

# Words of elearn_log_softmax_params
_ROWS = const(0)
_COLUMNS = const(1)
_TABLE = const(2)
_COUNT = const(3)


@micropython.viper
def elearn_log_softmax_s8(call: ptr32):
    a = 0
    params = ptr32(call[1])
    values = ptr8(call[2])
    output = ptr8(call[3])
    table = ptr32(params[_TABLE])
    columns = params[_COLUMNS]
    count = params[_COUNT]
    # Constants of more bits than one in the source may have
    log_2 = 22713
    log_2 = (log_2 << 16) | 3068  # 1488522236
    sqrt_half = 23170
    sqrt_half = (sqrt_half << 16) | 31130  # 1518500250
    root = 27554
    root = (root << 16) | 32357  # 2^(-1/4), 1805811301
    slope = -15421
    slope = (slope << 16) | 50116  # -32/17 in Q2.29
    first = 23130
    first = (first << 16) | 23130  # 48/17 in Q2.29
    one = 1 << 29  # Q2.29
    top_bit = 1
    top_bit = top_bit << 31
    row = params[_ROWS]
    while row:
        largest = 0
        i = columns
        while i:
            i -= 1
            a = values[i] ^ 128
            if a > largest:
                largest = a
        total = 0
        i = columns
        while i:
            i -= 1
            below = largest - (values[i] ^ 128)
            if below < count:
                total += table[below + below + 1]
        # total is r 2^(1/4) 2^exponent, the exponent a whole number and -1/4 or 1/4 more.
        r = total
        zeros = 1
        while (r << 1) > 0:
            r = r << 1
            zeros += 1
        quarters = (12 - zeros) << 2
        q = 0
        q2 = 0
        numerator = 0
        half = 0
        x = 0
        error = 0
        log_sum = 0
        step = 0
        while step < 18:
            b = sqrt_half
            if step == 0:
                a = total
            elif step == 1:
                a = r
            elif step == 2:
                a = q
                b = q
            elif step == 3:
                a = q
                b = r
            elif step == 4:
                a = q
                b = q2
            elif step == 5:
                a = error
                b = 117049297  # 11/240 2^(1/4)
            elif step == 6:
                a = q2
                b = 127690142  # 1/20 2^(1/4)
            elif step == 7:
                # The mean of r and the root, rounded up
                a = (r >> 1) + (root >> 1) + (((r & 1) + (root & 1) + 1) >> 1)
                b = 1057819769 + q + error  # 2 / 2^(1/4) - 2^(1/4)
            elif step == 8:
                a = 638450708  # 1/4 2^(1/4)
                b = q
            elif step == 9:
                a = half
                b = slope
            elif step < 16:
                a = half
                if step & 1:
                    a = error
                b = x
            elif step == 16:
                a = numerator
                b = x
            else:
                a = quarters << 23
                b = log_2
            al = a & 0xFFFF
            a = a >> 16
            bl = b & 0xFFFF
            b = b >> 16
            low = al * b
            high = a * bl
            bl = (low & 0x7FFF) + (high & 0x7FFF) + ((al * bl >> 16) & 0xFFFF) + 0x4000
            a = (a * b << 1) + (low >> 15) + (high >> 15) + (bl >> 15)
            if step == 0:
                # Whether r is at least the root of 1/2 already: the next product is not wanted then.
                if a >= (one >> (zeros - 1)) << 1:
                    quarters += 3
                    step = 1
                    q = (r - root) << 1
            elif step == 1:
                quarters += 1
                r = a << 1
                q = (r - root) << 1
            elif step == 2:
                q2 = a
            elif step == 3:
                numerator = a
            elif step < 7:
                if step == 5:
                    numerator += a
                error = a
            elif step == 7:
                half = a
            elif step == 8:
                # 1 / (1 + a) for 0 <= a < 1: half the denominator, then three Newton steps.
                half = ((half + a) >> 1) + one + one
                # The numerator in units of the quotient: halves away from zero
                numerator += numerator >> 31
                numerator = (numerator >> 6) + ((numerator >> 5) & 1)
            elif step == 9:
                x = first + a
            elif step < 16:
                if step & 1:
                    x += a << 2
                    if step == 15:
                        # Twice x, which may be 1.
                        if x >> 30:
                            x = top_bit ^ -1
                        else:
                            x = x << 1
                else:
                    error = one - a
            elif step == 16:
                log_sum = a
            else:
                log_sum += a
            step += 1
        log_sum = (log_sum << 1) - 2097151
        i = 0
        while i < columns:
            below = largest - (values[i] ^ 128)
            a = -128
            if below < count:
                a = ((table[below + below] - log_sum) >> 22) + 127
                if a < -128:
                    a = -128
            output[i] = a
            i += 1
        values = ptr8(int(values) + columns)
        output = ptr8(int(output) + columns)
        row -= 1
