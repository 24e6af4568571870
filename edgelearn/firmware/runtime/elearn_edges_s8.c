/* QUANTIZE from float32 to int8 and DEQUANTIZE back. Portable; the only kernels that compute in floating point.
 *
 * The reference kernel converts the rounded quotient to int32 before it adds the zero point, which C leaves undefined
 * beyond int32. Here what is too large or too small saturates, and NaN gives the smallest int8. */
#include "elearn_edges_s8.h"

#include "elearn_math.h"

/* Beyond this every quotient saturates, whatever the zero point. */
#define LIMIT 512.0f

void elearn_quantize_s8(const ELEARN_FLASH elearn_edge_params *p, const float *input, int8_t *output)
{
    for (int32_t i = 0; i < p->elements; i++) {
        const float ratio = input[i] / p->scale;
        int32_t whole = -512;
        if (ratio > -LIMIT) {
            /* Halves away from zero; the fraction is exact. */
            const float bounded = ratio < LIMIT ? ratio : LIMIT;
            float fraction;
            whole = (int32_t)bounded;
            fraction = bounded - (float)whole;
            whole += fraction >= 0.5f ? 1 : fraction <= -0.5f ? -1 : 0;
        }
        output[i] = (int8_t)elearn_clamp(whole + p->zero_point, -128, 127);
    }
}

void elearn_dequantize_s8(const ELEARN_FLASH elearn_edge_params *p, const int8_t *input, float *output)
{
    for (int32_t i = 0; i < p->elements; i++) {
        output[i] = p->scale * (float)(input[i] - p->zero_point);
    }
}
