/* A program for testing the store on a board: each command is one byte, some followed by a 32-bit number.
 *   l    load: the value that was found (0: none), the CRC of its bytes, its sequence
 *   s n  save the value n: 1 or 0
 *   c n  save n, n + 1, n + 2, ... for ever, and tell each when it is saved (0 where that failed)
 *   f    forget: 1 or 0
 * Values stand for PAYLOAD_BYTES bytes that are made of them. */
#include "elearn_bytes.h"
#include "elearn_frame.h"
#include "elearn_port.h"
#include "elearn_store.h"

#define PAYLOAD_BYTES 600u

static uint8_t payload[PAYLOAD_BYTES];
static const uint32_t identity[3] = {0x12345678u, 0x9ABCDEF0u, 7u};
/* Two parts that do not end on a word. */
static const elearn_store_part parts[2] = {{payload, 333u}, {payload + 333, PAYLOAD_BYTES - 333u}};

int main(void);

static uint32_t read_number(void)
{
    uint8_t b[4];
    uint32_t done = 0;
    while (done < 4u) {
        const uint32_t count = elearn_port_read(b + done, 4u - done);
        if (count == 0u) {
            elearn_port_wait();
        }
        done += count;
    }
    return elearn_get_u32(b);
}

static void write_number(uint32_t number)
{
    uint8_t b[4];
    elearn_put_u32(b, number);
    elearn_port_write(b, 4);
}

static uint32_t save(uint32_t value)
{
    elearn_put_u32(payload, value);
    for (uint32_t i = 4; i < PAYLOAD_BYTES; i++) {
        payload[i] = (uint8_t)((value * 31u + i * 7u) ^ (value >> 3) ^ (i >> 4));
    }
    return elearn_store_save(identity, parts, 2) ? 1u : 0u;
}

static void load(void)
{
    const bool found = elearn_store_load(identity, parts, 2);
    write_number(found ? elearn_get_u32(payload) : 0u);
    write_number(elearn_crc32(0, payload, PAYLOAD_BYTES));
    write_number(elearn_store_sequence());
}

int main(void)
{
    elearn_port_init();
    for (;;) {
        uint8_t command = 0;
        uint32_t value;
        if (elearn_port_read(&command, 1) == 0u) {
            elearn_port_wait();
            continue;
        }
        switch (command) {
        case 'l':
            load();
            break;
        case 's':
            write_number(save(read_number()));
            break;
        case 'f':
            write_number(elearn_store_forget() ? 1u : 0u);
            break;
        case 'c':
            for (value = read_number();; value++) {
                write_number(save(value) != 0u ? value : 0u);
            }
        default:
            break;
        }
    }
}
