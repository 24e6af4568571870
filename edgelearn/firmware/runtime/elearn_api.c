/* The functions of edgelearn.h: a learning network inside of somebody's own firmware. */
#include "edgelearn.h"

#include <string.h>

#include "elearn_bytes.h"
#include "elearn_link.h"
#include "elearn_model.h"
#include "elearn_quantize.h"
#include "elearn_sample.h"
#include "elearn_state.h"

#define CONFIDENCE_ONE 32768.0f
/* Of a learning rate: see elearn_head_set_learning_rate(). */
#define MOST_EXPONENT 63u

typedef struct {
    el_type type;
    uint32_t elements;
    float scale;
    int32_t zero_point;
} end_type;

static const end_type input_types[ELEARN_INPUT_COUNT] = EL_INPUT_TYPES;
#if !ELEARN_TRAINABLE_COUNT
static const end_type output_types[ELEARN_OUTPUT_COUNT] = EL_OUTPUT_TYPES;
#endif

#if ELEARN_TRAINABLE_COUNT
/* value 2^exponent, exactly */
static float times_power(float value, int exponent)
{
    for (; exponent > 0; exponent--) {
        value *= 2.0f;
    }
    for (; exponent < 0; exponent++) {
        value *= 0.5f;
    }
    return value;
}
#endif

el_status el_init(void)
{
    elearn_state_init();
    return EL_OK;
}

el_status el_init_with_link(void)
{
    elearn_link_init();
    return EL_OK;
}

void el_receive(const uint8_t *bytes, uint32_t size)
{
    elearn_link_receive(bytes, size);
}

void *el_input(uint32_t index)
{
    return index < ELEARN_INPUT_COUNT ? elearn_the_model.inputs[index].bytes : NULL;
}

/* The real numbers of all inputs, one after another, into the model's inputs. */
static el_status put(const float *real)
{
    for (uint32_t i = 0; i < ELEARN_INPUT_COUNT; i++) {
        const end_type *type = &input_types[i];
        void *bytes = elearn_the_model.inputs[i].bytes;
        if (type->type == EL_FLOAT32) {
            memcpy(bytes, real, (size_t)type->elements * sizeof *real);
        } else if (type->type == EL_INT8) {
            int8_t *values = bytes;
            for (uint32_t k = 0; k < type->elements; k++) {
                values[k] = elearn_quantize(real[k], type->scale, type->zero_point);
            }
        } else {
            return EL_NOT_REAL;
        }
        real += type->elements;
    }
    return EL_OK;
}

static el_status run(const elearn_sample_rule *rule, const float *input, const uint8_t *targets, el_result *result)
{
    uint8_t reply[ELEARN_RESULT_BYTES];
    uint32_t done;
    el_status status = (el_status)elearn_sample_check(rule);
    if (status == EL_OK && input != NULL) {
        status = put(input);
    }
    if (status != EL_OK) {
        return status;
    }
    done = elearn_sample_run(rule, targets, reply);
    if (result != NULL) {
        result->prediction = elearn_get_u16(reply + ELEARN_RESULT_PREDICTION);
        result->confidence = (float)elearn_get_u16(reply + ELEARN_RESULT_CONFIDENCE) / CONFIDENCE_ONE;
        result->learned = (done & ELEARN_RESULT_LEARNED) != 0;
    }
    return EL_OK;
}

el_status el_predict(const float *input, el_result *result)
{
    const elearn_sample_rule rule = {0, 0, 0};
    return run(&rule, input, NULL, result);
}

el_status el_learn(const float *input, uint32_t label, el_result *result)
{
    const elearn_sample_rule rule = {ELEARN_SAMPLE_TRAIN | ELEARN_SAMPLE_HAS_LABEL, label, 0};
    return run(&rule, input, NULL, result);
}

el_status el_learn_targets(const float *input, const float *targets, el_result *result)
{
#if EL_TARGETS
    const elearn_sample_rule rule = {ELEARN_SAMPLE_TRAIN | ELEARN_SAMPLE_HAS_TARGETS, 0, 0};
    const ELEARN_FLASH elearn_head_params *p = elearn_the_model.trainable[0].params;
    uint8_t bytes[2 * EL_TARGETS];
    for (uint32_t i = 0; i < EL_TARGETS; i++) {
        const float scaled = times_power(targets[i], p->logit_fraction_bits - p->target_shift);
        elearn_put_u16(bytes + 2 * i, (uint16_t)elearn_round(scaled, INT16_MIN, INT16_MAX));
    }
    return run(&rule, input, bytes, result);
#else
    (void)input;
    (void)targets;
    (void)result;
    return ELEARN_TRAINABLE_COUNT ? EL_BAD_TARGET : EL_NOT_TRAINABLE;
#endif
}

el_status el_learn_itself(const float *input, el_result *result)
{
    const elearn_sample_rule rule = {ELEARN_SAMPLE_TRAIN | ELEARN_SAMPLE_TARGET_IS_INPUT, 0, 0};
    return run(&rule, input, NULL, result);
}

float el_output(uint32_t element)
{
#if ELEARN_TRAINABLE_COUNT
    const ELEARN_FLASH elearn_trainable *t = &elearn_the_model.trainable[0];
    if (element >= (uint32_t)t->params->outputs) {
        return 0.0f;
    }
    if (t->params->loss == ELEARN_LOSS_CROSS_ENTROPY) {
        return (float)t->state->probabilities[element] / CONFIDENCE_ONE;
    }
    return times_power((float)t->state->logits[element], -(int)t->params->logit_fraction_bits);
#else
    const end_type *type = &output_types[0];
    const void *bytes = elearn_the_model.outputs[0].bytes;
    if (element >= type->elements) {
        return 0.0f;
    }
    if (type->type == EL_FLOAT32) {
        return ((const float *)bytes)[element];
    }
    return type->type == EL_INT8 ? type->scale * (float)(((const int8_t *)bytes)[element] - type->zero_point) : 0.0f;
#endif
}

const void *el_output_bytes(uint32_t index)
{
    return index < ELEARN_OUTPUT_COUNT ? elearn_the_model.outputs[index].bytes : NULL;
}

uint32_t el_steps(void)
{
    return elearn_the_state.step;
}

el_status el_set_learning_rate(float rate)
{
#if ELEARN_TRAINABLE_COUNT
    const ELEARN_FLASH elearn_trainable *t = &elearn_the_model.trainable[0];
    int32_t mantissa = 0;
    uint8_t exponent = 0;
    if (!(rate >= 0.0f) || !(rate <= 1.0f)) {
        return EL_BAD_RATE;
    }
    if (rate > 0.0f) {
        /* rate = mantissa 2^-exponent, with a mantissa of 15 bits */
        for (; rate < 16384.0f && exponent < MOST_EXPONENT; exponent++) {
            rate *= 2.0f;
        }
        mantissa = elearn_round(rate, 0, 32767);
    }
    if (!elearn_head_set_learning_rate(t->params, t->state, (uint16_t)mantissa, exponent)) {
        return EL_BAD_RATE;
    }
    return EL_OK;
#else
    (void)rate;
    return EL_NOT_TRAINABLE;
#endif
}

el_status el_save(void)
{
    return (el_status)elearn_state_save();
}

el_status el_reset(void)
{
#if ELEARN_TRAINABLE_COUNT
    elearn_state_reset();
    return EL_OK;
#else
    return EL_NOT_TRAINABLE;
#endif
}
