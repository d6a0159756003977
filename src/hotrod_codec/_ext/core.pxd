# hotrod.h, as Cython sees it: what the modules use of it, name for name.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "hotrod.h" nogil:
    ctypedef enum hr_result:
        HR_OK
        HR_NEED_MORE
        HR_BAD_MAGIC
        HR_BAD_VARINT
        HR_BAD_VERSION
        HR_BAD_OPCODE
        HR_BAD_STATUS
        HR_BAD_VALUE
        HR_BAD_LENGTH
        HR_OVER_LIMIT

    ctypedef struct hr_stop:
        hr_result result
        const char *field
        const char *limit
        size_t at
        size_t need
        uint64_t wanted
        uint64_t found
        int64_t item

    ctypedef struct hr_limits:
        uint64_t bytes
        uint64_t text
        uint64_t items
        uint64_t params
        uint64_t servers
        uint64_t segments

    ctypedef struct hr_slice:
        const uint8_t *data
        size_t len

    ctypedef struct hr_list:
        const void *items
        size_t count
        hr_slice encoded

    ctypedef struct hr_life:
        uint64_t lifespan
        uint64_t max_idle
        uint8_t lifespan_unit
        uint8_t max_idle_unit

    enum:
        HR_NO_LIFESPAN
        HR_NO_MAX_IDLE

    ctypedef struct hr_meta:
        int64_t created
        int64_t last_used
        int64_t version
        uint32_t lifespan
        uint32_t max_idle
        uint8_t flags

    ctypedef struct hr_old_value:
        hr_slice value
        hr_meta metadata

    enum:
        HR_MEDIA_NONE
        HR_MEDIA_PREDEFINED
        HR_MEDIA_CUSTOM

    ctypedef struct hr_media:
        uint8_t kind
        uint32_t id
        hr_slice name
        hr_list params

    ctypedef struct hr_factory:
        bint present
        hr_slice name
        hr_list params

    ctypedef struct hr_bits:
        bint present
        hr_slice bits

    ctypedef struct hr_batch:
        hr_list list
        uint32_t projections

    ctypedef struct hr_iterated:
        bint has_metadata
        hr_meta metadata
        hr_slice key
        const hr_slice *values
        hr_slice encoded

    ctypedef struct hr_xid:
        int32_t format_id
        hr_slice global_id
        hr_slice branch_id

    enum:
        HR_NOT_READ
        HR_NON_EXISTING
        HR_REMOVES

    ctypedef struct hr_modification:
        hr_slice key
        hr_slice value
        uint8_t control
        int64_t entry_version
        hr_life life

    enum:
        HR_WEAK
        HR_BOUNDED
        HR_PERSISTENT

    ctypedef struct hr_counter:
        uint8_t flags
        uint32_t concurrency
        int64_t lower
        int64_t upper
        int64_t initial

    enum:
        HR_PLAIN_EVENT
        HR_RAW_EVENT

    ctypedef struct hr_event:
        uint8_t marker
        bint retried
        hr_slice key
        hr_slice data
        int64_t entry_version

    ctypedef struct hr_item:
        hr_slice key
        hr_slice value
        uint32_t number
        hr_iterated iterated
        hr_modification modification
        hr_xid xid

    ctypedef struct hr_server:
        hr_slice host
        uint16_t port
        int32_t hash_id

    ctypedef enum hr_topology_form:
        HR_TOPOLOGY_NONE
        HR_TOPOLOGY_SERVERS
        HR_TOPOLOGY_WHEEL_10
        HR_TOPOLOGY_WHEEL_11
        HR_TOPOLOGY_SEGMENTS

    ctypedef struct hr_topology:
        hr_topology_form form
        uint8_t hash_version
        uint16_t key_owners
        int32_t id
        uint32_t hash_space
        uint32_t virtual_nodes
        uint32_t num_servers
        uint32_t num_segments
        size_t num_owners
        hr_slice encoded_servers
        hr_slice encoded_segments
        const hr_server *servers
        const uint8_t *segment_sizes
        const uint32_t *owners

    ctypedef enum hr_kind:
        HR_BYTES
        HR_TEXT
        HR_U8
        HR_BOOL
        HR_VINT
        HR_VLONG
        HR_I32
        HR_I64
        HR_LIFE
        HR_META
        HR_OLD_VALUE
        HR_MEDIA
        HR_FACTORY
        HR_SOME_FACTORY
        HR_BITS
        HR_SOME_BITS
        HR_XID
        HR_COUNTER
        HR_COUNTER_STATE
        HR_WRITE_EVENT
        HR_REMOVE_EVENT
        HR_PAIRS
        HR_PAIRS_MORE
        HR_BYTES_LIST
        HR_BYTES_MORE
        HR_FEW_BYTES
        HR_PIECES
        HR_TEXT_LIST
        HR_TEXT_PAIRS
        HR_PARAMS
        HR_FEW_PARAMS
        HR_U16_LIST
        HR_ITERATED
        HR_XIDS
        HR_MODIFICATIONS
        HR_NUM_KINDS

    ctypedef enum hr_field_id:
        HR_END
        HR_ERROR
        HR_KEY
        HR_VALUE
        HR_EXPIRATION
        HR_ENTRY_VERSION
        HR_NUM_FIELDS

    ctypedef struct hr_field:
        const char *name
        size_t offset
        size_t size
        uint8_t kind
        uint8_t since
        bint optional

    enum:
        HR_MAX_BODY

    ctypedef struct hr_row:
        const char *name
        uint8_t request
        uint8_t response
        uint8_t since
        uint8_t until
        bint is_event
        uint8_t request_body[8]
        uint8_t response_body[8]

    ctypedef struct hr_body:
        hr_slice error
        hr_slice key
        hr_slice value
        hr_life expiration
        int64_t entry_version

    const hr_field hr_fields[]
    const hr_row hr_rows[]
    const size_t hr_num_rows

    const hr_row *hr_row_of_request(uint8_t code)
    const hr_row *hr_row_of_response(uint8_t code)
    bint hr_is_version(uint8_t version)
    bint hr_is_status(uint8_t status)
    bint hr_is_list(hr_kind kind)
    bint hr_has_field(const hr_field *field, uint8_t version)

    enum:
        HR_ERROR_CODE
        HR_UNIT_SECONDS
        HR_UNIT_DEFAULT
        HR_UNIT_INFINITE
        HR_TIME_UNITS_SINCE
        HR_RELATIVE_SINCE
        HR_MEDIA_TYPES_SINCE
        HR_OTHER_PARAMS_SINCE
        HR_PREVIOUS_METADATA_SINCE

    ctypedef struct hr_request:
        const hr_row *row
        uint64_t message_id
        uint8_t version
        uint8_t intelligence
        uint32_t flags
        int32_t topology_id
        hr_slice cache
        hr_media key_type
        hr_media value_type
        hr_list params
        bint loose
        hr_body body

    ctypedef struct hr_context:
        const hr_row *row
        uint8_t version
        uint8_t intelligence
        uint32_t flags
        bint legacy_server

    ctypedef struct hr_response:
        const hr_row *row
        uint64_t message_id
        uint8_t version
        uint8_t status
        bint is_error
        bint loose
        bint has_body
        hr_topology topology
        hr_body body

    const uint8_t *hr_request_fields(const hr_request *request)
    const uint8_t *hr_response_fields(const hr_response *response)
    size_t hr_request_size(const hr_request *request)
    uint8_t *hr_encode_request(uint8_t *out, const hr_request *request)
    size_t hr_response_size(const hr_response *response)
    uint8_t *hr_encode_response(uint8_t *out, const hr_response *response)

    ctypedef struct hr_cursor:
        hr_kind kind
        uint8_t version
        bint ended
        bint loose
        uint32_t projections
        uint64_t left
        size_t count
        uint64_t limit


