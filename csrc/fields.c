/* fields.c - one block for each kind of field: its size, how it is written, how it is read.
 * The differences between protocol versions stand inside the field that they concern.
 * Which fields a frame has is not known here: ops.def says it, codec.c walks it. */

#include "wire.h"

#define HR_FIELD(id, member, kind, since, need, name) \
    [id] = {name, offsetof(hr_body, member), sizeof(HR_TYPE_##kind), kind, since, HR_##need},
const hr_field hr_fields[HR_NUM_FIELDS] = {
#include "ops.def"
};

/* ---- expiration [Hot Rod Protocol 1.0, 2.2 > Operations] ---------------------------------- */

/* Units 7 (default) and 8 (infinite) carry no number. */
static bool unit_has_number(uint8_t unit)
{
    return unit < HR_UNIT_DEFAULT;
}

size_t hr_life_size(const hr_life *life, hr_form form)
{
    size_t size = form.version >= HR_TIME_UNITS_SINCE;
    if (unit_has_number(life->lifespan_unit))
        size += hr_varint_size(life->lifespan);
    else
        size += form.version < HR_TIME_UNITS_SINCE;
    if (unit_has_number(life->max_idle_unit))
        size += hr_varint_size(life->max_idle);
    else
        size += form.version < HR_TIME_UNITS_SINCE;
    return size;
}

uint8_t *hr_put_life(uint8_t *p, const hr_life *life, hr_form form)
{
    if (form.version >= HR_TIME_UNITS_SINCE)
        *p++ = (uint8_t)(life->lifespan_unit << 4 | life->max_idle_unit);
    if (unit_has_number(life->lifespan_unit))
        p = hr_put_varint(p, life->lifespan);
    else if (form.version < HR_TIME_UNITS_SINCE)
        *p++ = 0;
    if (unit_has_number(life->max_idle_unit))
        p = hr_put_varint(p, life->max_idle);
    else if (form.version < HR_TIME_UNITS_SINCE)
        *p++ = 0;
    return p;
}

/* Up to 2.1: seconds; 0 is the cache's default if the flag says so, else immortal. Java clients
 * before 7.0 write -1 for immortal, which servers read like 0. */
static uint8_t get_seconds(hr_reader *r, bool zero_is_default, uint64_t *seconds)
{
    uint32_t value = hr_get_vint(r);
    *seconds = value;
    if (value > 0 && value <= INT32_MAX)
        return HR_UNIT_SECONDS;
    if (value > INT32_MAX)
        r->loose = true;
    return zero_is_default ? HR_UNIT_DEFAULT : HR_UNIT_INFINITE;
}

void hr_get_life(hr_reader *r, hr_life *life, hr_form form)
{
    *life = (hr_life){0};
    if (form.version < HR_TIME_UNITS_SINCE) {
        hr_mark(r, "lifespan", HR_VINT);
        life->lifespan_unit = get_seconds(r, form.flags & HR_DEFAULT_LIFESPAN, &life->lifespan);
        hr_mark(r, "max_idle", HR_VINT);
        life->max_idle_unit = get_seconds(r, form.flags & HR_DEFAULT_MAX_IDLE, &life->max_idle);
        return;
    }
    hr_mark(r, "time units", HR_U8);
    const uint8_t *at = r->pos;
    uint8_t units = hr_get_u8(r);
    life->lifespan_unit = units >> 4;
    life->max_idle_unit = units & 0x0f;
    if (life->lifespan_unit > HR_UNIT_INFINITE || life->max_idle_unit > HR_UNIT_INFINITE)
        hr_fail(r, HR_BAD_VALUE, at, HR_UNIT_INFINITE << 4 | HR_UNIT_INFINITE, units);
    if (hr_ok(r) && unit_has_number(life->lifespan_unit)) {
        hr_mark(r, "lifespan", HR_VLONG);
        life->lifespan = hr_get_vlong(r);
    }
    if (hr_ok(r) && unit_has_number(life->max_idle_unit)) {
        hr_mark(r, "max_idle", HR_VLONG);
        life->max_idle = hr_get_vlong(r);
    }
}

/* ---- metadata of an entry [wire-core 7.2] -------------------------------------------------- */

size_t hr_meta_size(const hr_meta *m)
{
    size_t size = 1 + 8;
    if (!(m->flags & HR_NO_LIFESPAN))
        size += 8 + hr_varint_size(m->lifespan);
    if (!(m->flags & HR_NO_MAX_IDLE))
        size += 8 + hr_varint_size(m->max_idle);
    return size;
}

uint8_t *hr_put_meta(uint8_t *p, const hr_meta *m)
{
    *p++ = m->flags;
    if (!(m->flags & HR_NO_LIFESPAN)) {
        p = hr_put_big_endian(p, (uint64_t)m->created, 8);
        p = hr_put_varint(p, m->lifespan);
    }
    if (!(m->flags & HR_NO_MAX_IDLE)) {
        p = hr_put_big_endian(p, (uint64_t)m->last_used, 8);
        p = hr_put_varint(p, m->max_idle);
    }
    return hr_put_big_endian(p, (uint64_t)m->version, 8);
}

void hr_get_meta(hr_reader *r, hr_meta *m)
{
    *m = (hr_meta){0};
    hr_mark(r, "metadata flags", HR_U8);
    uint8_t flags = hr_get_u8(r);
    m->flags = flags & (HR_NO_LIFESPAN | HR_NO_MAX_IDLE);
    if (flags != m->flags)
        r->loose = true;
    if (hr_ok(r) && !(flags & HR_NO_LIFESPAN)) {
        hr_mark(r, "created", HR_I64);
        m->created = hr_get_i64(r);
        hr_mark(r, "lifespan", HR_VINT);
        m->lifespan = hr_get_vint(r);
    }
    if (hr_ok(r) && !(flags & HR_NO_MAX_IDLE)) {
        hr_mark(r, "last_used", HR_I64);
        m->last_used = hr_get_i64(r);
        hr_mark(r, "max_idle", HR_VINT);
        m->max_idle = hr_get_vint(r);
    }
    hr_mark(r, "entry_version", HR_I64);
    m->version = hr_get_i64(r);
}

/* ---- previous value [wire-core 7.3]: whether it is there, codec.c knows --------------------- */

static size_t old_value_size(const hr_old_value *v, hr_form form)
{
    size_t size = hr_slice_size(v->value);
    if (form.version >= HR_PREVIOUS_METADATA_SINCE)
        size += hr_meta_size(&v->metadata);
    return size;
}

static uint8_t *put_old_value(uint8_t *p, const hr_old_value *v, hr_form form)
{
    if (form.version >= HR_PREVIOUS_METADATA_SINCE)
        p = hr_put_meta(p, &v->metadata);
    return hr_put_slice(p, v->value);
}

static void get_old_value(hr_reader *r, hr_old_value *v, hr_form form)
{
    if (form.version >= HR_PREVIOUS_METADATA_SINCE)
        hr_get_meta(r, &v->metadata);
    hr_mark(r, "previous", HR_BYTES);
    v->value = hr_get_bytes(r);
}

/* ---- filter and converter factories [wire-core 9.6, 9.9] ------------------------------------ */

enum { ITERATION_PARAMS_SINCE = 24 };

static bool has_params(hr_kind kind, const hr_factory *f, hr_form form)
{
    if (kind == HR_FACTORY)
        return f->name.len > 0;
    return f->present && form.version >= ITERATION_PARAMS_SINCE;
}

static size_t factory_size(hr_kind kind, const hr_factory *f, hr_form form)
{
    size_t size = kind == HR_FACTORY ? hr_slice_size(f->name)
                  : f->present       ? hr_varint_size(f->name.len << 1) + f->name.len
                                     : 1;
    return size + (has_params(kind, f, form) ? hr_list_size(HR_FEW_BYTES, &f->params, form) : 0);
}

static uint8_t *put_some(uint8_t *p, bool present, hr_slice slice)
{
    p = hr_put_varint(p, hr_zigzag(present ? (int32_t)slice.len : -1));
    return present ? hr_put_data(p, slice) : p;
}

/* A signed length and data; any negative length says that there is none. */
static hr_slice get_some(hr_reader *r, bool *present, uint64_t most, const char *limit)
{
    const uint8_t *at = r->pos;
    int32_t len = hr_get_signed_vint(r);
    *present = len >= 0;
    if (len < -1)
        r->loose = true;
    if (len < 0)
        return (hr_slice){NULL, 0};
    if ((uint32_t)len > hr_left(r) || (uint32_t)len > most)
        return hr_fail_slice(r, at, (uint32_t)len, limit, most);
    hr_slice slice = {r->pos, (size_t)len};
    r->pos += len;
    return slice;
}

static uint8_t *put_factory(uint8_t *p, hr_kind kind, const hr_factory *f, hr_form form)
{
    p = kind == HR_FACTORY ? hr_put_slice(p, f->name) : put_some(p, f->present, f->name);
    return has_params(kind, f, form) ? hr_put_list(p, HR_FEW_BYTES, &f->params, form) : p;
}

static void get_factory(hr_reader *r, hr_kind kind, hr_factory *f, hr_form form)
{
    *f = (hr_factory){.present = true};
    hr_mark(r, kind == HR_FACTORY ? "factory" : "filter_factory", HR_TEXT);
    if (kind == HR_FACTORY)
        f->name = hr_get_text(r);
    else
        f->name = get_some(r, &f->present, r->limits->text, "text");
    if (!hr_ok(r) || !has_params(kind, f, form))
        return;
    hr_mark(r, "factory parameters", HR_FEW_BYTES);
    hr_get_list(r, HR_FEW_BYTES, form, &f->params);
}

/* ---- sets of segments [wire-core 1, 9.6] ---------------------------------------------------- */

static size_t bits_size(hr_kind kind, const hr_bits *b)
{
    if (kind == HR_BITS)
        return hr_slice_size(b->bits);
    return b->present ? hr_varint_size(b->bits.len << 1) + b->bits.len : 1;
}

static uint8_t *put_bits(uint8_t *p, hr_kind kind, const hr_bits *b)
{
    return kind == HR_BITS ? hr_put_slice(p, b->bits) : put_some(p, b->present, b->bits);
}

static void get_bits(hr_reader *r, hr_kind kind, hr_bits *b)
{
    uint64_t most = r->limits->segments / 8 + (r->limits->segments % 8 != 0);
    *b = (hr_bits){.present = true};
    if (kind == HR_BITS)
        b->bits = hr_get_slice(r, most, "segments");
    else
        b->bits = get_some(r, &b->present, most, "segments");
    if (b->bits.len && b->bits.data[b->bits.len - 1] == 0)
        r->loose = true;
}

/* ---- transactions [wire-extended 3.1] ------------------------------------------------------- */

enum { XID_PART_MOST = 64 };

size_t hr_xid_size(const hr_xid *x)
{
    return hr_varint_size(hr_zigzag(x->format_id)) + hr_slice_size(x->global_id) +
           hr_slice_size(x->branch_id);
}

uint8_t *hr_put_xid(uint8_t *p, const hr_xid *x)
{
    p = hr_put_varint(p, hr_zigzag(x->format_id));
    p = hr_put_slice(p, x->global_id);
    return hr_put_slice(p, x->branch_id);
}

static hr_slice get_xid_part(hr_reader *r)
{
    const uint8_t *at = r->pos;
    uint8_t len = hr_get_u8(r);
    if (!hr_ok(r))
        return (hr_slice){NULL, 0};
    if (len == 0 || len > XID_PART_MOST) {
        hr_fail(r, HR_BAD_VALUE, at, XID_PART_MOST, len);
        return (hr_slice){NULL, 0};
    }
    if (len > hr_left(r))
        return hr_fail_slice(r, at, len, "bytes", XID_PART_MOST);
    hr_slice slice = {r->pos, len};
    r->pos += len;
    return slice;
}

void hr_get_xid(hr_reader *r, hr_xid *x)
{
    hr_mark(r, "xid format", HR_VINT);
    x->format_id = hr_get_signed_vint(r);
    hr_mark(r, "xid global part", HR_BYTES);
    x->global_id = get_xid_part(r);
    hr_mark(r, "xid branch part", HR_BYTES);
    x->branch_id = get_xid_part(r);
}

/* ---- counters [wire-extended 1.2, 1.5] ------------------------------------------------------ */

static size_t counter_size(const hr_counter *c)
{
    return 1 + (c->flags & HR_WEAK ? hr_varint_size(c->concurrency) : 0) +
           (c->flags & HR_BOUNDED ? 16u : 0u) + 8;
}

static uint8_t *put_counter(uint8_t *p, const hr_counter *c)
{
    *p++ = c->flags;
    if (c->flags & HR_WEAK)
        p = hr_put_varint(p, c->concurrency);
    if (c->flags & HR_BOUNDED) {
        p = hr_put_big_endian(p, (uint64_t)c->lower, 8);
        p = hr_put_big_endian(p, (uint64_t)c->upper, 8);
    }
    return hr_put_big_endian(p, (uint64_t)c->initial, 8);
}

static void get_counter(hr_reader *r, hr_counter *c)
{
    *c = (hr_counter){0};
    hr_mark(r, "counter flags", HR_U8);
    const uint8_t *at = r->pos;
    uint8_t flags = hr_get_u8(r);
    c->flags = flags & (HR_WEAK | HR_BOUNDED | HR_PERSISTENT);
    if (flags != c->flags)
        r->loose = true;
    if ((flags & HR_WEAK) && (flags & HR_BOUNDED))
        hr_fail(r, HR_BAD_VALUE, at, HR_PERSISTENT | HR_BOUNDED, flags);
    if (hr_ok(r) && (flags & HR_WEAK)) {
        hr_mark(r, "concurrency", HR_VINT);
        c->concurrency = hr_get_vint(r);
    }
    if (hr_ok(r) && (flags & HR_BOUNDED)) {
        hr_mark(r, "lower bound", HR_I64);
        c->lower = hr_get_i64(r);
        hr_mark(r, "upper bound", HR_I64);
        c->upper = hr_get_i64(r);
    }
    hr_mark(r, "initial value", HR_I64);
    c->initial = hr_get_i64(r);
}

static uint8_t get_counter_state(hr_reader *r)
{
    const uint8_t *at = r->pos;
    uint8_t state = hr_get_u8(r);
    if ((state & 3) == 3 || (state >> 2 & 3) == 3)
        hr_fail(r, HR_BAD_VALUE, at, 0x0a, state);
    return state;
}

/* ---- cache events [wire-core 10] ------------------------------------------------------------ */

static size_t event_size(hr_kind kind, const hr_event *e)
{
    if (e->marker != HR_PLAIN_EVENT)
        return 2 + hr_slice_size(e->data);
    return 2 + hr_slice_size(e->key) + (kind == HR_WRITE_EVENT ? 8u : 0u);
}

static uint8_t *put_event(uint8_t *p, hr_kind kind, const hr_event *e)
{
    *p++ = e->marker;
    *p++ = e->retried;
    if (e->marker != HR_PLAIN_EVENT)
        return hr_put_slice(p, e->data);
    p = hr_put_slice(p, e->key);
    return kind == HR_WRITE_EVENT ? hr_put_big_endian(p, (uint64_t)e->entry_version, 8) : p;
}

/* The key comes first, then the version, in 2.0 as well. decisions.md: events of 2.0 */
static void get_event(hr_reader *r, hr_kind kind, hr_event *e)
{
    *e = (hr_event){0};
    hr_mark(r, "custom_marker", HR_U8);
    const uint8_t *at = r->pos;
    e->marker = hr_get_u8(r);
    if (e->marker > HR_RAW_EVENT)
        hr_fail(r, HR_BAD_VALUE, at, HR_RAW_EVENT, e->marker);
    hr_mark(r, "retried", HR_BOOL);
    uint8_t retried = hr_get_u8(r);
    e->retried = retried == 1; /* as Java's client reads it */
    if (retried > 1)
        r->loose = true;
    if (hr_ok(r) && e->marker != HR_PLAIN_EVENT) {
        hr_mark(r, "event_data", HR_BYTES);
        e->data = hr_get_bytes(r);
        return;
    }
    hr_mark(r, "key", HR_BYTES);
    e->key = hr_get_bytes(r);
    if (kind == HR_WRITE_EVENT) {
        hr_mark(r, "entry_version", HR_I64);
        e->entry_version = hr_get_i64(r);
    }
}

/* ---- any field ----------------------------------------------------------------------------- */

#define MEMBER(type) ((type *)((char *)body + f->offset))
#define CONST_MEMBER(type) ((const type *)((const char *)body + f->offset))

size_t hr_field_size(const hr_field *f, const hr_body *body, hr_form form)
{
    hr_kind kind = (hr_kind)f->kind;
    switch (kind) {
    case HR_BYTES:
    case HR_TEXT: return hr_slice_size(*CONST_MEMBER(hr_slice));
    case HR_U8:
    case HR_BOOL:
    case HR_COUNTER_STATE: return 1;
    case HR_VINT: return hr_varint_size(*CONST_MEMBER(uint32_t));
    case HR_VLONG: return hr_varint_size(*CONST_MEMBER(uint64_t));
    case HR_I32: return 4;
    case HR_I64: return 8;
    case HR_LIFE: return hr_life_size(CONST_MEMBER(hr_life), form);
    case HR_META: return hr_meta_size(CONST_MEMBER(hr_meta));
    case HR_OLD_VALUE: return old_value_size(CONST_MEMBER(hr_old_value), form);
    case HR_MEDIA: return hr_media_size(CONST_MEMBER(hr_media));
    case HR_FACTORY:
    case HR_SOME_FACTORY: return factory_size(kind, CONST_MEMBER(hr_factory), form);
    case HR_BITS:
    case HR_SOME_BITS: return bits_size(kind, CONST_MEMBER(hr_bits));
    case HR_XID: return hr_xid_size(CONST_MEMBER(hr_xid));
    case HR_COUNTER: return counter_size(CONST_MEMBER(hr_counter));
    case HR_WRITE_EVENT:
    case HR_REMOVE_EVENT: return event_size(kind, CONST_MEMBER(hr_event));
    default: return hr_list_size(kind, CONST_MEMBER(hr_list), form);
    }
}

uint8_t *hr_put_field(uint8_t *p, const hr_field *f, const hr_body *body, hr_form form)
{
    hr_kind kind = (hr_kind)f->kind;
    switch (kind) {
    case HR_BYTES:
    case HR_TEXT: return hr_put_slice(p, *CONST_MEMBER(hr_slice));
    case HR_U8:
    case HR_COUNTER_STATE: *p = *CONST_MEMBER(uint8_t); return p + 1;
    case HR_BOOL: *p = *CONST_MEMBER(bool); return p + 1;
    case HR_VINT: return hr_put_varint(p, *CONST_MEMBER(uint32_t));
    case HR_VLONG: return hr_put_varint(p, *CONST_MEMBER(uint64_t));
    case HR_I32: return hr_put_big_endian(p, (uint32_t)*CONST_MEMBER(int32_t), 4);
    case HR_I64: return hr_put_big_endian(p, (uint64_t)*CONST_MEMBER(int64_t), 8);
    case HR_LIFE: return hr_put_life(p, CONST_MEMBER(hr_life), form);
    case HR_META: return hr_put_meta(p, CONST_MEMBER(hr_meta));
    case HR_OLD_VALUE: return put_old_value(p, CONST_MEMBER(hr_old_value), form);
    case HR_MEDIA: return hr_put_media(p, CONST_MEMBER(hr_media));
    case HR_FACTORY:
    case HR_SOME_FACTORY: return put_factory(p, kind, CONST_MEMBER(hr_factory), form);
    case HR_BITS:
    case HR_SOME_BITS: return put_bits(p, kind, CONST_MEMBER(hr_bits));
    case HR_XID: return hr_put_xid(p, CONST_MEMBER(hr_xid));
    case HR_COUNTER: return put_counter(p, CONST_MEMBER(hr_counter));
    case HR_WRITE_EVENT:
    case HR_REMOVE_EVENT: return put_event(p, kind, CONST_MEMBER(hr_event));
    default: return hr_put_list(p, kind, CONST_MEMBER(hr_list), form);
    }
}

void hr_get_field(hr_reader *r, const hr_field *f, hr_body *body, hr_form form)
{
    hr_kind kind = (hr_kind)f->kind;
    hr_mark(r, f->name, kind);
    switch (kind) {
    case HR_BYTES: *MEMBER(hr_slice) = hr_get_bytes(r); break;
    case HR_TEXT: *MEMBER(hr_slice) = hr_get_text(r); break;
    case HR_U8: *MEMBER(uint8_t) = hr_get_u8(r); break;
    case HR_BOOL: *MEMBER(bool) = hr_get_bool(r); break;
    case HR_VINT: *MEMBER(uint32_t) = hr_get_vint(r); break;
    case HR_VLONG: *MEMBER(uint64_t) = hr_get_vlong(r); break;
    case HR_I32: *MEMBER(int32_t) = hr_get_i32(r); break;
    case HR_I64: *MEMBER(int64_t) = hr_get_i64(r); break;
    case HR_LIFE: hr_get_life(r, MEMBER(hr_life), form); break;
    case HR_META: hr_get_meta(r, MEMBER(hr_meta)); break;
    case HR_OLD_VALUE: get_old_value(r, MEMBER(hr_old_value), form); break;
    case HR_MEDIA: hr_get_media(r, MEMBER(hr_media)); break;
    case HR_FACTORY:
    case HR_SOME_FACTORY: get_factory(r, kind, MEMBER(hr_factory), form); break;
    case HR_BITS:
    case HR_SOME_BITS: get_bits(r, kind, MEMBER(hr_bits)); break;
    case HR_XID: hr_get_xid(r, MEMBER(hr_xid)); break;
    case HR_COUNTER: get_counter(r, MEMBER(hr_counter)); break;
    case HR_COUNTER_STATE: *MEMBER(uint8_t) = get_counter_state(r); break;
    case HR_WRITE_EVENT:
    case HR_REMOVE_EVENT: get_event(r, kind, MEMBER(hr_event)); break;
    default: hr_get_list(r, kind, form, MEMBER(hr_list)); break;
    }
}
