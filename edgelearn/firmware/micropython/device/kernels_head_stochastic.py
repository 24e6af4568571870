"""One step of learning, in viper: the bits of elearn_head.c with weights of int8 that are rounded at random.

See edgelearn/training/head.py for the formulas, and kernels_conv2d.py about variables.
"""

import micropython
from micropython import const

# elearn_head_params: words, bytes and half words
_FEATURES = const(0)
_OUTPUTS = const(1)
_LOSS_BYTE = const(8)
_FEATURE_ZERO_POINT_BYTE = const(9)
_LOGIT_FRACTION_BITS_BYTE = const(10)
_GRADIENT_FRACTION_BITS_BYTE = const(11)
_ERROR_SHIFT_BYTE = const(12)
_TARGET_SHIFT_BYTE = const(13)
_ROW_T_MIN_BYTE = const(14)
_INPUT_ZERO_POINT_BYTE = const(19)
_INPUT_TARGET_MANTISSA_HALF = const(10)
_INPUT_TARGET_SHIFT_BYTE = const(22)

# elearn_head_state: words, bytes and half words
_WEIGHTS = const(0)
_BIAS = const(2)
_ROW_T = const(3)
_ROW_RHO = const(4)
_ROW_K = const(5)
_LOGITS = const(6)
_PROBABILITIES = const(7)
_MANTISSA_HALF = const(16)
_EXPONENT_BYTE = const(34)
_RANDOM = const(9)

_CROSS_ENTROPY = const(1)
_LARGEST_UPDATE_SHIFT = const(24)


@micropython.viper
def elearn_head_learn(call: ptr32):
    # In registers: `call` becomes the features.
    weights = ptr8(0)
    u = 0

    params = ptr32(call[1])
    state = ptr32(call[2])
    features = call[3]
    label = call[4]
    targets = call[5]
    image = ptr8(call[6])
    of_params = ptr8(params)
    count = params[_FEATURES]
    mantissa = ptr16(state)[_MANTISSA_HALF]
    fraction_bits = (of_params[_GRADIENT_FRACTION_BITS_BYTE] ^ 128) - 128 + ptr8(int(state) + _EXPONENT_BYTE)[0]
    bias_right = fraction_bits - of_params[_LOGIT_FRACTION_BITS_BYTE] - 8
    error_shift = of_params[_ERROR_SHIFT_BYTE]
    top_bit = 1
    top_bit = top_bit << 31
    outputs = params[_OUTPUTS]
    if mantissa == 0:
        outputs = 0
    row = 0
    while row < outputs:
        if of_params[_LOSS_BYTE] == _CROSS_ENTROPY:
            g = ptr16(state[_PROBABILITIES])[row]
            if row == label:
                g -= 32768
        else:
            if targets:
                weights = ptr8(targets + row + row)
                g = ((weights[0] | (weights[1] << 8)) ^ 0x8000) - 0x8000
                g = g << of_params[_TARGET_SHIFT_BYTE]
            else:
                shift = (of_params[_INPUT_TARGET_SHIFT_BYTE] ^ 128) - 128
                g = (ptr16(params)[_INPUT_TARGET_MANTISSA_HALF] ^ 0x8000) - 0x8000
                g = ((image[row] ^ 128) - (of_params[_INPUT_ZERO_POINT_BYTE] ^ 128)) * g
                if shift > 0:
                    g = (g + (1 << (shift - 1))) >> shift
                else:
                    g = g << (0 - shift)
            g = ptr32(state[_LOGITS])[row] - g
            if error_shift:
                g = (g + (1 << (error_shift - 1))) >> error_shift
        if g > 32767:
            g = 32767
        if g < -32767:
            g = -32767

        k = (g * ptr16(state[_ROW_K])[row] + 0x4000) >> 15
        shift = fraction_bits + (ptr8(state[_ROW_RHO])[row] ^ 128) - 128 - 30
        if k and shift <= _LARGEST_UPDATE_SHIFT:
            # Below, u and the values are 32768 and 128 more than what they stand for.
            constant = (1 << (shift - 1)) - k * (of_params[_FEATURE_ZERO_POINT_BYTE] ^ 128)
            weights = ptr8(state[_WEIGHTS] + row * count)
            random = state[_RANDOM]
            call = ptr32(features)
            saturated = 0
            i = count
            while i:
                # Marsaglia, "Xorshift RNGs" (2003), section 3, the triple (13, 17, 5)
                random ^= random << 13
                random ^= (random >> 17) & 0x7FFF
                random ^= random << 5
                u = (
                    ((weights[0] ^ 128) << 8)
                    + ((random >> 24) & 255)
                    - ((k * (ptr8(call)[0] ^ 128) + constant) >> shift)
                )
                if u >> 16:
                    saturated = 1
                    if u < 0:
                        u = 0
                    else:
                        u = 65535
                weights[0] = (u >> 8) ^ 128
                weights = ptr8(int(weights) + 1)
                call = ptr32(int(call) + 1)
                i -= 1
            ptr32(int(state) + 36)[0] = random
            if saturated:
                place = ptr8(state[_ROW_T] + row)
                u = (place[0] ^ 128) - 128
                if u > (of_params[_ROW_T_MIN_BYTE] ^ 128) - 128:
                    # Twice the row's scale, half the numbers
                    place[0] = u - 1
                    place = ptr8(state[_ROW_RHO] + row)
                    place[0] = place[0] + 1
                    weights = ptr8(state[_WEIGHTS] + row * count)
                    i = count
                    while i:
                        i -= 1
                        u = ((((weights[i] ^ 128) << 8) + 128 - 32895) >> 1) + 32896
                        weights[i] = (u >> 8) ^ 128
        if bias_right <= 30:
            u = g * mantissa
            if bias_right:
                u = (u + (1 << (bias_right - 1))) >> bias_right
            i = ptr32(state[_BIAS])[row]
            k = i - u
            # The difference leaves 32 bits where the signs differ and its own is not that of the first.
            if (i ^ u) & (i ^ k) < 0:
                k = top_bit
                if i >= 0:
                    k = top_bit ^ -1
            ptr32(state[_BIAS])[row] = k
        row += 1
