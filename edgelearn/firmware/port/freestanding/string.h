/* What the device code uses of <string.h>, for a compiler that brings the functions but no C library's headers. */
#ifndef ELEARN_FREESTANDING_STRING_H
#define ELEARN_FREESTANDING_STRING_H

#include <stddef.h>

void *memcpy(void *restrict destination, const void *restrict source, size_t size);
void *memmove(void *destination, const void *source, size_t size);
void *memset(void *destination, int byte, size_t size);

/* Without a C library the compiler takes the names for ordinary functions; these let it write short copies in place. */
#define memcpy(destination, source, size) __builtin_memcpy(destination, source, size)
#define memmove(destination, source, size) __builtin_memmove(destination, source, size)
#define memset(destination, byte, size) __builtin_memset(destination, byte, size)

#endif
