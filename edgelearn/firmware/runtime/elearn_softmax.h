/* What the two softmax kernels have in common: the reciprocal of the sum of exponentials, in fixed point as the LiteRT
 * reference kernel computes it. */
#ifndef ELEARN_SOFTMAX_H
#define ELEARN_SOFTMAX_H

#include "elearn_math.h"

#define ELEARN_SUM_INTEGER_BITS 12 /* sums are Q12.19, exponentials Q0.31 */

static inline int32_t elearn_shift_left_saturating(int32_t v, int32_t n)
{
    const int64_t shifted = (int64_t)v * ((int64_t)1 << n);
    if (shifted > INT32_MAX) {
        return INT32_MAX;
    }
    return shifted < INT32_MIN ? INT32_MIN : (int32_t)shifted;
}

/* 1 / (1 + a) in Q0.31 for 0 <= a < 1 in Q0.31: three Newton steps in Q2.29. */
static inline int32_t elearn_reciprocal(int32_t a)
{
    const int64_t sum = (int64_t)a + INT32_MAX;
    const int32_t half_denominator = (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
    int32_t x = 1515870810 + elearn_multiply_high(half_denominator, -1010580540); /* 48/17 - 32/17 d */
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = ((int32_t)1 << 29) - elearn_multiply_high(half_denominator, x);
        x += elearn_shift_left_saturating(elearn_multiply_high(x, error), 2);
    }
    return elearn_shift_left_saturating(x, 1);
}

/* An exponential divided by the sum, in steps of 1/256: e * factor * 2^(-31 - right). */
typedef struct {
    int32_t factor;
    int32_t right;
} elearn_quotient;

static inline elearn_quotient elearn_divide_by(uint32_t sum)
{
    elearn_quotient q;
    int32_t zeros = 0;
    while ((sum << zeros) < 0x80000000u) {
        zeros++;
    }
    q.factor = elearn_reciprocal((int32_t)((sum << zeros) - 0x80000000u));
    q.right = ELEARN_SUM_INTEGER_BITS - zeros + 31 - 8;
    return q;
}

/* An exponential as a term of the sum. */
static inline uint32_t elearn_softmax_term(int32_t e)
{
    return ((uint32_t)e + (1u << (ELEARN_SUM_INTEGER_BITS - 1))) >> ELEARN_SUM_INTEGER_BITS;
}

/* The output of an exponential. Where more than 512 inputs share the sum every output rounds to zero. */
static inline int8_t elearn_softmax_output(elearn_quotient q, int32_t e)
{
    if (q.right > 31) {
        return -128;
    }
    const uint32_t product = (uint32_t)elearn_multiply_high(q.factor, e);
    const uint32_t value = (product + ((uint32_t)1 << (q.right - 1))) >> q.right;
    return (int8_t)(value > 255u ? 127 : (int32_t)value - 128);
}

static inline int32_t elearn_largest(const int8_t *values, int32_t count)
{
    int32_t largest = -128;
    for (int32_t i = 0; i < count; i++) {
        largest = values[i] > largest ? values[i] : largest;
    }
    return largest;
}

#endif
