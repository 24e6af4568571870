/* Requests and replies. See elearn_link.h; the messages are those of edgelearn/protocol.py.
 *
 * A request that changes state is carried out once whatever the line does: sequence numbers of a session only grow,
 * the reply to the last such request is kept and sent again when the request is repeated, older ones are dropped. */
#include "elearn_link.h"

#include <stdbool.h>
#include <string.h>

#include "elearn_bytes.h"
#include "elearn_frame.h"
#include "elearn_model.h"
#include "elearn_port.h"
#include "elearn_protocol.h"

#define RECEIVE_BYTES (ELEARN_FRAME_HEADER_BYTES + ELEARN_MAX_PAYLOAD_BYTES + ELEARN_FRAME_CRC_BYTES)
#define REPLY_BYTES (ELEARN_FRAME_HEADER_BYTES + ELEARN_MAX_REPLY_BYTES + ELEARN_FRAME_CRC_BYTES)

#if ELEARN_ACK_BYTES > ELEARN_RESULT_BYTES
#error "kept_reply cannot hold every reply to a request that changes state"
#endif

#if ELEARN_HELLO_REPLY_BYTES > ELEARN_MAX_REPLY_BYTES || ELEARN_STATISTICS_REPLY_BYTES > ELEARN_MAX_REPLY_BYTES \
    || ELEARN_RESULT_BYTES > ELEARN_MAX_REPLY_BYTES || ELEARN_READ_REPLY_BYTES >= ELEARN_MAX_REPLY_BYTES
#error "reply_buffer cannot hold every reply"
#endif

static uint8_t receive_buffer[RECEIVE_BYTES];
static uint8_t reply_buffer[REPLY_BYTES];
static uint8_t *const reply = reply_buffer + ELEARN_FRAME_HEADER_BYTES;

/* Header and payload of the reply to the last request that changed state; RESULT is the longest such reply. */
static uint8_t kept_reply[ELEARN_FRAME_HEADER_BYTES + ELEARN_RESULT_BYTES];
static uint32_t kept_reply_bytes;
static uint32_t last_sequence;
static bool any_sequence;

static elearn_frame_decoder decoder;
static uint32_t session;
static uint32_t step;
static uint32_t frames;
static uint32_t repeats;

void elearn_link_init(void)
{
    elearn_frame_decoder_init(&decoder, receive_buffer, sizeof receive_buffer);
    session = 0;
    step = 0;
    frames = 0;
    repeats = 0;
    any_sequence = false;
#if ELEARN_TRAINABLE_COUNT
    for (uint32_t i = 0; i < ELEARN_TRAINABLE_COUNT; i++) {
        elearn_head_reset(elearn_the_model.trainable[i].params, elearn_the_model.trainable[i].state);
    }
#endif
}

static void send(uint8_t type, uint32_t sequence, uint32_t payload_bytes)
{
    reply_buffer[0] = type;
    elearn_put_u32(reply_buffer + 1, sequence);
    elearn_frame_send(reply_buffer, ELEARN_FRAME_HEADER_BYTES + payload_bytes, elearn_port_write);
}

static void acknowledge(uint32_t sequence, uint32_t status)
{
    reply[ELEARN_ACK_STATUS] = (uint8_t)status;
    send(ELEARN_MSG_ACK, sequence, ELEARN_ACK_BYTES);
}

/* Keep the reply that was just sent, for a repeat of its request. */
static void keep_reply(uint32_t sequence, uint32_t payload_bytes)
{
    kept_reply_bytes = ELEARN_FRAME_HEADER_BYTES + payload_bytes;
    memcpy(kept_reply, reply_buffer, kept_reply_bytes);
    last_sequence = sequence;
    any_sequence = true;
}

