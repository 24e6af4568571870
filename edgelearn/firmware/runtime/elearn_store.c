/* A circular log of records in flash or EEPROM, safe against power cuts. See elearn_store.h.
 *
 * A record is a header and its parts, one after the other, padded with ones to whole units of programming. The log lies
 * in blocks: a block is one page that holds as many records as fit, or as many pages as one record needs. Places are
 * taken in order, block after block, round and round, so that all blocks are erased equally often. What makes it safe:
 *
 * - The header, with the CRC of all, is programmed last: a record that was cut off is none.
 * - A block is erased anew before its first place is taken, whatever it looks like: an erase that was cut off may read
 *   as blank. Any other place is taken only where it reads as blank, and passed over otherwise.
 * - The block of the newest valid record is never erased.
 * - What was programmed is read back. A place that fails is passed over, and a block that fails is left for the next.
 * - To forget is to write: a mark, newer than all records, in a block of its own; only then the others are erased, so
 *   that no older record can come back.
 *
 * No unit is programmed twice after an erase, as flash with error correction wants it (STM32L4) and more strictly than
 * the nRF5's two times. A unit that reads as blank although it was programmed (ones with their check bits) fails there,
 * and its place is passed over. The number of a record has 32 bits; no flash lasts that long. */
#include "elearn_store.h"

#include <string.h>

#include "elearn_bytes.h"
#include "elearn_frame.h"
#include "elearn_nvm.h"

#define ERASED 0xFFu
#define MAGIC 0x53524C45u
#define KIND_RECORD 0u
#define KIND_FORGOTTEN 1u

/* The header's fields, in bytes from its start; the CRC is that of all before it and of the parts. */
#define AT_MAGIC 0u
#define AT_IDENTITY 4u
#define AT_SEQUENCE 16u
#define AT_PAYLOAD_BYTES 20u
#define AT_KIND 24u
#define AT_CRC 28u
#define HEADER_BYTES 32u

/* CHUNK_BYTES are handed to the driver at a time, PIECE_BYTES read at a time: in place, or into so large a buffer. */
#if ELEARN_NVM_MAPPED
#define CHUNK_BYTES 64u
#define PIECE_BYTES UINT32_MAX
#define BUFFER_BYTES 1u
#else
#define CHUNK_BYTES 32u
#define PIECE_BYTES 32u
#define BUFFER_BYTES PIECE_BYTES
#endif

#if (HEADER_BYTES % ELEARN_NVM_WRITE_BYTES) != 0u || (ELEARN_NVM_PAGE_BYTES % ELEARN_NVM_WRITE_BYTES) != 0u
#error "header and pages must be whole units of programming"
#endif

#if !ELEARN_NVM_MAPPED && HEADER_BYTES > BUFFER_BYTES
#error "a header is looked at in one piece"
#endif

typedef struct {
    uint32_t payload_bytes;
    uint32_t record_bytes;
    uint32_t block_bytes;
    uint32_t blocks;
    uint32_t places; /* in a block */
} layout;

/* The newest record or mark; `sequence` is 0 where there is none. */
typedef struct {
    uint32_t sequence;
    uint32_t kind;
    uint32_t block;
    uint32_t place;
} position;

/* Of the newest record, 0: none; and what the last call worked with, for elearn_store_forget(). */
static uint32_t newest_sequence;
static uint32_t last_identity[3];
static uint32_t last_payload_bytes;

#if ELEARN_NVM_MAPPED
/* `size` bytes of the pages, at most PIECE_BYTES: in place, and the buffer is not used. */
static const uint8_t *look(uint32_t offset, uint8_t *buffer, uint32_t size)
{
    (void)buffer;
    (void)size;
    return elearn_nvm_bytes() + offset;
}

static void copy_out(uint32_t offset, void *destination, uint32_t size)
{
    memcpy(destination, elearn_nvm_bytes() + offset, (size_t)size);
}
#else
/* `size` bytes of the pages, at most PIECE_BYTES, in the buffer. */
static const uint8_t *look(uint32_t offset, uint8_t *buffer, uint32_t size)
{
    elearn_nvm_read(offset, buffer, size);
    return buffer;
}

