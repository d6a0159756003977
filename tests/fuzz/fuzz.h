/* fuzz.h - what a fuzz target defines for its driver: libFuzzer with libfuzzer.c, or standalone.c.
 */
#ifndef HOTROD_TESTS_FUZZ_H
#define HOTROD_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Check one input; abort() on a finding. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Write input number `number`, which goes deep, to `out`. Returns its size; 0: there is none, or
 * not enough room. */
size_t fuzz_seed(uint64_t number, uint8_t *out, size_t room);

/* Say what the inputs so far have reached. False: something was never reached. */
bool fuzz_report(FILE *to);

#endif
