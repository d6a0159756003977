# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, auto_pickle=False, autotestdict=False
# cython: embedsignature.format=clinic, binding=False
"""Encoding: from arguments to frames."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport (
    INT32_MIN, UINT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t,
)
from libc.string cimport memset

from hotrod_codec._ext.arguments cimport *
from hotrod_codec._ext.core cimport *
from hotrod_codec._ext.prepared cimport *
from hotrod_codec._ext.usual cimport *

import sys

from hotrod_codec.errors import EncodeError

# ---- whole frames -------------------------------------------------------------------------------


def encode_request(op, /, *, version="4.1", message_id=0, cache="", flags=0, intelligence=1,
                   topology_id=0, key_media_type=None, value_media_type=None, other_params=None,
                   **fields):
    """Encode one request.

    Args:
        op: An Op member or its name, such as "put".
        version: A Version member or "1.0" to "4.1".
        message_id: 0 to 2**64 - 1; the answer repeats it. 0 is what servers give to events.
        cache: Name of the cache; "" is the default one.
        flags: Flag members, or'ed.
        intelligence: An Intelligence member: which form of topology the server may send.
        topology_id: The last one seen for this cache, signed or unsigned; 0 or -1: none.
        key_media_type, value_media_type: MediaType or its text, from 2.8 on. None: as stored.
        other_params: Names and bytes, from 4.0 on.
        fields: The operation's own, such as key and value; see Op.

    Returns:
        The frame's bytes.

    Raises:
        EncodeError: What was asked for is unknown, missing, or cannot be said in this version.
        TypeError: An argument has the wrong type; names it.

    [wire-core 2, 9]
    """
    cdef const hr_row *row = row_of(op)
    cdef uint8_t number
    try:
        number = version_of(version)
        check_version(row, number)
        if row.is_event:
            raise EncodeError("an event is sent by a server; use encode_response", field="op")
        return encode_request_fields(
            index_of(row), number, message_id, cache, flags, intelligence, topology_id,
            key_media_type, value_media_type, other_params, fields)
    except EncodeError as e:
        raise with_op(e, row) from None


cdef object with_op(object error, const hr_row *row):
    """The same error, telling the operation as well."""
    if error.op:
        return error
    text = str(error)
    prefix = f"{error.field}: "
    return EncodeError(text.removeprefix(prefix), op=row.name.decode(), field=error.field)


cdef bytes encode_request_fields(
        int row, uint8_t version, object message_id, object cache, object flags,
        object intelligence, object topology_id, object key_media_type, object value_media_type,
        object other_params, dict fields):
    cdef hr_request q
    cdef Borrowed b
    cdef bytes out
    cdef size_t size
    b.refs = NULL
    q.row = &hr_rows[row]
    q.version = version
    try:
        q.message_id = take_u64(message_id, "message_id")
        take_header(&q, cache, flags, intelligence, topology_id, key_media_type,
                    value_media_type, other_params, &b)
        if take_body(hr_request_fields(&q), fields, &q.body, version, &b) != len(fields):
            check_names(<tuple>REQUEST_NAMES[row], fields, "a request has: ")
        size = hr_request_size(&q)
        out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        check_written(hr_encode_request(<uint8_t *>PyBytes_AS_STRING(out), &q), out)
        return out
    finally:
        Py_XDECREF(b.refs)


cdef int take_header(hr_request *q, object cache, object flags, object intelligence,
                     object topology_id, object key_media_type, object value_media_type,
                     object other_params, Borrowed *b) except -1:
    """What stands behind the message id; q's version is there already."""
    cdef uint8_t version = q.version
    take_text(cache, "cache", &q.cache, b)
    q.flags = <uint32_t>take_int(flags, "flags", 0, UINT32_MAX)
    q.intelligence = <uint8_t>take_int(intelligence, "intelligence", 0, 255)
    q.topology_id = take_pattern(topology_id, "topology_id")
    memset(&q.key_type, 0, sizeof(hr_media))
    memset(&q.value_type, 0, sizeof(hr_media))
    memset(&q.params, 0, sizeof(hr_list))
    if version >= HR_MEDIA_TYPES_SINCE:
        if key_media_type is not None:
            take_media(key_media_type, "key_media_type", &q.key_type, b)
        if value_media_type is not None:
            take_media(value_media_type, "value_media_type", &q.value_type, b)
    elif key_media_type is not None or value_media_type is not None:
        raise EncodeError(
            f"media types exist from version 2.8 on, not in {version // 10}.{version % 10}",
            field="key_media_type" if key_media_type is not None else "value_media_type")
    if other_params:
        if version < HR_OTHER_PARAMS_SINCE:
            raise EncodeError(
                f"exist from version 4.0 on, not in {version // 10}.{version % 10}",
                field="other_params")
        take_list(HR_PARAMS, other_params, "other_params", &q.params, version, b)
    return 0


