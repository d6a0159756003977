/* entries.c - lists: written whole, read item by item through a cursor that can be resumed.
 * Knows how a list begins, what an item holds and how the list ends; not what it is for. */

#include "wire.h"

/* How a list says where it ends. */
enum ending {
    COUNTED,      /* vInt count before the items */
    BYTE_COUNTED, /* a count of one byte */
    MARKED,       /* 01 before each item, 00 behind the last */
    CUT           /* an empty item behind the last */
};

/* What an item holds: one or two slices, or something of its own. */
enum content {
    BYTES,
    TEXT,
    BYTES_BYTES,
    TEXT_TEXT,
    TEXT_BYTES,
    NUMBER,
    ITERATED,
    XID,
    MODIFICATION
};

typedef struct shape {
    uint8_t ending, content;
    uint8_t least; /* bytes of an item at the least */
} shape;

static const shape shapes[HR_NUM_KINDS] = {
    [HR_PAIRS] = {COUNTED, BYTES_BYTES, 2},
    [HR_PAIRS_MORE] = {MARKED, BYTES_BYTES, 3},
    [HR_BYTES_LIST] = {COUNTED, BYTES, 1},
    [HR_BYTES_MORE] = {MARKED, BYTES, 2},
    [HR_FEW_BYTES] = {BYTE_COUNTED, BYTES, 1},
    [HR_PIECES] = {CUT, BYTES, 1},
    [HR_TEXT_LIST] = {COUNTED, TEXT, 1},
    [HR_TEXT_PAIRS] = {COUNTED, TEXT_TEXT, 2},
    [HR_PARAMS] = {COUNTED, TEXT_BYTES, 2},
    [HR_FEW_PARAMS] = {BYTE_COUNTED, TEXT_BYTES, 2},
    [HR_U16_LIST] = {COUNTED, NUMBER, 2},
    [HR_ITERATED] = {COUNTED, ITERATED, 1},
    [HR_XIDS] = {COUNTED, XID, 5},
    [HR_MODIFICATIONS] = {COUNTED, MODIFICATION, 2},
};

enum { PROJECTIONS_SINCE = 24, ITERATED_METADATA_SINCE = 25 };

bool hr_is_list(hr_kind kind)
{
    return kind >= HR_PAIRS;
}

size_t hr_most_items(hr_kind kind)
{
    /* Servers from 9.4 on read the count of task parameters as a signed byte, older ones as a
     * vInt: up to 127 both agree. decisions.md: counts of one byte */
    if (kind == HR_FEW_PARAMS)
        return INT8_MAX;
    return kind == HR_FEW_BYTES ? UINT8_MAX : INT32_MAX;
}

static unsigned parts_of(shape s)
{
    return s.content <= TEXT ? 1 : s.content <= TEXT_BYTES ? 2 : 0;
}

static uint32_t projections_of(const hr_list *list)
{
    return ((const hr_batch *)(const void *)list)->projections;
}

/* ---- writing ------------------------------------------------------------------------------- */

static size_t iterated_size(const hr_iterated *e, uint32_t projections, hr_form form)
{
    size_t size = hr_slice_size(e->key);
    if (form.version >= ITERATED_METADATA_SINCE)
        size += 1 + (e->has_metadata ? hr_meta_size(&e->metadata) : 0);
    for (uint32_t i = 0; i < projections; i++)
        size += hr_slice_size(e->values[i]);
    return size;
}

static uint8_t *put_iterated(uint8_t *p, const hr_iterated *e, uint32_t projections, hr_form form)
{
    if (form.version >= ITERATED_METADATA_SINCE) {
        *p++ = e->has_metadata;
        if (e->has_metadata)
            p = hr_put_meta(p, &e->metadata);
    }
    p = hr_put_slice(p, e->key);
    for (uint32_t i = 0; i < projections; i++)
        p = hr_put_slice(p, e->values[i]);
    return p;
}

static bool checks_version(uint8_t control)
{
    return !(control & (HR_NOT_READ | HR_NON_EXISTING));
}

static size_t modification_size(const hr_modification *m, hr_form form)
{
    size_t size = hr_slice_size(m->key) + 1 + (checks_version(m->control) ? 8u : 0u);
    if (!(m->control & HR_REMOVES))
        size += hr_life_size(&m->life, form) + hr_slice_size(m->value);
    return size;
}

