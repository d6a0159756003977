# csrc/prepared.h, what is called of it.

from libc.stdint cimport uint8_t, uint64_t

from hotrod_codec._ext.core cimport hr_body, hr_request, hr_row, hr_slice


cdef extern from "prepared.h" nogil:
    ctypedef struct hr_prepared:
        const uint8_t *tail
        size_t len
        uint8_t version

    size_t hr_prepared_size(const hr_request *q)
    void hr_prepare(hr_prepared *out, uint8_t *room, const hr_request *q)
    size_t hr_size_prepared(const hr_prepared *h, const hr_request *q)
    uint8_t *hr_put_prepared(uint8_t *p, const hr_prepared *h, const hr_request *q)

    bint hr_is_on_key(const hr_row *row)

    ctypedef struct hr_middle:
        pass

    void hr_make_middle(hr_middle *out, const hr_prepared *h, const hr_row *row,
                        const hr_body *body)
    size_t hr_size_on_key(const hr_prepared *h, const hr_middle *m, uint64_t message_id,
                          hr_slice key, const hr_slice *value)
    uint8_t *hr_put_on_key(uint8_t *p, const hr_prepared *h, const hr_middle *m, uint8_t opcode,
                           uint64_t message_id, hr_slice key, const hr_slice *value)
    size_t hr_size_many(const hr_prepared *h, const hr_middle *m, uint64_t message_id,
                        size_t count, const hr_slice *parts, bint pairs)
    uint8_t *hr_put_many(uint8_t *p, const hr_prepared *h, const hr_middle *m, uint8_t opcode,
                         uint64_t message_id, size_t count, const hr_slice *parts, bint pairs)
