/* Requests and replies. See elearn_link.h; the messages are those of edgelearn/protocol.py.
 *
 * A request that changes state is carried out once and in its turn, whatever the line does: only the one with the next
 * sequence number is, the replies to the last few are kept and sent again when a request is repeated, and a gap is
 * answered with NAK. */
#include "elearn_link.h"

#include <stdbool.h>
#include <string.h>

#include "elearn_bytes.h"
#include "elearn_frame.h"
#include "elearn_model.h"
#include "elearn_port.h"
#include "elearn_protocol.h"
#include "elearn_regions.h"
#include "elearn_sample.h"
#include "elearn_state.h"

#if ELEARN_SENSOR
#include "elearn_sensing.h"
#endif

#define RECEIVE_BYTES (ELEARN_FRAME_HEADER_BYTES + ELEARN_MAX_PAYLOAD_BYTES + ELEARN_FRAME_CRC_BYTES)
#define REPLY_BYTES (ELEARN_FRAME_HEADER_BYTES + ELEARN_MAX_REPLY_BYTES + ELEARN_FRAME_CRC_BYTES)

#if ELEARN_WINDOW & (ELEARN_WINDOW - 1u)
#error "ELEARN_WINDOW must be a power of two, for sequence numbers wrap around at one"
#endif

#if ELEARN_ACK_BYTES > ELEARN_RESULT_BYTES
#error "kept_replies cannot hold every reply to a request that changes state"
#endif

#if ELEARN_HELLO_REPLY_BYTES > ELEARN_MAX_REPLY_BYTES || ELEARN_STATISTICS_REPLY_BYTES > ELEARN_MAX_REPLY_BYTES \
    || ELEARN_SENSOR_EVENT_BYTES > ELEARN_MAX_REPLY_BYTES || ELEARN_READ_REPLY_BYTES >= ELEARN_MAX_REPLY_BYTES
#error "reply_buffer cannot hold every reply"
#endif

static uint8_t receive_buffer[RECEIVE_BYTES];
static uint8_t reply_buffer[REPLY_BYTES];
static uint8_t *const reply = reply_buffer + ELEARN_FRAME_HEADER_BYTES;

/* Header and payload of the replies to the last requests that changed state, each at its sequence number modulo
 * ELEARN_WINDOW; RESULT is the longest such reply. */
static uint8_t kept_replies[ELEARN_WINDOW][ELEARN_FRAME_HEADER_BYTES + ELEARN_RESULT_BYTES];
static uint32_t kept_count;

static elearn_frame_decoder decoder;
static uint32_t session_before; /* a late copy of its hello must not open it again */
static uint32_t frames;
static uint32_t repeats;
static uint32_t gaps;
#if ELEARN_SENSOR
static uint32_t events;
static uint32_t untold;
#endif

void elearn_link_init(void)
{
    elearn_frame_decoder_init(&decoder, receive_buffer, sizeof receive_buffer);
    session_before = 0;
    kept_count = 0;
    frames = 0;
    repeats = 0;
    gaps = 0;
#if ELEARN_SENSOR
    events = 0;
    untold = 0;
#endif
    elearn_state_init();
#if ELEARN_SENSOR
    elearn_sensing_init();
#endif
}

static void send(uint8_t type, uint32_t sequence, uint32_t fixed_bytes, uint32_t tail_bytes)
{
    reply_buffer[0] = type;
    reply_buffer[1] = (uint8_t)fixed_bytes;
    elearn_put_u32(reply_buffer + 2, sequence);
    elearn_frame_send(reply_buffer, ELEARN_FRAME_HEADER_BYTES + fixed_bytes + tail_bytes, elearn_port_write);
}

static void acknowledge(uint32_t sequence, uint32_t status)
{
    reply[ELEARN_ACK_STATUS] = (uint8_t)status;
    send(ELEARN_MSG_ACK, sequence, ELEARN_ACK_BYTES, 0);
}

