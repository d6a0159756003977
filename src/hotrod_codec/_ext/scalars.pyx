# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, embedsignature.format=clinic, auto_pickle=False, autotestdict=False
"""Single numbers and strings: the varints of Hot Rod, and ProtoStream's commonest values.

The ways for str, bytes and int stand in front of hotrod_codec.protostream's own functions. What
they do not take, errors included, goes on to these; so there is one place that says what is wrong.
"""

from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.exc cimport PyErr_Clear
from cpython.long cimport PyLong_CheckExact
from cpython.number cimport PyIndex_Check, PyNumber_Index
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy
cimport cython

from hotrod_codec.errors import DecodeError, EncodeError

cdef extern from "Python.h":
    bint is_ascii "PyUnicode_IS_COMPACT_ASCII"(object text)
    const uint8_t *ascii_data "PyUnicode_1BYTE_DATA"(object text)
    Py_ssize_t ascii_size "PyUnicode_GET_LENGTH"(object text)
    unsigned long long PyLong_AsUnsignedLongLong(object number) except? 0xffffffffffffffff
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    # NULL with an exception set; without `except` Cython leaves it to us.
    PyObject *decode_utf8 "PyUnicode_DecodeUTF8"(
        const char *data, Py_ssize_t size, const char *errors)
    PyObject *encode_utf8 "PyUnicode_AsUTF8String"(object text)
    PyObject *new_int "PyLong_FromLongLong"(long long value)
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size)
    void Py_DECREF(PyObject *item)
    Py_ssize_t clipped "PyNumber_AsSsize_t"(object number, void *error) except? -1

cdef extern from *:
    """
    static inline PyObject *hr_own(PyObject *reference) { return reference; }
    """
    object own "hr_own"(PyObject *reference)

cdef enum:
    MAX_VARINT = 10  # bytes
    INT64_TAG = 3 << 3
    STRING_TAG = 9 << 3 | 2
    BYTES_TAG = 10 << 3 | 2


cdef inline Py_ssize_t put_varint(uint8_t *out, uint64_t value) noexcept:
    """How many bytes it took."""
    cdef Py_ssize_t size = 0
    while value >= 0x80:
        out[size] = <uint8_t>(value | 0x80)
        value >>= 7
        size += 1
    out[size] = <uint8_t>value
    return size + 1


cdef inline Py_ssize_t get_varint(const uint8_t *data, Py_ssize_t left, uint64_t *value) noexcept:
    """How many bytes it has. 0: it ends behind the data; -1: it has more than 64 bits."""
    cdef uint64_t result = 0
    cdef Py_ssize_t i
    for i in range(min(left, <Py_ssize_t>MAX_VARINT)):
        result |= <uint64_t>(data[i] & 0x7f) << <unsigned>(7 * i)
        if data[i] < 0x80:
            value[0] = result
            return -1 if i == MAX_VARINT - 1 and data[i] > 1 else i + 1
    return 0 if left < MAX_VARINT else -1


@cython.binding(False)
def encode_varint(number, /):
    """`number` as Hot Rod writes vInt and vLong: seven bits in a byte, lowest first.

    Args:
        number: 0 to 2**32 - 1 for a vInt, to 2**64 - 1 for a vLong; the same form.

    Returns:
        1 to 10 bytes.

    Raises:
        EncodeError: It is negative or has more than 64 bits.
        TypeError: It is not an int.
    """
    cdef uint8_t out[MAX_VARINT]
    cdef uint64_t value
    if not PyLong_CheckExact(number):
        if not PyIndex_Check(number):
            raise TypeError(f"number: wants an int, got {type(number).__name__}")
        number = PyNumber_Index(number)
    try:
        value = PyLong_AsUnsignedLongLong(number)
    except OverflowError:
        bits = number.bit_length()
        found = "a negative one" if number < 0 else f"one of {bits} bits"
        raise EncodeError(
            f"wants a number of 0 to 2**64 - 1, got {found}", field="varint"
        ) from None
    return PyBytes_FromStringAndSize(<char *>out, put_varint(out, value))


cdef tuple varint_at(const uint8_t *data, Py_ssize_t size, object offset):
    cdef uint64_t value = 0
    cdef Py_ssize_t used, start = clipped(offset, NULL)
    if not 0 <= start <= size:
        raise ValueError(f"offset: wants 0 to {size}, got {offset}")
    used = get_varint(data + start, size - start, &value)
    if used > 0:
        return value, start + used
    problem = "more than 64 bits" if used < 0 else "the data ends inside it"
    raise DecodeError(problem, op="varint", field="number", offset=start)


