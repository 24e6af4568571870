/* TRANSPOSE_CONV, int8, per output channel: for each output pixel the input pixels that add to it. Portable. */
#include "elearn_transpose_conv_s8.h"

#include "elearn_math.h"

/* The taps of one axis that reach an output position: every stride-th from `tap`, the input position going down by one
 * each time. */
typedef struct {
    int32_t tap;
    int32_t position;
    int32_t count;
} taps;

static taps taps_at(int32_t output, int32_t pad, int32_t stride, int32_t kernel, int32_t limit)
{
    taps t = {(output + pad) % stride, (output + pad) / stride, 0};
    int32_t last;
    if (t.position >= limit) {
        t.tap += (t.position - limit + 1) * stride;
        t.position = limit - 1;
    }
    last = t.tap < kernel ? (kernel - 1 - t.tap) / stride : -1;
    t.count = (last < t.position ? last : t.position) + 1;
    return t;
}

void elearn_transpose_conv_s8(const ELEARN_FLASH elearn_transpose_conv_params *p, const int8_t *input, int8_t *output)
{
    const ELEARN_FLASH elearn_window *w = &p->window;
    const int32_t depth = p->input.channels;
    for (int32_t y = 0; y < p->output.height; y++) {
        const taps rows = taps_at(y, w->pad_top, w->stride_h, w->kernel_h, p->input.height);
        for (int32_t x = 0; x < p->output.width; x++) {
            const taps columns = taps_at(x, w->pad_left, w->stride_w, w->kernel_w, p->input.width);
            const int32_t row_count = columns.count > 0 ? rows.count : 0;
            for (int32_t c = 0; c < p->output.channels; c++) {
                int32_t sum = p->bias[c];
                for (int32_t i = 0; i < row_count; i++) {
                    const int32_t row = c * w->kernel_h + rows.tap + i * w->stride_h;
                    const ELEARN_FLASH int8_t *weights = p->weights + (row * w->kernel_w + columns.tap) * depth;
                    const int8_t *pixel = input + ((rows.position - i) * p->input.width + columns.position) * depth;
                    for (int32_t j = 0; j < columns.count; j++) {
                        sum += elearn_dot_s8(weights, pixel, p->offsets.input_zero_point, depth);
                        weights += w->stride_w * depth;
                        pixel -= depth;
                    }
                }
                sum = elearn_requantize_twice(sum, p->scales[c].multiplier, p->scales[c].shift);
                sum += p->offsets.output_zero_point;
                *output++ = (int8_t)elearn_clamp(sum, p->offsets.output_min, p->offsets.output_max);
            }
        }
    }
}