static void copy_out(uint32_t offset, void *destination, uint32_t size)
{
    elearn_nvm_read(offset, destination, size);
}
#endif

static uint32_t piece_of(uint32_t size)
{
    return size < PIECE_BYTES ? size : PIECE_BYTES;
}

/* False where fewer than two blocks have room. */
static bool make_layout(uint32_t payload_bytes, layout *l)
{
    const uint32_t whole = (uint32_t)ELEARN_NVM_PAGES * ELEARN_NVM_PAGE_BYTES;
    const uint32_t unit = ELEARN_NVM_WRITE_BYTES;
    if (payload_bytes > whole) {
        return false;
    }
    l->payload_bytes = payload_bytes;
    l->record_bytes = (HEADER_BYTES + payload_bytes + unit - 1u) & ~(unit - 1u);
    l->block_bytes =
        (l->record_bytes + ELEARN_NVM_PAGE_BYTES - 1u) / ELEARN_NVM_PAGE_BYTES * ELEARN_NVM_PAGE_BYTES;
    l->blocks = whole / l->block_bytes;
    l->places = l->block_bytes / l->record_bytes;
    return l->blocks >= 2u;
}

static bool layout_of(const elearn_store_part *parts, uint32_t count, layout *l)
{
    uint32_t payload_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (parts[i].size > UINT32_MAX - payload_bytes) {
            return false;
        }
        payload_bytes += parts[i].size;
    }
    return make_layout(payload_bytes, l);
}

static uint32_t offset_of(const layout *l, uint32_t block, uint32_t place)
{
    return block * l->block_bytes + place * l->record_bytes;
}

static uint32_t crc_of(uint32_t crc, uint32_t offset, uint32_t size)
{
    uint8_t buffer[BUFFER_BYTES];
    while (size > 0u) {
        const uint32_t count = piece_of(size);
        crc = elearn_crc32(crc, look(offset, buffer, count), count);
        offset += count;
        size -= count;
    }
    return crc;
}

/* A header, and the parts that follow it at `offset`. */
static bool is_valid(
    const uint8_t *header, uint32_t offset, const ELEARN_FLASH uint32_t *identity, const layout *l)
{
    uint32_t crc;
    if (elearn_get_u32(header + AT_MAGIC) != MAGIC || elearn_get_u32(header + AT_PAYLOAD_BYTES) != l->payload_bytes) {
        return false;
    }
    for (uint32_t i = 0; i < 3u; i++) {
        if (elearn_get_u32(header + AT_IDENTITY + 4u * i) != identity[i]) {
            return false;
        }
    }
    crc = elearn_crc32(0, header, AT_CRC);
    if (elearn_get_u32(header + AT_KIND) == KIND_RECORD) {
        crc = crc_of(crc, offset, l->payload_bytes);
    }
    return elearn_get_u32(header + AT_CRC) == crc;
}

/* From the last place to the first: in a block the newest is the last, and then no CRC is computed of the others. */
static position find_newest(const ELEARN_FLASH uint32_t *identity, const layout *l)
{
    uint8_t buffer[BUFFER_BYTES];
    position newest = {0, KIND_RECORD, l->blocks - 1u, 0};
    for (uint32_t block = l->blocks; block-- > 0u;) {
        for (uint32_t place = l->places; place-- > 0u;) {
            const uint32_t offset = offset_of(l, block, place);
            const uint8_t *header = look(offset, buffer, HEADER_BYTES);
            const uint32_t sequence = elearn_get_u32(header + AT_SEQUENCE);
            if (sequence > newest.sequence && is_valid(header, offset + HEADER_BYTES, identity, l)) {
                newest.sequence = sequence;
                newest.kind = elearn_get_u32(header + AT_KIND);
                newest.block = block;
                newest.place = place;
            }
        }
    }
    return newest;
}