static uint8_t *put_modification(uint8_t *p, const hr_modification *m, hr_form form)
{
    p = hr_put_slice(p, m->key);
    *p++ = m->control;
    if (checks_version(m->control))
        p = hr_put_big_endian(p, (uint64_t)m->entry_version, 8);
    if (m->control & HR_REMOVES)
        return p;
    p = hr_put_life(p, &m->life, form);
    return hr_put_slice(p, m->value);
}

static bool has_projections(hr_kind kind, const hr_list *list, hr_form form)
{
    return kind == HR_ITERATED && list->count > 0 && form.version >= PROJECTIONS_SINCE;
}

size_t hr_list_size(hr_kind kind, const hr_list *list, hr_form form)
{
    shape s = shapes[kind];
    size_t size = s.ending == COUNTED ? hr_varint_size(list->count) : 1;
    if (has_projections(kind, list, form))
        size += hr_varint_size(projections_of(list));
    if (!list->items)
        return size + list->encoded.len;
    if (s.ending == MARKED)
        size += list->count;
    switch (s.content) {
    case NUMBER: return size + 2 * list->count;
    case ITERATED:
        for (size_t i = 0; i < list->count; i++)
            size += iterated_size((const hr_iterated *)list->items + i, projections_of(list), form);
        return size;
    case XID:
        for (size_t i = 0; i < list->count; i++)
            size += hr_xid_size((const hr_xid *)list->items + i);
        return size;
    case MODIFICATION:
        for (size_t i = 0; i < list->count; i++)
            size += modification_size((const hr_modification *)list->items + i, form);
        return size;
    default:
        for (size_t i = 0; i < list->count * parts_of(s); i++)
            size += hr_slice_size(((const hr_slice *)list->items)[i]);
        return size;
    }
}

static uint8_t *put_slices(uint8_t *p, shape s, const hr_list *list)
{
    const hr_slice *part = list->items;
    unsigned parts = parts_of(s);
    for (size_t i = 0; i < list->count; i++) {
        if (s.ending == MARKED)
            *p++ = 1;
        for (unsigned j = 0; j < parts; j++)
            p = hr_put_slice(p, *part++);
    }
    return p;
}

static uint8_t *put_items(uint8_t *p, shape s, const hr_list *list, hr_form form)
{
    if (!list->items)
        return hr_put_data(p, list->encoded);
    switch (s.content) {
    case NUMBER:
        for (size_t i = 0; i < list->count; i++)
            p = hr_put_big_endian(p, ((const uint16_t *)list->items)[i], 2);
        return p;
    case ITERATED:
        for (size_t i = 0; i < list->count; i++)
            p = put_iterated(p, (const hr_iterated *)list->items + i, projections_of(list), form);
        return p;
    case XID:
        for (size_t i = 0; i < list->count; i++)
            p = hr_put_xid(p, (const hr_xid *)list->items + i);
        return p;
    case MODIFICATION:
        for (size_t i = 0; i < list->count; i++)
            p = put_modification(p, (const hr_modification *)list->items + i, form);
        return p;
    default: return put_slices(p, s, list);
    }
}

uint8_t *hr_put_list(uint8_t *p, hr_kind kind, const hr_list *list, hr_form form)
{
    shape s = shapes[kind];
    if (s.ending == COUNTED)
        p = hr_put_varint(p, list->count);
    else if (s.ending == BYTE_COUNTED)
        *p++ = (uint8_t)list->count;
    if (has_projections(kind, list, form))
        p = hr_put_varint(p, projections_of(list));
    p = put_items(p, s, list, form);
    if (s.ending == MARKED || s.ending == CUT)
        *p++ = 0;
    return p;
}

/* ---- reading ------------------------------------------------------------------------------- */

hr_cursor hr_cursor_over(hr_kind kind, uint8_t version, uint32_t projections)
{
    return (hr_cursor){.kind = kind,
                       .version = version,
                       .projections = version < PROJECTIONS_SINCE ? 1 : projections};
}

static uint64_t get_byte_count(hr_reader *r, hr_kind kind)
{
    const uint8_t *at = r->pos;
    uint8_t count = hr_get_u8(r);
    if (count > hr_most_items(kind))
        return hr_fail(r, HR_BAD_VALUE, at, hr_most_items(kind), count);
    if (count > r->limits->items)
        return hr_over_limit(r, at, "items", r->limits->items, count);
    return count;
}

