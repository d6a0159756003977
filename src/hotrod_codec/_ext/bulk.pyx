# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, auto_pickle=False, autotestdict=False
"""Long lists: entries of bulk answers as Python objects.

Reads and makes objects in one pass, so that the length of one item is found while the objects of
the one before are made.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint64_t

from hotrod_codec._ext.core cimport *

cdef extern from *:
    """
    /* The objects of bytes alone: no references counted that nobody holds. */

    static PyObject *hr_new_pair(hr_slice key, hr_slice value)
    {
        PyObject *pair = PyTuple_New(2);
        if (!pair)
            return NULL;
        PyObject *first = PyBytes_FromStringAndSize((const char *)key.data, (Py_ssize_t)key.len);
        PyObject *second =
            PyBytes_FromStringAndSize((const char *)value.data, (Py_ssize_t)value.len);
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

    /* Append an item, whose reference goes to the list. */
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
    """
    PyObject *hr_new_pair(hr_slice key, hr_slice value)
    list hr_new_list(Py_ssize_t capacity)
    int hr_append(list out, PyObject *item) except -1

cdef extern from "Python.h":
    PyObject *PyBytes_FromStringAndSize(const char *data, Py_ssize_t size)

cdef enum:
    SAMPLE = 16  # items from which the number of all is estimated


cdef bint is_bulk(hr_kind kind) noexcept:
    """Whether take_items knows the kind."""
    return (kind == HR_PAIRS or kind == HR_PAIRS_MORE
            or kind == HR_BYTES_LIST or kind == HR_BYTES_MORE)


cdef bint is_marked(hr_kind kind) noexcept:
    return kind == HR_PAIRS_MORE or kind == HR_BYTES_MORE


cdef bint is_pairs(hr_kind kind) noexcept:
    return kind == HR_PAIRS or kind == HR_PAIRS_MORE


cdef inline const uint8_t *skim_item(const uint8_t *p, const uint8_t *end, uint64_t most,
                                     bint marked, bint pair, hr_item *item) noexcept nogil:
    """Read an item of the usual form; NULL: it is none, or it is not all there."""
    if marked:
        if p == end or p[0] != 1:
            return NULL
        p += 1
    p = hr_skim_slice(p, end, most, &item.key)
    if p is not NULL and pair:
        p = hr_skim_slice(p, end, most, &item.value)
    return p


cdef inline PyObject *bytes_of(hr_slice s) noexcept:
    return PyBytes_FromStringAndSize(<const char *>s.data, <Py_ssize_t>s.len)


cdef list new_list(const hr_cursor *c, const uint8_t *data, size_t size,
                   const hr_limits *limits):
    """An empty list with room for about as many items as `data` can hold."""
    cdef bint marked = is_marked(c.kind)
    cdef bint pair = is_pairs(c.kind)
    cdef const uint8_t *p = data
    cdef hr_item item
    cdef size_t n = 0
    cdef uint64_t room = size // (2 if pair else 1)  # a count is a claim: an item has bytes
    if not marked:
        return hr_new_list(<Py_ssize_t>min(c.left, room))
    while n < SAMPLE:
        p = skim_item(p, data + size, limits.bytes, marked, pair, &item)
        if p is NULL:
            return hr_new_list(<Py_ssize_t>n)
        n += 1
    room = size // (<size_t>(p - data) // n) + SAMPLE
    return hr_new_list(<Py_ssize_t>min(min(room, c.limit), size // sizeof(void *)))


cdef const uint8_t *skim_pairs(list out, hr_cursor *c, const uint8_t *p, const uint8_t *end,
                               size_t most, const hr_limits *limits, bint marked) except NULL:
    """Append pairs of the usual form, at most `most`. Returns the place behind them."""
    cdef hr_item item
    cdef const uint8_t *q
    cdef size_t n = 0
    cdef uint64_t longest = limits.bytes
    while n < most:
        q = skim_item(p, end, longest, marked, True, &item)
        if q is NULL:
            break
        hr_append(out, hr_new_pair(item.key, item.value))
        p = q
        n += 1
    c.count += n
    return p


cdef const uint8_t *skim_keys(list out, hr_cursor *c, const uint8_t *p, const uint8_t *end,
                              size_t most, const hr_limits *limits, bint marked) except NULL:
    """Append items of one part each; as skim_pairs."""
    cdef hr_item item
    cdef const uint8_t *q
    cdef size_t n = 0
    cdef uint64_t longest = limits.bytes
    while n < most:
        q = skim_item(p, end, longest, marked, False, &item)
        if q is NULL:
            break
        hr_append(out, bytes_of(item.key))
        p = q
        n += 1
    c.count += n
    return p


cdef const uint8_t *skim(list out, hr_cursor *c, const uint8_t *p, const uint8_t *end,
                         const hr_limits *limits) except NULL:
    """Append as many items of the usual form as there are."""
    cdef size_t before = c.count
    cdef bint marked = is_marked(c.kind)
    cdef size_t most = <size_t>(c.limit - c.count) if marked else <size_t>c.left
    if is_pairs(c.kind):
        p = skim_pairs(out, c, p, end, most, limits, marked)
    else:
        p = skim_keys(out, c, p, end, most, limits, marked)
    if not marked:
        c.left -= c.count - before
        c.ended = c.left == 0
    return p


cdef int add_item(list out, const hr_cursor *c, const hr_item *item) except -1:
    if is_pairs(c.kind):
        return hr_append(out, hr_new_pair(item.key, item.value))
    return hr_append(out, bytes_of(item.key))


cdef int take_items(list out, hr_cursor *c, const uint8_t *data, size_t size,
                    const hr_limits *limits, size_t *used, hr_stop *stop) except -1:
    """Append the whole items that `data` holds; as hr_walk_list."""
    cdef const uint8_t *p = data
    cdef const uint8_t *end = data + size
    cdef hr_item item
    cdef size_t count, step = 0
    stop.result = HR_OK
    while not c.ended and stop.result == HR_OK:
        p = skim(out, c, p, end, limits)
        if c.ended:
            break
        # An item of another form, the end of the list or of the input, or something wrong.
        count = c.count
        hr_walk_list(c, p, <size_t>(end - p), 1, limits, &step, stop)
        stop.at += <size_t>(p - data)
        if c.count > count:
            hr_get_item(c, p, p + step, &item)
            add_item(out, c, &item)
        p += step
    used[0] = <size_t>(p - data)
    return 0