cdef int check_written(const uint8_t *end, bytes out) except -1:
    if end != <const uint8_t *>PyBytes_AS_STRING(out) + PyBytes_GET_SIZE(out):
        raise SystemError("the encoder wrote a different length than it announced")
    return 0


def encode_response(op, /, *, version="4.1", message_id=0, status=0, topology=None, **fields):
    """Encode one response, or an event.

    Args:
        op: The request's operation (or an event), as for encode_request.
        version: The request's version.
        message_id: The request's id.
        status: A Status member. From 0x81 on the frame is an error answer and has the field
            `error`; otherwise the status decides which fields the frame carries.
        topology: Sent along; its form has to be one of this version's.
        fields: The answer's own, such as value; see Op. In 1.x a `previous` that is given is
            written, as the request's flag decides about it and not the status.

    Raises:
        EncodeError: What was asked for is unknown, missing, not carried with this status, or
            cannot be said in this version.
        TypeError: An argument has the wrong type; names it.

    [wire-core 3, 4, 9]
    """
    cdef const hr_row *row = row_of(op)
    cdef uint8_t number
    try:
        number = version_of(version)
        check_version(row, number)
        return encode_response_fields(index_of(row), number, message_id, status, topology, fields)
    except EncodeError as e:
        raise with_op(e, row) from None


cdef bytes encode_response_fields(int row, uint8_t version, object message_id,
                                  object status, object topology, dict fields):
    cdef hr_response a
    cdef Borrowed b
    cdef bytes out
    cdef tuple known = ("error",)
    b.refs = NULL
    a.row = NULL
    a.version = version
    if row >= 0:
        a.row = &hr_rows[row]
        known = <tuple>RESPONSE_NAMES[row]
    try:
        a.message_id = take_u64(message_id, "message_id")
        a.status = <uint8_t>take_int(status, "status", 0, 255)
        if not hr_is_status(a.status):
            raise EncodeError(f"unknown status {status}", field="status")
        a.is_error = a.status >= 0x80
        a.has_body = fields.get("previous") is not None
        take_topology(topology, version, &a.topology, &b)
        if take_body(hr_response_fields(&a), fields, &a.body, version, &b) != len(fields):
            check_names(known, fields, "a response has: ")
            check_carried(&a, fields)
        out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>hr_response_size(&a))
        check_written(hr_encode_response(<uint8_t *>PyBytes_AS_STRING(out), &a), out)
        return out
    finally:
        Py_XDECREF(b.refs)


cdef int check_carried(const hr_response *a, dict fields) except -1:
    carried = names_of_body(hr_response_fields(a))
    for name, value in fields.items():
        if value is not None and name not in carried:
            raise EncodeError(f"not carried with status {STATUSES[a.status]!r}", field=str(name))
    return 0


# ---- the short way ------------------------------------------------------------------------------
# encode_request and encode_response for what they are called with most: a name or an Op, no media
# types, no topology, fields among key, value, expiration and version. See usual.h.

cdef fastcall LONG_REQUEST, LONG_RESPONSE

cdef enum:
    IN_VERSION
    IN_MESSAGE_ID
    IN_CACHE
    IN_FLAGS
    IN_INTELLIGENCE
    IN_TOPOLOGY_ID
    IN_KEY_TYPE
    IN_VALUE_TYPE
    IN_OTHER_PARAMS
    IN_KEY
    IN_VALUE
    IN_LIFESPAN
    IN_MAX_IDLE
    IN_ENTRY_VERSION
    IN_STATUS
    NUM_KEYWORDS

cdef tuple KEYWORDS = tuple(map(sys.intern, (
    "version", "message_id", "cache", "flags", "intelligence", "topology_id", "key_media_type",
    "value_media_type", "other_params", "key", "value", "lifespan", "max_idle", "entry_version",
    "status")))
cdef PyObject *KNOWN[NUM_KEYWORDS]
for _i in range(NUM_KEYWORDS):
    KNOWN[_i] = <PyObject *>KEYWORDS[_i]

cdef enum:  # what a request's body is made of
    HAS_KEY = 1
    HAS_VALUE = 2
    HAS_LIFE = 4
    HAS_ENTRY_VERSION = 8
    HAS_MORE = 16
    IS_ON_KEY = 32  # as hr_is_on_key says
    MOST_ROWS = 128

cdef uint8_t SHAPES[MOST_ROWS]      # of each row
cdef PyObject *NAMES[MOST_ROWS]     # names of rows that can go the short way, the usual ones first
cdef uint8_t NAMED[MOST_ROWS]       # and the rows' numbers
cdef int num_names = 0
cdef tuple NAMES_OF_ROWS


