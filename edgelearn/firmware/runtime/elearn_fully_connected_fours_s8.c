/* FULLY_CONNECTED, int8, for cores with DSP instructions: the input is expanded to 16 bits once and serves all outputs,
 * four at a time. Portable but for the walk in elearn_matmul_s8.c. */
#include "elearn_fully_connected_fours_s8.h"

#include <string.h>

#include "elearn_math.h"
#include "elearn_matmul_s8.h"

void elearn_fully_connected_fours_s8(
    const ELEARN_FLASH elearn_fully_connected_fours_params *p, const int8_t *input, int8_t *output, int8_t *scratch)
{
    const int32_t eights = (p->features + 7) / 8;
    const int32_t whole = p->outputs & ~3;
    uint32_t *const values = (uint32_t *)(void *)scratch;
    int8_t *const last = scratch + 16 * eights;
    elearn_vector_walk walk = {0};

    walk.values = values;
    walk.constants = p->is_uniform ? &p->constants[0] : NULL;
    walk.shift = p->shift;
    walk.is_odd = eights & 1;
    for (int32_t row = 0; row < p->rows; row++) {
        walk.values_end = elearn_expand_row_s8(values, input, p->features, last);
        walk.stream = p->stream;
        if (whole > 0) {
            walk.output = output;
            walk.output_end = output + whole;
            elearn_vector_folded_s8(&walk);
        }
        if (whole < p->outputs) {
            walk.stream = p->stream + whole / 4 * p->words_of_four;
            walk.output = last;
            walk.output_end = last + 4;
            elearn_vector_folded_s8(&walk);
            memcpy(output + whole, last, (size_t)(p->outputs - whole));
        }
        if (p->output_min > -128 || p->output_max < 127) {
            elearn_clamp_all(output, p->outputs, p->output_min, p->output_max);
        }
        input += p->features;
        output += p->outputs;
    }
}