static void put_model(uint8_t *p)
{
    const elearn_model *m = &elearn_the_model;
    elearn_put_u32(p + ELEARN_HELLO_REPLY_MODEL_HASH_LOW, m->hash_low);
    elearn_put_u32(p + ELEARN_HELLO_REPLY_MODEL_HASH_HIGH, m->hash_high);
#if ELEARN_TRAINABLE_COUNT
    {
        const elearn_head_params *h = m->trainable[0].params;
        const elearn_head_state *s = m->trainable[0].state;
        elearn_put_u32(p + ELEARN_HELLO_REPLY_FEATURE_ELEMENTS, (uint32_t)h->features);
        elearn_put_f32(p + ELEARN_HELLO_REPLY_FEATURE_SCALE, h->feature_scale);
        p[ELEARN_HELLO_REPLY_FEATURE_ZERO_POINT] = (uint8_t)h->feature_zero_point;
        p[ELEARN_HELLO_REPLY_LOGIT_FRACTION_BITS] = h->logit_fraction_bits;
        p[ELEARN_HELLO_REPLY_ERROR_SHIFT] = h->error_shift;
        p[ELEARN_HELLO_REPLY_TARGET_SHIFT] = h->target_shift;
        p[ELEARN_HELLO_REPLY_LOSS] = h->loss;
        p[ELEARN_HELLO_REPLY_RESIDUAL] = ELEARN_RESIDUAL;
        elearn_put_u16(p + ELEARN_HELLO_REPLY_LEARNING_RATE_MANTISSA, s->learning_rate_mantissa);
        p[ELEARN_HELLO_REPLY_LEARNING_RATE_EXPONENT] = s->learning_rate_exponent;
    }
#endif
}

static void hello(uint32_t sequence, const uint8_t *payload)
{
    const uint32_t wanted = elearn_get_u32(payload + ELEARN_HELLO_SESSION);
    /* A host of another version gets our version and opens nothing. The hello that opened the session may arrive
     * twice: it must not make the device forget what it has applied. */
    if (elearn_get_u16(payload + ELEARN_HELLO_VERSION) == ELEARN_PROTOCOL_VERSION && wanted != session) {
        session = wanted;
        any_sequence = false;
    }
    memset(reply, 0, ELEARN_HELLO_REPLY_BYTES);
    elearn_put_u16(reply + ELEARN_HELLO_REPLY_VERSION, ELEARN_PROTOCOL_VERSION);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_SESSION, session);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_MAX_PAYLOAD_BYTES, ELEARN_MAX_PAYLOAD_BYTES);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_STEP, step);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_COUNTER_HZ, elearn_port_counter_hz());
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_STATIC_RAM_BYTES, elearn_port_static_ram_bytes());
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_STACK_SIZE_BYTES, elearn_port_stack_size_bytes());
    put_model(reply);
    send(ELEARN_MSG_HELLO_REPLY, sequence, ELEARN_HELLO_REPLY_BYTES);
}

#if ELEARN_TRAINABLE_COUNT
/* Whether the sample's label or targets are what the loss needs; a Status. */
static uint32_t check_judgement(const elearn_head_params *h, uint32_t flags, uint32_t label)
{
    if ((flags & ELEARN_SAMPLE_HAS_LABEL) && label >= (uint32_t)h->outputs) {
        return ELEARN_STATUS_BAD_LABEL;
    }
    if ((flags & ELEARN_SAMPLE_TARGET_IS_INPUT) && h->input_target_mantissa == 0) {
        return ELEARN_STATUS_BAD_TARGET;
    }
    if (flags & ELEARN_SAMPLE_TRAIN) {
        const uint32_t needed = h->loss == ELEARN_LOSS_CROSS_ENTROPY
                                    ? ELEARN_SAMPLE_HAS_LABEL
                                    : ELEARN_SAMPLE_HAS_TARGETS | ELEARN_SAMPLE_TARGET_IS_INPUT;
        if (!(flags & needed)) {
            return h->loss == ELEARN_LOSS_CROSS_ENTROPY ? ELEARN_STATUS_BAD_LABEL : ELEARN_STATUS_BAD_TARGET;
        }
    }
    return ELEARN_STATUS_OK;
}
#endif

