/* The receive ring between a serial line's interrupt and elearn_port_read(). */
#ifndef ELEARN_UART_RING_H
#define ELEARN_UART_RING_H

#include <stdint.h>

/* Called by the interrupt only. A full ring takes nothing: the driver must look at the room first, and mask its
 * receive interrupt while there is none. */
uint32_t elearn_ring_room(void);
void elearn_ring_put(uint8_t byte);

/* Called by the interrupt when the hardware says that received bytes were lost. */
void elearn_ring_count_overrun(void);

#endif
