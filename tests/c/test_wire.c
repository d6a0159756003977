/* test_wire.c - the primitives of wire.h: boundaries, refused forms, the failure that stays. */
#include "harness.h"
#include "messages.h"
#include "wire.h"

typedef struct varint {
    const char *hex;
    uint64_t value;
} varint;

static const varint VINTS[] = {
    {"00", 0},
    {"01", 1},
    {"7f", 127},
    {"80 01", 128},
    {"ff 7f", 16383},
    {"80 80 01", 16384},
    {"ff ff 7f", 2097151},
    {"80 80 80 01", 2097152},
    {"ff ff ff 7f", 268435455},
    {"80 80 80 80 01", 268435456},
    {"ff ff ff ff 07", INT32_MAX},
    {"80 80 80 80 08", UINT64_C(0x80000000)},
    {"fe ff ff ff 0f", UINT64_C(0xfffffffe)},
    {"ff ff ff ff 0f", UINT32_MAX},
};

/* Beyond what a vInt holds. */
static const varint VLONGS[] = {
    {"80 80 80 80 10", UINT64_C(1) << 32},
    {"ff ff ff ff 7f", (UINT64_C(1) << 35) - 1},
    {"80 80 80 80 80 01", UINT64_C(1) << 35},
    {"ff ff ff ff ff ff ff ff 7f", INT64_MAX},
    {"80 80 80 80 80 80 80 80 80 01", UINT64_C(1) << 63},
    {"ff ff ff ff ff ff ff ff ff 01", UINT64_MAX},
};

enum { NUM_VINTS = sizeof VINTS / sizeof VINTS[0], NUM_VLONGS = sizeof VLONGS / sizeof VLONGS[0] };

static uint64_t get_varint(hr_reader *r, bool is_long)
{
    return is_long ? hr_get_vlong(r) : hr_get_vint(r);
}

static void check_varint(const varint *v, bool is_long)
{
    size_t size;
    uint8_t *in = exact_hex(v->hex, &size);
    hr_reader r = hr_reader_of(in, size, &NO_LIMITS);
    CHECK(get_varint(&r, is_long) == v->value);
    CHECK(hr_ok(&r) && hr_left(&r) == 0 && !r.loose);

    CHECK_INT(hr_varint_size(v->value), size);
    uint8_t *out = exact_block(size);
    CHECK(hr_put_varint(out, v->value) == out + size);
    CHECK_BYTES(out, size, in, size);
    free(out);

    for (size_t n = 0; n < size; n++) {
        uint8_t *cut = exact_copy(in, n);
        r = hr_reader_of(cut, n, &NO_LIMITS);
        CHECK(get_varint(&r, is_long) == 0);
        CHECK_INT(r.stop.result, HR_NEED_MORE);
        CHECK_INT(r.stop.need, 1);
        CHECK_INT(r.stop.at, 0);
        CHECK_INT(r.stop.found, n);
        CHECK_INT(r.stop.wanted, n + 1);
        free(cut);
    }
    free(in);
}

static void test_varints_have_one_shortest_form(void)
{
    for (size_t i = 0; i < NUM_VINTS; i++) {
        check_varint(&VINTS[i], false);
        check_varint(&VINTS[i], true);
    }
    for (size_t i = 0; i < NUM_VLONGS; i++)
        check_varint(&VLONGS[i], true);
}

/* Result, value and looseness of a varint. */
static void check_form(const char *hex, bool is_long, hr_result result, uint64_t value)
{
    size_t size;
    uint8_t *in = exact_hex(hex, &size);
    hr_reader r = hr_reader_of(in, size, &NO_LIMITS);
    uint64_t found = get_varint(&r, is_long);
    CHECK_INT(r.stop.result, result);
    CHECK(found == value);
    if (result == HR_OK) {
        CHECK(r.loose);
        CHECK_INT(hr_left(&r), 0);
    } else {
        CHECK_INT(r.stop.at, 0);
        CHECK_INT(r.stop.wanted, is_long ? 10 : 5);
        CHECK_INT(r.stop.found, in[is_long ? 9 : 4]);
        CHECK_INT(hr_left(&r), 0);
    }
    free(in);
}

