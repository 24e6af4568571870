/* AVERAGE_POOL_2D and MAX_POOL_2D, int8: parameters and prototypes. */
#ifndef ELEARN_POOL2D_S8_H
#define ELEARN_POOL2D_S8_H

#include "elearn_kernels.h"

typedef struct {
    elearn_shape input;
    elearn_shape output;
    elearn_window window;
    int32_t output_min;
    int32_t output_max;
} elearn_pool2d_params;

void elearn_average_pool2d_s8(const elearn_pool2d_params *p, const int8_t *input, int8_t *output);
void elearn_max_pool2d_s8(const elearn_pool2d_params *p, const int8_t *input, int8_t *output);

#endif
