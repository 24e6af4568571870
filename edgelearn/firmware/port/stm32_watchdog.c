/* The independent watchdog of an STM32 (IWDG), and why the chip was reset.
 *
 * It counts an oscillator of its own of 32 kHz, which on some families is anything from 17 to 47 kHz, also while the
 * processor sleeps: so SysTick ends each sleep in time. It is started for one sleep and stopped after it, while
 * interrupts are masked, so that it needs no handler and takes no time from anything that is counted.
 * References: RM0090, 7.3.21 (RCC_CSR), 21 (IWDG), 38.16.4 (DBGMCU_APB1_FZ); RM0351, 6.4.29 (RCC_CSR), 39 (IWDG);
 * Armv7-M Architecture Reference Manual (DDI0403), B3.2.4 (ICSR), B3.3 (SysTick).
 *
 * The board file gives in port.defines:
 *   ELEARN_WATCHDOG_MS (16 to 32768): how long the firmware may be busy without a sign of life
 *   ELEARN_RESET_CAUSE_ADDRESS: RCC_CSR
 *   ELEARN_RESET_CAUSE_POWER_MASK: its flags of a power-on or brown-out reset
 *   ELEARN_RESET_CAUSE_CLEAR_BIT (0 to 31): number of its bit RMVF */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"
#include "elearn_protocol.h"

#define RCC_CSR ELEARN_REGISTER(ELEARN_RESET_CAUSE_ADDRESS)

/* The same on all families; what they have in the bits below tells of power, the pin and the clearing of all. */
#define CSR_WINDOW_WATCHDOG (1u << 30)
#define CSR_WATCHDOG (1u << 29)
#define CSR_SOFTWARE (1u << 28)
#define CSR_PIN (1u << 26)

#define IWDG_KR ELEARN_REGISTER(0x40003000u)
#define IWDG_PR ELEARN_REGISTER(0x40003004u)
#define IWDG_RLR ELEARN_REGISTER(0x40003008u)
#define IWDG_SR_ADDRESS 0x4000300Cu

#define KEY_START 0xCCCCu
#define KEY_UNLOCK 0x5555u
#define KEY_RELOAD 0xAAAAu
#define DIVIDE_BY_256 6u
#define SR_UPDATES 3u
#define LOW_CLOCK_HZ 32000u
/* Looks of the wait loop: six cycles of the slowest oscillator, divided by 256, are 90 ms. It is only waited for so
 * that the watchdog is fed with its new settings. */
#define UPDATE_LOOKS 400000u

/* It stands still while a debugger holds the processor. */
#define DBGMCU_APB1_FREEZE ELEARN_REGISTER(0xE0042008u)
#define FREEZE_WATCHDOG (1u << 12)

#define SYSTICK_CTRL ELEARN_REGISTER(0xE000E010u)
#define SYSTICK_LOAD ELEARN_REGISTER(0xE000E014u)
#define SYSTICK_VALUE ELEARN_REGISTER(0xE000E018u)
#define SYSTICK_MOST 0x00FFFFFFu
#define CTRL_RUN 7u
#define ICSR ELEARN_REGISTER(0xE000ED04u)
#define ICSR_CLEAR_SYSTICK (1u << 25)

uint32_t elearn_watchdog_reset_cause(void)
{
    const uint32_t reasons = RCC_CSR;

    RCC_CSR = reasons | (1u << ELEARN_RESET_CAUSE_CLEAR_BIT);
    /* Power first: it leaves nothing of what was before. The pin last: it is pulled by all others. */
    if ((reasons & ELEARN_RESET_CAUSE_POWER_MASK) != 0u) {
        return ELEARN_RESET_POWER_ON;
    }
    if ((reasons & (CSR_WATCHDOG | CSR_WINDOW_WATCHDOG)) != 0u) {
        return ELEARN_RESET_WATCHDOG;
    }
    if ((reasons & CSR_SOFTWARE) != 0u) {
        return ELEARN_RESET_SOFTWARE;
    }
    return (reasons & CSR_PIN) != 0u ? ELEARN_RESET_PIN : ELEARN_RESET_UNKNOWN;
}

void elearn_watchdog_start(void)
{
    DBGMCU_APB1_FREEZE |= FREEZE_WATCHDOG;
    IWDG_KR = KEY_START;
    /* ST's bootloader has written to both and left the oscillator off: what is pending keeps others out. */
    (void)elearn_wait_for(IWDG_SR_ADDRESS, SR_UPDATES, 0u, UPDATE_LOOKS);
    IWDG_KR = KEY_UNLOCK;
    IWDG_PR = DIVIDE_BY_256;
    IWDG_RLR = ELEARN_WATCHDOG_MS * (LOW_CLOCK_HZ / 1000u) / 256u - 1u;
    (void)elearn_wait_for(IWDG_SR_ADDRESS, SR_UPDATES, 0u, UPDATE_LOOKS);
    elearn_port_feed();
}

void elearn_watchdog_sleep(void)
{
    SYSTICK_LOAD = SYSTICK_MOST;
    SYSTICK_VALUE = 0u;
    SYSTICK_CTRL = CTRL_RUN;
    elearn_wait_for_interrupt();
    SYSTICK_CTRL = 0u;
    ICSR = ICSR_CLEAR_SYSTICK;
    /* Taken back before interrupts are let in again: SysTick has no handler. */
    __asm volatile("dsb\n\tisb" ::: "memory");
}

void elearn_port_feed(void)
{
    IWDG_KR = KEY_RELOAD;
}