static void test_padded_varints_are_read_as_loose(void)
{
    check_form("80 00", false, HR_OK, 0);
    check_form("ff 00", false, HR_OK, 127);
    check_form("80 80 80 80 00", false, HR_OK, 0);
    check_form("81 80 80 80 00", false, HR_OK, 1);
    check_form("80 80 80 80 80 80 80 80 80 00", true, HR_OK, 0);
    check_form("85 80 80 80 80 80 00", true, HR_OK, 5);
}

static void test_overlong_varints_are_refused(void)
{
    check_form("80 80 80 80 80 00", false, HR_BAD_VARINT, 0);
    check_form("ff ff ff ff ff ff", false, HR_BAD_VARINT, 0);
    check_form("80 80 80 80 80 80 80 80 80 80 00", true, HR_BAD_VARINT, 0);
    check_form("80 80 80 80 80 80 80 80 80 80", true, HR_BAD_VARINT, 0);
}

static void test_bits_beyond_the_type_are_refused(void)
{
    check_form("80 80 80 80 10", false, HR_BAD_VARINT, 0);
    check_form("ff ff ff ff 7f", false, HR_BAD_VARINT, 0);
    check_form("ff ff ff ff 1f", false, HR_BAD_VARINT, 0);
    check_form("80 80 80 80 80 80 80 80 80 02", true, HR_BAD_VARINT, 0);
    check_form("ff ff ff ff ff ff ff ff ff 7f", true, HR_BAD_VARINT, 0);
}

static void test_varints_round_trip(void)
{
    maker m = {.state = 11};
    for (int i = 0; i < 20000; i++) {
        uint64_t value = make_number(&m, i % 2 ? 64 : 32);
        size_t size = hr_varint_size(value);
        uint8_t *out = exact_block(size);
        CHECK(hr_put_varint(out, value) == out + size);
        hr_reader r = hr_reader_of(out, size, &NO_LIMITS);
        CHECK(hr_get_vlong(&r) == value && hr_ok(&r) && !r.loose && hr_left(&r) == 0);
        if (value <= UINT32_MAX) {
            r = hr_reader_of(out, size, &NO_LIMITS);
            CHECK(hr_get_vint(&r) == value && hr_ok(&r) && !r.loose);
        }
        free(out);
    }
}

static void test_fixed_width_numbers_are_big_endian(void)
{
    size_t size;
    uint8_t *in = exact_hex("7f 2c22 fffffffe 8000000000000001", &size);
    hr_reader r = hr_reader_of(in, size, &NO_LIMITS);
    CHECK_INT(hr_get_u8(&r), 0x7f);
    CHECK_INT(hr_get_u16(&r), 11298);
    CHECK_INT(hr_get_i32(&r), -2);
    CHECK_INT(hr_get_i64(&r), INT64_MIN + 1);
    CHECK(hr_ok(&r) && hr_left(&r) == 0);

    uint8_t *out = exact_block(size), *p = out;
    *p++ = 0x7f;
    p = hr_put_big_endian(p, 11298, 2);
    p = hr_put_big_endian(p, (uint32_t)-2, 4);
    p = hr_put_big_endian(p, (uint64_t)INT64_MIN + 1, 8);
    CHECK_BYTES(out, (size_t)(p - out), in, size);
    free(out);
    free(in);
}

static void test_cut_numbers_say_what_is_missing(void)
{
    for (size_t n = 0; n < 8; n++) {
        uint8_t *in = exact_copy("\1\2\3\4\5\6\7", n);
        hr_reader r = hr_reader_of(in, n, &NO_LIMITS);
        CHECK_INT(hr_get_i64(&r), 0);
        CHECK_INT(r.stop.result, HR_NEED_MORE);
        CHECK_INT(r.stop.need, 8 - n);
        CHECK_INT(r.stop.wanted, 8);
        CHECK_INT(r.stop.found, n);
        free(in);
    }
}

static void test_a_bool_of_another_value_is_loose(void)
{
    uint8_t *in = exact_copy("\0\1\2", 3);
    hr_reader r = hr_reader_of(in, 3, &NO_LIMITS);
    CHECK(!hr_get_bool(&r) && !r.loose);
    CHECK(hr_get_bool(&r) && !r.loose);
    CHECK(hr_get_bool(&r) && r.loose);
    free(in);
}

