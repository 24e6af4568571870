/* The network for a program on the device. See elearn_api.h. */
#include "elearn_api.h"

#include "elearn_bytes.h"
#include "elearn_link.h"
#include "elearn_model.h"
#include "elearn_port.h"
#include "elearn_protocol.h"
#include "elearn_sample.h"
#include "elearn_state.h"

/* The last sample's RESULT. */
static uint8_t last[ELEARN_RESULT_BYTES];

void el_init(void)
{
    elearn_port_init();
    elearn_link_init();
}

void *el_input(uint8_t number)
{
    return number < ELEARN_INPUT_COUNT ? elearn_the_model.inputs[number].bytes : NULL;
}

uint32_t el_input_bytes(uint8_t number)
{
    return number < ELEARN_INPUT_COUNT ? elearn_the_model.inputs[number].size_bytes : 0;
}

const void *el_output(uint8_t number)
{
    return number < ELEARN_OUTPUT_COUNT ? elearn_the_model.outputs[number].bytes : NULL;
}

static bool run(uint32_t flags, uint32_t label, const uint8_t *targets)
{
    const elearn_sample_rule rule = {flags, label, 0};
    if (elearn_sample_check(&rule) != ELEARN_STATUS_OK) {
        return false;
    }
    (void)elearn_sample_run(&rule, targets, last);
    elearn_state_autosave();
    return true;
}

uint16_t el_predict(void)
{
    (void)run(0, 0, NULL);
    return (uint16_t)elearn_get_u16(last + ELEARN_RESULT_PREDICTION);
}

float el_confidence(void)
{
    return (float)elearn_get_u16(last + ELEARN_RESULT_CONFIDENCE) * (1.0f / 32768.0f);
}

bool el_learn(uint16_t label)
{
    return run(ELEARN_SAMPLE_TRAIN | ELEARN_SAMPLE_HAS_LABEL, label, NULL);
}

bool el_learn_targets(const int16_t *targets, uint16_t count)
{
#if ELEARN_TRAINABLE_COUNT
    /* The targets lie as on the line: little-endian, as on every processor that this runs on. */
    return count == elearn_the_model.trainable[0].params->outputs
           && run(ELEARN_SAMPLE_TRAIN | ELEARN_SAMPLE_HAS_TARGETS, 0, (const uint8_t *)(const void *)targets);
#else
    (void)targets;
    (void)count;
    return false;
#endif
}

bool el_learn_input(void)
{
    return run(ELEARN_SAMPLE_TRAIN | ELEARN_SAMPLE_TARGET_IS_INPUT, 0, NULL);
}

bool el_save(void)
{
    return elearn_state_save() == ELEARN_STATUS_OK;
}

uint32_t el_steps(void)
{
    return elearn_the_state.step;
}
