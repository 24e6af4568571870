/* Memory that the host may read or write by name. See elearn_regions.h; the names are those of edgelearn/protocol.py. */
#include "elearn_regions.h"

#include <string.h>

#include "elearn_bytes.h"
#include "elearn_model.h"
#include "elearn_protocol.h"

typedef struct {
    const ELEARN_FLASH uint8_t *bytes;
    uint8_t *writable; /* the same bytes where the host may write them, else NULL */
    uint32_t size;
} region;

static region readable(const ELEARN_FLASH void *bytes, uint32_t size)
{
    const region r = {bytes, NULL, size};
    return r;
}

#if ELEARN_TRAINABLE_COUNT
static region writable(void *bytes, uint32_t size)
{
    const region r = {bytes, bytes, size};
    return r;
}

static region find_head_region(uint32_t name, uint32_t index)
{
    const ELEARN_FLASH elearn_trainable *t = &elearn_the_model.trainable[index];
    const uint32_t features = (uint32_t)t->params->features;
    const uint32_t outputs = (uint32_t)t->params->outputs;
    switch (name) {
    case ELEARN_REGION_FEATURES:
        return readable(t->features, features);
    case ELEARN_REGION_LOGITS:
        return readable(t->state->logits, outputs * 4u);
    case ELEARN_REGION_PROBABILITIES:
        if (t->params->loss != ELEARN_LOSS_CROSS_ENTROPY) {
            break;
        }
        return readable(t->state->probabilities, outputs * 2u);
    case ELEARN_REGION_HEAD_WEIGHTS:
        return writable(t->state->weights, outputs * features * (uint32_t)sizeof *t->state->weights);
    case ELEARN_REGION_HEAD_BIAS:
        return writable(t->state->bias, outputs * 4u);
#if !ELEARN_HEAD_IS_FLOAT
#if ELEARN_HEAD_HAS_RESIDUAL
    case ELEARN_REGION_HEAD_RESIDUAL:
        return writable(t->state->residual, outputs * features);
#endif
    case ELEARN_REGION_HEAD_ROW_T:
        return writable(t->state->row_t, outputs);
    case ELEARN_REGION_HEAD_ROW_RHO:
        return writable(t->state->row_rho, outputs);
    case ELEARN_REGION_HEAD_ROW_M:
        return readable(t->params->row_m, outputs * 2u);
    case ELEARN_REGION_HEAD_ROW_R:
        return readable(t->params->row_r, outputs * 2u);
#endif
    default:
        break;
    }
    return readable(NULL, 0);
}
#endif

/* A region without bytes does not exist on this device. */
static region find_region(uint32_t name, uint32_t index)
{
    const ELEARN_FLASH elearn_model *m = &elearn_the_model;
    switch (name) {
    case ELEARN_REGION_LABELS:
#if ELEARN_LABEL_BYTES
        return readable(m->names, (uint32_t)m->trainable[0].params->outputs * ELEARN_LABEL_BYTES);
#else
        return readable(m->labels, m->labels_bytes);
#endif
    case ELEARN_REGION_BOARD:
        return readable(ELEARN_BOARD_NAME, (uint32_t)sizeof ELEARN_BOARD_NAME - 1u);
    case ELEARN_REGION_INTERFACE:
        return readable(m->interface, m->interface_bytes);
    case ELEARN_REGION_INPUT:
        if (index < ELEARN_INPUT_COUNT) {
            return readable(m->inputs[index].bytes, m->inputs[index].size_bytes);
        }
        break;
    case ELEARN_REGION_OUTPUT:
        if (index < ELEARN_OUTPUT_COUNT) {
            return readable(m->outputs[index].bytes, m->outputs[index].size_bytes);
        }
        break;
    default:
        break;
    }
#if ELEARN_TRAINABLE_COUNT
    if (index < ELEARN_TRAINABLE_COUNT) {
        return find_head_region(name, index);
    }
#else
    (void)index;
#endif
    return readable(NULL, 0);
}

uint32_t elearn_region_read(const uint8_t *payload, uint8_t *reply, uint32_t *reply_bytes)
{
    const uint32_t offset = elearn_get_u32(payload + ELEARN_READ_OFFSET);
    const region r = find_region(payload[ELEARN_READ_REGION], payload[ELEARN_READ_INDEX]);
    uint32_t length = elearn_get_u16(payload + ELEARN_READ_LENGTH);
    if (r.bytes == NULL || offset > r.size) {
        return ELEARN_STATUS_BAD_REGION;
    }
    if (length > r.size - offset) {
        length = r.size - offset;
    }
    if (length > ELEARN_MAX_REPLY_BYTES - ELEARN_READ_REPLY_BYTES) {
        length = ELEARN_MAX_REPLY_BYTES - ELEARN_READ_REPLY_BYTES;
    }
    reply[ELEARN_READ_REPLY_REGION] = payload[ELEARN_READ_REGION];
    reply[ELEARN_READ_REPLY_INDEX] = payload[ELEARN_READ_INDEX];
    elearn_put_u32(reply + ELEARN_READ_REPLY_OFFSET, offset);
    elearn_put_u32(reply + ELEARN_READ_REPLY_TOTAL_BYTES, r.size);
    elearn_copy_constant(reply + ELEARN_READ_REPLY_BYTES, r.bytes + offset, length);
    *reply_bytes = ELEARN_READ_REPLY_BYTES + length;
    return ELEARN_STATUS_OK;
}

uint32_t elearn_region_write(const uint8_t *payload, uint32_t size)
{
    const uint32_t offset = elearn_get_u32(payload + ELEARN_WRITE_OFFSET);
    const uint32_t length = size - ELEARN_WRITE_BYTES;
    const region r = find_region(payload[ELEARN_WRITE_REGION], payload[ELEARN_WRITE_INDEX]);
    if (r.bytes == NULL || offset > r.size || length > r.size - offset) {
        return ELEARN_STATUS_BAD_REGION;
    }
    if (r.writable == NULL) {
        return ELEARN_STATUS_READ_ONLY;
    }
#if ELEARN_TRAINABLE_COUNT && !ELEARN_HEAD_IS_FLOAT
    {
        const ELEARN_FLASH elearn_trainable *t = &elearn_the_model.trainable[payload[ELEARN_WRITE_INDEX]];
        const uint8_t *values = payload + ELEARN_WRITE_BYTES;
        const uint32_t name = payload[ELEARN_WRITE_REGION];
        if ((name == ELEARN_REGION_HEAD_ROW_T && !elearn_head_accepts_row_t(t->params, values, length))
            || (name == ELEARN_REGION_HEAD_ROW_RHO
                && !elearn_head_accepts_row_rho(t->params, t->state, values, length))) {
            return ELEARN_STATUS_BAD_VALUE;
        }
    }
#endif
    memcpy(r.writable + offset, payload + ELEARN_WRITE_BYTES, (size_t)length);
    return ELEARN_STATUS_OK;
}
