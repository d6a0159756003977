/* wire.h - the primitives of the wire: a bounded reader and an exact-size writer.
 *
 * The reader keeps its first failure and gives zeros after it, so that a decoder reads straight on
 * and looks once, at the end. The writer checks nothing: its caller has measured with the `_size`
 * functions. Knows no frame and no field. Private to csrc. [Hot Rod Protocol > Data types] */

#ifndef HR_WIRE_H
#define HR_WIRE_H

#include <string.h>

#include "hotrod.h"

/* ---- reading ----------------------------------------------------------------------------- */

typedef struct hr_reader {
    const uint8_t *pos, *end, *begin;
    const hr_limits *limits;
    hr_stop stop;
    bool loose; /* something was written in a form that the writer would not choose */
    /* The field being read; see hr_mark. */
    const char *name;
    const uint8_t *name_at;
    hr_kind name_kind;
    int64_t name_item, item; /* the list item that the field belongs to, and the present one */
    hr_trace *trace;
    void *trace_arg;
} hr_reader;

static inline hr_reader hr_reader_of(const uint8_t *in, size_t len, const hr_limits *limits)
{
    return (hr_reader){.pos = in,
                       .end = in + len,
                       .begin = in,
                       .limits = limits,
                       .stop = {.item = -1},
                       .name_at = in,
                       .item = -1};
}

/* Keep the first failure, which lies at `at`, and end the input there. Returns 0. */
uint64_t hr_fail(hr_reader *r, hr_result result, const uint8_t *at, uint64_t wanted,
                 uint64_t found);
/* The input ends `need` bytes too early for the item at `at`. Returns 0. */
uint64_t hr_need(hr_reader *r, const uint8_t *at, size_t need);
/* A length or count is above a limit. Returns 0. */
uint64_t hr_over_limit(hr_reader *r, const uint8_t *at, const char *limit, uint64_t most,
                       uint64_t found);

uint64_t hr_get_long_varint(hr_reader *r, unsigned max_bytes, uint8_t last_max);
hr_slice hr_fail_slice(hr_reader *r, const uint8_t *at, uint32_t len, const char *limit,
                       uint64_t most);

static inline bool hr_ok(const hr_reader *r)
{
    return r->stop.result == HR_OK;
}

static inline size_t hr_left(const hr_reader *r)
{
    return (size_t)(r->end - r->pos);
}

void hr_report_field(hr_reader *r);

/* From here on `name` is being read. Costs two stores unless somebody listens. */
static inline void hr_mark(hr_reader *r, const char *name, hr_kind kind)
{
    if (r->trace)
        hr_report_field(r);
    r->name = name;
    r->name_kind = kind;
    r->name_item = r->item;
    r->name_at = r->pos;
}

static inline uint8_t hr_get_u8(hr_reader *r)
{
    if (r->pos == r->end)
        return (uint8_t)hr_need(r, r->pos, 1);
    return *r->pos++;
}

/* A byte that is 0 or 1; any other value counts as 1, as every peer reads it. */
static inline bool hr_get_bool(hr_reader *r)
{
    uint8_t byte = hr_get_u8(r);
    if (byte > 1)
        r->loose = true;
    return byte != 0;
}

static inline uint32_t hr_get_vint(hr_reader *r)
{
    if (r->pos != r->end && *r->pos < 0x80)
        return *r->pos++;
    return (uint32_t)hr_get_long_varint(r, 5, 0x0f);
}

static inline uint64_t hr_get_vlong(hr_reader *r)
{
    if (r->pos != r->end && *r->pos < 0x80)
        return *r->pos++;
    return hr_get_long_varint(r, 10, 0x01);
}

static inline uint64_t hr_get_big_endian(hr_reader *r, unsigned bytes)
{
    if (hr_left(r) < bytes)
        return hr_need(r, r->pos, bytes - hr_left(r));
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | *r->pos++;
    return value;
}

static inline uint16_t hr_get_u16(hr_reader *r)
{
    return (uint16_t)hr_get_big_endian(r, 2);
}

static inline int32_t hr_get_i32(hr_reader *r)
{
    return (int32_t)(uint32_t)hr_get_big_endian(r, 4);
}

static inline int64_t hr_get_i64(hr_reader *r)
{
    return (int64_t)hr_get_big_endian(r, 8);
}

/* vInt length, data. The length is compared with the limit and with what is left before use. */
static inline hr_slice hr_get_slice(hr_reader *r, uint64_t most, const char *limit)
{
    const uint8_t *at = r->pos;
    uint32_t len = hr_get_vint(r);
    if (len > hr_left(r) || len > most)
        return hr_fail_slice(r, at, len, limit, most);
    hr_slice slice = {r->pos, len};
    r->pos += len;
    return slice;
}

/* ZigZag: a length that may be -1. */
static inline int32_t hr_get_signed_vint(hr_reader *r)
{
    uint32_t value = hr_get_vint(r);
    return (int32_t)(value >> 1) ^ -(int32_t)(value & 1);
}

static inline hr_slice hr_get_bytes(hr_reader *r)
{
    return hr_get_slice(r, r->limits->bytes, "bytes");
}

static inline hr_slice hr_get_text(hr_reader *r)
{
    return hr_get_slice(r, r->limits->text, "text");
}

