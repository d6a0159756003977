/* test_ids.c - the table of waiting requests, against a plain list of them. */
#include "harness.h"
#include "ids.h"

/* Room as its owner has to make it. */
static void grow(hr_ids *t, size_t more)
{
    if (hr_ids_has_room(t, more))
        return;
    unsigned bits = hr_ids_bits(t->used + more);
    hr_waiting *old = t->slots, *slots = calloc((size_t)1 << bits, sizeof *slots);
    if (slots == NULL)
        abort();
    hr_ids_move(t, slots, bits);
    free(old);
    CHECK(hr_ids_has_room(t, more));
}

static hr_waiting waiting_of(uint64_t id, unsigned kind)
{
    return (hr_waiting){.id = id,
                        .flags = kind & 1,
                        .version = (uint8_t)(30 + kind % 3),
                        .intelligence = (uint8_t)(kind % 5),
                        .row = (uint8_t)(kind % 7),
                        .form = (uint8_t)(kind / 2)};
}

/* Requests of `kind`, those of one kind are alike. Never in the run when `apart`. */
static void add_of(hr_ids *t, uint64_t id, unsigned kind, bool apart)
{
    CHECK(hr_ids_find(t, id) == NULL);
    CHECK(!hr_ids_any(t, id, 1));
    if (apart || !hr_ids_extend(t, waiting_of(id, kind), 1)) {
        grow(t, 1);
        hr_ids_put(t, waiting_of(id, kind));
    }
    CHECK(hr_ids_any(t, id, 1) && hr_ids_any(t, id - 3, 5));
}

static void take_of(hr_ids *t, uint64_t id, unsigned kind)
{
    hr_waiting *w = hr_ids_find(t, id), wanted = waiting_of(id, kind);
    CHECK(w != NULL);
    if (w == NULL)
        return;
    CHECK(w->flags == wanted.flags && w->version == wanted.version && w->row == wanted.row &&
          w->intelligence == wanted.intelligence && w->form == wanted.form);
    size_t before = (size_t)hr_ids_before(t, w, id);
    if (before > 0) {
        grow(t, before);
        hr_ids_spill(t, before);
    }
    hr_ids_remove(t, w);
    CHECK(hr_ids_find(t, id) == NULL);
}

static void add(hr_ids *t, uint64_t id)
{
    add_of(t, id, 3, true);
}

static void take(hr_ids *t, uint64_t id)
{
    take_of(t, id, 3);
}

/* The slots say what the counts say. */
static void check_counts(const hr_ids *t)
{
    size_t used = 0, left = 0;
    for (size_t i = 0; t->bits && i <= hr_ids_mask(t); i++) {
        used += hr_ids_is_used(&t->slots[i]);
        left += t->slots[i].version == HR_LEFT;
    }
    CHECK_INT(t->used, used);
    CHECK_INT(t->left, left);
}

static void test_an_empty_table(void)
{
    hr_ids t = {0};
    CHECK(hr_ids_find(&t, 0) == NULL);
    CHECK(hr_ids_has_room(&t, 0));
    CHECK(!hr_ids_has_room(&t, 1));
    add(&t, 0); /* 0 is an id as any other */
    CHECK_INT(t.used, 1);
    take(&t, 0);
    CHECK_INT(t.used, 0);
    free(t.slots);
}

static void test_ids_at_the_ends(void)
{
    static const uint64_t ids[] = {
        0, 1, 7, 8, UINT32_MAX, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX - 1, UINT64_MAX};
    enum { COUNT = sizeof ids / sizeof ids[0] };
    hr_ids t = {0};
    for (size_t i = 0; i < COUNT; i++)
        add(&t, ids[i]);
    for (size_t i = 0; i < COUNT; i++)
        take(&t, ids[COUNT - 1 - i]);
    check_counts(&t);
    free(t.slots);
}

/* The longest search for an id that is there. */
static size_t longest(const hr_ids *t)
{
    size_t most = 0;
    for (size_t i = 0; i <= hr_ids_mask(t); i++) {
        if (!hr_ids_is_used(&t->slots[i]))
            continue;
        size_t steps = (i - hr_ids_home(t, t->slots[i].id)) & hr_ids_mask(t);
        most = steps > most ? steps : most;
    }
    return most;
}

/* Counted up, by any step: no heap of ids at one place. */
static void test_multiples_do_not_meet(void)
{
    for (unsigned shift = 0; shift < 50; shift++) {
        hr_ids t = {0};
        for (uint64_t i = 0; i < 10000; i++)
            add(&t, i << shift);
        CHECK(longest(&t) <= 64);
        for (uint64_t i = 0; i < 10000; i++)
            take(&t, i << shift);
        check_counts(&t);
        CHECK_INT(t.used, 0);
        free(t.slots);
    }
}

