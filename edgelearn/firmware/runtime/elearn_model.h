/* What the generated model.c provides: one network, its buffers in the arena, and its trainable layers. */
#ifndef ELEARN_MODEL_H
#define ELEARN_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "elearn_config.h"
#include "elearn_head.h"

/* A trainable layer: constants, state, and the int8 features it reads. */
typedef struct {
    const elearn_head_params *params;
    elearn_head_state *state;
    const int8_t *features;
} elearn_trainable;

typedef struct {
    uint32_t hash_low;
    uint32_t hash_high;
    int8_t *input;
    uint32_t input_elements;
    float input_scale;
    int8_t input_zero_point;
    const int8_t *output; /* int8 outputs; NULL where a trainable layer gives the outputs */
    uint32_t output_elements;
    float output_scale;
    int8_t output_zero_point;
    const char *labels; /* UTF-8, one name a line */
    uint32_t labels_bytes;
    const elearn_trainable *trainable; /* ELEARN_TRAINABLE_COUNT of them */
} elearn_model;

extern const elearn_model elearn_the_model;

/* Run every frozen op, from the input to the int8 output or the features of the trainable layer. */
void elearn_model_run(void);

#endif
