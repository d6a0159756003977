# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, auto_pickle=False, autotestdict=False
"""From the structs of csrc to Python objects: messages, decoding, the incremental Reader.

Borrows buffers, calls the core, builds objects, raises. Knows no layout and no version: which
field follows which, and when, the core says. Makes the values of hotrod_codec.values.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES, PyBuffer_Release, PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.dict cimport PyDict_DelItem
from cpython.list cimport PyList_SetItem
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport (
    INT32_MAX, UINT32_MAX, UINT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.string cimport memcpy, memmove, memset
cimport cython

from hotrod_codec._ext.arguments cimport *
from hotrod_codec._ext cimport bulk
from hotrod_codec._ext.core cimport *
from hotrod_codec._ext.encoding cimport encode_request_fields, encode_response_fields

import math

from hotrod_codec.errors import DecodeError, EncodeError, LimitError, server_error
from hotrod_codec.ops import MEDIA_TYPES as _MEDIA_TYPES
from hotrod_codec.ops import Flag, Intelligence, TimeUnit
from hotrod_codec.values import (
    CounterConfiguration, Duration, FieldLayout, Layout, Limits, MediaType,
    Modification, ServerAddress, Topology, Xid,
)

cdef extern from *:
    """
    #ifndef HOTROD_VERSION
    #define HOTROD_VERSION "unknown"
    #endif
    """
    const char *HOTROD_VERSION

cdef extern from "Python.h":
    PyObject *PyMemoryView_GET_BASE(object view)
    # Bytes that are still being filled.
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) except NULL
    int resize_bytes "_PyBytes_Resize"(PyObject **value, Py_ssize_t size) except -1
    char *data_of "PyBytes_AS_STRING"(PyObject *value)

__version__ = HOTROD_VERSION.decode()

# ---- tables, made once from the core's; never changed afterwards ------------------------------

cdef enum:
    MAX_VALUES = 12  # attributes of a message's body at the most

cdef tuple ERROR_NAMES = ("error",)
cdef tuple FLAGS = tuple([Flag(bits) for bits in range(64)])  # all that the protocol knows
cdef dict INTELLIGENCES = {int(i): i for i in Intelligence}
cdef dict UNITS = {int(u): u for u in TimeUnit}
cdef dict PLAIN_MEDIA_TYPES = {number: MediaType(name) for number, name in _MEDIA_TYPES.items()}
cdef object INFINITE = math.inf


# ---- from structs to Python ---------------------------------------------------------------------

cdef inline bytes bytes_of(hr_slice s):
    return PyBytes_FromStringAndSize(<const char *>s.data, <Py_ssize_t>s.len)


cdef inline str text_of(hr_slice s):
    # Peers may send anything; what is no UTF-8 survives a round trip this way.
    return PyUnicode_DecodeUTF8(<const char *>s.data, <Py_ssize_t>s.len, "surrogateescape")


cdef object duration_of(uint8_t unit, uint64_t amount):
    if unit == HR_UNIT_DEFAULT:
        return None
    if unit == HR_UNIT_INFINITE:
        return INFINITE
    return Duration(amount, UNITS[unit])


cdef object media_of(const hr_media *m):
    if m.kind == HR_MEDIA_NONE:
        return None
    params = tuple(list_of(HR_TEXT_PAIRS, &m.params, 0))
    if m.kind == HR_MEDIA_CUSTOM:
        name = text_of(m.name)
        return MediaType(name, params, custom=name in MEDIA_TYPES_BY_NAME)
    return predefined_media(m.id, params)


cdef object predefined_media(uint32_t number, tuple params):
    plain = PLAIN_MEDIA_TYPES.get(number)
    if plain is not None and not params:
        return plain
    return MediaType(plain.name if plain is not None else "", params, id=number)


cdef object life_of(const hr_life *life):
    return (duration_of(life.lifespan_unit, life.lifespan),
            duration_of(life.max_idle_unit, life.max_idle))


cdef object xid_of(const hr_xid *x):
    return Xid(x.format_id, bytes_of(x.global_id), bytes_of(x.branch_id))


cdef object modification_of(const hr_modification *m):
    cdef object version = None, value = None, lifespan = None, max_idle = None
    if not m.control & (HR_NOT_READ | HR_NON_EXISTING):
        version = m.entry_version
    if not m.control & HR_REMOVES:
        value = bytes_of(m.value)
        lifespan, max_idle = life_of(&m.life)
    return Modification(bytes_of(m.key), m.control, version, value, lifespan, max_idle)


cdef object counter_of(const hr_counter *c):
    cdef bint bounded = c.flags & HR_BOUNDED
    return CounterConfiguration(
        c.initial, c.lower if bounded else None, c.upper if bounded else None,
        c.concurrency if c.flags & HR_WEAK else None, bool(c.flags & HR_PERSISTENT))


cdef object bits_of(const hr_bits *b):
    cdef size_t i
    cdef int j
    cdef list numbers = []
    if not b.present:
        return None
    for i in range(b.bits.len):
        for j in range(8):
            if b.bits.data[i] >> j & 1:
                numbers.append(8 * i + j)
    return numbers


cdef hr_limits NO_LIMITS
memset(&NO_LIMITS, 0xff, sizeof(hr_limits))


cdef int extend_list(list out, const hr_cursor *c, hr_slice encoded, size_t count) except -1:
    """Append `count` items, which have been walked over, to `out`."""
    cdef hr_item item
    cdef const uint8_t *p = encoded.data
    cdef const uint8_t *end = p + encoded.len
    for _ in range(count):
        p = hr_get_item(c, p, end, &item)
        out.append(item_of(c, &item))
    return 0


cdef object new_items(int into, const hr_cursor *c, const uint8_t *data, size_t size,
                      const hr_limits *limits):
    """What take_items adds to, for the items that `data` begins with."""
    return bulk.new_items(into, c, data, size, limits) if bulk.is_bulk(c.kind) else []


cdef int take_items(int into, object out, hr_cursor *c, const uint8_t *data, size_t size,
                    const hr_limits *limits, size_t *used, hr_stop *stop) except -1:
    """Add the whole items that `data` holds to `out`; as hr_walk_list."""
    cdef size_t before = c.count
    cdef hr_slice walked
    if bulk.is_bulk(c.kind):
        return bulk.take_items(into, out, c, data, size, limits, used, stop)
    hr_walk_list(c, data, size, <size_t>-1, limits, used, stop)
    walked.data, walked.len = data, used[0]
    return extend_list(out, c, walked, c.count - before)


cdef object item_of(const hr_cursor *c, const hr_item *item):
    if is_single(c.kind):
        return bytes_of(item.key)
    if c.kind == HR_TEXT_LIST:
        return text_of(item.key)
    if c.kind == HR_TEXT_PAIRS:
        return (text_of(item.key), text_of(item.value))
    if c.kind == HR_PARAMS or c.kind == HR_FEW_PARAMS:
        return (text_of(item.key), bytes_of(item.value))
    if c.kind == HR_U16_LIST:
        return item.number
    if c.kind == HR_XIDS:
        return xid_of(&item.xid)
    return modification_of(&item.modification)


cdef list list_of(hr_kind kind, const hr_list *items, uint8_t version):
    cdef hr_cursor c = hr_cursor_over(
        kind, version, (<const hr_batch *>items).projections if kind == HR_ITERATED else 0)
    cdef list out = []
    cdef size_t used = 0
    cdef hr_stop stop
    if bulk.is_bulk(kind):
        c.left, c.limit, c.ended = items.count, items.count, items.count == 0
        bulk.take_items(bulk.INTO_PAIRS, out, &c, items.encoded.data, items.encoded.len,
                        &NO_LIMITS, &used, &stop)
    else:
        extend_list(out, &c, items.encoded, items.count)
    return out


cdef bint is_mapping(hr_kind kind) noexcept:
    return kind == HR_TEXT_PAIRS or kind == HR_PARAMS or kind == HR_FEW_PARAMS


cdef object mapping_of(list pairs, bint *loose):
    """Names and values as a dict. A name that comes twice cannot be written back from it."""
    found = dict(pairs)
    if len(found) != len(pairs):
        loose[0] = True
    return found


cdef object topology_of(const hr_topology *t):
    cdef Borrowed b
    cdef hr_server *servers
    cdef uint8_t *sizes
    cdef uint32_t *owners
    cdef uint32_t i, j
    b.refs = NULL
    if t.form == HR_TOPOLOGY_NONE:
        return None
    try:
        # Each server and each segment has been read: the memory is in proportion to them.
        servers = <hr_server *>room(&b, t.num_servers, sizeof(hr_server))
        hr_get_servers(t, servers)
        addresses = tuple([
            ServerAddress(text_of(servers[i].host), servers[i].port)
            for i in range(t.num_servers)])
        if t.form == HR_TOPOLOGY_SERVERS:
            return Topology(t.id, addresses)
        if t.form != HR_TOPOLOGY_SEGMENTS:
            return Topology(
                t.id, addresses, hash_version=t.hash_version, key_owners=t.key_owners,
                hash_space=t.hash_space,
                virtual_nodes=t.virtual_nodes if t.form == HR_TOPOLOGY_WHEEL_11 else None,
                hash_ids=tuple([servers[i].hash_id for i in range(t.num_servers)]))
        if t.hash_version == 0:
            return Topology(t.id, addresses, hash_version=0, segment_owners=(),
                            num_segments=t.num_segments)
        sizes = <uint8_t *>room(&b, t.num_segments, 1)
        owners = <uint32_t *>room(&b, t.num_owners, sizeof(uint32_t))
        hr_get_owners(t, sizes, owners)
        segments = []
        for i in range(t.num_segments):
            segments.append(tuple([owners[j] for j in range(sizes[i])]))
            owners += sizes[i]
        return Topology(t.id, addresses, hash_version=t.hash_version,
                        segment_owners=tuple(segments))
    finally:
        Py_XDECREF(b.refs)


# ---- messages -----------------------------------------------------------------------------------

cdef extern from *:
    """
    #if CYTHON_COMPILING_IN_CPYTHON
    /* What PyType_GenericAlloc does, less what messages never need: items, a head for the garbage
     * collector, a reference to a type on the heap. Subclasses get the general one from Python. */
    static PyObject *hr_allocate(PyTypeObject *type, Py_ssize_t items)
    {
        size_t size = (size_t)type->tp_basicsize;
        PyObject *o = (PyObject *)PyObject_Malloc(size);
        (void)items;
        if (!o)
            return PyErr_NoMemory();
        if (size == 64) /* responses: no call */
            memset(o, 0, 64);
        else if (size == 80) /* requests */
            memset(o, 0, 80);
        else
            memset(o, 0, size);
        return PyObject_Init(o, type);
    }
    static void hr_allocate_quickly(PyObject *type)
    {
        ((PyTypeObject *)type)->tp_alloc = hr_allocate;
    }
    #else
    static void hr_allocate_quickly(PyObject *type) { (void)type; }
    #endif
    """
    void hr_allocate_quickly(object type)

cdef enum:
    INLINE_VALUES = 2  # values of a body that stand in the message itself: most have no more

    # Bits of `traits`.
    LOOSE = 1          # not written as encoding writes it
    IS_ERROR = 2
    LOSSY = 4          # its list holds less than the frame did


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class _Rest:
    """What few messages have, apart from them: a small message is a quick one."""

    cdef PyObject *values[MAX_VALUES - INLINE_VALUES]
    cdef bytes raw                   # the frame, when it is loose
    cdef object topology
    cdef object key_media_type, value_media_type
    cdef dict other_params

    def __dealloc__(self):
        for i in range(MAX_VALUES - INLINE_VALUES):
            Py_XDECREF(self.values[i])


@cython.no_gc
@cython.freelist(64)
cdef class Message:
    """A decoded frame. Its fields are attributes and items: `message.key`, `message["key"]`.

    Attributes:
        op: The operation or event; None for an error that answers no known request.
        version: The protocol version.
        message_id: What ties a response to its request.
        size: How many bytes the frame took. A field of that name: `message["size"]`.
        fields: The fields that the frame carried, by name.
    """

    # 64 bytes for a response. No cdef methods: they would add a table to each message.
    cdef uint64_t c_message_id
    cdef size_t c_size
    cdef uint16_t carried            # bit i: the frame carried value i
    cdef uint8_t key_type            # of a request: number of the media type; 0: see `rest`
    cdef uint8_t value_type
    cdef uint8_t row_number          # 1 + the row's index; 0: an error with no known request
    cdef uint8_t c_version           # 0: made by __new__ alone
    cdef uint8_t c_status            # a response's; the client intelligence of a request
    cdef uint8_t traits
    cdef object first, second        # values 0 and 1
    cdef _Rest rest                  # None, or all others

    def __init__(self):
        raise TypeError(f"{type(self).__name__} comes from decoding")

    @property
    def key(self):
        """The field of that name."""
        return field_called(self, "key")

    @property
    def value(self):
        """The field of that name."""
        return field_called(self, "value")

    @property
    def entries(self):
        """The field of that name."""
        return field_called(self, "entries")

    @property
    def previous(self):
        """The field of that name."""
        return field_called(self, "previous")

    @property
    def metadata(self):
        """The field of that name."""
        return field_called(self, "metadata")

    @property
    def error(self):
        """The field of that name."""
        return field_called(self, "error")

    def __getattr__(self, str name):
        slot = slot_of(self, name)
        if slot < 0:
            raise AttributeError(
                f"a {kind_of(self)} has no {name!r}; "
                f"its fields: {', '.join(names_of(self)) or 'none'}")
        return value_at(self, slot)

    def __getitem__(self, str name):
        slot = slot_of(self, name)
        if slot < 0:
            raise KeyError(name)
        return value_at(self, slot)

    @property
    def op(self):
        """The operation or event; None for an error that answers no known request."""
        return OPS[self.row_number - 1] if self.row_number else None

    @property
    def version(self):
        """The protocol version."""
        if self.c_version == 0:
            raise TypeError(f"{type(self).__name__} comes from decoding")
        return VERSION_MEMBERS[self.c_version]

    @property
    def message_id(self):
        """What ties a response to its request."""
        return self.c_message_id

    @property
    def size(self):
        """How many bytes the frame took."""
        return self.c_size

    @property
    def fields(self):
        """The fields that the frame carried, by name, as a new dict."""
        cdef tuple names = names_of(self)
        return {names[i]: value_at(self, i) for i in range(len(names)) if self.carried >> i & 1}

    @property
    def canonical(self):
        """Whether the frame was written as encoding writes it. If not, it is kept as it came."""
        return not self.traits & LOOSE

    def encode(self):
        """The frame's bytes, exactly those that it was decoded from.

        Raises:
            EncodeError: It came in pieces and was not written as encoding writes it; a Reader does
                not keep the bytes of a list that it has taken in already. Or its list was read
                into something that does not hold all of it; see decode_response.
        """
        _ = self.version
        if self.traits & LOSSY:
            raise EncodeError("its list was read into a form that does not hold all of it",
                              op=self.op.name)
        if not self.traits & LOOSE:
            return encoded_anew(self)
        if self.rest is None or self.rest.raw is None:
            raise EncodeError("it came in pieces, in a form that encoding would not write",
                              op=self.op.name if self.op is not None else "")
        return self.rest.raw

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return header_of(self) == header_of(other) and self.fields == other.fields

    __hash__ = None

    def __repr__(self):
        parts = [f"{name}={value!r}" for name, value in header_of(self)[1:] if value is not None]
        parts += [f"{name}={shown(value)}" for name, value in self.fields.items()]
        return f"<{kind_of(self)} {' '.join(parts)}>"


cdef str shown(object value):
    """A value for a repr: keys and values may be secret, their lengths are not."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, (list, dict)):
        return f"{len(value)} items"
    if isinstance(value, tuple) and value and all([isinstance(part, list) for part in value]):
        return " and ".join([f"{len(part)} items" for part in value])  # into="lists"
    return repr(value)


