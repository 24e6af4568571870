/* The clock of an nRF51 or nRF52: the crystal oscillator, which the serial line wants for its accuracy; where it does
 * not start, the internal one of the same frequency, which the chip wakes up with.
 *
 * The peripherals run at 16 MHz on both; the processor at 16 MHz (nRF51) or 64 MHz (nRF52).
 * References: nRF51 Series Reference Manual v3.0, 12 (CLOCK); nRF52832 Product Specification v1.4, 19 (CLOCK),
 * 11.6.8 (NVMC: ICACHECNF); nRF52840 Product Specification v1.7, Debug and trace: access port protection.
 *
 * The board file gives in port.defines:
 *   ELEARN_FLASH_CACHE_ADDRESS (may be left out): ICACHECNF of the NVMC, where the chip has a cache */
#include "cortex_m_port.h"
#include "elearn_board.h"

#define CLOCK_HFCLKSTART ELEARN_REGISTER(0x40000000u)
#define CLOCK_HFCLKSTARTED_ADDRESS 0x40000100u
#define CLOCK_HFCLKSTARTED ELEARN_REGISTER(CLOCK_HFCLKSTARTED_ADDRESS)

/* nRF52 from 2021 on (nRF52840 F0, nRF52833 B0): the debug port is open where the UICR says so and the firmware does
 * too, after each reset. Older ones have no such register, and nobody writes that into their UICR. */
#define APPROTECT_DISABLE ELEARN_REGISTER(0x40000558u)
#define UICR_APPROTECT ELEARN_REGISTER(0x10001208u)
#define APPROTECT_MASK 0xFFu
#define APPROTECT_OPEN 0x5Au

#define PERIPHERAL_HZ 16000000u

/* Looks of the wait loop, about 8 cycles each: 10 ms at 64 MHz, 40 ms at 16 MHz. A crystal needs about 1 ms. */
#define WAIT_LOOKS 80000u

void elearn_clock_init(void)
{
#if defined(ELEARN_FLASH_CACHE_ADDRESS)
    /* Else no debug probe could flash it again without erasing all of it, with what was learned. */
    if ((UICR_APPROTECT & APPROTECT_MASK) == APPROTECT_OPEN) {
        APPROTECT_DISABLE = APPROTECT_OPEN;
    }
#endif
    CLOCK_HFCLKSTARTED = 0u;
    CLOCK_HFCLKSTART = 1u;
    (void)elearn_wait_for(CLOCK_HFCLKSTARTED_ADDRESS, 1u, 1u, WAIT_LOOKS);
#if defined(ELEARN_FLASH_CACHE_ADDRESS)
    /* Flash needs two wait states at 64 MHz; instructions that were fetched stay in the cache. */
    ELEARN_REGISTER(ELEARN_FLASH_CACHE_ADDRESS) = 1u;
#endif
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
