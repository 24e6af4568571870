/* The receive ring: one writer (the interrupt), one reader (the main loop), no locks on the way of a byte.
 *
 * When it is full the receive interrupt is kept away and bytes stay in the hardware. A real line then loses some, which
 * the hardware tells and elearn_port_overruns() counts; an emulated line holds the sender back instead. It is kept away
 * at the interrupt controller, not at its source: QEMU's USART does not take back a request that it has made.
 * References: Armv7-M Architecture Reference Manual (DDI0403), B1.5.18 (WFI wakes for a masked interrupt), B3.4 (NVIC).
 *
 * The board file gives in port.defines:
 *   ELEARN_UART_INTERRUPT (0 to 495): number of its interrupt, which `interrupts` gives elearn_uart_interrupt */
#include "uart_ring.h"

#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_port.h"

#define RING_MASK (ELEARN_RING_BYTES - 1u)

#if (ELEARN_RING_BYTES & (ELEARN_RING_BYTES - 1u)) != 0u
#error "ELEARN_RING_BYTES must be a power of two"
#endif

static volatile uint8_t ring[ELEARN_RING_BYTES];
/* Both count bytes modulo 2^32; only their difference matters. */
static volatile uint32_t ring_written;
static volatile uint32_t ring_read;
static volatile uint32_t ring_most;
static volatile uint32_t ring_overruns;

int elearn_ring_is_full(void)
{
    if (ring_written - ring_read < ELEARN_RING_BYTES) {
        return 0;
    }
    elearn_interrupt_disable(ELEARN_UART_INTERRUPT);
    return 1;
}

void elearn_ring_put(uint8_t byte)
{
    const uint32_t written = ring_written;
    const uint32_t waiting = written - ring_read + 1u;

    ring[written & RING_MASK] = byte;
    ring_written = written + 1u;
    if (waiting > ring_most) {
        ring_most = waiting;
    }
}

void elearn_ring_count_overrun(void)
{
    ring_overruns = ring_overruns + 1u;
}

uint32_t elearn_port_read(uint8_t *destination, uint32_t size)
{
    const uint32_t start = ring_read;
    const uint32_t waiting = ring_written - start;
    const uint32_t count = waiting < size ? waiting : size;

    for (uint32_t i = 0; i < count; ++i) {
        destination[i] = ring[(start + i) & RING_MASK];
    }
    if (count > 0u) {
        ring_read = start + count;
        elearn_interrupt_enable(ELEARN_UART_INTERRUPT);
    }
    return count;
}

void elearn_port_wait(void)
{
    /* Masked, so that a byte between the look and the sleep is not slept through: it ends WFI all the same. */
    __asm volatile("cpsid i" ::: "memory");
    if (ring_written == ring_read) {
        elearn_watchdog_sleep();
    }
    __asm volatile("cpsie i" ::: "memory");
}

void elearn_port_pause(void)
{
    /* No sleep: nothing says that the sensor's next value comes with an interrupt. */
}

int elearn_port_can_write(void)
{
    return 1; /* the line takes each byte in its time, whether anybody listens or not */
}

uint32_t elearn_port_overruns(void)
{
    return ring_overruns;
}

uint32_t elearn_port_ring_bytes(void)
{
    return ring_most;
}
