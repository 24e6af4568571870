/* The device's side of the link: takes received bytes, carries out requests, sends replies. */
#ifndef ELEARN_LINK_H
#define ELEARN_LINK_H

#include <stdbool.h>
#include <stdint.h>

/* No session, statistics at zero, trainable layers as the model came. */
void elearn_link_init(void);

/* Take received bytes; a complete request is carried out and answered before this returns. */
void elearn_link_receive(const uint8_t *bytes, uint32_t size);

/* Take one sample of the sensor, if it runs and has one ready, and tell the host. False where it is stopped: then only
 * received bytes can change that. Firmware with a sensor only. */
bool elearn_link_sense(void);

#endif
