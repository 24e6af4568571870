/* The values under the windows of two pixels, expanded to 16 bits for the walks of elearn_matmul_s8.h. */
#ifndef ELEARN_WINDOWS_S8_H
#define ELEARN_WINDOWS_S8_H

#include "elearn_kernels.h"

/* Where the window of an output pixel begins in the input. */
typedef struct {
    int32_t top;
    int32_t left;
} elearn_corner;

typedef struct {
    const int8_t *input;
    const ELEARN_FLASH elearn_shape *shape;   /* of the input */
    const ELEARN_FLASH elearn_window *window; /* stride and padding are the caller's */
    int32_t zero_point;
    int32_t groups_of_eight; /* kernel_h * kernel_w * channels, in eights */
    uint32_t *values;        /* two pixels word by word: groups_of_eight * 8 words */
    int8_t *gathered;        /* zero points, or pixels gathered before they are expanded */
} elearn_windows;

/* Put values and gathered into the scratch memory, aligned to four bytes, and return what follows them: values take
 * groups_of_eight * 32 bytes; gathered takes kernel_w * channels where channels is a multiple of four, else
 * groups_of_eight * 16 + 4. */
int8_t *elearn_begin_windows(elearn_windows *w, int8_t *scratch);

/* Expand the windows at two corners; outside the input they are the zero point. */
void elearn_expand_windows(const elearn_windows *w, elearn_corner one, elearn_corner two);

/* Copy `rows` pieces of `length` bytes, from and to places that are a fixed step apart. */
void elearn_copy_rows(int8_t *destination, int32_t destination_step, const int8_t *source, int32_t source_step,
                      int32_t rows, int32_t length);

#endif
