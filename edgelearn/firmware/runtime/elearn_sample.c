/* One sample: test, then train. See elearn_sample.h. */
#include "elearn_sample.h"

#include <string.h>

#include "elearn_bytes.h"
#include "elearn_model.h"
#include "elearn_port.h"
#include "elearn_protocol.h"
#include "elearn_state.h"

uint32_t elearn_sample_check(const elearn_sample_rule *rule)
{
#if ELEARN_TRAINABLE_COUNT
    const ELEARN_FLASH elearn_head_params *h = elearn_the_model.trainable[0].params;
    const uint32_t flags = rule->flags;
    if ((flags & ELEARN_SAMPLE_HAS_LABEL) && rule->label >= (uint32_t)h->outputs) {
        return ELEARN_STATUS_BAD_LABEL;
    }
    if ((flags & ELEARN_SAMPLE_TARGET_IS_INPUT) && h->input_target_mantissa == 0) {
        return ELEARN_STATUS_BAD_TARGET;
    }
    if ((flags & ELEARN_SAMPLE_SELF_LABEL) && h->loss != ELEARN_LOSS_CROSS_ENTROPY) {
        return ELEARN_STATUS_BAD_LABEL;
    }
    if (flags & ELEARN_SAMPLE_TRAIN) {
        const uint32_t needed = h->loss == ELEARN_LOSS_CROSS_ENTROPY
                                    ? ELEARN_SAMPLE_HAS_LABEL | ELEARN_SAMPLE_SELF_LABEL
                                    : ELEARN_SAMPLE_HAS_TARGETS | ELEARN_SAMPLE_TARGET_IS_INPUT;
        if (!(flags & needed)) {
            return h->loss == ELEARN_LOSS_CROSS_ENTROPY ? ELEARN_STATUS_BAD_LABEL : ELEARN_STATUS_BAD_TARGET;
        }
    }
    return ELEARN_STATUS_OK;
#else
    return rule->flags & ELEARN_SAMPLE_TRAIN ? ELEARN_STATUS_NOT_TRAINABLE : ELEARN_STATUS_OK;
#endif
}

#if !ELEARN_TRAINABLE_COUNT
/* What the model says: the number of the first output's largest element, or where it gives one integer, that. */
static uint32_t prediction(void)
{
    const ELEARN_PREDICTION_TYPE *values = elearn_the_model.outputs[0].bytes;
    uint32_t largest = 0;
#if ELEARN_PREDICTION_IS_NUMBER
    largest = (uint32_t)values[0];
#else
    for (uint32_t i = 1; i < ELEARN_PREDICTION_ELEMENTS; i++) {
        if (values[i] > values[largest]) {
            largest = i;
        }
    }
#endif
    return largest;
}
#endif

static uint32_t inference_stack_bytes;
static uint32_t train_stack_bytes;

static void note_stack(uint32_t *most)
{
    const uint32_t used = elearn_port_stack_since_mark();
    if (used > *most) {
        *most = used;
    }
}

uint32_t elearn_sample_inference_stack_bytes(void)
{
    return inference_stack_bytes;
}

uint32_t elearn_sample_train_stack_bytes(void)
{
    return train_stack_bytes;
}

/* Put bytes into the inputs, which count as one after another; the caller knows that they fit. */
static void put_inputs(uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    const ELEARN_FLASH elearn_model *m = &elearn_the_model;
    for (uint32_t i = 0; i < ELEARN_INPUT_COUNT && size > 0; i++) {
        const uint32_t input_bytes = m->inputs[i].size_bytes;
        if (offset >= input_bytes) {
            offset -= input_bytes;
        } else {
            const uint32_t room = input_bytes - offset;
            const uint32_t count = size < room ? size : room;
            memcpy((uint8_t *)m->inputs[i].bytes + offset, bytes, (size_t)count);
            bytes += count;
            size -= count;
            offset = 0;
        }
    }
}

uint32_t elearn_sample_part(const uint8_t *payload, uint32_t size)
{
    const uint32_t offset = elearn_get_u32(payload + ELEARN_SAMPLE_PART_OFFSET);
    const uint32_t count = size - ELEARN_SAMPLE_PART_BYTES;
    if (elearn_the_state.sensor.runs) {
        return ELEARN_STATUS_SENSOR_RUNS;
    }
    if (offset > ELEARN_INPUT_BYTES || count > ELEARN_INPUT_BYTES - offset) {
        return ELEARN_STATUS_BAD_LENGTH;
    }
    put_inputs(offset, payload + ELEARN_SAMPLE_PART_BYTES, count);
    return ELEARN_STATUS_OK;
}

