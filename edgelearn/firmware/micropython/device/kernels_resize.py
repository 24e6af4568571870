"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR, int8, in viper: the bytes of elearn_resize_s8.c."""

import micropython
from micropython import const

# Words of the parameters of both
_INPUT_WIDTH = const(1)
_CHANNELS = const(2)
_OUTPUT_HEIGHT = const(3)
_OUTPUT_WIDTH = const(4)
_ROWS = const(6)
_COLUMNS = const(7)


@micropython.viper
def elearn_resize_nearest_s8(call: ptr32):
    params = ptr32(call[1])
    image = call[2]
    output = ptr8(call[3])
    channels = params[_CHANNELS]
    rows = ptr16(params[_ROWS])
    columns = ptr16(params[_COLUMNS])
    y = 0
    while y < params[_OUTPUT_HEIGHT]:
        row = image + rows[y] * params[_INPUT_WIDTH] * channels
        x = 0
        while x < params[_OUTPUT_WIDTH]:
            source = ptr8(row + columns[x] * channels)
            i = channels
            while i:
                i -= 1
                output[i] = source[i]
            output = ptr8(int(output) + channels)
            x += 1
        y += 1


@micropython.viper
def elearn_resize_bilinear_s8(call: ptr32):
    params = ptr32(call[1])
    image = call[2]
    output = ptr8(call[3])
    channels = params[_CHANNELS]
    row_bytes = params[_INPUT_WIDTH] * channels
    # Of each output line: the input's line, and the weight of the next one in 1/1024.
    rows = ptr16(params[_ROWS])
    y = params[_OUTPUT_HEIGHT]
    while y:
        down = rows[1]
        columns = ptr16(params[_COLUMNS])
        x = params[_OUTPUT_WIDTH]
        while x:
            right = columns[1]
            upper = ptr8(image + rows[0] * row_bytes + columns[0] * channels)
            # Where a weight is 0 there may be no next line.
            to_right = 0
            if right:
                to_right = channels
            to_lower = 0
            if down:
                to_lower = row_bytes
            i = channels
            while i:
                a = (upper[0] ^ 128) - 128
                a = (a << 10) + ((upper[to_right] ^ 128) - 128 - a) * right
                b = (upper[to_lower] ^ 128) - 128
                b = (b << 10) + ((upper[to_lower + to_right] ^ 128) - 128 - b) * right
                # In 2^-20, rounded halves away from zero.
                a = (a << 10) + (b - a) * down
                output[0] = (a + 0x80000 + (a >> 31)) >> 20
                output = ptr8(int(output) + 1)
                upper = ptr8(int(upper) + 1)
                i -= 1
            columns = ptr16(int(columns) + 4)
            x -= 1
        rows = ptr16(int(rows) + 4)
        y -= 1