cdef extern from "hotrod.h":
    # Called while the GIL is held: Cython must not take it for a nogil function.
    ctypedef void (*hr_trace)(void *arg, const char *name, size_t start, size_t end, hr_kind kind,
                              int64_t item) noexcept

    ctypedef struct hr_decoding:
        const hr_limits *limits
        hr_trace trace
        void *trace_arg
        bint stop_at_list
        hr_stop stop
        size_t used
        hr_cursor list
        hr_list *into


cdef extern from "hotrod.h" nogil:
    hr_result hr_decode_request(const uint8_t *data, size_t len, hr_request *request,
                                hr_decoding *d)
    hr_result hr_decode_response(const uint8_t *data, size_t len, const hr_context *context,
                                 hr_response *response, hr_decoding *d)
    hr_result hr_peek_response(const uint8_t *data, size_t len, uint64_t *message_id,
                               uint8_t *code, hr_stop *stop)
    hr_result hr_walk_list(hr_cursor *c, const uint8_t *data, size_t len, size_t most,
                           const hr_limits *limits, size_t *used, hr_stop *stop)
    hr_cursor hr_cursor_over(hr_kind kind, uint8_t version, uint32_t projections)
    const uint8_t *hr_get_item(const hr_cursor *c, const uint8_t *p, const uint8_t *end,
                               hr_item *item)
    const uint8_t *hr_next_slice(const uint8_t *p, hr_slice *slice)
    const uint8_t *hr_skim_slice(const uint8_t *p, const uint8_t *end, uint64_t most,
                                 hr_slice *slice)
    const uint8_t *hr_skim_iterated(const hr_cursor *c, const uint8_t *p, const uint8_t *end,
                                    uint64_t most, hr_iterated *entry)
    size_t hr_row_width(const hr_cursor *c, size_t *parts)
    hr_result hr_walk_rows(hr_cursor *c, const uint8_t *data, size_t len, size_t most,
                           const hr_limits *limits, int64_t base, int64_t *rows, size_t *used,
                           hr_stop *stop)
    void hr_get_metadata(const uint8_t *p, const uint8_t *end, hr_meta *metadata)
    size_t hr_rows_size(const hr_cursor *c, const uint8_t *data, const int64_t *row,
                        ptrdiff_t stride, size_t count)
    uint8_t *hr_put_rows(uint8_t *p, const hr_cursor *c, const uint8_t *data, const int64_t *row,
                         ptrdiff_t stride, size_t count)
    size_t hr_most_items(hr_kind kind)
    void hr_get_servers(const hr_topology *topology, hr_server *servers)
    void hr_get_owners(const hr_topology *topology, uint8_t *sizes, uint32_t *owners)


