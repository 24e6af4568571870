/* CONV_2D, int8, for cores with DSP instructions: two pixels by two output channels at a time. */
#ifndef ELEARN_CONV2D_PAIRS_S8_H
#define ELEARN_CONV2D_PAIRS_S8_H

#include "elearn_kernels.h"

typedef struct {
    elearn_shape input;
    elearn_shape output;
    elearn_window window;
    elearn_offsets offsets;
    int32_t groups_of_eight; /* kernel_h * kernel_w * channels, in eights */
    int32_t shift;           /* of folded requantisation; -1 where the stream has one for each channel */
    const ELEARN_FLASH uint32_t *stream;  /* weights and constants, see elearn_matmul_s8.h */
} elearn_conv2d_pairs_params;

/* scratch, aligned to four bytes: groups_of_eight * 32 bytes for the expanded values; where channels is a multiple of
 * four, kernel_w * channels bytes for a row of zero points, else groups_of_eight * 16 for the gathered pixels; where the
 * output's channels are odd, two rows of them plus one. */
void elearn_conv2d_pairs_s8(
    const ELEARN_FLASH elearn_conv2d_pairs_params *p, const int8_t *input, int8_t *output, int8_t *scratch);

#endif
