/* What the walks over weights and expanded values have in common: see elearn_matmul_s8.h. For their files only. */
#ifndef ELEARN_WALK_H
#define ELEARN_WALK_H

#include "elearn_matmul_s8.h"

#if defined(__ARM_FEATURE_DSP)

#include <stddef.h>

typedef char elearn_vector_walk_layout[offsetof(elearn_vector_walk, is_odd) == 28 ? 1 : -1];

/* Save the registers, and put a copy of the struct on the stack: its fields are at [sp, #offset]. r12: stream. */
#define ENTER \
    ".syntax unified\n" \
    "push {r4-r11, lr}\n" \
    "ldm r0, {r4-r11}\n" \
    "push {r4-r11}\n" \
    "mov r12, r4\n"

#define LEAVE \
    "add sp, sp, #32\n" \
    "pop {r4-r11, pc}\n"

/* One word of weights by one word of values. */
#define VECTOR_WORD(weights, value, both, one) \
    "smlad " both ", " weights ", " value ", " both "\n" \
    "sxtb16 " weights ", " weights "\n" \
    "smlad " one ", " weights ", " value ", " one "\n"

/* Eight inputs by four channels. */
#define VECTOR_EIGHT \
    "ldm lr!, {r8-r11}\n" \
    "ldm r12!, {r4-r7}\n" \
    VECTOR_WORD("r4", "r8", "r0", "r1") \
    VECTOR_WORD("r5", "r8", "r2", "r3") \
    VECTOR_WORD("r6", "r9", "r0", "r1") \
    VECTOR_WORD("r7", "r9", "r2", "r3") \
    "ldm r12!, {r4-r7}\n" \
    VECTOR_WORD("r4", "r10", "r0", "r1") \
    VECTOR_WORD("r5", "r10", "r2", "r3") \
    VECTOR_WORD("r6", "r11", "r0", "r1") \
    VECTOR_WORD("r7", "r11", "r2", "r3")

/* All inputs of the next four channels: the sums of A, B, C and D, those of B and D times 256, in r1, r0, r3 and r2. */
#define VECTOR_SUMS \
    "1:\n" \
    "ldm r12!, {r0-r3}\n" \
    "ldr r4, [sp, #28]\n" \
    "ldr lr, [sp, #4]\n" \
    "cmp r4, #0\n" \
    "bne 3f\n" \
    "2:\n" \
    VECTOR_EIGHT \
    "3:\n" \
    VECTOR_EIGHT \
    "ldr r4, [sp, #8]\n" \
    "cmp lr, r4\n" \
    "bne 2b\n" \
    "sub r0, r0, r1\n" \
    "sub r2, r2, r3\n"

#else

#include "elearn_lanes.h"

/* Sums of one word of weights and one word of values; both wrap around as SMLAD's do. */
static inline void elearn_add_word(uint32_t weights, uint32_t values, uint32_t *both, uint32_t *one)
{
    *both = (uint32_t)elearn_dual_multiply_add(weights, values, (int32_t)*both);
    *one = (uint32_t)elearn_dual_multiply_add(elearn_even_bytes(weights), values, (int32_t)*one);
}

/* Sum B from the sums of A + 256 B and of A. */
static inline int32_t elearn_other_sum(uint32_t both, uint32_t one)
{
    return (int32_t)(both - one) >> 8;
}

/* Sums of the next four channels; returns what follows in the stream. */
static inline const ELEARN_FLASH uint32_t *elearn_vector_sums(
    const elearn_vector_walk *w, const ELEARN_FLASH uint32_t *stream, int32_t *sums)
{
    uint32_t both[2] = {stream[0], stream[2]};
    uint32_t one[2] = {stream[1], stream[3]};
    stream += 4;
    for (const uint32_t *values = w->values; values != w->values_end; values++) {
        elearn_add_word(*stream++, *values, &both[0], &one[0]);
        elearn_add_word(*stream++, *values, &both[1], &one[1]);
    }
    for (int32_t i = 0; i < 2; i++) {
        sums[2 * i] = (int32_t)one[i];
        sums[2 * i + 1] = elearn_other_sum(both[i], one[i]);
    }
    return stream;
}

#endif

#endif
