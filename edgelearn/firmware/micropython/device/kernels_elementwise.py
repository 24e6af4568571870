"""ADD, SUB, MUL, MAXIMUM and MINIMUM with broadcasting, int8, in viper: the bytes of elearn_elementwise_s8.c.

One walk for all of them; `kind` says what happens at each place. See kernels_conv2d.py about variables.
"""

import micropython
from micropython import const

# Words of elearn_elementwise_params; sizes begin at 0, steps of the operands at 5 and 10
_CONSTANT1 = const(15)
_CONSTANT2 = const(16)
_ZERO_POINT1 = const(17)
_ZERO_POINT2 = const(18)
_SCALE1_BYTES = const(76)
_MULTIPLIER1 = const(19)
_MULTIPLIER2 = const(21)
_OFFSET = const(23)
_RIGHT = const(24)
_OUTPUT_ZERO_POINT = const(25)
_OUTPUT_MIN = const(26)
_OUTPUT_MAX = const(27)

_SUM = const(0)
_SUM_FOLDED = const(1)
_MUL = const(2)
_MAXIMUM = const(3)
_MINIMUM = const(4)


def elearn_sum_s8(call):
    _walk(call, _SUM)


def elearn_sum_folded_s8(call):
    _walk(call, _SUM_FOLDED)


def elearn_mul_s8(call):
    _walk(call, _MUL)


def elearn_mul_right_s8(call):
    _walk(call, _MUL)


def elearn_maximum_s8(call):
    _walk(call, _MAXIMUM)


def elearn_minimum_s8(call):
    _walk(call, _MINIMUM)


@micropython.viper
def _walk(call: ptr32, kind: int):
    params = ptr32(call[1])
    inputs = ptr32(call[2])
    output = ptr8(ptr32(call[3])[0])
    place1 = params[_CONSTANT1]
    place2 = params[_CONSTANT2]
    if place1 == 0:
        place1 = inputs[0]
        inputs = ptr32(int(inputs) + 4)
    if place2 == 0:
        place2 = inputs[0]
    # Values are x + 128 here.
    zero1 = params[_ZERO_POINT1] + 128
    zero2 = params[_ZERO_POINT2] + 128
    zero_point = params[_OUTPUT_ZERO_POINT]
    low = params[_OUTPUT_MIN]
    high = params[_OUTPUT_MAX]
    n0 = params[0]
    while n0:
        n1 = params[1]
        while n1:
            n2 = params[2]
            while n2:
                n3 = params[3]
                while n3:
                    n4 = params[4]
                    while n4:
                        a = ptr8(place1)[0] ^ 128
                        b = ptr8(place2)[0] ^ 128
                        if kind == _MAXIMUM:
                            if b > a:
                                a = b
                            a -= 128
                        elif kind == _MINIMUM:
                            if b < a:
                                a = b
                            a -= 128
                        elif kind == _SUM_FOLDED:
                            a = (a - 128) * params[_MULTIPLIER1] + (b - 128) * params[_MULTIPLIER2] + params[_OFFSET]
                            a = (a >> params[_RIGHT]) - 128
                        else:
                            # Rounded twice: both operands and then their sum, or the product alone.
                            value = (a - zero1) * (b - zero2)
                            first = 0
                            step = 2
                            if kind == _SUM:
                                value = (a - zero1) << 20
                                step = 0
                            while step < 3:
                                scale = ptr32(int(params) + _SCALE1_BYTES + (step << 3))
                                shift = scale[1]
                                if shift > 0:
                                    value = value << shift
                                m = scale[0]
                                mh = m >> 16
                                m = m & 0xFFFF
                                a = value >> 16
                                value = value & 0xFFFF
                                cross1 = value * mh
                                cross2 = a * m
                                value = (value * m >> 16) & 0xFFFF
                                value = (cross1 & 0x7FFF) + (cross2 & 0x7FFF) + value + 0x4000 >> 15
                                value += (a * mh << 1) + (cross1 >> 15) + (cross2 >> 15)
                                if shift < 0:
                                    shift = 0 - shift
                                    value += value >> 31
                                    value = (value >> shift) + ((value >> (shift - 1)) & 1)
                                if step == 0:
                                    first = value
                                    value = (b - zero2) << 20
                                elif step == 1:
                                    value += first
                                step += 1
                            a = value + zero_point
                        if a < low:
                            a = low
                        if a > high:
                            a = high
                        output[0] = a
                        output = ptr8(int(output) + 1)
                        place1 += params[9]
                        place2 += params[14]
                        n4 -= 1
                    place1 += params[8] - params[4] * params[9]
                    place2 += params[13] - params[4] * params[14]
                    n3 -= 1
                place1 += params[7] - params[3] * params[8]
                place2 += params[12] - params[3] * params[13]
                n2 -= 1
            place1 += params[6] - params[2] * params[7]
            place2 += params[11] - params[2] * params[12]
            n1 -= 1
        place1 += params[5] - params[1] * params[6]
        place2 += params[10] - params[1] * params[11]
        n0 -= 1
