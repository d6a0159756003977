/* libfuzzer.c - what libFuzzer calls besides the target: seeds among its mutations, a report at the
 * end. Not part of a build without libFuzzer. */
#include <stdlib.h>

#include "fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int number);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* One input in 16 is a seed, as it is or with the mutations on top that it is sent back for. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int number)
{
    if (number % 16 == 0) {
        size_t seed_size = fuzz_seed(number / 16, data, max_size);
        if (seed_size > 0)
            return seed_size;
    }
    return LLVMFuzzerMutate(data, size, max_size);
}

static void report(void)
{
    fuzz_report(stdout);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return atexit(report);
}
