"""Sessions on blocking sockets: a bounded pool of connections to each server, one thread on each.

The counterpart for asyncio is _async/driver.py: what the API uses has the same names there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import select
import socket
import ssl
import struct
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from hotrod_codec import Response
from hotrod_codec._ext.exchange import Line, Lines, Slot
from hotrod_codec.client._sync.shortcut import Ask, Shortcut
from hotrod_codec.client.cluster import Call, Calls, Cluster
from hotrod_codec.client.config import Configuration
from hotrod_codec.client.session import (
    NO_ANSWER,
    ConnectError,
    Header,
    NotSentError,
    Piece,
    Session,
    connect_error,
    handshake,
    handshake_versions,
    name_of,
)
from hotrod_codec.client.sockets import connect, left_until, set_options
from hotrod_codec.client.tracing import session_of
from hotrod_codec.errors import (
    EncodeError,
    HotRodError,
    RequestTimeoutError,
    TransportError,
    UnknownVersionError,
)
from hotrod_codec.ops import Op, Version
from hotrod_codec.values import ServerAddress

if TYPE_CHECKING:
    from hotrod_codec.client._sync.dispatch import Dispatcher

__all__ = ["Ahead", "Ask", "Connection", "Driver", "Mailbox", "clock", "sleep", "spawn"]

logger = logging.getLogger(__name__)

_FRESH: Final = 0.01
"""Seconds for which a connection that was not used is taken to be as it was. After that it costs
a system call to see whether the server has closed it."""

_WINDOW: Final = 2**16
"""Bytes of requests that wait for answers when many are sent at once. The buffers of the system
hold so much: sending never waits for a server that waits for us to read."""

_PIECE: Final = 2**15
"""Bytes of requests that are written at once when there are many."""

_LOST_NEWS: Final = 0.5
"""Seconds after which who waits for a connection looks again, told or not."""

_PING: Final = Header("")

clock = time.monotonic
sleep = time.sleep


class Connection(Line):
    """One connection. Used by one thread at a time, but for `interrupt`.

    Attributes:
        server: Whose.
        pool, place: Where it belongs; None: it is somebody's own.
    """

    session: Session
    _sock: socket.socket

    def __init__(
        self,
        server: ServerAddress,
        sock: socket.socket,
        session: Session,
        ping_interval: float,
    ) -> None:
        super().__init__(sock, session, name_of(server))
        self.server = server
        self.pool: _Pool | None = None
        self.place: _Place | None = None
        self._ping_interval = ping_interval
        if os.name == "posix" and not isinstance(sock, ssl.SSLSocket):
            sock.settimeout(None)
            if os.get_blocking(sock.fileno()):  # not if another library has its own sockets
                self._descriptor = sock.fileno()

    # ---- requests

    def request(self, call: Call, deadline: float) -> Response:
        """The answer to a call; as `ask`."""
        op, fields, into = call.op, call.fields, call.into
        return self.ask(op, call.state, call.header, fields, into, deadline, clock())

    def request_amid_events(self, call: Call, limit: float) -> Response:
        """As `request`: so many seconds after the last event of a listener at the most."""
        session = self.session
        heard, deadline = session.heard, clock() + limit
        slot = self.begin(call, deadline)
        try:
            while slot.outcome is None:
                self._receive(deadline)
                if session.heard != heard:
                    heard, deadline = session.heard, clock() + limit
        except BaseException as error:
            self._end(call.op, error)
        self.at_rest = True
        return slot.result()

    def begin(self, call: Call, deadline: float) -> Slot:
        """Send a request; `finish` has its answer."""
        slot = Slot()
        topology_id = call.state.routing.topology_id
        self.at_rest = False
        try:
            data = self.session.submit(
                call.op, slot, deadline, topology_id, call.header, call.fields, call.into
            )
            self._send(data, deadline)
        except BaseException as error:
            self._end(call.op, error)
        return slot

    def finish(self, slot: Slot, op: Op, deadline: float) -> Response:
        """The answer to what was begun last; as `ask`."""
        try:
            while slot.outcome is None:
                self._receive(deadline)
        except BaseException as error:
            self._end(op, error)
        self.at_rest = True
        return slot.result()

    def _end(self, op: Op, error: BaseException) -> None:
        """What becomes of the connection when a request ends with an error, and of that."""
        if isinstance(error, NotSentError | EncodeError | TypeError):  # of submit: nothing changed
            self.at_rest = True
            raise error
        if isinstance(error, TransportError):
            self._lose(error)
        elif isinstance(error, TimeoutError):
            self.session.abandon(self.session.last_id)
            self.at_rest = True
            text = f"{op.name}: no answer from {name_of(self.server)} in time"
            raise RequestTimeoutError(text) from None
        else:
            self.abort("interrupted")
            raise error

    def _send(self, data: bytes, deadline: float) -> None:
        self._arm(deadline)
        self._write(data, deadline)

    def _receive(self, deadline: float) -> None:
        """Take in what comes. Raises TimeoutError when nothing does."""
        self._arm(deadline)
        self._take()

    def _arm(self, deadline: float) -> None:
        left = deadline - clock()
        if left <= 0:
            raise TimeoutError
        limit = self._limit
        if limit * 0.9 <= left <= limit * 1.1:
            return
        self._limit = left
        if self._descriptor >= 0:
            seconds = int(left)
            value = struct.pack("@ll", seconds, int((left - seconds) * 1e6) or 1)
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
                return
            except OSError:  # a closed socket, or a system that has it otherwise
                self._descriptor = -1
        try:
            self._sock.settimeout(left)
        except OSError as error:
            raise TransportError(f"{name_of(self.server)}: {error}") from error

    def serve(self) -> None:
        """Take in what comes until the connection is lost."""
        try:
            while True:
                try:
                    self._receive(clock() + self._ping_interval)
                except TimeoutError:
                    self._ping(self._ping_interval)
        except (TransportError, TimeoutError) as error:
            logger.debug("%s: %s", name_of(self.server), error)
            self.usable = False

    # ---- the end

    def __del__(self) -> None:
        """Who was interrupted may have forgotten it, made or not."""
        if self._sock is not None:
            self._sock.close()

    def is_alive(self, configuration: Configuration) -> bool:
        """Whether it may be trusted again after it was not used for some time."""
        idle = clock() - self.released_at
        try:
            if not self._catch_up():
                return False
            if idle > configuration.ping_interval:
                self._ping(min(configuration.request_timeout, configuration.connect_timeout))
        except (TransportError, TimeoutError):
            return False
        return self.usable and not self.session.abandoned

    def _catch_up(self) -> bool:
        """Read what came in the meantime: answers that came too late, or the end."""
        encrypted = isinstance(self._sock, ssl.SSLSocket)
        while _readable([self._sock]):
            if not self.session.abandoned and not encrypted:
                return False
            try:
                self._receive(clock() + 0.05)
            except TimeoutError:  # what came was only for TLS
                return encrypted
        return True

    def fileno(self) -> int:
        """Of its socket."""
        return self._sock.fileno()

    def holds_bytes(self) -> bool:
        """Whether TLS has read what the socket does not show any more."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def has_news(self) -> bool:
        """Whether there is something to take in, or the end."""
        return self.holds_bytes() or bool(_readable([self._sock]))

    def _ping(self, seconds: float) -> None:
        slot = Slot()
        deadline = clock() + seconds
        self._send(self.session.submit(Op.PING, slot, deadline, -1, _PING, {}), deadline)
        while slot.outcome is None:
            self._receive(deadline)

    def _lose(self, error: TransportError) -> None:
        self.usable = False
        self.session.fail(error)
        self._close()

    def abort(self, reason: str) -> None:
        """Close at once."""
        self.interrupt(reason)
        self._close()

    def _close(self) -> None:
        self._descriptor = -1  # its number may soon be another's
        self._sock.close()

    def interrupt(self, reason: str) -> None:
        """From any thread: let the one that waits for an answer get an error."""
        self.usable = False
        if self.session.failure is None:
            self.session.failure = TransportError(reason)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def leave_to_parent(self) -> None:
        """In a child process: let go of the socket, which the parent goes on with. No shutdown,
        no goodbye of TLS: they would end the parent's conversation."""
        self.usable = False
        self.session.failure = TransportError("the connection belongs to the parent process")
        self._descriptor = -1
        with contextlib.suppress(OSError):
            os.close(self._sock.detach())


