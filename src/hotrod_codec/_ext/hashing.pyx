# cython: freethreading_compatible=True
# cython: boundscheck=False, wraparound=False
# cython: embedsignature=True, embedsignature.format=clinic, auto_pickle=False, autotestdict=False
"""Which server owns a key: csrc/hash.c for Python objects.

Here: borrowing keys, checking arguments, filling numpy arrays, releasing the GIL. The hash
functions and the rules of segments and wheel are in csrc; which server an owner index means is
known to whoever holds the topology.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_ND,
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromObject, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.number cimport PyIndex_Check, PyNumber_Index
from cpython.object cimport PyObject
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, int32_t, int64_t, uint8_t, uint32_t

from hotrod_codec._ext.hash cimport (
    HR_HASH_SEED,
    hr_murmur2,
    hr_murmur3,
    hr_segment_of_hash,
    hr_segments_of,
    hr_slice,
    hr_wheel_find,
    hr_wheel_key_position,
    hr_wheel_position,
)


cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    # Borrowed: counting references takes longer than hashing a short key.
    PyObject **items_of "PySequence_Fast_ITEMS"(object list_or_tuple)
    bint is_bytes "PyBytes_Check"(PyObject *item) nogil
    Py_ssize_t bytes_size "PyBytes_GET_SIZE"(PyObject *item) nogil
    char *bytes_data "PyBytes_AS_STRING"(PyObject *item) nogil

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define HR_HAS_GIL 0
    #else
    #define HR_HAS_GIL 1
    #endif
    """
    bint HR_HAS_GIL


cdef enum:
    # About a millisecond of hashing (150,000 keys of 20 bytes). Getting the GIL back may cost a
    # whole switch interval (5 ms), so less work than that keeps it.
    NOGIL_BYTES = 8 * 1024 * 1024
    # What a key costs besides its length, in bytes hashed.
    BYTES_PER_KEY = 32
    CHUNK = 128
    # No real wheel comes near it, but a peer may claim any number of virtual nodes.
    MAX_WHEEL_POSITIONS = 1 << 20
    NO_OWNER = -1


cdef object _wants_bytes(str name, object found):
    return TypeError(f"{name}: wants a bytes-like object, got {type(found).__name__}")


cdef int32_t _int32(object value, str name, int32_t smallest) except? -1:
    cdef long long number
    cdef int overflow = 0
    if not PyIndex_Check(value):
        raise TypeError(f"{name}: wants an int, got {type(value).__name__}")
    number = PyLong_AsLongLongAndOverflow(PyNumber_Index(value), &overflow)
    if overflow or not smallest <= number <= INT32_MAX:
        raise ValueError(f"{name}: wants {smallest} to {INT32_MAX}, got {value}")
    return <int32_t>number


cdef int32_t _murmur3(object key, int32_t seed) except? -1:
    cdef Py_buffer view
    cdef int32_t result
    if PyBytes_Check(key) and PyBytes_GET_SIZE(key) < NOGIL_BYTES:
        return hr_murmur3(
            <const uint8_t *>PyBytes_AS_STRING(key), <size_t>PyBytes_GET_SIZE(key), seed
        )
    if not PyObject_CheckBuffer(key):
        raise _wants_bytes("key", key)
    PyObject_GetBuffer(key, &view, PyBUF_SIMPLE)
    if view.len < NOGIL_BYTES:
        result = hr_murmur3(<const uint8_t *>view.buf, <size_t>view.len, seed)
    else:
        with nogil:
            result = hr_murmur3(<const uint8_t *>view.buf, <size_t>view.len, seed)
    PyBuffer_Release(&view)
    return result


# Plain functions of C: the interpreter calls them 5 ns faster than those with all of Python's.
@cython.binding(False)
def murmur3(key, seed=9001):
    """MurmurHash3 of `key` as Infinispan has it: a signed 32-bit int.

    Servers and clients hash keys with the default seed. The key is the bytes that the server
    stores, whatever media type they went over the wire in.

    Raises:
        TypeError: `key` is not bytes-like, or `seed` not an int.
        ValueError: `seed` does not fit in 32 bits, signed.
    """
    return _murmur3(key, _int32(seed, "seed", INT32_MIN))


