/* RAM that takes the place of flash, on boards without any that can be written: it outlives a reset of the processor,
 * not the loss of power. The linker script gives it to nothing else. It behaves as flash does: programming clears bits.
 *
 * The pages of nvm that it drives:
 *   cortex-m0, cortex-m0plus, cortex-m3, cortex-m4f, cortex-m7f: of any size, programmed in 1 */
#include <string.h>

#include "elearn_board.h"
#include "elearn_nvm.h"

static uint8_t *pages(void)
{
    return (uint8_t *)(uintptr_t)ELEARN_NVM_ADDRESS;
}

const uint8_t *elearn_nvm_bytes(void)
{
    return pages();
}

bool elearn_nvm_erase(uint32_t page)
{
    memset(pages() + page * ELEARN_NVM_PAGE_BYTES, 0xFF, ELEARN_NVM_PAGE_BYTES);
    return true;
}

bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    uint8_t *destination = pages() + offset;

    for (uint32_t i = 0; i < size; ++i) {
        destination[i] &= bytes[i];
    }
    return true;
}
