/* Arithmetic on the two 16-bit lanes of a word, and the high words of products: one DSP instruction each, or portable C
 * with the same bits. */
#ifndef ELEARN_LANES_H
#define ELEARN_LANES_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_DSP) || defined(__ARM_FEATURE_SAT)
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

/* The first `count` bytes, up to three, and zeros. */
static inline uint32_t elearn_load_few(const int8_t *values, int32_t count)
{
    uint32_t word = 0;
    memcpy(&word, values, (size_t)count);
    return word;
}

static inline void elearn_store_few(int8_t *values, uint32_t word, int32_t count)
{
    memcpy(values, &word, (size_t)count);
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

/* Bytes 1 and 3 of a word as lanes of 256 times their values. */
static inline uint32_t elearn_odd_bytes_high(uint32_t word)
{
    return word & 0xFF00FF00u;
}

/* Bytes 0 and 2. */
static inline uint32_t elearn_even_bytes_high(uint32_t word)
{
    return word << 8 & 0xFF00FF00u;
}

/* sum + (a * low b >> 16), modulo 2^32: SMLAWB. */
static inline int32_t elearn_multiply_low_add(int32_t a, uint32_t b, int32_t sum)
{
#if defined(__ARM_FEATURE_DSP)
    return __smlawb(a, (int32_t)b, sum);
#else
    return (int32_t)((uint32_t)sum + (uint32_t)((int64_t)a * elearn_low_lane(b) >> 16));
#endif
}

/* sum + (a * high b >> 16), modulo 2^32: SMLAWT. */
static inline int32_t elearn_multiply_high_add(int32_t a, uint32_t b, int32_t sum)
{
#if defined(__ARM_FEATURE_DSP)
    return __smlawt(a, (int32_t)b, sum);
#else
    return (int32_t)((uint32_t)sum + (uint32_t)((int64_t)a * elearn_high_lane(b) >> 16));
#endif
}

/* a * b * 2^-32, rounding halves up: SMMULR. No intrinsic gives it. */
static inline int32_t elearn_multiply_rounded(int32_t a, int32_t b)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t product;
    __asm__("smmulr %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
#else
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
#endif
}

/* The same added to a sum, modulo 2^32: SMMLAR. */
static inline int32_t elearn_multiply_rounded_add(int32_t a, int32_t b, int32_t sum)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
#else
    return (int32_t)((uint32_t)sum + (uint32_t)elearn_multiply_rounded(a, b));
#endif
}

/* v saturated to 16 bits: SSAT. */
static inline int32_t elearn_saturate16(int32_t v)
{
#if defined(__ARM_FEATURE_SAT)
    int32_t result;
    __asm__("ssat %0, #16, %1" : "=r"(result) : "r"(v) : "cc");
    return result;
#else
    return v < INT16_MIN ? INT16_MIN : v > INT16_MAX ? INT16_MAX : v;
#endif
}

/* v saturated to int8: SSAT. */
static inline int8_t elearn_saturate8(int32_t v)
{
#if defined(__ARM_FEATURE_SAT)
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(v) : "cc");
    return (int8_t)result;
#else
    return (int8_t)(v < INT8_MIN ? INT8_MIN : v > INT8_MAX ? INT8_MAX : v);
#endif
}

/* v saturated to 0 .. 255: USAT. */
static inline uint32_t elearn_saturate_byte(int32_t v)
{
#if defined(__ARM_FEATURE_SAT)
    return __usat(v, 8);
#else
    return v < 0 ? 0u : v > 255 ? 255u : (uint32_t)v;
#endif
}

/* The larger of the unsigned bytes at each place: USUB8 and SEL. */
static inline uint32_t elearn_larger_bytes(uint32_t a, uint32_t b)
{
#if defined(__ARM_FEATURE_SIMD32)
    (void)__usub8((uint8x4_t)a, (uint8x4_t)b);
    return (uint32_t)__sel((uint8x4_t)a, (uint8x4_t)b);
#else
    uint32_t result = 0;
    for (int32_t at = 0; at < 32; at += 8) {
        const uint32_t first = a >> at & 0xFFu;
        const uint32_t second = b >> at & 0xFFu;
        result |= (first > second ? first : second) << at;
    }
    return result;
#endif
}

/* The smaller ones. */
static inline uint32_t elearn_smaller_bytes(uint32_t a, uint32_t b)
{
    return ~elearn_larger_bytes(~a, ~b);
}

#endif
