/* The EEPROM of an ATmega, or some bytes of it, from ELEARN_NVM_ADDRESS on; 0x810000 is its first byte, as avr-ld
 * counts.
 *
 * It has no pages: what the store calls one are bytes in a row, each erased to ones or programmed to zeros by itself.
 * All bytes of a page are erased, also one that reads as erased: a power cut may have left it weak. Programmed is only
 * what that changes.
 *
 * Interrupts are off for the few cycles in which addresses and the two bits that start a write must stay together,
 * not while the hardware works; a handler of the sketch must leave the EEPROM alone. Each wait is bounded, and tells
 * a watchdog that it goes on: a record takes seconds, and no byte more than some milliseconds.
 *
 * Where the sketch is compiled for a processor without these registers, or with less EEPROM, nothing is kept.
 * References: Microchip DS40002211A (ATmega640/1280/1281/2560/2561), AVR memories: EEPROM data memory, EEARH and EEARL,
 * EEDR, EECR (timed sequence, EEPM: 1.8 ms to erase or to write).
 *
 * The pages of nvm that it drives:
 *   avr: of any size, programmed in 1 */
#include <string.h>

#include "elearn_board.h"
#include "elearn_nvm.h"

#if defined(__AVR__)
#include <avr/interrupt.h>
#include <avr/io.h>
#endif

#define FIRST_BYTE (ELEARN_NVM_ADDRESS - 0x810000u)

#if defined(EEMPE) && E2END + 1 >= ELEARN_NVM_ADDRESS - 0x810000 + ELEARN_NVM_PAGES * ELEARN_NVM_PAGE_BYTES

#define ERASED 0xFFu

/* What a write does, as EECR has it. */
#define ERASE_ONLY (1u << EEPM0)
#define WRITE_ONLY (1u << EEPM1)

/* Of six cycles at least: 19 ms at 20 MHz. */
#define WAIT_TURNS 0xFFFFu

static bool wait_until_done(void)
{
    uint16_t turns = WAIT_TURNS;

    while ((EECR & (1u << EEPE)) != 0u) {
        if (turns-- == 0u) {
            return false;
        }
        __asm volatile("wdr");
    }
    return true;
}

static uint8_t read_byte(uint16_t address)
{
    const uint8_t status = SREG;
    uint8_t value;

    cli();
    EEAR = address;
    EECR |= (uint8_t)(1u << EERE);
    value = EEDR;
    SREG = status;
    return value;
}

static bool write_byte(uint16_t address, uint8_t value, uint8_t mode)
{
    const uint8_t status = SREG;

    cli();
    EEAR = address;
    EEDR = value;
    EECR = (uint8_t)((EECR & (1u << EERIE)) | mode);
    /* The second has to follow within four cycles. */
    __asm volatile("sbi %0, %1\n\tsbi %0, %2" : : "I"(_SFR_IO_ADDR(EECR)), "I"(EEMPE), "I"(EEPE) : "memory");
    SREG = status;
    return wait_until_done();
}

void elearn_nvm_read(uint32_t offset, uint8_t *destination, uint32_t size)
{
    uint16_t address = (uint16_t)(FIRST_BYTE + offset);

    if (!wait_until_done()) {
        memset(destination, 0, (size_t)size);
        return;
    }
    for (uint32_t i = 0; i < size; i++) {
        destination[i] = read_byte(address++);
    }
}

bool elearn_nvm_erase(uint32_t page)
{
    uint16_t address = (uint16_t)(FIRST_BYTE + page * ELEARN_NVM_PAGE_BYTES);
    bool done = wait_until_done();

    for (uint32_t i = 0; i < ELEARN_NVM_PAGE_BYTES && done; i++, address++) {
        done = write_byte(address, ERASED, ERASE_ONLY);
    }
    return done;
}

bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    uint16_t address = (uint16_t)(FIRST_BYTE + offset);
    bool done = wait_until_done();

    for (uint32_t i = 0; i < size && done; i++, address++) {
        if (read_byte(address) != bytes[i]) {
            done = write_byte(address, bytes[i], WRITE_ONLY);
        }
    }
    return done;
}

#else

void elearn_nvm_read(uint32_t offset, uint8_t *destination, uint32_t size)
{
    (void)offset;
    memset(destination, 0, (size_t)size);
}

bool elearn_nvm_erase(uint32_t page)
{
    (void)page;
    return false;
}

bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    (void)offset;
    (void)bytes;
    (void)size;
    return false;
}

#endif
