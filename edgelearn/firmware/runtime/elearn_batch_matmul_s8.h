/* BATCH_MATMUL, int8: parameters and prototypes. */
#ifndef ELEARN_BATCH_MATMUL_S8_H
#define ELEARN_BATCH_MATMUL_S8_H

#include "elearn_kernels.h"

/* Strides are in elements; along a leading axis on which one matrix serves all they are 0. */
typedef struct {
    int32_t batches[3];       /* matrices along the leading axes of the output */
    int32_t left_strides[5];  /* three leading axes, rows, depth */
    int32_t right_strides[5]; /* three leading axes, depth, columns */
    int32_t rows;
    int32_t depth;
    int32_t columns;
    int32_t left_zero_point;
    int32_t right_zero_point;
    int32_t output_zero_point;
    elearn_scale scale;
    const ELEARN_FLASH int8_t *constant; /* the operand that is one */
} elearn_batch_matmul_params;

/* output [batches][row][column]; scratch, aligned to two bytes: two bytes for each element of a row of `left`.
 * Either matrix may be a constant. */
void elearn_batch_matmul_s8(const ELEARN_FLASH elearn_batch_matmul_params *p, const ELEARN_FLASH int8_t *left,
                            const ELEARN_FLASH int8_t *right, int8_t *output, int8_t *scratch);
void elearn_batch_matmul_by_constant_s8(
    const ELEARN_FLASH elearn_batch_matmul_params *p, const int8_t *left, int8_t *output, int8_t *scratch);
void elearn_batch_matmul_of_constant_s8(
    const ELEARN_FLASH elearn_batch_matmul_params *p, const int8_t *right, int8_t *output, int8_t *scratch);

#endif
