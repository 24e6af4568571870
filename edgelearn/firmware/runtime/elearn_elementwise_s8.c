/* ADD, SUB, MUL, MAXIMUM and MINIMUM of two int8 tensors with broadcasting. Portable. */
#include "elearn_elementwise_s8.h"

#include <stddef.h>

#include "elearn_lanes.h"
#include "elearn_math.h"

/* Headroom of the operands of ADD before their scales are brought together, as in the LiteRT reference kernel. */
#define LEFT_SHIFT 20
#define LAST (ELEARN_ELEMENTWISE_AXES - 1)

typedef struct {
    const ELEARN_FLASH int8_t *input1;
    const ELEARN_FLASH int8_t *input2;
    int8_t *output;
} places;

/* One run along the last axis. */
typedef void (*run)(const ELEARN_FLASH elearn_elementwise_params *p, places at);

static void sum_run(const ELEARN_FLASH elearn_elementwise_params *p, places at)
{
    for (int32_t i = 0; i < p->sizes[LAST]; i++) {
        const int32_t a = (*at.input1 - p->input1_zero_point) * ((int32_t)1 << LEFT_SHIFT);
        const int32_t b = (*at.input2 - p->input2_zero_point) * ((int32_t)1 << LEFT_SHIFT);
        int32_t sum = elearn_requantize_twice(a, p->input1_scale.multiplier, p->input1_scale.shift)
                      + elearn_requantize_twice(b, p->input2_scale.multiplier, p->input2_scale.shift);
        sum = elearn_requantize_twice(sum, p->output_scale.multiplier, p->output_scale.shift) + p->output_zero_point;
        *at.output++ = (int8_t)elearn_clamp(sum, p->output_min, p->output_max);
        at.input1 += p->input1_steps[LAST];
        at.input2 += p->input2_steps[LAST];
    }
}

/* What the inner loops below need: copies, as the compiler must take it that an int8 written may lie in the parameters. */
typedef struct {
    int32_t multiplier1;
    int32_t multiplier2;
    int32_t zero_point1;
    int32_t zero_point2;
    int32_t offset;
    int32_t right;
} form;

static inline int8_t folded_sum(form f, int32_t a, int32_t b)
{
    const int32_t sum = a * f.multiplier1 + b * f.multiplier2 + f.offset;
    return (int8_t)((int32_t)elearn_saturate_byte(sum >> f.right) - 128);
}

/* The rounding of elearn_requantize_twice where it shifts to the right: the sign makes halves go away from zero. */
static inline int8_t product(form f, int32_t a, int32_t b)
{
    const int32_t twice = 2 * ((a - f.zero_point1) * (b - f.zero_point2));
    return elearn_saturate8(elearn_multiply_rounded_add(twice, f.multiplier1, f.offset + (twice >> 31)) >> f.right);
}

/* Inlined in each place: its copies have the steps of the most frequent case as constants. */
static inline __attribute__((always_inline)) void form_run(form f, places at, int32_t count, int32_t step1,
                                                           int32_t step2, int8_t (*one)(form f, int32_t a, int32_t b))
{
    const int8_t *const end = at.output + count;
    while (at.output != end) {
        *at.output++ = one(f, *at.input1, *at.input2);
        at.input1 += step1;
        at.input2 += step2;
    }
}

static void sum_folded_run(const ELEARN_FLASH elearn_elementwise_params *p, places at)
{
    const form f = {
        .multiplier1 = p->input1_scale.multiplier,
        .multiplier2 = p->input2_scale.multiplier,
        .offset = p->output_scale.multiplier,
        .right = p->output_scale.shift,
    };
    if (p->input1_steps[LAST] && p->input2_steps[LAST]) {
        form_run(f, at, p->sizes[LAST], 1, 1, folded_sum);
    } else {
        form_run(f, at, p->sizes[LAST], p->input1_steps[LAST], p->input2_steps[LAST], folded_sum);
    }
}

static void mul_right_run(const ELEARN_FLASH elearn_elementwise_params *p, places at)
{
    const int32_t right = -p->output_scale.shift;
    const form f = {
        .multiplier1 = p->output_scale.multiplier,
        .zero_point1 = p->input1_zero_point,
        .zero_point2 = p->input2_zero_point,
        .offset = ((int32_t)1 << (right - 1)) + p->output_zero_point * ((int32_t)1 << right),
        .right = right,
    };
    if (p->input1_steps[LAST] && p->input2_steps[LAST]) {
        form_run(f, at, p->sizes[LAST], 1, 1, product);
    } else {
        form_run(f, at, p->sizes[LAST], p->input1_steps[LAST], p->input2_steps[LAST], product);
    }
}

static void mul_run(const ELEARN_FLASH elearn_elementwise_params *p, places at)
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

static void maximum_run(const ELEARN_FLASH elearn_elementwise_params *p, places at)
{
    for (int32_t i = 0; i < p->sizes[LAST]; i++) {
        *at.output++ = *at.input1 > *at.input2 ? *at.input1 : *at.input2;
        at.input1 += p->input1_steps[LAST];
        at.input2 += p->input2_steps[LAST];
    }
}

static void minimum_run(const ELEARN_FLASH elearn_elementwise_params *p, places at)
{
    for (int32_t i = 0; i < p->sizes[LAST]; i++) {
        *at.output++ = *at.input1 < *at.input2 ? *at.input1 : *at.input2;
        at.input1 += p->input1_steps[LAST];
        at.input2 += p->input2_steps[LAST];
    }
}

/* All runs in the order of the output. */
static void walk(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs, run one)
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

void elearn_sum_s8(const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    walk(p, inputs, outputs, sum_run);
}

static void walk_and_clamp(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs, run one)
{
    walk(p, inputs, outputs, one);
    if (p->output_min > -128 || p->output_max < 127) {
        int32_t count = 1;
        for (int32_t axis = 0; axis <= LAST; axis++) {
            count *= p->sizes[axis];
        }
        elearn_clamp_all(outputs[0], count, p->output_min, p->output_max);
    }
}

void elearn_sum_folded_s8(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    walk_and_clamp(p, inputs, outputs, sum_folded_run);
}

void elearn_mul_right_s8(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    walk_and_clamp(p, inputs, outputs, mul_right_run);
}

void elearn_mul_s8(const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    walk(p, inputs, outputs, mul_run);
}

void elearn_maximum_s8(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    walk(p, inputs, outputs, maximum_run);
}

void elearn_minimum_s8(
    const ELEARN_FLASH elearn_elementwise_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    walk(p, inputs, outputs, minimum_run);
}
