/* The device's side of the link: takes received bytes, carries out requests, sends replies. */
#ifndef ELEARN_LINK_H
#define ELEARN_LINK_H

#include <stdint.h>

/* No session, statistics at zero, trainable layers as the model came. */
void elearn_link_init(void);

/* Take received bytes; a complete request is carried out and answered before this returns. */
void elearn_link_receive(const uint8_t *bytes, uint32_t size);

#endif
