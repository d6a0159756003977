/* wire.c - the reader's out-of-line halves: varints of more than one byte, and what goes wrong. */

#include "wire.h"

uint64_t hr_fail(hr_reader *r, hr_result result, const uint8_t *at, uint64_t wanted, uint64_t found)
{
    if (r->stop.result == HR_OK) {
        r->stop = (hr_stop){.result = result,
                            .field = r->name,
                            .at = (size_t)(at - r->begin),
                            .wanted = wanted,
                            .found = found,
                            .item = r->item};
        r->pos = r->end = at;
    }
    return 0;
}

uint64_t hr_need(hr_reader *r, const uint8_t *at, size_t need)
{
    size_t left = (size_t)(r->end - at);
    if (r->stop.result == HR_OK) {
        hr_fail(r, HR_NEED_MORE, at, left + need, left);
        r->stop.need = need;
    }
    return 0;
}

uint64_t hr_over_limit(hr_reader *r, const uint8_t *at, const char *limit, uint64_t most,
                       uint64_t found)
{
    if (r->stop.result == HR_OK) {
        hr_fail(r, HR_OVER_LIMIT, at, most, found);
        r->stop.limit = limit;
    }
    return 0;
}

/* Java's readers differ in what they let pass (wire-core 1.1); this one takes padded forms within
 * the longest canonical length, and nothing that carries bits beyond the type. */
uint64_t hr_get_long_varint(hr_reader *r, unsigned max_bytes, uint8_t last_max)
{
    const uint8_t *p = r->pos;
    uint64_t value = 0;
    for (unsigned i = 0; i < max_bytes; i++) {
        if (p == r->end)
            return hr_need(r, r->pos, 1);
        uint8_t byte = *p++;
        if (i == max_bytes - 1 && byte > last_max)
            return hr_fail(r, HR_BAD_VARINT, r->pos, max_bytes, byte);
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            if (byte == 0 && i > 0)
                r->loose = true;
            r->pos = p;
            break;
        }
    }
    return value;
}

hr_slice hr_fail_slice(hr_reader *r, const uint8_t *at, uint32_t len, const char *limit,
                       uint64_t most)
{
    if (len > INT32_MAX)
        hr_fail(r, HR_BAD_LENGTH, at, INT32_MAX, len);
    else if (len > most)
        hr_over_limit(r, at, limit, most, len);
    else if (hr_ok(r)) {
        size_t left = hr_left(r);
        hr_fail(r, HR_NEED_MORE, at, len, left);
        r->stop.need = len - left;
    }
    return (hr_slice){NULL, 0};
}

void hr_report_field(hr_reader *r)
{
    if (r->name && r->pos > r->name_at && hr_ok(r))
        r->trace(r->trace_arg, r->name, (size_t)(r->name_at - r->begin),
                 (size_t)(r->pos - r->begin), r->name_kind, r->name_item);
    r->name = NULL;
}
