/* UNIDIRECTIONAL_SEQUENCE_LSTM, int8 with an int16 cell state, for cores with DSP instructions. */
#ifndef ELEARN_LSTM_FOURS_S8_H
#define ELEARN_LSTM_FOURS_S8_H

#include "elearn_kernels.h"
#include "elearn_lstm_gates_s8.h"

typedef struct {
    int32_t steps;
    int32_t features;
    int32_t units;
    int32_t output_zero_point;
    int32_t cell_integer_bits; /* the cell state is int16 with 15 - cell_integer_bits fraction bits */
    int32_t cell_clip;         /* in its steps; 32768 for none */
    elearn_scale output_scale; /* from a product of two int16 with 15 fraction bits; shifts to the right by 1 to 30 */
    int32_t input_words;       /* of the stream, before those of the recurrent weights */
    elearn_gate_scale input_scales[4]; /* to int16 with 12 fraction bits */
    elearn_gate_scale recurrent_scales[4];
    const ELEARN_FLASH uint32_t *stream; /* for each unit its four gates, see elearn_lstm_gates_s8.h */
} elearn_lstm_fours_params;

/* input [step][feature], output [step][unit]. The state begins as zero. scratch, aligned to four bytes: 16 bytes for
 * each eight features or units, whichever are more, ten for each unit, and four. */
void elearn_lstm_fours_s8(
    const ELEARN_FLASH elearn_lstm_fours_params *p, const int8_t *input, int8_t *output, int8_t *scratch);

#endif
