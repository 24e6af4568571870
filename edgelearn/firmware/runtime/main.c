/* The firmware: receive, carry out, answer, for ever; between two requests a sample of the sensor, where there is one. */
#include "elearn_config.h"
#include "elearn_link.h"
#include "elearn_port.h"

int main(void)
{
    uint8_t bytes[64];
    elearn_port_init();
    elearn_link_init();
    for (;;) {
        const uint32_t received = elearn_port_read(bytes, sizeof bytes);
        elearn_port_feed();
        if (received != 0) {
            elearn_link_receive(bytes, received);
            continue;
        }
#if ELEARN_SENSOR
        if (elearn_link_sense()) {
            continue;
        }
#endif
        elearn_port_wait();
    }
}
