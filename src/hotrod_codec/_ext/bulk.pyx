# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, auto_pickle=False, autotestdict=False
"""Long lists: keys, values and entries as Python objects, or as columns that hold none.

The objects are made while the items are read, in one pass: the length of an item is found while
the objects of the one before it are made. Columns are rows of offsets that the core writes; objects
are made of them when somebody asks for one.
"""

from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from cpython.buffer cimport (
    PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
cimport cython

from hotrod_codec._ext.core cimport *
from hotrod_codec._ext.hashing cimport segment_count, segments_of_spans

from hotrod_codec.values import Metadata

cdef extern from *:
    """
    /* Objects that nobody else can see yet: no reference is counted that nobody holds. */

    static inline PyObject *hr_new_bytes(hr_slice s)
    {
        return PyBytes_FromStringAndSize((const char *)s.data, (Py_ssize_t)s.len);
    }

    static PyObject *hr_new_pair(hr_slice key, hr_slice value)
    {
        PyObject *pair = PyTuple_New(2);
        if (!pair)
            return NULL;
        PyObject *first = hr_new_bytes(key), *second = hr_new_bytes(value);
        PyTuple_SET_ITEM(pair, 0, first);
        PyTuple_SET_ITEM(pair, 1, second);
        if (!first || !second) {
            Py_DECREF(pair);
            return NULL;
        }
        /* Holds nothing but bytes: the collector would find that out later, at a price. */
        PyObject_GC_UnTrack(pair);
        return pair;
    }

    /* An empty list with room for `capacity` items. */
    static PyObject *hr_new_list(Py_ssize_t capacity)
    {
        PyObject *list = PyList_New(capacity);
        if (list)
            Py_SET_SIZE((PyVarObject *)list, 0);
        return list;
    }

    /* Append an item; the reference to it goes to the list. */
    static inline int hr_append(PyObject *list, PyObject *item)
    {
        Py_ssize_t size = PyList_GET_SIZE(list);
        if (!item)
            return -1;
        if (size < ((PyListObject *)list)->allocated) {
            PyList_SET_ITEM(list, size, item);
            Py_SET_SIZE((PyVarObject *)list, size + 1);
            return 0;
        }
        int failed = PyList_Append(list, item);
        Py_DECREF(item);
        return failed;
    }

    /* An empty dict with room for `capacity` items. Cython's own code calls this function, too. */
    #if CYTHON_COMPILING_IN_CPYTHON
    #define hr_new_dict(capacity) _PyDict_NewPresized(capacity)
    #else
    #define hr_new_dict(capacity) PyDict_New()
    #endif

    /* The references go to the dict. */
    static inline int hr_set_item(PyObject *dict, PyObject *key, PyObject *value)
    {
        int failed = key && value ? PyDict_SetItem(dict, key, value) : -1;
        Py_XDECREF(key);
        Py_XDECREF(value);
        return failed;
    }
    """
    PyObject *hr_new_bytes(hr_slice s) noexcept
    PyObject *hr_new_pair(hr_slice key, hr_slice value) noexcept
    list hr_new_list(Py_ssize_t capacity)
    dict hr_new_dict(Py_ssize_t capacity)
    int hr_append(PyObject *out, PyObject *item) except -1
    int hr_set_item(PyObject *out, PyObject *key, PyObject *value) except -1

cdef extern from "Python.h":
    PyObject *bytes_reference "PyBytes_FromStringAndSize"(
        const char *data, Py_ssize_t size) except NULL
    PyObject *PyTuple_New(Py_ssize_t size) except NULL
    void PyTuple_SET_ITEM(PyObject *pair, Py_ssize_t i, PyObject *item)
    void PyObject_GC_UnTrack(PyObject *item)
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1

cdef enum:
    SAMPLE = 16  # items from which the number of all is estimated
    FIRST_ROWS = 64
    # Entries whose walk takes about a millisecond. Getting the GIL back may take a
    # whole switch interval (5 ms), so less work than that keeps it.
    RELEASE_GIL = 1 << 18
    # A batch of a stream has about so many bytes at the most.
    BATCH_BYTES = 128 * 1024


# ---- which lists ---------------------------------------------------------------------------------

cdef bint is_pairs(hr_kind kind) noexcept:
    return kind == HR_PAIRS or kind == HR_PAIRS_MORE


cdef bint has_values(hr_kind kind) noexcept:
    """Whether items have a key and something besides."""
    return is_pairs(kind) or kind == HR_ITERATED


cdef bint is_marked(hr_kind kind) noexcept:
    return kind == HR_PAIRS_MORE or kind == HR_BYTES_MORE


cdef bint is_bulk(hr_kind kind) noexcept:
    """Whether the functions here know the kind: entries, keys or values."""
    return has_values(kind) or kind == HR_BYTES_LIST or kind == HR_BYTES_MORE


# ---- an entry of an iteration --------------------------------------------------------------------

cdef object metadata_of(const hr_meta *m):
    cdef object created = None
    cdef object lifespan = None
    cdef object last_used = None
    cdef object max_idle = None
    if not m.flags & HR_NO_LIFESPAN:
        created, lifespan = m.created, m.lifespan
    if not m.flags & HR_NO_MAX_IDLE:
        last_used, max_idle = m.last_used, m.max_idle
    return Metadata(m.version, created, lifespan, last_used, max_idle)


cdef object exact_bytes(object value, str name):
    if type(value) is bytes:
        return value
    try:
        return bytes(memoryview(value))
    except TypeError:
        raise TypeError(
            f"{name}: expected a bytes-like object, got {type(value).__name__}") from None


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class IteratedEntry:
    """An entry of an iteration's batch. [wire-core 9.6]

    Unpacks like a tuple of the three, and is equal to one.

    Args:
        key: Bytes-like.
        values: The values; several where a filter projects, as many for each entry of a batch.
        metadata: From 2.5 on, if the iteration asked for it.

    Attributes:
        key: The key.
        values: A tuple of the values.
        value: The only value.
        metadata: Metadata or None.
    """

    # Numbers as the wire has them: most entries are read for their values.
    cdef PyObject *c_key
    cdef PyObject *c_values    # the bytes of an only value, or a tuple
    cdef PyObject *c_metadata  # made when it is asked for
    cdef hr_meta meta
    cdef bint has_meta

    __match_args__ = ("key", "values", "metadata")

    def __init__(self, key, values, metadata=None):
        if self.c_key is not NULL:
            raise TypeError("an IteratedEntry does not change")
        if isinstance(values, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"values: expected a tuple, got {type(values).__name__}")
        if metadata is not None and not isinstance(metadata, Metadata):
            raise TypeError(f"metadata: expected Metadata, got {type(metadata).__name__}")
        values = tuple([exact_bytes(value, "values") for value in values])
        key = exact_bytes(key, "key")
        self.c_key = new_reference(key)
        self.c_values = new_reference(values)
        self.c_metadata = new_reference(metadata)

    def __dealloc__(self):
        Py_XDECREF(self.c_key)
        Py_XDECREF(self.c_values)
        Py_XDECREF(self.c_metadata)

    @property
    def key(self):
        """The key."""
        return b"" if self.c_key is NULL else <object>self.c_key

    @property
    def values(self):
        """The values, as a tuple."""
        if self.c_values is NULL:
            return ()
        if type(<object>self.c_values) is tuple:
            return <object>self.c_values
        return (<object>self.c_values,)

    @property
    def value(self):
        """The only value. Raises ValueError when there is not exactly one."""
        if self.c_values is not NULL and type(<object>self.c_values) is bytes:
            return <object>self.c_values
        (value,) = self.values
        return value

    @property
    def metadata(self):
        """Metadata, or None."""
        if self.c_metadata is not NULL:
            return <object>self.c_metadata
        return metadata_of(&self.meta) if self.has_meta else None

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return (self.key, self.values, self.metadata)[index]

    def __iter__(self):
        return iter((self.key, self.values, self.metadata))

    def __eq__(self, other):
        if not isinstance(other, (IteratedEntry, tuple)):
            return NotImplemented
        return (self.key, self.values, self.metadata) == tuple(other)

    def __hash__(self):
        return hash((self.key, self.values, self.metadata))

    def __reduce__(self):
        return (IteratedEntry, (self.key, self.values, self.metadata))

    def __repr__(self):
        values = ", ".join([f"{len(value)} bytes" for value in self.values])
        return f"IteratedEntry({len(self.key)} bytes, ({values}), {self.metadata!r})"


cdef PyObject *new_reference(object item) noexcept:
    Py_INCREF(item)
    return <PyObject *>item


cdef PyObject *new_values(const hr_iterated *e, uint32_t projections) except NULL:
    """The bytes of an only value, or a tuple of all."""
    cdef const uint8_t *p = e.encoded.data
    cdef hr_slice value
    if projections == 1:
        hr_next_slice(p, &value)
        return bytes_reference(<const char *>value.data, <Py_ssize_t>value.len)
    values = []
    for _ in range(projections):
        p = hr_next_slice(p, &value)
        hr_append(<PyObject *>values, hr_new_bytes(value))
    return new_reference(tuple(values))


cdef PyObject *new_entry(const hr_iterated *e, uint32_t projections) except NULL:
    cdef IteratedEntry out = IteratedEntry.__new__(IteratedEntry)
    out.c_key = bytes_reference(<const char *>e.key.data, <Py_ssize_t>e.key.len)
    out.c_values = new_values(e, projections)
    out.has_meta = e.has_metadata
    if e.has_metadata:
        out.meta = e.metadata
    return new_reference(out)


# ---- direct builders -----------------------------------------------------------------------------

cdef inline int add_pair(int into, PyObject *first, PyObject *second, hr_slice key,
                         hr_slice value) except -1:
    if into == INTO_PAIRS:
        return hr_append(first, hr_new_pair(key, value))
    if into == INTO_DICT:
        return hr_set_item(first, hr_new_bytes(key), hr_new_bytes(value))
    hr_append(first, hr_new_bytes(key))
    return hr_append(second, hr_new_bytes(value))


cdef int add_iterated(int into, PyObject *first, PyObject *second, const hr_iterated *e,
                      uint32_t projections) except -1:
    if into == INTO_PAIRS:
        return hr_append(first, new_entry(e, projections))
    if into == INTO_DICT:
        return hr_set_item(first, hr_new_bytes(e.key), new_values(e, projections))
    hr_append(first, hr_new_bytes(e.key))
    return hr_append(second, new_values(e, projections))


cdef inline const uint8_t *skim_item(const uint8_t *p, const uint8_t *end, uint64_t longest,
                                     bint marked, bint pair, hr_item *item) noexcept nogil:
    """Read an item of the usual form; NULL: it is none, or it is not all there."""
    if marked:
        if p == end or p[0] != 1:
            return NULL
        p += 1
    p = hr_skim_slice(p, end, longest, &item.key)
    if p is not NULL and pair:
        p = hr_skim_slice(p, end, longest, &item.value)
    return p


cdef const uint8_t *skim_pairs(int into, PyObject *first, PyObject *second, hr_cursor *c,
                               const uint8_t *p, const uint8_t *end, uint64_t longest, size_t most,
                               bint marked) except NULL:
    """Add pairs of the usual form, at most `most`. Returns the place behind them."""
    cdef hr_item item
    cdef const uint8_t *q
    cdef size_t n = 0
    while n < most:
        q = skim_item(p, end, longest, marked, True, &item)
        if q is NULL:
            break
        add_pair(into, first, second, item.key, item.value)
        p = q
        n += 1
    c.count += n
    return p


cdef const uint8_t *skim_keys(PyObject *first, hr_cursor *c, const uint8_t *p, const uint8_t *end,
                              uint64_t longest, size_t most, bint marked) except NULL:
    """The same for items of one part."""
    cdef hr_item item
    cdef const uint8_t *q
    cdef size_t n = 0
    while n < most:
        q = skim_item(p, end, longest, marked, False, &item)
        if q is NULL:
            break
        hr_append(first, hr_new_bytes(item.key))
        p = q
        n += 1
    c.count += n
    return p


cdef const uint8_t *skim_iterated(int into, PyObject *first, PyObject *second, hr_cursor *c,
                                  const uint8_t *p, const uint8_t *end, uint64_t longest,
                                  size_t most) except NULL:
    """The same for entries of an iteration."""
    cdef hr_iterated entry
    cdef const uint8_t *q
    cdef size_t n = 0
    while n < most:
        q = hr_skim_iterated(c, p, end, longest, &entry)
        if q is NULL:
            break
        add_iterated(into, first, second, &entry, c.projections)
        p = q
        n += 1
    c.count += n
    return p


cdef const uint8_t *skim(int into, PyObject *first, PyObject *second, hr_cursor *c,
                         const uint8_t *p, const uint8_t *end, uint64_t longest) except NULL:
    """Add as many items of the usual form as there are."""
    cdef size_t before = c.count
    cdef bint marked = is_marked(c.kind)
    cdef size_t most = <size_t>(c.limit - c.count) if marked else <size_t>c.left
    if is_pairs(c.kind):
        p = skim_pairs(into, first, second, c, p, end, longest, most, marked)
    elif c.kind == HR_ITERATED:
        p = skim_iterated(into, first, second, c, p, end, longest, most)
    else:
        p = skim_keys(first, c, p, end, longest, most, marked)
    if not marked:
        c.left -= c.count - before
        c.ended = c.left == 0
    return p


cdef int add_item(int into, PyObject *first, PyObject *second, const hr_cursor *c,
                  const hr_item *item) except -1:
    if is_pairs(c.kind):
        return add_pair(into, first, second, item.key, item.value)
    if c.kind == HR_ITERATED:
        return add_iterated(into, first, second, &item.iterated, c.projections)
    return hr_append(first, hr_new_bytes(item.key))


cdef size_t number_of_items(const hr_cursor *c, const uint8_t *data, size_t size,
                            const hr_limits *limits) noexcept:
    """About how many items `data` holds: never more than could be there."""
    cdef bint marked = is_marked(c.kind)
    cdef bint pair = is_pairs(c.kind)
    cdef const uint8_t *p = data
    cdef const uint8_t *q = data
    cdef hr_item item
    cdef hr_iterated entry
    cdef size_t n = 0
    cdef uint64_t most = c.limit if marked else c.left
    if not marked and most <= SAMPLE:
        return <size_t>min(most, size)
    while n < SAMPLE:
        if c.kind == HR_ITERATED:
            q = hr_skim_iterated(c, p, data + size, limits.bytes, &entry)
        else:
            q = skim_item(p, data + size, limits.bytes, marked, pair, &item)
        if q is NULL:
            return n
        p = q
        n += 1
    return <size_t>min(most, size // (<size_t>(p - data) // n) + SAMPLE)


cdef object new_items(int into, const hr_cursor *c, const uint8_t *data, size_t size,
                      const hr_limits *limits):
    """What take_items adds to, for the items that `data` begins with."""
    cdef Py_ssize_t room
    if into == INTO_BATCH:
        return new_table(c)
    # Room is memory: no more of it than there are bytes.
    room = <Py_ssize_t>min(number_of_items(c, data, size, limits), size // sizeof(void *))
    if into == INTO_DICT:
        return hr_new_dict(min(room, <Py_ssize_t>(size // 32)))
    if into == INTO_LISTS:
        return (hr_new_list(room), hr_new_list(room))
    return hr_new_list(room)


cdef int take_items(int into, object out, hr_cursor *c, const uint8_t *data, size_t size,
                    const hr_limits *limits, size_t *used, hr_stop *stop) except -1:
    """Add the whole items that `data` holds to `out`; as hr_walk_list."""
    cdef const uint8_t *p = data
    cdef const uint8_t *end = data + size
    cdef PyObject *first = <PyObject *>out
    cdef PyObject *second = NULL
    cdef hr_item item
    cdef size_t count, step = 0
    if into == INTO_BATCH:
        return append_rows(<_Table>out, c, data, size, limits, used, stop)
    if into == INTO_LISTS:
        first, second = <PyObject *>(<tuple>out)[0], <PyObject *>(<tuple>out)[1]
    stop.result = HR_OK
    while not c.ended and stop.result == HR_OK:
        p = skim(into, first, second, c, p, end, limits.bytes)
        if c.ended:
            break
        # An item of another form, the end of the list or of the input, or something wrong.
        count = c.count
        hr_walk_list(c, p, <size_t>(end - p), 1, limits, &step, stop)
        stop.at += <size_t>(p - data)
        if c.count > count:
            hr_get_item(c, p, p + step, &item)
            add_item(into, first, second, c, &item)
        p += step
    used[0] = <size_t>(p - data)
    return 0


cdef object finish_items(int into, object out, const hr_cursor *c, bint *loose, bint *lossy):
    """What the reader of the response gets.

    `loose` becomes true when encoding would not write the same from it, `lossy` when there is more
    in the list than in it.
    """
    if c.loose:
        loose[0] = True
    if into == INTO_BATCHES:
        lossy[0] = True
        return c.count
    if into == INTO_BATCH:
        return batch_of(finished(<_Table>out))
    if c.kind == HR_ITERATED and into != INTO_PAIRS:
        lossy[0] = True
    elif into == INTO_DICT and <size_t>len(<dict>out) != c.count:
        loose[0] = True
    return out


# ---- columns -------------------------------------------------------------------------------------

@cython.final
@cython.internal
@cython.no_gc
cdef class _Table:
    """Rows of offsets into bytes: what a batch, its columns and all their slices share."""

    cdef PyObject *data        # bytes, which the offsets refer to; NULL: none yet
    cdef size_t filled         # bytes of it that are in use, while it grows
    cdef int64_t *rows
    cdef size_t count, room    # rows in use, and allocated
    cdef size_t width, parts
    cdef hr_cursor form        # of the list

    def __dealloc__(self):
        Py_XDECREF(self.data)
        PyMem_RawFree(self.rows)

    cdef char *start(self) noexcept:
        return PyBytes_AS_STRING(<object>self.data)

    cdef size_t size(self) noexcept:
        return 0 if self.data is NULL else <size_t>PyBytes_GET_SIZE(<object>self.data)

    cdef int resize(self, size_t rows) except -1:
        """Allocate so many rows, of which all that are in use stay."""
        cdef int64_t *fresh = <int64_t *>PyMem_RawRealloc(
            self.rows, max(rows, <size_t>1) * self.width * sizeof(int64_t))
        if fresh is NULL:
            raise MemoryError
        self.rows, self.room = fresh, rows
        return 0

    cdef int resize_data(self, size_t size) except -1:
        """For bytes that nobody else has seen yet, or whose size is right."""
        if self.data is NULL:
            self.data = bytes_reference(NULL, <Py_ssize_t>size)
        elif self.size() != size:
            _PyBytes_Resize(&self.data, <Py_ssize_t>size)
        return 0


cdef _Table new_table(const hr_cursor *c):
    cdef _Table t = _Table.__new__(_Table)
    t.form = c[0]
    t.width = hr_row_width(c, &t.parts)
    return t


cdef int walk_rows(_Table t, hr_cursor *c, const uint8_t *data, size_t size, bint release,
                   const hr_limits *limits, int64_t base, size_t *used, hr_stop *stop) except -1:
    """Add a row for each item that `data` holds, the first byte of which has the offset `base`."""
    cdef size_t before = c.count
    cdef size_t step = 0
    cdef size_t done = 0
    cdef size_t room, count
    cdef int64_t *rows
    stop.result = HR_OK
    while not c.ended and stop.result == HR_OK:
        if t.count == t.room:
            if size - done < t.parts:  # no whole item
                hr_walk_list(c, data + done, size - done, 1, limits, &step, stop)
                stop.at += done
                done += step
                break
            # At first a few, then as many as the size of those gives reason to expect.
            room = min(FIRST_ROWS, size // t.parts + 1)
            if done:
                room = (c.count - before) * (size - done) // done + FIRST_ROWS
                room = max(room, t.count // 2)
            if not is_marked(c.kind):
                room = min(room, <size_t>c.left)
            t.resize(t.count + room)
        rows = t.rows + t.count * t.width
        room = t.room - t.count
        count = c.count
        if release and room >= RELEASE_GIL:
            with nogil:
                hr_walk_rows(c, data + done, size - done, room, limits, base + <int64_t>done, rows,
                             &step, stop)
        else:
            hr_walk_rows(c, data + done, size - done, room, limits, base + <int64_t>done, rows,
                         &step, stop)
        stop.at += done
        t.count += c.count - count
        done += step
    used[0] = done
    return 0


cdef int append_rows(_Table t, hr_cursor *c, const uint8_t *data, size_t size,
                     const hr_limits *limits, size_t *used, hr_stop *stop) except -1:
    """Add the items that `data` holds, and a copy of their bytes."""
    cdef size_t room
    walk_rows(t, c, data, size, False, limits, <int64_t>t.filled, used, stop)
    room = t.size()
    if room - t.filled < used[0]:
        t.resize_data(max(t.filled + used[0], room + room // 2))
    if used[0]:
        memcpy(t.start() + t.filled, data, used[0])
    t.filled += used[0]
    return 0


cdef _Table finished(_Table t):
    """The table as it will stay."""
    t.resize_data(t.filled)
    if t.room > t.count:
        t.resize(t.count)
    return t


cdef object whole_table(object data, hr_cursor *c, const uint8_t *items, size_t size,
                        const hr_limits *limits, size_t *used, hr_stop *stop):
    """The items in `items`, which lie within `data`; of use if `stop` says HR_OK."""
    cdef _Table t = new_table(c)
    cdef int64_t base
    cdef size_t i, j
    if type(data) is not bytes:  # it may change
        append_rows(t, c, items, size, limits, used, stop)
        return t
    base = items - <const uint8_t *>PyBytes_AS_STRING(data)
    walk_rows(t, c, items, size, True, limits, base, used, stop)
    t.filled = <size_t>PyBytes_GET_SIZE(data)
    if used[0] >= t.filled // 2:
        t.data = new_reference(data)
        return t
    # Not for this would a large piece of memory be kept.
    t.filled = used[0]
    t.data = bytes_reference(<const char *>items, <Py_ssize_t>used[0])
    for i in range(t.count):
        for j in range(t.parts):
            t.rows[i * t.width + 2 * j] -= base
        if t.width > 2 * t.parts and t.rows[i * t.width + t.width - 1] >= 0:
            t.rows[i * t.width + t.width - 1] -= base
    return t


cdef object next_batch(hr_cursor *c, const uint8_t *data, size_t size, const hr_limits *limits,
                       size_t *used, hr_stop *stop):
    """A batch of whole items that `data` holds, some of them if they are many. None: see `stop`."""
    cdef _Table t = new_table(c)
    cdef size_t before = c.count
    walk_rows(t, c, data, min(size, <size_t>BATCH_BYTES), False, limits, 0, used, stop)
    if t.count == 0 and stop.result == HR_NEED_MORE and size > BATCH_BYTES:
        hr_walk_rows(c, data, size, 1, limits, 0, t.rows, used, stop)  # a large one
        t.count = c.count - before
    if t.count == 0:
        return None
    t.data = bytes_reference(<const char *>data, <Py_ssize_t>used[0])
    t.filled = used[0]
    return batch_of(finished(t))


cdef object batch_of(_Table t):
    if has_values(t.form.kind):
        return new_batch(t, t.rows, <Py_ssize_t>t.width, <Py_ssize_t>t.count)
    return new_column(t, t.rows, <Py_ssize_t>t.width, <Py_ssize_t>t.count)


# ---- what the caller sees ------------------------------------------------------------------------

cdef object numpy():
    """Imported when somebody asks for an array: it costs more than all the rest of the import."""
    import numpy as imported
    return imported


@cython.final
@cython.internal
cdef class _Numbers:
    """Numbers of a table, as numpy sees them."""

    cdef _Table table
    cdef int64_t *first
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t strides[1]

    def __getbuffer__(self, Py_buffer *view, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("read-only")
        if not flags & PyBUF_STRIDES == PyBUF_STRIDES:
            raise BufferError("strided")
        view.buf = self.first
        view.obj = self
        view.len = self.shape[0] * <Py_ssize_t>sizeof(int64_t)
        view.readonly = 1
        view.itemsize = sizeof(int64_t)
        view.format = b"q"
        view.ndim = 1
        view.shape = self.shape
        view.strides = self.strides
        view.suboffsets = NULL
        view.internal = NULL


cdef object numbers(_Table t, int64_t *first, Py_ssize_t stride, Py_ssize_t count):
    """A read-only array of every `stride`-th number."""
    cdef _Numbers out = _Numbers.__new__(_Numbers)
    out.table, out.first = t, first
    out.shape[0], out.strides[0] = count, stride * <Py_ssize_t>sizeof(int64_t)
    return numpy().asarray(out)


cdef hr_slice part_at(_Table t, const int64_t *row) noexcept:
    return hr_slice(<const uint8_t *>t.start() + row[0], <size_t>row[1])


cdef bint same_parts(_Table t, const int64_t *row, _Table u, const int64_t *other,
                     size_t parts) noexcept:
    cdef size_t i
    cdef hr_slice a
    cdef hr_slice b
    for i in range(parts):
        a = part_at(t, row + 2 * i)
        b = part_at(u, other + 2 * i)
        if a.len != b.len or memcmp(a.data, b.data, a.len):
            return False
    return True


cdef Py_ssize_t place(object index, Py_ssize_t count, str name) except -1:
    cdef Py_ssize_t i = index
    if i < 0:
        i += count
    if not 0 <= i < count:
        raise IndexError(f"{name} has {count} items; {index} is not one of them")
    return i


cdef Py_ssize_t slice_of(slice index, Py_ssize_t count, Py_ssize_t *start,
                         Py_ssize_t *step) except -1:
    """How many items a slice has; with none it starts at the first, not at a place outside."""
    cdef Py_ssize_t stop, n
    start[0], stop, step[0] = index.indices(count)
    n = len(range(start[0], stop, step[0]))
    if n == 0:
        start[0], step[0] = 0, 1
    return n


cdef _Table no_table():
    cdef hr_cursor c = hr_cursor_over(HR_PAIRS, 41, 0)
    return finished(new_table(&c))


cdef _Table NO_TABLE = no_table()  # so that a hollow object does no harm


cdef bytes written(_Table t, hr_kind kind, const int64_t *row, Py_ssize_t stride,
                   Py_ssize_t count):
    """The rows as items of a counted list of version 4.1."""
    cdef hr_cursor c = hr_cursor_over(kind, 41, t.form.projections)
    cdef const uint8_t *data = <const uint8_t *>t.start()
    cdef size_t size = hr_rows_size(&c, data, row, stride, <size_t>count)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
    hr_put_rows(<uint8_t *>PyBytes_AS_STRING(out), &c, data, row, stride, <size_t>count)
    return out


def _unpickled(str kind, uint32_t projections, uint64_t count, bytes items):
    """What was pickled: a counted list of version 4.1, without its count."""
    cdef hr_cursor c = hr_cursor_over(KINDS[kind], 41, projections)
    cdef hr_limits limits = hr_limits(INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX, 0, 0)
    cdef hr_stop stop
    cdef size_t used = 0
    c.left, c.ended = count, count == 0
    stop.result = HR_OK
    out = whole_table(items, &c, <const uint8_t *>PyBytes_AS_STRING(items),
                      <size_t>len(items), &limits, &used, &stop)
    if stop.result != HR_OK or used != <size_t>len(items):
        raise ValueError("a pickle of other items than it says")
    return batch_of(finished(out))


cdef dict KINDS = {"keys": HR_BYTES_LIST, "pairs": HR_PAIRS, "iterated": HR_ITERATED}


cdef BytesColumn new_column(_Table t, int64_t *first, Py_ssize_t stride, Py_ssize_t count):
    cdef BytesColumn out = BytesColumn.__new__(BytesColumn)
    out.table, out.first, out.stride, out.count = t, first, stride, count
    return out


@cython.final
@cython.no_gc
cdef class BytesColumn:
    """Many byte strings in one piece of memory: keys or values of a long list. Immutable.

    A sequence: `len(column)`, `column[i]`, `column[i:j]`, iteration. Items become `bytes` when they
    are asked for; a slice shares the memory. Comes from EntryBatch, and from decoding a list of
    keys or values into "batch".

    Attributes:
        buffer: What the offsets refer to. It holds more than the items, in no order to rely on.
        starts, lengths: Of each item in `buffer`, as read-only int64 arrays that share the memory.
    """

    cdef _Table table
    cdef int64_t *first      # the offset of item 0; its length is next
    cdef Py_ssize_t stride   # numbers from one item to the next
    cdef Py_ssize_t count

    def __cinit__(self):
        self.table = NO_TABLE

    def __init__(self):
        raise TypeError("a BytesColumn comes from decoding")

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t step = 1
        cdef Py_ssize_t n
        if isinstance(index, slice):
            n = slice_of(index, self.count, &start, &step)
            return new_column(self.table, self.first + start * self.stride, step * self.stride, n)
        return <object>self.at(place(index, self.count, "column"))

    def __iter__(self):
        return _Items(self)

    cdef bytes at(self, Py_ssize_t i):
        cdef hr_slice part = part_at(self.table, self.first + i * self.stride)
        return (<char *>part.data)[:part.len]

    @property
    def buffer(self):
        """The bytes that the offsets refer to."""
        return <object>self.table.data

    @property
    def starts(self):
        """Where in `buffer` each item begins: int64 array of shape (n,)."""
        return numbers(self.table, self.first, self.stride, self.count)

    @property
    def lengths(self):
        """How many bytes each item has: int64 array of shape (n,)."""
        return numbers(self.table, self.first + 1, self.stride, self.count)

    @property
    def nbytes(self):
        """Bytes of all items together."""
        cdef Py_ssize_t i
        cdef int64_t size = 0
        for i in range(self.count):
            size += self.first[i * self.stride + 1]
        return size

    def to_list(self):
        """The items as a list of bytes."""
        cdef Py_ssize_t i
        cdef list out = hr_new_list(self.count)
        for i in range(self.count):
            hr_append(<PyObject *>out,
                      hr_new_bytes(part_at(self.table, self.first + i * self.stride)))
        return out

    def segments(self, num_segments):
        """The segment of each item as a key: int32 array of shape (n,). As segments_of.

        Raises:
            TypeError: `num_segments` is not an int.
            ValueError: `num_segments` is not within 1 ... 2**31 - 1.
        """
        cdef Py_buffer view
        cdef int32_t count = segment_count(num_segments)
        out = numpy().empty(self.count, "int32")
        PyObject_GetBuffer(out, &view, PyBUF_WRITABLE)
        try:
            segments_of_spans(<const uint8_t *>self.table.start(), self.first, self.first + 1,
                              self.stride, self.count, count, <int32_t *>view.buf)
        finally:
            PyBuffer_Release(&view)
        return out

    def take(self, indices):
        """The items of these indices, in their order: a BytesColumn that shares the memory.

        Args:
            indices: An array or list of ints, each within 0 and len() - 1, such as split_by_owner
                gives for an owner.

        Raises:
            IndexError: There is no such item.
        """
        cdef _Table t = gathered(self.table, self.first, self.stride, self.count, 2, indices)
        return new_column(t, t.rows, 2, <Py_ssize_t>t.count)

    def __eq__(self, other):
        cdef Py_ssize_t i
        cdef BytesColumn column
        if type(other) is not BytesColumn:
            return NotImplemented
        column = other
        if self.count != column.count:
            return False
        for i in range(self.count):
            if not same_parts(self.table, self.first + i * self.stride,
                              column.table, column.first + i * column.stride, 1):
                return False
        return True

    __hash__ = None

    def __reduce__(self):
        return (_unpickled, ("keys", 0, self.count, written(
            self.table, HR_BYTES_LIST, self.first, self.stride, self.count)))

    def __repr__(self):
        return f"<BytesColumn {self.count} items, {self.nbytes} bytes>"


cdef _Table gathered(_Table t, const int64_t *first, Py_ssize_t stride, Py_ssize_t count,
                     size_t width, object indices):
    """A table of the rows with these indices, over the same bytes."""
    cdef _Table out = new_table(&t.form)
    cdef int64_t *row
    cdef int64_t[::1] wanted
    cdef Py_ssize_t i
    array = numpy().asarray(indices)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"indices: wants ints, got {array.dtype}")
    wanted = array.astype("int64").ravel()
    out.width, out.count = width, <size_t>wanted.shape[0]
    out.resize(out.count)
    row = out.rows
    for i in range(wanted.shape[0]):
        if not 0 <= wanted[i] < count:
            raise IndexError(f"indices: {wanted[i]} is not within 0 and {count - 1}")
        memcpy(row, first + wanted[i] * stride, width * sizeof(int64_t))
        row += width
    out.data, out.filled = new_reference(<object>t.data), t.size()
    return out


cdef EntryBatch new_batch(_Table t, int64_t *first, Py_ssize_t stride, Py_ssize_t count):
    cdef EntryBatch out = EntryBatch.__new__(EntryBatch)
    out.table, out.first, out.stride, out.count = t, first, stride, count
    return out


@cython.final
@cython.no_gc
cdef class EntryBatch:
    """Many entries in one piece of memory, and where each key and value lies in it. Immutable.

    A sequence of what the same list decodes to without it: pairs (key, value), or IteratedEntry
    for an iteration. Objects are made when they are asked for; a slice shares the memory. Takes 32
    bytes for an entry beside its own bytes (and 8 more in an iteration).

    `dict(batch)` does not work, as it takes `keys` for a method: use to_dict().

    Attributes:
        keys: The keys, a BytesColumn.
        values: The values, a BytesColumn.
        projections: For each value of an entry a BytesColumn; where no filter projects, there is
            one.
        created, lifespan, last_used, max_idle, entry_version: Metadata of each entry, as Metadata
            has them, in int64 arrays; -1 where the entry has none, and everywhere in a batch that
            is not of an iteration.
        has_metadata: bool array: whether the entry came with metadata.
    """

    cdef _Table table
    cdef int64_t *first
    cdef Py_ssize_t stride, count

    def __cinit__(self):
        self.table = NO_TABLE

    def __init__(self):
        raise TypeError("an EntryBatch comes from decoding")

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t step = 1
        cdef Py_ssize_t n
        if isinstance(index, slice):
            n = slice_of(index, self.count, &start, &step)
            return new_batch(self.table, self.first + start * self.stride, step * self.stride, n)
        return self.at(place(index, self.count, "batch"))

    def __iter__(self):
        return _Items(self)

    cdef bint is_iterated(self) noexcept:
        return self.table.form.kind == HR_ITERATED

    cdef object at(self, Py_ssize_t i):
        cdef list one = []
        self.add(INTO_PAIRS, <PyObject *>one, i)
        return one[0]

    cdef int add(self, int into, PyObject *out, Py_ssize_t i) except -1:
        """Add entry `i` to a list or a dict."""
        cdef const int64_t *row = self.first + i * self.stride
        cdef hr_iterated entry
        if not self.is_iterated():
            return add_pair(into, out, NULL, part_at(self.table, row), part_at(self.table, row + 2))
        entry.key = part_at(self.table, row)
        entry.encoded.data = entry.key.data + entry.key.len  # the values stand behind the key
        entry.has_metadata = self.metadata_at(i, &entry.metadata)
        return add_iterated(into, out, NULL, &entry, self.table.form.projections)

    cdef bint metadata_at(self, Py_ssize_t i, hr_meta *m) noexcept:
        """Whether entry `i` has metadata."""
        cdef const int64_t *row = self.first + i * self.stride
        cdef const uint8_t *data
        if not self.is_iterated() or row[2 * self.table.parts] < 0:
            return False
        data = <const uint8_t *>self.table.start()
        hr_get_metadata(data + row[2 * self.table.parts], data + row[0], m)
        return True

    cdef bytes value_at(self, Py_ssize_t i):
        """The value of entry `i`, which is a pair."""
        cdef hr_slice part = part_at(self.table, self.first + i * self.stride + 2)
        return (<char *>part.data)[:part.len]

    cdef BytesColumn column(self, size_t part):
        return new_column(self.table, self.first + 2 * part, self.stride, self.count)

    @property
    def keys(self):
        """The keys, a BytesColumn."""
        return self.column(0)

    @property
    def values(self):
        """The values, a BytesColumn. Raises ValueError when entries have not exactly one."""
        (values,) = self.projections
        return values

    @property
    def projections(self):
        """For each value of an entry a BytesColumn, as a tuple."""
        cdef size_t i
        return tuple([self.column(i) for i in range(1, self.table.parts)])

    @property
    def nbytes(self):
        """Bytes of all keys and values together."""
        return self.keys.nbytes + sum([column.nbytes for column in self.projections])

    cdef object metadata_column(self, int which):
        cdef Py_buffer view
        cdef Py_ssize_t i
        cdef hr_meta m
        cdef int64_t number
        out = numpy().full(self.count, -1, "int64")
        PyObject_GetBuffer(out, &view, PyBUF_WRITABLE)
        for i in range(self.count):
            if not self.metadata_at(i, &m):
                continue
            number = m.version
            if which < 2:
                if m.flags & HR_NO_LIFESPAN:
                    continue
                number = m.lifespan if which else m.created
            elif which < 4:
                if m.flags & HR_NO_MAX_IDLE:
                    continue
                number = m.max_idle if which == 3 else m.last_used
            (<int64_t *>view.buf)[i] = number
        PyBuffer_Release(&view)
        return out

    @property
    def created(self):
        """When each entry was written, milliseconds since 1970; -1: not known."""
        return self.metadata_column(0)

    @property
    def lifespan(self):
        """Lifespan of each entry in seconds; -1: none."""
        return self.metadata_column(1)

    @property
    def last_used(self):
        """When each entry was last used, milliseconds since 1970; -1: not known."""
        return self.metadata_column(2)

    @property
    def max_idle(self):
        """Max idle of each entry in seconds; -1: none."""
        return self.metadata_column(3)

    @property
    def entry_version(self):
        """Version of each entry; -1: not known."""
        return self.metadata_column(4)

    @property
    def has_metadata(self):
        """Whether each entry came with metadata: bool array of shape (n,)."""
        if not self.is_iterated():
            return numpy().zeros(self.count, "bool")
        return numbers(self.table, self.first + 2 * self.table.parts, self.stride, self.count) >= 0

    def to_list(self):
        """The entries as a list of pairs, or of IteratedEntry."""
        cdef list out = hr_new_list(self.count)
        cdef Py_ssize_t i
        for i in range(self.count):
            self.add(INTO_PAIRS, <PyObject *>out, i)
        return out

    def to_dict(self):
        """Keys and their values as a dict; a value is a tuple where a filter projects several. Of
        a key that comes twice the last value counts.
        """
        cdef dict out = hr_new_dict(self.count)
        cdef Py_ssize_t i
        for i in range(self.count):
            self.add(INTO_DICT, <PyObject *>out, i)
        return out

    def segments(self, num_segments):
        """The segment of each key: int32 array of shape (n,). As segments_of.

        Raises:
            TypeError: `num_segments` is not an int.
            ValueError: `num_segments` is not within 1 ... 2**31 - 1.
        """
        return self.keys.segments(num_segments)

    def take(self, indices):
        """The entries of these indices, in their order: an EntryBatch that shares the memory.

        Args:
            indices: An array or list of ints, each within 0 and len() - 1, such as split_by_owner
                gives for an owner.

        Raises:
            IndexError: There is no such entry.
        """
        cdef _Table t = gathered(self.table, self.first, self.stride, self.count,
                                 self.table.width, indices)
        return new_batch(t, t.rows, <Py_ssize_t>t.width, <Py_ssize_t>t.count)

    def __eq__(self, other):
        cdef Py_ssize_t i
        cdef EntryBatch batch
        cdef hr_meta mine
        cdef hr_meta other_s
        if type(other) is not EntryBatch:
            return NotImplemented
        batch = other
        if self.count != batch.count or self.is_iterated() != batch.is_iterated():
            return False
        if self.count and self.table.parts != batch.table.parts:
            return False
        for i in range(self.count):
            if not same_parts(self.table, self.first + i * self.stride,
                              batch.table, batch.first + i * batch.stride, self.table.parts):
                return False
            if self.metadata_at(i, &mine) != batch.metadata_at(i, &other_s):
                return False
            if self.metadata_at(i, &mine) and not same_metadata(&mine, &other_s):
                return False
        return True

    __hash__ = None

    def __reduce__(self):
        kind = "iterated" if self.is_iterated() else "pairs"
        return (_unpickled, (kind, self.table.form.projections, self.count, written(
            self.table, KINDS[kind], self.first, self.stride, self.count)))

    def __repr__(self):
        return f"<EntryBatch {self.count} entries, {self.nbytes} bytes>"


cdef bint same_metadata(const hr_meta *a, const hr_meta *b) noexcept:
    return (a.flags == b.flags and a.version == b.version and a.created == b.created
            and a.lifespan == b.lifespan and a.last_used == b.last_used
            and a.max_idle == b.max_idle)


@cython.final
@cython.internal
cdef class _Items:
    """Iterates over a batch or a column."""

    cdef object owner
    cdef Py_ssize_t i

    def __cinit__(self, owner):
        self.owner = owner

    def __iter__(self):
        return self

    def __next__(self):
        cdef Py_ssize_t i = self.i
        if i >= len(self.owner):
            raise StopIteration
        self.i += 1
        if type(self.owner) is EntryBatch:
            return (<EntryBatch>self.owner).at(i)
        return (<BytesColumn>self.owner).at(i)


# ---- entries by their keys -----------------------------------------------------------------------

cdef extern from *:
    """
    /* SipHash-1-3: with a key that nobody else knows, nobody can make many keys of the same hash.
     * (To mix in one word after the other by xor, shift and multiplication would not do: there are
     * differences that pass through such a step whatever the seed.) */
    static inline uint64_t hr_rotated(uint64_t x, int by)
    {
        return x << by | x >> (64 - by);
    }

    static inline void hr_sip_round(uint64_t *v)
    {
        v[0] += v[1]; v[1] = hr_rotated(v[1], 13); v[1] ^= v[0]; v[0] = hr_rotated(v[0], 32);
        v[2] += v[3]; v[3] = hr_rotated(v[3], 16); v[3] ^= v[2];
        v[0] += v[3]; v[3] = hr_rotated(v[3], 21); v[3] ^= v[0];
        v[2] += v[1]; v[1] = hr_rotated(v[1], 17); v[1] ^= v[2]; v[2] = hr_rotated(v[2], 32);
    }

    static inline uint32_t hr_hash_of_slice(uint64_t seed, uint64_t seed_2, hr_slice s)
    {
        uint64_t v[4], part = 0;
        size_t i;
        v[0] = seed ^ UINT64_C(0x736f6d6570736575);
        v[1] = seed_2 ^ UINT64_C(0x646f72616e646f6d);
        v[2] = seed ^ UINT64_C(0x6c7967656e657261);
        v[3] = seed_2 ^ UINT64_C(0x7465646279746573);
        for (i = 0; i + 8 <= s.len; i += 8) {
            memcpy(&part, s.data + i, 8);
            v[3] ^= part;
            hr_sip_round(v);
            v[0] ^= part;
        }
        part = (uint64_t)s.len << 56;
        for (; i < s.len; ++i)
            part |= (uint64_t)s.data[i] << 8 * (i & 7);
        v[3] ^= part;
        hr_sip_round(v);
        v[0] ^= part;
        v[2] ^= 0xff;
        hr_sip_round(v);
        hr_sip_round(v);
        hr_sip_round(v);
        return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
    }

    #define HR_FOUND (UINT32_C(1) << 31)
    """
    const uint32_t FOUND "HR_FOUND"
    uint32_t hr_hash_of_slice(uint64_t seed, uint64_t seed_2, hr_slice s) noexcept

cdef uint64_t SEED = <uint64_t>hash("keys of a batch")
cdef uint64_t SEED_2 = <uint64_t>hash("keys of a batch, further")


cdef struct Slot:
    uint32_t hash
    uint32_t number  # of an entry + 1, and FOUND; 0: the slot is free


cdef inline Slot *slot_of(EntryBatch batch, Slot *slots, size_t mask, hr_slice key,
                          uint32_t hashed) noexcept:
    """Where a key is, or may be put."""
    cdef size_t i = hashed & mask
    cdef hr_slice other
    while slots[i].number:
        if slots[i].hash == hashed:
            other = part_at(batch.table,
                            batch.first + ((slots[i].number & ~FOUND) - 1) * batch.stride)
            if other.len == key.len and not memcmp(other.data, key.data, key.len):
                break
        i = (i + 1) & mask
    return &slots[i]


def put_found(EntryBatch batch not None, list keys not None, list values not None,
              Py_ssize_t start, list order=None, /):
    """Put the values that a batch has under keys into their places.

    Args:
        batch: Entries as of GET_ALL; of a key that comes twice the last value counts.
        keys: bytes objects.
        values: Where they go. A key that is not in the batch leaves its place as it is.
        start, order: The place of the value under ``keys[i]`` is ``start + i``, or what `order` has
            there.

    Returns:
        How many keys the batch has that are not among these.
    """
    cdef Py_ssize_t i, place, count = len(keys)
    cdef size_t mask = 1
    cdef Slot *slots
    cdef Slot *slot
    cdef hr_slice key
    cdef uint32_t hashed
    cdef Py_ssize_t others = 0
    if batch.is_iterated() or batch.count >= <Py_ssize_t>FOUND:
        raise ValueError("batch: wants pairs of key and value, and not 2^31 of them")
    if start < 0 or start + count > len(values if order is None else order):
        raise ValueError(f"start: there are no {count} places behind {start}")
    while mask < 2 * <size_t>batch.count:
        mask *= 2
    slots = <Slot *>PyMem_RawCalloc(mask, sizeof(Slot))
    if slots is NULL:
        raise MemoryError
    mask -= 1
    try:
        for i in range(batch.count):
            key = part_at(batch.table, batch.first + i * batch.stride)
            hashed = hr_hash_of_slice(SEED, SEED_2, key)
            slot = slot_of(batch, slots, mask, key, hashed)
            others += slot.number == 0
            slot.hash, slot.number = hashed, <uint32_t>(i + 1)
        for i in range(count):
            item = keys[i]
            if type(item) is not bytes:
                raise TypeError(f"keys: wants bytes, got {type(item).__name__}")
            key = hr_slice(<const uint8_t *>PyBytes_AS_STRING(item),
                           <size_t>PyBytes_GET_SIZE(item))
            slot = slot_of(batch, slots, mask, key, hr_hash_of_slice(SEED, SEED_2, key))
            if not slot.number:
                continue
            others -= not slot.number & FOUND
            slot.number |= FOUND
            place = start + i if order is None else order[start + i]
            if not 0 <= place < len(values):
                raise IndexError(f"order: {place} is none of {len(values)} places")
            values[place] = batch.value_at((slot.number & ~FOUND) - 1)
    finally:
        PyMem_RawFree(slots)
    return others
