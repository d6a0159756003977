"""Caches with a near cache: values that were read stay here until a server says that they changed.

What is kept, and when it may be trusted, is decided in client/near.py; here it is put between a
cache and its servers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar, cast

from hotrod_codec import Event, Response
from hotrod_codec.client._async.cache import AsyncCache
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import Connection, clock, sleep, spawn
from hotrod_codec.client._async.subscriptions import Subscription
from hotrod_codec.client.cluster import READS, CacheState, Calls, keys_come_back
from hotrod_codec.client.near import NearEntry, NearStore
from hotrod_codec.client.results import MetadataValue
from hotrod_codec.client.session import NO_FLAGS, Header
from hotrod_codec.errors import EncodeError, HotRodError
from hotrod_codec.marshallers import Marshaller
from hotrod_codec.ops import Flag, Op, Version
from hotrod_codec.values import Duration

__all__ = ["AsyncNearCache"]

logger = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

_Life: TypeAlias = float | timedelta | Duration | None

_CHANGES = 14  # modified, removed, expired

_TURN = 0.01
"""Seconds for which nobody else has a turn at the most.

Longer than `sys.getswitchinterval`: a thread that waits for the interpreter asks for it only when
that long nobody let go of it, and a loop whose turns are shorter starves all other threads."""


class _Changes(Subscription):
    """Tells a near cache what its servers tell.

    Args:
        name: Of the store, among what belongs to the connections here.
    """

    def __init__(
        self, dispatcher: Dispatcher, state: CacheState, header: Header, name: Any, store: NearStore
    ) -> None:
        super().__init__(dispatcher, state, header)
        self._name = name
        self._store = store

    async def begin(self) -> None:
        """Add it, or go on trying beside everything else: reads work without it."""
        connection = None
        try:
            connection = await self._add([])
        except HotRodError as error:
            logger.warning("cache %r: its near cache waits: %s", self._state.name, error)
        else:
            self._resume()
        spawn(self._go_on, connection)

    async def _ask(self, connection: Connection) -> None:
        fields: dict[str, Any] = {"listener_id": self._id, "include_state": False}
        if connection.session.version >= Version.V2_6:
            fields["interests"] = _CHANGES
        await self._call(connection, Op.ADD_CLIENT_LISTENER, **fields)

    def _hear(self, event: Event) -> None:
        self._store.hear(event.fields.get("key"))

    def _resume(self) -> None:
        self._store.connected(self._generation)

    def _lose(self) -> None:
        self._store.disconnected()

    def cache_removed(self, name: str) -> None:
        if name == self._state.name:
            self._removed = True
            self._store.disconnected()
        super().cache_removed(name)

    def _end(self) -> None:
        self._store.disconnected()
        self._dispatcher.book.near_ends(self._store)
        local = self._dispatcher.driver.local()
        if local.get(self._name) is self._store:
            local.pop(self._name, None)  # another thread may have been faster

    def _is_over(self) -> bool:
        # The connections that it belonged to may be gone, while others are made.
        return super()._is_over() or (
            self._dispatcher.driver.local().get(self._name) is not self._store
        )


class AsyncNearCache(AsyncCache[K, V]):
    """A cache of the servers with a near cache. Made by `AsyncClient.cache`.

    What it reads by `get`, `get_with_metadata`, `get_many` and `get_all` is kept and given again
    without asking a server, until one tells that it changed, or it is written here. All caches of
    a client with the same name, media types and size share what is kept; with asyncio, each
    event loop keeps its own.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        name: str,
        keys: Marshaller[K],
        values: Marshaller[V],
        *,
        flags: Flag = NO_FLAGS,
        max_entries: int,
    ) -> None:
        super().__init__(dispatcher, name, keys, values, flags=flags)
        self._max_entries = max_entries
        self._plain_header = Header(name, NO_FLAGS, keys.media_type, values.media_type)
        self._near_name = "near cache", self._plain_header, max_entries

    def with_flags(self, flags: Flag) -> AsyncNearCache[K, V]:
        return AsyncNearCache(
            self._dispatcher,
            self._name,
            self._keys,
            self._values,
            flags=self._flags | flags,
            max_entries=self._max_entries,
        )

    # ---- reading

    async def get(self, key: K) -> V | None:
        found = await self._read(key)
        return None if found is None else self._decode_value(found.value)

    async def get_with_metadata(self, key: K) -> MetadataValue[V] | None:
        found = await self._read(key)
        if found is None:
            return None
        return MetadataValue.of(self._decode_value(found.value), found.metadata)

    async def contains_key(self, key: K) -> bool:
        store = await self._store()
        if store.find(self._encode_key(key), clock(), self._dispatcher.cluster.generation):
            return True
        return await super().contains_key(key)

    async def _read(self, key: K) -> NearEntry | None:
        store = await self._store()
        data = self._encode_key(key)
        generation = self._dispatcher.cluster.generation
        now = clock()
        found = store.find(data, now, generation)
        if found is not None:
            return found
        reservation = store.reserve(data, generation)
        wall = time.time()
        try:
            answer = await self._keyed(Op.GET_WITH_METADATA, key)
            if answer.value is not None:
                found = self._entry(store, answer, now, wall)
            return found
        finally:
            store.fill(data, reservation, found)

    async def get_many(self, keys: Iterable[K]) -> list[V | None]:
        decode = self._decode_value
        found = await self._read_many(keys)
        return [None if entry is None else decode(entry.value) for entry in found]

    async def get_all(self, keys: Iterable[K]) -> dict[K, V]:
        # GET_ALL tells no metadata, and with that not for how long a value may be kept.
        wanted = list(keys)
        decode = self._decode_value
        found = zip(wanted, await self._read_many(wanted), strict=True)
        return {key: decode(entry.value) for key, entry in found if entry is not None}

    async def _read_many(self, keys: Iterable[K]) -> list[NearEntry | None]:
        store = await self._store()
        if self._epoch != self._state.epoch:
            await self._prepare()
        generation = self._dispatcher.cluster.generation
        now, wall = clock(), time.time()
        found: list[NearEntry | None] = []
        missing: list[tuple[int, bytes, object | None]] = []
        places: list[bytes] = []
        try:
            for key in keys:
                data = self._encode_key(key)
                entry = store.find(data, now, generation)
                if entry is None:
                    missing.append((len(found), data, store.reserve(data, generation)))
                    places.append(self._place(key, data))
                found.append(entry)
            if missing:
                fields = [{"key": data} for _, data, _ in missing]
                op = Op.GET_WITH_METADATA
                answers = await self._dispatcher.execute_many(
                    Calls(op, self._state, self._header, fields, places)
                )
                for (index, _, _), answer in zip(missing, answers, strict=True):
                    if answer is not None and answer.value is not None:
                        found[index] = self._entry(store, answer, now, wall)
        finally:
            for index, data, reservation in missing:
                store.fill(data, reservation, found[index] if index < len(found) else None)
        return found

    def _entry(self, store: NearStore, answer: Response, now: float, wall: float) -> NearEntry:
        entry = NearEntry(answer.value, answer.metadata, now, wall)
        if store.is_to_warn(entry):
            logger.warning(
                "cache %r: entries with a max idle are not kept in the near cache, as servers "
                "have to know when they are used",
                self._name,
            )
        return entry

    # ---- writing: whatever came of it, what was read before may be old now

    async def _keyed(self, op: Op, key: K, *, previous: bool = False, **fields: Any) -> Response:
        if op in READS:
            return await super()._keyed(op, key, previous=previous, **fields)
        try:
            return await super()._keyed(op, key, previous=previous, **fields)
        finally:
            self._forget((key,))

    async def put(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> V | None:
        try:
            return await super().put(key, value, lifespan=lifespan, max_idle=max_idle)
        finally:
            self._forget((key,))

    async def put_all(
        self,
        entries: Mapping[K, V] | Iterable[tuple[K, V]],
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> None:
        pairs = _pairs(entries)
        try:
            await super().put_all(pairs, lifespan=lifespan, max_idle=max_idle)
        finally:
            self._forget(key for key, _ in pairs)

    async def put_many(
        self,
        entries: Mapping[K, V] | Iterable[tuple[K, V]],
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> None:
        pairs = _pairs(entries)
        try:
            await super().put_many(pairs, lifespan=lifespan, max_idle=max_idle)
        finally:
            self._forget(key for key, _ in pairs)

    async def clear(self) -> None:
        try:
            await super().clear()
        finally:
            self._changed(None)

    async def execute_statement(
        self, statement: str, parameters: Mapping[str, Any] | None = None, *, local: bool = False
    ) -> int:
        try:
            return await super().execute_statement(statement, parameters, local=local)
        finally:
            self._changed(None)

    async def execute(self, task: str, parameters: Mapping[str, V] | None = None) -> V | None:
        try:
            return await super().execute(task, parameters)
        finally:
            self._changed(None)

    def _forget(self, keys: Iterable[K]) -> None:
        self._changed(map(self._encode_key, keys))

    def _changed(self, keys: Iterable[bytes] | None) -> None:
        store = self._dispatcher.driver.local().get(self._near_name)
        if store is None:
            return
        if keys is None:
            store.clear()
            return
        for data in keys:
            store.invalidate(data)

    # ---- the store

    async def _store(self) -> NearStore:
        store: NearStore | None = self._dispatcher.driver.local().get(self._near_name)
        if store is None:
            return await self._open()
        now = clock()
        if now - store.turned_at > _TURN:
            # Who reads nothing but what is here does not wait for anything, and nobody else would
            # have a turn: events of the server, above all.
            store.turned_at = now
            await sleep(0)
        return store

    async def _open(self) -> NearStore:
        """Make the store, and have it told what changes. Until then it keeps nothing."""
        if self._epoch != self._state.epoch:
            await self._prepare()
        if self._state.version < Version.V2_0:
            raise EncodeError("there are listeners from version 2.0 on", field="near_cache")
        exact = keys_come_back(self._keys.media_type, self._state.key_type, self._state.version)
        store = NearStore(self._max_entries, cache=self._name, exact_keys=exact)
        driver = self._dispatcher.driver
        if driver.closed:
            return store
        found: NearStore = driver.local().setdefault(self._near_name, store)
        if found is store:
            self._dispatcher.book.near_begins(store)
            changes = _Changes(
                self._dispatcher, self._state, self._plain_header, self._near_name, store
            )
            try:
                await changes.begin()
            except BaseException:
                driver.local().pop(self._near_name, None)
                self._dispatcher.book.near_ends(store)
                raise
        return found


def _pairs(entries: Mapping[K, V] | Iterable[tuple[K, V]]) -> list[tuple[K, V]]:
    if isinstance(entries, Mapping):
        return list(cast("Mapping[K, V]", entries).items())
    return list(entries)
