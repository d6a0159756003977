"""Listeners: what happens in a cache, as it happens.

When its connection was lost a listener tells so by an event of its own kind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

from hotrod_codec import Event
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import Connection
from hotrod_codec.client._async.subscriptions import AsyncFeed
from hotrod_codec.client.cluster import CacheState
from hotrod_codec.client.results import CacheEvent, EventKind
from hotrod_codec.client.session import Header
from hotrod_codec.ops import Op, Version

__all__ = ["AsyncListener"]

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


class AsyncListener(AsyncFeed[CacheEvent[K]]):
    """Events of a cache, to be iterated over. Made by `AsyncCache.add_listener`.

        async with await cache.add_listener() as events:
            async for event in events:
                print(event.kind, event.key)

    Events that nobody takes are kept, 100,000 of them or 64 MiB of keys and data; then the oldest
    go, and `dropped` counts them.
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
        super().__init__(dispatcher, state, header, callback)
        self._decode_key = decode_key
        self._kinds = frozenset(kinds)
        self._fields = fields

    async def _ask(self, connection: Connection) -> None:
        fields = {"listener_id": self._id, **self._fields}
        if connection.session.version >= Version.V2_6:
            fields["interests"] = self._interests()
        await self._call(connection, Op.ADD_CLIENT_LISTENER, **fields)

    def _interests(self) -> int:
        wanted = sum(_BITS[kind] for kind in self._kinds)
        return 0 if wanted == sum(_BITS.values()) else wanted

    def _lose(self) -> None:
        # Before it is added again if then comes what is there; else after, so that who reads all
        # anew for it misses nothing.
        if self._fields["include_state"] and not self._is_over():
            self._tell(CacheEvent(EventKind.FAILOVER))

    def _resume(self) -> None:
        if not self._fields["include_state"]:
            self._tell(CacheEvent(EventKind.FAILOVER))

    def _hear(self, event: Event) -> None:
        kind = None if event.op is None else _KINDS.get(Op(event.op))
        if kind is None or kind not in self._kinds:
            return
        fields = event.fields
        key = fields.get("key")
        data = fields.get("event_data")
        self._tell(
            CacheEvent(
                kind,
                None if key is None else self._decode_key(key),
                fields.get("entry_version"),
                bool(fields.get("retried")),
                data,
            ),
            len(key or b"") + len(data or b""),
        )


def kinds_of(kinds: Iterable[EventKind | str] | None) -> set[EventKind]:
    """The kinds of events that are meant; None: all."""
    if kinds is None:
        return set(_BITS)
    return {EventKind(kind) for kind in kinds}
