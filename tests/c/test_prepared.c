/* test_prepared.c - requests with a header that is written once have the bytes of those without. */

#include "messages.h"
#include "prepared.h"

/* All requests of a row in a version: alone, on a key, as a head, as a batch. */
static void compare(hr_request *q, uint64_t message_id)
{
    q->message_id = message_id;
    size_t size = hr_request_size(q);
    uint8_t *expected = exact_block(size), *found = exact_block(size);
    CHECK(hr_encode_request(expected, q) == expected + size);

    hr_request other = *q; /* of the header nothing but what stays counts */
    other.row = hr_row_of_request(0x17);
    memset(&other.body, 0xff, sizeof other.body);
    size_t room = hr_prepared_size(&other);
    uint8_t *tail = exact_block(room);
    hr_prepared h;
    hr_prepare(&h, tail, &other);
    CHECK(h.len == room);
    CHECK(hr_size_prepared(&h, q) == size);
    CHECK(hr_put_prepared(found, &h, q) == found + size);
    CHECK(memcmp(expected, found, size) == 0);

    if (hr_is_on_key(q->row)) {
        const uint8_t *last = q->row->request_body;
        while (last[1] != HR_END)
            last++;
        const hr_slice *value = *last == HR_VALUE ? &q->body.value : NULL;
        hr_middle m;
        hr_make_middle(&m, &h, q->row, &q->body);
        memset(found, 0, size);
        CHECK(hr_size_on_key(&h, &m, message_id, q->body.key, value) == size);
        CHECK(hr_put_on_key(found, &h, &m, q->row->request, message_id, q->body.key, value) ==
              found + size);
        CHECK(memcmp(expected, found, size) == 0);
        if (value) {
            size_t head = size - value->len;
            CHECK(hr_head_size(&h, &m, message_id, q->body.key, value->len) == head);
            CHECK(hr_put_head(found, &h, &m, q->row->request, message_id, q->body.key,
                              value->len) == found + head);
            CHECK(memcmp(expected, found, head) == 0);
        }
        hr_slice parts[2] = {q->body.key, value ? *value : q->body.key};
        memset(found, 0, size);
        CHECK(hr_size_many(&h, &m, message_id, 1, parts, value != NULL) == size);
        CHECK(hr_put_many(found, &h, &m, q->row->request, message_id, 1, parts, value != NULL) ==
              found + size);
        CHECK(memcmp(expected, found, size) == 0);
    }
    free(tail);
    free(expected);
    free(found);
}

static pool blocks;

/* Both sides of each border between lengths on the wire. */
static uint64_t id_at(unsigned i)
{
    uint64_t border = i / 2 < 9 ? UINT64_C(1) << (7 * (i / 2 + 1)) : 0;
    return border - (i % 2);
}

static void test_every_request(void)
{
    maker m = {.state = 7, .pool = &blocks, .most = 3};
    unsigned i = 0;
    for (size_t r = 0; r < hr_num_rows; r++) {
        const hr_row *row = &hr_rows[r];
        for (size_t v = 0; v < NUM_VERSIONS; v++) {
            uint8_t version = ALL_VERSIONS[v];
            if (row->is_event || version < row->since || version > row->until)
                continue;
            for (int n = 0; n < 6; n++) {
                static message made;
                make_request(&m, row, version, &made);
                compare(&made.request, id_at(i++ % 20));
            }
            pool_empty(&blocks);
        }
    }
    pool_end(&blocks);
}

static void test_which_are_on_a_key(void)
{
    CHECK(hr_is_on_key(row_called("GET")));
    CHECK(hr_is_on_key(row_called("REPLACE_IF_UNMODIFIED")));
    CHECK(hr_is_on_key(row_called("GET_MULTIMAP")));
    CHECK(!hr_is_on_key(row_called("PUT_MULTIMAP"))); /* something stands behind the value */
    CHECK(!hr_is_on_key(row_called("PUT_STREAM")));
    CHECK(!hr_is_on_key(row_called("PUT_ALL")));
    CHECK(!hr_is_on_key(row_called("PING")));
    CHECK(!hr_is_on_key(row_called("CACHE_ENTRY_REMOVED")));
}

/* Ids count up, over a border, whatever the lengths. */
static void test_many(void)
{
    enum { COUNT = 40 };
    hr_request q = {.row = row_called("PUT"), .version = 21, .intelligence = 1};
    q.body.expiration = (hr_life){.lifespan = 60, .max_idle_unit = HR_UNIT_DEFAULT};
    uint8_t *tail = exact_block(hr_prepared_size(&q));
    uint8_t *bytes = exact_block(COUNT);
    memset(bytes, 'k', COUNT);
    hr_prepared h;
    hr_middle m;
    hr_slice parts[2 * COUNT];
    hr_prepare(&h, tail, &q);
    hr_make_middle(&m, &h, q.row, &q.body);
    size_t size = 0;
    for (size_t i = 0; i < COUNT; i++) {
        parts[2 * i] = (hr_slice){bytes + COUNT - i, i};
        parts[2 * i + 1] = i % 3 ? (hr_slice){bytes, i / 2} : (hr_slice){NULL, 0};
        q.message_id = 110 + i;
        q.body.key = parts[2 * i];
        q.body.value = parts[2 * i + 1];
        size += hr_request_size(&q);
    }
    CHECK(hr_size_many(&h, &m, 110, COUNT, parts, true) == size);
    uint8_t *found = exact_block(size), *expected = exact_block(size), *p = expected;
    for (size_t i = 0; i < COUNT; i++) {
        q.message_id = 110 + i;
        q.body.key = parts[2 * i];
        q.body.value = parts[2 * i + 1];
        p = hr_encode_request(p, &q);
    }
    CHECK(hr_put_many(found, &h, &m, q.row->request, 110, COUNT, parts, true) == found + size);
    CHECK_BYTES(found, size, expected, size);
    free(tail);
    free(bytes);
    free(found);
    free(expected);
}

int main(void)
{
    return RUN(TEST(test_every_request), TEST(test_which_are_on_a_key), TEST(test_many));
}
