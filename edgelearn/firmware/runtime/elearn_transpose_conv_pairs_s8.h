/* TRANSPOSE_CONV, int8, for cores with DSP instructions: one convolution of stride 1 for the output's phases.
 *
 * Where input pixel (q, r) meets the output, it covers stride_h x stride_w output pixels, its phases. All pixels of one
 * phase are a convolution of the input with those taps of the kernel that reach the phase, turned around. Phases that
 * are computed together are the channels of one convolution, whose window holds the taps of all of them. */
#ifndef ELEARN_TRANSPOSE_CONV_PAIRS_S8_H
#define ELEARN_TRANSPOSE_CONV_PAIRS_S8_H

#include "elearn_kernels.h"

/* Phases of `rows` rows by `columns` columns that are computed together: channels [row][column][output channel]. */
typedef struct {
    elearn_window window; /* in the input: stride 1 */
    int32_t height;       /* positions of the window */
    int32_t width;
    int32_t top; /* row and column of the output at the first position, which may lie outside */
    int32_t left;
    int32_t rows;
    int32_t columns;
    int32_t groups_of_eight; /* values under the window, in eights */
    int32_t shift;           /* of folded requantisation; -1 where the stream has one for each channel */
    int32_t stream;          /* where its weights and constants begin */
} elearn_transpose_conv_phases;

typedef struct {
    elearn_shape input;
    elearn_shape output;
    int32_t stride_h;
    int32_t stride_w;
    elearn_offsets offsets;
    int32_t count;
    const ELEARN_FLASH elearn_transpose_conv_phases *phases;
    const ELEARN_FLASH uint32_t *stream; /* see elearn_matmul_s8.h */
} elearn_transpose_conv_pairs_params;

/* scratch, aligned to four bytes, the most that any phases need: what elearn_windows_s8.h says, then two rows of the
 * channels, whose number is rounded up to be even. */
void elearn_transpose_conv_pairs_s8(
    const ELEARN_FLASH elearn_transpose_conv_pairs_params *p, const int8_t *input, int8_t *output, int8_t *scratch);

#endif
