/* The UART of an nRF51, which the nRF52 has too beside the one with DMA: interrupt-driven reception, polled sending.
 * References: nRF51 Series Reference Manual v3.0, 29 (UART), 14 (GPIO: pins of peripherals); nRF52832 Product
 * Specification v1.4, 34 (UART); those of chips with two ports: GPIO, UART.
 *
 * The board file gives in port.defines:
 *   ELEARN_UART_ADDRESS: the first register of the serial line
 *   ELEARN_UART_INTERRUPT (0 to 495): number of its interrupt, which `interrupts` gives elearn_uart_interrupt
 *   ELEARN_UART_TX_PIN (0 to 63): the pin that sends; pins of port 1 count on from 32
 *   ELEARN_UART_RX_PIN (0 to 63): the pin that receives */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"
#include "uart_ring.h"

#define UART_STARTRX ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x000u)
#define UART_STARTTX ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x008u)
#define UART_RECEIVED ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x108u)
#define UART_SENT ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x11Cu)
#define UART_INTERRUPT_SET ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x304u)
#define UART_INTERRUPT_CLEAR ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x308u)
#define UART_ERROR_SOURCE ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x480u)
#define UART_ENABLE ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x500u)
#define UART_PIN_RTS ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x508u)
#define UART_PIN_TX ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x50Cu)
#define UART_PIN_CTS ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x510u)
#define UART_PIN_RX ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x514u)
#define UART_RX ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x518u)
#define UART_TX ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x51Cu)
#define UART_BAUD ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x524u)
#define UART_CONFIG ELEARN_REGISTER(ELEARN_UART_ADDRESS + 0x56Cu)

#define INTERRUPT_RECEIVED (1u << 2)
#define ERROR_OVERRUN 1u
#define ENABLE_ENABLED 4u
#define NOT_CONNECTED 0xFFFFFFFFu
#define CONFIG_8N1 0u

/* Pins count on from one port to the next, also in the registers that choose them. */
#define GPIO_PORT_ADDRESS(pin) (0x50000000u + 0x300u * ((pin) / 32u))
#define GPIO_OUTPUT_SET(pin) ELEARN_REGISTER(GPIO_PORT_ADDRESS(pin) + 0x508u)
#define GPIO_PIN(pin) ELEARN_REGISTER(GPIO_PORT_ADDRESS(pin) + 0x700u + 4u * ((pin) % 32u))

#define PIN_OUTPUT 3u
/* An open receive pin must not be read as a stream of zeros. */
#define PIN_INPUT_PULLED_UP (3u << 2)

/* Bits a second in 2^32 of 16 MHz; the lowest 12 bits do not count. */
#define BAUD_VALUE ((uint32_t)((((((uint64_t)ELEARN_BAUD) << 32) / 16000000u) + 0x800u) & 0xFFFFF000u))

/* Polls before a byte is given up: twice the processor cycles of one, and a poll takes several. The host asks again. */
#define SEND_POLLS (20u * (ELEARN_CLOCK_HZ / ELEARN_BAUD))

void elearn_uart_init(void)
{
    GPIO_OUTPUT_SET(ELEARN_UART_TX_PIN) = 1u << (ELEARN_UART_TX_PIN % 32u);
    GPIO_PIN(ELEARN_UART_TX_PIN) = PIN_OUTPUT;
    GPIO_PIN(ELEARN_UART_RX_PIN) = PIN_INPUT_PULLED_UP;

    /* The pins are chosen while it is off. */
    UART_ENABLE = 0u;
    UART_INTERRUPT_CLEAR = 0xFFFFFFFFu;
    UART_PIN_TX = ELEARN_UART_TX_PIN;
    UART_PIN_RX = ELEARN_UART_RX_PIN;
    UART_PIN_RTS = NOT_CONNECTED;
    UART_PIN_CTS = NOT_CONNECTED;
    UART_BAUD = BAUD_VALUE;
    UART_CONFIG = CONFIG_8N1;
    UART_ENABLE = ENABLE_ENABLED;
    UART_RECEIVED = 0u;
    UART_SENT = 0u;
    UART_STARTRX = 1u;
    UART_STARTTX = 1u;
    UART_INTERRUPT_SET = INTERRUPT_RECEIVED;
    elearn_interrupt_enable(ELEARN_UART_INTERRUPT);
}

void elearn_uart_interrupt(void)
{
    if (elearn_ring_is_full()) {
        return;
    }
    if ((UART_ERROR_SOURCE & ERROR_OVERRUN) != 0u) {
        UART_ERROR_SOURCE = ERROR_OVERRUN;
        elearn_ring_count_overrun();
    }
    if (UART_RECEIVED != 0u) {
        /* Taken back before the byte is: reading it lets the next one in, which says so anew. */
        UART_RECEIVED = 0u;
        elearn_ring_put((uint8_t)UART_RX);
    }
}

void elearn_port_write(const uint8_t *source, uint32_t size)
{
    for (uint32_t i = 0; i < size; ++i) {
        uint32_t polls = SEND_POLLS;
        UART_SENT = 0u;
        UART_TX = source[i];
        while (UART_SENT == 0u && polls > 0u) {
            --polls;
        }
    }
}
