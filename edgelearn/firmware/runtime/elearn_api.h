/* The network for a program of your own, on the device: predict, learn, save. It shares everything with the link, which
 * may run beside it. */
#ifndef ELEARN_API_H
#define ELEARN_API_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Once, before anything else: the newest saved head, or the generated one. */
void el_init(void);

/* Where a sample goes: the elements of an input, which have to be written anew for every sample, because the network works
 * there too. NULL where there is no such input. */
void *el_input(uint8_t number);
uint32_t el_input_bytes(uint8_t number);

/* The elements of an output of the last sample; NULL for the output of the trainable layer. */
const void *el_output(uint8_t number);

/* The number of the largest output for what stands in the inputs. */
uint16_t el_predict(void);

/* How sure the last prediction of a trainable classifier was, 0 to 1; 0 for other models. */
float el_confidence(void);

/* Predict, then learn that the sample was of this class. False, and nothing is learned, where the model does not classify,
 * or has no such class. */
bool el_learn(uint16_t label);

/* Predict, then learn these targets, one for each output, in units of the last layer's fixed point (squared error). */
bool el_learn_targets(const int16_t *targets, uint16_t count);

/* Predict, then learn that the output should be the input: an autoencoder. */
bool el_learn_input(void);

/* Save what was learned in memory that keeps it without power; false where there is none, or it fails. */
bool el_save(void);

/* Training steps since the head was as generated. */
uint32_t el_steps(void);

#ifdef __cplusplus
}
#endif

#endif
