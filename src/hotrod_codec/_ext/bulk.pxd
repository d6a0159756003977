# What codec.pyx takes from bulk.pyx.

from libc.stdint cimport uint8_t

from hotrod_codec._ext.core cimport hr_cursor, hr_kind, hr_limits, hr_stop


cdef bint is_bulk(hr_kind kind) noexcept
cdef list new_list(const hr_cursor *c, const uint8_t *data, size_t size, const hr_limits *limits)
cdef int take_items(list out, hr_cursor *c, const uint8_t *data, size_t size,
                    const hr_limits *limits, size_t *used, hr_stop *stop) except -1
