/* The port to Arduino: a Stream is the serial line, micros() the counter. See elearn_arduino.h and elearn_port.h.
 *
 * On AVR the stack is painted from the end of the data, or of the heap, up to where it is when begin() is called; what is
 * no longer painted was in use. The paint is looked for just below what was known before: a full search each time would
 * take longer than many a network. */
#include "elearn_arduino.h"

#include "elearn_config.h"

extern "C" {
#include "elearn_link.h"
#include "elearn_port.h"
}

static Stream *line;
static uint32_t most_waiting;

#if defined(__AVR__)

extern "C" {
extern uint8_t __data_start;
extern uint8_t __bss_end;
extern uint8_t __heap_start;
extern uint8_t *__brkval;
}

static const uint8_t PAINT = 0xA5;
/* Where so many bytes in a row are painted, nothing below them was in use. */
static const uint16_t PAINTED_BYTES = 128;

static uint8_t *lowest = reinterpret_cast<uint8_t *>(RAMEND); /* ever in use */
static uint8_t *lowest_since_mark;

static uint8_t *stack_end()
{
    return __brkval != nullptr ? __brkval : &__heap_start;
}

static uint8_t *stack_pointer()
{
    return reinterpret_cast<uint8_t *>(SP);
}

/* The lowest byte in use, from what was known before down. */
static uint8_t *find_lowest(uint8_t *known)
{
    uint8_t *found = known;
    for (uint8_t *p = known; p > stack_end() && static_cast<uint16_t>(found - p) < PAINTED_BYTES;) {
        p--;
        if (*p != PAINT) {
            found = p;
        }
    }
    return found;
}

static uint32_t bytes_above(const uint8_t *p)
{
    return static_cast<uint32_t>(RAMEND + 1u - reinterpret_cast<uint16_t>(p));
}

extern "C" void elearn_port_init(void)
{
    uint8_t *const top = stack_pointer();
    for (volatile uint8_t *p = stack_end(); p < top; p++) {
        *p = PAINT;
    }
    lowest = top;
    lowest_since_mark = top;
}

extern "C" uint32_t elearn_port_static_ram_bytes(void)
{
    return static_cast<uint32_t>(&__bss_end - &__data_start);
}

extern "C" uint32_t elearn_port_stack_size_bytes(void)
{
    return bytes_above(stack_end());
}

extern "C" uint32_t elearn_port_stack_bytes(void)
{
    lowest = find_lowest(lowest);
    return bytes_above(lowest);
}

extern "C" void elearn_port_stack_mark(void)
{
    lowest = find_lowest(lowest);
    uint8_t *const top = stack_pointer();
    /* An interrupt here writes below the stack pointer and is done before the next byte is painted. */
    for (volatile uint8_t *p = lowest; p < top; p++) {
        *p = PAINT;
    }
    lowest_since_mark = top;
}

extern "C" uint32_t elearn_port_stack_since_mark(void)
{
    lowest_since_mark = find_lowest(lowest_since_mark);
    return bytes_above(lowest_since_mark);
}

/* Words that nothing fills at a reset. */
#define KEPT_MARK 0xB0075717u
static uint32_t kept[3] __attribute__((section(".noinit")));

extern "C" uint32_t elearn_port_count_start(uint32_t remembered)
{
    uint32_t starts = remembered;
    if (kept[0] == KEPT_MARK && kept[2] == ~kept[1] && kept[1] > starts) {
        starts = kept[1];
    }
    starts++;
    kept[0] = KEPT_MARK;
    kept[1] = starts;
    kept[2] = ~starts;
    return starts;
}

#else

/* Where data and stack lie is the core's matter. */
extern "C" void elearn_port_init(void)
{
}

extern "C" uint32_t elearn_port_static_ram_bytes(void)
{
    return 0;
}

extern "C" uint32_t elearn_port_stack_size_bytes(void)
{
    return 0;
}

extern "C" uint32_t elearn_port_stack_bytes(void)
{
    return 0;
}

extern "C" void elearn_port_stack_mark(void)
{
}

extern "C" uint32_t elearn_port_stack_since_mark(void)
{
    return 0;
}

