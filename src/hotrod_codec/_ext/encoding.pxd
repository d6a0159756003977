# Encoding for the messages of codec.pyx: see encoding.pyx. `row` is a row's number.

from libc.stdint cimport uint8_t


cdef bytes encode_request_fields(
    int row, uint8_t version, object message_id, object cache, object flags, object intelligence,
    object topology_id, object key_media_type, object value_media_type, object other_params,
    dict fields)
# A response without a row, -1, is an error that answers no known request.
cdef bytes encode_response_fields(int row, uint8_t version, object message_id, object status,
                                  object topology, dict fields)
