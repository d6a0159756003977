# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, auto_pickle=False, autotestdict=False
# cython: embedsignature.format=clinic, binding=False
"""Encoders that know their header: requests of a client to a cache, one by one and by the many, and
a server's answers.

The usual arguments, exact bytes and small ints, take a short way. Everything else goes the way of
encode_request, and so do all mistakes: what is right and what is said about the rest is known
there alone. No method is a function object of Cython's, which would cost more than the work.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport UINT64_MAX, int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset
cimport cython

from hotrod_codec._ext.arguments cimport *
from hotrod_codec._ext.core cimport *
from hotrod_codec._ext.encoding cimport (
    check_written, encode_response_fields, take_header, with_op,
)
from hotrod_codec._ext.prepared cimport *
from hotrod_codec._ext.usual cimport *

import sys

from hotrod_codec._ext.codec import RequestContext
from hotrod_codec.errors import EncodeError
from hotrod_codec.ops import Flag

cdef extern from *:
    """
    #include "usual.h"

    static inline PyObject *hr_new_request(const hr_prepared *h, const hr_middle *m, uint8_t opcode,
                                           uint64_t message_id, hr_slice key, const hr_slice *value)
    {
        size_t size = hr_size_on_key(h, m, message_id, key, value);
        PyObject *out = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (!HR_LIKELY(out))
            return NULL;
        return hr_checked(out, hr_put_on_key((uint8_t *)PyBytes_AS_STRING(out), h, m, opcode,
                                             message_id, key, value));
    }

    static inline PyObject *hr_new_answer(uint8_t opcode, uint64_t message_id, uint8_t status,
                                          const hr_slice *value)
    {
        size_t size = hr_answer_size(message_id, value);
        PyObject *out = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (!HR_LIKELY(out))
            return NULL;
        return hr_checked(out, hr_put_answer((uint8_t *)PyBytes_AS_STRING(out), opcode, message_id,
                                             status, value));
    }

    static inline PyObject *hr_new_head(const hr_prepared *h, const hr_middle *m, uint8_t opcode,
                                        uint64_t message_id, hr_slice key, size_t value_len)
    {
        size_t size = hr_head_size(h, m, message_id, key, value_len);
        PyObject *out = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (!HR_LIKELY(out))
            return NULL;
        return hr_checked(out, hr_put_head((uint8_t *)PyBytes_AS_STRING(out), h, m, opcode,
                                           message_id, key, value_len));
    }

    /* Items of a list, tuple or dict, of the usual kind. Their references are borrowed: nothing
     * that could run foreign code may be called from the first item to the last. */
    typedef struct hr_source {
        PyObject *const *items; /* of a list or tuple; NULL: of a dict */
        Py_ssize_t count;
        PyObject *dict;
        Py_ssize_t at; /* where in the dict */
        int pairs;
    } hr_source;

    /* Whether there is such a way, and `items` is of a kind that can be had in it. */
    static int hr_usual_source(PyObject *items, int pairs, hr_source *out)
    {
    #ifdef Py_GIL_DISABLED
        (void)items;
        (void)pairs;
        (void)out;
        return 0;
    #else
        memset(out, 0, sizeof *out);
        out->pairs = pairs;
        if (PyList_CheckExact(items) || PyTuple_CheckExact(items)) {
            out->items = PySequence_Fast_ITEMS(items);
            out->count = PySequence_Fast_GET_SIZE(items);
            return 1;
        }
        out->dict = items;
        if (!pairs || !PyDict_CheckExact(items))
            return 0;
        out->count = PyDict_GET_SIZE(items);
        return 1;
    #endif
    }

    /* Item i, in order. 0: it is of another kind. */
    static inline int hr_usual_item(hr_source *s, Py_ssize_t i, hr_slice *key, hr_slice *value)
    {
        PyObject *first, *second;
        if (!s->pairs)
            return hr_usual_bytes(s->items[i], key);
        if (s->items) {
            PyObject *pair = s->items[i];
            if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2)
                return 0;
            first = PyTuple_GET_ITEM(pair, 0);
            second = PyTuple_GET_ITEM(pair, 1);
        } else if (!PyDict_Next(s->dict, &s->at, &first, &second)) {
            return 0;
        }
        return hr_usual_bytes(first, key) && hr_usual_bytes(second, value);
    }

    /* Requests for all items in one buffer. None: an item is of another kind. */
    static PyObject *hr_new_requests(const hr_prepared *header, const hr_middle *middle,
                                     uint8_t opcode, uint64_t message_id, hr_source *source)
    {
        const hr_prepared h = *header;
        hr_slice key, value;
        size_t size = 0;
        for (Py_ssize_t i = 0; i < source->count; i++) {
            if (!hr_usual_item(source, i, &key, &value))
                Py_RETURN_NONE;
            size += hr_size_on_key(&h, middle, message_id + (uint64_t)i, key,
                                   source->pairs ? &value : NULL);
        }
        PyObject *out = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (!HR_LIKELY(out))
            return NULL;
        uint8_t *p = (uint8_t *)PyBytes_AS_STRING(out);
        source->at = 0;
        for (Py_ssize_t i = 0; i < source->count; i++) {
            hr_usual_item(source, i, &key, &value);
            p = hr_put_on_key(p, &h, middle, opcode, message_id + (uint64_t)i, key,
                              source->pairs ? &value : NULL);
        }
        return hr_checked(out, p);
    }
    """
    ctypedef struct hr_source:
        Py_ssize_t count
    bint hr_usual_source(object items, bint pairs, hr_source *out)
    object hr_new_requests(const hr_prepared *header, const hr_middle *middle, uint8_t opcode,
                           uint64_t message_id, hr_source *source)
    bytes hr_new_request(const hr_prepared *h, const hr_middle *m, uint8_t opcode,
                         uint64_t message_id, hr_slice key, const hr_slice *value)
    bytes hr_new_answer(uint8_t opcode, uint64_t message_id, uint8_t status,
                        const hr_slice *value)
    bytes hr_new_head(const hr_prepared *h, const hr_middle *m, uint8_t opcode,
                      uint64_t message_id, hr_slice key, size_t value_len)


cdef const hr_row *PUT = row_of("put")
cdef const hr_row *GET = row_of("get")
cdef const hr_row *PUT_IF_ABSENT = row_of("put_if_absent")
cdef const hr_row *REPLACE = row_of("replace")
cdef const hr_row *REPLACE_IF_UNMODIFIED = row_of("replace_if_unmodified")
cdef const hr_row *REMOVE = row_of("remove")
cdef const hr_row *REMOVE_IF_UNMODIFIED = row_of("remove_if_unmodified")
cdef const hr_row *CONTAINS_KEY = row_of("contains_key")
cdef const hr_row *GET_WITH_VERSION = row_of("get_with_version")
cdef const hr_row *GET_WITH_METADATA = row_of("get_with_metadata")
cdef const hr_row *PUT_ALL = row_of("put_all")
cdef const hr_row *GET_ALL = row_of("get_all")

cdef enum:
    OK = 0
    NO_KEY = 2

cdef tuple LIFE_NAMES = ("lifespan", "max_idle")


cdef int check_ids(uint64_t first, size_t count) except -1:
    if count and UINT64_MAX - first < count - 1:
        raise EncodeError(f"{count} ids from {first} on go beyond {UINT64_MAX}",
                          field="first_id")
    return 0


@cython.final
cdef class CacheEncoder:
    """Encodes the requests of one client to one cache.

    The header is encoded once, so that a request costs little more than its bytes. Gives the same
    bytes as encode_request, and raises the same errors.

        orders = CacheEncoder("orders", intelligence=3)
        reader.expect(orders.context("get"), 7)
        sock.sendall(orders.get(b"key", 7))

    Args:
        cache: Name of the cache; "" is the default one.
        version: A Version member or "1.0" to "4.1".
        flags: Flag members, or'ed. For other flags make another encoder: with_flags().
        intelligence: An Intelligence member: which form of topology the server may send.
        topology_id: The last one seen for this cache, signed or unsigned; 0 or -1: none. May be
            set later on.
        key_media_type, value_media_type: MediaType or its text, from 2.8 on. None: as stored.
        other_params: Names and bytes, from 4.0 on.

    Methods take the message id last; it is 0 by default, so give one whenever an answer is awaited.
    Those whose names end in `_many` take the id of the first request; it counts up from there.
    They give the bytes of all requests, one behind the other.

    May be used from several threads as long as none of them sets topology_id.

    Raises:
        EncodeError: An argument that is unknown or cannot be said in this version.
        TypeError: An argument has the wrong type; names it.

    [wire-core 2]
    """

    cdef hr_prepared header
    cdef hr_middle plain       # an expiration that is left out
    cdef bytes tail            # what the header points to
    cdef str c_cache
    cdef uint32_t c_flags
    cdef uint8_t c_intelligence
    cdef int32_t c_topology_id
    cdef object c_key_media_type, c_value_media_type
    cdef dict c_other_params

    def __cinit__(self, cache="", *, version="4.1", flags=0, intelligence=1, topology_id=0,
                  key_media_type=None, value_media_type=None, other_params=None):
        if other_params:
            other_params = {name: bytes(memoryview(value))
                            for name, value in dict(other_params).items()}
        self.prepare(version_of(version), cache, flags, intelligence, topology_id, key_media_type,
                     value_media_type, other_params or None)

    cdef int prepare(self, uint8_t version, object cache, object flags, object intelligence,
                     object topology_id, object key_media_type, object value_media_type,
                     object other_params) except -1:
        cdef hr_request q
        cdef hr_body body
        cdef Borrowed b
        cdef bytes tail
        b.refs = NULL
        q.row = GET
        q.version = version
        try:
            take_header(&q, cache, flags, intelligence, topology_id, key_media_type,
                        value_media_type, other_params, &b)
            tail = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>hr_prepared_size(&q))
            hr_prepare(&self.header, <uint8_t *>PyBytes_AS_STRING(tail), &q)
            self.tail = tail
        finally:
            Py_XDECREF(b.refs)
        take_life(None, None, LIFE_NAMES, version, &body.expiration)
        hr_make_middle(&self.plain, &self.header, PUT, &body)
        self.c_cache = cache
        self.c_flags = q.flags
        self.c_intelligence = q.intelligence
        self.c_topology_id = q.topology_id
        self.c_key_media_type, self.c_value_media_type = key_media_type, value_media_type
        self.c_other_params = other_params
        return 0

    # ---- what it was made of ----

    @property
    def cache(self):
        """Name of the cache; "" is the default one."""
        return self.c_cache

    @property
    def version(self):
        """The protocol version."""
        return VERSION_MEMBERS[self.header.version]

    @property
    def flags(self):
        """Flag members, or'ed."""
        return Flag(self.c_flags)

    @property
    def intelligence(self):
        """Which form of topology the server may send."""
        return self.c_intelligence

    @property
    def topology_id(self):
        """The last topology seen, signed; may be set."""
        return self.c_topology_id

    @topology_id.setter
    def topology_id(self, value):
        self.prepare(self.header.version, self.c_cache, self.c_flags, self.c_intelligence, value,
                     self.c_key_media_type, self.c_value_media_type, self.c_other_params)

    @property
    def key_media_type(self):
        """What the constructor was given."""
        return self.c_key_media_type

    @property
    def value_media_type(self):
        """What the constructor was given."""
        return self.c_value_media_type

    @property
    def other_params(self):
        """Names and bytes."""
        return {} if self.c_other_params is None else dict(self.c_other_params)

    def __repr__(self):
        version = self.header.version
        return f"<CacheEncoder cache={self.c_cache!r} version={version // 10}.{version % 10}>"

    def with_flags(self, flags, /):
        """An encoder with other flags and everything else as it is here now."""
        return CacheEncoder(
            self.c_cache, version=self.version, flags=flags, intelligence=self.c_intelligence,
            topology_id=self.c_topology_id, key_media_type=self.c_key_media_type,
            value_media_type=self.c_value_media_type, other_params=self.c_other_params)

    def context(self, op, /):
        """What an answer to such a request is read against, for Reader.expect: a RequestContext.

        One will do for any number of requests; it does not change with the topology id.
        """
        return RequestContext(op, self.header.version, self.c_flags, self.c_intelligence)

    # ---- one request ----

    def encode(self, op, message_id=0, /, **fields):
        """Any request, by the names that encode_request has for its fields.

        Raises:
            EncodeError: As encode_request.
            TypeError: As encode_request.
        """
        return self.build(row_of(op), message_id, fields)

    cdef bytes build(self, const hr_row *row, object message_id, dict fields):
        """A request in the way of encode_request."""
        cdef hr_request q
        cdef Borrowed b
        cdef bytes out
        b.refs = NULL
        q.row = row
        q.version = self.header.version
        try:
            check_version(row, q.version)
            if row.is_event:
                raise EncodeError("an event is sent by a server; use encode_response", field="op")
            q.message_id = take_u64(message_id, "message_id")
            if take_body(row.request_body, fields, &q.body, q.version, &b) != len(fields):
                check_names(<tuple>REQUEST_NAMES[index_of(row)], fields, "a request has: ")
            out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>hr_size_prepared(&self.header, &q))
            check_written(hr_put_prepared(<uint8_t *>PyBytes_AS_STRING(out), &self.header, &q), out)
            return out
        except EncodeError as e:
            raise with_op(e, row) from None
        finally:
            Py_XDECREF(b.refs)

    cdef bytes on_pair(self, const hr_row *row, object key, object value, object message_id,
                       object lifespan, object max_idle):
        cdef hr_slice k, v
        cdef uint64_t number
        cdef hr_middle middle
        if not (hr_usual_bytes(<PyObject *>key, &k) and hr_usual_bytes(<PyObject *>value, &v)
                and hr_usual_id(<PyObject *>message_id, &number)):
            return self.build(row, message_id, {"key": key, "value": value, "lifespan": lifespan,
                                                "max_idle": max_idle})
        self.make_life(row, &middle, lifespan, max_idle)
        return hr_new_request(&self.header, &middle, row.request, number, k, &v)

    cdef int make_life(self, const hr_row *row, hr_middle *out, object lifespan,
                       object max_idle) except -1:
        cdef hr_body body
        try:
            take_life(lifespan, max_idle, LIFE_NAMES, self.header.version, &body.expiration)
        except EncodeError as e:
            raise with_op(e, row) from None
        hr_make_middle(out, &self.header, PUT, &body)
        return 0

    def get(self, key, message_id=0):
        """Read the value under a key."""
        return self.build(GET, message_id, {"key": key})

    def get_with_metadata(self, key, message_id=0):
        """Read the value under a key, with its expiration and version; from 1.2 on."""
        return self.build(GET_WITH_METADATA, message_id, {"key": key})

    def get_with_version(self, key, message_id=0):
        """Read the value under a key and the version of its entry."""
        return self.build(GET_WITH_VERSION, message_id, {"key": key})

    def contains_key(self, key, message_id=0):
        """Ask whether a key is there."""
        return self.build(CONTAINS_KEY, message_id, {"key": key})

    def remove(self, key, message_id=0):
        """Remove a key."""
        return self.build(REMOVE, message_id, {"key": key})

    def put(self, key, value, message_id=0, *, lifespan=None, max_idle=None):
        """Store a value under a key.

        Args:
            key, value: Any bytes-like objects.
            message_id: The answer repeats it.
            lifespan, max_idle: None: the cache's default; math.inf: immortal; seconds, a timedelta
                or a Duration.
        """
        return self.on_pair(PUT, key, value, message_id, lifespan, max_idle)

    def put_if_absent(self, key, value, message_id=0, *, lifespan=None, max_idle=None):
        """Store a value unless the key is there; arguments as for put."""
        return self.on_pair(PUT_IF_ABSENT, key, value, message_id, lifespan, max_idle)

    def replace(self, key, value, message_id=0, *, lifespan=None, max_idle=None):
        """Store a value if the key is there; arguments as for put."""
        return self.on_pair(REPLACE, key, value, message_id, lifespan, max_idle)

    def replace_if_unmodified(self, key, value, entry_version, message_id=0, *, lifespan=None,
                              max_idle=None):
        """Store a value if the entry still has the given version; arguments as for put."""
        return self.build(REPLACE_IF_UNMODIFIED, message_id, {
            "key": key, "value": value, "entry_version": entry_version, "lifespan": lifespan,
            "max_idle": max_idle})

    def remove_if_unmodified(self, key, entry_version, message_id=0):
        """Remove a key if its entry still has the given version."""
        return self.build(REMOVE_IF_UNMODIFIED, message_id, {
            "key": key, "entry_version": entry_version})

    def put_pieces(self, key, value, message_id=0, *, lifespan=None, max_idle=None):
        """A put in two pieces, so that a large value need not be copied; as put otherwise.

        From about 256 KiB on it is quicker to send both by socket.sendmsg or
        asyncio's writelines than to copy the value into one frame. The value must not change
        before it is sent.

        Returns:
            A tuple of the bytes that stand before the value, and the value: itself if it is bytes,
            else a memoryview of its bytes.
        """
        cdef hr_slice k, v
        cdef uint64_t number
        cdef hr_middle middle
        cdef Borrowed b
        b.refs = NULL
        try:
            number = take_u64(message_id, "message_id")
            take_bytes(key, "key", &k, &b)
            self.make_life(PUT, &middle, lifespan, max_idle)
            take_bytes(value, "value", &v, &b)
            head = hr_new_head(&self.header, &middle, PUT.request, number, k, v.len)
        except EncodeError as e:
            raise with_op(e, PUT) from None
        finally:
            Py_XDECREF(b.refs)
        return head, value if type(value) is bytes else memoryview(value).cast("B")

    # ---- many requests, one behind the other ----

    def get_many(self, keys, first_id=1):
        """A get for each key.

        Args:
            keys: A list, tuple or other iterable of bytes-like objects; a BytesColumn; or columns
                as Arrow has them, a pair of a buffer and its offsets, an int32 or int64 array of
                shape (n + 1,): key i is `buffer[offsets[i]:offsets[i + 1]]`.
            first_id: Of the first request; each one has the next id.

        Returns:
            The bytes of all requests. The Reader is told of the answers by
            `expect_many(encoder.context("get"), first_id, len(keys))`.
        """
        return self.many(GET, NULL, keys, "keys", first_id)

    def contains_many(self, keys, first_id=1):
        """A contains_key for each key; arguments as for get_many."""
        return self.many(CONTAINS_KEY, NULL, keys, "keys", first_id)

    def remove_many(self, keys, first_id=1):
        """A remove for each key; arguments as for get_many."""
        return self.many(REMOVE, NULL, keys, "keys", first_id)

    def put_many(self, entries, first_id=1, *, lifespan=None, max_idle=None):
        """A put for each entry.

        Args:
            entries: A mapping, an iterable of pairs of bytes-like objects, or an EntryBatch. See
                put_columns for keys and values that are apart.
            first_id: Of the first request; each one has the next id.
            lifespan, max_idle: Of all entries; as for put.

        Returns:
            The bytes of all requests. Their answers are read against `context("put")`.
        """
        cdef hr_middle middle
        self.make_life(PUT, &middle, lifespan, max_idle)
        return self.many(PUT, &middle, entries, "entries", first_id)

    def put_columns(self, keys, values, first_id=1, *, lifespan=None, max_idle=None):
        """A put for each key and the value in the same place; as put_many otherwise.

        Args:
            keys, values: Each as get_many takes keys; of the same length.
        """
        cdef hr_middle middle
        cdef hr_list found
        cdef Borrowed b
        self.make_life(PUT, &middle, lifespan, max_idle)
        b.refs = NULL
        try:
            first = take_u64(first_id, "first_id")
            take_columns(keys, values, "keys", "values", &found, &b)
            return self.written(PUT, &middle, first, &found)
        except EncodeError as e:
            raise with_op(e, PUT) from None
        finally:
            Py_XDECREF(b.refs)

    cdef bytes many(self, const hr_row *row, const hr_middle *middle, object items, str name,
                    object first_id):
        """Requests for keys, or with a middle for entries."""
        cdef bint pairs = middle is not NULL
        cdef hr_source source
        cdef hr_list found
        cdef uint64_t first
        cdef Borrowed b
        b.refs = NULL
        try:
            first = take_u64(first_id, "first_id")
            if hr_usual_source(items, pairs, &source):
                out = hr_new_requests(&self.header, middle, row.request, first, &source)
                if out is not None:
                    check_ids(first, <size_t>source.count)
                    return out
            take_list(HR_PAIRS if pairs else HR_BYTES_LIST, items, name, &found,
                      self.header.version, &b)
            return self.written(row, middle, first, &found)
        except EncodeError as e:
            raise with_op(e, row) from None
        finally:
            Py_XDECREF(b.refs)

    cdef bytes written(self, const hr_row *row, const hr_middle *middle, uint64_t first,
                       const hr_list *found):
        cdef bint pairs = middle is not NULL
        cdef const hr_slice *parts = <const hr_slice *>found.items
        cdef bytes out
        check_ids(first, found.count)
        out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>hr_size_many(
            &self.header, middle, first, found.count, parts, pairs))
        check_written(hr_put_many(<uint8_t *>PyBytes_AS_STRING(out), &self.header, middle,
                                  row.request, first, found.count, parts, pairs), out)
        return out

    def put_all(self, entries, message_id=0, *, lifespan=None, max_idle=None):
        """Store many entries by one request, from 2.1 on; arguments as for put_many."""
        return self.build(PUT_ALL, message_id, {
            "entries": entries, "lifespan": lifespan, "max_idle": max_idle})

    def get_all(self, keys, message_id=0):
        """Read many entries by one request, from 2.1 on; keys as for get_many."""
        return self.build(GET_ALL, message_id, {"keys": keys})


