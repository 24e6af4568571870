/* Integer arithmetic shared by the kernels: saturation, rounding shifts and the two requantisations of LiteRT. */
#ifndef ELEARN_MATH_H
#define ELEARN_MATH_H

#include <stdint.h>

/* Shift right, rounding halves up: (v + 2^(n-1)) >> n; n = 0 is v itself. `>>` is arithmetic on every compiler we use. */
static inline int32_t elearn_round_shift(int32_t v, int32_t n)
{
    return n == 0 ? v : (v + ((int32_t)1 << (n - 1))) >> n;
}

static inline int32_t elearn_clamp(int32_t v, int32_t low, int32_t high)
{
    if (v < low) {
        return low;
    }
    return v > high ? high : v;
}

/* v * multiplier * 2^(shift - 31), rounded twice as CONV_2D, DEPTHWISE_CONV_2D and ADD do in the LiteRT reference
 * kernels: a doubling high multiply that rounds halves away from zero, then a right shift that does so too. A shift to
 * the left wraps around, as it does there; shift is within -31 and 30. */
static inline int32_t elearn_requantize_twice(int32_t v, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    const int64_t product = (int64_t)(int32_t)((uint32_t)v << left) * (int64_t)multiplier;
    const int64_t nudge = product >= 0 ? ((int64_t)1 << 30) : 1 - ((int64_t)1 << 30);
    const int32_t high = (int32_t)((product + nudge) / ((int64_t)1 << 31));
    const int32_t mask = (int32_t)(((uint32_t)1 << right) - 1u);
    const int32_t remainder = high & mask;
    const int32_t threshold = (mask >> 1) + (high < 0 ? 1 : 0);
    return (high >> right) + (remainder > threshold ? 1 : 0);
}

/* v * multiplier * 2^(shift - 31), rounded once, halves up, as FULLY_CONNECTED does in the LiteRT reference kernels;
 * shift is within -31 and 30. */
static inline int32_t elearn_requantize_once(int32_t v, int32_t multiplier, int32_t shift)
{
    const int32_t total = 31 - shift;
    const int64_t product = (int64_t)v * (int64_t)multiplier;
    return (int32_t)((product + ((int64_t)1 << (total - 1))) >> total);
}

#endif
