/* hash.c - MurmurHash3, MurmurHash2, segments and the wheel of hash.h.
 *
 * The numbers here are facts of deployed servers: the MurmurHash3 is an early one, whose
 * multipliers change from block to block and whose last bytes count as signed. No published
 * variant gives the same hashes. */
#include "hash.h"

#include "hotrod.h"

typedef struct murmur3_state {
    uint64_t h1, h2, c1, c2;
} murmur3_state;

static inline uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

/* Shifts instead of a cast: any alignment, any byte order; compilers make one load of it. */
static inline uint64_t load_32(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
}

static inline uint64_t load_64(const uint8_t *p)
{
    return load_32(p) | load_32(p + 4) << 32;
}

/* The last `len` bytes (1 to 8) of a key as a word, without touching the bytes around them. */
static inline uint64_t load_tail(const uint8_t *p, size_t len)
{
    if (len >= 4)
        return load_32(p) | load_32(p + len - 4) << (8 * (len - 4));
    if (len >= 2)
        return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[len - 1] << (8 * (len - 1));
    return p[0];
}

/* Each tail byte is sign-extended and XORed in, so that a negative one flips all bits above it.
 * For all bytes at once: a byte is flipped when the number of negative bytes below it is odd. */
static inline uint64_t extend_signs(uint64_t word)
{
    uint64_t flips = ((word >> 7) & UINT64_C(0x0101010101010101)) << 8;
    flips ^= flips << 8;
    flips ^= flips << 16;
    flips ^= flips << 32;
    return word ^ flips * 0xff;
}

static inline void mix(murmur3_state *s, uint64_t k1, uint64_t k2)
{
    k1 *= s->c1;
    k1 = rotate_left(k1, 23);
    k1 *= s->c2;
    s->h1 ^= k1;
    s->h1 += s->h2;

    s->h2 = rotate_left(s->h2, 41);

    k2 *= s->c2;
    k2 = rotate_left(k2, 23);
    k2 *= s->c1;
    s->h2 ^= k2;
    s->h2 += s->h1;

    s->h1 = s->h1 * 3 + 0x52dce729;
    s->h2 = s->h2 * 3 + 0x38495ab5;
    s->c1 = s->c1 * 5 + 0x7b7d159c;
    s->c2 = s->c2 * 5 + 0x6bce6396;
}

static inline uint64_t avalanche(uint64_t k)
{
    k ^= k >> 33;
    k *= UINT64_C(0xff51afd7ed558ccd);
    k ^= k >> 33;
    k *= UINT64_C(0xc4ceb9fe1a85ec53);
    return k ^ k >> 33;
}

static inline int32_t murmur3(const uint8_t *data, size_t len, int32_t seed)
{
    uint64_t extended_seed = (uint64_t)(int64_t)seed;
    murmur3_state s = {
        .h1 = UINT64_C(0x9368e53c2f6af274) ^ extended_seed,
        .h2 = UINT64_C(0x586dcd208f7cd3fd) ^ extended_seed,
        .c1 = UINT64_C(0x87c37b91114253d5),
        .c2 = UINT64_C(0x4cf5ad432745937f),
    };
    size_t left = len;
    for (; left >= 16; left -= 16, data += 16)
        mix(&s, load_64(data), load_64(data + 8));
    if (left > 8)
        mix(&s, extend_signs(load_64(data)), extend_signs(load_tail(data + 8, left - 8)));
    else if (left > 0)
        mix(&s, extend_signs(load_tail(data, left)), 0);

    s.h2 ^= len;
    s.h1 += s.h2;
    s.h2 += s.h1;
    s.h1 = avalanche(s.h1);
    s.h2 = avalanche(s.h2);
    s.h1 += s.h2;
    return (int32_t)(uint32_t)(s.h1 >> 32);
}

int32_t hr_murmur3(const uint8_t *data, size_t len, int32_t seed)
{
    return murmur3(data, len, seed);
}

int32_t hr_murmur3_int(int32_t value, int32_t seed)
{
    uint32_t bits = (uint32_t)value;
    uint8_t bytes[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                        (uint8_t)(bits >> 24)};
    return murmur3(bytes, sizeof bytes, seed);
}

/* A Java byte that became an int. */
static inline uint32_t signed_byte(uint8_t byte)
{
    return (uint32_t)(int32_t)(int8_t)byte;
}

static inline uint32_t shift_right(uint32_t x, unsigned bits, bool arithmetic)
{
    uint32_t sign = arithmetic && x >> 31 ? ~(UINT32_MAX >> bits) : 0;
    return x >> bits | sign;
}

int32_t hr_murmur2(const uint8_t *data, size_t len, bool compat)
{
    enum { M = 0x5bd1e995 };
    uint32_t h = UINT32_MAX; /* the seed -1; the length is not mixed in */
    for (; len >= 4; len -= 4, data += 4) {
        uint32_t k = signed_byte(data[0]) | signed_byte(data[1]) << 8 | signed_byte(data[2]) << 16 |
                     (uint32_t)data[3] << 24;
        k *= M;
        k ^= shift_right(k, 24, compat);
        k *= M;
        h = h * M ^ k;
    }
    if (len > 0) {
        for (size_t i = 0; i < len; i++)
            h ^= signed_byte(data[i]) << (8 * i);
        h *= M;
    }
    h ^= shift_right(h, 13, compat);
    h *= M;
    h ^= shift_right(h, 15, compat);
    return (int32_t)h;
}

int32_t hr_segment_size(int32_t num_segments)
{
    /* Java computes ceil(2^31 / n) in floating point, where 2^31 itself becomes 2^31 - 1. */
    uint32_t n = (uint32_t)num_segments;
    uint32_t size = (UINT32_C(0x80000000) + (n - 1)) / n;
    return size > INT32_MAX ? INT32_MAX : (int32_t)size;
}

static inline int32_t segment_of_hash(int32_t hash, int32_t segment_size, int32_t num_segments)
{
    int32_t segment = (hash & INT32_MAX) / segment_size;
    /* One segment of 2^31 - 1 hashes leaves out the largest of the 2^31 there are. */
    return segment < num_segments ? segment : num_segments - 1;
}

int32_t hr_segment_of_hash(int32_t hash, int32_t num_segments)
{
    return segment_of_hash(hash, hr_segment_size(num_segments), num_segments);
}

void hr_segments_of(const struct hr_slice *keys, size_t count, int32_t num_segments,
                    int32_t *segments)
{
    int32_t segment_size = hr_segment_size(num_segments);
    for (size_t i = 0; i < count; i++) {
        int32_t hash = murmur3(keys[i].data, keys[i].len, HR_HASH_SEED);
        segments[i] = segment_of_hash(hash, segment_size, num_segments);
    }
}

int32_t hr_wheel_position(int32_t base_hash, uint32_t virtual_node)
{
    uint32_t code = 31 * virtual_node + (uint32_t)base_hash;
    return hr_murmur3_int((int32_t)code, HR_HASH_SEED) & INT32_MAX;
}

int32_t hr_wheel_key_position(int32_t hash, int32_t hash_space)
{
    return (hash & INT32_MAX) % hash_space;
}

size_t hr_wheel_find(const int32_t *positions, size_t count, int32_t position)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (positions[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count ? low : 0;
}
