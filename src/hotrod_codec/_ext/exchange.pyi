# Types of exchange.pyx; stubtest compares the two. Documentation stands in the .pyx.

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextvars import Context
from socket import socket
from typing import Any, NoReturn, Self, TypeAlias, final

from typing_extensions import disjoint_base

from hotrod_codec._ext.codec import Reader, RequestContext, Response, Taker
from hotrod_codec._ext.encoders import CacheEncoder
from hotrod_codec.ops import Op
from hotrod_codec.values import ServerAddress

_Fields: TypeAlias = Mapping[str, Any] | bytes
_View: TypeAlias = tuple[CacheEncoder, RequestContext, RequestContext]

@disjoint_base
class Paths:
    def __init__(self, topology_id: int, only: ServerAddress | None) -> None: ...
    @property
    def topology_id(self) -> int: ...
    @property
    def only(self) -> ServerAddress | None: ...

@disjoint_base
class Target:
    routing: Any

@disjoint_base
class Front:
    generation: int
    @property
    def failed(self) -> dict[ServerAddress, float]: ...

@disjoint_base
class Place:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def exchanges(self) -> dict[ServerAddress, Exchange]: ...
    def is_here(self) -> bool: ...

@final
class Current:
    place: Any

_Request: TypeAlias = Callable[[Op, Any, Any, _Fields, bytes | None], Awaitable[Response]]

@disjoint_base
class Way:
    def __init__(
        self, current: Current, cluster: Front, limit: float, request: _Request
    ) -> None: ...
    def ask(
        self,
        op: Op,
        state: Target,
        header: Any,
        fields: _Fields,
        key: bytes | None,
        /,
    ) -> Awaitable[Response]: ...

@final
class Turns:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def __call__(self) -> None: ...
    def hold(self) -> None: ...
    def go_on(self) -> None: ...

@disjoint_base
class Begun(Taker):
    @property
    def op(self) -> Op: ...
    @property
    def deadline(self) -> float: ...
    def set_result(self, response: Response, /) -> None: ...
    def end(self, outcome: Response | Exception, /) -> None: ...

@final
class Asked(Begun): ...

@final
class Answer(Begun):
    again: asyncio.Task[Response] | None
    @property
    def context(self) -> Context | None: ...
    @property
    def state(self) -> Any: ...
    @property
    def header(self) -> Any: ...
    @property
    def fields(self) -> _Fields: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def server(self) -> ServerAddress: ...
    @property
    def generation(self) -> int: ...
    def get_loop(self) -> asyncio.AbstractEventLoop: ...
    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def result(self) -> Response: ...
    def exception(self) -> BaseException | None: ...
    def add_done_callback(
        self, callback: Callable[[Answer], object], /, *, context: Context | None = None
    ) -> None: ...
    def remove_done_callback(self, callback: Callable[[Answer], object], /) -> int: ...
    def cancel(self, msg: Any | None = None) -> bool: ...
    def __await__(self) -> Generator[Any, None, Response]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Self: ...
    def set_exception(self, error: BaseException, /) -> None: ...

@disjoint_base
class Exchange:
    last_id: int
    pending: int
    is_open: bool
    fresh_views: bool
    held: bool
    quiet_since: float
    out: list[bytes]
    flushed_id: int
    abandoned: int
    failure: Any
    _reader: Reader
    _header: Any
    _topology_id: int | None
    _waiting: dict[int, Begun | None]
    _views: dict[Any, _View]
    @property
    def buffer(self) -> Callable[[], memoryview]: ...
    def __init__(self, reader: Reader) -> None: ...
    def refuse(self) -> NoReturn: ...
    def received(self, count: int, /) -> None: ...
    def _new_view(self, header: Any, /) -> _View: ...
    def attach(self, turns: Turns, flush: Callable[[], None], most: int) -> None: ...
    def request(
        self,
        op: Op,
        waiter: Any,
        deadline: float,
        topology_id: int,
        header: Any,
        fields: _Fields,
        into: str,
        /,
    ) -> bytes: ...

@final
class Slot(Begun):
    @property
    def outcome(self) -> Response | Exception | None: ...
    def set_exception(self, error: Exception, /) -> None: ...
    def result(self) -> Response: ...

@disjoint_base
class Line:
    session: Any
    _sock: Any
    usable: bool
    at_rest: bool
    released_at: float
    _limit: float
    _descriptor: int
    def __init__(self, sock: socket, session: Exchange, name: str) -> None: ...
    def ask(
        self,
        op: Op,
        state: Target,
        header: Any,
        fields: _Fields,
        into: str,
        deadline: float,
        now: float,
        /,
    ) -> Response: ...
    def _take(self) -> None: ...
    def _write(self, data: bytes, deadline: float, /) -> None: ...

@disjoint_base
class Lines:
    idle: list[Any]
    waiting: deque[Any]
    retired: bool

_Ask: TypeAlias = Callable[[Op, Any, Any, _Fields, bytes | None], Response]

@disjoint_base
class Direct:
    def __init__(
        self,
        cluster: Front,
        pools: dict[ServerAddress, Any],
        limit: float,
        fresh: float,
        request: _Ask,
    ) -> None: ...
    def ask(
        self,
        op: Op,
        state: Target,
        header: Any,
        fields: _Fields,
        key: bytes | None,
        /,
    ) -> Response: ...
