/* Strided copies between int8 tensors: parameters and prototype. CONCATENATION, SPLIT, STRIDED_SLICE, TRANSPOSE, TILE,
 * GATHER and padding are this kernel with other numbers. */
#ifndef ELEARN_COPY_S8_H
#define ELEARN_COPY_S8_H

#include "elearn_kernels.h"

/* The most axes of a piece. */
#define ELEARN_COPY_AXES 5

/* Elements along an axis, and bytes from one to the next; a step may be 0 or negative. */
typedef struct {
    int32_t count;
    int32_t input_step;
    int32_t output_step;
} elearn_copy_axis;

/* Runs of neighbouring bytes, one for each combination of places along the axes, the last axis fastest. */
typedef struct {
    int32_t input;        /* number of the input */
    int32_t output;       /* number of the output */
    int32_t input_start;  /* offset of the first byte */
    int32_t output_start; /* offset of the first byte */
    int32_t run_bytes;
    int32_t first_axis; /* in `axes` */
    int32_t axis_count; /* at least 1 */
} elearn_copy_piece;

typedef struct {
    const ELEARN_FLASH elearn_copy_piece *pieces;
    int32_t piece_count;
    const ELEARN_FLASH elearn_copy_axis *axes;
    int32_t fill_bytes; /* so many bytes of the first output are set to `fill` before */
    int8_t fill;
} elearn_copy_params;

/* Within a piece bytes are written in the order of the axes, each after it was read, and pieces one after another. */
void elearn_copy_s8(const ELEARN_FLASH elearn_copy_params *p, const int8_t *const *inputs, int8_t *const *outputs);

#endif
