/* header.c - what stands before a body: media types, topologies; request and response headers use
 * them in codec.c. [wire-core 2, 3, 4, 8] */

#include "wire.h"

/* ---- media types, from 2.8 ------------------------------------------------------------------- */

static const hr_form ANY = {0}; /* text is the same in all versions */

size_t hr_media_size(const hr_media *m)
{
    switch (m->kind) {
    case HR_MEDIA_PREDEFINED:
        return 1 + hr_varint_size(m->id) + hr_list_size(HR_TEXT_PAIRS, &m->params, ANY);
    case HR_MEDIA_CUSTOM:
        return 1 + hr_slice_size(m->name) + hr_list_size(HR_TEXT_PAIRS, &m->params, ANY);
    default: return 1;
    }
}

uint8_t *hr_put_media(uint8_t *p, const hr_media *m)
{
    *p++ = m->kind;
    if (m->kind == HR_MEDIA_NONE)
        return p;
    if (m->kind == HR_MEDIA_PREDEFINED)
        p = hr_put_varint(p, m->id);
    else
        p = hr_put_slice(p, m->name);
    return hr_put_list(p, HR_TEXT_PAIRS, &m->params, ANY);
}

void hr_get_media(hr_reader *r, hr_media *m)
{
    const uint8_t *at = r->pos;
    *m = (hr_media){.kind = hr_get_u8(r)};
    /* Nothing follows kind 0, no parameter count either. decisions.md: media type 0 */
    if (m->kind == HR_MEDIA_NONE)
        return;
    if (m->kind == HR_MEDIA_PREDEFINED)
        m->id = hr_get_vint(r);
    else if (m->kind == HR_MEDIA_CUSTOM)
        m->name = hr_get_text(r);
    else
        hr_fail(r, HR_BAD_VALUE, at, HR_MEDIA_CUSTOM, m->kind);
    uint32_t count = hr_get_count(r, r->limits->params, "params");
    const uint8_t *start = r->pos;
    for (uint32_t i = 0; i < count && hr_ok(r); i++) {
        hr_get_text(r);
        hr_get_text(r);
        if (r->stop.result == HR_NEED_MORE)
            r->stop.need += 2 * (size_t)(count - i - 1);
    }
    m->params = (hr_list){.count = count, .encoded = {start, (size_t)(r->pos - start)}};
}

/* ---- topologies ----------------------------------------------------------------------------- */

hr_topology_form hr_topology_form_of(uint8_t version, uint8_t intelligence)
{
    if (intelligence == HR_TOPOLOGY_AWARE)
        return HR_TOPOLOGY_SERVERS;
    if (intelligence != HR_HASH_DISTRIBUTION_AWARE)
        return HR_TOPOLOGY_NONE; /* no server sends one to such a client */
    if (version == 10)
        return HR_TOPOLOGY_WHEEL_10;
    return version < 20 ? HR_TOPOLOGY_WHEEL_11 : HR_TOPOLOGY_SEGMENTS;
}

static bool has_wheel(const hr_topology *t)
{
    return t->form == HR_TOPOLOGY_WHEEL_10 || t->form == HR_TOPOLOGY_WHEEL_11;
}

/* Hash version 0 means no hash: no segment follows whatever their number. */
static bool has_segments(const hr_topology *t)
{
    return t->form == HR_TOPOLOGY_SEGMENTS && t->hash_version != 0;
}

size_t hr_topology_size(const hr_topology *t)
{
    size_t size = hr_varint_size((uint32_t)t->id) + hr_varint_size(t->num_servers);
    if (has_wheel(t))
        size += 2 + 1 + hr_varint_size(t->hash_space);
    if (t->form == HR_TOPOLOGY_WHEEL_11)
        size += hr_varint_size(t->virtual_nodes);
    if (t->servers)
        for (uint32_t i = 0; i < t->num_servers; i++)
            size += hr_slice_size(t->servers[i].host) + 2 + (has_wheel(t) ? 4u : 0u);
    else
        size += t->encoded_servers.len;
    if (t->form == HR_TOPOLOGY_SEGMENTS)
        size += 1 + hr_varint_size(t->num_segments);
    if (!has_segments(t))
        return size;
    if (!t->segment_sizes)
        return size + t->encoded_segments.len;
    for (size_t i = 0; i < t->num_owners; i++)
        size += hr_varint_size(t->owners[i]);
    return size + t->num_segments;
}

static uint8_t *put_servers(uint8_t *p, const hr_topology *t)
{
    if (!t->servers)
        return hr_put_data(p, t->encoded_servers);
    for (uint32_t i = 0; i < t->num_servers; i++) {
        p = hr_put_slice(p, t->servers[i].host);
        p = hr_put_big_endian(p, t->servers[i].port, 2);
        if (has_wheel(t))
            p = hr_put_big_endian(p, (uint32_t)t->servers[i].hash_id, 4);
    }
    return p;
}

static uint8_t *put_segments(uint8_t *p, const hr_topology *t)
{
    if (!has_segments(t))
        return p;
    if (!t->segment_sizes)
        return hr_put_data(p, t->encoded_segments);
    const uint32_t *owner = t->owners;
    for (uint32_t i = 0; i < t->num_segments; i++) {
        *p++ = t->segment_sizes[i];
        for (unsigned j = 0; j < t->segment_sizes[i]; j++)
            p = hr_put_varint(p, *owner++);
    }
    return p;
}

