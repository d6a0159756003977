/* test_refusals.c - what the decoder does not take, and where it says so: wrong codes and values,
 * limits; what it takes although it would not write it; when a previous value is there. */
#include "messages.h"

static pool blocks;

/* What a frame comes to. A NULL operation makes it a request. */
typedef struct outcome {
    message m;
    hr_decoding d;
    uint8_t *in;
    size_t size;
} outcome;

static outcome *decode_cut(message like, const char *hex, const hr_limits *limits, size_t cut_off)
{
    static outcome o;
    free(o.in);
    pool_empty(&blocks);
    uint8_t *whole = exact_hex(hex, &o.size);
    o.size -= cut_off;
    o.in = exact_copy(whole, o.size);
    free(whole);
    prepare_message(&like, 0x5a, &o.m);
    o.d = (hr_decoding){.limits = limits};
    decode_message(o.in, o.size, &o.m, &o.d);

    /* The same byte by byte. */
    static message other;
    bool *cut = (bool *)exact_block((o.size + 1) * sizeof *cut);
    memset(cut, true, o.size + 1);
    prepare_message(&like, 0, &other);
    hr_decoding again = {.limits = limits};
    const char *problem = decode_in_pieces(o.in, o.size, cut, 1, &other, &again);
    if (problem)
        harness_fail(__FILE__, __LINE__, problem);
    CHECK(same_stop(&again.stop, &o.d.stop) && again.used == o.d.used);
    free(cut);
    return &o;
}

static message context(const char *op, uint8_t version, uint8_t intelligence, uint32_t flags)
{
    return (message){.is_response = true,
                     .context = {.row = op ? row_called(op) : NULL,
                                 .version = version,
                                 .intelligence = intelligence,
                                 .flags = flags}};
}

static outcome *request(const char *hex)
{
    return decode_cut((message){0}, hex, &NO_LIMITS, 0);
}

static outcome *response(const char *op, uint8_t version, uint8_t intelligence, uint32_t flags,
                         const char *hex)
{
    return decode_cut(context(op, version, intelligence, flags), hex, &NO_LIMITS, 0);
}

#define CHECK_STOP(o, result, at, field, wanted, found) \
    check_stop(__LINE__, (o), (result), (at), (field), (wanted), (found))

static void check_stop(int line, const outcome *o, hr_result result, size_t at, const char *field,
                       uint64_t wanted, uint64_t found)
{
    const hr_stop *stop = &o->d.stop;
    if (stop->result == result && stop->at == at && stop->wanted == wanted &&
        stop->found == found && same_text(stop->field, field))
        return;
    harness_fail(__FILE__, line, "another stop");
    fprintf(stderr,
            "    result %d at %zu, %s: wanted %" PRIu64 ", found %" PRIu64 "\n"
            "    wants %d at %zu, %s: wanted %" PRIu64 ", found %" PRIu64 "\n",
            (int)stop->result, stop->at, stop->field ? stop->field : "-", stop->wanted, stop->found,
            (int)result, at, field, wanted, found);
    harness_print_hex("frame", o->in, o->size);
}

/* ---- codes and values ----------------------------------------------------------------------- */

static void test_request_magic(void)
{
    CHECK_STOP(request("a1 01 29 03"), HR_BAD_MAGIC, 0, "magic", 0xa0, 0xa1);
    CHECK_STOP(request("00"), HR_BAD_MAGIC, 0, "magic", 0xa0, 0);
    CHECK_STOP(request(""), HR_NEED_MORE, 0, "magic", 1, 0);
}

static void test_request_version(void)
{
    for (unsigned version = 0; version < 256; version++) {
        char hex[32];
        snprintf(hex, sizeof hex, "a0 01 %02x", version);
        if (hr_is_version((uint8_t)version))
            CHECK_STOP(request(hex), HR_NEED_MORE, 3, "opcode", 1, 0);
        else
            CHECK_STOP(request(hex), HR_BAD_VERSION, 2, "version", 0, version);
    }
}

static void test_request_opcode(void)
{
    for (unsigned code = 0; code < 256; code++) {
        char hex[32];
        snprintf(hex, sizeof hex, "a0 01 29 %02x", code);
        if (hr_row_of_request((uint8_t)code))
            CHECK_STOP(request(hex), HR_NEED_MORE, 4, "cache name", 1, 0);
        else
            CHECK_STOP(request(hex), HR_BAD_OPCODE, 3, "opcode", 0, code);
    }
}

static void test_numbers_of_the_request_header(void)
{
    CHECK_STOP(request("a0 80808080808080808002"), HR_BAD_VARINT, 1, "message id", 10, 2);
    CHECK_STOP(request("a0 01 29 03 00 ffffffff1f"), HR_BAD_VARINT, 5, "flags", 5, 0x1f);
    CHECK_STOP(request("a0 01 29 03 00 00 03 808080808000"), HR_BAD_VARINT, 7, "topology id", 5,
               0x80);
    CHECK_STOP(request("a0 01 29 03 ffffffff0f 00"), HR_BAD_LENGTH, 4, "cache name", INT32_MAX,
               UINT32_MAX);
    CHECK_STOP(request("a0 01 29 03 8080808008"), HR_BAD_LENGTH, 4, "cache name", INT32_MAX,
               UINT64_C(0x80000000));
}

