/* Products of int8 weights with expanded values: see elearn_matmul_s8.h. DSP instructions, or portable C. */
#include "elearn_matmul_s8.h"

#include <string.h>

#include "elearn_walk.h"

#if defined(__ARM_FEATURE_DSP)

#include <stddef.h>

/* The walks are written whole in assembler, because the compiler neither forms LDM of four words nor keeps fourteen
 * registers in use. They load their arguments with one LDM in the order of the struct. */
typedef char elearn_pixels_walk_layout[offsetof(elearn_pixels_walk, is_odd) == 28 ? 1 : -1];

/* One word of weights by one word of values of each of two pixels: r0 += A + 256 B and r1 += A of the first, r2 and r3
 * of the second. */
#define PIXELS_WORD(weights, one, two) \
    "smlad r0, " weights ", " one ", r0\n" \
    "smlad r2, " weights ", " two ", r2\n" \
    "sxtb16 " weights ", " weights "\n" \
    "smlad r1, " weights ", " one ", r1\n" \
    "smlad r3, " weights ", " two ", r3\n"

/* Eight inputs of two pixels by two channels. lr: values. */
#define PIXELS_EIGHT \
    "ldm r12!, {r4-r7}\n" \
    "ldm lr!, {r8-r11}\n" \
    PIXELS_WORD("r4", "r8", "r9") \
    PIXELS_WORD("r5", "r10", "r11") \
    "ldm lr!, {r8-r11}\n" \
    PIXELS_WORD("r6", "r8", "r9") \
    PIXELS_WORD("r7", "r10", "r11")

/* All inputs of two pixels by two channels, sixteen at a time. */
#define PIXELS_SUMS \
    "1:\n" \
    "ldm r12!, {r0, r1}\n" \
    "ldr r4, [sp, #28]\n" \
    "ldr lr, [sp, #4]\n" \
    "mov r2, r0\n" \
    "mov r3, r1\n" \
    "cbnz r4, 3f\n" \
    "2:\n" \
    PIXELS_EIGHT \
    "3:\n" \
    PIXELS_EIGHT \
    "ldr r4, [sp, #8]\n" \
    "cmp lr, r4\n" \
    "bne 2b\n" \
    "sub r0, r0, r1\n" \
    "sub r2, r2, r3\n"

/* Store A and B of both pixels, and go on with the next two channels. */
#define PIXELS_STORE \
    "ssat r1, #8, r1\n" \
    "ssat r0, #8, r0\n" \
    "ssat r3, #8, r3\n" \
    "ssat r2, #8, r2\n" \
    "ldrd r8, r9, [sp, #12]\n" \
    "ldr r11, [sp, #20]\n" \
    "strb r1, [r8], #1\n" \
    "strb r0, [r8], #1\n" \
    "strb r3, [r9], #1\n" \
    "strb r2, [r9], #1\n" \
    "strd r8, r9, [sp, #12]\n" \
    "cmp r8, r11\n" \
    "bne 1b\n"

__attribute__((naked)) void elearn_pixels_folded_s8(const elearn_pixels_walk *w __attribute__((unused)))
{
    __asm__ volatile(
        ENTER
        PIXELS_SUMS
        "ldm r12!, {r4-r7}\n"
        "ldr r10, [sp, #24]\n"
        "asr r0, r0, #8\n"
        "asr r2, r2, #8\n"
        "smmla r1, r1, r4, r5\n"
        "smmla r3, r3, r4, r5\n"
        "smmla r0, r0, r6, r7\n"
        "smmla r2, r2, r6, r7\n"
        "asr r1, r1, r10\n"
        "asr r3, r3, r10\n"
        "asr r0, r0, r10\n"
        "asr r2, r2, r10\n"
        PIXELS_STORE
        LEAVE);
}

__attribute__((naked)) void elearn_pixels_twice_s8(const elearn_pixels_walk *w __attribute__((unused)))
{
    __asm__ volatile(
        ENTER
        PIXELS_SUMS
        "ldm r12!, {r4-r8}\n"
        "lsl r1, r1, #1\n"
        "lsl r3, r3, #1\n"
        "asr r0, r0, #7\n"
        "asr r2, r2, #7\n"
        "add r9, r5, r1, asr #31\n"
        "add r10, r5, r3, asr #31\n"
        "smmlar r1, r1, r4, r9\n"
        "smmlar r3, r3, r4, r10\n"
        "add r9, r7, r0, asr #31\n"
        "add r10, r7, r2, asr #31\n"
        "smmlar r0, r0, r6, r9\n"
        "smmlar r2, r2, r6, r10\n"
        "asr r1, r1, r8\n"
        "asr r3, r3, r8\n"
        "lsr r8, r8, #8\n"
        "asr r0, r0, r8\n"
        "asr r2, r2, r8\n"
        PIXELS_STORE
        LEAVE);
}

