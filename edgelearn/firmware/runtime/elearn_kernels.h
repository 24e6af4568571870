/* What the int8 kernels have in common: the parts of their parameters.
 *
 * Tensors are [height][width][channel], batch 1. The caller owns all memory. Every kernel gives the same bytes as the
 * LiteRT reference kernel of the same name. Parameters are constants that the generator computes; nothing is derived
 * on the device. */
#ifndef ELEARN_KERNELS_H
#define ELEARN_KERNELS_H

#include <stdint.h>

#include "elearn_flash.h"

/* Requantisation of one output channel: multiplier in Q31, shift > 0 is to the left. */
typedef struct {
    int32_t multiplier;
    int32_t shift;
} elearn_scale;

typedef struct {
    int32_t height;
    int32_t width;
    int32_t channels;
} elearn_shape;

typedef struct {
    int32_t kernel_h;
    int32_t kernel_w;
    int32_t stride_h;
    int32_t stride_w;
    int32_t dilation_h;
    int32_t dilation_w;
    int32_t pad_top;
    int32_t pad_left;
} elearn_window;

/* Zero points and the clamp of a fused activation. */
typedef struct {
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t output_min;
    int32_t output_max;
} elearn_offsets;

#endif
