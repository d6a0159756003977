/* test_dumps.c - frames that were written by hand from the protocol's description: decoded, looked
 * at field by field, and encoded back. Nothing here comes out of the encoder first. */
#include "messages.h"

static pool blocks;

static bool is(hr_slice slice, const char *text)
{
    return slice.len == strlen(text) && (slice.len == 0 || !memcmp(slice.data, text, slice.len));
}

/* The decoded message encodes to its bytes, as decoded and with lists and topology unpacked. */
static void check_back(message *m, const uint8_t *in, size_t size)
{
    CHECK(!*loose_of(m));
    size_t back_size;
    uint8_t *back = encode_message(m, &back_size);
    CHECK_BYTES(back, back_size, in, size);
    free(back);
    unpack_message(&blocks, m);
    back = encode_message(m, &back_size);
    CHECK_BYTES(back, back_size, in, size);
    free(back);
}

static uint8_t *frame;

static message decode(message m, const char *hex)
{
    size_t size;
    free(frame);
    pool_empty(&blocks);
    frame = exact_hex(hex, &size);
    hr_decoding d = {.limits = &NO_LIMITS};
    CHECK_INT(decode_message(frame, size, &m, &d), HR_OK);
    if (d.stop.result != HR_OK) {
        fprintf(stderr, "    at %zu: %s\n", d.stop.at, d.stop.field);
        exit(1);
    }
    CHECK_INT(d.used, size);
    check_back(&m, frame, size);
    return m;
}

static const hr_request *request(const char *hex)
{
    static message m;
    m = decode((message){0}, hex);
    return &m.request;
}

static const hr_response *response(const char *op, uint8_t version, uint8_t intelligence,
                                   uint32_t flags, const char *hex)
{
    static message m;
    message empty = {.is_response = true,
                     .context = {.row = row_called(op),
                                 .version = version,
                                 .intelligence = intelligence,
                                 .flags = flags}};
    m = decode(empty, hex);
    return &m.response;
}

static void check_header(const hr_request *q, const char *op, uint64_t id, uint8_t version,
                         const char *cache, uint32_t flags, uint8_t intelligence,
                         int32_t topology_id)
{
    CHECK(!strcmp(q->row->name, op));
    CHECK(q->message_id == id);
    CHECK_INT(q->version, version);
    CHECK(is(q->cache, cache));
    CHECK_INT(q->flags, flags);
    CHECK_INT(q->intelligence, intelligence);
    CHECK_INT(q->topology_id, topology_id);
}

static void check_answer(const hr_response *a, uint64_t id, uint8_t status)
{
    CHECK(a->message_id == id);
    CHECK_INT(a->status, status);
    CHECK(!a->is_error);
    CHECK_INT(a->topology.form, HR_TOPOLOGY_NONE);
}

static bool has_no_body(const hr_response *a)
{
    return hr_response_fields(a)[0] == HR_END;
}

/* Item `i` of a list that check_back has unpacked: part `part` of it. */
static hr_slice part(const hr_list *list, size_t i)
{
    return ((const hr_slice *)list->items)[i];
}

static void test_put_25(void)
{
    const hr_request *q = request("a0 01 19 01 01 63 00 01 00 02 6b31 77 02 7631");
    check_header(q, "PUT", 1, 25, "c", 0, 1, 0);
    CHECK(is(q->body.key, "k1") && is(q->body.value, "v1"));
    CHECK_INT(q->body.expiration.lifespan_unit, HR_UNIT_DEFAULT);
    CHECK_INT(q->body.expiration.max_idle_unit, HR_UNIT_DEFAULT);

    const hr_response *a = response("PUT", 25, 1, 0, "a1 01 02 00 00");
    check_answer(a, 1, 0);
    CHECK(has_no_body(a));
}

static void test_put_10_with_previous(void)
{
    const hr_request *q = request("a0 02 0a 01 01 63 01 01 00 00 02 6b31 ac02 00 02 7631");
    check_header(q, "PUT", 2, 10, "c", HR_FORCE_RETURN_VALUE, 1, 0);
    CHECK_INT(q->body.expiration.lifespan_unit, HR_UNIT_SECONDS);
    CHECK_INT(q->body.expiration.lifespan, 300);
    CHECK_INT(q->body.expiration.max_idle_unit, HR_UNIT_INFINITE);

    const hr_response *a = response("PUT", 10, 1, HR_FORCE_RETURN_VALUE, "a1 02 02 00 00 02 7630");
    check_answer(a, 2, 0);
    CHECK(a->has_body && is(a->body.previous.value, "v0"));
}

