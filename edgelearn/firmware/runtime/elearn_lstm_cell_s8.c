/* One step of one unit of an LSTM in 16-bit fixed point, as the LiteRT reference kernel computes it (lstm_eval.cc:
 * LstmStepInteger8x8_16): sums of gates with 12 fraction bits, activations with 15 (gemmlowp's logistic and tanh:
 * exponentials of non-positive numbers by a polynomial and a product of constants, a reciprocal by Newton's method).
 * Portable. */
#include "elearn_lstm_cell_s8.h"

#include "elearn_math.h"

#define GATE_INTEGER_BITS 3

static int32_t saturate16(int32_t v)
{
    return elearn_clamp(v, INT16_MIN, INT16_MAX);
}

/* a * b * 2^-15, rounding halves up; not both -2^15. */
static int32_t multiply_q15(int32_t a, int32_t b)
{
    return (a * b + (1 << 14)) >> 15;
}

/* exp(a) in Q0.15 for a <= 0 in 16 bits with integer_bits of them (1 to 7) before the point. */
static int32_t exp_negative(int32_t a, int32_t integer_bits)
{
    /* exp(-2^n) in Q0.15 for n = -2 to 4 */
    static const ELEARN_FLASH int16_t factors[] = {25520, 19875, 12055, 4435, 600, 11, 0};
    const int32_t exp_minus_eighth = 28918;
    const int32_t third = 10923;
    const int32_t quarter = 1 << (13 - integer_bits);
    const int32_t fraction = (a & (quarter - 1)) - quarter;
    uint32_t quarters = (uint32_t)(fraction - a) >> (13 - integer_bits);
    int32_t result;
    if (a == 0) {
        return INT16_MAX;
    }
    if (integer_bits > 5 && a < -(1 << (20 - integer_bits))) {
        return 0; /* below -32 */
    }
    {
        /* A Taylor polynomial of degree 4 around -1/8. */
        const int32_t x = fraction * (1 << integer_bits) + (1 << 12);
        const int32_t x2 = multiply_q15(x, x);
        const int32_t x3 = multiply_q15(x2, x);
        const int32_t x4 = multiply_q15(x2, x2);
        const int32_t high = elearn_round_shift(multiply_q15(elearn_round_shift(x4, 2) + x3, third) + x2, 1);
        result = exp_minus_eighth + multiply_q15(exp_minus_eighth, x + high);
        result = result > INT16_MAX ? INT16_MAX : result;
    }
    for (const ELEARN_FLASH int16_t *factor = factors; quarters != 0; factor++) {
        if (quarters & 1) {
            result = multiply_q15(result, *factor);
        }
        quarters >>= 1;
    }
    return result;
}

/* 2 / (1 + a) in Q2.13 for 0 <= a < 1 in Q0.15: three Newton steps. */
static int32_t reciprocal(int32_t a)
{
    const int32_t half_denominator = (a + ((int32_t)1 << 15)) >> 1;
    int32_t x = 23130 + multiply_q15(half_denominator, -15420); /* 48/17 - 32/17 d */
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 13) - multiply_q15(half_denominator, x);
        x += multiply_q15(x, error) * 4;
    }
    return x;
}

/* 1 / (1 + exp(-a)) in Q0.15 for 16-bit a in Q3.12. */
static int32_t logistic(int32_t a)
{
    int32_t positive;
    if (a == 0) {
        return 1 << 14;
    }
    positive = saturate16(2 * reciprocal(exp_negative(a > 0 ? -a : a, GATE_INTEGER_BITS)));
    return a > 0 ? positive : INT16_MAX - positive;
}

/* tanh(a) in Q0.15 for 16-bit a with integer_bits before the point. */
static int32_t hyperbolic_tangent(int32_t a, int32_t integer_bits)
{
    int32_t positive;
    if (a == 0) {
        return 0;
    }
    positive = saturate16((reciprocal(exp_negative(a > 0 ? -a : a, integer_bits + 1)) - (1 << 13)) * 4);
    return a > 0 ? positive : -positive;
}

/* The sum of a gate in Q3.12, saturated after each of its two parts. */
static int32_t gate_sum(const ELEARN_FLASH elearn_lstm_params *p, const int32_t *sums, int32_t gate)
{
    const ELEARN_FLASH elearn_scale *const of_input = p->scales + gate;
    const ELEARN_FLASH elearn_scale *const recurrent = p->scales + 4 + gate;
    const int32_t first = saturate16(elearn_requantize_twice(sums[gate], of_input->multiplier, of_input->shift));
    const int32_t second = elearn_requantize_twice(sums[4 + gate], recurrent->multiplier, recurrent->shift);
    return saturate16((int32_t)((uint32_t)first + (uint32_t)second));
}

int8_t elearn_lstm_unit_s8(const ELEARN_FLASH elearn_lstm_params *p, const int32_t *sums, int16_t *cell)
{
    const int32_t input_gate = logistic(gate_sum(p, sums, 0));
    const int32_t forget_gate = logistic(gate_sum(p, sums, 1));
    const int32_t cell_gate = hyperbolic_tangent(gate_sum(p, sums, 2), GATE_INTEGER_BITS);
    const int32_t output_gate = logistic(gate_sum(p, sums, 3));
    const int32_t kept = elearn_shift_right(forget_gate * *cell, 15);
    const int32_t added = elearn_shift_right(input_gate * cell_gate, 15 + p->cell_integer_bits);
    int32_t state = saturate16(kept + added);
    int32_t out;
    if (p->cell_clip > 0) {
        state = elearn_clamp(state, -p->cell_clip, p->cell_clip);
    }
    *cell = (int16_t)state;
    out = output_gate * hyperbolic_tangent(state, p->cell_integer_bits);
    out = elearn_requantize_twice(out, p->output_scale.multiplier, p->output_scale.shift) + p->output_zero_point;
    return (int8_t)elearn_clamp(out, INT8_MIN, INT8_MAX);
}
