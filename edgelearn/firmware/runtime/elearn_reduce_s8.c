/* MEAN, SUM, REDUCE_MAX and REDUCE_MIN, int8. Channels are taken several at a time, with DSP instructions where
 * there are any. */
#include "elearn_reduce_s8.h"

#include "elearn_grid.h"
#include "elearn_math.h"

/* Adds eight neighbouring channels of all places of a grid. A function of its own: inlined, its loop lacks registers. */
__attribute__((noinline)) static void add_eight(const int8_t *input, const elearn_grid *grid, int32_t *sums)
{
    elearn_grid part = *grid;
    if (grid->rows * grid->columns > ELEARN_LANE_TERMS) {
        part.rows = 1;
    }
    for (int32_t row = 0; row < grid->rows; row += part.rows) {
        const int8_t *place = input + row * grid->row_step;
        for (int32_t left = grid->columns; left > 0; left -= ELEARN_LANE_TERMS) {
            uint32_t lanes[4];
            part.columns = left < ELEARN_LANE_TERMS ? left : ELEARN_LANE_TERMS;
            elearn_sum_eight(place, &part, lanes);
            sums[0] += elearn_low_lane(lanes[0]);
            sums[1] += elearn_low_lane(lanes[1]);
            sums[2] += elearn_high_lane(lanes[0]);
            sums[3] += elearn_high_lane(lanes[1]);
            sums[4] += elearn_low_lane(lanes[2]);
            sums[5] += elearn_low_lane(lanes[3]);
            sums[6] += elearn_high_lane(lanes[2]);
            sums[7] += elearn_high_lane(lanes[3]);
            place += ELEARN_LANE_TERMS * grid->column_step;
        }
    }
}

__attribute__(
    (noinline)) static void store_means(const ELEARN_FLASH elearn_mean_params *p,
    const int32_t *sums,
    int32_t count,
    int8_t *output)
{
    const elearn_scale scale = p->scale;
    const int32_t zero_point = p->output_zero_point;
    for (int32_t i = 0; i < count; i++) {
        const int32_t mean = elearn_requantize_twice(sums[i], scale.multiplier, scale.shift);
        output[i] = (int8_t)elearn_clamp(mean + zero_point, -128, 127);
    }
}

/* The places of one value of the outer reduced axis. */
static inline elearn_grid inner_grid(const ELEARN_FLASH elearn_reduce_axes *axes)
{
    const elearn_grid grid = {
        .rows = axes->middle.count,
        .row_step = axes->middle.step,
        .columns = axes->inner.count,
        .column_step = axes->inner.step,
    };
    return grid;
}

static void mean_of_row(const ELEARN_FLASH elearn_mean_params *p, const int8_t *input, int8_t *output)
{
    const elearn_grid grid = inner_grid(&p->axes);
    const int32_t step = p->axes.outer.step;
    int32_t channels;
    for (int32_t c = 0; c < p->axes.channels; c += channels) {
        int32_t sums[8];
        channels = p->axes.channels - c < 8 ? 1 : 8;
        for (int32_t i = 0; i < channels; i++) {
            sums[i] = -p->sum_offset;
        }
        for (int32_t i = 0; i < p->axes.outer.count; i++) {
            if (channels == 8) {
                add_eight(input + c + i * step, &grid, sums);
            } else {
                sums[0] += elearn_sum_one(input + c + i * step, &grid);
            }
        }
        store_means(p, sums, channels, output + c);
    }
}

void elearn_mean_s8(const ELEARN_FLASH elearn_mean_params *p, const int8_t *input, int8_t *output)
{
    for (int32_t i = 0; i < p->axes.kept_outer.count; i++) {
        for (int32_t j = 0; j < p->axes.kept_inner.count; j++) {
            mean_of_row(p, input + i * p->axes.kept_outer.step + j * p->axes.kept_inner.step, output);
            output += p->axes.channels;
        }
    }
}

static void max_of_row(const ELEARN_FLASH elearn_reduce_max_params *p, const int8_t *input, int8_t *output)
{
    const elearn_grid grid = inner_grid(&p->axes);
    const uint32_t flip = (uint32_t)p->flip;
    const int32_t step = p->axes.outer.step;
    int32_t c = 0;
    for (; c + 16 <= p->axes.channels; c += 16) {
        uint32_t largest[4] = {0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u};
        for (int32_t i = 0; i < p->axes.outer.count; i++) {
            elearn_max_sixteen(input + c + i * step, &grid, flip, largest);
        }
        for (int32_t i = 0; i < 4; i++) {
            elearn_store4(output + c + 4 * i, largest[i] ^ flip);
        }
    }
    for (; c + 4 <= p->axes.channels; c += 4) {
        uint32_t largest = 0x80808080u;
        for (int32_t i = 0; i < p->axes.outer.count; i++) {
            largest = elearn_max_four(input + c + i * step, &grid, flip, largest);
        }
        elearn_store4(output + c, largest ^ flip);
    }
    for (; c < p->axes.channels; c++) {
        int32_t largest = -128;
        for (int32_t i = 0; i < p->axes.outer.count; i++) {
            largest = elearn_max_one(input + c + i * step, &grid, p->flip, largest);
        }
        output[c] = (int8_t)(largest ^ p->flip);
    }
}

void elearn_reduce_max_s8(const ELEARN_FLASH elearn_reduce_max_params *p, const int8_t *input, int8_t *output)
{
    for (int32_t i = 0; i < p->axes.kept_outer.count; i++) {
        for (int32_t j = 0; j < p->axes.kept_inner.count; j++) {
            max_of_row(p, input + i * p->axes.kept_outer.step + j * p->axes.kept_inner.step, output);
            output += p->axes.channels;
        }
    }
}
