/* What the generated model.c provides: one network, its buffers in the arena, and its trainable layers. */
#ifndef ELEARN_MODEL_H
#define ELEARN_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "elearn_config.h"
#include "elearn_head.h"

/* A trainable layer: constants, state, and the int8 features it reads. */
typedef struct {
    const ELEARN_FLASH elearn_head_params *params;
    elearn_head_state *state;
    const int8_t *features;
} elearn_trainable;

/* An input or output: its bytes in the arena; no bytes for the output of a trainable layer, whose logits are its own. */
typedef struct {
    void *bytes;
    uint32_t size_bytes;
} elearn_end;

typedef struct {
    uint32_t hash_low;
    uint32_t hash_high;
    uint32_t identity[3]; /* of the model and the layout of its saved head */
    elearn_end inputs[ELEARN_INPUT_COUNT];
    elearn_end outputs[ELEARN_OUTPUT_COUNT];
    const ELEARN_FLASH uint8_t *interface; /* what inputs and outputs are, for the host: see edgelearn/protocol.py */
    uint32_t interface_bytes;
    const ELEARN_FLASH char *labels; /* UTF-8, one name a line */
    uint32_t labels_bytes;
#if ELEARN_LABEL_BYTES
    char *names; /* ELEARN_LABEL_BYTES for each output, filled with zeros */
    const ELEARN_FLASH char *initial_names;
#endif
    const ELEARN_FLASH elearn_trainable *trainable; /* ELEARN_TRAINABLE_COUNT of them */
} elearn_model;

extern const ELEARN_FLASH elearn_model elearn_the_model;

/* Run every frozen op, from the inputs to the outputs and the features of the trainable layer. */
void elearn_model_run(void);

#endif
