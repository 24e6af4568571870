/* The clock of an STM32F4 or STM32F7: an oscillator and the PLL; where one of them does not start, the internal 16 MHz
 * oscillator. The board file gives the numbers; both families have the same registers.
 *
 * Every wait is bounded, so a dead crystal, or an emulator without a clock controller (its registers read 0), still
 * boots. The buses keep their ratio to the processor's clock either way, and so does the counter of stm32_timer.c.
 * References: RM0090, 3.5.1 (wait states), 3.9.1 (FLASH_ACR), 5.1.3 and 5.1.4 (voltage scaling, over-drive), 5.4, 5.5
 * (PWR_CR, PWR_CSR), 7.2 (clocks), 7.3.1 to 7.3.3 and 7.3.13 (RCC_CR, RCC_PLLCFGR, RCC_CFGR, RCC_APB1ENR); RM0383
 * (STM32F411), RM0390 (STM32F446) and RM0385 (STM32F74x, F75x), the same sections of theirs.
 *
 * The board file gives in port.defines:
 *   ELEARN_PLL_SOURCE (0 to 2): what feeds the PLL: 0 the internal 16 MHz, 1 a crystal, 2 a clock from outside
 *   ELEARN_PLL_M (2 to 63): its first divider, PLLM
 *   ELEARN_PLL_N (50 to 432): its multiplier, PLLN
 *   ELEARN_PLL_P (2, 4, 6, 8): its divider for the processor, PLLP
 *   ELEARN_PLL_Q (2 to 15): its divider for USB, PLLQ
 *   ELEARN_VOLTAGE_SCALE (1 to 3): VOS of PWR_CR, for that frequency
 *   ELEARN_OVER_DRIVE (0 to 1): whether the frequency wants over-drive
 *   ELEARN_BUS1_DIVIDER (1, 2, 4, 8, 16): what the processor's clock is divided by for bus 1
 *   ELEARN_BUS2_DIVIDER (1, 2, 4, 8, 16): the same for bus 2
 *   ELEARN_FLASH_WAIT_STATES (0 to 15): LATENCY of FLASH_ACR, for that frequency
 *   ELEARN_FLASH_ACCELERATION: the bits of FLASH_ACR for prefetch and caches */
#include "cortex_m_port.h"
#include "elearn_board.h"

#define RCC_CR_ADDRESS 0x40023800u
#define RCC_CR ELEARN_REGISTER(RCC_CR_ADDRESS)
#define RCC_PLLCFGR ELEARN_REGISTER(0x40023804u)
#define RCC_CFGR_ADDRESS 0x40023808u
#define RCC_CFGR ELEARN_REGISTER(RCC_CFGR_ADDRESS)
#define RCC_APB1ENR ELEARN_REGISTER(0x40023840u)
#define PWR_CR ELEARN_REGISTER(0x40007000u)
#define PWR_CSR_ADDRESS 0x40007004u
#define FLASH_ACR_ADDRESS 0x40023C00u
#define FLASH_ACR ELEARN_REGISTER(FLASH_ACR_ADDRESS)

#define CR_HSI_ON (1u << 0)
#define CR_HSI_READY (1u << 1)
#define CR_HSE_ON (1u << 16)
#define CR_HSE_READY (1u << 17)
#define CR_HSE_BYPASS (1u << 18)
#define CR_PLL_ON (1u << 24)
#define CR_PLL_READY (1u << 25)

#define PLLCFGR_N_SHIFT 6
#define PLLCFGR_P_SHIFT 16
#define PLLCFGR_SOURCE_HSE (1u << 22)
#define PLLCFGR_Q_SHIFT 24
/* Above Q: reserved, or a divider that some chips have and that we do not use; its reset value is right. */
#define PLLCFGR_OTHERS 0xF0000000u

#define CFGR_SWITCH_MASK 3u
#define CFGR_SWITCH_PLL 2u
#define CFGR_STATUS_SHIFT 2
#define CFGR_BUS1_SHIFT 10
#define CFGR_BUS2_SHIFT 13
/* 0 for 1, 4 for 2, 5 for 4, 6 for 8, 7 for 16 */
#define BUS_DIVIDER(n) ((n) == 1u ? 0u : (n) == 2u ? 4u : (n) == 4u ? 5u : (n) == 8u ? 6u : 7u)
#define CFGR_BUSES \
    (BUS_DIVIDER(ELEARN_BUS1_DIVIDER) << CFGR_BUS1_SHIFT | BUS_DIVIDER(ELEARN_BUS2_DIVIDER) << CFGR_BUS2_SHIFT)

#define APB1ENR_PWR (1u << 28)
#define PWR_CR_SCALE_SHIFT 14
#define PWR_CR_SCALE_MASK (3u << PWR_CR_SCALE_SHIFT)
#define PWR_CR_OVER_DRIVE (1u << 16)
#define PWR_CR_OVER_DRIVE_SWITCH (1u << 17)
#define PWR_CSR_SCALE_READY (1u << 14)
#define PWR_CSR_OVER_DRIVE_READY (1u << 16)
#define PWR_CSR_SWITCHED (1u << 17)

/* What feeds the PLL, ELEARN_PLL_SOURCE: */
#define SOURCE_INTERNAL 0u
#define SOURCE_CRYSTAL 1u
#define SOURCE_EXTERNAL_CLOCK 2u

#define ACR_LATENCY_MASK 0xFu

#define INTERNAL_OSCILLATOR_HZ 16000000u