static void put_start(uint8_t *p)
{
    const elearn_port_start *start = elearn_port_last_start();
    p[ELEARN_HELLO_REPLY_RESET_CAUSE] = start->cause;
    p[ELEARN_HELLO_REPLY_FAULT] = start->fault;
    elearn_put_u32(p + ELEARN_HELLO_REPLY_FAULT_PC, start->pc);
    elearn_put_u32(p + ELEARN_HELLO_REPLY_FAULT_LR, start->lr);
    elearn_put_u32(p + ELEARN_HELLO_REPLY_FAULT_STATUS, start->status);
    elearn_put_u32(p + ELEARN_HELLO_REPLY_FAULT_HARD, start->hard);
    elearn_put_u32(p + ELEARN_HELLO_REPLY_FAULT_ADDRESS, start->address);
}

static void put_model(uint8_t *p)
{
    const ELEARN_FLASH elearn_model *m = &elearn_the_model;
    elearn_put_u32(p + ELEARN_HELLO_REPLY_MODEL_HASH_LOW, m->hash_low);
    elearn_put_u32(p + ELEARN_HELLO_REPLY_MODEL_HASH_HIGH, m->hash_high);
#if ELEARN_TRAINABLE_COUNT
    {
        const ELEARN_FLASH elearn_head_params *h = m->trainable[0].params;
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

/* A session's hello may arrive again, late, when that session is no more: it must not be opened again. */
static bool is_over(uint32_t wanted)
{
    return wanted == 0 || wanted == session_before || wanted == elearn_state_saved()->session;
}

static void hello(uint32_t sequence, const uint8_t *payload)
{
    const uint32_t wanted = elearn_get_u32(payload + ELEARN_HELLO_SESSION);
    /* A host of another version gets our version and opens nothing. The hello that opened the session may arrive
     * twice: it must not make the device forget what it has applied. */
    if (elearn_get_u16(payload + ELEARN_HELLO_VERSION) == ELEARN_PROTOCOL_VERSION && wanted != elearn_the_state.session
        && !payload[ELEARN_HELLO_RESUME] && !is_over(wanted)) {
        session_before = elearn_the_state.session;
        elearn_the_state.session = wanted;
        elearn_the_state.next_sequence = elearn_get_u32(payload + ELEARN_HELLO_FIRST_SEQUENCE) & ~ELEARN_READING;
        kept_count = 0;
    }
    memset(reply, 0, ELEARN_HELLO_REPLY_BYTES);
    elearn_put_u16(reply + ELEARN_HELLO_REPLY_VERSION, ELEARN_PROTOCOL_VERSION);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_SESSION, elearn_the_state.session);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_MAX_PAYLOAD_BYTES, ELEARN_MAX_PAYLOAD_BYTES);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_STEP, elearn_the_state.step);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_COUNTER_HZ, elearn_port_counter_hz());
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_STATIC_RAM_BYTES, elearn_port_static_ram_bytes());
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_STACK_SIZE_BYTES, elearn_port_stack_size_bytes());
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_BOOT, elearn_the_state.boot);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_NEXT_SEQUENCE, elearn_the_state.next_sequence);
    reply[ELEARN_HELLO_REPLY_WINDOW] = ELEARN_WINDOW;
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_RECEIVE_BYTES, ELEARN_RING_BYTES);
    elearn_put_u16(reply + ELEARN_HELLO_REPLY_CLASSES, elearn_the_state.classes);
    reply[ELEARN_HELLO_REPLY_LABEL_BYTES] = ELEARN_LABEL_BYTES;
    reply[ELEARN_HELLO_REPLY_CAN_SAVE] = ELEARN_SAVES;
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_SAVES, elearn_state_saves());
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_SAVED_STEP, elearn_state_saved()->step);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_SAVED_SESSION, elearn_state_saved()->session);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_SAVED_SEQUENCE, elearn_state_saved()->next_sequence);
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_AUTOSAVE_STEPS, elearn_the_state.autosave_steps);
    reply[ELEARN_HELLO_REPLY_HAS_SENSOR] = ELEARN_SENSOR;
    reply[ELEARN_HELLO_REPLY_SENSOR_RUNS] = elearn_the_state.sensor.runs;
    elearn_put_u32(reply + ELEARN_HELLO_REPLY_MULTIPLY_ACCUMULATES, ELEARN_MULTIPLY_ACCUMULATES);
    put_start(reply);
    put_model(reply);
    send(ELEARN_MSG_HELLO_REPLY, sequence, ELEARN_HELLO_REPLY_BYTES, 0);
}

