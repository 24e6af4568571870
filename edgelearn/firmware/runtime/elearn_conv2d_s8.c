/* CONV_2D, int8, per output channel. Portable. */
#include "elearn_kernels.h"
#include "elearn_math.h"

void elearn_conv2d_s8(const elearn_conv2d_params *p, const int8_t *input, int8_t *output)
{
    const elearn_window *w = &p->window;
    const int32_t depth = p->input.channels;
    const int32_t zero_point = p->offsets.input_zero_point;

    for (int32_t y = 0; y < p->output.height; y++) {
        const int32_t top = y * w->stride_h - w->pad_top;
        for (int32_t x = 0; x < p->output.width; x++) {
            const int32_t left = x * w->stride_w - w->pad_left;
            const int8_t *weights = p->weights;
            for (int32_t c = 0; c < p->output.channels; c++) {
                int32_t sum = p->bias[c];
                for (int32_t i = 0; i < w->kernel_h; i++) {
                    const int32_t row = top + i * w->dilation_h;
                    for (int32_t j = 0; j < w->kernel_w; j++) {
                        const int32_t column = left + j * w->dilation_w;
                        if (row >= 0 && row < p->input.height && column >= 0 && column < p->input.width) {
                            const int8_t *pixel = input + (row * p->input.width + column) * depth;
                            for (int32_t k = 0; k < depth; k++) {
                                sum += weights[k] * (pixel[k] - zero_point);
                            }
                        }
                        weights += depth;
                    }
                }
                sum = elearn_requantize_twice(sum, p->scales[c].multiplier, p->scales[c].shift);
                sum += p->offsets.output_zero_point;
                *output++ = (int8_t)elearn_clamp(sum, p->offsets.output_min, p->offsets.output_max);
            }
        }
    }
}
