"""A cache: what a user calls, and what goes over the wire for it."""

from __future__ import annotations

import re
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast, overload

from hotrod_codec import EntryBatch, Response, segments_of
from hotrod_codec._ext.bulk import put_found
from hotrod_codec._ext.scalars import total_size, unzipped
from hotrod_codec.client._async.batches import unbatched
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import clock
from hotrod_codec.client._async.following import AsyncQueryListener
from hotrod_codec.client._async.iteration import KEYS_ONLY, Iteration
from hotrod_codec.client._async.listeners import AsyncListener, kinds_of
from hotrod_codec.client._async.streams import (
    CHUNK_SIZE,
    AsyncValueReader,
    AsyncValueWriter,
    reading,
    writing,
)
from hotrod_codec.client._async.tasks import execute
from hotrod_codec.client.cluster import (
    Call,
    Calls,
    Statement,
    end_of_piece,
    keys_come_back,
    length_of,
    may_retry,
)
from hotrod_codec.client.config import as_marshaller
from hotrod_codec.client.queries import Followed, Query, deletes
from hotrod_codec.client.results import (
    CacheEvent,
    EventKind,
    MetadataValue,
    QueryEvent,
    QueryResult,
)
from hotrod_codec.client.session import NO_FLAGS, Header, Into
from hotrod_codec.client.statistics import CacheStatistics
from hotrod_codec.errors import EncodeError, RequestTimeoutError, ServerError
from hotrod_codec.marshallers import (
    PROTOSTREAM,
    Marshaller,
    many_decoder,
    many_encoder,
    one_decoder,
    one_encoder,
)
from hotrod_codec.ops import Flag, Op, Status, Version
from hotrod_codec.values import Duration, MediaType, Metadata

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["AsyncCache"]

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
T = TypeVar("T")

_Life: TypeAlias = float | timedelta | Duration | None

# A tuple: to find one of a few by identity is faster than to hash an enum.
_DONE = (
    Status.SUCCESS,
    Status.SUCCESS_WITH_PREVIOUS,
    Status.SUCCESS_OBJ_STORAGE,
    Status.SUCCESS_WITH_PREVIOUS_OBJ_STORAGE,
)
_NUMBER = re.compile("-?[0-9]{1,20}")
_GET, _PUT = Op.GET, Op.PUT  # an enum's members are found slowly
_FORCE = Flag.FORCE_RETURN_VALUE
_MOST_BYTES = 2**20
"""Keys and values of one request for many; servers take 10 MB by default. As many are wanted in an
answer at the most, as far as it can be foreseen."""

_MOST_KEYS = 512
"""Of one request for many: more take the server longer, who could do others meanwhile and by a
second connection, and the client, who could take in what is there."""

GATHERED_FROM = 128
"""From how many keys on `get_many` asks for several by one request."""

_LONG_VALUE = 2**12
"""Bytes of values that are as quickly had by requests of their own."""


