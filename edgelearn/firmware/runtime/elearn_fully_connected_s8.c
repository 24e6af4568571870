/* FULLY_CONNECTED, int8, per output channel. Portable. */
#include "elearn_fully_connected_s8.h"

#include "elearn_math.h"

void elearn_fully_connected_s8(const ELEARN_FLASH elearn_fully_connected_params *p, const int8_t *input, int8_t *output)
{
    for (int32_t row = 0; row < p->rows; row++) {
        const ELEARN_FLASH int8_t *weights = p->weights;
        for (int32_t c = 0; c < p->outputs; c++) {
            const int32_t dot = elearn_dot_s8(weights, input, p->offsets.input_zero_point, p->features);
            int32_t sum = elearn_wrapping_add(p->bias[c], dot);
            weights += p->features;
            sum = elearn_requantize_once(sum, p->scales[c].multiplier, p->scales[c].shift);
            sum += p->offsets.output_zero_point;
            *output++ = (int8_t)elearn_clamp(sum, p->offsets.output_min, p->offsets.output_max);
        }
        input += p->features;
    }
}