#if !ELEARN_TRAINABLE_COUNT
/* What the model says: the number of the first output's largest element, or where it gives one integer, that. */
static uint32_t prediction(void)
{
    const ELEARN_PREDICTION_TYPE *values = elearn_the_model.outputs[0].bytes;
    uint32_t largest = 0;
#if ELEARN_PREDICTION_IS_NUMBER
    largest = (uint32_t)values[0];
#else
    for (uint32_t i = 1; i < ELEARN_PREDICTION_ELEMENTS; i++) {
        if (values[i] > values[largest]) {
            largest = i;
        }
    }
#endif
    return largest;
}
#endif

/* Test, then train. Fills the RESULT in `reply`; a Status. */
static uint32_t sample(const uint8_t *payload, uint32_t size)
{
    const elearn_model *m = &elearn_the_model;
    const uint32_t flags = payload[ELEARN_SAMPLE_FLAGS];
    const uint32_t label = elearn_get_u16(payload + ELEARN_SAMPLE_LABEL);
    const uint8_t *bytes = payload + ELEARN_SAMPLE_BYTES;
    uint32_t expected = ELEARN_SAMPLE_BYTES + ELEARN_INPUT_BYTES;
    elearn_head_result result = {0, 0, 0, 0};
    uint32_t start;
    uint32_t inference_ticks;
    uint32_t train_ticks = 0;

#if ELEARN_TRAINABLE_COUNT
    if (flags & ELEARN_SAMPLE_HAS_TARGETS) {
        expected += 2u * (uint32_t)m->trainable[0].params->outputs;
    }
#endif
    if (size != expected) {
        return ELEARN_STATUS_BAD_LENGTH;
    }
    for (uint32_t i = 0; i < ELEARN_INPUT_COUNT; i++) {
        memcpy(m->inputs[i].bytes, bytes, m->inputs[i].size_bytes);
        bytes += m->inputs[i].size_bytes;
    }
#if ELEARN_TRAINABLE_COUNT
    {
        const elearn_trainable *t = &m->trainable[0];
        const uint32_t status = check_judgement(t->params, flags, label);
        elearn_head_targets targets;
        targets.targets = flags & ELEARN_SAMPLE_HAS_TARGETS ? bytes : NULL;
        targets.input = m->inputs[0].bytes;
        if (status != ELEARN_STATUS_OK) {
            return status;
        }
        start = elearn_port_ticks();
        elearn_model_run();
        elearn_head_forward(t->params, t->state, t->features, &result);
        inference_ticks = elearn_port_ticks() - start;
        if (t->params->loss == ELEARN_LOSS_CROSS_ENTROPY
                ? flags & ELEARN_SAMPLE_HAS_LABEL
                : flags & (ELEARN_SAMPLE_HAS_TARGETS | ELEARN_SAMPLE_TARGET_IS_INPUT)) {
            elearn_head_loss(t->params, t->state, (uint16_t)label, targets, &result);
        }
        if (flags & ELEARN_SAMPLE_TRAIN) {
            start = elearn_port_ticks();
            elearn_head_learn(t->params, t->state, t->features, (uint16_t)label, targets);
            train_ticks = elearn_port_ticks() - start;
            step++;
        }
    }
#else
    (void)label;
    if (flags & ELEARN_SAMPLE_TRAIN) {
        return ELEARN_STATUS_NOT_TRAINABLE;
    }
    start = elearn_port_ticks();
    elearn_model_run();
    inference_ticks = elearn_port_ticks() - start;
    result.prediction = (uint16_t)prediction();
#endif
    elearn_put_u16(reply + ELEARN_RESULT_PREDICTION, result.prediction);
    elearn_put_u16(reply + ELEARN_RESULT_CONFIDENCE, result.confidence);
    elearn_put_u32(reply + ELEARN_RESULT_LOSS_A, result.loss_a);
    elearn_put_u32(reply + ELEARN_RESULT_LOSS_B, result.loss_b);
    elearn_put_u32(reply + ELEARN_RESULT_STEP, step);
    elearn_put_u32(reply + ELEARN_RESULT_INFERENCE_TICKS, inference_ticks);
    elearn_put_u32(reply + ELEARN_RESULT_TRAIN_TICKS, train_ticks);
    elearn_put_u32(reply + ELEARN_RESULT_STACK_BYTES, elearn_port_stack_bytes());
    return ELEARN_STATUS_OK;
}

