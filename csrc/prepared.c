/* prepared.c - headers that are written once; see prepared.h. */

#include "prepared.h"

static hr_form form_of(const hr_prepared *h)
{
    return (hr_form){.version = h->version};
}

size_t hr_prepared_size(const hr_request *q)
{
    return hr_tail_size(q, q->flags);
}

void hr_prepare(hr_prepared *out, uint8_t *room, const hr_request *q)
{
    *out = (hr_prepared){
        .tail = room,
        .len = (size_t)(hr_put_tail(room, q, q->flags) - room),
        .flags_at = 2 + hr_slice_size(q->cache), /* behind version, opcode, cache */
        .version = q->version,
    };
}

/* Flags 02 and 04 stand in the first byte of the vInt and make it no longer. */
static uint8_t flags_of_body(const hr_prepared *h, const hr_row *row, const hr_body *body)
{
    return (uint8_t)hr_flags_of_body(row, h->version, body);
}

size_t hr_size_prepared(const hr_prepared *h, const hr_request *q)
{
    return 1 + hr_varint_size(q->message_id) + h->len +
           hr_body_size(q->row->request_body, &q->body, form_of(h));
}

uint8_t *hr_put_prepared(uint8_t *p, const hr_prepared *h, const hr_request *q)
{
    *p = HR_REQUEST_MAGIC;
    p = hr_put_varint(p + 1, q->message_id);
    memcpy(p, h->tail, h->len);
    p[1] = q->row->request;
    p[h->flags_at] |= flags_of_body(h, q->row, &q->body);
    return hr_put_body(p + h->len, q->row->request_body, &q->body, form_of(h));
}

/* ---- on a key -------------------------------------------------------------------------------- */

/* Bytes of a field at the most; 0: they are not bounded. */
static size_t most_bytes(hr_kind kind)
{
    switch (kind) {
    case HR_BOOL: return 1;
    case HR_VINT: return 5;
    case HR_I64: return 8;
    case HR_LIFE: return 21;
    default: return 0;
    }
}

bool hr_is_on_key(const hr_row *row)
{
    const uint8_t *field = row->request_body;
    size_t size = 0;
    if (*field++ != HR_KEY)
        return false;
    for (; *field != HR_END && *field != HR_VALUE; field++) {
        size_t most = most_bytes((hr_kind)hr_fields[*field].kind);
        if (!most)
            return false;
        size += most;
    }
    return (*field == HR_END || field[1] == HR_END) && size <= sizeof((hr_middle *)0)->data;
}

void hr_make_middle(hr_middle *out, const hr_prepared *h, const hr_row *row, const hr_body *body)
{
    uint8_t *p = out->data;
    for (const uint8_t *field = row->request_body + 1; *field != HR_END; field++)
        if (*field != HR_VALUE && hr_has_field(&hr_fields[*field], h->version))
            p = hr_put_field(p, &hr_fields[*field], body, form_of(h));
    out->len = (uint8_t)(p - out->data);
    out->flags = flags_of_body(h, row, body);
}

size_t hr_size_many(const hr_prepared *h, const hr_middle *m, uint64_t message_id, size_t count,
                    const hr_slice *parts, bool pairs)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (pairs)
            size += hr_size_on_key(h, m, message_id + i, parts[2 * i], &parts[2 * i + 1]);
        else
            size += hr_size_on_key(h, m, message_id + i, parts[i], NULL);
    }
    return size;
}

uint8_t *hr_put_many(uint8_t *p, const hr_prepared *h, const hr_middle *m, uint8_t opcode,
                     uint64_t message_id, size_t count, const hr_slice *parts, bool pairs)
{
    for (size_t i = 0; i < count; i++) {
        if (pairs)
            p = hr_put_on_key(p, h, m, opcode, message_id + i, parts[2 * i], &parts[2 * i + 1]);
        else
            p = hr_put_on_key(p, h, m, opcode, message_id + i, parts[i], NULL);
    }
    return p;
}
