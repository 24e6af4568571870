/* The stack's place in RAM and the pattern that it is painted with at reset. */
#ifndef ELEARN_CORTEX_M_STACK_H
#define ELEARN_CORTEX_M_STACK_H

#include <stdint.h>

#define ELEARN_STACK_PAINT 0xE1EA4C55u

/* Given by the linker script, on word boundaries. */
extern uint32_t elearn_stack_begin[];
extern uint32_t elearn_stack_end[];

#endif
