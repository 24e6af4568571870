"""Strided copies between int8 tensors, in viper: the bytes of elearn_copy_s8.c."""

import micropython
from micropython import const

# Words of elearn_copy_params, and the byte of the fill
_PIECES = const(0)
_PIECE_COUNT = const(1)
_AXES = const(2)
_FILL_BYTES = const(3)
_FILL = const(16)

# Words of elearn_copy_piece
_INPUT = const(0)
_OUTPUT = const(1)
_INPUT_START = const(2)
_OUTPUT_START = const(3)
_RUN_BYTES = const(4)
_FIRST_AXIS = const(5)
_AXIS_COUNT = const(6)
_PIECE_BYTES = const(28)

_AXIS_BYTES = const(12)


@micropython.viper
def elearn_copy_s8(call: ptr32):
    # In registers
    source = ptr8(0)
    target = ptr8(0)
    params = ptr32(call[1])
    inputs = ptr32(call[2])
    outputs = ptr32(call[3])

    fill = ptr8(params)[_FILL]
    target = ptr8(outputs[0])
    n = params[_FILL_BYTES]
    while n:
        n -= 1
        target[n] = fill

    piece = ptr32(params[_PIECES])
    left = params[_PIECE_COUNT]
    while left:
        run_bytes = piece[_RUN_BYTES]
        # Up to four axes around the last one; those that are not there have one place.
        axis = ptr32(params[_AXES] + (piece[_FIRST_AXIS] + piece[_AXIS_COUNT] - 1) * _AXIS_BYTES)
        count = axis[0]
        input_step = axis[1]
        output_step = axis[2]
        count1 = 1
        count2 = 1
        count3 = 1
        count4 = 1
        in_step1 = 0
        in_step2 = 0
        in_step3 = 0
        in_step4 = 0
        out_step1 = 0
        out_step2 = 0
        out_step3 = 0
        out_step4 = 0
        n = piece[_AXIS_COUNT]
        if n > 1:
            axis = ptr32(int(axis) - _AXIS_BYTES)
            count1 = axis[0]
            in_step1 = axis[1]
            out_step1 = axis[2]
        if n > 2:
            axis = ptr32(int(axis) - _AXIS_BYTES)
            count2 = axis[0]
            in_step2 = axis[1]
            out_step2 = axis[2]
        if n > 3:
            axis = ptr32(int(axis) - _AXIS_BYTES)
            count3 = axis[0]
            in_step3 = axis[1]
            out_step3 = axis[2]
        if n > 4:
            axis = ptr32(int(axis) - _AXIS_BYTES)
            count4 = axis[0]
            in_step4 = axis[1]
            out_step4 = axis[2]

        i4 = inputs[piece[_INPUT]] + piece[_INPUT_START]
        o4 = outputs[piece[_OUTPUT]] + piece[_OUTPUT_START]
        while count4:
            i3 = i4
            o3 = o4
            n3 = count3
            while n3:
                i2 = i3
                o2 = o3
                n2 = count2
                while n2:
                    i1 = i2
                    o1 = o2
                    n1 = count1
                    while n1:
                        i0 = i1
                        o0 = o1
                        n0 = count
                        while n0:
                            source = ptr8(i0)
                            target = ptr8(o0)
                            n = run_bytes
                            if (i0 | o0) & 3 == 0:
                                while n > 3:
                                    ptr32(target)[0] = ptr32(source)[0]
                                    source = ptr8(int(source) + 4)
                                    target = ptr8(int(target) + 4)
                                    n -= 4
                            while n:
                                target[0] = source[0]
                                source = ptr8(int(source) + 1)
                                target = ptr8(int(target) + 1)
                                n -= 1
                            i0 += input_step
                            o0 += output_step
                            n0 -= 1
                        i1 += in_step1
                        o1 += out_step1
                        n1 -= 1
                    i2 += in_step2
                    o2 += out_step2
                    n2 -= 1
                i3 += in_step3
                o3 += out_step3
                n3 -= 1
            i4 += in_step4
            o4 += out_step4
            count4 -= 1
        piece = ptr32(int(piece) + _PIECE_BYTES)
        left -= 1
