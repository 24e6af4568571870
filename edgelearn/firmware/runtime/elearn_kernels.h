/* The int8 kernels: their parameters and prototypes.
 *
 * Tensors are [height][width][channel], batch 1. The caller owns all memory. Every kernel gives the same bytes as the
 * LiteRT reference kernel of the same name. Parameters are constants that the generator computes; nothing is derived
 * on the device. */
#ifndef ELEARN_KERNELS_H
#define ELEARN_KERNELS_H

#include <stdint.h>

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

typedef struct {
    elearn_shape input;
    elearn_shape output;
    elearn_window window;
    elearn_offsets offsets;
    int32_t multiplier; /* output channels for each input channel, depthwise only */
    const int8_t *weights;
    const int32_t *bias;
    const elearn_scale *scales;
} elearn_conv2d_params;

/* weights [output channel][kernel_h][kernel_w][input channel] */
void elearn_conv2d_s8(const elearn_conv2d_params *p, const int8_t *input, int8_t *output);

/* weights [kernel_h][kernel_w][output channel] */
void elearn_depthwise_conv2d_s8(const elearn_conv2d_params *p, const int8_t *input, int8_t *output);

typedef struct {
    int32_t features;
    int32_t outputs;
    elearn_offsets offsets;
    const int8_t *weights;
    const int32_t *bias;
    const elearn_scale *scales;
} elearn_fully_connected_params;

/* weights [output][feature] */
void elearn_fully_connected_s8(const elearn_fully_connected_params *p, const int8_t *input, int8_t *output);

typedef struct {
    elearn_shape input;
    elearn_shape output;
    elearn_window window;
    int32_t output_min;
    int32_t output_max;
} elearn_pool2d_params;

void elearn_average_pool2d_s8(const elearn_pool2d_params *p, const int8_t *input, int8_t *output);
void elearn_max_pool2d_s8(const elearn_pool2d_params *p, const int8_t *input, int8_t *output);

typedef struct {
    elearn_shape input;
    int32_t output_zero_point;
    int32_t sum_offset; /* number of averaged elements * input zero point */
    elearn_scale scale; /* 1 / number of averaged elements is folded in */
} elearn_mean_params;

void elearn_mean_s8(const elearn_mean_params *p, const int8_t *input, int8_t *output);

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

typedef struct {
    elearn_shape input;
    elearn_shape output;
    int32_t pad_top;
    int32_t pad_left;
    int8_t value;
} elearn_pad_params;

void elearn_pad_s8(const elearn_pad_params *p, const int8_t *input, int8_t *output);

typedef struct {
    int32_t rows;
    int32_t columns;
    elearn_scale scale; /* of a difference to Q5.26 */
    int32_t difference_min;
} elearn_softmax_params;

void elearn_softmax_s8(const elearn_softmax_params *p, const int8_t *input, int8_t *output);

#endif
