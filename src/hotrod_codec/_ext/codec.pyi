# Types of codec.pyx; stubtest compares the two. Documentation stands in the .pyx.

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Self, SupportsIndex, TypeAlias, final

from typing_extensions import Buffer, disjoint_base

from hotrod_codec.errors import DecodeError
from hotrod_codec.ops import Flag, Intelligence, Op, Status, Version
from hotrod_codec.values import Layout, Limits, MediaType, Topology

__version__: str

# name, start, end, kind, item
_Span: TypeAlias = tuple[str, int, int, str, int]
# field, offset, bytes
_Missing: TypeAlias = tuple[str, int, int]
_Params: TypeAlias = Mapping[str, Buffer] | Iterable[tuple[str, Buffer]]

def encode_request(
    op: Op | str,
    /,
    *,
    version: Version | int | str = "4.1",
    message_id: int = 0,
    cache: str = "",
    flags: int = 0,
    intelligence: int = 1,
    topology_id: int = 0,
    key_media_type: MediaType | str | None = None,
    value_media_type: MediaType | str | None = None,
    other_params: _Params | None = None,
    **fields: Any,
) -> bytes: ...
def encode_response(
    op: Op | str,
    /,
    *,
    version: Version | int | str = "4.1",
    message_id: int = 0,
    status: int = 0,
    topology: Topology | None = None,
    **fields: Any,
) -> bytes: ...
def decode_request(
    data: Buffer, /, offset: int = 0, *, limits: Limits | None = None
) -> Request | None: ...
def decode_response(
    data: Buffer,
    /,
    request: Request | RequestContext,
    offset: int = 0,
    *,
    limits: Limits | None = None,
    legacy_server: bool = False,
) -> Response | None: ...
def layout(op: Op | str, /) -> Layout: ...
def trace_request(
    data: Buffer, /, offset: int = 0, *, limits: Limits | None = None
) -> tuple[list[_Span], Request | None, DecodeError | None, _Missing | None]: ...
def trace_response(
    data: Buffer,
    /,
    request: Request | RequestContext,
    offset: int = 0,
    *,
    limits: Limits | None = None,
    legacy_server: bool = False,
) -> tuple[list[_Span], Response | None, DecodeError | None, _Missing | None]: ...

@disjoint_base
class Message:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...  # raises: it comes from decoding
    # The fields of the frame's body; which there are, `layout` says.
    # The properties are those that are read most; they are no different.
    def __getattr__(self, name: str, /) -> Any: ...
    @property
    def key(self) -> Any: ...
    @property
    def value(self) -> Any: ...
    @property
    def entries(self) -> Any: ...
    @property
    def previous(self) -> Any: ...
    @property
    def metadata(self) -> Any: ...
    @property
    def error(self) -> Any: ...
    def __getitem__(self, key: str, /) -> Any: ...
    def __eq__(self, value: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    @property
    def op(self) -> Op | None: ...
    @property
    def version(self) -> Version: ...
    @property
    def message_id(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def fields(self) -> dict[str, Any]: ...
    @property
    def canonical(self) -> bool: ...
    def encode(self) -> bytes: ...

@final
class Request(Message):
    @property
    def op(self) -> Op: ...
    @property
    def cache(self) -> str: ...
    @property
    def flags(self) -> Flag: ...
    @property
    def intelligence(self) -> Intelligence | int: ...
    @property
    def topology_id(self) -> int: ...
    @property
    def key_media_type(self) -> MediaType | None: ...
    @property
    def value_media_type(self) -> MediaType | None: ...
    @property
    def other_params(self) -> dict[str, bytes]: ...

@disjoint_base
class Response(Message):
    @property
    def status(self) -> Status: ...
    @property
    def topology(self) -> Topology | None: ...
    @property
    def is_error(self) -> bool: ...
    def raise_for_status(self) -> None: ...

@final
class Event(Response): ...

@final
class RequestContext:
    def __init__(
        self,
        op: Op | str,
        version: Version | int | str = "4.1",
        flags: int = 0,
        intelligence: int = 1,
    ) -> None: ...
    @property
    def op(self) -> Op: ...
    @property
    def version(self) -> Version: ...
    @property
    def flags(self) -> Flag: ...
    @property
    def intelligence(self) -> Intelligence | int: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Reader:
    def __init__(
        self,
        role: Literal["client", "server"] = "client",
        *,
        limits: Limits | None = None,
        legacy_server: bool = False,
    ) -> None: ...
    @property
    def pending_requests(self) -> int: ...
    @property
    def buffered(self) -> int: ...
    @property
    def offset(self) -> int: ...
    def expect(
        self, request: Request | RequestContext, /, message_id: int | None = None
    ) -> None: ...
    def buffer(self, size_hint: SupportsIndex = 65536, /) -> memoryview: ...
    def commit(self, count: SupportsIndex, /) -> None: ...
    def feed(self, data: Buffer, /) -> None: ...
    def next(self) -> Any: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
