/* standalone.c - a main for the fuzz targets where the compiler has no libFuzzer.
 *
 *     fuzz_NAME [RUNS [FILE...]]
 *
 * Gives LLVMFuzzerTestOneInput each FILE, then RUNS inputs (100000 by default): the target's seeds
 * and the files, most of them mutated, and random bytes. The same arguments give the same inputs;
 * FUZZ_SEED=number in the environment gives others. A target that aborts prints its input first.
 * Fails when a long run has not reached all that the target wants to see. */
#include "../c/harness.h"
#include "fuzz.h"

enum { ROOM = 1 << 14, MAX_RANDOM = 300, MAX_FILES = 1024, LONG_RUN = 100000 };

typedef struct input {
    uint8_t data[ROOM];
    size_t size;
} input;

static uint8_t *files[MAX_FILES];
static size_t file_sizes[MAX_FILES], num_files;

static void read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t data[ROOM];
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    size_t size = fread(data, 1, ROOM, file);
    if (ferror(file) || !feof(file) || num_files == MAX_FILES) {
        fprintf(stderr, "%s: cannot be read, is too long, or one too many\n", path);
        exit(2);
    }
    fclose(file);
    files[num_files] = exact_copy(data, size);
    file_sizes[num_files++] = size;
}

static size_t below(uint64_t *state, size_t end)
{
    return (size_t)((harness_random(state) >> 11) % end);
}

static void make_random(input *in, uint64_t *state)
{
    in->size = below(state, MAX_RANDOM);
    for (size_t i = 0; i < in->size; i++)
        in->data[i] = (uint8_t)harness_random(state);
}

static void make_base(input *in, uint64_t *state)
{
    /* Half of them seeds: the files are not of every row. */
    size_t from = below(state, 2 * num_files + 1);
    if (from < num_files) {
        memcpy(in->data, files[from], file_sizes[from]);
        in->size = file_sizes[from];
        return;
    }
    in->size = fuzz_seed(harness_random(state), in->data, ROOM);
    if (in->size == 0)
        make_random(in, state);
}

/* Open a gap of `count` bytes at `at`. */
static bool widen(input *in, size_t at, size_t count)
{
    if (in->size + count > ROOM)
        return false;
    memmove(in->data + at + count, in->data + at, in->size - at);
    in->size += count;
    return true;
}

static void mutate(input *in, uint64_t *state)
{
    static const uint8_t odd[] = {0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xa0, 0xa1, 0xfe, 0xff};
    static input other;
    if (in->size == 0) {
        make_base(in, state);
        return;
    }
    /* Rather behind than in front: a frame whose head is broken is soon refused. */
    size_t at = below(state, in->size), at_too = below(state, in->size);
    at = at > at_too ? at : at_too;
    uint8_t random = (uint8_t)harness_random(state);
    switch (below(state, 10)) {
    case 0: in->data[at] = odd[random % sizeof odd]; break;
    case 1: in->data[at] = random; break;
    case 2: in->data[at] = (uint8_t)(in->data[at] ^ 1u << random % 8); break;
    case 3: in->data[at] = (uint8_t)(in->data[at] + random % 9 - 4); break;
    case 4: /* a varint with a group more than it needs */
        if (in->data[at] < 0x80 && widen(in, at + 1, 1)) {
            in->data[at] |= 0x80;
            in->data[at + 1] = 0;
        }
        break;
    case 5:
        if (widen(in, at, 1 + random % 4u))
            for (size_t i = 0; i < 1 + random % 4u; i++)
                in->data[at + i] = odd[(random + i) % sizeof odd];
        break;
    case 6: { /* bytes go missing */
        size_t count = below(state, in->size - at < 8 ? in->size - at + 1 : 8);
        memmove(in->data + at, in->data + at + count, in->size - at - count);
        in->size -= count;
        break;
    }
    case 7: in->size = at; break;
    case 8: /* 32 bits that are large */
        if (in->size - at >= 5)
            memcpy(in->data + at, random % 2 ? "\xff\xff\xff\xff\x0f" : "\xff\xff\xff\xff\x07", 5);
        break;
    default: /* this input's head, another one's tail */
        make_base(&other, state);
        if (other.size > 0) {
            size_t from = below(state, other.size);
            size_t count = other.size - from < ROOM - at ? other.size - from : ROOM - at;
            memcpy(in->data + at, other.data + from, count);
            in->size = at + count;
        }
    }
}

static void run(const uint8_t *data, size_t size)
{
    uint8_t *block = exact_copy(data, size);
    LLVMFuzzerTestOneInput(block, size);
    free(block);
}

int main(int argc, char **argv)
{
    static input in;
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    const char *seed = getenv("FUZZ_SEED");
    uint64_t state = 0x9e3779b97f4a7c15 ^ (seed ? strtoull(seed, NULL, 10) : 0);
    for (int i = 2; i < argc; i++) {
        read_file(argv[i]);
        run(files[num_files - 1], file_sizes[num_files - 1]);
    }
    size_t as_they_are = 0, mutated = 0;
    for (unsigned long i = 0; i < runs; i++) {
        size_t kind = below(&state, 16);
        if (kind == 0) {
            make_random(&in, &state);
        } else {
            make_base(&in, &state);
            as_they_are += kind < 4;
            mutated += kind >= 4;
            for (size_t left = kind < 4 ? 0 : 1 + below(&state, 4); left > 0; left--)
                mutate(&in, &state);
        }
        run(in.data, in.size);
    }
    for (size_t i = 0; i < num_files; i++)
        free(files[i]);
    printf("%lu executions: %zu seeds as they are, %zu mutated, the rest random; %zu files\n", runs,
           as_they_are, mutated, num_files);
    bool all = fuzz_report(stdout);
    if (!all && runs >= LONG_RUN)
        fprintf(stderr, "not all was reached\n");
    return !all && runs >= LONG_RUN;
}
