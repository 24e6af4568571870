/* The trainable dense layer in integer arithmetic. See elearn_head.h. */
#include "elearn_head.h"

#include <string.h>

#include "elearn_math.h"

#if !ELEARN_HEAD_IS_FLOAT

/* Products of two 15-bit mantissas are brought back to 15 bits by this shift. */
#define MANTISSA_BITS 15

/* Beyond this right shift the widest product of a weight's update, below 2^23, rounds to nothing. */
#define LARGEST_UPDATE_SHIFT 24

/* Beyond this a row's logit rounds to nothing. */
#define LARGEST_ROW_T 45

#define RANDOM_SEED 2463534242u

void elearn_head_reset(const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s)
{
    const uint32_t outputs = (uint32_t)p->outputs;
    const uint32_t weights = outputs * (uint32_t)p->features;
    elearn_copy_constant(s->weights, p->initial_weights, weights);
#if ELEARN_HEAD_HAS_RESIDUAL
    if (p->initial_residual != NULL) {
        elearn_copy_constant(s->residual, p->initial_residual, weights);
    } else {
        memset(s->residual, 128, (size_t)weights);
    }
#endif
    elearn_copy_constant(s->bias, p->initial_bias, outputs * sizeof(int32_t));
    elearn_copy_constant(s->row_t, p->initial_row_t, outputs);
    elearn_copy_constant(s->row_rho, p->initial_row_rho, outputs);
    s->random = RANDOM_SEED;
    (void)elearn_head_set_learning_rate(p, s, p->learning_rate_mantissa, p->learning_rate_exponent);
}

/* The right shift of a row's update: w -= lr g s_x (x - z_x) in units of s_w / 256. */
static int32_t update_shift(const ELEARN_FLASH elearn_head_params *p, const elearn_head_state *s, int32_t row_rho)
{
    return s->learning_rate_exponent + row_rho + p->gradient_fraction_bits - 30;
}

/* The right shift of a bias's update. */
static int32_t bias_shift(const ELEARN_FLASH elearn_head_params *p, uint8_t exponent)
{
    return exponent + p->gradient_fraction_bits - p->logit_fraction_bits - 8;
}

bool elearn_head_set_learning_rate(
    const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s, uint16_t mantissa, uint8_t exponent)
{
    const uint16_t old_mantissa = s->learning_rate_mantissa;
    const uint8_t old_exponent = s->learning_rate_exponent;
    if (mantissa != 0) {
        if (mantissa < (1u << 14) || mantissa >= (1u << 15) || bias_shift(p, exponent) < 0) {
            return false;
        }
        s->learning_rate_exponent = exponent;
        for (int32_t row = 0; row < p->outputs; row++) {
            if (update_shift(p, s, s->row_rho[row]) < 1) {
                s->learning_rate_exponent = old_exponent;
                s->learning_rate_mantissa = old_mantissa;
                return false;
            }
        }
    }
    s->learning_rate_mantissa = mantissa;
    s->learning_rate_exponent = exponent;
    for (int32_t row = 0; row < p->outputs; row++) {
        s->row_k[row] = (uint16_t)elearn_round_shift((int32_t)mantissa * (int32_t)p->row_r[row], MANTISSA_BITS);
    }
    return true;
}

bool elearn_head_accepts_row_t(const ELEARN_FLASH elearn_head_params *p, const uint8_t *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const int32_t t = values[i] < 128 ? values[i] : -1;
        if (t < p->row_t_min || t > LARGEST_ROW_T) {
            return false;
        }
    }
    return true;
}

bool elearn_head_accepts_row_rho(
    const ELEARN_FLASH elearn_head_params *p, const elearn_head_state *s, const uint8_t *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const int32_t rho = values[i] < 128 ? values[i] : values[i] - 256;
        if (s->learning_rate_mantissa != 0 && update_shift(p, s, rho) < 1) {
            return false;
        }
    }
    return true;
}