typedef struct {
    const uint8_t *bytes;
    uint8_t *writable; /* the same bytes where the host may write them, else NULL */
    uint32_t size;
} region;

static region readable(const void *bytes, uint32_t size)
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
    const elearn_trainable *t = &elearn_the_model.trainable[index];
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
    const elearn_model *m = &elearn_the_model;
    switch (name) {
    case ELEARN_REGION_LABELS:
        return readable(m->labels, m->labels_bytes);
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

static void read_region(uint32_t sequence, const uint8_t *payload)
{
    const uint32_t offset = elearn_get_u32(payload + ELEARN_READ_OFFSET);
    const region r = find_region(payload[ELEARN_READ_REGION], payload[ELEARN_READ_INDEX]);
    uint32_t length = elearn_get_u16(payload + ELEARN_READ_LENGTH);
    if (r.bytes == NULL || offset > r.size) {
        acknowledge(sequence, ELEARN_STATUS_BAD_REGION);
        return;
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
    memcpy(reply + ELEARN_READ_REPLY_BYTES, r.bytes + offset, length);
    send(ELEARN_MSG_READ_REPLY, sequence, ELEARN_READ_REPLY_BYTES + length);
}

static uint32_t write_region(const uint8_t *payload, uint32_t size)
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
        const elearn_trainable *t = &elearn_the_model.trainable[payload[ELEARN_WRITE_INDEX]];
        const uint8_t *values = payload + ELEARN_WRITE_BYTES;
        const uint32_t name = payload[ELEARN_WRITE_REGION];
        if ((name == ELEARN_REGION_HEAD_ROW_T && !elearn_head_accepts_row_t(t->params, values, length))
            || (name == ELEARN_REGION_HEAD_ROW_RHO
                && !elearn_head_accepts_row_rho(t->params, t->state, values, length))) {
            return ELEARN_STATUS_BAD_VALUE;
        }
    }
#endif
    memcpy(r.writable + offset, payload + ELEARN_WRITE_BYTES, length);
    return ELEARN_STATUS_OK;
}

static void statistics(uint32_t sequence)
{
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_STEP, step);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_FRAMES, frames);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_CRC_ERRORS, decoder.crc_errors);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_FRAMING_ERRORS, decoder.framing_errors);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_REPEATS, repeats);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_OVERRUNS, elearn_port_overruns());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_RING_BYTES, elearn_port_ring_bytes());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_STACK_BYTES, elearn_port_stack_bytes());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_STATIC_RAM_BYTES, elearn_port_static_ram_bytes());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_STACK_SIZE_BYTES, elearn_port_stack_size_bytes());
    send(ELEARN_MSG_STATISTICS_REPLY, sequence, ELEARN_STATISTICS_REPLY_BYTES);
}

/* Set the learning rate of every trainable layer, or of none; a Status. */
static uint32_t set_learning_rate(const uint8_t *payload)
{
#if ELEARN_TRAINABLE_COUNT
    const uint16_t mantissa = (uint16_t)elearn_get_u16(payload + ELEARN_SET_LEARNING_RATE_MANTISSA);
    const uint8_t exponent = payload[ELEARN_SET_LEARNING_RATE_EXPONENT];
    for (uint32_t i = 0; i < ELEARN_TRAINABLE_COUNT; i++) {
        const elearn_trainable *t = &elearn_the_model.trainable[i];
        if (!elearn_head_set_learning_rate(t->params, t->state, mantissa, exponent)) {
            return ELEARN_STATUS_LEARNING_RATE;
        }
    }
    return ELEARN_STATUS_OK;
#else
    (void)payload;
    return ELEARN_STATUS_NOT_TRAINABLE;
#endif
}

/* The learned weights are forgotten; the learning rate that the host set stays, unless only rescaled rows could take it:
 * then it is the model's own again. */
