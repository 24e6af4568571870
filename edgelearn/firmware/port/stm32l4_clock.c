/* The clock of an STM32L4 or STM32L4+: the internal 16 MHz oscillator, which is accurate enough for a serial line, and
 * the PLL on it; where the PLL does not start, the oscillator alone. Every wait is bounded.
 *
 * Above 80 MHz, which only the L4+ reaches, the regulator is boosted, and the processor goes there by way of half the
 * frequency.
 * References: RM0351 (STM32L47x, L48x, L49x, L4Ax), 3.3.3 (wait states), 5.1.8 (voltage ranges), 5.4.2 and 5.4.7
 * (PWR_CR2, PWR_SR2), 6.2 and 6.4 (RCC); RM0432 (STM32L4R, L4S, L4P, L4Q), 3.3.3, 5.1.8 (boost: the steps), 5.4.22
 * (PWR_CR5), 6.4.
 *
 * The board file gives in port.defines:
 *   ELEARN_PLL_M (1 to 16): first divider of the PLL, PLLM, which 16 MHz feed
 *   ELEARN_PLL_N (8 to 127): its multiplier, PLLN
 *   ELEARN_PLL_R (2, 4, 6, 8): its divider for the processor, PLLR
 *   ELEARN_BOOST (0 to 1): whether the frequency wants the boosted range 1, which only the L4+ has
 *   ELEARN_BUS1_DIVIDER (1, 2, 4, 8, 16): what the processor's clock is divided by for bus 1
 *   ELEARN_BUS2_DIVIDER (1, 2, 4, 8, 16): the same for bus 2
 *   ELEARN_FLASH_WAIT_STATES (0 to 15): LATENCY of FLASH_ACR, for that frequency
 *   ELEARN_IO2_SUPPLY (0 to 1): whether VDDIO2 supplies the pins of the serial line, as it does port G */
#include "cortex_m_port.h"
#include "elearn_board.h"

#define RCC_CR_ADDRESS 0x40021000u
#define RCC_CR ELEARN_REGISTER(RCC_CR_ADDRESS)
#define RCC_CFGR_ADDRESS 0x40021008u
#define RCC_CFGR ELEARN_REGISTER(RCC_CFGR_ADDRESS)
#define RCC_PLLCFGR ELEARN_REGISTER(0x4002100Cu)
#define RCC_APB1ENR1 ELEARN_REGISTER(0x40021058u)
#define PWR_CR1 ELEARN_REGISTER(0x40007000u)
#define PWR_CR2 ELEARN_REGISTER(0x40007004u)
#define PWR_SR2_ADDRESS 0x40007014u
#define PWR_CR5 ELEARN_REGISTER(0x40007080u)
#define FLASH_ACR_ADDRESS 0x40022000u
#define FLASH_ACR ELEARN_REGISTER(FLASH_ACR_ADDRESS)

#define CR_HSI_ON (1u << 8)
#define CR_HSI_READY (1u << 10)
#define CR_PLL_ON (1u << 24)
#define CR_PLL_READY (1u << 25)

#define CFGR_SWITCH_MASK 3u
#define CFGR_SWITCH_HSI 1u
#define CFGR_SWITCH_PLL 3u
#define CFGR_STATUS_SHIFT 2
#define CFGR_CORE_DIVIDER_MASK (0xFu << 4)
#define CFGR_CORE_BY_2 (8u << 4)
/* 0 for 1, 4 for 2, 5 for 4, 6 for 8, 7 for 16 */
#define BUS_DIVIDER(n) ((n) == 1u ? 0u : (n) == 2u ? 4u : (n) == 4u ? 5u : (n) == 8u ? 6u : 7u)
#define CFGR_BUSES (BUS_DIVIDER(ELEARN_BUS1_DIVIDER) << 8 | BUS_DIVIDER(ELEARN_BUS2_DIVIDER) << 11)

#define PLLCFGR_SOURCE_HSI 2u
#define PLLCFGR_M_SHIFT 4
#define PLLCFGR_N_SHIFT 8
#define PLLCFGR_R_ENABLE (1u << 24)
#define PLLCFGR_R_SHIFT 25

#define APB1ENR1_PWR (1u << 28)
#define CR1_RANGE_MASK (3u << 9)
#define CR1_RANGE_1 (1u << 9)
#define CR2_IO2_VALID (1u << 9)
#define SR2_RANGE_CHANGES (1u << 10)
#define CR5_RANGE_1_UNBOOSTED (1u << 8)

