# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: auto_pickle=False, autotestdict=False
"""Arguments: from Python objects to the structs of csrc.

Borrows buffers and checks types and ranges; what is wrong it says by the argument's name. Knows
no layout and no version's rule beyond what arguments there can be.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport (
    INT32_MAX, INT32_MIN, INT64_MAX, UINT32_MAX, UINT64_MAX,
    int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.string cimport memcpy, memset
cimport cython

from hotrod_codec._ext.core cimport *

import math
import sys
from collections.abc import Mapping

from hotrod_codec._ext.bulk import IteratedEntry
from hotrod_codec.errors import EncodeError
from hotrod_codec.ops import MEDIA_TYPES as _MEDIA_TYPES
from hotrod_codec.ops import Op, Status, TimeUnit, Version
from hotrod_codec.values import (
    CounterConfiguration, Duration, MediaType, Metadata, Modification, Topology,
)

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1

cdef enum:
    THIRTY_DAYS = 2592000

# ---- tables, made once from the core's; never changed afterwards ------------------------------


def _names_of_fields():
    names = [()]
    for i in range(1, HR_NUM_FIELDS):
        names.append(tuple(map(sys.intern, hr_fields[i].name.decode().split(", "))))
    return tuple(names)


FIELD_NAMES = _names_of_fields()


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
ROWS_BY_NAME, REQUEST_NAMES, RESPONSE_NAMES, OPS = _tables()
VERSIONS = {f"{v // 10}.{v % 10}": int(v) for v in Version}
VERSION_MEMBERS = {int(v): v for v in Version}
STATUSES = {int(s): s for s in Status}
MEDIA_TYPES_BY_NAME = {name: number for number, name in _MEDIA_TYPES.items()}
cdef object INFINITE = math.inf


# ---- from Python to structs --------------------------------------------------------------------

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


cdef int take_buffer(object value, str name, hr_slice *out, Borrowed *b) except -1:
    """Any bytes-like object."""
    take_any_bytes(value, name, out, b)
    if out.len > <size_t>INT32_MAX:
        raise too_long(out.len, name)
    return 0


cdef int take_any_bytes(object value, str name, hr_slice *out, Borrowed *b) except -1:
    """Any bytes-like object of any length."""
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(
            f"{name}: expected a bytes-like object, got {type(value).__name__}") from None
    if not view.c_contiguous:
        raise TypeError(f"{name}: expected contiguous memory")
    holder = _Pinned(view, PyBUF_SIMPLE)
    keep(b, holder)
    out.data = <const uint8_t *>holder.view.buf
    out.len = <size_t>holder.view.len
    return 0


cdef object too_long(size_t length, str name):
    return EncodeError(f"{length} bytes are more than the 2**31 - 1 that a frame can say",
                       field=name)


@cython.final
@cython.internal
cdef class _Pinned:
    """Holds a buffer until it is collected."""
    cdef Py_buffer view
    cdef bint held

    def __cinit__(self, owner, int flags):
        PyObject_GetBuffer(owner, &self.view, flags)
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
    if type(value) is int and is_plain_duration(value, version, amount):
        unit[0] = HR_UNIT_SECONDS
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


cdef bint is_plain_duration(object value, uint8_t version, uint64_t *seconds):
    """Whether an int is a number of seconds that every reader takes for such; most are."""
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    seconds[0] = <uint64_t>number
    return number > 0 and not overflow and (
        number <= THIRTY_DAYS or version >= HR_RELATIVE_SINCE)


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
    if kind == HR_BYTES_LIST and is_column(value):
        return take_column(value, name, out, b)
    if kind == HR_PAIRS and is_batch(value):
        return take_columns(value.keys, value.values, name, name, out, b)
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


# ---- columns: many byte strings in one buffer ---------------------------------------------------

cdef bint is_batch(object value):
    """Whether it is an EntryBatch."""
    return type(value) not in (list, tuple, dict) and hasattr(value, "projections")


cdef bint is_column(object value):
    """Whether it is a BytesColumn or (buffer, offsets), a pair whose second item holds numbers."""
    if type(value) is list:
        return False
    if type(value) is not tuple:
        return hasattr(value, "starts")
    if len(<tuple>value) != 2 or isinstance((<tuple>value)[1], (bytes, str)):
        return False
    try:
        return memoryview((<tuple>value)[1]).itemsize > 1
    except TypeError:
        return False


cdef int take_columns(object keys, object values, str name, str name_of_values, hr_list *out,
                      Borrowed *b) except -1:
    """Keys and values as pairs. Each is a column or a list of bytes."""
    cdef hr_list first, second
    cdef hr_slice *array
    cdef size_t i
    take_list(HR_BYTES_LIST, keys, name, &first, 0, b)
    take_list(HR_BYTES_LIST, values, name_of_values, &second, 0, b)
    if first.count != second.count:
        raise EncodeError(f"{second.count} values for {first.count} keys", field=name_of_values)
    array = <hr_slice *>room(b, 2 * first.count, sizeof(hr_slice))
    for i in range(first.count):
        array[2 * i] = (<const hr_slice *>first.items)[i]
        array[2 * i + 1] = (<const hr_slice *>second.items)[i]
    memset(out, 0, sizeof(hr_list))
    out.items, out.count = array, first.count
    return 0


cdef struct Numbers:
    const char *first
    Py_ssize_t count, stride, width


cdef int take_numbers(object value, str name, Numbers *out, Borrowed *b) except -1:
    """An int32 or int64 array."""
    cdef _Pinned holder = _Pinned(value, PyBUF_FORMAT | PyBUF_STRIDES)
    cdef Py_buffer *view = &holder.view
    if (view.ndim != 1 or view.itemsize not in (4, 8)
            or (<bytes>view.format).lstrip(b"<=@") not in (b"i", b"l", b"q")):
        raise TypeError(
            f"{name}: expected offsets as an int32 or int64 array of one dimension, got "
            f"{view.ndim} dimension(s) of format '{(<bytes>view.format).decode()}'")
    keep(b, holder)
    out.first, out.count = <const char *>view.buf, view.shape[0]
    out.stride, out.width = view.strides[0], view.itemsize
    return 0


cdef inline int64_t number_at(const Numbers *n, Py_ssize_t i) noexcept:
    cdef int32_t narrow = 0
    cdef int64_t wide = 0
    if n.width == 4:
        memcpy(&narrow, n.first + i * n.stride, 4)  # it may lie anywhere
        return narrow
    memcpy(&wide, n.first + i * n.stride, 8)
    return wide


cdef int take_column(object value, str name, hr_list *out, Borrowed *b) except -1:
    cdef Numbers starts, ends
    cdef hr_slice data
    cdef hr_slice *array
    cdef int64_t start, length
    cdef Py_ssize_t i, count
    cdef bint is_pair = type(value) is tuple
    buffer = (<tuple>value)[0] if is_pair else value.buffer
    take_any_bytes(buffer, name, &data, b)
    take_numbers((<tuple>value)[1] if is_pair else value.starts, name, &starts, b)
    count = starts.count
    if is_pair:
        count -= 1
        ends = starts
        ends.first += ends.stride
        if count < 0:
            raise EncodeError("no offsets; there is one more than items", field=name)
    else:
        take_numbers(value.lengths, name, &ends, b)
        if ends.count != count:
            raise EncodeError(f"{count} starts, but {ends.count} lengths", field=name)
    if count > INT32_MAX:
        raise EncodeError(f"{count} items are more than a frame can say", field=name)
    array = <hr_slice *>room(b, <size_t>count, sizeof(hr_slice))
    for i in range(count):
        start = number_at(&starts, i)
        length = number_at(&ends, i)
        if is_pair and start >= 0 and length >= 0:
            length -= start
        if start < 0 or length < 0 or start > <int64_t>data.len - length:
            raise EncodeError(f"not within the buffer of {data.len} bytes", field=f"{name}[{i}]")
        if length > INT32_MAX:
            raise too_long(<size_t>length, f"{name}[{i}]")
        array[i].data, array[i].len = data.data + start, <size_t>length
    memset(out, 0, sizeof(hr_list))
    out.items, out.count = array, <size_t>count
    return 0


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
        if type(entry) is IteratedEntry:
            entry = tuple(entry)
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
    # Lists may change while they are read, and objects may have another length than they say.
    servers_given = tuple(t.servers)
    hash_ids = (0,) * len(servers_given) if t.hash_ids is None else tuple(t.hash_ids)
    if len(hash_ids) != len(servers_given):
        raise EncodeError(f"{len(hash_ids)} for {len(servers_given)} servers",
                          field="topology.hash_ids")
    keep(b, servers_given)
    out.num_servers = <uint32_t>len(servers_given)
    servers = <hr_server *>room(b, out.num_servers, sizeof(hr_server))
    for i, (host, port) in enumerate(servers_given):
        take_text(host, f"topology.servers[{i}].host", &servers[i].host, b)
        servers[i].port = <uint16_t>take_int(port, f"topology.servers[{i}].port", 0, 0xFFFF)
        servers[i].hash_id = 0
        if out.form != HR_TOPOLOGY_SERVERS:
            servers[i].hash_id = <int32_t>take_int(
                hash_ids[i], f"topology.hash_ids[{i}]", INT32_MIN, INT32_MAX)
    out.servers = servers
    if out.form == HR_TOPOLOGY_SERVERS:
        return 0
    out.hash_version = <uint8_t>take_int(t.hash_version, "topology.hash_version", 0, 255)
    if out.form != HR_TOPOLOGY_SEGMENTS:
        return 0
    out.num_segments = <uint32_t>take_int(t.num_segments, "topology.num_segments", 0, UINT32_MAX)
    segments = tuple([tuple(segment) for segment in t.segment_owners])
    if out.hash_version == 0:
        if segments:
            raise EncodeError("hash version 0 has no segment owners",
                              field="topology.segment_owners")
        return 0
    if out.num_segments != len(segments):
        raise EncodeError(f"{out.num_segments} segments, but owners of {len(segments)}",
                          field="topology.num_segments")
    sizes = <uint8_t *>room(b, out.num_segments, 1)
    for i, segment in enumerate(segments):
        sizes[i] = <uint8_t>take_int(len(segment), f"topology.segment_owners[{i}]", 0, 255)
        out.num_owners += sizes[i]
    owners = <uint32_t *>room(b, out.num_owners, sizeof(uint32_t))
    out.segment_sizes, out.owners = sizes, owners
    for i, segment in enumerate(segments):
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


cdef int row_number_of(object op) except -1:
    """Where the row of an Op member, of its number or of its name stands in hr_rows."""
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
        return <int><object>found
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
    return index_of(row)


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
