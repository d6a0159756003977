"""Listeners: what happens in a cache, as it happens.

Each listener has a connection of its own. When that is lost it listens anew, at another server if
need be, and tells so by an event of its own kind.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from hotrod_codec import Event
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import Connection, Mailbox, clock, sleep, spawn
from hotrod_codec.client.cluster import CacheState, Call
from hotrod_codec.client.results import CacheEvent, EventKind
from hotrod_codec.client.session import Header
from hotrod_codec.errors import HotRodError
from hotrod_codec.ops import Op, Version
from hotrod_codec.values import ServerAddress

__all__ = ["AsyncListener"]

logger = logging.getLogger(__name__)

K = TypeVar("K")

_KINDS = {
    Op.CACHE_ENTRY_CREATED: EventKind.CREATED,
    Op.CACHE_ENTRY_MODIFIED: EventKind.MODIFIED,
    Op.CACHE_ENTRY_REMOVED: EventKind.REMOVED,
    Op.CACHE_ENTRY_EXPIRED: EventKind.EXPIRED,
}
_BITS = {
    EventKind.CREATED: 1,
    EventKind.MODIFIED: 2,
    EventKind.REMOVED: 4,
    EventKind.EXPIRED: 8,
}
_MOST = 100_000
_LONGEST_PAUSE = 5.0


class AsyncListener(Generic[K]):
    """Events of a cache, to be iterated over. Made by `AsyncCache.add_listener`.

        async with await cache.add_listener() as events:
            async for event in events:
                print(event.kind, event.key)

    Events that nobody takes are kept, 100,000 of them; then the oldest go, and `dropped` counts
    them.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        state: CacheState,
        header: Header,
        decode_key: Callable[[Any], K],
        callback: Callable[[CacheEvent[K]], None] | None,
        kinds: Collection[EventKind],
        fields: dict[str, Any],
    ) -> None:
        self._dispatcher = dispatcher
        self._state = state
        self._header = header
        self._decode_key = decode_key
        self._callback = callback
        self._kinds = frozenset(kinds)
        self._fields = fields
        self._id = secrets.token_bytes(16)
        self._mailbox: Mailbox[CacheEvent[K]] = Mailbox(_MOST)
        self._connection: Connection | None = None
        self._removed = False

    @property
    def dropped(self) -> int:
        """How many events were dropped because nobody took them."""
        return self._mailbox.dropped

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.remove()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CacheEvent[K]:
        event = await self._mailbox.take(None)
        if event is None:
            raise StopAsyncIteration
        return event

    async def next(self, timeout: float | None = None) -> CacheEvent[K] | None:
        """The next event; None: none came in so many seconds, or the listener was removed."""
        return await self._mailbox.take(timeout)

    async def remove(self) -> None:
        """Listen no more. May be called again."""
        self._removed = True
        connection = self._connection
        if connection is not None:
            # With its connection the server forgets the listener.
            connection.interrupt("the listener was removed")
        self._mailbox.close()

    # ---- listening

    async def start(self) -> None:
        """Add the listener to a server.

        Raises:
            HotRodError: It cannot be added.
        """
        connection = await self._add([])
        spawn(self._go_on, connection)

    async def _add(self, tried: list[ServerAddress]) -> Connection:
        connection = await self._dispatcher.connection(self._state, tried, dedicated=True)
        try:
            self._connection = connection
            connection.session.listen(self._id, self._hear)
            fields = {"listener_id": self._id, **self._fields}
            version = connection.session.version
            if version >= Version.V2_6:
                fields["interests"] = self._interests()
            call = Call(Op.ADD_CLIENT_LISTENER, self._state, self._header, fields)
            limit = self._dispatcher.configuration.request_timeout
            (await connection.request(call, clock() + limit)).raise_for_status()
            return connection
        except BaseException:
            tried.append(connection.server)
            self._dispatcher.driver.drop(connection)
            raise

    def _interests(self) -> int:
        wanted = sum(_BITS[kind] for kind in self._kinds)
        return 0 if wanted == sum(_BITS.values()) else wanted

    async def _go_on(self, connection: Connection) -> None:
        """Listen until the end, on one connection after the other."""
        while not self._is_over():
            await connection.serve()
            self._dispatcher.driver.drop(connection)
            again = await self._add_again()
            if again is None:
                break
            connection = again
            self._tell(CacheEvent(EventKind.FAILOVER))
        self._dispatcher.driver.drop(connection)
        self._mailbox.close()

    async def _add_again(self) -> Connection | None:
        pause = 0.05
        tried: list[ServerAddress] = []
        while not self._is_over():
            try:
                return await self._add(tried)
            except HotRodError as error:
                logger.warning("cache %r: no listener: %s", self._state.name, error)
            await sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            if pause == _LONGEST_PAUSE:
                tried.clear()
        return None

    def _is_over(self) -> bool:
        return self._removed or self._dispatcher.driver.closed

    # ---- events

    def _hear(self, event: Event) -> None:
        kind = _KINDS[Op(event.op)] if event.op is not None else EventKind.FAILOVER
        if kind not in self._kinds:
            return
        fields = event.fields
        key = fields.get("key")
        try:
            self._tell(
                CacheEvent(
                    kind,
                    None if key is None else self._decode_key(key),
                    fields.get("entry_version"),
                    bool(fields.get("retried")),
                    fields.get("event_data"),
                )
            )
        except HotRodError as error:
            logger.warning("cache %r: an event that cannot be read: %s", self._state.name, error)

    def _tell(self, event: CacheEvent[K]) -> None:
        if self._callback is None:
            self._mailbox.put(event)
            return
        try:
            self._callback(event)
        except Exception:
            logger.exception("cache %r: a listener failed", self._state.name)


def kinds_of(kinds: Iterable[EventKind | str] | None) -> set[EventKind]:
    """The kinds of events that are meant; None: all."""
    if kinds is None:
        return set(_BITS)
    return {EventKind(kind) for kind in kinds}
