/* LOG_SOFTMAX, int8: parameters and prototype. */
#ifndef ELEARN_LOG_SOFTMAX_S8_H
#define ELEARN_LOG_SOFTMAX_S8_H

#include "elearn_kernels.h"

/* What the kernel needs of an input, by how far it is below its row's largest. */
typedef struct {
    int32_t difference; /* to the largest, not positive, in Q5.26 */
    int32_t term;       /* its exponential in Q12.19 */
} elearn_log_softmax_entry;

typedef struct {
    int32_t rows;
    int32_t columns; /* at most 4095, so that the sum of a row fits in Q12.19 */
    const ELEARN_FLASH elearn_log_softmax_entry *table;
    int32_t count; /* of entries; an input beyond them counts nothing, and its output is -128 */
} elearn_log_softmax_params;

/* The output may be the input. */
void elearn_log_softmax_s8(const ELEARN_FLASH elearn_log_softmax_params *p, const int8_t *input, int8_t *output);

#endif
