/* entries.c - lists: written whole, read item by item through a cursor that can be resumed.
 * Knows how a list begins, what an item holds and how the list ends; not what it is for. */

#include "wire.h"

enum ending { COUNTED, MARKED }; /* vInt count before the items; 01 before each and 00 at the end */

/* What an item of the list holds. */
typedef struct shape {
    uint8_t ending;
    uint8_t parts;     /* slices; 0: a number of two bytes */
    uint8_t least;     /* bytes of an item at the least */
    uint8_t part_kind; /* of its last part; a first part of two is text where `named` */
    bool named;
} shape;

static shape shape_of(hr_kind kind)
{
    switch (kind) {
    case HR_PAIRS: return (shape){COUNTED, 2, 2, HR_BYTES, false};
    case HR_PAIRS_MORE: return (shape){MARKED, 2, 3, HR_BYTES, false};
    case HR_BYTES_LIST: return (shape){COUNTED, 1, 1, HR_BYTES, false};
    case HR_BYTES_MORE: return (shape){MARKED, 1, 2, HR_BYTES, false};
    case HR_TEXT_PAIRS: return (shape){COUNTED, 2, 2, HR_TEXT, true};
    case HR_PARAMS: return (shape){COUNTED, 2, 2, HR_BYTES, true};
    default: return (shape){COUNTED, 0, 2, HR_U8, false}; /* HR_U16_LIST */
    }
}

bool hr_is_list(hr_kind kind)
{
    return kind >= HR_PAIRS;
}

/* ---- writing ------------------------------------------------------------------------------- */

size_t hr_list_size(hr_kind kind, const hr_list *list)
{
    shape s = shape_of(kind);
    size_t size = s.ending == COUNTED ? hr_varint_size(list->count) : 1;
    if (!list->items)
        return size + list->encoded.len;
    if (s.parts == 0)
        return size + 2 * list->count;
    if (s.ending == MARKED)
        size += list->count;
    const hr_slice *part = list->items;
    for (size_t i = 0; i < list->count * s.parts; i++)
        size += hr_slice_size(part[i]);
    return size;
}

uint8_t *hr_put_list(uint8_t *p, hr_kind kind, const hr_list *list)
{
    shape s = shape_of(kind);
    if (s.ending == COUNTED)
        p = hr_put_varint(p, list->count);
    if (!list->items) {
        p = hr_put_data(p, list->encoded);
    } else if (s.parts == 0) {
        const uint16_t *number = list->items;
        for (size_t i = 0; i < list->count; i++)
            p = hr_put_big_endian(p, number[i], 2);
    } else {
        const hr_slice *part = list->items;
        for (size_t i = 0; i < list->count; i++) {
            if (s.ending == MARKED)
                *p++ = 1;
            for (unsigned j = 0; j < s.parts; j++)
                p = hr_put_slice(p, *part++);
        }
    }
    if (s.ending == MARKED)
        *p++ = 0;
    return p;
}

/* ---- reading ------------------------------------------------------------------------------- */

void hr_begin_list(hr_reader *r, hr_kind kind, hr_cursor *c)
{
    *c = (hr_cursor){.kind = kind, .limit = r->limits->items};
    if (shape_of(kind).ending == COUNTED) {
        bool params = kind == HR_PARAMS; /* the one list of a header */
        c->left = hr_get_count(r, params ? r->limits->params : r->limits->items,
                               params ? "params" : "items");
        c->ended = c->left == 0;
    }
}

/* True when another item begins at the reader's place. */
static bool begin_item(hr_reader *r, hr_cursor *c, shape s)
{
    if (s.ending == COUNTED)
        return c->left > 0;
    hr_mark(r, "more", HR_U8);
    const uint8_t *at = r->pos;
    uint8_t more = hr_get_u8(r);
    if (!hr_ok(r))
        return false;
    if (more == 1 && c->count == c->limit) {
        hr_over_limit(r, at, "items", c->limit, c->count + 1);
        return false;
    }
    /* Java's clients read on while the byte is 1. A byte that is neither would end the list in the
     * middle of what follows: it cannot come from a server. */
    if (more > 1)
        hr_fail(r, HR_BAD_VALUE, at, 1, more);
    c->ended = more == 0;
    return more == 1;
}

static void get_parts(hr_reader *r, shape s)
{
    if (s.parts == 0) {
        hr_mark(r, "number", HR_U8);
        hr_get_u16(r);
        return;
    }
    if (s.named) {
        hr_mark(r, "name", HR_TEXT);
        hr_get_text(r);
    } else {
        hr_mark(r, "key", HR_BYTES);
        hr_get_bytes(r);
    }
    if (s.parts == 2) {
        hr_mark(r, "value", (hr_kind)s.part_kind);
        if (s.part_kind == HR_TEXT)
            hr_get_text(r);
        else
            hr_get_bytes(r);
    }
}

void hr_get_items(hr_reader *r, hr_cursor *c, size_t most)
{
    shape s = shape_of(c->kind);
    for (size_t i = 0; i < most && !c->ended; i++) {
        const uint8_t *start = r->pos;
        r->item = (int64_t)c->count;
        if (!begin_item(r, c, s))
            break;
        get_parts(r, s);
        if (!hr_ok(r)) {
            if (c->left > 1 && r->stop.result == HR_NEED_MORE)
                r->stop.need += (size_t)(c->left - 1) * s.least;
            r->pos = r->end = start; /* the item is read again as a whole */
            return;
        }
        c->count++;
        if (s.ending == COUNTED)
            c->ended = --c->left == 0;
    }
    if (r->trace)
        hr_report_field(r);
    r->item = -1;
}

void hr_get_list(hr_reader *r, hr_kind kind, hr_list *list)
{
    hr_cursor c;
    hr_begin_list(r, kind, &c);
    const uint8_t *start = r->pos;
    hr_get_items(r, &c, SIZE_MAX);
    size_t len = (size_t)(r->pos - start);
    if (hr_ok(r) && shape_of(kind).ending == MARKED)
        len--; /* the end mark is not an item */
    *list = (hr_list){.count = c.count, .encoded = {start, len}};
}

hr_result hr_walk_list(hr_cursor *c, const uint8_t *in, size_t len, size_t most,
                       const hr_limits *limits, size_t *used, hr_stop *stop)
{
    hr_reader r = hr_reader_of(in, len, limits);
    hr_get_items(&r, c, most);
    *used = (size_t)(r.pos - in);
    *stop = r.stop;
    c->loose |= r.loose;
    return r.stop.result;
}

/* The bytes have been walked over: they are whole, and no limit matters any more. */
static hr_slice take_slice(const uint8_t **p)
{
    uint32_t len = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *(*p)++;
        len |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    hr_slice slice = {*p, len};
    *p += len;
    return slice;
}

const uint8_t *hr_get_item(hr_kind kind, const uint8_t *p, hr_item *item)
{
    shape s = shape_of(kind);
    if (s.ending == MARKED)
        p++;
    if (s.parts == 0) {
        item->number = (uint32_t)(p[0] << 8 | p[1]);
        return p + 2;
    }
    item->key = take_slice(&p);
    if (s.parts == 2)
        item->value = take_slice(&p);
    return p;
}
