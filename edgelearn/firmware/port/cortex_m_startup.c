/* From reset to main() on a Cortex-M: undo what a bootloader may have left on, paint the stack, fill .data and .bss,
 * switch on the FPU and the instruction cache; and a clock, from the board's counter.
 *
 * An image may be entered by the reset of the processor, or by a bootloader: then interrupts may be enabled or pending,
 * SysTick may run, the memory protection unit or a data cache may be on, and the stack may be any.
 * References: Armv7-M Architecture Reference Manual (DDI0403), B1.4 (CONTROL, masks), B2.2.7 and B3.2.2 (caches, CCR),
 * B3.2.5 (VTOR), B3.2.7 (SCR), B3.2.13 (SHCSR), B3.2.20 (CPACR), B3.2.21 (FPCCR), B3.3 (SysTick), B3.4 (NVIC), B3.5.5
 * (MPU_CTRL); B4.5 (CSSELR, CCSIDR), B4.8 (operations on caches); Cortex-M4 Technical Reference Manual (DDI0439), 7.3.1
 * (FPU). */
#include <stdint.h>

#include "cortex_m_port.h"
#include "cortex_m_stack.h"
#include "elearn_port.h"

#define SYSTICK_CTRL ELEARN_REGISTER(0xE000E010u)
#define NVIC_CLEAR_ENABLE(word) ELEARN_REGISTER(ELEARN_NVIC_CLEAR_ENABLE_ADDRESS + 4u * (word))
#define NVIC_CLEAR_PENDING(word) ELEARN_REGISTER(0xE000E280u + 4u * (word))
#define ICSR ELEARN_REGISTER(0xE000ED04u)
#define ICSR_CLEAR_PENDSV (1u << 27)
#define ICSR_CLEAR_SYSTICK (1u << 25)
#define SCR ELEARN_REGISTER(0xE000ED10u)

#if defined(__ARM_ARCH_6M__)
#define NVIC_WORDS 1u
#else
#define NVIC_WORDS 8u

#define VTOR ELEARN_REGISTER(0xE000ED08u)
#define SHCSR ELEARN_REGISTER(0xE000ED24u)
#define SHCSR_FAULTS_ENABLED (7u << 16)
#define MPU_CTRL ELEARN_REGISTER(0xE000ED94u)

#define CPUID ELEARN_REGISTER(0xE000ED00u)
#define CPUID_PART(id) (((id) >> 4) & 0xFFFu)
#define PART_CORTEX_M7 0xC27u
#define CCR ELEARN_REGISTER(0xE000ED14u)
#define CCR_DATA_CACHE (1u << 16)
#define CCR_INSTRUCTION_CACHE (1u << 17)
#define CCSIDR ELEARN_REGISTER(0xE000ED80u)
#define CSSELR ELEARN_REGISTER(0xE000ED84u)
#define ICIALLU ELEARN_REGISTER(0xE000EF50u)
#define DCCISW ELEARN_REGISTER(0xE000EF74u)
#endif

#if defined(__ARM_FP)
#define CPACR ELEARN_REGISTER(0xE000ED88u)
#define CPACR_FPU_FULL_ACCESS (0xFu << 20)
#define FPCCR ELEARN_REGISTER(0xE000EF34u)
#define FPCCR_SAVED_LAZILY (3u << 30)
#endif

/* Given by the linker script, all on word boundaries. */
extern const uint32_t elearn_vectors_begin[];
extern uint32_t elearn_data_load[];
extern uint32_t elearn_data_begin[];
extern uint32_t elearn_data_end[];
extern uint32_t elearn_bss_begin[];
extern uint32_t elearn_bss_end[];

int main(void);
void elearn_start(void);

/* The entry: no stack is used before it is ours. */
__attribute__((naked, noreturn)) void elearn_reset_handler(void)
{
    __asm volatile(
        ".syntax unified\n\t"
        "cpsid i\n\t"
        "movs r0, #0\n\t"
        "msr control, r0\n\t"
        "isb\n\t"
        "ldr r0, 1f\n\t"
        "msr msp, r0\n\t"
        "bl elearn_start\n\t"
        ".balign 4\n"
        "1:\n\t"
        ".word elearn_stack_end");
}

/* The stores are volatile so that no compiler makes calls of memcpy or memset out of these loops: the stack is not to
 * be used while it is painted, nor a library before its data is there. */
static void fill(uint32_t *begin, const uint32_t *end, uint32_t word)
{
    for (volatile uint32_t *p = begin; p < end; ++p) {
        *p = word;
    }
}

