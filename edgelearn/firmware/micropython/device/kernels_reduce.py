"""MEAN, SUM, REDUCE_MAX, REDUCE_MIN, ARG_MAX, int8, in viper: the bytes of elearn_reduce_s8.c, elearn_arg_max_s8.c.

Values are taken as x + 128, which is never negative. See kernels_conv2d.py about variables.
"""

import micropython
from micropython import const

# Words of elearn_reduce_axes, with which the parameters begin: counts and steps
_KEPT_OUTER = const(0)
_KEPT_INNER = const(2)
_CHANNELS = const(4)
_OUTER = const(5)
_MIDDLE = const(7)
_INNER = const(9)
# of elearn_mean_params
_OUTPUT_ZERO_POINT = const(11)
_SUM_OFFSET = const(12)
_MULTIPLIER = const(13)
_SHIFT = const(14)
# of elearn_reduce_max_params
_FLIP = const(11)
# of elearn_arg_max_params
_ARG_OUTER = const(0)
_ARG_COUNT = const(1)
_ARG_INNER = const(2)
_ARG_WORDS = const(3)


@micropython.viper
def elearn_mean_s8(call: ptr32):
    # In registers: `call` becomes the input.
    total = 0
    params = ptr32(call[1])
    image = call[2]
    output = ptr8(call[3])
    inner_step = params[_INNER + 1]
    first_sum = params[_OUTER] * params[_MIDDLE] * params[_INNER] << 7
    first_sum = 0 - first_sum - params[_SUM_OFFSET]
    shift = params[_SHIFT]
    high_word = params[_MULTIPLIER] >> 16
    low_word = params[_MULTIPLIER] & 0xFFFF
    i = params[_KEPT_OUTER]
    while i:
        row = image
        j = params[_KEPT_INNER]
        while j:
            c = 0
            while c < params[_CHANNELS]:
                total = first_sum
                of_outer = row + c
                k = params[_OUTER]
                while k:
                    of_middle = of_outer
                    m = params[_MIDDLE]
                    while m:
                        call = ptr32(of_middle)
                        n = params[_INNER]
                        while n:
                            total = (ptr8(call)[0] ^ 128) + total
                            call = ptr32(inner_step + int(call))
                            n -= 1
                        of_middle += params[_MIDDLE + 1]
                        m -= 1
                    of_outer += params[_OUTER + 1]
                    k -= 1
                if shift > 0:
                    total = total << shift
                # The high word of the product, from four products of 16 bits.
                upper = total >> 16
                total = total & 0xFFFF
                cross1 = total * high_word
                cross2 = upper * low_word
                total = (cross1 & 0x7FFF) + (cross2 & 0x7FFF) + ((total * low_word >> 16) & 0xFFFF) + 0x4000 >> 15
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
                c += 1
            row += params[_KEPT_INNER + 1]
            j -= 1
        image += params[_KEPT_OUTER + 1]
        i -= 1


@micropython.viper
def elearn_reduce_max_s8(call: ptr32):
    # In registers: `call` becomes the input.
    largest = 0
    params = ptr32(call[1])
    image = call[2]
    output = ptr8(call[3])
    inner_step = params[_INNER + 1]
    flip = (params[_FLIP] & 255) ^ 128
    i = params[_KEPT_OUTER]
    while i:
        row = image
        j = params[_KEPT_INNER]
        while j:
            c = 0
            while c < params[_CHANNELS]:
                largest = 0
                of_outer = row + c
                k = params[_OUTER]
                while k:
                    of_middle = of_outer
                    m = params[_MIDDLE]
                    while m:
                        call = ptr32(of_middle)
                        n = params[_INNER]
                        while n:
                            value = ptr8(call)[0] ^ flip
                            if value > largest:
                                largest = value
                            call = ptr32(inner_step + int(call))
                            n -= 1
                        of_middle += params[_MIDDLE + 1]
                        m -= 1
                    of_outer += params[_OUTER + 1]
                    k -= 1
                output[0] = largest ^ flip
                output = ptr8(int(output) + 1)
                c += 1
            row += params[_KEPT_INNER + 1]
            j -= 1
        image += params[_KEPT_OUTER + 1]
        i -= 1


@micropython.viper
def elearn_arg_max_s8(call: ptr32):
    params = ptr32(call[1])
    image = call[2]
    words = ptr32(call[3])
    count = params[_ARG_COUNT]
    inner = params[_ARG_INNER]
    i = params[_ARG_OUTER]
    while i:
        j = inner
        while j:
            place = ptr8(image)
            largest = -1
            found = 0
            k = 0
            while k < count:
                value = place[0] ^ 128
                if value > largest:
                    largest = value
                    found = k
                place = ptr8(int(place) + inner)
                k += 1
            words[0] = found
            words = ptr32(int(words) + 4)
            if params[_ARG_WORDS] == 2:
                words[0] = 0
                words = ptr32(int(words) + 4)
            image += 1
            j -= 1
        image += (count - 1) * inner
        i -= 1
