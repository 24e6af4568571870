/* PRELU, int8: parameters and prototype. */
#ifndef ELEARN_PRELU_S8_H
#define ELEARN_PRELU_S8_H

#include "elearn_kernels.h"

typedef struct {
    int32_t elements; /* a multiple of `slopes` */
    int32_t slopes;   /* in `alpha`, which serves one element after another and then begins again */
    const ELEARN_FLASH int8_t *alpha;
    int32_t input_zero_point;
    int32_t alpha_zero_point;
    int32_t output_zero_point;
    elearn_scale positive_scale; /* from the input to the output */
    elearn_scale negative_scale; /* from input times alpha to the output */
} elearn_prelu_params;

/* The output may be the input. */
void elearn_prelu_s8(const ELEARN_FLASH elearn_prelu_params *p, const int8_t *input, int8_t *output);

#endif
