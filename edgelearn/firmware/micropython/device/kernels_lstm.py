"""UNIDIRECTIONAL_SEQUENCE_LSTM, int8, in viper: the bytes of elearn_lstm_s8.c and elearn_lstm_cell_s8.c.

Weights are offset binary (w + 128): what that adds is taken away by the sum of the values. Scratch holds the sums of a
unit's gates, eight words, then the cells. See kernels_conv2d.py about variables.
"""

import micropython
from micropython import const

# Words of elearn_lstm_params
_STEPS = const(0)
_FEATURES = const(1)
_UNITS = const(2)
_OUTPUT_ZERO_POINT = const(3)
_CELL_INTEGER_BITS = const(4)
_CELL_CLIP = const(5)
_OUTPUT_SCALE_BYTES = const(24)
_WEIGHTS = const(8)
_BIAS = const(9)
_SCALES = const(10)

_CELLS_BYTES = const(32)
_GATE_INTEGER_BITS = const(3)


@micropython.viper
def elearn_lstm_s8(call: ptr32):
    # In registers: `call` becomes the values.
    value = 0

    params = ptr32(call[1])
    of_step = call[2]
    output = ptr8(call[3])
    sums = ptr32(call[4])
    cells = ptr16(int(sums) + _CELLS_BYTES)
    units = params[_UNITS]
    before = 0
    u = units
    while u:
        u -= 1
        cells[u] = 0
    step = params[_STEPS]
    while step:
        weights = ptr8(params[_WEIGHTS])
        bias = ptr32(params[_BIAS])
        of_output = int(output)
        u = units
        while u:
            # The sums of the four gates: of the input's products, then of the recurrent ones.
            part = 0
            while part < 8:
                a = 0
                b = 0
                c = 0
                d = 0
                of_values = 0
                call = ptr32(of_step)
                left = params[_FEATURES]
                if part:
                    call = ptr32(before)
                    left = units
                if int(call):
                    a = bias[part]
                    b = bias[part + 1]
                    c = bias[part + 2]
                    d = bias[part + 3]
                    place = weights
                    i = 4
                    n = left
                    while n:
                        value = (ptr8(call)[0] ^ 128) - 128
                        of_values += value
                        a = place[0] * value + a
                        b = place[4] * value + b
                        c = place[8] * value + c
                        d = place[12] * value + d
                        place = ptr8(int(place) + 1)
                        call = ptr32(int(call) + 1)
                        n -= 1
                        i -= 1
                        if i == 0:
                            place = ptr8(int(place) + 12)
                            i = 4
                    of_values = of_values << 7
                # Before the first step the output is zero, and so are its sums.
                weights = ptr8(int(weights) + (((left + 3) >> 2) << 4))
                sums[part] = a - of_values
                sums[part + 1] = b - of_values
                sums[part + 2] = c - of_values
                sums[part + 3] = d - of_values
                part += 4
            bias = ptr32(int(bias) + 32)

            # Requantise the sums, then the output: each with its scale, rounded twice.
            state = 0
            c = 0
            i = 0
            part = 0
            while part < 9:
                if part < 8:
                    value = sums[part]
                    call = ptr32(params[_SCALES] + (part << 3))
                else:
                    # What the gates are: input a, forget b, cell c, output d; each a function of a sum in Q3.12.
                    n = 0
                    while n < 5:
                        bits = _GATE_INTEGER_BITS
                        if n < 4:
                            value = sums[n]
                            if n == 2:
                                bits += 1
                        else:
                            value = state
                            bits = params[_CELL_INTEGER_BITS] + 1
                        sign = value
                        if value > 0:
                            value = 0 - value
                        # exp(value) in Q0.15 for value <= 0: near -1/8 a polynomial, then a product of constants.
                        result = 32767
                        if bits > 5 and value + (1 << (20 - bits)) < 0:
                            result = 0
                        elif value:
                            quarter = 13 - bits
                            fraction = (value & ((1 << quarter) - 1)) - (1 << quarter)
                            quarters = (fraction - value) >> quarter
                            value = (fraction << bits) + 4096
                            square = (value * value + 16384) >> 15
                            result = (((square * square + 16384) >> 15) + 2) >> 2
                            result += (square * value + 16384) >> 15
                            result = ((result * 10923 + 16384) >> 15) + square
                            result = (28918 * (value + ((result + 1) >> 1)) + 16384) >> 15
                            result += 28918
                            if result > 32767:
                                result = 32767
                            if quarters & 1:
                                result = (result * 25520 + 16384) >> 15
                            if quarters & 2:
                                result = (result * 19875 + 16384) >> 15
                            if quarters & 4:
                                result = (result * 12055 + 16384) >> 15
                            if quarters & 8:
                                result = (result * 4435 + 16384) >> 15
                            if quarters & 16:
                                result = (result * 600 + 16384) >> 15
                            if quarters & 32:
                                result = (result * 11 + 16384) >> 15
                            if quarters & 64:
                                result = 0
                        # 2 / (1 + result) in Q2.13: three Newton steps
                        half = (result + 32768) >> 1
                        value = 23130 + ((half * -15420 + 16384) >> 15)
                        fraction = 3
                        while fraction:
                            result = 8192 - ((half * value + 16384) >> 15)
                            value += ((value * result + 16384) >> 15) << 2
                            fraction -= 1
                        if n == 2 or n == 4:
                            # tanh
                            value = (value - 8192) << 2
                            if value > 32767:
                                value = 32767
                            if value < -32768:
                                value = -32768
                            if sign < 0:
                                value = 0 - value
                            if sign == 0:
                                value = 0
                        else:
                            value = value << 1
                            if value > 32767:
                                value = 32767
                            if sign < 0:
                                value = 32767 - value
                            if sign == 0:
                                value = 16384
                        if n < 4:
                            sums[n] = value
                        if n == 3:
                            # The new state: halves away from zero
                            state = sums[1] * ((cells[0] ^ 32768) - 32768)
                            state = (state + (state >> 31) + 16384) >> 15
                            sign = sums[0] * sums[2]
                            bits = params[_CELL_INTEGER_BITS]
                            state += (sign + (sign >> 31) + (1 << (14 + bits))) >> (15 + bits)
                            if state > 32767:
                                state = 32767
                            if state < -32768:
                                state = -32768
                            bits = params[_CELL_CLIP]
                            if bits:
                                if state > bits:
                                    state = bits
                                if state < 0 - bits:
                                    state = 0 - bits
                            cells[0] = state
                            cells = ptr16(int(cells) + 2)
                        n += 1
                    value = value * sums[3]
                    call = ptr32(int(params) + _OUTPUT_SCALE_BYTES)
                shift = call[1]
                if shift > 0:
                    value = value << shift
                # The high word of the product, from four products of 16 bits.
                a = call[0]
                b = a >> 16
                a = a & 0xFFFF
                half = value >> 16
                value = value & 0xFFFF
                fraction = value * b
                result = half * a
                value = (fraction & 0x7FFF) + (result & 0x7FFF) + ((value * a >> 16) & 0xFFFF) + 0x4000 >> 15
                value += (half * b << 1) + (fraction >> 15) + (result >> 15)
                if shift < 0:
                    # Halves away from zero
                    shift = 0 - shift
                    value += value >> 31
                    value = (value >> shift) + ((value >> (shift - 1)) & 1)
                if part < 8:
                    if part > 3:
                        value += sums[part - 4]
                    if value > 32767:
                        value = 32767
                    if value < -32768:
                        value = -32768
                    sums[part & 3] = value
                part += 1
            value += params[_OUTPUT_ZERO_POINT]
            if value < -128:
                value = -128
            if value > 127:
                value = 127
            output[0] = value
            output = ptr8(int(output) + 1)
            u -= 1
        cells = ptr16(int(sums) + _CELLS_BYTES)
        before = of_output
        of_step += params[_FEATURES]
        step -= 1
