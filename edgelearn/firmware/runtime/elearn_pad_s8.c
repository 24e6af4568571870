/* PAD of height and width, int8. Portable. */
#include "elearn_pad_s8.h"

void elearn_pad_s8(const elearn_pad_params *p, const int8_t *input, int8_t *output)
{
    for (int32_t y = 0; y < p->output.height; y++) {
        const int32_t row = y - p->pad_top;
        for (int32_t x = 0; x < p->output.width; x++) {
            const int32_t column = x - p->pad_left;
            const int inside = row >= 0 && row < p->input.height && column >= 0 && column < p->input.width;
            for (int32_t c = 0; c < p->output.channels; c++) {
                *output++ = inside ? input[(row * p->input.width + column) * p->input.channels + c] : p->value;
            }
        }
    }
}
