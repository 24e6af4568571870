/* The inner product of convolutions, dense layers and the trainable head. Portable. */
#include "elearn_math.h"

int32_t elearn_dot_s8(const int8_t *weights, const int8_t *values, int32_t zero_point, int32_t count)
{
    const int8_t *const end = weights + count;
    const int8_t *const end_of_fours = weights + (count & ~3);
    int32_t sum = 0;
    while (weights != end_of_fours) {
        sum += weights[0] * (values[0] - zero_point);
        sum += weights[1] * (values[1] - zero_point);
        sum += weights[2] * (values[2] - zero_point);
        sum += weights[3] * (values[3] - zero_point);
        weights += 4;
        values += 4;
    }
    while (weights != end) {
        sum += *weights++ * (*values++ - zero_point);
    }
    return sum;
}