extern "C" uint32_t elearn_port_count_start(uint32_t remembered)
{
    return remembered + 1u;
}

#endif

extern "C" uint32_t elearn_port_read(uint8_t *destination, uint32_t size)
{
    if (line == nullptr) {
        return 0;
    }
#if defined(WDTCSR)
    /* QEMU's AVR looks for an interrupt that came while they were off, as they are in a core's write(), only when it has
     * to leave its translated code: reading a register above the first 64 makes it do so. */
    (void)WDTCSR;
#endif
    const int available = line->available();
    const uint32_t waiting = available > 0 ? static_cast<uint32_t>(available) : 0u;
    uint32_t count = 0;
    if (waiting > most_waiting) {
        most_waiting = waiting;
    }
    while (count < size && count < waiting) {
        const int byte = line->read();
        if (byte < 0) {
            break;
        }
        destination[count++] = static_cast<uint8_t>(byte);
    }
    return count;
}

extern "C" void elearn_port_write(const uint8_t *source, uint32_t size)
{
    if (line != nullptr) {
        (void)line->write(source, static_cast<size_t>(size));
    }
}

/* A Stream need not tell how much room it has: those that do not know say 0. */
extern "C" int elearn_port_can_write(void)
{
    return line != nullptr;
}

extern "C" void elearn_port_wait(void)
{
}

extern "C" void elearn_port_pause(void)
{
}

extern "C" uint32_t elearn_port_ticks(void)
{
    return static_cast<uint32_t>(micros());
}

extern "C" uint32_t elearn_port_clock_ms(void)
{
    return static_cast<uint32_t>(millis());
}

/* Why it started is the core's and the bootloader's matter, and so is a watchdog. */
extern "C" const elearn_port_start *elearn_port_last_start(void)
{
    static const elearn_port_start unknown = {ELEARN_RESET_UNKNOWN, 0, 0, 0, 0, 0, 0, 0};
    return &unknown;
}

extern "C" void elearn_port_forget_faults(void)
{
}

extern "C" void elearn_port_feed(void)
{
}

extern "C" uint32_t elearn_port_counter_hz(void)
{
    return 1000000u;
}

/* A Stream does not tell what it has lost; a frame with a hole is counted by its checksum. */
extern "C" uint32_t elearn_port_overruns(void)
{
    return 0;
}

extern "C" uint32_t elearn_port_ring_bytes(void)
{
    return most_waiting;
}

bool EdgeLearn::is(el_status status)
{
    status_ = status;
    return status == EL_OK;
}

void EdgeLearn::begin(Stream &serial)
{
    line = &serial;
    elearn_port_init();
    (void)is(el_init_with_link());
}

void EdgeLearn::begin()
{
    line = nullptr;
    elearn_port_init();
    (void)is(el_init());
}

int32_t EdgeLearn::predict(const float *sample)
{
    return is(el_predict(sample, &result_)) ? static_cast<int32_t>(result_.prediction) : -1;
}

bool EdgeLearn::learn(const float *sample, uint32_t label)
{
    return is(el_learn(sample, label, &result_));
}

bool EdgeLearn::learn(const float *sample, const float *targets)
{
    return is(el_learn_targets(sample, targets, &result_));
}

bool EdgeLearn::learnItself(const float *sample)
{
    return is(el_learn_itself(sample, &result_));
}

bool EdgeLearn::setLearningRate(float rate)
{
    return is(el_set_learning_rate(rate));
}

bool EdgeLearn::save()
{
    return is(el_save());
}

bool EdgeLearn::reset()
{
    return is(el_reset());
}

bool EdgeLearn::poll()
{
    uint8_t bytes[32];
    bool had_come = false;
    /* So many pieces at most: the rest of the sketch has its turn too while a host is streaming. */
    for (uint8_t pieces = 8; pieces > 0; pieces--) {
        const uint32_t count = elearn_port_read(bytes, sizeof bytes);
        if (count == 0) {
            break;
        }
        el_receive(bytes, count);
        had_come = true;
    }
#if ELEARN_SENSOR
    if (!had_come) {
        (void)elearn_link_sense();
    }
#endif
    return had_come;
}
