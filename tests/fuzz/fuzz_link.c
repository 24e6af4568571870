/* Fuzz target of the device's link: whatever bytes arrive, no memory error, no undefined behaviour, no endless loop, no
 * change that was not asked for, and the device goes on to serve.
 *
 * The first byte of an input chooses the mode. RAW feeds the rest as it is. FLASH is RAW after a start with the rest as
 * contents of the flash memory. DAMAGED cuts the rest into requests that would be carried out, had each not lost its
 * end, lost a byte or had one changed on the way. FRAMES cuts the rest into requests and wraps each into a valid frame,
 * so that the handlers behind the checksum are reached: sessions, samples whole and in parts, writes of any value to any
 * region, learning rates, resets, classes, a sensor, saves in a flash memory that fails now and then, starts; numbers are
 * mostly the expected ones, else anything. A sample is learned after each, on whatever state that left.
 *
 * What was learned, its counters and the flash memory may change only where a request that changes state had its turn,
 * and the head only by one that was carried out and is of a kind that changes it. After each input a session is opened
 * and a sample predicted. At the end the program says how many bytes it has fed in.
 * Built with libFuzzer, or with ELEARN_FUZZ_MAIN and a seeded generator of its own: fuzz_link SEED COUNT. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elearn_bytes.h"
#include "elearn_frame.h"
#include "elearn_link.h"
#include "elearn_model.h"
#include "elearn_port.h"
#include "elearn_protocol.h"
#include "elearn_regions.h"
#include "elearn_state.h"

#if ELEARN_SAVES
#include "elearn_nvm.h"
#endif

#define LARGEST_FRAME (ELEARN_FRAME_HEADER_BYTES + ELEARN_MAX_PAYLOAD_BYTES + 16u + ELEARN_FRAME_CRC_BYTES)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The port: what the device sends must be whole frames; a copy of the decoder checks them. */

static uint8_t sent_buffer[LARGEST_FRAME + 256u];
static elearn_frame_decoder sent;
static uint32_t replies;
static uint8_t last_type; /* of the last reply */
static uint8_t last_status; /* if it was an ACK */

void elearn_port_init(void) { }
uint32_t elearn_port_read(uint8_t *destination, uint32_t size)
{
    (void)destination;
    (void)size;
    return 0;
}
void elearn_port_write(const uint8_t *source, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        if (elearn_frame_decoder_take(&sent, source[i])) {
            replies++;
            last_type = sent_buffer[0];
            last_status = sent_buffer[ELEARN_FRAME_HEADER_BYTES + ELEARN_ACK_STATUS];
        }
    }
    if (sent.crc_errors != 0 || sent.framing_errors != 0) {
        abort();
    }
}
void elearn_port_wait(void) { }
void elearn_port_pause(void) { }
uint32_t elearn_port_ticks(void) { return 0; }
uint32_t elearn_port_counter_hz(void) { return 0; }
/* Some reports find no room, and time passes. */
static uint32_t looks;
int elearn_port_can_write(void) { return looks++ % 4u != 0; }
uint32_t elearn_port_clock_ms(void) { return 40u * looks++; }
uint32_t elearn_port_overruns(void) { return 0; }
uint32_t elearn_port_ring_bytes(void) { return 0; }
uint32_t elearn_port_count_start(uint32_t remembered) { return remembered + 1u; }
const elearn_port_start *elearn_port_last_start(void)
{
    static const elearn_port_start start = {0, 0, 0, 0, 0, 0, 0, 0};
    return &start;
}
void elearn_port_forget_faults(void) { }
void elearn_port_feed(void) { }
uint32_t elearn_port_static_ram_bytes(void) { return 0; }
uint32_t elearn_port_stack_size_bytes(void) { return 0; }
uint32_t elearn_port_stack_bytes(void) { return 0; }
void elearn_port_stack_mark(void) { }
uint32_t elearn_port_stack_since_mark(void) { return 0; }

/* The flash memory: erased at the start of each input. After `operations_left` operations one fails and is done by half. */

#if ELEARN_SAVES
#define FLASH_BYTES (ELEARN_NVM_PAGES * ELEARN_NVM_PAGE_BYTES)
static uint8_t flash[FLASH_BYTES];
static uint32_t operations_left;

