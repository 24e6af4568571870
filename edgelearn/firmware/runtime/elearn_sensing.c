/* Samples from the sensor on the board. See elearn_sensing.h. */
#include "elearn_sensing.h"

#include <string.h>

#include "elearn_bytes.h"
#include "elearn_model.h"
#include "elearn_port.h"
#include "elearn_protocol.h"
#include "elearn_sample.h"
#include "elearn_sensor.h"
#include "elearn_state.h"

#define FLAGS \
    (ELEARN_SAMPLE_TRAIN | ELEARN_SAMPLE_HAS_LABEL | ELEARN_SAMPLE_TARGET_IS_INPUT | ELEARN_SAMPLE_SELF_LABEL)
#define NO_LABEL 65535u

/* After so many faults in a row the sensor waits for the host: otherwise the device would start over and over, and be
 * reached by nobody. A start that has taken so many samples is no part of a row. */
#define MOST_FAULTS 3u
#define STEADY_SAMPLES 1000u

static uint32_t samples_since_start;

#if ELEARN_SENSOR_EVENT_PREDICTION != ELEARN_RESULT_PREDICTION || ELEARN_SENSOR_EVENT_FLAGS != ELEARN_RESULT_FLAGS
#error "a SENSOR_EVENT begins with the fields of RESULT"
#endif

/* For how long a sensor that runs is held, 0 where it is not, and since when. Not among the state: nobody must find a
 * saved one that is held by a host that is no more. */
static uint32_t hold_ms;
static uint32_t held_at_ms;

void elearn_sensing_init(void)
{
    hold_ms = 0;
    samples_since_start = 0;
    if (elearn_port_last_start()->faults >= MOST_FAULTS) {
        elearn_the_state.sensor.runs = 0;
    }
}

#if ELEARN_TRAINABLE_COUNT
static bool is_classifier(void)
{
    return elearn_the_model.trainable[0].params->loss == ELEARN_LOSS_CROSS_ENTROPY;
}
#endif

static elearn_sample_rule rule_of(uint32_t flags, uint32_t label, uint32_t threshold)
{
    elearn_sample_rule rule;
    rule.flags = flags;
    rule.label = label;
    rule.threshold = threshold;
    return rule;
}

/* Whether samples can be learned that way; a Status. */
static uint32_t check(elearn_sample_rule rule)
{
    if (rule.flags & ELEARN_SAMPLE_HAS_TARGETS) {
        return ELEARN_STATUS_BAD_TARGET; /* nobody gives them */
    }
    if (rule.flags & ~(uint32_t)FLAGS) {
        return ELEARN_STATUS_BAD_VALUE;
    }
#if ELEARN_TRAINABLE_COUNT
    if (is_classifier()) {
        rule.flags &= ~ELEARN_SAMPLE_TRAIN; /* labels may come with the samples */
    }
#endif
    return elearn_sample_check(&rule);
}

/* STOP: for good, or a sensor that runs for so many milliseconds. */
static void stop(uint32_t lease_ms)
{
    elearn_state_sensor *s = &elearn_the_state.sensor;
    if (lease_ms == 0) {
        s->runs = 0;
    } else if (s->runs) {
        held_at_ms = elearn_port_clock_ms();
    }
    hold_ms = s->runs ? lease_ms : 0;
}

/* GO_ON; a Status, OK where it runs now. */
static uint32_t go_on(void)
{
    elearn_state_sensor *s = &elearn_the_state.sensor;
    hold_ms = 0;
    if (!s->runs) {
        s->runs = s->is_set && (s->limit == 0 || s->samples < s->limit);
    }
    return s->runs ? ELEARN_STATUS_OK : ELEARN_STATUS_SENSOR_IDLE;
}

