/* ADD and SUB as a linear form, int8: parameters and prototype. */
#ifndef ELEARN_ADD_FOLDED_S8_H
#define ELEARN_ADD_FOLDED_S8_H

#include "elearn_kernels.h"

/* output = clamp(((a * multiplier1 + b * multiplier2 + offset) >> shift) - 128). The generator has proved it equal to the
 * reference for all a and b, and that no multiplier times 256 and no partial sum leaves 32 bits. */
typedef struct {
    int32_t elements;
    int32_t multiplier1;
    int32_t multiplier2;
    int32_t offset;
    int32_t shift;
    int32_t output_min;
    int32_t output_max;
    int32_t is_clamped; /* whether output_min and output_max are narrower than int8 */
} elearn_add_folded_params;

void elearn_add_folded_s8(const ELEARN_FLASH elearn_add_folded_params *p, const int8_t *input1, const int8_t *input2,
                          int8_t *output);

#endif