@cython.binding(False)
def decode_varint(data, /, offset=0):
    """The vInt or vLong at `offset` of `data`, a bytes-like object.

    Returns:
        The number, 0 to 2**64 - 1, and the offset of the byte behind it.

    Raises:
        DecodeError: The data ends inside the number, or it has more than 64 bits.
        TypeError: `data` is not bytes-like, or `offset` not an int.
        ValueError: `offset` is not within 0 ... len(data).
    """
    cdef Py_buffer view
    if PyBytes_CheckExact(data):
        return varint_at(
            <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), offset
        )
    if not PyObject_CheckBuffer(data):
        raise TypeError(f"data: wants a bytes-like object, got {type(data).__name__}")
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return varint_at(<const uint8_t *>view.buf, view.len, offset)
    finally:
        PyBuffer_Release(&view)


@cython.binding(False)
def total_size(values, /, none=False):
    """How many bytes there are in a list of bytes objects; -1: there is something else in it.

    Args:
        none: Whether None may be in it, too.
    """
    cdef list items = values
    cdef bint skip = none
    cdef Py_ssize_t total = 0
    if items is None:
        raise TypeError("values: wants a list, got NoneType")
    for item in items:
        if PyBytes_CheckExact(item):
            total += PyBytes_GET_SIZE(item)
        elif item is not None or not skip:
            return -1
    return total


def end_of_fitting(items, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t head, size, /):
    """How many of some things make up so many bytes.

    Args:
        items: A list of keys, or of pairs of key and value.
        start, stop: Which of them.
        head: Bytes that each has besides.
        size: How many bytes there may be, unless one thing alone has more.

    Returns:
        Where to end, and how many bytes these are.
    """
    cdef list things = items
    cdef int64_t most = size
    cdef int64_t total = 0
    cdef int64_t length
    cdef Py_ssize_t i
    if not 0 <= start < stop <= len(things):
        raise ValueError(f"there is nothing between {start} and {stop}")
    i = start
    while i < stop and i < len(things):
        length = head + length_of(things[i])
        if i > start and total + length > most:
            break
        total += length
        i += 1
    return i, total


cdef int64_t length_of(object item) except -1:
    if PyBytes_CheckExact(item):
        return PyBytes_GET_SIZE(item)
    if PyTuple_CheckExact(item) and PyTuple_GET_SIZE(item) == 2:
        return length_of((<tuple>item)[0]) + length_of((<tuple>item)[1])
    return len(item)


def unzipped(pairs, /):
    """The first and the second of each pair, as two lists; and whether all pairs are tuples.

    Raises:
        TypeError, ValueError: As ``first, second = pair`` does.
    """
    cdef list items = pairs
    cdef list firsts = []
    cdef list seconds = []
    cdef bint plain = True
    for item in items:
        if PyTuple_CheckExact(item) and PyTuple_GET_SIZE(item) == 2:
            firsts.append((<tuple>item)[0])
            seconds.append((<tuple>item)[1])
        else:
            plain = False
            first, second = item
            firsts.append(first)
            seconds.append(second)
    return firsts, seconds, plain


# ---- ProtoStream -------------------------------------------------------------------------------

cdef inline bytes wrap(uint8_t tag, const char *data, Py_ssize_t size):
    """A length-delimited field."""
    cdef uint8_t head[1 + MAX_VARINT]
    cdef Py_ssize_t before
    cdef char *out
    head[0] = tag
    before = 1 + put_varint(head + 1, <uint64_t>size)
    result = PyBytes_FromStringAndSize(NULL, before + size)
    out = PyBytes_AS_STRING(result)
    memcpy(out, head, before)
    memcpy(out + before, data, size)
    return result


cdef bytes wrap_text(object text):
    """None where it cannot be UTF-8."""
    cdef PyObject *data = encode_utf8(text)
    if data is NULL:
        PyErr_Clear()
        return None
    result = wrap(STRING_TAG, PyBytes_AS_STRING(<object>data), PyBytes_GET_SIZE(<object>data))
    Py_DECREF(data)
    return result


cdef bytes wrap_int(object number):
    """None where it does not fit into 64 bits."""
    cdef uint8_t out[1 + MAX_VARINT]
    cdef int overflow = 0
    cdef int64_t value = PyLong_AsLongLongAndOverflow(number, &overflow)
    if overflow:
        return None
    out[0] = INT64_TAG
    return PyBytes_FromStringAndSize(<char *>out, 1 + put_varint(out + 1, <uint64_t>value))


