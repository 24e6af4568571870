/* SOFTMAX, int8, by a table of exponentials: parameters and prototype. */
#ifndef ELEARN_SOFTMAX_TABLE_S8_H
#define ELEARN_SOFTMAX_TABLE_S8_H

#include "elearn_kernels.h"

typedef struct {
    int32_t rows;
    int32_t columns;
    const ELEARN_FLASH int32_t *exponentials; /* Q0.31, by how far an input is below its row's largest */
    int32_t count;               /* of exponentials; those beyond count nothing */
} elearn_softmax_table_params;

/* The output may be the input. */
void elearn_softmax_table_s8(const ELEARN_FLASH elearn_softmax_table_params *p, const int8_t *input, int8_t *output);

#endif
