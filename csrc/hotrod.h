/* hotrod.h - the Hot Rod codec core: bytes <-> plain structs.
 *
 * Knows the wire format of every protocol version from 1.0 to 4.1, both directions.
 * Knows nothing of Python, sockets, threads, time or the heap: all that a function reads or writes
 * is in its arguments, so each thread may run it on its own structs.
 *
 * An operation is a row of ops.def. `hr_body` has one member for each field that any row uses; a
 * row says which of them a frame carries. Slices that decoding fills point into the input. */

#ifndef HOTROD_H
#define HOTROD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hash.h"

/* ---- results ----------------------------------------------------------------------------- */

typedef enum hr_result {
    HR_OK = 0,
    HR_NEED_MORE,   /* the frame goes on behind the input */
    HR_BAD_MAGIC,   /* the first byte begins no frame of this direction */
    HR_BAD_VARINT,  /* longer than 5 (vInt) or 10 (vLong) bytes, or bits beyond 32 (64) */
    HR_BAD_VERSION, /* no such protocol version */
    HR_BAD_OPCODE,  /* no such operation, or not the answer to the request */
    HR_BAD_STATUS,  /* no such status: what follows cannot be found */
    HR_BAD_VALUE,   /* a byte or number outside of what the field may hold */
    HR_BAD_LENGTH,  /* a length of 2^31 or more, which is negative to every peer */
    HR_OVER_LIMIT   /* a length or count above the caller's limit */
} hr_result;

/* Where reading stopped and why. `wanted` and `found` are in the unit of the result: bytes for
 * HR_NEED_MORE, the limit and the number for HR_OVER_LIMIT, the codes for HR_BAD_*. */
typedef struct hr_stop {
    hr_result result;
    const char *field; /* what was being read */
    const char *limit; /* HR_OVER_LIMIT: the member of hr_limits that was exceeded */
    size_t at;         /* offset of the item that could not be read */
    size_t need;       /* HR_NEED_MORE: how many more bytes the frame has at the least */
    uint64_t wanted, found;
    int64_t item; /* index within a list, -1 outside of one */
} hr_stop;

/* The most that a decoder takes for one field. Nothing is ever allocated from these. */
typedef struct hr_limits {
    uint64_t bytes;    /* length of a key, a value or another byte array */
    uint64_t text;     /* length of a string */
    uint64_t items;    /* items of a list */
    uint64_t params;   /* media-type parameters, other parameters of a request */
    uint64_t servers;  /* servers of a topology */
    uint64_t segments; /* segments of a topology */
} hr_limits;

/* ---- values ------------------------------------------------------------------------------ */

/* Borrowed bytes. The owner of the memory outlives the slice. */
typedef struct hr_slice {
    const uint8_t *data;
    size_t len;
} hr_slice;

/* A list. Decoding sets `encoded` (its items on the wire, without count or end mark) and `count`;
 * hr_get_item reads them one by one. For encoding, `items` holds `count` items: hr_slice for each
 * part of each item where the parts are bytes or text (key, value, key, value ...), and for the
 * other kinds what hr_kind says. With `items` NULL, `encoded` is written as it is. */
typedef struct hr_list {
    const void *items;
    size_t count;
    hr_slice encoded;
} hr_list;

/* Time to live and idle time of an entry; units are HR_UNIT_*. Up to 2.1 the wire has seconds. */
typedef struct hr_life {
    uint64_t lifespan, max_idle;
    uint8_t lifespan_unit, max_idle_unit;
} hr_life;

enum { HR_NO_LIFESPAN = 1, HR_NO_MAX_IDLE = 2 };

/* What a server knows of an entry. Times are milliseconds since 1970, durations seconds. */
typedef struct hr_meta {
    int64_t created, last_used, version;
    uint32_t lifespan, max_idle;
    uint8_t flags; /* HR_NO_LIFESPAN: no created, no lifespan. HR_NO_MAX_IDLE likewise. */
} hr_meta;