static bool works(void)
{
    return operations_left == 0 || --operations_left > 0;
}
const uint8_t *elearn_nvm_bytes(void) { return flash; }
bool elearn_nvm_erase(uint32_t page)
{
    const bool ok = works();
    if (page >= ELEARN_NVM_PAGES) {
        abort();
    }
    memset(flash + page * ELEARN_NVM_PAGE_BYTES, 0xFF, ok ? ELEARN_NVM_PAGE_BYTES : ELEARN_NVM_PAGE_BYTES / 2u);
    return ok;
}
bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    const bool ok = works();
    if (offset % ELEARN_NVM_WRITE_BYTES != 0 || size % ELEARN_NVM_WRITE_BYTES != 0 || offset > FLASH_BYTES
        || size > FLASH_BYTES - offset) {
        abort();
    }
    for (uint32_t i = 0; i < (ok ? size : size / 2u); i++) {
        flash[offset + i] &= bytes[i];
    }
    return ok;
}
#endif

/* Valid frames */

/* Bytes of the fixed part that a host of this version sends. */
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
    default:
        return 0;
    }
}

static bool only_reads(uint32_t type)
{
    return type == ELEARN_MSG_HELLO || type == ELEARN_MSG_READ || type == ELEARN_MSG_STATISTICS
           || type == ELEARN_MSG_GOODBYE;
}

/* Everything that requests may change: what was learned, counters, flash. */

#if ELEARN_TRAINABLE_COUNT
#define MOST_HEAD_BYTES 1024u
#else
#define MOST_HEAD_BYTES 1u
#endif

typedef struct {
    elearn_state state;
    uint32_t head_bytes;
    uint8_t head[MOST_HEAD_BYTES]; /* and the names of its classes */
#if ELEARN_SAVES
    uint8_t flash[FLASH_BYTES];
#endif
} everything;

#if ELEARN_TRAINABLE_COUNT
static void add(everything *e, const void *bytes, uint32_t size)
{
    if (size > sizeof e->head - e->head_bytes) {
        abort();
    }
    memcpy(e->head + e->head_bytes, bytes, size);
    e->head_bytes += size;
}
#endif

static void look(everything *e)
{
    memset(e, 0, sizeof *e);
    e->state = elearn_the_state;
#if ELEARN_TRAINABLE_COUNT
    {
        const elearn_head_params *p = elearn_the_model.trainable[0].params;
        const elearn_head_state *s = elearn_the_model.trainable[0].state;
        const uint32_t outputs = (uint32_t)p->outputs;
        const uint32_t weights = outputs * (uint32_t)p->features;
        add(e, s->weights, weights * (uint32_t)sizeof *s->weights);
        add(e, s->bias, outputs * (uint32_t)sizeof *s->bias);
#if !ELEARN_HEAD_IS_FLOAT
        add(e, s->row_t, outputs);
        add(e, s->row_rho, outputs);
#endif
#if ELEARN_HEAD_HAS_RESIDUAL
        add(e, s->residual, weights);
#endif
        add(e, &s->learning_rate_mantissa, sizeof s->learning_rate_mantissa);
        add(e, &s->learning_rate_exponent, sizeof s->learning_rate_exponent);
#if ELEARN_LABEL_BYTES
        add(e, elearn_the_model.names, outputs * ELEARN_LABEL_BYTES);
#endif
    }
#endif
#if ELEARN_SAVES
    memcpy(e->flash, flash, sizeof flash);
#endif
}

static everything before;
static everything after;

static bool is_same_head(void)
{
    return before.head_bytes == after.head_bytes && memcmp(before.head, after.head, before.head_bytes) == 0
           && before.state.step == after.state.step && before.state.classes == after.state.classes;
}

/* A sequence number is used up by every request that has its turn, and by no other. */
static bool had_its_turn(void)
{
    return before.state.session != after.state.session || before.state.next_sequence != after.state.next_sequence;
}

/* Whatever arrived since look(&before) had no turn: nothing has changed. */
static void check_nothing_changed(void)
{
    look(&after);
    if (memcmp(&before, &after, sizeof before) != 0) {
        abort();
    }
}

/* After one request: it changed what its kind changes, and only in its turn. */
static void check_change(uint32_t type)
{
    const bool learns = type == ELEARN_MSG_SAMPLE || type == ELEARN_MSG_WRITE || type == ELEARN_MSG_RESET_HEAD
                        || type == ELEARN_MSG_SET_LEARNING_RATE || type == ELEARN_MSG_SET_CLASS;
    const bool refused = last_type == ELEARN_MSG_ACK && last_status != ELEARN_STATUS_OK;
    look(&after);
    if (!had_its_turn()) {
        check_nothing_changed();
    } else if ((!learns || refused) && !is_same_head()) {
        abort();
    }
}

