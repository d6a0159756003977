# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, auto_pickle=False, autotestdict=False
"""Python objects <-> the structs of csrc: messages, encoding, decoding, the incremental Reader.

Borrows buffers, calls the core, builds objects, raises. Knows no layout and no version: which
field follows which, and when, the core says. Makes the values of hotrod_codec.values.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.dict cimport PyDict_GetItemWithError
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport (
    INT32_MAX, INT32_MIN, INT64_MAX, UINT32_MAX, UINT64_MAX,
    int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.string cimport memcpy, memmove, memset
cimport cython

from hotrod_codec._ext.core cimport *

import math
import sys
from collections.abc import Mapping

from hotrod_codec.errors import DecodeError, EncodeError, LimitError, server_error
from hotrod_codec.ops import MEDIA_TYPES as _MEDIA_TYPES
from hotrod_codec.ops import Flag, Intelligence, Op, Status, TimeUnit, Version
from hotrod_codec.values import (
    CounterConfiguration, Duration, FieldLayout, IteratedEntry, Layout, Limits, MediaType, Metadata,
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
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    void PyObject_GC_UnTrack(PyObject *item)

__version__ = HOTROD_VERSION.decode()

# ---- tables, made once from the core's; never changed afterwards ------------------------------

cdef enum:
    MAX_VALUES = 12  # attributes of a message's body at the most


cdef int index_of(const hr_row *row) noexcept:
    return <int>(row - &hr_rows[0])


def _names_of_fields():
    names = [()]
    for i in range(1, HR_NUM_FIELDS):
        names.append(tuple(map(sys.intern, hr_fields[i].name.decode().split(", "))))
    return tuple(names)


cdef tuple FIELD_NAMES = _names_of_fields()


cdef tuple names_of_body(const uint8_t *ids):
    names = []
    while ids[0] != HR_END:
        names.extend(FIELD_NAMES[ids[0]])
        ids += 1
    return tuple(names)


def _tables():
    rows, requests, responses, ops = {}, [], [], []
    for i in range(hr_num_rows):
        row = &hr_rows[i]
        name = row.name.decode()
        rows[name] = rows[name.lower()] = i
        requests.append(names_of_body(row.request_body))
        responses.append((*names_of_body(row.response_body), "error"))
        ops.append(Op[name])
    return rows, tuple(requests), tuple(responses), tuple(ops)


cdef dict ROWS_BY_NAME
cdef tuple REQUEST_NAMES, RESPONSE_NAMES, OPS
ROWS_BY_NAME, REQUEST_NAMES, RESPONSE_NAMES, OPS = _tables()
cdef tuple ERROR_NAMES = ("error",)
cdef dict VERSIONS = {f"{v // 10}.{v % 10}": int(v) for v in Version}
cdef dict VERSION_MEMBERS = {int(v): v for v in Version}
cdef dict STATUSES = {int(s): s for s in Status}
cdef dict INTELLIGENCES = {int(i): i for i in Intelligence}
cdef dict UNITS = {int(u): u for u in TimeUnit}
cdef dict PLAIN_MEDIA_TYPES = {number: MediaType(name) for number, name in _MEDIA_TYPES.items()}
cdef dict MEDIA_TYPES_BY_NAME = {name: number for number, name in _MEDIA_TYPES.items()}
cdef object INFINITE = math.inf


# ---- arguments: from Python to structs --------------------------------------------------------

cdef struct Borrowed:
    PyObject *refs  # a list of what must outlive the call; NULL: nothing


cdef int keep(Borrowed *b, object item) except -1:
    if b.refs is NULL:
        refs = []
        Py_INCREF(refs)
        b.refs = <PyObject *>refs
    (<list>b.refs).append(item)
    return 0


cdef void *room(Borrowed *b, size_t count, size_t size) except NULL:
    """Memory for an array that lives as long as the call."""
    cdef bytes memory = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(count * size + 1))
    keep(b, memory)
    return <void *>PyBytes_AS_STRING(memory)


cdef int take_bytes(object value, str name, hr_slice *out, Borrowed *b) except -1:
    if type(value) is bytes:
        out.data = <const uint8_t *>PyBytes_AS_STRING(value)
        out.len = <size_t>PyBytes_GET_SIZE(value)
    else:
        take_buffer(value, name, out, b)
    if out.len > <size_t>INT32_MAX:
        raise EncodeError(f"{out.len} bytes are more than the 2**31 - 1 that a frame can say",
                          field=name)
    return 0


cdef int take_buffer(object value, str name, hr_slice *out, Borrowed *b) except -1:
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(
            f"{name}: expected a bytes-like object, got {type(value).__name__}") from None
    if not view.c_contiguous:
        raise TypeError(f"{name}: expected contiguous memory")
    holder = _Pinned(view)
    keep(b, holder)
    out.data = <const uint8_t *>holder.view.buf
    out.len = <size_t>holder.view.len
    return 0


@cython.final
@cython.internal
cdef class _Pinned:
    """Holds a buffer until it is collected."""
    cdef Py_buffer view
    cdef bint held

    def __cinit__(self, owner):
        PyObject_GetBuffer(owner, &self.view, PyBUF_SIMPLE)
        self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


cdef int take_text(object value, str name, hr_slice *out, Borrowed *b) except -1:
    cdef Py_ssize_t size = 0
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected str, got {type(value).__name__}")
    try:
        out.data = <const uint8_t *>PyUnicode_AsUTF8AndSize(value, &size)
        out.len = <size_t>size
    except UnicodeEncodeError:
        # What decoding made of bytes that are no UTF-8 goes back as it came.
        try:
            data = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise EncodeError("text with a lone surrogate is no UTF-8", field=name) from None
        keep(b, data)
        out.data = <const uint8_t *>PyBytes_AS_STRING(data)
        out.len = <size_t>PyBytes_GET_SIZE(data)
    if out.len > <size_t>INT32_MAX:
        raise EncodeError(f"{out.len} bytes of text are more than a frame can say", field=name)
    return 0


cdef int64_t take_int(object value, str name, int64_t least, int64_t most) except? -1:
    cdef int64_t number
    if not isinstance(value, int):
        value = index_of_object(value, name)
    try:
        number = value
    except OverflowError:
        raise EncodeError(f"{value} is not within {least} and {most}", field=name) from None
    if not least <= number <= most:
        raise EncodeError(f"{value} is not within {least} and {most}", field=name)
    return number


cdef uint64_t take_u64(object value, str name) except? 0xFFFFFFFFFFFFFFFF:
    if not isinstance(value, int):
        value = index_of_object(value, name)
    try:
        return value
    except OverflowError:
        raise EncodeError(f"{value} is not within 0 and {UINT64_MAX}", field=name) from None


cdef object index_of_object(object value, str name):
    """Numbers of other libraries, numpy's say; floats are none."""
    try:
        return PyNumber_Index(value)
    except TypeError:
        raise TypeError(f"{name}: expected int, got {type(value).__name__}") from None


cdef int take_duration(object value, str name, uint8_t version, uint8_t *unit,
                       uint64_t *amount) except -1:
    amount[0] = 0
    if value is None:
        unit[0] = HR_UNIT_DEFAULT
        return 0
    if type(value) is float and value == INFINITE:
        unit[0] = HR_UNIT_INFINITE
        return 0
    if not isinstance(value, Duration):
        value = Duration.of(value, name, absolute_above_30_days=version < HR_RELATIVE_SINCE)
    if version < HR_TIME_UNITS_SINCE:
        value = value.to_unit(TimeUnit.SECONDS)
        if not 0 < value.amount <= INT32_MAX:
            raise EncodeError(
                f"{value.amount} s cannot be said before version 2.2, only 1 to {INT32_MAX} s",
                field=name)
    unit[0] = <uint8_t>int(value.unit)
    amount[0] = <uint64_t>value.amount
    return 0


cdef int take_metadata(object value, str name, hr_meta *m) except -1:
    if not isinstance(value, Metadata):
        raise TypeError(f"{name}: expected Metadata, got {type(value).__name__}")
    memset(m, 0, sizeof(hr_meta))
    m.version = take_int(value.version, f"{name}.version", -INT64_MAX - 1, INT64_MAX)
    if value.lifespan is None:
        m.flags |= HR_NO_LIFESPAN
    else:
        m.created = take_int(value.created, f"{name}.created", -INT64_MAX - 1, INT64_MAX)
        m.lifespan = <uint32_t>take_int(value.lifespan, f"{name}.lifespan", 0, UINT32_MAX)
    if value.max_idle is None:
        m.flags |= HR_NO_MAX_IDLE
    else:
        m.last_used = take_int(value.last_used, f"{name}.last_used", -INT64_MAX - 1, INT64_MAX)
        m.max_idle = <uint32_t>take_int(value.max_idle, f"{name}.max_idle", 0, UINT32_MAX)
    return 0