/* The host leaves: the session that it names is over, and nobody is told anything any more. */
static void goodbye(uint32_t sequence, const uint8_t *payload)
{
    if (elearn_get_u32(payload + ELEARN_GOODBYE_SESSION) == elearn_the_state.session) {
        session_before = elearn_the_state.session;
        elearn_the_state.session = 0;
    }
    acknowledge(sequence, ELEARN_STATUS_OK);
}

static void statistics(uint32_t sequence)
{
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_STEP, elearn_the_state.step);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_FRAMES, frames);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_CRC_ERRORS, decoder.crc_errors);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_FRAMING_ERRORS, decoder.framing_errors);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_REPEATS, repeats);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_GAPS, gaps);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_OVERRUNS, elearn_port_overruns());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_RING_BYTES, elearn_port_ring_bytes());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_STACK_BYTES, elearn_port_stack_bytes());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_STATIC_RAM_BYTES, elearn_port_static_ram_bytes());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_STACK_SIZE_BYTES, elearn_port_stack_size_bytes());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_INFERENCE_STACK_BYTES, elearn_sample_inference_stack_bytes());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_TRAIN_STACK_BYTES, elearn_sample_train_stack_bytes());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_SAVE_STACK_BYTES, elearn_state_save_stack_bytes());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_SAVES, elearn_state_saves());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_SAVED_STEP, elearn_state_saved()->step);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_FAILED_SAVES, elearn_state_failed_saves());
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_SENSOR_SAMPLES, elearn_the_state.sensor.samples);
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_SENSOR_LEARNED, elearn_the_state.sensor.learned);
#if ELEARN_SENSOR
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_SENSOR_UNTOLD, untold);
#else
    elearn_put_u32(reply + ELEARN_STATISTICS_REPLY_SENSOR_UNTOLD, 0);
#endif
    /* What follows is of a heap, and there is none: a reply may end before its optional fields. */
    send(ELEARN_MSG_STATISTICS_REPLY, sequence, ELEARN_STATISTICS_REPLY_HEAP_FREE_BYTES, 0);
}

