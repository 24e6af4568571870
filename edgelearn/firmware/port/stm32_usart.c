/* A USART of the STM32 with the first register set (F1, F2, F4, L1): interrupt-driven reception, polled sending.
 * References: RM0090, 30.3.3 (receiver, overrun), 30.3.4 (fractional baud rate), 30.6 (USART registers).
 *
 * The board file gives in port.defines:
 *   ELEARN_UART_ADDRESS: the first register of the serial line
 *   ELEARN_UART_INTERRUPT (0 to 495): number of its interrupt, which `interrupts` gives elearn_uart_interrupt
 *   ELEARN_UART_APB (1 to 2): the bus that it is on */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"
#include "stm32_gpio.h"
#include "uart_ring.h"

#define USART_SR ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x00u)
#define USART_DR ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x04u)
#define USART_BRR ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x08u)
#define USART_CR1 ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x0Cu)
#define USART_CR2 ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x10u)
#define USART_CR3 ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x14u)

#define SR_OVERRUN (1u << 3)
#define SR_RECEIVED (1u << 5)
#define SR_SEND_EMPTY (1u << 7)

#define CR1_RECEIVE (1u << 2)
#define CR1_SEND (1u << 3)
#define CR1_RECEIVED_INTERRUPT (1u << 5)
#define CR1_ENABLE (1u << 13)

/* Polls before a byte is given up: twice the processor cycles of one, and a poll takes several; at a slower clock they
 * take longer. The host asks again. */
#define SEND_POLLS (20u * (ELEARN_CLOCK_HZ / ELEARN_BAUD))

void elearn_uart_init(void)
{
    const uint32_t bus_hz = elearn_clock_bus_hz(ELEARN_UART_APB);

    elearn_gpio_serial_init();
    USART_CR1 = 0u;
    USART_CR2 = 0u;
    USART_CR3 = 0u;
    /* Sixteen samples a bit: the register holds clock / baud, its lowest four bits being the fraction. */
    USART_BRR = (bus_hz + ELEARN_BAUD / 2u) / ELEARN_BAUD;
    USART_CR1 = CR1_ENABLE | CR1_SEND | CR1_RECEIVE | CR1_RECEIVED_INTERRUPT;
    elearn_interrupt_enable(ELEARN_UART_INTERRUPT);
}

void elearn_uart_interrupt(void)
{
    uint32_t status;

    if (elearn_ring_is_full()) {
        return;
    }
    status = USART_SR;
    if ((status & SR_OVERRUN) != 0u) {
        elearn_ring_count_overrun();
    }
    /* Reading the data after the status clears both flags. After an overrun the data may be valid or stale. */
    if ((status & (SR_RECEIVED | SR_OVERRUN)) != 0u) {
        const uint8_t byte = (uint8_t)USART_DR;
        if ((status & SR_RECEIVED) != 0u) {
            elearn_ring_put(byte);
        }
    }
}

void elearn_port_write(const uint8_t *source, uint32_t size)
{
    for (uint32_t i = 0; i < size; ++i) {
        uint32_t polls = SEND_POLLS;
        while ((USART_SR & SR_SEND_EMPTY) == 0u && polls > 0u) {
            --polls;
        }
        if (polls > 0u) {
            USART_DR = source[i];
        }
    }
}
