/* One sample, of the host or of the sensor: the forward pass, and where that was asked for the update. */
#ifndef ELEARN_SAMPLE_H
#define ELEARN_SAMPLE_H

#include <stdint.h>

/* SAMPLE_PART: bytes of the inputs, for the SAMPLE that follows; a Status. */
uint32_t elearn_sample_part(const uint8_t *payload, uint32_t size);

/* SAMPLE: test, then train. Fills the RESULT at `reply`; a Status. */
uint32_t elearn_sample(const uint8_t *payload, uint32_t size, uint8_t *reply);

/* What to do with a sample: the fields of SAMPLE. */
typedef struct {
    uint32_t flags; /* SampleFlags */
    uint32_t label;
    uint32_t threshold;
} elearn_sample_rule;

/* Whether the model can do that, and has what its loss needs for it; a Status. */
uint32_t elearn_sample_check(const elearn_sample_rule *rule);

/* Test, then train on what stands in the inputs, by a rule that was checked; `targets` are those of HAS_TARGETS. Fills
 * the RESULT at `reply`; returns its ResultFlags. */
uint32_t elearn_sample_run(const elearn_sample_rule *rule, const uint8_t *targets, uint8_t *reply);

/* The most stack that one forward pass and one update have used. */
uint32_t elearn_sample_inference_stack_bytes(void);
uint32_t elearn_sample_train_stack_bytes(void);

#endif
