/* SOFTMAX, int8, without a table: parameters and prototype. */
#ifndef ELEARN_SOFTMAX_S8_H
#define ELEARN_SOFTMAX_S8_H

#include "elearn_kernels.h"

typedef struct {
    int32_t rows;
    int32_t columns;
    elearn_scale scale;     /* of a difference to Q5.26 */
    int32_t difference_min; /* below it to the row's largest, exponentials count nothing */
} elearn_softmax_params;

/* The output may be the input. */
void elearn_softmax_s8(const ELEARN_FLASH elearn_softmax_params *p, const int8_t *input, int8_t *output);

#endif