/* A previous value, with metadata from 4.0 on. */
typedef struct hr_old_value {
    hr_slice value;
    hr_meta metadata;
} hr_old_value;

/* The name of a filter or converter factory and its parameters. */
typedef struct hr_factory {
    bool present; /* optional: HR_SOME_FACTORY only */
    hr_slice name;
    hr_list params; /* bytes */
} hr_factory;

/* A set of numbers: number i is bit i % 8 of byte i / 8. Without zero bytes at its end. */
typedef struct hr_bits {
    bool present; /* optional: HR_SOME_BITS only */
    hr_slice bits;
} hr_bits;

/* Entries of an iteration. `list` stands first: a cursor knows no other part. */
typedef struct hr_batch {
    hr_list list;         /* hr_iterated */
    uint32_t projections; /* values of each entry; 0: not on the wire */
} hr_batch;

typedef struct hr_iterated {
    bool has_metadata;
    hr_meta metadata;
    hr_slice key;
    const hr_slice *values; /* for encoding; as many as the batch has projections */
    hr_slice encoded;       /* for decoding; hr_next_slice takes them apart */
} hr_iterated;

typedef struct hr_xid {
    int32_t format_id;
    hr_slice global_id, branch_id;
} hr_xid;

enum { HR_NOT_READ = 1, HR_NON_EXISTING = 2, HR_REMOVES = 4 };

/* One write of a transaction. `control` says which members count: entry_version unless NOT_READ or
 * NON_EXISTING, life and value unless REMOVES. */
typedef struct hr_modification {
    hr_slice key, value;
    uint8_t control;
    int64_t entry_version;
    hr_life life;
} hr_modification;

enum { HR_WEAK = 1, HR_BOUNDED = 2, HR_PERSISTENT = 4 };

/* A counter's definition. `concurrency` counts if it is weak, the bounds if it is bounded. */
typedef struct hr_counter {
    uint8_t flags;
    uint32_t concurrency;
    int64_t lower, upper, initial;
} hr_counter;

enum { HR_PLAIN_EVENT = 0, HR_CUSTOM_EVENT = 1, HR_RAW_EVENT = 2 };

/* What follows the listener id of a cache event: key (and version) if it is plain, else data. */
typedef struct hr_event {
    uint8_t marker;
    bool retried;
    hr_slice key, data;
    int64_t entry_version;
} hr_event;

/* One item of a list, as hr_get_item reads it. */
typedef struct hr_item {
    hr_slice key, value; /* bytes and text; a single part is `key` */
    uint32_t number;
    hr_iterated iterated;
    hr_modification modification;
    hr_xid xid;
} hr_item;

enum { HR_MEDIA_NONE = 0, HR_MEDIA_PREDEFINED = 1, HR_MEDIA_CUSTOM = 2 };

typedef struct hr_media {
    uint8_t kind;
    uint32_t id;    /* HR_MEDIA_PREDEFINED */
    hr_slice name;  /* HR_MEDIA_CUSTOM */
    hr_list params; /* pairs of strings */
} hr_media;

typedef struct hr_server {
    hr_slice host;
    uint16_t port;
    int32_t hash_id; /* 1.x only */
} hr_server;

typedef enum hr_topology_form {
    HR_TOPOLOGY_NONE = 0,
    HR_TOPOLOGY_SERVERS,  /* a list of servers */
    HR_TOPOLOGY_WHEEL_10, /* 1.0: servers with their places on the hash wheel */
    HR_TOPOLOGY_WHEEL_11, /* 1.1 to 1.3: the same with a number of virtual nodes */
    HR_TOPOLOGY_SEGMENTS  /* 2.0 and later: servers, then the owners of each segment */
} hr_topology_form;

/* A cluster's topology. Decoding sets the numbers and the two `encoded_` slices; hr_get_servers and
 * hr_get_owners unpack those into arrays of the caller's. For encoding set the arrays, or leave
 * them NULL to write the slices as they are. */
