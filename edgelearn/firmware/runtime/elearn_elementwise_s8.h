/* ADD, SUB, MUL, MAXIMUM and MINIMUM with broadcasting, int8: parameters and prototypes. */
#ifndef ELEARN_ELEMENTWISE_S8_H
#define ELEARN_ELEMENTWISE_S8_H

#include "elearn_kernels.h"

#define ELEARN_ELEMENTWISE_AXES 5

/* Steps are in elements from one place to the next along an axis, 0 where an operand is repeated. The output is written
 * in order. SUB is ADD with a negative multiplier in input2_scale. MUL has output_scale only, MAXIMUM and MINIMUM none. */
typedef struct {
    int32_t sizes[ELEARN_ELEMENTWISE_AXES];
    int32_t input1_steps[ELEARN_ELEMENTWISE_AXES];
    int32_t input2_steps[ELEARN_ELEMENTWISE_AXES];
    const ELEARN_FLASH int8_t *constant1; /* an operand that is constant, and so not among the inputs */
    const ELEARN_FLASH int8_t *constant2;
    int32_t input1_zero_point;
    int32_t input2_zero_point;
    elearn_scale input1_scale;
    elearn_scale input2_scale;
    elearn_scale output_scale;
    int32_t output_zero_point;
    int32_t output_min;
    int32_t output_max;
} elearn_elementwise_params;

void elearn_sum_s8(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs);

/* ADD and SUB in the linear form of elearn_add_folded_s8.h: the input scales have its multipliers, the output scale has
 * offset and shift. */
void elearn_sum_folded_s8(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs);

/* MUL where the output's scale shifts to the right by 1 to 22. */
void elearn_mul_right_s8(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs);
void elearn_mul_s8(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs);
void elearn_maximum_s8(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs);
void elearn_minimum_s8(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs);

#endif
