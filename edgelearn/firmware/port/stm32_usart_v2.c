/* A USART or LPUART of the STM32 with the second register set (F0, F3, F7, L0, L4, ...): interrupt-driven reception,
 * polled sending.
 *
 * A low-power one (ELEARN_UART_LOW_POWER) divides its clock in steps of 1/256 rather than of one.
 * References: RM0385, 31.5.3 (receiver, overrun), 31.5.4 (baud rate), 31.8 (USART registers); RM0351, 41.4.4 and 41.7
 * (LPUART: baud rate, registers).
 *
 * The board file gives in port.defines:
 *   ELEARN_UART_ADDRESS: the first register of the serial line
 *   ELEARN_UART_INTERRUPT (0 to 495): number of its interrupt, which `interrupts` gives elearn_uart_interrupt
 *   ELEARN_UART_APB (1 to 2): the bus that it is on
 *   ELEARN_UART_LOW_POWER (0 to 1): whether it is a low-power one (LPUART) */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"
#include "stm32_gpio.h"
#include "uart_ring.h"

#define USART_CR1 ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x00u)
#define USART_CR2 ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x04u)
#define USART_CR3 ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x08u)
#define USART_BRR ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x0Cu)
#define USART_ISR ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x1Cu)
#define USART_ICR ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x20u)
#define USART_RDR ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x24u)
#define USART_TDR ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x28u)

#define CR1_ENABLE (1u << 0)
#define CR1_RECEIVE (1u << 2)
#define CR1_SEND (1u << 3)
#define CR1_RECEIVED_INTERRUPT (1u << 5)

#define ISR_OVERRUN (1u << 3)
#define ISR_RECEIVED (1u << 5)
#define ISR_SEND_EMPTY (1u << 7)
/* Parity, framing, noise and overrun errors. */
#define ICR_ERRORS 0xFu
#define ICR_OVERRUN (1u << 3)

/* Polls before a byte is given up: twice the processor cycles of one, and a poll takes several; at a slower clock they
 * take longer. The host asks again. */
#define SEND_POLLS (20u * (ELEARN_CLOCK_HZ / ELEARN_BAUD))

/* `steps` for each unit of the register's whole divider, rounded to nearest, without a product beyond 32 bits. */
static uint32_t divider(uint32_t clock_hz, uint32_t steps)
{
    return clock_hz / ELEARN_BAUD * steps + (clock_hz % ELEARN_BAUD * steps + ELEARN_BAUD / 2u) / ELEARN_BAUD;
}

void elearn_uart_init(void)
{
    elearn_gpio_serial_init();
    /* Off while it is set up. */
    USART_CR1 = 0u;
    USART_CR2 = 0u;
    USART_CR3 = 0u;
    USART_BRR = divider(elearn_clock_bus_hz(ELEARN_UART_APB), ELEARN_UART_LOW_POWER != 0u ? 256u : 1u);
    USART_ICR = ICR_ERRORS;
    USART_CR1 = CR1_ENABLE | CR1_SEND | CR1_RECEIVE | CR1_RECEIVED_INTERRUPT;
    elearn_interrupt_enable(ELEARN_UART_INTERRUPT);
}

void elearn_uart_interrupt(void)
{
    uint32_t status;

    if (elearn_ring_is_full()) {
        return;
    }
    status = USART_ISR;
    if ((status & ISR_OVERRUN) != 0u) {
        USART_ICR = ICR_OVERRUN;
        elearn_ring_count_overrun();
    }
    /* An overrun leaves the byte that was there first. */
    if ((status & ISR_RECEIVED) != 0u) {
        elearn_ring_put((uint8_t)USART_RDR);
    }
}

void elearn_port_write(const uint8_t *source, uint32_t size)
{
    for (uint32_t i = 0; i < size; ++i) {
        uint32_t polls = SEND_POLLS;
        while ((USART_ISR & ISR_SEND_EMPTY) == 0u && polls > 0u) {
            --polls;
        }
        if (polls > 0u) {
            USART_TDR = source[i];
        }
    }
}
