/* What a real board has beside the port for QEMU: input by interrupt with Ctrl-C, clocks, start-up files, a ROM
 * partition, and a reset that is one. The linker puts these functions in place of the port's (--wrap).
 * References: DDI0479D, 4.2 (timer), 4.3 (UART); DAI0386 (interrupts of the AN386); DDI0403E, B3.2. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "extmod/vfs.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/mpstate.h"
#include "py/objarray.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "shared/runtime/interrupt_char.h"
#include "shared/runtime/pyexec.h"
#include "shared/runtime/semihosting_arm.h"
#include "uart.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define CPACR REGISTER(0xE000ED88u)
#define VTOR REGISTER(0xE000ED08u)
#define FAULT_STATUS REGISTER(0xE000ED28u)
#define FAULT_ADDRESS REGISTER(0xE000ED38u)
#define AIRCR REGISTER(0xE000ED0Cu)
#define NVIC_ENABLE REGISTER(0xE000E100u)

#define UART_DATA REGISTER(0x40004000u)
#define UART_STATE REGISTER(0x40004004u)
#define UART_CONTROL REGISTER(0x40004008u)
#define UART_INTERRUPTS REGISTER(0x4000400Cu)
#define UART_RECEIVED 2u
#define UART_RX_INTERRUPT_ENABLED 8u

/* Timer 1 is the clock; timer 0 is left to who counts instructions. Both go at 25 MHz. */
#define CLOCK_CONTROL REGISTER(0x40001000u)
#define CLOCK_VALUE REGISTER(0x40001004u)
#define CLOCK_RELOAD REGISTER(0x40001008u)
#define CLOCK_TICKS_PER_US 25u

/* The ROM partition, behind the file system. */
#define ROM_ADDRESS 0x21400000u
#define ROM_BYTES 0x400000u

/* Where who starts the board leaves the size of the heap in bytes; 0 is all there is. */
#define HEAP_BYTES REGISTER(0x21800000u)

#define VECTORS (16u + 32u)
#define QUEUE_BYTES 512u

extern const uint32_t isr_vector[16];
static uint32_t vectors[VECTORS] __attribute__((aligned(256)));

static volatile uint8_t queue[QUEUE_BYTES];
static volatile uint32_t queue_in, queue_out;

static uint64_t clock_ticks;
static uint32_t clock_last;
static bool vm_started;

void __real_uart_init(void);
void __real_gc_init(void *start, void *end);
NORETURN void __real_exit(int status);
int __real_pyexec_friendly_repl(void);
int __real_pyexec_raw_repl(void);
void __wrap_uart_init(void);
void __wrap_gc_init(void *start, void *end);
int __wrap_uart_rx_chr(void);
uintptr_t __wrap_mp_hal_stdio_poll(uintptr_t flags);
NORETURN void __wrap_exit(int status);
int __wrap_pyexec_friendly_repl(void);
int __wrap_pyexec_raw_repl(void);

/* A full queue leaves its byte in the UART, and the line waits, as with USB. */
static void receive(void)
{
    while (UART_STATE & UART_RECEIVED) {
        if (queue_in - queue_out == QUEUE_BYTES) {
            UART_CONTROL &= ~UART_RX_INTERRUPT_ENABLED;
            break;
        }
        UART_INTERRUPTS = UART_RECEIVED;
        uint8_t byte = (uint8_t)UART_DATA;
        if (byte == mp_interrupt_char) {
            mp_sched_keyboard_interrupt();
        } else {
            queue[queue_in % QUEUE_BYTES] = byte;
            queue_in = queue_in + 1;
        }
    }
}

/* A real board resets or hangs; here the emulator ends and its log says why. The frame is what the core has stacked. */
static void __attribute__((used)) report_fault(const uint32_t *frame)
{
    char text[80];
    int length = snprintf(text, sizeof text, "fault: pc %08x lr %08x status %08x address %08x\n", (unsigned)frame[6],
        (unsigned)frame[5], (unsigned)FAULT_STATUS, (unsigned)FAULT_ADDRESS);
    mp_semihosting_tx_strn(text, (size_t)length);
    __real_exit(1);
}

static void __attribute__((naked)) fault(void)
{
    __asm volatile ("mrs r0, msp\n"
                    "b report_fault\n");
}

/* The first thing that runs: the compiler may use the FPU from here on. */
void __wrap_uart_init(void)
{
    CPACR |= 0xFu << 20;
    __asm volatile ("dsb\nisb" ::: "memory");
    for (uint32_t i = 0; i < VECTORS; i++) {
        vectors[i] = i == 0 ? isr_vector[0] : (uint32_t)fault;
    }
    vectors[16] = (uint32_t)receive;
    VTOR = (uint32_t)vectors;
    CLOCK_RELOAD = UINT32_MAX;
    CLOCK_VALUE = UINT32_MAX;
    CLOCK_CONTROL = 1;
    clock_last = UINT32_MAX;
    __real_uart_init();
    UART_CONTROL |= UART_RX_INTERRUPT_ENABLED;
    NVIC_ENABLE = 1;
    /* A read makes QEMU look at the line again: whoever connected before the UART was on is not heard without. */
    (void)UART_DATA;
}

void __wrap_gc_init(void *start, void *end)
{
    uint32_t bytes = HEAP_BYTES;
    if (bytes != 0 && bytes < (uint32_t)((char *)end - (char *)start)) {
        end = (char *)start + bytes;
    }
    __real_gc_init(start, end);
}