/* Set the learning rate of every trainable layer, or of none; a Status. */
static uint32_t set_learning_rate(const uint8_t *payload)
{
#if ELEARN_TRAINABLE_COUNT
    const uint16_t mantissa = (uint16_t)elearn_get_u16(payload + ELEARN_SET_LEARNING_RATE_MANTISSA);
    const uint8_t exponent = payload[ELEARN_SET_LEARNING_RATE_EXPONENT];
    for (uint32_t i = 0; i < ELEARN_TRAINABLE_COUNT; i++) {
        const ELEARN_FLASH elearn_trainable *t = &elearn_the_model.trainable[i];
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

/* The learned weights are forgotten, here and not in what was saved. */
static uint32_t reset_head(void)
{
#if ELEARN_TRAINABLE_COUNT
    elearn_state_reset();
    return ELEARN_STATUS_OK;
#else
    return ELEARN_STATUS_NOT_TRAINABLE;
#endif
}

static uint32_t set_autosave(const uint8_t *payload)
{
#if !ELEARN_TRAINABLE_COUNT
    (void)payload;
    return ELEARN_STATUS_NOT_TRAINABLE;
#elif !ELEARN_SAVES
    (void)payload;
    return ELEARN_STATUS_NO_STORE;
#else
    elearn_the_state.autosave_steps = elearn_get_u32(payload + ELEARN_SET_AUTOSAVE_STEPS);
    return ELEARN_STATUS_OK;
#endif
}

static uint32_t set_sensor(const uint8_t *payload)
{
#if ELEARN_SENSOR
    return elearn_sensing_set(payload);
#else
    (void)payload;
    return ELEARN_STATUS_NO_SENSOR;
#endif
}

/* Bytes of the fixed part of a request; UINT32_MAX for a type that is no request. */
static uint32_t fixed_part(uint32_t type)
{
    switch (type) {
    case ELEARN_MSG_HELLO:
        return ELEARN_HELLO_BYTES;
    case ELEARN_MSG_SAMPLE:
        return ELEARN_SAMPLE_BYTES;
    case ELEARN_MSG_SAMPLE_PART:
        return ELEARN_SAMPLE_PART_BYTES;
    case ELEARN_MSG_READ:
        return ELEARN_READ_BYTES;
    case ELEARN_MSG_WRITE:
        return ELEARN_WRITE_BYTES;
    case ELEARN_MSG_SET_LEARNING_RATE:
        return ELEARN_SET_LEARNING_RATE_BYTES;
    case ELEARN_MSG_SET_AUTOSAVE:
        return ELEARN_SET_AUTOSAVE_BYTES;
    case ELEARN_MSG_SET_CLASS:
        return ELEARN_SET_CLASS_BYTES;
    case ELEARN_MSG_SET_SENSOR:
        return ELEARN_SET_SENSOR_BYTES;
    case ELEARN_MSG_GOODBYE:
        return ELEARN_GOODBYE_BYTES;
    case ELEARN_MSG_RESET_HEAD:
    case ELEARN_MSG_STATISTICS:
    case ELEARN_MSG_SAVE:
    case ELEARN_MSG_FORGET:
        return 0;
    default:
        return UINT32_MAX;
    }
}

/* Carry out a request that changes state; a Status, and for SAMPLE the RESULT in `reply`. */
static uint32_t carry_out(uint32_t type, const uint8_t *payload, uint32_t size)
{
    switch (type) {
    case ELEARN_MSG_SAMPLE:
        return elearn_sample(payload, size, reply);
    case ELEARN_MSG_SAMPLE_PART:
        return elearn_sample_part(payload, size);
    case ELEARN_MSG_WRITE:
        return elearn_region_write(payload, size);
    case ELEARN_MSG_RESET_HEAD:
        return reset_head();
    case ELEARN_MSG_SET_LEARNING_RATE:
        return set_learning_rate(payload);
    case ELEARN_MSG_SAVE:
        return elearn_state_save();
    case ELEARN_MSG_FORGET:
        return elearn_state_forget();
    case ELEARN_MSG_SET_AUTOSAVE:
        return set_autosave(payload);
    case ELEARN_MSG_SET_CLASS:
        return elearn_state_set_class(
            elearn_get_u16(payload + ELEARN_SET_CLASS_INDEX),
            payload + ELEARN_SET_CLASS_BYTES,
            size - ELEARN_SET_CLASS_BYTES);
    case ELEARN_MSG_SET_SENSOR:
        return set_sensor(payload);
    default:
        return ELEARN_STATUS_UNKNOWN_TYPE;
    }
}

/* Any request whose number says that it changes state: carried out in its turn, answered as often as asked. */
static void change(uint32_t type, uint32_t sequence, const uint8_t *payload, uint32_t fixed, uint32_t size)
{
    /* Numbers have 31 bits; the upper half of the differences are requests that come too early. */
    const uint32_t behind = (elearn_the_state.next_sequence - sequence) & ~ELEARN_READING;
    uint8_t *kept = kept_replies[sequence % ELEARN_WINDOW];
    uint32_t status = ELEARN_STATUS_BAD_LENGTH;
    if (behind != 0 && behind <= kept_count) {
        repeats++;
        memcpy(reply_buffer, kept, (size_t)(ELEARN_FRAME_HEADER_BYTES + kept[1]));
        elearn_frame_send(reply_buffer, ELEARN_FRAME_HEADER_BYTES + kept[1], elearn_port_write);
        return;
    }
    if (behind != 0 && behind < ELEARN_READING / 2u) {
        repeats++; /* so old that nobody waits for it */
        return;
    }
    if (behind != 0) {
        gaps++;
        elearn_put_u32(reply + ELEARN_NAK_EXPECTED, elearn_the_state.next_sequence);
        send(ELEARN_MSG_NAK, sequence, ELEARN_NAK_BYTES, 0);
        return;
    }
    if (fixed <= size) {
        status = carry_out(type, payload, size);
    }
    if (type == ELEARN_MSG_SAMPLE && status == ELEARN_STATUS_OK) {
        send(ELEARN_MSG_RESULT, sequence, ELEARN_RESULT_BYTES, 0);
    } else {
        acknowledge(sequence, status);
    }
    memcpy(kept, reply_buffer, (size_t)(ELEARN_FRAME_HEADER_BYTES + reply_buffer[1]));
    elearn_the_state.next_sequence = (elearn_the_state.next_sequence + 1u) & ~ELEARN_READING;
    if (kept_count < ELEARN_WINDOW) {
        kept_count++;
    }
    elearn_state_autosave();
}

static void read(uint32_t type, uint32_t sequence, const uint8_t *payload, uint32_t fixed, uint32_t size)
{
    uint32_t reply_bytes = 0;
    if (fixed == UINT32_MAX) {
        acknowledge(sequence, ELEARN_STATUS_UNKNOWN_TYPE);
    } else if (size < fixed) {
        acknowledge(sequence, ELEARN_STATUS_BAD_LENGTH);
    } else if (type == ELEARN_MSG_HELLO) {
        hello(sequence, payload);
    } else if (elearn_the_state.session == 0) {
        acknowledge(sequence, ELEARN_STATUS_NO_SESSION);
    } else if (type == ELEARN_MSG_GOODBYE) {
        goodbye(sequence, payload);
    } else if (type == ELEARN_MSG_STATISTICS) {
        statistics(sequence);
    } else if (type != ELEARN_MSG_READ) {
        acknowledge(sequence, ELEARN_STATUS_UNKNOWN_TYPE);
    } else {
        const uint32_t status = elearn_region_read(payload, reply, &reply_bytes);
        if (status == ELEARN_STATUS_OK) {
            send(ELEARN_MSG_READ_REPLY, sequence, ELEARN_READ_REPLY_BYTES, reply_bytes - ELEARN_READ_REPLY_BYTES);
        } else {
            acknowledge(sequence, status);
        }
    }
}

static void dispatch(uint8_t *frame, uint32_t frame_bytes)
{
    const uint32_t type = frame[0];
    const uint32_t sent_fixed = frame[1];
    const uint32_t sequence = elearn_get_u32(frame + 2);
    uint8_t *payload = frame + ELEARN_FRAME_HEADER_BYTES;
    uint32_t size = frame_bytes - ELEARN_FRAME_HEADER_BYTES;
    const uint32_t fixed = fixed_part(type);

    if (sent_fixed > size) {
        decoder.framing_errors++;
        return;
    }
    frames++;
    if (fixed != UINT32_MAX && sent_fixed < fixed) {
        size = 0; /* what is missing must not be filled up from the tail */
    } else if (fixed != UINT32_MAX && sent_fixed > fixed) {
        /* fields of a later version, before the tail */
        memmove(payload + fixed, payload + sent_fixed, (size_t)(size - sent_fixed));
        size -= sent_fixed - fixed;
    }
    if (sequence & ELEARN_READING) {
        read(type, sequence, payload, fixed, size);
    } else if (elearn_the_state.session == 0) {
        acknowledge(sequence, ELEARN_STATUS_NO_SESSION);
    } else {
        change(type, sequence, payload, fixed == UINT32_MAX ? 0 : fixed, size);
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

#if ELEARN_SENSOR
/* Send the SENSOR_EVENT in `reply`, unless that would keep the device from learning: who reads nothing misses some. */
static void tell(void)
{
    events = (events + 1u) & ~ELEARN_READING;
    if (!elearn_port_can_write()) {
        untold++;
        return;
    }
    elearn_put_u32(reply + ELEARN_SENSOR_EVENT_SESSION, elearn_the_state.session);
    send(ELEARN_MSG_SENSOR_EVENT, ELEARN_READING | events, ELEARN_SENSOR_EVENT_BYTES, 0);
}

bool elearn_link_sense(void)
{
    if (!elearn_the_state.sensor.runs) {
        return false;
    }
    if (elearn_sensing_is_held() || !elearn_sensing_take(reply)) {
        elearn_port_pause();
    } else {
        /* Nobody hears it where no session is open. */
        if (elearn_sensing_is_told() && elearn_the_state.session != 0) {
            tell();
        }
        elearn_sensing_end();
        elearn_state_autosave();
    }
    return true;
}
#endif
