/* UNIDIRECTIONAL_SEQUENCE_LSTM, int8 with an int16 cell state, for cores with DSP instructions: in each step the values
 * are expanded once and serve the gates of all units. The fixed point is that of elearn_lstm_cell_s8.c, with operands
 * shifted so that the high word of a product is the result. Portable but for the walk in elearn_lstm_gates_s8.c. */
#include "elearn_lstm_fours_s8.h"

#include <string.h>

#include "elearn_lanes.h"
#include "elearn_math.h"

#define GATE_INTEGER_BITS 3

/* exp(-z) in Q0.15, of z > 0 in Q16.15: a Taylor polynomial of degree 4 around -1/8 of what a quarter leaves, times
 * exp(-2^n) for n = -2 to 3. */
static inline int32_t exp_negative(int32_t z)
{
    const int32_t u = z - 1; /* its bits from the 13th on tell how many quarters there are beyond the first */
    const int32_t x = (int32_t)((uint32_t)(4096 - z) << 19) >> 19; /* -4096 to 4095 */
    const int32_t x17 = x * ((int32_t)1 << 17);
    const int32_t x2 = elearn_multiply_rounded(x17, x);
    const int32_t x3 = elearn_multiply_rounded(x17, x2);
    const int32_t x4 = elearn_multiply_rounded(x2 * ((int32_t)1 << 17), x2);
    const int32_t high = elearn_multiply_rounded_add(((x4 + 2) >> 2) + x3, (int32_t)10923 << 17, x2);
    int32_t e = elearn_multiply_rounded_add(2 * (x + ((high + 1) >> 1)), (int32_t)28918 << 16, 28918);
    /* A factor f of a half or more is 1 - (1 - f), which fits 32 bits. */
    if (u & (int32_t)1 << 13) {
        e = elearn_multiply_rounded_add(e, ((int32_t)25520 - 32768) * ((int32_t)1 << 17), e);
    }
    if (u & (int32_t)1 << 14) {
        e = elearn_multiply_rounded_add(e, ((int32_t)19875 - 32768) * ((int32_t)1 << 17), e);
    }
    if (u & (int32_t)1 << 15) {
        e = elearn_multiply_rounded(e, (int32_t)12055 << 17);
    }
    if (u >= (int32_t)1 << 16) {
        if (u & (int32_t)1 << 16) {
            e = elearn_multiply_rounded(e, (int32_t)4435 << 17);
        }
        if (u & (int32_t)1 << 17) {
            e = elearn_multiply_rounded(e, (int32_t)600 << 17);
        }
        if (u & (int32_t)1 << 18) {
            e = elearn_multiply_rounded(e, (int32_t)11 << 17);
        }
        if (u >= (int32_t)1 << 19) {
            e = 0;
        }
    }
    return e;
}

/* One step of Newton's method; x is the reference's Q2.13 times 2^16. */
static inline int32_t nearer(int32_t denominator, int32_t x)
{
    const int32_t error = ((int32_t)1 << 14) - 2 * elearn_multiply_rounded(denominator, x);
    return x + elearn_multiply_rounded(x, error) * ((int32_t)1 << 18);
}

/* 2^29 * 2 / (1 + exp(-z)), of z as above. */
static inline int32_t reciprocal(int32_t z)
{
    const int32_t denominator = (exp_negative(z) | (int32_t)1 << 15) & ~1;
    /* 48/17 - 32/17 d for half the denominator d */
    const int32_t x = elearn_multiply_rounded_add(denominator, -15420 * ((int32_t)1 << 16), 23130) * ((int32_t)1 << 16);
    return nearer(denominator, nearer(denominator, nearer(denominator, x)));
}

/* 1 / (1 + exp(-a)) in Q0.15 for 16-bit a in Q3.12. */
static inline int32_t logistic(int32_t a)
{
    int32_t positive;
    if (a == 0) {
        return 1 << 14;
    }
    positive = elearn_saturate16(reciprocal((a < 0 ? -a : a) * ((int32_t)1 << GATE_INTEGER_BITS)) >> 15);
    return a < 0 ? INT16_MAX - positive : positive;
}