@cython.final
cdef class ResponseEncoder:
    """Encodes the answers of a server to requests of one version.

    Gives the same bytes as encode_response, and raises the same errors.

    Args:
        version: A Version member or "1.0" to "4.1".

    Raises:
        EncodeError: An unknown version.

    [wire-core 3]
    """

    cdef uint8_t c_version

    def __cinit__(self, version="4.1"):
        self.c_version = version_of(version)

    @property
    def version(self):
        """The protocol version."""
        return VERSION_MEMBERS[self.c_version]

    def __repr__(self):
        return f"<ResponseEncoder version={self.c_version // 10}.{self.c_version % 10}>"

    def encode(self, op, message_id=0, /, status=0, topology=None, **fields):
        """Any answer or event, by the names that encode_response has for its fields.

        Raises:
            EncodeError: As encode_response.
            TypeError: As encode_response.
        """
        cdef const hr_row *row = row_of(op)
        try:
            check_version(row, self.c_version)
            return encode_response_fields(index_of(row), self.c_version, message_id, status,
                                          topology, fields)
        except EncodeError as e:
            raise with_op(e, row) from None

    def get(self, value, message_id=0):
        """The answer to a get: SUCCESS with the value, or for None KEY_DOES_NOT_EXIST."""
        if value is None:
            return self.encode(OPS[index_of(GET)], message_id, NO_KEY)
        return self.encode(OPS[index_of(GET)], message_id, value=value)


