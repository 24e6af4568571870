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

/* sum of weights[i] * (values[i] - zero_point), four at a time. */
static inline int32_t elearn_dot_s8(const int8_t *weights, const int8_t *values, int32_t zero_point, int32_t count)
{
    int32_t sum = 0;
    for (; count >= 4; count -= 4) {
        sum += weights[0] * (values[0] - zero_point);
        sum += weights[1] * (values[1] - zero_point);
        sum += weights[2] * (values[2] - zero_point);
        sum += weights[3] * (values[3] - zero_point);
        weights += 4;
        values += 4;
    }
    for (; count > 0; count--) {
        sum += *weights++ * (*values++ - zero_point);
    }
    return sum;
}

/* The part [first, end) of a window's taps 0 .. taps-1 that lies inside an axis of `limit` elements, where tap i lies at
 * start + i * dilation. */
typedef struct {
    int32_t first;
    int32_t end;
} elearn_range;

static inline elearn_range elearn_taps_inside(int32_t start, int32_t taps, int32_t dilation, int32_t limit)
{
    elearn_range r = {0, taps};
    while (r.first < taps && start + r.first * dilation < 0) {
        r.first++;
    }
    while (r.end > r.first && start + (r.end - 1) * dilation >= limit) {
        r.end--;
    }
    return r;
}

#endif
