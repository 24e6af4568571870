/* Sums of the gates of an LSTM: see elearn_lstm_gates_s8.h. DSP instructions, or portable C. */
#include "elearn_lstm_gates_s8.h"

#include "elearn_walk.h"

#if defined(__ARM_FEATURE_DSP)

/* A sum in `sum`, times 256 for B and D, requantised. `shift` is lsl, or asr for B and D. The carry of the first addition
 * is the sign, which makes up for it where nothing is shifted out; else the carry is the half. */
#define REQUANTIZE(sum, shift, multiplier, left, right) \
    shift " " sum ", " sum ", " left "\n" \
    "smmulr " sum ", " sum ", " multiplier "\n" \
    "adds " sum ", " sum ", " sum ", asr #31\n" \
    "asrs " sum ", " sum ", " right "\n" \
    "adc " sum ", " sum ", #0\n"

__attribute__((naked)) void elearn_lstm_gates_s8(const elearn_vector_walk *w __attribute__((unused)))
{
    __asm__ volatile(
        ENTER
        VECTOR_SUMS
        "ldr lr, [sp, #20]\n"
        "ldm lr!, {r4-r9}\n"
        REQUANTIZE("r1", "lsl", "r4", "r5", "r6")
        REQUANTIZE("r0", "asr", "r7", "r8", "r9")
        "ldm lr!, {r4-r9}\n"
        REQUANTIZE("r3", "lsl", "r4", "r5", "r6")
        REQUANTIZE("r2", "asr", "r7", "r8", "r9")
        "ldrd r10, r11, [sp, #12]\n"
        "ldrd r4, r5, [r10]\n"
        "sxtah r1, r1, r4\n"
        "sxtah r0, r0, r4, ror #16\n"
        "sxtah r3, r3, r5\n"
        "sxtah r2, r2, r5, ror #16\n"
        "ssat r1, #16, r1\n"
        "ssat r0, #16, r0\n"
        "ssat r3, #16, r3\n"
        "ssat r2, #16, r2\n"
        "pkhbt r4, r1, r0, lsl #16\n"
        "pkhbt r5, r3, r2, lsl #16\n"
        "strd r4, r5, [r10], #8\n"
        "str r10, [sp, #12]\n"
        "cmp r10, r11\n"
        "bne 1b\n"
        LEAVE);
}

#else

#include "elearn_math.h"

void elearn_lstm_gates_s8(const elearn_vector_walk *w)
{
    const ELEARN_FLASH elearn_gate_scale *const scales =
        (const ELEARN_FLASH elearn_gate_scale *)(const ELEARN_FLASH void *)w->constants;
    int16_t *gates = (int16_t *)(void *)w->output;
    int16_t *const end = (int16_t *)(void *)w->output_end;
    const ELEARN_FLASH uint32_t *stream = w->stream;
    while (gates != end) {
        int32_t sums[4];
        stream = elearn_vector_sums(w, stream, sums);
        for (int32_t i = 0; i < 4; i++) {
            const int32_t left = i % 2 ? 8 - scales[i].left : scales[i].left;
            const int32_t high = elearn_multiply_rounded(sums[i] * ((int32_t)1 << left), scales[i].multiplier);
            const int32_t gate = elearn_shift_right(high, scales[i].right);
            *gates = (int16_t)elearn_saturate16(*gates + gate);
            gates++;
        }
    }
}

#endif