static int32_t row_logit(
    const ELEARN_FLASH elearn_head_params *p, const elearn_head_state *s, int32_t row, const int8_t *features)
{
    const int32_t m = p->row_m[row];
    const int32_t t = s->row_t[row];
    const int32_t sum =
        elearn_dot_s8(s->weights + row * p->features, features, p->feature_zero_point, p->features);
    /* sum * m 2^-t without a 64-bit product: the upper and the lower 15 bits of the sum apart. */
    const int32_t high = sum >> 15;
    const int32_t low = sum & 0x7FFF;
    int32_t logit;
    if (t > 15) {
        logit = elearn_round_shift(high * m + elearn_round_shift(low * m, 15), t - 15);
    } else {
        logit = high * m * ((int32_t)1 << (15 - t)) + elearn_round_shift(low * m, t);
    }
    /* rs(b, 8), without the sum that a bias near the end of its range would not survive. */
    return logit + (((s->bias[row] >> 7) + 1) >> 1);
}

/* Softmax in Q15 by a table of 2^-(i/64); `sum` gets the sum of exponentials, Q15. */
static void softmax(const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s, int32_t largest, uint32_t *sum)
{
    /* round(2^(15 - i/64)) */
    static const ELEARN_FLASH uint16_t table[65] = {
        32768, 32415, 32066, 31720, 31379, 31041, 30706, 30376, 30048, 29725, 29405, 29088, 28774, 28464, 28158, 27855,
        27554, 27258, 26964, 26674, 26386, 26102, 25821, 25543, 25268, 24995, 24726, 24460, 24196, 23936, 23678, 23423,
        23170, 22921, 22674, 22430, 22188, 21949, 21713, 21479, 21247, 21019, 20792, 20568, 20347, 20127, 19911, 19696,
        19484, 19274, 19066, 18861, 18658, 18457, 18258, 18061, 17867, 17674, 17484, 17296, 17109, 16925, 16743, 16562,
        16384};
    uint32_t total = 0;
    for (int32_t row = 0; row < p->outputs; row++) {
        /* The distance from the largest logit, Q12, at most 16; times log2(e), Q16. */
        const uint32_t distance = (uint32_t)largest - (uint32_t)s->logits[row];
        uint32_t d;
        uint32_t v;
        uint32_t e = 0;
        if (p->logit_fraction_bits >= 12) {
            d = distance >> (p->logit_fraction_bits - 12);
        } else {
            d = distance > 65535u ? 65535u : distance << (12 - p->logit_fraction_bits);
        }
        v = ((d > 65535u ? 65535u : d) * 23637u) >> 10;
        if ((v >> 16) <= 15u) {
            const uint32_t i = (v >> 10) & 63u;
            const int32_t step = (int32_t)(((uint32_t)table[i] - table[i + 1]) * (v & 1023u));
            e = (uint32_t)((int32_t)table[i] - elearn_round_shift(step, 10)) >> (v >> 16);
        }
        s->probabilities[row] = (uint16_t)e;
        total += e;
    }
    for (int32_t row = 0; row < p->outputs; row++) {
        s->probabilities[row] = (uint16_t)((((uint32_t)s->probabilities[row] << 15) + (total >> 1)) / total);
    }
    *sum = total;
}

void elearn_head_forward(
    const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s, const int8_t *features, elearn_head_result *result)
{
    int32_t best = 0;
    for (int32_t row = 0; row < p->outputs; row++) {
        s->logits[row] = row_logit(p, s, row, features);
        if (s->logits[row] > s->logits[best]) {
            best = row;
        }
    }
    memset(result, 0, sizeof *result);
    result->prediction = (uint16_t)best;
    if (p->loss == ELEARN_LOSS_CROSS_ENTROPY) {
        softmax(p, s, s->logits[best], &result->loss_b);
        result->confidence = s->probabilities[best];
    }
}

#if ELEARN_RESIDUAL == ELEARN_RESIDUAL_STOCHASTIC
/* Marsaglia, "Xorshift RNGs" (2003), section 3, the triple (13, 17, 5). */
static uint32_t next_random(uint32_t v)
{
    v ^= v << 13;
    v ^= v >> 17;
    v ^= v << 5;
    return v;
}
#endif

