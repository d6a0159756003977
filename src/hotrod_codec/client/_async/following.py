"""Continuous queries: what begins and what ceases to match a query, as it happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hotrod_codec import Event
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import Connection
from hotrod_codec.client._async.subscriptions import AsyncFeed
from hotrod_codec.client.cluster import CacheState
from hotrod_codec.client.queries import Followed
from hotrod_codec.client.results import QueryEvent, QueryEventKind
from hotrod_codec.ops import Op
from hotrod_codec.protostream import CONTINUOUS_QUERY_FACTORY

__all__ = ["AsyncQueryListener"]

K = TypeVar("K")
V = TypeVar("V")


class AsyncQueryListener(AsyncFeed[QueryEvent[K, V]]):
    """Events of a continuous query, to be iterated over. Made by `AsyncCache.add_query_listener`.

        query = "from example.Person p where p.age > 36"
        async with await cache.add_query_listener(query) as people:
            async for event in people:
                print(event.kind, event.key, event.value)

    The first events are of what matches already. Events that nobody takes are kept, 100,000 of
    them or 64 MiB of keys and values; then the oldest go, and `dropped` counts them.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        state: CacheState,
        followed: Followed[K, V],
        callback: Callable[[QueryEvent[K, V]], None] | None,
    ) -> None:
        super().__init__(dispatcher, state, followed.header(state.name), callback)
        self._followed = followed

    async def _ask(self, connection: Connection) -> None:
        await self._call(
            connection,
            Op.ADD_CLIENT_LISTENER,
            listener_id=self._id,
            include_state=True,
            filter_factory=CONTINUOUS_QUERY_FACTORY,
            filter_params=list(self._followed.parameters),
            converter_factory=CONTINUOUS_QUERY_FACTORY,
            converter_params=[],
            use_raw_data=True,
        )

    def _lose(self) -> None:
        # Before it is added again, as then comes what matches already.
        if not self._is_over():
            self._tell(QueryEvent(QueryEventKind.FAILOVER))

    def _hear(self, event: Event) -> None:
        data = event.fields.get("event_data", b"")
        self._tell(self._followed.event(data), len(data))
