/* TRANSPOSE_CONV, int8: parameters and prototype. */
#ifndef ELEARN_TRANSPOSE_CONV_S8_H
#define ELEARN_TRANSPOSE_CONV_S8_H

#include "elearn_kernels.h"

typedef struct {
    elearn_shape input;
    elearn_shape output;
    elearn_window window;
    elearn_offsets offsets;
    const ELEARN_FLASH int8_t *weights;
    const ELEARN_FLASH int32_t *bias;
    const ELEARN_FLASH elearn_scale *scales;
} elearn_transpose_conv_params;

/* weights [output channel][kernel_h][kernel_w][input channel] */
void elearn_transpose_conv_s8(const ELEARN_FLASH elearn_transpose_conv_params *p, const int8_t *input, int8_t *output);

#endif
