/* The watchdog of an nRF51 or nRF52, and why the chip was reset.
 *
 * It stands still while the processor sleeps, so that a device that waits for its host need not wake up to feed it.
 * It runs on over a reset by software: where it runs already, started by us or by a bootloader, its settings are locked
 * and it is fed as it is, in every register, for those that it does not ask for take no notice.
 * References: nRF51 Series Reference Manual v3.0, 12.1.10 and 13 (POWER: RESETREAS), 23 (WDT); nRF52832 Product
 * Specification v1.4, 18 (POWER: reset), 33 (WDT).
 *
 * The board file gives in port.defines:
 *   ELEARN_WATCHDOG_MS (1000 to 131000000): how long the firmware may be busy without a sign of life */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"
#include "elearn_protocol.h"

#define POWER_RESETREAS ELEARN_REGISTER(0x40000400u)

#define RESETREAS_PIN (1u << 0)
#define RESETREAS_WATCHDOG (1u << 1)
#define RESETREAS_SOFTWARE (1u << 2)
#define RESETREAS_LOCKUP (1u << 3)

#define WDT_START ELEARN_REGISTER(0x40010000u)
#define WDT_RUNSTATUS ELEARN_REGISTER(0x40010400u)
#define WDT_CRV ELEARN_REGISTER(0x40010504u)
#define WDT_RREN ELEARN_REGISTER(0x40010508u)
#define WDT_CONFIG ELEARN_REGISTER(0x4001050Cu)
#define WDT_RR(n) ELEARN_REGISTER(0x40010600u + 4u * (n))

#define CONFIG_PAUSE_IN_SLEEP_AND_HALT 0u
#define RELOAD 0x6E524635u
#define RELOAD_REGISTERS 8u
#define LOW_CLOCK_HZ 32768u

uint32_t elearn_watchdog_reset_cause(void)
{
    const uint32_t reasons = POWER_RESETREAS;

    /* A one clears its bit. */
    POWER_RESETREAS = reasons;
    if (reasons != 0u && POWER_RESETREAS == reasons) {
        return ELEARN_RESET_UNKNOWN; /* no such register: an emulator */
    }
    /* The pin first: with it, bits of what did not happen may be set (nRF52 anomaly 136). */
    if ((reasons & RESETREAS_PIN) != 0u) {
        return ELEARN_RESET_PIN;
    }
    if ((reasons & RESETREAS_WATCHDOG) != 0u) {
        return ELEARN_RESET_WATCHDOG;
    }
    if ((reasons & RESETREAS_LOCKUP) != 0u) {
        return ELEARN_RESET_LOCKUP;
    }
    if ((reasons & RESETREAS_SOFTWARE) != 0u) {
        return ELEARN_RESET_SOFTWARE;
    }
    /* Nothing is noted of a reset by power that comes on or sags. */
    return reasons == 0u ? ELEARN_RESET_POWER_ON : ELEARN_RESET_UNKNOWN;
}

void elearn_watchdog_start(void)
{
    if (WDT_RUNSTATUS == 0u) {
        WDT_CONFIG = CONFIG_PAUSE_IN_SLEEP_AND_HALT;
        WDT_CRV = ELEARN_WATCHDOG_MS / 1000u * LOW_CLOCK_HZ - 1u;
        WDT_RREN = 1u;
        WDT_START = 1u;
    }
    elearn_port_feed();
}

void elearn_watchdog_sleep(void)
{
    elearn_wait_for_interrupt();
}

void elearn_port_feed(void)
{
    for (uint32_t i = 0; i < RELOAD_REGISTERS; ++i) {
        WDT_RR(i) = RELOAD;
    }
}
