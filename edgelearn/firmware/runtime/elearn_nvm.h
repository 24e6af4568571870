/* What a driver of non-volatile memory provides: pages that are erased to ones and programmed to zeros.
 *
 * Its size is in elearn_board.h: ELEARN_NVM_PAGES pages of ELEARN_NVM_PAGE_BYTES, programmed in whole
 * ELEARN_NVM_WRITE_BYTES. Offsets count from the first page. Every wait of a driver is bounded.
 *
 * ELEARN_NVM_MAPPED is 1 where the pages can be read like RAM, as flash mostly can: then they are read in place. It is 0
 * for memory without addresses of the processor, such as an EEPROM or flash behind a bus. */
#ifndef ELEARN_NVM_H
#define ELEARN_NVM_H

#include <stdbool.h>
#include <stdint.h>

#include "elearn_board.h"

#if ELEARN_NVM_MAPPED
/* The pages, for reading. */
const uint8_t *elearn_nvm_bytes(void);
#else
/* Read bytes of the pages; zeros where the hardware does not answer, which are neither blank nor a record. */
void elearn_nvm_read(uint32_t offset, uint8_t *destination, uint32_t size);
#endif

/* Set every byte of a page to 0xFF; false where the hardware says that this failed, or does not answer. */
bool elearn_nvm_erase(uint32_t page);

/* Program bytes that were erased; `offset` and `size` are multiples of ELEARN_NVM_WRITE_BYTES. False where the hardware
 * says that this failed, or does not answer. Nothing is read back. */
bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size);

#endif
