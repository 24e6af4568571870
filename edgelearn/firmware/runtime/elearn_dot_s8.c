/* The inner product of convolutions, dense layers and the trainable head. Eight values at a time where the core has DSP
 * instructions; the rest is portable. */
#include "elearn_lanes.h"
#include "elearn_math.h"

int32_t elearn_dot_s8(const ELEARN_FLASH int8_t *weights, const int8_t *values, int32_t zero_point, int32_t count)
{
    const ELEARN_FLASH int8_t *const end = weights + count;
    int32_t sum = 0;
#if defined(__ARM_FEATURE_DSP)
    const ELEARN_FLASH int8_t *const end_of_eights = weights + (count & ~7);
    const uint32_t minus = elearn_lanes(-zero_point, -zero_point);
    while (weights != end_of_eights) {
        __asm__ volatile(
            "ldr r4, [%[weights]], #4\n"
            "ldr r5, [%[values]], #4\n"
            "ldr r6, [%[weights]], #4\n"
            "ldr r8, [%[values]], #4\n"
            "sxtb16 r9, r4\n"
            "sxtab16 r10, %[minus], r5\n"
            "smlad %[sum], r9, r10, %[sum]\n"
            "sxtb16 r4, r4, ror #8\n"
            "sxtab16 r5, %[minus], r5, ror #8\n"
            "smlad %[sum], r4, r5, %[sum]\n"
            "sxtb16 r9, r6\n"
            "sxtab16 r10, %[minus], r8\n"
            "smlad %[sum], r9, r10, %[sum]\n"
            "sxtb16 r6, r6, ror #8\n"
            "sxtab16 r8, %[minus], r8, ror #8\n"
            "smlad %[sum], r6, r8, %[sum]\n"
            : [weights] "+r"(weights), [values] "+r"(values), [sum] "+r"(sum)
            : [minus] "r"(minus)
            : "r4", "r5", "r6", "r8", "r9", "r10", "memory");
    }
#elif defined(__AVR__)
    /* 16 bits hold the product of an int8 and a difference of two; a 32-bit one is a call of the library. */
    const int16_t minus = (int16_t)zero_point;
    for (uint16_t left = (uint16_t)count; left > 0; left--) {
        sum += (int16_t)(*weights++ * (int16_t)(*values++ - minus));
    }
#else
    const ELEARN_FLASH int8_t *const end_of_fours = weights + (count & ~3);
    while (weights != end_of_fours) {
        sum += weights[0] * (values[0] - zero_point);
        sum += weights[1] * (values[1] - zero_point);
        sum += weights[2] * (values[2] - zero_point);
        sum += weights[3] * (values[3] - zero_point);
        weights += 4;
        values += 4;
    }
#endif
    while (weights != end) {
        sum += *weights++ * (*values++ - zero_point);
    }
    return sum;
}
