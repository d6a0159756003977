/* test_hash.c - hash.c without Python: known hashes, edges, reads within bounds. */
#include "harness.h"
#include "hotrod.h"

typedef struct known_hash {
    const char *key;
    int32_t murmur3, murmur2, murmur2_compat;
} known_hash;

/* Made by the Java classes that servers run. */
static const known_hash KNOWN[] = {
    {"", 89125410, -1285986640, 0},
    {"61", -1119243492, 1773189722, 2000124074},
    {"8bb0", 1626359814, -88314067, 88239917},
    {"8bb0d5fa", -790876050, 1339335628, 300687292},
    {"8bb0d5fa1f", -309247948, 1825444519, 1825444519},
    {"8bb0d5fa1f44698e", -2079987331, -66075144, 1752624392},
    {"8bb0d5fa1f44698eb3", -717993235, 1930829365, 1852955397},
    {"8bb0d5fa1f44698eb3d8fd22476c91b6db", -1224416732, 414522347, 1745288153},
    {"8bb0d5fa1f44698eb3d8fd22476c91b6db00254a6f94b9de03284d7297bce1062b", -300953271, -912180340,
     2133564995},
    {"ff", -29042976, 0, 0},
    {"ffffff", 459660776, -2040096456, 2040043832},
    {"ffffffffffffff", -724752981, -1737604486, 1003787016},
    {"ffffffffffffffffffffffffffffff", 508187917, -205152766, 416788560},
    {"ffffffffffffffffffffffffffffffff", 497462998, 1380586893, 546782375},
    {"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 1197340658, -1173409044,
     1276072554},
    {"152877556b657945", 2147483647, 2114875150, 760965565},
    {"1b006a726b657931", -1, 475100203, 167021446},
};
enum { NUM_KNOWN = sizeof KNOWN / sizeof KNOWN[0] };

static void test_known_hashes(void)
{
    for (size_t i = 0; i < NUM_KNOWN; i++) {
        size_t size;
        uint8_t *key = exact_hex(KNOWN[i].key, &size);
        CHECK_INT(hr_murmur3(key, size, HR_HASH_SEED), KNOWN[i].murmur3);
        CHECK_INT(hr_murmur2(key, size, false), KNOWN[i].murmur2);
        CHECK_INT(hr_murmur2(key, size, true), KNOWN[i].murmur2_compat);
        free(key);
    }
}

static void test_an_empty_key_may_be_null(void)
{
    CHECK_INT(hr_murmur3(NULL, 0, HR_HASH_SEED), 89125410);
    CHECK_INT(hr_murmur2(NULL, 0, false), -1285986640);
}

static void test_hashes_of_integers(void)
{
    CHECK_INT(hr_murmur3_int(0, HR_HASH_SEED), 1805505889);
    CHECK_INT(hr_murmur3_int(1, HR_HASH_SEED), -1931162451);
    CHECK_INT(hr_murmur3_int(-1, HR_HASH_SEED), 171705313);
    CHECK_INT(hr_murmur3_int(256, HR_HASH_SEED), -1356379757);
    CHECK_INT(hr_murmur3_int(INT32_MAX, HR_HASH_SEED), 925940511);
    CHECK_INT(hr_murmur3_int(INT32_MIN, HR_HASH_SEED), -797218156);
}

/* Every length around the block sizes, at every alignment: same bytes, same hash. */
static void test_alignment_and_length_do_not_matter(void)
{
    uint64_t state = 1;
    uint8_t bytes[80];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)harness_random(&state);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        uint8_t *key = exact_copy(bytes, size);
        int32_t murmur3 = hr_murmur3(key, size, -7), murmur2 = hr_murmur2(key, size, false);
        free(key);
        for (size_t shift = 1; shift < 16; shift++) {
            uint8_t *block = exact_block(shift + size);
            memcpy(block + shift, bytes, size);
            CHECK_INT(hr_murmur3(block + shift, size, -7), murmur3);
            CHECK_INT(hr_murmur2(block + shift, size, false), murmur2);
            free(block);
        }
    }
}

static void test_segment_sizes(void)
{
    CHECK_INT(hr_segment_size(1), 2147483647);
    CHECK_INT(hr_segment_size(2), 1073741824);
    CHECK_INT(hr_segment_size(3), 715827883);
    CHECK_INT(hr_segment_size(7), 306783379);
    CHECK_INT(hr_segment_size(10), 214748365);
    CHECK_INT(hr_segment_size(20), 107374183);
    CHECK_INT(hr_segment_size(60), 35791395);
    CHECK_INT(hr_segment_size(80), 26843546);
    CHECK_INT(hr_segment_size(256), 8388608);
    CHECK_INT(hr_segment_size(271), 7924294);
    CHECK_INT(hr_segment_size(1000), 2147484);
    CHECK_INT(hr_segment_size(16384), 131072);
    CHECK_INT(hr_segment_size(INT32_MAX), 2);
    CHECK_INT(hr_segment_size(INT32_MAX - 1), 2);
    CHECK_INT(hr_segment_size(1 << 30), 2);
}