/* u -= (k (x - z_x)) >> shift, rounded, for one row; true if a weight saturated. */
static bool update_row(
    const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s, int32_t row, const int8_t *features,
    int32_t k, int32_t shift)
{
    /* A copy: stores through int8_t could change what p points to, as far as the compiler knows. */
    const int32_t count = p->features;
    int8_t *weights = s->weights + row * count;
#if ELEARN_HEAD_HAS_RESIDUAL
    uint8_t *residual = s->residual + row * count;
#endif
    const int32_t constant = ((int32_t)1 << (shift - 1)) - k * p->feature_zero_point;
    bool saturated = false;
#if ELEARN_RESIDUAL == ELEARN_RESIDUAL_STOCHASTIC
    uint32_t random = s->random;
#endif
    for (int32_t i = 0; i < count; i++) {
#if ELEARN_HEAD_HAS_RESIDUAL
        const int32_t low = residual[i];
#elif ELEARN_RESIDUAL == ELEARN_RESIDUAL_STOCHASTIC
        const int32_t low = (int32_t)((random = next_random(random)) >> 24);
#else
        const int32_t low = 128;
#endif
        int32_t u = (int32_t)weights[i] * 256 + low - ((k * features[i] + constant) >> shift);
        if ((uint32_t)(u - INT16_MIN) > 0xFFFFu) {
            u = u > 0 ? INT16_MAX : INT16_MIN;
            saturated = true;
        }
        weights[i] = (int8_t)(u >> 8);
#if ELEARN_HEAD_HAS_RESIDUAL
        residual[i] = (uint8_t)(u & 255);
#endif
    }
#if ELEARN_RESIDUAL == ELEARN_RESIDUAL_STOCHASTIC
    s->random = random;
#endif
    return saturated;
}

/* Twice the row scale, half the numbers: (u - 128) / 2 + 128, rounded. */
static void rescale_row(const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s, int32_t row)
{
    int8_t *weights = s->weights + row * p->features;
    for (int32_t i = 0; i < p->features; i++) {
#if ELEARN_HEAD_HAS_RESIDUAL
        uint8_t *residual = s->residual + row * p->features + i;
        const int32_t u = (((int32_t)weights[i] * 256 + *residual - 127) >> 1) + 128;
        *residual = (uint8_t)(u & 255);
#else
        const int32_t u = (((int32_t)weights[i] * 256 + 128 - 127) >> 1) + 128;
#endif
        weights[i] = (int8_t)(u >> 8);
    }
    s->row_t[row] = (int8_t)(s->row_t[row] - 1);
    s->row_rho[row] = (int8_t)(s->row_rho[row] + 1);
}

static int32_t subtract_saturating(int32_t a, int32_t b)
{
    if (b > 0 && a < INT32_MIN + b) {
        return INT32_MIN;
    }
    if (b < 0 && a > INT32_MAX + b) {
        return INT32_MAX;
    }
    return a - b;
}

void elearn_head_learn(
    const ELEARN_FLASH elearn_head_params *p,
    elearn_head_state *s,
    const int8_t *features,
    uint16_t label,
    elearn_head_targets targets)
{
    const int32_t bias_right = bias_shift(p, s->learning_rate_exponent);
    if (s->learning_rate_mantissa == 0) {
        return;
    }
    for (int32_t row = 0; row < p->outputs; row++) {
        const int32_t g = elearn_head_gradient(p, s, row, label, targets);
        const int32_t k = elearn_round_shift(g * (int32_t)s->row_k[row], MANTISSA_BITS);
        const int32_t shift = update_shift(p, s, s->row_rho[row]);
        if (k != 0 && shift <= LARGEST_UPDATE_SHIFT) {
            if (update_row(p, s, row, features, k, shift) && s->row_t[row] > p->row_t_min) {
                rescale_row(p, s, row);
            }
        }
        if (bias_right <= 30) {
            const int32_t step = elearn_round_shift(g * (int32_t)s->learning_rate_mantissa, bias_right);
            s->bias[row] = subtract_saturating(s->bias[row], step);
        }
    }
}

#endif