static unsigned long long fuzzed_bytes;

static void say_bytes(void)
{
    (void)fprintf(stderr, "%llu bytes fuzzed\n", fuzzed_bytes);
}

static void receive(const uint8_t *bytes, uint32_t size)
{
    fuzzed_bytes += size;
    elearn_link_receive(bytes, size);
}

static void request(uint8_t type, uint32_t number, uint32_t fixed, const uint8_t *payload, uint32_t size)
{
    uint8_t frame[LARGEST_FRAME];
    frame[0] = type;
    frame[1] = (uint8_t)fixed;
    elearn_put_u32(frame + 2, number);
    if (size > 0) {
        memcpy(frame + ELEARN_FRAME_HEADER_BYTES, payload, size);
    }
    elearn_frame_send(frame, ELEARN_FRAME_HEADER_BYTES + size, receive);
}

/* Open a session that was never open before. */
static void open_session(void)
{
    static uint32_t session;
    uint8_t hello[ELEARN_HELLO_BYTES] = {0};
    session += session == UINT32_MAX ? 2u : 1u;
    elearn_put_u16(hello + ELEARN_HELLO_VERSION, ELEARN_PROTOCOL_VERSION);
    elearn_put_u32(hello + ELEARN_HELLO_SESSION, session);
    elearn_put_u32(hello + ELEARN_HELLO_FIRST_SEQUENCE, session * 0x10000001u);
    request(ELEARN_MSG_HELLO, ELEARN_READING, ELEARN_HELLO_BYTES, hello, sizeof hello);
    if (elearn_the_state.session != session) {
        abort();
    }
}

/* Predict: answered with RESULT, whatever came before. */
static void predict(void)
{
    uint8_t payload[ELEARN_SAMPLE_BYTES + ELEARN_INPUT_BYTES];
    memset(payload, 0, sizeof payload);
    replies = 0;
    request(ELEARN_MSG_SAMPLE, elearn_the_state.next_sequence, ELEARN_SAMPLE_BYTES, payload, sizeof payload);
    if (replies != 1 || last_type != ELEARN_MSG_RESULT) {
        abort();
    }
}

/* After a zero it is in step again: it opens a session and predicts. */
static void check_service(void)
{
    receive((const uint8_t *)"", 1);
    replies = 0;
    open_session();
    if (replies != 1 || last_type != ELEARN_MSG_HELLO_REPLY) {
        abort();
    }
    predict();
}

/* Learn a sample in every way the loss allows, on the state as it is. */
static void learn(uint8_t seed)
{
    uint8_t payload[ELEARN_MAX_PAYLOAD_BYTES];
    const uint32_t inputs = ELEARN_INPUT_BYTES;
#if ELEARN_TRAINABLE_COUNT
    const uint32_t outputs = (uint32_t)elearn_the_model.trainable[0].params->outputs;
#else
    const uint32_t outputs = 1;
#endif
    uint32_t size = ELEARN_SAMPLE_BYTES + inputs;
    const uint32_t before = elearn_the_state.next_sequence;
    memset(payload, 0, ELEARN_SAMPLE_BYTES);
    payload[ELEARN_SAMPLE_FLAGS] = ELEARN_SAMPLE_TRAIN;
    elearn_put_u16(payload + ELEARN_SAMPLE_LABEL, seed % outputs);
    for (uint32_t i = 0; i < inputs; i++) {
        payload[ELEARN_SAMPLE_BYTES + i] = (uint8_t)(seed < 64 ? 128 + (seed & 1) * 255 : seed * (i + 1u));
    }
#if ELEARN_TRAINABLE_COUNT
    if (elearn_the_model.trainable[0].params->loss == ELEARN_LOSS_CROSS_ENTROPY) {
        payload[ELEARN_SAMPLE_FLAGS] |= seed % 5 == 4 ? ELEARN_SAMPLE_SELF_LABEL : ELEARN_SAMPLE_HAS_LABEL;
        elearn_put_u16(payload + ELEARN_SAMPLE_THRESHOLD, seed * 128u);
    } else if (seed & 2) {
        payload[ELEARN_SAMPLE_FLAGS] |= ELEARN_SAMPLE_TARGET_IS_INPUT;
    } else {
        payload[ELEARN_SAMPLE_FLAGS] |= ELEARN_SAMPLE_HAS_TARGETS;
        for (uint32_t i = 0; i < outputs; i++) {
            elearn_put_u16(payload + size + 2u * i, seed < 128 ? 0x8000u - (seed & 1u) : seed * 257u * i);
        }
        size += 2u * outputs;
    }
#endif
    request(ELEARN_MSG_SAMPLE, before, ELEARN_SAMPLE_BYTES, payload, size);
    if (elearn_the_state.next_sequence != ((before + 1u) & ~ELEARN_READING)) {
        abort();
    }
}

