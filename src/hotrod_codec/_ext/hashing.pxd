# What other modules take from hashing.pyx: keys of an array, wherever they lie, to their segments.

from libc.stdint cimport int32_t, int64_t, uint8_t


cdef int32_t segment_count(object num_segments) except -1
# Key i of `count` is the lengths[i * step] bytes at data + starts[i * step]. The caller has checked
# them and keeps all three as they are. Wants the GIL and releases it for the time of much work.
cdef int segments_of_spans(const uint8_t *data, const int64_t *starts, const int64_t *lengths,
                           Py_ssize_t step, Py_ssize_t count, int32_t num_segments,
                           int32_t *segments) except -1