static void note(const ELEARN_FLASH uint32_t *identity, const layout *l, const position *newest)
{
    newest_sequence = newest->kind == KIND_RECORD ? newest->sequence : 0u;
    elearn_copy_constant(last_identity, identity, sizeof last_identity);
    last_payload_bytes = l->payload_bytes;
}

static bool is_blank(uint32_t offset, uint32_t size)
{
    uint8_t buffer[BUFFER_BYTES];
    while (size > 0u) {
        const uint32_t count = piece_of(size);
        const uint8_t *bytes = look(offset, buffer, count);
        for (uint32_t i = 0; i < count; i++) {
            if (bytes[i] != ERASED) {
                return false;
            }
        }
        offset += count;
        size -= count;
    }
    return true;
}

static bool is_equal(uint32_t offset, const uint8_t *wanted, uint32_t size)
{
    uint8_t buffer[BUFFER_BYTES];
    while (size > 0u) {
        const uint32_t count = piece_of(size);
        const uint8_t *bytes = look(offset, buffer, count);
        for (uint32_t i = 0; i < count; i++) {
            if (bytes[i] != wanted[i]) {
                return false;
            }
        }
        wanted += count;
        offset += count;
        size -= count;
    }
    return true;
}

static bool erase_block(const layout *l, uint32_t block)
{
    const uint32_t pages = l->block_bytes / ELEARN_NVM_PAGE_BYTES;
    for (uint32_t i = 0; i < pages; i++) {
        if (!elearn_nvm_erase(block * pages + i)) {
            return false;
        }
    }
    return is_blank(block * l->block_bytes, l->block_bytes);
}

/* The parts one after the other, in pieces that the driver takes. */
static bool program_parts(uint32_t offset, const elearn_store_part *parts, uint32_t count)
{
    uint8_t chunk[CHUNK_BYTES];
    uint32_t filled = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *bytes = parts[i].bytes;
        for (uint32_t k = 0; k < parts[i].size; k++) {
            chunk[filled++] = bytes[k];
            if (filled == CHUNK_BYTES) {
                if (!elearn_nvm_program(offset, chunk, CHUNK_BYTES)) {
                    return false;
                }
                offset += CHUNK_BYTES;
                filled = 0;
            }
        }
    }
    while (filled % ELEARN_NVM_WRITE_BYTES != 0u) {
        chunk[filled++] = ERASED;
    }
    return filled == 0u || elearn_nvm_program(offset, chunk, filled);
}

static bool parts_are_equal(uint32_t offset, const elearn_store_part *parts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!is_equal(offset, parts[i].bytes, parts[i].size)) {
            return false;
        }
        offset += parts[i].size;
    }
    return true;
}

static bool write_record(uint32_t offset, const uint8_t *header, const elearn_store_part *parts, uint32_t count)
{
    return program_parts(offset + HEADER_BYTES, parts, count)
           && parts_are_equal(offset + HEADER_BYTES, parts, count)
           && elearn_nvm_program(offset, header, HEADER_BYTES) && is_equal(offset, header, HEADER_BYTES);
}

static void make_header(
    uint8_t *header,
    const ELEARN_FLASH uint32_t *identity,
    const layout *l,
    uint32_t sequence,
    uint32_t kind,
    const elearn_store_part *parts,
    uint32_t count)
{
    uint32_t crc;
    elearn_put_u32(header + AT_MAGIC, MAGIC);
    for (uint32_t i = 0; i < 3u; i++) {
        elearn_put_u32(header + AT_IDENTITY + 4u * i, identity[i]);
    }
    elearn_put_u32(header + AT_SEQUENCE, sequence);
    elearn_put_u32(header + AT_PAYLOAD_BYTES, l->payload_bytes);
    elearn_put_u32(header + AT_KIND, kind);
    crc = elearn_crc32(0, header, AT_CRC);
    for (uint32_t i = 0; i < count; i++) {
        crc = elearn_crc32(crc, parts[i].bytes, parts[i].size);
    }
    elearn_put_u32(header + AT_CRC, crc);
}

