/* The network in an Arduino sketch: a class around edgelearn.h, and the link to the host over any Stream.
 *
 *     EdgeLearn network;
 *     void setup() { Serial.begin(ELEARN_BAUD); network.begin(Serial); }
 *     void loop() { network.poll(); }
 */
#ifndef ELEARN_ARDUINO_H
#define ELEARN_ARDUINO_H

#include <Arduino.h>

#include "edgelearn.h"
#include "elearn_config.h"

/* There is one network in a sketch; all objects of this class are that one. A sample is EL_INPUT_ELEMENTS real numbers in
 * the units that the network was trained with; without one, what stands in input() is taken. */
class EdgeLearn {
public:
    /* What was learned comes back, as far as it was saved. The host is reached over this line, which is open already. */
    void begin(Stream &line);

    /* The same without a host. */
    void begin();

    /* Carry out what the host asks for. Call it often; true where something had come. */
    bool poll();

    /* The class, or the number of the largest output; -1 where that is not possible. */
    int32_t predict(const float *sample = nullptr);

    /* Predict, then learn the class, the targets (EL_OUTPUT_ELEMENTS of them), or the sample itself. False, and nothing is
     * learned, where the network cannot learn that. */
    bool learn(const float *sample, uint32_t label);
    bool learn(const float *sample, const float *targets);
    bool learnItself(const float *sample = nullptr);

    /* Of the last call: what was predicted before anything was learned, how sure that was (0 to 1, of a classifier that
     * learns), an element of the output, and what went wrong. */
    uint32_t prediction() const { return result_.prediction; }
    float confidence() const { return result_.confidence; }
    float output(uint32_t element) const { return el_output(element); }
    el_status status() const { return status_; }

    /* The bytes of an input, in the network's own type. They have to be written anew for each sample. */
    void *input(uint32_t index = 0) { return el_input(index); }

    /* 0 to 1. */
    bool setLearningRate(float rate);

    /* Keep what was learned over a loss of power; false where the board has nothing for it. */
    bool save();

    /* Back to the network as generated; saved copies stay until the next save(). */
    bool reset();

    /* Training steps so far. */
    uint32_t steps() const { return el_steps(); }

private:
    bool is(el_status status);

    el_result result_ = {};
    el_status status_ = EL_OK;
};

#endif