@cython.final
@cython.no_gc
cdef class Request(Message):
    """A decoded request.

    Attributes:
        cache: Name of the cache.
        flags: Flag members.
        intelligence: An Intelligence member, or a number that the protocol does not know.
        topology_id: Signed; -1 or 0: the client knew none.
        key_media_type, value_media_type: MediaType or None, from 2.8 on.
        other_params: Names and bytes, from 4.0 on.
    """

    cdef uint32_t c_flags
    cdef int32_t c_topology_id
    cdef str c_cache

    @property
    def cache(self):
        """Name of the cache; "" is the default one."""
        return self.c_cache

    @property
    def flags(self):
        """Flag members, or'ed."""
        return FLAGS[self.c_flags] if self.c_flags < 64 else Flag(self.c_flags)

    @property
    def intelligence(self):
        """An Intelligence member, or a number that the protocol does not know."""
        return INTELLIGENCES.get(self.c_status, self.c_status)

    @property
    def topology_id(self):
        """The topology that the client knew; signed."""
        return self.c_topology_id

    @property
    def key_media_type(self):
        """MediaType, or None: as stored."""
        if self.key_type:
            return predefined_media(self.key_type, ())
        return None if self.rest is None else self.rest.key_media_type

    @property
    def value_media_type(self):
        """MediaType, or None: as stored."""
        if self.value_type:
            return predefined_media(self.value_type, ())
        return None if self.rest is None else self.rest.value_media_type

    @property
    def other_params(self):
        """Names and bytes, from 4.0 on."""
        if self.rest is None or self.rest.other_params is None:
            return {}
        return dict(self.rest.other_params)

    def __eq__(self, other):
        return (type(other) is Request and header_of(self) == header_of(other)
                and self.other_params == other.other_params and self.fields == other.fields)

    __hash__ = None


@cython.no_gc
cdef class Response(Message):
    """A decoded response.

    Attributes:
        status: A Status member.
        topology: Topology, or None when the server sent none.
        error: The server's words when the status is 0x81 or higher, else None.
    """

    @property
    def status(self):
        """A Status member."""
        return STATUSES[self.c_status]

    @property
    def topology(self):
        """Topology, or None when the server sent none."""
        return None if self.rest is None else self.rest.topology

    @property
    def is_error(self):
        """Whether the server answered with an error; see `error`."""
        return self.traits & IS_ERROR != 0

    def raise_for_status(self):
        """Raise the ServerError of an error answer; else do nothing."""
        if self.traits & IS_ERROR:
            raise server_error(self.error, status=self.status, op=self.op,
                               message_id=self.c_message_id)


@cython.final
@cython.no_gc
cdef class Event(Response):
    """A decoded event: something that a server sends unasked."""


hr_allocate_quickly(Request)
hr_allocate_quickly(Response)
hr_allocate_quickly(Event)

# What a message's attributes come from.

cdef inline const hr_row *row_in(Message m) noexcept:
    if m.row_number == 0:
        return NULL
    return &hr_rows[m.row_number - 1]


cdef inline uint8_t number_of(const hr_row *row) noexcept:
    return 0 if row is NULL else <uint8_t>(index_of(row) + 1)


cdef tuple names_of(Message m):
    """What its body's values are called."""
    if type(m) is Request:
        return <tuple>REQUEST_NAMES[m.row_number - 1] if m.row_number else ()
    return <tuple>RESPONSE_NAMES[m.row_number - 1] if m.row_number else ERROR_NAMES


cdef _Rest rest_of(Message m):
    if m.rest is None:
        m.rest = _Rest.__new__(_Rest)
    return m.rest


cdef object value_at(Message m, Py_ssize_t slot):
    cdef PyObject *found = NULL
    if slot == 0:
        return m.first
    if slot == 1:
        return m.second
    if m.rest is not None:
        found = m.rest.values[slot - INLINE_VALUES]
    return None if found is NULL else <object>found


cdef int put(Message m, int slot, object value) except -1:
    cdef PyObject **place
    if slot == 0:
        m.first = value
    elif slot == 1:
        m.second = value
    else:
        place = &rest_of(m).values[slot - INLINE_VALUES]
        Py_INCREF(value)
        Py_XDECREF(place[0])
        place[0] = <PyObject *>value
    m.carried |= <uint16_t>(1 << slot)
    return 0


cdef Py_ssize_t slot_of(Message m, object name) except -2:
    cdef Py_ssize_t i
    cdef tuple names = names_of(m)
    for i in range(len(names)):
        if names[i] is name:
            return i
    for i in range(len(names)):
        if names[i] == name:
            return i
    return -1


cdef object field_called(Message m, str name):
    """A field that has a property: by far the quickest way to it."""
    cdef Py_ssize_t slot = slot_of(m, name)
    if slot < 0:
        raise AttributeError(name)
    return value_at(m, slot)


cdef str kind_of(Message m):
    cdef str what = "request" if type(m) is Request else "event" if type(m) is Event else "response"
    return f"{row_in(m).name.decode() if m.row_number else 'unknown'} {what}"


