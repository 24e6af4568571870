/* Any function of an int8 by a table of 256 bytes, four elements at a time. Portable. */
#include "elearn_lookup_s8.h"

#include "elearn_lanes.h"

void elearn_lookup_s8(const ELEARN_FLASH elearn_lookup_params *p, const int8_t *input, int8_t *output)
{
    const ELEARN_FLASH uint8_t *table = p->table;
    int32_t left = p->elements;
    for (; left >= 4; left -= 4) {
        const uint32_t word = elearn_load4(input);
        elearn_store4(output, (uint32_t)table[word & 0xFFu] | (uint32_t)table[word >> 8 & 0xFFu] << 8
                                  | (uint32_t)table[word >> 16 & 0xFFu] << 16 | (uint32_t)table[word >> 24] << 24);
        input += 4;
        output += 4;
    }
    for (; left > 0; left--) {
        *output++ = (int8_t)table[(uint8_t)*input++];
    }
}
