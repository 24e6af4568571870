/* The store on a model of flash or EEPROM whose power can be cut before, in and after every single operation.
 *
 * An operation is the programming of one unit or the erasing of one page; where MODEL_IS_EEPROM, of one byte, and only
 * of one that is changed by it. A unit whose programming was cut has cleared any of the bits that it was to clear; a
 * page, or byte, whose erasing was cut has set any of its bits; both are drawn from a seeded generator. After a cut
 * nothing more happens until the reboot, which forgets every variable of the store. The store is included, so that this
 * program can do that.
 *
 *   store_model exhaustive FIRST SAVES SEED PARTS...   after FIRST saves without one, every cut in SAVES saves and in
 *                                                      forgetting; says how many there were
 *   store_model wear SAVES PARTS...   the fewest and the most erases of a page after SAVES saves
 *   store_model script SEED PARTS...   commands from stdin, one a line, each with one line of answer:
 *     save V   save V C K   the same, cut in operation K (C: 0 before it, 1 in it, 2 after it)    -> 1 or 0
 *     forget   forget C K                                                                        -> 1 or 0
 *     load     -> the value that was found, 0 for none                       sequence  -> of the newest record
 *     reboot   bad PAGE KIND (0 good, 1 erases badly, 2 does not answer, 3 programs badly)       -> ok
 *     junk     random bytes in all pages                                                         -> ok
 *
 * PARTS are the sizes of a record's parts. A value stands for the bytes that value_byte() makes of it. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elearn_store.c"

#define UNITS_IN_PAGE (ELEARN_NVM_PAGE_BYTES / ELEARN_NVM_WRITE_BYTES)
#define WHOLE (ELEARN_NVM_PAGES * ELEARN_NVM_PAGE_BYTES)
#define MAX_PARTS 8

enum { CUT_BEFORE, CUT_IN, CUT_AFTER, CUTS };
enum { GOOD, ERASES_BADLY, DOES_NOT_ANSWER, PROGRAMS_BADLY };

typedef struct {
    uint8_t bytes[WHOLE];
    /* How often each unit was programmed since its page was erased. */
    uint8_t programmed[ELEARN_NVM_PAGES * UNITS_IN_PAGE];
} flash_state;

static flash_state flash;
static uint32_t erases[ELEARN_NVM_PAGES];
static int bad[ELEARN_NVM_PAGES];
static uint64_t operations;
static uint64_t cut_at; /* the number of the operation, counted from 1; 0: none */
static int cut_kind;
static jmp_buf power_cut;
static uint32_t random_state = 1;

static elearn_store_part parts[MAX_PARTS];
static uint32_t part_count;
static const uint32_t identity_one[3] = {1, 2, 3};

int main(int argc, char **argv);

static void fail(const char *what)
{
    (void)printf("FAILED: %s\n", what);
    (void)fflush(stdout);
    exit(1);
}

