/* FULLY_CONNECTED, int8, requantised in float64 as the LiteRT reference kernel does it. Portable.
 *
 * For layers whose sums are so large that 31 bits of a factor do not tell which int8 is nearest. */
#include "elearn_fully_connected_double_s8.h"

#include "elearn_math.h"

#if defined(__SIZEOF_DOUBLE__) && __SIZEOF_DOUBLE__ < 8
#error "this layer needs float64, which this compiler does not have"
#endif

/* Beyond this every output saturates, whatever the zero point. */
#define LIMIT 512.0

/* The nearest integer, halves away from zero, within LIMIT. */
static int32_t nearest(double value)
{
    const double bounded = value > LIMIT ? LIMIT : value < -LIMIT ? -LIMIT : value;
    const int32_t whole = (int32_t)bounded;
    const double fraction = bounded - whole;
    return whole + (fraction >= 0.5 ? 1 : fraction <= -0.5 ? -1 : 0);
}

void elearn_fully_connected_double_s8(
    const ELEARN_FLASH elearn_fully_connected_double_params *p, const int8_t *input, int8_t *output)
{
    for (int32_t row = 0; row < p->rows; row++) {
        const ELEARN_FLASH int8_t *weights = p->weights;
        for (int32_t c = 0; c < p->outputs; c++) {
            const int32_t dot = elearn_dot_s8(weights, input, p->offsets.input_zero_point, p->features);
            int32_t sum = elearn_wrapping_add(p->bias[c], dot);
            weights += p->features;
            sum = nearest(sum * p->factors[c]) + p->offsets.output_zero_point;
            *output++ = (int8_t)elearn_clamp(sum, p->offsets.output_min, p->offsets.output_max);
        }
        input += p->features;
    }
}