cdef tuple header_of(Message m):
    """Attributes beside the body, for comparison and repr."""
    cdef Request q
    cdef tuple head = (("op", m.op), ("message_id", m.c_message_id), ("version", m.version))
    if type(m) is not Request:
        return head + (("status", m.status), ("topology", m.topology))
    q = <Request>m
    return head + (
        ("cache", q.c_cache), ("flags", q.flags), ("intelligence", q.intelligence),
        ("topology_id", q.c_topology_id), ("key_media_type", q.key_media_type),
        ("value_media_type", q.value_media_type), ("other_params", tuple(q.other_params) or None))


cdef bytes encoded_anew(Message m):
    cdef Request q
    cdef dict fields = m.fields
    if type(m) is not Request:
        if type(fields.get("entries")) is tuple:  # into="lists"
            fields["entries"] = list(zip(*fields["entries"]))
        return encode_response_fields(m.row_number - 1, m.c_version, m.c_message_id, m.c_status,
                                      m.topology, fields)
    q = <Request>m
    return encode_request_fields(
        q.row_number - 1, q.c_version, q.c_message_id, q.c_cache, q.c_flags, q.c_status,
        q.c_topology_id, q.key_media_type, q.value_media_type, q.other_params, fields)


# From structs to messages.

cdef int put_body(Message m, const uint8_t *ids, hr_body *body, int first) except -1:
    """Make the values of the fields `ids`, the first of which has the slot `first`."""
    cdef int slot = first
    cdef const hr_field *f
    while ids[0] != HR_END:
        f = &hr_fields[ids[0]]
        if hr_has_field(f, m.c_version):
            put_field(m, slot, <hr_kind>f.kind, member_of(body, f))
        slot += <int>len(<tuple>FIELD_NAMES[ids[0]])
        ids += 1
    return 0


cdef int put_field(Message m, int slot, hr_kind kind, void *member) except -1:
    if kind == HR_BYTES:
        put(m, slot, bytes_of((<hr_slice *>member)[0]))
    elif kind == HR_TEXT:
        put(m, slot, text_of((<hr_slice *>member)[0]))
    elif kind == HR_U8 or kind == HR_COUNTER_STATE:
        put(m, slot, (<uint8_t *>member)[0])
    elif kind == HR_BOOL:
        put(m, slot, (<uint8_t *>member)[0] != 0)
    elif kind == HR_VINT:
        put(m, slot, (<uint32_t *>member)[0])
    elif kind == HR_VLONG:
        put(m, slot, (<uint64_t *>member)[0])
    elif kind == HR_I32:
        put(m, slot, (<int32_t *>member)[0])
    elif kind == HR_I64:
        put(m, slot, (<int64_t *>member)[0])
    elif kind == HR_LIFE:
        lifespan, max_idle = life_of(<hr_life *>member)
        put(m, slot, lifespan)
        put(m, slot + 1, max_idle)
    elif kind == HR_META:
        put(m, slot, bulk.metadata_of(<hr_meta *>member))
    elif kind == HR_OLD_VALUE:
        put(m, slot, bytes_of((<hr_old_value *>member).value))
        if m.c_version >= HR_PREVIOUS_METADATA_SINCE:
            put(m, slot + 1, bulk.metadata_of(&(<hr_old_value *>member).metadata))
    elif kind == HR_MEDIA:
        put(m, slot, media_of(<hr_media *>member))
    elif kind == HR_FACTORY or kind == HR_SOME_FACTORY:
        put_factory(m, slot, kind, <hr_factory *>member)
    elif kind == HR_BITS or kind == HR_SOME_BITS:
        put(m, slot, bits_of(<hr_bits *>member))
    elif kind == HR_XID:
        put(m, slot, xid_of(<hr_xid *>member))
    elif kind == HR_COUNTER:
        put(m, slot, counter_of(<hr_counter *>member))
    elif kind == HR_WRITE_EVENT or kind == HR_REMOVE_EVENT:
        put_event(m, slot, kind, <hr_event *>member)
    elif kind == HR_ITERATED:
        if (<hr_batch *>member).projections:
            put(m, slot, (<hr_batch *>member).projections)
        put(m, slot + 1, list_of(kind, <hr_list *>member, m.c_version))
    else:
        put_list(m, slot, kind, <hr_list *>member)
    return 0


cdef int put_list(Message m, int slot, hr_kind kind, const hr_list *items) except -1:
    cdef bint loose = False
    cdef object value = list_of(kind, items, m.c_version)
    if is_mapping(kind):
        value = mapping_of(value, &loose)
    if loose:
        m.traits |= LOOSE
    return put(m, slot, value)


cdef int put_factory(Message m, int slot, hr_kind kind, const hr_factory *f) except -1:
    put(m, slot, text_of(f.name) if f.present else None)
    if f.present and (f.name.len if kind == HR_FACTORY else m.c_version >= 24):
        put(m, slot + 1, list_of(HR_FEW_BYTES, &f.params, m.c_version))
    return 0


cdef int put_event(Message m, int slot, hr_kind kind, const hr_event *e) except -1:
    put(m, slot, e.marker)
    put(m, slot + 1, bool(e.retried))
    if e.marker != HR_PLAIN_EVENT:
        return put(m, slot + (4 if kind == HR_WRITE_EVENT else 3), bytes_of(e.data))
    put(m, slot + 2, bytes_of(e.key))
    if kind == HR_WRITE_EVENT:
        put(m, slot + 3, e.entry_version)
    return 0


cdef int last_slot(Message m) noexcept:
    """The body's last value, but for a response's `error`."""
    return <int>len(names_of(m)) - (1 if type(m) is Request else 2)


cdef int put_items(Message m, int into, object items, const hr_cursor *c, size_t size) except -1:
    """`items` is the list that ends the body; they took `size` bytes."""
    cdef bint loose = c.loose
    cdef bint lossy = False
    cdef int slot = last_slot(m)
    if bulk.is_bulk(c.kind):
        items = bulk.finish_items(into, items, c, &loose, &lossy)
    elif is_mapping(c.kind):
        items = mapping_of(items, &loose)
    put(m, slot, items)
    if lossy:
        m.traits |= LOSSY
    elif loose:
        m.traits |= LOOSE
    m.c_size += size
    return 0


cdef int keep_raw(Message m, const uint8_t *frame) except -1:
    if m.traits & LOOSE:
        rest_of(m).raw = PyBytes_FromStringAndSize(<const char *>frame, <Py_ssize_t>m.c_size)
    return 0


cdef Request request_of(hr_request *q, size_t size):
    cdef Request out = Request.__new__(Request)
    cdef bint loose = q.loose
    out.row_number = number_of(q.row)
    out.c_message_id = q.message_id
    out.c_size = size
    out.c_version = q.version
    out.c_flags = q.flags
    out.c_topology_id = q.topology_id
    out.c_status = q.intelligence
    out.c_cache = text_of(q.cache)
    if q.key_type.kind != HR_MEDIA_NONE:
        rest_of(out).key_media_type = media_of(&q.key_type)
    if q.value_type.kind != HR_MEDIA_NONE:
        rest_of(out).value_media_type = media_of(&q.value_type)
    if q.params.count:
        rest_of(out).other_params = mapping_of(list_of(HR_PARAMS, &q.params, q.version), &loose)
    out.traits = LOOSE if loose else 0
    put_body(out, hr_request_fields(q), &q.body, 0)
    return out


cdef Request quick_request_of(const hr_quick *q, size_t size):
    """What hr_quick_request has read."""
    cdef Request out = Request.__new__(Request)
    cdef int i = 0, part = 0, slot = 0
    out.row_number = number_of(q.row)
    out.c_message_id = q.message_id
    out.c_size = size
    out.c_version = q.version
    out.c_flags = <uint32_t>q.flags
    out.c_topology_id = <int32_t><uint32_t>q.topology_id
    out.c_status = q.intelligence
    out.c_cache = text_of(q.cache)
    out.key_type = q.key_type
    out.value_type = q.value_type
    while q.row.request_body[i] != HR_END:
        if hr_fields[q.row.request_body[i]].kind == HR_BYTES:
            put(out, slot, bytes_of(q.parts[part]))
            part += 1
            slot += 1
        else:  # an expiration: the default
            put(out, slot, None)
            put(out, slot + 1, None)
            slot += 2
        i += 1
    return out


cdef Response response_of(hr_response *a, size_t size):
    cdef Response out
    cdef int first = 0
    if a.row is not NULL and a.row.is_event:
        out = Event.__new__(Event)
    else:
        out = Response.__new__(Response)
    out.row_number = number_of(a.row)
    out.c_message_id = a.message_id
    out.c_size = size
    out.c_version = a.version
    out.c_status = a.status
    out.traits = (LOOSE if a.loose else 0) | (IS_ERROR if a.is_error else 0)
    if a.topology.form != HR_TOPOLOGY_NONE:
        rest_of(out).topology = topology_of(&a.topology)
    if a.is_error:
        first = <int>len(names_of(out)) - 1
    put_body(out, hr_response_fields(a), &a.body, first)
    return out


cdef inline Response quick_response_of(uint64_t message_id, const hr_row *row, uint8_t version,
                                       uint8_t status, hr_slice value, size_t size):
    """What hr_quick_answer has read."""
    cdef Response out = Response.__new__(Response)
    out.row_number = number_of(row)
    out.c_message_id = message_id
    out.c_size = size
    out.c_version = version
    out.c_status = status
    if value.data is not NULL:
        out.first = bytes_of(value)
        out.carried = 1
    return out


@cython.final
cdef class RequestContext:
    """What a response is read against, when the Request itself is not at hand.

    Args:
        op: An Op member or its name.
        version: A Version member or its text.
        flags: The request's Flag members: in 1.x they decide whether a previous value follows.
        intelligence: The request's Intelligence: it decides the form of a topology.

    Raises:
        EncodeError: An unknown operation or version.
    """

    cdef hr_context context

    def __cinit__(self, op, version="4.1", flags=0, intelligence=1):
        self.context.row = row_of(op)
        self.context.version = version_of(version)
        self.context.flags = <uint32_t>take_int(flags, "flags", 0, UINT32_MAX)
        self.context.intelligence = <uint8_t>take_int(intelligence, "intelligence", 0, 255)

    @property
    def op(self):
        """The operation."""
        return OPS[index_of(self.context.row)]

    @property
    def version(self):
        """The protocol version."""
        return VERSION_MEMBERS[self.context.version]

    @property
    def flags(self):
        """The request's flags."""
        return FLAGS[self.context.flags] if self.context.flags < 64 else Flag(self.context.flags)

    @property
    def intelligence(self):
        """The request's client intelligence."""
        return INTELLIGENCES.get(self.context.intelligence, self.context.intelligence)

    def __eq__(self, other):
        if type(other) is not RequestContext:
            return NotImplemented
        return (self.op, self.version, self.flags, self.intelligence) == (
            other.op, other.version, other.flags, other.intelligence)

    def __hash__(self):
        return hash((int(self.op), int(self.version), int(self.flags), int(self.intelligence)))

    def __repr__(self):
        return (f"RequestContext({self.op.name}, {self.version // 10}.{self.version % 10}, "
                f"flags={self.flags!r}, intelligence={self.intelligence!r})")


