"""The trainable layer in viper, what is the same for every residual: the bits of elearn_head.c and elearn_head_loss.c.

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
_INITIAL_MANTISSA_HALF = const(8)
_INITIAL_EXPONENT_BYTE = const(18)
_INITIAL_WEIGHTS = const(7)
_ROW_M = const(12)
_ROW_R = const(13)

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

_CROSS_ENTROPY = const(1)
_LARGEST_ROW_T = const(45)


@micropython.viper
def elearn_head_forward(call: ptr32):
    # In registers: `call` becomes the features.
    total = 0

    params = ptr32(call[1])
    state = ptr32(call[2])
    result = ptr32(call[4])
    features = call[3]
    count = params[_FEATURES]
    outputs = params[_OUTPUTS]
    zero = ptr8(params)[_FEATURE_ZERO_POINT_BYTE] ^ 128
    logits = ptr32(state[_LOGITS])

    # Weights are taken as w + 128: what the sum of the values adds is taken away.
    call = ptr32(features)
    i = count
    while i:
        total += (ptr8(call)[0] ^ 128) - zero
        call = ptr32(int(call) + 1)
        i -= 1
    of_values = total << 7
    best = 0
    row = 0
    weights = ptr8(state[_WEIGHTS])
    while row < outputs:
        call = ptr32(features)
        total = 0 - of_values
        i = count >> 2
        while i:
            total = (weights[0] ^ 128) * ((ptr8(call)[0] ^ 128) - zero) + total
            total = (weights[1] ^ 128) * ((ptr8(call)[1] ^ 128) - zero) + total
            total = (weights[2] ^ 128) * ((ptr8(call)[2] ^ 128) - zero) + total
            total = (weights[3] ^ 128) * ((ptr8(call)[3] ^ 128) - zero) + total
            weights = ptr8(int(weights) + 4)
            call = ptr32(int(call) + 4)
            i -= 1
        i = count & 3
        while i:
            total = (weights[0] ^ 128) * ((ptr8(call)[0] ^ 128) - zero) + total
            weights = ptr8(int(weights) + 1)
            call = ptr32(int(call) + 1)
            i -= 1
        # total * m 2^-t without a 64-bit product: the upper and the lower 15 bits apart.
        m = ptr16(params[_ROW_M])[row]
        t = (ptr8(state[_ROW_T])[row] ^ 128) - 128
        low = (total & 0x7FFF) * m
        total = (total >> 15) * m
        if t > 15:
            t -= 15
            total = (total + ((low + 0x4000) >> 15) + (1 << (t - 1))) >> t
        else:
            if t:
                low = (low + (1 << (t - 1))) >> t
            total = (total << (15 - t)) + low
        total += ((ptr32(state[_BIAS])[row] >> 7) + 1) >> 1
        logits[row] = total
        if total > logits[best]:
            best = row
        row += 1

    result[0] = best
    ptr32(int(result) + 4)[0] = 0
    ptr32(int(result) + 8)[0] = 0
    if ptr8(params)[_LOSS_BYTE] == _CROSS_ENTROPY:
        # Softmax in Q15 by a table of round(2^(15 - i/64)), little-endian
        table = ptr8(
            b"\x00\x80\x9f\x7e\x42\x7d\xe8\x7b\x93\x7a\x41\x79\xf2\x77\xa8\x76\x60\x75\x1d\x74\xdd\x72\xa0\x71\x66\x70"
            b"\x30\x6f\xfe\x6d\xcf\x6c\xa2\x6b\x7a\x6a\x54\x69\x32\x68\x12\x67\xf6\x65\xdd\x64\xc7\x63\xb4\x62\xa3\x61"
            b"\x96\x60\x8c\x5f\x84\x5e\x80\x5d\x7e\x5c\x7f\x5b\x82\x5a\x89\x59\x92\x58\x9e\x57\xac\x56\xbd\x55\xd1\x54"
            b"\xe7\x53\xff\x52\x1b\x52\x38\x51\x58\x50\x7b\x4f\x9f\x4e\xc7\x4d\xf0\x4c\x1c\x4c\x4a\x4b\x7a\x4a\xad\x49"
            b"\xe2\x48\x19\x48\x52\x47\x8d\x46\xcb\x45\x0a\x45\x4c\x44\x90\x43\xd5\x42\x1d\x42\x67\x41\xb2\x40\x00\x40"
        )
        probabilities = ptr16(state[_PROBABILITIES])
        fraction_bits = ptr8(params)[_LOGIT_FRACTION_BITS_BYTE] - 12
        m = logits[best]
        total = 0
        row = 0
        while row < outputs:
            # The distance from the largest logit as an unsigned word: Q12, at most 16.
            low = m - logits[row]
            if fraction_bits >= 0:
                low = int(uint(low) >> fraction_bits)
                if low > 65535 or low < 0:
                    low = 65535
            else:
                if low > 65535 or low < 0:
                    low = 65535
                low = low << (0 - fraction_bits)
                if low > 65535:
                    low = 65535
            # Times log2(e), Q16: below 2^31
            low = (low * 23637) >> 10
            t = low >> 16
            i = 0
            if t < 16:
                i = ((low >> 10) & 63) << 1
                call = ptr32(int(table) + i)
                i = ptr8(call)[0] | (ptr8(call)[1] << 8)
                low = (i - (ptr8(call)[2] | (ptr8(call)[3] << 8))) * (low & 1023)
                i = (i - ((low + 512) >> 10)) >> t
            probabilities[row] = i
            total += i
            row += 1
        ptr32(int(result) + 8)[0] = total
        row = 0
        while row < outputs:
            low = (probabilities[row] << 15) + (total >> 1)
            probabilities[row] = low // total
            row += 1
        result[0] = best | (probabilities[best] << 16)


@micropython.viper
def elearn_head_loss(call: ptr32):
    params = ptr32(call[1])
    state = ptr32(call[2])
    label = call[3]
    targets = call[4]
    image = ptr8(call[5])
    result = ptr32(call[6])
    of_params = ptr8(params)
    logits = ptr32(state[_LOGITS])
    loss_a = ptr32(int(result) + 4)
    if of_params[_LOSS_BYTE] == _CROSS_ENTROPY:
        loss_a[0] = logits[result[0] & 0xFFFF] - logits[label]
    else:
        loss_b = ptr32(int(result) + 8)
        zero = of_params[_INPUT_ZERO_POINT_BYTE] ^ 128
        mantissa = (ptr16(params)[_INPUT_TARGET_MANTISSA_HALF] ^ 0x8000) - 0x8000
        shift = (of_params[_INPUT_TARGET_SHIFT_BYTE] ^ 128) - 128
        error_shift = of_params[_ERROR_SHIFT_BYTE]
        row = 0
        while row < params[_OUTPUTS]:
            if targets:
                pair = ptr8(targets + row + row)
                g = ((pair[0] | (pair[1] << 8)) ^ 0x8000) - 0x8000
                g = g << of_params[_TARGET_SHIFT_BYTE]
            else:
                g = ((image[row] ^ 128) - zero) * mantissa
                if shift > 0:
                    g = (g + (1 << (shift - 1))) >> shift
                else:
                    g = g << (0 - shift)
            g = logits[row] - g
            if error_shift:
                g = (g + (1 << (error_shift - 1))) >> error_shift
            if g > 32767:
                g = 32767
            if g < -32767:
                g = -32767
            g = g * g
            loss_a[0] = loss_a[0] + (g >> 16)
            loss_b[0] = loss_b[0] + (g & 0xFFFF)
            row += 1


@micropython.viper
def elearn_head_set_learning_rate(call: ptr32) -> int:
    params = ptr32(call[1])
    state = ptr32(call[2])
    mantissa = call[3]
    exponent = call[4]
    outputs = params[_OUTPUTS]
    fraction_bits = (ptr8(params)[_GRADIENT_FRACTION_BITS_BYTE] ^ 128) - 128
    if mantissa:
        if mantissa < 16384 or mantissa > 32767:
            return 0
        if exponent + fraction_bits - ptr8(params)[_LOGIT_FRACTION_BITS_BYTE] < 8:
            return 0
        rho = ptr8(state[_ROW_RHO])
        row = 0
        while row < outputs:
            if exponent + (rho[row] ^ 128) - 128 + fraction_bits < 31:
                return 0
            row += 1
    ptr16(int(state) + 32)[0] = mantissa
    ptr8(int(state) + _EXPONENT_BYTE)[0] = exponent
    row_r = ptr16(params[_ROW_R])
    row_k = ptr16(state[_ROW_K])
    row = 0
    while row < outputs:
        row_k[row] = (mantissa * row_r[row] + 0x4000) >> 15
        row += 1
    return 1


@micropython.viper
def elearn_head_reset(call: ptr32):
    params = ptr32(call[1])
    state = ptr32(call[2])
    outputs = params[_OUTPUTS]
    # From the constants to the buffers, byte by byte: weights, residual, biases, row_t, row_rho.
    part = 0
    while part < 5:
        source = ptr8(params[part + _INITIAL_WEIGHTS])
        target = ptr8(state[part])
        i = outputs
        if part < 2:
            i = outputs * params[_FEATURES]
        elif part == 2:
            i = outputs << 2
        if int(target):
            while i:
                i -= 1
                if int(source):
                    target[i] = source[i]
                else:
                    target[i] = 128
        part += 1
    seed = 37590
    ptr32(int(state) + 36)[0] = (seed << 16) | 36002
    # As elearn_head_set_learning_rate with what the model came with, which it accepts.
    mantissa = ptr16(params)[_INITIAL_MANTISSA_HALF]
    ptr16(int(state) + 32)[0] = mantissa
    ptr8(int(state) + _EXPONENT_BYTE)[0] = ptr8(params)[_INITIAL_EXPONENT_BYTE]
    row_r = ptr16(params[_ROW_R])
    row_k = ptr16(state[_ROW_K])
    row = 0
    while row < outputs:
        row_k[row] = (mantissa * row_r[row] + 0x4000) >> 15
        row += 1


@micropython.viper
def elearn_head_accepts_row_t(call: ptr32) -> int:
    least = (ptr8(call[1])[_ROW_T_MIN_BYTE] ^ 128) - 128
    values = ptr8(call[2])
    i = call[3]
    while i:
        i -= 1
        t = values[i]
        if t > 127:
            t = -1
        if t < least or t > _LARGEST_ROW_T:
            return 0
    return 1


@micropython.viper
def elearn_head_accepts_row_rho(call: ptr32) -> int:
    state = ptr32(call[2])
    values = ptr8(call[3])
    i = call[4]
    fraction_bits = (ptr8(call[1])[_GRADIENT_FRACTION_BITS_BYTE] ^ 128) - 128
    if ptr16(state)[_MANTISSA_HALF] == 0:
        return 1
    exponent = ptr8(int(state) + _EXPONENT_BYTE)[0]
    while i:
        i -= 1
        if exponent + (values[i] ^ 128) - 128 + fraction_bits < 31:
            return 0
    return 1
