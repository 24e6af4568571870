/* How much memory is in use: data and bss from the linker script, the stack from the paint that is left.
 *
 * The stack is painted at reset and grows downwards: the lowest word without paint is the most that was ever used. A mark
 * paints anew what is free, to measure one phase. */
#include "cortex_m_stack.h"

#include <stdint.h>

#include "elearn_port.h"

extern uint32_t elearn_data_begin[];
extern uint32_t elearn_bss_end[];

uint32_t elearn_port_static_ram_bytes(void)
{
    return (uint32_t)((uintptr_t)elearn_bss_end - (uintptr_t)elearn_data_begin);
}

uint32_t elearn_port_stack_size_bytes(void)
{
    return (uint32_t)((uintptr_t)elearn_stack_end - (uintptr_t)elearn_stack_begin);
}

/* The most that was in use before the last mark, which painted it again. */
static uint32_t most_bytes;

uint32_t elearn_port_stack_since_mark(void)
{
    const volatile uint32_t *p = elearn_stack_begin;

    while (p < elearn_stack_end && *p == ELEARN_STACK_PAINT) {
        ++p;
    }
    return (uint32_t)((uintptr_t)elearn_stack_end - (uintptr_t)p);
}

uint32_t elearn_port_stack_bytes(void)
{
    const uint32_t now = elearn_port_stack_since_mark();

    return now > most_bytes ? now : most_bytes;
}

void elearn_port_stack_mark(void)
{
    volatile uint32_t *p;
    const uint32_t *stack_pointer;

    most_bytes = elearn_port_stack_bytes();
    p = (volatile uint32_t *)((uintptr_t)elearn_stack_end - most_bytes);
    __asm volatile("mov %0, sp" : "=r"(stack_pointer));
    /* An interrupt here writes below the stack pointer and is done before the next store. */
    while (p < stack_pointer) {
        *p++ = ELEARN_STACK_PAINT;
    }
}
