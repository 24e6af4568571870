/* The learned state and its saved copies. See elearn_state.h. */
#include "elearn_state.h"

#include <string.h>

#include "elearn_model.h"
#include "elearn_port.h"
#include "elearn_protocol.h"

#if ELEARN_SAVES
#include "elearn_store.h"
#endif

elearn_state elearn_the_state;

static elearn_saved saved;
static uint32_t failed_saves;
static uint32_t save_stack_bytes;
static bool autosave_works;
/* The step from which on autosave counts. */
static uint32_t counted_from;

#if ELEARN_TRAINABLE_COUNT

#if ELEARN_SAVES
/* Weights, residual, bias, row_t, row_rho, names, counters. */
#define MOST_PARTS 7u

static uint32_t collect(elearn_store_part *parts)
{
    const ELEARN_FLASH elearn_head_params *p = elearn_the_model.trainable[0].params;
    const elearn_head_state *s = elearn_the_model.trainable[0].state;
    const uint32_t outputs = (uint32_t)p->outputs;
    const uint32_t weights = outputs * (uint32_t)p->features;
    uint32_t count = 0;
    const elearn_store_part w = {s->weights, weights * (uint32_t)sizeof *s->weights};
    const elearn_store_part b = {s->bias, outputs * (uint32_t)sizeof *s->bias};
    const elearn_store_part counters = {&elearn_the_state, sizeof elearn_the_state};
    parts[count++] = w;
    parts[count++] = b;
#if !ELEARN_HEAD_IS_FLOAT
    {
        const elearn_store_part t = {s->row_t, outputs};
        const elearn_store_part rho = {s->row_rho, outputs};
        parts[count++] = t;
        parts[count++] = rho;
    }
#endif
#if ELEARN_HEAD_HAS_RESIDUAL
    {
        const elearn_store_part residual = {s->residual, weights};
        parts[count++] = residual;
    }
#endif
#if ELEARN_LABEL_BYTES
    {
        const elearn_store_part names = {elearn_the_model.names, outputs * ELEARN_LABEL_BYTES};
        parts[count++] = names;
    }
#endif
    parts[count++] = counters;
    return count;
}

static void note_saved(void)
{
    saved.step = elearn_the_state.step;
    saved.session = elearn_the_state.session;
    saved.next_sequence = elearn_the_state.next_sequence;
    saved.sensor_runs = elearn_the_state.sensor.runs;
    counted_from = elearn_the_state.step;
}

static bool load(void)
{
    elearn_store_part parts[MOST_PARTS];
    const uint32_t count = collect(parts);
    const ELEARN_FLASH elearn_head_params *p = elearn_the_model.trainable[0].params;
    elearn_head_state *s = elearn_the_model.trainable[0].state;
    if (!elearn_store_load(&elearn_the_model.identity[0], parts, count)) {
        return false;
    }
#if ELEARN_RESIDUAL == ELEARN_RESIDUAL_STOCHASTIC
    s->random = elearn_the_state.random;
#endif
    (void)elearn_head_set_learning_rate(
        p, s, elearn_the_state.learning_rate_mantissa, (uint8_t)elearn_the_state.learning_rate_exponent);
    return true;
}
#endif

static void reset_all(void)
{
    elearn_head_reset(elearn_the_model.trainable[0].params, elearn_the_model.trainable[0].state);
#if ELEARN_LABEL_BYTES
    elearn_copy_constant(
        elearn_the_model.names,
        elearn_the_model.initial_names,
        (uint32_t)elearn_the_model.trainable[0].params->outputs * ELEARN_LABEL_BYTES);
#endif
    elearn_the_state.step = 0;
    elearn_the_state.classes = ELEARN_INITIAL_CLASSES;
    counted_from = 0;
}

void elearn_state_init(void)
{
    memset(&elearn_the_state, 0, sizeof elearn_the_state);
    memset(&saved, 0, sizeof saved);
    failed_saves = 0;
    autosave_works = true;
    elearn_the_state.autosave_steps = ELEARN_AUTOSAVE_STEPS;
    reset_all();
#if ELEARN_SAVES
    if (load()) {
        note_saved();
    }
#endif
#if !ELEARN_SENSOR
    /* Saved by firmware that had one. */
    memset(&elearn_the_state.sensor, 0, sizeof elearn_the_state.sensor);
#endif
    /* The session ended with the reset; the host asks where it stood. */
    elearn_the_state.session = 0;
    elearn_the_state.next_sequence = 0;
    elearn_the_state.boot = elearn_port_count_start(elearn_the_state.boot);
}

void elearn_state_reset(void)
{
    const ELEARN_FLASH elearn_trainable *t = &elearn_the_model.trainable[0];
    const uint16_t mantissa = t->state->learning_rate_mantissa;
    const uint8_t exponent = t->state->learning_rate_exponent;
    reset_all();
    /* A rate that only rescaled rows could take is not kept: then it is the model's own again. */
    (void)elearn_head_set_learning_rate(t->params, t->state, mantissa, exponent);
}

