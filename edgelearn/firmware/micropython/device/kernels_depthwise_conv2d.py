"""DEPTHWISE_CONV_2D, int8, in viper: the bytes of elearn_depthwise_conv2d_s8.c.

One channel after another: its plane is expanded (x + 128), with its padding, then the window goes over it. Weights are
words with their signs, [output channel][kernel_h][kernel_w]; the rows of the table are those of kernels_conv2d.py, and
so is what is said there of variables.
"""

import micropython
from micropython import const

# Words of elearn_conv2d_params
_INPUT_HEIGHT = const(0)
_INPUT_WIDTH = const(1)
_INPUT_CHANNELS = const(2)
_OUTPUT_HEIGHT = const(3)
_OUTPUT_WIDTH = const(4)
_OUTPUT_CHANNELS = const(5)
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
def elearn_depthwise_conv2d_s8(call: ptr32):
    # In registers. `call` is used again as the pointer to expanded values, once everything is read from it.
    weights = ptr32(0)
    total = 0

    params = ptr32(call[1])
    image = call[2]
    output = call[3]
    scratch = call[4]
    table = ptr32(params[_TABLE])
    channels = params[_INPUT_CHANNELS]
    outputs = params[_OUTPUT_CHANNELS]
    kernel_h = params[_KERNEL_H]
    kernel_w = params[_KERNEL_W]
    stride_w = params[_STRIDE_W]
    dilation_w = params[_DILATION_W]
    pad_left = params[_PAD_LEFT]
    out_width = params[_OUTPUT_WIDTH]
    zero_point = params[_OUTPUT_ZERO_POINT]
    low = params[_OUTPUT_MIN]
    high = params[_OUTPUT_MAX]
    # The plane is as large as the windows reach, whatever the input's size.
    plane_h = (params[_OUTPUT_HEIGHT] - 1) * params[_STRIDE_H] + (kernel_h - 1) * params[_DILATION_H] + 1
    plane_w = (out_width - 1) * stride_w + (kernel_w - 1) * dilation_w + 1
    inside = params[_INPUT_WIDTH]
    if inside > plane_w - pad_left:
        inside = plane_w - pad_left
    line = plane_w * params[_DILATION_H]
    is_three = 0
    if kernel_h == 3 and kernel_w == 3 and dilation_w == 1:
        is_three = 1
    of_channel = params[_WEIGHTS]

    channel = 0
    while channel < channels:
        # Expand the plane: `weights` is where it goes to.
        weights = ptr32(scratch)
        y = 0 - params[_PAD_TOP]
        i = plane_h
        while i:
            total = params[_INPUT_ZERO_POINT] + 128
            if y < 0 or y >= params[_INPUT_HEIGHT]:
                j = plane_w
                while j:
                    ptr8(weights)[0] = total
                    weights = ptr32(int(weights) + 1)
                    j -= 1
            else:
                j = pad_left
                while j:
                    ptr8(weights)[0] = total
                    weights = ptr32(int(weights) + 1)
                    j -= 1
                call = ptr32(image + channel + y * params[_INPUT_WIDTH] * channels)
                j = inside
                while j:
                    ptr8(weights)[0] = ptr8(call)[0] ^ 128
                    call = ptr32(int(call) + channels)
                    weights = ptr32(int(weights) + 1)
                    j -= 1
                j = plane_w - pad_left - inside
                while j:
                    ptr8(weights)[0] = total
                    weights = ptr32(int(weights) + 1)
                    j -= 1
            y += 1
            i -= 1

        multiple = params[_GROUP_OUTPUTS]
        while multiple:
            place = ptr8(output)
            corner_of_row = scratch
            y = params[_OUTPUT_HEIGHT]
            while y:
                corner = corner_of_row
                x = out_width
                while x:
                    call = ptr32(corner)
                    weights = ptr32(of_channel)
                    total = table[_BIAS]
                    if is_three:
                        total = weights[0] * ptr8(call)[0] + total
                        total = weights[1] * ptr8(call)[1] + total
                        total = weights[2] * ptr8(call)[2] + total
                        call = ptr32(line + int(call))
                        total = weights[3] * ptr8(call)[0] + total
                        total = weights[4] * ptr8(call)[1] + total
                        total = weights[5] * ptr8(call)[2] + total
                        call = ptr32(line + int(call))
                        total = weights[6] * ptr8(call)[0] + total
                        total = weights[7] * ptr8(call)[1] + total
                        total = weights[8] * ptr8(call)[2] + total
                    else:
                        j = 0
                        i = kernel_h
                        while i:
                            call = ptr32(corner + j)
                            i -= 1
                            j += line
                            left = kernel_w
                            if dilation_w == 1:
                                while left >= 4:
                                    total = weights[0] * ptr8(call)[0] + total
                                    total = weights[1] * ptr8(call)[1] + total
                                    total = weights[2] * ptr8(call)[2] + total
                                    total = weights[3] * ptr8(call)[3] + total
                                    weights = ptr32(int(weights) + 16)
                                    call = ptr32(int(call) + 4)
                                    left -= 4
                            while left:
                                total = weights[0] * ptr8(call)[0] + total
                                weights = ptr32(int(weights) + 4)
                                call = ptr32(int(call) + dilation_w)
                                left -= 1

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
                        sum = (cross & 0x7FFF) + (left & 0x7FFF) + ((total * i >> 16) & 0xFFFF) + 0x4000
                        total = (near * j << 1) + (cross >> 15) + (left >> 15) + (sum >> 15)
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
                    place[0] = total
                    place = ptr8(int(place) + outputs)
                    corner += stride_w
                    x -= 1
                corner_of_row += params[_STRIDE_H] * plane_w
                y -= 1
            of_channel += kernel_h * kernel_w << 2
            table = ptr32(int(table) + _ROW_BYTES)
            output += 1
            multiple -= 1
        channel += 1
