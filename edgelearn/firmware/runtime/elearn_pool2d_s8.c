/* AVERAGE_POOL_2D and MAX_POOL_2D, int8. Portable. A window at the border covers only what lies inside the input. */
#include "elearn_pool2d_s8.h"

#include "elearn_math.h"

void elearn_average_pool2d_s8(const elearn_pool2d_params *p, const int8_t *input, int8_t *output)
{
    const int32_t depth = p->input.channels;
    for (int32_t y = 0; y < p->output.height; y++) {
        const int32_t top = y * p->window.stride_h - p->window.pad_top;
        const elearn_range rows = elearn_taps_inside(top, p->window.kernel_h, 1, p->input.height);
        for (int32_t x = 0; x < p->output.width; x++) {
            const int32_t left = x * p->window.stride_w - p->window.pad_left;
            const elearn_range columns = elearn_taps_inside(left, p->window.kernel_w, 1, p->input.width);
            const int32_t count = (rows.end - rows.first) * (columns.end - columns.first);
            for (int32_t c = 0; c < depth; c++) {
                int32_t sum = 0;
                for (int32_t i = rows.first; i < rows.end; i++) {
                    for (int32_t j = columns.first; j < columns.end; j++) {
                        sum += input[((top + i) * p->input.width + left + j) * depth + c];
                    }
                }
                sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
                *output++ = (int8_t)elearn_clamp(sum, p->output_min, p->output_max);
            }
        }
    }
}

void elearn_max_pool2d_s8(const elearn_pool2d_params *p, const int8_t *input, int8_t *output)
{
    const int32_t depth = p->input.channels;
    for (int32_t y = 0; y < p->output.height; y++) {
        const int32_t top = y * p->window.stride_h - p->window.pad_top;
        const elearn_range rows = elearn_taps_inside(top, p->window.kernel_h, 1, p->input.height);
        for (int32_t x = 0; x < p->output.width; x++) {
            const int32_t left = x * p->window.stride_w - p->window.pad_left;
            const elearn_range columns = elearn_taps_inside(left, p->window.kernel_w, 1, p->input.width);
            for (int32_t c = 0; c < depth; c++) {
                int32_t largest = -128;
                for (int32_t i = rows.first; i < rows.end; i++) {
                    for (int32_t j = columns.first; j < columns.end; j++) {
                        const int32_t value = input[((top + i) * p->input.width + left + j) * depth + c];
                        if (value > largest) {
                            largest = value;
                        }
                    }
                }
                *output++ = (int8_t)elearn_clamp(largest, p->output_min, p->output_max);
            }
        }
    }
}