class Ahead:
    """A request whose answer is wanted later. The connection has to be nobody else's.

    Args:
        limit: Seconds that sending it may take, and its answer from the time when it is wanted.
    """

    def __init__(self, connection: Connection, call: Call, limit: float) -> None:
        self._connection = connection
        self._op = call.op
        self._limit = limit
        self._slot = connection.begin(call, clock() + limit)

    def take(self) -> Response:
        """The answer; see Connection.request."""
        return self._connection.finish(self._slot, self._op, clock() + self._limit)

    def drop(self) -> None:
        """It is not wanted any more."""
        self._connection.session.abandon(self._connection.session.last_id)


def _readable(socks: Sequence[socket.socket | Connection], seconds: float = 0.0) -> set[int]:
    """The numbers of those that have something to read, or their end; waits until one has."""
    if hasattr(select, "poll"):
        poll = select.poll()
        for sock in socks:
            poll.register(sock, select.POLLIN)
        return {number for number, _ in poll.poll(seconds * 1000)}
    return {sock.fileno() for sock in select.select(list(socks), [], [], seconds)[0]}


class _Run:
    """Many requests on one connection, as many at once as fit into the window.

    Args:
        deadline: For everything.
        limit: How many seconds there may be from one answer to the next.
        results: Where the answers go, each to its place.
        start, end: Which of `calls` they are.

    Attributes:
        deadline: For the next answer, once it was renewed.
    """

    deadline: float

    def __init__(
        self,
        connection: Connection,
        calls: Calls,
        deadline: float,
        limit: float,
        results: list[Any],
        start: int,
        end: int,
    ) -> None:
        self.connection = connection
        self._calls = calls
        self._last = deadline
        self._limit = limit
        self._results = results
        self._start = self._next = start
        self._end = end
        self._left = end - start
        self._open_bytes = 0

    def renew(self) -> None:
        """The time for the next answer begins."""
        self._progress = self.connection.session.progress
        self.deadline = min(self._last, clock() + self._limit)

    def _receive(self) -> None:
        self.connection._receive(self.deadline)
        if self.connection.session.progress != self._progress:
            self.renew()

    def _whole(self, piece: Piece) -> None:
        self._left -= piece.count
        self._open_bytes -= piece.size

    def go_on(self) -> bool:
        """Send what may be sent, once half of the window is free; whether there is something left
        to do."""
        if self._open_bytes > _WINDOW // 2:
            return True
        while self._next < self._end and self._open_bytes < _WINDOW:
            start = self._next
            stop, size = self._calls.cut(start, self._end - start, _PIECE)
            self._next = stop
            try:
                data = self._submit(start, stop, size)
            except (TransportError, EncodeError, TypeError) as error:
                self._results[start:stop] = [error] * (stop - start)
                self._left -= stop - start
                continue
            self._open_bytes += size
            self.connection._send(data, self.deadline)
        return self._left > 0

    def _submit(self, start: int, stop: int, size: int) -> bytes:
        calls, session = self._calls, self.connection.session
        piece = Piece(self._results, start, session.last_id + 1, stop - start, size, self._whole)
        return session.submit_many(
            calls.op,
            piece,
            self.deadline,
            calls.state.routing.topology_id,
            calls.header,
            lambda encoder, first_id: calls.encoded(encoder, first_id, start, stop),
            calls.into,
        )

    def take(self) -> bool:
        """Take in what comes; whether there is something left to do."""
        self._receive()
        return self._left > 0

    def take_much(self) -> bool:
        """As `take`, until something may be sent."""
        if self.deadline <= clock() and self.connection.has_news():
            self.renew()  # others were read meanwhile
        more = self._next < self._end
        while self._left and not (more and self._open_bytes <= _WINDOW // 2):
            self._receive()
        return self._left > 0

    def fail(self, error: Exception) -> None:
        """Fail all that have no answer."""
        results = self._results
        for index in range(self._start, self._end):
            if results[index] is NO_ANSWER:
                sent = index < self._next
                results[index] = error if sent else NotSentError(str(error))
        self._left = 0


def _with_news(runs: list[_Run]) -> list[_Run]:
    """Those for which something has come, so that none waits for the server of another; or those
    whose time is over."""
    found = [run for run in runs if run.connection.holds_bytes()]
    if not found:
        left = max(0.0, min(run.deadline for run in runs) - clock())
        numbers = _readable([run.connection for run in runs], left)
        found = [run for run in runs if run.connection.fileno() in numbers]
    return found or [run for run in runs if run.deadline <= clock()]


class _Place:
    """A connection's place in its pool, or that of one that is being made.

    Who is interrupted anywhere (Ctrl-C, a signal handler's exception) may leave without a word: so
    nobody counts, and a place that nobody holds any more is free.
    """

    __slots__ = ("__weakref__",)


class _Pool(Lines):
    """The connections to one server, and who waits for one."""

    idle: list[Connection]
    waiting: deque[queue.SimpleQueue[Connection | None]]

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: list[weakref.ref[_Place]] = []
        # Bare locks and queues: those that are written in Python cannot be interrupted anywhere.
        self._lock = threading.Lock()

    def take(self, deadline: float) -> Connection | _Place:
        """A connection that is idle, or the place for a new one.

        Raises:
            NotSentError: All are in use, and go on to be.
        """
        try:
            return self.idle.pop()
        except IndexError:
            pass
        turn: queue.SimpleQueue[Connection | None] = queue.SimpleQueue()
        self.waiting.append(turn)
        try:
            while True:
                with contextlib.suppress(IndexError):
                    return self.idle.pop()
                place = self._free_place()
                if place is not None:
                    return place
                left = deadline - clock()
                if left <= 0:
                    text = f"all {self._most} connections were in use for too long"
                    raise NotSentError(f"{text}; max_connections allows more")
                with contextlib.suppress(queue.Empty):
                    given = turn.get(timeout=min(left, _LOST_NEWS))
                    if given is not None:
                        return given
                    self.waiting.appendleft(turn)  # was told to look, and is the first still
        finally:
            self._leave(turn)

    def _leave(self, turn: queue.SimpleQueue[Connection | None]) -> None:
        """Who had this turn waits no more: what it got meanwhile is for somebody else."""
        with self._lock, contextlib.suppress(ValueError):
            self.waiting.remove(turn)
        with contextlib.suppress(queue.Empty):
            given = turn.get_nowait()
            if not self.hand_over(given) and given is not None:
                self.idle.append(given)

    def _free_place(self) -> _Place | None:
        with self._lock:
            if len(self._places) >= self._most:
                self._places = [place for place in self._places if place() is not None]
                if len(self._places) >= self._most:
                    return None
            place = _Place()
            self._places.append(weakref.ref(place))
            return place

    def tell(self) -> None:
        """There may be a connection or a place for somebody who waits."""
        self.hand_over(None)

    def hand_over(self, connection: Connection | None) -> bool:
        """Give it to who waits longest; False: nobody does. If it were there for whoever looks
        first, who has just had it would have it again, and the others never."""
        with self._lock:
            if not self.waiting:
                return False
            self.waiting.popleft().put(connection)
            return True


class Driver:
    """All connections of a client."""

    def __init__(self, configuration: Configuration, cluster: Cluster) -> None:
        self._configuration = configuration
        self._cluster = cluster
        self._context: ssl.SSLContext | None = configuration.make_ssl_context()
        self._pools: dict[ServerAddress, _Pool] = {}
        self._all: dict[int, weakref.ref[Connection]] = {}
        self._lock = threading.Lock()
        self._versions: dict[ServerAddress, Version] = {}
        # Until when to do with one connection, as a second one could not be made.
        self._alone_until: dict[ServerAddress, float] = {}
        self._local: dict[Any, Any] = {}
        self.closed = False
        _drivers.add(self)

    def ready(self, server: ServerAddress, now: float) -> Connection | None:
        """A connection to a server, as `acquire` gives it, if that takes no time."""
        pool = self._pools.get(server)
        if pool is None:
            return None
        try:
            connection = pool.idle.pop()
        except IndexError:
            return None
        fresh = now - connection.released_at < _FRESH
        if fresh and connection.usable and not connection.session.abandoned:
            return connection
        self.put_back(connection)
        return None

    def put_back(self, connection: Connection) -> None:
        """Others may have what was taken and not used."""
        pool = connection.pool
        if pool is None or pool.retired:
            self._discard(connection)
        else:
            pool.idle.append(connection)

    def shortcut(self, dispatcher: Dispatcher) -> Ask:
        """As `dispatcher.request`, in less time."""
        return Shortcut(self, self._pools, _FRESH, dispatcher).ask

    def acquire(self, server: ServerAddress, deadline: float, *, wait: bool = True) -> Connection:
        """A connection to a server, for this thread alone until it is released.

        Args:
            wait: If others use all that there may be, until they do not.

        Raises:
            ConnectError: It cannot be reached.
            NotSentError: All connections are in use; or the time is over, which is not the server's
                fault.
            AuthenticationError, ServerError: It wants nothing of us.
        """
        pool = self._pools.get(server)
        if pool is None:
            pool = self._pool(server)
        while True:
            connection = pool.take(deadline if wait else 0.0)
            if isinstance(connection, _Place):
                place = connection
                break
            fresh = clock() - connection.released_at < _FRESH
            if fresh and connection.usable and not connection.session.abandoned:
                return connection
            if connection.is_alive(self._configuration):
                return connection
            self._cluster.server_lost(server)
            self._discard(connection)
        try:
            connection = self._connect(server, deadline)
        except BaseException:
            del connection, place  # whoever keeps the error keeps what is here, and so the place
            pool.tell()
            raise
        connection.pool, connection.place = pool, place
        return connection

    def release(self, connection: Connection) -> None:
        """Others may have it."""
        pool = connection.pool
        if connection.usable and connection.at_rest and pool is not None and not pool.retired:
            connection.released_at = clock()
            if not (pool.waiting and pool.hand_over(connection)):
                pool.idle.append(connection)
                if pool.waiting:
                    pool.tell()
            return
        if not connection.usable:
            self._cluster.server_lost(connection.server)
        self._discard(connection)

    def hold(self, server: ServerAddress, deadline: float) -> Connection:
        """A connection for several requests; `let_go` of it after use. Not one of the pool: who
        holds one may well want another one meanwhile."""
        return self._connect(server, deadline)

    def let_go(self, connection: Connection) -> None:
        """What was held is not needed any more."""
        self._discard(connection)

    def dedicated(self, server: ServerAddress, deadline: float) -> Connection:
        """A connection that nobody else gets; abort it after use."""
        return self._connect(server, deadline)

    def perform(
        self, batches: dict[ServerAddress, Calls], deadline: float
    ) -> dict[ServerAddress, list[Any]]:
        """The answers to many requests of several servers, each list as Piece has it.

        Args:
            deadline: For everything together; answers may take request_timeout.
        """
        limit = self._configuration.request_timeout
        answers: dict[ServerAddress, list[Any]] = {}
        runs: list[_Run] = []
        try:
            # Always in the same order: two threads that wait for each other would wait for ever.
            for server in sorted(batches):
                calls = batches[server]
                count = len(calls)
                try:
                    connections = [self.acquire(server, deadline)]
                except TransportError as error:
                    answers[server] = [error] * count
                    continue
                results = answers[server] = [NO_ANSWER] * count
                if calls.is_worth_a_second:
                    connections += self._second(server, deadline)
                start = 0
                for i, connection in enumerate(connections, 1):
                    end = count * i // len(connections)
                    connection.at_rest = False
                    runs.append(_Run(connection, calls, deadline, limit, results, start, end))
                    start = end
            self._perform(runs)
            for run in runs:
                run.connection.at_rest = True
        except BaseException:
            for run in runs:
                run.connection.abort("interrupted")
            raise
        finally:
            for run in runs:
                self.release(run.connection)
        return answers

    def _second(self, server: ServerAddress, deadline: float) -> list[Connection]:
        """A second connection to a server, if it is to be had without waiting for others."""
        if clock() < self._alone_until.get(server, 0.0):
            return []
        try:
            return [self.acquire(server, deadline, wait=False)]
        except HotRodError as error:
            if not isinstance(error, NotSentError) or isinstance(error, ConnectError):
                logger.info("no second connection: %s", error)
                timeout = self._configuration.server_failure_timeout
                self._alone_until[server] = clock() + timeout
            return []

    def _perform(self, runs: list[_Run]) -> None:
        for run in runs:  # from now on: to connect to one server may have taken long
            run.renew()
        going = [run for run in runs if self._goes_on(run, run.go_on)]
        while going:
            # Those of one server are read one after the other: to look which one has news takes
            # longer, and there is none that would wait for another's.
            alone = len({run.connection.server for run in going}) == 1
            for run in list(going) if alone else _with_news(going):
                take = run.take_much if alone else run.take
                if not (self._goes_on(run, take) and self._goes_on(run, run.go_on)):
                    going.remove(run)

    def _goes_on(self, run: _Run, step: Callable[[], bool]) -> bool:
        try:
            return step()
        except TransportError as error:
            run.connection._lose(error)
            run.fail(error)
        except TimeoutError:
            server = name_of(run.connection.server)
            run.fail(RequestTimeoutError(f"no answer from {server} in time"))
            run.connection.abort("timed out")
        return False

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._all)

    def local(self) -> dict[Any, Any]:
        """What belongs to the connections of this process, and ends with them."""
        return self._local

    # ---- connecting

    def _pool(self, server: ServerAddress) -> _Pool:
        with self._lock:
            if self.closed:
                raise NotSentError("the client is closed")
            pool = self._pools.get(server)
            if pool is None:
                pool = self._pools[server] = _Pool(self._configuration.max_connections)
            return pool

    def _connect(self, server: ServerAddress, deadline: float) -> Connection:
        if self.closed:
            raise NotSentError("the client is closed")
        limit = self._configuration.connect_timeout
        own = clock() + limit
        try:
            connection = self._negotiate(server, min(deadline, own))
        except TimeoutError:
            if deadline < own:
                raise NotSentError(f"{name_of(server)}: not connected in time") from None
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
        with self._lock:
            if self.closed:
                connection.abort("the client is closed")
                raise NotSentError("the client is closed")
            self._all[id(connection)] = weakref.ref(connection)
        self._cluster.server_works(server)
        return connection

    def _negotiate(self, server: ServerAddress, deadline: float) -> Connection:
        refusal: UnknownVersionError | None = None
        for version in self._versions_for(server):
            try:
                connection = self._connect_in(server, version, deadline)
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

    def _connect_in(self, server: ServerAddress, version: Version, deadline: float) -> Connection:
        c = self._configuration
        sock = connect(server, deadline)
        try:
            set_options(sock, c)
            if self._context is not None:
                name = c.sni_host_name or server.host
                sock = self._context.wrap_socket(sock, server_hostname=name)
            talk = handshake(
                c, version, nonce=secrets.token_urlsafe(24), encrypted=self._context is not None
            )
            greeting = _converse(talk, sock, server, deadline)
            session = session_of(c, server, greeting.version, self._cluster.intelligence)
        except BaseException:
            sock.close()
            raise
        logger.debug("%s: connected, protocol version %s", name_of(server), greeting.version)
        return Connection(server, sock, session, c.ping_interval)

    # ---- the end

    def _discard(self, connection: Connection) -> None:
        connection.abort("the connection is of no use any more")
        with self._lock:
            self._all.pop(id(connection), None)
        pool, connection.pool, connection.place = connection.pool, None, None
        if pool is not None:
            pool.tell()

    def drop(self, connection: Connection) -> None:
        """Close a dedicated connection."""
        self._discard(connection)

    def retain(self, servers: set[ServerAddress]) -> None:
        """Close the connections to all other servers as soon as they are not in use."""
        with self._lock:
            gone = [self._pools.pop(s) for s in list(self._pools) if s not in servers]
        self._retire(gone)

    def _retire(self, pools: list[_Pool]) -> None:
        for pool in pools:
            pool.retired = True
            with contextlib.suppress(IndexError):
                while True:
                    self._discard(pool.idle.pop())

    def disconnect(self) -> None:
        """Close the connections that are not in use, and the others after use; they are made anew
        when they are needed."""
        self.retain(set())

    def close(self) -> None:
        """Close all connections. What waits for answers fails."""
        with self._lock:
            self.closed = True
            self._local = {}
            pools = list(self._pools.values())
            self._pools.clear()
        self._retire(pools)
        with self._lock:
            in_use = self._living()
        for connection in in_use:
            connection.interrupt("the client is closed")

    def _living(self) -> list[Connection]:
        return [c for c in (known() for known in self._all.values()) if c is not None]

    def after_fork(self) -> None:
        """In the child: everything there was is the parent's."""
        for connection in self._living():
            connection.leave_to_parent()
        self._all = {}
        self._pools.clear()
        self._local = {}
        self._lock = threading.Lock()
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
        self._news = threading.Condition()

    def put(self, thing: T, size: int) -> None:
        """Put one of `size` bytes behind the others."""
        with self._news:
            self._things.append((thing, size))
            self._bytes += size
            while len(self._things) > 1 and (
                len(self._things) > self._most or self._bytes > self._most_bytes
            ):
                self._pop()
                self.dropped += 1
            self._news.notify()

    def _pop(self) -> T:
        thing, size = self._things.popleft()
        self._bytes -= size
        return thing

    def take(self, timeout: float | None) -> T | None:
        """The first; None: none came in so many seconds, or none will come any more."""
        with self._news:
            self._news.wait_for(lambda: self._things or self._closed, timeout)
            return self._pop() if self._things else None

    def close(self) -> None:
        """Nothing will come any more."""
        with self._news:
            self._closed = True
            self._news.notify_all()


def spawn(work: Callable[..., None], *args: Any) -> None:
    """Do it beside everything else."""
    threading.Thread(target=work, args=args, name="hotrod-listener", daemon=True).start()


def _converse(talk: Any, sock: socket.socket, server: ServerAddress, deadline: float) -> Any:
    """Let `talk` speak with the server until it has its result."""
    out = next(talk)
    try:
        while True:
            sock.settimeout(left_until(deadline))
            if out:
                sock.sendall(out)
            data = sock.recv(2**16)
            if not data:
                raise TransportError(f"{name_of(server)} closed the connection")
            out = talk.send(data)
    except StopIteration as end:
        return end.value


_drivers: weakref.WeakSet[Driver] = weakref.WeakSet()


def _after_fork() -> None:
    for driver in list(_drivers):
        driver.after_fork()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)
