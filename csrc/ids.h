/* ids.h - which requests wait for their answers: message ids with what their answers are read
 * against, in an open-addressed table in memory of the caller's.
 *
 * Clients count their ids up: eight neighbours share a home of eight slots, so that a pipeline
 * reads and writes the table from one end to the other. Homes are scattered by a multiplication, so
 * that ids that are multiples of something do not meet in a few of them. */

#ifndef HR_IDS_H
#define HR_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hr_waiting {
    uint64_t id;
    uint32_t flags;  /* this and the following as in hr_context */
    uint8_t version; /* below HR_USED: no request waits in this slot */
    uint8_t intelligence;
    uint8_t row;  /* index into hr_rows */
    uint8_t form; /* what the caller makes of the answer */
} hr_waiting;

/* Slots by their version. */
enum {
    HR_FREE = 0, /* and so were all slots behind it, as far as anybody has looked */
    HR_LEFT,     /* was used; what was put behind it is still there */
    HR_USED
};

static inline bool hr_ids_is_used(const hr_waiting *w)
{
    return w->version >= HR_USED;
}

typedef struct hr_ids {
    hr_waiting run;     /* the first of the run */
    uint64_t run_count; /* how many there are: run.id, run.id + 1 ... (behind 2^64 - 1 comes 0) */
    hr_waiting *slots;  /* 1 << bits; with bits 0 there are none */
    unsigned bits;
    size_t used; /* slots used */
    size_t left; /* slots left */
} hr_ids;

enum { HR_IDS_LEAST_BITS = 6 };

static inline size_t hr_ids_mask(const hr_ids *t)
{
    return ((size_t)1 << t->bits) - 1;
}

static inline size_t hr_ids_home(const hr_ids *t, uint64_t id)
{
    return (size_t)((id >> 3) * 0x9e3779b97f4a7c15 >> (64 + 3 - t->bits)) << 3 | (id & 7);
}

static inline bool hr_ids_in_run(const hr_ids *t, uint64_t id)
{
    return id - t->run.id < t->run_count;
}

/* What the answer to `id` is read against: a slot, or the run. NULL: it does not wait. */
static inline hr_waiting *hr_ids_find(hr_ids *t, uint64_t id)
{
    if (hr_ids_in_run(t, id))
        return &t->run;
    if (t->used == 0)
        return NULL;
    for (size_t i = hr_ids_home(t, id);; i = (i + 1) & hr_ids_mask(t)) {
        hr_waiting *w = &t->slots[i];
        if (w->id == id && hr_ids_is_used(w))
            return w;
        if (w->version == HR_FREE)
            return NULL;
    }
}

static inline uint64_t hr_ids_count(const hr_ids *t)
{
    return t->used + t->run_count;
}

/* Does any of `count` ids from `first` on wait? */
static inline bool hr_ids_any(hr_ids *t, uint64_t first, uint64_t count)
{
    if (count == 0)
        return false;
    if (hr_ids_in_run(t, first) || (t->run_count > 0 && t->run.id - first < count))
        return true;
    for (uint64_t i = 0; t->used > 0 && i < count; i++)
        if (hr_ids_find(t, first + i))
            return true;
    return false;
}

/* Add `count` ids that do not wait, from first.id on, to the run. False: they do not belong there.
 */
static inline bool hr_ids_extend(hr_ids *t, hr_waiting first, uint64_t count)
{
    const hr_waiting *run = &t->run;
    if (t->run_count == 0)
        t->run = first;
    else if (first.id != run->id + t->run_count || first.row != run->row ||
             first.version != run->version || first.flags != run->flags ||
             first.intelligence != run->intelligence || first.form != run->form)
        return false;
    t->run_count += count;
    return true;
}

/* Two slots of three are in use at the most, so that every search ends soon. */
static inline bool hr_ids_has_room(const hr_ids *t, size_t more)
{
    size_t slots = t->bits ? (size_t)1 << t->bits : 0;
    return more <= slots / 3 * 2 && t->used + t->left <= slots / 3 * 2 - more;
}

/* How many bits a table wants for so many ids, with room to grow. */
static inline unsigned hr_ids_bits(size_t count)
{
    const unsigned most = sizeof(size_t) * 8 - 1;
    unsigned bits = HR_IDS_LEAST_BITS;
    while (bits < most && (size_t)1 << bits >> 1 < count)
        bits++;
    return bits;
}

/* Add an id that does not wait to the table. There has to be room for it. */
static inline void hr_ids_put(hr_ids *t, hr_waiting waiting)
{
    size_t i = hr_ids_home(t, waiting.id);
    while (hr_ids_is_used(&t->slots[i]))
        i = (i + 1) & hr_ids_mask(t);
    t->left -= t->slots[i].version == HR_LEFT;
    t->slots[i] = waiting;
    t->used++;
}

/* How many ids of the run come before `id`, which hr_ids_find has found at `w`: as many have to be
 * put into the table before it is removed. */
static inline uint64_t hr_ids_before(const hr_ids *t, const hr_waiting *w, uint64_t id)
{
    return w == &t->run ? id - t->run.id : 0;
}

/* Put the first `count` ids of the run into the table, which has room for them. */
static inline void hr_ids_spill(hr_ids *t, uint64_t count)
{
    for (; count > 0; count--, t->run.id++, t->run_count--)
        hr_ids_put(t, t->run);
}

/* Remove what hr_ids_find has found: of the run, its first id. */
static inline void hr_ids_remove(hr_ids *t, hr_waiting *w)
{
    if (w == &t->run) {
        t->run.id++;
        t->run_count--;
        return;
    }
    size_t mask = hr_ids_mask(t), i = (size_t)(w - t->slots);
    t->used--;
    if (t->slots[(i + 1) & mask].version != HR_FREE) {
        w->version = HR_LEFT;
        t->left++;
        return;
    }
    /* Nothing follows: neither this slot nor those left before it keep anything together. */
    w->version = HR_FREE;
    for (i = (i - 1) & mask; t->slots[i].version == HR_LEFT; i = (i - 1) & mask) {
        t->slots[i].version = HR_FREE;
        t->left--;
    }
}

/* Move all to `slots`: zeroed memory for 1 << bits of them, with room. The old memory is free. */
static inline void hr_ids_move(hr_ids *t, hr_waiting *slots, unsigned bits)
{
    hr_ids moved = {.run = t->run, .run_count = t->run_count, .slots = slots, .bits = bits};
    for (size_t i = 0; t->bits && i <= hr_ids_mask(t); i++)
        if (hr_ids_is_used(&t->slots[i]))
            hr_ids_put(&moved, t->slots[i]);
    *t = moved;
}

#endif
