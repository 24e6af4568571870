/* Frames: COBS(header, payload, CRC-32) and a zero byte. The decoder takes bytes as they come and survives any. */
#ifndef ELEARN_FRAME_H
#define ELEARN_FRAME_H

#include <stdbool.h>
#include <stdint.h>

/* CRC-32 of IEEE 802.3 of more bytes; start with 0. */
uint32_t elearn_crc32(uint32_t crc, const uint8_t *bytes, uint32_t size);

typedef struct {
    uint8_t *buffer; /* of the caller, holds one decoded frame */
    uint32_t capacity_bytes;
    uint32_t size_bytes;
    uint8_t block_left; /* bytes until the next COBS code */
    bool zero_pending;  /* the next code byte stands for a zero */
    bool bad;
    bool started;
    uint32_t framing_errors;
    uint32_t crc_errors;
} elearn_frame_decoder;

void elearn_frame_decoder_init(elearn_frame_decoder *d, uint8_t *buffer, uint32_t capacity_bytes);

/* Take one byte; true when it completes a good frame: header and payload are then in `buffer`, `size_bytes` long,
 * until the next byte is taken. Frames that are not COBS, too short, too long or have a bad checksum are counted. */
bool elearn_frame_decoder_take(elearn_frame_decoder *d, uint8_t byte);

/* Send a frame of header and payload; `frame` has room for the four bytes of the checksum after `size` bytes.
 * `write` is called with pieces of the encoded frame. */
void elearn_frame_send(uint8_t *frame, uint32_t size, void (*write)(const uint8_t *bytes, uint32_t size));

#endif