/* The count of items; of parameters in a header, which have a limit of their own. */
static uint64_t get_count(hr_reader *r, hr_kind kind)
{
    if (kind == HR_PARAMS)
        return hr_get_count(r, r->limits->params, "params");
    return hr_get_count(r, r->limits->items, "items");
}

void hr_begin_list(hr_reader *r, hr_kind kind, hr_form form, hr_list *list, hr_cursor *c)
{
    *c = hr_cursor_over(kind, form.version, 0);
    c->limit = r->limits->items;
    *list = (hr_list){0};
    if (kind == HR_ITERATED)
        ((hr_batch *)(void *)list)->projections = 0;
    if (shapes[kind].ending == MARKED || shapes[kind].ending == CUT)
        return;
    c->left = shapes[kind].ending == COUNTED ? get_count(r, kind) : get_byte_count(r, kind);
    c->ended = c->left == 0;
    if (kind == HR_ITERATED && c->left > 0 && form.version >= PROJECTIONS_SINCE) {
        hr_mark(r, "projections", HR_VINT);
        c->projections = hr_get_count(r, r->limits->items, "items");
        ((hr_batch *)(void *)list)->projections = c->projections;
        c->ended = !hr_ok(r); /* else the items, which have not begun, would count as cut short */
    }
}

/* True when another item begins at the reader's place. */
static bool begin_item(hr_reader *r, hr_cursor *c, shape s)
{
    if (s.ending == COUNTED || s.ending == BYTE_COUNTED)
        return c->left > 0;
    const uint8_t *at = r->pos;
    uint8_t more = 1;
    if (s.ending == MARKED) {
        hr_mark(r, "more", HR_U8);
        more = hr_get_u8(r);
    } else if (r->pos != r->end && *r->pos == 0) {
        hr_mark(r, "end", HR_U8);
        more = hr_get_u8(r);
    } else {
        hr_mark(r, "key", HR_BYTES);
        if (r->pos == r->end) /* item or end: neither can be told, nor a limit exceeded */
            hr_need(r, r->pos, 1);
    }
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

static void get_iterated(hr_reader *r, const hr_cursor *c, hr_iterated *e)
{
    e->has_metadata = false;
    if (c->version >= ITERATED_METADATA_SINCE) {
        hr_mark(r, "has metadata", HR_BOOL);
        const uint8_t *at = r->pos;
        uint8_t has = hr_get_u8(r);
        if (has > 1)
            hr_fail(r, HR_BAD_VALUE, at, 1, has);
        e->has_metadata = has != 0;
    }
    if (e->has_metadata)
        hr_get_meta(r, &e->metadata);
    hr_mark(r, "key", HR_BYTES);
    e->key = hr_get_bytes(r);
    const uint8_t *start = r->pos;
    for (uint32_t i = 0; i < c->projections && hr_ok(r); i++) {
        hr_mark(r, "value", HR_BYTES);
        hr_get_bytes(r);
    }
    e->encoded = (hr_slice){start, (size_t)(r->pos - start)};
}

static void get_modification(hr_reader *r, const hr_cursor *c, hr_modification *m)
{
    hr_mark(r, "key", HR_BYTES);
    m->key = hr_get_bytes(r);
    hr_mark(r, "control", HR_U8);
    const uint8_t *at = r->pos;
    m->control = hr_get_u8(r);
    if ((m->control & HR_NOT_READ) && (m->control & HR_NON_EXISTING))
        hr_fail(r, HR_BAD_VALUE, at, HR_NON_EXISTING | HR_REMOVES, m->control);
    if (hr_ok(r) && checks_version(m->control)) {
        hr_mark(r, "entry_version", HR_I64);
        m->entry_version = hr_get_i64(r);
    }
    if (!hr_ok(r) || (m->control & HR_REMOVES))
        return;
    hr_get_life(r, &m->life, (hr_form){c->version, 0});
    hr_mark(r, "value", HR_BYTES);
    m->value = hr_get_bytes(r);
}

static void get_content(hr_reader *r, const hr_cursor *c, shape s, hr_item *item)
{
    switch (s.content) {
    case NUMBER:
        hr_mark(r, "number", HR_U8);
        item->number = hr_get_u16(r);
        return;
    case ITERATED: get_iterated(r, c, &item->iterated); return;
    case XID: hr_get_xid(r, &item->xid); return;
    case MODIFICATION: get_modification(r, c, &item->modification); return;
    default: break;
    }
    bool named = s.content == TEXT || s.content == TEXT_TEXT || s.content == TEXT_BYTES;
    hr_mark(r, named ? "name" : "key", named ? HR_TEXT : HR_BYTES);
    item->key = named ? hr_get_text(r) : hr_get_bytes(r);
    if (parts_of(s) < 2)
        return;
    bool text = s.content == TEXT_TEXT;
    hr_mark(r, "value", text ? HR_TEXT : HR_BYTES);
    item->value = text ? hr_get_text(r) : hr_get_bytes(r);
}

void hr_get_items(hr_reader *r, hr_cursor *c, size_t most)
{
    shape s = shapes[c->kind];
    hr_item item = {.key = {NULL, 0}};
    for (size_t i = 0; i < most && !c->ended; i++) {
        const uint8_t *start = r->pos;
        r->item = (int64_t)c->count;
        if (!begin_item(r, c, s))
            break;
        get_content(r, c, s, &item);
        if (s.ending == CUT && hr_ok(r) && item.key.len == 0)
            hr_fail(r, HR_BAD_VALUE, start, 1, 0); /* an end mark of more than one byte */
        if (!hr_ok(r)) {
            if (c->left > 1 && r->stop.result == HR_NEED_MORE)
                r->stop.need += (size_t)(c->left - 1) * s.least;
            r->pos = r->end = start; /* the item is read again as a whole */
            return;
        }
        c->count++;
        if (s.ending == COUNTED || s.ending == BYTE_COUNTED)
            c->ended = --c->left == 0;
    }
    if (r->trace)
        hr_report_field(r);
    r->item = -1;
}

void hr_get_list(hr_reader *r, hr_kind kind, hr_form form, hr_list *list)
{
    hr_cursor c;
    hr_begin_list(r, kind, form, list, &c);
    const uint8_t *start = r->pos;
    hr_get_items(r, &c, SIZE_MAX);
    size_t len = (size_t)(r->pos - start);
    if (hr_ok(r) && (shapes[kind].ending == MARKED || shapes[kind].ending == CUT))
        len--; /* the end mark is not an item */
    list->count = c.count;
    list->encoded = (hr_slice){start, len};
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

const uint8_t *hr_next_slice(const uint8_t *p, hr_slice *slice)
{
    uint32_t len = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *p++;
        len |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    *slice = (hr_slice){p, len};
    return p + len;
}

const uint8_t *hr_get_item(const hr_cursor *c, const uint8_t *p, const uint8_t *end, hr_item *item)
{
    shape s = shapes[c->kind];
    unsigned parts = parts_of(s);
    if (s.ending == MARKED)
        p++;
    if (parts == 0) {
        const hr_limits none = {UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                UINT64_MAX, UINT64_MAX, UINT64_MAX};
        hr_reader r = hr_reader_of(p, (size_t)(end - p), &none);
        get_content(&r, c, s, item);
        return r.pos;
    }
    p = hr_next_slice(p, &item->key);
    return parts == 2 ? hr_next_slice(p, &item->value) : p;
}

/* ---- columns ------------------------------------------------------------------------------- */

/* A vInt in its shortest form. */
static const uint8_t *skim_vint(const uint8_t *p, const uint8_t *end, uint32_t *value)
{
    uint64_t found = 0;
    for (unsigned shift = 0; shift < 35 && p != end; shift += 7) {
        uint8_t byte = *p++;
        found |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = (uint32_t)found;
            return (byte == 0 && shift > 0) || found > UINT32_MAX ? NULL : p;
        }
    }
    return NULL;
}

static int64_t get_i64(const uint8_t *p)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++)
        value = value << 8 | p[i];
    return (int64_t)value;
}

