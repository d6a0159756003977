/* quick.h - the frames that nearly all traffic consists of, read without the machinery of rows: an
 * answer with a canonical head, no topology, and nothing behind it or one byte string; a request
 * with a canonical head and a body of keys and values that says nothing of expiration.
 * Takes a frame only if codec.c reads it as whole and canonical, and then says the same of it; of
 * anything else, an unfinished or broken frame, too, it says nothing at all. In a header, as a call
 * would cost as much as the reading. */

#ifndef HR_QUICK_H
#define HR_QUICK_H

#include "hotrod.h"

/* A canonical number of at most `most` bytes. NULL: anything else. */
static inline const uint8_t *hr_quick_varint(const uint8_t *p, const uint8_t *end, unsigned most,
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
    HR_QUICK_ID = 9,    /* bytes, of 10: the last bit of an id is nobody's */
    HR_QUICK_LENGTH = 4 /* bytes, of 5: what is longer takes its time anyway */
};

static inline const uint8_t *hr_quick_slice(const uint8_t *p, const uint8_t *end, uint64_t most,
                                            hr_slice *slice)
{
    uint64_t len;
    p = hr_quick_varint(p, end, HR_QUICK_LENGTH, &len);
    if (!p || len > (uint64_t)(end - p) || len > most)
        return NULL;
    *slice = (hr_slice){p, (size_t)len};
    return p + len;
}

/* The message id of the response at `in`. Returns the place of the code, which is next, or NULL:
 * ask hr_peek_response. */
static inline const uint8_t *hr_quick_id(const uint8_t *in, const uint8_t *end,
                                         uint64_t *message_id)
{
    if (in == end || *in != HR_RESPONSE_MAGIC)
        return NULL;
    return hr_quick_varint(in + 1, end, HR_QUICK_ID, message_id);
}

/* Does the body of a whole answer consist of one byte string? */
static inline bool hr_quick_bytes(const hr_row *row, uint8_t version)
{
    const hr_field *f = &hr_fields[row->response_body[0]];
    return row->response_body[1] == HR_END && f->kind == HR_BYTES && hr_has_field(f, version);
}

/* The rest of the response whose code is at `in`: status and value, whose data is NULL when the
 * frame has none. `most` is the limit for the value. Returns the frame's end, or NULL: this says
 * nothing of the frame, ask hr_decode_response. That would give the same: a canonical frame with no
 * topology, no error, and no field but `value`, the first one of the row. */
static inline const uint8_t *hr_quick_answer(const uint8_t *in, const uint8_t *end,
                                             const hr_row *row, uint8_t version, bool legacy_server,
                                             uint64_t most, uint8_t *status, hr_slice *value)
{
    enum { CODE, STATUS, MARKER, HEAD };
    /* Before 2.0 a flag of the request has a say in what follows. */
    if (end - in < HEAD || !row || in[CODE] != row->response || in[MARKER] != 0 || version < 20 ||
        row->is_event)
        return NULL;
    *status = in[STATUS];
    *value = (hr_slice){NULL, 0};
    /* An error, one of the rarer statuses, or a miss, behind which a 9.4 server may write more. */
    if (*status > 0x02 || (legacy_server && *status == 0x02))
        return NULL;
    bool has_body = *status == 0x00 && row->response_body[0] != HR_END &&
                    row->response_body[0] != HR_PREVIOUS; /* its statuses are rarer ones */
    if (!has_body)
        return in + HEAD;
    return hr_quick_bytes(row, version) ? hr_quick_slice(in + HEAD, end, most, value) : NULL;
}

/* What hr_quick_request has read. */
typedef struct hr_quick {
    const hr_row *row;
    uint64_t message_id;
    uint64_t flags, topology_id; /* of 32 bits */
    hr_slice cache;
    hr_slice parts[2]; /* of the body's fields that are byte strings, in turn */
    uint8_t version, intelligence;
    uint8_t key_type, value_type; /* numbers of predefined media types; 0: none */
} hr_quick;

/* None, or a predefined one with a small number and no parameters. */
static inline const uint8_t *hr_quick_media(const uint8_t *p, const uint8_t *end, uint8_t *id)
{
    *id = 0;
    if (p == end)
        return NULL;
    if (*p == HR_MEDIA_NONE)
        return p + 1;
    if (end - p < 3 || *p != HR_MEDIA_PREDEFINED || p[1] == 0 || p[1] >= 0x80 || p[2] != 0)
        return NULL;
    *id = p[1];
    return p + 3;
}

static inline const uint8_t *hr_quick_body(const uint8_t *p, const uint8_t *end,
                                           const hr_limits *limits, hr_quick *q)
{
    const uint8_t both_default = HR_UNIT_DEFAULT << 4 | HR_UNIT_DEFAULT;
    hr_slice *part = q->parts;
    for (const uint8_t *id = q->row->request_body; p && *id != HR_END; id++) {
        const hr_field *f = &hr_fields[*id];
        if (f->kind == HR_BYTES && part < q->parts + 2)
            p = hr_quick_slice(p, end, limits->bytes, part++);
        else if (f->kind == HR_LIFE && q->version >= HR_TIME_UNITS_SINCE && p != end &&
                 *p == both_default)
            p++;
        else
            return NULL;
    }
    return p;
}

/* The request at `in`. Returns its end, or NULL: this says nothing of the frame, ask
 * hr_decode_request. That would give the same: a canonical frame without other parameters, whose
 * fields are `parts`, and expirations that are the defaults. */
static inline const uint8_t *hr_quick_request(const uint8_t *in, const uint8_t *end,
                                              const hr_limits *limits, hr_quick *q)
{
    enum { NUMBER = 5 }; /* bytes of 32 bits */
    if (in == end || *in != HR_REQUEST_MAGIC)
        return NULL;
    const uint8_t *p = hr_quick_varint(in + 1, end, HR_QUICK_ID, &q->message_id);
    if (!p || end - p < 2)
        return NULL;
    q->version = p[0];
    q->row = hr_row_of_request(p[1]);
    if (q->version < 20 || !hr_is_version(q->version) || !q->row)
        return NULL;
    p = hr_quick_slice(p + 2, end, limits->text, &q->cache);
    if (p)
        p = hr_quick_varint(p, end, NUMBER, &q->flags);
    if (!p || p == end || q->flags > UINT32_MAX)
        return NULL;
    q->intelligence = *p++;
    p = hr_quick_varint(p, end, NUMBER, &q->topology_id);
    if (!p || q->topology_id > UINT32_MAX)
        return NULL;
    q->key_type = q->value_type = 0;
    if (q->version >= HR_MEDIA_TYPES_SINCE) {
        p = hr_quick_media(p, end, &q->key_type);
        if (p)
            p = hr_quick_media(p, end, &q->value_type);
    }
    if (p && q->version >= HR_OTHER_PARAMS_SINCE)
        p = p != end && *p == 0 ? p + 1 : NULL;
    return p ? hr_quick_body(p, end, limits, q) : NULL;
}

#endif