cdef extern from "ids.h" nogil:
    ctypedef struct hr_waiting:
        uint64_t id
        uint32_t flags
        uint8_t version
        uint8_t intelligence
        uint8_t row
        uint8_t form

    ctypedef struct hr_ids:
        hr_waiting *slots
        size_t used

    hr_waiting *hr_ids_find(hr_ids *t, uint64_t id)
    uint64_t hr_ids_count(const hr_ids *t)
    bint hr_ids_any(hr_ids *t, uint64_t first, uint64_t count)
    bint hr_ids_extend(hr_ids *t, hr_waiting first, uint64_t count)
    bint hr_ids_has_room(const hr_ids *t, size_t more)
    unsigned hr_ids_bits(size_t count)
    void hr_ids_put(hr_ids *t, hr_waiting waiting)
    uint64_t hr_ids_before(const hr_ids *t, const hr_waiting *w, uint64_t id)
    void hr_ids_spill(hr_ids *t, uint64_t count)
    void hr_ids_remove(hr_ids *t, hr_waiting *w)
    void hr_ids_move(hr_ids *t, hr_waiting *slots, unsigned bits)


cdef extern from "quick.h" nogil:
    const uint8_t *hr_quick_id(const uint8_t *data, const uint8_t *end, uint64_t *message_id)
    const uint8_t *hr_quick_answer(const uint8_t *data, const uint8_t *end, const hr_row *row,
                                   uint8_t version, bint legacy_server, uint64_t most,
                                   uint8_t *status, hr_slice *value)

    ctypedef struct hr_quick:
        const hr_row *row
        uint64_t message_id
        uint64_t flags
        uint64_t topology_id
        hr_slice cache
        hr_slice parts[2]
        uint8_t version
        uint8_t intelligence
        uint8_t key_type
        uint8_t value_type

    const uint8_t *hr_quick_request(const uint8_t *data, const uint8_t *end,
                                    const hr_limits *limits, hr_quick *q)