@cython.final
@cython.internal
cdef class Encoding:
    cdef readonly object plain

    @cython.binding(False)
    def encode(self, value, *, type=None, types=None):
        """A key or value in the format application/x-protostream.

        ============================= ============================================================
        Python                        Java
        ============================= ============================================================
        None                          null (no bytes at all)
        str, bytes, bool              String, byte[], Boolean
        int                           Long, whatever its size; Int32(5) is an Integer
        float                         Double; Float(0.5) is a Float
        Char, Short, Byte             Character, Short, Byte
        Date, Instant                 java.util.Date, java.time.Instant
        datetime                      Instant; without a time zone LocalDateTime
        date, time                    LocalDate, LocalTime
        UUID, Decimal, BigInteger     UUID, BigDecimal, BigInteger
        list, tuple                   ArrayList; Container("HashSet", ...) any other
        Message, EnumValue            a message or enum of the schema
        a message of protobuf         the same; see MessageTypes
        ============================= ============================================================

        An Integer and a Long are different keys, and Java casts a value to one of them: what type
        a Python int gets must not depend on how large it happens to be. It is a Long. A number that
        was decoded as Int32 is encoded as such, but Int32(5) + 1 is an int.

        Args:
            type: Write a scalar as this: "int32", "char", "float" ...; by default as the table
                says.
            types: The user's classes.

        Raises:
            TypeError: No such Python type can be written.
            EncodeError: The value does not fit.
        """
        cdef bytes result = None
        if type is None:
            if PyUnicode_CheckExact(value):
                if is_ascii(value):
                    return wrap(STRING_TAG, <const char *>ascii_data(value), ascii_size(value))
                result = wrap_text(value)
            elif PyBytes_CheckExact(value):
                return wrap(BYTES_TAG, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
            elif PyLong_CheckExact(value):
                result = wrap_int(value)
            if result is not None:
                return result
        return self.plain(value, type=type, types=types)


def fast_encode(plain, /):
    """`plain`, which is protostream's encode, with short ways in front of it.

    A method of an object that holds `plain`: no other callable with a state is called as fast.
    Python's own str.encode takes as long as this does.
    """
    cdef Encoding encoding = Encoding.__new__(Encoding)
    encoding.plain = plain
    return encoding.encode


cdef PyObject *unwrap(bytes data) noexcept:
    """A new reference; NULL for all that is not one str, bytes or int in the usual form."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), used
    cdef uint64_t value = 0
    cdef PyObject *result = NULL
    if size < 2:
        return NULL
    used = get_varint(at + 1, size - 1, &value)
    if used <= 0:
        return NULL
    if at[0] == INT64_TAG:
        return new_int(<int64_t>value)
    if value > <uint64_t>(size - 1 - used):
        return NULL
    if at[0] == STRING_TAG:
        result = decode_utf8(<const char *>at + 1 + used, <Py_ssize_t>value, NULL)
    elif at[0] == BYTES_TAG:
        result = new_bytes(<const char *>at + 1 + used, <Py_ssize_t>value)
    if result is NULL:
        PyErr_Clear()  # the plain way tells it
    return result


@cython.final
@cython.internal
cdef class Decoding:
    cdef readonly object plain

    @cython.binding(False)
    def decode(self, data, /, *, types=None, max_depth=64):
        """The value of a key or value in the format application/x-protostream.

        Encoding it again gives the same bytes, unless another writer wrote them in an unusual
        form. So a Long becomes an int and an Integer an Int32, which is an int as well; a Double
        and a Float likewise. A LocalDate and its kind stay what they are: they have years and
        nanoseconds that Python's do not. An ArrayList becomes a list, other containers a Container.
        Messages and enums that are in `types` become instances of these classes, others Message
        and EnumValue.

        Raises:
            DecodeError: Not a WrappedMessage, or not a whole one.
            LimitError: Containers are more than `max_depth` deep.
        """
        cdef PyObject *value
        if PyBytes_CheckExact(data):
            value = unwrap(data)
            if value is not NULL:
                return own(value)
        return self.plain(data, types=types, max_depth=max_depth)


def fast_decode(plain, /):
    """`plain`, which is protostream's decode, with short ways in front of it."""
    cdef Decoding decoding = Decoding.__new__(Decoding)
    decoding.plain = plain
    return decoding.decode


# ---- other marshallers ---------------------------------------------------------------------------

@cython.final
@cython.internal
cdef class Usual:
    """What a marshaller does with most values; `plain` does it with all others."""

    cdef object plain

    @cython.binding(False)
    def opaque(self, value, /):
        """Bytes as they are."""
        return value if PyBytes_CheckExact(value) else self.plain(value)

    @cython.binding(False)
    def encode_utf8(self, text, /):
        """The bytes of a str."""
        cdef PyObject *data
        if PyUnicode_CheckExact(text):
            data = encode_utf8(text)
            if data is not NULL:
                return own(data)
            PyErr_Clear()  # the plain way tells it
        return self.plain(text)

    @cython.binding(False)
    def decode_utf8(self, data, /):
        """The str of bytes."""
        cdef PyObject *text
        if PyBytes_CheckExact(data):
            text = decode_utf8(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), NULL)
            if text is not NULL:
                return own(text)
            PyErr_Clear()
        return self.plain(data)


def fast_opaque(plain, /):
    """`plain`, which gives back bytes as they are, with a short way for them in front of it."""
    return usual(plain).opaque


def fast_encode_utf8(plain, /):
    """`plain`, which encodes text in UTF-8, with a short way in front of it."""
    return usual(plain).encode_utf8


def fast_decode_utf8(plain, /):
    """`plain`, which decodes UTF-8, with a short way in front of it."""
    return usual(plain).decode_utf8


cdef Usual usual(object plain):
    cdef Usual made = Usual.__new__(Usual)
    made.plain = plain
    return made
