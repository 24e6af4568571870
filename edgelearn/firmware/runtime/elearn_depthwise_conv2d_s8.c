/* DEPTHWISE_CONV_2D, int8, per output channel. Portable. */
#include "elearn_depthwise_conv2d_s8.h"

#include "elearn_math.h"

void elearn_depthwise_conv2d_s8(const ELEARN_FLASH elearn_conv2d_params *p, const int8_t *input, int8_t *output)
{
    const ELEARN_FLASH elearn_window *w = &p->window;
    const int32_t depth = p->input.channels;
    const int32_t outputs = p->output.channels;
    const int32_t zero_point = p->offsets.input_zero_point;
    const int32_t tap_stride = w->dilation_w * depth;

    for (int32_t y = 0; y < p->output.height; y++) {
        const int32_t top = y * w->stride_h - w->pad_top;
        const elearn_range rows = elearn_taps_inside(top, w->kernel_h, w->dilation_h, p->input.height);
        for (int32_t x = 0; x < p->output.width; x++) {
            const int32_t left = x * w->stride_w - w->pad_left;
            const elearn_range columns = elearn_taps_inside(left, w->kernel_w, w->dilation_w, p->input.width);
            int32_t channel = 0;
            for (int32_t c = 0; c < depth; c++) {
                for (int32_t m = 0; m < p->group_outputs; m++, channel++) {
                    int32_t sum = p->bias[channel];
                    for (int32_t i = rows.first; i < rows.end; i++) {
                        const ELEARN_FLASH int8_t *weights =
                            p->weights + (i * w->kernel_w + columns.first) * outputs + channel;
                        const int8_t *value = input + (top + i * w->dilation_h) * p->input.width * depth
                                              + (left + columns.first * w->dilation_w) * depth + c;
                        for (int32_t j = columns.first; j < columns.end; j++) {
                            sum = elearn_wrapping_add(sum, *weights * (*value - zero_point));
                            weights += outputs;
                            value += tap_stride;
                        }
                    }
                    sum = elearn_requantize_twice(sum, p->scales[channel].multiplier, p->scales[channel].shift);
                    sum = elearn_wrapping_add(sum, p->offsets.output_zero_point);
                    *output++ = (int8_t)elearn_clamp(sum, p->offsets.output_min, p->offsets.output_max);
                }
            }
        }
    }
}
