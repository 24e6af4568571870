/* ARG_MAX, int8: parameters and prototype. */
#ifndef ELEARN_ARG_MAX_S8_H
#define ELEARN_ARG_MAX_S8_H

#include "elearn_kernels.h"

typedef struct {
    int32_t outer; /* the input is [outer][count][inner] */
    int32_t count;
    int32_t inner;
    int32_t words; /* of 32 bits in an element of the output */
} elearn_arg_max_params;

/* The place of the largest element, the first of equal ones, as little-endian integers of one word or two. */
void elearn_arg_max_s8(const ELEARN_FLASH elearn_arg_max_params *p, const int8_t *input, void *output);

#endif
