/* DEPTHWISE_CONV_2D, int8, four channels at a time: see elearn_depthwise_conv2d_fours_s8.h. The sweep of 3x3 windows is
 * in assembler with a portable twin; the rest is portable. */
#include "elearn_depthwise_conv2d_fours_s8.h"

#include <stddef.h>

#include "elearn_lanes.h"
#include "elearn_math.h"

/* Words of a channel's stream before its weights. */
#define CONSTANTS 4
/* Words from two places of a channel to the next two. */
#define WORD_STEP 4

/* A sweep of one channel over lines of 3x3 windows, two outputs at a time. */
typedef struct {
    const ELEARN_FLASH uint32_t *stream;
    const uint32_t *values; /* the first line of the first window */
    int32_t line_bytes;     /* from a line to the next */
    int32_t pairs_bytes;    /* of the values of whole pairs of outputs of a line */
    int8_t *output;
    int32_t output_step;  /* from an output to the next of its line */
    int32_t line_step;    /* from a line of outputs to the next */
    int32_t lines;        /* of outputs */
    int32_t is_odd;       /* whether the last output of a line is alone */
    int32_t line_advance; /* bytes from the values of a line of outputs to those of the next */
} sweep;

#if defined(__ARM_FEATURE_DSP)

typedef char sweep_layout[offsetof(sweep, line_advance) == 36 ? 1 : -1];

/* On the stack: first sum, multiplier, offset, shift, then the struct's fields from [sp, #16]; its first is overwritten by
 * the end of the line. r0, r1: sums of two outputs. r2 to r7: weights. r9: values, r10: line_bytes, r11: output, r12:
 * output_step, 0 for the lone last output, which is stored last. */
#define SWEEP_ENTER \
    ".syntax unified\n" \
    "push {r4-r11, lr}\n" \
    "ldm r0, {r1-r10}\n" \
    "push {r1-r10}\n" \
    "ldm r1!, {r2-r5}\n" \
    "push {r2-r5}\n" \
    "ldm r1, {r2-r7}\n" \
    "4:\n" \
    "ldr r9, [sp, #20]\n" \
    "ldr lr, [sp, #28]\n" \
    "ldr r10, [sp, #24]\n" \
    "ldr r11, [sp, #32]\n" \
    "ldr r12, [sp, #36]\n" \
    "add r8, r9, lr\n" \
    "str r8, [sp, #16]\n" \
    "b 3f\n" \
    "1:\n"

/* The first two places of each line, for both kinds of stride; then the next two. */
#define SWEEP_STRIDE1 \
    "ldr r0, [sp]\n" \
    "ldr r8, [r9, r10]\n" \
    "mov r1, r0\n" \
    "smlad r0, r4, r8, r0\n" \
    "smlabt r1, r4, r8, r1\n" \
    "ldr r8, [r9, r10, lsl #1]\n" \
    "smlad r0, r6, r8, r0\n" \
    "smlabt r1, r6, r8, r1\n" \
    "ldr r8, [r9], #16\n" \
    "smlad r0, r2, r8, r0\n" \
    "smlabt r1, r2, r8, r1\n" \
    "ldr r8, [r9]\n" \
    "smlatb r0, r3, r8, r0\n" \
    "smlad r1, r3, r8, r1\n" \
    "ldr r8, [r9, r10]\n" \
    "smlatb r0, r5, r8, r0\n" \
    "smlad r1, r5, r8, r1\n" \
    "ldr r8, [r9, r10, lsl #1]\n" \
    "smlatb r0, r7, r8, r0\n" \
    "smlad r1, r7, r8, r1\n"

