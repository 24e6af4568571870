/* Sums of the gates of an LSTM, for cores with DSP instructions: four gates of a unit at a time. */
#ifndef ELEARN_LSTM_GATES_S8_H
#define ELEARN_LSTM_GATES_S8_H

#include "elearn_matmul_s8.h"

/* From a gate's sum to int16: shift_right(round_high32((sum << left) * multiplier), right), halves away from zero. */
typedef struct {
    int32_t multiplier;
    int32_t left; /* of the gates B and D less than eight by so much, their sums being known times 256 */
    int32_t right;
} elearn_gate_scale;

/* The walk of elearn_vector_folded_s8 with other ends: `constants` are four elearn_gate_scale, nothing follows the
 * weights in the stream, and `output` is int16, aligned to four bytes, to which the sums of the gates are added with
 * saturation. */
void elearn_lstm_gates_s8(const elearn_vector_walk *w);

#endif
