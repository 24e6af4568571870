/* Arithmetic on the two 16-bit lanes of a word: one DSP instruction each, or portable C with the same bits. */
#ifndef ELEARN_LANES_H
#define ELEARN_LANES_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>
#endif

/* Four bytes at any address. */
static inline uint32_t elearn_load4(const int8_t *values)
{
    uint32_t word;
    memcpy(&word, values, sizeof word);
    return word;
}

static inline void elearn_store4(int8_t *values, uint32_t word)
{
    memcpy(values, &word, sizeof word);
}

/* Lanes of two numbers. */
static inline uint32_t elearn_lanes(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16;
}

static inline int32_t elearn_low_lane(uint32_t word)
{
    return (int16_t)(uint16_t)word;
}

static inline int32_t elearn_high_lane(uint32_t word)
{
    return (int16_t)(uint16_t)(word >> 16);
}

/* sum + low a * low b + high a * high b, modulo 2^32: SMLAD. */
static inline int32_t elearn_dual_multiply_add(uint32_t a, uint32_t b, int32_t sum)
{
#if defined(__ARM_FEATURE_DSP)
    return __smlad((int16x2_t)a, (int16x2_t)b, sum);
#else
    const uint32_t low = (uint32_t)(elearn_low_lane(a) * elearn_low_lane(b));
    const uint32_t high = (uint32_t)(elearn_high_lane(a) * elearn_high_lane(b));
    return (int32_t)((uint32_t)sum + low + high);
#endif
}

/* Bytes 0 and 2 of a word, with their signs, as lanes: SXTB16. */
static inline uint32_t elearn_even_bytes(uint32_t word)
{
#if defined(__ARM_FEATURE_DSP)
    return (uint32_t)__sxtb16((int8x4_t)word);
#else
    return elearn_lanes((int8_t)(uint8_t)word, (int8_t)(uint8_t)(word >> 16));
#endif
}

/* Bytes 1 and 3. */
static inline uint32_t elearn_odd_bytes(uint32_t word)
{
    return elearn_even_bytes(word >> 8 | word << 24);
}

#endif
