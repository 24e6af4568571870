/* PRELU: x where it is positive, else alpha x. Portable. */
#include "elearn_prelu_s8.h"

#include "elearn_math.h"

void elearn_prelu_s8(const ELEARN_FLASH elearn_prelu_params *p, const int8_t *input, int8_t *output)
{
    const elearn_scale positive = p->positive_scale;
    const elearn_scale negative = p->negative_scale;
    for (int32_t begin = 0; begin < p->elements; begin += p->slopes) {
        for (int32_t i = 0; i < p->slopes; i++) {
            int32_t value = *input++ - p->input_zero_point;
            if (value >= 0) {
                value = elearn_requantize_twice(value, positive.multiplier, positive.shift);
            } else {
                value *= p->alpha[i] - p->alpha_zero_point;
                value = elearn_requantize_twice(value, negative.multiplier, negative.shift);
            }
            *output++ = (int8_t)elearn_clamp(value + p->output_zero_point, -128, 127);
        }
    }
}
