/* What the network asks of its surroundings, for a firmware that has nothing to say about it: define any of these functions in
 * a file of your own and yours is taken. elearn_port.h says what each one does. */
#include "elearn_port.h"

#include "elearn_protocol.h"

#define WEAK __attribute__((weak))

WEAK void elearn_port_write(const uint8_t *source, uint32_t size)
{
    (void)source;
    (void)size;
}

WEAK uint32_t elearn_port_ticks(void)
{
    return 0;
}

WEAK uint32_t elearn_port_counter_hz(void)
{
    return 0;
}

WEAK uint32_t elearn_port_clock_ms(void)
{
    return 0;
}

WEAK uint32_t elearn_port_overruns(void)
{
    return 0;
}

WEAK uint32_t elearn_port_ring_bytes(void)
{
    return 0;
}

WEAK uint32_t elearn_port_count_start(uint32_t remembered)
{
    return remembered + 1u;
}

WEAK uint32_t elearn_port_static_ram_bytes(void)
{
    return 0;
}

WEAK uint32_t elearn_port_stack_size_bytes(void)
{
    return 0;
}

WEAK uint32_t elearn_port_stack_bytes(void)
{
    return 0;
}

WEAK void elearn_port_stack_mark(void)
{
}

WEAK uint32_t elearn_port_stack_since_mark(void)
{
    return 0;
}

WEAK const elearn_port_start *elearn_port_last_start(void)
{
    static const elearn_port_start unknown = {ELEARN_RESET_UNKNOWN, 0, 0, 0, 0, 0, 0, 0};
    return &unknown;
}

WEAK void elearn_port_forget_faults(void)
{
}

WEAK void elearn_port_feed(void)
{
}
