/* SOFTMAX over the last axis, int8 to int8 (scale 1/256, zero point -128), in fixed point as the LiteRT reference kernel
 * computes it: exponentials of non-positive Q5.26 numbers by a polynomial and a product of constants. Portable. */
#include "elearn_softmax_s8.h"

#include "elearn_softmax.h"

#define DIFFERENCE_FRACTION_BITS 26 /* Q5.26 */

/* exp(a) in Q0.31 for -1/4 <= a < 0 in Q0.31: a Taylor polynomial of degree 4 around -1/8. */
static int32_t exp_near_zero(int32_t a)
{
    const int32_t exp_minus_eighth = 1895147668;
    const int32_t third = 715827883;
    const int32_t x = a + ((int32_t)1 << 28);
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
    static const ELEARN_FLASH int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t quarter = (int32_t)1 << (DIFFERENCE_FRACTION_BITS - 2);
    const int32_t fraction = (a & (quarter - 1)) - quarter;
    const int32_t remainder = fraction - a;
    int32_t result;
    if (a == 0) {
        return INT32_MAX;
    }
    result = exp_near_zero(elearn_shift_left_saturating(fraction, 5));
    for (int32_t i = 0; i < 7; i++) {
        if ((remainder & (quarter << i)) != 0) {
            result = elearn_multiply_high(result, factors[i]);
        }
    }
    return result;
}

/* The exponential of a difference to the largest input, at most 0 and not below difference_min. */
static int32_t exponential(const ELEARN_FLASH elearn_softmax_params *p, int32_t difference)
{
    const int32_t scaled = (int32_t)((uint32_t)difference << p->scale.shift);
    return exp_negative(elearn_multiply_high(scaled, p->scale.multiplier));
}

void elearn_softmax_s8(const ELEARN_FLASH elearn_softmax_params *p, const int8_t *input, int8_t *output)
{
    const int32_t columns = p->columns;
    for (int32_t row = p->rows; row > 0; row--) {
        const int32_t largest = elearn_largest(input, columns);
        uint32_t sum = 0;
        elearn_quotient quotient;
        for (int32_t c = 0; c < columns; c++) {
            const int32_t difference = input[c] - largest;
            if (difference >= p->difference_min) {
                sum += elearn_softmax_term(exponential(p, difference));
            }
        }
        quotient = elearn_divide_by(sum);
        for (int32_t c = 0; c < columns; c++) {
            const int32_t difference = input[c] - largest;
            output[c] = -128;
            if (difference >= p->difference_min) {
                output[c] = elearn_softmax_output(quotient, exponential(p, difference));
            }
        }
        input += columns;
        output += columns;
    }
}
