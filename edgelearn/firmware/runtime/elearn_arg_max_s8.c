/* ARG_MAX, int8. Portable. */
#include "elearn_arg_max_s8.h"

void elearn_arg_max_s8(const ELEARN_FLASH elearn_arg_max_params *p, const int8_t *input, void *output)
{
    int32_t *words = output;
    for (int32_t i = 0; i < p->outer; i++) {
        for (int32_t j = 0; j < p->inner; j++) {
            const int8_t *place = input + i * p->count * p->inner + j;
            int32_t largest = 0;
            for (int32_t k = 1; k < p->count; k++) {
                if (place[k * p->inner] > place[largest * p->inner]) {
                    largest = k;
                }
            }
            words[0] = largest;
            if (p->words == 2) {
                words[1] = 0;
            }
            words += p->words;
        }
    }
}
