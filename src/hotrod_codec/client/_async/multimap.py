"""Multimaps: caches with several values under a key."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from hotrod_codec import Response
from hotrod_codec.client._async.cache import AsyncCache
from hotrod_codec.client.cluster import Call
from hotrod_codec.ops import Op, Status, Version

__all__ = ["AsyncMultimap"]

K = TypeVar("K")
V = TypeVar("V")


class AsyncMultimap(Generic[K, V]):
    """A multimap. Made by `AsyncClient.multimap`; since version 2.7. Errors are those of
    AsyncCache. The cache of a multimap is not to be used as a plain one.

    Servers convert neither keys nor values of multimaps, whatever the cache stores: all who use one
    need the same marshallers. What Java's client writes unless told otherwise, "protostream" reads.
    From version 2.8 on server 9.4 tries to, and fails: it wants "application/unknown".

    Args:
        duplicates: Whether a value may be there several times under a key; since 4.0.
    """

    def __init__(self, cache: AsyncCache[K, V], *, duplicates: bool = False) -> None:
        self._cache = cache
        self._duplicates = duplicates

    @property
    def name(self) -> str:
        """The name of its cache."""
        return self._cache.name

    async def get(self, key: K) -> list[V]:
        """The values under a key, in any order; none: an empty list."""
        answer = await self._keyed(Op.GET_MULTIMAP, key)
        if answer.status == Status.KEY_DOES_NOT_EXIST:
            return []
        return [self._cache._decode_value(value) for value in answer.values]

    async def put(self, key: K, value: V) -> None:
        """Add a value to those under a key."""
        await self._keyed(Op.PUT_MULTIMAP, key, value=self._cache._encode_value(value))

    async def remove(self, key: K) -> bool:
        """Remove all values under a key; whether there were any."""
        return _said_yes(await self._keyed(Op.REMOVE_KEY_MULTIMAP, key))

    async def remove_entry(self, key: K, value: V) -> bool:
        """Remove a value from those under a key, each time that it is there; whether it was."""
        data = self._cache._encode_value(value)
        return _said_yes(await self._keyed(Op.REMOVE_ENTRY_MULTIMAP, key, value=data))

    async def contains_key(self, key: K) -> bool:
        """Whether there are values under a key."""
        return _said_yes(await self._keyed(Op.CONTAINS_KEY_MULTIMAP, key))

    async def contains_entry(self, key: K, value: V) -> bool:
        """Whether this value is under this key."""
        data = self._cache._encode_value(value)
        return _said_yes(await self._keyed(Op.CONTAINS_ENTRY_MULTIMAP, key, value=data))

    async def contains_value(self, value: V) -> bool:
        """Whether this value is under any key."""
        data = self._cache._encode_value(value)
        fields = await self._fields()
        return _said_yes(await self._cache._any(Op.CONTAINS_VALUE_MULTIMAP, value=data, **fields))

    async def size(self) -> int:
        """How many pairs of a key and a value there are."""
        fields = await self._fields()
        return int((await self._cache._any(Op.SIZE_MULTIMAP, **fields))["size"])

    async def _keyed(self, op: Op, key: K, **fields: Any) -> Response:
        more = await self._fields()
        cache = self._cache
        data = cache._encode_key(key)
        # Stored as it is sent, it has its place by that: not as the keys of plain caches do.
        call = Call(op, cache._state, cache._header, {"key": data, **fields, **more}, data)
        return await cache._dispatcher.execute(call)

    async def _fields(self) -> dict[str, Any]:
        """What every request has, where the version can say it."""
        if self._cache._epoch != self._cache._state.epoch:
            await self._cache._prepare()
        if self._cache._state.version < Version.V4_0 and not self._duplicates:
            return {}
        return {"supports_duplicates": self._duplicates}


def _said_yes(answer: Response) -> bool:
    return answer.status == Status.SUCCESS and bool(answer.result)
