/* Sectors of the flash of an STM32F4 or STM32F7, programmed in words of 32 bits, which wants a supply of 2.7 V or more.
 *
 * Where program and sectors share a bank the processor waits at its next fetch until an operation has ended: for an
 * erase up to seconds, in which nothing is received. All waits are bounded.
 * References: RM0090 (STM32F405/415, F407/417, F42x, F43x), 3.6 (erase and program operations, flushing of the caches)
 * and 3.9 (FLASH_ACR, KEYR, SR, CR); RM0385 (STM32F75x, F74x), 3.3.6 to 3.3.9 and 3.7: the same registers, and no
 * data cache at the flash.
 *
 * Four sectors lie at the beginning, a fourth of the fifth's size each; all others are of twice the fifth's, and those
 * are its pages. Up to the twelfth: behind it chips of 2 MiB begin anew.
 *
 * The pages of nvm that it drives:
 *   cortex-m4f: of 131072 bytes, programmed in 4
 *   cortex-m7f: of 262144 bytes, programmed in 4 */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_bytes.h"
#include "elearn_nvm.h"

#define FLASH_ACR ELEARN_REGISTER(0x40023C00u)
#define FLASH_KEYR ELEARN_REGISTER(0x40023C04u)
#define FLASH_SR ELEARN_REGISTER(0x40023C0Cu)
#define FLASH_CR ELEARN_REGISTER(0x40023C10u)

#define ACR_DATA_CACHE (1u << 10)
#define ACR_DATA_CACHE_RESET (1u << 12)

/* The sectors before the first large one are as large as it, all together, and five. */
#define FLASH_BEGIN 0x08000000u
#define FIRST_SECTOR ((ELEARN_NVM_ADDRESS - FLASH_BEGIN) / ELEARN_NVM_PAGE_BYTES + 4u)
#define MOST_SECTORS 12u

#if (ELEARN_NVM_ADDRESS % ELEARN_NVM_PAGE_BYTES) != 0u || FIRST_SECTOR < 5u || FIRST_SECTOR >= MOST_SECTORS \
    || FIRST_SECTOR + ELEARN_NVM_PAGES > MOST_SECTORS
#error "nvm.address: the pages are not whole sectors of the large kind"
#endif
#if (ELEARN_NVM_WRITE_BYTES % 4u) != 0u
#error "nvm.write_bytes: this flash is programmed in units of 4 bytes"
#endif

#define KEY_1 0x45670123u
#define KEY_2 0xCDEF89ABu

/* OPERR, WRPERR, PGAERR, PGPERR and PGSERR (ERSERR on the F7); written to, they are cleared. */
#define SR_ERRORS 0xF2u
#define SR_BUSY (1u << 16)

#define CR_PROGRAM (1u << 0)
#define CR_SECTOR_ERASE (1u << 1)
#define CR_SECTOR_SHIFT 3
#define CR_WORDS (2u << 8)
#define CR_START (1u << 16)
#define CR_LOCK (1u << 31)

/* Turns of the wait loop, each of several cycles. */
#define ERASE_TURNS (ELEARN_NVM_ERASE_MS * (ELEARN_CLOCK_HZ / 1000u))
#define PROGRAM_TURNS (ELEARN_CLOCK_HZ / 1000u)

static bool wait_until_done(uint32_t turns)
{
    while ((FLASH_SR & SR_BUSY) != 0u) {
        if (turns-- == 0u) {
            return false;
        }
    }
    return (FLASH_SR & SR_ERRORS) == 0u;
}

/* Ready for an operation: unlocked, and no error left from the one before. */
static bool begin(void)
{
    if ((FLASH_CR & CR_LOCK) != 0u) {
        FLASH_KEYR = KEY_1;
        FLASH_KEYR = KEY_2;
    }
    FLASH_SR = SR_ERRORS;
    return wait_until_done(PROGRAM_TURNS);
}

const uint8_t *elearn_nvm_bytes(void)
{
    return (const uint8_t *)(uintptr_t)ELEARN_NVM_ADDRESS;
}

bool elearn_nvm_erase(uint32_t page)
{
    bool done = begin();

    if (done) {
        FLASH_CR = CR_SECTOR_ERASE | ((FIRST_SECTOR + page) << CR_SECTOR_SHIFT) | CR_WORDS;
        FLASH_CR |= CR_START;
        __asm volatile("dsb" ::: "memory");
        done = wait_until_done(ERASE_TURNS);
    }
    FLASH_CR = CR_LOCK;
    /* The data cache may hold what was there before; it is emptied while it is off. */
    if ((FLASH_ACR & ACR_DATA_CACHE) != 0u) {
        FLASH_ACR &= ~ACR_DATA_CACHE;
        FLASH_ACR |= ACR_DATA_CACHE_RESET;
        FLASH_ACR &= ~ACR_DATA_CACHE_RESET;
        FLASH_ACR |= ACR_DATA_CACHE;
    }
    return done;
}

bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    bool done = begin();

    if (done) {
        FLASH_CR = CR_PROGRAM | CR_WORDS;
        for (uint32_t i = 0; i < size && done; i += 4u) {
            ELEARN_REGISTER(ELEARN_NVM_ADDRESS + offset + i) = elearn_get_u32(bytes + i);
            __asm volatile("dsb" ::: "memory");
            done = wait_until_done(PROGRAM_TURNS);
        }
    }
    FLASH_CR = CR_LOCK;
    return done;
}