# ---- the short way --------------------------------------------------------------------------
# A method looks at its arguments where CPython hands them over; unless all are of the usual kind,
# it passes them on to what stands above. Reading them as Cython does takes longer than the rest.

cdef enum:
    S_GET
    S_GET_WITH_METADATA
    S_GET_WITH_VERSION
    S_CONTAINS_KEY
    S_REMOVE
    S_PUT
    S_PUT_IF_ABSENT
    S_REPLACE
    S_ANSWER_GET
    NUM_SHORT

cdef fastcall LONG_WAY[NUM_SHORT]

cdef extern from *:
    bint likely(bint condition)


cdef enum:
    IN_MESSAGE_ID
    IN_LIFESPAN
    IN_MAX_IDLE
    NUM_KEYWORDS

cdef tuple KEYWORDS = tuple(map(sys.intern, ("message_id", "lifespan", "max_idle")))
cdef PyObject *KNOWN[NUM_KEYWORDS]
for _i in range(NUM_KEYWORDS):
    KNOWN[_i] = <PyObject *>KEYWORDS[_i]


cdef inline object short_key(PyObject *self, PyObject *const *args, Py_ssize_t count,
                             PyObject *names, const hr_row *row, int method):
    cdef hr_prepared *header = &(<CacheEncoder>self).header
    cdef hr_slice key
    cdef uint64_t message_id = 0
    if likely((count == 1 or count == 2) and hr_usual_bytes(args[0], &key)
              and (count == 1 or hr_usual_id(args[1], &message_id))
              and (names is NULL or usual_named_id(args + count, names, count == 1, &message_id))
              and row.since <= header.version):
        return hr_new_request(header, NULL, row.request, message_id, key, NULL)
    return LONG_WAY[method](self, args, count, names)


