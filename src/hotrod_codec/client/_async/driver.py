"""Sessions on asyncio's sockets: one connection to each server, for all requests at once.

The counterpart for threads is _sync/driver.py: what the API uses has the same names there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
import socket
import ssl
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from hotrod_codec import Response
from hotrod_codec._ext.exchange import Current, Place, Turns
from hotrod_codec.client._async.shortcut import Ask, Shortcut
from hotrod_codec.client.cluster import CacheState, Call, Calls, Cluster
from hotrod_codec.client.config import Configuration
from hotrod_codec.client.session import (
    NO_ANSWER,
    ConnectError,
    Fields,
    Greeting,
    Header,
    Into,
    NotSentError,
    Piece,
    Session,
    connect_error,
    handshake,
    handshake_versions,
    name_of,
)
from hotrod_codec.client.sockets import is_name, set_options
from hotrod_codec.client.tracing import session_of
from hotrod_codec.errors import (
    EncodeError,
    HotRodError,
    TransportError,
    UnknownVersionError,
)
from hotrod_codec.ops import Op, Version
from hotrod_codec.values import ServerAddress

if TYPE_CHECKING:
    from hotrod_codec.client._async.dispatch import Dispatcher

__all__ = ["Ahead", "Ask", "Connection", "Driver", "Mailbox", "clock", "sleep", "spawn"]

logger = logging.getLogger(__name__)

_BLOCK: Final = 2**16

_GOODBYE: Final = 1.0
"""Seconds that the other side of TLS has to say goodbye."""

_PIECE: Final = 2**15
"""Bytes of requests that are written at once when there are many."""

_PING: Final = Header("")

_ENDS: Final = {
    Op.ITERATION_START: (Op.ITERATION_END, "iteration_id"),
    Op.START_GET_STREAM: (Op.END_GET_STREAM, "stream_id"),
    Op.START_PUT_STREAM: (Op.END_PUT_STREAM, "stream_id"),
}
"""What stays at a server for minutes if it is not ended, and how that is done."""

clock = time.monotonic
sleep = asyncio.sleep


class _Pulse:
    """The answer to a ping that asks whether the server is still there."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def set_result(self, response: Response, /) -> None:
        pass

    def set_exception(self, error: Exception, /) -> None:
        self.connection.retire()


class _Batch:
    """What is under way of many requests. An answer to one of them gives time to all, as they
    stand behind each other.

    Args:
        deadline: For everything.
        limit: How many seconds there may be from one answer to the next.
    """

    def __init__(self, deadline: float, limit: float) -> None:
        self.pieces: list[Piece] = []
        self._deadline = deadline
        self._limit = limit
        self._left = 0

    def until(self, now: float) -> float:
        """When to give up, if nothing comes from now on."""
        return min(self._deadline, now + self._limit)

    def renew(self, now: float) -> None:
        """Give what is under way more time, if something has come since the last look."""
        self.pieces = [piece for piece in self.pieces if piece.left]
        left = sum(piece.left for piece in self.pieces)
        if left != self._left:
            self._left = left
            for piece in self.pieces:
                piece.deadline = self.until(now)


