"""What servers tell without being asked each time. Each subscription has a connection of its own.

When that is lost it is made anew, at another server if need be, for as long as it is wanted.
"""

from __future__ import annotations

import logging
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from hotrod_codec import Event, Response
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import Connection, Mailbox, clock, sleep, spawn
from hotrod_codec.client.cluster import CacheState, Call
from hotrod_codec.client.session import Header
from hotrod_codec.errors import HotRodError
from hotrod_codec.ops import Op
from hotrod_codec.values import ServerAddress

__all__ = ["AsyncFeed", "Subscription"]

logger = logging.getLogger(__name__)

E = TypeVar("E")

_MOST = 100_000
_MOST_BYTES = 2**26
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_NAP = 0.2


class Subscription(ABC):
    """Something that a server tells of, and what is to be done when it does.

    A kind of it says how it is added (`_ask`), what an event means (`_hear`), and what follows when
    the connection was lost (`_lose`) and made anew (`_resume`), and when all is over (`_end`).
    """

    def __init__(self, dispatcher: Dispatcher, state: CacheState, header: Header) -> None:
        self._dispatcher = dispatcher
        self._state = state
        self._header = header
        self._id = secrets.token_bytes(16)
        self._connection: Connection | None = None
        self._generation = -1  # of the cluster that it was added to
        self._removed = False

    async def start(self) -> None:
        """Add it to a server.

        Raises:
            HotRodError: It cannot be added.
        """
        connection = await self._add([])
        spawn(self._go_on, connection)

    async def remove(self) -> None:
        """Listen no more. May be called again."""
        self._removed = True
        connection = self._connection
        if connection is not None:
            # With its connection the server forgets the listener.
            connection.interrupt("the listener was removed")
        self._end()

    def move(self) -> None:
        """Leave the cluster that it was added to if another one is used now."""
        connection = self._connection
        if connection is not None and self._generation != self._dispatcher.cluster.generation:
            connection.interrupt("another cluster is used now")

    def cache_removed(self, name: str) -> None:
        """The servers have a cache no more, and have forgotten who listens to it."""
        connection = self._connection
        if connection is not None and name == self._state.name:
            connection.interrupt("the cache was removed")

    # ---- for as long as it is wanted

    async def _add(self, tried: list[ServerAddress]) -> Connection:
        generation = self._dispatcher.cluster.generation
        connection = await self._dispatcher.connection(self._state, tried, dedicated=True)
        try:
            self._connection, self._generation = connection, generation
            connection.session.listen(self._id, self._take_in)
            if not self._is_over():
                await self._ask(connection)
            self._dispatcher.subscriptions[self._id] = self
            return connection
        except BaseException:
            tried.append(connection.server)
            self._dispatcher.driver.drop(connection)
            raise

    async def _go_on(self, connection: Connection | None) -> None:
        """Listen until the end, on one connection after the other."""
        pause = 0.0
        try:
            while not self._is_over():
                if connection is None:
                    connection = await self._add_again()
                    if connection is None or self._is_over():  # it may be over by now
                        break
                    self._resume()
                began = clock()
                self.move()
                await connection.serve()
                self._lose()
                self._dispatcher.driver.drop(connection)
                connection = None
                # A server that takes the listener and hangs up would keep us busy.
                pause = 0.0 if clock() - began > _LONGEST_PAUSE else pause
                await self._rest(pause)
                pause = min(max(2 * pause, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        finally:
            if connection is not None:
                self._dispatcher.driver.drop(connection)
            self._dispatcher.subscriptions.pop(self._id, None)
            self._end()

    async def _rest(self, seconds: float) -> None:
        """Wait, but not longer than there is something to wait for."""
        until = clock() + seconds
        while not self._is_over() and (left := until - clock()) > 0:
            await sleep(min(left, _NAP))

    async def _add_again(self) -> Connection | None:
        pause = _SHORTEST_PAUSE
        tried: list[ServerAddress] = []
        while not self._is_over():
            try:
                return await self._add(tried)
            except HotRodError as error:
                logger.warning("cache %r: no listener: %s", self._state.name, error)
            await self._rest(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            if pause == _LONGEST_PAUSE:
                tried.clear()
        return None

    def _is_over(self) -> bool:
        return self._removed or self._dispatcher.driver.closed

    async def _call(self, connection: Connection, op: Op, **fields: Any) -> Response:
        """The answer on this connection, which is no error."""
        call = Call(op, self._state, self._header, fields)
        limit = self._dispatcher.answer_timeout
        answer = await connection.request_amid_events(call, limit)
        answer.raise_for_status()
        return answer

    def _take_in(self, event: Event) -> None:
        try:
            self._hear(event)
        except Exception as error:  # a marshaller may be anybody's
            logger.warning("cache %r: an event that cannot be read: %s", self._state.name, error)

    # ---- what a kind says

    @abstractmethod
    async def _ask(self, connection: Connection) -> None:
        """Ask the server for events. Raises HotRodError when it does not want to tell."""

    @abstractmethod
    def _hear(self, event: Event) -> None:
        """An event. Called where it arrives; if it raises, the event is left out."""

    def _lose(self) -> None:
        """The connection is lost: what happens from now on is not told."""

    def _resume(self) -> None:
        """It was added again: what happens from now on is told."""

    def _end(self) -> None:
        """There will be no events any more. May be called again."""


class AsyncFeed(Subscription, Generic[E]):
    """Events for a user: handed to a callback, or kept to be iterated over.

    Events that nobody takes are kept, 100,000 of them or 64 MiB of keys and data; then the oldest
    go, and `dropped` counts them.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        state: CacheState,
        header: Header,
        callback: Callable[[E], None] | None,
    ) -> None:
        super().__init__(dispatcher, state, header)
        self._callback = callback
        self._mailbox: Mailbox[E] = Mailbox(_MOST, _MOST_BYTES)
        self._process = os.getpid()

    @property
    def dropped(self) -> int:
        """How many events were dropped because nobody took them."""
        return self._mailbox.dropped

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.remove()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def next(self, timeout: float | None = None) -> E | None:
        """The next event; None: none came in so many seconds, or the listener was removed, or is
        that of a parent process."""
        if self._process != os.getpid():  # nobody puts anything in here
            return None
        return await self._mailbox.take(timeout)

    def _end(self) -> None:
        self._mailbox.close()

    def _tell(self, event: E, size: int = 0) -> None:
        """Hand over an event that came in about so many bytes."""
        if self._callback is None:
            self._mailbox.put(event, size)
            return
        try:
            self._callback(event)
        except Exception:
            logger.exception("cache %r: a listener failed", self._state.name)