static void test_replace_if_unmodified_22(void)
{
    const hr_request *q = request("a0 03 16 09 01 63 01 01 00 02 6b31 68 01"
                                  "00 00 00 00 00 00 00 2a 02 7632");
    check_header(q, "REPLACE_IF_UNMODIFIED", 3, 22, "c", 1, 1, 0);
    CHECK_INT(q->body.expiration.lifespan_unit, 6);
    CHECK_INT(q->body.expiration.lifespan, 1);
    CHECK_INT(q->body.expiration.max_idle_unit, HR_UNIT_INFINITE);
    CHECK_INT(q->body.entry_version, 42);
    CHECK(is(q->body.value, "v2"));

    const hr_response *a = response("REPLACE_IF_UNMODIFIED", 22, 1, 1, "a1 03 0a 04 00 02 7639");
    check_answer(a, 3, 4);
    CHECK(is(a->body.previous.value, "v9"));
    a = response("REPLACE_IF_UNMODIFIED", 22, 1, 1, "a1 03 0a 02 00");
    check_answer(a, 3, 2);
    CHECK(has_no_body(a));
}

static void test_get_31(void)
{
    const hr_request *q = request("a0 04 1f 03 01 63 00 03 ffffffff0f 00 00 02 6b32");
    check_header(q, "GET", 4, 31, "c", 0, 3, -1);
    CHECK_INT(q->key_type.kind, HR_MEDIA_NONE);
    CHECK_INT(q->value_type.kind, HR_MEDIA_NONE);
    CHECK(is(q->body.key, "k2"));

    const hr_response *a = response("GET", 31, 3, 0, "a1 04 04 02 00");
    check_answer(a, 4, 2);
    CHECK(has_no_body(a));
    a = response("GET", 31, 3, 0, "a1 04 04 00 00 00");
    check_answer(a, 4, 0);
    CHECK(!has_no_body(a) && is(a->body.value, ""));
}

static void test_put_40_with_media_types_and_previous(void)
{
    const hr_request *q = request("a0 05 28 01 00 01 01 00"
                                  "01 0c 00"
                                  "01 0d 01 07 63686172736574 05 7574662d38"
                                  "00"
                                  "02 6b31 17 d00f 02 7631");
    check_header(q, "PUT", 5, 40, "", 1, 1, 0);
    CHECK_INT(q->key_type.kind, HR_MEDIA_PREDEFINED);
    CHECK_INT(q->key_type.id, 12);
    CHECK_INT(q->key_type.params.count, 0);
    CHECK_INT(q->value_type.id, 13);
    CHECK_INT(q->value_type.params.count, 1);
    CHECK(is(part(&q->value_type.params, 0), "charset"));
    CHECK(is(part(&q->value_type.params, 1), "utf-8"));
    CHECK_INT(q->params.count, 0);
    CHECK_INT(q->body.expiration.lifespan_unit, 1);
    CHECK_INT(q->body.expiration.lifespan, 2000);
    CHECK_INT(q->body.expiration.max_idle_unit, HR_UNIT_DEFAULT);

    const hr_response *a = response("PUT", 40, 1, 1,
                                    "a1 05 02 03 00 02 00 00 01 8b cf e5 68 00 02"
                                    "00 00 00 00 00 00 00 07 02 7630");
    check_answer(a, 5, 3);
    const hr_meta *meta = &a->body.previous.metadata;
    CHECK_INT(meta->flags, HR_NO_MAX_IDLE);
    CHECK_INT(meta->created, 1700000000000);
    CHECK_INT(meta->lifespan, 2);
    CHECK_INT(meta->version, 7);
    CHECK(is(a->body.previous.value, "v0"));

    a = response("PUT", 40, 1, 1, "a1 05 02 03 00 03 ff ff ff ff ff ff ff ff 00");
    CHECK_INT(a->body.previous.metadata.flags, HR_NO_LIFESPAN | HR_NO_MAX_IDLE);
    CHECK_INT(a->body.previous.metadata.version, -1);
    CHECK(is(a->body.previous.value, ""));
}

