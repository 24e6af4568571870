/* A program for testing a board's drivers: each command is one byte, some followed by a 32-bit number.
 *   e n  echo n bytes       t n  ticks of a loop of n turns of 4 instructions
 *   d n  use n more bytes of stack (up to 2,048)       s  stack, stack size, static RAM, overruns, ring
 *   h    ticks a second of the counter                 m  mark the stack         p  stack since the mark */
#include "elearn_port.h"

static uint8_t buffer[256];

int main(void);

static void read_exactly(uint8_t *destination, uint32_t size)
{
    uint32_t done = 0;
    while (done < size) {
        const uint32_t count = elearn_port_read(destination + done, size - done);
        if (count == 0u) {
            elearn_port_wait();
        }
        done += count;
    }
}

static uint32_t read_number(void)
{
    uint8_t b[4];
    read_exactly(b, 4);
    return (uint32_t)b[0] | ((uint32_t)b[1] << 8) | ((uint32_t)b[2] << 16) | ((uint32_t)b[3] << 24);
}

static void write_number(uint32_t number)
{
    const uint8_t b[4] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16), (uint8_t)(number >> 24)};
    elearn_port_write(b, 4);
}

static void echo(uint32_t size)
{
    while (size > 0u) {
        const uint32_t count = elearn_port_read(buffer, size < sizeof buffer ? size : (uint32_t)sizeof buffer);
        if (count == 0u) {
            elearn_port_wait();
        }
        elearn_port_write(buffer, count);
        size -= count;
    }
}

static uint32_t loop_ticks(uint32_t turns)
{
    const uint32_t before = elearn_port_ticks();
#if defined(__arm__)
    __asm volatile(".syntax unified\n1:\n\tnop\n\tnop\n\tsubs %0, %0, #1\n\tbne 1b" : "+l"(turns) : : "cc");
#else
    (void)turns;
#endif
    return elearn_port_ticks() - before;
}

__attribute__((noinline)) static uint32_t use_stack(uint32_t size)
{
    volatile uint8_t local[2048];
    uint32_t sum = 0;
    for (uint32_t i = 0; i < size && i < sizeof local; ++i) {
        local[sizeof local - 1u - i] = (uint8_t)i;
        sum += local[sizeof local - 1u - i];
    }
    return sum;
}

int main(void)
{
    elearn_port_init();
    for (;;) {
        uint8_t command;
        read_exactly(&command, 1);
        switch (command) {
        case 'e':
            echo(read_number());
            break;
        case 't':
            write_number(loop_ticks(read_number()));
            break;
        case 'h':
            write_number(elearn_port_counter_hz());
            break;
        case 'd':
            write_number(use_stack(read_number()));
            break;
        case 'm':
            elearn_port_stack_mark();
            write_number(0);
            break;
        case 'p':
            write_number(elearn_port_stack_since_mark());
            break;
        case 's':
            write_number(elearn_port_stack_bytes());
            write_number(elearn_port_stack_size_bytes());
            write_number(elearn_port_static_ram_bytes());
            write_number(elearn_port_overruns());
            write_number(elearn_port_ring_bytes());
            break;
        default:
            break;
        }
    }
}
