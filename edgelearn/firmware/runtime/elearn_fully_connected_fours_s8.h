/* FULLY_CONNECTED, int8, for cores with DSP instructions: four outputs at a time. */
#ifndef ELEARN_FULLY_CONNECTED_FOURS_S8_H
#define ELEARN_FULLY_CONNECTED_FOURS_S8_H

#include "elearn_kernels.h"

typedef struct {
    int32_t rows;
    int32_t features;
    int32_t outputs;
    int32_t output_min;
    int32_t output_max;
    int32_t words_of_four; /* of the stream, for four outputs */
    int32_t shift;
    int32_t is_uniform;    /* whether `constants` serve all outputs */
    int32_t constants[8];  /* multiplier and offset, four times */
    const ELEARN_FLASH uint32_t *stream; /* weights and constants, see elearn_matmul_s8.h */
} elearn_fully_connected_fours_params;

/* scratch, aligned to four bytes: two bytes for each feature, their number rounded up to a multiple of eight, and
 * eight bytes. */
void elearn_fully_connected_fours_s8(
    const ELEARN_FLASH elearn_fully_connected_fours_params *p, const int8_t *input, int8_t *output, int8_t *scratch);

#endif