def murmur2(key, bint compat=False):
    """MurmurHash2 of `key` as servers 4.1 and 4.2 had it: a signed 32-bit int.

    Args:
        compat: As before 4.2.1, which shifted signed numbers.

    Raises:
        TypeError: `key` is not bytes-like.
    """
    cdef Py_buffer view
    cdef int32_t result
    if not PyObject_CheckBuffer(key):
        raise _wants_bytes("key", key)
    PyObject_GetBuffer(key, &view, PyBUF_SIMPLE)
    result = hr_murmur2(<const uint8_t *>view.buf, <size_t>view.len, compat)
    PyBuffer_Release(&view)
    return result


@cython.binding(False)
def segment_of(key, num_segments):
    """The segment of `key`, 0 to `num_segments` - 1, in a topology of version 2.0 or later.

    Raises:
        TypeError: `key` is not bytes-like, or `num_segments` not an int.
        ValueError: `num_segments` is not within 1 ... 2**31 - 1.
    """
    cdef int32_t count = _int32(num_segments, "num_segments", 1)
    return hr_segment_of_hash(_murmur3(key, HR_HASH_SEED), count)


# ---- where keys lie ---------------------------------------------------------------------------

cdef enum Form:
    ITEMS  # bytes objects
    OFFSETS_32  # in one buffer, each beginning where the one before it ends
    OFFSETS_64
    SPANS  # in one buffer, anywhere


cdef struct Keys:
    Form form
    Py_ssize_t count
    Py_ssize_t work  # what hashing them costs, in bytes hashed
    PyObject **items
    const uint8_t *data
    int64_t size  # OFFSETS: of the buffer
    const void *offsets
    const int64_t *starts
    const int64_t *lengths
    Py_ssize_t step


cdef int64_t _offset(const Keys *keys, Py_ssize_t i) noexcept nogil:
    if keys.form == OFFSETS_32:
        return (<const int32_t *>keys.offsets)[i]
    return (<const int64_t *>keys.offsets)[i]


cdef Py_ssize_t _borrow_by_offsets(
    const Keys *keys, Py_ssize_t first, Py_ssize_t count, hr_slice *slices
) noexcept nogil:
    # Each offset is read once: whoever owns the array may change it meanwhile.
    cdef int64_t start = _offset(keys, first), end
    cdef Py_ssize_t i
    if start < 0:
        return first
    for i in range(count):
        end = _offset(keys, first + i + 1)
        if not start <= end <= keys.size:
            return first + i + 1
        slices[i].data = keys.data + start
        slices[i].len = <size_t>(end - start)
        start = end
    return -1


cdef Py_ssize_t _borrow(
    const Keys *keys, Py_ssize_t first, Py_ssize_t count, hr_slice *slices
) noexcept nogil:
    """Point `slices` at `count` keys from `first` on. -1, or the index of a wrong offset."""
    cdef Py_ssize_t i
    cdef PyObject *key
    if keys.form == ITEMS:
        for i in range(count):
            key = keys.items[first + i]
            slices[i].data = <const uint8_t *>bytes_data(key)
            slices[i].len = <size_t>bytes_size(key)
    elif keys.form == SPANS:
        for i in range(count):
            slices[i].data = keys.data + keys.starts[(first + i) * keys.step]
            slices[i].len = <size_t>keys.lengths[(first + i) * keys.step]
    else:
        return _borrow_by_offsets(keys, first, count, slices)
    return -1


cdef Py_ssize_t _hash_all(
    const Keys *keys, int32_t num_segments, int32_t *segments
) noexcept nogil:
    cdef hr_slice slices[CHUNK]
    cdef Py_ssize_t i = 0, chunk, wrong
    while i < keys.count:
        chunk = min(<Py_ssize_t>CHUNK, keys.count - i)
        wrong = _borrow(keys, i, chunk, slices)
        if wrong >= 0:
            return wrong
        hr_segments_of(slices, <size_t>chunk, num_segments, segments + i)
        i += chunk
    return -1


cdef int _segments(const Keys *keys, int32_t num_segments, int32_t *segments) except -1:
    cdef Py_ssize_t wrong
    if keys.work < NOGIL_BYTES:
        wrong = _hash_all(keys, num_segments, segments)
    else:
        with nogil:
            wrong = _hash_all(keys, num_segments, segments)
    if wrong >= 0:
        raise ValueError(
            f"keys: offset {wrong} is {_offset(keys, wrong)}; offsets begin at 0 or later, "
            f"never fall, and end within the {keys.size} bytes of the buffer"
        )
    return 0


cdef int32_t segment_count(object num_segments) except -1:
    return _int32(num_segments, "num_segments", 1)