cdef int context_of(object request, hr_context *c, bint legacy_server) except -1:
    if type(request) is Request:
        c.row = row_in(<Request>request)
        if c.row is NULL:
            raise TypeError("request: Request that was never filled")
        c.version = (<Request>request).c_version
        c.flags = (<Request>request).c_flags
        c.intelligence = (<Request>request).c_status
    elif type(request) is RequestContext:
        c[0] = (<RequestContext>request).context
    else:
        raise TypeError(
            f"request: expected Request or RequestContext, got {type(request).__name__}")
    c.legacy_server = legacy_server
    return 0


# ---- decoding -----------------------------------------------------------------------------------

cdef int limits_of(object limits, hr_limits *out) except -1:
    if limits is None:
        out[0] = DEFAULT_LIMITS
        return 0
    if not isinstance(limits, Limits):
        raise TypeError(f"limits: expected Limits, got {type(limits).__name__}")
    out.bytes = limits.bytes
    out.text = limits.text
    out.items = limits.items
    out.params = limits.params
    out.servers = limits.servers
    out.segments = limits.segments
    return 0


cdef hr_limits DEFAULT_LIMITS
limits_of(Limits(), &DEFAULT_LIMITS)


cdef str code_name(uint64_t code):
    """What an opcode of a response means, for messages."""
    cdef const hr_row *row = hr_row_of_response(<uint8_t>code)
    if code == HR_ERROR_CODE:
        return f"{code:#04x} (error)"
    if row is NULL:
        return f"{code:#04x} (unknown)"
    return f"{code:#04x} ({row.name.decode()} {'event' if row.is_event else 'response'})"


cdef str stopped_in(const hr_stop *stop):
    """The field that a decoder stopped in, with its index where it is an item of a list."""
    name = "frame" if stop.field is NULL else stop.field.decode()
    return name if stop.item < 0 else f"{name} of item {stop.item}"


cdef object error_of(const hr_stop *stop, str op, uint64_t base):
    """The exception for what stopped a decoder."""
    name = "frame" if stop.field is NULL else stop.field.decode()
    field = stopped_in(stop)
    wanted, found = stop.wanted, stop.found
    kind = DecodeError
    if stop.result == HR_BAD_MAGIC:
        problem = f"found {found:#04x}, expected {wanted:#04x}"
    elif stop.result == HR_BAD_VARINT:
        problem = (f"a variable-length number with byte {found:#04x} in place {wanted}; "
                   f"it has at most {wanted} bytes and {32 if wanted == 5 else 64} bits")
    elif stop.result == HR_BAD_VERSION:
        problem = f"unknown version {found}; known: " + ", ".join(map(str, VERSIONS.values()))
    elif stop.result == HR_BAD_OPCODE and wanted == 0:
        problem = f"unknown operation {found:#04x}"
    elif stop.result == HR_BAD_OPCODE:
        problem = f"found {code_name(found)}, expected {code_name(wanted)}, an error or an event"
    elif stop.result == HR_BAD_STATUS and wanted:
        problem = f"found {found:#04x}, expected an error's status, {wanted:#04x} or higher"
    elif stop.result == HR_BAD_STATUS:
        problem = f"found {found:#04x}, which such an answer never has; what follows is not known"
    elif stop.result == HR_BAD_LENGTH:
        problem = f"length {found}; the most that peers know is {wanted}"
    elif stop.result == HR_OVER_LIMIT:
        kind = LimitError
        limit = stop.limit.decode()
        problem = (f"{found} exceeds the limit of {wanted} for {limit}; "
                   f"pass limits=Limits({limit}=...) to take more")
    elif name == "owners of segment":
        problem = f"found server {found}, but there are only {wanted} servers"
    elif name == "topology marker":
        problem = (f"a topology comes, but the request's intelligence is {wanted}: "
                   "its form is not known")
    else:
        problem = f"found {found:#04x}, expected at most {wanted:#04x}"
    return kind(problem, op=op, field=field, offset=base + stop.at)


cdef str request_name(const hr_request *q):
    return "request" if q.row is NULL else f"{q.row.name.decode()} request"


cdef str response_name(const hr_context *c):
    return "response" if c.row is NULL else f"{c.row.name.decode()} response"


cdef int window(object data, Py_buffer *view, Py_ssize_t offset, const uint8_t **start,
                size_t *length) except -1:
    """The bytes of `data` from `offset` on. The caller releases the view."""
    try:
        PyObject_GetBuffer(data, view, PyBUF_SIMPLE)
    except TypeError:
        raise TypeError(f"data: expected a bytes-like object, got {type(data).__name__}") from None
    if not 0 <= offset <= view.len:
        length[0] = <size_t>view.len
        PyBuffer_Release(view)
        raise ValueError(f"offset: {offset} is not within 0 and {length[0]}")
    start[0] = <const uint8_t *>view.buf + offset
    length[0] = <size_t>(view.len - offset)
    return 0


cdef enum:
    COPY = 1024  # bytes that are read of memory which may change, unless a frame has more


cdef void decoding_of(hr_decoding *d, const hr_limits *limits) noexcept:
    memset(d, 0, sizeof(hr_decoding))
    d.limits = limits


cdef dict FORMS = {"pairs": bulk.INTO_PAIRS, "dict": bulk.INTO_DICT, "lists": bulk.INTO_LISTS,
                   "batch": bulk.INTO_BATCH, "batches": bulk.INTO_BATCHES}


cdef int form_of(object into, const hr_row *row, bint streamed) except -1:
    """The argument `into` for answers to the row's operation."""
    cdef hr_kind kind = <hr_kind>0
    cdef int i = 0
    form = FORMS.get(into) if isinstance(into, str) else None
    if form is None or form == bulk.INTO_BATCHES and not streamed:
        known = ", ".join([repr(name) for name in FORMS if streamed or name != "batches"])
        raise ValueError(f"into: expected one of {known}, got {into!r}")
    if form == bulk.INTO_PAIRS:
        return form
    while row.response_body[i] != HR_END:
        kind = <hr_kind>hr_fields[row.response_body[i]].kind
        i += 1
    if not bulk.is_bulk(kind):
        raise ValueError(f"into: {row.name.decode()} answers with no list of entries, keys or "
                         f"values; leave {into!r} out")
    if form <= bulk.INTO_LISTS and not bulk.has_values(kind):
        raise ValueError(
            f"into: {row.name.decode()} answers with one list, which {into!r} does not fit")
    return form


cdef bint add_list(Message message, int into, object data, hr_decoding *d, const uint8_t *frame,
                   size_t size, str name, uint64_t base) except -1:
    """Read the list that ends the frame, if there is one. False: it goes on behind `size`.

    `data` is what `frame` lies in.
    """
    cdef const uint8_t *rest = frame + d.used
    cdef size_t used = 0
    cdef hr_stop stop
    if d.into is NULL:
        return True
    size -= d.used
    if into == bulk.INTO_BATCH:
        items = bulk.whole_table(data, &d.list, rest, size, d.limits, &used, &stop)
    else:
        items = new_items(into, &d.list, rest, size, d.limits)
        take_items(into, items, &d.list, rest, size, d.limits, &used, &stop)
    if stop.result == HR_NEED_MORE:
        return False
    if stop.result != HR_OK:
        raise error_of(&stop, name, base + d.used)
    put_items(message, into, items, &d.list, used)
    return True


@cython.binding(False)
@cython.embedsignature.format("clinic")
def decode_request(data, /, Py_ssize_t offset=0, *, limits=None):
    """Decode the request that begins at `offset`. Bytes behind it are left alone.

    Args:
        data: Any bytes-like object.
        limits: The most to accept; Limits() by default.

    Returns:
        The Request, or None: the frame goes on behind the end of `data`.

    Raises:
        DecodeError: The bytes are no Hot Rod request; tells what and where.
        LimitError: A length or count exceeds a limit.
    """
    cdef const uint8_t *start
    cdef const uint8_t *end
    cdef const uint8_t *p
    cdef hr_quick q
    if type(data) is bytes and limits is None:
        start = <const uint8_t *>PyBytes_AS_STRING(data)
        end = start + PyBytes_GET_SIZE(data)
        if 0 <= offset <= end - start:
            start += offset
            p = hr_quick_request(start, end, &DEFAULT_LIMITS, &q)
            if p is not NULL:
                return quick_request_of(&q, <size_t>(p - start))
    return decode_any_request(data, offset, limits)


cdef bint may_change(object data):
    """Whether others may write to the bytes of `data` while it is read."""
    if type(data) is memoryview:
        data = <object>PyMemoryView_GET_BASE(data)
    return type(data) is not bytes


cdef bytes copied(const uint8_t *start, size_t length, size_t *size):
    """The first `size` bytes at the most; `size` grows for the next try."""
    cdef size_t count = min(size[0], length)
    size[0] = 4 * count
    return PyBytes_FromStringAndSize(<const char *>start, <Py_ssize_t>count)


cdef Request decode_any_request(object data, Py_ssize_t offset, object limits):
    cdef Py_buffer view
    cdef const uint8_t *start = NULL
    cdef size_t length = 0
    cdef size_t size = COPY
    cdef bytes part
    cdef hr_limits bounds
    cdef Request out = None
    limits_of(limits, &bounds)
    window(data, &view, offset, &start, &length)
    try:
        if not may_change(data):
            return read_request(data, start, length, offset, &bounds)
        # What is read twice has to be the same both times. Of a long buffer a frame is little.
        while True:
            part = copied(start, length, &size)
            out = read_request(part, <const uint8_t *>PyBytes_AS_STRING(part),
                               <size_t>PyBytes_GET_SIZE(part), offset, &bounds)
            if out is not None or <size_t>PyBytes_GET_SIZE(part) == length:
                return out
    finally:
        PyBuffer_Release(&view)


