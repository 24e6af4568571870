/* Runs of neighbouring bytes, copied and filled in words. The library's memcpy is slow where it was made small. */
#ifndef ELEARN_RUNS_H
#define ELEARN_RUNS_H

#include "elearn_lanes.h"

/* Copies forwards: of two runs that overlap the output must be the one that begins first. */
static inline void elearn_copy_run(int8_t *output, const int8_t *input, int32_t bytes)
{
    for (; bytes >= 16; bytes -= 16) {
        const uint32_t a = elearn_load4(input);
        const uint32_t b = elearn_load4(input + 4);
        const uint32_t c = elearn_load4(input + 8);
        const uint32_t d = elearn_load4(input + 12);
        elearn_store4(output, a);
        elearn_store4(output + 4, b);
        elearn_store4(output + 8, c);
        elearn_store4(output + 12, d);
        input += 16;
        output += 16;
    }
    for (; bytes >= 4; bytes -= 4) {
        elearn_store4(output, elearn_load4(input));
        input += 4;
        output += 4;
    }
    for (; bytes > 0; bytes--) {
        *output++ = *input++;
    }
}

static inline void elearn_fill_run(int8_t *output, int8_t value, int32_t bytes)
{
    const uint32_t word = (uint32_t)(uint8_t)value * 0x01010101u;
    for (; bytes >= 16; bytes -= 16) {
        elearn_store4(output, word);
        elearn_store4(output + 4, word);
        elearn_store4(output + 8, word);
        elearn_store4(output + 12, word);
        output += 16;
    }
    for (; bytes > 0; bytes--) {
        *output++ = value;
    }
}

#endif
