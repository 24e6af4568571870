/* Framing: COBS (Cheshire and Baker, "Consistent Overhead Byte Stuffing", 1999) and CRC-32. See elearn_frame.h. */
#include "elearn_frame.h"

#include "elearn_bytes.h"
#include "elearn_flash.h"
#include "elearn_protocol.h"

uint32_t elearn_crc32(uint32_t crc, const uint8_t *bytes, uint32_t size)
{
    /* The reflected polynomial 0xEDB88320, four bits at a time. */
    static const ELEARN_FLASH uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    crc = ~crc;
    for (uint32_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

static void start_frame(elearn_frame_decoder *d)
{
    d->size_bytes = 0;
    d->block_left = 0;
    d->zero_pending = false;
    d->bad = false;
    d->started = false;
}

void elearn_frame_decoder_init(elearn_frame_decoder *d, uint8_t *buffer, uint32_t capacity_bytes)
{
    d->buffer = buffer;
    d->capacity_bytes = capacity_bytes;
    d->framing_errors = 0;
    d->crc_errors = 0;
    start_frame(d);
}

static void append(elearn_frame_decoder *d, uint8_t byte)
{
    if (d->size_bytes < d->capacity_bytes) {
        d->buffer[d->size_bytes++] = byte;
    } else {
        d->bad = true;
    }
}

static bool finish_frame(elearn_frame_decoder *d)
{
    const bool whole = d->started && !d->bad && d->block_left == 0;
    const uint32_t size = d->size_bytes;
    const bool started = d->started;
    start_frame(d);
    if (!started) {
        return false; /* zeros between frames */
    }
    if (!whole || size < ELEARN_FRAME_HEADER_BYTES + ELEARN_FRAME_CRC_BYTES) {
        d->framing_errors++;
        return false;
    }
    if (elearn_crc32(0, d->buffer, size - ELEARN_FRAME_CRC_BYTES)
        != elearn_get_u32(d->buffer + size - ELEARN_FRAME_CRC_BYTES)) {
        d->crc_errors++;
        return false;
    }
    d->size_bytes = size - ELEARN_FRAME_CRC_BYTES;
    return true;
}

bool elearn_frame_decoder_take(elearn_frame_decoder *d, uint8_t byte)
{
    if (!d->started) {
        d->size_bytes = 0;
    }
    if (byte == 0) {
        return finish_frame(d);
    }
    d->started = true;
    if (d->bad) {
        return false;
    }
    if (d->block_left > 0) {
        append(d, byte);
        d->block_left--;
        return false;
    }
    if (d->zero_pending) {
        append(d, 0);
    }
    d->block_left = (uint8_t)(byte - 1u);
    d->zero_pending = byte != 0xFF;
    return false;
}

void elearn_frame_send(uint8_t *frame, uint32_t size, void (*write)(const uint8_t *bytes, uint32_t size))
{
    static const uint8_t end = 0;
    uint32_t first = 0;
    elearn_put_u32(frame + size, elearn_crc32(0, frame, size));
    size += ELEARN_FRAME_CRC_BYTES;
    for (;;) {
        /* A block: up to 254 bytes that are not zero; a shorter one stands for its zero too. */
        uint32_t length = 0;
        uint8_t code;
        while (first + length < size && length < 254u && frame[first + length] != 0) {
            length++;
        }
        code = (uint8_t)(length + 1u);
        write(&code, 1);
        write(frame + first, length);
        first += length;
        if (first == size) {
            break;
        }
        if (length < 254u) {
            first++; /* the zero; one at the very end leaves an empty block to write */
        }
    }
    write(&end, 1);
}
