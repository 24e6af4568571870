/* What the drivers of a Cortex-M board give each other: registers, interrupts, and one init function for each part.
 * References: Armv7-M Architecture Reference Manual (DDI0403), B3.4 (NVIC); Armv6-M has its first registers. */
#ifndef ELEARN_CORTEX_M_PORT_H
#define ELEARN_CORTEX_M_PORT_H

#include <stdint.h>

#ifndef ELEARN_REGISTER /* tests put a model of the registers in its place */
#define ELEARN_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#endif

#define ELEARN_NVIC_SET_ENABLE_ADDRESS 0xE000E100u
#define ELEARN_NVIC_CLEAR_ENABLE_ADDRESS 0xE000E180u

/* Let the interrupt with this number reach the processor. */
static inline void elearn_interrupt_enable(uint32_t number)
{
    ELEARN_REGISTER(ELEARN_NVIC_SET_ENABLE_ADDRESS + 4u * (number / 32u)) = 1u << (number % 32u);
}

/* Keep it away; it stays pending while its cause lasts. */
static inline void elearn_interrupt_disable(uint32_t number)
{
    ELEARN_REGISTER(ELEARN_NVIC_CLEAR_ENABLE_ADDRESS + 4u * (number / 32u)) = 1u << (number % 32u);
}

/* Whether bits of a register come to have a value within so many looks at it, each of several cycles. */
static inline int elearn_wait_for(uint32_t address, uint32_t mask, uint32_t value, uint32_t looks)
{
    while (looks-- > 0u) {
        if ((ELEARN_REGISTER(address) & mask) == value) {
            return 1;
        }
    }
    return 0;
}

/* Sleep until an interrupt is pending; called where all are masked, so that it ends for one and does not run it. */
static inline void elearn_wait_for_interrupt(void)
{
    __asm volatile("dsb\n\twfi" ::: "memory");
}

/* Bring the processor to its full clock, or leave it on the one it woke up with. */
void elearn_clock_init(void);

/* The clocks really in use, in Hz: of the processor, and of peripheral bus 1 or 2. */
uint32_t elearn_clock_core_hz(void);
uint32_t elearn_clock_bus_hz(uint32_t bus);

void elearn_timer_init(void);

/* Why the hardware was reset, a code ELEARN_RESET_; it forgets that. */
uint32_t elearn_watchdog_reset_cause(void);

/* From now on elearn_port_feed() is wanted. */
void elearn_watchdog_start(void);

/* elearn_wait_for_interrupt(), but not longer than the watchdog has patience. */
void elearn_watchdog_sleep(void);

/* The serial line. The handler is the entry of its receive interrupt in the vector table. */
void elearn_uart_init(void);
void elearn_uart_interrupt(void);

/* The entry of the non-maskable interrupt, for flash that raises it: see stm32l4_flash.c. */
void elearn_flash_nmi(void);

/* Words that outlive a reset, given by the linker script. */
#define ELEARN_KEPT_WORDS 12u

/* Why the device started, before anything else may forget it. */
void elearn_reset_init(void);

/* The vector table's first entries; the rest of it is generated (src/elearn_vectors.c). */
void elearn_reset_handler(void);
void elearn_fault_handler(void);

#endif
