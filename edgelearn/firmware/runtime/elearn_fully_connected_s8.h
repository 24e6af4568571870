/* FULLY_CONNECTED, int8: parameters and prototype. */
#ifndef ELEARN_FULLY_CONNECTED_S8_H
#define ELEARN_FULLY_CONNECTED_S8_H

#include "elearn_kernels.h"

typedef struct {
    int32_t rows;
    int32_t features;
    int32_t outputs;
    elearn_offsets offsets;
    const ELEARN_FLASH int8_t *weights;
    const ELEARN_FLASH int32_t *bias;
    const ELEARN_FLASH elearn_scale *scales;
} elearn_fully_connected_params;

/* input [row][feature], weights [output][feature], output [row][output] */
void elearn_fully_connected_s8(
    const ELEARN_FLASH elearn_fully_connected_params *p, const int8_t *input, int8_t *output);

#endif