cdef int segments_of_spans(
    const uint8_t *data, const int64_t *starts, const int64_t *lengths, Py_ssize_t step,
    Py_ssize_t count, int32_t num_segments, int32_t *segments,
) except -1:
    cdef Keys keys
    cdef Py_ssize_t i
    keys.form = SPANS
    keys.data = data
    keys.starts = starts
    keys.lengths = lengths
    keys.step = step
    keys.count = count
    keys.work = count * BYTES_PER_KEY
    for i in range(count):
        keys.work += lengths[i * step]
    return _segments(&keys, num_segments, segments)


cdef bint _borrow_items(object list_or_tuple, Keys *keys, int64_t most_work) noexcept:
    """Whether all items are bytes, of which hashing costs less than `most_work`."""
    cdef PyObject **items = items_of(list_or_tuple)
    cdef Py_ssize_t i, work = 0, count = len(list_or_tuple)
    for i in range(count):
        if not is_bytes(items[i]) or work >= most_work:
            return False
        work += bytes_size(items[i]) + BYTES_PER_KEY
    keys.form = ITEMS
    keys.items = items
    keys.count = count
    keys.work = work
    return work < most_work


cdef tuple _hold(object items, Keys *keys):
    """`items` as a tuple of bytes: what nobody can change while its addresses are in use."""
    cdef tuple held
    if not isinstance(items, (list, tuple)):
        try:
            items = iter(items)
        except TypeError:
            raise TypeError(
                f"keys: wants an iterable of bytes-like objects, got {type(items).__name__}"
            ) from None
    held = tuple(items)
    if _borrow_items(held, keys, INT64_MAX):
        return held
    copies = []
    for i, key in enumerate(held):
        if not PyObject_CheckBuffer(key):
            raise _wants_bytes(f"keys: item {i}", key)
        copies.append(key if PyBytes_Check(key) else PyBytes_FromObject(key))
    held = tuple(copies)
    _borrow_items(held, keys, INT64_MAX)
    return held


cdef bint _is_columns(object keys) except -1:
    """Whether `keys` is (buffer, offsets): a pair whose second item holds numbers, not bytes."""
    cdef Py_buffer view
    if type(keys) is not tuple or len(<tuple>keys) != 2 or PyBytes_Check((<tuple>keys)[1]):
        return False
    if not PyObject_CheckBuffer((<tuple>keys)[1]):
        return False
    try:
        PyObject_GetBuffer((<tuple>keys)[1], &view, PyBUF_FORMAT | PyBUF_ND)
    except BufferError:  # not contiguous
        return False
    cdef bint numbers = view.itemsize > 1
    PyBuffer_Release(&view)
    return numbers


cdef Form _form_of_offsets(const Py_buffer *offsets) except *:
    cdef bytes form = b"B" if offsets.format is NULL else <bytes>offsets.format
    if offsets.ndim == 1 and form.lstrip(b"<=@") in (b"i", b"l", b"q"):
        if offsets.itemsize == 4:
            return OFFSETS_32
        if offsets.itemsize == 8:
            return OFFSETS_64
    raise TypeError(
        f"keys: wants offsets as an int32 or int64 array of one dimension, got {offsets.ndim} "
        f"dimension(s) of format '{form.decode()}'"
    )


