"""DEPTHWISE_CONV_2D, int8, in viper: the bytes of elearn_depthwise_conv2d_s8.c.

One channel after another: its plane is expanded (x + 128), with its padding, then the window goes over it. Weights are
words with their signs, [output channel][kernel_h][kernel_w]; the rows of the table are those of kernels_conv2d.py, but
with 20 fraction bits, and what is said there of variables holds here.
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
    zero_point = params[_OUTPUT_ZERO_POINT] + 128
    low = params[_OUTPUT_MIN] + 128
    high = params[_OUTPUT_MAX] + 128
    # The plane is as large as the windows reach, whatever the input's size.
    plane_h = (params[_OUTPUT_HEIGHT] - 1) * params[_STRIDE_H] + (kernel_h - 1) * params[_DILATION_H] + 1
    plane_w = (params[_OUTPUT_WIDTH] - 1) * stride_w + (kernel_w - 1) * dilation_w + 1
    height = params[_INPUT_HEIGHT]
    if height > plane_h - params[_PAD_TOP]:
        height = plane_h - params[_PAD_TOP]
    width = params[_INPUT_WIDTH]
    if width > plane_w - pad_left:
        width = plane_w - pad_left
    line = plane_w * params[_DILATION_H]
    # From the last line of a window of three to the first one of the next
    next_window = stride_w - line - line
    is_three = 0
    if kernel_h == 3 and kernel_w == 3 and dilation_w == 1:
        is_three = 1

    # Padding is the same for all channels.
    value = params[_INPUT_ZERO_POINT] + 128
    call = ptr32(scratch)
    i = plane_h * plane_w
    while i:
        ptr8(call)[0] = value
        call = ptr32(int(call) + 1)
        i -= 1
    first = scratch + params[_PAD_TOP] * plane_w + pad_left

    weights = ptr32(params[_WEIGHTS])
    channel = 0
    while channel < channels:
        of_line = first
        call = ptr32(image + channel)
        to_next_line = (params[_INPUT_WIDTH] - width) * channels
        i = height
        while i:
            total = of_line
            j = width
            while j:
                ptr8(total)[0] = ptr8(call)[0] ^ 128
                call = ptr32(channels + int(call))
                total += 1
                j -= 1
            call = ptr32(to_next_line + int(call))
            of_line += plane_w
            i -= 1

        multiple = params[_GROUP_OUTPUTS]
        while multiple:
            bias = table[_BIAS]
            right = table[_RIGHT]
            factor = table[_FACTOR]
            offset = table[_OFFSET]
            limit = table[_LIMIT]
            place = ptr8(output)
            of_line = scratch
            y = params[_OUTPUT_HEIGHT]
            while y:
                call = ptr32(of_line)
                x = params[_OUTPUT_WIDTH]
                while x:
                    total = bias
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
                        call = ptr32(next_window + int(call))
                    else:
                        corner = int(call)
                        of_row = corner
                        weight = weights
                        i = kernel_h
                        while i:
                            call = ptr32(of_row)
                            j = kernel_w
                            if dilation_w == 1:
                                while j > 3:
                                    total = weight[0] * ptr8(call)[0] + total
                                    total = weight[1] * ptr8(call)[1] + total
                                    total = weight[2] * ptr8(call)[2] + total
                                    total = weight[3] * ptr8(call)[3] + total
                                    weight = ptr32(int(weight) + 16)
                                    call = ptr32(int(call) + 4)
                                    j -= 4
                            while j:
                                total = weight[0] * ptr8(call)[0] + total
                                weight = ptr32(int(weight) + 4)
                                call = ptr32(dilation_w + int(call))
                                j -= 1
                            of_row += line
                            i -= 1
                        call = ptr32(corner + stride_w)

                    near = (total >> right) * factor + offset
                    if near & 0xFFFFF > limit:
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
                        total = near >> 20
                    if total < low:
                        total = low
                    if total > high:
                        total = high
                    place[0] = total ^ 128
                    place = ptr8(outputs + int(place))
                    x -= 1
                of_line += params[_STRIDE_H] * plane_w
                y -= 1
            weights = ptr32((kernel_h * kernel_w << 2) + int(weights))
            table = ptr32(int(table) + _ROW_BYTES)
            output += 1
            multiple -= 1
        channel += 1
