/* CONV_2D, int8: parameters and prototype. */
#ifndef ELEARN_CONV2D_S8_H
#define ELEARN_CONV2D_S8_H

#include "elearn_kernels.h"

typedef struct {
    elearn_shape input;
    elearn_shape output;
    elearn_window window;
    elearn_offsets offsets;
    int32_t group_inputs; /* the input channels that an output channel sees; 1 for DEPTHWISE_CONV_2D */
    int32_t group_outputs; /* the output channels that see the same ones */
    const ELEARN_FLASH int8_t *weights;
    const ELEARN_FLASH int32_t *bias;
    const ELEARN_FLASH elearn_scale *scales;
} elearn_conv2d_params;

/* weights [output channel][kernel_h][kernel_w][input channel of its group] */
void elearn_conv2d_s8(const ELEARN_FLASH elearn_conv2d_params *p, const int8_t *input, int8_t *output);

#endif