cdef int take_media(object value, str name, hr_media *m, Borrowed *b) except -1:
    memset(m, 0, sizeof(hr_media))
    if value is None:
        m.kind = HR_MEDIA_NONE
        return 0
    if isinstance(value, str):
        number = MEDIA_TYPES_BY_NAME.get(value)
        if number is not None:
            m.kind = HR_MEDIA_PREDEFINED
            m.id = <uint32_t>number
            return 0
        try:
            value = MediaType.parse(value)
        except ValueError as e:
            raise EncodeError(str(e), field=name) from None
        keep(b, value)
    elif not isinstance(value, MediaType):
        raise TypeError(f"{name}: expected None, str or MediaType, got {type(value).__name__}")
    if value.id is not None:
        m.kind = HR_MEDIA_PREDEFINED
        m.id = <uint32_t>take_int(value.id, f"{name}.id", 0, UINT32_MAX)
    else:
        m.kind = HR_MEDIA_CUSTOM
        take_text(value.name, f"{name}.name", &m.name, b)
    return take_list(HR_TEXT_PAIRS, value.params, f"{name}.params", &m.params, 0, b)


cdef int take_list(hr_kind kind, object value, str name, hr_list *out, uint8_t version,
                   Borrowed *b) except -1:
    """A list (or a mapping, of pairs) as an array of the call, of what the kind wants."""
    cdef size_t i = 0
    cdef void *array
    memset(out, 0, sizeof(hr_list))
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"{name}: expected a list, got {type(value).__name__}")
    try:
        # A copy: nothing that runs below can change what the slices point to.
        items = tuple(value.items() if isinstance(value, Mapping) else value)
    except TypeError:
        raise TypeError(f"{name}: expected a list, got {type(value).__name__}") from None
    keep(b, items)
    out.count = len(items)
    if out.count > hr_most_items(kind):
        raise EncodeError(
            f"{out.count} items are more than the {hr_most_items(kind)} that a frame can say",
            field=name)
    if kind == HR_U16_LIST:
        array = room(b, out.count, sizeof(uint16_t))
        for item in items:
            (<uint16_t *>array)[i] = <uint16_t>take_int(item, f"{name}[{i}]", 0, 0xFFFF)
            i += 1
    elif kind == HR_XIDS:
        array = room(b, out.count, sizeof(hr_xid))
        for item in items:
            take_xid(item, f"{name}[{i}]", &(<hr_xid *>array)[i], b)
            i += 1
    elif kind == HR_MODIFICATIONS:
        array = room(b, out.count, sizeof(hr_modification))
        for item in items:
            take_modification(item, f"{name}[{i}]", &(<hr_modification *>array)[i], version, b)
            i += 1
    elif kind == HR_TEXT_LIST:
        array = room(b, out.count, sizeof(hr_slice))
        for item in items:
            take_text(item, f"{name}[{i}]", &(<hr_slice *>array)[i], b)
            i += 1
    elif is_single(kind):
        array = room(b, out.count, sizeof(hr_slice))
        for item in items:
            take_item(item, name, i, &(<hr_slice *>array)[i], b)
            if kind == HR_PIECES and (<hr_slice *>array)[i].len == 0:
                raise EncodeError("an empty piece would end the stream", field=f"{name}[{i}]")
            i += 1
    else:
        array = room(b, 2 * out.count, sizeof(hr_slice))
        for item in items:
            take_pair(kind, item, name, i, &(<hr_slice *>array)[2 * i], b)
            i += 1
    out.items = array
    return 0


cdef bint is_single(hr_kind kind) noexcept:
    return (kind == HR_BYTES_LIST or kind == HR_BYTES_MORE or kind == HR_FEW_BYTES
            or kind == HR_PIECES)


cdef int take_xid(object value, str name, hr_xid *x, Borrowed *b) except -1:
    if not isinstance(value, tuple) or len(<tuple>value) != 3:
        raise TypeError(f"{name}: expected Xid, got {type(value).__name__}")
    format_id, global_id, branch_id = value
    x.format_id = <int32_t>take_int(format_id, f"{name}.format_id", INT32_MIN, INT32_MAX)
    take_bytes(global_id, f"{name}.global_id", &x.global_id, b)
    take_bytes(branch_id, f"{name}.branch_id", &x.branch_id, b)
    if not (1 <= x.global_id.len <= 64 and 1 <= x.branch_id.len <= 64):
        raise EncodeError(
            f"parts of {x.global_id.len} and {x.branch_id.len} bytes; each has 1 to 64", field=name)
    return 0


cdef int take_modification(object value, str name, hr_modification *m, uint8_t version,
                           Borrowed *b) except -1:
    if not isinstance(value, Modification):
        raise TypeError(f"{name}: expected Modification, got {type(value).__name__}")
    memset(m, 0, sizeof(hr_modification))
    take_bytes(value.key, f"{name}.key", &m.key, b)
    m.control = <uint8_t>take_int(value.control, f"{name}.control", 0, 255)
    if m.control & HR_NOT_READ and m.control & HR_NON_EXISTING:
        raise EncodeError("a key cannot be both not read (1) and not existing (2)",
                          field=f"{name}.control")
    if not m.control & (HR_NOT_READ | HR_NON_EXISTING):
        m.entry_version = take_int(value.entry_version, f"{name}.entry_version",
                                   -INT64_MAX - 1, INT64_MAX)
    elif value.entry_version is not None:
        raise EncodeError(f"not carried with control {m.control}", field=f"{name}.entry_version")
    if m.control & HR_REMOVES:
        if value.value is not None:
            raise EncodeError(f"not carried with control {m.control}", field=f"{name}.value")
        return 0
    take_bytes(value.value, f"{name}.value", &m.value, b)
    return take_life(value.lifespan, value.max_idle, (f"{name}.lifespan", f"{name}.max_idle"),
                     version, &m.life)


cdef int take_life(object lifespan, object max_idle, tuple names, uint8_t version,
                   hr_life *life) except -1:
    take_duration(lifespan, <str>names[0], version, &life.lifespan_unit, &life.lifespan)
    return take_duration(max_idle, <str>names[1], version, &life.max_idle_unit, &life.max_idle)


cdef int take_factory(hr_kind kind, object factory, object params, tuple names, uint8_t version,
                      hr_factory *out, Borrowed *b) except -1:
    memset(out, 0, sizeof(hr_factory))
    out.present = factory is not None
    if out.present:
        take_text(factory, <str>names[0], &out.name, b)
    if params is None:
        return 0
    if kind == HR_FACTORY and out.name.len == 0 or not out.present:
        raise EncodeError("there is no factory that takes them", field=<str>names[1])
    if kind == HR_SOME_FACTORY and version < 24:
        raise EncodeError("exist from version 2.4 on", field=<str>names[1])
    return take_list(HR_FEW_BYTES, params, <str>names[1], &out.params, version, b)


