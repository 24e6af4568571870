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
    int32_t is_clamped; /* whether output_min and output_max change anything */
    /* Whether sum / count, halves away from zero, is (sum * (2^30 / count + 1) + 2^29) >> 30 for every sum that occurs
     * (the generator proves it), and no sum needs more than 16 bits. Else the kernel divides. */
    int32_t has_reciprocals;
} elearn_pool2d_params;

/* Each writes an output pixel after it has read all of its window. */
void elearn_average_pool2d_s8(const ELEARN_FLASH elearn_pool2d_params *p, const int8_t *input, int8_t *output);
void elearn_max_pool2d_s8(const ELEARN_FLASH elearn_pool2d_params *p, const int8_t *input, int8_t *output);

#endif
