/* The trainable dense layer in float, the yardstick for the integer one. Its bits are not promised. See elearn_head.h. */
#include "elearn_head.h"

#if ELEARN_HEAD_IS_FLOAT

#include <math.h>
#include <string.h>

#include "elearn_math.h"

void elearn_head_reset(const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s)
{
    const uint32_t outputs = (uint32_t)p->outputs;
    elearn_copy_constant(s->weights, p->initial_weights, outputs * (uint32_t)p->features * sizeof(float));
    elearn_copy_constant(s->bias, p->initial_bias, outputs * sizeof(float));
    (void)elearn_head_set_learning_rate(p, s, p->learning_rate_mantissa, p->learning_rate_exponent);
}

bool elearn_head_set_learning_rate(
    const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s, uint16_t mantissa, uint8_t exponent)
{
    (void)p;
    if (mantissa >= (1u << 15) || exponent > 63) {
        return false;
    }
    s->learning_rate_mantissa = mantissa;
    s->learning_rate_exponent = exponent;
    return true;
}

/* 2^exponent, exactly, for exponents within +-126: not every C library for a bare device has ldexpf(). */
static float power_of_two(int exponent)
{
    const uint32_t bits = (uint32_t)(exponent + 127) << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int32_t to_fixed(float v, int bits)
{
    const float scaled = v * power_of_two(bits);
    if (scaled >= 1073741824.0f) {
        return (int32_t)1 << 30;
    }
    if (!(scaled > -1073741824.0f)) {
        return -((int32_t)1 << 30); /* what is no number too */
    }
    return (int32_t)(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
}

void elearn_head_forward(
    const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s, const int8_t *features, elearn_head_result *result)
{
    const float unit = power_of_two(-p->logit_fraction_bits);
    int32_t best = 0;
    float total = 0.0f;
    for (int32_t row = 0; row < p->outputs; row++) {
        const float *weights = s->weights + row * p->features;
        float sum = 0.0f;
        for (int32_t i = 0; i < p->features; i++) {
            sum += weights[i] * (float)(features[i] - p->feature_zero_point);
        }
        s->logits[row] = to_fixed(sum * p->feature_scale + s->bias[row], p->logit_fraction_bits);
        if (s->logits[row] > s->logits[best]) {
            best = row;
        }
    }
    memset(result, 0, sizeof *result);
    result->prediction = (uint16_t)best;
    if (p->loss != ELEARN_LOSS_CROSS_ENTROPY) {
        return;
    }
    for (int32_t row = 0; row < p->outputs; row++) {
        total += expf((float)(s->logits[row] - s->logits[best]) * unit);
    }
    for (int32_t row = 0; row < p->outputs; row++) {
        const float e = expf((float)(s->logits[row] - s->logits[best]) * unit);
        s->probabilities[row] = (uint16_t)to_fixed(e / total, 15);
    }
    result->confidence = s->probabilities[best];
    result->loss_b = (uint32_t)to_fixed(total, 15);
}

/* The gradient of the loss by the logit. */
static float gradient(
    const ELEARN_FLASH elearn_head_params *p, const elearn_head_state *s, int32_t row, uint16_t label,
    elearn_head_targets targets)
{
    if (p->loss == ELEARN_LOSS_CROSS_ENTROPY) {
        return (float)(s->probabilities[row] - (row == label ? 32768 : 0)) * power_of_two(-15);
    }
    return ((float)s->logits[row] - (float)elearn_head_target(p, row, targets))
           * power_of_two(-p->logit_fraction_bits);
}

void elearn_head_learn(
    const ELEARN_FLASH elearn_head_params *p,
    elearn_head_state *s,
    const int8_t *features,
    uint16_t label,
    elearn_head_targets targets)
{
    const float learning_rate = (float)s->learning_rate_mantissa * power_of_two(-s->learning_rate_exponent);
    for (int32_t row = 0; row < p->outputs; row++) {
        float *weights = s->weights + row * p->features;
        const float step = learning_rate * gradient(p, s, row, label, targets);
        const float scaled = step * p->feature_scale;
        for (int32_t i = 0; i < p->features; i++) {
            weights[i] -= scaled * (float)(features[i] - p->feature_zero_point);
        }
        s->bias[row] -= step;
    }
}

#endif
