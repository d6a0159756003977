/* test_codec.c - every row of ops.def in every version, both directions: round trips, prefixes,
 * pieces. Messages are made by messages.h; what a field means is not known here. */
#include "messages.h"

enum { MESSAGES_OF_EACH = 6 };

static pool blocks;

static void say_which(const message *m)
{
    const hr_row *row = m->is_response ? m->response.row : m->request.row;
    fprintf(stderr, "    %s %s, version %d, status 0x%02x\n", row ? row->name : "?",
            m->is_response ? "response" : "request", version_of(m),
            m->is_response ? m->response.status : 0);
}

/* `what` is wrong with the message `m`, which is `size` bytes at `in`. */
static void check_at(int line, bool right, const char *what, const message *m, const uint8_t *in,
                     size_t size)
{
    if (right)
        return;
    harness_fail(__FILE__, line, what);
    say_which(m);
    harness_print_hex("frame", in, size);
}
#define CHECK_OF(right) check_at(__LINE__, (right), #right, m, in, size)
#define CHECK_NONE(problem)                                                 \
    do {                                                                    \
        const char *found = (problem);                                      \
        check_at(__LINE__, found == NULL, found ? found : "", m, in, size); \
    } while (0)

static hr_decoding decoding(void)
{
    return (hr_decoding){.limits = &NO_LIMITS};
}

/* A proper prefix asks for more; as many bytes as it asks for do not go past the end. */
static void check_prefixes(const message *m, const uint8_t *in, size_t size)
{
    static message got;
    size_t steps = 0, next = 0;
    for (size_t n = 0; n < size; n++) {
        uint8_t *cut = exact_copy(in, n);
        prepare_message(m, 0, &got);
        hr_decoding d = decoding();
        hr_result result = decode_message(cut, n, &got, &d);
        free(cut);
        CHECK_OF(result == HR_NEED_MORE);
        CHECK_OF(d.stop.result == HR_NEED_MORE);
        CHECK_OF(d.stop.field != NULL);
        CHECK_OF(d.stop.need > 0 && n + d.stop.need <= size);
        CHECK_OF(d.used <= n && d.stop.at <= n);
        CHECK_OF(d.stop.wanted > d.stop.found);
        if (n == next) {
            next += d.stop.need;
            steps++;
        }
    }
    CHECK_OF(next == size); /* feeding exactly what was asked for arrives at the end */
    CHECK_OF(steps <= size);
}

static void check_pieces(const message *m, const message *whole, const uint8_t *in, size_t size,
                         const bool *cut, size_t most)
{
    static message got;
    prepare_message(m, 0, &got);
    hr_decoding d = decoding();
    CHECK_NONE(decode_in_pieces(in, size, cut, most, &got, &d));
    CHECK_OF(d.stop.result == HR_OK && d.used == size);
    CHECK_OF(!*loose_of(&got));
    CHECK_NONE(difference(&blocks, whole, &got));
}

/* All at once, byte by byte, in two pieces at every place, and in some other pieces. */
static void check_some_pieces(const message *m, const message *whole, const uint8_t *in,
                              size_t size, uint64_t *state)
{
    bool *cut = (bool *)exact_block(size * sizeof *cut);
    memset(cut, false, size);
    check_pieces(m, whole, in, size, cut, SIZE_MAX);
    check_pieces(m, whole, in, size, cut, 1);
    for (size_t i = 0; i < size; i++) {
        cut[i] = true;
        check_pieces(m, whole, in, size, cut, SIZE_MAX);
        cut[i] = false;
    }
    for (size_t i = 0; i < size; i++)
        cut[i] = harness_random(state) % 8 == 0;
    check_pieces(m, whole, in, size, cut, 2);
    memset(cut, true, size);
    check_pieces(m, whole, in, size, cut, SIZE_MAX);
    free(cut);
}

typedef struct tiles {
    size_t end;
    bool gap;
} tiles;

static void lay_tile(void *arg, const char *name, size_t from, size_t to, hr_kind kind,
                     int64_t item)
{
    tiles *t = arg;
    if (from != t->end || to <= from || !name || item < -1 || kind == 0)
        t->gap = true;
    t->end = to;
}

