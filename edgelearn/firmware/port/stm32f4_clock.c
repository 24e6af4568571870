/* The clock of the STM32F4: crystal and PLL; where one of them does not start, the internal 16 MHz oscillator.
 *
 * Every wait is bounded, so a dead crystal, or an emulator without a clock controller (its registers read 0), still
 * boots. The buses keep their ratio to the processor's clock either way (bus 1 a quarter, bus 2 a half), and so does
 * the counter of stm32_timer.c.
 * References: RM0090, 3.5.1 (wait states), 3.9.1 (FLASH_ACR), 5.4.1 (PWR_CR), 7.2 (clocks), 7.3.1 to 7.3.3 and 7.3.13
 * (RCC_CR, RCC_PLLCFGR, RCC_CFGR, RCC_APB1ENR). */
#include "cortex_m_port.h"
#include "elearn_board.h"

#define RCC_CR ELEARN_REGISTER(0x40023800u)
#define RCC_PLLCFGR ELEARN_REGISTER(0x40023804u)
#define RCC_CFGR ELEARN_REGISTER(0x40023808u)
#define RCC_APB1ENR ELEARN_REGISTER(0x40023840u)
#define PWR_CR ELEARN_REGISTER(0x40007000u)
#define FLASH_ACR ELEARN_REGISTER(0x40023C00u)

#define CR_HSI_ON (1u << 0)
#define CR_HSI_READY (1u << 1)
#define CR_HSE_ON (1u << 16)
#define CR_HSE_READY (1u << 17)
#define CR_PLL_ON (1u << 24)
#define CR_PLL_READY (1u << 25)

#define PLLCFGR_N_SHIFT 6
#define PLLCFGR_P_SHIFT 16
#define PLLCFGR_SOURCE_HSE (1u << 22)
#define PLLCFGR_Q_SHIFT 24

#define CFGR_SWITCH_MASK 3u
#define CFGR_SWITCH_PLL 2u
#define CFGR_STATUS_SHIFT 2
#define CFGR_BUS1_DIVIDE_BY_4 (5u << 10)
#define CFGR_BUS2_DIVIDE_BY_2 (4u << 13)

#define APB1ENR_PWR (1u << 28)
/* On the F405 and its like; on the F42x the other bit of the field is set from reset on. */
#define PWR_CR_SCALE_1 (1u << 14)

#define ACR_PREFETCH (1u << 8)
#define ACR_INSTRUCTION_CACHE (1u << 9)
#define ACR_DATA_CACHE (1u << 10)
#define ACR_LATENCY_MASK 0xFu

#define INTERNAL_OSCILLATOR_HZ 16000000u
#define BUS1_DIVIDER 4u
#define BUS2_DIVIDER 2u

/* Turns of the wait loop, about 8 cycles each: 50 ms at 16 MHz. A crystal needs a few ms. */
#define WAIT_TURNS 100000u

static uint32_t core_hz = INTERNAL_OSCILLATOR_HZ;

static int wait_for(volatile uint32_t *address, uint32_t mask, uint32_t value)
{
    for (uint32_t turn = 0; turn < WAIT_TURNS; ++turn) {
        if ((*address & mask) == value) {
            return 1;
        }
    }
    return 0;
}

/* To the internal oscillator, and the PLL off: what ran before us may have left it on, and while it runs its settings
 * are locked. Returns 0 where this cannot be done. */
static int leave_pll(void)
{
    RCC_CR |= CR_HSI_ON;
    /* Not ready: the switch below does not come about, unless this is the clock in use. */
    (void)wait_for(&RCC_CR, CR_HSI_READY, CR_HSI_READY);
    RCC_CFGR = CFGR_BUS1_DIVIDE_BY_4 | CFGR_BUS2_DIVIDE_BY_2;
    if (!wait_for(&RCC_CFGR, CFGR_SWITCH_MASK << CFGR_STATUS_SHIFT, 0u)) {
        return 0;
    }
    RCC_CR &= ~CR_PLL_ON;
    return wait_for(&RCC_CR, CR_PLL_READY, 0u);
}

void elearn_clock_init(void)
{
    if (!leave_pll()) {
        return;
    }

    RCC_CR |= CR_HSE_ON;
    if (!wait_for(&RCC_CR, CR_HSE_READY, CR_HSE_READY)) {
        RCC_CR &= ~CR_HSE_ON;
        return;
    }

    RCC_APB1ENR |= APB1ENR_PWR;
    (void)RCC_APB1ENR;
    PWR_CR |= PWR_CR_SCALE_1;

    RCC_PLLCFGR = (uint32_t)ELEARN_PLL_M | ((uint32_t)ELEARN_PLL_N << PLLCFGR_N_SHIFT) |
                  (((uint32_t)ELEARN_PLL_P / 2u - 1u) << PLLCFGR_P_SHIFT) | PLLCFGR_SOURCE_HSE |
                  ((uint32_t)ELEARN_PLL_Q << PLLCFGR_Q_SHIFT);
    RCC_CR |= CR_PLL_ON;
    if (!wait_for(&RCC_CR, CR_PLL_READY, CR_PLL_READY)) {
        RCC_CR &= ~(CR_PLL_ON | CR_HSE_ON);
        return;
    }

    FLASH_ACR = ELEARN_FLASH_WAIT_STATES | ACR_PREFETCH | ACR_INSTRUCTION_CACHE | ACR_DATA_CACHE;
    if (!wait_for(&FLASH_ACR, ACR_LATENCY_MASK, ELEARN_FLASH_WAIT_STATES)) {
        RCC_CR &= ~(CR_PLL_ON | CR_HSE_ON);
        return;
    }

    RCC_CFGR |= CFGR_SWITCH_PLL;
    if (wait_for(&RCC_CFGR, CFGR_SWITCH_MASK << CFGR_STATUS_SHIFT, CFGR_SWITCH_PLL << CFGR_STATUS_SHIFT)) {
        core_hz = ELEARN_CLOCK_HZ;
    } else {
        RCC_CFGR &= ~CFGR_SWITCH_MASK;
    }
}

uint32_t elearn_clock_core_hz(void)
{
    return core_hz;
}

uint32_t elearn_clock_bus_hz(uint32_t bus)
{
    return core_hz / (bus == 1u ? BUS1_DIVIDER : BUS2_DIVIDER);
}
