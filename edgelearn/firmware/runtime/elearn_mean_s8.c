/* MEAN over height and width, int8. Portable. */
#include "elearn_mean_s8.h"

#include "elearn_math.h"

void elearn_mean_s8(const elearn_mean_params *p, const int8_t *input, int8_t *output)
{
    const int32_t depth = p->input.channels;
    const int32_t pixels = p->input.height * p->input.width;
    for (int32_t c = 0; c < depth; c++) {
        int32_t sum = -p->sum_offset;
        for (int32_t i = 0; i < pixels; i++) {
            sum += input[i * depth + c];
        }
        sum = elearn_requantize_twice(sum, p->scale.multiplier, p->scale.shift) + p->output_zero_point;
        output[c] = (int8_t)elearn_clamp(sum, -128, 127);
    }
}