#define SWEEP_STRIDE2 \
    "ldr r0, [sp]\n" \
    "ldr r8, [r9, r10]\n" \
    "mov r1, r0\n" \
    "smlad r0, r4, r8, r0\n" \
    "ldr r8, [r9, r10, lsl #1]\n" \
    "smlad r0, r6, r8, r0\n" \
    "ldr r8, [r9], #16\n" \
    "smlad r0, r2, r8, r0\n" \
    "ldr r8, [r9, r10]\n" \
    "smlatb r0, r5, r8, r0\n" \
    "smlad r1, r4, r8, r1\n" \
    "ldr r8, [r9, r10, lsl #1]\n" \
    "smlatb r0, r7, r8, r0\n" \
    "smlad r1, r6, r8, r1\n" \
    "ldr r8, [r9], #16\n" \
    "smlatb r0, r3, r8, r0\n" \
    "smlad r1, r2, r8, r1\n" \
    "ldr r8, [r9]\n" \
    "smlatb r1, r3, r8, r1\n" \
    "ldr r8, [r9, r10]\n" \
    "smlatb r1, r5, r8, r1\n" \
    "ldr r8, [r9, r10, lsl #1]\n" \
    "smlatb r1, r7, r8, r1\n"

#define SWEEP_FOLDED \
    "ldrd r8, lr, [sp, #4]\n" \
    "smmla r0, r0, r8, lr\n" \
    "smmla r1, r1, r8, lr\n" \
    "ldr r8, [sp, #12]\n"

#define SWEEP_TWICE \
    "ldrd r8, lr, [sp, #4]\n" \
    "lsl r0, r0, #1\n" \
    "lsl r1, r1, #1\n" \
    "add lr, lr, r0, asr #31\n" \
    "smmlar r0, r0, r8, lr\n" \
    "ldr lr, [sp, #8]\n" \
    "add lr, lr, r1, asr #31\n" \
    "smmlar r1, r1, r8, lr\n" \
    "ldr r8, [sp, #12]\n"

#define SWEEP_LEAVE(pair_bytes) \
    "asr r0, r0, r8\n" \
    "asr r1, r1, r8\n" \
    "ssat r0, #8, r0\n" \
    "ssat r1, #8, r1\n" \
    "strb r1, [r11, r12]\n" \
    "strb r0, [r11]\n" \
    "add r11, r11, r12, lsl #1\n" \
    "3:\n" \
    "ldr r8, [sp, #16]\n" \
    "cmp r9, r8\n" \
    "bne 1b\n" \
    "cmp r12, #0\n" \
    "beq 5f\n" \
    "ldr r12, [sp, #48]\n" \
    "cmp r12, #0\n" \
    "beq 5f\n" \
    "mov r12, #0\n" \
    "add r8, r8, #" pair_bytes "\n" \
    "str r8, [sp, #16]\n" \
    "b 1b\n" \
    "5:\n" \
    "ldr r9, [sp, #20]\n" \
    "ldr r8, [sp, #52]\n" \
    "ldr r11, [sp, #32]\n" \
    "ldr r12, [sp, #40]\n" \
    "ldr lr, [sp, #44]\n" \
    "add r9, r9, r8\n" \
    "add r11, r11, r12\n" \
    "str r9, [sp, #20]\n" \
    "str r11, [sp, #32]\n" \
    "subs lr, lr, #1\n" \
    "str lr, [sp, #44]\n" \
    "bne 4b\n" \
    "add sp, sp, #56\n" \
    "pop {r4-r11, pc}\n"

__attribute__((naked, noinline)) static void sweep1_folded(const sweep *s __attribute__((unused)))
{
    __asm__ volatile(SWEEP_ENTER SWEEP_STRIDE1 SWEEP_FOLDED SWEEP_LEAVE("16"));
}

__attribute__((naked, noinline)) static void sweep1_twice(const sweep *s __attribute__((unused)))
{
    __asm__ volatile(SWEEP_ENTER SWEEP_STRIDE1 SWEEP_TWICE SWEEP_LEAVE("16"));
}

__attribute__((naked, noinline)) static void sweep2_folded(const sweep *s __attribute__((unused)))
{
    __asm__ volatile(SWEEP_ENTER SWEEP_STRIDE2 SWEEP_FOLDED SWEEP_LEAVE("32"));
}

