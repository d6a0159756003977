/* fields.c - one block for each kind of field: its size, how it is written, how it is read.
 * The differences between protocol versions stand inside the field that they concern.
 * Which fields a frame has is not known here: ops.def says it, codec.c walks it. */

#include "wire.h"

#define HR_FIELD(id, member, kind, since, need, name) \
    [id] = {name, offsetof(hr_body, member), kind, since, HR_##need},
const hr_field hr_fields[HR_NUM_FIELDS] = {
#include "ops.def"
};

/* ---- expiration [Hot Rod Protocol 1.0, 2.2 > Operations] ---------------------------------- */

/* Units 7 (default) and 8 (infinite) carry no number. */
static bool unit_has_number(uint8_t unit)
{
    return unit < HR_UNIT_DEFAULT;
}

static size_t life_size(const hr_life *life, hr_form form)
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

static uint8_t *put_life(uint8_t *p, const hr_life *life, hr_form form)
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
    return value == 0 && zero_is_default ? HR_UNIT_DEFAULT : HR_UNIT_INFINITE;
}

static void get_life(hr_reader *r, hr_life *life, hr_form form)
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

static size_t meta_size(const hr_meta *m)
{
    size_t size = 1 + 8;
    if (!(m->flags & HR_NO_LIFESPAN))
        size += 8 + hr_varint_size(m->lifespan);
    if (!(m->flags & HR_NO_MAX_IDLE))
        size += 8 + hr_varint_size(m->max_idle);
    return size;
}

static uint8_t *put_meta(uint8_t *p, const hr_meta *m)
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

static void get_meta(hr_reader *r, hr_meta *m)
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
        size += meta_size(&v->metadata);
    return size;
}

static uint8_t *put_old_value(uint8_t *p, const hr_old_value *v, hr_form form)
{
    if (form.version >= HR_PREVIOUS_METADATA_SINCE)
        p = put_meta(p, &v->metadata);
    return hr_put_slice(p, v->value);
}

static void get_old_value(hr_reader *r, hr_old_value *v, hr_form form)
{
    if (form.version >= HR_PREVIOUS_METADATA_SINCE)
        get_meta(r, &v->metadata);
    hr_mark(r, "previous", HR_BYTES);
    v->value = hr_get_bytes(r);
}

/* ---- any field ----------------------------------------------------------------------------- */

#define MEMBER(type) ((type *)((char *)body + f->offset))
#define CONST_MEMBER(type) ((const type *)((const char *)body + f->offset))

size_t hr_field_size(const hr_field *f, const hr_body *body, hr_form form)
{
    switch ((hr_kind)f->kind) {
    case HR_BYTES:
    case HR_TEXT: return hr_slice_size(*CONST_MEMBER(hr_slice));
    case HR_U8: return 1;
    case HR_VINT: return hr_varint_size(*CONST_MEMBER(uint32_t));
    case HR_VLONG: return hr_varint_size(*CONST_MEMBER(uint64_t));
    case HR_I64: return 8;
    case HR_LIFE: return life_size(CONST_MEMBER(hr_life), form);
    case HR_META: return meta_size(CONST_MEMBER(hr_meta));
    case HR_OLD_VALUE: return old_value_size(CONST_MEMBER(hr_old_value), form);
    case HR_MEDIA: return hr_media_size(CONST_MEMBER(hr_media));
    case HR_PAIRS:
    case HR_PAIRS_MORE:
    case HR_BYTES_LIST:
    case HR_BYTES_MORE:
    case HR_TEXT_PAIRS:
    case HR_PARAMS:
    case HR_U16_LIST: return hr_list_size((hr_kind)f->kind, CONST_MEMBER(hr_list));
    }
    return 0;
}

uint8_t *hr_put_field(uint8_t *p, const hr_field *f, const hr_body *body, hr_form form)
{
    switch ((hr_kind)f->kind) {
    case HR_BYTES:
    case HR_TEXT: return hr_put_slice(p, *CONST_MEMBER(hr_slice));
    case HR_U8: *p = *CONST_MEMBER(uint8_t); return p + 1;
    case HR_VINT: return hr_put_varint(p, *CONST_MEMBER(uint32_t));
    case HR_VLONG: return hr_put_varint(p, *CONST_MEMBER(uint64_t));
    case HR_I64: return hr_put_big_endian(p, (uint64_t)*CONST_MEMBER(int64_t), 8);
    case HR_LIFE: return put_life(p, CONST_MEMBER(hr_life), form);
    case HR_META: return put_meta(p, CONST_MEMBER(hr_meta));
    case HR_OLD_VALUE: return put_old_value(p, CONST_MEMBER(hr_old_value), form);
    case HR_MEDIA: return hr_put_media(p, CONST_MEMBER(hr_media));
    case HR_PAIRS:
    case HR_PAIRS_MORE:
    case HR_BYTES_LIST:
    case HR_BYTES_MORE:
    case HR_TEXT_PAIRS:
    case HR_PARAMS:
    case HR_U16_LIST: return hr_put_list(p, (hr_kind)f->kind, CONST_MEMBER(hr_list));
    }
    return p;
}

void hr_get_field(hr_reader *r, const hr_field *f, hr_body *body, hr_form form)
{
    hr_mark(r, f->name, (hr_kind)f->kind);
    switch ((hr_kind)f->kind) {
    case HR_BYTES: *MEMBER(hr_slice) = hr_get_bytes(r); break;
    case HR_TEXT: *MEMBER(hr_slice) = hr_get_text(r); break;
    case HR_U8: *MEMBER(uint8_t) = hr_get_u8(r); break;
    case HR_VINT: *MEMBER(uint32_t) = hr_get_vint(r); break;
    case HR_VLONG: *MEMBER(uint64_t) = hr_get_vlong(r); break;
    case HR_I64: *MEMBER(int64_t) = hr_get_i64(r); break;
    case HR_LIFE: get_life(r, MEMBER(hr_life), form); break;
    case HR_META: get_meta(r, MEMBER(hr_meta)); break;
    case HR_OLD_VALUE: get_old_value(r, MEMBER(hr_old_value), form); break;
    case HR_MEDIA: hr_get_media(r, MEMBER(hr_media)); break;
    case HR_PAIRS:
    case HR_PAIRS_MORE:
    case HR_BYTES_LIST:
    case HR_BYTES_MORE:
    case HR_TEXT_PAIRS:
    case HR_PARAMS:
    case HR_U16_LIST: hr_get_list(r, (hr_kind)f->kind, MEMBER(hr_list)); break;
    }
}