/* A time of 8 bytes and a duration. */
static const uint8_t *skim_time(const uint8_t *p, const uint8_t *end, int64_t *time,
                                uint32_t *seconds)
{
    if (end - p < 8)
        return NULL;
    *time = get_i64(p);
    return skim_vint(p + 8, end, seconds);
}

static const uint8_t *skim_meta(const uint8_t *p, const uint8_t *end, hr_meta *m)
{
    if (p == end)
        return NULL;
    *m = (hr_meta){.flags = *p++};
    if (m->flags > (HR_NO_LIFESPAN | HR_NO_MAX_IDLE))
        return NULL;
    if (!(m->flags & HR_NO_LIFESPAN))
        p = skim_time(p, end, &m->created, &m->lifespan);
    if (p && !(m->flags & HR_NO_MAX_IDLE))
        p = skim_time(p, end, &m->last_used, &m->max_idle);
    if (!p || end - p < 8)
        return NULL;
    m->version = get_i64(p);
    return p + 8;
}

const uint8_t *hr_skim_iterated(const hr_cursor *c, const uint8_t *p, const uint8_t *end,
                                uint64_t most, hr_iterated *e)
{
    e->has_metadata = false;
    if (c->version >= ITERATED_METADATA_SINCE) {
        if (p == end || *p > 1)
            return NULL;
        e->has_metadata = *p++;
        if (e->has_metadata) {
            p = skim_meta(p, end, &e->metadata);
            if (!p)
                return NULL;
        }
    }
    p = hr_skim_slice(p, end, most, &e->key);
    hr_slice value;
    for (uint32_t i = 0; p && i < c->projections; i++)
        p = hr_skim_slice(p, end, most, &value);
    if (p) {
        const uint8_t *start = e->key.data + e->key.len;
        e->encoded = (hr_slice){start, (size_t)(p - start)};
    }
    return p;
}

