/* fuzz_hash.c - any bytes hash within bounds; a batch says what its keys say. */
#include "../c/harness.h"
#include "fuzz.h"
#include "hotrod.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 5)
        return 0;
    uint32_t number = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
                      (uint32_t)data[3] << 24;
    int32_t num_segments = (int32_t)(number >> (data[4] % 32) & INT32_MAX);
    if (num_segments == 0)
        num_segments = 1;
    /* The key is cut in two: an empty, an odd and an even length may all come up. */
    size_t cut = 5 + data[4] % (size - 4);
    hr_slice keys[2] = {{.data = data + 5, .len = cut - 5},
                        {.data = data + cut, .len = size - cut}};
    int32_t segments[2];
    hr_segments_of(keys, 2, num_segments, segments);
    for (size_t i = 0; i < 2; i++) {
        int32_t hash = hr_murmur3(keys[i].data, keys[i].len, HR_HASH_SEED);
        if (segments[i] != hr_segment_of_hash(hash, num_segments) || segments[i] < 0 ||
            segments[i] >= num_segments)
            abort();
        hr_murmur2(keys[i].data, keys[i].len, i);
    }
    return 0;
}

size_t fuzz_seed(uint64_t number, uint8_t *out, size_t room)
{
    (void)number;
    (void)out;
    (void)room;
    return 0; /* any bytes do */
}

bool fuzz_report(FILE *to)
{
    (void)to;
    return true;
}