/* Some turns of the main loop without received bytes; then the sensor mostly stops, so that samples can be learned. */
static void sense(uint8_t seed)
{
#if ELEARN_SENSOR
    const uint32_t before = elearn_the_state.sensor.samples;
    for (uint32_t i = 0; i < 3u; i++) {
        const bool runs = elearn_the_state.sensor.runs != 0;
        if (elearn_link_sense() != runs) {
            abort();
        }
    }
    if (elearn_the_state.sensor.samples - before > 3u) {
        abort();
    }
    elearn_the_state.sensor.runs = seed % 4 == 0 ? elearn_the_state.sensor.runs : 0;
#else
    (void)seed;
#endif
}

typedef struct {
    const uint8_t *bytes;
    size_t size;
} input;

/* The next byte of the input, 0 after its end. */
static uint8_t take(input *in)
{
    if (in->size == 0) {
        return 0;
    }
    in->size--;
    return *in->bytes++;
}

/* A write that mostly meets a region of the head: its values are extremes, one byte over and over, or the input's. */
static uint32_t make_write(input *in, uint8_t *payload)
{
    const uint8_t how = take(in);
    const uint8_t where = take(in);
    const uint8_t value = take(in);
    const uint32_t length = how & 16 ? 4u * (1u + (uint32_t)(where >> 5)) : take(in) % 48u;
    payload[ELEARN_WRITE_REGION] = (uint8_t)(how & 32 ? where : ELEARN_REGION_HEAD_WEIGHTS + where % 5);
    payload[ELEARN_WRITE_INDEX] = (uint8_t)(how < 8 ? 1 : 0);
    elearn_put_u32(payload + ELEARN_WRITE_OFFSET, how & 64 ? take(in) % 40u : 0u);
    for (uint32_t i = 0; i < length; i++) {
        uint8_t *p = payload + ELEARN_WRITE_BYTES + i;
        switch (how & 3) {
        case 0:
            *p = (uint8_t)(i % 4 == 3 ? 0x7F : 0xFF); /* INT32_MAX, or what is no number */
            break;
        case 1:
            *p = (uint8_t)(i % 4 == 3 ? 0x80 : 0x00); /* INT32_MIN */
            break;
        case 2:
            *p = value;
            break;
        default:
            *p = take(in);
            break;
        }
    }
    return ELEARN_WRITE_BYTES + length;
}

/* The number of a request: mostly the expected one, else near it, or anything. */
static uint32_t choose_number(input *in, uint8_t choice, uint32_t type)
{
    const uint32_t next = elearn_the_state.next_sequence;
    uint32_t number = only_reads(type) ? ELEARN_READING | choice : next;
    if ((choice & 192) == 192) {
        const uint32_t how = take(in);
        number = how < 192 ? (next + how - 96u) & ~ELEARN_READING : how * 0x01234567u;
    }
    return number;
}

