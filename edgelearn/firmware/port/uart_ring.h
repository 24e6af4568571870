/* The receive ring between a serial line's interrupt and elearn_port_read(). */
#ifndef ELEARN_UART_RING_H
#define ELEARN_UART_RING_H

#include <stdint.h>

/* Called by the interrupt before it takes a byte. Where the ring is full it returns 1: the byte is to be left in the
 * hardware, and the interrupt keeps away until there is room. */
int elearn_ring_is_full(void);

/* Called by the interrupt for a byte, where the ring is not full. */
void elearn_ring_put(uint8_t byte);

/* Called by the interrupt when the hardware says that received bytes were lost. */
void elearn_ring_count_overrun(void);

#endif