/* After the first failure everything is zero, the reader stands still and the failure is kept. */
static void check_zeros(hr_reader r)
{
    hr_stop first = r.stop;
    const uint8_t *pos = r.pos;
    CHECK_INT(hr_get_u8(&r), 0);
    CHECK(!hr_get_bool(&r));
    CHECK_INT(hr_get_u16(&r), 0);
    CHECK_INT(hr_get_i32(&r), 0);
    CHECK_INT(hr_get_i64(&r), 0);
    CHECK_INT(hr_get_vint(&r), 0);
    CHECK(hr_get_vlong(&r) == 0);
    CHECK_INT(hr_get_bytes(&r).len, 0);
    CHECK_INT(hr_get_text(&r).len, 0);
    CHECK_INT(hr_get_count(&r, 0, "items"), 0);
    hr_fail(&r, HR_BAD_VALUE, r.begin, 1, 2);
    hr_need(&r, r.begin, 7);
    hr_over_limit(&r, r.begin, "text", 1, 2);
    CHECK(same_stop(&r.stop, &first));
    CHECK(r.pos == pos && hr_left(&r) == 0);
}

static void test_the_first_failure_stays(void)
{
    const hr_limits tight = {.bytes = 2, .text = 1, .items = 3};
    size_t size;
    uint8_t *in = exact_hex("05 8080808080 03 616263 ff", &size);
    for (hr_result kind = HR_NEED_MORE; kind <= HR_OVER_LIMIT; kind++) {
        hr_reader r = hr_reader_of(in, size, &tight);
        hr_get_u8(&r);
        switch (kind) {
        case HR_NEED_MORE: hr_need(&r, r.pos, 1); break;
        case HR_BAD_VARINT: hr_get_vint(&r); break;
        case HR_OVER_LIMIT:
            r.pos += 5;
            hr_get_bytes(&r);
            break;
        default: hr_fail(&r, kind, r.pos, 1, 2);
        }
        CHECK_INT(r.stop.result, kind);
        CHECK_INT(r.stop.at, kind == HR_OVER_LIMIT ? 6 : 1);
        check_zeros(r);
    }
    free(in);
}

/* What hr_get_slice says of a length with `left` bytes behind it. */
static hr_stop slice_of(const char *hex, uint64_t most, size_t *len)
{
    size_t size;
    uint8_t *in = exact_hex(hex, &size);
    hr_reader r = hr_reader_of(in, size, &NO_LIMITS);
    hr_slice slice = hr_get_slice(&r, most, "bytes");
    *len = slice.len;
    if (hr_ok(&r))
        CHECK(slice.data + slice.len == r.pos);
    else
        CHECK(slice.data == NULL && slice.len == 0);
    free(in);
    return r.stop;
}

static void test_slices(void)
{
    size_t len;
    hr_stop stop = slice_of("00", 0, &len);
    CHECK(stop.result == HR_OK && len == 0);
    stop = slice_of("03 616263", 3, &len);
    CHECK(stop.result == HR_OK && len == 3);

    stop = slice_of("05 616263", 9, &len);
    CHECK_INT(stop.result, HR_NEED_MORE);
    CHECK_INT(stop.need, 2);
    CHECK_INT(stop.wanted, 5);
    CHECK_INT(stop.found, 3);
    CHECK_INT(stop.at, 0);

    /* The limit comes before the question whether the bytes are there. */
    stop = slice_of("05 616263", 4, &len);
    CHECK_INT(stop.result, HR_OVER_LIMIT);
    CHECK_INT(stop.wanted, 4);
    CHECK_INT(stop.found, 5);
    CHECK(same_text(stop.limit, "bytes"));
    stop = slice_of("03 616263", 2, &len);
    CHECK_INT(stop.result, HR_OVER_LIMIT);

    stop = slice_of("ff ff ff ff 07", UINT64_MAX, &len);
    CHECK_INT(stop.result, HR_NEED_MORE);
    CHECK_INT(stop.need, INT32_MAX);
    stop = slice_of("80 80 80 80 08", UINT64_MAX, &len);
    CHECK_INT(stop.result, HR_BAD_LENGTH);
    CHECK_INT(stop.found, UINT64_C(0x80000000));
    stop = slice_of("ff ff ff ff 0f", 5, &len);
    CHECK_INT(stop.result, HR_BAD_LENGTH);
}