/* The message that was made encodes to bytes that decode to it. */
static void check_round_trip(const message *m, uint64_t *state)
{
    static message got, again;
    size_t size, size_again;
    uint8_t *in = encode_message(m, &size);
    uint8_t *more = exact_block(size + 3);
    memcpy(more, in, size);
    memcpy(more + size, "\xa1\x80\xff", 3);

    prepare_message(m, 0x5a, &got);
    hr_decoding d = decoding();
    CHECK_OF(decode_message(in, size, &got, &d) == HR_OK);
    CHECK_OF(d.used == size && !*loose_of(&got));
    if (d.stop.result != HR_OK) {
        free(in);
        free(more);
        return;
    }
    CHECK_NONE(difference(&blocks, m, &got));
    bool quick;
    CHECK_NONE(quick_problem(in, size, &got, &d, &quick));

    uint8_t *out = encode_message(&got, &size_again);
    check_at(__LINE__, size_again == size && !memcmp(in, out, size), "encodes differently", m, in,
             size);
    free(out);

    /* What follows the frame is not looked at; nor what the structs held before. */
    prepare_message(m, 0xff, &again);
    CHECK_OF(decode_message(more, size + 3, &again, &d) == HR_OK && d.used == size);
    CHECK_NONE(difference(&blocks, &got, &again));

    tiles t = {0};
    d.trace = lay_tile;
    d.trace_arg = &t;
    prepare_message(m, 0, &again);
    CHECK_OF(decode_message(in, size, &again, &d) == HR_OK && d.used == size);
    CHECK_OF(!t.gap && t.end == size);

    check_prefixes(m, in, size);
    check_some_pieces(m, &got, in, size, state);
    free(in);
    free(more);
    pool_empty(&blocks);
}

static bool row_has(const hr_row *row, uint8_t version)
{
    return version >= row->since && version <= row->until;
}

static void test_every_request_round_trips(void)
{
    static message m;
    maker mk = {.state = 1, .pool = &blocks, .most = 3};
    size_t requests = 0;
    for (size_t i = 0; i < hr_num_rows; i++) {
        const hr_row *row = &hr_rows[i];
        for (size_t v = 0; v < NUM_VERSIONS && !row->is_event; v++) {
            if (!row_has(row, ALL_VERSIONS[v]))
                continue;
            for (int n = 0; n < MESSAGES_OF_EACH; n++) {
                make_request(&mk, row, ALL_VERSIONS[v], &m);
                check_round_trip(&m, &mk.state);
                requests++;
            }
        }
    }
    CHECK(requests > 0);
    printf("%zu requests\n", requests);
}

/* With every status that the operation may answer with: those that the decoder does not take must
 * be refused at the status. Success and errors belong to every operation. */
static void test_every_response_round_trips(void)
{
    static message made, got;
    const message *m = &made;
    maker mk = {.state = 2, .pool = &blocks, .most = 3};
    size_t responses = 0, refused = 0;
    for (size_t i = 0; i < hr_num_rows; i++) {
        const hr_row *row = &hr_rows[i];
        for (size_t v = 0; v < NUM_VERSIONS; v++) {
            if (!row_has(row, ALL_VERSIONS[v]))
                continue;
            for (size_t s = 0; s < NUM_STATUSES; s++) {
                uint8_t status = ALL_STATUSES[s];
                if (row->is_event && status != 0)
                    continue; /* events have no other */
                int number = status == 0 ? MESSAGES_OF_EACH : 1;
                for (int n = 0; n < number; n++) {
                    make_response(&mk, row, ALL_VERSIONS[v], status, &made);
                    size_t size;
                    uint8_t *in = encode_message(m, &size);
                    prepare_message(m, 0, &got);
                    hr_decoding d = decoding();
                    decode_message(in, size, &got, &d);
                    if (d.stop.result == HR_BAD_STATUS) {
                        CHECK_OF(status != 0 && status < 0x80);
                        CHECK_OF(in[d.stop.at] == status && d.used == d.stop.at);
                        refused++;
                        n = number;
                    } else {
                        check_round_trip(m, &mk.state);
                        responses++;
                    }
                    free(in);
                    pool_empty(&blocks);
                }
            }
        }
    }
    CHECK(responses > 0);
    printf("%zu responses, %zu statuses refused\n", responses, refused);
}

/* Longer lists than the rest has, so that pieces end in each part of an item. */
static void test_long_lists_round_trip(void)
{
    static message m;
    maker mk = {.state = 3, .pool = &blocks, .most = 12};
    for (size_t i = 0; i < hr_num_rows; i++) {
        for (int n = 0; n < MESSAGES_OF_EACH && hr_rows[i].until == 41; n++) {
            if (!hr_rows[i].is_event) {
                make_request(&mk, &hr_rows[i], 41, &m);
                check_round_trip(&m, &mk.state);
            }
            make_response(&mk, &hr_rows[i], 41, 0, &m);
            check_round_trip(&m, &mk.state);
        }
    }
}

