/* A trainable dense layer: forward, loss and update, in RAM.
 *
 * With an integer head (every residual but FLOAT) all arithmetic is 32-bit integer arithmetic without a 64-bit
 * product, every rounding is specified, and the learned weights are the same bits everywhere. A weight is
 * u = 256 q + l in two planes: int8 q, which the forward pass uses, and uint8 l, its residual. The value is
 * (u - 128) s_w / 256. edgelearn/training/head.py has the formulas, edgelearn/training/reference.py the
 * same in NumPy. */
#ifndef ELEARN_HEAD_H
#define ELEARN_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "elearn_config.h"
#include "elearn_flash.h"
#include "elearn_protocol.h"

#define ELEARN_HEAD_IS_FLOAT (ELEARN_RESIDUAL == ELEARN_RESIDUAL_FLOAT)
#define ELEARN_HEAD_HAS_RESIDUAL (ELEARN_RESIDUAL == ELEARN_RESIDUAL_INT8)

/* What the plan decided; constant. Arrays have one element for each output, matrices are [output][feature]. */
typedef struct {
    int32_t features;
    int32_t outputs;
    uint8_t loss;
    int8_t feature_zero_point;
    uint8_t logit_fraction_bits;
    int8_t gradient_fraction_bits;
    uint8_t error_shift;
    uint8_t target_shift;
    int8_t row_t_min; /* a row is not rescaled below this: its logits could overflow */
    uint16_t learning_rate_mantissa;
    uint8_t learning_rate_exponent;
    /* target = the input itself: (x - zero point) * mantissa * 2^-shift, mantissa 0 where this is not possible */
    int8_t input_zero_point;
    int16_t input_target_mantissa;
    int8_t input_target_shift;
    float feature_scale;
#if ELEARN_HEAD_IS_FLOAT
    const ELEARN_FLASH float *initial_weights;
    const ELEARN_FLASH float *initial_bias;
#else
    const ELEARN_FLASH int8_t *initial_weights;
    const ELEARN_FLASH uint8_t *initial_residual; /* INT8 only; NULL where every element is 128 */
    const ELEARN_FLASH int32_t *initial_bias;     /* logit_fraction_bits + 8 fraction bits */
    const ELEARN_FLASH int8_t *initial_row_t;     /* 2^logit_fraction_bits s_x s_w = m 2^-t */
    const ELEARN_FLASH int8_t *initial_row_rho;   /* 256 s_x / s_w = r 2^-rho */
    const ELEARN_FLASH uint16_t *row_m;
    const ELEARN_FLASH uint16_t *row_r;
#endif
} elearn_head_params;

/* What the layer is now; in RAM, placed by the plan. */
typedef struct {
#if ELEARN_HEAD_IS_FLOAT
    float *weights;
    float *bias;
#else
    int8_t *weights;
    uint8_t *residual; /* INT8 only */
    int32_t *bias;
    int8_t *row_t;
    int8_t *row_rho;
    uint16_t *row_k; /* learning rate * r, 15 bits */
#endif
    int32_t *logits;
    uint16_t *probabilities; /* Q15, cross-entropy only */
    uint16_t learning_rate_mantissa;
    uint8_t learning_rate_exponent;
    uint32_t random; /* xorshift32, STOCHASTIC only */
} elearn_head_state;

typedef struct {
    uint16_t prediction;
    uint16_t confidence; /* Q15 */
    uint32_t loss_a;
    uint32_t loss_b;
} elearn_head_result;

/* Back to the weights the model came with, and its learning rate. */
void elearn_head_reset(const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s);

/* Set lr = mantissa 2^-exponent; false, and nothing changes, where an update could not represent it. */
bool elearn_head_set_learning_rate(
    const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s, uint16_t mantissa, uint8_t exponent);

#if !ELEARN_HEAD_IS_FLOAT
/* Whether the layer could work with these values in row_t or row_rho for some outputs. */
bool elearn_head_accepts_row_t(const ELEARN_FLASH elearn_head_params *p, const uint8_t *values, uint32_t count);
bool elearn_head_accepts_row_rho(
    const ELEARN_FLASH elearn_head_params *p, const elearn_head_state *s, const uint8_t *values, uint32_t count);
#endif

/* Logits, probabilities and prediction of the features. */
void elearn_head_forward(
    const ELEARN_FLASH elearn_head_params *p, elearn_head_state *s, const int8_t *features, elearn_head_result *result);

/* Where the loss of squared error takes its targets from. */
typedef struct {
    const uint8_t *targets; /* int16, little-endian, one for each output, or NULL: */
    const int8_t *input;    /* the model's input, as many elements as outputs */
} elearn_head_targets;

/* Squared error: the target of one output, in the fixed point of the logits. */
int32_t elearn_head_target(const ELEARN_FLASH elearn_head_params *p, int32_t row, elearn_head_targets targets);

/* The gradient of the loss by one logit, with gradient_fraction_bits fraction bits, within +-32767. */
int32_t elearn_head_gradient(
    const ELEARN_FLASH elearn_head_params *p, const elearn_head_state *s, int32_t row, uint16_t label,
    elearn_head_targets targets);

/* The loss of the last forward pass against a class (cross-entropy) or targets (squared error). */
void elearn_head_loss(
    const ELEARN_FLASH elearn_head_params *p,
    const elearn_head_state *s,
    uint16_t label,
    elearn_head_targets targets,
    elearn_head_result *result);

/* One step of stochastic gradient descent on the last forward pass. */
void elearn_head_learn(
    const ELEARN_FLASH elearn_head_params *p,
    elearn_head_state *s,
    const int8_t *features,
    uint16_t label,
    elearn_head_targets targets);

#endif