uint32_t elearn_sensing_set(const uint8_t *payload)
{
    elearn_state_sensor *s = &elearn_the_state.sensor;
    const uint32_t run = payload[ELEARN_SET_SENSOR_RUN];
    const elearn_sample_rule rule = rule_of(
        payload[ELEARN_SET_SENSOR_FLAGS],
        elearn_get_u16(payload + ELEARN_SET_SENSOR_LABEL),
        elearn_get_u16(payload + ELEARN_SET_SENSOR_THRESHOLD));
    uint32_t status;
    if (run == ELEARN_SENSOR_STOP) {
        stop(elearn_get_u32(payload + ELEARN_SET_SENSOR_LEASE_MS));
        return ELEARN_STATUS_OK;
    }
    if (run == ELEARN_SENSOR_GO_ON) {
        return go_on();
    }
    if (run == ELEARN_SENSOR_REPORT) {
        s->report_every = elearn_get_u32(payload + ELEARN_SET_SENSOR_REPORT_EVERY);
        return ELEARN_STATUS_OK;
    }
    if (run == ELEARN_SENSOR_LABEL) {
        const uint32_t has_label = rule.flags & ELEARN_SAMPLE_HAS_LABEL;
        const elearn_sample_rule changed = rule_of(
            (s->flags & ~(uint32_t)ELEARN_SAMPLE_HAS_LABEL) | has_label, has_label ? rule.label : s->label, s->threshold);
        status = check(changed);
        if (status == ELEARN_STATUS_OK) {
            s->flags = (uint8_t)changed.flags;
            s->label = (uint16_t)changed.label;
        }
        return status;
    }
    if (run != ELEARN_SENSOR_START) {
        return ELEARN_STATUS_BAD_VALUE;
    }
    status = check(rule);
    if (status != ELEARN_STATUS_OK) {
        return status;
    }
    memset(s, 0, sizeof *s);
    hold_ms = 0;
    s->runs = 1;
    s->is_set = 1;
    s->flags = (uint8_t)rule.flags;
    s->label = (uint16_t)rule.label;
    s->threshold = (uint16_t)rule.threshold;
    s->limit = elearn_get_u32(payload + ELEARN_SET_SENSOR_SAMPLES);
    s->report_every = elearn_get_u32(payload + ELEARN_SET_SENSOR_REPORT_EVERY);
    return ELEARN_STATUS_OK;
}

/* The rule for a sample for which the sensor's code gave that label, or none. */
static elearn_sample_rule rule_for(int32_t label)
{
    const elearn_state_sensor *s = &elearn_the_state.sensor;
    elearn_sample_rule rule = rule_of(s->flags, s->label, s->threshold);
#if ELEARN_TRAINABLE_COUNT
    if (is_classifier()) {
        if (!(rule.flags & ELEARN_SAMPLE_HAS_LABEL) && label >= 0
            && label < elearn_the_model.trainable[0].params->outputs) {
            rule.flags |= ELEARN_SAMPLE_HAS_LABEL;
            rule.label = (uint32_t)label;
        }
        if (rule.flags & ELEARN_SAMPLE_HAS_LABEL) {
            rule.flags &= ~ELEARN_SAMPLE_SELF_LABEL; /* who knows the label need not guess it */
        }
        if (!(rule.flags & (ELEARN_SAMPLE_HAS_LABEL | ELEARN_SAMPLE_SELF_LABEL))) {
            rule.flags &= ~ELEARN_SAMPLE_TRAIN;
        }
    }
#else
    (void)label;
#endif
    return rule;
}

bool elearn_sensing_is_held(void)
{
    if (hold_ms != 0 && elearn_port_clock_ms() - held_at_ms >= hold_ms) {
        hold_ms = 0;
    }
    return hold_ms != 0;
}

bool elearn_sensing_take(uint8_t *event)
{
    elearn_state_sensor *s = &elearn_the_state.sensor;
    elearn_sensor_sample sample;
    elearn_sample_rule rule;
    uint32_t done;
    uint32_t label = NO_LABEL;
    for (uint32_t i = 0; i < ELEARN_INPUT_COUNT; i++) {
        sample.inputs[i] = elearn_the_model.inputs[i].bytes;
    }
    sample.number = s->samples;
    sample.label = ELEARN_SENSOR_NO_LABEL;
    if (!elearn_sensor_read(&sample)) {
        return false;
    }
    rule = rule_for(sample.label);
    done = elearn_sample_run(&rule, NULL, event);
    s->samples++;
    samples_since_start++;
    if (samples_since_start == STEADY_SAMPLES) {
        elearn_port_forget_faults();
    }
    s->learned += done & ELEARN_RESULT_LEARNED ? 1u : 0u;
    if (done & ELEARN_RESULT_SELF_LABELLED) {
        label = elearn_get_u16(event + ELEARN_SENSOR_EVENT_PREDICTION);
    } else if (rule.flags & ELEARN_SAMPLE_HAS_LABEL) {
        label = rule.label;
    }
    elearn_put_u16(event + ELEARN_SENSOR_EVENT_LABEL, label);
    elearn_put_u32(event + ELEARN_SENSOR_EVENT_SAMPLES, s->samples);
    return true;
}

bool elearn_sensing_is_told(void)
{
    const elearn_state_sensor *s = &elearn_the_state.sensor;
    return s->report_every != 0 && s->samples % s->report_every == 0;
}

void elearn_sensing_end(void)
{
    elearn_state_sensor *s = &elearn_the_state.sensor;
    if (s->limit != 0 && s->samples >= s->limit) {
        s->runs = 0;
        elearn_state_sensor_ended();
    }
}
