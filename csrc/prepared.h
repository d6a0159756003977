/* prepared.h - requests of a client to a cache, whose header is written once and copied into each,
 * and the plainest answers. The same bytes as hr_encode_request and hr_encode_response give.
 *
 * The quick way is for operations on a key: rows that begin with the key and hold nothing else of
 * any length but a value, at their end. What stands between them is a few bytes, the middle. */

#ifndef HOTROD_PREPARED_H
#define HOTROD_PREPARED_H

#include "wire.h"

/* What stands behind the message id in the header of each request. */
typedef struct hr_prepared {
    const uint8_t *tail; /* with a placeholder for the opcode; owned by the caller */
    size_t len;
    size_t flags_at; /* in the tail */
    uint8_t version;
} hr_prepared;

/* Room that hr_prepare needs. Nothing but q's header counts, here and there. */
size_t hr_prepared_size(const hr_request *q);
/* Write the tail to `room`, which has to live as long as `out`; q does not. */
void hr_prepare(hr_prepared *out, uint8_t *room, const hr_request *q);

/* Any request: as hr_request_size and hr_encode_request. Of q's header the row and the message id
 * count. */
size_t hr_size_prepared(const hr_prepared *h, const hr_request *q);
uint8_t *hr_put_prepared(uint8_t *p, const hr_prepared *h, const hr_request *q);

/* ---- on a key -------------------------------------------------------------------------------- */

/* Whether requests of this row can be written in the quick way. */
bool hr_is_on_key(const hr_row *row);

/* What a request says beside key and value. */
typedef struct hr_middle {
    uint8_t len;
    uint8_t flags;    /* what it says by flags of the header */
    uint8_t data[30]; /* an expiration has 21 bytes at the most, the version of an entry 8 */
} hr_middle;

/* What a body of such a row says beside key and value. */
void hr_make_middle(hr_middle *out, const hr_prepared *h, const hr_row *row, const hr_body *body);

/* As memcpy, without a call for what most keys and headers are. */
static inline uint8_t *hr_put_short(uint8_t *p, const uint8_t *data, size_t len)
{
    if (len - 16 <= 16) { /* 16 to 32 */
        memcpy(p, data, 16);
        memcpy(p + len - 16, data + len - 16, 16);
    } else if (len - 8 <= 8) { /* 8 to 16 */
        memcpy(p, data, 8);
        memcpy(p + len - 8, data + len - 8, 8);
    } else if (len) {
        memcpy(p, data, len);
    }
    return p + len;
}

/* A request on a key. `m` NULL: nothing stands in the middle. `value` NULL: the row has none. */
static inline size_t hr_size_on_key(const hr_prepared *h, const hr_middle *m, uint64_t message_id,
                                    hr_slice key, const hr_slice *value)
{
    return 1 + hr_varint_size(message_id) + h->len + hr_slice_size(key) + (m ? m->len : 0) +
           (value ? hr_slice_size(*value) : 0);
}

static inline uint8_t *hr_put_on_key(uint8_t *p, const hr_prepared *h, const hr_middle *m,
                                     uint8_t opcode, uint64_t message_id, hr_slice key,
                                     const hr_slice *value)
{
    *p = HR_REQUEST_MAGIC;
    p = hr_put_varint(p + 1, message_id);
    hr_put_short(p, h->tail, h->len);
    p[1] = opcode;
    if (m && m->flags)
        p[h->flags_at] |= m->flags;
    p = hr_put_varint(p + h->len, key.len);
    p = hr_put_short(p, key.data, key.len);
    if (m && m->len == 1)
        *p++ = m->data[0]; /* from 2.2 on an expiration that is left out */
    else if (m)
        p = hr_put_short(p, m->data, m->len);
    return value ? hr_put_slice(p, *value) : p;
}

/* The same without the value's bytes, which are sent behind it from where they lie. */
static inline size_t hr_head_size(const hr_prepared *h, const hr_middle *m, uint64_t message_id,
                                  hr_slice key, size_t value_len)
{
    return hr_size_on_key(h, m, message_id, key, NULL) + hr_varint_size(value_len);
}

static inline uint8_t *hr_put_head(uint8_t *p, const hr_prepared *h, const hr_middle *m,
                                   uint8_t opcode, uint64_t message_id, hr_slice key,
                                   size_t value_len)
{
    p = hr_put_on_key(p, h, m, opcode, message_id, key, NULL);
    return hr_put_varint(p, value_len);
}

/* `count` requests, whose message ids count up from the first. `parts` has a key for each, or with
 * `pairs` a key and a value. */
size_t hr_size_many(const hr_prepared *h, const hr_middle *m, uint64_t message_id, size_t count,
                    const hr_slice *parts, bool pairs);
uint8_t *hr_put_many(uint8_t *p, const hr_prepared *h, const hr_middle *m, uint8_t opcode,
                     uint64_t message_id, size_t count, const hr_slice *parts, bool pairs);

/* ---- answers that most requests get -------------------------------------------------------- */

/* A response with no topology and nothing behind its header but a value, or with NULL nothing at
 * all. Whether row and status have it so, the caller knows: hr_response_fields. */
static inline size_t hr_answer_size(uint64_t message_id, const hr_slice *value)
{
    return 1 + hr_varint_size(message_id) + 3 + (value ? hr_slice_size(*value) : 0);
}

static inline uint8_t *hr_put_answer(uint8_t *p, uint8_t opcode, uint64_t message_id,
                                     uint8_t status, const hr_slice *value)
{
    *p = HR_RESPONSE_MAGIC;
    p = hr_put_varint(p + 1, message_id);
    p[0] = opcode;
    p[1] = status;
    p[2] = 0; /* no topology */
    return value ? hr_put_slice(p + 3, *value) : p + 3;
}

#endif
