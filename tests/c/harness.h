/* harness.h - the little that the C tests need: checks, blocks of exact size, a main.
 *
 * A test is a `static void test_...(void)`; the file ends with
 *
 *     int main(void) { return RUN(TEST(test_this), TEST(test_that)); }
 *
 * Input goes into blocks of exactly its size, so that AddressSanitizer sees each byte read or
 * written past an end; an array or string literal may have readable bytes behind it. */
#ifndef HOTROD_TESTS_HARNESS_H
#define HOTROD_TESTS_HARNESS_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct harness_test {
    const char *name;
    void (*run)(void);
} harness_test;

static int harness_failures;
enum { HARNESS_SHOWN = 50 }; /* failures; a loop that goes wrong has thousands */

#define CHECK(condition)                                  \
    do {                                                  \
        if (!(condition))                                 \
            harness_fail(__FILE__, __LINE__, #condition); \
    } while (0)

#define CHECK_INT(found, wanted) \
    harness_check_int(__FILE__, __LINE__, #found, (int64_t)(found), (int64_t)(wanted))

#define CHECK_BYTES(found, found_size, wanted, wanted_size) \
    harness_check_bytes(__FILE__, __LINE__, #found, (found), (found_size), (wanted), (wanted_size))

#define TEST(function) {#function, function}
#define RUN(...)                                     \
    harness_run((const harness_test[]){__VA_ARGS__}, \
                sizeof((const harness_test[]){__VA_ARGS__}) / sizeof(harness_test))

static inline void harness_fail(const char *file, int line, const char *what)
{
    if (harness_failures++ < HARNESS_SHOWN)
        fprintf(stderr, "%s:%d: %s\n", file, line, what);
}

static inline void harness_check_int(const char *file, int line, const char *what, int64_t found,
                                     int64_t wanted)
{
    if (found == wanted)
        return;
    if (harness_failures++ < HARNESS_SHOWN)
        fprintf(stderr, "%s:%d: %s is %" PRId64 ", wants %" PRId64 "\n", file, line, what, found,
                wanted);
}

static inline void harness_print_hex(const char *label, const uint8_t *data, size_t size)
{
    fprintf(stderr, "    %s (%zu bytes):", label, size);
    for (size_t i = 0; i < size; i++)
        fprintf(stderr, " %02x", data[i]);
    fputc('\n', stderr);
}

static inline void harness_check_bytes(const char *file, int line, const char *what,
                                       const uint8_t *found, size_t found_size,
                                       const uint8_t *wanted, size_t wanted_size)
{
    if (found_size == wanted_size && (wanted_size == 0 || !memcmp(found, wanted, wanted_size)))
        return;
    harness_fail(file, line, what);
    if (harness_failures > HARNESS_SHOWN)
        return;
    harness_print_hex("found", found, found_size);
    harness_print_hex("wants", wanted, wanted_size);
}

/* A block of exactly `size` bytes, not NULL even for 0. Freed by the caller. */
static inline uint8_t *exact_block(size_t size)
{
    uint8_t *block = malloc(size);
    if (block == NULL && size > 0)
        abort();
    return block;
}

static inline uint8_t *exact_copy(const void *data, size_t size)
{
    uint8_t *block = exact_block(size);
    if (size > 0)
        memcpy(block, data, size);
    return block;
}

static inline int harness_hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* The bytes of lower-case hex digits and blanks, in a block of exact size. */
static inline uint8_t *exact_hex(const char *hex, size_t *size)
{
    size_t digits = 0;
    for (const char *c = hex; *c; c++)
        digits += harness_hex_digit(*c) >= 0;
    if (digits % 2)
        abort();
    *size = digits / 2;
    uint8_t *block = exact_block(*size);
    size_t at = 0;
    for (const char *c = hex; *c; c++) {
        int digit = harness_hex_digit(*c);
        if (digit < 0)
            continue;
        if (at % 2)
            block[at / 2] = (uint8_t)(block[at / 2] | digit);
        else
            block[at / 2] = (uint8_t)(digit << 4);
        at++;
    }
    return block;
}

/* Numbers that are the same in every run and on every platform (xorshift64). */
static inline uint64_t harness_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline int harness_run(const harness_test *tests, size_t count)
{
    size_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        int before = harness_failures;
        tests[i].run();
        if (harness_failures != before) {
            failed++;
            fprintf(stderr, "FAILED %s\n", tests[i].name);
        }
    }
    printf("%zu passed, %zu failed\n", count - failed, failed);
    return failed > 0;
}

#endif
