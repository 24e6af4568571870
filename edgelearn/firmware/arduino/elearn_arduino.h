/* The network in an Arduino sketch: a class around elearn_api.h, and the link to the host over any Stream.
 *
 *     EdgeLearn network;
 *     void setup() { Serial.begin(ELEARN_BAUD); network.begin(Serial); }
 *     void loop() { network.poll(); }
 */
#ifndef ELEARN_ARDUINO_H
#define ELEARN_ARDUINO_H

#include <Arduino.h>

#include "elearn_api.h"
#include "elearn_config.h"

/* There is one network in a sketch; all objects of this class are that one. */
class EdgeLearn {
public:
    /* What was learned comes back, as far as it was saved; the host is reached over this line, which is open already. */
    void begin(Stream &line);

    /* The same without a host. */
    void begin();

    /* Carry out what the host asks for. Call it often; true where something had come. */
    bool poll();

    /* Where a sample goes; all of its elements are to be written for each sample. */
    int8_t *input(uint8_t number = 0) { return static_cast<int8_t *>(el_input(number)); }
    float *floatInput(uint8_t number = 0) { return static_cast<float *>(el_input(number)); }

    /* The class of what stands in the inputs, and how sure that is, 0 to 1. */
    uint16_t predict() { return el_predict(); }
    float confidence() { return el_confidence(); }
    const void *output(uint8_t number = 0) { return el_output(number); }

    /* Predict, then learn; false where the model cannot learn that. */
    bool learn(uint16_t label) { return el_learn(label); }
    bool learn(const int16_t *targets, uint16_t count) { return el_learn_targets(targets, count); }
    bool learnInput() { return el_learn_input(); }

    /* Keep what was learned over a loss of power; false where the board has nothing for it. */
    bool save() { return el_save(); }

    /* Training steps so far. */
    uint32_t steps() { return el_steps(); }
};

#endif