static uint32_t reset_head(void)
{
#if ELEARN_TRAINABLE_COUNT
    for (uint32_t i = 0; i < ELEARN_TRAINABLE_COUNT; i++) {
        const elearn_trainable *t = &elearn_the_model.trainable[i];
        const uint16_t mantissa = t->state->learning_rate_mantissa;
        const uint8_t exponent = t->state->learning_rate_exponent;
        elearn_head_reset(t->params, t->state);
        (void)elearn_head_set_learning_rate(t->params, t->state, mantissa, exponent);
    }
    step = 0;
    return ELEARN_STATUS_OK;
#else
    return ELEARN_STATUS_NOT_TRAINABLE;
#endif
}

/* Requests that change state: carried out once, answered as often as asked. */
static void change(uint32_t type, uint32_t sequence, const uint8_t *payload, uint32_t size)
{
    uint32_t status = ELEARN_STATUS_UNKNOWN_TYPE;
    if (any_sequence && sequence <= last_sequence) {
        repeats++;
        if (sequence == last_sequence) {
            memcpy(reply_buffer, kept_reply, kept_reply_bytes);
            elearn_frame_send(reply_buffer, kept_reply_bytes, elearn_port_write);
        }
        return;
    }
    switch (type) {
    case ELEARN_MSG_SAMPLE:
        status = sample(payload, size);
        if (status == ELEARN_STATUS_OK) {
            send(ELEARN_MSG_RESULT, sequence, ELEARN_RESULT_BYTES);
            keep_reply(sequence, ELEARN_RESULT_BYTES);
            return;
        }
        break;
    case ELEARN_MSG_WRITE:
        status = write_region(payload, size);
        break;
    case ELEARN_MSG_RESET_HEAD:
        status = reset_head();
        break;
    case ELEARN_MSG_SET_LEARNING_RATE:
        status = set_learning_rate(payload);
        break;
    default:
        break;
    }
    acknowledge(sequence, status);
    keep_reply(sequence, ELEARN_ACK_BYTES);
}

/* Bytes of the fixed part of a request; larger than any payload for a type that is no request. */
static uint32_t smallest_payload(uint32_t type)
{
    switch (type) {
    case ELEARN_MSG_HELLO:
        return ELEARN_HELLO_BYTES;
    case ELEARN_MSG_SAMPLE:
        return ELEARN_SAMPLE_BYTES;
    case ELEARN_MSG_READ:
        return ELEARN_READ_BYTES;
    case ELEARN_MSG_WRITE:
        return ELEARN_WRITE_BYTES;
    case ELEARN_MSG_SET_LEARNING_RATE:
        return ELEARN_SET_LEARNING_RATE_BYTES;
    case ELEARN_MSG_RESET_HEAD:
    case ELEARN_MSG_STATISTICS:
        return 0;
    default:
        return UINT32_MAX;
    }
}

static void dispatch(const uint8_t *frame, uint32_t frame_bytes)
{
    const uint32_t type = frame[0];
    const uint32_t sequence = elearn_get_u32(frame + 1);
    const uint8_t *payload = frame + ELEARN_FRAME_HEADER_BYTES;
    const uint32_t size = frame_bytes - ELEARN_FRAME_HEADER_BYTES;
    const uint32_t smallest = smallest_payload(type);

    frames++;
    if (smallest == UINT32_MAX) {
        acknowledge(sequence, ELEARN_STATUS_UNKNOWN_TYPE);
    } else if (size < smallest) {
        acknowledge(sequence, ELEARN_STATUS_BAD_LENGTH);
    } else if (type == ELEARN_MSG_HELLO) {
        hello(sequence, payload);
    } else if (session == 0) {
        acknowledge(sequence, ELEARN_STATUS_NO_SESSION);
    } else if (type == ELEARN_MSG_READ) {
        read_region(sequence, payload);
    } else if (type == ELEARN_MSG_STATISTICS) {
        statistics(sequence);
    } else {
        change(type, sequence, payload, size);
    }
}

void elearn_link_receive(const uint8_t *bytes, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        if (elearn_frame_decoder_take(&decoder, bytes[i])) {
            dispatch(receive_buffer, decoder.size_bytes);
        }
    }
}
