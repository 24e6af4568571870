/* The UART of Arm's Cortex-M System Design Kit: interrupt-driven reception, polled sending.
 * References: DDI0479D, 4.3 (APB UART).
 *
 * The board file gives in port.defines:
 *   ELEARN_UART_ADDRESS: the first register of the serial line
 *   ELEARN_UART_INTERRUPT (0 to 495): number of its interrupt, which `interrupts` gives elearn_uart_interrupt */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"
#include "uart_ring.h"

#define UART_DATA ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x00u)
#define UART_STATE ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x04u)
#define UART_CTRL ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x08u)
#define UART_INTERRUPT ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x0Cu)
#define UART_BAUD_DIVIDER ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x10u)

#define STATE_SEND_FULL (1u << 0)
#define STATE_RECEIVED (1u << 1)
#define STATE_RECEIVE_OVERRUN (1u << 3)

#define CTRL_SEND (1u << 0)
#define CTRL_RECEIVE (1u << 1)
#define CTRL_RECEIVE_INTERRUPT (1u << 3)

#define INTERRUPT_RECEIVE (1u << 1)

#define SMALLEST_DIVIDER 16u

/* Polls before a byte is given up: twice the processor cycles of one, and a poll takes several. The host asks again. */
#define SEND_POLLS (20u * (ELEARN_CLOCK_HZ / ELEARN_BAUD))

void elearn_uart_init(void)
{
    const uint32_t divider = (elearn_clock_bus_hz(1u) + ELEARN_BAUD / 2u) / ELEARN_BAUD;

    UART_BAUD_DIVIDER = divider < SMALLEST_DIVIDER ? SMALLEST_DIVIDER : divider;
    UART_CTRL = CTRL_SEND | CTRL_RECEIVE | CTRL_RECEIVE_INTERRUPT;
    elearn_interrupt_enable(ELEARN_UART_INTERRUPT);
}

void elearn_uart_interrupt(void)
{
    if (elearn_ring_is_full()) {
        return;
    }
    /* Taken back before the byte is: reading it lets the next one in, which asks anew. */
    UART_INTERRUPT = INTERRUPT_RECEIVE;
    if ((UART_STATE & STATE_RECEIVE_OVERRUN) != 0u) {
        UART_STATE = STATE_RECEIVE_OVERRUN;
        elearn_ring_count_overrun();
    }
    if ((UART_STATE & STATE_RECEIVED) != 0u) {
        elearn_ring_put((uint8_t)UART_DATA);
    }
}

void elearn_port_write(const uint8_t *source, uint32_t size)
{
    for (uint32_t i = 0; i < size; ++i) {
        uint32_t polls = SEND_POLLS;
        while ((UART_STATE & STATE_SEND_FULL) != 0u && polls > 0u) {
            --polls;
        }
        if (polls > 0u) {
            UART_DATA = source[i];
        }
    }
}