static void test_ping_31(void)
{
    check_header(request("a0 06 1f 17 00 00 01 00 00 00"), "PING", 6, 31, "", 0, 1, 0);
    const char *hex = "a1 06 18 00 00 01 0c 00 01 03 00 29 03 0001 0003 00ef";
    const hr_response *a = response("PING", 31, 1, 0, hex);
    check_answer(a, 6, 0);
    CHECK_INT(a->body.key_media_type.id, 12);
    CHECK_INT(a->body.value_media_type.id, 3);
    CHECK_INT(a->body.server_version, 41);
    CHECK_INT(a->body.opcodes.count, 3);
    const uint16_t *opcodes = a->body.opcodes.items;
    CHECK(opcodes[0] == 1 && opcodes[1] == 3 && opcodes[2] == 0xef);
}

/* The body grew: nothing up to 2.8, media types in 2.9. */
static void test_ping_of_earlier_versions(void)
{
    check_answer(response("PING", 28, 1, 0, "a1 06 18 00 00"), 6, 0);
    const hr_response *a = response("PING", 29, 1, 0, "a1 06 18 00 00 01 0c 00 00");
    CHECK_INT(a->body.key_media_type.id, 12);
    CHECK_INT(a->body.value_media_type.kind, HR_MEDIA_NONE);
}

static void test_ping_10_with_a_wheel(void)
{
    const hr_response *a = response("PING", 10, 3, 0,
                                    "a1 07 18 00 01 05 0002 02 ffffffff07 02"
                                    "02 6831 2c22 10000000"
                                    "02 6832 2c23 50000000");
    const hr_topology *t = &a->topology;
    CHECK_INT(t->form, HR_TOPOLOGY_WHEEL_10);
    CHECK_INT(t->id, 5);
    CHECK_INT(t->key_owners, 2);
    CHECK_INT(t->hash_version, 2);
    CHECK_INT(t->hash_space, INT32_MAX);
    CHECK_INT(t->num_servers, 2);
    CHECK(is(t->servers[0].host, "h1") && is(t->servers[1].host, "h2"));
    CHECK_INT(t->servers[0].port, 11298);
    CHECK_INT(t->servers[1].port, 11299);
    CHECK_INT(t->servers[0].hash_id, 0x10000000);
    CHECK_INT(t->servers[1].hash_id, 0x50000000);
}

static void test_get_11_to_13_with_a_wheel(void)
{
    for (uint8_t version = 11; version <= 13; version++) {
        const hr_response *a = response("GET", version, 3, 0,
                                        "a1 08 04 00 01 06 0002 02 ffffffff07 01 01"
                                        "02 6831 2c22 0000007b 02 7631");
        CHECK_INT(a->topology.form, HR_TOPOLOGY_WHEEL_11);
        CHECK_INT(a->topology.id, 6);
        CHECK_INT(a->topology.virtual_nodes, 1);
        CHECK_INT(a->topology.num_servers, 1);
        CHECK_INT(a->topology.servers[0].hash_id, 123);
        CHECK(is(a->body.value, "v1"));
    }
}

static void test_get_20_and_later_with_segments(void)
{
    for (size_t v = 0; v < NUM_VERSIONS; v++) {
        if (ALL_VERSIONS[v] < 20)
            continue;
        const hr_response *a = response("GET", ALL_VERSIONS[v], 3, 0,
                                        "a1 09 04 00 01 b18acbc80c 02"
                                        "09 31302e302e302e3131 2c22 09 31302e302e302e3132 2c22"
                                        "03 04 02 00 01 02 01 00 01 00 02 01 00"
                                        "02 7631");
        const hr_topology *t = &a->topology;
        CHECK_INT(t->form, HR_TOPOLOGY_SEGMENTS);
        CHECK_INT(t->id, -921516751);
        CHECK_INT(t->num_servers, 2);
        CHECK(is(t->servers[0].host, "10.0.0.11") && is(t->servers[1].host, "10.0.0.12"));
        CHECK_INT(t->hash_version, 3);
        CHECK_INT(t->num_segments, 4);
        CHECK_INT(t->num_owners, 7);
        CHECK_BYTES(t->segment_sizes, 4, (const uint8_t *)"\2\2\1\2", 4);
        static const uint32_t owners[] = {0, 1, 1, 0, 0, 1, 0};
        CHECK(!memcmp(t->owners, owners, sizeof owners));
        CHECK(is(a->body.value, "v1"));
    }
}

