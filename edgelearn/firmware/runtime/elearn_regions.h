/* Memory that the host may read or write by name: inputs, outputs, the parts of the head, names. */
#ifndef ELEARN_REGIONS_H
#define ELEARN_REGIONS_H

#include <stdint.h>

/* READ: the payload of its reply, at most ELEARN_MAX_REPLY_BYTES; a Status. */
uint32_t elearn_region_read(const uint8_t *payload, uint8_t *reply, uint32_t *reply_bytes);

/* WRITE with a payload of `size` bytes; a Status. */
uint32_t elearn_region_write(const uint8_t *payload, uint32_t size);

#endif
