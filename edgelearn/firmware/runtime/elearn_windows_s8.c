/* The values under the windows of two pixels: see elearn_windows_s8.h. Portable. */
#include "elearn_windows_s8.h"

#include <string.h>

#include "elearn_lanes.h"
#include "elearn_math.h"
#include "elearn_matmul_s8.h"

static int32_t is_in_fours(const elearn_windows *w)
{
    return (w->shape->channels & 3) == 0;
}

int8_t *elearn_begin_windows(elearn_windows *w, int8_t *scratch)
{
    const int32_t gathered_bytes =
        is_in_fours(w) ? w->window->kernel_w * w->shape->channels : 16 * w->groups_of_eight + 4;
    w->values = (uint32_t *)(void *)scratch;
    w->gathered = scratch + 32 * w->groups_of_eight;
    memset(w->values, 0, (size_t)(32 * w->groups_of_eight));
    memset(w->gathered, is_in_fours(w) ? (int)w->zero_point : 0, (size_t)gathered_bytes);
    return w->gathered + gathered_bytes;
}

static int32_t has_columns_inside(const elearn_windows *w, elearn_corner c)
{
    return c.left >= 0 && c.left + (w->window->kernel_w - 1) * w->window->dilation_w < w->shape->width;
}

/* The values at a row and column of the input, or zero points where that is outside. */
static const int8_t *values_at(const elearn_windows *w, int32_t row, int32_t column)
{
    if (row < 0 || row >= w->shape->height || column < 0 || column >= w->shape->width) {
        return w->gathered;
    }
    return w->input + (row * w->shape->width + column) * w->shape->channels;
}

/* Expand two windows whose pixels have a multiple of four channels. */
static void expand_in_fours(const elearn_windows *w, elearn_corner one, elearn_corner two)
{
    const ELEARN_FLASH elearn_window *const window = w->window;
    const int32_t depth = w->shape->channels;
    const int32_t inside = window->dilation_w == 1 && has_columns_inside(w, one) && has_columns_inside(w, two);
    uint32_t *values = w->values;
    for (int32_t i = 0; i < window->kernel_h; i++) {
        const int32_t row1 = one.top + i * window->dilation_h;
        const int32_t row2 = two.top + i * window->dilation_h;
        if (inside) {
            const int8_t *const first = values_at(w, row1, one.left);
            const int8_t *const second = values_at(w, row2, two.left);
            values = elearn_expand_pixels_s8(values, first, second, window->kernel_w * depth);
            continue;
        }
        for (int32_t j = 0; j < window->kernel_w; j++) {
            const int8_t *const first = values_at(w, row1, one.left + j * window->dilation_w);
            const int8_t *const second = values_at(w, row2, two.left + j * window->dilation_w);
            values = elearn_expand_pixels_s8(values, first, second, depth);
        }
    }
}

void elearn_copy_rows(int8_t *destination, int32_t destination_step, const int8_t *source, int32_t source_step,
                      int32_t rows, int32_t length)
{
    for (; rows > 0; rows--) {
        int32_t k = 0;
        for (; k + 4 <= length; k += 4) {
            elearn_store4(destination + k, elearn_load4(source + k));
        }
        for (; k < length; k++) {
            destination[k] = source[k];
        }
        destination += destination_step;
        source += source_step;
    }
}

/* Where a window lies inside and reading on after it does too, copy its rows in whole words. What that is too much of a
 * row is written over by the next, or meets weights of zero. */
static int32_t gather_words(const elearn_windows *w, elearn_corner c, int8_t *gathered)
{
    const ELEARN_FLASH elearn_window *const window = w->window;
    const int32_t row_bytes = window->kernel_w * w->shape->channels;
    const int32_t line_bytes = w->shape->width * w->shape->channels;
    const int32_t row_step = window->dilation_h * line_bytes;
    const int32_t start = c.top * line_bytes + c.left * w->shape->channels;
    const int32_t end = start + (window->kernel_h - 1) * row_step + row_bytes + 3;
    const int8_t *source = w->input;

    if (window->dilation_w != 1 || c.top < 0 || !has_columns_inside(w, c) || end > w->shape->height * line_bytes) {
        return 0;
    }
    source += start;
    for (int32_t i = 0; i < window->kernel_h; i++) {
        for (int32_t k = 0; k < row_bytes; k += 4) {
            elearn_store4(gathered + k, elearn_load4(source + k));
        }
        gathered += row_bytes;
        source += row_step;
    }
    return 1;
}

/* Copy the values under a window one after another, those outside as zero points. */
static void gather_window(const elearn_windows *w, elearn_corner c, int8_t *gathered)
{
    const ELEARN_FLASH elearn_window *const window = w->window;
    const int32_t depth = w->shape->channels;
    const int32_t row_bytes = window->kernel_w * depth;
    const elearn_range rows = elearn_taps_inside(c.top, window->kernel_h, window->dilation_h, w->shape->height);
    const elearn_range columns = elearn_taps_inside(c.left, window->kernel_w, window->dilation_w, w->shape->width);
    /* Taps next to each other are next to each other in memory. */
    const int32_t joined = window->dilation_w == 1;
    const int32_t length = joined ? (columns.end - columns.first) * depth : depth;
    const int32_t row_step = window->dilation_h * w->shape->width * depth;
    const int32_t top = c.top + rows.first * window->dilation_h;

    if (rows.end - rows.first < window->kernel_h || columns.end - columns.first < window->kernel_w) {
        memset(gathered, (int)w->zero_point, (size_t)(window->kernel_h * row_bytes));
    }
    for (int32_t j = columns.first; j < columns.end; j += joined ? window->kernel_w : 1) {
        const int8_t *const source = w->input + (top * w->shape->width + c.left + j * window->dilation_w) * depth;
        int8_t *const destination = gathered + rows.first * row_bytes + j * depth;
        elearn_copy_rows(destination, row_bytes, source, row_step, rows.end - rows.first, length);
    }
}

void elearn_expand_windows(const elearn_windows *w, elearn_corner one, elearn_corner two)
{
    if (is_in_fours(w)) {
        expand_in_fours(w, one, two);
    } else {
        int8_t *const second = w->gathered + 8 * w->groups_of_eight;
        if (!gather_words(w, one, w->gathered)) {
            gather_window(w, one, w->gathered);
        }
        if (!gather_words(w, two, second)) {
            gather_window(w, two, second);
        }
        (void)elearn_expand_pixels_s8(w->values, w->gathered, second, 8 * w->groups_of_eight);
    }
}
