/* standalone.c - a main for the fuzz targets where the compiler has no libFuzzer.
 *
 *     fuzz_NAME [RUNS [FILE...]]
 *
 * Calls LLVMFuzzerTestOneInput with RUNS inputs (100000 by default): random bytes, and mutations
 * of the files. The same arguments give the same inputs. */
#include "../c/harness.h"

enum { MAX_RANDOM = 300, MAX_SEEDS = 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct seed {
    uint8_t *data;
    size_t size;
} seed;

static seed read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END)) {
        perror(path);
        exit(2);
    }
    long size = ftell(file);
    if (size < 0) {
        perror(path);
        exit(2);
    }
    rewind(file);
    seed read = {exact_block((size_t)size), (size_t)size};
    if (fread(read.data, 1, read.size, file) != read.size) {
        perror(path);
        exit(2);
    }
    fclose(file);
    return read;
}

/* A few bytes changed; then perhaps cut off. Returns the new size. */
static size_t mutate(uint8_t *data, size_t size, uint64_t *state)
{
    static const uint8_t odd[] = {0x00, 0x01, 0x7f, 0x80, 0x81, 0xff};
    for (uint64_t left = harness_random(state) % 5; left > 0 && size > 0; left--) {
        uint64_t random = harness_random(state);
        uint8_t *at = data + (random >> 16) % size;
        if (random & 1)
            *at = odd[(random >> 1) % sizeof odd];
        else
            *at = (uint8_t)(*at ^ 1u << (random >> 1) % 8);
    }
    uint64_t random = harness_random(state);
    return random % 4 ? size : (size_t)((random >> 8) % (size + 1));
}

int main(int argc, char **argv)
{
    static seed seeds[MAX_SEEDS];
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    size_t num_seeds = 0;
    for (int i = 2; i < argc && num_seeds < MAX_SEEDS; i++) {
        seeds[num_seeds] = read_file(argv[i]);
        LLVMFuzzerTestOneInput(seeds[num_seeds].data, seeds[num_seeds].size);
        num_seeds++;
    }
    uint64_t state = 0x9e3779b97f4a7c15;
    for (unsigned long run = 0; run < runs; run++) {
        uint64_t random = harness_random(&state);
        uint8_t *data;
        size_t size;
        if (num_seeds > 0 && random % 4) {
            seed from = seeds[(random >> 8) % num_seeds];
            uint8_t *changed = exact_copy(from.data, from.size);
            size = mutate(changed, from.size, &state);
            data = exact_copy(changed, size);
            free(changed);
        } else {
            size = (size_t)((random >> 8) % MAX_RANDOM);
            data = exact_block(size);
            for (size_t i = 0; i < size; i++)
                data[i] = (uint8_t)harness_random(&state);
        }
        LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    for (size_t i = 0; i < num_seeds; i++)
        free(seeds[i].data);
    printf("%lu inputs, %zu seeds\n", runs, num_seeds);
    return 0;
}
