"""CONV_2D, int8, in viper: the bytes of elearn_conv2d_s8.c.

Weights are offset binary (w + 128) in rows of a multiple of four, values under the window are expanded the same way
(x + 128) once for all output channels of a pixel. What the two offsets add is taken away by the sum of the values and
by the bias, into which codegen/viper.py folds the rest. A row of the table has, for each output channel:

    bias, right shift, factor, offset, limit, multiplier, shift

The sum, shifted to the right, times the factor plus the offset is the output + 128 with 18 fraction bits; where these
are above the limit it may be wrong, and the exact form of LiteRT, rounded twice, is taken.

Of the variables of a viper function the first two are in registers (mpy-cross 1.25): in the inner loop these are a
pointer and the sum. An operation of two others takes six instructions, of one three. A store through a constant index
other than 0 goes wrong on Xtensa (MicroPython 1.25), and a minus sign before a variable in a register changes that
variable; there are none. A call of another function boxes its arguments, and large ones on the heap: so what several
kernels do for each output, the product and the requantisation, is written out in each.
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
    zero_point = params[_OUTPUT_ZERO_POINT] + 128
    low = params[_OUTPUT_MIN] + 128
    high = params[_OUTPUT_MAX] + 128
    depth = params[_GROUP_INPUTS]
    # Taps next to each other are next to each other in memory: a row of the window is one part.
    parts = 1
    taps = params[_KERNEL_W]
    if params[_DILATION_W] != 1 or depth != channels:
        parts = taps
        taps = 1
    part_bytes = taps * depth
    fours = (kernel_h * parts * part_bytes + 3) >> 2
    sixteens = fours >> 2
    eight = fours & 2
    four = fours & 1

    y = 0
    while y < params[_OUTPUT_HEIGHT]:
        x = 0
        while x < params[_OUTPUT_WIDTH]:
            weights = ptr8(params[_WEIGHTS])
            table = ptr32(params[_TABLE])
            group = 0
            while group < channels:
                # Expand the values under the window; `total` is their sum.
                place = ptr8(scratch)
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
                            place[0] = zero
                            total += zero
                            place = ptr8(int(place) + 1)
                            before -= 1
                        while inside:
                            value = ptr8(call)[0] ^ 128
                            place[0] = value
                            total += value
                            call = ptr32(int(call) + 1)
                            place = ptr8(int(place) + 1)
                            inside -= 1
                        while after:
                            place[0] = zero
                            total += zero
                            place = ptr8(int(place) + 1)
                            after -= 1
                        column += params[_DILATION_W]
                        j -= 1
                    row += params[_DILATION_H]
                    i -= 1
                group += depth

                of_values = total << 7
                outputs = params[_GROUP_OUTPUTS]
                while outputs:
                    call = ptr32(scratch)
                    total = table[_BIAS] - of_values
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
                        cross = total * j
                        left = near * i
                        total = (cross & 0x7FFF) + (left & 0x7FFF) + ((total * i >> 16) & 0xFFFF) + 0x4000 >> 15
                        total += (near * j << 1) + (cross >> 15) + (left >> 15)
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
                    output[0] = total ^ 128
                    output = ptr8(int(output) + 1)
                    table = ptr32(int(table) + _ROW_BYTES)
                    outputs -= 1
            x += 1
        y += 1
