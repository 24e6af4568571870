/* A timer of an nRF51 or nRF52 as a free-running counter of 32 bits at 16 MHz. Its value is read by capturing it.
 *
 * On the nRF51 only timer 0 has 32 bits. QEMU's counts 16 ticks in a microsecond of virtual time.
 * References: nRF51 Series Reference Manual v3.0, 17 (TIMER); nRF52832 Product Specification v1.4, 24 (TIMER).
 *
 * The board file gives in port.defines:
 *   ELEARN_TIMER_ADDRESS: the first register of the timer */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"

#define TIMER_START ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x000u)
#define TIMER_STOP ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x004u)
#define TIMER_CLEAR ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x00Cu)
#define TIMER_CAPTURE_0 ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x040u)
#define TIMER_MODE ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x504u)
#define TIMER_BITMODE ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x508u)
#define TIMER_PRESCALER ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x510u)
#define TIMER_CC_0 ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x540u)

#define MODE_TIMER 0u
#define BITMODE_32 3u

void elearn_timer_init(void)
{
    TIMER_STOP = 1u;
    TIMER_MODE = MODE_TIMER;
    TIMER_BITMODE = BITMODE_32;
    TIMER_PRESCALER = 0u;
    TIMER_CLEAR = 1u;
    TIMER_START = 1u;
}

uint32_t elearn_port_ticks(void)
{
    TIMER_CAPTURE_0 = 1u;
    return TIMER_CC_0;
}

uint32_t elearn_port_counter_hz(void)
{
    return elearn_clock_bus_hz(1u);
}