typedef struct hr_topology {
    hr_topology_form form;
    uint8_t hash_version;
    uint16_t key_owners; /* 1.x */
    int32_t id;
    uint32_t hash_space, virtual_nodes; /* 1.x */
    uint32_t num_servers, num_segments;
    size_t num_owners; /* of all segments together */
    hr_slice encoded_servers, encoded_segments;
    const hr_server *servers;     /* num_servers */
    const uint8_t *segment_sizes; /* num_segments: number of owners of each */
    const uint32_t *owners;       /* num_owners: indices into servers */
} hr_topology;

/* ---- rows -------------------------------------------------------------------------------- */

/* How a field is written. */
typedef enum hr_kind {
    HR_BYTES = 1,     /* vInt length, data */
    HR_TEXT,          /* the same, UTF-8 */
    HR_U8,            /* one byte */
    HR_BOOL,          /* one byte, 0 or 1 */
    HR_VINT,          /* 32 bits in 1 to 5 bytes */
    HR_VLONG,         /* 64 bits in 1 to 10 bytes */
    HR_I32,           /* 4 bytes, big-endian, signed */
    HR_I64,           /* 8 bytes, big-endian, signed */
    HR_LIFE,          /* lifespan and max idle of a request */
    HR_META,          /* metadata of an entry */
    HR_OLD_VALUE,     /* a previous value */
    HR_MEDIA,         /* a media type */
    HR_FACTORY,       /* text; unless that is empty u8 n, n times bytes */
    HR_SOME_FACTORY,  /* signed vInt length or -1, text; from 2.4 on parameters likewise */
    HR_BITS,          /* vInt length, bits */
    HR_SOME_BITS,     /* signed vInt length or -1, bits */
    HR_XID,           /* a transaction's id */
    HR_COUNTER,       /* a counter's definition */
    HR_COUNTER_STATE, /* one byte: two bits for each of old and new */
    HR_WRITE_EVENT,   /* marker, retried, then key and version, or data */
    HR_REMOVE_EVENT,  /* marker, retried, then key, or data */
    /* Lists; hr_is_list counts from here. What `items` holds is slices unless it is said here. */
    HR_PAIRS,      /* vInt n, n times key and value */
    HR_PAIRS_MORE, /* 01 key value, repeated, then 00 */
    HR_BYTES_LIST, /* vInt n, n keys */
    HR_BYTES_MORE, /* 01 key, repeated, then 00 */
    HR_FEW_BYTES,  /* u8 n, n times bytes */
    HR_PIECES,     /* bytes that are not empty, then an empty length */
    HR_TEXT_LIST,  /* vInt n, n times text */
    HR_TEXT_PAIRS, /* vInt n, n times name and text */
    HR_PARAMS,     /* vInt n, n times name and bytes */
    HR_FEW_PARAMS, /* u8 n, n times name and bytes */
    HR_U16_LIST,   /* vInt n, n numbers of two bytes; uint16_t */
    HR_ITERATED,   /* vInt n, from 2.4 on values of each, n entries; an hr_batch of hr_iterated */
    HR_XIDS,       /* vInt n, n ids; hr_xid */
    HR_MODIFICATIONS, /* vInt n, n writes; hr_modification */
    HR_NUM_KINDS
} hr_kind;

/* Fields of bodies. HR_END ends a row. */
typedef enum hr_field_id {
    HR_END = 0,
#define HR_FIELD(id, member, kind, since, need, name) id,
#include "ops.def"
    HR_NUM_FIELDS
} hr_field_id;

enum { HR_REQUIRED = 0, HR_OPTIONAL = 1 };
enum { HR_MAX_BODY = 8 }; /* fields of a row at the most */

typedef struct hr_field {
    const char *name; /* several names, "a, b", where one field has several values */
    size_t offset;    /* of its member in hr_body */
    size_t size;      /* of that member; all zeros stand for an optional field left out */
    uint8_t kind, since;
    bool optional;
} hr_field;

