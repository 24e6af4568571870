/* LOG_SOFTMAX over the last axis, int8 to int8 (scale 1/16, zero point 127), in fixed point as the LiteRT reference
 * kernel computes it: x - largest - log(sum of exponentials). Differences and exponentials stand in a table, so only the
 * logarithm is worked out, once a row. Portable. */
#include "elearn_log_softmax_s8.h"

#include "elearn_softmax.h"

#define LOG_FRACTION_BITS 26                       /* logarithms and differences are Q5.26 */
#define OUTPUT_SHIFT (LOG_FRACTION_BITS - 4)       /* from Q5.26 to steps of 1/16 */
#define HALF_STEP (((int32_t)1 << (OUTPUT_SHIFT - 1)) - 1)  /* rounds what is not positive, halves away from zero */
#define OUTPUT_ZERO_POINT 127

/* log(r 2^(1/4)) in Q6.25 for 1/sqrt(2) <= r <= 1 in Q0.31: a quotient of polynomials in the distance to 2^(-1/4). */
static int32_t log_near_root(int32_t r)
{
    const int32_t root = 1805811301;  /* 2^(-1/4) */
    const int32_t n3 = 117049297;     /* 11/240 2^(1/4) */
    const int32_t d0 = 1057819769;    /* 2 / 2^(1/4) - 2^(1/4) */
    const int32_t d1 = 638450708;     /* 1/4 2^(1/4) */
    const int32_t d2 = 127690142;     /* 1/20 2^(1/4) */
    const int32_t mean = (int32_t)(((uint32_t)r + (uint32_t)root + 1u) >> 1);
    const int32_t q = 2 * (r - root);
    const int32_t q2 = elearn_multiply_high(q, q);
    const int32_t numerator = elearn_multiply_high(q, r) + elearn_multiply_high(elearn_multiply_high(q, q2), n3);
    const int32_t denominator_minus_one =
        elearn_multiply_high(mean, d0 + q + elearn_multiply_high(d2, q2)) + elearn_multiply_high(d1, q);
    return elearn_multiply_high(elearn_shift_right(numerator, 6), elearn_reciprocal(denominator_minus_one));
}

/* log(sum) in Q5.26 for 1 <= sum in Q12.19: sum is r 2^(1/4) 2^exponent, the exponent a whole number and -1/4 or 1/4
 * more (LiteRT: log_x_for_x_greater_than_or_equal_to_1). */
static int32_t log_of_sum(int32_t sum)
{
    const int32_t log_2 = 1488522236, sqrt_half = 1518500250;
    int32_t zeros = 1;
    int32_t r, quarters;
    while (((uint32_t)sum << zeros) < 0x80000000u) {
        zeros++;
    }
    r = (int32_t)((uint32_t)sum << (zeros - 1));
    quarters = 4 * (ELEARN_SUM_INTEGER_BITS - zeros);
    if (elearn_multiply_high(sum, sqrt_half) >= (int32_t)(0x80000000u >> zeros)) {
        quarters += 3;
    } else {
        r = 2 * elearn_multiply_high(r, sqrt_half);
        quarters += 1;
    }
    return 2 * (elearn_multiply_high(quarters * ((int32_t)1 << (LOG_FRACTION_BITS - 3)), log_2) + log_near_root(r));
}

void elearn_log_softmax_s8(const ELEARN_FLASH elearn_log_softmax_params *p, const int8_t *input, int8_t *output)
{
    const ELEARN_FLASH elearn_log_softmax_entry *table = p->table;
    const int32_t count = p->count;
    const int32_t columns = p->columns;
    for (int32_t row = p->rows; row > 0; row--) {
        const int32_t largest = elearn_largest(input, columns);
        int32_t sum = 0;
        int32_t log_sum;
        for (int32_t c = 0; c < columns; c++) {
            const int32_t below = largest - input[c];
            if (below < count) {
                sum += table[below].term;
            }
        }
        log_sum = log_of_sum(sum) - HALF_STEP;
        for (int32_t c = 0; c < columns; c++) {
            const int32_t below = largest - input[c];
            int32_t value = -128;
            if (below < count) {
                value = ((table[below].difference - log_sum) >> OUTPUT_SHIFT) + OUTPUT_ZERO_POINT;
            }
            output[c] = (int8_t)(value < -128 ? -128 : value);
        }
        input += columns;
        output += columns;
    }
}
