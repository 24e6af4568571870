/* What the device has learned, and its newest copy in memory that keeps it without power.
 *
 * The head, the names of its classes and the counters below are saved together and come back together. Without such
 * memory (ELEARN_SAVES is 0) everything starts as generated at each reset. */
#ifndef ELEARN_STATE_H
#define ELEARN_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "elearn_config.h"

/* What SET_SENSOR has set, and how far the sensor has come since it was started. All zeros without a sensor. */
typedef struct {
    uint32_t limit;        /* stop after so many samples, 0: never */
    uint32_t report_every; /* SENSOR_EVENT for each n-th sample, 0: none */
    uint32_t samples;
    uint32_t learned;
    uint16_t label;
    uint16_t threshold;
    uint8_t flags; /* SampleFlags */
    uint8_t runs;
    uint8_t is_set; /* there are settings to go on with */
    uint8_t unused;
} elearn_state_sensor;

typedef struct {
    uint32_t step;           /* training steps since the head was as generated */
    uint32_t boot;           /* starts of the device, as far as it remembers */
    uint32_t random;         /* of stochastic rounding */
    uint32_t autosave_steps; /* save after that many steps, 0: only when asked */
    uint16_t learning_rate_mantissa;
    uint16_t learning_rate_exponent;
    uint16_t classes; /* in use, from 0 on */
    uint16_t unused;
    uint32_t session;       /* the host's, 0 if none; all its requests before next_sequence were carried out */
    uint32_t next_sequence; /* of requests that change state */
    elearn_state_sensor sensor;
} elearn_state;

extern elearn_state elearn_the_state;

/* The newest saved state, or the generated one. */
void elearn_state_init(void);

/* The generated head, names and counters; the learning rate stays where the generated head can take it. */
void elearn_state_reset(void);

/* Save everything; a Status. */
uint32_t elearn_state_save(void);

/* Save if that many steps have passed; does nothing otherwise. After a failure only elearn_state_save() tries again. */
void elearn_state_autosave(void);

/* The sensor has stopped by itself: it must not run again after a reset, as it would if the newest saved state says so. */
void elearn_state_sensor_ended(void);

/* Erase all saved states, so that the next reset starts as generated; a Status. */
uint32_t elearn_state_forget(void);

/* The number of the newest saved state, 0 without one; failures of elearn_state_autosave(). */
uint32_t elearn_state_saves(void);
uint32_t elearn_state_failed_saves(void);

/* The most stack that saving has used. */
uint32_t elearn_state_save_stack_bytes(void);

/* What the newest saved state says; zeros without one. The session may be an earlier one than the newest that was
 * open: what the sensor teaches between sessions comes on top of all of its requests. */
typedef struct {
    uint32_t step;
    uint32_t session;
    uint32_t next_sequence;
    uint32_t sensor_runs;
} elearn_saved;
const elearn_saved *elearn_state_saved(void);

/* Rename a class, or with index == classes add one, which starts with zero weights; a Status. */
uint32_t elearn_state_set_class(uint32_t index, const uint8_t *name, uint32_t size);

/* A label was used: the classes up to it are in use. */
void elearn_state_use_class(uint32_t label);

#endif
