/* What the device code uses of <math.h>, for a compiler that brings the functions but no C library's headers. */
#ifndef ELEARN_FREESTANDING_MATH_H
#define ELEARN_FREESTANDING_MATH_H

float expf(float x);

#endif
