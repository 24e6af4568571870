/* UNIDIRECTIONAL_SEQUENCE_LSTM, int8 with an int16 cell state: parameters and prototype. */
#ifndef ELEARN_LSTM_S8_H
#define ELEARN_LSTM_S8_H

#include "elearn_kernels.h"

typedef struct {
    int32_t steps;
    int32_t features;
    int32_t units;
    int32_t output_zero_point;
    int32_t cell_integer_bits; /* the cell state is int16 with 15 - cell_integer_bits fraction bits */
    int32_t cell_clip;         /* in its steps; 0 for none */
    elearn_scale output_scale; /* from a product of two int16 with 15 fraction bits to the output */
    const ELEARN_FLASH int8_t *weights;
    const ELEARN_FLASH int32_t *bias;
    const ELEARN_FLASH elearn_scale *scales; /* to int16 with 12 fraction bits: input's sums, then recurrent ones */
} elearn_lstm_params;

/* Gates are in the order input, forget, cell, output. For each unit, weights of the input, then recurrent ones, each as
 * [values in fours][gate][value of the four], the last four padded with zeros; biases with the zero points folded in,
 * [unit][input or recurrent][gate]. input [step][feature], output [step][unit]. The state begins as zero. scratch,
 * aligned to four bytes: two bytes for each unit. */
void elearn_lstm_s8(const ELEARN_FLASH elearn_lstm_params *p, const int8_t *input, int8_t *output, int8_t *scratch);

#endif
