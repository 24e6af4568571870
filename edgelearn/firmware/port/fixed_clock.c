/* The clock of a board that runs at one speed from reset on: nothing to set up. */
#include "cortex_m_port.h"
#include "elearn_board.h"

void elearn_clock_init(void)
{
}

uint32_t elearn_clock_core_hz(void)
{
    return ELEARN_CLOCK_HZ;
}

uint32_t elearn_clock_bus_hz(uint32_t bus)
{
    (void)bus;
    return ELEARN_CLOCK_HZ;
}
