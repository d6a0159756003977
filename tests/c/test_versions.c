/* test_versions.c - what differs between versions: headers and bodies written by hand, each of
 * which is a whole frame in the versions that it belongs to and in no other. */
#include "messages.h"

typedef struct form {
    const char *op;
    uint8_t from, to; /* the versions with this form */
    const char *body;
} form;

static const form REQUESTS[] = {
    {"PUT", 10, 21, "01 6b 05 00 01 76"},
    {"PUT", 22, 41, "01 6b 00 05 06 01 76"},
    {"PUT", 22, 41, "01 6b 78 01 76"},
    {"PUT_ALL", 21, 21, "00 05 00"},
    {"PUT_ALL", 22, 41, "85 05 00"},
    {"ADD_CLIENT_LISTENER", 20, 20, "01 aa 01 00 00"},
    {"ADD_CLIENT_LISTENER", 21, 25, "01 aa 01 00 00 01"},
    {"ADD_CLIENT_LISTENER", 26, 41, "01 aa 01 00 00 01 0c"},
    {"ADD_CLIENT_LISTENER", 26, 41, "01 aa 01 01 66 01 00 01 63 00 01 0c"},
    {"ITERATION_START", 23, 23, "01 01 0a"},
    {"ITERATION_START", 24, 41, "01 01 0a 01"},
    {"ITERATION_START", 23, 23, "00 02 66 0a"},
    {"ITERATION_START", 24, 41, "00 02 66 01 02 7071 0a 01"},
    {"ITERATION_START", 24, 41, "00 00 00 0a 01"},
    {"GET_MULTIMAP", 27, 31, "01 6b"},
    {"GET_MULTIMAP", 40, 41, "01 6b 01"},
    {"PUT_MULTIMAP", 27, 31, "01 6b 77 01 76"},
    {"PUT_MULTIMAP", 40, 41, "01 6b 77 01 76 00"},
    {"SIZE_MULTIMAP", 27, 31, ""},
    {"SIZE_MULTIMAP", 40, 41, "00"},
    {"GET", 10, 41, "01 6b"},
    {"PING", 10, 41, ""},
};

/* `status`, then what follows the topology marker. */
typedef struct answer {
    form form;
    uint8_t status;
} answer;

static const answer RESPONSES[] = {
    {{"PING", 10, 28, ""}, 0},
    {{"PING", 29, 29, "01 0c 00 00"}, 0},
    {{"PING", 30, 41, "01 0c 00 00 29 01 0001"}, 0},
    {{"PUT", 20, 31, "01 76"}, 3},
    {{"PUT", 40, 41, "03 0000000000000007 01 76"}, 3},
    {{"REMOVE", 20, 31, "00"}, 4},
    {{"REMOVE", 40, 41, "03 0000000000000007 00"}, 4},
    {{"ITERATION_NEXT", 23, 23, "00 01 01 6b 01 76"}, 0},
    {{"ITERATION_NEXT", 24, 24, "00 01 02 01 6b 01 76 01 77"}, 0},
    {{"ITERATION_NEXT", 25, 41, "00 01 02 00 01 6b 01 76 01 77"}, 0},
    {{"ITERATION_NEXT", 23, 41, "00 00"}, 0},
    {{"GET", 10, 41, "01 76"}, 0},
    {{"GET_WITH_METADATA", 12, 41, "03 0000000000000007 01 76"}, 0},
};

/* True when the message is the whole of `hex`, and encodes back to it. */
static bool is_whole(const message *like, const char *hex)
{
    static message m;
    size_t size, back_size;
    uint8_t *in = exact_hex(hex, &size);
    prepare_message(like, 0, &m);
    hr_decoding d = {.limits = &NO_LIMITS};
    bool whole = decode_message(in, size, &m, &d) == HR_OK && d.used == size;
    if (whole) {
        CHECK(!*loose_of(&m));
        uint8_t *back = encode_message(&m, &back_size);
        CHECK_BYTES(back, back_size, in, size);
        free(back);
    }
    free(in);
    return whole;
}

static void check_form(const form *f, uint8_t version, bool whole, const char *hex)
{
    if (whole == (version >= f->from && version <= f->to))
        return;
    harness_fail(__FILE__, __LINE__, f->op);
    fprintf(stderr, "    version %d, %s\n", version, hex);
}

static void test_requests(void)
{
    for (size_t i = 0; i < sizeof REQUESTS / sizeof REQUESTS[0]; i++) {
        const form *f = &REQUESTS[i];
        const hr_row *row = row_called(f->op);
        for (size_t v = 0; v < NUM_VERSIONS; v++) {
            uint8_t version = ALL_VERSIONS[v];
            if (version < row->since)
                continue;
            /* Transaction type; two media types; other parameters. */
            const char *more = version < 20   ? "00"
                               : version < 28 ? ""
                               : version < 40 ? "0000"
                                              : "000000";
            char hex[200];
            snprintf(hex, sizeof hex, "a0 01 %02x %02x 01 63 00 03 07 %s %s", version, row->request,
                     more, f->body);
            check_form(f, version, is_whole(&(message){0}, hex), hex);
        }
    }
}

static void test_responses(void)
{
    for (size_t i = 0; i < sizeof RESPONSES / sizeof RESPONSES[0]; i++) {
        const form *f = &RESPONSES[i].form;
        const hr_row *row = row_called(f->op);
        for (size_t v = 0; v < NUM_VERSIONS; v++) {
            uint8_t version = ALL_VERSIONS[v];
            if (version < row->since || (RESPONSES[i].status >= 3 && version < 20))
                continue;
            message like = {.is_response = true, .context = {.row = row, .version = version}};
            char hex[200];
            snprintf(hex, sizeof hex, "a1 01 %02x %02x 00 %s", row->response, RESPONSES[i].status,
                     f->body);
            check_form(f, version, is_whole(&like, hex), hex);
        }
    }
}

/* Below 2.2 the encoder says by a flag that an expiration is the default; below 1.2 it cannot. */
static void test_default_expiration_is_a_flag_from_12_to_21(void)
{
    for (size_t v = 0; v < NUM_VERSIONS; v++) {
        uint8_t version = ALL_VERSIONS[v];
        message m = {.request = {.row = row_called("PUT"), .version = version}};
        m.request.body.expiration =
            (hr_life){.lifespan_unit = HR_UNIT_DEFAULT, .max_idle_unit = HR_UNIT_DEFAULT};
        size_t size;
        uint8_t *out = encode_message(&m, &size);
        CHECK_INT(out[5], version >= 12 && version <= 21 ? 6 : 0);
        free(out);
        m.request.row = row_called("GET"); /* which has no expiration */
        out = encode_message(&m, &size);
        CHECK_INT(out[5], 0);
        free(out);
    }
}

int main(void)
{
    return RUN(TEST(test_requests), TEST(test_responses),
               TEST(test_default_expiration_is_a_flag_from_12_to_21));
}