#define ACR_PREFETCH (1u << 8)
#define ACR_INSTRUCTION_CACHE (1u << 9)
#define ACR_DATA_CACHE (1u << 10)
#define ACR_LATENCY_MASK 0xFu

#define INTERNAL_OSCILLATOR_HZ 16000000u
/* After a reset, where not even the internal oscillator starts. */
#define RESET_HZ 4000000u

/* Looks of the wait loop, about 8 cycles each: 50 ms at 16 MHz. */
#define WAIT_LOOKS 100000u
/* The same for the microsecond that half the frequency is to last. */
#define HALF_LOOKS 100u

static uint32_t core_hz = RESET_HZ;

static int switch_to(uint32_t clock)
{
    RCC_CFGR = (RCC_CFGR & ~CFGR_SWITCH_MASK) | clock;
    return elearn_wait_for(RCC_CFGR_ADDRESS, CFGR_SWITCH_MASK << CFGR_STATUS_SHIFT, clock << CFGR_STATUS_SHIFT,
                           WAIT_LOOKS);
}

/* To the internal oscillator, and the PLL off: while it runs its settings are locked. */
static int leave_pll(void)
{
    RCC_CR |= CR_HSI_ON;
    if (!elearn_wait_for(RCC_CR_ADDRESS, CR_HSI_READY, CR_HSI_READY, WAIT_LOOKS)) {
        return 0;
    }
    if (!switch_to(CFGR_SWITCH_HSI)) {
        return 0;
    }
    core_hz = INTERNAL_OSCILLATOR_HZ;
    RCC_CFGR = CFGR_BUSES | CFGR_SWITCH_HSI;
    RCC_CR &= ~CR_PLL_ON;
    return elearn_wait_for(RCC_CR_ADDRESS, CR_PLL_READY, 0u, WAIT_LOOKS);
}

static int start_pll(void)
{
    PWR_CR1 = (PWR_CR1 & ~CR1_RANGE_MASK) | CR1_RANGE_1;
    if (!elearn_wait_for(PWR_SR2_ADDRESS, SR2_RANGE_CHANGES, 0u, WAIT_LOOKS)) {
        return 0;
    }
    if (ELEARN_BOOST != 0u) {
        RCC_CFGR |= CFGR_CORE_BY_2;
        PWR_CR5 &= ~CR5_RANGE_1_UNBOOSTED;
    }
    RCC_PLLCFGR = PLLCFGR_SOURCE_HSI | ((ELEARN_PLL_M - 1u) << PLLCFGR_M_SHIFT) | (ELEARN_PLL_N << PLLCFGR_N_SHIFT) |
                  ((ELEARN_PLL_R / 2u - 1u) << PLLCFGR_R_SHIFT);
    RCC_CR |= CR_PLL_ON;
    if (!elearn_wait_for(RCC_CR_ADDRESS, CR_PLL_READY, CR_PLL_READY, WAIT_LOOKS)) {
        return 0;
    }
    RCC_PLLCFGR |= PLLCFGR_R_ENABLE;
    FLASH_ACR = ELEARN_FLASH_WAIT_STATES | ACR_PREFETCH | ACR_INSTRUCTION_CACHE | ACR_DATA_CACHE;
    return elearn_wait_for(FLASH_ACR_ADDRESS, ACR_LATENCY_MASK, ELEARN_FLASH_WAIT_STATES, WAIT_LOOKS);
}

void elearn_clock_init(void)
{
    RCC_APB1ENR1 |= APB1ENR1_PWR;
    (void)RCC_APB1ENR1;
    if (ELEARN_IO2_SUPPLY != 0u) {
        /* The pins of a port with a supply of its own are cut off until somebody says that it is there. */
        PWR_CR2 |= CR2_IO2_VALID;
    }
    if (!leave_pll()) {
        return;
    }
    if (start_pll() && switch_to(CFGR_SWITCH_PLL)) {
        /* Never so: it only takes its time. */
        (void)elearn_wait_for(RCC_CFGR_ADDRESS, 0u, 1u, HALF_LOOKS);
        core_hz = ELEARN_CLOCK_HZ;
    } else if (switch_to(CFGR_SWITCH_HSI)) {
        RCC_CR &= ~CR_PLL_ON;
    }
    RCC_CFGR &= ~CFGR_CORE_DIVIDER_MASK;
}

uint32_t elearn_clock_core_hz(void)
{
    return core_hz;
}

uint32_t elearn_clock_bus_hz(uint32_t bus)
{
    return core_hz / (bus == 1u ? ELEARN_BUS1_DIVIDER : ELEARN_BUS2_DIVIDER);
}