static void test_media_kind(void)
{
    CHECK_STOP(request("a0 01 1c 03 00 00 01 00 03"), HR_BAD_VALUE, 8, "key media type", 2, 3);
    CHECK_STOP(request("a0 01 1c 03 00 00 01 00 00 ff"), HR_BAD_VALUE, 9, "value media type", 2,
               0xff);
    CHECK_STOP(response("PING", 29, 1, 0, "a1 01 18 00 00 00 04"), HR_BAD_VALUE, 6,
               "value_media_type", 2, 4);
    /* Before 2.8 there is none: that byte is the key's length. */
    CHECK_STOP(request("a0 01 1b 03 00 00 01 00 03 616263"), HR_OK, 0, NULL, 0, 0);
}

static void test_time_units(void)
{
    for (unsigned units = 0; units < 256; units++) {
        char hex[64];
        snprintf(hex, sizeof hex, "a0 01 16 01 00 00 01 00 00 %02x 01 01 00 00 00", units);
        outcome *o = request(hex);
        if (units >> 4 > 8 || (units & 15) > 8)
            CHECK_STOP(o, HR_BAD_VALUE, 9, "time units", 0x88, units);
        else
            CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
    }
}

static void test_response_magic(void)
{
    CHECK_STOP(response("GET", 41, 1, 0, "a0 01 04"), HR_BAD_MAGIC, 0, "magic", 0xa1, 0xa0);
    CHECK_STOP(response("GET", 41, 1, 0, ""), HR_NEED_MORE, 0, "magic", 1, 0);
}

/* Only the answer to the request, errors and events are taken. */
static void test_response_opcode(void)
{
    for (unsigned code = 0; code < 256; code++) {
        char hex[32];
        snprintf(hex, sizeof hex, "a1 01 %02x", code);
        const hr_row *row = hr_row_of_response((uint8_t)code);
        bool always = code == HR_ERROR_CODE || (row && row->is_event);
        for (size_t i = 0; i <= hr_num_rows; i++) {
            message like = context(NULL, 41, 1, 0);
            like.context.row = i == hr_num_rows || hr_rows[i].is_event ? NULL : &hr_rows[i];
            outcome *o = decode_cut(like, hex, &NO_LIMITS, 0);
            if (always || (row && row == like.context.row))
                CHECK_STOP(o, HR_NEED_MORE, 3, "status", 1, 0);
            else
                CHECK_STOP(o, HR_BAD_OPCODE, 2, "opcode",
                           like.context.row ? like.context.row->response : 0, code);
        }
    }
}

static void test_response_status(void)
{
    for (unsigned status = 0; status < 256; status++) {
        char hex[32];
        snprintf(hex, sizeof hex, "a1 01 04 %02x", status);
        outcome *o = response("GET", 41, 1, 0, hex);
        bool previous = status == 3 || status == 4 || status == 7 || status == 8;
        /* What follows a previous value's status, a get cannot tell. */
        if (hr_is_status((uint8_t)status) && !previous && status != 5)
            CHECK_STOP(o, HR_NEED_MORE, 4, "topology marker", 1, 0);
        else
            CHECK_STOP(o, HR_BAD_STATUS, 3, "status", 0, status);

        snprintf(hex, sizeof hex, "a1 01 50 %02x", status);
        o = response("GET", 41, 1, 0, hex);
        if (hr_is_status((uint8_t)status) && status >= 0x80)
            CHECK_STOP(o, HR_NEED_MORE, 4, "topology marker", 1, 0);
        else
            CHECK_STOP(o, HR_BAD_STATUS, 3, "status", hr_is_status((uint8_t)status) ? 0x80 : 0,
                       status);
    }
}

static void test_an_error_needs_no_request(void)
{
    outcome *o = response(NULL, 41, 3, 0, "a1 00 50 81 00 02 6869");
    CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
    CHECK(o->m.response.is_error && o->m.response.row == NULL);
    CHECK_INT(o->m.response.body.error.len, 2);
}

static void test_the_byte_before_an_item(void)
{
    outcome *o = response("BULK_GET_KEYS", 41, 1, 0, "a1 01 1e 00 00 01 01 6b 02 01 6b 00");
    CHECK_STOP(o, HR_BAD_VALUE, 8, "more", 1, 2);
    CHECK_INT(o->d.stop.item, 1);
    o = response("BULK_GET", 41, 1, 0, "a1 01 1a 00 00 ff");
    CHECK_STOP(o, HR_BAD_VALUE, 5, "more", 1, 0xff);
    CHECK_INT(o->d.stop.item, 0);
}

static void test_items_say_which_they_are(void)
{
    outcome *o = request("a0 01 16 2f 00 00 01 00 03 01 61 01 62 8080808010 63");
    CHECK_STOP(o, HR_BAD_VARINT, 13, "key", 5, 0x10);
    CHECK_INT(o->d.stop.item, 2);
    o = request("a0 01 16 2d 00 00 01 00 77 02 01 61 ffffffff0f 62");
    CHECK_STOP(o, HR_BAD_LENGTH, 12, "value", INT32_MAX, UINT32_MAX);
    CHECK_INT(o->d.stop.item, 0);
}

static void test_counts_of_one_byte(void)
{
    /* Filter parameters: up to 255; those of a task: up to 127. */
    CHECK_STOP(request("a0 01 1b 2b 00 00 01 00 01 74 80"), HR_BAD_VALUE, 10, "params", 127, 128);
    CHECK_STOP(request("a0 01 1b 2b 00 00 01 00 01 74 7f"), HR_NEED_MORE, 11, "name", 1, 0);
    CHECK_STOP(request("a0 01 1b 25 00 00 01 00 00 00 01 66 ff"), HR_NEED_MORE, 13, "key", 1, 0);
    CHECK_INT(hr_most_items(HR_FEW_PARAMS), 127);
    CHECK_INT(hr_most_items(HR_FEW_BYTES), 255);
    CHECK_INT(hr_most_items(HR_PAIRS), INT32_MAX);
}

