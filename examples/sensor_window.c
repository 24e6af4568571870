/* A sensor for `edgelearn generate MODEL.elb --board BOARD -o DIR --sensor examples/sensor_window.c`.
 *
 * Readings fill a window; the window is a sample, and the next one begins half a window later. A reading has three values,
 * as of an accelerometer, where the model's input can be divided by three, otherwise one. Put the registers of your own
 * sensor into read_sensor(), which here makes up a device that is shaken every now and then, so that this file runs on any
 * board and with any model of one input. */
#include <string.h>

#include "elearn_port.h"
#include "elearn_sensor.h"

#ifdef ELEARN_SENSOR_INPUT_1_ELEMENTS
#error "the model has several inputs, and this example fills one: write the others in elearn_sensor_read() too"
#endif

#if ELEARN_SENSOR_INPUT_0_ELEMENTS % 3 == 0
#define AXES 3
#else
#define AXES 1
#endif
#define READINGS_HZ 100u
#define WINDOW (ELEARN_SENSOR_INPUT_0_ELEMENTS / AXES)
#define STEP ((WINDOW + 1) / 2)

/* What the model's input holds: int8, or real numbers where it was converted with `--edges float`. */
#ifdef ELEARN_SENSOR_INPUT_0_SCALE
typedef int8_t input_value;
#define TO_INPUT(real) elearn_sensor_quantize_0(real)
#else
typedef float input_value;
#define TO_INPUT(real) (real)
#endif

/* One reading in the units that the network was trained with, here m/s^2; false where none is due yet. */
static bool read_sensor(float reading[AXES])
{
    static uint32_t last_ticks;
    static uint32_t count;
    const uint32_t ticks = elearn_port_ticks();
    const uint32_t period = elearn_port_counter_hz() / READINGS_HZ;

    if (ticks - last_ticks < period) {
        return false;
    }
    last_ticks = ticks;
    count++;
    /* 2 s of rest, 2 s of shaking at 5 Hz. */
    reading[0] = (count / (2u * READINGS_HZ)) % 2u ? (count / (READINGS_HZ / 10u)) % 2u ? 4.0f : -4.0f : 0.0f;
#if AXES == 3
    reading[1] = 0.1f * (float)(count % 3u);
    reading[2] = 9.81f;
#endif
    return true;
}

bool elearn_sensor_read(elearn_sensor_sample *sample)
{
    static input_value window[WINDOW * AXES];
    static uint32_t readings;
    float reading[AXES];

    if (!read_sensor(reading)) {
        return false;
    }
    for (uint32_t axis = 0; axis < AXES; axis++) {
        window[readings * AXES + axis] = TO_INPUT(reading[axis]);
    }
    readings++;
    if (readings < WINDOW) {
        return false;
    }
    /* The network works in the input's memory, so the window is kept here. */
    memcpy(sample->inputs[0], window, sizeof window);
    readings = WINDOW - STEP;
    memmove(window, window + STEP * AXES, readings * AXES * sizeof window[0]);
    return true;
}
