/* CONV_2D, int8, per output channel, in groups of channels. Portable. */
#include "elearn_conv2d_s8.h"

#include "elearn_math.h"

void elearn_conv2d_s8(const ELEARN_FLASH elearn_conv2d_params *p, const int8_t *input, int8_t *output)
{
    const ELEARN_FLASH elearn_window *w = &p->window;
    const int32_t channels = p->input.channels;
    const int32_t depth = p->group_inputs;
    const int32_t row_stride = p->input.width * channels;
    /* Taps next to each other are next to each other in memory: a row of the window is one product. */
    const int32_t joined = w->dilation_w == 1 && depth == channels;

    for (int32_t y = 0; y < p->output.height; y++) {
        const int32_t top = y * w->stride_h - w->pad_top;
        const elearn_range rows = elearn_taps_inside(top, w->kernel_h, w->dilation_h, p->input.height);
        for (int32_t x = 0; x < p->output.width; x++) {
            const int32_t left = x * w->stride_w - w->pad_left;
            const elearn_range columns = elearn_taps_inside(left, w->kernel_w, w->dilation_w, p->input.width);
            const int32_t products = joined ? 1 : columns.end - columns.first;
            const int32_t length = joined ? (columns.end - columns.first) * depth : depth;
            const int8_t *group = input;
            int32_t outputs = p->group_outputs;
            for (int32_t c = 0; c < p->output.channels; c++, outputs--) {
                int32_t sum = p->bias[c];
                if (outputs == 0) {
                    group += depth;
                    outputs = p->group_outputs;
                }
                for (int32_t i = rows.first; i < rows.end; i++) {
                    const ELEARN_FLASH int8_t *weights =
                        p->weights + ((c * w->kernel_h + i) * w->kernel_w + columns.first) * depth;
                    const int8_t *pixel = group + (top + i * w->dilation_h) * row_stride
                                          + (left + columns.first * w->dilation_w) * channels;
                    for (int32_t j = 0; j < products; j++) {
                        const int32_t part = elearn_dot_s8(weights, pixel, p->offsets.input_zero_point, length);
                        sum = elearn_wrapping_add(sum, part);
                        weights += depth;
                        pixel += w->dilation_w * channels;
                    }
                }
                sum = elearn_requantize_twice(sum, p->scales[c].multiplier, p->scales[c].shift);
                sum = elearn_wrapping_add(sum, p->offsets.output_zero_point);
                *output++ = (int8_t)elearn_clamp(sum, p->offsets.output_min, p->offsets.output_max);
            }
        }
    }
}
