/* DEPTHWISE_CONV_2D, int8: prototype; the parameters are those of CONV_2D. */
#ifndef ELEARN_DEPTHWISE_CONV2D_S8_H
#define ELEARN_DEPTHWISE_CONV2D_S8_H

#include "elearn_conv2d_s8.h"

/* weights [kernel_h][kernel_w][output channel] */
void elearn_depthwise_conv2d_s8(const ELEARN_FLASH elearn_conv2d_params *p, const int8_t *input, int8_t *output);

#endif
