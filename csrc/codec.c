/* codec.c - whole frames: encode and decode, requests and responses, by walking rows of ops.def.
 * Knows headers, which status carries which body, and what a response is read against. Knows no
 * operation by name but for those whose answers have a rule of their own. */

#include "wire.h"

/* ---- the table ------------------------------------------------------------------------------ */

#define BODY(...) {__VA_ARGS__}
#define NO_BODY {0}
#define HR_OP(name, request, response, since, until, in, out, doc) \
    {#name, request, response, since, until, false, in, out},
#define HR_EVENT(name, code, since, body, doc) {#name, 0, code, since, 41, true, NO_BODY, body},
const hr_row hr_rows[] = {
#include "ops.def"
};

const size_t hr_num_rows = sizeof hr_rows / sizeof hr_rows[0];

/* Codes to rows, filled by the preprocessor: 1 + index, 0 = none. */
enum row_index {
#define HR_OP(name, request, response, since, until, in, out, doc) ROW_##name,
#define HR_EVENT(name, code, since, body, doc) ROW_##name,
#include "ops.def"
};

static const uint8_t rows_by_request[256] = {
#define HR_OP(name, request, response, since, until, in, out, doc) [request] = ROW_##name + 1,
#include "ops.def"
};

static const uint8_t rows_by_response[256] = {
#define HR_OP(name, request, response, since, until, in, out, doc) [response] = ROW_##name + 1,
#define HR_EVENT(name, code, since, body, doc) [code] = ROW_##name + 1,
#include "ops.def"
};

const hr_row *hr_row_of_request(uint8_t code)
{
    return rows_by_request[code] ? &hr_rows[rows_by_request[code] - 1] : NULL;
}

const hr_row *hr_row_of_response(uint8_t code)
{
    return rows_by_response[code] ? &hr_rows[rows_by_response[code] - 1] : NULL;
}

bool hr_is_version(uint8_t version)
{
    switch (version) {
#define HR_VERSION(name, wire, text, doc) case wire:
#include "codes.def"
        return true;
    default: return false;
    }
}

bool hr_is_status(uint8_t status)
{
    switch (status) {
#define HR_STATUS(name, wire, since, until, doc) case wire:
#include "codes.def"
        return true;
    default: return false;
    }
}

/* ---- bodies --------------------------------------------------------------------------------- */

static const uint8_t no_fields[1] = {HR_END};
static const uint8_t error_fields[2] = {HR_ERROR, HR_END};

size_t hr_body_size(const uint8_t *fields, const hr_body *body, hr_form form)
{
    size_t size = 0;
    for (; *fields != HR_END; fields++) {
        const hr_field *f = &hr_fields[*fields];
        if (hr_has_field(f, form.version))
            size += hr_field_size(f, body, form);
    }
    return size;
}

uint8_t *hr_put_body(uint8_t *p, const uint8_t *fields, const hr_body *body, hr_form form)
{
    for (; *fields != HR_END; fields++) {
        const hr_field *f = &hr_fields[*fields];
        if (hr_has_field(f, form.version))
            p = hr_put_field(p, f, body, form);
    }
    return p;
}

/* With `d->stop_at_list`, a list that ends the row is begun and left to hr_walk_list. */
static void get_body(hr_reader *r, const uint8_t *fields, hr_body *body, hr_form form,
                     hr_decoding *d)
{
    for (; *fields != HR_END; fields++) {
        const hr_field *f = &hr_fields[*fields];
        if (!hr_has_field(f, form.version))
            continue;
        if (d->stop_at_list && fields[1] == HR_END && hr_is_list((hr_kind)f->kind)) {
            hr_mark(r, f->name, (hr_kind)f->kind);
            d->into = (hr_list *)((char *)body + f->offset);
            hr_begin_list(r, (hr_kind)f->kind, form, d->into, &d->list);
        } else {
            hr_get_field(r, f, body, form);
        }
        if (!hr_ok(r))
            return;
    }
}

static bool has_previous(uint8_t status)
{
    return status == 0x03 || status == 0x04 || status == 0x07 || status == 0x08;
}

static bool is_success(uint8_t status)
{
    return status == 0x00 || status == 0x06;
}

/* Whether an answer to this operation may have the status. Of another one the codec could not tell
 * what follows it. */
static bool fits(const hr_row *row, uint8_t status)
{
    const uint8_t *body = row->response_body;
    if (status == 0x05)
        return row == &hr_rows[ROW_ITERATION_NEXT] || row == &hr_rows[ROW_ITERATION_END];
    if (status == 0x04 && body[0] == HR_NUMBER)
        return true; /* a counter at its bound */
    return !has_previous(status) || body[0] == HR_PREVIOUS;
}

/* Which fields follow the header. [wire-core 3.1, 7.3] */
const uint8_t *hr_response_fields(const hr_response *response)
{
    if (response->is_error)
        return error_fields;
    const hr_row *row = response->row;
    if (row->is_event)
        return row->response_body;
    if (row->response_body[0] == HR_PREVIOUS) {
        bool there = response->version < 20 ? response->has_body : has_previous(response->status);
        return there ? row->response_body : no_fields;
    }
    bool there = is_success(response->status) || /* an unknown iteration has an empty batch */
                 (response->status == 0x05 && row == &hr_rows[ROW_ITERATION_NEXT]);
    return there ? row->response_body : no_fields;
}

/* 1.x: the request's flag decides whether the previous value is there, not the status.
 * With `legacy_server`, as server 9.4 does it: it leaves the zero length out after a putIfAbsent
 * that succeeded and after a replace of a missing key. decisions.md: short previous values */
static bool has_previous_1x(const hr_context *c, uint8_t status)
{
    if (!(c->flags & HR_FORCE_RETURN_VALUE))
        return false;
    if (c->legacy_server) {
        if (c->row == &hr_rows[ROW_PUT_IF_ABSENT] && status == 0x00)
            return false;
        if (c->row == &hr_rows[ROW_REPLACE] && status == 0x01)
            return false;
    }
    return true;
}

/* ---- requests ------------------------------------------------------------------------------- */

const uint8_t *hr_request_fields(const hr_request *request)
{
    return request->row->request_body;
}

/* From 1.2 to 2.1 an expiration says "default" by a flag of the header. */
uint32_t hr_flags_of_body(const hr_row *row, uint8_t version, const hr_body *body)
{
    if (version < 12 || version > 21)
        return 0;
    for (const uint8_t *f = row->request_body; *f != HR_END; f++) {
        if (*f != HR_EXPIRATION)
            continue;
        uint32_t flags = 0;
        if (body->expiration.lifespan_unit == HR_UNIT_DEFAULT)
            flags |= HR_DEFAULT_LIFESPAN;
        if (body->expiration.max_idle_unit == HR_UNIT_DEFAULT)
            flags |= HR_DEFAULT_MAX_IDLE;
        return flags;
    }
    return 0;
}

static uint32_t flags_of(const hr_request *q)
{
    return q->flags | hr_flags_of_body(q->row, q->version, &q->body);
}

/* The header behind the message id. */
size_t hr_tail_size(const hr_request *q, uint32_t flags)
{
    size_t size = 1 + 1 + hr_slice_size(q->cache) + hr_varint_size(flags) + 1 +
                  hr_varint_size((uint32_t)q->topology_id);
    if (q->version < 20)
        size += 1;
    if (q->version >= HR_MEDIA_TYPES_SINCE)
        size += hr_media_size(&q->key_type) + hr_media_size(&q->value_type);
    if (q->version >= HR_OTHER_PARAMS_SINCE)
        size += hr_list_size(HR_PARAMS, &q->params, (hr_form){q->version, flags});
    return size;
}

uint8_t *hr_put_tail(uint8_t *p, const hr_request *q, uint32_t flags)
{
    *p++ = q->version;
    *p++ = q->row->request;
    p = hr_put_slice(p, q->cache);
    p = hr_put_varint(p, flags);
    *p++ = q->intelligence;
    p = hr_put_varint(p, (uint32_t)q->topology_id);
    if (q->version < 20)
        *p++ = 0; /* transaction type: never anything else, and no id follows it */
    if (q->version >= HR_MEDIA_TYPES_SINCE) {
        p = hr_put_media(p, &q->key_type);
        p = hr_put_media(p, &q->value_type);
    }
    if (q->version >= HR_OTHER_PARAMS_SINCE)
        p = hr_put_list(p, HR_PARAMS, &q->params, (hr_form){q->version, flags});
    return p;
}

size_t hr_request_size(const hr_request *q)
{
    uint32_t flags = flags_of(q);
    return 1 + hr_varint_size(q->message_id) + hr_tail_size(q, flags) +
           hr_body_size(hr_request_fields(q), &q->body, (hr_form){q->version, flags});
}

uint8_t *hr_encode_request(uint8_t *p, const hr_request *q)
{
    uint32_t flags = flags_of(q);
    *p++ = HR_REQUEST_MAGIC;
    p = hr_put_varint(p, q->message_id);
    p = hr_put_tail(p, q, flags);
    return hr_put_body(p, hr_request_fields(q), &q->body, (hr_form){q->version, flags});
}

static void get_magic(hr_reader *r, uint8_t magic)
{
    hr_mark(r, "magic", HR_U8);
    const uint8_t *at = r->pos;
    uint8_t byte = hr_get_u8(r);
    if (hr_ok(r) && byte != magic)
        hr_fail(r, HR_BAD_MAGIC, at, magic, byte);
}

static void get_request_header(hr_reader *r, hr_request *q)
{
    get_magic(r, HR_REQUEST_MAGIC);
    hr_mark(r, "message id", HR_VLONG);
    q->message_id = hr_get_vlong(r);
    hr_mark(r, "version", HR_U8);
    const uint8_t *at = r->pos;
    q->version = hr_get_u8(r);
    if (hr_ok(r) && !hr_is_version(q->version))
        hr_fail(r, HR_BAD_VERSION, at, 0, q->version);
    hr_mark(r, "opcode", HR_U8);
    at = r->pos;
    uint8_t opcode = hr_get_u8(r);
    q->row = hr_row_of_request(opcode);
    if (hr_ok(r) && !q->row)
        hr_fail(r, HR_BAD_OPCODE, at, 0, opcode);
    hr_mark(r, "cache name", HR_TEXT);
    q->cache = hr_get_text(r);
    hr_mark(r, "flags", HR_VINT);
    q->flags = hr_get_vint(r);
    hr_mark(r, "client intelligence", HR_U8);
    q->intelligence = hr_get_u8(r);
    hr_mark(r, "topology id", HR_VINT);
    q->topology_id = (int32_t)hr_get_vint(r);
    if (hr_ok(r) && q->version < 20) {
        hr_mark(r, "transaction type", HR_U8);
        if (hr_get_u8(r) != 0)
            r->loose = true; /* servers from 9.4 on ignore it */
    }
    if (hr_ok(r) && q->version >= HR_MEDIA_TYPES_SINCE) {
        hr_mark(r, "key media type", HR_MEDIA);
        hr_get_media(r, &q->key_type);
        hr_mark(r, "value media type", HR_MEDIA);
        hr_get_media(r, &q->value_type);
    }
    if (hr_ok(r) && q->version >= HR_OTHER_PARAMS_SINCE) {
        hr_mark(r, "other parameters", HR_PARAMS);
        hr_get_list(r, HR_PARAMS, (hr_form){q->version, 0}, &q->params);
    }
}

static hr_reader begin(const uint8_t *in, size_t len, hr_decoding *d)
{
    hr_reader r = hr_reader_of(in, len, d->limits);
    r.trace = d->trace;
    r.trace_arg = d->trace_arg;
    d->list = (hr_cursor){.ended = true};
    d->into = NULL;
    return r;
}

static hr_result finish(hr_reader *r, hr_decoding *d)
{
    if (r->trace)
        hr_report_field(r);
    d->stop = r->stop;
    d->used = (size_t)(r->pos - r->begin);
    return r->stop.result;
}

hr_result hr_decode_request(const uint8_t *in, size_t len, hr_request *q, hr_decoding *d)
{
    hr_reader r = begin(in, len, d);
    q->row = NULL;
    q->flags = 0;
    q->key_type = q->value_type = (hr_media){0};
    q->params = (hr_list){0};
    get_request_header(&r, q);
    if (hr_ok(&r))
        get_body(&r, hr_request_fields(q), &q->body, (hr_form){q->version, q->flags}, d);
    q->loose = r.loose;
    return finish(&r, d);
}

/* ---- responses ------------------------------------------------------------------------------ */

static uint8_t code_of(const hr_response *a)
{
    return a->is_error ? HR_ERROR_CODE : a->row->response;
}

size_t hr_response_size(const hr_response *a)
{
    size_t size = 1 + hr_varint_size(a->message_id) + 1 + 1 + 1;
    if (a->topology.form != HR_TOPOLOGY_NONE)
        size += hr_topology_size(&a->topology);
    return size + hr_body_size(hr_response_fields(a), &a->body, (hr_form){a->version, 0});
}

uint8_t *hr_encode_response(uint8_t *p, const hr_response *a)
{
    *p++ = HR_RESPONSE_MAGIC;
    p = hr_put_varint(p, a->message_id);
    *p++ = code_of(a);
    *p++ = a->status;
    *p++ = a->topology.form != HR_TOPOLOGY_NONE;
    if (a->topology.form != HR_TOPOLOGY_NONE)
        p = hr_put_topology(p, &a->topology);
    return hr_put_body(p, hr_response_fields(a), &a->body, (hr_form){a->version, 0});
}

static uint8_t get_response_start(hr_reader *r, uint64_t *message_id)
{
    get_magic(r, HR_RESPONSE_MAGIC);
    hr_mark(r, "message id", HR_VLONG);
    *message_id = hr_get_vlong(r);
    hr_mark(r, "opcode", HR_U8);
    return hr_get_u8(r);
}

/* Classified by opcode before anything else: events carry ids of their own. */
static void take_code(hr_reader *r, const uint8_t *at, uint8_t code, const hr_context *c,
                      hr_response *a)
{
    const hr_row *row = hr_row_of_response(code);
    a->row = c->row;
    a->is_error = code == HR_ERROR_CODE;
    if (a->is_error)
        return;
    if (row && row->is_event)
        a->row = row;
    else if (!row || row != c->row)
        hr_fail(r, HR_BAD_OPCODE, at, c->row ? c->row->response : 0, code);
}

static void get_status(hr_reader *r, const hr_context *c, hr_response *a)
{
    hr_mark(r, "status", HR_U8);
    const uint8_t *at = r->pos;
    a->status = hr_get_u8(r);
    if (!hr_ok(r))
        return;
    if (!hr_is_status(a->status) || (!a->is_error && a->row && !fits(a->row, a->status))) {
        hr_fail(r, HR_BAD_STATUS, at, 0, a->status);
        return;
    }
    if (a->status >= 0x80 && !a->is_error) {
        /* A refused authentication comes under its own opcode. decisions.md: errors of auth */
        a->is_error = true;
        r->loose = true;
    } else if (a->status < 0x80 && a->is_error) {
        hr_fail(r, HR_BAD_STATUS, at, 0x80, a->status);
    }
    a->has_body = has_previous_1x(c, a->status);
}

static void get_marked_topology(hr_reader *r, const hr_context *c, hr_response *a)
{
    hr_mark(r, "topology marker", HR_U8);
    a->topology.form = HR_TOPOLOGY_NONE;
    const uint8_t *at = r->pos;
    uint8_t marker = hr_get_u8(r);
    hr_topology_form form = hr_topology_form_of(c->version, c->intelligence);
    if (marker == 1 && form == HR_TOPOLOGY_NONE)
        hr_fail(r, HR_BAD_VALUE, at, c->intelligence, marker);
    else if (marker == 1)
        hr_get_topology(r, form, &a->topology);
    else if (marker > 1)
        r->loose = true; /* Java's clients take any value but 1 for "nothing" */
}

/* What server 9.4 puts behind the status "no such key", which says that nothing follows: read and
 * dropped. decisions.md: short previous values, an empty entry behind a miss */
static void get_rest_of_miss(hr_reader *r, const hr_context *c, const hr_row *row)
{
    if (c->version < 20) {
        if (!(c->flags & HR_FORCE_RETURN_VALUE) || row->response_body[0] == HR_PREVIOUS)
            return;
        hr_mark(r, "previous", HR_BYTES);
        hr_get_bytes(r);
    } else {
        if (row != &hr_rows[ROW_GET_MULTIMAP_WITH_METADATA])
            return;
        hr_meta metadata;
        hr_get_meta(r, &metadata);
        hr_mark(r, "values", HR_BYTES_LIST);
        const uint8_t *at = r->pos;
        uint32_t count = hr_get_vint(r);
        if (count > 0)
            hr_fail(r, HR_BAD_VALUE, at, 0, count);
    }
    r->loose = true;
}

hr_result hr_decode_response(const uint8_t *in, size_t len, const hr_context *c, hr_response *a,
                             hr_decoding *d)
{
    hr_reader r = begin(in, len, d);
    a->version = c->version;
    uint8_t code = get_response_start(&r, &a->message_id);
    if (hr_ok(&r))
        take_code(&r, r.pos - 1, code, c, a);
    if (hr_ok(&r)) {
        get_status(&r, c, a);
        get_marked_topology(&r, c, a);
    }
    if (hr_ok(&r))
        get_body(&r, hr_response_fields(a), &a->body, (hr_form){c->version, c->flags}, d);
    if (hr_ok(&r) && c->legacy_server && a->status == 0x02 && !a->is_error)
        get_rest_of_miss(&r, c, a->row);
    a->loose = r.loose;
    return finish(&r, d);
}

hr_result hr_peek_response(const uint8_t *in, size_t len, uint64_t *message_id, uint8_t *code,
                           hr_stop *stop)
{
    const hr_limits none = {0};
    hr_reader r = hr_reader_of(in, len, &none);
    *code = get_response_start(&r, message_id);
    *stop = r.stop;
    return r.stop.result;
}
