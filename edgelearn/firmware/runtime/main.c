/* The firmware: receive, carry out, answer, for ever. */
#include "elearn_link.h"
#include "elearn_port.h"

int main(void)
{
    uint8_t bytes[64];
    elearn_port_init();
    elearn_link_init();
    for (;;) {
        const uint32_t received = elearn_port_read(bytes, sizeof bytes);
        if (received == 0) {
            elearn_port_wait();
        } else {
            elearn_link_receive(bytes, received);
        }
    }
}
