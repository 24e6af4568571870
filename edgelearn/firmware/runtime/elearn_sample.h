/* One sample from the host: its inputs, the forward pass, and where that was asked for the update. */
#ifndef ELEARN_SAMPLE_H
#define ELEARN_SAMPLE_H

#include <stdint.h>

/* SAMPLE_PART: bytes of the inputs, for the SAMPLE that follows; a Status. */
uint32_t elearn_sample_part(const uint8_t *payload, uint32_t size);

/* SAMPLE: test, then train. Fills the RESULT at `reply`; a Status. */
uint32_t elearn_sample(const uint8_t *payload, uint32_t size, uint8_t *reply);

/* The most stack that one forward pass and one update have used. */
uint32_t elearn_sample_inference_stack_bytes(void);
uint32_t elearn_sample_train_stack_bytes(void);

#endif