cdef int take_bits(hr_kind kind, object value, str name, hr_bits *out, Borrowed *b) except -1:
    memset(out, 0, sizeof(hr_bits))
    if value is None:
        if kind == HR_BITS:
            raise TypeError(f"{name}: expected a list of numbers, got None")
        return 0
    out.present = True
    try:
        numbers = list(value)
    except TypeError:
        raise TypeError(f"{name}: expected a list of numbers, got {type(value).__name__}") from None
    if numbers:
        highest = max(take_int(number, name, 0, 2**24 - 1) for number in numbers)
        bits = bytearray(highest // 8 + 1)
        for number in numbers:
            bits[number // 8] |= 1 << number % 8
        data = bytes(bits)
        keep(b, data)
        take_bytes(data, name, &out.bits, b)
    return 0


cdef int take_counter(object value, str name, hr_counter *c) except -1:
    if not isinstance(value, CounterConfiguration):
        raise TypeError(f"{name}: expected CounterConfiguration, got {type(value).__name__}")
    memset(c, 0, sizeof(hr_counter))
    c.initial = take_int(value.initial, f"{name}.initial", -INT64_MAX - 1, INT64_MAX)
    if value.persistent:
        c.flags |= HR_PERSISTENT
    if value.concurrency is not None:
        c.flags |= HR_WEAK
        c.concurrency = <uint32_t>take_int(value.concurrency, f"{name}.concurrency", 0, UINT32_MAX)
    if value.lower is not None:
        c.flags |= HR_BOUNDED
        c.lower = take_int(value.lower, f"{name}.lower", -INT64_MAX - 1, INT64_MAX)
        c.upper = take_int(value.upper, f"{name}.upper", -INT64_MAX - 1, INT64_MAX)
    return 0


cdef int take_batch(object projections, object entries, tuple names, uint8_t version,
                    hr_batch *out, Borrowed *b) except -1:
    """Entries of an iteration: (key, value or values[, metadata])."""
    cdef hr_iterated *array
    cdef hr_slice *values
    cdef size_t i, j
    cdef str name = <str>names[1]
    memset(out, 0, sizeof(hr_batch))
    items = []
    for i, entry in enumerate(entries):
        if not isinstance(entry, tuple) or not 2 <= len(<tuple>entry) <= 3:
            raise TypeError(f"{name}[{i}]: expected IteratedEntry, got {type(entry).__name__}")
        key, parts = entry[0], entry[1]
        if not isinstance(parts, (tuple, list)):
            parts = (parts,)
        items.append((key, tuple(parts), entry[2] if len(<tuple>entry) == 3 else None))
    keep(b, items)
    if items:
        width = len(items[0][1])
        if projections is not None and projections != width:
            raise EncodeError(f"{projections}, but an entry has {width} values",
                              field=<str>names[0])
        if width != 1 and version < 24:
            raise EncodeError("entries have one value until 2.3", field=name)
        out.projections = <uint32_t>width
    elif projections is not None:
        raise EncodeError("an empty batch has none", field=<str>names[0])
    out.list.count = len(items)
    array = <hr_iterated *>room(b, out.list.count, sizeof(hr_iterated))
    for i, (key, parts, metadata) in enumerate(items):
        memset(&array[i], 0, sizeof(hr_iterated))
        take_item(key, name, i, &array[i].key, b)
        if len(parts) != <Py_ssize_t>out.projections:
            raise EncodeError(f"{len(parts)} values, the first entry has {out.projections}",
                              field=f"{name}[{i}]")
        values = <hr_slice *>room(b, out.projections, sizeof(hr_slice))
        for j in range(out.projections):
            take_item(parts[j], name, i, &values[j], b)
        array[i].values = values
        if metadata is not None:
            if version < 25:
                raise EncodeError("iterated entries have metadata from 2.5 on",
                                  field=f"{name}[{i}]")
            array[i].has_metadata = True
            take_metadata(metadata, f"{name}[{i}].metadata", &array[i].metadata)
    out.list.items = array
    return 0


cdef int take_event(hr_kind kind, tuple names, dict fields, hr_event *e, Borrowed *b) except -1:
    memset(e, 0, sizeof(hr_event))
    e.marker = <uint8_t>take_int(fields.get("custom_marker", 0), "custom_marker", 0, HR_RAW_EVENT)
    e.retried = bool(fields.get("retried", False))
    wanted = ["event_data"]
    if e.marker == HR_PLAIN_EVENT:
        wanted = ["key", "entry_version"] if kind == HR_WRITE_EVENT else ["key"]
    for name in names[2:]:
        if name in wanted and fields.get(name) is None:
            raise EncodeError(f"missing with custom_marker {e.marker}", field=name)
        if name not in wanted and fields.get(name) is not None:
            raise EncodeError(f"not carried with custom_marker {e.marker}", field=name)
    if e.marker != HR_PLAIN_EVENT:
        return take_bytes(fields["event_data"], "event_data", &e.data, b)
    take_bytes(fields["key"], "key", &e.key, b)
    if kind == HR_WRITE_EVENT:
        e.entry_version = take_int(fields["entry_version"], "entry_version",
                                   -INT64_MAX - 1, INT64_MAX)
    return 0


cdef int take_item(object item, str name, size_t i, hr_slice *out, Borrowed *b) except -1:
    # The name of an item is made only where it is needed: for an error.
    if type(item) is bytes and PyBytes_GET_SIZE(item) <= INT32_MAX:
        out.data = <const uint8_t *>PyBytes_AS_STRING(item)
        out.len = <size_t>PyBytes_GET_SIZE(item)
        return 0
    return take_bytes(item, f"{name}[{i}]", out, b)


cdef int take_pair(hr_kind kind, object pair, str name, size_t i, hr_slice *out,
                   Borrowed *b) except -1:
    if type(pair) is not tuple:
        try:
            if isinstance(pair, (str, bytes)):
                raise TypeError
            pair = tuple(pair)
        except TypeError:
            raise TypeError(f"{name}[{i}]: expected a pair, got {type(pair).__name__}") from None
        keep(b, pair)
    if len(<tuple>pair) != 2:
        raise EncodeError(f"expected a pair, got {len(<tuple>pair)} items", field=f"{name}[{i}]")
    key, value = pair
    if kind == HR_PAIRS or kind == HR_PAIRS_MORE:
        take_item(key, name, i, &out[0], b)
    else:
        take_text(key, f"{name}[{i}]", &out[0], b)
    if kind == HR_TEXT_PAIRS:
        return take_text(value, f"{name}[{i}]", &out[1], b)
    return take_item(value, name, i, &out[1], b)


cdef int take_topology(object t, uint8_t version, hr_topology *out, Borrowed *b) except -1:
    cdef hr_server *servers
    cdef uint8_t *sizes
    cdef uint32_t *owners
    cdef size_t i
    memset(out, 0, sizeof(hr_topology))
    if t is None:
        return 0
    if not isinstance(t, Topology):
        raise TypeError(f"topology: expected Topology, got {type(t).__name__}")
    if t.hash_version is None:
        out.form = HR_TOPOLOGY_SERVERS
    elif t.hash_ids is None:
        out.form = HR_TOPOLOGY_SEGMENTS
        if version < 20:
            raise EncodeError("owners of segments exist from version 2.0 on", field="topology")
    else:
        out.form = HR_TOPOLOGY_WHEEL_10 if t.virtual_nodes is None else HR_TOPOLOGY_WHEEL_11
        if version >= 20:
            raise EncodeError("hash wheels exist until version 1.3", field="topology")
        if (version == 10) != (t.virtual_nodes is None):
            raise EncodeError("virtual_nodes is for versions 1.1 to 1.3", field="topology")
        if t.key_owners is None or t.hash_space is None:
            raise EncodeError("a hash wheel needs key_owners and hash_space", field="topology")
        out.key_owners = <uint16_t>take_int(t.key_owners, "topology.key_owners", 0, 0xFFFF)
        out.hash_space = <uint32_t>take_int(t.hash_space, "topology.hash_space", 0, UINT32_MAX)
        if t.virtual_nodes is not None:
            out.virtual_nodes = <uint32_t>take_int(
                t.virtual_nodes, "topology.virtual_nodes", 0, UINT32_MAX)
    out.id = take_pattern(t.id, "topology.id")
    out.num_servers = <uint32_t>len(t.servers)
    servers = <hr_server *>room(b, out.num_servers, sizeof(hr_server))
    for i, (host, port) in enumerate(t.servers):
        take_text(host, f"topology.servers[{i}].host", &servers[i].host, b)
        servers[i].port = <uint16_t>take_int(port, f"topology.servers[{i}].port", 0, 0xFFFF)
        servers[i].hash_id = 0
        if t.hash_ids is not None and out.form != HR_TOPOLOGY_SERVERS:
            servers[i].hash_id = <int32_t>take_int(
                t.hash_ids[i], f"topology.hash_ids[{i}]", INT32_MIN, INT32_MAX)
    out.servers = servers
    if out.form == HR_TOPOLOGY_SERVERS:
        return 0
    out.hash_version = <uint8_t>take_int(t.hash_version, "topology.hash_version", 0, 255)
    if out.form != HR_TOPOLOGY_SEGMENTS:
        return 0
    out.num_segments = <uint32_t>take_int(t.num_segments, "topology.num_segments", 0, UINT32_MAX)
    if out.hash_version == 0:
        if t.segment_owners:
            raise EncodeError("hash version 0 has no segment owners",
                              field="topology.segment_owners")
        return 0
    if out.num_segments != len(t.segment_owners):
        raise EncodeError(
            f"{out.num_segments} segments, but owners of {len(t.segment_owners)}",
            field="topology.num_segments")
    sizes = <uint8_t *>room(b, out.num_segments, 1)
    for i, segment in enumerate(t.segment_owners):
        sizes[i] = <uint8_t>take_int(len(segment), f"topology.segment_owners[{i}]", 0, 255)
        out.num_owners += sizes[i]
    owners = <uint32_t *>room(b, out.num_owners, sizeof(uint32_t))
    out.segment_sizes, out.owners = sizes, owners
    for i, segment in enumerate(t.segment_owners):
        for owner in segment:
            owners[0] = <uint32_t>take_int(
                owner, f"topology.segment_owners[{i}]", 0, <int64_t>out.num_servers - 1)
            owners += 1
    return 0


cdef int32_t take_pattern(object value, str name) except? -1:
    """32 bits, given signed or unsigned."""
    cdef int64_t number = take_int(value, name, INT32_MIN, UINT32_MAX)
    return <int32_t><uint32_t>number


cdef void *member_of(hr_body *body, const hr_field *f) noexcept:
    return <char *>body + f.offset


cdef int take_field(const hr_field *f, tuple names, dict fields, hr_body *body, uint8_t version,
                    Borrowed *b) except -1:
    """Put one field's arguments into the body. Returns how many of `fields` it has used."""
    cdef void *member = member_of(body, f)
    cdef hr_kind kind = <hr_kind>f.kind
    cdef str name = <str>names[0]
    cdef PyObject *found
    cdef int used = 0
    if len(names) > 1:
        take_compound(kind, f, names, fields, member, version, b)
        for each in names:
            used += each in fields
        return used
    found = PyDict_GetItemWithError(fields, name)
    if found is NULL:
        if not f.optional:
            raise EncodeError("missing", field=name)
        memset(member, 0, f.size)
        return 0
    value = <object>found
    if kind == HR_BYTES:
        take_bytes(value, name, <hr_slice *>member, b)
    elif kind == HR_TEXT:
        take_text(value, name, <hr_slice *>member, b)
    elif kind == HR_U8:
        (<uint8_t *>member)[0] = <uint8_t>take_int(value, name, 0, 255)
    elif kind == HR_BOOL:
        if not isinstance(value, int):
            raise TypeError(f"{name}: expected bool, got {type(value).__name__}")
        (<uint8_t *>member)[0] = bool(value)
    elif kind == HR_VINT:
        (<uint32_t *>member)[0] = <uint32_t>take_int(value, name, 0, UINT32_MAX)
    elif kind == HR_VLONG:
        (<uint64_t *>member)[0] = take_u64(value, name)
    elif kind == HR_I32:
        (<int32_t *>member)[0] = <int32_t>take_int(value, name, INT32_MIN, INT32_MAX)
    elif kind == HR_I64:
        (<int64_t *>member)[0] = take_int(value, name, -INT64_MAX - 1, INT64_MAX)
    elif kind == HR_META:
        take_metadata(value, name, <hr_meta *>member)
    elif kind == HR_MEDIA:
        take_media(value, name, <hr_media *>member, b)
    elif kind == HR_BITS or kind == HR_SOME_BITS:
        take_bits(kind, value, name, <hr_bits *>member, b)
    elif kind == HR_XID:
        take_xid(value, name, <hr_xid *>member, b)
    elif kind == HR_COUNTER:
        take_counter(value, name, <hr_counter *>member)
    elif kind == HR_COUNTER_STATE:
        (<uint8_t *>member)[0] = <uint8_t>take_int(value, name, 0, 255)
        if (value & 3) == 3 or (value >> 2 & 3) == 3:
            raise EncodeError("each of the two states is 0, 1 or 2", field=name)
    else:
        take_list(kind, value, name, <hr_list *>member, version, b)
    return 1


cdef int take_compound(hr_kind kind, const hr_field *f, tuple names, dict fields, void *member,
                       uint8_t version, Borrowed *b) except -1:
    """A field that has several names in Python."""
    first, second = fields.get(names[0]), fields.get(names[1])
    if kind == HR_LIFE:
        return take_life(first, second, names, version, <hr_life *>member)
    if kind == HR_FACTORY or kind == HR_SOME_FACTORY:
        return take_factory(kind, first, second, names, version, <hr_factory *>member, b)
    if kind == HR_WRITE_EVENT or kind == HR_REMOVE_EVENT:
        return take_event(kind, names, fields, <hr_event *>member, b)
    if kind == HR_ITERATED:
        if second is None:
            raise EncodeError("missing", field=<str>names[1])
        return take_batch(first, second, names, version, <hr_batch *>member, b)
    # A previous value.
    if names[0] not in fields:
        raise EncodeError("missing", field=<str>names[0])
    take_bytes(first, <str>names[0], &(<hr_old_value *>member).value, b)
    if version >= HR_PREVIOUS_METADATA_SINCE:
        if second is None:
            raise EncodeError("missing; a previous value has metadata from 4.0 on",
                              field=<str>names[1])
        return take_metadata(second, <str>names[1], &(<hr_old_value *>member).metadata)
    if second is not None:
        raise EncodeError("a previous value has metadata from 4.0 on", field=<str>names[1])
    return 0


cdef int take_body(const uint8_t *ids, dict fields, hr_body *body, uint8_t version,
                   Borrowed *b) except -1:
    """Put `fields` into the body. Returns how many of them the frame has used."""
    cdef int used = 0
    cdef const hr_field *f
    while ids[0] != HR_END:
        f = &hr_fields[ids[0]]
        names = <tuple>FIELD_NAMES[ids[0]]
        if hr_has_field(f, version):
            used += take_field(f, names, fields, body, version, b)
        else:
            for name in names:
                if name in fields:
                    if fields[name] is not None:
                        raise EncodeError(
                            f"exists from version {f.since // 10}.{f.since % 10} on, "
                            f"not in {version // 10}.{version % 10}", field=name)
                    used += 1
        ids += 1
    return used


cdef const hr_row *row_of(object op) except NULL:
    """The row of an Op member, of its number or of its name."""
    cdef PyObject *found
    cdef const hr_row *row
    if isinstance(op, str):
        found = PyDict_GetItemWithError(ROWS_BY_NAME, op)
        if found is NULL:
            found = PyDict_GetItemWithError(ROWS_BY_NAME, op.upper())
        if found is NULL:
            raise EncodeError(
                f"unknown operation {op!r}; known: " + ", ".join(o.name.lower() for o in OPS),
                field="op")
        return &hr_rows[<int><object>found]
    if not isinstance(op, int):
        raise TypeError(f"op: expected Op or str, got {type(op).__name__}")
    row = NULL
    if 0 <= op <= 255:
        row = hr_row_of_request(<uint8_t>op)
        if row is NULL:
            row = hr_row_of_response(<uint8_t>op)
            if row is not NULL and not row.is_event:
                row = NULL
    if row is NULL:
        raise EncodeError(f"unknown operation {op}", field="op")
    return row


cdef uint8_t version_of(object version) except 0:
    cdef PyObject *found
    if isinstance(version, str):
        found = PyDict_GetItemWithError(VERSIONS, version)
        if found is not NULL:
            return <uint8_t><object>found
    elif isinstance(version, int):
        if 0 <= version <= 255 and hr_is_version(<uint8_t>version):
            return <uint8_t>version
    else:
        raise TypeError(f"version: expected Version or str, got {type(version).__name__}")
    raise EncodeError(f"unknown version {version!r}; known: {', '.join(VERSIONS)}", field="version")


cdef int check_version(const hr_row *row, uint8_t version) except -1:
    if not row.since <= version <= row.until:
        until = "" if row.until == 41 else f" until {row.until // 10}.{row.until % 10}"
        raise EncodeError(
            f"exists from version {row.since // 10}.{row.since % 10} on{until}, "
            f"not in {version // 10}.{version % 10}", field="version")
    return 0


cdef int check_names(tuple known, dict fields, str carries) except -1:
    """`fields` has names that the frame did not use: say which."""
    for name in fields:
        if name not in known:
            raise EncodeError(
                f"no such field; {carries}{', '.join(known) if known else 'nothing'}",
                field=str(name))
    return 0


# ---- encoding -----------------------------------------------------------------------------------

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
        return encode_request_fields(row, number, message_id, cache, flags, intelligence,
                                     topology_id, key_media_type, value_media_type, other_params,
                                     fields)
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
        const hr_row *row, uint8_t version, object message_id, object cache, object flags,
        object intelligence, object topology_id, object key_media_type, object value_media_type,
        object other_params, dict fields):
    cdef hr_request q
    cdef Borrowed b
    cdef bytes out
    cdef size_t size
    b.refs = NULL
    q.row = row
    q.version = version
    try:
        q.message_id = take_u64(message_id, "message_id")
        take_text(cache, "cache", &q.cache, &b)
        q.flags = <uint32_t>take_int(flags, "flags", 0, UINT32_MAX)
        q.intelligence = <uint8_t>take_int(intelligence, "intelligence", 0, 255)
        q.topology_id = take_pattern(topology_id, "topology_id")
        memset(&q.key_type, 0, sizeof(hr_media))
        memset(&q.value_type, 0, sizeof(hr_media))
        memset(&q.params, 0, sizeof(hr_list))
        if version >= HR_MEDIA_TYPES_SINCE:
            if key_media_type is not None:
                take_media(key_media_type, "key_media_type", &q.key_type, &b)
            if value_media_type is not None:
                take_media(value_media_type, "value_media_type", &q.value_type, &b)
        elif key_media_type is not None or value_media_type is not None:
            raise EncodeError(
                f"media types exist from version 2.8 on, not in {version // 10}.{version % 10}",
                field="key_media_type" if key_media_type is not None else "value_media_type")
        if other_params:
            if version < HR_OTHER_PARAMS_SINCE:
                raise EncodeError(
                    f"exist from version 4.0 on, not in {version // 10}.{version % 10}",
                    field="other_params")
            take_list(HR_PARAMS, other_params, "other_params", &q.params, version, &b)
        if take_body(hr_request_fields(&q), fields, &q.body, version, &b) != len(fields):
            check_names(<tuple>REQUEST_NAMES[index_of(row)], fields, "a request has: ")
        size = hr_request_size(&q)
        out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        check_written(hr_encode_request(<uint8_t *>PyBytes_AS_STRING(out), &q), out)
        return out
    finally:
        Py_XDECREF(b.refs)


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
        return encode_response_fields(row, number, message_id, status, topology, fields)
    except EncodeError as e:
        raise with_op(e, row) from None


cdef bytes encode_response_fields(const hr_row *row, uint8_t version, object message_id,
                                  object status, object topology, dict fields):
    cdef hr_response a
    cdef Borrowed b
    cdef bytes out
    cdef tuple known = ERROR_NAMES
    b.refs = NULL
    a.row = row
    a.version = version
    if row is not NULL:
        known = <tuple>RESPONSE_NAMES[index_of(row)]
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


cdef object metadata_of(const hr_meta *m):
    cdef object created = None, lifespan = None, last_used = None, max_idle = None
    if not m.flags & HR_NO_LIFESPAN:
        created, lifespan = m.created, m.lifespan
    if not m.flags & HR_NO_MAX_IDLE:
        last_used, max_idle = m.last_used, m.max_idle
    return Metadata(m.version, created, lifespan, last_used, max_idle)


cdef object media_of(const hr_media *m):
    if m.kind == HR_MEDIA_NONE:
        return None
    params = tuple(list_of(HR_TEXT_PAIRS, &m.params, 0))
    if m.kind == HR_MEDIA_CUSTOM:
        name = text_of(m.name)
        return MediaType(name, params, custom=name in MEDIA_TYPES_BY_NAME)
    plain = PLAIN_MEDIA_TYPES.get(m.id)
    if plain is not None and not params:
        return plain
    return MediaType(plain.name if plain is not None else "", params, id=m.id)


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


cdef object iterated_of(const hr_iterated *e, uint32_t projections):
    cdef const uint8_t *p = e.encoded.data
    cdef hr_slice value
    values = []
    for _ in range(projections):
        p = hr_next_slice(p, &value)
        values.append(bytes_of(value))
    return IteratedEntry(bytes_of(e.key), tuple(values),
                         metadata_of(&e.metadata) if e.has_metadata else None)


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


cdef int extend_list(list out, const hr_cursor *c, hr_slice encoded, size_t count) except -1:
    """Append `count` items, which have been walked over, to `out`."""
    cdef hr_item item
    cdef tuple pair
    cdef hr_kind kind = c.kind
    cdef const uint8_t *p = encoded.data
    cdef const uint8_t *end = p + encoded.len
    if kind == HR_PAIRS or kind == HR_PAIRS_MORE:
        for _ in range(count):
            p = hr_get_item(c, p, end, &item)
            pair = (bytes_of(item.key), bytes_of(item.value))
            # Holds nothing but bytes: the collector would find that out later, at a price.
            PyObject_GC_UnTrack(<PyObject *>pair)
            out.append(pair)
    elif is_single(kind):
        for _ in range(count):
            p = hr_get_item(c, p, end, &item)
            out.append(bytes_of(item.key))
    else:
        for _ in range(count):
            p = hr_get_item(c, p, end, &item)
            out.append(item_of(c, &item))
    return 0


cdef object item_of(const hr_cursor *c, const hr_item *item):
    if c.kind == HR_TEXT_LIST:
        return text_of(item.key)
    if c.kind == HR_TEXT_PAIRS:
        return (text_of(item.key), text_of(item.value))
    if c.kind == HR_PARAMS or c.kind == HR_FEW_PARAMS:
        return (text_of(item.key), bytes_of(item.value))
    if c.kind == HR_U16_LIST:
        return item.number
    if c.kind == HR_ITERATED:
        return iterated_of(&item.iterated, c.projections)
    if c.kind == HR_XIDS:
        return xid_of(&item.xid)
    return modification_of(&item.modification)


cdef list list_of(hr_kind kind, const hr_list *items, uint8_t version):
    cdef hr_cursor c = hr_cursor_over(
        kind, version, (<const hr_batch *>items).projections if kind == HR_ITERATED else 0)
    cdef list out = []
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

@cython.no_gc
cdef class Message:
    """A decoded frame. Its fields are attributes and items: `message.key`, `message["key"]`.

    Attributes:
        op: The operation or event; None for an error that answers no known request.
        version: The protocol version.
        message_id: What ties a response to its request.
        size: How many bytes the frame took. A field of that name: `message["size"]`.
        fields: The fields that the frame carried, by name.
    """

    cdef const hr_row *row
    cdef uint64_t c_message_id
    cdef size_t c_size
    cdef uint8_t c_version
    cdef bint loose
    cdef uint32_t carried            # bit i: the frame carried value i
    cdef tuple names
    cdef bytes raw                   # the frame, when it is loose
    cdef PyObject *values[MAX_VALUES]

    def __init__(self):
        raise TypeError(f"{type(self).__name__} comes from decoding")

    def __dealloc__(self):
        for i in range(MAX_VALUES):
            Py_XDECREF(self.values[i])

    cdef int put(self, int slot, object value) except -1:
        Py_INCREF(value)
        self.values[slot] = <PyObject *>value
        self.carried |= <uint32_t>1 << slot
        return 0

    cdef object value_at(self, Py_ssize_t slot):
        return None if self.values[slot] is NULL else <object>self.values[slot]

    cdef int put_body(self, const uint8_t *ids, hr_body *body, int first) except -1:
        """Make the attributes of the fields `ids`, the first of which has the slot `first`."""
        cdef int slot = first
        cdef const hr_field *f
        while ids[0] != HR_END:
            f = &hr_fields[ids[0]]
            if hr_has_field(f, self.c_version):
                self.put_field(slot, <hr_kind>f.kind, member_of(body, f))
            slot += <int>len(<tuple>FIELD_NAMES[ids[0]])
            ids += 1
        return 0

    cdef int put_field(self, int slot, hr_kind kind, void *member) except -1:
        cdef bint loose = self.loose
        if kind == HR_BYTES:
            self.put(slot, bytes_of((<hr_slice *>member)[0]))
        elif kind == HR_TEXT:
            self.put(slot, text_of((<hr_slice *>member)[0]))
        elif kind == HR_U8 or kind == HR_COUNTER_STATE:
            self.put(slot, (<uint8_t *>member)[0])
        elif kind == HR_BOOL:
            self.put(slot, (<uint8_t *>member)[0] != 0)
        elif kind == HR_VINT:
            self.put(slot, (<uint32_t *>member)[0])
        elif kind == HR_VLONG:
            self.put(slot, (<uint64_t *>member)[0])
        elif kind == HR_I32:
            self.put(slot, (<int32_t *>member)[0])
        elif kind == HR_I64:
            self.put(slot, (<int64_t *>member)[0])
        elif kind == HR_LIFE:
            lifespan, max_idle = life_of(<hr_life *>member)
            self.put(slot, lifespan)
            self.put(slot + 1, max_idle)
        elif kind == HR_META:
            self.put(slot, metadata_of(<hr_meta *>member))
        elif kind == HR_OLD_VALUE:
            self.put(slot, bytes_of((<hr_old_value *>member).value))
            if self.c_version >= HR_PREVIOUS_METADATA_SINCE:
                self.put(slot + 1, metadata_of(&(<hr_old_value *>member).metadata))
        elif kind == HR_MEDIA:
            self.put(slot, media_of(<hr_media *>member))
        elif kind == HR_FACTORY or kind == HR_SOME_FACTORY:
            self.put_factory(slot, kind, <hr_factory *>member)
        elif kind == HR_BITS or kind == HR_SOME_BITS:
            self.put(slot, bits_of(<hr_bits *>member))
        elif kind == HR_XID:
            self.put(slot, xid_of(<hr_xid *>member))
        elif kind == HR_COUNTER:
            self.put(slot, counter_of(<hr_counter *>member))
        elif kind == HR_WRITE_EVENT or kind == HR_REMOVE_EVENT:
            self.put_event(slot, kind, <hr_event *>member)
        elif kind == HR_ITERATED:
            if (<hr_batch *>member).projections:
                self.put(slot, (<hr_batch *>member).projections)
            self.put(slot + 1, list_of(kind, <hr_list *>member, self.c_version))
        elif is_mapping(kind):
            self.put(slot, mapping_of(list_of(kind, <hr_list *>member, self.c_version), &loose))
            self.loose = loose
        else:
            self.put(slot, list_of(kind, <hr_list *>member, self.c_version))
        return 0

    cdef int put_factory(self, int slot, hr_kind kind, const hr_factory *f) except -1:
        self.put(slot, text_of(f.name) if f.present else None)
        if f.present and (f.name.len if kind == HR_FACTORY else self.c_version >= 24):
            self.put(slot + 1, list_of(HR_FEW_BYTES, &f.params, self.c_version))
        return 0

    cdef int put_event(self, int slot, hr_kind kind, const hr_event *e) except -1:
        self.put(slot, e.marker)
        self.put(slot + 1, bool(e.retried))
        if e.marker != HR_PLAIN_EVENT:
            return self.put(slot + (4 if kind == HR_WRITE_EVENT else 3), bytes_of(e.data))
        self.put(slot + 2, bytes_of(e.key))
        if kind == HR_WRITE_EVENT:
            self.put(slot + 3, e.entry_version)
        return 0

    cdef int keep_raw(self, const uint8_t *frame) except -1:
        if self.loose:
            self.raw = PyBytes_FromStringAndSize(<const char *>frame, <Py_ssize_t>self.c_size)
        return 0

    cdef Py_ssize_t slot_of(self, object name) except -2:
        cdef Py_ssize_t i
        for i in range(len(self.names)):
            if self.names[i] is name:
                return i
        for i in range(len(self.names)):
            if self.names[i] == name:
                return i
        return -1

    cdef object field(self, str name):
        """A field that has a property, below: by far the quickest way to it."""
        cdef Py_ssize_t slot = self.slot_of(name)
        if slot < 0:
            raise AttributeError(name)
        return self.value_at(slot)

    @property
    def key(self):
        """The field of that name."""
        return self.field("key")

    @property
    def value(self):
        """The field of that name."""
        return self.field("value")

    @property
    def entries(self):
        """The field of that name."""
        return self.field("entries")

    @property
    def previous(self):
        """The field of that name."""
        return self.field("previous")

    @property
    def metadata(self):
        """The field of that name."""
        return self.field("metadata")

    @property
    def error(self):
        """The field of that name."""
        return self.field("error")

    def __getattr__(self, str name):
        slot = self.slot_of(name)
        if slot < 0:
            raise AttributeError(
                f"a {self.kind()} has no {name!r}; its fields: {', '.join(self.names) or 'none'}")
        return self.value_at(slot)

    def __getitem__(self, str name):
        slot = self.slot_of(name)
        if slot < 0:
            raise KeyError(name)
        return self.value_at(slot)

    @property
    def op(self):
        """The operation or event; None for an error that answers no known request."""
        return None if self.row is NULL else OPS[index_of(self.row)]

    @property
    def version(self):
        """The protocol version."""
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
        return {self.names[i]: self.value_at(i)
                for i in range(len(self.names)) if self.carried >> i & 1}

    @property
    def canonical(self):
        """Whether the frame was written as encoding writes it. If not, it is kept as it came."""
        return not self.loose

    cdef str kind(self):
        raise NotImplementedError

    cdef tuple header(self):
        """Attributes beside the body, for comparison and repr."""
        raise NotImplementedError

    cdef bytes build(self):
        raise NotImplementedError

    def encode(self):
        """The frame's bytes, exactly those that it was decoded from.

        Raises:
            EncodeError: It came in pieces and was not written as encoding writes it; a Reader does
                not keep the bytes of a list that it has taken in already.
        """
        if self.names is None:  # made by __new__ alone
            raise TypeError(f"{type(self).__name__} comes from decoding")
        if not self.loose:
            return self.build()
        if self.raw is None:
            raise EncodeError("it came in pieces, in a form that encoding would not write",
                              op=self.op.name if self.op is not None else "")
        return self.raw

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return self.header() == (<Message>other).header() and self.fields == other.fields

    __hash__ = None

    def __repr__(self):
        parts = [f"{name}={value!r}" for name, value in self.header()[1:] if value is not None]
        parts += [f"{name}={shown(value)}" for name, value in self.fields.items()]
        return f"<{self.kind()} {' '.join(parts)}>"


cdef str shown(object value):
    """A value for a repr: keys and values may be secret, their lengths are not."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, (list, dict)):
        return f"{len(value)} items"
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
    cdef uint8_t c_intelligence
    cdef str c_cache
    cdef object c_key_media_type, c_value_media_type
    cdef dict c_other_params

    @property
    def cache(self):
        """Name of the cache; "" is the default one."""
        return self.c_cache

    @property
    def flags(self):
        """Flag members, or'ed."""
        return Flag(self.c_flags)

    @property
    def intelligence(self):
        """An Intelligence member, or a number that the protocol does not know."""
        return INTELLIGENCES.get(self.c_intelligence, self.c_intelligence)

    @property
    def topology_id(self):
        """The topology that the client knew; signed."""
        return self.c_topology_id

    @property
    def key_media_type(self):
        """MediaType, or None: as stored."""
        return self.c_key_media_type

    @property
    def value_media_type(self):
        """MediaType, or None: as stored."""
        return self.c_value_media_type

    @property
    def other_params(self):
        """Names and bytes, from 4.0 on."""
        return {} if self.c_other_params is None else dict(self.c_other_params)

    cdef str kind(self):
        return f"{'unknown' if self.row is NULL else self.row.name.decode()} request"

    cdef tuple header(self):
        return (("op", self.op), ("message_id", self.c_message_id), ("version", self.version),
                ("cache", self.c_cache), ("flags", self.flags),
                ("intelligence", self.intelligence), ("topology_id", self.c_topology_id),
                ("key_media_type", self.c_key_media_type),
                ("value_media_type", self.c_value_media_type),
                ("other_params", tuple(self.other_params) or None))

    cdef bytes build(self):
        return encode_request_fields(
            self.row, self.c_version, self.c_message_id, self.c_cache, self.c_flags,
            self.c_intelligence, self.c_topology_id, self.c_key_media_type,
            self.c_value_media_type, self.c_other_params, self.fields)

    def __eq__(self, other):
        return (type(other) is Request and self.header() == (<Request>other).header()
                and self.other_params == other.other_params and self.fields == other.fields)

    __hash__ = None


cdef Request request_of(hr_request *q, size_t size):
    cdef Request out = Request.__new__(Request)
    cdef bint loose = q.loose
    out.row = q.row
    out.c_message_id = q.message_id
    out.c_size = size
    out.c_version = q.version
    out.names = <tuple>REQUEST_NAMES[index_of(q.row)]
    out.c_flags = q.flags
    out.c_topology_id = q.topology_id
    out.c_intelligence = q.intelligence
    out.c_cache = text_of(q.cache)
    out.c_key_media_type = media_of(&q.key_type)
    out.c_value_media_type = media_of(&q.value_type)
    if q.params.count:
        out.c_other_params = mapping_of(list_of(HR_PARAMS, &q.params, q.version), &loose)
    out.loose = loose
    out.put_body(hr_request_fields(q), &q.body, 0)
    return out


@cython.no_gc
cdef class Response(Message):
    """A decoded response.

    Attributes:
        status: A Status member.
        topology: Topology, or None when the server sent none.
        error: The server's words when the status is 0x81 or higher, else None.
    """

    cdef uint8_t c_status
    cdef uint8_t c_is_error
    cdef object c_topology

    @property
    def status(self):
        """A Status member."""
        return STATUSES[self.c_status]

    @property
    def topology(self):
        """Topology, or None when the server sent none."""
        return self.c_topology

    @property
    def is_error(self):
        """Whether the server answered with an error; see `error`."""
        return bool(self.c_is_error)

    def raise_for_status(self):
        """Raise the ServerError of an error answer; else do nothing."""
        if self.c_is_error:
            raise server_error(self.error, status=self.status, op=self.op,
                               message_id=self.c_message_id)

    cdef str kind(self):
        return f"{'unknown' if self.row is NULL else self.row.name.decode()} response"

    cdef tuple header(self):
        return (("op", self.op), ("message_id", self.c_message_id), ("version", self.version),
                ("status", self.status), ("topology", self.c_topology))

    cdef bytes build(self):
        return encode_response_fields(self.row, self.c_version, self.c_message_id, self.c_status,
                                      self.c_topology, self.fields)


@cython.final
@cython.no_gc
cdef class Event(Response):
    """A decoded event: something that a server sends unasked."""

    cdef str kind(self):
        return f"{'unknown' if self.row is NULL else self.row.name.decode()} event"


cdef Response response_of(hr_response *a, size_t size):
    cdef Response out
    cdef int first = 0
    if a.row is not NULL and a.row.is_event:
        out = Event.__new__(Event)
    else:
        out = Response.__new__(Response)
    out.row = a.row
    out.c_message_id = a.message_id
    out.c_size = size
    out.c_version = a.version
    out.names = ERROR_NAMES if a.row is NULL else <tuple>RESPONSE_NAMES[index_of(a.row)]
    out.loose = a.loose
    out.c_status = a.status
    out.c_is_error = a.is_error
    out.c_topology = topology_of(&a.topology)
    if a.is_error:
        first = <int>len(out.names) - 1
    out.put_body(hr_response_fields(a), &a.body, first)
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

    def __init__(self, op, version="4.1", flags=0, intelligence=1):
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
        return Flag(self.context.flags)

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
        c.row = (<Request>request).row
        c.version = (<Request>request).c_version
        c.flags = (<Request>request).c_flags
        c.intelligence = (<Request>request).c_intelligence
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


cdef int window(object data, Py_buffer *view, object offset, const uint8_t **start,
                size_t *length) except -1:
    """The bytes of `data` from `offset` on. The caller releases the view."""
    cdef Py_ssize_t first = offset
    try:
        PyObject_GetBuffer(data, view, PyBUF_SIMPLE)
    except TypeError:
        raise TypeError(f"data: expected a bytes-like object, got {type(data).__name__}") from None
    if not 0 <= first <= view.len:
        length[0] = <size_t>view.len
        PyBuffer_Release(view)
        raise ValueError(f"offset: {first} is not within 0 and {length[0]}")
    start[0] = <const uint8_t *>view.buf + first
    length[0] = <size_t>(view.len - first)
    return 0


cdef void decoding_of(hr_decoding *d, const hr_limits *limits) noexcept:
    memset(d, 0, sizeof(hr_decoding))
    d.limits = limits


def decode_request(data, /, offset=0, *, limits=None):
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
    cdef Py_buffer view
    cdef const uint8_t *start = NULL
    cdef size_t length = 0
    cdef hr_limits bounds
    cdef hr_decoding d
    cdef hr_request q
    cdef Request out
    limits_of(limits, &bounds)
    decoding_of(&d, &bounds)
    window(data, &view, offset, &start, &length)
    try:
        hr_decode_request(start, length, &q, &d)
        if d.stop.result == HR_NEED_MORE:
            return None
        if d.stop.result != HR_OK:
            raise error_of(&d.stop, request_name(&q), offset)
        out = request_of(&q, d.used)
        out.keep_raw(start)
        return out
    finally:
        PyBuffer_Release(&view)


def decode_response(data, /, request, offset=0, *, limits=None, legacy_server=False):
    """Decode the response (or event) that begins at `offset`. Bytes behind it are left alone.

    A response says little of itself: it is read in the light of its request.

    Args:
        data: Any bytes-like object.
        request: The Request that it answers, or a RequestContext. An event is recognised
            whatever the request is.
        limits: The most to accept; Limits() by default.
        legacy_server: Read answers to 1.x requests as server 9.4 writes them: without the
            zero length after a PUT_IF_ABSENT that succeeded and a REPLACE of a missing key, and
            with one after any KEY_DOES_NOT_EXIST, when FORCE_RETURN_VALUE was set [wire-core 7.3].

    Returns:
        The Response or Event, or None: the frame goes on behind the end of `data`.

    Raises:
        DecodeError: The bytes are no Hot Rod response, or not one to this request.
        LimitError: A length or count exceeds a limit.
    """
    cdef Py_buffer view
    cdef const uint8_t *start = NULL
    cdef size_t length = 0
    cdef hr_limits bounds
    cdef hr_decoding d
    cdef hr_context c
    cdef hr_response a
    cdef Response out
    limits_of(limits, &bounds)
    decoding_of(&d, &bounds)
    context_of(request, &c, legacy_server)
    window(data, &view, offset, &start, &length)
    try:
        hr_decode_response(start, length, &c, &a, &d)
        if d.stop.result == HR_NEED_MORE:
            return None
        if d.stop.result != HR_OK:
            raise error_of(&d.stop, response_name(&c), offset)
        if type(request) is Request and not a.is_error and not a.row.is_event:
            if a.message_id != (<Request>request).c_message_id:
                raise DecodeError(
                    f"found {a.message_id}, the request has {request.message_id}",
                    op=response_name(&c), field="message id", offset=offset + 1)
        out = response_of(&a, d.used)
        out.keep_raw(start)
        return out
    finally:
        PyBuffer_Release(&view)


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
        message.keep_raw(start)
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

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.data, <Py_ssize_t>self.capacity, 0, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.views -= 1


cdef enum:
    BLOCK = 65536       # what a Reader holds at rest, and reads at a time
    KEEP = 1048576      # a larger block is given back when it is empty


@cython.final
cdef class Reader:
    """Messages out of a stream that arrives in pieces, whatever the pieces.

    Receive into `buffer()` and `commit` what came, or `feed` bytes that are there already; then
    take messages with `next()` until it gives None, or by iterating:

        reader.expect(request)
        reader.commit(sock.recv_into(reader.buffer()))
        for response in reader: ...

    The work is linear in the bytes, and the memory in proportion to what has arrived: a long list
    is taken in item by item. A failed Reader stays failed.

    Args:
        role: "client" reads responses and events, "server" reads requests.
        limits: The most to accept; Limits() by default.
        legacy_server: As for decode_response.

    Not to be used from two threads at once.
    """

    cdef _Block block
    cdef size_t start, end      # what has been received and not been taken yet
    cdef size_t wanted          # nothing can be taken before so many bytes are there
    cdef uint64_t taken         # bytes of the stream before `start`
    cdef bint is_server, legacy_server
    cdef hr_limits limits
    cdef hr_context latest      # events and unmatched errors are read against it
    cdef dict pending           # message id -> Request or RequestContext
    cdef object failure
    cdef Message partial        # a message whose list is still arriving
    cdef list items
    cdef int slot               # where its list belongs
    cdef hr_cursor cursor

    def __init__(self, role="client", *, limits=None, legacy_server=False):
        if role not in ("client", "server"):
            raise ValueError(f"role: expected 'client' or 'server', got {role!r}")
        self.is_server = role == "server"
        self.legacy_server = legacy_server
        limits_of(limits, &self.limits)
        self.block = _Block(BLOCK)
        self.pending = {}
        self.latest.version = 41
        self.latest.intelligence = 1

    @property
    def pending_requests(self):
        """How many requests wait for their answers."""
        return len(self.pending)

    @property
    def buffered(self):
        """How many bytes have been received and belong to no message yet."""
        return self.end - self.start

    @property
    def offset(self):
        """How many bytes of the stream have been taken."""
        return self.taken

    def expect(self, request, /, message_id=None):
        """Announce a request whose answer will come.

        Args:
            request: A Request, or a RequestContext together with the `message_id`.

        Raises:
            ValueError: That message id waits already, or none was given.
        """
        cdef hr_context context
        if self.is_server:
            raise ValueError("a server's Reader expects no answers")
        context_of(request, &context, self.legacy_server)
        if message_id is None:
            if type(request) is not Request:
                raise ValueError("message_id: a RequestContext has none of its own")
            message_id = (<Request>request).c_message_id
        message_id = take_u64(message_id, "message_id")
        if message_id in self.pending:
            raise ValueError(f"message_id: {message_id} waits for its answer already")
        self.pending[message_id] = request
        self.latest = context

    cdef int make_room(self, size_t least) except -1:
        """See that `least` bytes of the block are free. Never moves what has been handed out."""
        cdef size_t unread = self.end - self.start
        cdef size_t capacity = self.block.capacity
        cdef _Block fresh
        if unread == 0:
            self.start = self.end = 0
            if capacity > KEEP and least <= BLOCK:
                self.block = _Block(BLOCK)
                return 0
        if capacity - self.end >= least:
            return 0
        if capacity - unread >= least and unread <= capacity // 2 and self.block.views == 0:
            memmove(self.block.data, self.block.data + self.start, unread)
        else:
            # Twice what is there, not what a length claims.
            capacity = max(unread + least, 2 * unread)
            fresh = _Block(capacity)
            memcpy(fresh.data, self.block.data + self.start, unread)
            self.block = fresh
        self.start, self.end = 0, unread
        return 0

    def buffer(self, size_hint=BLOCK, /):
        """Memory to receive into: a writable memoryview of at least one byte, about `size_hint`
        bytes. Valid until the next call of buffer() or feed(); tell with commit() how much came.
        """
        cdef Py_ssize_t hint = size_hint
        if hint < 1:
            hint = BLOCK
        self.make_room(<size_t>hint)
        return memoryview(self.block)[self.end:]

    def commit(self, count, /):
        """`count` bytes have been received into the last buffer()."""
        cdef Py_ssize_t n = count
        if not 0 <= n <= <Py_ssize_t>(self.block.capacity - self.end):
            raise ValueError(f"count: {n} is not within 0 and {self.block.capacity - self.end}")
        self.end += <size_t>n

    def feed(self, data, /):
        """Take in bytes that are there already, any bytes-like object; they are copied."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len:
                self.make_room(<size_t>view.len)
                memcpy(self.block.data + self.end, view.buf, <size_t>view.len)
                self.end += <size_t>view.len
        finally:
            PyBuffer_Release(&view)

    def next(self):
        """The next whole message, or None: more bytes are needed.

        Returns:
            A Request in the role of a server, else a Response or Event. An error answer comes as
            a Response, too; when it matches no request, its op is None.

        Raises:
            DecodeError: The stream is no Hot Rod, or answers what nobody asked. The offset counts
                from the start of the stream. Every later call raises it again.
            LimitError: A length or count exceeds a limit.
        """
        if self.failure is not None:
            raise self.failure
        if self.partial is not None:
            return self.resume()
        if self.end == self.start or self.end - self.start < self.wanted:
            return None
        return self.take_request() if self.is_server else self.take_response()

    def __iter__(self):
        return self

    def __next__(self):
        message = self.next()
        if message is None:
            raise StopIteration
        return message

    cdef object fail(self, object error):
        self.failure = error
        raise error

    cdef object wait(self, const hr_stop *stop):
        self.wanted = self.end - self.start + stop.need
        return None

    cdef void take(self, size_t count) noexcept:
        self.start += count
        self.taken += count
        self.wanted = 0

    cdef object take_request(self):
        cdef hr_decoding d
        cdef hr_request q
        cdef const uint8_t *frame = self.block.data + self.start
        decoding_of(&d, &self.limits)
        d.stop_at_list = True
        hr_decode_request(frame, self.end - self.start, &q, &d)
        if d.stop.result == HR_NEED_MORE:
            return self.wait(&d.stop)
        if d.stop.result != HR_OK:
            return self.fail(error_of(&d.stop, request_name(&q), self.taken))
        return self.begin(request_of(&q, d.used), &d)

    cdef object take_response(self):
        cdef hr_decoding d
        cdef hr_response a
        cdef hr_context c
        cdef uint64_t message_id = 0
        cdef uint8_t code = 0
        cdef const hr_row *row
        cdef const uint8_t *frame = self.block.data + self.start
        decoding_of(&d, &self.limits)
        hr_peek_response(frame, self.end - self.start, &message_id, &code, &d.stop)
        if d.stop.result == HR_NEED_MORE:
            return self.wait(&d.stop)
        if d.stop.result != HR_OK:
            return self.fail(error_of(&d.stop, "response", self.taken))
        # An event may carry the id of a request that waits: the code comes first.
        row = hr_row_of_response(code)
        request = None
        if row is NULL or not row.is_event:
            request = self.pending.get(message_id)
        if request is not None:
            context_of(request, &c, self.legacy_server)
        else:
            c = self.latest
            c.row = NULL
            if code != HR_ERROR_CODE and (row is NULL or not row.is_event):
                return self.fail(DecodeError(
                    f"{code_name(code)} to message {message_id}, which waits for no answer",
                    op="response", field="message id", offset=self.taken + 1))
        d.stop_at_list = True
        hr_decode_response(frame, self.end - self.start, &c, &a, &d)
        if d.stop.result == HR_NEED_MORE:
            return self.wait(&d.stop)
        if d.stop.result != HR_OK:
            return self.fail(error_of(&d.stop, response_name(&c), self.taken))
        if request is not None:
            del self.pending[message_id]
        return self.begin(response_of(&a, d.used), &d)

    cdef object begin(self, Message message, hr_decoding *d):
        """The frame is here up to its list, if it has one."""
        cdef const uint8_t *frame = self.block.data + self.start
        cdef object whole
        if d.into is NULL:
            self.take(d.used)
            message.keep_raw(frame)
            return message
        self.take(d.used)
        self.slot = <int>len(message.names) - 1
        if type(message) is not Request:
            self.slot -= 1  # the last name of a response is `error`
        Py_XDECREF(message.values[self.slot])
        message.values[self.slot] = NULL
        self.partial = message
        self.items = []
        self.cursor = d.list
        whole = self.resume()
        if whole is not None:
            message.keep_raw(frame)
        return whole

    cdef object resume(self):
        """Take in as many whole items as are there."""
        cdef size_t used = 0
        cdef size_t before = self.cursor.count
        cdef hr_stop stop
        cdef hr_slice walked
        cdef const uint8_t *data = self.block.data + self.start
        cdef Message message = self.partial
        cdef object value
        cdef bint loose = message.loose
        stop.result = HR_OK
        if not self.cursor.ended:
            if self.end - self.start < self.wanted:
                return None
            hr_walk_list(&self.cursor, data, self.end - self.start, <size_t>-1, &self.limits,
                         &used, &stop)
            walked.data, walked.len = data, used
            extend_list(self.items, &self.cursor, walked, self.cursor.count - before)
            message.c_size += used
            self.take(used)
            if stop.result == HR_NEED_MORE:
                # Only the item that is cut counts here; a hint for the rest is no use, as every
                # item is read once.
                self.wanted = self.end - self.start + 1
                return None
            if stop.result != HR_OK:
                return self.fail(error_of(&stop, message.kind(), self.taken - used))
        value = self.items
        if self.cursor.loose:
            loose = True
        if is_mapping(self.cursor.kind):
            value = mapping_of(self.items, &loose)
        message.loose = loose
        message.put(self.slot, value)
        self.partial = None
        self.items = None
        return message
