/* SOFTMAX over the last axis as elearn_softmax_s8.c has it: its exponentials depend on the difference of two int8 only, so
 * the generator makes a table of them. Portable. */
#include "elearn_softmax_table_s8.h"

#include "elearn_softmax.h"

void elearn_softmax_table_s8(const ELEARN_FLASH elearn_softmax_table_params *p, const int8_t *input, int8_t *output)
{
    const ELEARN_FLASH int32_t *exponentials = p->exponentials;
    const int32_t count = p->count;
    const int32_t columns = p->columns;
    for (int32_t row = p->rows; row > 0; row--) {
        const int32_t largest = elearn_largest(input, columns);
        uint32_t sum = 0;
        elearn_quotient quotient;
        for (int32_t c = 0; c < columns; c++) {
            const int32_t below = largest - input[c];
            if (below < count) {
                sum += elearn_softmax_term(exponentials[below]);
            }
        }
        quotient = elearn_divide_by(sum);
        for (int32_t c = 0; c < columns; c++) {
            const int32_t below = largest - input[c];
            output[c] = below < count ? elearn_softmax_output(quotient, exponentials[below]) : -128;
        }
        input += columns;
        output += columns;
    }
}
