/* RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR, int8: parameters and prototypes. */
#ifndef ELEARN_RESIZE_S8_H
#define ELEARN_RESIZE_S8_H

#include "elearn_kernels.h"

typedef struct {
    elearn_shape input;
    elearn_shape output;
    const ELEARN_FLASH uint16_t *rows;    /* for each output row the input row it is */
    const ELEARN_FLASH uint16_t *columns; /* for each output column the input column it is */
} elearn_resize_nearest_params;

/* A line of the input, and the weight of the next line in 1/1024. */
typedef struct {
    uint16_t line;
    uint16_t weight;
} elearn_resize_blend;

typedef struct {
    elearn_shape input;
    elearn_shape output;
    const ELEARN_FLASH elearn_resize_blend *rows;
    const ELEARN_FLASH elearn_resize_blend *columns;
} elearn_resize_bilinear_params;

void elearn_resize_nearest_s8(const ELEARN_FLASH elearn_resize_nearest_params *p, const int8_t *input, int8_t *output);
void elearn_resize_bilinear_s8(
    const ELEARN_FLASH elearn_resize_bilinear_params *p, const int8_t *input, int8_t *output);

#endif