/* A list of at most `bytes` bytes in each of the 2^bytes ways to cut it. */
static void check_all_pieces(const message *m, size_t bytes)
{
    static message got;
    size_t size;
    uint8_t *in = encode_message(m, &size);
    prepare_message(m, 0, &got);
    hr_decoding d = decoding();
    d.stop_at_list = true;
    CHECK_OF(decode_message(in, size, &got, &d) == HR_OK && d.into != NULL);
    size_t start = d.used;
    d = decoding();
    prepare_message(m, 0, &got);
    CHECK_OF(decode_message(in, size, &got, &d) == HR_OK);
    bool *cut = (bool *)exact_block((size + 1) * sizeof *cut);
    memset(cut, false, size + 1);
    CHECK_OF(size - start <= bytes);
    for (unsigned ways = 0; ways < 1u << (size - start); ways++) {
        for (size_t i = start; i < size; i++)
            cut[i] = ways >> (i - start) & 1;
        check_pieces(m, &got, in, size, cut, ways % 3 ? SIZE_MAX : 1);
        pool_empty(&blocks);
    }
    free(cut);
    free(in);
}

static void test_small_lists_in_all_pieces(void)
{
    enum { MOST = 11 };
    static message m, got;
    size_t lists = 0;
    for (size_t i = 0; i < hr_num_rows; i++) {
        for (int side = 0; side < 2; side++) {
            const hr_row *row = &hr_rows[i];
            const uint8_t *fields = side ? row->response_body : row->request_body;
            size_t last = 0;
            while (fields[last] != HR_END)
                last++;
            if (last == 0 || !hr_is_list((hr_kind)hr_fields[fields[last - 1]].kind))
                continue;
            /* Of the messages made at random, those with a short list that is not empty. */
            int short_ones = 0;
            for (uint64_t n = 1; n < 400 && short_ones < 4; n++) {
                maker mk = {.state = n * 7919, .pool = &blocks, .most = 3};
                if (side)
                    make_response(&mk, row, row->until, 0, &m);
                else
                    make_request(&mk, row, row->until, &m);
                size_t size;
                uint8_t *in = encode_message(&m, &size);
                hr_decoding d = decoding();
                d.stop_at_list = true;
                prepare_message(&m, 0, &got);
                CHECK_INT(decode_message(in, size, &got, &d), HR_OK);
                free(in);
                if (size - d.used >= 2 && size - d.used <= MOST) {
                    check_all_pieces(&m, MOST);
                    short_ones++;
                }
                pool_empty(&blocks);
            }
            CHECK(short_ones > 0);
            lists++;
        }
    }
    CHECK(lists > 0);
    printf("%zu lists\n", lists);
}

/* Answers without topology that have no field, or one that is a byte string: in all versions whose
 * answers do not depend on a flag of the request. */
static void test_which_answers_are_quick(void)
{
    static message made, got;
    const message *m = &made;
    maker mk = {.state = 5, .pool = &blocks, .most = 3};
    size_t empty = 0, with_bytes = 0;
    for (size_t i = 0; i < hr_num_rows; i++) {
        const hr_row *row = &hr_rows[i];
        for (size_t v = 0; v < NUM_VERSIONS; v++) {
            for (uint8_t status = 0; status <= 2; status++) {
                if (!row_has(row, ALL_VERSIONS[v]) || row->is_event)
                    continue;
                make_response(&mk, row, ALL_VERSIONS[v], status, &made);
                made.response.topology = (hr_topology){0};
                made.response.message_id >>= 1; /* the longest ids are not */
                const uint8_t *fields = hr_response_fields(&made.response);
                bool is_bytes = fields[0] != HR_END && fields[1] == HR_END &&
                                hr_fields[fields[0]].kind == HR_BYTES;
                bool wanted = ALL_VERSIONS[v] >= 20 && (fields[0] == HR_END || is_bytes);
                size_t size;
                uint8_t *in = encode_message(&made, &size);
                prepare_message(&made, 0, &got);
                hr_decoding d = decoding();
                CHECK_OF(decode_message(in, size, &got, &d) == HR_OK);
                bool quick;
                CHECK_NONE(quick_problem(in, size, &got, &d, &quick));
                CHECK_OF(quick == wanted);
                empty += quick && !is_bytes;
                with_bytes += quick && is_bytes;
                for (size_t n = 0; n < size; n++) {
                    uint8_t *cut = exact_copy(in, n);
                    hr_decoding part = decoding();
                    prepare_message(&made, 0, &got);
                    decode_message(cut, n, &got, &part);
                    CHECK_NONE(quick_problem(cut, n, &got, &part, &quick));
                    free(cut);
                }
                free(in);
                pool_empty(&blocks);
            }
        }
    }
    CHECK(empty > 0 && with_bytes > 0);
    printf("%zu quick answers without a field, %zu with bytes\n", empty, with_bytes);
}

