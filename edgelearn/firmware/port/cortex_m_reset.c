/* What outlives a reset of a Cortex-M: the count of its starts, and what a fault was. After a fault the processor is
 * reset, so that the device is reached again and can tell.
 *
 * Both lie in words that nothing fills at a start, each with a check, for after loss of power they are anything; a
 * bootloader may use them too, then nothing is known.
 * References: Armv7-M Architecture Reference Manual (DDI0403), B1.5.6 (stack frame), B1.5.8 (EXC_RETURN), B3.2.6
 * (AIRCR), B3.2.15 to B3.2.18 (CFSR, HFSR, MMFAR, BFAR); Armv6-M has HardFault and AIRCR only. */
#include <stdint.h>

#include "cortex_m_port.h"
#include "cortex_m_stack.h"
#include "elearn_port.h"
#include "elearn_protocol.h"

#define AIRCR ELEARN_REGISTER(0xE000ED0Cu)
#define AIRCR_RESET 0x05FA0004u

#if !defined(__ARM_ARCH_6M__)
#define CFSR ELEARN_REGISTER(0xE000ED28u)
#define HFSR ELEARN_REGISTER(0xE000ED2Cu)
#define MMFAR ELEARN_REGISTER(0xE000ED34u)
#define BFAR ELEARN_REGISTER(0xE000ED38u)
#define CFSR_MMFAR_VALID (1u << 7)
#define CFSR_BFAR_VALID (1u << 15)
#endif

/* Eight words: r0 to r3, r12, lr, pc, xpsr. */
#define FRAME_WORDS 8u
#define FRAME_LR 5u
#define FRAME_PC 6u
/* Links from here on are no addresses: they say how an exception returns. */
#define EXC_RETURN_FIRST 0xFFFFFF00u
#define IPSR_MASK 0x1FFu

/* The words that are kept, given by the linker script. */
extern uint32_t elearn_kept[ELEARN_KEPT_WORDS];

#define STARTS_MARK 0xB0075717u
#define FAULT_MARK 0xFA017B0Bu

enum { STARTS_AT_MARK, STARTS_COUNT, STARTS_CHECK };
enum { FAULT_AT_MARK = 3, FAULT_EXCEPTION, FAULT_PC, FAULT_LR, FAULT_STATUS, FAULT_HARD, FAULT_ADDRESS, FAULT_CHECK };
/* How many in a row: the number in the lower half, its complement in the upper. */
enum { FAULTS = FAULT_CHECK + 1 };
#define FAULTS_MOST 255u

static elearn_port_start last_start;

/* A word that is right for the others. */
static uint32_t fault_check(void)
{
    const volatile uint32_t *kept = elearn_kept;
    uint32_t sum = 0;

    for (uint32_t i = FAULT_AT_MARK; i < FAULT_CHECK; ++i) {
        sum = (sum << 1 | sum >> 31) ^ kept[i];
    }
    return ~sum;
}

void elearn_fault_note(const uint32_t *frame, uint32_t link);

/* Take down what is known of a fault and reset the processor. `frame` is the stack pointer where it was met, `link` the
 * link register: where that is an address, somebody called the handler. */
