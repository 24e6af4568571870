/* UNIDIRECTIONAL_SEQUENCE_LSTM, int8 with an int16 cell state: the walk over steps and units. Portable. */
#include "elearn_lstm_s8.h"

#include "elearn_lstm_cell_s8.h"

/* Add the products of `count` values to the sums of the four gates; returns the weights behind. */
static const ELEARN_FLASH int8_t *add_products(
    const ELEARN_FLASH int8_t *weights, const int8_t *values, int32_t count, int32_t *sums)
{
    const int8_t *const end = values + count;
    const int8_t *const end_of_fours = values + (count & ~3);
    int32_t a = sums[0];
    int32_t b = sums[1];
    int32_t c = sums[2];
    int32_t d = sums[3];
    while (values != end_of_fours) {
        for (int32_t i = 0; i < 4; i++) {
            const int32_t value = *values++;
            a += weights[i] * value;
            b += weights[4 + i] * value;
            c += weights[8 + i] * value;
            d += weights[12 + i] * value;
        }
        weights += 16;
    }
    if (values != end) {
        for (int32_t i = 0; values != end; i++) {
            const int32_t value = *values++;
            a += weights[i] * value;
            b += weights[4 + i] * value;
            c += weights[8 + i] * value;
            d += weights[12 + i] * value;
        }
        weights += 16;
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
    return weights;
}

void elearn_lstm_s8(const ELEARN_FLASH elearn_lstm_params *p, const int8_t *input, int8_t *output, int8_t *scratch)
{
    int16_t *const cells = (int16_t *)(void *)scratch;
    const int32_t recurrent_bytes = 16 * ((p->units + 3) / 4);
    const int8_t *before = 0;
    for (int32_t u = 0; u < p->units; u++) {
        cells[u] = 0;
    }
    for (int32_t t = 0; t < p->steps; t++) {
        const ELEARN_FLASH int8_t *weights = p->weights;
        const ELEARN_FLASH int32_t *bias = p->bias;
        for (int32_t u = 0; u < p->units; u++) {
            int32_t sums[8] = {bias[0], bias[1], bias[2], bias[3], 0, 0, 0, 0};
            weights = add_products(weights, input, p->features, sums);
            if (before) { /* the output before the first step is zero, and so are its sums */
                for (int32_t i = 4; i < 8; i++) {
                    sums[i] = bias[i];
                }
                (void)add_products(weights, before, p->units, sums + 4);
            }
            weights += recurrent_bytes;
            bias += 8;
            output[u] = elearn_lstm_unit_s8(p, sums, cells + u);
        }
        before = output;
        input += p->features;
        output += p->units;
    }
}