cdef Request read_request(object data, const uint8_t *start, size_t length, Py_ssize_t offset,
                          const hr_limits *bounds):
    """The request at `start`, which lies in `data`; `offset` is for errors."""
    cdef hr_decoding d
    cdef hr_request q
    cdef Request out
    decoding_of(&d, bounds)
    d.stop_at_list = True
    hr_decode_request(start, length, &q, &d)
    if d.stop.result == HR_NEED_MORE:
        return None
    if d.stop.result != HR_OK:
        raise error_of(&d.stop, request_name(&q), offset)
    out = request_of(&q, d.used)
    if not add_list(out, bulk.INTO_PAIRS, data, &d, start, length, request_name(&q), offset):
        return None
    keep_raw(out, start)
    return out


@cython.binding(False)
@cython.embedsignature.format("clinic")
def decode_response(data, /, request, Py_ssize_t offset=0, *, limits=None,
                    bint legacy_server=False, into="pairs"):
    """Decode the response (or event) that begins at `offset`. Bytes behind it are left alone.

    A response says little of itself: it is read in the light of its request.

    Args:
        data: Any bytes-like object.
        request: The Request that it answers, or a RequestContext. An event is recognised
            whatever the request is.
        limits: The most to accept; Limits() by default.
        legacy_server: Read answers as server 9.4 writes them. To 1.x requests with
            FORCE_RETURN_VALUE: without the zero length after a PUT_IF_ABSENT that succeeded and a
            REPLACE of a missing key, and with one after any KEY_DOES_NOT_EXIST [wire-core 7.3].
            To GET_MULTIMAP_WITH_METADATA of a missing key: with an empty entry, which is dropped.
        into: What the list of BULK_GET, GET_ALL or ITERATION_NEXT becomes, the field `entries`:
            "pairs": a list of pairs (key, value), or of IteratedEntry for an iteration.
            "dict": a dict of keys and values; of a key that comes twice the last value counts.
            "lists": a tuple of two lists, the keys and the values.
            "batch": an EntryBatch, by far the quickest and smallest. It keeps `data` in memory
            where that is `bytes` of which the list takes half or more.
            The lists of BULK_GET_KEYS and of a multimap's values are "pairs", a list, or "batch", a
            BytesColumn. An iteration's values are tuples in "dict" and "lists" where a
            filter projects not one; its metadata are left out there, so that encode() refuses.

    Returns:
        The Response or Event, or None: the frame goes on behind the end of `data`.

    Raises:
        DecodeError: The bytes are no Hot Rod response, or not one to this request.
        LimitError: A length or count exceeds a limit.
        ValueError: `into` is none of these, or the operation's answer has no such list.
    """
    cdef const hr_context *c
    cdef const uint8_t *start
    cdef const uint8_t *end
    cdef const uint8_t *p
    cdef uint64_t message_id
    cdef uint8_t status
    cdef hr_slice value
    if (type(data) is bytes and type(request) is RequestContext and limits is None
            and into is PAIRS):
        start = <const uint8_t *>PyBytes_AS_STRING(data)
        end = start + PyBytes_GET_SIZE(data)
        if 0 <= offset <= end - start:
            start += offset
            c = &(<RequestContext>request).context
            p = hr_quick_id(start, end, &message_id)
            if p is not NULL:
                p = hr_quick_answer(p, end, c.row, c.version, legacy_server, DEFAULT_LIMITS.bytes,
                                    &status, &value)
                if p is not NULL:
                    return quick_response_of(message_id, c.row, c.version, status, value,
                                             <size_t>(p - start))
    return decode_any_response(data, request, offset, limits, legacy_server, into)


cdef str PAIRS = "pairs"  # the constant that a default is


cdef Response decode_any_response(object data, object request, Py_ssize_t offset, object limits,
                                  bint legacy_server, object into):
    cdef int form = bulk.INTO_PAIRS
    cdef Py_buffer view
    cdef const uint8_t *start = NULL
    cdef size_t length = 0
    cdef size_t size = COPY
    cdef bytes part
    cdef hr_limits bounds
    cdef hr_context c
    cdef Response out = None
    limits_of(limits, &bounds)
    context_of(request, &c, legacy_server)
    if into is not PAIRS:
        form = form_of(into, c.row, False)
    window(data, &view, offset, &start, &length)
    try:
        if not may_change(data):
            return read_response(data, start, length, request, &c, form, offset, &bounds)
        while True:  # as in decode_any_request
            part = copied(start, length, &size)
            out = read_response(part, <const uint8_t *>PyBytes_AS_STRING(part),
                                <size_t>PyBytes_GET_SIZE(part), request, &c, form, offset, &bounds)
            if out is not None or <size_t>PyBytes_GET_SIZE(part) == length:
                return out
    finally:
        PyBuffer_Release(&view)


cdef Response read_response(object data, const uint8_t *start, size_t length, object request,
                            const hr_context *c, int form, Py_ssize_t offset,
                            const hr_limits *bounds):
    """The response at `start`, which lies in `data`; `offset` is for errors."""
    cdef hr_decoding d
    cdef hr_response a
    cdef Response out
    decoding_of(&d, bounds)
    d.stop_at_list = True
    hr_decode_response(start, length, c, &a, &d)
    if d.stop.result == HR_NEED_MORE:
        return None
    if d.stop.result != HR_OK:
        raise error_of(&d.stop, response_name(c), offset)
    if type(request) is Request and not a.is_error and not a.row.is_event:
        if a.message_id != (<Request>request).c_message_id:
            raise DecodeError(
                f"found {a.message_id}, the request has {request.message_id}",
                op=response_name(c), field="message id", offset=offset + 1)
    out = response_of(&a, d.used)
    if not add_list(out, form, data, &d, start, length, response_name(c), offset):
        return None
    keep_raw(out, start)
    return out


# ---- what the rows say ------------------------------------------------------------------------

cdef dict KIND_NAMES = {
    HR_BYTES: "bytes", HR_TEXT: "text", HR_U8: "u8", HR_BOOL: "bool", HR_VINT: "vint",
    HR_VLONG: "vlong", HR_I32: "i32", HR_I64: "i64", HR_LIFE: "life", HR_META: "meta",
    HR_OLD_VALUE: "old_value", HR_MEDIA: "media", HR_FACTORY: "factory",
    HR_SOME_FACTORY: "some_factory", HR_BITS: "bits", HR_SOME_BITS: "some_bits", HR_XID: "xid",
    HR_COUNTER: "counter", HR_COUNTER_STATE: "counter_state", HR_WRITE_EVENT: "write_event",
    HR_REMOVE_EVENT: "remove_event", HR_PAIRS: "pairs", HR_PAIRS_MORE: "pairs_more",
    HR_BYTES_LIST: "bytes_list", HR_BYTES_MORE: "bytes_more", HR_FEW_BYTES: "few_bytes",
    HR_PIECES: "pieces", HR_TEXT_LIST: "text_list", HR_TEXT_PAIRS: "text_pairs",
    HR_PARAMS: "params", HR_FEW_PARAMS: "few_params", HR_U16_LIST: "u16_list",
    HR_ITERATED: "iterated", HR_XIDS: "xids", HR_MODIFICATIONS: "modifications",
}


cdef tuple fields_of(const uint8_t *ids):
    cdef const hr_field *f
    out = []
    while ids[0] != HR_END:
        f = &hr_fields[ids[0]]
        out.append(FieldLayout(FIELD_NAMES[ids[0]], KIND_NAMES[f.kind],
                               VERSION_MEMBERS[f.since], f.optional))
        ids += 1
    return tuple(out)


def layout(op, /):
    """The layout of an operation's (or event's) frames, as the codec's own table has it.

    Raises:
        EncodeError: An unknown operation.
    """
    cdef const hr_row *row = row_of(op)
    return Layout(
        OPS[index_of(row)], None if row.is_event else row.request, row.response,
        VERSION_MEMBERS[row.since], VERSION_MEMBERS[row.until],
        fields_of(row.request_body), fields_of(row.response_body))


# ---- tracing ------------------------------------------------------------------------------------

cdef void note(void *arg, const char *name, size_t start, size_t end, hr_kind kind,
               int64_t item) noexcept:
    (<list>arg).append((name.decode(), start, end, KIND_NAMES[kind], item))


cdef object unchanging(object data):
    """`data`, or a copy where others may write to it."""
    return bytes(memoryview(data)) if may_change(data) and PyObject_CheckBuffer(data) else data


def trace_request(data, /, offset=0, *, limits=None):
    """Take a request apart as far as it can be read.

    Returns:
        A tuple of four: the spans that were read, as (name, start, end, kind, item) with offsets
        into `data` and item -1 outside of lists; the Request or None; the DecodeError or None;
        and when the frame goes on behind the end of `data`, what is missing, else None, as
        (field, offset, count): what was being read, where it begins, and how many more bytes the
        frame has at the least.
    """
    cdef Py_buffer view
    cdef const uint8_t *start = NULL
    cdef size_t length = 0
    cdef hr_limits bounds
    cdef hr_decoding d
    cdef hr_request q
    cdef list spans = []
    limits_of(limits, &bounds)
    decoding_of(&d, &bounds)
    d.trace = note
    d.trace_arg = <void *>spans
    data = unchanging(data)
    window(data, &view, offset, &start, &length)
    try:
        hr_decode_request(start, length, &q, &d)
        return traced(spans, offset, &d.stop, request_name(&q),
                      request_of(&q, d.used) if d.stop.result == HR_OK else None, start)
    finally:
        PyBuffer_Release(&view)


def trace_response(data, /, request, offset=0, *, limits=None, legacy_server=False):
    """Take a response apart as far as it can be read; see trace_request."""
    cdef Py_buffer view
    cdef const uint8_t *start = NULL
    cdef size_t length = 0
    cdef hr_limits bounds
    cdef hr_decoding d
    cdef hr_context c
    cdef hr_response a
    cdef list spans = []
    limits_of(limits, &bounds)
    decoding_of(&d, &bounds)
    context_of(request, &c, legacy_server)
    d.trace = note
    d.trace_arg = <void *>spans
    data = unchanging(data)
    window(data, &view, offset, &start, &length)
    try:
        hr_decode_response(start, length, &c, &a, &d)
        return traced(spans, offset, &d.stop, response_name(&c),
                      response_of(&a, d.used) if d.stop.result == HR_OK else None, start)
    finally:
        PyBuffer_Release(&view)


