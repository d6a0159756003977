# csrc/hash.h word for word, for hashing.pyx.

from libc.stdint cimport int32_t, uint8_t, uint32_t


cdef extern from "hotrod.h" nogil:
    ctypedef struct hr_slice:
        const uint8_t *data
        size_t len


cdef extern from "hash.h" nogil:
    enum:
        HR_HASH_SEED

    int32_t hr_murmur3(const uint8_t *data, size_t len, int32_t seed)
    int32_t hr_murmur3_int(int32_t value, int32_t seed)
    int32_t hr_murmur2(const uint8_t *data, size_t len, bint compat)
    int32_t hr_segment_size(int32_t num_segments)
    int32_t hr_segment_of_hash(int32_t hash, int32_t num_segments)
    void hr_segments_of(const hr_slice *keys, size_t count, int32_t num_segments,
                        int32_t *segments)
    int32_t hr_wheel_position(int32_t base_hash, uint32_t virtual_node)
    int32_t hr_wheel_key_position(int32_t hash, int32_t hash_space)
    size_t hr_wheel_find(const int32_t *positions, size_t count, int32_t position)
