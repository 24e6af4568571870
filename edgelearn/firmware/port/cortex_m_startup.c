/* From reset to main() on a Cortex-M: paint the stack, fill .data and .bss, switch on the FPU; what a fault does; the
 * count of resets, in words that nothing of this fills; and a clock, from the board's counter.
 * References: Armv7-M Architecture Reference Manual (DDI0403), B1.5 (exceptions), B3.2.20 (CPACR);
 * Cortex-M4 Technical Reference Manual (DDI0439), 7.3.1 (enabling the FPU). */
#include <stdint.h>

#include "cortex_m_port.h"
#include "cortex_m_stack.h"
#include "elearn_port.h"

#define CPACR_ADDRESS 0xE000ED88u
#define CPACR_FPU_FULL_ACCESS (0xFu << 20)

/* Given by the linker script, all on word boundaries. */
extern uint32_t elearn_data_load[];
extern uint32_t elearn_data_begin[];
extern uint32_t elearn_data_end[];
extern uint32_t elearn_bss_begin[];
extern uint32_t elearn_bss_end[];
extern uint32_t elearn_kept[]; /* a mark, the count, its complement: after loss of power they are anything */

#define KEPT_MARK 0xB0075717u

int main(void);

/* The stores are volatile so that no compiler makes calls of memcpy or memset out of these loops: the stack is not to
 * be used while it is painted, nor a library before its data is there. */
static void fill(uint32_t *begin, const uint32_t *end, uint32_t word)
{
    for (volatile uint32_t *p = begin; p < end; ++p) {
        *p = word;
    }
}

void elearn_reset_handler(void)
{
    uint32_t *stack_pointer;
    const uint32_t *source = elearn_data_load;

    __asm volatile("mov %0, sp" : "=r"(stack_pointer));
    /* What this function itself keeps on the stack lies above its stack pointer. */
    fill(elearn_stack_begin, stack_pointer, ELEARN_STACK_PAINT);

    for (volatile uint32_t *p = elearn_data_begin; p < elearn_data_end; ++p) {
        *p = *source++;
    }
    fill(elearn_bss_begin, elearn_bss_end, 0u);

#if defined(__ARM_FP)
    ELEARN_REGISTER(CPACR_ADDRESS) |= CPACR_FPU_FULL_ACCESS;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif

    (void)main();
    elearn_fault_handler();
}

/* Every exception without a handler of its own ends here, with the registers of the fault still on the stack. */
void elearn_fault_handler(void)
{
    for (;;) {
        __asm volatile("wfi");
    }
}

uint32_t elearn_port_count_start(uint32_t remembered)
{
    volatile uint32_t *kept = elearn_kept;
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

uint32_t elearn_port_clock_ms(void)
{
    static uint32_t seen_ticks;
    static uint32_t rest_ticks;
    static uint32_t clock_ms;
    const uint32_t ms_ticks = elearn_port_counter_hz() / 1000u;
    const uint32_t now_ticks = elearn_port_ticks();

    rest_ticks += now_ticks - seen_ticks;
    seen_ticks = now_ticks;
    clock_ms += rest_ticks / ms_ticks;
    rest_ticks %= ms_ticks;
    return clock_ms;
}

void elearn_port_init(void)
{
    elearn_clock_init();
    elearn_timer_init();
    elearn_uart_init();
}
