/* fuzz_codec.c - any bytes as a request or as a response to any request: what comes of them has to
 * agree with itself. See check() for what is asked. Input: CONTROL bytes, then the frame. */
#include "../c/messages.h"
#include "fuzz.h"

enum { DIRECTION, ROW, VERSION, FLAGS, INTELLIGENCE, LIMITS, PIECES, CONTROL };
enum { MOST_PIECES = 40, MOST_ZEROS = 4096 };

/* Findings: what was being looked at. */
static const uint8_t *now;
static size_t now_size;

static _Noreturn void finding(const char *what, int line)
{
    fprintf(stderr, "fuzz_codec.c:%d: %s\n", line, what);
    harness_print_hex("input", now, now_size);
    abort();
}
#define ASK(condition)                     \
    do {                                   \
        if (!(condition))                  \
            finding(#condition, __LINE__); \
    } while (0)
#define ASK_NONE(problem)               \
    do {                                \
        const char *found_ = (problem); \
        if (found_)                     \
            finding(found_, __LINE__);  \
    } while (0)

static size_t executions, results[HR_OVER_LIMIT + 1], loose_ones, resumed_lists, quick_ones;
static size_t reached[2][256]; /* requests and responses of each row that were whole */

static pool blocks;

static hr_limits limits_of(uint8_t control)
{
    static const hr_limits choices[] = {
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
        {1 << 20, 1 << 16, 1 << 20, 1 << 10, 1 << 10, 1 << 14},
        {5, 5, 2, 1, 1, 2},
        {0, 0, 0, 0, 0, 0},
    };
    /* Two inputs of three have room for anything. */
    return choices[control % 12 < 8 ? control % 2 : 2 + control % 2];
}

static uint64_t limit_called(const hr_limits *limits, const char *name)
{
#define LIMIT(member)             \
    if (same_text(name, #member)) \
        return limits->member;
    LIMIT(bytes)
    LIMIT(text)
    LIMIT(items)
    LIMIT(params)
    LIMIT(servers)
    LIMIT(segments)
    finding("names no limit", __LINE__);
}

static bool names_are_right(const hr_stop *stop, const hr_limits *limits)
{
    if (stop->result != HR_OVER_LIMIT)
        return stop->limit == NULL;
    uint64_t most = limit_called(limits, stop->limit);
    if (same_text(stop->limit, "segments") && stop->wanted != most)
        most = most / 8 + (most % 8 != 0); /* of a set of segments: bytes */
    return stop->wanted == most && stop->found > most;
}

typedef struct tiles {
    size_t end;
    bool gap;
} tiles;

static void lay_tile(void *arg, const char *name, size_t from, size_t to, hr_kind kind,
                     int64_t item)
{
    tiles *t = arg;
    if (from != t->end || to <= from || !name || kind == 0 || item < -1)
        t->gap = true;
    t->end = to;
}

/* What a frame that stopped says of itself. */
static void check_stop(const message *like, const uint8_t *in, size_t len, const hr_decoding *d)
{
    static message got;
    const hr_stop *stop = &d->stop;
    ASK(stop->field != NULL);
    ASK(stop->at <= len && d->used <= stop->at);
    ASK(names_are_right(stop, d->limits));
    ASK((stop->need > 0) == (stop->result == HR_NEED_MORE));
    if (stop->result != HR_NEED_MORE)
        return;
    ASK(stop->wanted > stop->found);
    /* One byte less than it needs cannot end it; as many must not break it. */
    if (stop->need > MOST_ZEROS)
        return;
    for (size_t zeros = stop->need - 1; zeros <= stop->need; zeros++) {
        uint8_t *longer = exact_block(len + zeros);
        if (len > 0)
            memcpy(longer, in, len);
        memset(longer + len, 0, zeros);
        prepare_message(like, 0, &got);
        hr_decoding again = {.limits = d->limits};
        hr_result result = decode_message(longer, len + zeros, &got, &again);
        ASK(result != HR_OK || zeros == stop->need);
        ASK(result != HR_NEED_MORE || again.stop.at >= stop->at);
        free(longer);
    }
}

/* The canonical form of a message that was read. */
static void check_canonical(const message *whole, const uint8_t *in, const hr_decoding *d)
{
    static message flat, again;
    bool loose = whole->is_response ? whole->response.loose : whole->request.loose;
    size_t size;
    flat = *whole;
    unpack_message(&blocks, &flat);
    uint8_t *out = encode_message(&flat, &size);
    if (!loose)
        ASK(size == d->used && !memcmp(out, in, size));

    message like = *whole;
    /* What server 9.4 puts behind "no such key" is read, and not written. */
    if (whole->is_response && whole->response.row &&
        hr_fields[whole->response.row->response_body[0]].kind != HR_OLD_VALUE)
        like.context.legacy_server = false;
    prepare_message(&like, 0x33, &again);
    hr_decoding second = {.limits = &NO_LIMITS};
    ASK(decode_message(out, size, &again, &second) == HR_OK);
    ASK(second.used == size && !*loose_of(&again));
    ASK_NONE(difference(&blocks, whole, &again));

    size_t size_again;
    uint8_t *out_again = encode_message(&again, &size_again);
    ASK(size_again == size && !memcmp(out, out_again, size));
    free(out_again);
    free(out);
}

static void check_whole(const message *like, const message *whole, const uint8_t *in,
                        const hr_decoding *d, uint8_t random)
{
    static message got;
    ASK(d->used > 0);
    size_t size;
    uint8_t *out = encode_message(whole, &size);
    if (whole->is_response ? !whole->response.loose : !whole->request.loose)
        ASK(size == d->used && !memcmp(out, in, size));
    free(out);
    check_canonical(whole, in, d);

    size_t cut = random % d->used;
    uint8_t *prefix = exact_copy(in, cut);
    prepare_message(like, 0, &got);
    hr_decoding shorter = {.limits = d->limits};
    ASK(decode_message(prefix, cut, &got, &shorter) == HR_NEED_MORE);
    ASK(cut + shorter.stop.need <= d->used);
    free(prefix);
}

static void check_peek(const message *like, const uint8_t *in, size_t len, const message *whole,
                       const hr_decoding *d)
{
    uint64_t id = 0;
    uint8_t code = 0;
    hr_stop stop;
    hr_result result = hr_peek_response(in, len, &id, &code, &stop);
    ASK(result == stop.result);
    if (result != HR_OK) {
        ASK(same_stop(&stop, &d->stop));
    } else if (d->stop.result == HR_OK) {
        ASK(id == whole->response.message_id);
        ASK(code == HR_ERROR_CODE || hr_row_of_response(code) != NULL);
        ASK(like->is_response);
    }
}

/* `frame`: the bytes behind the control bytes. */
static void check(const uint8_t *control, const uint8_t *frame, size_t len)
{
    static message like, whole, other;
    uint8_t *in = exact_copy(frame, len);
    memset(&like, 0, sizeof like);
    like.is_response = control[DIRECTION] & 1;
    size_t row = control[ROW] % (hr_num_rows + 1);
    like.context = (hr_context){
        .row = row == hr_num_rows || hr_rows[row].is_event ? NULL : &hr_rows[row],
        .version = ALL_VERSIONS[control[VERSION] % NUM_VERSIONS],
        .intelligence = control[INTELLIGENCE],
        .flags = control[FLAGS],
        .legacy_server = control[DIRECTION] & 2,
    };
    hr_limits limits = limits_of(control[LIMITS]);

    prepare_message(&like, 0x5a, &whole);
    hr_decoding d = {.limits = &limits};
    hr_result result = decode_message(in, len, &whole, &d);
    ASK(result == d.stop.result && d.used <= len);
    results[result]++;

    /* Neither what the structs held before nor being watched makes a difference. */
    tiles t = {0};
    hr_decoding watched = {.limits = &limits, .trace = lay_tile, .trace_arg = &t};
    prepare_message(&like, 0xff, &other);
    decode_message(in, len, &other, &watched);
    ASK(same_stop(&d.stop, &watched.stop) && d.used == watched.used);
    ASK(!t.gap && t.end <= d.stop.at + d.used);
    if (result == HR_OK) {
        ASK(t.end == d.used);
        ASK_NONE(difference(&blocks, &whole, &other));
        ASK(*loose_of(&whole) == *loose_of(&other));
    }

    bool quick;
    ASK_NONE(quick_problem(in, len, &whole, &d, &quick));
    quick_ones += quick;

    /* In pieces. */
    bool *cut = (bool *)exact_block((len + 1) * sizeof *cut);
    memset(cut, false, len + 1);
    uint64_t state = control[PIECES] + 1;
    size_t pieces = len <= MOST_PIECES && control[PIECES] % 4 == 0 ? len : control[PIECES] % 16;
    for (size_t i = 0; len > 0 && i < pieces; i++)
        cut[pieces == len ? i : harness_random(&state) % len] = true;
    size_t most = control[PIECES] % 3 ? SIZE_MAX : 1u + control[PIECES] % 5;
    hr_decoding in_pieces = {.limits = &limits};
    prepare_message(&like, 0x77, &other);
    ASK_NONE(decode_in_pieces(in, len, cut, most, &other, &in_pieces));
    ASK(same_stop(&d.stop, &in_pieces.stop) && d.used == in_pieces.used);
    resumed_lists += in_pieces.into != NULL;
    if (result == HR_OK) {
        ASK_NONE(difference(&blocks, &whole, &other));
        ASK(*loose_of(&whole) == *loose_of(&other));
    }
    free(cut);

    for (size_t i = 0; i < len; i++)
        ASK_NONE(compare_skim(in + i, len - i, &limits));

    if (like.is_response)
        check_peek(&like, in, len, &whole, &d);
    if (result == HR_OK) {
        loose_ones += *loose_of(&whole);
        check_whole(&like, &whole, in, &d, control[PIECES]);
        const hr_row *of = like.is_response ? whole.response.row : whole.request.row;
        if (of && !(like.is_response && whole.response.is_error))
            reached[like.is_response][of - hr_rows]++;
    } else {
        check_stop(&like, in, len, &d);
    }
    free(in);
    pool_empty(&blocks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < CONTROL)
        return 0;
    executions++;
    now = data;
    now_size = size;
    check(data, data + CONTROL, size - CONTROL);
    return 0;
}

/* A message made from a row, as it stands on the wire. */
size_t fuzz_seed(uint64_t number, uint8_t *out, size_t room)
{
    static message m;
    static pool seed_blocks;
    maker mk = {.state = number | 1, .pool = &seed_blocks, .most = 4};
    for (int i = 0; i < 8; i++)
        harness_random(&mk.state);
    size_t row = (size_t)make_below(&mk, hr_num_rows);
    size_t version = (size_t)make_below(&mk, NUM_VERSIONS);
    bool is_response = hr_rows[row].is_event || make_below(&mk, 2);
    if (is_response) {
        uint8_t status = make_below(&mk, 2) ? ALL_STATUSES[make_below(&mk, NUM_STATUSES)] : 0;
        if (hr_rows[row].is_event)
            status = 0;
        make_response(&mk, &hr_rows[row], ALL_VERSIONS[version], status, &m);
    } else {
        make_request(&mk, &hr_rows[row], ALL_VERSIONS[version], &m);
    }
    size_t size;
    uint8_t *frame = encode_message(&m, &size);
    bool fits = CONTROL + size <= room;
    if (fits) {
        out[DIRECTION] = (uint8_t)(is_response | (make_below(&mk, 4) == 0) << 1);
        out[ROW] = (uint8_t)row;
        out[VERSION] = (uint8_t)version;
        out[FLAGS] = (uint8_t)m.context.flags;
        out[INTELLIGENCE] = m.context.intelligence;
        out[LIMITS] = (uint8_t)make_below(&mk, 12);
        out[PIECES] = (uint8_t)harness_random(&mk.state);
        memcpy(out + CONTROL, frame, size);
    }
    free(frame);
    pool_empty(&seed_blocks);
    return fits ? CONTROL + size : 0;
}

bool fuzz_report(FILE *to)
{
    static const char *const names[] = {"OK",          "NEED_MORE",  "BAD_MAGIC",  "BAD_VARINT",
                                        "BAD_VERSION", "BAD_OPCODE", "BAD_STATUS", "BAD_VALUE",
                                        "BAD_LENGTH",  "OVER_LIMIT"};
    bool all = true;
    fprintf(to, "%zu executions;", executions);
    for (size_t i = 0; i <= HR_OVER_LIMIT; i++) {
        fprintf(to, " %s %zu", names[i], results[i]);
        all = all && results[i] > 0;
    }
    fprintf(to, "\n%zu loose, %zu with a list to resume, %zu quick\n", loose_ones, resumed_lists,
            quick_ones);
    all = all && quick_ones > 0;
    fprintf(to, "%-40s %10s %10s\n", "decoded whole", "requests", "responses");
    for (size_t i = 0; i < hr_num_rows; i++) {
        bool missing = reached[1][i] == 0 || (reached[0][i] == 0 && !hr_rows[i].is_event);
        fprintf(to, "%-40s %10zu %10zu%s\n", hr_rows[i].name, reached[0][i], reached[1][i],
                missing ? "  NEVER" : "");
        all = all && !missing;
    }
    return all;
}