/* Requests of keys and values whose header and expiration say nothing of the rarer kind. */
static void test_which_requests_are_quick(void)
{
    static message made, got;
    const message *m = &made;
    maker mk = {.state = 6, .pool = &blocks, .most = 3};
    size_t quick_ones = 0, slow_ones = 0;
    for (size_t i = 0; i < hr_num_rows; i++) {
        const hr_row *row = &hr_rows[i];
        for (size_t v = 0; v < NUM_VERSIONS * 4; v++) {
            uint8_t version = ALL_VERSIONS[v / 4];
            if (!row_has(row, version) || row->is_event)
                continue;
            make_request(&mk, row, version, &made);
            hr_request *r = &made.request;
            r->message_id >>= 1; /* the longest ids are not */
            r->params = (hr_list){0};
            r->key_type = (hr_media){.kind = v & 1 && version >= 28, .id = 127};
            r->value_type = (hr_media){.kind = v & 2 && version >= 28, .id = 1};
            bool wanted = version >= 20, has_life = false;
            for (const uint8_t *f = row->request_body; *f != HR_END; f++) {
                has_life |= hr_fields[*f].kind == HR_LIFE;
                wanted &= hr_fields[*f].kind == HR_BYTES ||
                          (hr_fields[*f].kind == HR_LIFE && version >= 22);
            }
            if (has_life && version >= 22)
                r->body.expiration =
                    (hr_life){.lifespan_unit = HR_UNIT_DEFAULT, .max_idle_unit = HR_UNIT_DEFAULT};
            size_t size;
            uint8_t *in = encode_message(&made, &size);
            for (size_t n = 0; n <= size; n++) {
                uint8_t *cut = exact_copy(in, n);
                prepare_message(&made, 0, &got);
                hr_decoding d = decoding();
                decode_message(cut, n, &got, &d);
                bool quick;
                CHECK_NONE(quick_problem(cut, n, &got, &d, &quick));
                CHECK_OF(quick == (wanted && n == size));
                quick_ones += quick;
                slow_ones += n == size && !quick;
                free(cut);
            }
            free(in);
            pool_empty(&blocks);
        }
    }
    CHECK(quick_ones > 0 && slow_ones > 0);
    printf("%zu quick requests, %zu others\n", quick_ones, slow_ones);
}

/* A request for GET, but for one thing. */
static void test_which_requests_are_not_quick(void)
{
    static const char *const frames[] = {
        "a0 05 28 03 0163 00 01 00 010100 010200 00 016b",         /* this one is */
        "a1 05 28 03 0163 00 01 00 00 00 00 016b",                 /* magic */
        "a0 8500 28 03 0163 00 01 00 00 00 00 016b",               /* a padded id */
        "a0 05 2a 03 0163 00 01 00 00 00 00 016b",                 /* no version */
        "a0 05 0d 03 0163 00 01 00 00 016b",                       /* 1.3 */
        "a0 05 28 04 0163 00 01 00 00 00 00 016b",                 /* no operation */
        "a0 05 28 03 ffffffff0f 00 01 00 00 00 00 016b",           /* a name of 4 GiB */
        "a0 05 28 03 0163 ffffffff1f 01 00 00 00 00 016b",         /* flags of 33 bits */
        "a0 05 28 03 0163 8000 01 00 00 00 00 016b",               /* padded flags */
        "a0 05 28 03 0163 00 01 ffffffff1f 00 00 00 016b",         /* a topology id of 33 bits */
        "a0 05 28 03 0163 00 01 00 02 0161 00 00 00 016b",         /* a media type by name */
        "a0 05 28 03 0163 00 01 00 01 8101 00 00 00 016b",         /* one with a large number */
        "a0 05 28 03 0163 00 01 00 01 01 01 0161 0162 00 00 016b", /* one with a parameter */
        "a0 05 28 03 0163 00 01 00 01 00 00 00 00 016b",           /* number 0 */
        "a0 05 28 03 0163 00 01 00 00 00 01 0161 0162 016b",       /* other parameters */
        "a0 05 28 03 0163 00 01 00 00 00 00 026b",                 /* the end is not there */
        "",
    };
    size_t quick_ones = 0;
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        static message like, got;
        const message *m = &like;
        size_t size;
        uint8_t *in = exact_hex(frames[i], &size);
        for (int most = 0; most < 2; most++) {
            const hr_limits limits = {.bytes = (uint64_t)most, .text = 9, .params = 9};
            hr_decoding d = {.limits = &limits};
            prepare_message(&like, 0, &got);
            decode_message(in, size, &got, &d);
            bool quick;
            CHECK_NONE(quick_problem(in, size, &got, &d, &quick));
            CHECK_OF(quick == (i == 0 && most == 1));
            quick_ones += quick;
        }
        free(in);
    }
    CHECK_INT(quick_ones, 1);
}

