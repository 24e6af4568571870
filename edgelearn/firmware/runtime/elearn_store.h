/* Records of what was learned, in non-volatile memory: the newest whole one is found again after a power cut at any
 * instant. All records of one identity have the same parts; see elearn_store.c for how they lie. */
#ifndef ELEARN_STORE_H
#define ELEARN_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "elearn_flash.h"

typedef struct {
    void *bytes;
    uint32_t size;
} elearn_store_part;

/* The newest valid record with this identity and size into the parts; false, and nothing is changed, where there is
 * none. */
bool elearn_store_load(const ELEARN_FLASH uint32_t *identity, const elearn_store_part *parts, uint32_t count);

/* Write a record. False where no place took it (it reads back differently, the hardware does not answer), or where two
 * records have no room; the newest one before it then stays valid. */
bool elearn_store_save(const ELEARN_FLASH uint32_t *identity, const elearn_store_part *parts, uint32_t count);

/* The number of the newest valid record, of the identity that was loaded or saved last; 0 where there is none. It grows
 * by one with each record, also over forgetting. */
uint32_t elearn_store_sequence(void);

/* Erase all records. A power cut leaves either the newest one or none; false where flash failed. */
bool elearn_store_forget(void);

#endif