/* tanh(a) in Q0.15 for 16-bit a with integer_bits before the point. */
static inline int32_t hyperbolic_tangent(int32_t a, int32_t integer_bits)
{
    int32_t positive;
    if (a == 0) {
        return 0;
    }
    positive = reciprocal((a < 0 ? -a : a) * ((int32_t)1 << (integer_bits + 1))) - ((int32_t)1 << 29);
    positive = elearn_saturate16(positive >> 14);
    return a < 0 ? -positive : positive;
}

/* Shift right, rounding halves away from zero; n > 0, and v leaves room for the half. */
static inline int32_t shift_right(int32_t v, int32_t n)
{
    return (v + (v >> 31) + ((int32_t)1 << (n - 1))) >> n;
}

/* One step of all units from their gates. */
static void step_units(
    const ELEARN_FLASH elearn_lstm_fours_params *p, const int16_t *gates, int16_t *cells, int8_t *output)
{
    for (int32_t u = 0; u < p->units; u++) {
        const int32_t input_gate = logistic(gates[0]);
        const int32_t forget_gate = logistic(gates[1]);
        const int32_t cell_gate = hyperbolic_tangent(gates[2], GATE_INTEGER_BITS);
        const int32_t output_gate = logistic(gates[3]);
        const int32_t kept = shift_right(forget_gate * cells[u], 15);
        const int32_t added = shift_right(input_gate * cell_gate, 15 + p->cell_integer_bits);
        const int32_t state = elearn_clamp(elearn_saturate16(kept + added), -p->cell_clip, p->cell_clip);
        int32_t out;
        cells[u] = (int16_t)state;
        out = 2 * output_gate * hyperbolic_tangent(state, p->cell_integer_bits);
        out = elearn_multiply_rounded(out, p->output_scale.multiplier);
        output[u] = elearn_saturate8(shift_right(out, -p->output_scale.shift) + p->output_zero_point);
        gates += 4;
    }
}

void elearn_lstm_fours_s8(
    const ELEARN_FLASH elearn_lstm_fours_params *p, const int8_t *input, int8_t *output, int8_t *scratch)
{
    const int32_t input_eights = (p->features + 7) / 8;
    const int32_t unit_eights = (p->units + 7) / 8;
    uint32_t *const values = (uint32_t *)(void *)scratch;
    int8_t *const gates = scratch + 16 * (input_eights > unit_eights ? input_eights : unit_eights);
    int8_t *const last = gates + 8 * p->units;
    int16_t *const cells = (int16_t *)(void *)(last + 4);
    const int8_t *before = NULL;
    elearn_vector_walk walk = {0};

    walk.values = values;
    walk.output_end = gates + 8 * p->units;
    memset(cells, 0, 2 * (size_t)p->units);
    for (int32_t t = 0; t < p->steps; t++) {
        memset(gates, 0, 8 * (size_t)p->units);
        walk.output = gates;
        walk.stream = p->stream;
        walk.values_end = elearn_expand_row_s8(values, input, p->features, last);
        walk.constants = &p->input_scales[0].multiplier;
        walk.is_odd = input_eights & 1;
        elearn_lstm_gates_s8(&walk);
        if (before) { /* the output before the first step is zero, and so are its sums */
            walk.stream = p->stream + p->input_words;
            walk.values_end = elearn_expand_row_s8(values, before, p->units, last);
            walk.constants = &p->recurrent_scales[0].multiplier;
            walk.is_odd = unit_eights & 1;
            elearn_lstm_gates_s8(&walk);
        }
        step_units(p, (const int16_t *)(const void *)gates, cells, output);
        before = output;
        input += p->features;
        output += p->units;
    }
}
