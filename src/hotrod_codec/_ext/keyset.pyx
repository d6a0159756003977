# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, embedsignature.format=clinic, auto_pickle=False, autotestdict=False
"""Which keys came before: what an iteration remembers so that it gives out each entry once.

The bytes of keys lie one behind the other, and a table tells where by their hashes: half of what a
set of bytes objects takes, and a third of the time where there are many, as nothing is allocated
for a key and the objects can be let go of.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport UINT32_MAX, int32_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memmove, memset
cimport cython

cdef extern from "Python.h":
    Py_hash_t PyObject_Hash(object key) except -1

cdef extern from *:
    """
    #ifdef _MSC_VER
    #define hr_prefetch(address) ((void)(address))
    #else
    #define hr_prefetch(address) __builtin_prefetch(address)
    #endif
    """
    void hr_prefetch(const void *address) noexcept

cdef enum:
    BLOCK = 64           # keys whose slots are fetched from memory side by side
    FIRST_ENTRIES = 256
    FIRST_BYTES = 8192
    SLOTS_PER_ENTRY = 2  # at least; and their number is a power of two


cdef struct Entry:
    size_t start
    uint32_t length
    int32_t segment


cdef struct Slot:
    uint32_t hash
    uint32_t number  # of an entry + 1; 0: the slot is free


@cython.final
cdef class KeySet:
    """Keys that came, until their segments are finished.

    Args:
        num_segments: How many segments there are; 0: that is not known, and nothing is forgotten.
    """

    cdef uint8_t *data       # the keys
    cdef size_t used
    cdef size_t room
    cdef Entry *entries
    cdef size_t count
    cdef size_t capacity
    cdef Slot *slots         # an entry's is at its hash, or behind it
    cdef size_t mask         # the number of slots - 1
    cdef int32_t num_segments
    cdef uint8_t *finished   # by segment
    cdef size_t *counts      # entries by segment
    cdef size_t stale        # entries of finished segments

    def __cinit__(self, int32_t num_segments, /):
        if num_segments < 0:
            raise ValueError(f"num_segments: wants 0 or more, got {num_segments}")
        self.num_segments = num_segments
        self.finished = <uint8_t *>new_zeros(<size_t>num_segments + 1, sizeof(uint8_t))
        self.counts = <size_t *>new_zeros(<size_t>num_segments + 1, sizeof(size_t))
        self.capacity = FIRST_ENTRIES
        self.entries = <Entry *>new_zeros(FIRST_ENTRIES, sizeof(Entry))
        self.slots = <Slot *>new_zeros(FIRST_ENTRIES * SLOTS_PER_ENTRY, sizeof(Slot))
        self.mask = FIRST_ENTRIES * SLOTS_PER_ENTRY - 1
        self.room = FIRST_BYTES
        self.data = <uint8_t *>new_zeros(FIRST_BYTES, 1)

    def __dealloc__(self):
        PyMem_Free(self.finished)
        PyMem_Free(self.counts)
        PyMem_Free(self.entries)
        PyMem_Free(self.slots)
        PyMem_Free(self.data)

    @cython.critical_section
    def __len__(self):
        return self.count

    def add(self, list keys not None, segments=None, /):
        """Remember keys.

        Args:
            keys: bytes objects.
            segments: Of each its segment, an array of int32; None: the number of segments is 0.

        Returns:
            None if all of them are new, else the indices of those that are, in their order: of
            some that are equal the first.
        """
        cdef Py_buffer view
        held = tuple(keys)
        for key in held:
            if not PyBytes_CheckExact(key):
                raise TypeError(f"keys: wants bytes, got {type(key).__name__}")
        if not self.num_segments:
            with cython.critical_section(self):
                return _add(self, held, NULL)
        PyObject_GetBuffer(segments, &view, PyBUF_SIMPLE)
        try:
            _check_segments(&view, len(held), self.num_segments)
            with cython.critical_section(self):
                return _add(self, held, <const int32_t *>view.buf)
        finally:
            PyBuffer_Release(&view)

    def finish(self, segments, /):
        """Forget, now or later, the keys of these segments; those that there are not are no
        matter."""
        for segment in segments:
            if 0 <= segment < self.num_segments:
                with cython.critical_section(self):
                    _finish(self, segment)
        with cython.critical_section(self):
            if self.stale * 2 > self.count:
                _forget_stale(self)


cdef void *new_zeros(size_t count, size_t size) except NULL:
    cdef void *found = PyMem_Malloc(count * size)
    if found is NULL:
        raise MemoryError
    memset(found, 0, count * size)
    return found


cdef int _check_segments(const Py_buffer *view, Py_ssize_t count, int32_t num_segments) except -1:
    cdef const int32_t *segments = <const int32_t *>view.buf
    cdef Py_ssize_t i
    if view.len != count * <Py_ssize_t>sizeof(int32_t):
        raise ValueError(f"segments: wants {count} of int32, got {view.len} bytes")
    for i in range(count):
        if not 0 <= segments[i] < num_segments:
            raise ValueError(f"segments: {segments[i]} is none of {num_segments}")
    return 0


cdef object _add(KeySet self, tuple keys, const int32_t *segments):
    cdef list places = None
    cdef uint32_t[BLOCK] hashes
    cdef Py_ssize_t start, i, count = len(keys)
    _make_room(self, keys)
    for start in range(0, count, BLOCK):
        for i in range(start, min(count, start + BLOCK)):
            hashes[i - start] = <uint32_t>PyObject_Hash(keys[i])  # no server can foresee it
            hr_prefetch(&self.slots[hashes[i - start] & self.mask])
        for i in range(start, min(count, start + BLOCK)):
            if _is_new(self, keys[i], hashes[i - start], segments[i] if segments else 0):
                if places is not None:
                    places.append(i)
            elif places is None:
                places = list(range(i))
    return places


cdef int _make_room(KeySet self, tuple keys) except -1:
    """For all of them, so that nothing fails half done."""
    cdef size_t size = self.used, capacity = self.capacity, room = self.room
    cdef size_t count = self.count + <size_t>len(keys)
    cdef void *found
    for key in keys:
        size += <size_t>PyBytes_GET_SIZE(key)
        if PyBytes_GET_SIZE(key) > UINT32_MAX:
            raise OverflowError("a key of 4 GiB or more")
    while room < size:
        room *= 2
    while capacity < count:
        capacity *= 2
    if capacity > UINT32_MAX:
        raise OverflowError("too many keys to remember")
    if room > self.room:
        found = PyMem_Realloc(self.data, room)
        if found is NULL:
            raise MemoryError
        self.data = <uint8_t *>found
        self.room = room
    if capacity > self.capacity:
        found = PyMem_Realloc(self.entries, capacity * sizeof(Entry))
        if found is NULL:
            raise MemoryError
        self.entries = <Entry *>found
        _move_slots(self, <Slot *>new_zeros(capacity * SLOTS_PER_ENTRY, sizeof(Slot)), capacity)
    return 0


cdef void _move_slots(KeySet self, Slot *slots, size_t capacity) noexcept:
    cdef Slot *old = self.slots
    cdef size_t i, count = self.mask + 1
    self.slots = slots
    self.mask = capacity * SLOTS_PER_ENTRY - 1
    self.capacity = capacity
    for i in range(count):
        if old[i].number:
            _free_slot(self, old[i].hash)[0] = old[i]
    PyMem_Free(old)


cdef inline Slot *_free_slot(KeySet self, uint32_t hashed) noexcept:
    cdef size_t i = hashed & self.mask
    while self.slots[i].number:
        i = (i + 1) & self.mask
    return &self.slots[i]


cdef inline bint _is_new(KeySet self, object key, uint32_t hashed, int32_t segment) noexcept:
    """Whether it is new; it is remembered then."""
    cdef const char *data = PyBytes_AS_STRING(key)
    cdef size_t length = <size_t>PyBytes_GET_SIZE(key)
    cdef size_t i = hashed & self.mask
    cdef Entry *entry
    while self.slots[i].number:
        if self.slots[i].hash == hashed:
            entry = &self.entries[self.slots[i].number - 1]
            if entry.length == length and not memcmp(self.data + entry.start, data, length):
                return False
        i = (i + 1) & self.mask
    entry = &self.entries[self.count]
    entry.start = self.used
    entry.length = <uint32_t>length
    entry.segment = segment
    memcpy(self.data + self.used, data, length)
    self.used += length
    self.count += 1
    self.slots[i].hash = hashed
    self.slots[i].number = <uint32_t>self.count
    self.counts[segment] += 1
    self.stale += self.finished[segment]
    return True


cdef int _finish(KeySet self, int32_t segment) except -1:
    if not self.finished[segment]:
        self.finished[segment] = 1
        self.stale += self.counts[segment]
    return 0


cdef int _forget_stale(KeySet self) except -1:
    """Move together what is left."""
    cdef size_t i, used = 0, count = 0
    cdef Entry entry
    cdef Slot *slots
    cdef uint32_t *numbers = <uint32_t *>new_zeros(self.count + 1, sizeof(uint32_t))
    try:
        slots = <Slot *>new_zeros(self.mask + 1, sizeof(Slot))
        for i in range(self.count):
            entry = self.entries[i]
            if self.finished[entry.segment]:
                self.counts[entry.segment] = 0
                continue
            memmove(self.data + used, self.data + entry.start, entry.length)
            entry.start = used
            used += entry.length
            self.entries[count] = entry
            count += 1
            numbers[i] = <uint32_t>count
        self.used = used
        self.count = count
        self.stale = 0
        for i in range(self.mask + 1):
            if self.slots[i].number:
                self.slots[i].number = numbers[self.slots[i].number - 1]
        _move_slots(self, slots, self.capacity)
    finally:
        PyMem_Free(numbers)
    return 0