cdef uint8_t shape_of(const hr_row *row, const uint8_t *field) noexcept:
    cdef uint8_t shape = HAS_MORE if row.is_event else 0
    if hr_is_on_key(row):
        shape |= IS_ON_KEY
    while field[0] != HR_END:
        if field[0] == HR_KEY:
            shape |= HAS_KEY
        elif field[0] == HR_VALUE:
            shape |= HAS_VALUE
        elif field[0] == HR_EXPIRATION:
            shape |= HAS_LIFE
        elif field[0] == HR_ENTRY_VERSION:
            shape |= HAS_ENTRY_VERSION
        else:
            shape |= HAS_MORE
        field += 1
    return shape


def _names():
    """The names of all rows, those with a key first."""
    numbers = sorted(range(len(OPS)), key=lambda i: not SHAPES[i] & HAS_KEY)
    return tuple((sys.intern(OPS[i].name.lower()), i) for i in numbers if not SHAPES[i] & HAS_MORE)


for _i in range(len(OPS)):
    SHAPES[_i] = shape_of(&hr_rows[_i], hr_rows[_i].request_body)
NAMES_OF_ROWS = _names()
for _i in range(len(NAMES_OF_ROWS)):
    NAMES[_i] = <PyObject *>NAMES_OF_ROWS[_i][0]
    NAMED[_i] = NAMES_OF_ROWS[_i][1]
num_names = len(NAMES_OF_ROWS)


cdef inline const hr_row *usual_row(PyObject *op) noexcept:
    """The row of an operation by its interned name in lower case or its number. Else NULL."""
    cdef int64_t number = 0
    cdef int i
    for i in range(num_names):
        if NAMES[i] == op:
            return &hr_rows[NAMED[i]]
    if hr_usual_int(op, &number) and 0 <= number <= 255:
        return hr_row_of_request(<uint8_t>number)
    return NULL


cdef inline bint usual_number(PyObject *given, int64_t least, int64_t most,
                              int64_t *out) noexcept:
    """Leaves `out` as it is where nothing was given."""
    return given is NULL or (hr_usual_int(given, out) and least <= out[0] <= most)


cdef inline bint is_none(PyObject *given) noexcept:
    return given is NULL or given == <PyObject *>None


cdef bint usual_request(const hr_row *row, PyObject **given, hr_request *q) noexcept:
    cdef uint8_t shape = SHAPES[index_of(row)]
    cdef uint8_t version = 41
    cdef uint64_t number = 0
    cdef int64_t flags = 0
    cdef int64_t intelligence = 1
    cdef int64_t topology_id = 0
    cdef hr_life *life = &q.body.expiration
    if shape & HAS_MORE or given[IN_STATUS] is not NULL:
        return False
    if not (is_none(given[IN_KEY_TYPE]) and is_none(given[IN_VALUE_TYPE])
            and is_none(given[IN_OTHER_PARAMS])):
        return False
    if given[IN_VERSION] is not NULL and not hr_usual_version(given[IN_VERSION], &version):
        return False
    q.row, q.version, q.message_id = row, version, 0
    if not row.since <= version <= row.until:
        return False
    if given[IN_MESSAGE_ID] is not NULL and not hr_usual_id(given[IN_MESSAGE_ID], &q.message_id):
        return False
    q.cache.len = 0
    if given[IN_CACHE] is not NULL and not hr_usual_text(given[IN_CACHE], &q.cache):
        return False
    if not (usual_number(given[IN_FLAGS], 0, UINT32_MAX, &flags)
            and usual_number(given[IN_INTELLIGENCE], 0, 255, &intelligence)
            and usual_number(given[IN_TOPOLOGY_ID], INT32_MIN, UINT32_MAX, &topology_id)):
        return False
    q.flags, q.intelligence = <uint32_t>flags, <uint8_t>intelligence
    q.topology_id = <int32_t><uint32_t>topology_id
    q.key_type.kind = q.value_type.kind = HR_MEDIA_NONE
    memset(&q.params, 0, sizeof(hr_list))
    if shape & HAS_KEY:
        if given[IN_KEY] is NULL or not hr_usual_bytes(given[IN_KEY], &q.body.key):
            return False
    elif given[IN_KEY] is not NULL:
        return False
    if shape & HAS_VALUE:
        if given[IN_VALUE] is NULL or not hr_usual_bytes(given[IN_VALUE], &q.body.value):
            return False
    elif given[IN_VALUE] is not NULL:
        return False
    if shape & HAS_LIFE:
        life.lifespan_unit = life.max_idle_unit = HR_UNIT_DEFAULT
        if not (given[IN_LIFESPAN] is NULL or hr_usual_life(
                given[IN_LIFESPAN], &life.lifespan_unit, &life.lifespan)):
            return False
        if not (given[IN_MAX_IDLE] is NULL or hr_usual_life(
                given[IN_MAX_IDLE], &life.max_idle_unit, &life.max_idle)):
            return False
    elif given[IN_LIFESPAN] is not NULL or given[IN_MAX_IDLE] is not NULL:
        return False
    if shape & HAS_ENTRY_VERSION:
        if given[IN_ENTRY_VERSION] is NULL or not hr_usual_id(given[IN_ENTRY_VERSION], &number):
            return False
        q.body.entry_version = <int64_t>number
    elif given[IN_ENTRY_VERSION] is not NULL:
        return False
    return True


