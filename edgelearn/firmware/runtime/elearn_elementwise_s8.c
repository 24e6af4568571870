/* ADD, SUB, MUL, MAXIMUM and MINIMUM of two int8 tensors with broadcasting. Portable. */
#include "elearn_elementwise_s8.h"

#include <stddef.h>

#include "elearn_math.h"

/* Headroom of the operands of ADD before their scales are brought together, as in the LiteRT reference kernel. */
#define LEFT_SHIFT 20
#define LAST (ELEARN_ELEMENTWISE_AXES - 1)

typedef struct {
    const int8_t *input1;
    const int8_t *input2;
    int8_t *output;
} places;

/* One run along the last axis. */
typedef void (*run)(const elearn_elementwise_params *p, places at);

static void sum_run(const elearn_elementwise_params *p, places at)
{
    for (int32_t i = 0; i < p->sizes[LAST]; i++) {
        const int32_t a = (*at.input1 - p->input1_zero_point) * (1 << LEFT_SHIFT);
        const int32_t b = (*at.input2 - p->input2_zero_point) * (1 << LEFT_SHIFT);
        int32_t sum = elearn_requantize_twice(a, p->input1_scale.multiplier, p->input1_scale.shift)
                      + elearn_requantize_twice(b, p->input2_scale.multiplier, p->input2_scale.shift);
        sum = elearn_requantize_twice(sum, p->output_scale.multiplier, p->output_scale.shift) + p->output_zero_point;
        *at.output++ = (int8_t)elearn_clamp(sum, p->output_min, p->output_max);
        at.input1 += p->input1_steps[LAST];
        at.input2 += p->input2_steps[LAST];
    }
}

static void mul_run(const elearn_elementwise_params *p, places at)
{
    const elearn_scale scale = p->output_scale;
    for (int32_t i = 0; i < p->sizes[LAST]; i++) {
        int32_t product = (*at.input1 - p->input1_zero_point) * (*at.input2 - p->input2_zero_point);
        product = elearn_requantize_twice(product, scale.multiplier, scale.shift) + p->output_zero_point;
        *at.output++ = (int8_t)elearn_clamp(product, p->output_min, p->output_max);
        at.input1 += p->input1_steps[LAST];
        at.input2 += p->input2_steps[LAST];
    }
}

static void maximum_run(const elearn_elementwise_params *p, places at)
{
    for (int32_t i = 0; i < p->sizes[LAST]; i++) {
        *at.output++ = *at.input1 > *at.input2 ? *at.input1 : *at.input2;
        at.input1 += p->input1_steps[LAST];
        at.input2 += p->input2_steps[LAST];
    }
}

static void minimum_run(const elearn_elementwise_params *p, places at)
{
    for (int32_t i = 0; i < p->sizes[LAST]; i++) {
        *at.output++ = *at.input1 < *at.input2 ? *at.input1 : *at.input2;
        at.input1 += p->input1_steps[LAST];
        at.input2 += p->input2_steps[LAST];
    }
}

/* All runs in the order of the output. */
static void walk(const elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs, run one)
{
    int32_t place[LAST] = {0};
    int32_t axis;
    places at = {p->constant1, p->constant2, outputs[0]};
    if (at.input1 == NULL) {
        at.input1 = *inputs++;
    }
    if (at.input2 == NULL) {
        at.input2 = *inputs;
    }
    do {
        one(p, at);
        at.output += p->sizes[LAST];
        for (axis = LAST - 1; axis >= 0; axis--) {
            at.input1 += p->input1_steps[axis];
            at.input2 += p->input2_steps[axis];
            if (++place[axis] < p->sizes[axis]) {
                break;
            }
            at.input1 -= p->sizes[axis] * p->input1_steps[axis];
            at.input2 -= p->sizes[axis] * p->input2_steps[axis];
            place[axis] = 0;
        }
    } while (axis >= 0);
}

void elearn_sum_s8(const elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    walk(p, inputs, outputs, sum_run);
}

void elearn_mul_s8(const elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    walk(p, inputs, outputs, mul_run);
}

void elearn_maximum_s8(const elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    walk(p, inputs, outputs, maximum_run);
}

void elearn_minimum_s8(const elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    walk(p, inputs, outputs, minimum_run);
}