typedef struct hr_row {
    const char *name;
    uint8_t request, response; /* codes; an event has only a response code */
    uint8_t since, until;      /* protocol versions */
    bool is_event;
    uint8_t request_body[HR_MAX_BODY],
        response_body[HR_MAX_BODY]; /* hr_field_id, HR_END at the end */
} hr_row;

/* The member type of each kind. */
#define HR_TYPE_HR_BYTES hr_slice
#define HR_TYPE_HR_TEXT hr_slice
#define HR_TYPE_HR_U8 uint8_t
#define HR_TYPE_HR_BOOL bool
#define HR_TYPE_HR_VINT uint32_t
#define HR_TYPE_HR_VLONG uint64_t
#define HR_TYPE_HR_I32 int32_t
#define HR_TYPE_HR_I64 int64_t
#define HR_TYPE_HR_LIFE hr_life
#define HR_TYPE_HR_META hr_meta
#define HR_TYPE_HR_OLD_VALUE hr_old_value
#define HR_TYPE_HR_MEDIA hr_media
#define HR_TYPE_HR_FACTORY hr_factory
#define HR_TYPE_HR_SOME_FACTORY hr_factory
#define HR_TYPE_HR_BITS hr_bits
#define HR_TYPE_HR_SOME_BITS hr_bits
#define HR_TYPE_HR_XID hr_xid
#define HR_TYPE_HR_COUNTER hr_counter
#define HR_TYPE_HR_COUNTER_STATE uint8_t
#define HR_TYPE_HR_WRITE_EVENT hr_event
#define HR_TYPE_HR_REMOVE_EVENT hr_event
#define HR_TYPE_HR_PAIRS hr_list
#define HR_TYPE_HR_PAIRS_MORE hr_list
#define HR_TYPE_HR_BYTES_LIST hr_list
#define HR_TYPE_HR_BYTES_MORE hr_list
#define HR_TYPE_HR_FEW_BYTES hr_list
#define HR_TYPE_HR_PIECES hr_list
#define HR_TYPE_HR_TEXT_LIST hr_list
#define HR_TYPE_HR_TEXT_PAIRS hr_list
#define HR_TYPE_HR_PARAMS hr_list
#define HR_TYPE_HR_FEW_PARAMS hr_list
#define HR_TYPE_HR_U16_LIST hr_list
#define HR_TYPE_HR_ITERATED hr_batch
#define HR_TYPE_HR_XIDS hr_list
#define HR_TYPE_HR_MODIFICATIONS hr_list

/* One member for each field; a frame uses those of its row. */
typedef struct hr_body {
#define HR_FIELD(id, member, kind, since, need, name) HR_TYPE_##kind member;
#include "ops.def"
} hr_body;

extern const hr_field hr_fields[HR_NUM_FIELDS];
extern const hr_row hr_rows[]; /* operations, then events */
extern const size_t hr_num_rows;

const hr_row *hr_row_of_request(uint8_t code);  /* NULL: no such operation */
const hr_row *hr_row_of_response(uint8_t code); /* NULL: neither an answer nor an event */
bool hr_is_version(uint8_t version);
bool hr_is_status(uint8_t status);
bool hr_is_list(hr_kind kind);

/* Does this version have the field? */
static inline bool hr_has_field(const hr_field *field, uint8_t version)
{
    return version >= field->since;
}

/* ---- frames ------------------------------------------------------------------------------ */

/* The versions from which on a frame has ... */
enum {
    HR_TIME_UNITS_SINCE = 22,   /* units in expirations */
    HR_MEDIA_TYPES_SINCE = 28,  /* media types in request headers */
    HR_RELATIVE_SINCE = 30,     /* durations over 30 days that are durations, not dates */
    HR_OTHER_PARAMS_SINCE = 40, /* other parameters in request headers */
    HR_PREVIOUS_METADATA_SINCE = 40
};