cdef tuple traced(list spans, size_t base, const hr_stop *stop, str op, Message message,
                  const uint8_t *start):
    cdef object error = None
    cdef object missing = None
    if message is not None:
        keep_raw(message, start)
    elif stop.result == HR_NEED_MORE:
        missing = (stopped_in(stop), base + stop.at, stop.need)
    else:
        error = error_of(stop, op, base)
    return ([(name, base + first, base + last, kind, item)
             for name, first, last, kind, item in spans], message, error, missing)


# ---- reading a stream ---------------------------------------------------------------------------

@cython.final
@cython.internal
cdef class _Block:
    """Memory that a Reader fills; lives as long as somebody has a view of it."""

    cdef uint8_t *data
    cdef size_t capacity
    cdef int views

    def __cinit__(self, size_t capacity):
        self.data = <uint8_t *>PyMem_Malloc(capacity)
        if self.data is NULL:
            raise MemoryError
        self.capacity = capacity

    def __dealloc__(self):
        PyMem_Free(self.data)

    @cython.critical_section
    def __getbuffer__(self, Py_buffer *view, int flags):
        # Not by PyBuffer_FillInfo, which forgets the None that Cython puts into view.obj.
        view.obj = self
        view.buf = self.data
        view.len = <Py_ssize_t>self.capacity
        view.readonly = 0
        view.itemsize = 1
        view.format = NULL
        if flags & PyBUF_FORMAT:
            view.format = b"B"
        view.ndim = 1
        view.shape = &view.len if flags & PyBUF_ND else NULL
        view.strides = &view.itemsize if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        view.suboffsets = NULL
        view.internal = NULL
        self.views += 1

    @cython.critical_section
    def __releasebuffer__(self, Py_buffer *view):
        self.views -= 1


cdef enum:
    BLOCK = 65536       # what a Reader holds at rest, and reads at a time
    KEEP = 1048576      # a larger block is given back when it is empty
    LONG = 65536        # a byte string from which on it gets its object before it is whole
    CLAIM = 262144      # of that, what is allocated at once
    STRAIGHT = 8192     # fed bytes from which on it pays to read them where they are
    STEP = 512          # bytes of them that are copied at a time for a message that began before


cdef inline hr_waiting waiting_of(const hr_context *c, uint64_t message_id) noexcept:
    cdef hr_waiting w
    w.id = message_id
    w.flags = c.flags
    w.version = c.version
    w.intelligence = c.intelligence
    w.row = <uint8_t>index_of(c.row)
    w.form = bulk.INTO_PAIRS
    return w


cdef bint lacks_a_value(const uint8_t *ids, const hr_stop *stop) noexcept:
    """Whether a frame lacks no more than the end of its last field, a byte string that is long."""
    if stop.wanted < LONG:
        return False
    while ids[0] != HR_END and ids[1] != HR_END:
        ids += 1
    return hr_fields[ids[0]].kind == HR_BYTES and stop.field == hr_fields[ids[0]].name


cdef void context_of_waiting(const hr_waiting *w, hr_context *c) noexcept:
    c.row = &hr_rows[w.row]
    c.version = w.version
    c.flags = w.flags
    c.intelligence = w.intelligence


cdef struct _Quick:  # what Reader.quick_answer reads
    uint64_t message_id
    hr_waiting *waiting
    uint8_t status
    hr_slice value


cdef class Taker:
    """Who waits for an answer, and takes it without a call of Python. For Reader.resolve."""

    cdef int take(self, object answer) except -1:
        raise NotImplementedError


