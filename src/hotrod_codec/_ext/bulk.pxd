# What codec.pyx takes from bulk.pyx.

from libc.stdint cimport uint8_t

from hotrod_codec._ext.core cimport hr_cursor, hr_kind, hr_limits, hr_meta, hr_stop

cdef enum Into:
    INTO_PAIRS
    INTO_DICT
    INTO_LISTS
    INTO_BATCH
    INTO_BATCHES


cdef bint is_bulk(hr_kind kind) noexcept
cdef bint has_values(hr_kind kind) noexcept
cdef object metadata_of(const hr_meta *m)

cdef object new_items(int into, const hr_cursor *c, const uint8_t *data, size_t size,
                      const hr_limits *limits)
cdef int take_items(int into, object out, hr_cursor *c, const uint8_t *data, size_t size,
                    const hr_limits *limits, size_t *used, hr_stop *stop) except -1
cdef object finish_items(int into, object out, const hr_cursor *c, bint *loose, bint *lossy)
cdef object whole_table(object data, hr_cursor *c, const uint8_t *items, size_t size,
                        const hr_limits *limits, size_t *used, hr_stop *stop)
cdef object next_batch(hr_cursor *c, const uint8_t *data, size_t size, const hr_limits *limits,
                       size_t *used, hr_stop *stop)
