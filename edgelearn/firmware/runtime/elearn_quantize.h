/* Real numbers to the device's integers, as the host makes them: rounded to nearest, halves away from zero, and clipped.
 * Nothing is added before the cut, so that no tie is made by rounding. */
#ifndef ELEARN_QUANTIZE_H
#define ELEARN_QUANTIZE_H

#include <stdint.h>

/* The nearest whole number within [low, high], which are within +-32768. What is no number becomes `low`. */
static inline int32_t elearn_round(float value, int32_t low, int32_t high)
{
    int32_t whole;
    float fraction;
    if (!(value > (float)low)) {
        return low;
    }
    if (value >= (float)high) {
        return high;
    }
    whole = (int32_t)value;
    fraction = value - (float)whole;
    return whole + (fraction >= 0.5f ? 1 : fraction <= -0.5f ? -1 : 0);
}

/* A value in the model's own units as int8. */
static inline int8_t elearn_quantize(float real, float scale, int32_t zero_point)
{
    return (int8_t)(elearn_round(real / scale, -128 - zero_point, 127 - zero_point) + zero_point);
}

#endif