__attribute__((naked)) void elearn_vector_folded_s8(const elearn_vector_walk *w __attribute__((unused)))
{
    __asm__ volatile(
        ENTER
        VECTOR_SUMS
        "asr r0, r0, #8\n"
        "asr r2, r2, #8\n"
        "ldr lr, [sp, #20]\n"
        "cmp lr, #0\n"
        "ite ne\n"
        "ldmne lr, {r4-r11}\n"
        "ldmeq r12!, {r4-r11}\n"
        "smmla r1, r1, r4, r5\n"
        "smmla r0, r0, r6, r7\n"
        "smmla r3, r3, r8, r9\n"
        "smmla r2, r2, r10, r11\n"
        "ldr r10, [sp, #24]\n"
        "ldrd r8, r9, [sp, #12]\n"
        "asr r1, r1, r10\n"
        "asr r0, r0, r10\n"
        "asr r3, r3, r10\n"
        "asr r2, r2, r10\n"
        "ssat r1, #8, r1\n"
        "ssat r0, #8, r0\n"
        "ssat r3, #8, r3\n"
        "ssat r2, #8, r2\n"
        "strb r1, [r8], #1\n"
        "strb r0, [r8], #1\n"
        "strb r3, [r8], #1\n"
        "strb r2, [r8], #1\n"
        "str r8, [sp, #12]\n"
        "cmp r8, r9\n"
        "bne 1b\n"
        LEAVE);
}

uint32_t *elearn_expand_vector_s8(uint32_t *destination, const int8_t *values, int32_t count)
{
    for (; count > 0; count -= 4) {
        __asm__ volatile(
            "ldr r4, [%[values]], #4\n"
            "sxtb16 r5, r4\n"
            "sxtb16 r6, r4, ror #8\n"
            "stm %[destination]!, {r5, r6}\n"
            : [values] "+r"(values), [destination] "+r"(destination)
            :
            : "r4", "r5", "r6", "memory");
    }
    return destination;
}

uint32_t *elearn_expand_pixels_s8(uint32_t *destination, const int8_t *one, const int8_t *two, int32_t count)
{
    for (; count >= 8; count -= 8) {
        __asm__ volatile(
            "ldm %[one]!, {r4, r8}\n"
            "ldm %[two]!, {r5, r9}\n"
            "sxtb16 r6, r4, ror #8\n"
            "sxtb16 r4, r4\n"
            "sxtb16 r10, r8, ror #8\n"
            "sxtb16 r8, r8\n"
            "sxtb16 r11, r9, ror #8\n"
            "sxtb16 r9, r9\n"
            "sxtb16 r12, r5, ror #8\n"
            "sxtb16 r5, r5\n"
            "stm %[destination]!, {r4, r5, r6, r12}\n"
            "stm %[destination]!, {r8, r9, r10, r11}\n"
            : [one] "+r"(one), [two] "+r"(two), [destination] "+r"(destination)
            :
            : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "memory");
    }
    if (count > 0) {
        __asm__ volatile(
            "ldr r4, [%[one]]\n"
            "ldr r5, [%[two]]\n"
            "sxtb16 r6, r4, ror #8\n"
            "sxtb16 r4, r4\n"
            "sxtb16 r12, r5, ror #8\n"
            "sxtb16 r5, r5\n"
            "stm %[destination]!, {r4, r5, r6, r12}\n"
            : [destination] "+r"(destination)
            : [one] "r"(one), [two] "r"(two)
            : "r4", "r5", "r6", "r12", "memory");
    }
    return destination;
}

#else

#include "elearn_math.h"

static int32_t high_product(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b) >> 32);
}

static int8_t folded(int32_t sum, const ELEARN_FLASH uint32_t *constants, int32_t shift)
{
    const int32_t value = (int32_t)constants[1] + high_product(sum, (int32_t)constants[0]);
    return (int8_t)elearn_clamp(value >> shift, -128, 127);
}