/* Write to the first place of the first block after the newest one's that takes it; `written` is where that was. */
static bool write_to_new_block(const layout *l, const position *newest, const uint8_t *header,
                               const elearn_store_part *parts, uint32_t count, position *written)
{
    const uint32_t free_blocks = newest->sequence != 0u ? l->blocks - 1u : l->blocks;
    for (uint32_t i = 1; i <= free_blocks; i++) {
        const uint32_t block = (newest->block + i) % l->blocks;
        if (erase_block(l, block) && write_record(offset_of(l, block, 0), header, parts, count)) {
            written->block = block;
            written->place = 0;
            return true;
        }
    }
    return false;
}

bool elearn_store_load(const ELEARN_FLASH uint32_t *identity, const elearn_store_part *parts, uint32_t count)
{
    layout l;
    position newest;
    uint32_t offset;
    if (!layout_of(parts, count, &l)) {
        return false;
    }
    newest = find_newest(identity, &l);
    note(identity, &l, &newest);
    if (newest_sequence == 0u) {
        return false;
    }
    offset = offset_of(&l, newest.block, newest.place) + HEADER_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        copy_out(offset, parts[i].bytes, parts[i].size);
        offset += parts[i].size;
    }
    return true;
}

bool elearn_store_save(const ELEARN_FLASH uint32_t *identity, const elearn_store_part *parts, uint32_t count)
{
    uint8_t header[HEADER_BYTES];
    layout l;
    position newest;
    bool saved = false;
    if (!layout_of(parts, count, &l)) {
        return false;
    }
    newest = find_newest(identity, &l);
    make_header(header, identity, &l, newest.sequence + 1u, KIND_RECORD, parts, count);
    if (newest.sequence != 0u) {
        for (uint32_t place = newest.place + 1u; place < l.places && !saved; place++) {
            const uint32_t offset = offset_of(&l, newest.block, place);
            saved = is_blank(offset, l.record_bytes) && write_record(offset, header, parts, count);
        }
    }
    if (!saved) {
        position written;
        saved = write_to_new_block(&l, &newest, header, parts, count, &written);
    }
    if (saved) {
        newest.sequence++;
        newest.kind = KIND_RECORD;
    }
    note(identity, &l, &newest);
    return saved;
}

uint32_t elearn_store_sequence(void)
{
    return newest_sequence;
}

/* Every page but those of a block that stays; none stays where it has no bytes. */
static bool erase_all_but(uint32_t first_page, uint32_t pages)
{
    bool erased = true;
    for (uint32_t page = 0; page < ELEARN_NVM_PAGES; page++) {
        if (page < first_page || page >= first_page + pages) {
            erased = elearn_nvm_erase(page) && is_blank(page * ELEARN_NVM_PAGE_BYTES, ELEARN_NVM_PAGE_BYTES) && erased;
        }
    }
    return erased;
}

bool elearn_store_forget(void)
{
    uint8_t header[HEADER_BYTES];
    layout l;
    position newest;
    position mark = {0, KIND_FORGOTTEN, 0, 0};
    uint32_t block_pages;
    if (last_payload_bytes == 0u || !make_layout(last_payload_bytes, &l)) {
        newest_sequence = 0;
        return erase_all_but(0, 0);
    }
    newest = find_newest(last_identity, &l);
    if (newest.sequence == 0u) {
        newest_sequence = 0;
        return erase_all_but(0, 0);
    }
    make_header(header, last_identity, &l, newest.sequence + 1u, KIND_FORGOTTEN, NULL, 0);
    if (!write_to_new_block(&l, &newest, header, NULL, 0, &mark)) {
        return false;
    }
    newest_sequence = 0;
    block_pages = l.block_bytes / ELEARN_NVM_PAGE_BYTES;
    return erase_all_but(mark.block * block_pages, block_pages);
}
