/* Samples from the sensor on the board: when one is taken, and how it is learned. What reads the sensor is not here: see
 * elearn_sensor.h. */
#ifndef ELEARN_SENSING_H
#define ELEARN_SENSING_H

#include <stdbool.h>
#include <stdint.h>

/* After a start: nothing is held, and a sensor whose code has met one fault after the other does not go on by itself. */
void elearn_sensing_init(void);

/* SET_SENSOR; a Status. */
uint32_t elearn_sensing_set(const uint8_t *payload);

/* Whether a sensor that runs takes no samples just now: SET_SENSOR has stopped it for a time that is not over. */
bool elearn_sensing_is_held(void);

/* Take a sample of a sensor that runs, if it has one ready: test, then train. Fills the SENSOR_EVENT at `event`. */
bool elearn_sensing_take(uint8_t *event);

/* Whether the host wants to hear of the last sample. */
bool elearn_sensing_is_told(void);

/* Stop after the last sample that was asked for. */
void elearn_sensing_end(void);

#endif
