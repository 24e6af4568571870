/* What a driver of non-volatile memory provides: pages that are erased to ones and programmed to zeros.
 *
 * Its size is in elearn_board.h: ELEARN_NVM_PAGES pages of ELEARN_NVM_PAGE_BYTES, programmed in whole
 * ELEARN_NVM_WRITE_BYTES. Offsets count from the first page. Every wait of a driver is bounded. */
#ifndef ELEARN_NVM_H
#define ELEARN_NVM_H

#include <stdbool.h>
#include <stdint.h>

#include "elearn_board.h"

/* The pages, for reading. */
const uint8_t *elearn_nvm_bytes(void);

/* Set every byte of a page to 0xFF; false where the hardware says that this failed, or does not answer. */
bool elearn_nvm_erase(uint32_t page);

/* Program bytes that were erased; `offset` and `size` are multiples of ELEARN_NVM_WRITE_BYTES. False where the hardware
 * says that this failed, or does not answer. Nothing is read back. */
bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size);

#endif
