/* Constants in flash. Where flash has an address space of its own (AVR), what is marked lies there, and is read through
 * pointers of 24 bits that reach RAM too. Elsewhere the mark means nothing. */
#ifndef ELEARN_FLASH_H
#define ELEARN_FLASH_H

#include <stdint.h>
#include <string.h>

#if defined(__AVR__)
#define ELEARN_FLASH __memx
#else
#define ELEARN_FLASH
#endif

/* memcpy() from memory of either kind. */
static inline void elearn_copy_constant(void *destination, const ELEARN_FLASH void *source, uint32_t size)
{
#if defined(__AVR__)
    const ELEARN_FLASH uint8_t *from = source;
    uint8_t *to = destination;
    for (uint16_t left = (uint16_t)size; left > 0; left--) {
        *to++ = *from++;
    }
#else
    memcpy(destination, source, size);
#endif
}

#endif
