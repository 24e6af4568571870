"""CONV_2D, int8, in viper: the bytes of elearn_conv2d_s8.c.

Weights are offset binary (w + 128) in rows of a multiple of four, values under the window are expanded the same way
(x + 128) once for all output channels of a pixel. What the two offsets add is taken away by the sum of the values and
by the bias, into which codegen/viper.py folds the rest. A row of the table has, for each output channel:

    bias, right shift, multiplier, offset, limit, exact multiplier, exact shift

The sum, shifted to the right, times the multiplier has 18 fraction bits; where these are above the limit the result may
be wrong, and the exact form of LiteRT, rounded twice, is taken.

Of the variables of a viper function the first three are in registers; for the inner loop these are two pointers and
the sum. A store through a constant index other than 0 goes wrong on Xtensa (MicroPython 1.25), and so does a minus sign
before a variable in a register; there are none.
"""

import micropython
from micropython import const

# Words of elearn_conv2d_params
_INPUT_HEIGHT = const(0)
_INPUT_WIDTH = const(1)
_INPUT_CHANNELS = const(2)
_OUTPUT_HEIGHT = const(3)
_OUTPUT_WIDTH = const(4)
_KERNEL_H = const(6)
_KERNEL_W = const(7)
_STRIDE_H = const(8)
_STRIDE_W = const(9)
_DILATION_H = const(10)
_DILATION_W = const(11)
_PAD_TOP = const(12)
_PAD_LEFT = const(13)
_INPUT_ZERO_POINT = const(14)
_OUTPUT_ZERO_POINT = const(15)
_OUTPUT_MIN = const(16)
_OUTPUT_MAX = const(17)
_GROUP_INPUTS = const(18)
_GROUP_OUTPUTS = const(19)
_WEIGHTS = const(20)
_TABLE = const(22)

# Words of a row of the table
_BIAS = const(0)
_RIGHT = const(1)
_FACTOR = const(2)
_OFFSET = const(3)
_LIMIT = const(4)
_MULTIPLIER = const(5)
_SHIFT = const(6)
_ROW_BYTES = const(28)


@micropython.viper
def elearn_conv2d_s8(call: ptr32):
    # In registers. `call` is used again as the pointer to expanded values, once everything is read from it.
    weights = ptr8(0)
    total = 0

    params = ptr32(call[1])
    image = call[2]
    output = ptr8(call[3])
    scratch = call[4]
    height = params[_INPUT_HEIGHT]
    width = params[_INPUT_WIDTH]
    channels = params[_INPUT_CHANNELS]
    kernel_h = params[_KERNEL_H]
    zero = params[_INPUT_ZERO_POINT] + 128
    zero_point = params[_OUTPUT_ZERO_POINT]
    low = params[_OUTPUT_MIN]
    high = params[_OUTPUT_MAX]
    depth = params[_GROUP_INPUTS]
    # Taps next to each other are next to each other in memory: a row of the window is one part.
    parts = 1
    taps = params[_KERNEL_W]
    if params[_DILATION_W] != 1 or depth != channels:
        parts = taps
        taps = 1
    part_bytes = taps * depth
    fours = (kernel_h * parts * part_bytes + 3) >> 2
    eights = fours >> 1
    fours = fours & 1

    y = 0
    while y < params[_OUTPUT_HEIGHT]:
        x = 0
        while x < params[_OUTPUT_WIDTH]:
            row_of_weights = params[_WEIGHTS]
            table = ptr32(params[_TABLE])
            group = 0
            while group < channels:
                # Expand the values under the window: `weights` is where they go to, `total` their sum.
                weights = ptr8(scratch)
                total = 0
                row = y * params[_STRIDE_H] - params[_PAD_TOP]
                i = kernel_h
                while i:
                    column = x * params[_STRIDE_W] - params[_PAD_LEFT]
                    j = parts
                    while j:
                        before = 0
                        inside = part_bytes
                        after = 0
                        if row < 0 or row >= height:
                            after = inside
                            inside = 0
                        else:
                            if column < 0:
                                before = (0 - column) * depth
                                if before > inside:
                                    before = inside
                                inside -= before
                            after = (column + taps - width) * depth
                            if after > 0:
                                if after > inside:
                                    after = inside
                                inside -= after
                            else:
                                after = 0
                            call = ptr32(image + group + (row * width + column) * channels + before)
                        while before:
                            weights[0] = zero
                            total += zero
                            weights = ptr8(int(weights) + 1)
                            before -= 1
                        while inside:
                            value = ptr8(call)[0] ^ 128
                            weights[0] = value
                            total = value + total
                            call = ptr32(int(call) + 1)
                            weights = ptr8(int(weights) + 1)
                            inside -= 1
                        while after:
                            weights[0] = zero
                            total += zero
                            weights = ptr8(int(weights) + 1)
                            after -= 1
                        column += params[_DILATION_W]
                        j -= 1
                    row += params[_DILATION_H]
                    i -= 1
                group += depth

                of_values = total << 7
                weights = ptr8(row_of_weights)
                left = params[_GROUP_OUTPUTS]
                while left:
                    call = ptr32(scratch)
                    total = table[_BIAS] - of_values
                    i = eights
                    while i:
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
                        i -= 1
                    if fours:
                        total = weights[0] * ptr8(call)[0] + total
                        total = weights[1] * ptr8(call)[1] + total
                        total = weights[2] * ptr8(call)[2] + total
                        total = weights[3] * ptr8(call)[3] + total
                        weights = ptr8(int(weights) + 4)

                    near = (total >> table[_RIGHT]) * table[_FACTOR] + table[_OFFSET]
                    if near & 0x3FFFF > table[_LIMIT]:
                        shift = table[_SHIFT]
                        if shift > 0:
                            total = total << shift
                        # The high word of the product, from four products of 16 bits.
                        i = table[_MULTIPLIER]
                        j = i >> 16
                        i = i & 0xFFFF
                        near = total >> 16
                        total = total & 0xFFFF
                        before = total * j
                        after = near * i
                        inside = (before & 0x7FFF) + (after & 0x7FFF) + ((total * i >> 16) & 0xFFFF) + 0x4000
                        total = (near * j << 1) + (before >> 15) + (after >> 15) + (inside >> 15)
                        if shift < 0:
                            # Halves away from zero
                            shift = 0 - shift
                            total += total >> 31
                            total = (total >> shift) + ((total >> (shift - 1)) & 1)
                        total += zero_point
                    else:
                        total = near >> 18
                    if total < low:
                        total = low
                    if total > high:
                        total = high
                    output[0] = total
                    output = ptr8(int(output) + 1)
                    table = ptr32(int(table) + _ROW_BYTES)
                    left -= 1
                row_of_weights = int(weights)
            x += 1
        y += 1
