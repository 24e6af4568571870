/* A process as a board: the serial line is a TCP socket on this machine. The only driver that may use the C library.
 *
 * Listens on 127.0.0.1, at the port in the environment variable ELEARN_PORT or at any free one; says which in one line,
 * `port socket://127.0.0.1:NNNN`; serves one client after another; ends with code 0 on SIGTERM or SIGINT, which are
 * taken where nothing was received. What is sent while no client is there is lost, as on a line that nobody listens to;
 * a client that does not read is told no more than its buffers hold, and one that asks all the same is hung up on.
 * References: POSIX.1-2008, <sys/socket.h>, pselect(). */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "elearn_port.h"
#include "elearn_protocol.h"

/* What a client that does not read finds when it reads again is no older than these bytes. */
#define SEND_BUFFER_BYTES 65536
/* A client that reads takes something within this time. */
#define MOST_WRITE_WAIT_S 2

static int listener = -1;
static int client = -1;
static volatile sig_atomic_t ended;
static sigset_t mask_while_waiting;

static void end_handler(int number)
{
    (void)number;
    ended = 1;
}

static void fail(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static void set_nonblocking(int descriptor)
{
    const int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) {
        fail("fcntl");
    }
}

static void signals_init(void)
{
    struct sigaction action;
    sigset_t ending;

    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    if (sigaction(SIGPIPE, &action, NULL) != 0) {
        fail("sigaction");
    }
    action.sa_handler = end_handler;
    if (sigaction(SIGTERM, &action, NULL) != 0 || sigaction(SIGINT, &action, NULL) != 0) {
        fail("sigaction");
    }
    /* Let in only while waiting, so that none slips between a look at `ended` and the wait. */
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    if (sigprocmask(SIG_BLOCK, &ending, &mask_while_waiting) != 0) {
        fail("sigprocmask");
    }
    sigdelset(&mask_while_waiting, SIGTERM);
    sigdelset(&mask_while_waiting, SIGINT);
}

static uint16_t port_from_environment(void)
{
    const char *text = getenv("ELEARN_PORT");
    char *end = NULL;
    long port;

    if (text == NULL || *text == '\0') {
        return 0;
    }
    port = strtol(text, &end, 10);
    if (*end != '\0' || port < 0 || port > 65535) {
        (void)fprintf(stderr, "ELEARN_PORT is not a port number: %s\n", text);
        exit(EXIT_FAILURE);
    }
    return (uint16_t)port;
}

/* A sensor that always has a sample ready leaves no time to wait in. */
static void end_if_asked(void)
{
    sigset_t asked;

    if (sigpending(&asked) == 0 && (sigismember(&asked, SIGTERM) == 1 || sigismember(&asked, SIGINT) == 1)) {
        exit(EXIT_SUCCESS);
    }
}

void elearn_port_init(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    const int on = 1;

    signals_init();
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port_from_environment());

    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0) {
        fail("socket");
    }
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(listener, (const struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        fail("listen");
    }
    set_nonblocking(listener);
    (void)printf("port socket://127.0.0.1:%u\n", (unsigned)ntohs(address.sin_port));
    (void)fflush(stdout);
}

static void drop_client(void)
{
    (void)close(client);
    client = -1;
}

/* Take the next client, if one waits and none is there. */
static void accept_client(void)
{
    const int on = 1;
    const int buffer_bytes = SEND_BUFFER_BYTES;

    if (client >= 0) {
        return;
    }
    client = accept(listener, NULL, NULL);
    if (client >= 0) {
        set_nonblocking(client);
        (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void)setsockopt(client, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    }
}

/* Wait until the client can be written to, or there is something to read or to accept; as long as that takes, or less.
 * Returns whether it is so. */
static int wait_for(int to_write, const struct timespec *most)
{
    fd_set readable;
    fd_set writable;
    const int descriptor = client >= 0 ? client : listener;
    int ready;

    FD_ZERO(&readable);
    FD_ZERO(&writable);
    if (to_write) {
        FD_SET(descriptor, &writable);
    } else {
        FD_SET(descriptor, &readable);
    }
    ready = pselect(descriptor + 1, &readable, &writable, NULL, most, &mask_while_waiting);
    if (ready < 0 && errno != EINTR) {
        fail("pselect");
    }
    if (ended) {
        exit(EXIT_SUCCESS);
    }
    return ready > 0;
}

uint32_t elearn_port_read(uint8_t *destination, uint32_t size)
{
    ssize_t count;

    accept_client();
    if (client < 0 || size == 0u) {
        end_if_asked();
        return 0u;
    }
    count = recv(client, destination, size, 0);
    if (count > 0) {
        return (uint32_t)count;
    }
    end_if_asked();
    if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        drop_client();
    }
    return 0u;
}

void elearn_port_write(const uint8_t *source, uint32_t size)
{
    const struct timespec most = {MOST_WRITE_WAIT_S, 0};
    uint32_t sent = 0;

    while (client >= 0 && sent < size) {
        const ssize_t count = send(client, source + sent, size - sent, 0);
        if (count >= 0) {
            sent += (uint32_t)count;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_for(1, &most)) {
                drop_client();
            }
        } else if (errno != EINTR) {
            drop_client();
        }
    }
}

int elearn_port_can_write(void)
{
    const struct timespec none = {0, 0};

    return client < 0 || wait_for(1, &none);
}

void elearn_port_wait(void)
{
    (void)wait_for(0, NULL);
}

void elearn_port_pause(void)
{
    const struct timespec moment = {0, 200000}; /* 0.2 ms */
    (void)wait_for(0, &moment);
}

uint32_t elearn_port_ticks(void)
{
    return 0u;
}

uint32_t elearn_port_counter_hz(void)
{
    return 0u;
}

uint32_t elearn_port_clock_ms(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        fail("clock_gettime");
    }
    return (uint32_t)now.tv_sec * 1000u + (uint32_t)now.tv_nsec / 1000000u;
}

uint32_t elearn_port_overruns(void)
{
    return 0u;
}

uint32_t elearn_port_ring_bytes(void)
{
    return 0u;
}

uint32_t elearn_port_count_start(uint32_t remembered)
{
    return remembered + 1u;
}

const elearn_port_start *elearn_port_last_start(void)
{
    static const elearn_port_start start = {ELEARN_RESET_UNKNOWN, 0, 0, 0, 0, 0, 0, 0};
    return &start;
}

void elearn_port_forget_faults(void) { }

void elearn_port_feed(void) { }

uint32_t elearn_port_static_ram_bytes(void)
{
    return 0u;
}

uint32_t elearn_port_stack_size_bytes(void)
{
    return 0u;
}

uint32_t elearn_port_stack_bytes(void)
{
    return 0u;
}

void elearn_port_stack_mark(void) { }

uint32_t elearn_port_stack_since_mark(void)
{
    return 0u;
}
