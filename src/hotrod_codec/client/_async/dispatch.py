"""From calls to answers: choose a server, send, and try again where that is right."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeVar

from hotrod_codec import Response, admin
from hotrod_codec._ext.scalars import total_size
from hotrod_codec.admin import AdminTask
from hotrod_codec.client._async.driver import Ask, Connection, Driver, clock, sleep
from hotrod_codec.client.cluster import ONCE, READS, CacheState, Call, Calls, Cluster, may_retry
from hotrod_codec.client.config import Configuration
from hotrod_codec.client.session import ConnectError, Fields, Header, Into, name_of
from hotrod_codec.client.statistics import Book
from hotrod_codec.errors import HotRodError, RequestTimeoutError, ServerError, TransportError
from hotrod_codec.ops import Op
from hotrod_codec.values import ServerAddress

__all__ = ["Dispatcher"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PLAIN: Final = frozenset({bytes, type(None)})
"""What results are that nobody has to look at."""


class Mover(Protocol):
    """What stays at one server, until told that there is nothing to hear of any more."""

    def move(self) -> None: ...

    def cache_removed(self, name: str) -> None: ...


class Dispatcher:
    """What a client's caches share: configuration, cluster, connections.

    Attributes:
        answer_timeout: For an answer of one server: no longer than a call with all its attempts.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.cluster = Cluster(configuration)
        self.driver = Driver(configuration, self.cluster)
        self.subscriptions: dict[bytes, Mover] = {}
        self.book = Book()
        self._retry_writes = configuration.retry_writes
        self._operation_timeout = configuration.operation_timeout
        self._request_timeout = configuration.request_timeout
        self.answer_timeout = min(self._request_timeout, self._operation_timeout)

    @property
    def ask(self) -> Ask:
        """As `request`, in less time."""
        return self.driver.shortcut(self)

    async def execute(self, call: Call, timeout: float | None = None) -> Response:
        """The answer to one request; as `request`."""
        return await self.request(
            call.op,
            call.state,
            call.header,
            call.fields,
            call.key,
            call.into,
            timeout,
            reads=call.reads,
        )

    async def request(
        self,
        op: Op,
        state: CacheState,
        header: Header,
        fields: Fields,
        key: bytes | None,
        into: Into = "pairs",
        timeout: float | None = None,
        *,
        reads: bool | None = None,
        tried: list[ServerAddress] | None = None,
    ) -> Response:
        """The answer to one request.

        Args:
            op, state, header, fields, key, into: As in Call. (To make one would take a tenth of
                the time of all this.)
            timeout: For everything together, in seconds; by default operation_timeout.
            reads: As Call.reads; None: what it is for `op`.
            tried: Those that failed before.

        Raises:
            HotRodError: There is none, or it is an error answer.
        """
        now = clock()
        deadline = now + (self._operation_timeout if timeout is None else timeout)
        cluster, driver = self.cluster, self.driver
        tried = [] if tried is None else tried
        while True:
            generation = cluster.generation
            server = state.routing.only
            if server is None or tried or cluster.failed:  # else there is nothing to choose
                server = cluster.choose(state, key, tried, now)
            try:
                if tried and server in tried:
                    await self._pause(len(tried), deadline - now)
                    now = clock()
                connection = driver.ready(server, now)
                if connection is None:
                    connection = await driver.acquire(server, deadline)
                    now = clock()
                limit = now + self._request_timeout
                try:
                    response = await connection.ask(
                        op,
                        state,
                        header,
                        fields,
                        into,
                        limit if limit < deadline else deadline,
                        now,
                    )
                finally:
                    driver.release(connection)
                if response.topology is not None:
                    self.learn(state, response, generation)
                if response.is_error:
                    response.raise_for_status()
                return response
            except (TransportError, RequestTimeoutError, ServerError) as error:
                self.failed(op, state, error, server, tried, deadline, reads)
                now = clock()

    def failed(
        self,
        op: Op,
        state: CacheState,
        error: HotRodError,
        server: ServerAddress,
        tried: list[ServerAddress],
        deadline: float,
        reads: bool | None = None,
    ) -> None:
        """Raise what a server let a request fail with, unless there is to be another attempt.

        Args:
            tried: Those that failed before; gets `server`.
            deadline, reads: Of the request.
        """
        now = clock()
        tried.append(server)
        self._note(server, error, now)
        reads = op in READS if reads is None else reads
        retry_writes = self._retry_writes and op not in ONCE
        again = may_retry(error, reads=reads, retry_writes=retry_writes)
        self._raise_unless_again(state, error, tried, again=again and deadline > now)

    def _note_retries(self, state: CacheState, count: int) -> None:
        """So many requests are sent again: for those who count."""

    def _note(self, server: ServerAddress, result: object, now: float) -> None:
        if isinstance(result, ConnectError):
            self.cluster.server_failed(server, now)

    def _raise_unless_again(
        self,
        state: CacheState,
        error: HotRodError,
        tried: list[ServerAddress],
        *,
        again: bool,
    ) -> None:
        """Raise `error` unless the request may be tried once more."""
        again = again and not self.driver.closed
        if again and len(tried) <= self.configuration.max_retries:
            logger.info("%s, trying again", error)
            self._note_retries(state, 1)
            return
        if len(tried) > 1:
            error.add_note(f"attempts: {', '.join(name_of(server) for server in tried)}")
        raise error

    async def _pause(self, attempts: int, left: float) -> None:
        """There is no other server: give it some time."""
        await sleep(max(0.0, min(0.02 * 2**attempts, 1.0, left)))

    def learn(self, state: CacheState, response: Response, generation: int) -> None:
        """Take in what an answer says of the cluster."""
        topology = response.topology
        if topology is not None and self.cluster.learn(state, topology, generation):
            self.driver.retain(self.cluster.servers())

    def switch(self, name: str) -> bool:
        """Go to another cluster; False: there is none of that name."""
        known = self.cluster.switch(name)
        if known:
            self.driver.retain(self.cluster.servers())
            for subscription in list(self.subscriptions.values()):
                subscription.move()
        return known

    # ---- what is no user's request

    async def look_up(self, state: CacheState) -> None:
        """Ask for a cache: whether it is there, how it stores, who has which keys. Creates it if
        the configuration says how.

        Raises:
            HotRodError: There is none; or no answer.
        """
        ping = Call(Op.PING, state, Header(state.name))
        try:
            answer = await self.execute(ping)
        except ServerError as error:
            settings = self.configuration.cache(state.name)
            definition = settings.template or settings.configuration
            if "CacheNotFoundException" not in error.text or definition is None:
                raise
            await self.run(
                admin.get_or_create_cache(
                    state.name, template=settings.template, configuration=settings.configuration
                )
            )
            answer = await self.execute(ping)
        state.version = answer.version
        state.key_type = answer.fields.get("key_media_type")
        state.value_type = answer.fields.get("value_media_type")
        state.known = True

    async def run(self, task: AdminTask[T]) -> T:
        """The result of an admin task."""
        call = Call(Op.EXEC, self.cluster.cache(""), Header(""), task.fields)
        return task.parse((await self.execute(call)).result)

    # ---- many at once

    async def execute_many(self, calls: Calls, timeout: float | None = None) -> list[Any]:
        """The answers to many requests, sent side by side to the servers that own their keys: of
        GET the values, of others the Responses; None for an answer that says no more than that
        it was done, or that there is nothing.

        Raises:
            HotRodError: One of them failed; others may have been done.
        """
        results, plain = await self.try_many(calls, timeout)
        if not plain:
            for result in results:
                if isinstance(result, Exception):
                    raise result
        return results

    async def try_many(self, calls: Calls, timeout: float | None = None) -> tuple[list[Any], bool]:
        """As `execute_many`, with each error in its place. Beside it, whether there is surely no
        error and no Response."""
        c = self.configuration
        now = clock()
        deadline = now + (c.operation_timeout if timeout is None else timeout)
        results: list[Any] = [TransportError("not sent")] * len(calls)
        todo: Sequence[int] = range(len(calls))
        tried: list[ServerAddress] = []
        attempts = 0
        plain = True
        while True:
            generation = self.cluster.generation
            places = self.cluster.split(calls, todo, tried, now)
            if any(server in tried for server in places):
                await self._pause(attempts, deadline - now)
                now = clock()
            attempts += 1
            answers = await self.driver.perform(
                {server: calls.only(indices) for server, indices in places.items()},
                deadline,
            )
            again: list[int] = []
            for server, indices in places.items():
                found = answers[server]
                failed: list[int] = []
                if total_size(found, none=True) < 0:
                    plain = False
                    failed = self._take_in(calls, found, generation)
                if len(found) == len(results):
                    results = found
                else:
                    for i, result in zip(indices, found, strict=True):
                        results[i] = result
                if failed:
                    again += [indices[i] for i in failed]
                    if server not in tried:
                        tried.append(server)
                        self._note(server, found[failed[0]], clock())
            now = clock()
            if not again or attempts > c.max_retries or now >= deadline:
                return results, plain
            self._note_retries(calls.state, len(again))
            todo = sorted(again)

    def _take_in(self, calls: Calls, results: list[Any], generation: int) -> list[int]:
        """Put errors in the place of error answers; the indices of those that may be asked for
        again."""
        again = []
        for i, result in enumerate(results):
            if type(result) in _PLAIN:
                continue
            if isinstance(result, Response):
                if result.topology is not None:
                    self.learn(calls.state, result, generation)
                if not result.is_error:
                    if calls.op is Op.GET:
                        results[i] = result.value
                    continue
                try:
                    result.raise_for_status()
                except ServerError as error:
                    result = results[i] = error
            if self._failed_for_now(calls.op, result):
                again.append(i)
        return again

    def _failed_for_now(self, op: Op, result: object) -> bool:
        if not isinstance(result, Exception) or self.driver.closed:
            return False
        return may_retry(result, reads=op in READS, retry_writes=self._retry_writes)

    # ---- one connection for several requests

    async def hold(self, call: Call) -> tuple[Connection, Response]:
        """The answer to a request, and the connection that it came by: `driver.let_go` of it."""
        deadline = clock() + self.configuration.operation_timeout
        tried: list[ServerAddress] = []
        while True:
            server = self.cluster.choose(call.state, call.key, tried, clock())
            try:
                if server in tried:
                    await self._pause(len(tried), deadline - clock())
                connection = await self.driver.hold(server, deadline)
                try:
                    return connection, await self.ask_at(connection, call, deadline)
                except BaseException:
                    self.driver.let_go(connection)
                    raise
            except (TransportError, RequestTimeoutError, ServerError) as error:
                self.failed(call.op, call.state, error, server, tried, deadline, call.reads)

    async def ask_at(
        self, connection: Connection, call: Call, deadline: float = math.inf
    ) -> Response:
        """The answer to one request by a connection that is held.

        Args:
            deadline: Of what it is a part of.

        Raises:
            HotRodError: There is none, or it is an error answer.
        """
        generation = self.cluster.generation
        limit = min(clock() + self.answer_timeout, deadline)
        answer = await connection.request(call, limit)
        self.learn(call.state, answer, generation)
        answer.raise_for_status()
        return answer

    async def connection(
        self, state: CacheState, tried: list[ServerAddress], *, dedicated: bool = False
    ) -> Connection:
        """A connection to any server that can be reached; `release` or abort it after use.

        Args:
            tried: Those that failed before; what cannot be reached is added.
            dedicated: Nobody else gets it.
        """
        deadline = clock() + self.configuration.operation_timeout
        attempts = 0
        while True:
            server = self.cluster.choose(state, None, tried, clock())
            try:
                if dedicated:
                    return await self.driver.dedicated(server, deadline)
                return await self.driver.acquire(server, deadline)
            except TransportError as error:
                attempts += 1
                tried.append(server)
                self._note(server, error, clock())
                if attempts > self.configuration.max_retries or clock() >= deadline:
                    raise