static void test_the_end_of_pieces(void)
{
    outcome *o = request("a0 01 1b 39 00 00 01 00 00 77 0000000000000000 01 61 02 6262 00");
    CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
    CHECK_INT(o->m.request.body.chunks.count, 2);
    CHECK_INT(o->d.used, o->size);
    /* An end mark of two bytes is none. */
    o = request("a0 01 1b 39 00 00 01 00 00 77 0000000000000000 01 61 80 00");
    CHECK_STOP(o, HR_BAD_VALUE, 20, "key", 1, 0);
    o = request("a0 01 1b 39 00 00 01 00 00 77 0000000000000000 01 61");
    CHECK_STOP(o, HR_NEED_MORE, 20, "key", 1, 0);
}

static void test_transaction_ids(void)
{
    CHECK_STOP(request("a0 01 1b 3d 00 00 01 00 01 00"), HR_BAD_VALUE, 9, "xid global part", 64, 0);
    CHECK_STOP(request("a0 01 1b 3d 00 00 01 00 01 41"), HR_BAD_VALUE, 9, "xid global part", 64,
               65);
    CHECK_STOP(request("a0 01 1b 3d 00 00 01 00 01 01 61 80"), HR_BAD_VALUE, 11, "xid branch part",
               64, 128);
    outcome *o = request("a0 01 1b 3d 00 00 01 00 01 01 61 01 62");
    CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
    CHECK_INT(o->m.request.body.tx_id.format_id, -1);
    CHECK_INT(o->m.request.body.tx_id.global_id.len, 1);
}

static void test_control_of_a_modification(void)
{
    outcome *o = request("a0 01 1b 3b 00 00 01 00 00 01 61 01 62 01 01 01 6b 03");
    CHECK_STOP(o, HR_BAD_VALUE, 17, "control", HR_NON_EXISTING | HR_REMOVES, 3);
    CHECK_INT(o->d.stop.item, 0);
}

static void test_flags_of_a_counter(void)
{
    CHECK_STOP(request("a0 01 1b 4b 00 00 01 00 01 63 03"), HR_BAD_VALUE, 10, "counter flags", 6,
               3);
    CHECK_STOP(request("a0 01 1b 4b 00 00 01 00 01 63 01 05 0000000000000007"), HR_OK, 0, NULL, 0,
               0);
}

static void test_events(void)
{
    outcome *o = response(NULL, 20, 1, 0, "a1 00 60 00 00 01 aa 00 01 01 6b 0000000000000005");
    CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
    CHECK(o->m.response.row == row_called("CACHE_ENTRY_CREATED"));
    CHECK(o->m.response.body.written.retried);
    CHECK_INT(o->m.response.body.written.entry_version, 5);
    CHECK_STOP(response("GET", 41, 3, 0, "a1 00 63 00 00 01 aa 03"), HR_BAD_VALUE, 7,
               "custom_marker", 2, 3);
    CHECK_STOP(response("GET", 41, 3, 0, "a1 00 63 03 00"), HR_BAD_STATUS, 3, "status", 0, 3);
    o = response("GET", 41, 3, 0, "a1 00 66 00 00 01 63 01 aa 0c");
    CHECK_STOP(o, HR_BAD_VALUE, 9, "state", 0x0a, 0x0c);
}

static void test_metadata_of_an_iterated_entry(void)
{
    outcome *o = response("ITERATION_NEXT", 25, 1, 0, "a1 01 34 00 00 00 01 01 02 00 00");
    CHECK_STOP(o, HR_BAD_VALUE, 8, "has metadata", 1, 2);
    CHECK_INT(o->d.stop.item, 0);
}

/* Statuses with a meaning of their own for some operations. */
static void test_statuses_of_some_operations(void)
{
    static const struct {
        const char *op, *hex;
        hr_result result;
    } answers[] = {
        {"ITERATION_NEXT", "a1 01 34 05 00 00 00", HR_OK},
        {"ITERATION_END", "a1 01 36 05 00", HR_OK},
        {"ITERATION_START", "a1 01 32 05 00", HR_BAD_STATUS},
        {"COUNTER_ADD_AND_GET", "a1 01 53 04 00", HR_OK},
        {"COUNTER_ADD_AND_GET", "a1 01 53 03 00", HR_BAD_STATUS},
        {"COUNTER_RESET", "a1 01 55 04 00", HR_BAD_STATUS},
        {"NEXT_PUT_STREAM", "a1 01 ec 00 00", HR_OK},
        {"NEXT_PUT_STREAM", "a1 01 ec 04 00 03 0000000000000007 00", HR_OK},
        {"REMOVE", "a1 01 0c 08 00 03 0000000000000007 00", HR_OK},
        {"CONTAINS_KEY", "a1 01 10 03 00", HR_BAD_STATUS},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        outcome *o = response(answers[i].op, 41, 1, 0, answers[i].hex);
        CHECK_INT(o->d.stop.result, answers[i].result);
        CHECK_INT(o->d.used, answers[i].result == HR_OK ? o->size : 3);
    }
}

/* ---- topologies ----------------------------------------------------------------------------- */

