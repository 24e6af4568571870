/* MEAN, int8: parameters and prototype. */
#ifndef ELEARN_MEAN_S8_H
#define ELEARN_MEAN_S8_H

#include "elearn_kernels.h"

typedef struct {
    elearn_shape input;
    int32_t output_zero_point;
    int32_t sum_offset; /* number of averaged elements * input zero point */
    elearn_scale scale; /* 1 / number of averaged elements is folded in */
} elearn_mean_params;

void elearn_mean_s8(const elearn_mean_params *p, const int8_t *input, int8_t *output);

#endif