cdef int _fill(const Keys *keys, int32_t num_segments, object array) except -1:
    """Write the segments to `array`, an int32 array of as many items."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_WRITABLE)
    try:
        return _segments(keys, num_segments, <int32_t *>view.buf)
    finally:
        PyBuffer_Release(&view)


cdef object _segments_of_columns(tuple pair, int32_t num_segments):
    import numpy

    cdef Keys keys
    cdef Py_buffer data, offsets
    if not PyObject_CheckBuffer(pair[0]):
        raise _wants_bytes("keys: the buffer", pair[0])
    PyObject_GetBuffer(pair[0], &data, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(pair[1], &offsets, PyBUF_FORMAT | PyBUF_ND)
        try:
            keys.form = _form_of_offsets(&offsets)
            keys.count = offsets.shape[0] - 1
            if keys.count < 0:
                raise ValueError("keys: no offsets; wants one more than there are keys")
            keys.data = <const uint8_t *>data.buf
            keys.size = data.len
            keys.offsets = offsets.buf
            keys.work = keys.count * BYTES_PER_KEY + data.len
            array = numpy.empty(keys.count, numpy.int32)
            _fill(&keys, num_segments, array)
            return array
        finally:
            PyBuffer_Release(&offsets)
    finally:
        PyBuffer_Release(&data)


cdef object _segments_of_items(object items, int32_t num_segments):
    import numpy  # costs more than all the rest of the package's import

    cdef Keys keys
    cdef tuple held
    if HR_HAS_GIL and (type(items) is list or type(items) is tuple):
        array = numpy.empty(len(items), numpy.int32)
        # Little work: nothing else runs from here on, so that nobody can change the list.
        if _borrow_items(items, &keys, NOGIL_BYTES) and keys.count == len(array):
            _fill(&keys, num_segments, array)
            return array
    held = _hold(items, &keys)
    array = numpy.empty(len(held), numpy.int32)
    _fill(&keys, num_segments, array)
    return array


def segments_of(keys, num_segments):
    """The segments of many keys: int32 array of shape (n,), one segment per key.

    Args:
        keys: A list, tuple or other iterable of bytes-like objects. Or columns, as Arrow has them:
            a pair of a bytes-like buffer and its offsets, an int32 or int64 array of shape
            (n + 1,); key i is `buffer[offsets[i]:offsets[i + 1]]`. Or what has a method `segments`
            of its own, such as a batch of entries.
        num_segments: Of the topology.

    Raises:
        TypeError: `keys` is none of these, or `num_segments` not an int.
        ValueError: `num_segments` is not within 1 ... 2**31 - 1, or an offset lies outside of the
            buffer or before the one in front of it.
    """
    cdef int32_t count = segment_count(num_segments)
    if _is_columns(keys):
        return _segments_of_columns(keys, count)
    if not isinstance(keys, (list, tuple)) and hasattr(type(keys), "segments"):
        return keys.segments(count)
    return _segments_of_items(keys, count)


# ---- owners of many keys -------------------------------------------------------------------------

cdef object _primary_owners(object owners):
    """Of each segment, as an int32 array of at least one."""
    import numpy

    cdef list primary = []
    owners = getattr(owners, "segment_owners", owners)
    if isinstance(owners, numpy.ndarray):
        if owners.ndim != 1 or owners.dtype != numpy.int32:
            raise TypeError(
                "owners: wants an int32 array of one dimension, got "
                f"{owners.ndim} dimension(s) of {owners.dtype}"
            )
        array = numpy.array(owners)
    else:
        if owners is None:
            raise ValueError("owners: the topology does not say who owns which segment")
        if not isinstance(owners, (list, tuple)):
            raise TypeError(
                "owners: wants a Topology, the owners of each segment or an int32 array, got "
                f"{type(owners).__name__}"
            )
        for of_segment in owners:
            if isinstance(of_segment, (list, tuple)):
                of_segment = of_segment[0] if of_segment else NO_OWNER
            primary.append(_int32(of_segment, "owners", NO_OWNER))
        array = numpy.array(primary, numpy.int32)
    if len(array) == 0:
        raise ValueError("owners: wants those of at least one segment")
    return array


def owners_of(keys, owners):
    """The primary owners of many keys: int32 array of shape (n,), one owner per key.

    Args:
        keys: As for segments_of.
        owners: Who owns which segment: a Topology of version 2.0 or later, its `segment_owners`, or
            the primary owner of each segment as a list or an int32 array, which is the fastest.

    Returns:
        Indices into the topology's `servers`; -1 where a segment has no owner.

    Raises:
        TypeError: `keys` or `owners` are none of these.
        ValueError: `owners` are of no segment; or as segments_of.
    """
    primary = _primary_owners(owners)
    return primary.take(segments_of(keys, len(primary)))


def split_by_owner(keys, owners):
    """Which of many keys belong to which server.

    Args:
        keys: As for segments_of.
        owners: As for owners_of.

    Returns:
        For each primary owner of any of the keys, in ascending order, the indices of its keys:
        an intp array, ascending. Owner -1 has the keys of segments without an owner.

    Raises:
        TypeError, ValueError: As owners_of.
    """
    import numpy

    primary = _primary_owners(owners)
    # Numbered from 0 on without gaps: an owner's index may be any number.
    names, dense = numpy.unique(primary, return_inverse=True)
    belongs = dense.astype(numpy.int32).take(segments_of(keys, len(primary)))
    order = numpy.empty(len(belongs), numpy.intp)
    ends = numpy.zeros(len(names) + 1, numpy.intp)
    _sort_by_owner(belongs, order, ends)
    split = {}
    start = 0
    for name, end in zip(names.tolist(), ends.tolist()):
        if start < end:
            split[name] = order[start:end]
        start = end
    return split


cdef int _sort_by_owner(
    const int32_t[::1] owners, Py_ssize_t[::1] order, Py_ssize_t[::1] ends
) except -1:
    """Sort the indices of `owners` by owner. `ends[i]` becomes where those of owner i end."""
    if owners.shape[0] * <Py_ssize_t>BYTES_PER_KEY < NOGIL_BYTES:
        _counting_sort(owners, order, ends)
    else:
        with nogil:
            _counting_sort(owners, order, ends)
    return 0


cdef void _counting_sort(
    const int32_t[::1] owners, Py_ssize_t[::1] order, Py_ssize_t[::1] ends
) noexcept nogil:
    cdef Py_ssize_t i
    cdef int32_t owner
    for i in range(owners.shape[0]):
        ends[owners[i] + 1] += 1
    for i in range(1, ends.shape[0]):
        ends[i] += ends[i - 1]
    # Now ends[i] is where those of owner i begin; it moves on to where they end.
    for i in range(owners.shape[0]):
        owner = owners[i]
        order[ends[owner]] = i
        ends[owner] += 1


# ---- the wheel of 1.x ----------------------------------------------------------------------------

@cython.final
@cython.no_gc
cdef class HashWheel:
    """Who owns a key in a topology of versions 1.0 to 1.3 with hash function version 2.

    Owners are indexes into `hash_ids`, which a 1.x topology carries one of per server and
    position.

    Args:
        hash_ids: The numbers in the order of the message; of two on one position the later wins.
        hash_space: Number of positions of the wheel, from the message.
        virtual_nodes: None in 1.0, where the numbers are positions as they are. The number of
            virtual nodes of the message from 1.1 on, where they are base hash codes.

    Raises:
        TypeError: An argument is of a wrong type.
        ValueError: No hash ids, a number that does not fit in 32 bits, a `hash_space` less than 1
            (the topology of a cache without an owner per key), or more than 2**20 positions.
    """

    cdef int32_t *_positions
    cdef int32_t *_owners
    cdef size_t _count
    cdef int32_t _hash_space

    def __cinit__(self, hash_ids, *, hash_space, virtual_nodes=None):
        cdef dict wheel = {}
        cdef int32_t nodes = 1, hash_id
        cdef size_t i
        cdef uint32_t node
        cdef object position
        self._hash_space = _int32(hash_space, "hash_space", 1)
        if virtual_nodes is not None:
            nodes = max(1, _int32(virtual_nodes, "virtual_nodes", 0))
        hash_ids = tuple(hash_ids)
        if not hash_ids:
            raise ValueError("hash_ids: wants at least one")
        if len(hash_ids) * <long long>nodes > MAX_WHEEL_POSITIONS:
            raise ValueError(
                f"hash_ids: {len(hash_ids)} of {nodes} virtual nodes are more than "
                f"{MAX_WHEEL_POSITIONS} positions"
            )
        for index, number in enumerate(hash_ids):
            hash_id = _int32(number, "hash_ids", INT32_MIN)
            if virtual_nodes is None:
                wheel[hash_id] = index
                continue
            for node in range(<uint32_t>nodes):
                wheel[hr_wheel_position(hash_id, node)] = index

        self._positions = <int32_t *>PyMem_Malloc(len(wheel) * sizeof(int32_t))
        self._owners = <int32_t *>PyMem_Malloc(len(wheel) * sizeof(int32_t))
        if self._positions == NULL or self._owners == NULL:
            raise MemoryError
        for i, position in enumerate(sorted(wheel)):
            self._positions[i] = position
            self._owners[i] = wheel[position]
        self._count = <size_t>len(wheel)

    def __dealloc__(self):
        PyMem_Free(self._positions)
        PyMem_Free(self._owners)

    def __len__(self):
        return self._count

    def __repr__(self):
        return f"HashWheel({self._count} positions, hash_space={self._hash_space})"

    def owner_of(self, key):
        """Index into `hash_ids` of the owner of `key`."""
        return self.owner_at(hr_wheel_key_position(_murmur3(key, HR_HASH_SEED), self._hash_space))

    def owner_at(self, position):
        """Index into `hash_ids` of the owner of `position`, a key's place on the wheel."""
        cdef int32_t wanted = _int32(position, "position", 0)
        return self._owners[hr_wheel_find(self._positions, self._count, wanted)]