#if ELEARN_SAVES
static bool save(void)
{
    elearn_store_part parts[MOST_PARTS];
    const uint32_t count = collect(parts);
    const elearn_head_state *s = elearn_the_model.trainable[0].state;
    elearn_the_state.learning_rate_mantissa = s->learning_rate_mantissa;
    elearn_the_state.learning_rate_exponent = s->learning_rate_exponent;
#if ELEARN_RESIDUAL == ELEARN_RESIDUAL_STOCHASTIC
    elearn_the_state.random = s->random;
#endif
    if (!elearn_store_save(&elearn_the_model.identity[0], parts, count)) {
        return false;
    }
    note_saved();
    return true;
}
#endif

uint32_t elearn_state_save(void)
{
#if ELEARN_SAVES
    const uint32_t session = elearn_the_state.session;
    const uint32_t next_sequence = elearn_the_state.next_sequence;
    uint32_t used;
    bool done;
    if (session == 0) {
        elearn_the_state.session = saved.session;
        elearn_the_state.next_sequence = saved.next_sequence;
    }
    elearn_port_stack_mark();
    done = save();
    used = elearn_port_stack_since_mark();
    if (used > save_stack_bytes) {
        save_stack_bytes = used;
    }
    elearn_the_state.session = session;
    elearn_the_state.next_sequence = next_sequence;
    if (!done) {
        return ELEARN_STATUS_STORE_FAILED;
    }
    autosave_works = true;
    return ELEARN_STATUS_OK;
#else
    return ELEARN_STATUS_NO_STORE;
#endif
}

static void save_unasked(void)
{
    if (elearn_state_save() != ELEARN_STATUS_OK) {
        failed_saves++;
        autosave_works = false;
    }
}

void elearn_state_autosave(void)
{
    const uint32_t steps = elearn_the_state.autosave_steps;
    if (steps == 0 || !autosave_works || elearn_the_state.step - counted_from < steps) {
        return;
    }
    save_unasked();
}

void elearn_state_sensor_ended(void)
{
    if (saved.sensor_runs && autosave_works) {
        save_unasked();
    }
}

uint32_t elearn_state_set_class(uint32_t index, const uint8_t *name, uint32_t size)
{
#if ELEARN_LABEL_BYTES
    const ELEARN_FLASH elearn_trainable *t = &elearn_the_model.trainable[0];
    if (index > elearn_the_state.classes || index >= (uint32_t)t->params->outputs || size == 0
        || size > ELEARN_LABEL_BYTES) {
        return ELEARN_STATUS_BAD_CLASS;
    }
    if (index == elearn_the_state.classes) {
        const uint32_t features = (uint32_t)t->params->features;
        memset(t->state->weights + index * features, 0, (size_t)features * sizeof *t->state->weights);
#if ELEARN_HEAD_HAS_RESIDUAL
        memset(t->state->residual + index * features, 128, (size_t)features);
#endif
        t->state->bias[index] = 0;
        elearn_the_state.classes++;
    }
    memset(elearn_the_model.names + index * ELEARN_LABEL_BYTES, 0, ELEARN_LABEL_BYTES);
    memcpy(elearn_the_model.names + index * ELEARN_LABEL_BYTES, name, (size_t)size);
    return ELEARN_STATUS_OK;
#else
    (void)index;
    (void)name;
    (void)size;
    return ELEARN_STATUS_BAD_CLASS;
#endif
}

void elearn_state_use_class(uint32_t label)
{
#if ELEARN_INITIAL_CLASSES
    if (label >= elearn_the_state.classes) {
        elearn_the_state.classes = (uint16_t)(label + 1u);
    }
#else
    (void)label;
#endif
}

#else /* nothing learns */

void elearn_state_init(void)
{
    memset(&elearn_the_state, 0, sizeof elearn_the_state);
    memset(&saved, 0, sizeof saved);
    failed_saves = 0;
    autosave_works = false;
    elearn_the_state.boot = elearn_port_count_start(0);
}

void elearn_state_reset(void) { }

uint32_t elearn_state_save(void)
{
    return ELEARN_STATUS_NOT_TRAINABLE;
}

void elearn_state_autosave(void)
{
    (void)autosave_works;
    (void)counted_from;
}

void elearn_state_sensor_ended(void) { }

uint32_t elearn_state_set_class(uint32_t index, const uint8_t *name, uint32_t size)
{
    (void)index;
    (void)name;
    (void)size;
    return ELEARN_STATUS_NOT_TRAINABLE;
}

void elearn_state_use_class(uint32_t label)
{
    (void)label;
}

#endif

uint32_t elearn_state_forget(void)
{
#if !ELEARN_TRAINABLE_COUNT
    return ELEARN_STATUS_NOT_TRAINABLE;
#elif !ELEARN_SAVES
    return ELEARN_STATUS_NO_STORE;
#else
    if (!elearn_store_forget()) {
        return ELEARN_STATUS_STORE_FAILED;
    }
    memset(&saved, 0, sizeof saved);
    counted_from = elearn_the_state.step;
    return ELEARN_STATUS_OK;
#endif
}

uint32_t elearn_state_saves(void)
{
#if ELEARN_SAVES
    return elearn_store_sequence();
#else
    return 0;
#endif
}

const elearn_saved *elearn_state_saved(void)
{
    return &saved;
}

uint32_t elearn_state_failed_saves(void)
{
    return failed_saves;
}

uint32_t elearn_state_save_stack_bytes(void)
{
    return save_stack_bytes;
}
