# cython: freethreading_compatible=True
# cython: boundscheck=False, wraparound=False
# cython: embedsignature=True, auto_pickle=False, autotestdict=False
"""Which server owns a key: csrc/hash.c for Python objects.

Here: borrowing keys, checking arguments, filling the numpy array, releasing the GIL. The hash
functions and the rules of segments and wheel are in csrc; which server a segment number or an
owner index means is known to whoever holds the topology.
"""

cimport cython
from cpython.buffer cimport (
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
from libc.stdint cimport INT32_MAX, INT32_MIN, int32_t, uint8_t, uint32_t

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
    PyObject *borrowed_item "PyTuple_GET_ITEM"(tuple items, Py_ssize_t index)
    bint is_bytes "PyBytes_Check"(PyObject *item)
    Py_ssize_t bytes_size "PyBytes_GET_SIZE"(PyObject *item)
    char *bytes_data "PyBytes_AS_STRING"(PyObject *item)


cdef enum:
    # About a millisecond of hashing. Getting the GIL back may cost a whole switch interval (5 ms),
    # so less work than that keeps it.
    NOGIL_BYTES = 4 * 1024 * 1024
    # What a key costs besides its length, in bytes hashed.
    BYTES_PER_KEY = 32
    CHUNK = 128
    # No real wheel comes near it, but a peer may claim any number of virtual nodes.
    MAX_WHEEL_POSITIONS = 1 << 20


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


def segment_of(key, num_segments):
    """The segment of `key`, 0 to `num_segments` - 1, in a topology of version 2.0 or later.

    Raises:
        TypeError: `key` is not bytes-like, or `num_segments` not an int.
        ValueError: `num_segments` is not within 1 ... 2**31 - 1.
    """
    cdef int32_t count = _int32(num_segments, "num_segments", 1)
    return hr_segment_of_hash(_murmur3(key, HR_HASH_SEED), count)


cdef tuple _hold(object keys, Py_ssize_t *work):
    """`keys` as a tuple of bytes: what nobody can change while its addresses are in use.

    `work` becomes what hashing them costs, in bytes hashed.
    """
    cdef tuple held
    cdef object key
    cdef PyObject *item
    cdef Py_ssize_t i
    if not isinstance(keys, (list, tuple)):
        try:
            keys = iter(keys)
        except TypeError:
            raise TypeError(
                f"keys: wants an iterable of bytes-like objects, got {type(keys).__name__}"
            ) from None
    held = tuple(keys)
    work[0] = 0
    for i in range(len(held)):
        item = borrowed_item(held, i)
        if not is_bytes(item):
            break
        work[0] += bytes_size(item) + BYTES_PER_KEY
    else:
        return held
    copies = []
    for i, key in enumerate(held):
        if not PyObject_CheckBuffer(key):
            raise _wants_bytes(f"keys: item {i}", key)
        copies.append(PyBytes_FromObject(key))
    return _hold(copies, work)


cdef void _borrow(tuple keys, Py_ssize_t first, Py_ssize_t count, hr_slice *slices) noexcept:
    """Point `slices` at `count` keys from `first` on."""
    cdef Py_ssize_t i
    cdef PyObject *key
    for i in range(count):
        key = borrowed_item(keys, first + i)
        slices[i].data = <const uint8_t *>bytes_data(key)
        slices[i].len = <size_t>bytes_size(key)


cdef int _segments(
    tuple keys, Py_ssize_t work, int32_t num_segments, int32_t *segments
) except -1:
    cdef Py_ssize_t count = len(keys), i, chunk
    cdef hr_slice few[CHUNK]
    cdef hr_slice *slices
    if work < NOGIL_BYTES:
        for i in range(0, count, CHUNK):
            chunk = min(<Py_ssize_t>CHUNK, count - i)
            _borrow(keys, i, chunk, few)
            hr_segments_of(few, <size_t>chunk, num_segments, segments + i)
        return 0
    slices = <hr_slice *>PyMem_Malloc(<size_t>count * sizeof(hr_slice))
    if slices == NULL:
        raise MemoryError
    _borrow(keys, 0, count, slices)
    with nogil:
        hr_segments_of(slices, <size_t>count, num_segments, segments)
    PyMem_Free(slices)
    return 0


def segments_of(keys, num_segments):
    """The segments of many keys: int32 array of shape (n,), one segment per key.

    Args:
        keys: A list, tuple or other iterable of bytes-like objects.

    Raises:
        TypeError: `keys` is not such an iterable, or `num_segments` not an int.
        ValueError: `num_segments` is not within 1 ... 2**31 - 1.
    """
    import numpy  # costs more than all the rest of the package's import

    cdef int32_t count = _int32(num_segments, "num_segments", 1)
    cdef Py_ssize_t work
    cdef tuple held = _hold(keys, &work)
    cdef Py_buffer view
    result = numpy.empty(len(held), numpy.int32)
    PyObject_GetBuffer(result, &view, PyBUF_WRITABLE)
    try:
        _segments(held, work, count, <int32_t *>view.buf)
    finally:
        PyBuffer_Release(&view)
    return result


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
