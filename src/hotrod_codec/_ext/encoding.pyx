# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, auto_pickle=False, autotestdict=False
"""Encoding: from arguments to frames."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport UINT32_MAX, uint8_t, uint32_t
from libc.string cimport memset

from hotrod_codec._ext.arguments cimport *
from hotrod_codec._ext.core cimport *

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
