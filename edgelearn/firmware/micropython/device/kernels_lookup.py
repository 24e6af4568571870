"""Any function of an int8 by a table, in viper: the bytes of elearn_lookup_s8.c."""

import micropython


@micropython.viper
def elearn_lookup_s8(call: ptr32):
    # In registers: `call` becomes the input.
    i = 0
    output = ptr8(call[3])
    table = ptr8(ptr32(call[1])[1])
    i = ptr32(call[1])[0]
    call = ptr32(call[2])
    while i:
        i -= 1
        output[i] = table[ptr8(call)[i]]
