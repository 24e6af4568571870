/* MEAN, SUM, REDUCE_MAX and REDUCE_MIN, int8: parameters and prototypes. */
#ifndef ELEARN_REDUCE_S8_H
#define ELEARN_REDUCE_S8_H

#include "elearn_kernels.h"

/* Places along an axis, and bytes from one to the next. */
typedef struct {
    int32_t count;
    int32_t step;
} elearn_reduce_axis;

/* The output is [kept_outer][kept_inner][channels]; channels are neighbours in the input too. Each output element is
 * reduced over [outer][middle][inner] places of the input. */
typedef struct {
    elearn_reduce_axis kept_outer;
    elearn_reduce_axis kept_inner;
    int32_t channels;
    elearn_reduce_axis outer;
    elearn_reduce_axis middle;
    elearn_reduce_axis inner;
} elearn_reduce_axes;

typedef struct {
    elearn_reduce_axes axes;
    int32_t output_zero_point;
    int32_t sum_offset; /* number of elements in a sum * input zero point */
    elearn_scale scale; /* 1 / number of elements is folded in */
} elearn_mean_params;

typedef struct {
    elearn_reduce_axes axes;
    int32_t flip; /* 0 for the largest, -1 for the smallest */
} elearn_reduce_max_params;

/* Each writes an element after it has read all that it is made of. */
void elearn_mean_s8(const ELEARN_FLASH elearn_mean_params *p, const int8_t *input, int8_t *output);
void elearn_reduce_max_s8(const ELEARN_FLASH elearn_reduce_max_params *p, const int8_t *input, int8_t *output);

#endif