cdef bytes written(const hr_request *q):
    cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>hr_request_size(q))
    check_written(hr_encode_request(<uint8_t *>PyBytes_AS_STRING(out), q), out)
    return out


cdef enum:
    # A header behind the message id, without media types and other parameters, takes less than
    # ROOM bytes if the cache's name takes no more than MOST_CACHE.
    ROOM = 128
    MOST_CACHE = 64


cdef inline bytes written_on_key(const hr_request *q):
    """The same in half the steps: the header is not measured, and no row walked."""
    cdef uint8_t room[ROOM]
    cdef uint8_t shape = SHAPES[index_of(q.row)]
    cdef hr_prepared h
    cdef hr_middle middle
    cdef hr_middle *m = NULL
    cdef const hr_slice *value = &q.body.value if shape & HAS_VALUE else NULL
    cdef bytes out
    if q.cache.len > MOST_CACHE:
        return written(q)
    hr_prepare(&h, room, q)
    if shape & (HAS_LIFE | HAS_ENTRY_VERSION):
        m = &middle
        hr_make_middle(m, &h, q.row, &q.body)
    out = PyBytes_FromStringAndSize(
        NULL, <Py_ssize_t>hr_size_on_key(&h, m, q.message_id, q.body.key, value))
    check_written(hr_put_on_key(<uint8_t *>PyBytes_AS_STRING(out), &h, m, q.row.request,
                                q.message_id, q.body.key, value), out)
    return out


cdef object short_request(PyObject *self, PyObject *const *args, Py_ssize_t count,
                          PyObject *names):
    cdef hr_request q
    cdef PyObject *given[NUM_KEYWORDS]
    cdef const hr_row *row = usual_row(args[0]) if count == 1 else NULL
    if row is not NULL:
        memset(given, 0, sizeof(given))
        if (hr_usual_keywords(args + 1, names, KNOWN, NUM_KEYWORDS, given)
                and usual_request(row, given, &q)):
            return written_on_key(&q) if SHAPES[index_of(row)] & IS_ON_KEY else written(&q)
    return LONG_REQUEST(self, args, count, names)


cdef bint usual_response(const hr_row *row, PyObject **given, hr_response *a) noexcept:
    """An answer of no field, or of a value alone."""
    cdef uint8_t version = 41
    cdef int64_t status = 0
    cdef const uint8_t *fields
    cdef int i
    for i in range(IN_CACHE, IN_STATUS):
        if i != IN_VALUE and given[i] is not NULL:
            return False
    if given[IN_VERSION] is not NULL and not hr_usual_version(given[IN_VERSION], &version):
        return False
    if row.is_event or not row.since <= version <= row.until:
        return False
    a.row, a.version, a.message_id = row, version, 0
    if given[IN_MESSAGE_ID] is not NULL and not hr_usual_id(given[IN_MESSAGE_ID], &a.message_id):
        return False
    if not usual_number(given[IN_STATUS], 0, 0x7f, &status) or not hr_is_status(<uint8_t>status):
        return False
    a.status = <uint8_t>status
    a.is_error = a.has_body = False
    a.topology.form = HR_TOPOLOGY_NONE
    fields = hr_response_fields(a)
    if fields[0] == HR_END:
        return given[IN_VALUE] is NULL
    return (fields[0] == HR_VALUE and fields[1] == HR_END and given[IN_VALUE] is not NULL
            and hr_usual_bytes(given[IN_VALUE], &a.body.value))


cdef object short_response(PyObject *self, PyObject *const *args, Py_ssize_t count,
                           PyObject *names):
    cdef hr_response a
    cdef PyObject *given[NUM_KEYWORDS]
    cdef const hr_row *row = usual_row(args[0]) if count == 1 else NULL
    cdef bytes out
    if row is not NULL:
        memset(given, 0, sizeof(given))
        if (hr_usual_keywords(args + 1, names, KNOWN, NUM_KEYWORDS, given)
                and usual_response(row, given, &a)):
            out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>hr_response_size(&a))
            check_written(hr_encode_response(<uint8_t *>PyBytes_AS_STRING(out), &a), out)
            return out
    return LONG_RESPONSE(self, args, count, names)


hr_shorten(encode_request, short_request, &LONG_REQUEST)
hr_shorten(encode_response, short_response, &LONG_RESPONSE)