size_t hr_row_width(const hr_cursor *c, size_t *parts)
{
    shape s = shapes[c->kind];
    bool counted_or_marked = s.ending == COUNTED || s.ending == MARKED;
    *parts = 0;
    if (c->kind == HR_ITERATED)
        *parts = 1 + (size_t)c->projections;
    else if (counted_or_marked && (s.content == BYTES || s.content == BYTES_BYTES))
        *parts = parts_of(s);
    return *parts == 0 ? 0 : 2 * *parts + (c->kind == HR_ITERATED);
}

/* Where rows go: the next one, and the offset of `in`. */
typedef struct table {
    int64_t *next;
    const uint8_t *in;
    int64_t base;
} table;

static inline int64_t offset_of(const table *t, const uint8_t *p)
{
    return t->base + (p - t->in);
}

static inline void put_part(table *t, hr_slice part)
{
    t->next[0] = offset_of(t, part.data);
    t->next[1] = (int64_t)part.len;
    t->next += 2;
}

/* The row of an entry that begins at `start`. */
static void put_iterated_row(table *t, const uint8_t *start, const hr_iterated *e,
                             uint32_t projections)
{
    const uint8_t *p = e->encoded.data;
    hr_slice value;
    put_part(t, e->key);
    for (uint32_t i = 0; i < projections; i++) {
        p = hr_next_slice(p, &value);
        put_part(t, value);
    }
    *t->next++ = e->has_metadata ? offset_of(t, start + 1) : -1;
}

/* Items of one or two parts. Returns the place behind them. */
static inline const uint8_t *skim_rows(table *t, const uint8_t *p, const uint8_t *end,
                                       uint64_t longest, size_t most, bool marked, unsigned parts,
                                       size_t *count)
{
    size_t n = 0;
    for (; n < most; n++) {
        const uint8_t *q = p;
        hr_slice key, value = {NULL, 0};
        if (marked && (q == end || *q != 1))
            break;
        q = hr_skim_slice(q + marked, end, longest, &key);
        if (q && parts == 2)
            q = hr_skim_slice(q, end, longest, &value);
        if (!q)
            break;
        put_part(t, key);
        if (parts == 2)
            put_part(t, value);
        p = q;
    }
    *count = n;
    return p;
}

static const uint8_t *skim_iterated_rows(table *t, const hr_cursor *c, const uint8_t *p,
                                         const uint8_t *end, uint64_t longest, size_t most,
                                         size_t *count)
{
    hr_iterated entry;
    size_t n = 0;
    for (; n < most; n++) {
        const uint8_t *q = hr_skim_iterated(c, p, end, longest, &entry);
        if (!q)
            break;
        put_iterated_row(t, p, &entry, c->projections);
        p = q;
    }
    *count = n;
    return p;
}

