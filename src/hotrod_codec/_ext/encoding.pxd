# Encoding for codec.pyx and encoders.pyx: see encoding.pyx. `row` is a row's number.

from libc.stdint cimport uint8_t

from hotrod_codec._ext.arguments cimport Borrowed
from hotrod_codec._ext.core cimport hr_request, hr_row


cdef bytes encode_request_fields(
    int row, uint8_t version, object message_id, object cache, object flags, object intelligence,
    object topology_id, object key_media_type, object value_media_type, object other_params,
    dict fields)
# A response without a row, -1, is an error that answers no known request.
cdef bytes encode_response_fields(int row, uint8_t version, object message_id, object status,
                                  object topology, dict fields)
cdef int take_header(hr_request *q, object cache, object flags, object intelligence,
                     object topology_id, object key_media_type, object value_media_type,
                     object other_params, Borrowed *b) except -1
cdef object with_op(object error, const hr_row *row)
cdef int check_written(const uint8_t *end, bytes out) except -1
