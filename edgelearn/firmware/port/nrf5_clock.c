/* The clock of an nRF51 or nRF52: the crystal oscillator, which the serial line wants for its accuracy; where it does
 * not start, the internal one of the same frequency, which the chip wakes up with.
 *
 * The peripherals run at 16 MHz on both; the processor at 16 MHz (nRF51) or 64 MHz (nRF52).
 * References: nRF51 Series Reference Manual v3.0, 12 (CLOCK); nRF52832 Product Specification v1.4, 19 (CLOCK). */
#include "cortex_m_port.h"
#include "elearn_board.h"

#define CLOCK_HFCLKSTART ELEARN_REGISTER(0x40000000u)
#define CLOCK_HFCLKSTARTED ELEARN_REGISTER(0x40000100u)

#define PERIPHERAL_HZ 16000000u

/* Turns of the wait loop, about 8 cycles each: 10 ms at 64 MHz, 40 ms at 16 MHz. A crystal needs about 1 ms. */
#define WAIT_TURNS 80000u

void elearn_clock_init(void)
{
    uint32_t turns = WAIT_TURNS;

    CLOCK_HFCLKSTARTED = 0u;
    CLOCK_HFCLKSTART = 1u;
    while (CLOCK_HFCLKSTARTED == 0u && turns > 0u) {
        --turns;
    }
}

uint32_t elearn_clock_core_hz(void)
{
    return ELEARN_CLOCK_HZ;
}

uint32_t elearn_clock_bus_hz(uint32_t bus)
{
    (void)bus;
    return PERIPHERAL_HZ;
}