/* Exceptions go to our vector table, and none but faults can come. */
static void take_exceptions(void)
{
    SYSTICK_CTRL = 0u;
    for (uint32_t word = 0; word < NVIC_WORDS; ++word) {
        NVIC_CLEAR_ENABLE(word) = 0xFFFFFFFFu;
        NVIC_CLEAR_PENDING(word) = 0xFFFFFFFFu;
    }
    ICSR = ICSR_CLEAR_PENDSV | ICSR_CLEAR_SYSTICK;
    /* WFI sleeps lightly, and ends for good: serial line and counter go on, and main() after an interrupt. */
    SCR = 0u;
#if !defined(__ARM_ARCH_6M__)
    __asm volatile("msr basepri, %0\n\tcpsie f" : : "r"(0) : "memory");
    /* All faults are hard faults, whose handler tells them apart. */
    SHCSR &= ~SHCSR_FAULTS_ENABLED;
    MPU_CTRL = 0u;
    VTOR = (uint32_t)(uintptr_t)elearn_vectors_begin;
#endif
    __asm volatile("dsb\n\tisb" ::: "memory");
}

#if !defined(__ARM_ARCH_6M__)
/* Write back and switch off a data cache that is on. It stays off: flash is read back after it was written, and the
 * words that outlive a reset are to be in RAM. */
static void leave_data_cache(void)
{
    uint32_t geometry;
    uint32_t sets;
    uint32_t ways;
    uint32_t way_shift;

    if ((CCR & CCR_DATA_CACHE) == 0u) {
        return;
    }
    CSSELR = 0u;
    __asm volatile("dsb" ::: "memory");
    geometry = CCSIDR;
    sets = (geometry >> 13) & 0x7FFFu;
    ways = (geometry >> 3) & 0x3FFu;
    for (way_shift = 32u; way_shift > 0u && (ways >> (32u - way_shift)) != 0u; --way_shift) {
    }
    CCR &= ~CCR_DATA_CACHE;
    __asm volatile("dsb" ::: "memory");
    for (uint32_t set = 0; set <= sets; ++set) {
        for (uint32_t way = 0; way <= ways; ++way) {
            DCCISW = (way_shift < 32u ? way << way_shift : 0u) | (set << ((geometry & 7u) + 4u));
        }
    }
    __asm volatile("dsb\n\tisb" ::: "memory");
}

static void caches_init(void)
{
    if (CPUID_PART(CPUID) != PART_CORTEX_M7) {
        return;
    }
    leave_data_cache();
    ICIALLU = 0u;
    __asm volatile("dsb\n\tisb" ::: "memory");
    CCR |= CCR_INSTRUCTION_CACHE;
    __asm volatile("dsb\n\tisb" ::: "memory");
}
#endif

void elearn_start(void)
{
    uint32_t *stack_pointer;
    const uint32_t *source = elearn_data_load;

    take_exceptions();
#if !defined(__ARM_ARCH_6M__)
    caches_init();
#endif
#if defined(__ARM_FP)
    CPACR |= CPACR_FPU_FULL_ACCESS;
    FPCCR |= FPCCR_SAVED_LAZILY;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif

    __asm volatile("mov %0, sp" : "=r"(stack_pointer));
    /* What this function itself keeps on the stack lies above its stack pointer. */
    fill(elearn_stack_begin, stack_pointer, ELEARN_STACK_PAINT);

    for (volatile uint32_t *p = elearn_data_begin; p < elearn_data_end; ++p) {
        *p = *source++;
    }
    fill(elearn_bss_begin, elearn_bss_end, 0u);

    __asm volatile("cpsie i" ::: "memory");
    (void)main();
    for (;;) {
    }
}

uint32_t elearn_port_clock_ms(void)
{
    static uint32_t seen_ticks;
    static uint32_t rest_ticks;
    static uint32_t clock_ms;
    const uint32_t ms_ticks = elearn_port_counter_hz() / 1000u;
    const uint32_t now_ticks = elearn_port_ticks();

    rest_ticks += now_ticks - seen_ticks;
    seen_ticks = now_ticks;
    clock_ms += rest_ticks / ms_ticks;
    rest_ticks %= ms_ticks;
    return clock_ms;
}

void elearn_port_init(void)
{
    elearn_reset_init();
    elearn_watchdog_start();
    elearn_clock_init();
    elearn_timer_init();
    elearn_uart_init();
}