cdef bint usual_named_id(PyObject *const *values, PyObject *names, bint may_have_id,
                         uint64_t *message_id) noexcept:
    """The message id as the only keyword argument."""
    cdef PyObject *given[1]
    given[0] = NULL
    return (hr_usual_keywords(values, names, KNOWN, 1, given) and given[0] is not NULL
            and may_have_id and hr_usual_id(given[0], message_id))


cdef inline object short_pair(PyObject *self, PyObject *const *args, Py_ssize_t count,
                              PyObject *names, const hr_row *row, int method):
    cdef hr_prepared *header = &(<CacheEncoder>self).header
    cdef hr_slice key, value
    cdef uint64_t message_id = 0
    cdef hr_middle middle
    if likely((count == 2 or count == 3) and hr_usual_bytes(args[0], &key)
              and hr_usual_bytes(args[1], &value)
              and (count == 2 or hr_usual_id(args[2], &message_id))):
        if likely(names is NULL):
            return hr_new_request(header, &(<CacheEncoder>self).plain, row.request, message_id,
                                  key, &value)
        if usual_rest(header, args + count, names, count == 2, &message_id, &middle):
            return hr_new_request(header, &middle, row.request, message_id, key, &value)
    return LONG_WAY[method](self, args, count, names)


cdef bint usual_rest(const hr_prepared *header, PyObject *const *values, PyObject *names,
                     bint may_have_id, uint64_t *message_id, hr_middle *out) noexcept:
    """The keyword arguments of a put."""
    cdef PyObject *given[NUM_KEYWORDS]
    cdef hr_body body
    cdef hr_life *life = &body.expiration
    memset(given, 0, sizeof(given))
    if not hr_usual_keywords(values, names, KNOWN, NUM_KEYWORDS, given):
        return False
    if given[IN_MESSAGE_ID] is not NULL and not (
            may_have_id and hr_usual_id(given[IN_MESSAGE_ID], message_id)):
        return False
    life.lifespan_unit = life.max_idle_unit = HR_UNIT_DEFAULT
    if not (given[IN_LIFESPAN] is NULL or hr_usual_life(
            given[IN_LIFESPAN], &life.lifespan_unit, &life.lifespan)):
        return False
    if not (given[IN_MAX_IDLE] is NULL or hr_usual_life(
            given[IN_MAX_IDLE], &life.max_idle_unit, &life.max_idle)):
        return False
    hr_make_middle(out, header, PUT, &body)
    return True