class Connection(asyncio.BufferedProtocol):
    """One connection.

    Attributes:
        server: Whose.
        session: Its state, once it is open.
        usable: Whether it takes new requests.
        when_unusable, when_gone: Called when it does not any more; when its socket is closed.
    """

    session: Session

    def __init__(self, server: ServerAddress, configuration: Configuration, turns: Turns) -> None:
        self.server = server
        self.usable = False
        self.when_unusable: Callable[[], None] | None = None
        self.when_gone: Callable[[], None] | None = None
        self._configuration = configuration
        self._loop = asyncio.get_running_loop()
        self._turns = turns
        self._most = configuration.max_in_flight
        self._paused = False
        self._crowd: deque[tuple[asyncio.Future[None], int]] = deque()
        self._batches: set[_Batch] = set()
        self._reserved = 0  # room of those who were let in and have not gone on yet
        # A view: asyncio's TLS reads into slices of it, which of a bytearray would be copies.
        self._greeting = memoryview(bytearray(_BLOCK))
        self._hello: asyncio.Future[bytes] | None = None
        self._open = False
        self._lost: TransportError | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._period = min(0.5, configuration.request_timeout / 10)
        self._ticking: asyncio.TimerHandle | None = None
        self._heard = 0  # events, up to ...
        self._heard_at = -math.inf
        self._due = 0.0  # when the next tick is
        self._excuse = 0.0  # how long the loop was kept from running ...
        self._excused_until = 0.0  # ... and until when that counts
        self._progress = 0
        self._written_at = 0.0

    # ---- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not all loops have transports of asyncio's classes: uvloop's are its own.
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            set_options(sock, self._configuration)

    def get_buffer(self, sizehint: int) -> Any:
        return self.session.buffer() if self._open else self._greeting

    def buffer_updated(self, nbytes: int) -> None:
        if not self._open:
            self._hear_greeting(bytes(self._greeting[:nbytes]))
            return
        session, turns = self.session, self._turns
        turns.hold()
        session.held = True
        try:
            self._received(nbytes)
        finally:
            # Who has an answer goes on at once, and what comes of it is written together: each
            # further turn of the loop would be a system call.
            try:
                turns.go_on()
            except BaseException as error:  # not the transport's, which would close
                self._loop.call_soon(_raise, error)
            session.held = False
            self._flush()

    def _received(self, nbytes: int) -> None:
        try:
            self.session.received(nbytes)
        except TransportError as error:
            self._fail(error)
            return
        if self._crowd:
            self._let_in()
        if not self.usable:
            self._close_when_done()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        reason = f": {exc}" if exc is not None else ""
        self._fail(TransportError(f"{name_of(self.server)} closed the connection{reason}"))
        if not self._gone.done():
            self._gone.set_result(None)
        if self.when_gone is not None:
            self.when_gone()

    def pause_writing(self) -> None:
        self._paused = True
        self._set_open()

    def resume_writing(self) -> None:
        self._paused = False
        self._let_in()

    # ---- the handshake

    async def greet(self, version: Version, *, encrypted: bool) -> Greeting:
        """Authenticate and agree on a version."""
        talk = handshake(
            self._configuration, version, nonce=secrets.token_urlsafe(24), encrypted=encrypted
        )
        out = next(talk)
        try:
            while True:
                if self._lost is not None:
                    raise self._lost
                self._hello = self._loop.create_future()
                if out:
                    self._transport.write(out)
                out = talk.send(await self._hello)
        except StopIteration as end:
            greeting: Greeting = end.value
            return greeting

    def open(self, greeting: Greeting, cluster: Cluster) -> None:
        """Take requests from now on."""
        if self._lost is not None:
            raise self._lost
        self.session = session_of(
            self._configuration,
            self.server,
            greeting.version,
            cluster.intelligence,
            gone=(asyncio.InvalidStateError,),
        )
        self.session.attach(self._turns, self._flush, self._most)
        self._open = self.usable = True
        self._set_open()
        self._written_at = self.session.quiet_since = self._due = clock()
        self._tick()

    def _hear_greeting(self, data: bytes) -> None:
        if self._hello is None or self._hello.done():
            self._fail(TransportError(f"{name_of(self.server)} spoke without being asked"))
        else:
            self._hello.set_result(data)

    # ---- requests

    async def request(self, call: Call, deadline: float) -> Response:
        """The answer to a call; as `ask`."""
        op, fields, into = call.op, call.fields, call.into
        asking = self.ask(op, call.state, call.header, fields, into, deadline, clock())
        if op not in _ENDS:
            return await asking
        task = self._loop.create_task(asking)
        task.add_done_callback(_look_at)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(partial(self._end, call))
            raise

    async def request_amid_events(self, call: Call, limit: float) -> Response:
        """As `request`: so many seconds after the last event of a listener at the most."""
        return await self.request(call, clock() + limit)

    def _end(self, call: Call, task: asyncio.Task[Response]) -> None:
        """End what a call has begun, as nobody else knows of it."""
        if task.cancelled() or task.exception() is not None or not self.usable:
            return
        op, name = _ENDS[call.op]
        begun = task.result().fields.get(name)
        if begun is not None:
            limit = self._configuration.request_timeout
            Ahead(self, Call(op, call.state, call.header, {name: begun}), limit)

    async def ask(
        self,
        op: Op,
        state: CacheState,
        header: Header,
        fields: Fields,
        into: Into,
        deadline: float,
        now: float,
    ) -> Response:
        """The answer, which may be an error answer. Arguments as in Call.

        Raises:
            TransportError, RequestTimeoutError, EncodeError: There is none.
        """
        session = self.session
        if self._crowd or not self.usable or not self._has_room(1):
            await self._queue(op, deadline)
            now = clock()
        if not session.pending:
            self.session.quiet_since = now
        future: asyncio.Future[Response] = self._loop.create_future()
        topology_id = state.routing.topology_id
        data = session.submit(op, future, deadline, topology_id, header, fields, into)
        message_id = session.last_id
        session.out.append(data)
        if len(session.out) == 1:
            self._loop.call_soon(self._flush)
        try:
            return await future
        except asyncio.CancelledError:
            session.abandon(message_id)
            raise

    async def request_many(
        self, calls: Calls, deadline: float, results: list[Any], start: int, end: int
    ) -> None:
        """Put the answers to the requests from `start` to `end` into their places, as Piece has
        them."""
        session, most = self.session, self._most
        every: asyncio.Future[None] = self._loop.create_future()
        left = end - start

        def whole(piece: Piece) -> None:
            nonlocal left
            left -= piece.count
            if not left and not every.done():
                every.set_result(None)

        batch = _Batch(deadline, self._configuration.request_timeout)
        self._batches.add(batch)
        try:
            try:
                while start < end:
                    # Some at a time, even when the room for them becomes free one by one.
                    room = min(end - start, max(1, most // 8))
                    if self._crowd or not self.usable or not self._has_room(room):
                        await self._queue(calls.op, batch.until(clock()), room)
                    free = most - session.pending - self._reserved
                    stop, size = calls.cut(start, min(end - start, free), _PIECE)
                    piece = Piece(results, start, session.last_id + 1, stop - start, size, whole)
                    self._send_piece(calls, start, stop, piece, batch.until(clock()))
                    batch.pieces.append(piece)
                    start = stop
            except (TransportError, EncodeError, TypeError) as error:
                results[start:end] = [error] * (end - start)
                left -= end - start
            if left:
                await every
        except asyncio.CancelledError:
            for piece in batch.pieces:
                session.abandon_piece(piece)
            raise
        finally:
            self._batches.discard(batch)

    def _send_piece(
        self, calls: Calls, start: int, stop: int, piece: Piece, deadline: float
    ) -> None:
        if not self.session.pending:
            self.session.quiet_since = clock()
        data = self.session.submit_many(
            calls.op,
            piece,
            deadline,
            calls.state.routing.topology_id,
            calls.header,
            lambda encoder, first_id: calls.encoded(encoder, first_id, start, stop),
            calls.into,
        )
        # At once, so that the server has something to do while the next piece is made.
        self.session.out.append(data)
        self._flush()

    def _flush(self) -> None:
        """Write what was collected in one turn of the loop."""
        session = self.session
        out = session.out
        if not out or self._lost is not None:
            return
        session.out = []
        self._written_at = clock()
        session.flushed_id = session.last_id
        if len(out) == 1:
            self._transport.write(out[0])
        else:
            self._transport.writelines(out)

    # ---- those who have to wait before they may send

    async def _queue(self, op: Op, deadline: float, room: int = 1) -> None:
        """Wait until there is so much room, and nobody else before. It has to be used at once."""
        was_let_in = False
        while self.usable and not (self._has_room(room) and (was_let_in or not self._crowd)):
            turn: asyncio.Future[None] = self._loop.create_future()
            if was_let_in:  # and then the transport was full
                self._crowd.appendleft((turn, room))
            else:
                self._crowd.append((turn, room))
            self._set_open()
            try:
                async with asyncio.timeout(deadline - clock()):
                    await turn
            except (TimeoutError, asyncio.CancelledError) as error:
                if turn.done() and not turn.cancelled():
                    self._reserved -= room  # it is somebody else's now
                self._let_in()
                if isinstance(error, TimeoutError):
                    text = f"{op.name}: {name_of(self.server)} took no more requests in time"
                    raise NotSentError(text) from None
                raise
            self._reserved -= room
            was_let_in = True
        if self._crowd:
            # Who was let in may send less, or nothing, if what it is to say cannot be said.
            self._loop.call_soon(self._let_in)
        self._set_open()
        if not self.usable:
            raise NotSentError(f"{op.name}: {name_of(self.server)} takes no more requests")

    def _has_room(self, room: int) -> bool:
        return not self._paused and self.session.pending + self._reserved + room <= self._most

    def _let_in(self) -> None:
        """Let those in for whom there is room. It is theirs: nobody goes past them meanwhile."""
        while self._crowd:
            turn, room = self._crowd[0]
            if self.usable and not turn.done() and not self._has_room(room):
                break
            self._crowd.popleft()
            if not turn.done():
                turn.set_result(None)
                self._reserved += room
        self._set_open()

    def _set_open(self) -> None:
        if self._open:
            busy = self._paused or self._crowd or self._reserved
            self.session.is_open = self.usable and not busy

    # ---- time

    def _tick(self) -> None:
        """Look for what is late now and then: cheaper than a timer for each request."""
        if self._lost is not None:
            return
        now = clock()
        session = self.session
        if session.progress != self._progress:
            self._progress = session.progress
            self.session.quiet_since = now
        if session.heard != self._heard:
            self._heard = session.heard
            self._heard_at = self.session.quiet_since = now
        for batch in self._batches:
            batch.renew(now)
        counted = now - self._kept_from_reading(now)
        # An answer stands behind the events that come: the state of a listener, above all.
        hears = now - self._heard_at < self._configuration.request_timeout
        if not hears and session.expire(counted):
            self._let_in()
        # Not one answer for so long: it is no slow request then, it is the server, be it silent
        # or one that sends a byte now and then.
        if (
            session.pending
            and counted - self.session.quiet_since >= self._configuration.request_timeout
        ):
            self.retire()
        if session.abandoned > self._most:
            self.retire()
        if not self.usable:
            self._close_when_done()
        elif not session.pending and now - self._written_at >= self._configuration.ping_interval:
            self._ping(now)
        self._due = now + self._period
        self._ticking = self._loop.call_later(self._period, self._tick)

    def _kept_from_reading(self, now: float) -> float:
        """How many seconds do not count, as other code kept the loop from running. What has come
        in them is read some at a time, one turn of the loop for each."""
        late = now - self._due
        if late > self._period:
            self._excuse = late
            self._excused_until = now + min(late, self._configuration.request_timeout)
        return self._excuse if now < self._excused_until else 0.0

    def _ping(self, now: float) -> None:
        deadline = now + self._configuration.request_timeout
        self.session.out.append(self.session.submit(Op.PING, _Pulse(self), deadline, -1, _PING, {}))
        self.session.quiet_since = now
        self._flush()

    # ---- the end

    def retire(self) -> None:
        """Take no more requests, and close as soon as nobody waits for an answer."""
        if self.usable:
            self._make_unusable()
            self._close_when_done()

    def _close_when_done(self) -> None:
        if self.session.pending != self.session.abandoned or self.session.out:
            return
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # who does not read would keep it open
        else:
            self._transport.close()

    def _make_unusable(self) -> None:
        if self.usable:
            self.usable = False
            if self.when_unusable is not None:
                self.when_unusable()
            self._let_in()

    def _fail(self, error: TransportError) -> None:
        if self._lost is not None:
            return
        self._lost = error
        self._transport.abort()
        if self._ticking is not None:
            self._ticking.cancel()
        if self._hello is not None and not self._hello.done():
            self._hello.set_exception(error)
        if self._open:
            self.session.fail(error)
        self._make_unusable()

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._fail(TransportError(reason))

    def interrupt(self, reason: str) -> None:
        """From any thread: close soon."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it the connection
            self._loop.call_soon_threadsafe(self.abort, reason)

    async def serve(self) -> None:
        """Take in what comes until the connection is lost."""
        await self.gone()

    async def gone(self) -> None:
        """Wait until the socket is closed."""
        await asyncio.shield(self._gone)


class Ahead:
    """A request whose answer is wanted later. Nobody else has to wait for it meanwhile.

    Args:
        limit: Seconds that the answer may take.
    """

    def __init__(self, connection: Connection, call: Call, limit: float) -> None:
        self._task = asyncio.get_running_loop().create_task(
            connection.request(call, clock() + limit)
        )
        self._task.add_done_callback(_look_at)

    async def take(self) -> Response:
        """The answer; see Connection.request."""
        return await self._task

    def drop(self) -> None:
        """It is not wanted any more."""
        self._task.cancel()


class Home(Place):
    """The connections of one event loop, and what depends on them.

    Attributes:
        shared: Those that everybody uses.
        second: Those for half of many reads, beside `shared`.
        local: What ends with them.
        connecting: Who makes one of `shared`, or of `second`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.turns = Turns(loop)
        self.local: dict[Any, Any] = {}
        self.shared: dict[ServerAddress, Connection] = {}
        self.second: dict[ServerAddress, Connection] = {}
        self.all: set[Connection] = set()
        self.connecting: dict[tuple[ServerAddress, bool], asyncio.Task[Connection]] = {}


class Driver:
    """All connections of a client: to each server, for each event loop that uses it, one for all
    requests; and a second one, once there have been many reads at once, for half of these.

    Attributes:
        closed: Whether it was.
    """

    def __init__(self, configuration: Configuration, cluster: Cluster) -> None:
        self._configuration = configuration
        self._cluster = cluster
        self._context: ssl.SSLContext | None = configuration.make_ssl_context()
        self._homes: dict[asyncio.AbstractEventLoop, Home] = {}
        self._current = Current()
        self._versions: dict[ServerAddress, Version] = {}
        # Until when to do with one connection, as a second one could not be made.
        self._alone_until: dict[ServerAddress, float] = {}
        self.closed = False
        _drivers.add(self)

    def _here(self) -> Home:
        home: Home | None = self._current.place
        if home is None or not home.is_here():
            loop = asyncio.get_running_loop()
            if self.closed:
                raise NotSentError("the client is closed")
            for old in list(self._homes):
                if old.is_closed():
                    self._homes.pop(old, None)
            home = self._homes.setdefault(loop, Home(loop))
            self._current.place = home
        return home

    def ready(self, server: ServerAddress, now: float) -> Connection | None:
        """The connection to a server, if it is there: nothing to wait for."""
        home: Home | None = self._current.place
        return home.shared.get(server) if home is not None and home.is_here() else None

    def shortcut(self, dispatcher: Dispatcher) -> Ask:
        """As `dispatcher.request`, and faster if there is nothing to wait for before it is sent."""
        c = self._configuration
        return Shortcut(
            self._current, self._cluster, dispatcher, c.request_timeout, c.operation_timeout
        ).ask

    async def acquire(self, server: ServerAddress, deadline: float) -> Connection:
        """The connection to a server.

        Raises:
            ConnectError: It cannot be reached.
            NotSentError: The time is over, which is not the server's fault.
            AuthenticationError, ServerError: It wants nothing of us.
        """
        home = self._here()
        connection = home.shared.get(server)
        if connection is not None:
            return connection
        task = self._connecting(home, server)
        try:
            async with asyncio.timeout(deadline - clock()):
                return await asyncio.shield(task)
        except TimeoutError:
            raise NotSentError(f"{name_of(server)}: not connected in time") from None
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if not task.cancelled() or (caller is not None and caller.cancelling()):
                raise
            raise NotSentError(f"{name_of(server)}: the client was closed meanwhile") from None

    def _second(self, server: ServerAddress) -> list[Connection]:
        """A second connection to a server, if it is there. If not it will be, for others: nobody
        has to wait for it."""
        home = self._here()
        connection = home.second.get(server)
        if connection is not None:
            return [connection]
        if clock() >= self._alone_until.get(server, 0.0):
            self._connecting(home, server, second=True)
        return []

    def _connecting(
        self, home: Home, server: ServerAddress, *, second: bool = False
    ) -> asyncio.Task[Connection]:
        task = home.connecting.get((server, second))
        if task is None:
            task = home.loop.create_task(self._share(home, server, second))
            task.add_done_callback(_look_at)
            home.connecting[server, second] = task
        return task

    def release(self, connection: Connection) -> None:
        """Others may have it."""

    async def hold(self, server: ServerAddress, deadline: float) -> Connection:
        """A connection for several requests; `let_go` of it after use."""
        return await self.acquire(server, deadline)

    def let_go(self, connection: Connection) -> None:
        """What was held is not needed any more."""

    async def dedicated(self, server: ServerAddress, deadline: float) -> Connection:
        """A connection that nobody else gets; abort it after use."""
        try:
            async with asyncio.timeout(deadline - clock()):
                return await self._connect(self._here(), server)
        except TimeoutError:
            raise NotSentError(f"{name_of(server)}: not connected in time") from None

    async def perform(
        self,
        batches: dict[ServerAddress, Calls],
        deadline: float,
    ) -> dict[ServerAddress, list[Any]]:
        """The answers to many requests of several servers, each list as Piece has it.

        Args:
            deadline: For everything together; answers may take request_timeout.
        """
        if len(batches) == 1:  # no task, which takes some turns of the loop
            ((server, calls),) = batches.items()
            return {server: await self._perform(server, calls, deadline)}
        answers = await asyncio.gather(
            *(self._perform(server, calls, deadline) for server, calls in batches.items())
        )
        return dict(zip(batches, answers, strict=True))

    async def _perform(self, server: ServerAddress, calls: Calls, deadline: float) -> list[Any]:
        count = len(calls)
        try:
            connections = [await self.acquire(server, deadline)]
            if calls.is_worth_a_second:
                connections += self._second(server)
        except TransportError as error:
            return [error] * count
        results = [NO_ANSWER] * count
        if len(connections) == 1:  # as above
            await connections[0].request_many(calls, deadline, results, 0, count)
        else:
            first, second = connections
            await asyncio.gather(
                first.request_many(calls, deadline, results, 0, count // 2),
                second.request_many(calls, deadline, results, count // 2, count),
            )
        return results

    @property
    def connections(self) -> int:
        """How many are open, of all event loops."""
        return sum(len(home.all) for home in list(self._homes.values()))

    def local(self) -> dict[Any, Any]:
        """What belongs to the connections of this event loop, and ends with them."""
        return {} if self.closed else self._here().local

    # ---- connecting

    async def _share(self, home: Home, server: ServerAddress, second: bool) -> Connection:
        try:
            connection = await self._connect(home, server)
            self._cluster.server_works(server)
            if second:
                home.second[server] = connection
            else:
                home.shared[server] = connection
                home.exchanges[server] = connection.session
            connection.when_unusable = lambda: self._forget(home, connection)
            return connection
        except HotRodError as error:
            if second:
                logger.info("no second connection: %s", error)
                timeout = self._configuration.server_failure_timeout
                self._alone_until[server] = clock() + timeout
            raise
        finally:
            del home.connecting[server, second]

    def _forget(self, home: Home, connection: Connection) -> None:
        server = connection.server
        if home.shared.get(server) is connection:
            del home.shared[server]
            del home.exchanges[server]
        elif home.second.get(server) is connection:
            del home.second[server]
        self._cluster.server_lost(server)

    async def _connect(self, home: Home, server: ServerAddress) -> Connection:
        limit = self._configuration.connect_timeout
        try:
            async with asyncio.timeout(limit):
                return await self._negotiate(home, server)
        except TimeoutError:
            raise ConnectError(f"{name_of(server)}: not connected within {limit} s") from None
        except ssl.SSLError as error:
            raise ConnectError(f"{name_of(server)}: TLS: {error}") from error
        except (NotSentError, EncodeError):
            raise
        except TransportError as error:  # what answers there is no server of ours
            raise connect_error(server, error) from error
        except (OSError, ValueError, OverflowError) as error:
            # ValueError: servers tell of servers, and may tell names and ports that are none.
            raise connect_error(server, error) from error

    async def _negotiate(self, home: Home, server: ServerAddress) -> Connection:
        refusal: UnknownVersionError | None = None
        for version in self._versions_for(server):
            try:
                connection = await self._connect_in(home, server, version)
            except UnknownVersionError as error:
                refusal = error
                continue
            self._versions[server] = version
            return connection
        assert refusal is not None
        raise refusal

    def _versions_for(self, server: ServerAddress) -> list[Version]:
        """What to try, beginning with what worked before."""
        known = self._versions.get(server)
        versions = handshake_versions(self._configuration.protocol_version)
        return [version for version in versions if known is None or version <= known]

    async def _connect_in(self, home: Home, server: ServerAddress, version: Version) -> Connection:
        tls: dict[str, Any] = {}
        if self._context is not None:
            tls = {
                "ssl": self._context,
                "server_hostname": self._configuration.sni_host_name or server.host,
                "ssl_shutdown_timeout": _GOODBYE,
            }
        connection = await self._open(home, server, tls)
        home.all.add(connection)
        connection.when_gone = lambda: home.all.discard(connection)
        try:
            greeting = await connection.greet(version, encrypted=self._context is not None)
            connection.open(greeting, self._cluster)
        except BaseException:
            connection.abort("the handshake failed")
            raise
        logger.debug("%s: connected, protocol version %s", name_of(server), greeting.version)
        return connection

    async def _open(self, home: Home, server: ServerAddress, tls: dict[str, Any]) -> Connection:
        """A connection by the first address of the server that takes one. Each gets a share of the
        time. (asyncio alone would wait for the first; its race of addresses forgets sockets when it
        is cancelled, and uvloop has none.)"""
        deadline = clock() + self._configuration.connect_timeout
        addresses: list[Any] = [server]
        if is_name(server.host):
            found = await home.loop.getaddrinfo(*server, type=socket.SOCK_STREAM)
            addresses = [address for *_, address in found]
        for more, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            try:
                async with asyncio.timeout((deadline - clock()) / (more + 1)):
                    _, connection = await home.loop.create_connection(
                        lambda: Connection(server, self._configuration, home.turns),
                        *address[:2],
                        **tls,
                    )
                    return connection
            except OSError:
                if not more:
                    raise
        raise OSError("its name has no address")

    # ---- the end

    def drop(self, connection: Connection) -> None:
        """Close a dedicated connection."""
        connection.abort("closed")

    def retain(self, servers: set[ServerAddress]) -> None:
        """Close the connections to all other servers as soon as nobody waits for an answer."""
        for loop, home in list(self._homes.items()):
            # Each in its own loop, be this another thread. A loop that is closed needs nothing.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_retire, home, servers)

    async def disconnect(self) -> None:
        """Close the connections of this event loop; they are made anew when they are needed."""
        home = self._homes.pop(asyncio.get_running_loop(), None)
        self._current.place = None
        if home is not None:
            await _close(home)

    async def close(self) -> None:
        """Close all connections. What waits for answers fails."""
        self.closed = True
        here = asyncio.get_running_loop()
        homes, self._homes, self._current.place = self._homes, {}, None
        for loop, home in homes.items():
            if loop is here:
                await _close(home)
            else:
                with contextlib.suppress(RuntimeError):  # as in `retain`
                    loop.call_soon_threadsafe(_abort, home)

    def after_fork(self) -> None:
        """The parent goes on with what there was; it must not be touched here."""
        _inherited.append((self._homes, self._current.place))
        self._homes, self._current.place = {}, None
        self._cluster.after_fork()


T = TypeVar("T")


class Mailbox(Generic[T]):
    """Things that wait to be taken, in order; when there are too many, the oldest are dropped.

    Args:
        most: How many may wait.
        most_bytes: How large they may be together.

    Attributes:
        dropped: How many were.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self.dropped = 0
        self._things: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._most = most
        self._most_bytes = most_bytes
        self._closed = False
        self._news = asyncio.Event()

    def put(self, thing: T, size: int) -> None:
        """Put one of `size` bytes behind the others."""
        self._things.append((thing, size))
        self._bytes += size
        while len(self._things) > 1 and (
            len(self._things) > self._most or self._bytes > self._most_bytes
        ):
            self._pop()
            self.dropped += 1
        self._news.set()

    def _pop(self) -> T:
        thing, size = self._things.popleft()
        self._bytes -= size
        return thing

    async def take(self, timeout: float | None) -> T | None:
        """The first; None: none came in so many seconds, or none will come any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self._things and not self._closed:
                    self._news.clear()
                    await self._news.wait()
        return self._pop() if self._things else None

    def close(self) -> None:
        """Nothing will come any more."""
        self._closed = True
        self._news.set()


_tasks: set[asyncio.Task[None]] = set()


def spawn(work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
    """Do it beside everything else."""
    task = asyncio.get_running_loop().create_task(work(*args))
    _tasks.add(task)  # a loop keeps no task alive
    task.add_done_callback(_tasks.discard)


def _retire(home: Home, servers: set[ServerAddress]) -> None:
    for connections in (home.shared, home.second):
        for server in [server for server in connections if server not in servers]:
            connections[server].retire()


def _abort(home: Home) -> None:
    for task in home.connecting.values():
        task.cancel()
    for connection in list(home.all):
        connection.abort("the client is closed")


async def _close(home: Home) -> None:
    connections = list(home.all)
    _abort(home)
    if connections:
        # Sockets close at once; the limit is for a TLS connection whose peer does not answer.
        await asyncio.wait([asyncio.ensure_future(c.gone()) for c in connections], timeout=1)


def _raise(error: BaseException) -> None:
    raise error


def _look_at(task: asyncio.Task[Any]) -> None:
    """What failed when nobody waited for it any more is no news."""
    if not task.cancelled():
        task.exception()


_drivers: weakref.WeakSet[Driver] = weakref.WeakSet()
_inherited: list[Any] = []


def _after_fork() -> None:
    for driver in list(_drivers):
        driver.after_fork()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)
