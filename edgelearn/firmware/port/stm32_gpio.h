/* A pin of an STM32 for its serial line: an alternate function, pulled up.
 * References: RM0090, 8.4 (GPIO registers); the same on the F7 and the L4.
 *
 * The board file gives in port.defines:
 *   ELEARN_UART_ENABLE_ADDRESS: the RCC register that switches the serial line on
 *   ELEARN_UART_ENABLE_BIT (0 to 31): its bit there
 *   ELEARN_UART_GPIO_ENABLE_ADDRESS: the RCC register that switches the ports of its pins on
 *   ELEARN_UART_TX_GPIO_ADDRESS: the first register of the port of the pin that sends
 *   ELEARN_UART_TX_GPIO_ENABLE_BIT (0 to 31): the bit that switches that port on
 *   ELEARN_UART_TX_PIN (0 to 15): number of the pin in that port
 *   ELEARN_UART_RX_GPIO_ADDRESS: the first register of the port of the pin that receives
 *   ELEARN_UART_RX_GPIO_ENABLE_BIT (0 to 31): the bit that switches that port on
 *   ELEARN_UART_RX_PIN (0 to 15): number of the pin in that port
 *   ELEARN_UART_ALTERNATE_FUNCTION (0 to 15): with which both pins are the serial line's */
#ifndef ELEARN_STM32_GPIO_H
#define ELEARN_STM32_GPIO_H

#include "cortex_m_port.h"
#include "elearn_board.h"

#define ELEARN_GPIO_MODE_ALTERNATE 2u
#define ELEARN_GPIO_SPEED_HIGH 2u
#define ELEARN_GPIO_PULL_UP 1u

/* Change `bits` bits of a register, at place `place` of fields as wide. */
static inline void elearn_gpio_set(uint32_t address, uint32_t bits, uint32_t place, uint32_t value)
{
    const uint32_t shift = bits * place;

    ELEARN_REGISTER(address) = (ELEARN_REGISTER(address) & ~(((1u << bits) - 1u) << shift)) | (value << shift);
}

/* `port` is the address of its registers, whose clock is on. An open receive pin must not read as a stream of zeros. */
static inline void elearn_gpio_serial_pin(uint32_t port, uint32_t pin, uint32_t function)
{
    elearn_gpio_set(port + 0x20u + 4u * (pin / 8u), 4u, pin % 8u, function);
    elearn_gpio_set(port + 0x08u, 2u, pin, ELEARN_GPIO_SPEED_HIGH);
    elearn_gpio_set(port + 0x0Cu, 2u, pin, ELEARN_GPIO_PULL_UP);
    elearn_gpio_set(port + 0x00u, 2u, pin, ELEARN_GPIO_MODE_ALTERNATE);
}

/* Both pins, which may be of two ports, and the clock of the serial line itself. */
static inline void elearn_gpio_serial_init(void)
{
    ELEARN_REGISTER(ELEARN_UART_GPIO_ENABLE_ADDRESS) |=
        (1u << ELEARN_UART_TX_GPIO_ENABLE_BIT) | (1u << ELEARN_UART_RX_GPIO_ENABLE_BIT);
    ELEARN_REGISTER(ELEARN_UART_ENABLE_ADDRESS) |= 1u << ELEARN_UART_ENABLE_BIT;
    /* The clock reaches a peripheral two cycles after it was enabled: read back before the first access. */
    (void)ELEARN_REGISTER(ELEARN_UART_ENABLE_ADDRESS);
    elearn_gpio_serial_pin(ELEARN_UART_TX_GPIO_ADDRESS, ELEARN_UART_TX_PIN, ELEARN_UART_ALTERNATE_FUNCTION);
    elearn_gpio_serial_pin(ELEARN_UART_RX_GPIO_ADDRESS, ELEARN_UART_RX_PIN, ELEARN_UART_ALTERNATE_FUNCTION);
}

#endif
