/* What the drivers of a Cortex-M board give each other: registers, interrupts, and one init function for each part.
 * References: Armv7-M Architecture Reference Manual (DDI0403), B3.4 (NVIC); Armv6-M has its first registers. */
#ifndef ELEARN_CORTEX_M_PORT_H
#define ELEARN_CORTEX_M_PORT_H

#include <stdint.h>

#define ELEARN_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

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

/* Bring the processor to its full clock, or leave it on the one it woke up with. */
void elearn_clock_init(void);

/* The clocks really in use, in Hz: of the processor, and of peripheral bus 1 or 2. */
uint32_t elearn_clock_core_hz(void);
uint32_t elearn_clock_bus_hz(uint32_t bus);

void elearn_timer_init(void);

/* The serial line. The handler is the entry of its receive interrupt in the vector table. */
void elearn_uart_init(void);
void elearn_uart_interrupt(void);

/* The entry of the non-maskable interrupt, for flash that raises it: see stm32l4_flash.c. */
void elearn_flash_nmi(void);

/* The vector table's first entries; the rest of it is generated (src/elearn_vectors.c). */
void elearn_reset_handler(void);
void elearn_fault_handler(void);

#endif