__attribute__((naked, noinline)) static void sweep2_twice(const sweep *s __attribute__((unused)))
{
    __asm__ volatile(SWEEP_ENTER SWEEP_STRIDE2 SWEEP_TWICE SWEEP_LEAVE("32"));
}

#endif

/* One sum requantised, with a channel's constants. */
static int8_t requantized(int32_t sum, const ELEARN_FLASH uint32_t *constants, int32_t is_folded)
{
    const int32_t multiplier = (int32_t)constants[1];
    const int32_t offset = (int32_t)constants[2];
    const int32_t value = is_folded ? (int32_t)(((int64_t)sum * multiplier) >> 32)
                                    : elearn_multiply_high(sum, multiplier) + (sum < 0 ? -1 : 0);
    return (int8_t)elearn_clamp((offset + value) >> constants[3], -128, 127);
}

#if !defined(__ARM_FEATURE_DSP)

/* One output: w0 and w1 by the places at `values`, w2 by the place behind them, for each line. */
static int32_t sum_even(const ELEARN_FLASH uint32_t *weights, const uint32_t *values, int32_t line_words, int32_t sum)
{
    for (int32_t line = 0; line < 3; line++) {
        sum = elearn_dual_multiply_add(weights[0], values[0], sum);
        sum += elearn_high_lane(weights[1]) * elearn_low_lane(values[WORD_STEP]);
        weights += 2;
        values += line_words;
    }
    return sum;
}

/* The output one place further on. */
static int32_t sum_odd(const ELEARN_FLASH uint32_t *weights, const uint32_t *values, int32_t line_words, int32_t sum)
{
    for (int32_t line = 0; line < 3; line++) {
        sum += elearn_low_lane(weights[0]) * elearn_high_lane(values[0]);
        sum = elearn_dual_multiply_add(weights[1], values[WORD_STEP], sum);
        weights += 2;
        values += line_words;
    }
    return sum;
}

static void sweep_all(const sweep *s, int32_t stride, int32_t is_folded)
{
    const ELEARN_FLASH uint32_t *const weights = s->stream + CONSTANTS;
    const int32_t first = (int32_t)s->stream[0];
    const int32_t line_words = s->line_bytes / 4;
    const int32_t pairs = s->pairs_bytes / (16 * stride);
    for (int32_t line = 0; line < s->lines; line++) {
        const uint32_t *values = s->values + line * (s->line_advance / 4);
        int8_t *output = s->output + line * s->line_step;
        for (int32_t pair = 0; pair < pairs + s->is_odd; pair++) {
            const int32_t even = sum_even(weights, values, line_words, first);
            output[0] = requantized(even, s->stream, is_folded);
            if (pair < pairs) {
                const int32_t odd = stride == 1 ? sum_odd(weights, values, line_words, first)
                                                : sum_even(weights, values + WORD_STEP, line_words, first);
                output[s->output_step] = requantized(odd, s->stream, is_folded);
                output += 2 * s->output_step;
            }
            values += WORD_STEP * stride;
        }
    }
}

#endif

static void sweep_threes(const sweep *s, int32_t stride, int32_t is_folded)
{
#if defined(__ARM_FEATURE_DSP)
    if (stride == 1) {
        (is_folded ? sweep1_folded : sweep1_twice)(s);
    } else {
        (is_folded ? sweep2_folded : sweep2_twice)(s);
    }
#else
    sweep_all(s, stride, is_folded);
#endif
}

