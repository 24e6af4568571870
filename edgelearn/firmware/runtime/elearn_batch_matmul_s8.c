/* BATCH_MATMUL, int8: products of matrices of any layout. Portable. */
#include "elearn_batch_matmul_s8.h"

#include "elearn_math.h"

static int8_t requantized(const elearn_batch_matmul_params *p, int32_t sum)
{
    sum = elearn_requantize_twice(sum, p->scale.multiplier, p->scale.shift) + p->output_zero_point;
    return (int8_t)elearn_clamp(sum, INT8_MIN, INT8_MAX);
}

/* One row of the left matrix by four columns of the right one. */
static void four_columns(const elearn_batch_matmul_params *p, const int8_t *left, const int8_t *right, int8_t *output)
{
    const int32_t left_step = p->left_strides[4];
    const int32_t right_step = p->right_strides[3];
    const int32_t column = p->right_strides[4];
    int32_t a = 0;
    int32_t b = 0;
    int32_t c = 0;
    int32_t d = 0;
    int32_t of_left = 0;
    for (int32_t k = 0; k < p->depth; k++) {
        const int32_t value = *left - p->left_zero_point;
        of_left += value;
        a += value * right[0];
        b += value * right[column];
        c += value * right[2 * column];
        d += value * right[3 * column];
        left += left_step;
        right += right_step;
    }
    of_left *= p->right_zero_point;
    output[0] = requantized(p, a - of_left);
    output[1] = requantized(p, b - of_left);
    output[2] = requantized(p, c - of_left);
    output[3] = requantized(p, d - of_left);
}

static int8_t one_column(const elearn_batch_matmul_params *p, const int8_t *left, const int8_t *right)
{
    int32_t sum = 0;
    for (int32_t k = 0; k < p->depth; k++) {
        sum += (*left - p->left_zero_point) * (*right - p->right_zero_point);
        left += p->left_strides[4];
        right += p->right_strides[3];
    }
    return requantized(p, sum);
}

static int8_t *matrix(const elearn_batch_matmul_params *p, const int8_t *left, const int8_t *right, int8_t *output)
{
    for (int32_t m = 0; m < p->rows; m++) {
        int32_t n = 0;
        for (; n + 4 <= p->columns; n += 4) {
            four_columns(p, left, right + n * p->right_strides[4], output);
            output += 4;
        }
        for (; n < p->columns; n++) {
            *output++ = one_column(p, left, right + n * p->right_strides[4]);
        }
        left += p->left_strides[3];
    }
    return output;
}

void elearn_batch_matmul_s8(const elearn_batch_matmul_params *p, const int8_t *left, const int8_t *right,
                            int8_t *output)
{
    const int32_t *const ls = p->left_strides;
    const int32_t *const rs = p->right_strides;
    for (int32_t i = 0; i < p->batches[0]; i++) {
        for (int32_t j = 0; j < p->batches[1]; j++) {
            for (int32_t k = 0; k < p->batches[2]; k++) {
                const int8_t *const of_left = left + i * ls[0] + j * ls[1] + k * ls[2];
                const int8_t *const of_right = right + i * rs[0] + j * rs[1] + k * rs[2];
                output = matrix(p, of_left, of_right, output);
            }
        }
    }
}

void elearn_batch_matmul_by_constant_s8(const elearn_batch_matmul_params *p, const int8_t *left, int8_t *output)
{
    elearn_batch_matmul_s8(p, left, p->constant, output);
}

void elearn_batch_matmul_of_constant_s8(const elearn_batch_matmul_params *p, const int8_t *right, int8_t *output)
{
    elearn_batch_matmul_s8(p, p->constant, right, output);
}
