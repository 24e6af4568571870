/* Integer arithmetic shared by the kernels: saturation, rounding shifts and the two requantisations of LiteRT. */
#ifndef ELEARN_MATH_H
#define ELEARN_MATH_H

#include <stdint.h>

#include "elearn_flash.h"

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

static inline void elearn_clamp_all(int8_t *values, int32_t count, int32_t low, int32_t high)
{
    for (int32_t i = 0; i < count; i++) {
        values[i] = (int8_t)elearn_clamp(values[i], low, high);
    }
}

/* a + b modulo 2^32: the reference kernels' sums run on where huge biases take them beyond 32 bits. */
static inline int32_t elearn_wrapping_add(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* a * b * 2^-31, rounding halves up. */
static inline int32_t elearn_multiply_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* Shift right, rounding halves away from zero. */
static inline int32_t elearn_shift_right(int32_t v, int32_t n)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << n) - 1u);
    const int32_t threshold = (mask >> 1) + (v < 0 ? 1 : 0);
    return (v >> n) + ((v & mask) > threshold ? 1 : 0);
}

/* v * multiplier * 2^(shift - 31), rounded twice as CONV_2D, DEPTHWISE_CONV_2D, ADD and MEAN do in the LiteRT
 * reference kernels: a doubling high multiply, then a rounding right shift. */
static inline int32_t elearn_requantize_twice(int32_t v, int32_t multiplier, int32_t shift)
{
    if (shift > 0) {
        return elearn_multiply_high((int32_t)((uint32_t)v << shift), multiplier);
    }
    return elearn_shift_right(elearn_multiply_high(v, multiplier), -shift);
}

/* v * multiplier * 2^(shift - 31), rounded once, halves away from zero, as FULLY_CONNECTED is in the LiteRT reference
 * kernels; shift is within -31 and 30. */
static inline int32_t elearn_requantize_once(int32_t v, int32_t multiplier, int32_t shift)
{
    const int32_t total = 31 - shift;
    const int64_t product = (int64_t)v * (int64_t)multiplier;
    return (int32_t)((product + ((int64_t)1 << (total - 1)) - (product < 0 ? 1 : 0)) >> total);
}

/* sum of weights[i] * (values[i] - zero_point), of so few that it stays within 32 bits: any 65,793 do. A function of its
 * own: inlined, its loop would lack registers. */
int32_t elearn_dot_s8(const ELEARN_FLASH int8_t *weights, const int8_t *values, int32_t zero_point, int32_t count);

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