/* Each request: its type, then what makes its payload; then samples are learned. */
static void frames(input in)
{
    static const uint8_t types[16] = {
        ELEARN_MSG_SAMPLE,   ELEARN_MSG_SAMPLE_PART,  ELEARN_MSG_WRITE,     ELEARN_MSG_WRITE,
        ELEARN_MSG_WRITE,    ELEARN_MSG_WRITE,        ELEARN_MSG_SET_SENSOR, ELEARN_MSG_SET_LEARNING_RATE,
        ELEARN_MSG_READ,     ELEARN_MSG_RESET_HEAD,   ELEARN_MSG_HELLO,     ELEARN_MSG_SAVE,
        ELEARN_MSG_FORGET,   ELEARN_MSG_SET_AUTOSAVE, ELEARN_MSG_SET_CLASS, 0};
    open_session();
    while (in.size > 0) {
        uint8_t payload[ELEARN_MAX_PAYLOAD_BYTES + 16u];
        const uint8_t choice = take(&in);
        const uint8_t type = (choice & 15) == 15 ? take(&in) : types[choice & 15]; /* STATISTICS is among these */
        uint32_t fixed = fixed_part(type);
        uint32_t number;
        uint32_t length;
        if (type == 0x55) {
            elearn_link_init(); /* a reset */
            open_session();
            continue;
        }
#if ELEARN_SAVES
        operations_left = type == ELEARN_MSG_SAVE || type == ELEARN_MSG_FORGET ? take(&in) % 16u : 0;
#endif
        if (type == ELEARN_MSG_WRITE && (choice & 48) != 16) {
            length = make_write(&in, payload);
        } else {
            length = take(&in);
            if ((choice & 48) == 16) {
                length += ELEARN_MAX_PAYLOAD_BYTES - 200u; /* near the end of the receive buffer, or beyond it */
            }
            if (choice & 32) {
                /* As long as the type wants it. */
                length = fixed + (type == ELEARN_MSG_SAMPLE ? ELEARN_INPUT_BYTES : length % 24u);
            }
            length = length > sizeof payload ? (uint32_t)sizeof payload : length;
            for (uint32_t i = 0; i < length; i++) {
                payload[i] = take(&in);
            }
            if (type == ELEARN_MSG_SET_LEARNING_RATE && length >= 2 && (choice & 32)) {
                payload[1] = (uint8_t)((payload[1] & 0x3F) | 0x40); /* a mantissa of 15 bits */
            }
            if (length >= ELEARN_SET_SENSOR_BYTES && (choice & 32) && type == ELEARN_MSG_SET_SENSOR) {
                payload[ELEARN_SET_SENSOR_RUN] = payload[ELEARN_SET_SENSOR_RUN] & 7 ? ELEARN_SENSOR_START : choice & 3;
                payload[ELEARN_SET_SENSOR_FLAGS] &= payload[ELEARN_SET_SENSOR_LABEL] & 128 ? 27 : 9;
                payload[ELEARN_SET_SENSOR_LABEL] &= 7;
                memset(payload + ELEARN_SET_SENSOR_LABEL + 1, 0, 1);
                memset(payload + ELEARN_SET_SENSOR_SAMPLES + 1, 0, 3);
                memset(payload + ELEARN_SET_SENSOR_REPORT_EVERY + 1, 0, 3);
                memset(payload + ELEARN_SET_SENSOR_LEASE_MS + 1, 0, 3);
            } else if (length >= 4 && (choice & 32) && type != ELEARN_MSG_WRITE) {
                /* Offsets, counts and numbers are small. */
                memset(payload + (type == ELEARN_MSG_SAMPLE ? 6 : 1), 0, type == ELEARN_MSG_SET_LEARNING_RATE ? 0 : 3);
            }
        }
        if ((choice & 192) == 64) {
            fixed = take(&in); /* of another version, or a lie */
        }
        if (type == ELEARN_MSG_HELLO && length >= 2 && (choice & 128)) {
            elearn_put_u16(payload + ELEARN_HELLO_VERSION, ELEARN_PROTOCOL_VERSION);
        }
        number = choose_number(&in, choice, type);
        look(&before);
        request(type, number, fixed, payload, length);
        check_change(type);
        if (number != before.state.next_sequence && type != ELEARN_MSG_HELLO) {
            check_nothing_changed();
        }
        if (type == ELEARN_MSG_HELLO && elearn_get_u16(payload + ELEARN_HELLO_VERSION) != ELEARN_PROTOCOL_VERSION
            && before.state.session != after.state.session) {
            abort(); /* a host of another version opens nothing */
        }
        if (elearn_the_state.session == 0) {
            open_session();
        }
        sense(choice);
        learn(choice);
        learn((uint8_t)(length * 7u));
    }
}

/* A frame on its way. */
static uint8_t line[LARGEST_FRAME + LARGEST_FRAME / 254u + 8u];
static uint32_t line_bytes;

static void collect(const uint8_t *bytes, uint32_t size)
{
    if (size > sizeof line - line_bytes) {
        abort();
    }
    memcpy(line + line_bytes, bytes, size);
    line_bytes += size;
}

