/* Any function of an int8 by a table: parameters and prototype. Activations and QUANTIZE between layers are this kernel with
 * other tables. */
#ifndef ELEARN_LOOKUP_S8_H
#define ELEARN_LOOKUP_S8_H

#include "elearn_kernels.h"

typedef struct {
    int32_t elements;
    const ELEARN_FLASH uint8_t *table; /* 256 outputs, by the input's bits as an unsigned number */
} elearn_lookup_params;

/* The output may be the input. */
void elearn_lookup_s8(const ELEARN_FLASH elearn_lookup_params *p, const int8_t *input, int8_t *output);

#endif