enum { HR_REQUEST_MAGIC = 0xA0, HR_RESPONSE_MAGIC = 0xA1, HR_ERROR_CODE = 0x50 };
enum { HR_FORCE_RETURN_VALUE = 0x01, HR_DEFAULT_LIFESPAN = 0x02, HR_DEFAULT_MAX_IDLE = 0x04 };
enum { HR_BASIC = 1, HR_TOPOLOGY_AWARE = 2, HR_HASH_DISTRIBUTION_AWARE = 3 };
enum {
    HR_UNIT_SECONDS = 0,
    HR_UNIT_DEFAULT = 7, /* carries no number */
    HR_UNIT_INFINITE = 8 /* carries no number */
};

typedef struct hr_request {
    const hr_row *row;
    uint64_t message_id;
    uint8_t version;
    uint8_t intelligence;
    uint32_t flags;
    int32_t topology_id;
    hr_slice cache;
    hr_media key_type, value_type; /* from 2.8 */
    hr_list params;                /* from 4.0: pairs of name and bytes */
    bool loose;                    /* decoded from a form that encoding would not write */
    hr_body body;
} hr_request;

/* What a response is read against: it carries none of this itself. */
typedef struct hr_context {
    const hr_row *row; /* NULL: only events and errors can be read */
    uint8_t version;
    uint8_t intelligence;
    uint32_t flags;
    bool legacy_server; /* read answers as server 9.4 writes them: decisions.md */
} hr_context;

typedef struct hr_response {
    const hr_row *row; /* NULL: an error with no known request */
    uint64_t message_id;
    uint8_t version;
    uint8_t status;
    bool is_error; /* HR_ERROR_CODE: the body is `error` */
    bool loose;    /* decoded from a form that encoding would not write */
    bool has_body; /* 1.x: the previous value is there (later versions: the status says it) */
    hr_topology topology;
    hr_body body;
} hr_response;

/* The fields that follow the header, HR_END at the end. */
const uint8_t *hr_request_fields(const hr_request *request);
const uint8_t *hr_response_fields(const hr_response *response);

/* Exact number of bytes that hr_encode_request will write. */
size_t hr_request_size(const hr_request *request);
/* Write the request to `out`, which has hr_request_size bytes of room. Returns the end. */
uint8_t *hr_encode_request(uint8_t *out, const hr_request *request);

size_t hr_response_size(const hr_response *response);
uint8_t *hr_encode_response(uint8_t *out, const hr_response *response);

/* A place in a list: what is left to read of it. */
typedef struct hr_cursor {
    hr_kind kind;
    uint8_t version;
    bool ended;           /* nothing is left */
    bool loose;           /* an item had a form that encoding would not write */
    uint32_t projections; /* HR_ITERATED: values of each entry */
    uint64_t left;        /* items still to come, when the list has a count */
    size_t count;         /* items read so far */
    uint64_t limit;       /* most items, when the list has no count */
} hr_cursor;

/* Told of every field as it is read: its name, where it lies, how it is written, the index of the
 * item it belongs to (-1: none). */
typedef void hr_trace(void *arg, const char *name, size_t from, size_t to, hr_kind kind,
                      int64_t item);

typedef struct hr_decoding {
    const hr_limits *limits;
    hr_trace *trace; /* NULL: none */
    void *trace_arg;
    bool stop_at_list; /* return before the items of a list that ends the body; see `list` */
    /* results */
    hr_stop stop;
    size_t used;    /* HR_OK: length of the frame, or of what stands before the list's items */
    hr_cursor list; /* with stop_at_list: where to go on; `ended` when there is no such list */
    hr_list *into;  /* with stop_at_list: the member of the body that the items belong to */
} hr_decoding;

/* Read one request (response) from `in`. On HR_OK the slices of the result point into `in`; on any
 * other result `d->stop` says what was wrong and where. */
hr_result hr_decode_request(const uint8_t *in, size_t len, hr_request *request, hr_decoding *d);
hr_result hr_decode_response(const uint8_t *in, size_t len, const hr_context *context,
                             hr_response *response, hr_decoding *d);

/* Read the first bytes of a response, as far as the code: enough to know which request it answers.
 * HR_OK, HR_NEED_MORE or what is wrong, told in `stop`. */
