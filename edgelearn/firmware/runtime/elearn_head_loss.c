/* Targets, gradient and loss of the trainable layer, from its fixed-point logits. See elearn_head.h. */
#include "elearn_bytes.h"
#include "elearn_head.h"
#include "elearn_math.h"

int32_t elearn_head_target(const ELEARN_FLASH elearn_head_params *p, int32_t row, elearn_head_targets targets)
{
    int32_t product;
    if (targets.targets != NULL) {
        const int32_t target = (int32_t)(elearn_get_u16(targets.targets + 2 * row) ^ 0x8000u) - 0x8000;
        return target * ((int32_t)1 << p->target_shift);
    }
    product = (int32_t)(targets.input[row] - p->input_zero_point) * p->input_target_mantissa;
    return p->input_target_shift >= 0 ? elearn_round_shift(product, p->input_target_shift)
                                      : product * ((int32_t)1 << -p->input_target_shift);
}

int32_t elearn_head_gradient(
    const ELEARN_FLASH elearn_head_params *p, const elearn_head_state *s, int32_t row, uint16_t label,
    elearn_head_targets targets)
{
    int32_t g;
    if (p->loss == ELEARN_LOSS_CROSS_ENTROPY) {
        g = (int32_t)s->probabilities[row] - (row == label ? 32768 : 0);
    } else {
        g = elearn_round_shift(s->logits[row] - elearn_head_target(p, row, targets), p->error_shift);
    }
    return elearn_clamp(g, -32767, 32767);
}

void elearn_head_loss(
    const ELEARN_FLASH elearn_head_params *p,
    const elearn_head_state *s,
    uint16_t label,
    elearn_head_targets targets,
    elearn_head_result *result)
{
    if (p->loss == ELEARN_LOSS_CROSS_ENTROPY) {
        result->loss_a = (uint32_t)s->logits[result->prediction] - (uint32_t)s->logits[label];
        return;
    }
    for (int32_t row = 0; row < p->outputs; row++) {
        const int32_t g = elearn_head_gradient(p, s, row, label, targets);
        const uint32_t square = (uint32_t)(g * g);
        result->loss_a += square >> 16;
        result->loss_b += square & 0xFFFFu;
    }
}
