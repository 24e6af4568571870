/* A 32-bit timer of the STM32 (TIM2 or TIM5, both on bus 1) as a free-running counter.
 *
 * It is not divided: one tick is one cycle of the timer's clock, which is twice that of its bus where the bus is
 * divided. With the bus at a quarter of the processor's clock a tick is two cycles.
 * QEMU's timer counts nanoseconds of virtual time; under `-icount shift=0` a tick is one instruction.
 * References: RM0090, 7.2 (timer clocks), 18.3 (TIM2 to TIM5), 18.4.1, 18.4.10, 18.4.12 (TIMx_CR1, CNT, ARR).
 *
 * The board file gives in port.defines:
 *   ELEARN_TIMER_ADDRESS: the first register of the timer
 *   ELEARN_TIMER_ENABLE_ADDRESS: the RCC register that switches it on
 *   ELEARN_TIMER_ENABLE_BIT (0 to 31): its bit there, and in the register that resets it
 *   ELEARN_TIMER_RESET_ADDRESS: the RCC register that resets it */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"

#define TIM_CR1 ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x00u)
#define TIM_CNT ELEARN_REGISTER(ELEARN_TIMER_ADDRESS + 0x24u)

#define CR1_ENABLE 1u

void elearn_timer_init(void)
{
    ELEARN_REGISTER(ELEARN_TIMER_ENABLE_ADDRESS) |= 1u << ELEARN_TIMER_ENABLE_BIT;
    /* A reset of the timer leaves it undivided and counting to its largest value, whatever ran before us. */
    ELEARN_REGISTER(ELEARN_TIMER_RESET_ADDRESS) |= 1u << ELEARN_TIMER_ENABLE_BIT;
    ELEARN_REGISTER(ELEARN_TIMER_RESET_ADDRESS) &= ~(1u << ELEARN_TIMER_ENABLE_BIT);
    TIM_CR1 = CR1_ENABLE;
}

uint32_t elearn_port_ticks(void)
{
    return TIM_CNT;
}

uint32_t elearn_port_counter_hz(void)
{
    const uint32_t bus_hz = elearn_clock_bus_hz(1u);

    return bus_hz == elearn_clock_core_hz() ? bus_hz : 2u * bus_hz;
}
