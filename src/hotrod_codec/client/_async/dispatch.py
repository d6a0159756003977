"""From calls to answers: choose a server, send, and try again where that is right."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol, TypeVar

from hotrod_codec import Response, admin
from hotrod_codec.admin import AdminTask
from hotrod_codec.client._async.driver import Connection, Driver, clock, sleep
from hotrod_codec.client.cluster import CacheState, Call, Cluster, may_retry
from hotrod_codec.client.config import Configuration
from hotrod_codec.client.session import ConnectError, Header, name_of
from hotrod_codec.client.statistics import Book
from hotrod_codec.errors import HotRodError, RequestTimeoutError, ServerError, TransportError
from hotrod_codec.ops import Op
from hotrod_codec.values import ServerAddress

__all__ = ["Dispatcher"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Mover(Protocol):
    """What stays at one server, until told to go to another cluster."""

    def move(self) -> None: ...


class Dispatcher:
    """What a client's caches share: configuration, cluster, connections."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.cluster = Cluster(configuration)
        self.driver = Driver(configuration, self.cluster)
        self.subscriptions: dict[bytes, Mover] = {}
        self.book = Book()
        self._retry_writes = configuration.retry_writes

    async def execute(self, call: Call, timeout: float | None = None) -> Response:
        """The answer to one request.

        Args:
            timeout: For everything together, in seconds; by default operation_timeout.

        Raises:
            HotRodError: There is none, or it is an error answer.
        """
        c = self.configuration
        now = clock()
        deadline = now + (c.operation_timeout if timeout is None else timeout)
        tried: list[ServerAddress] = []
        while True:
            generation = self.cluster.generation
            server = self.cluster.choose(call.state, call.key, tried, now)
            try:
                if server in tried:
                    await self._pause(len(tried), deadline - now)
                connection = await self.driver.acquire(server, deadline)
                try:
                    response = await connection.request(
                        call, min(deadline, clock() + c.request_timeout)
                    )
                finally:
                    self.driver.release(connection)
                if response.topology is not None:
                    self.learn(call.state, response, generation)
                if response.is_error:
                    response.raise_for_status()
                return response
            except (TransportError, RequestTimeoutError, ServerError) as error:
                now = clock()
                tried.append(server)
                self._note(server, error, now)
                self._raise_unless_again(call, error, tried, deadline - now)

    def _note_retries(self, state: CacheState, count: int) -> None:
        """So many requests are sent again: for those who count."""

    def _note(self, server: ServerAddress, error: Exception, now: float) -> None:
        if isinstance(error, ConnectError):
            self.cluster.server_failed(server, now)

    def _raise_unless_again(
        self, call: Call, error: HotRodError, tried: list[ServerAddress], left: float
    ) -> None:
        """Raise `error` unless the request may be tried once more."""
        again = may_retry(error, reads=call.reads, retry_writes=self._retry_writes)
        again = again and not self.driver.closed and left > 0
        if again and len(tried) <= self.configuration.max_retries:
            logger.info("%s, trying again", error)
            self._note_retries(call.state, 1)
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

    async def execute_many(
        self, calls: Sequence[Call], timeout: float | None = None
    ) -> list[Response]:
        """The answers to many requests, sent side by side to the servers that own their keys.

        Raises:
            HotRodError: One of them failed; others may have been done.
        """
        results = await self.try_many(calls, timeout)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results  # type: ignore[return-value]

    async def try_many(
        self, calls: Sequence[Call], timeout: float | None = None
    ) -> list[Response | Exception]:
        """As `execute_many`, with each error in its place."""
        c = self.configuration
        deadline = clock() + (c.operation_timeout if timeout is None else timeout)
        results: list[Response | Exception] = [TransportError("not sent")] * len(calls)
        todo = list(range(len(calls)))
        tried: list[ServerAddress] = []
        attempts = 0
        while True:
            now = clock()
            generation = self.cluster.generation
            places: dict[ServerAddress, list[int]] = {}
            for i in todo:
                server = self.cluster.choose(calls[i].state, calls[i].key, tried, now)
                places.setdefault(server, []).append(i)
            if any(server in tried for server in places):
                await self._pause(attempts, deadline - now)
            attempts += 1
            answers = await self.driver.perform(
                {server: [calls[i] for i in indices] for server, indices in places.items()},
                min(deadline, clock() + c.request_timeout),
            )
            todo = []
            for server, indices in places.items():
                for i, answer in zip(indices, answers[server], strict=True):
                    results[i] = self._taken_in(calls[i], answer, generation)
                    if self._failed_for_now(calls[i], results[i]):
                        todo.append(i)
                        if server not in tried:
                            tried.append(server)
                            self._note(server, answer, clock())  # type: ignore[arg-type]
            if not todo or attempts > c.max_retries or clock() >= deadline:
                return results
            self._note_retries(calls[todo[0]].state, len(todo))

    def _taken_in(
        self, call: Call, answer: Response | Exception, generation: int
    ) -> Response | Exception:
        if isinstance(answer, Exception):
            return answer
        if answer.topology is not None:
            self.learn(call.state, answer, generation)
        if answer.is_error:
            try:
                answer.raise_for_status()
            except ServerError as error:
                return error
        return answer

    def _failed_for_now(self, call: Call, result: Response | Exception) -> bool:
        if not isinstance(result, Exception) or self.driver.closed:
            return False
        return may_retry(result, reads=call.reads, retry_writes=self._retry_writes)

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
                    return connection, await self.ask(connection, call)
                except BaseException:
                    self.driver.let_go(connection)
                    raise
            except (TransportError, RequestTimeoutError, ServerError) as error:
                now = clock()
                tried.append(server)
                self._note(server, error, now)
                self._raise_unless_again(call, error, tried, deadline - now)

    async def ask(self, connection: Connection, call: Call) -> Response:
        """The answer to one request by a connection that is held.

        Raises:
            HotRodError: There is none, or it is an error answer.
        """
        generation = self.cluster.generation
        limit = self.configuration.request_timeout
        answer = await connection.request(call, clock() + limit)
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
