/* TRANSPOSE_CONV, int8, for cores with DSP instructions: see elearn_transpose_conv_pairs_s8.h. Two positions by two
 * channels at a time. Portable but for the walk in elearn_matmul_s8.c. */
#include "elearn_transpose_conv_pairs_s8.h"

#include <stddef.h>

#include "elearn_math.h"
#include "elearn_matmul_s8.h"
#include "elearn_windows_s8.h"

/* Copy the channels at a position to the output pixels of its phases, of those that lie inside. */
static void put_pixels(
    const ELEARN_FLASH elearn_transpose_conv_pairs_params *p,
    const ELEARN_FLASH elearn_transpose_conv_phases *t,
    int32_t y,
    int32_t x,
    const int8_t *channels,
    int8_t *output)
{
    const int32_t depth = p->output.channels;
    const int32_t top = t->top + y * p->stride_h;
    const int32_t left = t->left + x * p->stride_w;
    const int32_t first_row = top < 0 ? -top : 0;
    const int32_t first = left < 0 ? -left : 0;
    const int32_t rows = (p->output.height - top < t->rows ? p->output.height - top : t->rows) - first_row;
    const int32_t columns = (p->output.width - left < t->columns ? p->output.width - left : t->columns) - first;
    elearn_copy_rows(output + ((top + first_row) * p->output.width + left + first) * depth, p->output.width * depth,
                     channels + (first_row * t->columns + first) * depth, t->columns * depth, rows, columns * depth);
}

static void convolve(
    const ELEARN_FLASH elearn_transpose_conv_pairs_params *p,
    const ELEARN_FLASH elearn_transpose_conv_phases *t,
    const int8_t *input,
    int8_t *output,
    int8_t *scratch)
{
    const int32_t channels = t->rows * t->columns * p->output.channels;
    const int32_t even = channels + (channels & 1);
    const int32_t positions = t->height * t->width;
    elearn_windows windows = {input, &p->input, &t->window, p->offsets.input_zero_point, t->groups_of_eight, NULL, NULL};
    int8_t *const rows = elearn_begin_windows(&windows, scratch);
    elearn_pixels_walk walk = {0};

    walk.stream = p->stream + t->stream;
    walk.values = windows.values;
    walk.values_end = windows.values + 8 * t->groups_of_eight;
    walk.output1 = rows;
    walk.output2 = rows + even;
    walk.output1_end = walk.output2;
    walk.shift = t->shift;
    walk.is_odd = t->groups_of_eight & 1;
    for (int32_t position = 0, x = 0, y = 0; position < positions; position += 2) {
        /* Where their number is odd, the last position is its own neighbour. */
        const int32_t is_last = position + 1 == positions;
        const int32_t wraps = !is_last && x + 1 == t->width;
        const int32_t x2 = wraps ? 0 : is_last ? x : x + 1;
        const int32_t y2 = wraps ? y + 1 : y;
        const elearn_corner one = {y - t->window.pad_top, x - t->window.pad_left};
        const elearn_corner two = {y2 - t->window.pad_top, x2 - t->window.pad_left};
        elearn_expand_windows(&windows, one, two);
        if (t->shift < 0) {
            elearn_pixels_twice_s8(&walk);
        } else {
            elearn_pixels_folded_s8(&walk);
        }
        if (p->offsets.output_min > -128 || p->offsets.output_max < 127) {
            elearn_clamp_all(rows, 2 * even, p->offsets.output_min, p->offsets.output_max);
        }
        put_pixels(p, t, y, x, rows, output);
        put_pixels(p, t, y2, x2, rows + even, output);
        x = x2 + 1;
        y = y2;
        if (x == t->width) {
            x = 0;
            y++;
        }
    }
}

void elearn_transpose_conv_pairs_s8(
    const ELEARN_FLASH elearn_transpose_conv_pairs_params *p, const int8_t *input, int8_t *output, int8_t *scratch)
{
    for (int32_t i = 0; i < p->count; i++) {
        convolve(p, p->phases + i, input, output, scratch);
    }
}
