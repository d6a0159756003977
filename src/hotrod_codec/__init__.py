"""Hot Rod, the binary protocol of Infinispan, for Python.

    >>> import hotrod_codec
    >>> hotrod_codec.encode_request("get", version="2.8", message_id=1, key=b"k").hex()
    'a0011c03000001000000016b'

The codec encodes and decodes requests, responses and events of every protocol version, 1.0 to
4.1, without any I/O. Start at encode_request, decode_response and Reader; operations and their
fields are listed at Op.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hotrod_codec._ext.bulk import BytesColumn, EntryBatch, IteratedEntry
from hotrod_codec._ext.codec import (
    Event,
    Message,
    Reader,
    Request,
    RequestContext,
    Response,
    __version__,
    decode_request,
    decode_response,
    layout,
    trace_request,
    trace_response,
)
from hotrod_codec._ext.encoders import CacheEncoder, ResponseEncoder
from hotrod_codec._ext.encoding import encode_request, encode_response
from hotrod_codec._ext.hashing import (
    HashWheel,
    murmur2,
    murmur3,
    owners_of,
    segment_of,
    segments_of,
    split_by_owner,
)
from hotrod_codec._ext.scalars import decode_varint, encode_varint
from hotrod_codec.errors import (
    AuthenticationError,
    CommandTimeoutError,
    ConfigurationError,
    DecodeError,
    EncodeError,
    HotRodError,
    IllegalLifecycleStateError,
    InvalidMagicOrMessageIdError,
    LimitError,
    NodeSuspectedError,
    RequestParsingError,
    RequestTimeoutError,
    ServerError,
    ServerFailureError,
    TransportError,
    UnknownCommandError,
    UnknownVersionError,
)
from hotrod_codec.ops import MEDIA_TYPES, Flag, Intelligence, Op, Status, TimeUnit, Version
from hotrod_codec.values import (
    CounterConfiguration,
    Duration,
    FieldLayout,
    Layout,
    Limits,
    MediaType,
    Metadata,
    Modification,
    ServerAddress,
    Topology,
    Xid,
)

if TYPE_CHECKING:
    from hotrod_codec.client import AsyncCache, AsyncClient, Cache, Client
    from hotrod_codec.server import EmbeddedServer

__all__ = [
    "MEDIA_TYPES",
    "AsyncCache",
    "AsyncClient",
    "AuthenticationError",
    "BytesColumn",
    "Cache",
    "CacheEncoder",
    "Client",
    "CommandTimeoutError",
    "ConfigurationError",
    "CounterConfiguration",
    "DecodeError",
    "Duration",
    "EmbeddedServer",
    "EncodeError",
    "EntryBatch",
    "Event",
    "FieldLayout",
    "Flag",
    "HashWheel",
    "HotRodError",
    "IllegalLifecycleStateError",
    "Intelligence",
    "InvalidMagicOrMessageIdError",
    "IteratedEntry",
    "Layout",
    "LimitError",
    "Limits",
    "MediaType",
    "Message",
    "Metadata",
    "Modification",
    "NodeSuspectedError",
    "Op",
    "Reader",
    "Request",
    "RequestContext",
    "RequestParsingError",
    "RequestTimeoutError",
    "Response",
    "ResponseEncoder",
    "ServerAddress",
    "ServerError",
    "ServerFailureError",
    "Status",
    "TimeUnit",
    "Topology",
    "TransportError",
    "UnknownCommandError",
    "UnknownVersionError",
    "Version",
    "Xid",
    "__version__",
    "decode_request",
    "decode_response",
    "decode_varint",
    "encode_request",
    "encode_response",
    "encode_varint",
    "layout",
    "murmur2",
    "murmur3",
    "owners_of",
    "segment_of",
    "segments_of",
    "split_by_owner",
    "trace_request",
    "trace_response",
]

# What needs asyncio or sockets is imported when it is asked for: the codec alone needs neither.
_LAZY = {
    "AsyncCache": "hotrod_codec.client",
    "AsyncClient": "hotrod_codec.client",
    "Cache": "hotrod_codec.client",
    "Client": "hotrod_codec.client",
    "EmbeddedServer": "hotrod_codec.server",
}


if not TYPE_CHECKING:  # for type checkers there are no other names than those above

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module 'hotrod_codec' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LAZY[name]), name)
        return value
