/* DEPTHWISE_CONV_2D, int8, for cores with DSP instructions: four channels at a time, expanded to 16 bits.
 *
 * The image is seen as lines of places: rows of pixels, or columns, whichever the generator chose. Four channels of a few
 * lines are expanded with their padding: for each line, for each two places, a word of each of the four channels with the
 * two places as lanes. Then each channel is swept line by line. */
#ifndef ELEARN_DEPTHWISE_CONV2D_FOURS_S8_H
#define ELEARN_DEPTHWISE_CONV2D_FOURS_S8_H

#include "elearn_kernels.h"

/* One of the two axes. Steps are in elements of the tensor. */
typedef struct {
    int32_t inputs;
    int32_t outputs;
    int32_t taps;
    int32_t stride;
    int32_t pad;
    int32_t input_step;
    int32_t output_step;
} elearn_taps_axis;

typedef struct {
    elearn_taps_axis line;  /* which line */
    elearn_taps_axis place; /* which place in a line */
    int32_t input_channels;
    int32_t multiplier; /* output channels for each input channel */
    int32_t words;      /* pairs of places in an expanded line */
    int32_t band;       /* output lines that are computed at a time */
    int32_t input_zero_point;
    int32_t output_min;
    int32_t output_max;
    int32_t is_folded;      /* requantisation, see elearn_matmul_s8.h */
    int32_t channel_words;  /* of the stream, for one output channel */
    const ELEARN_FLASH uint32_t *stream; /* for each output channel: first sum, multiplier, offset, shift, weights */
} elearn_depthwise_conv2d_fours_params;

/* Weights of 3x3 taps with one stride of 1 or 2 for both axes: for each line (w0, w1) and (w1, w2). Of other windows: for
 * each line (w0, w1), (w2, w3) ..., then, for windows that begin at an odd place, for each line (0, w0), (w1, w2) ...
 * scratch, aligned to four bytes: 16 * words for each input line of a band. The output may be the input where its shape
 * is the same, the stride is 1 and the channels are a multiple of four; there must be four at least. */
void elearn_depthwise_conv2d_fours_s8(
    const ELEARN_FLASH elearn_depthwise_conv2d_fours_params *p, const int8_t *input, int8_t *output, int8_t *scratch);

#endif