static void test_get_with_the_servers_alone(void)
{
    for (size_t v = 0; v < NUM_VERSIONS; v++) {
        const hr_response *a = response("GET", ALL_VERSIONS[v], 2, 0,
                                        "a1 09 04 00 01 b18acbc80c 02"
                                        "09 31302e302e302e3131 2c22 09 31302e302e302e3132 2c22"
                                        "02 7631");
        CHECK_INT(a->topology.form, HR_TOPOLOGY_SERVERS);
        CHECK_INT(a->topology.num_servers, 2);
        CHECK_INT(a->topology.servers[1].port, 11298);
        CHECK(is(a->body.value, "v1"));
    }
}

static void test_get_of_an_invalidation_cache(void)
{
    const hr_response *a = response("GET", 31, 3, 0,
                                    "a1 09 04 00 01 b18acbc80c 01"
                                    "09 31302e302e302e3131 2c22 00 00 02 7631");
    CHECK_INT(a->topology.hash_version, 0);
    CHECK_INT(a->topology.num_segments, 0);
    CHECK(is(a->body.value, "v1"));
}

static void test_error(void)
{
    static const char *const ops[] = {"PUT", "GET", "PING", "BULK_GET", "GET_ALL"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        const hr_response *a =
            response(ops[i], i % 2 ? 13 : 41, 3, 1, "a1 0a 50 84 00 0a 6e6f2063616368652078");
        CHECK(a->message_id == 10 && a->status == 0x84 && a->is_error);
        CHECK(is(a->body.error, "no cache x"));
    }
}

static void test_get_with_metadata_28(void)
{
    const hr_request *q = request("a0 0b 1c 1b 01 63 00 02 07"
                                  "02 10 746578742f782d6d792d666f726d6174 00"
                                  "00 02 6b31");
    check_header(q, "GET_WITH_METADATA", 11, 28, "c", 0, 2, 7);
    CHECK_INT(q->key_type.kind, HR_MEDIA_CUSTOM);
    CHECK(is(q->key_type.name, "text/x-my-format"));
    CHECK_INT(q->value_type.kind, HR_MEDIA_NONE);

    const hr_response *a = response("GET_WITH_METADATA", 28, 2, 0,
                                    "a1 0b 1c 00 00 00 0000018bcfe56800 ac02"
                                    "0000018bcfe56be8 3c 0000000000000009 02 7631");
    check_answer(a, 11, 0);
    const hr_meta *meta = &a->body.metadata;
    CHECK_INT(meta->flags, 0);
    CHECK_INT(meta->created, 1700000000000);
    CHECK_INT(meta->lifespan, 300);
    CHECK_INT(meta->last_used, 1700000001000);
    CHECK_INT(meta->max_idle, 60);
    CHECK_INT(meta->version, 9);
    CHECK(is(a->body.value, "v1"));
}

static void test_put_all_and_get_all_22(void)
{
    const hr_request *q = request("a0 0c 16 2d 01 63 00 01 00 88 02 02 6b31 02 7631 02 6b32 00");
    check_header(q, "PUT_ALL", 12, 22, "c", 0, 1, 0);
    CHECK_INT(q->body.expiration.lifespan_unit, HR_UNIT_INFINITE);
    CHECK_INT(q->body.expiration.max_idle_unit, HR_UNIT_INFINITE);
    CHECK_INT(q->body.entries.count, 2);
    CHECK(is(part(&q->body.entries, 0), "k1") && is(part(&q->body.entries, 1), "v1"));
    CHECK(is(part(&q->body.entries, 2), "k2") && is(part(&q->body.entries, 3), ""));
    const hr_response *a = response("PUT_ALL", 22, 1, 0, "a1 0c 2e 00 00");
    check_answer(a, 12, 0);

    q = request("a0 0d 16 2f 01 63 00 01 00 02 02 6b31 02 6b39");
    check_header(q, "GET_ALL", 13, 22, "c", 0, 1, 0);
    CHECK_INT(q->body.keys.count, 2);
    CHECK(is(part(&q->body.keys, 0), "k1") && is(part(&q->body.keys, 1), "k9"));
    a = response("GET_ALL", 22, 1, 0, "a1 0d 30 00 00 01 02 6b31 02 7631");
    CHECK_INT(a->body.entries.count, 1);
    CHECK(is(part(&a->body.entries, 0), "k1") && is(part(&a->body.entries, 1), "v1"));
}

