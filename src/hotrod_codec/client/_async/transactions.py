"""Transactions: what is written to one cache or to several happens together or not at all.

A transaction is kept here until it is committed: servers hear of its reads, one by one, and then of
all its writes, with the versions that were read. They know it by an id of its own, so that commit
and rollback may be asked twice, and a rollback tells what became of a commit without an answer.
[wire-extended 3]
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar, cast

from hotrod_codec import Response
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client.cluster import Call
from hotrod_codec.client.config import Seconds, as_seconds
from hotrod_codec.client.results import (
    TransactionConflictError,
    TransactionError,
    TransactionInDoubtError,
)
from hotrod_codec.client.session import Header, NotSentError
from hotrod_codec.errors import (
    EncodeError,
    HotRodError,
    RequestParsingError,
    RequestTimeoutError,
    ServerError,
    ServerFailureError,
    TransportError,
)
from hotrod_codec.ops import Op, Status, Version
from hotrod_codec.values import Duration, Modification, Xid

if TYPE_CHECKING:
    from hotrod_codec.client._async.cache import AsyncCache

__all__ = ["AsyncTransaction", "AsyncTransactionCache"]

K = TypeVar("K")
V = TypeVar("V")

_Life: TypeAlias = float | timedelta | Duration | None

_FORMAT = 0x484F5444  # of our ids; they are 64 random bytes
_NOT_READ, _NON_EXISTING, _REMOVE = 1, 2, 4
# Codes of X/Open.
_OK, _READ_ONLY, _HEURISTIC_ROLLBACK, _HEURISTIC_COMMIT, _ROLLED_BACK = 0, 3, 6, 7, 100
_NO_SUCH = -4
# What servers say of caches that have none.
_NO_TRANSACTIONS = "ISPN006020"


class AsyncTransaction:
    """A transaction. Made by `AsyncClient.transaction`.

        async with client.transaction() as tx:
            accounts = tx.cache(client.cache("accounts", values="json"))
            balance = await accounts.get("ada")
            await accounts.put("ada", balance - 1)

    It is committed where the block ends. If an exception leaves the block nothing is written. One
    task or thread at a time may use it.
    """

    def __init__(self, dispatcher: Dispatcher, timeout: Seconds) -> None:
        self._dispatcher = dispatcher
        try:
            self._milliseconds = max(1, round(as_seconds(timeout) * 1000))
        except ValueError as error:
            raise EncodeError(str(error), op="PREPARE_TX", field="timeout") from None
        self._caches: dict[str, AsyncTransactionCache[Any, Any]] = {}
        self._xid = Xid(_FORMAT, secrets.token_bytes(32), secrets.token_bytes(32))
        self._is_over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_over:
            return
        if error is None:
            await self.commit()
        else:
            await self.rollback()

    @property
    def is_over(self) -> bool:
        """Whether it was committed or rolled back, or that was tried."""
        return self._is_over

    def cache(self, cache: AsyncCache[K, V], /) -> AsyncTransactionCache[K, V]:
        """A cache within the transaction; the servers have to have it as a transactional one.

        Raises:
            ValueError: The transaction has the same cache already, with other media types; or the
                cache has flags other than FORCE_RETURN_VALUE, which no server takes here.
        """
        self._check()
        if cache._header.flags:
            raise ValueError(f"transactions have no flags, and {cache!r} has {cache._flags!r}")
        known = self._caches.get(cache.name)
        if known is None:
            known = self._caches[cache.name] = AsyncTransactionCache(self, cache)
        elif known._cache._header != cache._header:
            raise ValueError(f"the transaction has {known._cache!r}, which is not {cache!r}")
        elif known._cache is not cache:
            known = AsyncTransactionCache(self, cache, known._entries)
        return cast("AsyncTransactionCache[K, V]", known)

    async def rollback(self) -> None:
        """Write nothing. The servers have not heard of it yet."""
        self._check()
        self._is_over = True

    async def commit(self) -> None:
        """Write all that was to be written.

        Raises:
            TransactionConflictError: Others have changed what was read. Nothing was written.
            TransactionError: The servers rolled it back. Nothing was written.
            TransactionInDoubtError: What became of it is not known.
            HotRodError: Others that say why it could not even begin, such as a ServerError for a
                cache that is not transactional. Nothing was written.
        """
        self._check()
        self._is_over = True
        writes = [(c._cache, found) for c in self._caches.values() if (found := c._writes())]
        try:
            if len(writes) == 1:
                await self._commit_at_once(*writes[0])
            elif writes:
                await self._commit_all(writes)
        finally:
            for cache, of_cache in writes:
                cache._changed(write.key for write in of_cache)

    def _check(self) -> None:
        if self._is_over:
            raise TransactionError("the transaction is over")

    # ---- one cache

    async def _commit_at_once(
        self, cache: AsyncCache[Any, Any], writes: list[Modification]
    ) -> None:
        try:
            code = await self._prepare(cache, writes, one_phase=True)
        except NotSentError:
            raise
        except (TransportError, RequestTimeoutError, ServerError) as error:
            await self._look_after(error)
        else:
            _check_prepared(code, cache.name)

    async def _look_after(self, error: HotRodError) -> None:
        """What became of it, when the answer to one phase was an error or did not come."""
        if isinstance(error, ServerError) and _NO_TRANSACTIONS in error.text:
            raise error
        code: int | None = None
        with suppress(HotRodError):
            code = await self._end(Op.ROLLBACK_TX)
        if code == _HEURISTIC_COMMIT:
            return
        if code == _OK:
            raise TransactionError("the transaction was rolled back") from error
        # Servers do not know it: they refused, or it may still be on its way.
        if code == _NO_SUCH and isinstance(error, ServerFailureError | RequestParsingError):
            raise error
        raise _in_doubt(str(error)) from error

    # ---- several

    async def _commit_all(
        self, writes: list[tuple[AsyncCache[Any, Any], list[Modification]]]
    ) -> None:
        try:
            for cache, of_cache in writes:
                code = await self._prepare(cache, of_cache, one_phase=False)
                _check_prepared(code, cache.name)
        except BaseException:
            # If they do not hear that, they do so by themselves when the time is over.
            with suppress(HotRodError):
                await self._end(Op.ROLLBACK_TX, self._dispatcher.configuration.request_timeout)
            raise
        try:
            code = await self._end(Op.COMMIT_TX)
        except HotRodError as error:
            raise _in_doubt(str(error)) from error
        if code == _HEURISTIC_ROLLBACK:
            raise TransactionError("the transaction was rolled back before it was committed")
        if code not in (_OK, _READ_ONLY):
            raise _in_doubt(f"code {code}")

    # ---- requests

    async def _prepare(
        self, cache: AsyncCache[Any, Any], writes: list[Modification], *, one_phase: bool
    ) -> int | None:
        """The code of the answer; None: it has none."""
        if cache._epoch != cache._state.epoch:
            await cache._prepare()
        state = cache._state
        fields: dict[str, Any] = {
            "xid": self._xid,
            "one_phase": one_phase,
            "modifications": writes,
        }
        op = Op.PREPARE_TX
        if state.version >= Version.V2_9:
            op = Op.PREPARE_TX_2
            fields |= {"recoverable": False, "timeout_ms": self._milliseconds}
        answer = await self._dispatcher.execute(Call(op, state, cache._header, fields))
        return _code(answer)

    async def _end(self, op: Op, timeout: float | None = None) -> int | None:
        call = Call(op, self._dispatcher.cluster.cache(""), Header(""), {"xid": self._xid})
        return _code(await self._dispatcher.execute(call, timeout))


def _code(answer: Response) -> int | None:
    return int(answer.xa_code) if answer.status == Status.SUCCESS else None


def _in_doubt(why: str) -> TransactionInDoubtError:
    return TransactionInDoubtError(f"the transaction may be committed or not: {why}")


def _check_prepared(code: int | None, name: str) -> None:
    if code in (_OK, _READ_ONLY):
        return
    if code == _ROLLED_BACK:
        raise TransactionConflictError(
            f"cache {name!r}: rolled back, as others have changed what the transaction read "
            "(or the server cannot convert what it writes)"
        )
    raise TransactionError(f"cache {name!r}: the transaction was not prepared: code {code}")


@dataclass(slots=True)
class _Entry:
    """What a transaction knows of a key.

    Attributes:
        control, version: What the server shall check.
        data: The value as it is now; None: there is none.
        is_written: Whether it is the transaction's own.
    """

    control: int = _NOT_READ
    version: int | None = None
    data: bytes | None = field(default=None, repr=False)
    is_written: bool = False
    lifespan: _Life = None
    max_idle: _Life = None

    def write(self, data: bytes | None, lifespan: _Life = None, max_idle: _Life = None) -> None:
        # To remove what was not there is nothing.
        self.is_written = data is not None or self.control != _NON_EXISTING
        self.data, self.lifespan, self.max_idle = data, lifespan, max_idle


class AsyncTransactionCache(Generic[K, V]):
    """A cache within a transaction: it has the transaction's own writes, and what it has read once.
    Made by `AsyncTransaction.cache`. Arguments and errors are those of AsyncCache.

    What was read and not written is not checked when the transaction is committed.
    """

    def __init__(
        self,
        transaction: AsyncTransaction,
        cache: AsyncCache[K, V],
        entries: dict[bytes, _Entry] | None = None,
    ) -> None:
        self._transaction = transaction
        self._cache = cache
        self._entries: dict[bytes, _Entry] = {} if entries is None else entries

    async def get(self, key: K) -> V | None:
        """The value under a key; None: there is none."""
        return self._value(await self._read(key))

    async def contains_key(self, key: K) -> bool:
        """Whether there is a value under a key."""
        return (await self._read(key)).data is not None

    async def put(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> None:
        """Store a value under a key, whatever is there, unless it was read."""
        self._known(key).write(self._cache._encode_value(value), lifespan, max_idle)

    async def put_all(
        self,
        entries: Mapping[K, V] | Iterable[tuple[K, V]],
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> None:
        """Store many entries."""
        pairs = cast("Mapping[K, V]", entries).items() if isinstance(entries, Mapping) else entries
        for key, value in pairs:
            await self.put(key, value, lifespan=lifespan, max_idle=max_idle)

    async def put_if_absent(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> bool:
        """Store a value unless there is one already; whether it is stored."""
        if (await self._read(key)).data is not None:
            return False
        await self.put(key, value, lifespan=lifespan, max_idle=max_idle)
        return True

    async def replace(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> bool:
        """Store a value if there is one already; whether it is stored."""
        if (await self._read(key)).data is None:
            return False
        await self.put(key, value, lifespan=lifespan, max_idle=max_idle)
        return True

    async def remove(self, key: K) -> bool:
        """Remove a key; whether it was there."""
        entry = await self._read(key)
        if entry.data is None:
            return False
        entry.write(None)
        return True

    async def get_and_put(
        self, key: K, value: V, *, lifespan: _Life = None, max_idle: _Life = None
    ) -> V | None:
        """Store a value under a key; the previous value, None: there was none."""
        old = await self.get(key)
        await self.put(key, value, lifespan=lifespan, max_idle=max_idle)
        return old

    async def get_and_remove(self, key: K) -> V | None:
        """Remove a key; the value that was there, None: none."""
        old = await self.get(key)
        await self.remove(key)
        return old

    # ---- entries

    def _known(self, key: K) -> _Entry:
        """The entry of a key, read or not."""
        self._transaction._check()
        return self._entries.setdefault(self._cache._encode_key(key), _Entry())

    async def _read(self, key: K) -> _Entry:
        """The entry of a key, with its value."""
        entry = self._known(key)
        if entry.is_written or entry.control != _NOT_READ:
            return entry
        found = await self._cache._keyed(Op.GET_WITH_METADATA, key)
        entry.data = found.value
        if found.value is None:
            entry.control = _NON_EXISTING
        else:
            entry.control, entry.version = 0, found.metadata.version
        return entry

    def _value(self, entry: _Entry) -> V | None:
        return None if entry.data is None else self._cache._decode_value(entry.data)

    def _writes(self) -> list[Modification]:
        return [
            Modification(key, entry.control | _REMOVE, entry.version)
            if entry.data is None
            else Modification(
                key, entry.control, entry.version, entry.data, entry.lifespan, entry.max_idle
            )
            for key, entry in self._entries.items()
            if entry.is_written
        ]