static void test_slices_are_written_with_their_length(void)
{
    uint8_t *data = exact_copy("abc", 3);
    size_t size = hr_slice_size((hr_slice){data, 3});
    CHECK_INT(size, 4);
    uint8_t *out = exact_block(size);
    CHECK(hr_put_slice(out, (hr_slice){data, 3}) == out + 4);
    CHECK_BYTES(out, size, (const uint8_t *)"\3abc", 4);
    CHECK(hr_put_slice(out, (hr_slice){NULL, 0}) == out + 1);
    CHECK_INT(out[0], 0);
    free(out);
    free(data);
    CHECK_INT(hr_slice_size((hr_slice){NULL, 128}), 130);
}

static void test_counts_have_limits(void)
{
    uint8_t *in = exact_copy("\4", 1);
    hr_reader r = hr_reader_of(in, 1, &NO_LIMITS);
    CHECK_INT(hr_get_count(&r, 4, "servers"), 4);
    r = hr_reader_of(in, 1, &NO_LIMITS);
    CHECK_INT(hr_get_count(&r, 3, "servers"), 0);
    CHECK_INT(r.stop.result, HR_OVER_LIMIT);
    CHECK(same_text(r.stop.limit, "servers"));
    CHECK_INT(r.stop.wanted, 3);
    CHECK_INT(r.stop.found, 4);
    free(in);
}

/* Lengths of the usual form and their neighbours, whole and cut. */
static void test_skimming_agrees_with_reading(void)
{
    static const size_t LENGTHS[] = {0, 1, 2, 127, 128, 129, 255, 256, 16383, 16384, 16385};
    const hr_limits few = {.bytes = 128};
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        size_t size = hr_varint_size(LENGTHS[i]) + LENGTHS[i];
        uint8_t *in = exact_block(size + 1);
        hr_put_varint(in, LENGTHS[i]);
        hr_slice slice = {NULL, 0};
        const uint8_t *behind = hr_skim_slice(in, in + size + 1, UINT64_MAX, &slice);
        CHECK(LENGTHS[i] > 16383 ? behind == NULL : behind == in + size && slice.len == LENGTHS[i]);
        behind = hr_skim_slice(in, in + size + 1, few.bytes, &slice);
        CHECK((behind != NULL) == (LENGTHS[i] <= few.bytes));
        CHECK(compare_skim(in, size, &few) == NULL);
        for (size_t cut = 0; cut <= size; cut += cut < 5 || cut + 5 > size ? 1 : size - cut - 3) {
            uint8_t *part = exact_copy(in, cut);
            CHECK(compare_skim(part, cut, &NO_LIMITS) == NULL);
            CHECK(cut == size || hr_skim_slice(part, part + cut, UINT64_MAX, &slice) == NULL);
            free(part);
        }
        free(in);
    }
    static const char *const UNUSUAL[] = {"80 00", "81 00 aa", "ff 80 00", "80 80 00", "ff"};
    for (size_t i = 0; i < sizeof UNUSUAL / sizeof UNUSUAL[0]; i++) {
        size_t size;
        uint8_t *in = exact_hex(UNUSUAL[i], &size);
        hr_slice slice;
        CHECK(hr_skim_slice(in, in + size, UINT64_MAX, &slice) == NULL);
        CHECK(compare_skim(in, size, &NO_LIMITS) == NULL);
        free(in);
    }
}

int main(void)
{
    return RUN(TEST(test_varints_have_one_shortest_form),
               TEST(test_padded_varints_are_read_as_loose), TEST(test_overlong_varints_are_refused),
               TEST(test_bits_beyond_the_type_are_refused), TEST(test_varints_round_trip),
               TEST(test_fixed_width_numbers_are_big_endian),
               TEST(test_cut_numbers_say_what_is_missing),
               TEST(test_a_bool_of_another_value_is_loose), TEST(test_the_first_failure_stays),
               TEST(test_slices), TEST(test_slices_are_written_with_their_length),
               TEST(test_counts_have_limits), TEST(test_skimming_agrees_with_reading));
}