/* Sleep until the line's interrupt; one that comes after the question ends the sleep too, masked as it is. */
static void wait_for_input(void)
{
    __asm volatile ("cpsid i" ::: "memory");
    if (queue_in == queue_out && !MP_STATE_MAIN_THREAD(mp_pending_exception)) {
        __asm volatile ("wfi");
    }
    __asm volatile ("cpsie i" ::: "memory");
}

/* No timer interrupts, which would be counted with what a test counts: a wait with a limit asks again and again. */
void machine_support_wait(int timeout_ms)
{
    if (timeout_ms < 0) {
        wait_for_input();
    }
}

int __wrap_uart_rx_chr(void)
{
    if (queue_in == queue_out) {
        wait_for_input();
        mp_handle_pending(true);
        return UART_RX_NO_CHAR;
    }
    int byte = queue[queue_out % QUEUE_BYTES];
    queue_out = queue_out + 1;
    UART_CONTROL |= UART_RX_INTERRUPT_ENABLED;
    return byte;
}

uintptr_t __wrap_mp_hal_stdio_poll(uintptr_t flags)
{
    uintptr_t ready = flags & MP_STREAM_POLL_WR;
    if (queue_in != queue_out) {
        ready |= flags & MP_STREAM_POLL_RD;
    }
    return ready;
}

/* The timer counts down and wraps every 171 s; whoever waits asks more often. */
static uint64_t ticks(void)
{
    uint32_t now = CLOCK_VALUE;
    clock_ticks += clock_last - now;
    clock_last = now;
    return clock_ticks;
}

mp_uint_t mp_hal_ticks_us(void)
{
    return (mp_uint_t)(ticks() / CLOCK_TICKS_PER_US);
}

mp_uint_t mp_hal_ticks_ms(void)
{
    return (mp_uint_t)(ticks() / (CLOCK_TICKS_PER_US * 1000u));
}

mp_uint_t mp_hal_ticks_cpu(void)
{
    return (mp_uint_t)ticks();
}

uint64_t mp_hal_time_ns(void)
{
    return ticks() * (1000u / CLOCK_TICKS_PER_US);
}

void mp_hal_delay_us(mp_uint_t us)
{
    uint64_t start = ticks();
    while (ticks() - start < (uint64_t)us * CLOCK_TICKS_PER_US) {
        mp_handle_pending(true);
    }
}

void mp_hal_delay_ms(mp_uint_t ms)
{
    uint64_t start = ticks();
    while (ticks() - start < (uint64_t)ms * CLOCK_TICKS_PER_US * 1000u) {
        mp_handle_pending(true);
    }
}

/* machine.reset() comes here with 0. RAM that is not in the image keeps what it has. */
void __wrap_exit(int status)
{
    if (status != 0) {
        __real_exit(status);
    }
    AIRCR = 0x05FA0004u;
    for (;;) {
    }
}

void machine_support_vm_starts(void)
{
    vm_started = true;
}

/* Start-up files, as on every board. Whether one asked for a soft reset. */
static int run_start_up(void)
{
    if (!vm_started) {
        return 0;
    }
    vm_started = false;
    pyexec_frozen_module("_boot.py", false);
    int end = pyexec_file_if_exists("boot.py");
    if (!(end & PYEXEC_FORCED_EXIT) && pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
        end = pyexec_file_if_exists("main.py");
    }
    return end & PYEXEC_FORCED_EXIT;
}

int __wrap_pyexec_friendly_repl(void)
{
    int end = run_start_up();
    return end ? end : __real_pyexec_friendly_repl();
}

int __wrap_pyexec_raw_repl(void)
{
    int end = run_start_up();
    return end ? end : __real_pyexec_raw_repl();
}

static const mp_obj_array_t rom = {{&mp_type_memoryview}, 'B', 0, ROM_BYTES, (void *)ROM_ADDRESS};

mp_obj_t mp_vfs_rom_ioctl(size_t n_args, const mp_obj_t *args)
{
    mp_int_t command = mp_obj_get_int(args[0]);
    if (command == MP_VFS_ROM_IOCTL_GET_NUMBER_OF_SEGMENTS) {
        return MP_OBJ_NEW_SMALL_INT(1);
    }
    if (n_args < 2 || mp_obj_get_int(args[1]) != 0) {
        return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
    }
    if (command == MP_VFS_ROM_IOCTL_GET_SEGMENT) {
        return MP_OBJ_FROM_PTR(&rom);
    }
    if (command == MP_VFS_ROM_IOCTL_WRITE_PREPARE && n_args == 3) {
        mp_int_t size = mp_obj_get_int(args[2]);
        if (size < 0 || (uint32_t)size > ROM_BYTES) {
            return MP_OBJ_NEW_SMALL_INT(-MP_ENOSPC);
        }
        memset((void *)ROM_ADDRESS, 0xFF, ROM_BYTES);
        return MP_OBJ_NEW_SMALL_INT(4);
    }
    if (command == MP_VFS_ROM_IOCTL_WRITE && n_args == 4) {
        mp_int_t offset = mp_obj_get_int(args[2]);
        mp_buffer_info_t data;
        mp_get_buffer_raise(args[3], &data, MP_BUFFER_READ);
        if (offset < 0 || (uint32_t)offset > ROM_BYTES || data.len > ROM_BYTES - (uint32_t)offset) {
            return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
        }
        memcpy((uint8_t *)ROM_ADDRESS + offset, data.buf, data.len);
        return MP_OBJ_NEW_SMALL_INT(0);
    }
    if (command == MP_VFS_ROM_IOCTL_WRITE_COMPLETE) {
        return MP_OBJ_NEW_SMALL_INT(0);
    }
    return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
}