/* As many items of the usual form as there are. */
static const uint8_t *skim_items(table *t, hr_cursor *c, const uint8_t *p, const uint8_t *end,
                                 uint64_t longest, size_t most)
{
    bool marked = shapes[c->kind].ending == MARKED;
    uint64_t left = marked ? c->limit - c->count : c->left;
    size_t count = 0;
    if (most > left)
        most = (size_t)left;
    if (c->kind == HR_ITERATED)
        p = skim_iterated_rows(t, c, p, end, longest, most, &count);
    else if (shapes[c->kind].content != BYTES_BYTES)
        p = skim_rows(t, p, end, longest, most, marked, 1, &count);
    else if (marked)
        p = skim_rows(t, p, end, longest, most, true, 2, &count);
    else
        p = skim_rows(t, p, end, longest, most, false, 2, &count);
    c->count += count;
    if (!marked) {
        c->left -= count;
        c->ended = c->left == 0;
    }
    return p;
}

static void put_item_row(table *t, const hr_cursor *c, const uint8_t *p, const uint8_t *end)
{
    hr_item item;
    hr_get_item(c, p, end, &item);
    if (c->kind == HR_ITERATED) {
        put_iterated_row(t, p, &item.iterated, c->projections);
        return;
    }
    put_part(t, item.key);
    if (shapes[c->kind].content == BYTES_BYTES)
        put_part(t, item.value);
}

hr_result hr_walk_rows(hr_cursor *c, const uint8_t *in, size_t len, size_t most,
                       const hr_limits *limits, int64_t base, int64_t *rows, size_t *used,
                       hr_stop *stop)
{
    const uint8_t *p = in, *end = in + len;
    size_t last = most < SIZE_MAX - c->count ? c->count + most : SIZE_MAX;
    table t = {rows, in, base};
    *stop = (hr_stop){.item = -1};
    while (!c->ended && c->count < last && stop->result == HR_OK) {
        p = skim_items(&t, c, p, end, limits->bytes, last - c->count);
        if (c->ended || c->count == last)
            break;
        /* An item of another form, the end of the list or the input, or something wrong. */
        size_t count = c->count, step = 0;
        if (hr_walk_list(c, p, (size_t)(end - p), 1, limits, &step, stop) != HR_OK)
            stop->at += (size_t)(p - in);
        if (c->count > count)
            put_item_row(&t, c, p, p + step);
        p += step;
    }
    *used = (size_t)(p - in);
    return stop->result;
}

void hr_get_metadata(const uint8_t *p, const uint8_t *end, hr_meta *metadata)
{
    const hr_limits none = {0}; /* there are no lengths and counts in it */
    hr_reader r = hr_reader_of(p, (size_t)(end - p), &none);
    hr_get_meta(&r, metadata);
}

/* What stands before the key of an iterated entry. */
static hr_iterated head_of_row(const uint8_t *data, const int64_t *row, size_t parts)
{
    hr_iterated e = {.has_metadata = row[2 * parts] >= 0};
    if (e.has_metadata)
        hr_get_metadata(data + row[2 * parts], data + row[0], &e.metadata);
    return e;
}

size_t hr_rows_size(const hr_cursor *c, const uint8_t *data, const int64_t *row, ptrdiff_t stride,
                    size_t count)
{
    size_t parts, size = shapes[c->kind].ending == MARKED ? count : 0;
    hr_row_width(c, &parts);
    for (size_t i = 0; i < count; i++, row += stride) {
        if (c->kind == HR_ITERATED && c->version >= ITERATED_METADATA_SINCE) {
            hr_iterated head = head_of_row(data, row, parts);
            size += 1 + (head.has_metadata ? hr_meta_size(&head.metadata) : 0);
        }
        for (size_t j = 0; j < parts; j++)
            size += hr_slice_size((hr_slice){data + row[2 * j], (size_t)row[2 * j + 1]});
    }
    return size;
}

uint8_t *hr_put_rows(uint8_t *p, const hr_cursor *c, const uint8_t *data, const int64_t *row,
                     ptrdiff_t stride, size_t count)
{
    size_t parts;
    hr_row_width(c, &parts);
    for (size_t i = 0; i < count; i++, row += stride) {
        if (shapes[c->kind].ending == MARKED)
            *p++ = 1;
        if (c->kind == HR_ITERATED && c->version >= ITERATED_METADATA_SINCE) {
            hr_iterated head = head_of_row(data, row, parts);
            *p++ = head.has_metadata;
            if (head.has_metadata)
                p = hr_put_meta(p, &head.metadata);
        }
        for (size_t j = 0; j < parts; j++)
            p = hr_put_slice(p, (hr_slice){data + row[2 * j], (size_t)row[2 * j + 1]});
    }
    return p;
}
