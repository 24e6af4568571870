/* What compilers take for granted, for code that is linked with nothing else: copying and filling, and for cores
 * without the instructions the products and quotients that the ABI names (Arm IHI0043, Run-time ABI, 4.2, 4.3). */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);

/* From the first byte on, so that `to` may overlap what follows it; four at a time where both addresses allow it. */
void *memcpy(void *to, const void *from, size_t size)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    if ((((uintptr_t)out | (uintptr_t)in) & 3u) == 0) {
        uint32_t *out_words = to;
        const uint32_t *in_words = from;
        for (; size >= 4; size -= 4) {
            *out_words++ = *in_words++;
        }
        out = (uint8_t *)out_words;
        in = (const uint8_t *)in_words;
    }
    for (; size > 0; size--) {
        *out++ = *in++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    if ((uintptr_t)out <= (uintptr_t)in) {
        return memcpy(to, from, size);
    }
    while (size > 0) {
        size--;
        out[size] = in[size];
    }
    return to;
}

void *memset(void *to, int value, size_t size)
{
    uint8_t *out = to;
    const uint32_t word = (uint8_t)value * 0x01010101u;
    for (; size > 0 && ((uintptr_t)out & 3u) != 0; size--) {
        *out++ = (uint8_t)value;
    }
    for (; size >= 4; size -= 4, out += 4) {
        *(uint32_t *)(void *)out = word;
    }
    for (; size > 0; size--) {
        *out++ = (uint8_t)value;
    }
    return to;
}

#if __ARM_ARCH == 6

int64_t __aeabi_lmul(int64_t a, int64_t b);
uint32_t __aeabi_uidiv(uint32_t a, uint32_t b);
int32_t __aeabi_idiv(int32_t a, int32_t b);
uint64_t __aeabi_uidivmod(uint32_t a, uint32_t b);
uint64_t __aeabi_idivmod(int32_t a, int32_t b);

static uint64_t product(uint32_t a, uint32_t b)
{
    const uint32_t al = a & 0xFFFFu;
    const uint32_t ah = a >> 16;
    const uint32_t bl = b & 0xFFFFu;
    const uint32_t bh = b >> 16;
    const uint32_t low = al * bl;
    const uint32_t middle = ah * bl + (low >> 16); /* at most 2^32 - 2^16 */
    const uint32_t other = al * bh + (middle & 0xFFFFu);
    const uint32_t high = ah * bh + (middle >> 16) + (other >> 16);
    return ((uint64_t)high << 32) | (uint64_t)((other << 16) | (low & 0xFFFFu));
}

int64_t __aeabi_lmul(int64_t a, int64_t b)
{
    const uint32_t al = (uint32_t)(uint64_t)a;
    const uint32_t bl = (uint32_t)(uint64_t)b;
    const uint64_t low = product(al, bl);
    const uint32_t high = (uint32_t)((uint64_t)a >> 32) * bl + al * (uint32_t)((uint64_t)b >> 32);
    return (int64_t)(low + ((uint64_t)high << 32));
}

static uint32_t divide(uint32_t a, uint32_t b, uint32_t *rest)
{
    uint32_t quotient = 0;
    uint32_t bit = 1;
    if (b == 0) {
        *rest = a;
        return 0;
    }
    while (b < a && b < 0x80000000u) {
        b <<= 1;
        bit <<= 1;
    }
    for (; bit != 0; bit >>= 1, b >>= 1) {
        if (a >= b) {
            a -= b;
            quotient |= bit;
        }
    }
    *rest = a;
    return quotient;
}

uint32_t __aeabi_uidiv(uint32_t a, uint32_t b)
{
    uint32_t rest;
    return divide(a, b, &rest);
}

uint64_t __aeabi_uidivmod(uint32_t a, uint32_t b)
{
    uint32_t rest;
    const uint32_t quotient = divide(a, b, &rest);
    return ((uint64_t)rest << 32) | quotient;
}

static uint32_t magnitude(int32_t v)
{
    return v < 0 ? 0u - (uint32_t)v : (uint32_t)v;
}

/* The quotient rounds towards zero, the remainder has the sign of the dividend. */
uint64_t __aeabi_idivmod(int32_t a, int32_t b)
{
    uint32_t rest;
    uint32_t quotient = divide(magnitude(a), magnitude(b), &rest);
    if ((a < 0) != (b < 0)) {
        quotient = 0u - quotient;
    }
    if (a < 0) {
        rest = 0u - rest;
    }
    return ((uint64_t)rest << 32) | quotient;
}

int32_t __aeabi_idiv(int32_t a, int32_t b)
{
    return (int32_t)(uint32_t)__aeabi_idivmod(a, b);
}

#endif
