/* Little-endian integers at any address. */
#ifndef ELEARN_BYTES_H
#define ELEARN_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint32_t elearn_get_u16(const uint8_t *p)
{
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8);
}

static inline uint32_t elearn_get_u32(const uint8_t *p)
{
    return elearn_get_u16(p) | (elearn_get_u16(p + 2) << 16);
}

static inline void elearn_put_u16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void elearn_put_u32(uint8_t *p, uint32_t v)
{
    elearn_put_u16(p, v);
    elearn_put_u16(p + 2, v >> 16);
}

static inline void elearn_put_f32(uint8_t *p, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    elearn_put_u32(p, bits);
}

#endif
