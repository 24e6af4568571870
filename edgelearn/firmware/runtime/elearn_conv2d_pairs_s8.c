/* CONV_2D, int8, for cores with DSP instructions: two pixels by two output channels at a time. The values under the
 * window of two pixels are expanded to 16 bits once and serve all output channels; outside the input they are the zero
 * point. Portable but for the walk in elearn_matmul_s8.c. */
#include "elearn_conv2d_pairs_s8.h"

#include <string.h>

#include "elearn_lanes.h"
#include "elearn_math.h"
#include "elearn_matmul_s8.h"

/* Where the window of an output pixel begins in the input. */
typedef struct {
    int32_t top;
    int32_t left;
} corner;

static corner corner_of(const elearn_conv2d_pairs_params *p, int32_t x, int32_t y)
{
    const corner c = {y * p->window.stride_h - p->window.pad_top, x * p->window.stride_w - p->window.pad_left};
    return c;
}

static int32_t has_columns_inside(const elearn_conv2d_pairs_params *p, corner c)
{
    return c.left >= 0 && c.left + (p->window.kernel_w - 1) * p->window.dilation_w < p->input.width;
}

/* The values at a row and column of the input, or zero points where that is outside. */
static const int8_t *values_at(const elearn_conv2d_pairs_params *p, const int8_t *input, const int8_t *zeros, int32_t row,
                               int32_t column)
{
    if (row < 0 || row >= p->input.height || column < 0 || column >= p->input.width) {
        return zeros;
    }
    return input + (row * p->input.width + column) * p->input.channels;
}

/* Expand two windows whose pixels have a multiple of four channels. */
static void expand_windows(const elearn_conv2d_pairs_params *p, const int8_t *input, const int8_t *zeros, corner one,
                           corner two, uint32_t *values)
{
    const elearn_window *w = &p->window;
    const int32_t depth = p->input.channels;
    const int32_t inside = w->dilation_w == 1 && has_columns_inside(p, one) && has_columns_inside(p, two);
    for (int32_t i = 0; i < w->kernel_h; i++) {
        const int32_t row1 = one.top + i * w->dilation_h;
        const int32_t row2 = two.top + i * w->dilation_h;
        if (inside) {
            const int8_t *const first = values_at(p, input, zeros, row1, one.left);
            const int8_t *const second = values_at(p, input, zeros, row2, two.left);
            values = elearn_expand_pixels_s8(values, first, second, w->kernel_w * depth);
            continue;
        }
        for (int32_t j = 0; j < w->kernel_w; j++) {
            const int8_t *const first = values_at(p, input, zeros, row1, one.left + j * w->dilation_w);
            const int8_t *const second = values_at(p, input, zeros, row2, two.left + j * w->dilation_w);
            values = elearn_expand_pixels_s8(values, first, second, depth);
        }
    }
}

/* Copy `rows` pieces of `length` bytes, from and to places that are a fixed step apart. */
static void copy_rows(int8_t *destination, int32_t destination_step, const int8_t *source, int32_t source_step,
                      int32_t rows, int32_t length)
{
    for (; rows > 0; rows--) {
        int32_t k = 0;
        for (; k + 4 <= length; k += 4) {
            const uint32_t four = elearn_load4(source + k);
            memcpy(destination + k, &four, sizeof four);
        }
        for (; k < length; k++) {
            destination[k] = source[k];
        }
        destination += destination_step;
        source += source_step;
    }
}

/* Copy the values under a window one after another. */
static void gather_window(const elearn_conv2d_pairs_params *p, const int8_t *input, corner c, int8_t *gathered)
{
    const elearn_window *w = &p->window;
    const int32_t depth = p->input.channels;
    const int32_t row_bytes = w->kernel_w * depth;
    const elearn_range rows = elearn_taps_inside(c.top, w->kernel_h, w->dilation_h, p->input.height);
    const elearn_range columns = elearn_taps_inside(c.left, w->kernel_w, w->dilation_w, p->input.width);
    /* Taps next to each other are next to each other in memory. */
    const int32_t joined = w->dilation_w == 1;
    const int32_t length = joined ? (columns.end - columns.first) * depth : depth;
    const int32_t row_step = w->dilation_h * p->input.width * depth;
    const int32_t top = c.top + rows.first * w->dilation_h;

    if (rows.end - rows.first < w->kernel_h || columns.end - columns.first < w->kernel_w) {
        memset(gathered, p->offsets.input_zero_point, (size_t)(w->kernel_h * row_bytes));
    }
    for (int32_t j = columns.first; j < columns.end; j += joined ? w->kernel_w : 1) {
        const int8_t *const source = input + (top * p->input.width + c.left + j * w->dilation_w) * depth;
        int8_t *const destination = gathered + rows.first * row_bytes + j * depth;
        copy_rows(destination, row_bytes, source, row_step, rows.end - rows.first, length);
    }
}

void elearn_conv2d_pairs_s8(const elearn_conv2d_pairs_params *p, const int8_t *input, int8_t *output, int8_t *scratch)
{
    const int32_t depth = p->output.channels;
    const int32_t pixels = p->output.height * p->output.width;
    const int32_t eights = p->groups_of_eight;
    const int32_t in_fours = (p->input.channels & 3) == 0;
    uint32_t *const values = (uint32_t *)(void *)scratch;
    int8_t *const gathered = scratch + 32 * eights;
    int8_t *const rows = gathered + (in_fours ? p->window.kernel_w * p->input.channels : 16 * eights);
    elearn_pixels_walk walk = {0};

    memset(scratch, 0, (size_t)(32 * eights));
    memset(gathered, in_fours ? p->offsets.input_zero_point : 0, (size_t)(rows - gathered));
    walk.stream = p->stream;
    walk.values = values;
    walk.values_end = values + 8 * eights;
    walk.shift = p->shift;
    walk.is_odd = eights & 1;
    for (int32_t pixel = 0, x = 0, y = 0; pixel < pixels; pixel += 2) {
        /* Where their number is odd, the last pixel is its own neighbour. */
        const corner one = corner_of(p, x, y);
        corner two = one;
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
        if (in_fours) {
            expand_windows(p, input, gathered, one, two, values);
        } else {
            gather_window(p, input, one, gathered);
            gather_window(p, input, two, gathered + 8 * eights);
            (void)elearn_expand_pixels_s8(values, gathered, gathered + 8 * eights, 8 * eights);
        }
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
