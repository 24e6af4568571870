/* RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR, int8. Portable. */
#include "elearn_resize_s8.h"

#include "elearn_runs.h"

void elearn_resize_nearest_s8(const ELEARN_FLASH elearn_resize_nearest_params *p, const int8_t *input, int8_t *output)
{
    const int32_t depth = p->input.channels;
    const int32_t row_bytes = p->output.width * depth;
    for (int32_t y = 0; y < p->output.height; y++) {
        const int8_t *row = input + p->rows[y] * p->input.width * depth;
        const int is_repeated = y > 0 && p->rows[y] == p->rows[y - 1];
        const int32_t runs = is_repeated ? 1 : p->output.width;
        const int32_t run_bytes = is_repeated ? row_bytes : depth;
        for (int32_t x = 0; x < runs; x++) {
            elearn_copy_run(output + x * depth, is_repeated ? output - row_bytes : row + p->columns[x] * depth, run_bytes);
        }
        output += row_bytes;
    }
}

/* (1 - weight) a + weight b, in 1/1024. */
static inline int32_t blend(int32_t a, int32_t b, int32_t weight)
{
    return a * 1024 + (b - a) * weight;
}

void elearn_resize_bilinear_s8(const ELEARN_FLASH elearn_resize_bilinear_params *p, const int8_t *input, int8_t *output)
{
    const int32_t depth = p->input.channels;
    const int32_t row_bytes = p->input.width * depth;
    for (int32_t y = 0; y < p->output.height; y++) {
        const elearn_resize_blend row = p->rows[y];
        for (int32_t x = 0; x < p->output.width; x++) {
            const elearn_resize_blend column = p->columns[x];
            const int8_t *upper = input + row.line * row_bytes + column.line * depth;
            /* Where a weight is 0 there may be no next line. */
            const int8_t *lower = upper + (row.weight > 0 ? row_bytes : 0);
            const int32_t right = column.weight > 0 ? depth : 0;
            for (int32_t c = 0; c < depth; c++) {
                const int32_t above = blend(upper[c], upper[c + right], column.weight);
                const int32_t below = blend(lower[c], lower[c + right], column.weight);
                /* In 2^-20, rounded halves away from zero. */
                const int32_t value = blend(above, below, row.weight);
                *output++ = (int8_t)((value + ((int32_t)1 << 19) - (value < 0 ? 1 : 0)) >> 20);
            }
        }
    }
}
