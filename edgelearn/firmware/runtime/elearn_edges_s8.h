/* QUANTIZE and DEQUANTIZE at the float edges of a model. */
#ifndef ELEARN_EDGES_S8_H
#define ELEARN_EDGES_S8_H

#include <stdint.h>

#include "elearn_flash.h"

typedef struct {
    int32_t elements;
    float scale;
    int32_t zero_point;
} elearn_edge_params;

void elearn_quantize_s8(const ELEARN_FLASH elearn_edge_params *p, const float *input, int8_t *output);
void elearn_dequantize_s8(const ELEARN_FLASH elearn_edge_params *p, const int8_t *input, float *output);

#endif
