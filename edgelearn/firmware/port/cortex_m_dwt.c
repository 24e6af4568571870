/* The cycle counter of the processor itself (Armv7-M: DWT), as a free-running counter of 32 bits at the core's clock.
 *
 * It may stand still while the processor sleeps; what is measured does not sleep. QEMU has none. On a Cortex-M7 it has
 * a lock, which other cores ignore the key of. A debugger that lets go of the processor, as pyOCD does after flashing
 * when the program runs already, switches the trace unit off: it is looked after at each reading.
 * References: Armv7-M Architecture Reference Manual (DDI0403), C1.6.5 (DEMCR), C1.8 (DWT); D1.1 (lock access). */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"

#define DEMCR ELEARN_REGISTER(0xE000EDFCu)
#define DWT_CTRL ELEARN_REGISTER(0xE0001000u)
#define DWT_CYCCNT ELEARN_REGISTER(0xE0001004u)
#define DWT_LAR ELEARN_REGISTER(0xE0001FB0u)

#define DEMCR_TRACE_ENABLE (1u << 24)
#define CTRL_CYCLE_COUNTER (1u << 0)
#define LAR_KEY 0xC5ACCE55u

void elearn_timer_init(void)
{
    DEMCR |= DEMCR_TRACE_ENABLE;
    DWT_LAR = LAR_KEY;
    DWT_CYCCNT = 0u;
    DWT_CTRL |= CTRL_CYCLE_COUNTER;
}

uint32_t elearn_port_ticks(void)
{
    if ((DEMCR & DEMCR_TRACE_ENABLE) == 0u) {
        DEMCR |= DEMCR_TRACE_ENABLE;
        DWT_LAR = LAR_KEY;
        DWT_CTRL |= CTRL_CYCLE_COUNTER;
    }
    return DWT_CYCCNT;
}

uint32_t elearn_port_counter_hz(void)
{
    return elearn_clock_core_hz();
}
