# Arguments: from Python objects to the structs of csrc; see arguments.pyx.
#
# Each module has a copy of csrc and of its tables: a pointer to a row must not go from one module
# into another, its number may.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint64_t

from hotrod_codec._ext.core cimport *

# ---- tables, made once from the core's; never changed afterwards --------------------------------

cdef tuple FIELD_NAMES      # names in Python of each field, by hr_field_id
cdef tuple REQUEST_NAMES    # names that the bodies of requests have, by row
cdef tuple RESPONSE_NAMES
cdef tuple OPS              # Op members, by row
cdef dict VERSIONS          # text -> number
cdef dict VERSION_MEMBERS   # number -> Version
cdef dict STATUSES          # number -> Status
cdef dict MEDIA_TYPES_BY_NAME


cdef inline int index_of(const hr_row *row) noexcept:
    return <int>(row - &hr_rows[0])


cdef inline const hr_row *row_of(object op) except NULL:
    """The row of an Op member, of its number or of its name."""
    return &hr_rows[row_number_of(op)]


cdef inline bint is_single(hr_kind kind) noexcept:
    """A list of bytes, each a slice."""
    return (kind == HR_BYTES_LIST or kind == HR_BYTES_MORE or kind == HR_FEW_BYTES
            or kind == HR_PIECES)


cdef tuple names_of_body(const uint8_t *ids)
cdef int row_number_of(object op) except -1
cdef uint8_t version_of(object version) except 0
cdef int check_version(const hr_row *row, uint8_t version) except -1
cdef int check_names(tuple known, dict fields, str carries) except -1

# ---- from Python to structs ---------------------------------------------------------------------

cdef struct Borrowed:
    PyObject *refs  # a list of what must outlive the call; NULL: nothing


cdef void *room(Borrowed *b, size_t count, size_t size) except NULL


cdef inline int take_bytes(object value, str name, hr_slice *out, Borrowed *b) except -1:
    if type(value) is bytes and PyBytes_GET_SIZE(value) <= INT32_MAX:
        out.data = <const uint8_t *>PyBytes_AS_STRING(value)
        out.len = <size_t>PyBytes_GET_SIZE(value)
        return 0
    return take_buffer(value, name, out, b)


cdef int take_buffer(object value, str name, hr_slice *out, Borrowed *b) except -1
cdef int take_text(object value, str name, hr_slice *out, Borrowed *b) except -1
cdef int64_t take_int(object value, str name, int64_t least, int64_t most) except? -1
cdef uint64_t take_u64(object value, str name) except? 0xFFFFFFFFFFFFFFFF
cdef int32_t take_pattern(object value, str name) except? -1
cdef int take_media(object value, str name, hr_media *m, Borrowed *b) except -1
cdef int take_life(object lifespan, object max_idle, tuple names, uint8_t version,
                   hr_life *life) except -1
cdef int take_list(hr_kind kind, object value, str name, hr_list *out, uint8_t version,
                   Borrowed *b) except -1
cdef int take_columns(object keys, object values, str name, str name_of_values, hr_list *out,
                      Borrowed *b) except -1
cdef int take_topology(object t, uint8_t version, hr_topology *out, Borrowed *b) except -1
cdef int take_body(const uint8_t *ids, dict fields, hr_body *body, uint8_t version,
                   Borrowed *b) except -1
cdef void *member_of(hr_body *body, const hr_field *f) noexcept