/* Any window: one channel over `lines` lines of outputs. */
static void sweep_any(
    const ELEARN_FLASH elearn_depthwise_conv2d_fours_params *p,
    const ELEARN_FLASH uint32_t *stream,
    const uint32_t *values,
    int8_t *output,
    int32_t lines)
{
    const int32_t span = p->place.taps / 2 + 1;
    const int32_t line_words = WORD_STEP * p->words;
    for (int32_t y = 0; y < lines; y++) {
        const uint32_t *const top = values + y * p->line.stride * line_words;
        for (int32_t x = 0; x < p->place.outputs; x++) {
            const int32_t place = x * p->place.stride;
            const ELEARN_FLASH uint32_t *weights = stream + CONSTANTS + (place & 1) * p->line.taps * span;
            const uint32_t *line = top + WORD_STEP * (place >> 1);
            int32_t sum = (int32_t)stream[0];
            for (int32_t i = 0; i < p->line.taps; i++) {
                for (int32_t j = 0; j < span; j++) {
                    sum = elearn_dual_multiply_add(*weights++, line[WORD_STEP * j], sum);
                }
                line += line_words;
            }
            output[x * p->place.output_step] = requantized(sum, stream, p->is_folded);
        }
        output += p->line.output_step;
    }
}

/* Two places of four channels as a word of each channel. */
static void store_places(uint32_t *destination, uint32_t one, uint32_t two)
{
    const uint32_t even1 = elearn_even_bytes(one);
    const uint32_t even2 = elearn_even_bytes(two);
    const uint32_t odd1 = elearn_odd_bytes(one);
    const uint32_t odd2 = elearn_odd_bytes(two);
    destination[0] = (even1 & 0xFFFFu) | even2 << 16;
    destination[1] = (odd1 & 0xFFFFu) | odd2 << 16;
    destination[2] = even1 >> 16 | (even2 & 0xFFFF0000u);
    destination[3] = odd1 >> 16 | (odd2 & 0xFFFF0000u);
}

/* Pairs of places of four channels, `step` apart; returns the end of what was written. */
static uint32_t *expand_places(uint32_t *destination, const int8_t *values, int32_t step, int32_t pairs)
{
    for (; pairs > 0; pairs--) {
#if defined(__ARM_FEATURE_DSP)
        __asm__ volatile(
            "ldr r4, [%[values]]\n"
            "ldr r5, [%[values], %[step]]\n"
            "sxtb16 r6, r4\n"
            "sxtb16 r8, r5\n"
            "sxtb16 r4, r4, ror #8\n"
            "sxtb16 r5, r5, ror #8\n"
            "pkhtb r9, r8, r6, asr #16\n"
            "pkhbt r6, r6, r8, lsl #16\n"
            "pkhbt r8, r4, r5, lsl #16\n"
            "pkhtb r10, r5, r4, asr #16\n"
            "stm %[destination]!, {r6, r8, r9, r10}\n"
            : [destination] "+r"(destination)
            : [values] "r"(values), [step] "r"(step)
            : "r4", "r5", "r6", "r8", "r9", "r10", "memory");
#else
        store_places(destination, elearn_load4(values), elearn_load4(values + step));
        destination += WORD_STEP;
#endif
        values += 2 * step;
    }
    return destination;
}

/* A line of padding. */
static void fill_line(const ELEARN_FLASH elearn_depthwise_conv2d_fours_params *p, uint32_t *destination)
{
    const uint32_t zeros = elearn_lanes(p->input_zero_point, p->input_zero_point);
    uint32_t *const end = destination + WORD_STEP * p->words;
    while (destination != end) {
        destination[0] = zeros;
        destination[1] = zeros;
        destination[2] = zeros;
        destination[3] = zeros;
        destination += WORD_STEP;
    }
}

