/* ADD of two int8 tensors of the same shape. Portable. */
#include "elearn_add_s8.h"

#include "elearn_math.h"

/* Headroom of the operands before their scales are brought together, as in the LiteRT reference kernel. */
#define LEFT_SHIFT 20

void elearn_add_s8(const elearn_add_params *p, const int8_t *input1, const int8_t *input2, int8_t *output)
{
    for (int32_t i = 0; i < p->elements; i++) {
        const int32_t a = (input1[i] - p->input1_zero_point) * (1 << LEFT_SHIFT);
        const int32_t b = (input2[i] - p->input2_zero_point) * (1 << LEFT_SHIFT);
        int32_t sum = elearn_requantize_twice(a, p->input1_scale.multiplier, p->input1_scale.shift)
                      + elearn_requantize_twice(b, p->input2_scale.multiplier, p->input2_scale.shift);
        sum = elearn_requantize_twice(sum, p->output_scale.multiplier, p->output_scale.shift) + p->output_zero_point;
        output[i] = (int8_t)elearn_clamp(sum, p->output_min, p->output_max);
    }
}