static void test_segments_are_within_their_number(void)
{
    static const int32_t hashes[] = {0, 1, -1, INT32_MAX, INT32_MIN, INT32_MAX - 1};
    static const int32_t numbers[] = {1, 2, 3, 256, 1 << 30, INT32_MAX - 1, INT32_MAX};
    for (size_t h = 0; h < sizeof hashes / sizeof hashes[0]; h++) {
        for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++) {
            int32_t segment = hr_segment_of_hash(hashes[h], numbers[n]);
            CHECK(segment >= 0 && segment < numbers[n]);
        }
    }
    CHECK_INT(hr_segment_of_hash(INT32_MAX, 1), 0);
    CHECK_INT(hr_segment_of_hash(-1, 20), 19);
    CHECK_INT(hr_segment_of_hash(INT32_MIN, 20), 0);
}

static void test_a_batch_is_its_keys(void)
{
    hr_slice *keys = (hr_slice *)(void *)exact_block(NUM_KNOWN * sizeof *keys);
    int32_t *segments = (int32_t *)(void *)exact_block(NUM_KNOWN * sizeof *segments);
    uint8_t *blocks[NUM_KNOWN];
    for (size_t i = 0; i < NUM_KNOWN; i++) {
        size_t size;
        blocks[i] = exact_hex(KNOWN[i].key, &size);
        keys[i] = (hr_slice){.data = blocks[i], .len = size};
    }
    hr_segments_of(keys, NUM_KNOWN, 271, segments);
    for (size_t i = 0; i < NUM_KNOWN; i++)
        CHECK_INT(segments[i], hr_segment_of_hash(KNOWN[i].murmur3, 271));
    segments[0] = -5;
    hr_segments_of(keys, 0, 271, segments);
    CHECK_INT(segments[0], -5);
    for (size_t i = 0; i < NUM_KNOWN; i++)
        free(blocks[i]);
    free(keys);
    free(segments);
}

static void test_wheel_positions(void)
{
    CHECK_INT(hr_wheel_position(1, 0), 216321197); /* of a negative hash */
    CHECK_INT(hr_wheel_position(-1, 0), 171705313);
    CHECK_INT(hr_wheel_position(-32, 1), 171705313);
    CHECK_INT(hr_wheel_position(255 - 31 * 7, 7), 1267635083);
    CHECK_INT(hr_wheel_position(INT32_MIN, 1), hr_wheel_position(INT32_MIN + 31, 0));
    CHECK_INT(hr_wheel_position(INT32_MAX, 1), hr_wheel_position(INT32_MIN + 30, 0));

    CHECK_INT(hr_wheel_key_position(-1, INT32_MAX), 0);
    CHECK_INT(hr_wheel_key_position(INT32_MAX, INT32_MAX), 0);
    CHECK_INT(hr_wheel_key_position(INT32_MAX - 1, INT32_MAX), INT32_MAX - 1);
    CHECK_INT(hr_wheel_key_position(INT32_MIN + 10241, 10240), 1);
}

static void test_wheel_owners(void)
{
    for (size_t count = 1; count <= 9; count++) {
        int32_t *positions = (int32_t *)(void *)exact_block(count * sizeof *positions);
        for (size_t i = 0; i < count; i++)
            positions[i] = 10 * (int32_t)i;
        for (size_t i = 0; i < count; i++) {
            CHECK_INT(hr_wheel_find(positions, count, 10 * (int32_t)i), i);
            CHECK_INT(hr_wheel_find(positions, count, 10 * (int32_t)i + 1), (i + 1) % count);
        }
        CHECK_INT(hr_wheel_find(positions, count, -1), 0);
        CHECK_INT(hr_wheel_find(positions, count, INT32_MAX), 0);
        free(positions);
    }
}

int main(void)
{
    return RUN(TEST(test_known_hashes), TEST(test_an_empty_key_may_be_null),
               TEST(test_hashes_of_integers), TEST(test_alignment_and_length_do_not_matter),
               TEST(test_segment_sizes), TEST(test_segments_are_within_their_number),
               TEST(test_a_batch_is_its_keys), TEST(test_wheel_positions), TEST(test_wheel_owners));
}
