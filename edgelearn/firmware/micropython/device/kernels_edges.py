"""QUANTIZE from float32 to int8 and DEQUANTIZE back, in viper: the bytes of elearn_edges_s8.c.

Both are tables: the smallest float32 of each int8 above -128, in rising order, as whole numbers of that order; and the
float32 of each int8, by its bits as an unsigned number.
"""

import micropython

# Both have elearn_lookup_params: elements, table.


@micropython.viper
def elearn_quantize_s8(call: ptr32):
    params = ptr32(call[1])
    values = ptr32(call[2])
    output = ptr8(call[3])
    table = ptr32(params[1])
    mask = 1
    mask = (mask << 31) ^ -1
    infinity = 0x7F80
    infinity = infinity << 16
    i = 0
    while i < params[0]:
        value = values[i]
        if value & mask > infinity:
            # What is no number gives the smallest int8.
            low = 0
        else:
            # Floats are in the order of their bits, negative ones in the opposite one.
            if value < 0:
                value = (value & mask) ^ -1
            low = 0
            high = 255
            while low < high:
                middle = (low + high) >> 1
                if table[middle] <= value:
                    low = middle + 1
                else:
                    high = middle
        output[i] = low ^ 128
        i += 1


@micropython.viper
def elearn_dequantize_s8(call: ptr32):
    params = ptr32(call[1])
    values = ptr8(call[2])
    output = ptr32(call[3])
    table = ptr32(params[1])
    i = 0
    while i < params[0]:
        output[i] = table[values[i]]
        i += 1