/* Requests that would change the head, each damaged so that no piece of it is the frame that was meant. */
static void damaged(input in)
{
    static const uint8_t types[8] = {
        ELEARN_MSG_SAMPLE,     ELEARN_MSG_WRITE,  ELEARN_MSG_WRITE,     ELEARN_MSG_SET_LEARNING_RATE,
        ELEARN_MSG_RESET_HEAD, ELEARN_MSG_FORGET, ELEARN_MSG_SET_CLASS, ELEARN_MSG_SAVE};
    open_session();
    while (in.size > 0) {
        uint8_t frame[LARGEST_FRAME];
        const uint8_t choice = take(&in);
        const uint8_t type = types[choice & 7];
        const uint32_t fixed = fixed_part(type);
        const uint32_t size = fixed + (type == ELEARN_MSG_SAMPLE ? ELEARN_INPUT_BYTES : take(&in) % 16u);
        uint32_t place;
        memset(frame, 0, sizeof frame);
        frame[0] = type;
        frame[1] = (uint8_t)fixed;
        elearn_put_u32(frame + 2, elearn_the_state.next_sequence);
        for (uint32_t i = 0; i < size; i++) {
            frame[ELEARN_FRAME_HEADER_BYTES + i] = take(&in);
        }
        if (type == ELEARN_MSG_SAMPLE) {
            frame[ELEARN_FRAME_HEADER_BYTES + ELEARN_SAMPLE_FLAGS] = ELEARN_SAMPLE_TRAIN | ELEARN_SAMPLE_HAS_LABEL;
            memset(frame + ELEARN_FRAME_HEADER_BYTES + ELEARN_SAMPLE_LABEL, 0, ELEARN_SAMPLE_BYTES - 1u);
        }
        line_bytes = 0;
        elearn_frame_send(frame, ELEARN_FRAME_HEADER_BYTES + size, collect);
        place = (take(&in) * 256u + take(&in)) % (line_bytes - 1u);
        look(&before);
        if (choice < 86) {
            receive(line, place); /* its end is lost */
        } else if (choice < 172) {
            receive(line, place);
            receive(line + place + 1, line_bytes - place - 2u);
        } else {
            const uint8_t change = take(&in);
            line[place] ^= change != 0 ? change : 1u;
            receive(line, line_bytes - 1u);
        }
        /* The zero, or one that was sent before the next frame. */
        receive((const uint8_t *)"", 1);
        check_nothing_changed();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool begun;
    if (!begun) {
        begun = true;
        (void)atexit(say_bytes);
    }
    elearn_frame_decoder_init(&sent, sent_buffer, sizeof sent_buffer);
#if ELEARN_SAVES
    memset(flash, 0xFF, sizeof flash);
    operations_left = 0;
    if (size > 0 && (data[0] & 7) == 4) {
        memcpy(flash, data + 1, size - 1 < sizeof flash ? size - 1 : sizeof flash);
    }
#endif
    elearn_link_init();
    if (size > 0 && (data[0] & 3) == 0) {
        open_session();
        look(&before);
        receive(data + 1, (uint32_t)size - 1u);
        look(&after);
        if (!had_its_turn()) {
            check_nothing_changed();
        }
    } else if (size > 0 && (data[0] & 3) == 1) {
        const input in = {data + 1, size - 1};
        damaged(in);
    } else if (size > 0) {
        const input in = {data + 1, size - 1};
        frames(in);
    }
    check_service();
    return 0;
}

#ifdef ELEARN_FUZZ_MAIN
static uint32_t state;

static uint32_t next(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* Random bytes, in some inputs many zeros and ends of the range. */
int main(int argc, char **argv)
{
    const long count = argc > 2 ? strtol(argv[2], NULL, 10) : 1000;
    state = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) * 2654435761u + 1u : 1u;
    for (long i = 0; i < count; i++) {
        uint8_t data[1024];
        const uint32_t size = next() % (next() % 2 == 0 ? sizeof data : 64u);
        const uint32_t plain = next() % 4;
        for (uint32_t j = 0; j < size; j++) {
            static const uint8_t ends[4] = {0, 255, 128, 127};
            const uint32_t r = next();
            data[j] = (r >> 8) % 4 < plain ? ends[(r >> 16) % 4] : (uint8_t)r;
        }
        (void)LLVMFuzzerTestOneInput(data, size);
    }
    (void)printf("%ld inputs\n", count);
    return 0;
}
#endif