/* Looks of the wait loop, about 8 cycles each: 50 ms at 16 MHz. A crystal needs a few ms. */
#define WAIT_LOOKS 100000u

static uint32_t core_hz = INTERNAL_OSCILLATOR_HZ;

/* To the internal oscillator, and the PLL off: what ran before us may have left it on, and while it runs its settings
 * are locked. Returns 0 where this cannot be done. */
static int leave_pll(void)
{
    RCC_CR |= CR_HSI_ON;
    /* Not ready: the switch below does not come about, unless this is the clock in use. */
    (void)elearn_wait_for(RCC_CR_ADDRESS, CR_HSI_READY, CR_HSI_READY, WAIT_LOOKS);
    RCC_CFGR = CFGR_BUSES;
    if (!elearn_wait_for(RCC_CFGR_ADDRESS, CFGR_SWITCH_MASK << CFGR_STATUS_SHIFT, 0u, WAIT_LOOKS)) {
        return 0;
    }
    RCC_CR &= ~CR_PLL_ON;
    return elearn_wait_for(RCC_CR_ADDRESS, CR_PLL_READY, 0u, WAIT_LOOKS);
}

static int start_source(void)
{
    if (ELEARN_PLL_SOURCE == SOURCE_INTERNAL) {
        return 1;
    }
    /* How it is fed can be changed only while it is off. */
    RCC_CR &= ~CR_HSE_ON;
    (void)elearn_wait_for(RCC_CR_ADDRESS, CR_HSE_READY, 0u, WAIT_LOOKS);
    RCC_CR &= ~CR_HSE_BYPASS;
    if (ELEARN_PLL_SOURCE == SOURCE_EXTERNAL_CLOCK) {
        RCC_CR |= CR_HSE_BYPASS;
    }
    RCC_CR |= CR_HSE_ON;
    return elearn_wait_for(RCC_CR_ADDRESS, CR_HSE_READY, CR_HSE_READY, WAIT_LOOKS);
}

/* The PLL on, with the voltage and the wait states that its clock wants. Returns 0 where something does not answer. */
static int start_pll(void)
{
    RCC_APB1ENR |= APB1ENR_PWR;
    (void)RCC_APB1ENR;
    PWR_CR = (PWR_CR & ~(PWR_CR_SCALE_MASK | PWR_CR_OVER_DRIVE | PWR_CR_OVER_DRIVE_SWITCH)) |
             (ELEARN_VOLTAGE_SCALE << PWR_CR_SCALE_SHIFT);

    RCC_PLLCFGR = (RCC_PLLCFGR & PLLCFGR_OTHERS) | ELEARN_PLL_M | (ELEARN_PLL_N << PLLCFGR_N_SHIFT) |
                  ((ELEARN_PLL_P / 2u - 1u) << PLLCFGR_P_SHIFT) |
                  (ELEARN_PLL_SOURCE == SOURCE_INTERNAL ? 0u : PLLCFGR_SOURCE_HSE) |
                  (ELEARN_PLL_Q << PLLCFGR_Q_SHIFT);
    RCC_CR |= CR_PLL_ON;
    if (!elearn_wait_for(RCC_CR_ADDRESS, CR_PLL_READY, CR_PLL_READY, WAIT_LOOKS)) {
        return 0;
    }
    /* The voltage rises once the PLL runs. */
    if (!elearn_wait_for(PWR_CSR_ADDRESS, PWR_CSR_SCALE_READY, PWR_CSR_SCALE_READY, WAIT_LOOKS)) {
        return 0;
    }
    if (ELEARN_OVER_DRIVE != 0u) {
        PWR_CR |= PWR_CR_OVER_DRIVE;
        if (!elearn_wait_for(PWR_CSR_ADDRESS, PWR_CSR_OVER_DRIVE_READY, PWR_CSR_OVER_DRIVE_READY, WAIT_LOOKS)) {
            return 0;
        }
        PWR_CR |= PWR_CR_OVER_DRIVE_SWITCH;
        if (!elearn_wait_for(PWR_CSR_ADDRESS, PWR_CSR_SWITCHED, PWR_CSR_SWITCHED, WAIT_LOOKS)) {
            return 0;
        }
    }
    FLASH_ACR = ELEARN_FLASH_WAIT_STATES | ELEARN_FLASH_ACCELERATION;
    return elearn_wait_for(FLASH_ACR_ADDRESS, ACR_LATENCY_MASK, ELEARN_FLASH_WAIT_STATES, WAIT_LOOKS);
}

void elearn_clock_init(void)
{
    if (!leave_pll()) {
        return;
    }
    if (start_source() && start_pll()) {
        RCC_CFGR |= CFGR_SWITCH_PLL;
        if (elearn_wait_for(RCC_CFGR_ADDRESS, CFGR_SWITCH_MASK << CFGR_STATUS_SHIFT,
                            CFGR_SWITCH_PLL << CFGR_STATUS_SHIFT, WAIT_LOOKS)) {
            core_hz = ELEARN_CLOCK_HZ;
            return;
        }
        RCC_CFGR &= ~CFGR_SWITCH_MASK;
        /* It may yet have switched: the PLL stays on. */
        return;
    }
    RCC_CR &= ~(CR_PLL_ON | CR_HSE_ON);
}

uint32_t elearn_clock_core_hz(void)
{
    return core_hz;
}

uint32_t elearn_clock_bus_hz(uint32_t bus)
{
    return core_hz / (bus == 1u ? ELEARN_BUS1_DIVIDER : ELEARN_BUS2_DIVIDER);
}
