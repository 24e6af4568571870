/* For a board whose hardware has no watchdog that we drive, and does not tell why it was reset. */
#include "cortex_m_port.h"
#include "elearn_port.h"
#include "elearn_protocol.h"

uint32_t elearn_watchdog_reset_cause(void)
{
    return ELEARN_RESET_UNKNOWN;
}

void elearn_watchdog_start(void)
{
}

void elearn_watchdog_sleep(void)
{
    elearn_wait_for_interrupt();
}

void elearn_port_feed(void)
{
}
