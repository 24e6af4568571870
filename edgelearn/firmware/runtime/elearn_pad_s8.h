/* PAD, int8: parameters and prototype. */
#ifndef ELEARN_PAD_S8_H
#define ELEARN_PAD_S8_H

#include "elearn_kernels.h"

typedef struct {
    elearn_shape input;
    elearn_shape output;
    int32_t pad_top;
    int32_t pad_left;
    int8_t value;
} elearn_pad_params;

void elearn_pad_s8(const elearn_pad_params *p, const int8_t *input, int8_t *output);

#endif