uint8_t *hr_put_topology(uint8_t *p, const hr_topology *t)
{
    p = hr_put_varint(p, (uint32_t)t->id);
    if (has_wheel(t)) {
        p = hr_put_big_endian(p, t->key_owners, 2);
        *p++ = t->hash_version;
        p = hr_put_varint(p, t->hash_space);
    }
    p = hr_put_varint(p, t->num_servers);
    if (t->form == HR_TOPOLOGY_WHEEL_11)
        p = hr_put_varint(p, t->virtual_nodes);
    p = put_servers(p, t);
    if (t->form == HR_TOPOLOGY_SEGMENTS) {
        *p++ = t->hash_version;
        p = hr_put_varint(p, t->num_segments);
    }
    return put_segments(p, t);
}

static hr_server get_server(hr_reader *r, bool wheel)
{
    hr_server server = {0};
    hr_mark(r, "host", HR_TEXT);
    server.host = hr_get_text(r);
    hr_mark(r, "port", HR_U8);
    server.port = hr_get_u16(r);
    if (wheel) {
        hr_mark(r, "hash id", HR_U8);
        server.hash_id = hr_get_i32(r);
    }
    return server;
}

/* `least`: bytes of each server that is still to come, at the least. Told with HR_NEED_MORE, so
 * that a long topology that arrives in small pieces is not read anew for each piece. */
static void skip_servers(hr_reader *r, hr_topology *t, size_t least)
{
    const uint8_t *start = r->pos;
    for (uint32_t i = 0; i < t->num_servers && hr_ok(r); i++) {
        r->item = i;
        get_server(r, has_wheel(t));
        if (r->stop.result == HR_NEED_MORE)
            r->stop.need += (t->num_servers - i - 1) * least;
    }
    if (r->trace)
        hr_report_field(r);
    r->item = -1;
    t->encoded_servers = (hr_slice){start, (size_t)(r->pos - start)};
}

static void skip_segments(hr_reader *r, hr_topology *t)
{
    const uint8_t *start = r->pos;
    for (uint32_t i = 0; i < t->num_segments && hr_ok(r); i++) {
        r->item = i;
        hr_mark(r, "owners of segment", HR_VINT);
        unsigned owners = hr_get_u8(r); /* 7.x servers send 0, too */
        for (unsigned j = 0; j < owners && hr_ok(r); j++) {
            const uint8_t *at = r->pos;
            uint32_t owner = hr_get_vint(r);
            if (hr_ok(r) && owner >= t->num_servers)
                hr_fail(r, HR_BAD_VALUE, at, t->num_servers, owner);
            if (r->stop.result == HR_NEED_MORE)
                r->stop.need += owners - j - 1;
        }
        t->num_owners += owners;
        if (r->stop.result == HR_NEED_MORE)
            r->stop.need += t->num_segments - i - 1;
    }
    if (r->trace)
        hr_report_field(r);
    r->item = -1;
    t->encoded_segments = (hr_slice){start, (size_t)(r->pos - start)};
}

void hr_get_topology(hr_reader *r, hr_topology_form form, hr_topology *t)
{
    *t = (hr_topology){.form = form};
    bool wheel = has_wheel(t);
    hr_mark(r, "topology id", HR_VINT);
    t->id = (int32_t)hr_get_vint(r);
    if (wheel) {
        hr_mark(r, "key owners", HR_U8);
        t->key_owners = hr_get_u16(r);
        hr_mark(r, "hash version", HR_U8);
        t->hash_version = hr_get_u8(r);
        hr_mark(r, "hash space", HR_VINT);
        t->hash_space = hr_get_vint(r);
    }
    hr_mark(r, "number of servers", HR_VINT);
    t->num_servers = hr_get_count(r, r->limits->servers, "servers");
    if (form == HR_TOPOLOGY_WHEEL_11) {
        hr_mark(r, "virtual nodes", HR_VINT);
        t->virtual_nodes = hr_get_vint(r);
    }
    skip_servers(r, t, wheel ? 7 : 3);
    if (form != HR_TOPOLOGY_SEGMENTS)
        return;
    hr_mark(r, "hash version", HR_U8);
    t->hash_version = hr_get_u8(r);
    hr_mark(r, "number of segments", HR_VINT);
    t->num_segments = hr_get_count(r, r->limits->segments, "segments");
    if (hr_ok(r) && has_segments(t))
        skip_segments(r, t);
}

/* Both unpackers read what hr_get_topology has read before: nothing can fail. */

void hr_get_servers(const hr_topology *t, hr_server *servers)
{
    const hr_limits none = {.text = UINT64_MAX};
    hr_reader r = hr_reader_of(t->encoded_servers.data, t->encoded_servers.len, &none);
    for (uint32_t i = 0; i < t->num_servers; i++)
        servers[i] = get_server(&r, has_wheel(t));
}

void hr_get_owners(const hr_topology *t, uint8_t *sizes, uint32_t *owners)
{
    const hr_limits none = {0};
    hr_reader r = hr_reader_of(t->encoded_segments.data, t->encoded_segments.len, &none);
    if (!has_segments(t))
        return;
    for (uint32_t i = 0; i < t->num_segments; i++) {
        sizes[i] = hr_get_u8(&r);
        for (unsigned j = 0; j < sizes[i]; j++)
            *owners++ = hr_get_vint(&r);
    }
}