/* A connection that lives: each id comes once, some answers are late. */
static void test_what_was_left_is_used_again(void)
{
    hr_ids t = {0};
    uint64_t state = 1, late[16] = {0};
    size_t num_late = 0;
    for (uint64_t id = 1; id < 300000; id++) {
        add(&t, id);
        if (id <= 40)
            continue;
        if (harness_random(&state) % 16 == 0 && num_late < 16)
            late[num_late++] = id - 40;
        else
            take(&t, id - 40);
        if (num_late == 16)
            while (num_late > 0)
                take(&t, late[--num_late]);
    }
    check_counts(&t);
    CHECK(t.used <= 56);
    CHECK(t.bits <= 8);
    free(t.slots);
}

/* A pipeline that is answered in turn needs no table; one late answer, one slot. */
static void test_a_run_needs_no_memory(void)
{
    hr_ids t = {0};
    for (uint64_t id = UINT64_MAX - 500; id != 500; id++)
        add_of(&t, id, 1, false);
    CHECK_INT(hr_ids_count(&t), 1001);
    CHECK(hr_ids_any(&t, 0, UINT64_MAX) && hr_ids_any(&t, 1000, UINT64_MAX - 1000));
    CHECK(!hr_ids_any(&t, 500, 1) && !hr_ids_any(&t, 499, 0));
    for (uint64_t id = UINT64_MAX - 500; id != 0; id++)
        take_of(&t, id, 1);
    CHECK(t.slots == NULL);
    for (uint64_t id = 1; id < 400; id++) /* 0 is late */
        take_of(&t, id, 1);
    CHECK_INT(t.used, 1);
    add_of(&t, 500, 1, false);
    add_of(&t, 501, 2, false); /* another request */
    add_of(&t, 503, 1, false); /* not the next */
    CHECK_INT(t.used, 3);
    take_of(&t, 450, 1);
    CHECK_INT(t.used, 53);
    take_of(&t, 0, 1);
    take_of(&t, 501, 2);
    check_counts(&t);
    CHECK_INT(hr_ids_count(&t), 50 + 51 - 1 + 1);
    free(t.slots);
}

static void test_against_a_plain_list(void)
{
    enum { IDS = 300, STEPS = 200000 };
    static bool there[IDS];
    static unsigned kinds[IDS];
    uint64_t state = 3;
    hr_ids t = {0};
    size_t count = 0, next = 0, runs = 0;
    for (size_t step = 0; step < STEPS; step++) {
        /* Half of the steps go on where the last one was. */
        bool anywhere = harness_random(&state) % 2;
        size_t n = anywhere ? (size_t)(harness_random(&state) % IDS) : next;
        next = (n + 1) % IDS;
        /* Some ids are neighbours, others far apart. */
        uint64_t number = n, id = n < 2 * IDS / 3 ? number - 50 : number * 0x123456789abcdef;
        CHECK((hr_ids_find(&t, id) != NULL) == there[n]);
        if (there[n]) {
            take_of(&t, id, kinds[n]);
        } else {
            kinds[n] = harness_random(&state) % 4 == 0;
            add_of(&t, id, kinds[n], false);
        }
        there[n] = !there[n];
        count += there[n] ? 1 : (size_t)-1;
        CHECK_INT(hr_ids_count(&t), count);
        runs += t.run_count > 3;
    }
    CHECK(runs > 0);
    check_counts(&t);
    free(t.slots);
}

static void test_a_run_is_of_requests_that_are_alike(void)
{
    hr_waiting next = {.id = 8, .flags = 1, .version = 30, .intelligence = 3, .row = 2, .form = 1};
    hr_waiting first = next, others[6];
    first.id = 7;
    for (size_t i = 0; i < 6; i++)
        others[i] = next;
    others[0].id = 9;
    others[1].flags = 0;
    others[2].version = 29;
    others[3].intelligence = 2;
    others[4].row = 3;
    others[5].form = 2;
    hr_ids t = {.bits = HR_IDS_LEAST_BITS};
    CHECK(hr_ids_extend(&t, first, 1));
    for (size_t i = 0; i < 6; i++)
        CHECK(!hr_ids_extend(&t, others[i], 1));
    CHECK_INT(t.run_count, 1);
    CHECK(hr_ids_extend(&t, next, 1));
    CHECK_INT(t.run_count, 2);
}

static void test_room(void)
{
    CHECK_INT(hr_ids_bits(0), HR_IDS_LEAST_BITS);
    CHECK_INT(hr_ids_bits(32), 6);
    CHECK_INT(hr_ids_bits(33), 7);
    CHECK_INT(hr_ids_bits(10000), 15);
    CHECK_INT(hr_ids_bits(SIZE_MAX), sizeof(size_t) * 8 - 1);
    hr_ids t = {.bits = 6};
    CHECK(hr_ids_has_room(&t, 42) && !hr_ids_has_room(&t, 43) && !hr_ids_has_room(&t, SIZE_MAX));
    t.used = 40;
    t.left = 2;
    CHECK(hr_ids_has_room(&t, 0) && !hr_ids_has_room(&t, 1));
}

int main(void)
{
    return RUN(TEST(test_an_empty_table), TEST(test_ids_at_the_ends),
               TEST(test_multiples_do_not_meet), TEST(test_what_was_left_is_used_again),
               TEST(test_a_run_needs_no_memory), TEST(test_against_a_plain_list),
               TEST(test_a_run_is_of_requests_that_are_alike), TEST(test_room));
}