static uint32_t random_number(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

/* Bits that an operation reached before it was cut: few, about half or most. */
static uint8_t random_bits(uint32_t density)
{
    const uint32_t a = random_number() >> 8;
    const uint32_t b = random_number() >> 8;
    return (uint8_t)(density == 0 ? a & b & (a >> 9) : density == 1 ? a : density == 2 ? a | b | (a >> 9) : 0u);
}

#if ELEARN_NVM_MAPPED
const uint8_t *elearn_nvm_bytes(void)
{
    return flash.bytes;
}
#else
void elearn_nvm_read(uint32_t offset, uint8_t *destination, uint32_t size)
{
    if (offset > WHOLE || size > WHOLE - offset) {
        fail("reading outside of pages");
    }
    memcpy(destination, flash.bytes + offset, size);
}
#endif

/* Whether this operation is the one that is cut. */
static bool begin_operation(void)
{
    const bool cut = ++operations == cut_at;
    if (cut && cut_kind == CUT_BEFORE) {
        longjmp(power_cut, 1);
    }
    return cut;
}

static void erase_bytes(uint8_t *bytes, uint32_t size, bool cut)
{
    if (cut && cut_kind == CUT_IN) {
        const uint32_t density = random_number() % 4u;
        for (uint32_t i = 0; i < size; i++) {
            bytes[i] |= random_bits(density);
        }
        longjmp(power_cut, 1);
    }
    memset(bytes, 0xFF, size);
}

bool elearn_nvm_erase(uint32_t page)
{
    uint8_t *bytes = flash.bytes + page * ELEARN_NVM_PAGE_BYTES;
    bool cut = false;
    if (page >= ELEARN_NVM_PAGES) {
        fail("a page that is not there was erased");
    }
    if (!MODEL_IS_EEPROM) {
        cut = begin_operation();
    }
    if (bad[page] == DOES_NOT_ANSWER) {
        return false;
    }
    erases[page]++;
    if (!MODEL_IS_EEPROM) {
        erase_bytes(bytes, ELEARN_NVM_PAGE_BYTES, cut);
    }
    for (uint32_t i = 0; MODEL_IS_EEPROM && i < ELEARN_NVM_PAGE_BYTES; i++) {
        cut = begin_operation();
        erase_bytes(bytes + i, 1, cut);
        if (cut) {
            longjmp(power_cut, 1);
        }
    }
    memset(flash.programmed + page * UNITS_IN_PAGE, 0, UNITS_IN_PAGE);
    if (bad[page] == ERASES_BADLY) {
        bytes[random_number() % ELEARN_NVM_PAGE_BYTES] = 0xFE;
    }
    if (cut) {
        longjmp(power_cut, 1);
    }
    return true;
}

static bool program_unit(uint32_t offset, const uint8_t *wanted)
{
    uint8_t *bytes = flash.bytes + offset;
    uint8_t *programmed = &flash.programmed[offset / ELEARN_NVM_WRITE_BYTES];
    bool cut;
    if (MODEL_IS_EEPROM && memcmp(bytes, wanted, ELEARN_NVM_WRITE_BYTES) == 0) {
        return true;
    }
    cut = begin_operation();
    for (uint32_t i = 0; i < ELEARN_NVM_WRITE_BYTES; i++) {
        if (bytes[i] != 0xFF) {
            fail("a unit that is not blank was programmed");
        }
    }
    if (bad[offset / ELEARN_NVM_PAGE_BYTES] == DOES_NOT_ANSWER) {
        return false;
    }
    if (*programmed >= MODEL_PROGRAMS) {
        return false;
    }
    ++*programmed;
    if (cut && cut_kind == CUT_IN) {
        const uint32_t density = random_number() % 4u;
        for (uint32_t i = 0; i < ELEARN_NVM_WRITE_BYTES; i++) {
            bytes[i] &= (uint8_t)(wanted[i] | (uint8_t)~random_bits(density));
        }
        longjmp(power_cut, 1);
    }
    memcpy(bytes, wanted, ELEARN_NVM_WRITE_BYTES);
    if (bad[offset / ELEARN_NVM_PAGE_BYTES] == PROGRAMS_BADLY && random_number() % 8u == 0u) {
        bytes[0] ^= 1u;
    }
    if (cut) {
        longjmp(power_cut, 1);
    }
    return true;
}

bool elearn_nvm_program(uint32_t offset, const uint8_t *bytes, uint32_t size)
{
    if (offset % ELEARN_NVM_WRITE_BYTES != 0 || size % ELEARN_NVM_WRITE_BYTES != 0 || offset > WHOLE
        || size > WHOLE - offset) {
        fail("programming outside of pages or units");
    }
    for (uint32_t i = 0; i < size; i += ELEARN_NVM_WRITE_BYTES) {
        if (!program_unit(offset + i, bytes + i)) {
            return false;
        }
    }
    return true;
}

static void reboot(void)
{
    newest_sequence = 0;
    memset(last_identity, 0, sizeof last_identity);
    last_payload_bytes = 0;
}

/* Values that are multiples of 5 are mostly ones, which is what blank flash looks like. */
static uint8_t value_byte(uint32_t value, uint32_t i)
{
    const uint32_t mixed = (value * 2654435761u) ^ (i * 40503u) ^ (value >> 3) ^ ((value + i) * 97u);
    if (i < 4u) {
        return (uint8_t)(value >> (8u * i));
    }
    return (uint8_t)(value % 5u == 0u && i % 64u != 0u ? 0xFFu : mixed >> 7);
}

static void fill_parts(uint32_t value)
{
    uint32_t i = 0;
    for (uint32_t p = 0; p < part_count; p++) {
        for (uint32_t k = 0; k < parts[p].size; k++) {
            ((uint8_t *)parts[p].bytes)[k] = value_byte(value, i++);
        }
    }
}

/* The value that is loaded, 0 for none. Every byte must be that value's, or untouched where none is found. */
static uint32_t load(void)
{
    uint32_t value = 0;
    uint32_t i = 0;
    bool found;
    for (uint32_t p = 0; p < part_count; p++) {
        memset(parts[p].bytes, 0xA5, parts[p].size);
    }
    found = elearn_store_load(identity_one, parts, part_count);
    if (found != (elearn_store_sequence() != 0u)) {
        fail("the sequence does not say whether there is a record");
    }
    for (uint32_t p = 0; p < part_count && i < 4u; p++) {
        for (uint32_t k = 0; k < parts[p].size && i < 4u; k++) {
            value |= (uint32_t)((uint8_t *)parts[p].bytes)[k] << (8u * i++);
        }
    }
    i = 0;
    for (uint32_t p = 0; p < part_count; p++) {
        for (uint32_t k = 0; k < parts[p].size; k++) {
            if (((uint8_t *)parts[p].bytes)[k] != (found ? value_byte(value, i++) : 0xA5)) {
                fail("loaded bytes are of no value that was saved");
            }
        }
    }
    return found ? value : 0u;
}

static bool save(uint32_t value)
{
    fill_parts(value);
    return elearn_store_save(identity_one, parts, part_count);
}

/* Save (or forget, for value 0) with a cut; 1, 0, or 2 where power was cut. */
static int change(uint32_t value, int kind, uint64_t operation)
{
    int result;
    operations = 0;
    cut_at = operation;
    cut_kind = kind;
    if (setjmp(power_cut) == 0) {
        result = value != 0u ? save(value) : elearn_store_forget();
    } else {
        result = 2;
        reboot();
    }
    cut_at = 0;
    return result;
}

static uint64_t cuts;

/* Every cut of one change: what is there then is the old or the new value, and the store goes on. */
static void cut_everywhere(uint32_t old, uint32_t value)
{
    static flash_state before;
    uint64_t count;
    before = flash;
    if (change(value, CUT_BEFORE, 0) != 1 || load() != value) {
        fail("without a cut it does not work");
    }
    count = operations;
    for (uint64_t operation = 1; operation <= count; operation++) {
        for (int kind = 0; kind < CUTS; kind++) {
            for (int again = 0; again < (kind == CUT_IN ? 3 : 1); again++) {
                uint32_t found;
                flash = before;
                reboot();
                if (load() != old) {
                    fail("the old value is gone");
                }
                if (change(value, kind, operation) != 2) {
                    fail("the cut did not come");
                }
                found = load();
                if (found != old && found != value) {
                    fail("neither the old nor the new value");
                }
                /* A second cut at once, in what puts things right. */
                if (change(1000000u + old, CUT_IN, 1u + random_number() % count) == 2) {
                    const uint32_t second = load();
                    if (second != found && second != 1000000u + old) {
                        fail("neither the old nor the new value after the second cut");
                    }
                }
                if (!save(2000000u + value) || load() != 2000000u + value) {
                    fail("no saving after the cut");
                }
                reboot();
                if (load() != 2000000u + value) {
                    fail("what was saved after the cut is gone");
                }
                cuts++;
            }
        }
    }
    flash = before;
    reboot();
    if (load() != old || change(value, CUT_BEFORE, 0) != 1) {
        fail("without a cut it does not work again");
    }
}

static void exhaustive(uint32_t first, uint32_t saves)
{
    uint32_t value = 0;
    for (uint32_t i = 1; i <= first; i++) {
        if (!save(i)) {
            fail("not saved");
        }
        value = i;
    }
    for (uint32_t i = first + 1u; i <= first + saves; i++) {
        cut_everywhere(value, i);
        value = i;
        if (i % 7u == 0u) {
            cut_everywhere(value, 0);
            value = 0;
        }
    }
    (void)printf("%llu cuts\n", (unsigned long long)cuts);
}

static void wear(uint32_t saves)
{
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;
    for (uint32_t i = 1; i <= saves; i++) {
        if (!save(i)) {
            fail("not saved");
        }
    }
    for (uint32_t page = 0; page < ELEARN_NVM_PAGES; page++) {
        least = erases[page] < least ? erases[page] : least;
        most = erases[page] > most ? erases[page] : most;
    }
    (void)printf("%u %u\n", (unsigned)least, (unsigned)most);
}

static void script(void)
{
    char line[128];
    while (fgets(line, sizeof line, stdin) != NULL) {
        unsigned a = 0;
        unsigned b = 0;
        unsigned c = 0;
        if (sscanf(line, "save %u %u %u", &a, &b, &c) >= 1) {
            (void)printf("%d\n", change(a, (int)b, c));
        } else if (strncmp(line, "forget", 6) == 0) {
            (void)sscanf(line, "forget %u %u", &a, &b);
            (void)printf("%d\n", change(0, (int)a, b));
        } else if (strcmp(line, "load\n") == 0) {
            (void)printf("%u\n", (unsigned)load());
        } else if (strcmp(line, "sequence\n") == 0) {
            (void)printf("%u\n", (unsigned)elearn_store_sequence());
        } else if (strcmp(line, "reboot\n") == 0) {
            reboot();
            (void)printf("ok\n");
        } else if (sscanf(line, "bad %u %u", &a, &b) == 2 && a < ELEARN_NVM_PAGES) {
            bad[a] = (int)b;
            (void)printf("ok\n");
        } else if (strcmp(line, "junk\n") == 0) {
            for (uint32_t i = 0; i < WHOLE; i++) {
                flash.bytes[i] = (uint8_t)random_number();
            }
            memset(flash.programmed, 255, sizeof flash.programmed);
            (void)printf("ok\n");
        } else {
            fail("unknown command");
        }
    }
}

static void take_parts(int count, char **sizes)
{
    for (int i = 0; i < count && i < MAX_PARTS; i++) {
        parts[i].size = (uint32_t)strtoul(sizes[i], NULL, 10);
        parts[i].bytes = malloc(parts[i].size + 1u);
        part_count++;
    }
}

int main(int argc, char **argv)
{
    memset(&flash.bytes, 0xFF, sizeof flash.bytes);
    if (argc > 4 && strcmp(argv[1], "exhaustive") == 0) {
        random_state = (uint32_t)strtoul(argv[4], NULL, 10);
        take_parts(argc - 5, argv + 5);
        exhaustive((uint32_t)strtoul(argv[2], NULL, 10), (uint32_t)strtoul(argv[3], NULL, 10));
    } else if (argc > 2 && strcmp(argv[1], "wear") == 0) {
        take_parts(argc - 3, argv + 3);
        wear((uint32_t)strtoul(argv[2], NULL, 10));
    } else if (argc > 2 && strcmp(argv[1], "script") == 0) {
        random_state = (uint32_t)strtoul(argv[2], NULL, 10);
        take_parts(argc - 3, argv + 3);
        script();
    } else {
        return 2;
    }
    for (uint32_t i = 0; i < part_count; i++) {
        free(parts[i].bytes);
    }
    return 0;
}