static void test_an_owner_out_of_range(void)
{
    outcome *o = response("GET", 20, 3, 0,
                          "a1 01 04 00 01 05 02 01 61 2c22 01 62 2c22 03 03"
                          "02 00 01 02 01 02 01 00 00");
    CHECK_STOP(o, HR_BAD_VALUE, 22, "owners of segment", 2, 2);
    CHECK_INT(o->d.stop.item, 1);
    /* Of no servers, none can be an owner. */
    o = response("GET", 41, 3, 0, "a1 01 04 00 01 05 00 03 01 01 00 00");
    CHECK_STOP(o, HR_BAD_VALUE, 10, "owners of segment", 0, 0);
}

static void test_segments_without_owners(void)
{
    outcome *o = response("GET", 20, 3, 0, "a1 01 04 00 01 05 00 03 03 00 00 00 00");
    CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
    CHECK_INT(o->m.response.topology.num_segments, 3);
    CHECK_INT(o->m.response.topology.num_owners, 0);
}

/* Hash version 0: no segment follows whatever their number. */
static void test_hash_version_0_has_no_segments(void)
{
    outcome *o = response("GET", 41, 3, 0, "a1 01 04 00 01 05 01 01 61 2c22 00 8002 01 76");
    CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
    CHECK_INT(o->d.used, o->size);
    const hr_topology *t = &o->m.response.topology;
    CHECK_INT(t->hash_version, 0);
    CHECK_INT(t->num_segments, 256);
    CHECK_INT(t->num_owners, 0);
    size_t size;
    uint8_t *back = encode_message(&o->m, &size);
    CHECK_BYTES(back, size, o->in, o->size);
    free(back);
}

static void test_a_topology_wants_a_client_that_can_read_it(void)
{
    for (unsigned intelligence = 0; intelligence < 256; intelligence++) {
        outcome *o = response("GET", 41, (uint8_t)intelligence, 0, "a1 01 04 02 01");
        if (intelligence == 2 || intelligence == 3)
            CHECK_STOP(o, HR_NEED_MORE, 5, "topology id", 1, 0);
        else
            CHECK_STOP(o, HR_BAD_VALUE, 4, "topology marker", intelligence, 1);
    }
}

/* ---- limits --------------------------------------------------------------------------------- */

typedef struct limited {
    const char *limit, *field;
    const char *op;                /* NULL: a request or an event */
    uint8_t version, intelligence; /* 0: a request */
    const char *hex;               /* up to the number that the limit is about, then the rest */
    const char *rest;
    uint64_t number;
    bool is_marked; /* the number is not in the frame */
} limited;

