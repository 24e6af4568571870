/* ADD, int8: parameters and prototype. */
#ifndef ELEARN_ADD_S8_H
#define ELEARN_ADD_S8_H

#include "elearn_kernels.h"

typedef struct {
    int32_t elements;
    int32_t input1_zero_point;
    int32_t input2_zero_point;
    elearn_scale input1_scale;
    elearn_scale input2_scale;
    elearn_scale output_scale;
    int32_t output_zero_point;
    int32_t output_min;
    int32_t output_max;
} elearn_add_params;

void elearn_add_s8(const elearn_add_params *p, const int8_t *input1, const int8_t *input2, int8_t *output);

#endif
