/* Products of int8 weights with values that were expanded to 16 bits: the inner walk of convolutions and dense layers
 * on cores with DSP instructions. Uses SMLAD where the core has it; the portable twin gives the same bits.
 *
 * Weights lie in flash as one stream of words in the order in which they are used. A word holds the weights of two
 * output channels A and B for two inputs k and l, as two 16-bit lanes A + 256 B: low lane k, high lane l. One SMLAD on
 * the word adds up A + 256 B; SXTB16 leaves the lanes A, and a second SMLAD adds up A. 256 B is the difference, modulo
 * 2^32, as long as |B| < 2^23, which the generator checks. Inputs come in groups of four: lanes (0, 2), then (1, 3), as
 * SXTB16 takes them out of a word; their number is padded with zero weights to a multiple of eight.
 *
 * Requantisation, with constants from the generator, which proves them equal to the LiteRT reference kernel's:
 *   folded  output = saturate8((offset + high32(sum * multiplier)) >> shift)
 *   twice   output = saturate8((offset + sign(sum) + round_high32(2 sum * multiplier)) >> shift)
 */
#ifndef ELEARN_MATMUL_S8_H
#define ELEARN_MATMUL_S8_H

#include <stdint.h>

#include "elearn_flash.h"

/* The stream for each pair of channels: sum of A + 256 B and of A to begin with, the weights, then the constants:
 *   folded  multiplier A, offset A, multiplier B, offset B
 *   twice   the same, and shift A + 256 shift B */
typedef struct {
    const ELEARN_FLASH uint32_t *stream;
    const uint32_t *values; /* two pixels: a word of one, a word of the other */
    const uint32_t *values_end;
    int8_t *output1;
    int8_t *output2;
    int8_t *output1_end;
    int32_t shift;  /* folded only */
    int32_t is_odd; /* whether the number of groups of eight inputs is odd */
} elearn_pixels_walk;

void elearn_pixels_folded_s8(const elearn_pixels_walk *w);
void elearn_pixels_twice_s8(const elearn_pixels_walk *w);

/* The stream for each four channels A, B, C and D: sums of A + 256 B, A, C + 256 D and C to begin with, the weights, a
 * word of A and B, a word of C and D; then, where `constants` is null, multiplier and offset of each. */
typedef struct {
    const ELEARN_FLASH uint32_t *stream;
    const uint32_t *values;
    const uint32_t *values_end;
    int8_t *output;
    int8_t *output_end;
    const ELEARN_FLASH int32_t *constants; /* multiplier and offset, four times, where they serve all channels */
    int32_t shift;
    int32_t is_odd;
} elearn_vector_walk;

void elearn_vector_folded_s8(const elearn_vector_walk *w);

/* Expand int8 to the lanes of the walks: one vector, or two pixels word by word. `count` is a multiple of four, and the
 * pointers are aligned to four bytes. Return the end of what was written. */
uint32_t *elearn_expand_vector_s8(uint32_t *destination, const int8_t *values, int32_t count);
uint32_t *elearn_expand_pixels_s8(uint32_t *destination, const int8_t *one, const int8_t *two, int32_t count);

/* Expand a row of any length at any address, with zeros up to a multiple of eight. `last`, aligned to four bytes: four
 * bytes to work in. */
uint32_t *elearn_expand_row_s8(uint32_t *destination, const int8_t *row, int32_t count, int8_t *last);

#endif
