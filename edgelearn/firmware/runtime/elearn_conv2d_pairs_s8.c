/* CONV_2D, int8, for cores with DSP instructions: two pixels by two output channels at a time. The values under the
 * window of two pixels are expanded to 16 bits once and serve all output channels; outside the input they are the zero
 * point. Portable but for the walk in elearn_matmul_s8.c. */
#include "elearn_conv2d_pairs_s8.h"

#include <stddef.h>
#include <string.h>

#include "elearn_math.h"
#include "elearn_matmul_s8.h"
#include "elearn_windows_s8.h"

static elearn_corner corner_of(const ELEARN_FLASH elearn_conv2d_pairs_params *p, int32_t x, int32_t y)
{
    const elearn_corner c = {y * p->window.stride_h - p->window.pad_top, x * p->window.stride_w - p->window.pad_left};
    return c;
}

void elearn_conv2d_pairs_s8(
    const ELEARN_FLASH elearn_conv2d_pairs_params *p, const int8_t *input, int8_t *output, int8_t *scratch)
{
    const int32_t depth = p->output.channels;
    const int32_t pixels = p->output.height * p->output.width;
    elearn_windows windows = {input, &p->input, &p->window, p->offsets.input_zero_point, p->groups_of_eight, NULL, NULL};
    int8_t *const rows = elearn_begin_windows(&windows, scratch);
    elearn_pixels_walk walk = {0};

    walk.stream = p->stream;
    walk.values = windows.values;
    walk.values_end = windows.values + 8 * p->groups_of_eight;
    walk.shift = p->shift;
    walk.is_odd = p->groups_of_eight & 1;
    for (int32_t pixel = 0, x = 0, y = 0; pixel < pixels; pixel += 2) {
        /* Where their number is odd, the last pixel is its own neighbour. */
        const elearn_corner one = corner_of(p, x, y);
        elearn_corner two = one;
        int8_t *const output1 = output + pixel * depth;
        int8_t *const output2 = pixel + 1 < pixels ? output1 + depth : output1;
        if (++x == p->output.width) {
            x = 0;
            y++;
        }
        if (output2 != output1) {
            two = corner_of(p, x, y);
            if (++x == p->output.width) {
                x = 0;
                y++;
            }
        }
        elearn_expand_windows(&windows, one, two);
        /* The walk writes channels in twos. */
        walk.output1 = depth & 1 ? rows : output1;
        walk.output2 = depth & 1 ? rows + depth + 1 : output2;
        walk.output1_end = walk.output1 + depth + (depth & 1);
        if (p->shift < 0) {
            elearn_pixels_twice_s8(&walk);
        } else {
            elearn_pixels_folded_s8(&walk);
        }
        if (depth & 1) {
            memcpy(output1, rows, (size_t)depth);
            memcpy(output2, rows + depth + 1, (size_t)depth);
        }
        if (p->offsets.output_min > -128 || p->offsets.output_max < 127) {
            elearn_clamp_all(output1, depth, p->offsets.output_min, p->offsets.output_max);
            elearn_clamp_all(output2, depth, p->offsets.output_min, p->offsets.output_max);
        }
    }
}