hr_result hr_peek_response(const uint8_t *in, size_t len, uint64_t *message_id, uint8_t *code,
                           hr_stop *stop);

/* Walk over as many whole items as `in` holds, at most `most`. HR_OK: `most` items were read, or
 * the list has ended (`c->ended`). `*used` is the length of what was walked over, without an end
 * mark cut in half; on HR_NEED_MORE it may be resumed there. */
hr_result hr_walk_list(hr_cursor *c, const uint8_t *in, size_t len, size_t most,
                       const hr_limits *limits, size_t *used, hr_stop *stop);

/* A cursor for hr_get_item over a list that has been decoded as a whole; `projections` as the
 * batch has them. */
hr_cursor hr_cursor_over(hr_kind kind, uint8_t version, uint32_t projections);

/* Read the item at `p`, which hr_walk_list or decoding has walked over as far as `end`. Returns the
 * next one's place. */
const uint8_t *hr_get_item(const hr_cursor *c, const uint8_t *p, const uint8_t *end, hr_item *item);

/* Read a slice at `p`, which has been walked over. Returns the place behind it. */
const uint8_t *hr_next_slice(const uint8_t *p, hr_slice *slice);

/* Read a slice of the usual form at `p`: a canonical length of one or two bytes, at most `most`,
 * and all of it before `end`. Returns the place behind it, or NULL for anything else, which
 * hr_walk_list then reads or refuses. */
static inline const uint8_t *hr_skim_slice(const uint8_t *p, const uint8_t *end, uint64_t most,
                                           hr_slice *slice)
{
    if (end - p < 2) /* an empty slice at the very end is left to the plain way, too */
        return NULL;
    size_t len = *p++;
    if (len >= 0x80) {
        size_t high = *p++;
        if (high - 1 >= 0x7f) /* 0: not canonical */
            return NULL;
        len += (high - 1) << 7;
    }
    if (len > (size_t)(end - p) || len > most)
        return NULL;
    *slice = (hr_slice){p, len};
    return p + len;
}

/* The same for an entry of an iteration. */
const uint8_t *hr_skim_iterated(const hr_cursor *c, const uint8_t *p, const uint8_t *end,
                                uint64_t most, hr_iterated *entry);

/* Lists as columns: a row of numbers for each item, offset and length of each part. The parts are
 * key, value; key; or key and values of an iterated entry, whose rows end with the offset of its
 * metadata, -1 without. */

/* Numbers in a row; 0: lists of this kind have no columns. `*parts`: slices of an item. */
size_t hr_row_width(const hr_cursor *c, size_t *parts);

/* As hr_walk_list for a kind that has columns, filling a row of `rows` for each item. The offset of
 * `in` itself is `base`. */
hr_result hr_walk_rows(hr_cursor *c, const uint8_t *in, size_t len, size_t most,
                       const hr_limits *limits, int64_t base, int64_t *rows, size_t *used,
                       hr_stop *stop);

/* Read metadata at `p`, which has been walked over as far as `end`. */
void hr_get_metadata(const uint8_t *p, const uint8_t *end, hr_meta *metadata);

/* Write `count` rows, each `stride` numbers behind the one before, as items of a list of the kind
 * `c->kind` without its count: their size, then their bytes. Returns the end. */
size_t hr_rows_size(const hr_cursor *c, const uint8_t *data, const int64_t *row, ptrdiff_t stride,
                    size_t count);
uint8_t *hr_put_rows(uint8_t *p, const hr_cursor *c, const uint8_t *data, const int64_t *row,
                     ptrdiff_t stride, size_t count);

/* The most items that a list of this kind can have. */
size_t hr_most_items(hr_kind kind);

/* Unpack a decoded topology: `servers` has room for num_servers; `sizes` for num_segments and
 * `owners` for num_owners. */
void hr_get_servers(const hr_topology *topology, hr_server *servers);
void hr_get_owners(const hr_topology *topology, uint8_t *sizes, uint32_t *owners);

#endif
