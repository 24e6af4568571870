/* A board with an AVR in simavr, which has timers, and an EEPROM: what QEMU lacks.
 *
 *   simavr_board MCU HZ IMAGE.hex EEPROM_FILE [WRITES]
 *
 * USART0 is on a TCP port of this machine, which is told as "port N"; clients come one after another. The EEPROM is the
 * file, made blank where there is none; it is mapped, so that what was written is there however this ends. With WRITES
 * power is cut when so many bytes were erased or programmed and the next is under way: it says "cut" and ends.
 *
 * The EEPROM is modelled here by Microchip DS40002211A, EECR: simavr's own writes at once and knows no modes. A write
 * starts where EEPE is set within four cycles of EEMPE, takes its time, and leaves everything else of EECR alone until
 * then. Bytes for the board are as fast as its own baud rate in its own time; that time is not held to the clock's. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <avr_eeprom.h>
#include <avr_uart.h>
#include <sim_avr.h>
#include <sim_cycle_timers.h>
#include <sim_hex.h>
#include <sim_irq.h>

/* Steps of simavr between two looks at the socket. */
#define TURNS 500

/* EECR, and what it does */
#define EERE 0x01u
#define EEPE 0x02u
#define EEMPE 0x04u
#define EEPM0 0x10u
#define EEPM1 0x20u
#define START_CYCLES 4u
#define BOTH_US 3400u
#define ONE_US 1800u
#define ERASED 0xFFu

static avr_eeprom_t *eeprom; /* of simavr: its registers and size; `bytes` are ours */
static uint8_t *bytes;
static uint8_t byte_after; /* the write that is under way */
static uint16_t address;
static avr_cycle_count_t master_since;
static long writes;
static long cut_after = -1;

static avr_irq_t *to_board;
static int client = -1;
static int ready = 1;

int main(int argc, char **argv);

static void fail(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static void no_sleep(avr_t *avr, avr_cycle_count_t cycles)
{
    (void)avr;
    (void)cycles;
}

static void hang_up(void)
{
    (void)close(client);
    client = -1;
}

static void from_board(avr_irq_t *irq, uint32_t value, void *unused)
{
    const uint8_t byte = (uint8_t)value;
    (void)irq;
    (void)unused;
    if (client >= 0 && send(client, &byte, 1, MSG_NOSIGNAL) != 1) {
        hang_up();
    }
}

static void takes_more(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)value;
    (void)unused;
    ready = 1;
}

static void is_full(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)value;
    (void)unused;
    ready = 0;
}

/* One byte at a time, as the board takes them; what it does not take waits in the socket. */
static void carry(int listener)
{
    uint8_t byte;
    if (client < 0) {
        const int on = 1;
        client = accept(listener, NULL, NULL);
        if (client >= 0) {
            (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        return;
    }
    while (ready) {
        const ssize_t count = recv(client, &byte, 1, MSG_DONTWAIT);
        if (count == 0) {
            hang_up();
        }
        if (count != 1) {
            return;
        }
        avr_raise_irq(to_board, byte);
    }
}

static int listen_here(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4) != 0
        || getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        fail("socket");
    }
    (void)printf("port %d\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return listener;
}

static void load(avr_t *avr, const char *path)
{
    ihex_chunk_p chunks;
    const int count = read_ihex_chunks(path, &chunks);
    if (count < 1) {
        fail(path);
    }
    for (int i = 0; i < count; i++) {
        avr_loadcode(avr, chunks[i].data, chunks[i].size, chunks[i].baseaddr);
    }
    avr->codeend = avr->flashend;
    free_ihex_chunks(chunks);
}

static avr_cycle_count_t write_done(avr_t *avr, avr_cycle_count_t when, void *unused)
{
    (void)when;
    (void)unused;
    bytes[address] = byte_after;
    writes++;
    avr->data[eeprom->r_eecr] &= (uint8_t)~EEPE;
    return 0;
}

static void start_write(avr_t *avr, uint8_t control)
{
    const uint8_t value = avr->data[eeprom->r_eedr];
    byte_after = (control & EEPM0) != 0u ? ERASED : (control & EEPM1) != 0u ? bytes[address] & value : value;
    if (writes == cut_after) {
        /* Half of the bits have come over. */
        bytes[address] = (uint8_t)((bytes[address] & 0x55u) | (byte_after & 0xAAu));
        (void)puts("cut");
        exit(EXIT_SUCCESS);
    }
    avr_cycle_timer_register_usec(avr, (control & (EEPM0 | EEPM1)) != 0u ? ONE_US : BOTH_US, write_done, NULL);
}

static void control_eeprom(avr_t *avr, avr_io_addr_t at, uint8_t value, void *unused)
{
    const uint8_t before = avr->data[at];
    const int is_master = (before & EEMPE) != 0u && avr->cycle - master_since <= START_CYCLES;
    (void)unused;
    if ((before & EEPE) != 0u) {
        return;
    }
    address = (uint16_t)(avr->data[eeprom->r_eearl] | avr->data[eeprom->r_eearh] << 8) & (uint16_t)(eeprom->size - 1u);
    if ((value & EEMPE) != 0u && !is_master) {
        master_since = avr->cycle;
    }
    if ((value & EEPE) != 0u && is_master) {
        avr->data[at] = (uint8_t)(value & ~(EEMPE | EERE));
        start_write(avr, value);
        return;
    }
    if ((value & EERE) != 0u) {
        avr->data[eeprom->r_eedr] = bytes[address];
    }
    avr->data[at] = (uint8_t)(value & ~(EEPE | EERE));
}

static void map_eeprom(avr_t *avr, const char *path)
{
    avr_io_t *part = avr->io_port;
    struct stat status;
    int file;
    while (part != NULL && strcmp(part->kind, "eeprom") != 0) {
        part = part->next;
    }
    if (part == NULL) {
        (void)fprintf(stderr, "this processor has no EEPROM\n");
        exit(EXIT_FAILURE);
    }
    eeprom = (avr_eeprom_t *)part;
    file = open(path, O_RDWR | O_CREAT, 0666);
    if (file < 0 || fstat(file, &status) != 0 || ftruncate(file, eeprom->size) != 0) {
        fail(path);
    }
    bytes = mmap(NULL, eeprom->size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED) {
        fail("mmap");
    }
    if (status.st_size == 0) {
        memset(bytes, ERASED, eeprom->size);
    }
    avr->io[AVR_DATA_TO_IO(eeprom->r_eecr)].w.c = control_eeprom;
}

int main(int argc, char **argv)
{
    avr_t *avr = argc >= 5 ? avr_make_mcu_by_name(argv[1]) : NULL;
    uint32_t flags = 0;
    int listener;
    if (avr == NULL) {
        (void)fprintf(stderr, "MCU HZ IMAGE.hex EEPROM_FILE [WRITES], of a processor that simavr knows\n");
        return 2;
    }
    avr_init(avr);
    avr->frequency = (uint32_t)strtoul(argv[2], NULL, 10);
    avr->sleep = no_sleep;
    load(avr, argv[3]);
    map_eeprom(avr, argv[4]);
    cut_after = argc > 5 ? strtol(argv[5], NULL, 10) : -1;
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    to_board = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), from_board, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), takes_more, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), is_full, NULL);
    listener = listen_here();
    for (;;) {
        for (int i = 0; i < TURNS; i++) {
            const int state = avr_run(avr);
            if (state == cpu_Done || state == cpu_Crashed) {
                (void)fprintf(stderr, "the processor stopped at 0x%x\n", avr->pc);
                return EXIT_FAILURE;
            }
        }
        carry(listener);
    }
}
