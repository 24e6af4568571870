/* What a board must provide. Implemented by the drivers in port/; called by the main loop and the link. */
#ifndef ELEARN_PORT_H
#define ELEARN_PORT_H

#include <stdint.h>

/* Clock, serial line and counter. Called once, before anything else. */
void elearn_port_init(void);

/* Move up to `size` received bytes to `destination` without waiting; returns how many. */
uint32_t elearn_port_read(uint8_t *destination, uint32_t size);

/* Send all bytes; returns when the last one is handed to the hardware. A byte that the hardware does not take in time
 * is given up. */
void elearn_port_write(const uint8_t *source, uint32_t size);

/* Whether so few bytes as a report of the sensor has can be sent without waiting for somebody to read them. 1 always on a
 * line that holds nobody back. */
int elearn_port_can_write(void);

/* Wait until something may have been received; may return early. */
void elearn_port_wait(void);

/* Let a moment pass: the sensor runs and had nothing ready. Far shorter than the time between two samples. */
void elearn_port_pause(void);

/* A free-running 32-bit counter (0 always where the board has none). Differences are taken modulo 2^32. */
uint32_t elearn_port_ticks(void);

/* Its ticks a second, by the clock that really runs; 0 where the board has none. */
uint32_t elearn_port_counter_hz(void);

/* Milliseconds that have passed, modulo 2^32. Right only where it is called again and again: at least every ten seconds. */
uint32_t elearn_port_clock_ms(void);

/* Received bytes that were lost because the ring was full, and the most bytes that ever waited in it. */
uint32_t elearn_port_overruns(void);
uint32_t elearn_port_ring_bytes(void);

/* Count a start of the device: one more than `remembered`, or than what RAM has kept over a reset without loss of power,
 * if that is more. */
uint32_t elearn_port_count_start(uint32_t remembered);

/* Why the device started: a code ELEARN_RESET_ of elearn_protocol.h and, for ELEARN_RESET_FAULT, what the processor knew
 * of the fault; see HELLO_REPLY. */
typedef struct {
    uint8_t cause;
    uint8_t faults; /* starts in a row, up to this one, that came of a fault, a watchdog or a lockup */
    uint8_t fault;
    uint32_t pc;
    uint32_t lr;
    uint32_t status;
    uint32_t hard;
    uint32_t address;
} elearn_port_start;

const elearn_port_start *elearn_port_last_start(void);

/* The firmware has run well for a while: the next fault is the first in a row. */
void elearn_port_forget_faults(void);

/* Tell the watchdog, where there is one, that the firmware is alive. */
void elearn_port_feed(void);

/* Data and bss; the stack's size; the most of it that was ever in use (0 where this cannot be known). */
uint32_t elearn_port_static_ram_bytes(void);
uint32_t elearn_port_stack_size_bytes(void);
uint32_t elearn_port_stack_bytes(void);

/* The most of the stack that was in use since the last mark, from its very beginning; 0 where this cannot be known. */
void elearn_port_stack_mark(void);
uint32_t elearn_port_stack_since_mark(void);

#endif
