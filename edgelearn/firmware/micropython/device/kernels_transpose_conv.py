"""TRANSPOSE_CONV, int8, in viper: the bytes of elearn_transpose_conv_s8.c.

For each output pixel the input pixels that add to it are expanded to words without their zero point, once for all
output channels. Weights are offset binary (w + 128): what that adds is taken away by the sum of the values. A row of
the table has, for each output channel: bias, multiplier, shift. See kernels_conv2d.py about variables.
"""

import micropython
from micropython import const

# Words of elearn_transpose_conv_params
_INPUT_HEIGHT = const(0)
_INPUT_WIDTH = const(1)
_CHANNELS = const(2)
_OUTPUT_HEIGHT = const(3)
_OUTPUT_WIDTH = const(4)
_OUTPUTS = const(5)
_KERNEL_H = const(6)
_KERNEL_W = const(7)
_STRIDE_H = const(8)
_STRIDE_W = const(9)
_PAD_TOP = const(12)
_PAD_LEFT = const(13)
_INPUT_ZERO_POINT = const(14)
_OUTPUT_ZERO_POINT = const(15)
_OUTPUT_MIN = const(16)
_OUTPUT_MAX = const(17)
_WEIGHTS = const(18)
_TABLE = const(20)


@micropython.viper
def elearn_transpose_conv_s8(call: ptr32):
    # In registers. `call` is used again as the pointer to expanded values, once everything is read from it.
    total = 0

    params = ptr32(call[1])
    image = call[2]
    output = ptr8(call[3])
    scratch = call[4]
    depth = params[_CHANNELS]
    zero = params[_INPUT_ZERO_POINT] + 128
    kernel_bytes = params[_KERNEL_H] * params[_KERNEL_W] * depth
    y = 0
    while y < params[_OUTPUT_HEIGHT]:
        # Taps that reach the output: every stride-th, the input's row going down by one each time.
        n = y + params[_PAD_TOP]
        row = n // params[_STRIDE_H]
        first_i = n - row * params[_STRIDE_H]
        if row >= params[_INPUT_HEIGHT]:
            first_i += (row - params[_INPUT_HEIGHT] + 1) * params[_STRIDE_H]
            row = params[_INPUT_HEIGHT] - 1
        x = 0
        while x < params[_OUTPUT_WIDTH]:
            n = x + params[_PAD_LEFT]
            column = n // params[_STRIDE_W]
            first_j = n - column * params[_STRIDE_W]
            if column >= params[_INPUT_WIDTH]:
                first_j += (column - params[_INPUT_WIDTH] + 1) * params[_STRIDE_W]
                column = params[_INPUT_WIDTH] - 1

            call = ptr32(scratch)
            total = 0
            i = first_i
            in_row = row
            while i < params[_KERNEL_H] and in_row >= 0:
                j = first_j
                in_column = column
                while j < params[_KERNEL_W] and in_column >= 0:
                    values = ptr8(image + (in_row * params[_INPUT_WIDTH] + in_column) * depth)
                    n = depth
                    while n:
                        value = (values[0] ^ 128) - zero
                        call[0] = value
                        total += value
                        values = ptr8(int(values) + 1)
                        call = ptr32(int(call) + 4)
                        n -= 1
                    j += params[_STRIDE_W]
                    in_column -= 1
                i += params[_STRIDE_H]
                in_row -= 1

            of_values = total << 7
            table = ptr32(params[_TABLE])
            kernel = params[_WEIGHTS]
            left = params[_OUTPUTS]
            while left:
                total = table[0] - of_values
                call = ptr32(scratch)
                i = first_i
                in_row = row
                while i < params[_KERNEL_H] and in_row >= 0:
                    j = first_j
                    in_column = column
                    while j < params[_KERNEL_W] and in_column >= 0:
                        weights = ptr8(kernel + (i * params[_KERNEL_W] + j) * depth)
                        n = depth
                        while n > 3:
                            total = weights[0] * call[0] + total
                            total = weights[1] * call[1] + total
                            total = weights[2] * call[2] + total
                            total = weights[3] * call[3] + total
                            weights = ptr8(int(weights) + 4)
                            call = ptr32(int(call) + 16)
                            n -= 4
                        while n:
                            total = weights[0] * call[0] + total
                            weights = ptr8(int(weights) + 1)
                            call = ptr32(int(call) + 4)
                            n -= 1
                        j += params[_STRIDE_W]
                        in_column -= 1
                    i += params[_STRIDE_H]
                    in_row -= 1

                shift = table[2]
                if shift > 0:
                    total = total << shift
                # The high word of the product, from four products of 16 bits.
                i = table[1]
                j = i >> 16
                i = i & 0xFFFF
                n = total >> 16
                total = total & 0xFFFF
                value = total * j
                in_row = n * i
                total = (value & 0x7FFF) + (in_row & 0x7FFF) + ((total * i >> 16) & 0xFFFF) + 0x4000 >> 15
                total += (n * j << 1) + (value >> 15) + (in_row >> 15)
                if shift < 0:
                    # Halves away from zero
                    shift = 0 - shift
                    total += total >> 31
                    total = (total >> shift) + ((total >> (shift - 1)) & 1)
                total += params[_OUTPUT_ZERO_POINT]
                if total < params[_OUTPUT_MIN]:
                    total = params[_OUTPUT_MIN]
                if total > params[_OUTPUT_MAX]:
                    total = params[_OUTPUT_MAX]
                output[0] = total
                output = ptr8(int(output) + 1)
                table = ptr32(int(table) + 12)
                kernel += kernel_bytes
                left -= 1
            x += 1
        y += 1
