/* ADD and SUB of two int8 tensors of the same shape as a linear form, four elements at a time. With DSP instructions the
 * bytes of a word are multiplied where they stand; without them the same sums are taken byte by byte. */
#include "elearn_add_folded_s8.h"

#include "elearn_lanes.h"

/* Turns int8 into unsigned bytes of the same order, and back. */
#define SIGNS 0x80808080u

typedef struct {
    int32_t multiplier1;
    int32_t multiplier2;
    int32_t offset;
    uint32_t lowest;  /* output_min four times, unsigned */
    uint32_t largest; /* output_max likewise */
} form;

/* Lanes hold 256 times their byte and multipliers 256 times theirs, and SMLAW divides by 65536: nothing is lost. */
static inline int32_t sum_low(form f, uint32_t a, uint32_t b)
{
    return elearn_multiply_low_add(f.multiplier2, b, elearn_multiply_low_add(f.multiplier1, a, f.offset));
}

static inline int32_t sum_high(form f, uint32_t a, uint32_t b)
{
    return elearn_multiply_high_add(f.multiplier2, b, elearn_multiply_high_add(f.multiplier1, a, f.offset));
}

static inline uint32_t add4(form f, uint32_t a, uint32_t b, int32_t shift, int32_t is_clamped)
{
    const uint32_t even1 = elearn_even_bytes_high(a);
    const uint32_t even2 = elearn_even_bytes_high(b);
    const uint32_t odd1 = elearn_odd_bytes_high(a);
    const uint32_t odd2 = elearn_odd_bytes_high(b);
    uint32_t word = elearn_saturate_byte(sum_low(f, even1, even2) >> shift)
                    | elearn_saturate_byte(sum_low(f, odd1, odd2) >> shift) << 8
                    | elearn_saturate_byte(sum_high(f, even1, even2) >> shift) << 16
                    | elearn_saturate_byte(sum_high(f, odd1, odd2) >> shift) << 24;
    if (is_clamped) {
        word = elearn_smaller_bytes(elearn_larger_bytes(word, f.lowest), f.largest);
    }
    return word ^ SIGNS;
}

/* Inlined in each place: its copies have the shift and the clamp as constants. */
static inline __attribute__((always_inline)) void add(form f, const int8_t *input1, const int8_t *input2,
                                                      int8_t *output, int32_t elements, int32_t shift,
                                                      int32_t is_clamped)
{
    int32_t left = elements;
    for (; left >= 4; left -= 4) {
        elearn_store4(output, add4(f, elearn_load4(input1), elearn_load4(input2), shift, is_clamped));
        input1 += 4;
        input2 += 4;
        output += 4;
    }
    if (left > 0) {
        const uint32_t a = elearn_load_few(input1, left);
        const uint32_t b = elearn_load_few(input2, left);
        elearn_store_few(output, add4(f, a, b, shift, is_clamped), left);
    }
}

static uint32_t unsigned_bytes(int32_t value)
{
    return (uint32_t)(value + 128) * 0x01010101u;
}

void elearn_add_folded_s8(const ELEARN_FLASH elearn_add_folded_params *p, const int8_t *input1, const int8_t *input2,
                          int8_t *output)
{
    const form f = {
        .multiplier1 = p->multiplier1 * 256,
        .multiplier2 = p->multiplier2 * 256,
        .offset = p->offset,
        .lowest = unsigned_bytes(p->output_min),
        .largest = unsigned_bytes(p->output_max),
    };
    if (!p->is_clamped && p->shift == 22) {
        add(f, input1, input2, output, p->elements, 22, 0);
    } else if (!p->is_clamped && p->shift == 21) {
        add(f, input1, input2, output, p->elements, 21, 0);
    } else {
        add(f, input1, input2, output, p->elements, p->shift, 1);
    }
}