static void test_bulk_get_12(void)
{
    const hr_request *q = request("a0 0e 0c 19 01 63 00 01 00 00 0a");
    check_header(q, "BULK_GET", 14, 12, "c", 0, 1, 0);
    CHECK_INT(q->body.count, 10);
    const hr_response *a =
        response("BULK_GET", 12, 1, 0, "a1 0e 1a 00 00 01 02 6b31 02 7631 01 02 6b32 02 7632 00");
    CHECK_INT(a->body.more_entries.count, 2);
    CHECK(is(part(&a->body.more_entries, 2), "k2") && is(part(&a->body.more_entries, 3), "v2"));

    q = request("a0 0f 0c 1d 01 63 00 01 00 00 02");
    check_header(q, "BULK_GET_KEYS", 15, 12, "c", 0, 1, 0);
    CHECK_INT(q->body.scope, 2);
    a = response("BULK_GET_KEYS", 12, 1, 0, "a1 0f 1e 00 00 01 02 6b31 00");
    CHECK_INT(a->body.more_keys.count, 1);
    CHECK(is(part(&a->body.more_keys, 0), "k1"));
    a = response("BULK_GET_KEYS", 12, 1, 0, "a1 0f 1e 00 00 00");
    CHECK_INT(a->body.more_keys.count, 0);
}

static void test_stats_24_of_an_object_storage(void)
{
    const hr_response *a = response("STATS", 24, 1, 0, "a1 1a 16 06 00 01 04 68697473 01 35");
    check_answer(a, 26, 6);
    CHECK_INT(a->body.stats.count, 1);
    CHECK(is(part(&a->body.stats, 0), "hits") && is(part(&a->body.stats, 1), "5"));
}

static void test_iteration_25(void)
{
    const hr_request *q = request("a0 10 19 31 01 63 00 03 07 04 0a30 01 e807 01");
    check_header(q, "ITERATION_START", 16, 25, "c", 0, 3, 7);
    CHECK(q->body.segments.present);
    CHECK_BYTES(q->body.segments.bits.data, q->body.segments.bits.len, (const uint8_t *)"\n0", 2);
    CHECK(!q->body.iteration_filter.present);
    CHECK_INT(q->body.batch_size, 1000);
    CHECK(q->body.include_metadata);
    CHECK(is(response("ITERATION_START", 25, 3, 0, "a1 10 32 00 00 02 3137")->body.iteration_id,
             "17"));

    CHECK(is(request("a0 11 19 33 01 63 00 03 07 02 3137")->body.iteration_id, "17"));
    const hr_response *a = response("ITERATION_NEXT", 25, 3, 0,
                                    "a1 11 34 00 00 01 02 01 01 01 03 0000000000000005"
                                    "02 6b31 02 7631");
    CHECK_INT(a->body.finished.bits.len, 1);
    CHECK_INT(a->body.batch.projections, 1);
    CHECK_INT(a->body.batch.list.count, 1);
    const hr_iterated *entry = a->body.batch.list.items;
    CHECK(entry->has_metadata && entry->metadata.version == 5);
    CHECK(is(entry->key, "k1") && is(entry->values[0], "v1"));
    a = response("ITERATION_NEXT", 25, 3, 0, "a1 12 34 00 00 02 0a30 00");
    CHECK_INT(a->body.batch.list.count, 0);
    a = response("ITERATION_NEXT", 25, 3, 0, "a1 13 34 05 00 00 00");
    check_answer(a, 19, 5);
    check_answer(response("ITERATION_END", 25, 3, 0, "a1 14 36 00 00"), 20, 0);
}

static void test_listener_and_events_26(void)
{
    const hr_request *q =
        request("a0 15 1a 25 01 63 00 01 00 04 aabbccdd 01 00 02 6376 01 01 05 01 0c");
    check_header(q, "ADD_CLIENT_LISTENER", 21, 26, "c", 0, 1, 0);
    CHECK_INT(q->body.listener_id.len, 4);
    CHECK(q->body.include_state);
    CHECK_INT(q->body.filter.name.len, 0);
    CHECK(is(q->body.converter.name, "cv"));
    CHECK_INT(q->body.converter.params.count, 1);
    CHECK(is(part(&q->body.converter.params, 0), "\5"));
    CHECK(q->body.use_raw_data);
    CHECK_INT(q->body.interests, 12);
    check_answer(response("ADD_CLIENT_LISTENER", 26, 1, 0, "a1 15 26 00 00"), 21, 0);

    /* Events come whatever the request that is waited for. */
    const hr_response *a = response("GET", 26, 1, 0, "a1 00 62 00 00 04 aabbccdd 02 00 03 010203");
    CHECK(!strcmp(a->row->name, "CACHE_ENTRY_REMOVED"));
    CHECK_INT(a->body.gone.marker, HR_RAW_EVENT);
    CHECK(is(a->body.gone.data, "\1\2\3"));
    a = response("GET", 26, 1, 0, "a1 15 60 00 00 04 aabbccdd 00 00 02 6b31 0000000000000005");
    CHECK(!strcmp(a->row->name, "CACHE_ENTRY_CREATED") && a->message_id == 21);
    CHECK(is(a->body.written.key, "k1") && !a->body.written.retried);
    CHECK_INT(a->body.written.entry_version, 5);
    a = response("GET", 26, 1, 0, "a1 00 62 00 00 04 aabbccdd 00 01 02 6b31");
    CHECK(is(a->body.gone.key, "k1") && a->body.gone.retried);
}

