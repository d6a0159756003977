/* quick.c - the frames that nearly all traffic consists of, read without the machinery of rows: an
 * answer with a canonical head, no topology, and nothing behind it or one byte string.
 * Takes a frame only if codec.c reads it as whole and canonical, and then says the same of it; on
 * anything else, an unfinished or broken frame, too, it says nothing at all. */

#include "wire.h"

/* A canonical number of at most `most` bytes. NULL: anything else. */
static inline const uint8_t *quick_varint(const uint8_t *p, const uint8_t *end, unsigned most,
                                          uint64_t *value)
{
    if (p == end)
        return NULL;
    uint8_t byte = *p++;
    *value = byte & 0x7f;
    for (unsigned shift = 7; byte >= 0x80; shift += 7) {
        if (p == end || --most == 0)
            return NULL;
        byte = *p++;
        if (byte == 0)
            return NULL; /* padded */
        *value |= (uint64_t)(byte & 0x7f) << shift;
    }
    return p;
}

enum {
    ID_BYTES = 9,    /* of 10: the last bit of an id is nobody's */
    LENGTH_BYTES = 4 /* of 5: longer ones take their time anyway */
};

static inline const uint8_t *quick_slice(const uint8_t *p, const uint8_t *end, uint64_t most,
                                         hr_slice *slice)
{
    uint64_t len;
    p = quick_varint(p, end, LENGTH_BYTES, &len);
    if (!p || len > (uint64_t)(end - p) || len > most)
        return NULL;
    *slice = (hr_slice){p, (size_t)len};
    return p + len;
}

const uint8_t *hr_quick_id(const uint8_t *in, const uint8_t *end, uint64_t *message_id)
{
    if (in == end || *in != HR_RESPONSE_MAGIC)
        return NULL;
    return quick_varint(in + 1, end, ID_BYTES, message_id);
}

/* Does the body of a whole answer consist of one byte string? */
static inline bool is_bytes(const hr_row *row, uint8_t version)
{
    const hr_field *f = &hr_fields[row->response_body[0]];
    return row->response_body[1] == HR_END && f->kind == HR_BYTES && hr_has_field(f, version);
}

const uint8_t *hr_quick_answer(const uint8_t *in, const uint8_t *end, const hr_row *row,
                               uint8_t version, uint64_t most, uint8_t *status, hr_slice *value)
{
    enum { CODE, STATUS, MARKER, HEAD };
    /* Before 2.0 a flag of the request has a say in what follows. */
    if (end - in < HEAD || !row || in[CODE] != row->response || in[MARKER] != 0 || version < 20 ||
        row->is_event)
        return NULL;
    *status = in[STATUS];
    *value = (hr_slice){NULL, 0};
    if (*status > 0x02)
        return NULL; /* an error, or one of the rarer statuses */
    if (*status == 0x02 && row->response_body[1] == HR_VALUES)
        return NULL; /* server 9.4 has something behind it. decisions.md: an empty entry */
    bool has_body = *status == 0x00 && row->response_body[0] != HR_END &&
                    row->response_body[0] != HR_PREVIOUS; /* its statuses are rarer ones */
    if (!has_body)
        return in + HEAD;
    return is_bytes(row, version) ? quick_slice(in + HEAD, end, most, value) : NULL;
}
