"""UNIDIRECTIONAL_SEQUENCE_LSTM, int8, in viper: the bytes of elearn_lstm_s8.c and elearn_lstm_cell_s8.c.

Weights are offset binary (w + 128): what that adds is taken away by the sum of the values. Scratch holds the gates,
four words for each unit, and behind them the cells. Several functions, because a Cortex-M0 has no branch over as much
code as one would have. See kernels_conv2d.py about variables.
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
_OUTPUT_MULTIPLIER = const(6)
_OUTPUT_SHIFT = const(7)
_WEIGHTS = const(8)
_BIAS = const(9)
_SCALES = const(10)

_GATE_INTEGER_BITS = const(3)


def elearn_lstm_s8(call):
    step = 0
    while _gates(call, step):
        _cells(call, step)
        step += 1


# The sums of all gates in Q3.12, from the input and from the output of the step before; 0 after the last step.
@micropython.viper
def _gates(call: ptr32, step: int) -> int:
    # In registers: `call` becomes the values.
    params = ptr32(call[1])
    if step == params[_STEPS]:
        return 0
    of_step = call[2] + step * params[_FEATURES]
    before = call[3] + (step - 1) * params[_UNITS]
    gates = ptr32(call[4])
    weights = ptr8(params[_WEIGHTS])
    bias = ptr32(params[_BIAS])
    u = params[_UNITS]
    while u:
        part = 0
        while part < 8:
            a = bias[0]
            b = bias[1]
            c = bias[2]
            d = bias[3]
            bias = ptr32(int(bias) + 16)
            of_values = 0
            call = ptr32(of_step)
            left = params[_FEATURES]
            if part:
                call = ptr32(before)
                left = params[_UNITS]
                if step == 0:
                    # The output before the first step is zero, and so are its sums.
                    a = 0
                    b = 0
                    c = 0
                    d = 0
                    weights = ptr8(int(weights) + (((left + 3) >> 2) << 4))
                    left = 0
            while left:
                i = 4
                if left < 4:
                    i = left
                left -= i
                place = weights
                while i:
                    value = (ptr8(call)[0] ^ 128) - 128
                    of_values += value
                    a = place[0] * value + a
                    b = place[4] * value + b
                    c = place[8] * value + c
                    d = place[12] * value + d
                    place = ptr8(int(place) + 1)
                    call = ptr32(int(call) + 1)
                    i -= 1
                weights = ptr8(int(weights) + 16)
            of_values = of_values << 7
            i = 0
            while i < 4:
                value = a - of_values
                a = b
                b = c
                c = d
                # Rounded twice
                call = ptr32(params[_SCALES] + (part + i << 3))
                shift = call[1]
                if shift > 0:
                    value = value << shift
                # The high word of the product, from four products of 16 bits.
                low_word = call[0]
                high_word = low_word >> 16
                low_word = low_word & 0xFFFF
                upper = value >> 16
                value = value & 0xFFFF
                cross1 = value * high_word
                cross2 = upper * low_word
                value = (cross1 & 0x7FFF) + (cross2 & 0x7FFF) + ((value * low_word >> 16) & 0xFFFF) + 0x4000 >> 15
                value += (upper * high_word << 1) + (cross1 >> 15) + (cross2 >> 15)
                if shift < 0:
                    # Halves away from zero
                    shift = 0 - shift
                    value += value >> 31
                    value = (value >> shift) + ((value >> (shift - 1)) & 1)
                if part:
                    value += gates[i]
                if value > 32767:
                    value = 32767
                if value < -32768:
                    value = -32768
                gates[i] = value
                i += 1
            part += 4
        gates = ptr32(int(gates) + 16)
        u -= 1
    return 1


# Twice the logistic function of |value| in Q2.13, where `bits` of the 16 of the value stand before the point.
@micropython.viper
def _twice_logistic(value: int, bits: int) -> int:
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
    i = 3
    while i:
        result = 8192 - ((half * value + 16384) >> 15)
        value += ((value * result + 16384) >> 15) << 2
        i -= 1
    return value


# The new cells, and the outputs of a step.
@micropython.viper
def _cells(call: ptr32, step: int):
    value = 0
    params = ptr32(call[1])
    units = params[_UNITS]
    output = ptr8(call[3] + step * units)
    gates = ptr32(call[4])
    cells = ptr16(int(gates) + (units << 4))
    shift = params[_OUTPUT_SHIFT]
    u = units
    while u:
        # What the gates are: input, forget, cell, output; then the cell: each a function of a number in Q3.12.
        state = 0
        n = 0
        while n < 5:
            bits = _GATE_INTEGER_BITS
            value = state
            if n < 4:
                value = gates[n]
            if n == 2:
                bits += 1
            if n == 4:
                bits = params[_CELL_INTEGER_BITS] + 1
            sign = value
            value = int(_twice_logistic(value, bits))
            if n == 2 or n == 4:
                # tanh
                value = (value - 8192) << 2
                if value > 32767:
                    value = 32767
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
                gates[n] = value
            if n == 3:
                # The new state: halves away from zero
                if step:
                    state = gates[1] * ((cells[0] ^ 32768) - 32768)
                    state = (state + (state >> 31) + 16384) >> 15
                sign = gates[0] * gates[2]
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
        # The output: rounded twice
        value = value * gates[3]
        gates = ptr32(int(gates) + 16)
        if shift > 0:
            value = value << shift
        # The high word of the product, from four products of 16 bits.
        half = params[_OUTPUT_MULTIPLIER]
        bits = half >> 16
        half = half & 0xFFFF
        i = value >> 16
        value = value & 0xFFFF
        sign = value * bits
        result = i * half
        value = (sign & 0x7FFF) + (result & 0x7FFF) + ((value * half >> 16) & 0xFFFF) + 0x4000 >> 15
        value += (i * bits << 1) + (sign >> 15) + (result >> 15)
        if shift < 0:
            # Halves away from zero
            value += value >> 31
            value = (value >> (0 - shift)) + ((value >> (0 - shift - 1)) & 1)
        value += params[_OUTPUT_ZERO_POINT]
        if value < -128:
            value = -128
        if value > 127:
            value = 127
        output[0] = value
        output = ptr8(int(output) + 1)
        u -= 1
