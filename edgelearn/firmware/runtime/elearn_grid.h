/* Sums and largest values over a grid of places, for neighbouring channels at a time: four bytes in a word, with DSP
 * instructions or portable C with the same bits. */
#ifndef ELEARN_GRID_H
#define ELEARN_GRID_H

#include "elearn_lanes.h"

/* Places at input + row * row_step + column * column_step; at least one. */
typedef struct {
    int32_t rows;
    int32_t row_step;
    int32_t columns;
    int32_t column_step;
} elearn_grid;

/* So many bytes can be added in a lane of 16 bits. */
#define ELEARN_LANE_TERMS 256

/* Adds bytes 0 and 2 of a word to the two lanes of `even`, bytes 1 and 3 to those of `odd`. Without DSP instructions they
 * are added as 0 to 255. */
static inline void elearn_add_bytes(uint32_t *even, uint32_t *odd, uint32_t word)
{
#if defined(__ARM_FEATURE_DSP)
    /* The compiler does not find the rotation that the instruction has. */
    __asm__("sxtab16 %0, %0, %1" : "+r"(*even) : "r"(word));
    __asm__("sxtab16 %0, %0, %1, ror #8" : "+r"(*odd) : "r"(word));
#else
    *even += (word ^ 0x80808080u) & 0x00FF00FFu;
    *odd += ((word ^ 0x80808080u) >> 8) & 0x00FF00FFu;
#endif
}

/* Lanes that were added so many terms to, as sums with their signs. */
static inline uint32_t elearn_signed_lanes(uint32_t lanes, int32_t terms)
{
#if defined(__ARM_FEATURE_DSP)
    (void)terms;
    return lanes;
#else
    return elearn_lanes((int32_t)(lanes & 0xFFFFu) - 128 * terms, (int32_t)(lanes >> 16) - 128 * terms);
#endif
}

/* Sums of eight neighbouring channels of at most ELEARN_LANE_TERMS places: of channels 0 and 2, 1 and 3, 4 and 6, 5 and 7. */
static inline void elearn_sum_eight(const int8_t *input, const elearn_grid *g, uint32_t *lanes)
{
    const int32_t row_advance = g->row_step - g->columns * g->column_step;
    uint32_t even0 = 0;
    uint32_t odd0 = 0;
    uint32_t even1 = 0;
    uint32_t odd1 = 0;
    int32_t row = g->rows;
    do {
        int32_t column = g->columns;
        for (; column >= 2; column -= 2) {
            elearn_add_bytes(&even0, &odd0, elearn_load4(input));
            elearn_add_bytes(&even1, &odd1, elearn_load4(input + 4));
            input += g->column_step;
            elearn_add_bytes(&even0, &odd0, elearn_load4(input));
            elearn_add_bytes(&even1, &odd1, elearn_load4(input + 4));
            input += g->column_step;
        }
        if (column > 0) {
            elearn_add_bytes(&even0, &odd0, elearn_load4(input));
            elearn_add_bytes(&even1, &odd1, elearn_load4(input + 4));
            input += g->column_step;
        }
        input += row_advance;
    } while (--row > 0);
    const int32_t terms = g->rows * g->columns;
    lanes[0] = elearn_signed_lanes(even0, terms);
    lanes[1] = elearn_signed_lanes(odd0, terms);
    lanes[2] = elearn_signed_lanes(even1, terms);
    lanes[3] = elearn_signed_lanes(odd1, terms);
}

/* The sum of one channel of all places. */
static inline int32_t elearn_sum_one(const int8_t *input, const elearn_grid *g)
{
    int32_t sum = 0;
    for (int32_t row = g->rows; row > 0; row--) {
        const int8_t *place = input;
        for (int32_t column = g->columns; column > 0; column--) {
            sum += *place;
            place += g->column_step;
        }
        input += g->row_step;
    }
    return sum;
}

/* The larger of each pair of bytes. */
static inline uint32_t elearn_max_bytes(uint32_t a, uint32_t b)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t difference;
    __asm__("ssub8 %1, %0, %2\n\tsel %0, %0, %2" : "+r"(a), "=&r"(difference) : "r"(b));
    return a;
#else
    /* Bit 7 of each byte: whether a >= b, by the signs where they differ and else by the other bits. */
    const uint32_t by_bits = (a | 0x80808080u) - (b & 0x7F7F7F7Fu);
    const uint32_t is_larger = ((~a & b) | (~(a ^ b) & by_bits)) & 0x80808080u;
    const uint32_t mask = is_larger | (is_larger - (is_larger >> 7));
    return b ^ ((a ^ b) & mask);
#endif
}

/* The largest of sixteen neighbouring channels of all places and of what `largest` holds; the bits of the input are
 * turned by `flip`, all of which makes it the smallest. */
static inline void elearn_max_sixteen(const int8_t *input, const elearn_grid *g, uint32_t flip, uint32_t *largest)
{
    uint32_t a = largest[0];
    uint32_t b = largest[1];
    uint32_t c = largest[2];
    uint32_t d = largest[3];
    const int32_t row_advance = g->row_step - g->columns * g->column_step;
    int32_t row = g->rows;
    do {
        int32_t column = g->columns;
        do {
            a = elearn_max_bytes(a, elearn_load4(input) ^ flip);
            b = elearn_max_bytes(b, elearn_load4(input + 4) ^ flip);
            c = elearn_max_bytes(c, elearn_load4(input + 8) ^ flip);
            d = elearn_max_bytes(d, elearn_load4(input + 12) ^ flip);
            input += g->column_step;
        } while (--column > 0);
        input += row_advance;
    } while (--row > 0);
    largest[0] = a;
    largest[1] = b;
    largest[2] = c;
    largest[3] = d;
}

/* The same for four channels. */
static inline uint32_t elearn_max_four(const int8_t *input, const elearn_grid *g, uint32_t flip, uint32_t largest)
{
    for (int32_t row = g->rows; row > 0; row--) {
        const int8_t *place = input;
        for (int32_t column = g->columns; column > 0; column--) {
            largest = elearn_max_bytes(largest, elearn_load4(place) ^ flip);
            place += g->column_step;
        }
        input += g->row_step;
    }
    return largest;
}

/* The largest of one channel of all places and of `largest`. */
static inline int32_t elearn_max_one(const int8_t *input, const elearn_grid *g, int32_t flip, int32_t largest)
{
    for (int32_t row = g->rows; row > 0; row--) {
        const int8_t *place = input;
        for (int32_t column = g->columns; column > 0; column--) {
            const int32_t value = *place ^ flip;
            largest = value > largest ? value : largest;
            place += g->column_step;
        }
        input += g->row_step;
    }
    return largest;
}

#endif
