/* int16 by uint16, and the end of int16 by int16, with 32 bits: what the compiler's library calls __usmulhisi3, and with
 * the same registers. Linked before that library so that images run in QEMU 7.2, which never returns from a function
 * whose last instruction but one skips over its `ret`.
 *
 * r25:r22 = r27:r26 (signed) * r19:r18; reference: GCC, libgcc/config/avr/lib1funcs.S (registers). */
    .section .text.elearn_products, "ax", @progbits

    .global __usmulhisi3
    .global __usmulhisi3_tail

__usmulhisi3:
    call __umulhisi3
__usmulhisi3_tail:
    tst r27
    brpl 1f
    sub r24, r18
    sbc r25, r19
1:
    ret
