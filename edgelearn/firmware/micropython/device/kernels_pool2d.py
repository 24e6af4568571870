"""AVERAGE_POOL_2D and MAX_POOL_2D, int8, in viper: the bytes of elearn_pool2d_s8.c.

Values are taken as x + 128, which is never negative. See kernels_conv2d.py about variables.
"""

import micropython
from micropython import const

# Words of elearn_pool2d_params
_INPUT_HEIGHT = const(0)
_INPUT_WIDTH = const(1)
_CHANNELS = const(2)
_OUTPUT_HEIGHT = const(3)
_OUTPUT_WIDTH = const(4)
_KERNEL_H = const(6)
_KERNEL_W = const(7)
_STRIDE_H = const(8)
_STRIDE_W = const(9)
_PAD_TOP = const(12)
_PAD_LEFT = const(13)
_OUTPUT_MIN = const(14)
_OUTPUT_MAX = const(15)


@micropython.viper
def elearn_max_pool2d_s8(call: ptr32):
    value = 0
    largest = 0
    params = ptr32(call[1])
    image = call[2]
    output = ptr8(call[3])
    channels = params[_CHANNELS]
    width = params[_INPUT_WIDTH]
    low = params[_OUTPUT_MIN] + 128
    high = params[_OUTPUT_MAX] + 128
    y = 0
    while y < params[_OUTPUT_HEIGHT]:
        top = y * params[_STRIDE_H] - params[_PAD_TOP]
        rows = params[_INPUT_HEIGHT] - top
        if rows > params[_KERNEL_H]:
            rows = params[_KERNEL_H]
        if top < 0:
            rows += top
            top = 0
        x = 0
        while x < params[_OUTPUT_WIDTH]:
            left = x * params[_STRIDE_W] - params[_PAD_LEFT]
            columns = width - left
            if columns > params[_KERNEL_W]:
                columns = params[_KERNEL_W]
            if left < 0:
                columns += left
                left = 0
            first = image + (top * width + left) * channels
            to_next_row = (width - columns) * channels
            c = channels
            while c:
                call = ptr32(first)
                largest = low
                i = rows
                while i:
                    j = columns
                    while j:
                        value = ptr8(call)[0] ^ 128
                        if value > largest:
                            largest = value
                        call = ptr32(channels + int(call))
                        j -= 1
                    call = ptr32(to_next_row + int(call))
                    i -= 1
                if largest > high:
                    largest = high
                output[0] = largest ^ 128
                output = ptr8(int(output) + 1)
                first += 1
                c -= 1
            x += 1
        y += 1


@micropython.viper
def elearn_average_pool2d_s8(call: ptr32):
    total = 0
    params = ptr32(call[1])
    image = call[2]
    output = ptr8(call[3])
    channels = params[_CHANNELS]
    width = params[_INPUT_WIDTH]
    low = params[_OUTPUT_MIN]
    high = params[_OUTPUT_MAX]
    y = 0
    while y < params[_OUTPUT_HEIGHT]:
        top = y * params[_STRIDE_H] - params[_PAD_TOP]
        rows = params[_INPUT_HEIGHT] - top
        if rows > params[_KERNEL_H]:
            rows = params[_KERNEL_H]
        if top < 0:
            rows += top
            top = 0
        x = 0
        while x < params[_OUTPUT_WIDTH]:
            left = x * params[_STRIDE_W] - params[_PAD_LEFT]
            columns = width - left
            if columns > params[_KERNEL_W]:
                columns = params[_KERNEL_W]
            if left < 0:
                columns += left
                left = 0
            first = image + (top * width + left) * channels
            to_next_row = (width - columns) * channels
            count = rows * columns
            half = count >> 1
            c = channels
            while c:
                call = ptr32(first)
                total = 0 - (count << 7)
                i = rows
                while i:
                    j = columns
                    while j:
                        total = (ptr8(call)[0] ^ 128) + total
                        call = ptr32(channels + int(call))
                        j -= 1
                    call = ptr32(to_next_row + int(call))
                    i -= 1
                # Halves away from zero
                if total > 0:
                    total = (total + half) // count
                else:
                    total = 0 - (half - total) // count
                if total < low:
                    total = low
                if total > high:
                    total = high
                output[0] = total
                output = ptr8(int(output) + 1)
                first += 1
                c -= 1
            x += 1
        y += 1
