/* A list of kernel calls, run one after the other: what MicroPython code calls once for a whole inference. */
#ifndef ELEARN_CALLS_H
#define ELEARN_CALLS_H

#include <stdint.h>

#define ELEARN_CALL_ARGUMENTS 6

/* Arguments are pointers, integers, and the words of structs that go by value, as the ABI lays them out. */
typedef struct {
    uint32_t function; /* bytes from elearn_run_calls to it, with which the code begins; 0 ends the list */
    uint32_t arguments[ELEARN_CALL_ARGUMENTS];
} elearn_call;

/* What the last call gave, as far as it is a bool: a number that MicroPython can hand on without memory. */
uint32_t elearn_run_calls(const elearn_call *call);

#endif
