/* hash.h - which server owns a key: hashes, segments (2.0 and later) and the wheel (1.x).
 *
 * Knows the hash functions as Infinispan has them, bit for bit; they are not the published ones.
 * Knows nothing of messages or topologies: whoever holds one brings its numbers here. Like the
 * rest of the core: no heap, no I/O, no state; every function may run on any thread. */
#ifndef HOTROD_HASH_H
#define HOTROD_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hr_slice; /* hotrod.h */

/* The seed with which servers and clients hash keys. */
enum { HR_HASH_SEED = 9001 };

/* MurmurHash3 of `len` bytes: the upper 32 bits of the first word of its 128-bit state.
 * `data` may be NULL when `len` is 0. */
int32_t hr_murmur3(const uint8_t *data, size_t len, int32_t seed);

/* The same of an integer: of its four bytes, least significant first. */
int32_t hr_murmur3_int(int32_t value, int32_t seed);

/* MurmurHash2 of hash function version 1. `compat`: as before server 4.2.1, which
 * shifted signed numbers. */
int32_t hr_murmur2(const uint8_t *data, size_t len, bool compat);

/* How many hashes of 31 bits share a segment. `num_segments` is at least 1, here and below. */
int32_t hr_segment_size(int32_t num_segments);

/* The segment, 0 to num_segments - 1, of a key with this hash. */
int32_t hr_segment_of_hash(int32_t hash, int32_t num_segments);

/* The segment of each of `count` keys, to `segments[0]` ... `segments[count - 1]`. */
void hr_segments_of(const struct hr_slice *keys, size_t count, int32_t num_segments,
                    int32_t *segments);

/* Where node number `virtual_node` (0 is the real one) of a base hash code sits on the wheel. In
 * 1.0 servers send positions as they are; from 1.1 on they send base hash codes. */
int32_t hr_wheel_position(int32_t base_hash, uint32_t virtual_node);

/* Where a key with this hash sits on a wheel of `hash_space` positions (at least 1). */
int32_t hr_wheel_key_position(int32_t hash, int32_t hash_space);

/* Index of the owner of `position`: the first of the ascending `positions` that is not smaller,
 * or 0 past the last one. `count` is at least 1. */
size_t hr_wheel_find(const int32_t *positions, size_t count, int32_t position);

#endif
