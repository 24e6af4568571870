/* A file as the flash of a process: the one that the environment variable ELEARN_NVM_FILE names, made where there is
 * none; plain memory where the variable is not set. It behaves as flash does: programming clears bits.
 *
 * The file is mapped, so that what was written is there even if the process is killed.
 * References: POSIX.1-2008, open(), ftruncate(), mmap().
 *
 * The pages of nvm that it drives:
 *   host: of any size, programmed in 1 */
#define _DEFAULT_SOURCE
#define _DARWIN_C_SOURCE

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elearn_board.h"
#include "elearn_nvm.h"

#define WHOLE_BYTES ((size_t)ELEARN_NVM_PAGES * ELEARN_NVM_PAGE_BYTES)

static uint8_t *memory;

static void fail(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static uint8_t *pages(void)
{
    const char *path = getenv("ELEARN_NVM_FILE");
    int descriptor = -1;
    int flags = MAP_PRIVATE | MAP_ANON;
    off_t size_before = 0;

    if (memory != NULL) {
        return memory;
    }
    if (path != NULL && *path != '\0') {
        struct stat status;
        descriptor = open(path, O_RDWR | O_CREAT, 0666);
        if (descriptor < 0 || fstat(descriptor, &status) != 0) {
            fail(path);
        }
        size_before = status.st_size;
        if (size_before != 0 && size_before != (off_t)WHOLE_BYTES) {
            (void)fprintf(stderr, "ELEARN_NVM_FILE %s has %lld bytes, this board's pages have %lld\n", path,
                          (long long)size_before, (long long)WHOLE_BYTES);
            exit(EXIT_FAILURE);
        }
        if (ftruncate(descriptor, (off_t)WHOLE_BYTES) != 0) {
            fail(path);
        }
        flags = MAP_SHARED;
    }
    memory = mmap(NULL, WHOLE_BYTES, PROT_READ | PROT_WRITE, flags, descriptor, 0);
    if (memory == MAP_FAILED) {
        fail("mmap");
    }
    if (descriptor >= 0) {
        (void)close(descriptor);
    }
    if (size_before == 0) {
        memset(memory, 0xFF, WHOLE_BYTES);
    }
    return memory;
}

const uint8_t *elearn_nvm_bytes(void)
{
    return pages();
}

bool elearn_nvm_erase(uint32_t page)
{
    memset(pages() + page * ELEARN_NVM_PAGE_BYTES, 0xFF, ELEARN_NVM_PAGE_BYTES);
    return true;
}

bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    uint8_t *destination = pages() + offset;

    for (uint32_t i = 0; i < size; ++i) {
        destination[i] &= bytes[i];
    }
    return true;
}
