# What exchange.pyx does with a Reader beside calling its methods: see codec.pyx.

from libc.stdint cimport uint8_t, uint64_t


cdef int expect_in(object reader, object request, uint64_t message_id) except -1
cdef object room_of(object reader, uint8_t **data, size_t *room)
cdef object answer_of(object reader, size_t count, uint64_t message_id)


cdef class Taker:
    cdef int take(self, object answer) except -1
