/* Pages of the flash of an STM32L4 (2 KiB) or L4+ (4 KiB where it has two banks), programmed in doublewords that check
 * bits belong to, each once after an erase.
 *
 * A doubleword whose programming was cut off, or a page whose erasing was, may have check bits that do not fit: reading
 * it raises the non-maskable interrupt. Its handler here takes note of that and returns; the bytes that were read are
 * those of no valid record. A board with this driver names elearn_flash_nmi as its `nmi_handler`. All waits are
 * bounded.
 *
 * The program runs on from the other bank. What it reads there while this one is written may spoil the data cache until
 * the next reset (ST ES0250, data cache and read-while-write; ST's own driver does as is done here for all of the
 * family): the cache is off during an operation, and emptied before it is on again.
 * References: RM0351 (STM32L47x, L48x, L49x, L4Ax), 3.3.4 (error code correction), 3.3.5 (page erase), 3.3.7 (standard
 * programming), 3.7 (FLASH_ACR, KEYR, SR, CR, ECCR, OPTR); RM0432 (L4R, L4S, L4P, L4Q), the same sections.
 *
 * The pages of nvm that it drives:
 *   cortex-m4f: of 2048 or 4096 bytes, programmed in 8
 *
 * The board file gives in port.defines:
 *   ELEARN_NVM_BANK_PAGES (64, 128, 256): pages of each of the two banks
 *   ELEARN_NVM_TWO_BANKS_MASK: the bit of FLASH_OPTR that says that there are two banks; 0 where there always are */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_bytes.h"
#include "elearn_nvm.h"

#define FLASH_ACR ELEARN_REGISTER(0x40022000u)
#define FLASH_KEYR ELEARN_REGISTER(0x40022008u)
#define FLASH_SR ELEARN_REGISTER(0x40022010u)
#define FLASH_CR ELEARN_REGISTER(0x40022014u)
#define FLASH_OPTR ELEARN_REGISTER(0x40022020u)
#define FLASH_ECCR ELEARN_REGISTER(0x40022018u)

#define ACR_DATA_CACHE (1u << 10)
#define ACR_DATA_CACHE_RESET (1u << 12)

/* Counted through both banks. */
#define FLASH_BEGIN 0x08000000u
#define FIRST_PAGE ((ELEARN_NVM_ADDRESS - FLASH_BEGIN) / ELEARN_NVM_PAGE_BYTES)

#if (ELEARN_NVM_ADDRESS % ELEARN_NVM_PAGE_BYTES) != 0u || FIRST_PAGE >= 2u * ELEARN_NVM_BANK_PAGES \
    || FIRST_PAGE + ELEARN_NVM_PAGES > 2u * ELEARN_NVM_BANK_PAGES
#error "nvm.address: the pages are outside of the two banks"
#endif
#if (ELEARN_NVM_WRITE_BYTES % 8u) != 0u
#error "nvm.write_bytes: this flash is programmed in units of 8 bytes"
#endif

#define KEY_1 0x45670123u
#define KEY_2 0xCDEF89ABu

/* OPERR, PROGERR, WRPERR, PGAERR, SIZERR, PGSERR, MISERR, FASTERR; written to, they are cleared, as is EOP. */
#define SR_END 1u
#define SR_ERRORS 0x3FAu
#define SR_BUSY (1u << 16)

#define CR_PROGRAM (1u << 0)
#define CR_PAGE_ERASE (1u << 1)
#define CR_PAGE_SHIFT 3
#define CR_BANK_SHIFT 11
#define CR_START (1u << 16)
#define CR_LOCK (1u << 31)

#define ECCR_DETECTED (1u << 31)

/* Turns of the wait loop, each of several cycles. */
#define ERASE_TURNS (ELEARN_NVM_ERASE_MS * (ELEARN_CLOCK_HZ / 1000u))
#define PROGRAM_TURNS (ELEARN_CLOCK_HZ / 1000u)

void elearn_flash_nmi(void)
{
    if ((FLASH_ECCR & ECCR_DETECTED) == 0u) {
        elearn_fault_handler();
    }
    FLASH_ECCR |= ECCR_DETECTED;
}

static bool wait_until_done(uint32_t turns)
{
    while ((FLASH_SR & SR_BUSY) != 0u) {
        if (turns-- == 0u) {
            return false;
        }
    }
    return (FLASH_SR & SR_ERRORS) == 0u;
}

/* Whether the data cache was on. */
static bool leave_data_cache(void)
{
    const bool was_on = (FLASH_ACR & ACR_DATA_CACHE) != 0u;

    FLASH_ACR &= ~ACR_DATA_CACHE;
    return was_on;
}

/* As it was, without what it held; it is emptied while it is off. */
static void return_to_data_cache(bool was_on)
{
    FLASH_ACR |= ACR_DATA_CACHE_RESET;
    FLASH_ACR &= ~ACR_DATA_CACHE_RESET;
    if (was_on) {
        FLASH_ACR |= ACR_DATA_CACHE;
    }
}

/* Ready for an operation: unlocked, and no error left from the one before. */
static bool begin(void)
{
    if ((FLASH_CR & CR_LOCK) != 0u) {
        FLASH_KEYR = KEY_1;
        FLASH_KEYR = KEY_2;
    }
    FLASH_SR = SR_ERRORS | SR_END;
    return wait_until_done(PROGRAM_TURNS);
}

const uint8_t *elearn_nvm_bytes(void)
{
    return (const uint8_t *)(uintptr_t)ELEARN_NVM_ADDRESS;
}

bool elearn_nvm_erase(uint32_t page)
{
    const bool had_data_cache = leave_data_cache();
    const uint32_t number = FIRST_PAGE + page;
    /* Where an option sets the banks together, pages are larger and this would erase another one too. */
    bool done = (FLASH_OPTR & ELEARN_NVM_TWO_BANKS_MASK) == ELEARN_NVM_TWO_BANKS_MASK && begin();

    if (done) {
        FLASH_CR =
            CR_PAGE_ERASE | ((number % ELEARN_NVM_BANK_PAGES) << CR_PAGE_SHIFT)
            | ((number / ELEARN_NVM_BANK_PAGES) << CR_BANK_SHIFT);
        FLASH_CR |= CR_START;
        __asm volatile("dsb" ::: "memory");
        done = wait_until_done(ERASE_TURNS);
    }
    FLASH_CR = CR_LOCK;
    return_to_data_cache(had_data_cache);
    return done;
}

bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    const bool had_data_cache = leave_data_cache();
    bool done = begin();

    if (done) {
        FLASH_CR = CR_PROGRAM;
        for (uint32_t i = 0; i < size && done; i += 8u) {
            /* Both words of a doubleword right after each other, the lower one first. */
            ELEARN_REGISTER(ELEARN_NVM_ADDRESS + offset + i) = elearn_get_u32(bytes + i);
            __asm volatile("isb" ::: "memory");
            ELEARN_REGISTER(ELEARN_NVM_ADDRESS + offset + i + 4u) = elearn_get_u32(bytes + i + 4u);
            __asm volatile("dsb" ::: "memory");
            done = wait_until_done(PROGRAM_TURNS);
            FLASH_SR = SR_END;
        }
    }
    FLASH_CR = CR_LOCK;
    return_to_data_cache(had_data_cache);
    return done;
}
