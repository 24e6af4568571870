/* The timer of Arm's Cortex-M System Design Kit as a free-running counter: it counts down from 2^32 - 1, over and over.
 * References: DDI0479D, 4.2 (APB timer).
 *
 * The board file gives in port.defines:
 *   ELEARN_TIMER_ADDRESS: the first register of the timer */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"

#define TIMER_CTRL ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x00u)
#define TIMER_VALUE ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x04u)
#define TIMER_RELOAD ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x08u)

#define CTRL_ENABLE 1u

void elearn_timer_init(void)
{
    TIMER_CTRL = 0u;
    TIMER_RELOAD = 0xFFFFFFFFu;
    TIMER_VALUE = 0xFFFFFFFFu;
    TIMER_CTRL = CTRL_ENABLE;
}

uint32_t elearn_port_ticks(void)
{
    return 0xFFFFFFFFu - TIMER_VALUE;
}

uint32_t elearn_port_counter_hz(void)
{
    return elearn_clock_bus_hz(1u);
}