cdef object short_get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names):
    return short_key(self, args, count, names, GET, S_GET)


cdef object short_get_with_metadata(PyObject *self, PyObject *const *args, Py_ssize_t count,
                                    PyObject *names):
    return short_key(self, args, count, names, GET_WITH_METADATA, S_GET_WITH_METADATA)


cdef object short_get_with_version(PyObject *self, PyObject *const *args, Py_ssize_t count,
                                   PyObject *names):
    return short_key(self, args, count, names, GET_WITH_VERSION, S_GET_WITH_VERSION)


cdef object short_contains_key(PyObject *self, PyObject *const *args, Py_ssize_t count,
                               PyObject *names):
    return short_key(self, args, count, names, CONTAINS_KEY, S_CONTAINS_KEY)


cdef object short_remove(PyObject *self, PyObject *const *args, Py_ssize_t count,
                         PyObject *names):
    return short_key(self, args, count, names, REMOVE, S_REMOVE)


cdef object short_put(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names):
    return short_pair(self, args, count, names, PUT, S_PUT)


cdef object short_put_if_absent(PyObject *self, PyObject *const *args, Py_ssize_t count,
                                PyObject *names):
    return short_pair(self, args, count, names, PUT_IF_ABSENT, S_PUT_IF_ABSENT)


