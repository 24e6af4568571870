/* AVERAGE_POOL_2D and MAX_POOL_2D, int8. Channels are taken several at a time, with DSP instructions where there are any.
 * A window at the border covers only what lies inside the input. */
#include "elearn_pool2d_s8.h"

#include "elearn_grid.h"
#include "elearn_math.h"

static inline int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* The part of a window that lies inside the input, and the offset of its first element. */
static inline elearn_grid window_inside(
    const ELEARN_FLASH elearn_pool2d_params *p, int32_t y, int32_t x, int32_t *first)
{
    const int32_t top = y * p->window.stride_h - p->window.pad_top;
    const int32_t left = x * p->window.stride_w - p->window.pad_left;
    const int32_t first_row = top > 0 ? top : 0;
    const int32_t first_column = left > 0 ? left : 0;
    const int32_t end_row = smaller(top + p->window.kernel_h, p->input.height);
    const int32_t end_column = smaller(left + p->window.kernel_w, p->input.width);
    const int32_t row_step = p->input.width * p->input.channels;
    elearn_grid grid = {
        .rows = end_row - first_row,
        .row_step = row_step,
        .columns = end_column - first_column,
        .column_step = p->input.channels,
    };
    if (grid.columns == p->input.width) { /* whole rows lie one behind another */
        grid.columns *= grid.rows;
        grid.rows = 1;
    }
    *first = first_row * row_step + first_column * p->input.channels;
    return grid;
}

/* The averages of four channels, with the sums of channels 0 and 2 in the lanes of `even`: times a reciprocal in 2^-30,
 * rounded in 2^-14. */
static inline uint32_t four_averages(uint32_t even, uint32_t odd, int32_t reciprocal)
{
    const int32_t half = 1 << 13;
    const uint32_t a = elearn_lanes(elearn_multiply_low_add(reciprocal, even, half) >> 14,
                                    elearn_multiply_high_add(reciprocal, even, half) >> 14);
    const uint32_t b = elearn_lanes(elearn_multiply_low_add(reciprocal, odd, half) >> 14,
                                    elearn_multiply_high_add(reciprocal, odd, half) >> 14);
    return (a & 0x00FF00FFu) | (b & 0x00FF00FFu) << 8;
}

/* One channel, by a division: halves away from zero. */
static int8_t divided(
    const ELEARN_FLASH elearn_pool2d_params *p, const int8_t *input, const elearn_grid *grid, int32_t count)
{
    const int32_t sum = elearn_sum_one(input, grid);
    return (int8_t)elearn_clamp((sum > 0 ? sum + count / 2 : sum - count / 2) / count, p->output_min, p->output_max);
}

void elearn_average_pool2d_s8(const ELEARN_FLASH elearn_pool2d_params *p, const int8_t *input, int8_t *output)
{
    const int32_t depth = p->input.channels;
    const uint32_t low = (uint32_t)(uint8_t)p->output_min * 0x01010101u;
    const uint32_t not_high = ~((uint32_t)(uint8_t)p->output_max * 0x01010101u);
    for (int32_t y = 0; y < p->output.height; y++) {
        for (int32_t x = 0; x < p->output.width; x++) {
            int32_t first;
            const elearn_grid grid = window_inside(p, y, x, &first);
            const int32_t count = grid.rows * grid.columns;
            const int8_t *window = input + first;
            int32_t c = 0;
            if (p->has_reciprocals) {
                const int32_t reciprocal = ((int32_t)1 << 30) / count + 1;
                for (; c + 8 <= depth; c += 8) {
                    uint32_t lanes[4];
                    elearn_sum_eight(window + c, &grid, lanes);
                    for (int32_t i = 0; i < 4; i += 2) {
                        uint32_t word = four_averages(lanes[i], lanes[i + 1], reciprocal);
                        if (p->is_clamped) {
                            word = ~elearn_max_bytes(~elearn_max_bytes(word, low), not_high);
                        }
                        elearn_store4(output, word);
                        output += 4;
                    }
                }
            }
            for (; c < depth; c++) {
                *output++ = divided(p, window + c, &grid, count);
            }
        }
    }
}

void elearn_max_pool2d_s8(const ELEARN_FLASH elearn_pool2d_params *p, const int8_t *input, int8_t *output)
{
    const int32_t depth = p->input.channels;
    const int32_t high = p->output_max;
    const uint32_t low = (uint32_t)(uint8_t)p->output_min * 0x01010101u;
    const uint32_t not_high = ~((uint32_t)(uint8_t)high * 0x01010101u);
    for (int32_t y = 0; y < p->output.height; y++) {
        for (int32_t x = 0; x < p->output.width; x++) {
            int32_t first;
            const elearn_grid grid = window_inside(p, y, x, &first);
            const int8_t *window = input + first;
            int32_t c = 0;
            for (; c + 16 <= depth; c += 16) {
                uint32_t largest[4] = {low, low, low, low};
                elearn_max_sixteen(window + c, &grid, 0, largest);
                for (int32_t i = 0; i < 4 && high < 127; i++) {
                    largest[i] = ~elearn_max_bytes(~largest[i], not_high);
                }
                elearn_store4(output, largest[0]);
                elearn_store4(output + 4, largest[1]);
                elearn_store4(output + 8, largest[2]);
                elearn_store4(output + 12, largest[3]);
                output += 16;
            }
            for (; c + 4 <= depth; c += 4) {
                const uint32_t largest = elearn_max_four(window + c, &grid, 0, low);
                elearn_store4(output, ~elearn_max_bytes(~largest, not_high));
                output += 4;
            }
            for (; c < depth; c++) {
                const int32_t largest = elearn_max_one(window + c, &grid, 0, p->output_min);
                *output++ = (int8_t)(largest > high ? high : largest);
            }
        }
    }
}
