/* BATCH_MATMUL, int8: products of matrices of any layout. Portable. */
#include "elearn_batch_matmul_s8.h"

#include "elearn_math.h"

static int8_t requantized(const ELEARN_FLASH elearn_batch_matmul_params *p, int32_t sum)
{
    sum = elearn_requantize_twice(sum, p->scale.multiplier, p->scale.shift) + p->output_zero_point;
    return (int8_t)elearn_clamp(sum, INT8_MIN, INT8_MAX);
}

/* A row of the left matrix without its zero point; returns the sum, times the zero point of the right one. */
static int32_t expand_row(
    const ELEARN_FLASH elearn_batch_matmul_params *p, const ELEARN_FLASH int8_t *left, int16_t *row)
{
    const int32_t zero_point = p->left_zero_point;
    const int32_t step = p->left_strides[4];
    int32_t sum = 0;
    for (int32_t k = 0; k < p->depth; k++) {
        const int32_t value = *left - zero_point;
        row[k] = (int16_t)value;
        sum += value;
        left += step;
    }
    return sum * p->right_zero_point;
}

/* Add the products of a row and four columns to their sums. Not inlined: there its loop would lack registers. */
static __attribute__((noinline)) void add_products(const ELEARN_FLASH elearn_batch_matmul_params *p, const int16_t *row,
                                                   const ELEARN_FLASH int8_t *right, int32_t *sums)
{
    const int16_t *const end = row + p->depth;
    const int32_t step = p->right_strides[3];
    const int32_t column = p->right_strides[4];
    int32_t a = sums[0];
    int32_t b = sums[1];
    int32_t c = sums[2];
    int32_t d = sums[3];
    while (row != end) {
        const int32_t value = *row++;
        a += value * right[0];
        b += value * right[column];
        c += value * right[2 * column];
        d += value * right[3 * column];
        right += step;
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

static int8_t one_column(
    const ELEARN_FLASH elearn_batch_matmul_params *p, const int16_t *row, int32_t of_row,
    const ELEARN_FLASH int8_t *right)
{
    const int32_t step = p->right_strides[3];
    int32_t sum = -of_row;
    for (int32_t k = 0; k < p->depth; k++) {
        sum += (int32_t)row[k] * *right;
        right += step;
    }
    return requantized(p, sum);
}

static int8_t *matrix(const ELEARN_FLASH elearn_batch_matmul_params *p, const ELEARN_FLASH int8_t *left,
                      const ELEARN_FLASH int8_t *right, int8_t *output, int16_t *row)
{
    for (int32_t m = 0; m < p->rows; m++) {
        const int32_t of_row = expand_row(p, left, row);
        int32_t n = 0;
        for (; n + 4 <= p->columns; n += 4) {
            int32_t sums[4] = {-of_row, -of_row, -of_row, -of_row};
            add_products(p, row, right + n * p->right_strides[4], sums);
            for (int32_t i = 0; i < 4; i++) {
                *output++ = requantized(p, sums[i]);
            }
        }
        for (; n < p->columns; n++) {
            *output++ = one_column(p, row, of_row, right + n * p->right_strides[4]);
        }
        left += p->left_strides[3];
    }
    return output;
}

void elearn_batch_matmul_s8(const ELEARN_FLASH elearn_batch_matmul_params *p, const ELEARN_FLASH int8_t *left,
                            const ELEARN_FLASH int8_t *right, int8_t *output, int8_t *scratch)
{
    const ELEARN_FLASH int32_t *const ls = &p->left_strides[0];
    const ELEARN_FLASH int32_t *const rs = &p->right_strides[0];
    for (int32_t i = 0; i < p->batches[0]; i++) {
        for (int32_t j = 0; j < p->batches[1]; j++) {
            for (int32_t k = 0; k < p->batches[2]; k++) {
                const ELEARN_FLASH int8_t *const of_left = left + i * ls[0] + j * ls[1] + k * ls[2];
                const ELEARN_FLASH int8_t *const of_right = right + i * rs[0] + j * rs[1] + k * rs[2];
                output = matrix(p, of_left, of_right, output, (int16_t *)(void *)scratch);
            }
        }
    }
}

void elearn_batch_matmul_by_constant_s8(
    const ELEARN_FLASH elearn_batch_matmul_params *p, const int8_t *left, int8_t *output, int8_t *scratch)
{
    elearn_batch_matmul_s8(p, left, p->constant, output, scratch);
}

void elearn_batch_matmul_of_constant_s8(
    const ELEARN_FLASH elearn_batch_matmul_params *p, const int8_t *right, int8_t *output, int8_t *scratch)
{
    elearn_batch_matmul_s8(p, p->constant, right, output, scratch);
}