cdef object short_replace(PyObject *self, PyObject *const *args, Py_ssize_t count,
                          PyObject *names):
    return short_pair(self, args, count, names, REPLACE, S_REPLACE)


cdef object short_answer_get(PyObject *self, PyObject *const *args, Py_ssize_t count,
                             PyObject *names):
    cdef hr_slice value
    cdef uint64_t message_id = 0
    if (names is NULL and (count == 1 or count == 2) and hr_usual_bytes(args[0], &value)
            and (count == 1 or hr_usual_id(args[1], &message_id))):
        return hr_new_answer(GET.response, message_id, OK, &value)
    return LONG_WAY[S_ANSWER_GET](self, args, count, names)


hr_shorten_method(ResponseEncoder, "get", short_answer_get, &LONG_WAY[S_ANSWER_GET])
hr_shorten_method(CacheEncoder, "get", short_get, &LONG_WAY[S_GET])
hr_shorten_method(
    CacheEncoder, "get_with_metadata", short_get_with_metadata, &LONG_WAY[S_GET_WITH_METADATA])
hr_shorten_method(
    CacheEncoder, "get_with_version", short_get_with_version, &LONG_WAY[S_GET_WITH_VERSION])
hr_shorten_method(CacheEncoder, "contains_key", short_contains_key, &LONG_WAY[S_CONTAINS_KEY])
hr_shorten_method(CacheEncoder, "remove", short_remove, &LONG_WAY[S_REMOVE])
hr_shorten_method(CacheEncoder, "put", short_put, &LONG_WAY[S_PUT])
hr_shorten_method(CacheEncoder, "put_if_absent", short_put_if_absent, &LONG_WAY[S_PUT_IF_ABSENT])
hr_shorten_method(CacheEncoder, "replace", short_replace, &LONG_WAY[S_REPLACE])