static const limited LIMITED[] = {
    {"text", "cache name", NULL, 0, 0, "a0 01 29 13 03", "616263 00 01 00 00 00 00", 3, false},
    {"text", "key media type", NULL, 0, 0, "a0 01 1c 13 00 00 01 00 02 04", "612f6263 00 00", 4,
     false},
    {"params", "key media type", NULL, 0, 0, "a0 01 1c 13 00 00 01 00 01 0d 02",
     "01 61 01 62 01 61 01 62 00", 2, false},
    {"params", "value media type", NULL, 0, 0, "a0 01 1c 13 00 00 01 00 00 02 00 01", "01 61 00", 1,
     false},
    {"text", "value media type", NULL, 0, 0, "a0 01 1c 13 00 00 01 00 00 02 00 01 01 61 03",
     "616161", 3, false},
    {"params", "other parameters", NULL, 0, 0, "a0 01 28 13 00 00 01 00 00 00 02", "00 00 00 00", 2,
     false},
    {"text", "name", NULL, 0, 0, "a0 01 28 13 00 00 01 00 00 00 01 02", "6161 00", 2, false},
    {"bytes", "value", NULL, 0, 0, "a0 01 28 13 00 00 01 00 00 00 01 00 02", "6161", 2, false},
    {"bytes", "key", NULL, 0, 0, "a0 01 14 03 00 00 01 00 05", "6161616161", 5, false},
    {"bytes", "value", NULL, 0, 0, "a0 01 16 01 00 00 01 00 00 77 05", "6161616161", 5, false},
    {"items", "keys", NULL, 0, 0, "a0 01 16 2f 00 00 01 00 03", "00 00 00", 3, false},
    {"bytes", "key", NULL, 0, 0, "a0 01 16 2f 00 00 01 00 03 00 02", "6161 00", 2, false},
    {"items", "entries", NULL, 0, 0, "a0 01 16 2d 00 00 01 00 77 02", "00 00 00 00", 2, false},
    {"bytes", "value", NULL, 0, 0, "a0 01 16 2d 00 00 01 00 77 02 00 03", "616161 00 00", 3, false},
    {"bytes", "value", "GET", 41, 1, "a1 01 04 00 00 05", "6161616161", 5, false},
    {"bytes", "previous", "PUT", 20, 1, "a1 01 02 03 00 05", "6161616161", 5, false},
    {"bytes", "previous", "PUT", 40, 1, "a1 01 02 03 00 03 0000000000000000 02", "6161", 2, false},
    {"text", "error", "PUT", 20, 1, "a1 01 50 85 00 05", "6161616161", 5, false},
    {"items", "stats", "STATS", 20, 1, "a1 01 16 00 00 01", "00 00", 1, false},
    {"text", "name", "STATS", 20, 1, "a1 01 16 00 00 01 02", "6161 00", 2, false},
    {"text", "value", "STATS", 20, 1, "a1 01 16 00 00 01 00 02", "6161", 2, false},
    {"items", "opcodes", "PING", 41, 1, "a1 01 18 00 00 00 00 29 03", "0001 0002 0003", 3, false},
    {"params", "key_media_type", "PING", 29, 1, "a1 01 18 00 00 01 0c 01", "00 00 00", 1, false},
    {"items", "more", "BULK_GET_KEYS", 41, 1, "a1 01 1e 00 00 01 00 01 00 01", "00 00", 3, true},
    {"items", "more", "BULK_GET", 10, 1, "a1 01 1a 00 00 01", "00 00 00", 1, true},
    {"bytes", "key", "BULK_GET", 10, 1, "a1 01 1a 00 00 01 02", "6161 00 00", 2, false},
    {"bytes", "value", "BULK_GET", 10, 1, "a1 01 1a 00 00 01 00 02", "6161 00", 2, false},
    {"servers", "number of servers", "GET", 41, 3, "a1 01 04 00 01 05 02",
     "00 0000 00 0000 03 00 00", 2, false},
    {"servers", "number of servers", "GET", 41, 2, "a1 01 04 00 01 05 02", "00 0000 00 0000 00", 2,
     false},
    {"servers", "number of servers", "GET", 10, 3, "a1 01 04 00 01 05 0002 02 64 01",
     "00 0000 00000000 00", 1, false},
    {"servers", "number of servers", "GET", 11, 3, "a1 01 04 00 01 05 0002 02 64 01",
     "01 00 0000 00000000 00", 1, false},
    {"text", "host", "GET", 13, 3, "a1 01 04 00 01 05 0002 02 64 01 01 02", "6161 0000 00000000 00",
     2, false},
    {"text", "host", "GET", 41, 2, "a1 01 04 00 01 05 01 02", "6161 0000 00", 2, false},
    {"segments", "number of segments", "GET", 41, 3, "a1 01 04 00 01 05 00 03 02", "00 00 00", 2,
     false},
    {"segments", "number of segments", "GET", 41, 3, "a1 01 04 00 01 05 00 00 02", "00", 2, false},
    {"text", "mechanism", NULL, 0, 0, "a0 01 1b 23 00 00 01 00 02", "6161 00", 2, false},
    {"bytes", "response", NULL, 0, 0, "a0 01 1b 23 00 00 01 00 00 02", "6161", 2, false},
    {"text", "factory", NULL, 0, 0, "a0 01 1b 25 00 00 01 00 00 00 02", "6161 00 00 00 00", 2,
     false},
    {"items", "factory parameters", NULL, 0, 0, "a0 01 1b 25 00 00 01 00 00 00 01 61 02",
     "00 00 00 00 00", 2, false},
    {"items", "params", NULL, 0, 0, "a0 01 1b 2b 00 00 01 00 00 02", "00 00 00 00", 2, false},
    {"items", "mechanisms", "AUTH_MECH_LIST", 31, 1, "a1 01 22 00 00 02", "00 00", 2, false},
    {"items", "key", NULL, 0, 0, "a0 01 1b 39 00 00 01 00 00 77 0000000000000000 01 61 01", "62 00",
     2, true},
    {"bytes", "key", NULL, 0, 0, "a0 01 1b 39 00 00 01 00 00 77 0000000000000000 02", "6161 00", 2,
     false},
    {"text", "filter_factory", NULL, 0, 0, "a0 01 1b 31 00 00 01 00 01 04", "6161 00 01 00", 2,
     false},
    {"items", "projections, entries", "ITERATION_NEXT", 25, 1, "a1 01 34 00 00 00 02",
     "00 00 00 00 00", 2, false},
    {"items", "projections", "ITERATION_NEXT", 25, 1, "a1 01 34 00 00 00 01 02", "00 00 00 00", 2,
     false},
    {"bytes", "value", "ITERATION_NEXT", 25, 1, "a1 01 34 00 00 00 01 01 00 00 02", "6161", 2,
     false},
    {"items", "modifications", NULL, 0, 0, "a0 01 1b 3b 00 00 01 00 00 01 61 01 62 01 01",
     "01 6b 05", 1, false},
    {"bytes", "key", NULL, 0, 0, "a0 01 1b 3b 00 00 01 00 00 01 61 01 62 01 01 02", "6b6b 05", 2,
     false},
    {"items", "xids", "FETCH_TX_RECOVERY", 31, 1, "a1 01 7c 00 00 01", "00 01 61 01 62", 1, false},
    {"items", "values", "GET_MULTIMAP", 31, 1, "a1 01 68 00 00 01", "00", 1, false},
    {"bytes", "event_data", NULL, 31, 1, "a1 00 62 00 00 00 01 00 02", "6161", 2, false},
};