class AsyncCache(Generic[K, V]):
    """A cache of the servers. Made by `AsyncClient.cache`.

    All methods raise, beside what they say themselves:

    * TypeError, EncodeError: The marshaller does not take the key or value, or the protocol
      version cannot say it. Nothing was sent.
    * ServerError: The server refused; see its `status`.
    * TransportError: The connection failed or none could be made; RequestTimeoutError: no answer
      in time. A read was then tried several times. A write may have been done, unless the error is
      that it was not sent; see `retry_writes`.
    * DecodeError: What is stored is nothing that the marshaller understands.

    Durations (`lifespan`, `max_idle`) are seconds or a timedelta. None is the cache's default,
    ``math.inf`` is for ever.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        name: str,
        keys: Marshaller[K],
        values: Marshaller[V],
        *,
        flags: Flag = NO_FLAGS,
    ) -> None:
        self._dispatcher = dispatcher
        self._request = dispatcher.ask
        self._state = dispatcher.cluster.cache(name)
        self._name = name
        self._keys = keys
        self._values = values
        self._flags = flags
        types = keys.media_type, values.media_type
        self._header = Header(name, flags & ~_FORCE, *types)
        self._header_with_previous = Header(name, flags | _FORCE, *types)
        self._header_of_writes = Header(name, flags, *types)
        self._encode_key = one_encoder(keys)
        self._encode_value = one_encoder(values)
        self._decode_value = one_decoder(values)
        self._encode_keys = many_encoder(keys)
        self._encode_values = many_encoder(values)
        self._decode_keys = many_decoder(keys)
        self._decode_values = many_decoder(values)
        self._stored_key: Callable[[K], bytes] | None = None
        self._keys_return = False  # as they are sent
        self._epoch = -1  # of the state that this is of

    @property
    def name(self) -> str:
        """The cache's name; "" is the server's default cache."""
        return self._name

    @property
    def statistics(self) -> CacheStatistics:
        """What this client did with the cache; see `AsyncClient.statistics`. What the server
        counts, `stats` tells."""
        return self._dispatcher.book.of_cache(self._name)

    def __repr__(self) -> str:
        types = f"{self._keys.media_type!s} to {self._values.media_type!s}"
        return f"<{type(self).__name__} {self._name!r}, {types}>"

    def with_flags(self, flags: Flag) -> AsyncCache[K, V]:
        """The same cache with these flags on every request, beside those it has already.

        FORCE_RETURN_VALUE lets `put` give the previous value back.
        """
        return AsyncCache(
            self._dispatcher, self._name, self._keys, self._values, flags=self._flags | flags
        )

    @overload
    def with_marshallers(self, *, keys: Marshaller[K2]) -> AsyncCache[K2, V]: ...

    @overload
    def with_marshallers(self, *, values: Marshaller[V2]) -> AsyncCache[K, V2]: ...

    @overload
    def with_marshallers(
        self, *, keys: Marshaller[K2], values: Marshaller[V2]
    ) -> AsyncCache[K2, V2]: ...

    @overload
    def with_marshallers(
        self, *, keys: Marshaller[Any] | str = ..., values: Marshaller[Any] | str = ...
    ) -> AsyncCache[Any, Any]: ...

    def with_marshallers(
        self,
        *,
        keys: Marshaller[Any] | str | None = None,
        values: Marshaller[Any] | str | None = None,
    ) -> AsyncCache[Any, Any]:
        """The same cache with keys or values in another form: the server converts.

        Args:
            keys, values: As for `AsyncClient.cache`; None: as they are.

        Returns:
            A cache that asks the servers each time, if this one has a near cache or not.
        """
        return AsyncCache(
            self._dispatcher,
            self._name,
            self._keys if keys is None else as_marshaller(keys),
            self._values if values is None else as_marshaller(values),
            flags=self._flags,
        )

    # ---- one key

    async def get(self, key: K) -> V | None:
        """The value under a key; None: there is none.

        Hot Rod: GET 0x03.
        """
        if self._epoch != self._state.epoch:
            await self._prepare()
        data = self._encode_key(key)
        place = data if self._stored_key is None else self._stored_key(key)
        answer = await self._request(_GET, self._state, self._header, data, place)
        value = answer.value
        return None if value is None else self._decode_value(value)

    async def get_with_metadata(self, key: K) -> MetadataValue[V] | None:
        """The value under a key, its version and expiration; None: there is none.

        Hot Rod: GET_WITH_METADATA 0x1B, since 1.2; before, GET_WITH_VERSION 0x11.
        """
        if self._epoch != self._state.epoch:
            await self._prepare()
        op = Op.GET_WITH_METADATA
        if self._state.version < Version.V1_2:
            op = Op.GET_WITH_VERSION
        found = await self._keyed(op, key)
        if found.value is None:
            return None
        value = self._decode_value(found.value)
        if op is Op.GET_WITH_VERSION:
            return MetadataValue(value, found.entry_version)
        return MetadataValue.of(value, found.metadata)

    async def contains_key(self, key: K) -> bool:
        """Whether there is a value under a key.

        Hot Rod: CONTAINS_KEY 0x0F.
        """
        return (await self._keyed(Op.CONTAINS_KEY, key)).status in _DONE

    async def put(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> V | None:
        """Store a value under a key.

        Returns:
            The previous value if the cache has the flag FORCE_RETURN_VALUE (`force_return`), else
            None.

        Hot Rod: PUT 0x01.
        """
        if self._epoch != self._state.epoch:
            await self._prepare()
        data = self._encode_key(key)
        place = data if self._stored_key is None else self._stored_key(key)
        fields: dict[str, Any] = {"key": data, "value": self._encode_value(value)}
        if lifespan is not None:
            fields["lifespan"] = lifespan
        if max_idle is not None:
            fields["max_idle"] = max_idle
        answer = await self._request(_PUT, self._state, self._header_of_writes, fields, place)
        return None if answer.previous is None else self._previous(answer)

    async def put_if_absent(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> bool:
        """Store a value unless there is one already; whether it was stored.

        Hot Rod: PUT_IF_ABSENT 0x05.
        """
        return self._done(await self._write(Op.PUT_IF_ABSENT, key, value, lifespan, max_idle))

    async def replace(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> bool:
        """Store a value if there is one already; whether it was stored.

        Hot Rod: REPLACE 0x07.
        """
        return self._done(await self._write(Op.REPLACE, key, value, lifespan, max_idle))

    async def remove(self, key: K) -> bool:
        """Remove a key; whether it was there.

        Hot Rod: REMOVE 0x0B.
        """
        return self._done(await self._keyed(Op.REMOVE, key))

    async def get_and_put(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> V | None:
        """Store a value under a key; the previous value, None: there was none."""
        answer = await self._write(Op.PUT, key, value, lifespan, max_idle, previous=True)
        return self._previous(answer)

    async def get_and_replace(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> V | None:
        """Store a value if there is one already; the previous value, None: there was none, and
        nothing was stored."""
        answer = await self._write(Op.REPLACE, key, value, lifespan, max_idle, previous=True)
        return self._previous(answer)

    async def get_and_put_if_absent(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> V | None:
        """Store a value unless there is one already; that one, None: the new one was stored."""
        answer = await self._write(Op.PUT_IF_ABSENT, key, value, lifespan, max_idle, previous=True)
        return None if self._done(answer) else self._previous(answer)

    async def get_and_remove(self, key: K) -> V | None:
        """Remove a key; the value that was there, None: none."""
        return self._previous(await self._keyed(Op.REMOVE, key, previous=True))

    async def replace_with_version(
        self,
        key: K,
        value: V,
        version: int,
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> bool:
        """Store a value if the entry still has the version that `get_with_metadata` told; whether
        it was stored.

        Hot Rod: REPLACE_IF_UNMODIFIED 0x09.
        """
        answer = await self._write(
            Op.REPLACE_IF_UNMODIFIED, key, value, lifespan, max_idle, entry_version=version
        )
        return self._done(answer)

    async def remove_with_version(self, key: K, version: int) -> bool:
        """Remove a key if its entry still has this version; whether it was removed.

        Hot Rod: REMOVE_IF_UNMODIFIED 0x0D.
        """
        return self._done(await self._keyed(Op.REMOVE_IF_UNMODIFIED, key, entry_version=version))

    # ---- one key, computed

    async def compute(
        self,
        key: K,
        function: Callable[[K, V | None], V | None],
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> V | None:
        """Store what `function` makes of a key and its value, which is None when there is none.

        If somebody else changes the entry meanwhile, the function is called again with the new
        value. When it gives None, the entry is removed.

        Returns:
            The new value.
        """
        while True:
            old = await self.get_with_metadata(key)
            value = function(key, None if old is None else old.value)
            if await self._put_computed(key, value, old, lifespan, max_idle):
                return value

    async def compute_if_present(
        self,
        key: K,
        function: Callable[[K, V], V | None],
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> V | None:
        """As `compute`, and nothing at all when there is no value."""
        while True:
            old = await self.get_with_metadata(key)
            if old is None:
                return None
            value = function(key, old.value)
            if await self._put_computed(key, value, old, lifespan, max_idle):
                return value

    async def compute_if_absent(
        self,
        key: K,
        function: Callable[[K], V | None],
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> V | None:
        """The value under a key; when there is none, the one that `function` makes is stored, if
        it is not None.

        Returns:
            The value that is there now.
        """
        while True:
            found = await self.get_with_metadata(key)
            if found is not None:
                return found.value  # be it None, as of JSON's null
            value = function(key)
            if await self._put_computed(key, value, None, lifespan, max_idle):
                return value

    async def merge(
        self,
        key: K,
        value: V,
        function: Callable[[V, V], V | None],
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> V | None:
        """Store a value, or if there is one already what `function` makes of that and the new one.

        Otherwise as `compute`.

        Returns:
            The value that is there now.
        """

        def merged(_: K, old: V | None) -> V | None:
            return value if old is None else function(old, value)

        return await self.compute(key, merged, lifespan=lifespan, max_idle=max_idle)

    async def _put_computed(
        self, key: K, value: V | None, old: MetadataValue[V] | None, lifespan: _Life, idle: _Life
    ) -> bool:
        if value is None:
            return old is None or await self.remove_with_version(key, old.version)
        if old is None:
            return await self.put_if_absent(key, value, lifespan=lifespan, max_idle=idle)
        return await self.replace_with_version(
            key, value, old.version, lifespan=lifespan, max_idle=idle
        )

    # ---- many keys

    async def get_all(self, keys: Iterable[K]) -> dict[K, V]:
        """The values under many keys: those that are there. One request to each server, or
        several for more than 512 keys or where values are long.

        Hot Rod: GET_ALL 0x2F, since 2.1; before, as `get_many`.
        """
        wanted = list(keys)
        if self._epoch != self._state.epoch:
            await self._prepare()
        datas = self._encode_keys(wanted)
        places = self._places(wanted, datas)
        others: list[EntryBatch] = []
        if self._state.version < Version.V2_1 or total_size(datas) < 0:
            values = await self._each(datas, places)
        else:
            values, others, failed, _ = await self._gathered(datas, places)
            if failed is not None:
                raise failed
        decoded = self._decode_values(values)
        if total_size(values) >= 0:
            return dict(zip(wanted, decoded, strict=True))
        found: dict[K, V] = {}
        for key, data, value in zip(wanted, values, decoded, strict=True):
            if data is not None:
                found[key] = value
        for batch in others:  # the server writes keys in its own way
            for data, value in batch.to_list():
                found[self._keys.decode(data)] = self._decode_value(value)
        return found

    async def _gathered(
        self, datas: list[bytes], places: list[bytes], timeout: float | None = None
    ) -> tuple[list[bytes | None], list[EntryBatch], Exception | None, list[int]]:
        """What is under many keys, some hundred in each request; answers with other keys than
        those that were asked for; why something is missing, if it is not that there is nothing;
        the indices of what may be missing for one of these reasons."""
        size = self._state.value_size or 1
        most = min(_MOST_KEYS, max(1, int(_MOST_BYTES / size)))
        parts, goals, order = self._split(datas, places, datas, most=most)
        fields = [{"keys": part} for part in parts]
        calls = Calls(Op.GET_ALL, self._state, self._header, fields, goals, into="batch")
        answers, _ = await self._dispatcher.try_many(calls, timeout)
        values: list[bytes | None] = [None] * len(datas)
        others: list[EntryBatch] = []
        failed: Exception | None = None
        unsure: list[int] = []
        start = 0
        for part, answer in zip(parts, answers, strict=True):
            end = start + len(part)
            if isinstance(answer, Exception):
                if failed is None or isinstance(failed, ServerError):
                    failed = answer
                unsure += range(start, end) if order is None else order[start:end]
            elif answer is not None and put_found(answer.entries, part, values, start, order):
                others.append(answer.entries)
                unsure += range(start, end) if order is None else order[start:end]
            start = end
        if isinstance(failed, RequestTimeoutError):
            self._state.value_size = None  # they may be longer than those that were seen
        elif len(values) >= GATHERED_FROM:
            self._state.note_values(values)
        return values, others, failed, unsure

    async def put_all(
        self,
        entries: Mapping[K, V] | Iterable[tuple[K, V]],
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> None:
        """Store many entries. One request to each server, or several for more than 512 entries or
        long ones; when one of them fails, others may have been done.

        Hot Rod: PUT_ALL 0x2D, since 2.1; before, as `put_many`.
        """
        if self._epoch != self._state.epoch:
            await self._prepare()
        if self._state.version < Version.V2_1:
            await self.put_many(entries, lifespan=lifespan, max_idle=max_idle)
            return
        items, datas, values, places = self._encoded(entries)
        if len(set(datas)) < len(datas):
            # Of several values for a key the last one counts.
            last = dict(zip(datas, zip(values, places, strict=True), strict=True))
            datas, values = list(last), [value for value, _ in last.values()]
            places = [place for _, place in last.values()]
            items = list(zip(datas, values, strict=True))
        parts, goals, _ = self._split(items, places, datas, values)
        life = {"lifespan": lifespan, "max_idle": max_idle}
        fields = [{"entries": part, **life} for part in parts]
        await self._dispatcher.execute_many(
            Calls(Op.PUT_ALL, self._state, self._header, fields, goals, any_order=True)
        )

    def _encoded(
        self, entries: Mapping[K, V] | Iterable[tuple[K, V]]
    ) -> tuple[list[tuple[bytes, bytes]], list[bytes], list[bytes], list[bytes]]:
        """Entries as they are sent, their keys, their values, and what decides where each goes."""
        pairs: list[Any] = []
        plain = False
        if isinstance(entries, Mapping):
            mapping = cast("Mapping[K, V]", entries)
            keys, values = list(mapping), list(mapping.values())
        else:
            pairs = list(entries)
            keys, values, plain = unzipped(pairs)
        datas, contents = self._encode_keys(keys), self._encode_values(values)
        if not plain or datas is not keys or contents is not values:
            pairs = list(zip(datas, contents, strict=True))
        return pairs, datas, contents, self._places(keys, datas)

    def _split(
        self,
        items: list[T],
        places: list[bytes],
        *columns: list[bytes],
        most: int = _MOST_KEYS,
    ) -> tuple[list[list[T]], list[bytes | None], list[int] | None]:
        """What requests about many keys are about, each for one server; where each goes; the
        indices of all items in this order, None if it is theirs. Servers close connections for
        requests that are too long, so a long list becomes several.

        Args:
            items: What to say of each key.
            places: Of each what decides where it goes.
            columns: What is sent of each.
            most: How many keys there may be in a request.
        """
        long = sum(map(length_of, columns)) > _MOST_BYTES
        parts: list[list[T]] = []
        goals: list[bytes | None] = []
        order: list[int] | None = None
        for owner, indices in self._state.routing.split(places).items():
            count = len(indices)
            owned = items
            if count < len(items):
                owned = [items[i] for i in indices]
                order = [*(order or ()), *indices]
            ends = (
                list(accumulate(sum(len(c[i]) for c in columns) for i in indices)) if long else ()
            )
            # All of about the same length, so that none is waited for in the end.
            number = max(1, -(-count // most))
            if number > 1:
                number += number % 2  # so that they can be halved
            most_here = -(-count // number)
            start = 0
            while start < count:
                stop = min(start + most_here, count)
                if long:
                    stop = end_of_piece(ends, start, stop, _MOST_BYTES)
                parts.append(owned[start:stop])
                goals.append(None if owner is None else places[indices[start]])
                start = stop
        return parts, goals, order

    async def get_many(self, keys: Iterable[K]) -> list[V | None]:
        """The values under many keys in their order, None where there is none. All requests are
        sent side by side without waiting for each other: one for each key; or from 128 keys on, if
        values are short and the server allows it, one for some hundred.

        Hot Rod: GET 0x03, GET_ALL 0x2F.
        """
        if self._epoch != self._state.epoch:
            await self._prepare()
        wanted = list(keys)
        datas = self._encode_keys(wanted)
        places = self._places(wanted, datas)
        state = self._state
        deadline = clock() + self._dispatcher.configuration.operation_timeout
        values: list[bytes | None] = []
        if len(datas) >= GATHERED_FROM and self._may_gather(datas):
            if state.value_size is None:  # shows in some of them
                values = await self._each(datas[:GATHERED_FROM], places[:GATHERED_FROM])
                datas, places = datas[GATHERED_FROM:], places[GATHERED_FROM:]
            if state.value_size is not None and state.value_size <= _LONG_VALUE:
                values += await self._gathered_or_each(datas, places, deadline)
                return list(self._decode_values(values))
        values += await self._each(datas, places, deadline - clock())
        return list(self._decode_values(values))

    def _may_gather(self, datas: list[bytes]) -> bool:
        """Whether many values may be asked for by one request, and can be told apart."""
        state = self._state
        able = state.version >= Version.V2_1 and not state.refuses_many and self._keys_return
        return able and total_size(datas) >= 0

    async def _each(
        self, datas: list[bytes], places: list[bytes], timeout: float | None = None
    ) -> list[bytes | None]:
        """What is under many keys, one request for each."""
        calls = Calls(Op.GET, self._state, self._header, datas, places)
        values = await self._dispatcher.execute_many(calls, timeout)
        if len(values) >= GATHERED_FROM:
            self._state.note_values(values)
        return values

    async def _gathered_or_each(
        self, datas: list[bytes], places: list[bytes], deadline: float
    ) -> list[bytes | None]:
        """What is under many keys, some hundred in each request. Where that cannot be had, as who
        may read one entry may not read many, one request for each."""
        values, others, failed, unsure = await self._gathered(datas, places, deadline - clock())
        left = deadline - clock()
        refused = isinstance(failed, ServerError) and not may_retry(
            failed, reads=True, retry_writes=False
        )
        if failed is not None and (left <= 0 or not refused):
            raise failed
        if failed is None and not others:
            return values
        missing = [i for i in unsure if values[i] is None]
        more = await self._each([datas[i] for i in missing], [places[i] for i in missing], left)
        for i, value in zip(missing, more, strict=True):
            values[i] = value
        if others:  # the server writes keys in its own way
            self._keys_return = False
        if failed is not None and "SecurityException" in str(failed):
            self._state.refuses_many = True
        return values

    async def put_many(
        self,
        entries: Mapping[K, V] | Iterable[tuple[K, V]],
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> None:
        """Store many entries: one request for each, sent side by side without waiting for each
        other. When one of them fails, others may have been done."""
        if self._epoch != self._state.epoch:
            await self._prepare()
        items, datas, _, places = self._encoded(entries)
        life = {"lifespan": lifespan, "max_idle": max_idle}
        # Of several values for a key the last one counts.
        plain = self._keys_return and total_size(datas) >= 0
        any_order = plain and len(set(datas)) == len(datas)
        calls = Calls(
            Op.PUT, self._state, self._header, items, places, life=life, any_order=any_order
        )
        await self._dispatcher.execute_many(calls)

    # ---- long values

    async def get_stream(self, key: K, *, chunk_size: int = CHUNK_SIZE) -> AsyncValueReader | None:
        """The value under a key, to be read in chunks; None: there is none.

        Args:
            chunk_size: How many bytes come at once.

        Raises:
            EncodeError: The version is older than 4.1.

        Hot Rod: START_GET_STREAM 0xE9, NEXT_GET_STREAM 0xE7, END_GET_STREAM 0xE5; since 4.1.
        """
        fields = {"batch_size": _positive("chunk_size", chunk_size)}
        call = await self._stream_of(Op.START_GET_STREAM, key, fields)
        answers = reading(self._dispatcher, call)
        first = await anext(answers, None)
        return None if first is None else AsyncValueReader(first, answers)

    async def put_stream(
        self,
        key: K,
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
        if_absent: bool = False,
        version: int | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> AsyncValueWriter:
        """Store a value that is written in chunks.

        Args:
            if_absent: Unless there is a value already.
            version: If the entry still has this version, as `get_with_metadata` told it.
            chunk_size: How many bytes are sent at once.

        Raises:
            EncodeError: The version is older than 4.1.

        Hot Rod: START_PUT_STREAM 0xEF, NEXT_PUT_STREAM 0xED, END_PUT_STREAM 0xEB; since 4.1.
        """
        if if_absent and version is not None:
            raise EncodeError("either if_absent or a version", op="PUT_STREAM", field="version")
        if version is not None:
            _positive("version", version)  # others say something else in these requests
        size = _positive("chunk_size", chunk_size)
        life = {"lifespan": lifespan, "max_idle": max_idle}
        fields = {"entry_version": -1 if if_absent else version or 0, **life}
        call = await self._stream_of(Op.START_PUT_STREAM, key, fields)
        op, more = Op.PUT, life
        if if_absent:
            op = Op.PUT_IF_ABSENT
        elif version is not None:
            op, more = Op.REPLACE_IF_UNMODIFIED, {"entry_version": version, **life}
        whole = {"key": call.fields["key"], "value": b"", **more}
        nothing = Call(op, self._state, self._header, whole, call.key)
        answers = writing(self._dispatcher, call)
        await anext(answers)
        return AsyncValueWriter(self._dispatcher, answers, size, nothing, self._changed)

    async def _stream_of(self, op: Op, key: K, fields: dict[str, Any]) -> Call:
        if self._epoch != self._state.epoch:
            await self._prepare()
        if self._state.version < Version.V4_1:
            raise EncodeError("values come in chunks from version 4.1 on", op=op.name)
        data = self._encode_key(key)
        place = self._place(key, data)
        return Call(op, self._state, self._header, {"key": data, **fields}, place)

    # ---- the whole cache

    async def size(self) -> int:
        """How many entries there are, in the whole cluster.

        Hot Rod: SIZE 0x29, since 2.0; before, the keys are counted.
        """
        if self._epoch != self._state.epoch:
            await self._prepare()
        if self._state.version < Version.V1_2:
            return len((await self._any(Op.BULK_GET, count=0)).entries)
        if self._state.version < Version.V2_0:
            return len((await self._any(Op.BULK_GET_KEYS, scope=0)).keys)
        return int((await self._any(Op.SIZE))["size"])

    async def is_empty(self) -> bool:
        """Whether there is no entry."""
        return await self.size() == 0

    async def contains_value(self, value: V) -> bool:
        """Whether any key has this value. All values are read until one is equal."""
        async with aclosing(self.values()) as values:
            async for found in values:
                if found == value:
                    return True
        return False

    async def clear(self) -> None:
        """Remove all entries.

        Hot Rod: CLEAR 0x13.
        """
        await self._any(Op.CLEAR)

    async def stats(self) -> dict[str, int]:
        """The statistics that the server keeps, by its names for them; -1 where it keeps none.

        Hot Rod: STATS 0x15.
        """
        found = (await self._any(Op.STATS)).stats
        return {name: int(text) for name, text in found.items() if _NUMBER.fullmatch(text)}

    # ---- all entries

    def keys(
        self,
        *,
        segments: Collection[int] | None = None,
        batch_size: int | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> AsyncGenerator[K, None]:
        """All keys; arguments as for `entries`.

        Hot Rod: ITERATION_START 0x31, since 2.3; before, BULK_GET_KEYS 0x1D.
        """
        found = self._lists_of_keys(segments, batch_size, progress)
        return unbatched(found, self._decode_keys)

    async def _lists_of_keys(
        self,
        segments: Collection[int] | None,
        batch_size: int | None,
        progress: Callable[[int, float], None] | None,
    ) -> AsyncGenerator[list[bytes], None]:
        if self._epoch != self._state.epoch:
            await self._prepare()
        if self._state.version < Version.V1_2:
            yield [key for key, _ in (await self._any(Op.BULK_GET, count=0)).entries]
            return
        if self._state.version < Version.V2_3:
            yield (await self._any(Op.BULK_GET_KEYS, scope=0)).keys
            return
        # A filter has parameters in one version and none in the next: not before 2.4.
        keys_only = KEYS_ONLY if self._state.version >= Version.V2_4 else None
        iteration = self._iterate(segments, batch_size, progress, keys_only)
        async with aclosing(iteration.batches()) as batches:
            async for keys, _ in batches:
                yield keys

    def values(
        self,
        *,
        segments: Collection[int] | None = None,
        batch_size: int | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> AsyncGenerator[V, None]:
        """All values; arguments as for `entries`."""
        columns = self._columns(segments, batch_size, progress)
        return unbatched(columns, lambda columns: self._decode_values(columns[1]))

    def entries(
        self,
        *,
        segments: Collection[int] | None = None,
        batch_size: int | None = None,
        progress: Callable[[int, float], None] | None = None,
        filter_factory: str | None = None,
        filter_params: Sequence[bytes] = (),
    ) -> AsyncGenerator[tuple[K, V], None]:
        """All entries, each exactly once, even when servers fail meanwhile. What is written
        meanwhile may be among them or not.

        Args:
            segments: Only the entries of these.
            batch_size: How many come at once; by default as configured.
            progress: Called after each batch with the number of entries so far and the share of
                the work that is done, 0 to 1.
            filter_factory, filter_params: A filter or converter that the server has by that name,
                since 2.4.

        Hot Rod: ITERATION_START 0x31, since 2.3; before, BULK_GET 0x19.
        """
        columns = self._columns(segments, batch_size, progress, filter_factory, filter_params)
        return unbatched(columns, self._pairs)

    def _pairs(self, columns: tuple[list[bytes], list[bytes]]) -> Iterable[tuple[K, V]]:
        keys, values = columns
        return zip(self._decode_keys(keys), self._decode_values(values), strict=True)

    async def _columns(
        self,
        segments: Collection[int] | None,
        batch_size: int | None,
        progress: Callable[[int, float], None] | None,
        filter_factory: str | None = None,
        filter_params: Sequence[bytes] = (),
    ) -> AsyncGenerator[tuple[list[bytes], list[bytes]], None]:
        """Keys and values, batch by batch."""
        if self._epoch != self._state.epoch:
            await self._prepare()
        if self._state.version < Version.V2_3:
            found = (await self._any(Op.BULK_GET, count=0)).entries
            yield [key for key, _ in found], [value for _, value in found]
            return
        iteration = self._iterate(segments, batch_size, progress, filter_factory, filter_params)
        async with aclosing(iteration.batches()) as batches:
            async for batch in batches:
                yield batch

    def entries_with_metadata(
        self,
        *,
        segments: Collection[int] | None = None,
        batch_size: int | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> AsyncGenerator[tuple[K, MetadataValue[V]], None]:
        """As `entries`, with versions and expirations; since 2.5."""
        return unbatched(
            self._lists_with_metadata(segments, batch_size, progress), self._pairs_with_metadata
        )

    def _pairs_with_metadata(self, batch: list[Any]) -> Iterator[tuple[K, MetadataValue[V]]]:
        for entry in batch:
            value = self._decode_value(entry.value)
            yield self._keys.decode(entry.key), MetadataValue.of(value, entry.metadata)

    async def _lists_with_metadata(
        self,
        segments: Collection[int] | None,
        batch_size: int | None,
        progress: Callable[[int, float], None] | None,
    ) -> AsyncGenerator[list[Any], None]:
        if self._epoch != self._state.epoch:
            await self._prepare()
        if self._state.version < Version.V2_5:
            raise EncodeError("iterations tell metadata from version 2.5 on", field="metadata")
        iteration = self._iterate(segments, batch_size, progress, metadata=True, into="pairs")
        async with aclosing(iteration.batches()) as batches:
            async for batch in batches:
                yield batch

    async def batches(
        self,
        *,
        segments: Collection[int] | None = None,
        batch_size: int | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> AsyncGenerator[EntryBatch, None]:
        """All entries as columns of bytes, batch by batch: the fast way for many. The marshallers
        are not asked, and entries may come twice when a server fails meanwhile. Since 2.3."""
        if self._epoch != self._state.epoch:
            await self._prepare()
        if self._state.version < Version.V2_3:
            raise EncodeError("there are iterations from version 2.3 on", field="batches")
        iteration = self._iterate(segments, batch_size, progress, into="batch")
        async with aclosing(iteration.batches()) as batches:
            async for batch in batches:
                yield batch

    def _iterate(
        self,
        segments: Collection[int] | None,
        batch_size: int | None,
        progress: Callable[[int, float], None] | None,
        filter_factory: str | None = None,
        filter_params: Sequence[bytes] = (),
        *,
        metadata: bool = False,
        into: Into = "lists",
    ) -> Iteration:
        size = self._dispatcher.configuration.batch_size if batch_size is None else batch_size
        fields: dict[str, Any] = {"batch_size": size}
        if metadata:
            fields["include_metadata"] = True
        if filter_factory is not None:
            fields |= {"filter_factory": filter_factory, "filter_params": list(filter_params)}
        return Iteration(
            self._dispatcher,
            self._state,
            self._header,
            fields,
            segments=segments,
            segments_of_keys=self._segments_of_keys(),
            progress=progress,
            into=into,
        )

    def _segments_of_keys(self) -> Callable[[list[bytes]], npt.NDArray[np.int32]] | None:
        """How to tell the segments of keys that the server sends; None: not to be told."""
        count = len(self._state.routing.segments)
        if not count:
            return None
        if self._stored_key is not None:
            stored_key, decode = self._stored_key, self._keys.decode
            return lambda keys: segments_of([stored_key(decode(key)) for key in keys], count)
        stored = self._state.key_type
        sent = self._keys.media_type.name
        if stored is None and self._state.version == Version.V2_8:
            return None  # the server converts, and does not tell from what
        if stored is None or stored.name in (sent, "application/octet-stream"):
            return lambda keys: segments_of(keys, count)
        return None

    # ---- queries

    async def query(
        self,
        query: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        offset: int | None = None,
        max_results: int | None = None,
        local: bool = False,
        hit_count_accuracy: int | None = None,
    ) -> QueryResult[V]:
        """What a query finds. Servers answer queries of caches that store protostream or Java
        objects, by schemas that they have; see `AsyncAdmin.schemas`.

        Args:
            query: In the language Ickle: "from example.Person p where p.age > :age".
            parameters: The values of those in the query.
            offset: How many rows to leave out.
            max_results: How many rows to give; None: what the cache has configured, usually 100.
            local: Only what one server has, no matter which.
            hit_count_accuracy: Up to how many to count exactly; 1 if nobody wants to know; None:
                what the cache has configured, usually 10,000.

        Raises:
            EncodeError: It is a statement; or values are JSON, which is too new for the version.

        Hot Rod: QUERY 0x1F, since 1.3; in JSON, where values are, since 2.9.
        """
        if deletes(query):
            raise EncodeError("execute_statement is for what deletes", op="QUERY", field="query")
        asked = self._query(
            query,
            parameters,
            start_offset=offset,
            max_results=max_results,
            local=local,
            hit_count_accuracy=hit_count_accuracy,
        )
        return await self._ask(asked, Call)

    async def execute_statement(
        self, statement: str, parameters: Mapping[str, Any] | None = None, *, local: bool = False
    ) -> int:
        """Run a statement, such as "delete from example.Person p where p.age > :age"; how many
        entries it removed. It is not tried again as queries are. Server 9.4 has none.

        Args:
            statement, parameters, local: As for `query`.

        Hot Rod: QUERY 0x1F.
        """
        if not deletes(statement):
            raise EncodeError("this is no delete statement", op="QUERY", field="statement")
        result = await self._ask(self._query(statement, parameters, local=local), Statement)
        return result.hit_count or 0

    async def add_query_listener(
        self,
        query: str,
        parameters: Mapping[str, Any] | None = None,
        callback: Callable[[QueryEvent[K, V]], None] | None = None,
    ) -> AsyncQueryListener[K, V]:
        """Follow what a query finds: first all that matches, then what joins, changes and leaves.

        Args:
            query, parameters: As for `query`, without order and without count, sum and the like.
            callback: Called with each event where it arrives: it must not wait for anything. None:
                iterate over the listener.

        Raises:
            EncodeError: Values are JSON: for these there is none.

        Hot Rod: ADD_CLIENT_LISTENER 0x25 with a factory for this, since 2.1.
        """
        if self._epoch != self._state.epoch:
            await self._prepare()
        followed = Followed(query, self._keys, self._values, parameters)
        listener = AsyncQueryListener(self._dispatcher, self._state, followed, callback)
        await listener.start()
        return listener

    def _query(self, query: str, parameters: Mapping[str, Any] | None, **more: Any) -> Query[V]:
        legacy_server = self._dispatcher.configuration.legacy_server
        return Query(
            query, self._values, parameters=parameters, legacy_server=legacy_server, **more
        )

    async def _ask(self, query: Query[V], kind: type[Call]) -> QueryResult[V]:
        if self._epoch != self._state.epoch:
            await self._prepare()
        header = Header(self._name, self._flags & ~_FORCE, query.media_type, query.media_type)
        fields = {"query": query.payload(self._state.version)}
        answer = await self._dispatcher.execute(kind(Op.QUERY, self._state, header, fields))
        return query.result(answer.result)

    # ---- tasks

    async def execute(self, task: str, parameters: Mapping[str, V] | None = None) -> V | None:
        """Run a task or a script that the server has, on this cache; what it gives, None: nothing.
        As a write, it is tried again only if nothing of it was sent.

        Args:
            task: Its name.
            parameters: By their names. They and the result have the form of the cache's values.

        Raises:
            ServerError: There is no such task, or it failed.

        Hot Rod: EXEC 0x2B, since 2.1.
        """
        if self._epoch != self._state.epoch:
            await self._prepare()
        return await execute(self._dispatcher, self._state, self._values, task, parameters)

    # ---- events

    async def add_listener(
        self,
        callback: Callable[[CacheEvent[K]], None] | None = None,
        *,
        kinds: Iterable[EventKind | str] | None = None,
        include_state: bool = False,
        filter_factory: str | None = None,
        filter_params: Sequence[bytes] = (),
        converter_factory: str | None = None,
        converter_params: Sequence[bytes] = (),
    ) -> AsyncListener[K]:
        """Listen to what happens in the cache.

        Args:
            callback: Called with each event where it arrives: it must not wait for anything. None:
                iterate over the listener.
            kinds: "created", "modified", "removed", "expired"; by default all of them.
            include_state: Whether there is a "created" for each entry that is there already: in the
                beginning, and behind each "failover". It may take long: it is waited for as long as
                something comes.
            filter_factory, filter_params: A filter that the server has by that name.
            converter_factory, converter_params: A converter that the server has by that name; what
                it makes comes in `data`.

        Hot Rod: ADD_CLIENT_LISTENER 0x25, since 2.0.
        """
        if self._epoch != self._state.epoch:
            await self._prepare()
        fields: dict[str, Any] = {"include_state": include_state}
        if filter_factory is not None:
            fields |= {"filter_factory": filter_factory, "filter_params": list(filter_params)}
        if converter_factory is not None:
            fields |= {
                "converter_factory": converter_factory,
                "converter_params": list(converter_params),
            }
        listener = AsyncListener(
            self._dispatcher,
            self._state,
            self._header,
            self._keys.decode,
            callback,
            kinds_of(kinds),
            fields,
        )
        await listener.start()
        return listener

    # ---- from calls to answers

    async def _prepare(self) -> None:
        """Before the first request: ask for the cache, and learn where its keys are."""
        epoch = self._state.epoch
        if not self._state.known:
            await self._dispatcher.look_up(self._state)
        stored = self._state.key_type
        self._stored_key = _stored_form(self._keys, stored)
        self._keys_return = keys_come_back(self._keys.media_type, stored, self._state.version)
        self._epoch = epoch

    def _place(self, key: K, data: bytes) -> bytes:
        """What decides where a key is."""
        return data if self._stored_key is None else self._stored_key(key)

    def _places(self, keys: Iterable[K], datas: list[bytes]) -> list[bytes]:
        """What decides where each of many keys is."""
        return datas if self._stored_key is None else [self._stored_key(key) for key in keys]

    async def _keyed(self, op: Op, key: K, *, previous: bool = False, **fields: Any) -> Response:
        if self._epoch != self._state.epoch:
            await self._prepare()
        data = self._encode_key(key)
        fields["key"] = data
        header = self._header_with_previous if previous else self._header
        return await self._request(op, self._state, header, fields, self._place(key, data))

    async def _write(
        self,
        op: Op,
        key: K,
        value: V,
        lifespan: _Life,
        max_idle: _Life,
        *,
        previous: bool = False,
        **fields: Any,
    ) -> Response:
        return await self._keyed(
            op,
            key,
            previous=previous,
            value=self._encode_value(value),
            lifespan=lifespan,
            max_idle=max_idle,
            **fields,
        )

    async def _any(self, op: Op, **fields: Any) -> Response:
        """The answer of any server."""
        if self._epoch != self._state.epoch:
            await self._prepare()
        return await self._dispatcher.execute(Call(op, self._state, self._header, fields))

    def _changed(self, keys: Iterable[bytes] | None) -> None:
        """Other values may be stored now under these keys, as they are sent; None: under all."""

    @staticmethod
    def _done(answer: Response) -> bool:
        return answer.status in _DONE

    def _previous(self, answer: Response) -> V | None:
        """The previous value of an answer that may have one."""
        data = answer.previous
        if data is None:
            return None
        metadata: Metadata | None = answer.metadata
        if metadata is not None:
            # From 4.0 on an empty value and none can be told from each other.
            return None if metadata.version == -1 else self._decode_value(data)
        return self._decode_value(data) if len(data) else None


def _positive(name: str, number: int) -> int:
    if number < 1:
        raise EncodeError(f"{number} is less than 1", field=name)
    return number


def _stored_form(keys: Marshaller[K], stored: MediaType | None) -> Callable[[K], bytes] | None:
    """How to write keys as the server stores them, since their places depend on that; None: as
    they are sent, or nobody knows here."""
    if stored is None or stored.name != "application/x-protostream":
        return None
    if keys.media_type.name in ("text/plain", "application/octet-stream"):
        return PROTOSTREAM.encode
    return None
