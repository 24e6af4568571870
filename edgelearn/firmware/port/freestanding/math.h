/* What the device code uses of <math.h>, for a compiler that brings the functions but no C library's headers. */
#ifndef ELEARN_FREESTANDING_MATH_H
#define ELEARN_FREESTANDING_MATH_H

float expf(float x);
float logf(float x);
float sqrtf(float x);
float fabsf(float x);
float floorf(float x);
float roundf(float x);

#define fabsf(x) __builtin_fabsf(x)

#endif