static void test_authentication_31(void)
{
    check_header(request("a0 16 1f 21 00 00 01 00 00 00"), "AUTH_MECH_LIST", 22, 31, "", 0, 1, 0);
    const hr_response *a =
        response("AUTH_MECH_LIST", 31, 1, 0, "a1 16 22 00 00 02 05 504c41494e 08 45585445524e414c");
    CHECK_INT(a->body.mechanisms.count, 2);
    CHECK(is(part(&a->body.mechanisms, 0), "PLAIN") &&
          is(part(&a->body.mechanisms, 1), "EXTERNAL"));
    const hr_request *q = request("a0 17 1f 23 00 00 01 00 00 00 05 504c41494e 04 00750070");
    CHECK(is(q->body.mechanism, "PLAIN") && q->body.auth_response.len == 4);
    a = response("AUTH", 31, 1, 0, "a1 17 24 00 00 01 00");
    CHECK(a->body.completed && a->body.challenge.len == 0);
    a = response("AUTH", 31, 1, 0, "a1 18 24 00 00 00 03 763d78");
    CHECK(!a->body.completed && is(a->body.challenge, "v=x"));
}

static void test_exec_24(void)
{
    const hr_request *q = request("a0 19 18 2b 01 63 00 01 00 02 7431 01 01 70 01 2a");
    check_header(q, "EXEC", 25, 24, "c", 0, 1, 0);
    CHECK(is(q->body.task, "t1") && q->body.task_params.count == 1);
    CHECK(is(part(&q->body.task_params, 0), "p") && is(part(&q->body.task_params, 1), "*"));
    CHECK(is(response("EXEC", 24, 1, 0, "a1 19 2c 00 00 01 2b")->body.result, "+"));
}

static void test_streams_26(void)
{
    const hr_request *q = request("a0 1b 1a 39 01 63 00 01 00 02 6b31 77 0000000000000000"
                                  "03 616263 02 6465 00");
    check_header(q, "PUT_STREAM", 27, 26, "c", 0, 1, 0);
    CHECK_INT(q->body.chunks.count, 2);
    CHECK(is(part(&q->body.chunks, 0), "abc") && is(part(&q->body.chunks, 1), "de"));
    check_answer(response("PUT_STREAM", 26, 1, 0, "a1 1b 3a 00 00"), 27, 0);
    CHECK_INT(request("a0 1c 1a 37 01 63 00 01 00 02 6b31 00")->body.offset, 0);
    const hr_response *a =
        response("GET_STREAM", 26, 1, 0, "a1 1c 38 00 00 03 0000000000000003 05 6162636465");
    CHECK(is(a->body.value, "abcde") && a->body.metadata.version == 3);
}

static void test_streams_41(void)
{
    const hr_request *q = request("a0 1d 29 e9 01 63 00 01 00 00 00 00 02 6b31 04");
    check_header(q, "START_GET_STREAM", 29, 41, "c", 0, 1, 0);
    CHECK_INT(q->body.batch_size, 4);
    const hr_response *a = response("START_GET_STREAM", 41, 1, 0,
                                    "a1 1d e8 00 00 00000009 00 03 0000000000000003 04 61626364");
    CHECK_INT(a->body.stream_id, 9);
    CHECK(!a->body.complete && is(a->body.chunk, "abcd") && a->body.metadata.version == 3);
    CHECK_INT(request("a0 1e 29 e7 01 63 00 01 00 00 00 00 00000009")->body.stream_id, 9);
    a = response("NEXT_GET_STREAM", 41, 1, 0, "a1 1e e6 00 00 00000009 01 01 65");
    CHECK(a->body.complete && is(a->body.chunk, "e"));
    q = request("a0 1f 29 ed 01 63 00 01 00 00 00 00 0000000a 01 02 6869");
    CHECK(q->body.stream_id == 10 && q->body.last && is(q->body.chunk, "hi"));
    check_answer(response("NEXT_PUT_STREAM", 41, 1, 0, "a1 1f ec 00 00"), 31, 0);
}