#if ELEARN_TRAINABLE_COUNT
/* Forward pass, loss, and the update that the rule asks for; returns ResultFlags. */
static uint32_t run(const elearn_sample_rule *rule, const uint8_t *targets_bytes, elearn_head_result *result,
                    uint32_t *ticks)
{
    const ELEARN_FLASH elearn_trainable *t = &elearn_the_model.trainable[0];
    const uint32_t flags = rule->flags;
    uint32_t label = rule->label;
    uint32_t done = 0;
    uint32_t start;
    elearn_head_targets targets;
    targets.targets = flags & ELEARN_SAMPLE_HAS_TARGETS ? targets_bytes : NULL;
    targets.input = elearn_the_model.inputs[0].bytes;

    elearn_port_stack_mark();
    start = elearn_port_ticks();
    elearn_model_run();
    elearn_head_forward(t->params, t->state, t->features, result);
    ticks[0] = elearn_port_ticks() - start;
    note_stack(&inference_stack_bytes);
    if (t->params->loss == ELEARN_LOSS_CROSS_ENTROPY
            ? flags & ELEARN_SAMPLE_HAS_LABEL
            : flags & (ELEARN_SAMPLE_HAS_TARGETS | ELEARN_SAMPLE_TARGET_IS_INPUT)) {
        elearn_head_loss(t->params, t->state, (uint16_t)label, targets, result);
        done = ELEARN_RESULT_HAS_LOSS;
    }
    if (!(flags & ELEARN_SAMPLE_TRAIN)) {
        return done;
    }
    if (flags & ELEARN_SAMPLE_SELF_LABEL) {
        if (result->confidence < rule->threshold) {
            return done;
        }
        label = result->prediction;
        done |= ELEARN_RESULT_SELF_LABELLED;
    }
    elearn_port_stack_mark();
    start = elearn_port_ticks();
    elearn_head_learn(t->params, t->state, t->features, (uint16_t)label, targets);
    ticks[1] = elearn_port_ticks() - start;
    note_stack(&train_stack_bytes);
    elearn_state_use_class(label);
    elearn_the_state.step++;
    return done | ELEARN_RESULT_LEARNED;
}
#else
static uint32_t run(const elearn_sample_rule *rule, const uint8_t *targets_bytes, elearn_head_result *result,
                    uint32_t *ticks)
{
    uint32_t start;
    (void)rule;
    (void)targets_bytes;
    elearn_port_stack_mark();
    start = elearn_port_ticks();
    elearn_model_run();
    ticks[0] = elearn_port_ticks() - start;
    note_stack(&inference_stack_bytes);
    result->prediction = (uint16_t)prediction();
    return 0;
}
#endif

uint32_t elearn_sample_run(const elearn_sample_rule *rule, const uint8_t *targets, uint8_t *reply)
{
    elearn_head_result result = {0, 0, 0, 0};
    uint32_t ticks[2] = {0, 0};
    /* Nothing of this session was saved: no request comes before its first. */
    uint32_t saved_sequence = UINT32_MAX;
    const uint32_t done = run(rule, targets, &result, ticks);
    elearn_put_u16(reply + ELEARN_RESULT_PREDICTION, result.prediction);
    elearn_put_u16(reply + ELEARN_RESULT_CONFIDENCE, result.confidence);
    elearn_put_u32(reply + ELEARN_RESULT_LOSS_A, result.loss_a);
    elearn_put_u32(reply + ELEARN_RESULT_LOSS_B, result.loss_b);
    elearn_put_u32(reply + ELEARN_RESULT_STEP, elearn_the_state.step);
    elearn_put_u32(reply + ELEARN_RESULT_INFERENCE_TICKS, ticks[0]);
    elearn_put_u32(reply + ELEARN_RESULT_TRAIN_TICKS, ticks[1]);
    elearn_put_u32(reply + ELEARN_RESULT_STACK_BYTES, elearn_port_stack_bytes());
    if (elearn_state_saved()->session == elearn_the_state.session) {
        saved_sequence = elearn_state_saved()->next_sequence;
    }
    elearn_put_u32(reply + ELEARN_RESULT_SAVED_SEQUENCE, saved_sequence);
    reply[ELEARN_RESULT_FLAGS] = (uint8_t)done;
    return done;
}

uint32_t elearn_sample(const uint8_t *payload, uint32_t size, uint8_t *reply)
{
    const uint32_t offset = elearn_get_u32(payload + ELEARN_SAMPLE_OFFSET);
    const uint8_t *bytes = payload + ELEARN_SAMPLE_BYTES;
    uint32_t expected = ELEARN_SAMPLE_BYTES + ELEARN_INPUT_BYTES;
    uint32_t status;
    elearn_sample_rule rule;
    rule.flags = payload[ELEARN_SAMPLE_FLAGS];
    rule.label = elearn_get_u16(payload + ELEARN_SAMPLE_LABEL);
    rule.threshold = elearn_get_u16(payload + ELEARN_SAMPLE_THRESHOLD);

    if (elearn_the_state.sensor.runs) {
        return ELEARN_STATUS_SENSOR_RUNS;
    }
#if ELEARN_TRAINABLE_COUNT
    if (rule.flags & ELEARN_SAMPLE_HAS_TARGETS) {
        expected += 2u * (uint32_t)elearn_the_model.trainable[0].params->outputs;
    }
#endif
    if (offset > ELEARN_INPUT_BYTES || size != expected - offset) {
        return ELEARN_STATUS_BAD_LENGTH;
    }
    status = elearn_sample_check(&rule);
    if (status != ELEARN_STATUS_OK) {
        return status;
    }
    put_inputs(offset, bytes, ELEARN_INPUT_BYTES - offset);
    (void)elearn_sample_run(&rule, bytes + (ELEARN_INPUT_BYTES - offset), reply);
    return ELEARN_STATUS_OK;
}
