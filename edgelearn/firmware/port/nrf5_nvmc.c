/* Pages of the flash of an nRF51 or nRF52: the non-volatile memory controller, which both have with the same registers.
 *
 * The processor stands still while it erases or writes (nRF51 reference manual, 6.1.2 and 6.1.3; nRF52832 product
 * specification, NVMC: "The CPU is halted"), so that the waits end at once; they are bounded all the same.
 * References: nRF51 Series Reference Manual v3.0, 6 (NVMC); nRF52832 Product Specification v1.4, 11 (NVMC).
 *
 * The pages of nvm that it drives:
 *   cortex-m0: of 1024 bytes, programmed in 4
 *   cortex-m4f: of 4096 bytes, programmed in 4 */
#include "cortex_m_port.h"
#include "elearn_board.h"
#include "elearn_bytes.h"
#include "elearn_nvm.h"

#define NVMC_READY ELEARN_REGISTER(0x4001E400u)
#define NVMC_CONFIG ELEARN_REGISTER(0x4001E504u)
#define NVMC_ERASEPAGE ELEARN_REGISTER(0x4001E508u)

#if (ELEARN_NVM_WRITE_BYTES % 4u) != 0u
#error "nvm.write_bytes: this flash is programmed in units of 4 bytes"
#endif

#define READY_READY 1u

#define CONFIG_READ 0u
#define CONFIG_WRITE 1u
#define CONFIG_ERASE 2u

/* Turns of the wait loop, each of several cycles. */
#define ERASE_TURNS (ELEARN_NVM_ERASE_MS * (ELEARN_CLOCK_HZ / 1000u))
#define WRITE_TURNS (ELEARN_CLOCK_HZ / 1000u)

static bool wait_until_ready(uint32_t turns)
{
    while ((NVMC_READY & READY_READY) == 0u) {
        if (turns-- == 0u) {
            return false;
        }
    }
    return true;
}

const uint8_t *elearn_nvm_bytes(void)
{
    return (const uint8_t *)(uintptr_t)ELEARN_NVM_ADDRESS;
}

bool elearn_nvm_erase(uint32_t page)
{
    bool done;

    NVMC_CONFIG = CONFIG_ERASE;
    done = wait_until_ready(WRITE_TURNS);
    NVMC_ERASEPAGE = ELEARN_NVM_ADDRESS + page * ELEARN_NVM_PAGE_BYTES;
    done = wait_until_ready(ERASE_TURNS) && done;
    NVMC_CONFIG = CONFIG_READ;
    return wait_until_ready(WRITE_TURNS) && done;
}

bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    bool done;

    NVMC_CONFIG = CONFIG_WRITE;
    done = wait_until_ready(WRITE_TURNS);
    for (uint32_t i = 0; i < size && done; i += 4u) {
        ELEARN_REGISTER(ELEARN_NVM_ADDRESS + offset + i) = elearn_get_u32(bytes + i);
        done = wait_until_ready(WRITE_TURNS);
    }
    NVMC_CONFIG = CONFIG_READ;
    return wait_until_ready(WRITE_TURNS) && done;
}