static uint64_t *limit_called(hr_limits *limits, const char *name)
{
#define LIMIT(member)             \
    if (same_text(name, #member)) \
        return &limits->member;
    LIMIT(bytes)
    LIMIT(text)
    LIMIT(items)
    LIMIT(params)
    LIMIT(servers)
    LIMIT(segments)
    abort();
}

static void test_each_limit_names_itself(void)
{
    for (size_t i = 0; i < sizeof LIMITED / sizeof LIMITED[0]; i++) {
        const limited *l = &LIMITED[i];
        message like = l->version ? context(l->op, l->version, l->intelligence, 0) : (message){0};
        char hex[200];
        snprintf(hex, sizeof hex, "%s%s", l->hex, l->rest);

        hr_limits limits = NO_LIMITS;
        *limit_called(&limits, l->limit) = l->number;
        outcome *o = decode_cut(like, hex, &limits, 0);
        CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
        CHECK_INT(o->d.used, o->size);

        /* Above the limit: said before anything that follows the number is looked at. */
        *limit_called(&limits, l->limit) = l->number - 1;
        for (int cut_off = 0; cut_off < 2; cut_off++) {
            o = decode_cut(like, cut_off ? l->hex : hex, &limits, 0);
            size_t number_at;
            free(exact_hex(l->hex, &number_at));
            CHECK_STOP(o, HR_OVER_LIMIT, number_at - 1, l->field, l->number - 1, l->number);
            CHECK(same_text(o->d.stop.limit, l->limit));
        }
    }
}

/* A set of segments has an eighth of a byte for each: the limit is told in bytes. */
static void test_sets_of_segments_have_limits(void)
{
    hr_limits limits = NO_LIMITS;
    limits.segments = 16;
    outcome *o = decode_cut((message){0}, "a0 01 1b 31 00 00 01 00 04 0a30 01 01 00", &limits, 0);
    CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
    limits.segments = 8;
    o = decode_cut((message){0}, "a0 01 1b 31 00 00 01 00 04 0a30 01 01 00", &limits, 0);
    CHECK_STOP(o, HR_OVER_LIMIT, 8, "segments", 1, 2);
    CHECK(same_text(o->d.stop.limit, "segments"));
    o = decode_cut(context("ITERATION_NEXT", 41, 1, 0), "a1 01 34 00 00 02", &limits, 0);
    CHECK_STOP(o, HR_OVER_LIMIT, 5, "finished_segments", 1, 2);
}

static void test_a_walk_has_limits(void)
{
    const hr_limits limits = {.bytes = 1, .items = 2};
    uint8_t *in = exact_copy("\1\1a\1\0\1\0\0", 8);
    hr_cursor c = {.kind = HR_BYTES_MORE, .limit = limits.items};
    size_t used;
    hr_stop stop;
    CHECK_INT(hr_walk_list(&c, in, 8, SIZE_MAX, &limits, &used, &stop), HR_OVER_LIMIT);
    CHECK_INT(stop.at, 5);
    CHECK_INT(used, 5);
    CHECK_INT(c.count, 2);
    CHECK(same_text(stop.limit, "items"));
    CHECK_INT(stop.found, 3);

    c = (hr_cursor){.kind = HR_BYTES_LIST, .left = 2};
    CHECK_INT(hr_walk_list(&c, (const uint8_t *)"\1a\2bb", 5, SIZE_MAX, &limits, &used, &stop),
              HR_OVER_LIMIT);
    CHECK_INT(stop.at, 2);
    CHECK_INT(used, 2);
    CHECK_INT(c.count, 1);
    CHECK_INT(stop.item, 1);
    CHECK(same_text(stop.limit, "bytes"));
    free(in);
}

/* ---- what is asked for when a frame is cut -------------------------------------------------- */

static void check_need(const char *op, uint8_t version, const char *hex, size_t need)
{
    outcome *o = decode_cut(op ? context(op, version, 3, 0) : (message){0}, hex, &NO_LIMITS, 0);
    CHECK_INT(o->d.stop.result, HR_NEED_MORE);
    CHECK_INT(o->d.stop.need, need);
}

static void test_need_counts_what_must_follow(void)
{
    check_need(NULL, 0, "a0 01 14 03 00 00 01 00 05 61", 4);
    check_need("GET", 20, "a1 01 04 00 00 e807", 1000);
    /* Of each item that is still to come, the least. */
    check_need(NULL, 0, "a0 01 16 2f 00 00 01 00 e807", 1000);
    check_need(NULL, 0, "a0 01 16 2f 00 00 01 00 e807 00 00", 998);
    check_need(NULL, 0, "a0 01 16 2f 00 00 01 00 e807 05", 1004);
    check_need("PING", 30, "a1 01 18 00 00 00 00 29 e807 00", 1999);
    check_need("GET", 20, "a1 01 04 00 01 05 0a", 28);
    check_need("GET", 10, "a1 01 04 00 01 05 0002 02 64 0a", 64);
    check_need("GET", 20, "a1 01 04 00 01 05 00 03 e807", 1000);
    check_need("GET", 20, "a1 01 04 00 01 05 01 00 0000 03 e807 05 00", 1003);
    /* What is announced is asked for, not reserved. */
    check_need(NULL, 0, "a0 01 14 03 00 00 01 00 ffffffff07", INT32_MAX);
}

/* ---- what is read and not written ----------------------------------------------------------- */

static void check_loose(outcome *o, const char *canonical)
{
    CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
    CHECK_INT(o->d.used, o->size);
    CHECK(*loose_of(&o->m));
    unpack_message(&blocks, &o->m);
    size_t size, wanted_size;
    uint8_t *out = encode_message(&o->m, &size);
    uint8_t *wanted = exact_hex(canonical, &wanted_size);
    CHECK_BYTES(out, size, wanted, wanted_size);
    free(out);
    free(wanted);
}

static void test_loose_requests(void)
{
    /* A transaction type; padded numbers; seconds below 0. */
    check_loose(request("a0 01 0d 13 00 00 01 00 01"), "a0 01 0d 13 00 00 01 00 00");
    check_loose(request("a0 8100 14 13 8000 8000 01 85808000"), "a0 01 14 13 00 00 01 05");
    check_loose(request("a0 01 14 03 00 00 01 00 8100 61"), "a0 01 14 03 00 00 01 00 01 61");
    check_loose(request("a0 01 16 2f 00 00 01 00 01 8100 61"), "a0 01 16 2f 00 00 01 00 01 01 61");
    check_loose(request("a0 01 14 01 00 00 01 00 00 ffffffff0f ffffffff0f 00"),
                "a0 01 14 01 00 00 01 00 00 00 00 00");
}

static void test_loose_forms_of_some_operations(void)
{
    /* A bool of 2; lengths below -1; zero bytes behind a set; unknown flags of a counter. */
    check_loose(request("a0 01 28 71 00 00 01 00 00 00 00 02"),
                "a0 01 28 71 00 00 01 00 00 00 00 01");
    check_loose(request("a0 01 1b 31 00 00 01 00 03 05 01 01"),
                "a0 01 1b 31 00 00 01 00 01 01 01 01");
    check_loose(request("a0 01 1b 31 00 00 01 00 06 0a0000 01 01 00"),
                "a0 01 1b 31 00 00 01 00 02 0a 01 01 00");
    check_loose(request("a0 01 1b 4b 00 00 01 00 01 63 fc 0000000000000007"),
                "a0 01 1b 4b 00 00 01 00 01 63 04 0000000000000007");
    check_loose(response("GET", 41, 3, 0, "a1 00 62 00 00 01 aa 00 02 01 6b"),
                "a1 00 62 00 00 01 aa 00 00 01 6b");
    check_loose(response("AUTH", 41, 3, 0, "a1 01 24 85 00 01 61"), "a1 01 50 85 00 01 61");
}

/* Seconds below 0 are none, or the default where the flag says so, just as 0. */
static void test_negative_seconds_are_as_zero(void)
{
    outcome *o = request("a0 01 14 01 00 02 01 00 00 ffffffff0f ffffffff0f 00");
    CHECK_INT(o->m.request.body.expiration.lifespan_unit, HR_UNIT_DEFAULT);
    CHECK_INT(o->m.request.body.expiration.max_idle_unit, HR_UNIT_INFINITE);
    check_loose(o, "a0 01 14 01 00 02 01 00 00 00 00 00");
}

static void test_loose_responses(void)
{
    /* Another marker than 1 is none; unknown metadata flags; an error under the answer's code. */
    check_loose(response("GET", 41, 3, 0, "a1 01 04 02 02"), "a1 01 04 02 00");
    check_loose(response("GET_WITH_METADATA", 41, 3, 0, "a1 01 1c 00 00 ff 0000000000000007 00"),
                "a1 01 1c 00 00 03 0000000000000007 00");
    outcome *o = response("GET", 41, 3, 0, "a1 01 04 85 00 01 61");
    CHECK(o->m.response.is_error);
    check_loose(o, "a1 01 50 85 00 01 61");
    check_loose(response("GET", 41, 2, 0, "a1 01 04 02 01 8500 8100 8100 61 2c22"),
                "a1 01 04 02 01 05 01 01 61 2c22");
}

/* ---- previous values ------------------------------------------------------------------------ */

static const char *const WITH_PREVIOUS[] = {
    "PUT", "PUT_IF_ABSENT", "REPLACE", "REMOVE", "REPLACE_IF_UNMODIFIED", "REMOVE_IF_UNMODIFIED"};
enum { NUM_WITH_PREVIOUS = sizeof WITH_PREVIOUS / sizeof WITH_PREVIOUS[0] };

/* Whether two bytes, "01 76", behind the marker belong to the answer. */
static bool takes_previous(const char *op, uint8_t version, uint32_t flags, bool legacy_server,
                           uint8_t status)
{
    char hex[40];
    snprintf(hex, sizeof hex, "a1 01 %02x %02x 00 01 76", row_called(op)->response, status);
    message like = context(op, version, 1, flags);
    like.context.legacy_server = legacy_server;
    outcome *o = decode_cut(like, hex, &NO_LIMITS, 0);
    CHECK_INT(o->d.stop.result, HR_OK);
    bool taken = o->d.used == 7;
    CHECK(taken || o->d.used == 5);
    if (taken && row_called(op)->response_body[0] == HR_PREVIOUS) {
        CHECK(hr_response_fields(&o->m.response)[0] == HR_PREVIOUS);
        CHECK_INT(o->m.response.body.previous.value.len, 1);
    }
    return taken;
}

static void test_previous_values_1x_follow_the_flag(void)
{
    for (size_t i = 0; i < NUM_WITH_PREVIOUS; i++)
        for (uint8_t version = 10; version <= 13; version++)
            for (uint8_t status = 0; status <= 2; status++)
                for (uint32_t flags = 0; flags < 8; flags++)
                    CHECK(takes_previous(WITH_PREVIOUS[i], version, flags, false, status) ==
                          (flags & 1));
}

/* As server 9.4 writes 1.x: not after these two. */
static void test_legacy_server_values(void)
{
    for (size_t i = 0; i < NUM_WITH_PREVIOUS; i++)
        for (uint8_t status = 0; status <= 2; status++) {
            const char *op = WITH_PREVIOUS[i];
            bool left_out = (!strcmp(op, "PUT_IF_ABSENT") && status == 0) ||
                            (!strcmp(op, "REPLACE") && status == 1);
            CHECK(takes_previous(op, 12, 1, true, status) == !left_out);
            CHECK(!takes_previous(op, 12, 0, true, status));
        }
}

/* And after "no such key" of every other operation, a length that is not a value. */
static void test_legacy_server_has_a_length_behind_misses(void)
{
    for (uint8_t version = 10; version <= 13; version++) {
        CHECK(takes_previous("GET", version, 1, true, 2));
        CHECK(!takes_previous("GET", version, 0, true, 2));
        CHECK(!takes_previous("GET", version, 1, false, 2));
        CHECK(takes_previous("CONTAINS_KEY", version, 1, true, 2));
        CHECK(!takes_previous("CONTAINS_KEY", version, 1, true, 0));
    }
    CHECK(!takes_previous("GET", 20, 1, true, 2));
}

/* From 2.0 on, behind one operation's "no such key", an entry that is none. */
static void test_legacy_server_has_an_empty_entry_behind_a_miss(void)
{
    static const char entry[] = "a1 01 6a 02 00 03 ffffffffffffffff 00";
    for (uint8_t version = 27; version <= 29; version++) {
        message like = context("GET_MULTIMAP_WITH_METADATA", version, 1, 0);
        outcome *o = decode_cut(like, entry, &NO_LIMITS, 0);
        CHECK(o->d.stop.result == HR_OK && o->d.used == 5 && !o->m.response.loose);
        like.context.legacy_server = true;
        check_loose(decode_cut(like, entry, &NO_LIMITS, 0), "a1 01 6a 02 00");
        for (size_t cut = 1; cut <= 14; cut++) {
            o = decode_cut(like, entry, &NO_LIMITS, cut);
            CHECK_INT(o->d.stop.result, HR_NEED_MORE);
            CHECK(o->d.stop.need > 0 && o->d.stop.need <= cut);
        }
        /* Where something is there, the status is wrong: nothing is dropped. */
        o = decode_cut(like, "a1 01 6a 02 00 03 ffffffffffffffff 01 01 76", &NO_LIMITS, 0);
        CHECK_STOP(o, HR_BAD_VALUE, 14, "values", 0, 1);
        /* Neither behind another status nor behind another operation's miss. */
        o = decode_cut(like, "a1 01 6a 01 00", &NO_LIMITS, 0);
        CHECK(o->d.stop.result == HR_OK && o->d.used == 5);
        like.context.row = row_called("GET_MULTIMAP");
        o = decode_cut(like, "a1 01 68 02 00", &NO_LIMITS, 0);
        CHECK(o->d.stop.result == HR_OK && o->d.used == 5);
    }
}

static void test_previous_values_from_20_on_follow_the_status(void)
{
    for (size_t i = 0; i < NUM_WITH_PREVIOUS; i++)
        for (size_t v = 0; v < NUM_VERSIONS; v++)
            for (uint8_t status = 0; status <= 8; status++) {
                /* From 4.0 on metadata comes first: test_dumps.c. */
                if (ALL_VERSIONS[v] < 20 || ALL_VERSIONS[v] >= 40 || status == 5)
                    continue;
                bool there = status == 3 || status == 4 || status == 7 || status == 8;
                for (uint32_t flags = 0; flags < 2; flags++)
                    CHECK(takes_previous(WITH_PREVIOUS[i], ALL_VERSIONS[v], flags, flags, status) ==
                          there);
            }
}

static void test_an_error_has_no_previous_value(void)
{
    outcome *o = response("PUT", 10, 1, 1, "a1 01 50 85 00 01 61");
    CHECK_STOP(o, HR_OK, 0, NULL, 0, 0);
    CHECK(o->m.response.is_error && o->d.used == 7);
    CHECK_INT(o->m.response.body.error.len, 1);
}

/* ---- the first bytes of a response ---------------------------------------------------------- */

static void test_peek(void)
{
    size_t size;
    uint8_t *in = exact_hex("a1 ac02 04", &size);
    uint64_t id = 0;
    uint8_t code = 0;
    hr_stop stop;
    CHECK_INT(hr_peek_response(in, size, &id, &code, &stop), HR_OK);
    CHECK(id == 300 && code == 4);
    for (size_t n = 0; n < size; n++) {
        uint8_t *cut = exact_copy(in, n);
        CHECK_INT(hr_peek_response(cut, n, &id, &code, &stop), HR_NEED_MORE);
        CHECK(stop.need == 1);
        free(cut);
    }
    in[0] = 0xa0;
    CHECK_INT(hr_peek_response(in, 1, &id, &code, &stop), HR_BAD_MAGIC);
    free(in);
}

int main(void)
{
    int result = RUN(
        TEST(test_request_magic), TEST(test_request_version), TEST(test_request_opcode),
        TEST(test_numbers_of_the_request_header), TEST(test_media_kind), TEST(test_time_units),
        TEST(test_response_magic), TEST(test_response_opcode), TEST(test_response_status),
        TEST(test_an_error_needs_no_request), TEST(test_the_byte_before_an_item),
        TEST(test_items_say_which_they_are), TEST(test_counts_of_one_byte),
        TEST(test_the_end_of_pieces), TEST(test_transaction_ids),
        TEST(test_control_of_a_modification), TEST(test_flags_of_a_counter), TEST(test_events),
        TEST(test_metadata_of_an_iterated_entry), TEST(test_statuses_of_some_operations),
        TEST(test_an_owner_out_of_range), TEST(test_segments_without_owners),
        TEST(test_hash_version_0_has_no_segments),
        TEST(test_a_topology_wants_a_client_that_can_read_it), TEST(test_each_limit_names_itself),
        TEST(test_sets_of_segments_have_limits), TEST(test_a_walk_has_limits),
        TEST(test_need_counts_what_must_follow), TEST(test_loose_requests),
        TEST(test_loose_forms_of_some_operations), TEST(test_negative_seconds_are_as_zero),
        TEST(test_loose_responses), TEST(test_previous_values_1x_follow_the_flag),
        TEST(test_legacy_server_values), TEST(test_legacy_server_has_a_length_behind_misses),
        TEST(test_legacy_server_has_an_empty_entry_behind_a_miss),
        TEST(test_previous_values_from_20_on_follow_the_status),
        TEST(test_an_error_has_no_previous_value), TEST(test_peek));
    decode_cut((message){0}, "", &NO_LIMITS, 0);
    pool_end(&blocks);
    return result;
}