@cython.final
cdef class Reader:
    """Messages out of a stream that arrives in pieces, whatever the pieces.

    Receive into `buffer()` and `commit` what came, or `feed` bytes that are there already; then
    take messages with `next()` until it gives None, or by iterating:

        reader.expect(request)
        reader.commit(sock.recv_into(reader.buffer()))
        for response in reader: ...

    The work is linear in the bytes, and the memory in proportion to what has arrived: a long list
    is taken in item by item, a long value straight into its own object. A failed Reader stays
    failed.

    Args:
        role: "client" reads responses and events, "server" reads requests.
        limits: The most to accept; Limits() by default.
        legacy_server: As for decode_response.

    Not to be used from two threads at once: a call while another one is under way raises
    RuntimeError.
    """

    cdef const uint8_t *at      # what has been received and can be read in one piece: [at, stop)
    cdef const uint8_t *stop
    cdef size_t wanted          # nothing can be taken before so many bytes are there
    cdef uint64_t taken         # bytes of the stream before `at`
    cdef hr_ids ids             # the requests that wait for their answers
    cdef hr_limits limits
    cdef bint is_server, legacy_server
    cdef object failure
    cdef Message partial        # a message whose list is still arriving
    cdef bint is_busy           # what comes next is no whole answer: a server's, failed, partial
    cdef bint ended             # the peer has closed the stream
    cdef bint in_use            # messages are being made, which may let other threads run
    cdef int form               # what the list becomes
    cdef object items
    cdef size_t items_size      # bytes that its items took
    cdef hr_cursor cursor
    cdef PyObject *value        # a partial message's long value, if not a list is what it lacks
    cdef size_t value_size, value_room, value_have
    cdef hr_context latest      # events and unmatched errors are read against it
    # Memory. Bytes that were fed are read where they are; the rest of them that makes no whole
    # message goes to the block, and what it lacks follows it there out of the next ones.
    cdef _Block block
    cdef size_t room            # bytes of the block that buffer() has handed out
    cdef bytes chunk            # what was fed last; None when all of it is in the block
    cdef bint straight          # [at, stop) lies in the chunk and reaches its end
    cdef const uint8_t *ahead   # else: the bytes of the chunk that follow `stop`
    cdef const uint8_t *chunk_end

    def __cinit__(self, *args, **keywords):
        self.block = _Block(BLOCK)
        self.at = self.block.data
        self.stop = self.at

    def __dealloc__(self):
        PyMem_Free(self.ids.slots)
        Py_XDECREF(self.value)

    def __init__(self, role="client", *, limits=None, legacy_server=False):
        if role not in ("client", "server"):
            raise ValueError(f"role: expected 'client' or 'server', got {role!r}")
        self.is_server = role == "server"
        self.is_busy = self.is_server
        self.legacy_server = legacy_server
        limits_of(limits, &self.limits)
        self.latest.version = 41
        self.latest.intelligence = 1

    @property
    def pending_requests(self):
        """How many requests wait for their answers."""
        return hr_ids_count(&self.ids)

    @property
    def buffered(self):
        """How many bytes have been received and belong to no message yet."""
        return self.unread()

    @property
    def offset(self):
        """How many bytes of the stream have been taken."""
        return self.taken

    @property
    @cython.critical_section
    def receiving(self):
        """The message id of the answer whose list is arriving; None: of no answer."""
        return None if self.partial is None or self.value is not NULL else self.partial.c_message_id

    @cython.critical_section
    def expect(self, request, /, message_id=None, *, into="pairs"):
        """Announce a request whose answer will come.

        Args:
            request: A Request, or a RequestContext together with the `message_id`.
            into: What the answer's list becomes, as for decode_response. Besides, "batches": next()
                gives an EntryBatch (or BytesColumn) for the items that are there, again and again,
                and then the Response, which has their number in place of the list. That takes
                no more memory than a batch does, however long the list is. Nothing else comes in
                between; `receiving` is the message id.

        Raises:
            ValueError: That message id waits already, or none was given; `into` is none of
                these, or the operation's answer has no such list.
        """
        cdef hr_context context
        cdef hr_waiting waiting
        cdef uint64_t number
        self.context_of_next(request, &context)
        if message_id is not None:
            number = take_u64(message_id, "message_id")
        elif type(request) is Request:
            number = (<Request>request).c_message_id
        else:
            raise ValueError("message_id: a RequestContext has none of its own")
        waiting = waiting_of(&context, number)
        if into is not PAIRS:
            waiting.form = <uint8_t>form_of(into, context.row, True)
        self.add(&context, waiting)

    cdef int add(self, const hr_context *context, hr_waiting waiting) except -1:
        self.check_free()
        if hr_ids_find(&self.ids, waiting.id) is not NULL:
            raise ValueError(f"message_id: {waiting.id} waits for its answer already")
        if not hr_ids_extend(&self.ids, waiting, 1):
            self.make_room_for_ids(1)
            hr_ids_put(&self.ids, waiting)
        self.latest = context[0]
        return 0

    @cython.critical_section
    def expect_many(self, request, /, first_id, count, *, into="pairs"):
        """Announce `count` requests that differ in their keys and values alone.

        Args:
            request: A RequestContext, or a Request for what it has in common with the others.
            first_id: The message id of the first; those of the others follow it one by one.
            into: As for expect.

        Raises:
            ValueError: One of the ids waits already, or is beyond 2**64 - 1; `into` as for expect.
                None is announced.
        """
        cdef hr_context context
        cdef hr_waiting waiting
        cdef uint64_t first
        cdef size_t number
        self.context_of_next(request, &context)
        first = take_u64(first_id, "first_id")
        number = <size_t>take_int(count, "count", 0, INT32_MAX)
        if number == 0:
            return
        if first > UINT64_MAX - (number - 1):
            raise ValueError(f"count: {number} ids from {first} on go beyond 2**64 - 1")
        waiting = waiting_of(&context, first)
        if into is not PAIRS:
            waiting.form = <uint8_t>form_of(into, context.row, True)
        self.check_free()
        if hr_ids_any(&self.ids, first, number):
            raise ValueError(
                f"first_id: of {number} ids from {first} on one waits for its answer already")
        if not hr_ids_extend(&self.ids, waiting, number):
            self.make_room_for_ids(number)
            for _ in range(number):
                hr_ids_put(&self.ids, waiting)
                waiting.id += 1
        self.latest = context

    cdef int context_of_next(self, object request, hr_context *context) except -1:
        if self.is_server:
            raise ValueError("a server's Reader expects no answers")
        return context_of(request, context, self.legacy_server)

    cdef int make_room_for_ids(self, size_t more) except -1:
        cdef unsigned bits
        cdef hr_waiting *slots
        cdef hr_waiting *old = self.ids.slots
        if hr_ids_has_room(&self.ids, more):
            return 0
        bits = hr_ids_bits(self.ids.used + more)
        slots = <hr_waiting *>PyMem_Calloc(<size_t>1 << bits, sizeof(hr_waiting))
        if slots is NULL:
            raise MemoryError
        hr_ids_move(&self.ids, slots, bits)
        PyMem_Free(old)
        return 0

    cdef inline int forget(self, hr_waiting *waiting, uint64_t message_id) except -1:
        """`message_id` has its answer; its request was found at `waiting`."""
        cdef uint64_t before = hr_ids_before(&self.ids, waiting, message_id)
        if before:
            self.spill(<size_t>before)
        hr_ids_remove(&self.ids, waiting)
        return 0

    cdef int spill(self, size_t count) except -1:
        self.make_room_for_ids(count)
        hr_ids_spill(&self.ids, count)
        return 0

    # ---- memory

    cdef size_t unread(self) noexcept:
        return <size_t>(self.stop - self.at) + <size_t>(self.chunk_end - self.ahead)

    cdef int make_room(self, size_t least) except -1:
        """Move [at, stop) to the block, with `least` bytes of room behind it. What has been handed
        out is not moved."""
        cdef size_t unread = <size_t>(self.stop - self.at)
        cdef size_t capacity = self.block.capacity
        cdef _Block fresh = self.block
        if self.straight or unread == 0:
            if capacity < unread + least or capacity > KEEP and unread + least <= BLOCK:
                fresh = _Block(max(unread + least, <size_t>BLOCK))
        elif <size_t>(self.block.data + capacity - self.stop) >= least:
            return 0
        elif capacity - unread < least or unread > capacity // 2 or self.block.views:
            # Twice what is there, not what a length claims.
            fresh = _Block(max(unread + least, 2 * unread))
        memmove(fresh.data, self.at, unread)
        self.block = fresh
        self.at = fresh.data
        self.stop = fresh.data + unread
        self.straight = False
        return 0

    cdef int append(self, const uint8_t *data, size_t size) except -1:
        self.make_room(size)
        memmove(<uint8_t *>self.stop, data, size)  # somebody may feed our own buffer
        self.stop += size
        return 0

    cdef int settle(self) except -1:
        """Let all that has been received lie in the block."""
        if self.chunk is not None:
            self.append(self.ahead, <size_t>(self.chunk_end - self.ahead))
            self.drop_chunk()
        return 0

    cdef void drop_chunk(self) noexcept:
        self.chunk = None
        self.ahead = NULL
        self.chunk_end = NULL

    cdef void read_straight(self, const uint8_t *start) noexcept:
        """Read the chunk where it is, from `start` on."""
        self.at = start
        self.ahead = self.chunk_end
        self.stop = self.chunk_end
        self.straight = True

    cdef bint pull(self) except -1:
        """Let more of the chunk follow what can be read. False: there is no more of it."""
        cdef size_t have = <size_t>(self.stop - self.at)
        cdef size_t count
        if self.chunk is None:
            return False
        if self.straight:
            if have == 0:
                self.make_room(0)
                self.drop_chunk()
            return False
        if self.items_in_batches():
            self.settle()  # one batch, not one of the item that is cut and another of the rest
            return True
        if have <= <size_t>(self.ahead - <const uint8_t *>PyBytes_AS_STRING(self.chunk)):
            # All that the block holds is in the chunk, too.
            self.read_straight(self.ahead - have)
            return True
        # At least as much as there is, so that a message is not tried too often.
        count = max(have, <size_t>STEP)
        if self.wanted > have:
            count = max(count, self.wanted - have)
        count = min(count, <size_t>(self.chunk_end - self.ahead))
        self.append(self.ahead, count)
        self.ahead += count
        if self.ahead == self.chunk_end:
            self.drop_chunk()
        return True

    cdef bint items_in_batches(self) noexcept:
        """Whether a list is arriving whose items are given out in batches."""
        return (self.partial is not None and self.value is NULL
                and self.form == bulk.INTO_BATCHES)

    @cython.critical_section
    def buffer(self, size_hint=BLOCK, /):
        """Memory to receive into: a writable memoryview of at least one byte, about `size_hint`
        bytes. Valid until the next call of buffer() or feed(); tell with commit() how much came.
        """
        cdef Py_ssize_t hint = size_hint
        cdef size_t used
        self.hand_out(<size_t>hint if hint >= 1 else <size_t>BLOCK)
        used = <size_t>(self.stop - self.block.data)
        view = memoryview(self.block)
        return view[used:] if used else view

    cdef int hand_out(self, size_t least) except -1:
        """Let `room` bytes behind `stop`, `least` or more, be for who receives."""
        self.check_free()
        self.settle()
        self.make_room(least)
        self.room = self.block.capacity - <size_t>(self.stop - self.block.data)
        return 0

    @cython.critical_section
    def commit(self, count, /):
        """`count` bytes have been received into the last buffer()."""
        self.take_in(count)

    cdef int take_in(self, Py_ssize_t count) except -1:
        self.check_free()
        if not 0 <= count <= <Py_ssize_t>self.room:
            raise ValueError(f"count: {count} is not within 0 and {self.room}")
        self.not_ended()
        self.stop += <size_t>count
        self.room -= <size_t>count
        return 0

    @cython.critical_section
    def feed(self, data, /):
        """Take in bytes that are there already, any bytes-like object.

        They are copied, but for `bytes`: those are read where they are, and held until all their
        messages are taken and the rest is copied.
        """
        cdef Py_buffer view
        self.not_ended()
        self.check_free()
        self.room = 0
        if type(data) is bytes and PyBytes_GET_SIZE(data) >= STRAIGHT:
            # Behind messages that are not taken yet, one copy more does no harm.
            if self.unread() == 0 or self.wanted:
                return self.hold(<bytes>data)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.check_free()  # the buffer's owner may have done anything
            self.settle()
            self.append(<const uint8_t *>view.buf, <size_t>view.len)
        finally:
            PyBuffer_Release(&view)

    cdef object hold(self, bytes data):
        cdef bint empty = self.unread() == 0
        self.settle()
        self.chunk = data
        self.ahead = <const uint8_t *>PyBytes_AS_STRING(data)
        self.chunk_end = self.ahead + PyBytes_GET_SIZE(data)
        if empty:
            self.read_straight(self.ahead)

    @cython.critical_section
    def feed_eof(self):
        """Say that the peer has closed the stream: nothing follows what has been fed.

        Then `next()` gives what is whole, and at last None if the stream ended between two
        messages; otherwise it raises DecodeError. Requests that still wait get no answer:
        `pending_requests` says how many.
        """
        self.check_free()
        self.ended = True

    cdef int not_ended(self) except -1:
        if self.ended:
            raise ValueError("bytes behind the end of the stream: feed_eof() has been called")
        return 0

    # ---- messages

    @cython.critical_section
    def next(self):
        """The next whole message, or None: more bytes are needed.

        Returns:
            A Request in the role of a server, else a Response or Event. An error answer comes as
            a Response, too; when it matches no request, its op is None. Of a request that was
            expected into "batches", an EntryBatch or BytesColumn at a time, then the Response.

        Raises:
            DecodeError: The stream is no Hot Rod, answers what nobody asked, or ended in the
                middle of a message (`feed_eof`). The offset counts from the start of the stream.
                Every later call raises it again.
            LimitError: A length or count exceeds a limit.
        """
        cdef object message = self.take_quick()
        return self.next_message() if message is None else message

    @cython.critical_section
    def next_values(self, values, first_id, count, /, start=0):
        """Take the answers of a pipeline many at a time, and only what is in them.

        As long as the next message is a plain answer (a success or a miss, with no topology, and
        no field but a value) with one of `count` ids from `first_id` on, its value goes to
        `values[start + message_id - first_id]`: bytes, or None when it has none.

        Args:
            values: A list; None: nobody wants them.

        Returns:
            How many were taken. Whatever comes next, next() gives it: an answer that is not plain
            or has another id, an event; None if it is not whole; an error if it is wrong. 0 says
            no more than that.

        Raises:
            TypeError: `values` is no list.
            ValueError: It has no room for so many.
        """
        cdef list out = values
        cdef uint64_t first = take_u64(first_id, "first_id")
        cdef size_t number = <size_t>take_int(count, "count", 0, INT32_MAX)
        cdef size_t begin = <size_t>take_int(start, "start", 0, INT32_MAX)
        cdef size_t taken = 0
        cdef const uint8_t *end
        cdef _Quick q
        cdef object value
        self.check_free()
        if out is not None and begin + number > <size_t>len(out):
            raise ValueError(f"values: {len(out)} places, {begin + number} are needed")
        while True:
            end = self.quick_answer(first, number, &q)
            if end is NULL:
                return taken
            value = None if q.value.data is NULL or out is None else bytes_of(q.value)
            self.forget(q.waiting, q.message_id)
            self.take(<size_t>(end - self.at))
            taken += 1
            if out is not None:
                # What was there before may do anything when it goes, even make the list shorter.
                Py_INCREF(value)
                PyList_SetItem(out, <Py_ssize_t>(begin + <size_t>(q.message_id - first)), value)

    def resolve(self, waiting, gone=(), /):
        """Give answers to those who wait for them, many at a time.

        As long as the next message is a plain answer (see `next_values`) to a message id in
        `waiting`, that is taken out there, and `set_result` of its waiter called with the Response.

        Args:
            waiting: A dict: for message ids those who wait, such as futures; None for an answer
                that next() shall give.
            gone: A type of exceptions, or a tuple of such, that `set_result` may raise, such as
                asyncio.InvalidStateError for futures that were cancelled: then nobody waits.

        Returns:
            How many were taken, as `next_values`.

        Raises:
            TypeError: `waiting` is no dict.
            Exception: What `set_result` raised. Its answer was taken.
        """
        cdef dict table = waiting
        cdef object waiter, message_id
        cdef Response message
        cdef size_t taken = 0
        if table is None:
            raise TypeError("waiting: a dict is needed, not None")
        while True:
            with cython.critical_section(self):
                message_id = self.id_of_next()
                waiter = None if message_id is None else table.get(message_id)
                message = None if waiter is None else self.take_quick()
                if message is None:  # also if a key of the dict, asked what it is, read on here
                    return taken
                PyDict_DelItem(table, message_id)
            taken += 1
            try:
                if isinstance(waiter, Taker):
                    (<Taker>waiter).take(message)
                else:
                    waiter.set_result(message)
            except gone:
                pass

    def __iter__(self):
        return self

    @cython.critical_section
    def __next__(self):
        cdef object message = self.take_quick()
        if message is None:
            message = self.next_message()
            if message is None:
                raise StopIteration
        return message

    cdef int check_free(self) except -1:
        if self.in_use:
            raise RuntimeError("this Reader is being used, by another thread or by what it calls; "
                               "each thread wants one of its own, or a lock")
        return 0

    cdef object next_message(self):
        self.check_free()
        self.in_use = self.is_busy = True
        try:
            return self.any_message()
        finally:
            self.in_use = False
            self.is_busy = (self.is_server or self.failure is not None
                            or self.partial is not None)

    cdef object any_message(self):
        cdef object message
        if self.failure is not None:
            raise self.failure
        while True:
            message = None
            if self.value is not NULL:
                message = self.resume_value()
            elif self.partial is not None:
                message = self.resume()
            elif self.stop != self.at and <size_t>(self.stop - self.at) >= self.wanted:
                message = self.take_request() if self.is_server else self.take_response()
            if message is not None:
                return message
            if not self.pull():
                return self.fail_at_end() if self.ended else None

    cdef object fail_at_end(self):
        if self.partial is None and self.stop == self.at:
            return None
        name = "request" if self.is_server else "response"
        if self.partial is not None:
            name = f"{self.partial.op.name} {name}"
        return self.fail(DecodeError(
            "the stream ends in the middle of a message",
            op=name, field="end", offset=self.taken + self.unread()))

    cdef object fail(self, object error):
        self.failure = error
        raise error

    cdef object wait(self, const hr_stop *stop):
        self.wanted = <size_t>(self.stop - self.at) + stop.need
        return None

    cdef void take(self, size_t count) noexcept:
        self.at += count
        self.taken += count
        self.wanted = 0

    cdef object take_request(self):
        cdef hr_decoding d
        cdef hr_request q
        cdef hr_quick quick
        cdef Request message
        cdef const uint8_t *end = hr_quick_request(self.at, self.stop, &self.limits, &quick)
        if end is not NULL:
            message = quick_request_of(&quick, <size_t>(end - self.at))
            self.take(<size_t>(end - self.at))
            return message
        decoding_of(&d, &self.limits)
        d.stop_at_list = True
        hr_decode_request(self.at, <size_t>(self.stop - self.at), &q, &d)
        if d.stop.result == HR_NEED_MORE:
            if q.row is not NULL and lacks_a_value(q.row.request_body, &d.stop) and not q.loose:
                self.begin_value(request_of(&q, 0), &d.stop)
                return self.resume_value()
            return self.wait(&d.stop)
        if d.stop.result != HR_OK:
            return self.fail(error_of(&d.stop, request_name(&q), self.taken))
        return self.begin(request_of(&q, d.used), &d, bulk.INTO_PAIRS)

    cdef inline const uint8_t *quick_answer(self, uint64_t first, uint64_t count, _Quick *q):
        """What is next, if it is a whole answer in the most frequent form with one of `count` ids
        from `first` on; returns its end. Else NULL, which says nothing."""
        cdef const uint8_t *end
        if self.is_busy:
            return NULL
        end = hr_quick_id(self.at, self.stop, &q.message_id)
        if end is NULL or q.message_id - first >= count:
            return NULL
        q.waiting = hr_ids_find(&self.ids, q.message_id)
        if q.waiting is NULL:
            return NULL
        return hr_quick_answer(end, self.stop, &hr_rows[q.waiting.row], q.waiting.version,
                               self.legacy_server, self.limits.bytes, &q.status, &q.value)

    cdef object id_of_next(self):
        """The message id of what is next if that is a whole answer in the most frequent form; else
        None."""
        cdef _Quick q
        self.check_free()
        return None if self.quick_answer(0, UINT64_MAX, &q) is NULL else q.message_id

    cdef Response take_quick(self):
        """The next message if it is a whole answer in the most frequent form; else None, which
        says nothing."""
        cdef _Quick q
        cdef const uint8_t *end = self.quick_answer(0, UINT64_MAX, &q)
        return None if end is NULL else self.take_answer(&q, end)

    cdef inline Response take_answer(self, const _Quick *q, const uint8_t *end):
        cdef Response message = quick_response_of(
            q.message_id, &hr_rows[q.waiting.row], q.waiting.version, q.status, q.value,
            <size_t>(end - self.at))
        self.forget(q.waiting, q.message_id)
        self.take(<size_t>(end - self.at))
        return message

    cdef object take_response(self):
        cdef hr_decoding d
        cdef hr_response a
        cdef hr_context c
        cdef uint64_t message_id = 0
        cdef uint8_t code = 0
        cdef int form = bulk.INTO_PAIRS
        cdef const hr_row *row
        cdef hr_waiting *waiting = NULL
        cdef size_t size = <size_t>(self.stop - self.at)
        decoding_of(&d, &self.limits)
        hr_peek_response(self.at, size, &message_id, &code, &d.stop)
        if d.stop.result == HR_NEED_MORE:
            return self.wait(&d.stop)
        if d.stop.result != HR_OK:
            return self.fail(error_of(&d.stop, "response", self.taken))
        # An event may carry the id of a request that waits: the code comes first.
        row = hr_row_of_response(code)
        if row is NULL or not row.is_event:
            waiting = hr_ids_find(&self.ids, message_id)
        c = self.latest
        c.row = NULL
        if waiting is not NULL:
            context_of_waiting(waiting, &c)
            form = waiting.form
        elif code != HR_ERROR_CODE and (row is NULL or not row.is_event):
            return self.fail(DecodeError(
                f"{code_name(code)} to message {message_id}, which waits for no answer",
                op="response", field="message id", offset=self.taken + 1))
        d.stop_at_list = True
        hr_decode_response(self.at, size, &c, &a, &d)
        if d.stop.result == HR_NEED_MORE:
            if c.row is not NULL and lacks_a_value(c.row.response_body, &d.stop) and not a.loose:
                self.begin_value(response_of(&a, 0), &d.stop)
                self.forget(waiting, message_id)
                return self.resume_value()
            return self.wait(&d.stop)
        if d.stop.result != HR_OK:
            return self.fail(error_of(&d.stop, response_name(&c), self.taken))
        if waiting is not NULL:
            self.forget(waiting, message_id)
        return self.begin(response_of(&a, d.used), &d, form)

    cdef object begin(self, Message message, hr_decoding *d, int form):
        """The frame is here up to its list, if it has one."""
        cdef const uint8_t *frame
        cdef object whole
        if d.into is NULL:
            keep_raw(message, self.at)
            self.take(d.used)
            return message
        if not self.straight:
            self.settle()  # so that a frame that is all here is whole
        frame = self.at
        self.take(d.used)
        self.partial = message
        self.form = form
        self.items = None
        if form != bulk.INTO_BATCHES:
            self.items = new_items(form, &d.list, self.at, <size_t>(self.stop - self.at),
                                   &self.limits)
        self.items_size = 0
        self.cursor = d.list
        whole = self.resume()
        if whole is message:
            keep_raw(message, frame)
        return whole

    cdef int begin_value(self, Message message, const hr_stop *stop) except -1:
        """All of the message is here but the end of its last field, a byte string. That gets its
        object now, to which its bytes are copied as they come."""
        cdef size_t head = <size_t>(self.stop - self.at) - <size_t>stop.found
        self.value_size = <size_t>stop.wanted
        self.value_have = 0
        # No more than a little, or twice what is there: a length is a claim.
        self.value_room = min(self.value_size, <size_t>CLAIM)
        self.value = new_bytes(NULL, <Py_ssize_t>self.value_room)
        message.c_size = head + self.value_size
        self.partial = message
        self.take(head)
        return 0

    cdef object resume_value(self):
        cdef Message message = self.partial
        cdef size_t count = min(<size_t>(self.stop - self.at), self.value_size - self.value_have)
        if self.value_have + count > self.value_room:
            self.value_room = min(self.value_size,
                                  max(2 * self.value_room, self.value_have + count))
            try:
                resize_bytes(&self.value, <Py_ssize_t>self.value_room)
            except MemoryError as e:
                self.failure = e  # what there was of it is gone
                raise
        memcpy(data_of(self.value) + self.value_have, self.at, count)
        self.value_have += count
        self.take(count)
        if self.value_have < self.value_size:
            return None
        put(message, last_slot(message), <object>self.value)
        Py_XDECREF(self.value)
        self.value = NULL
        self.partial = None
        return message

    cdef object resume(self):
        """Take in as many whole items as are there. Returns the message when it is whole."""
        cdef size_t used = 0
        cdef hr_stop stop
        cdef object batch = None
        cdef Message message = self.partial
        if not self.cursor.ended:
            if <size_t>(self.stop - self.at) < self.wanted:
                return None
            try:
                batch = self.take_list(&used, &stop)
            except MemoryError as e:
                self.failure = e  # there is no telling what of the list is lost
                raise
            self.items_size += used
            self.take(used)
            if batch is not None:  # what is wrong behind it will be found again
                return batch
            if stop.result == HR_NEED_MORE:
                # Only the item that is cut counts here; a hint for the rest is no use, as every
                # item is read once.
                self.wanted = <size_t>(self.stop - self.at) + 1
                return None
            if stop.result != HR_OK:
                return self.fail(error_of(&stop, kind_of(message), self.taken - used))
        put_items(message, self.form, self.items, &self.cursor, self.items_size)
        self.partial = None
        self.items = None
        return message

    cdef object take_list(self, size_t *used, hr_stop *stop):
        cdef const uint8_t *data = self.at
        cdef size_t size = <size_t>(self.stop - self.at)
        if self.form == bulk.INTO_BATCHES:
            return bulk.next_batch(&self.cursor, data, size, &self.limits, used, stop)
        take_items(self.form, self.items, &self.cursor, data, size, &self.limits, used, stop)
        return None


# ---- for exchange.pyx, which receives without objects for it -------------------------------------

cdef int expect_in(object reader, object request, uint64_t message_id) except -1:
    """As Reader.expect()."""
    cdef Reader self = <Reader?>reader
    cdef hr_context context
    with cython.critical_section(self):
        self.context_of_next(request, &context)
        self.add(&context, waiting_of(&context, message_id))
    return 0


cdef object room_of(object reader, uint8_t **data, size_t *room):
    """As Reader.buffer(). Gives what holds the memory, which has to be kept meanwhile."""
    cdef Reader self = <Reader?>reader
    with cython.critical_section(self):
        self.hand_out(BLOCK)
        data[0] = <uint8_t *>self.stop
        room[0] = self.room
        return self.block


cdef object answer_of(object reader, size_t count, uint64_t message_id):
    """Commit `count` bytes; the plain answer (see `next_values`) to `message_id`, if that is all
    there is. Else None, and next() gives what there is."""
    cdef Reader self = <Reader?>reader
    cdef _Quick q
    cdef const uint8_t *end
    with cython.critical_section(self):
        self.take_in(<Py_ssize_t>count)
        end = self.quick_answer(message_id, 1, &q)
        return self.take_answer(&q, end) if end == self.stop and self.chunk is None else None
