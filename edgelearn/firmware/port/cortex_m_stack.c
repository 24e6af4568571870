/* How much memory is in use: data and bss from the linker script, the stack from the paint that is left.
 *
 * The stack is painted at reset and grows downwards: the lowest word without paint is the most that was ever used. */
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

uint32_t elearn_port_stack_bytes(void)
{
    const volatile uint32_t *p = elearn_stack_begin;

    while (p < elearn_stack_end && *p == ELEARN_STACK_PAINT) {
        ++p;
    }
    return (uint32_t)((uintptr_t)elearn_stack_end - (uintptr_t)p);
}
