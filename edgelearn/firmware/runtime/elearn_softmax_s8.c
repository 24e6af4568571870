/* SOFTMAX over the last axis, int8 to int8 (scale 1/256, zero point -128), in fixed point as the LiteRT reference
 * kernel computes it: exponentials of non-positive Q5.26 numbers by a polynomial and a product of constants, their
 * sum in Q12.19, its reciprocal by Newton's method. Portable. */
#include "elearn_softmax_s8.h"

#include "elearn_math.h"

#define Q31_ONE INT32_MAX
#define DIFFERENCE_FRACTION_BITS 26 /* Q5.26 */
#define SUM_INTEGER_BITS 12         /* Q12.19 */

static int32_t shift_left_saturating(int32_t v, int32_t n)
{
    const int64_t shifted = (int64_t)v * ((int64_t)1 << n);
    if (shifted > INT32_MAX) {
        return INT32_MAX;
    }
    return shifted < INT32_MIN ? INT32_MIN : (int32_t)shifted;
}

/* exp(a) in Q0.31 for -1/4 <= a < 0 in Q0.31: a Taylor polynomial of degree 4 around -1/8. */
static int32_t exp_near_zero(int32_t a)
{
    const int32_t exp_minus_eighth = 1895147668;
    const int32_t third = 715827883;
    const int32_t x = a + (1 << 28);
    const int32_t x2 = elearn_multiply_high(x, x);
    const int32_t x3 = elearn_multiply_high(x2, x);
    const int32_t x4 = elearn_multiply_high(x2, x2);
    const int32_t high = elearn_shift_right(elearn_multiply_high(elearn_shift_right(x4, 2) + x3, third) + x2, 1);
    return exp_minus_eighth + elearn_multiply_high(exp_minus_eighth, x + high);
}

/* exp(a) in Q0.31 for a <= 0 in Q5.26. */
static int32_t exp_negative(int32_t a)
{
    /* exp(-2^n) in Q0.31 for n = -2 to 4 */
    static const int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t quarter = 1 << (DIFFERENCE_FRACTION_BITS - 2);
    const int32_t fraction = (a & (quarter - 1)) - quarter;
    const int32_t remainder = fraction - a;
    int32_t result;
    if (a == 0) {
        return Q31_ONE;
    }
    result = exp_near_zero(shift_left_saturating(fraction, 5));
    for (int32_t i = 0; i < 7; i++) {
        if ((remainder & (quarter << i)) != 0) {
            result = elearn_multiply_high(result, factors[i]);
        }
    }
    return result;
}

/* 1 / (1 + a) in Q0.31 for 0 <= a < 1 in Q0.31: three Newton steps in Q2.29. */
static int32_t reciprocal(int32_t a)
{
    const int64_t sum = (int64_t)a + Q31_ONE;
    const int32_t half_denominator = (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
    int32_t x = 1515870810 + elearn_multiply_high(half_denominator, -1010580540); /* 48/17 - 32/17 d */
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - elearn_multiply_high(half_denominator, x);
        x += shift_left_saturating(elearn_multiply_high(x, error), 2);
    }
    return shift_left_saturating(x, 1);
}

/* A difference to the largest input, at most 0 and not below difference_min, in Q5.26. */
static int32_t scaled_difference(const elearn_softmax_params *p, int32_t difference)
{
    return elearn_multiply_high((int32_t)((uint32_t)difference << p->scale.shift), p->scale.multiplier);
}

void elearn_softmax_s8(const elearn_softmax_params *p, const int8_t *input, int8_t *output)
{
    for (int32_t row = 0; row < p->rows; row++) {
        int32_t largest = -128;
        uint32_t sum = 0;
        int32_t zeros = 0;
        int32_t right;
        int32_t scale;
        for (int32_t c = 0; c < p->columns; c++) {
            largest = input[c] > largest ? input[c] : largest;
        }
        for (int32_t c = 0; c < p->columns; c++) {
            const int32_t difference = input[c] - largest;
            if (difference >= p->difference_min) {
                const int32_t e = exp_negative(scaled_difference(p, difference));
                sum += (uint32_t)elearn_shift_right(e, SUM_INTEGER_BITS);
            }
        }
        while ((sum << zeros) < 0x80000000u) {
            zeros++;
        }
        scale = reciprocal((int32_t)((sum << zeros) - 0x80000000u));
        right = SUM_INTEGER_BITS - zeros + 31 - 8;
        for (int32_t c = 0; c < p->columns; c++) {
            const int32_t difference = input[c] - largest;
            int32_t value = -128;
            /* Where more than 512 inputs share the sum every output rounds to zero. */
            if (difference >= p->difference_min && right <= 31) {
                const int32_t product = elearn_multiply_high(scale, exp_negative(scaled_difference(p, difference)));
                value = elearn_shift_right(product, right) - 128;
            }
            output[c] = (int8_t)elearn_clamp(value, -128, 127);
        }
        input += p->columns;
        output += p->columns;
    }
}