static void test_bloom_filters_31(void)
{
    const hr_request *q = request("a0 20 1f 41 01 63 00 01 00 00 00 02 aabb 8004");
    CHECK_INT(q->body.listener_id.len, 2);
    CHECK_INT(q->body.bloom_bits, 512);
    check_answer(response("ADD_BLOOM_FILTER_NEAR_CACHE_LISTENER", 31, 1, 0, "a1 20 42 00 00"), 32,
                 0);
    CHECK_INT(request("a0 21 1f 43 01 63 00 01 00 00 00 02 0080")->body.bloom_filter.len, 2);
    check_answer(response("UPDATE_BLOOM_FILTER", 31, 1, 0, "a1 21 44 01 00"), 33, 1);
}

static void test_a_request_built_by_hand(void)
{
    message m = {.request = {.row = row_called("PUT"),
                             .message_id = 300,
                             .version = 40,
                             .intelligence = 1,
                             .cache = {(const uint8_t *)"c", 1},
                             .body = {.key = {(const uint8_t *)"k", 1},
                                      .value = {(const uint8_t *)"v", 1},
                                      .expiration = {.lifespan_unit = HR_UNIT_DEFAULT,
                                                     .max_idle_unit = HR_UNIT_DEFAULT}}}};
    size_t wanted_size, size;
    uint8_t *wanted =
        exact_hex("a0 ac02 28 01 01 63 00 01 00 00 00 00 01 6b 77 01 76", &wanted_size);
    uint8_t *out = encode_message(&m, &size);
    CHECK_BYTES(out, size, wanted, wanted_size);
    free(out);
    free(wanted);
}

/* From 1.2 to 2.1 the default expiration is a flag: the encoder sets it. */
static void test_default_expiration_before_22_is_a_flag(void)
{
    message m = {.request = {.row = row_called("PUT"),
                             .version = 21,
                             .intelligence = 1,
                             .body = {.expiration = {.lifespan_unit = HR_UNIT_DEFAULT,
                                                     .max_idle_unit = HR_UNIT_INFINITE}}}};
    size_t wanted_size, size;
    uint8_t *wanted = exact_hex("a0 00 15 01 00 02 01 00 00 00 00 00", &wanted_size);
    uint8_t *out = encode_message(&m, &size);
    CHECK_BYTES(out, size, wanted, wanted_size);
    free(out);
    free(wanted);
    const hr_request *q = request("a0 00 15 01 00 04 01 00 00 00 00 00");
    CHECK_INT(q->body.expiration.lifespan_unit, HR_UNIT_INFINITE);
    CHECK_INT(q->body.expiration.max_idle_unit, HR_UNIT_DEFAULT);
}

int main(void)
{
    int result = RUN(
        TEST(test_put_25), TEST(test_put_10_with_previous), TEST(test_replace_if_unmodified_22),
        TEST(test_get_31), TEST(test_put_40_with_media_types_and_previous), TEST(test_ping_31),
        TEST(test_ping_of_earlier_versions), TEST(test_ping_10_with_a_wheel),
        TEST(test_get_11_to_13_with_a_wheel), TEST(test_get_20_and_later_with_segments),
        TEST(test_get_with_the_servers_alone), TEST(test_get_of_an_invalidation_cache),
        TEST(test_error), TEST(test_get_with_metadata_28), TEST(test_put_all_and_get_all_22),
        TEST(test_bulk_get_12), TEST(test_stats_24_of_an_object_storage), TEST(test_iteration_25),
        TEST(test_listener_and_events_26), TEST(test_authentication_31), TEST(test_exec_24),
        TEST(test_streams_26), TEST(test_streams_41), TEST(test_bloom_filters_31),
        TEST(test_a_request_built_by_hand), TEST(test_default_expiration_before_22_is_a_flag));
    free(frame);
    pool_end(&blocks);
    return result;
}