/* A vInt count that must not exceed `most`. */
static inline uint32_t hr_get_count(hr_reader *r, uint64_t most, const char *limit)
{
    const uint8_t *at = r->pos;
    uint32_t count = hr_get_vint(r);
    if (count > most)
        return (uint32_t)hr_over_limit(r, at, limit, most, count);
    return count;
}

/* ---- writing ----------------------------------------------------------------------------- */

#ifdef __GNUC__
#define HR_LIKELY(condition) __builtin_expect(!!(condition), 1)
#else
#define HR_LIKELY(condition) (condition)
#endif

static inline size_t hr_varint_size(uint64_t value)
{
    size_t size = 1;
    if (HR_LIKELY(value < 0x80))
        return size;
#ifdef __GNUC__
    /* Of n bits n / 7 bytes, rounded up; 37 / 256 is near enough to 1 / 7 up to 70. */
    size = (70 - (size_t)__builtin_clzll(value)) * 37 >> 8;
#else
    for (; value >= 0x80; value >>= 7)
        size++;
#endif
    return size;
}

static inline size_t hr_slice_size(hr_slice slice)
{
    return hr_varint_size(slice.len) + slice.len;
}

static inline uint8_t *hr_put_varint(uint8_t *p, uint64_t value)
{
    if (HR_LIKELY(value < 0x80)) {
        *p = (uint8_t)value;
        return p + 1;
    }
    if (HR_LIKELY(value < 0x4000)) {
        p[0] = (uint8_t)(value | 0x80);
        p[1] = (uint8_t)(value >> 7);
        return p + 2;
    }
    while (value >= 0x80) {
        *p++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *p++ = (uint8_t)value;
    return p;
}

static inline uint32_t hr_zigzag(int32_t value)
{
    return (uint32_t)value << 1 ^ (value < 0 ? UINT32_MAX : 0);
}

static inline uint8_t *hr_put_big_endian(uint8_t *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;)
        *p++ = (uint8_t)(value >> (8 * i));
    return p;
}

/* Data alone. memcpy must not be given NULL, which an empty slice may be. */
static inline uint8_t *hr_put_data(uint8_t *p, hr_slice slice)
{
    if (slice.len)
        memcpy(p, slice.data, slice.len);
    return p + slice.len;
}

static inline uint8_t *hr_put_slice(uint8_t *p, hr_slice slice)
{
    return hr_put_data(hr_put_varint(p, slice.len), slice);
}

/* ---- parts of frames that more than one file reads and writes ------------------------------ */

/* header.c */
size_t hr_media_size(const hr_media *m);
uint8_t *hr_put_media(uint8_t *p, const hr_media *m);
void hr_get_media(hr_reader *r, hr_media *m);
hr_topology_form hr_topology_form_of(uint8_t version, uint8_t intelligence);
size_t hr_topology_size(const hr_topology *t);
uint8_t *hr_put_topology(uint8_t *p, const hr_topology *t);
void hr_get_topology(hr_reader *r, hr_topology_form form, hr_topology *t);

/* A field's form depends on the version and, up to 2.1, on the request's flags. */
typedef struct hr_form {
    uint8_t version;
    uint32_t flags;
} hr_form;

/* entries.c */
size_t hr_list_size(hr_kind kind, const hr_list *list, hr_form form);
uint8_t *hr_put_list(uint8_t *p, hr_kind kind, const hr_list *list, hr_form form);
/* Read what stands before the first item and set the cursor to it. */
void hr_begin_list(hr_reader *r, hr_kind kind, hr_form form, hr_list *list, hr_cursor *c);
/* Read whole items until the list ends, the input fails, or `most` items were read. */
void hr_get_items(hr_reader *r, hr_cursor *c, size_t most);
/* A whole list. */
void hr_get_list(hr_reader *r, hr_kind kind, hr_form form, hr_list *list);

/* fields.c: parts of list items that are fields of bodies, too. */
size_t hr_life_size(const hr_life *life, hr_form form);
uint8_t *hr_put_life(uint8_t *p, const hr_life *life, hr_form form);
void hr_get_life(hr_reader *r, hr_life *life, hr_form form);
size_t hr_meta_size(const hr_meta *m);
uint8_t *hr_put_meta(uint8_t *p, const hr_meta *m);
void hr_get_meta(hr_reader *r, hr_meta *m);
/* An id of a transaction; lengths of one byte in requests, vInts in answers: the same below 128. */
size_t hr_xid_size(const hr_xid *x);
uint8_t *hr_put_xid(uint8_t *p, const hr_xid *x);
void hr_get_xid(hr_reader *r, hr_xid *x);

/* codec.c: parts of requests. */
uint32_t hr_flags_of_body(const hr_row *row, uint8_t version, const hr_body *body);
size_t hr_tail_size(const hr_request *q, uint32_t flags); /* the header behind the message id */
uint8_t *hr_put_tail(uint8_t *p, const hr_request *q, uint32_t flags);
size_t hr_body_size(const uint8_t *fields, const hr_body *body, hr_form form);
uint8_t *hr_put_body(uint8_t *p, const uint8_t *fields, const hr_body *body, hr_form form);

/* fields.c: any field. */
size_t hr_field_size(const hr_field *f, const hr_body *body, hr_form form);
uint8_t *hr_put_field(uint8_t *p, const hr_field *f, const hr_body *body, hr_form form);
void hr_get_field(hr_reader *r, const hr_field *f, hr_body *body, hr_form form);

#endif