void elearn_fault_note(const uint32_t *frame, uint32_t link)
{
    volatile uint32_t *kept = elearn_kept;
    uint32_t exception;
    const int is_exception = link >= EXC_RETURN_FIRST;
    /* A stack that overflowed, or a stack pointer gone wild, leaves nothing to read. */
    const int has_frame = is_exception && ((uintptr_t)frame & 3u) == 0u && frame >= elearn_stack_begin &&
                          frame + FRAME_WORDS <= elearn_stack_end;

    __asm volatile("mrs %0, ipsr" : "=r"(exception));
    kept[FAULT_AT_MARK] = FAULT_MARK;
    kept[FAULT_EXCEPTION] = exception & IPSR_MASK;
    kept[FAULT_PC] = has_frame ? frame[FRAME_PC] : is_exception ? 0u : link;
    kept[FAULT_LR] = has_frame ? frame[FRAME_LR] : 0u;
    kept[FAULT_STATUS] = 0u;
    kept[FAULT_HARD] = 0u;
    kept[FAULT_ADDRESS] = 0u;
#if !defined(__ARM_ARCH_6M__)
    kept[FAULT_STATUS] = CFSR;
    kept[FAULT_HARD] = HFSR;
    if ((CFSR & CFSR_MMFAR_VALID) != 0u) {
        kept[FAULT_ADDRESS] = MMFAR;
    } else if ((CFSR & CFSR_BFAR_VALID) != 0u) {
        kept[FAULT_ADDRESS] = BFAR;
    }
#endif
    kept[FAULT_CHECK] = fault_check();
    __asm volatile("dsb" ::: "memory");
    AIRCR = AIRCR_RESET;
    for (;;) {
    }
}

/* Every exception without a handler of its own ends here, with the registers of the fault on the stack. The stack
 * begins anew: the one in use may be what has failed. */
__attribute__((naked, noreturn)) void elearn_fault_handler(void)
{
    __asm volatile(
        ".syntax unified\n\t"
        "cpsid i\n\t"
        "mov r1, lr\n\t"
        "mrs r0, msp\n\t"
        "ldr r2, 1f\n\t"
        "msr msp, r2\n\t"
        "bl elearn_fault_note\n\t"
        ".balign 4\n"
        "1:\n\t"
        ".word elearn_stack_end");
}

static uint32_t faults_before(void)
{
    const uint32_t word = elearn_kept[FAULTS];

    return (word & 0xFFFFu) == (~word >> 16) ? word & 0xFFFFu : 0u;
}

static void keep_faults(uint32_t number)
{
    volatile uint32_t *kept = elearn_kept;

    kept[FAULTS] = number | (~number << 16);
}

void elearn_port_forget_faults(void)
{
    keep_faults(0u);
}

void elearn_reset_init(void)
{
    volatile uint32_t *kept = elearn_kept;

    last_start.cause = (uint8_t)elearn_watchdog_reset_cause();
    if (kept[FAULT_AT_MARK] == FAULT_MARK && kept[FAULT_CHECK] == fault_check()) {
        last_start.cause = ELEARN_RESET_FAULT;
        last_start.fault = (uint8_t)kept[FAULT_EXCEPTION];
        last_start.pc = kept[FAULT_PC];
        last_start.lr = kept[FAULT_LR];
        last_start.status = kept[FAULT_STATUS];
        last_start.hard = kept[FAULT_HARD];
        last_start.address = kept[FAULT_ADDRESS];
    }
    if (last_start.cause == ELEARN_RESET_FAULT || last_start.cause == ELEARN_RESET_WATCHDOG ||
        last_start.cause == ELEARN_RESET_LOCKUP) {
        const uint32_t before = faults_before();
        last_start.faults = (uint8_t)(before < FAULTS_MOST ? before + 1u : FAULTS_MOST);
    }
    keep_faults(last_start.faults);
    /* It is told of this start only. */
    kept[FAULT_AT_MARK] = 0u;
}

const elearn_port_start *elearn_port_last_start(void)
{
    return &last_start;
}

uint32_t elearn_port_count_start(uint32_t remembered)
{
    volatile uint32_t *kept = elearn_kept;
    uint32_t starts = remembered;

    if (kept[STARTS_AT_MARK] == STARTS_MARK && kept[STARTS_CHECK] == ~kept[STARTS_COUNT] &&
        kept[STARTS_COUNT] > starts) {
        starts = kept[STARTS_COUNT];
    }
    starts++;
    kept[STARTS_AT_MARK] = STARTS_MARK;
    kept[STARTS_COUNT] = starts;
    kept[STARTS_CHECK] = ~starts;
    return starts;
}