/* An answer to GET, but for one thing. */
static void test_which_answers_are_not_quick(void)
{
    static const char *const frames[] = {
        "a1 05 04 00 00 0161",                   /* this one is */
        "a0 05 04 00 00 0161",                   /* magic */
        "a1 8500 04 00 00 0161",                 /* a padded id */
        "a1 ffffffffffffffffff01 04 00 00 0161", /* the longest id */
        "a1 05 06 00 00 0161",                   /* another operation */
        "a1 05 50 85 00 0161",                   /* an error */
        "a1 05 04 03 00 0161",                   /* a status that it never has */
        "a1 05 04 06 00 0161",                   /* a rare one */
        "a1 05 04 00 01 07 00 0161",             /* a topology */
        "a1 05 04 00 02 0161",                   /* a marker that is loose */
        "a1 05 04 00 00 8100 61",                /* a padded length */
        "a1 05 04 00 00 ffffffff07 61",          /* a length that is never there */
        "a1 05 04 00 00 0261",                   /* the end is not there */
        "a1 05 04 00 00",
        "",
    };
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        static message like, got;
        const message *m = &like;
        size_t size;
        uint8_t *in = exact_hex(frames[i], &size);
        like.is_response = true;
        like.context = (hr_context){
            .row = row_called("GET"), .version = 31, .intelligence = HR_TOPOLOGY_AWARE};
        for (int bytes = 0; bytes < 2; bytes++) {
            const hr_limits limits = {.bytes = (uint64_t)bytes, .servers = 1};
            hr_decoding d = {.limits = &limits};
            prepare_message(&like, 0, &got);
            decode_message(in, size, &got, &d);
            bool quick;
            CHECK_NONE(quick_problem(in, size, &got, &d, &quick));
            CHECK_OF(quick == (i == 0 && bytes == 1));
        }
        free(in);
    }
}

static void test_rows_are_found_by_their_codes(void)
{
    size_t requests = 0, responses = 0;
    for (unsigned code = 0; code < 256; code++) {
        const hr_row *row = hr_row_of_request((uint8_t)code);
        CHECK(row == NULL || (row->request == code && !row->is_event));
        requests += row != NULL;
        row = hr_row_of_response((uint8_t)code);
        CHECK(row == NULL || row->response == code);
        responses += row != NULL;
    }
    CHECK_INT(responses, hr_num_rows); /* no two rows share a code */
    for (size_t i = 0; i < hr_num_rows; i++)
        requests += hr_rows[i].is_event;
    CHECK_INT(requests, hr_num_rows);
    CHECK(hr_row_of_response(HR_ERROR_CODE) == NULL);
}

static void test_versions_and_statuses_are_those_of_the_table(void)
{
    size_t versions = 0, statuses = 0;
    for (unsigned code = 0; code < 256; code++) {
        versions += hr_is_version((uint8_t)code);
        statuses += hr_is_status((uint8_t)code);
    }
    CHECK_INT(versions, NUM_VERSIONS);
    CHECK_INT(statuses, NUM_STATUSES);
    CHECK(hr_is_version(10) && hr_is_version(41) && !hr_is_version(14) && !hr_is_version(42));
    CHECK(hr_is_status(0x08) && !hr_is_status(0x09) && !hr_is_status(0x80));
}

static void test_a_topology_without_segments_has_no_owners(void)
{
    const hr_topology topology = {.form = HR_TOPOLOGY_SERVERS, .num_segments = 1};
    uint8_t size = 9;
    uint32_t owner = 9;
    hr_get_owners(&topology, &size, &owner);
    CHECK(size == 9 && owner == 9);
}

int main(void)
{
    int result = RUN(TEST(test_rows_are_found_by_their_codes),
                     TEST(test_versions_and_statuses_are_those_of_the_table),
                     TEST(test_which_requests_are_quick), TEST(test_which_requests_are_not_quick),
                     TEST(test_which_answers_are_quick), TEST(test_which_answers_are_not_quick),
                     TEST(test_every_request_round_trips), TEST(test_every_response_round_trips),
                     TEST(test_long_lists_round_trip), TEST(test_small_lists_in_all_pieces),
                     TEST(test_a_topology_without_segments_has_no_owners));
    pool_end(&blocks);
    return result;
}