/* Expand one line of four channels, with the padding at its ends. */
static void expand_line(const ELEARN_FLASH elearn_depthwise_conv2d_fours_params *p, const int8_t *input, int32_t line,
                        uint32_t *destination)
{
    const uint32_t zeros = 0x01010101u * (uint8_t)p->input_zero_point;
    const int32_t step = p->place.input_step;
    const int32_t count = p->place.inputs;
    const int8_t *const source = input + line * p->line.input_step;
    for (int32_t word = 0; word < p->words; word++) {
        const int32_t place = 2 * word - p->place.pad;
        uint32_t one = zeros;
        uint32_t two = zeros;
        if (place >= 0 && place + 1 < count) {
            /* Inside, on to the last whole pair or to what the sweep reads. */
            const int32_t whole = (count - place) / 2;
            const int32_t pairs = whole < p->words - word ? whole : p->words - word;
            destination = expand_places(destination, source + place * step, step, pairs);
            word += pairs - 1;
            continue;
        }
        if (place >= 0 && place < count) {
            one = elearn_load4(source + place * step);
        }
        if (place + 1 >= 0 && place + 1 < count) {
            two = elearn_load4(source + (place + 1) * step);
        }
        store_places(destination, one, two);
        destination += WORD_STEP;
    }
}

/* All output channels of four input channels, over the lines of a band. */
static void sweep_channels(
    const ELEARN_FLASH elearn_depthwise_conv2d_fours_params *p,
    const uint32_t *values,
    int32_t channel,
    int8_t *output,
    int32_t lines)
{
    const int32_t stride = p->place.stride;
    const int32_t is_threes = p->place.taps == 3 && p->line.taps == 3 && stride <= 2 && p->line.stride == stride;
    for (int32_t i = 0; i < 4 * p->multiplier; i++) {
        const int32_t number = channel * p->multiplier + i;
        const ELEARN_FLASH uint32_t *const stream = p->stream + number * p->channel_words;
        if (is_threes) {
            sweep s;
            s.stream = stream;
            s.values = values + i / p->multiplier;
            s.line_bytes = 16 * p->words;
            s.pairs_bytes = 16 * stride * (p->place.outputs / 2);
            s.output = output + number;
            s.output_step = p->place.output_step;
            s.line_step = p->line.output_step;
            s.lines = lines;
            s.is_odd = p->place.outputs & 1;
            s.line_advance = stride * s.line_bytes;
            sweep_threes(&s, stride, p->is_folded);
        } else {
            sweep_any(p, stream, values + i / p->multiplier, output + number, lines);
        }
    }
}

void elearn_depthwise_conv2d_fours_s8(
    const ELEARN_FLASH elearn_depthwise_conv2d_fours_params *p, const int8_t *input, int8_t *output, int8_t *scratch)
{
    uint32_t *const values = (uint32_t *)(void *)scratch;
    const int32_t line_words = WORD_STEP * p->words;
    for (int32_t next = 0; next < p->input_channels; next += 4) {
        /* The last four channels may have some in common with those before. */
        const int32_t channel = next + 4 <= p->input_channels ? next : p->input_channels - 4;
        int32_t held = 0; /* input lines that are expanded, from `top` on */
        int32_t top = -p->line.pad;
        for (int32_t y = 0; y < p->line.outputs; y += p->band) {
            const int32_t lines = y + p->band <= p->line.outputs ? p->band : p->line.outputs - y;
            const int32_t first = y * p->line.stride - p->line.pad;
            const int32_t needed = (lines - 1) * p->line.stride + p->line.taps;
            /* Lines in common with the band before are moved, not read again: their output may lie there by now. */
            const int32_t passed = first - top;
            held = held > passed ? held - passed : 0;
            if (held > 0) {
                memmove(values, values + passed * line_words, (size_t)(held * line_words) * sizeof *values);
            }
            top = first;
            for (; held < needed; held++) {
                if (top + held < 0 || top + held >= p->line.inputs) {
                    fill_line(p, values + held * line_words);
                } else {
                    expand_line(p, input + channel, top + held, values + held * line_words);
                }
            }
            sweep_channels(p, values, channel, output + y * p->line.output_step, lines);
        }
    }
    if (p->output_min > -128 || p->output_max < 127) {
        const int32_t count = p->line.outputs * p->place.outputs * p->input_channels * p->multiplier;
        elearn_clamp_all(output, count, p->output_min, p->output_max);
    }
}