static int8_t twice(int32_t sum, const ELEARN_FLASH uint32_t *constants, uint32_t shift)
{
    const int32_t value = elearn_multiply_high(sum, (int32_t)constants[0]) + (sum < 0 ? -1 : 0);
    return (int8_t)elearn_clamp(((int32_t)constants[1] + value) >> shift, -128, 127);
}

static void walk_pixels(const elearn_pixels_walk *w, int32_t is_folded)
{
    const ELEARN_FLASH uint32_t *stream = w->stream;
    int8_t *output1 = w->output1;
    int8_t *output2 = w->output2;
    while (output1 != w->output1_end) {
        uint32_t both[2] = {stream[0], stream[0]};
        uint32_t one[2] = {stream[1], stream[1]};
        stream += 2;
        for (const uint32_t *values = w->values; values != w->values_end; values += 2) {
            elearn_add_word(*stream, values[0], &both[0], &one[0]);
            elearn_add_word(*stream++, values[1], &both[1], &one[1]);
        }
        for (int32_t i = 0; i < 2; i++) {
            const int32_t a = (int32_t)one[i];
            const int32_t b = elearn_other_sum(both[i], one[i]);
            int8_t *const output = i == 0 ? output1 : output2;
            output[0] = is_folded ? folded(a, stream, w->shift) : twice(a, stream, stream[4] & 0xFFu);
            output[1] = is_folded ? folded(b, stream + 2, w->shift) : twice(b, stream + 2, stream[4] >> 8);
        }
        stream += is_folded ? 4 : 5;
        output1 += 2;
        output2 += 2;
    }
}

void elearn_pixels_folded_s8(const elearn_pixels_walk *w)
{
    walk_pixels(w, 1);
}

void elearn_pixels_twice_s8(const elearn_pixels_walk *w)
{
    walk_pixels(w, 0);
}

void elearn_vector_folded_s8(const elearn_vector_walk *w)
{
    const ELEARN_FLASH uint32_t *stream = w->stream;
    int8_t *output = w->output;
    while (output != w->output_end) {
        int32_t sums[4];
        stream = elearn_vector_sums(w, stream, sums);
        for (int32_t i = 0; i < 4; i++) {
            uint32_t constants[2];
            elearn_copy_constant(
                constants,
                w->constants ? (const ELEARN_FLASH void *)(w->constants + 2 * i) : stream + 2 * i,
                sizeof constants);
            *output++ = folded(sums[i], constants, w->shift);
        }
        stream += w->constants ? 0 : 8;
    }
}

/* Four int8 values become the lanes (0, 2) and (1, 3). */
uint32_t *elearn_expand_vector_s8(uint32_t *destination, const int8_t *values, int32_t count)
{
    for (int32_t i = 0; i < count; i += 4) {
        *destination++ = elearn_lanes(values[i], values[i + 2]);
        *destination++ = elearn_lanes(values[i + 1], values[i + 3]);
    }
    return destination;
}

uint32_t *elearn_expand_pixels_s8(uint32_t *destination, const int8_t *one, const int8_t *two, int32_t count)
{
    for (int32_t i = 0; i < count; i += 4) {
        *destination++ = elearn_lanes(one[i], one[i + 2]);
        *destination++ = elearn_lanes(two[i], two[i + 2]);
        *destination++ = elearn_lanes(one[i + 1], one[i + 3]);
        *destination++ = elearn_lanes(two[i + 1], two[i + 3]);
    }
    return destination;
}

#endif

uint32_t *elearn_expand_row_s8(uint32_t *destination, const int8_t *row, int32_t count, int8_t *last)
{
    /* Aligned groups of four in place; the others, and the last of a row, through a copy. */
    const int32_t is_aligned = ((uintptr_t)row & 3u) == 0;
    const int32_t whole = is_aligned ? count & ~3 : 0;
    uint32_t *const end = destination + 4 * ((count + 7) / 8);
    destination = elearn_expand_vector_s8(destination, row, whole);
    for (int32_t i = whole; i < count; i += 4) {
        const int32_t left = count - i < 4 ? count - i : 4;
        memset(last, 0, 4);
        memcpy(last, row + i, (size_t)left);
        destination = elearn_expand_vector_s8(destination, last, 4);
    }
    while (destination != end) {
        *destination++ = 0;
    }
    return end;
}
