/* See elearn_calls.h. Every function gets all six words: one that wants fewer finds the rest where it never looks
 * (Arm IHI0042, Procedure Call Standard for the Arm Architecture, 6.4: the caller removes arguments from the stack). */
#include "elearn_calls.h"

typedef uint32_t (*elearn_function)(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e, uint32_t f);

uint32_t elearn_run_calls(const elearn_call *call)
{
    uint32_t result = 0;
    for (; call->function != 0; call++) {
        const uint32_t *const a = call->arguments;
        /* Our own address has its lowest bit set, as that of all Thumb code; so has the sum. */
        const elearn_function function = (elearn_function)((uintptr_t)&elearn_run_calls + call->function);
        result = function(a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    return result & 1u;
}
