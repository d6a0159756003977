"""Transactions, as users of the clients have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from client.both import connect
from hotrod_codec import Flag, Op, Response, ServerError, Version
from hotrod_codec.client import (
    TransactionConflictError,
    TransactionError,
    TransactionInDoubtError,
)
from hotrod_codec.client._async.driver import Connection as AsyncConnection
from hotrod_codec.client._sync.driver import Connection as SyncConnection
from hotrod_codec.errors import TransportError
from hotrod_codec.marshallers import BYTES, TEXT
from integration.conftest import Servers
from integration.peers import Target

real = pytest.mark.versions(since=Version.V2_7, embedded=False)


@pytest.fixture(params=["tx", "xa"])
def octets(request: pytest.FixtureRequest, client: Any) -> Any:
    return client.cache(request.param, keys=BYTES, values=BYTES)


@pytest.fixture
def pair(client: Any) -> list[Any]:
    """Two caches."""
    return [client.cache(name, keys=BYTES, values=BYTES) for name in ("tx", "xa")]


def within(tx: Any, cache: Any) -> Any:
    """The cache within the transaction; `both.Blocking` wraps caches that go in."""
    return tx.cache(object.__getattribute__(cache, "_inner") if "_inner" in vars(cache) else cache)


@real
def test_what_is_written_is_seen_when_it_is_over(client: Any, octets: Any, key: bytes) -> None:
    octets.put(key + b"1", b"one")
    octets.put(key + b"2", b"two")
    with client.transaction() as tx:
        cache = within(tx, octets)
        assert cache.get(key + b"1") == b"one"
        cache.put(key + b"1", b"ONE")
        cache.put_all({key + b"3": b"three"}, lifespan=100)
        assert cache.remove(key + b"2")
        assert cache.get(key + b"1") == b"ONE"
        assert cache.get(key + b"2") is None
        assert cache.get(key + b"3") == b"three"
        assert octets.get(key + b"1") == b"one"
        assert octets.get(key + b"3") is None
        assert not tx.is_over
    assert tx.is_over
    assert octets.get_many([key + b"1", key + b"2", key + b"3"]) == [b"ONE", None, b"three"]
    assert octets.get_with_metadata(key + b"3").lifespan == 100


@real
def test_all_that_can_be_done(client: Any, octets: Any, key: bytes) -> None:
    octets.put(key, b"old")
    new = key + b" new"
    with client.transaction() as tx:
        cache = within(tx, octets)
        assert cache.contains_key(key)
        assert not cache.contains_key(new)
        assert not cache.put_if_absent(key, b"?")
        assert cache.put_if_absent(new, b"1")
        assert not cache.put_if_absent(new, b"?")
        assert cache.replace(key, b"2")
        assert not cache.replace(key + b"?", b"?")
        assert cache.get_and_put(key, b"3") == b"2"
        assert cache.get_and_put(new, b"4") == b"1"
        assert not cache.remove(key + b"?")
        assert cache.get_and_remove(key) == b"3"
        assert cache.get_and_remove(key) is None
        assert cache.put_if_absent(key, b"")
    assert octets.get_many([key, new, key + b"?"]) == [b"", b"4", None]
    with client.transaction() as tx:
        cache = within(tx, octets)
        cache.put(key, b"unread")
        assert cache.remove(key)
        assert cache.put_if_absent(key + b"!", b"?")
        assert cache.remove(key + b"!")
    assert octets.get_many([key, key + b"!"]) == [None, None]


@real
def test_what_others_changed_is_a_conflict(client: Any, octets: Any, key: bytes) -> None:
    def work(change: Any) -> None:
        with client.transaction() as tx:
            cache = within(tx, octets)
            cache.get(key)
            cache.put(key, b"mine")
            cache.put(key + b" too", b"mine")
            change()

    for change in (lambda: octets.put(key, b"yours"), lambda: octets.remove(key)):
        with pytest.raises(TransactionConflictError, match=octets.name):
            work(change)
        assert octets.get(key) != b"mine"
        assert octets.get(key + b" too") is None
    work(lambda: None)
    assert octets.get(key) == octets.get(key + b" too") == b"mine"


@real
def test_what_was_not_read_is_written_whatever_is_there(
    client: Any, octets: Any, key: bytes
) -> None:
    with client.transaction() as tx:
        within(tx, octets).put(key, b"mine")
        octets.put(key, b"yours")
    assert octets.get(key) == b"mine"


@real
def test_reading_is_no_write(client: Any, octets: Any, key: bytes) -> None:
    with client.transaction() as tx:
        cache = within(tx, octets)
        assert cache.get(key) is None
        octets.put(key, b"yours")
        assert cache.get(key) is None  # as it was read
    with client.transaction():
        pass


@real
def test_a_near_cache_is_up_to_date_at_once(client: Any, key: bytes) -> None:
    near = client.cache("tx", keys=BYTES, values=BYTES, near_cache=True)
    for value in (b"1", b"2"):
        with client.transaction() as tx:
            within(tx, near).put(key, value)
        assert near.get(key) == value


@real
def test_flags(client: Any, octets: Any, key: bytes) -> None:
    with client.transaction() as tx:
        with pytest.raises(ValueError, match="have no flags"):
            within(tx, octets.with_flags(Flag.SKIP_LISTENER_NOTIFICATION))
        within(tx, octets.with_flags(Flag.FORCE_RETURN_VALUE)).put(key, b"v")
    assert octets.get(key) == b"v"


@real
def test_rolling_back(client: Any, octets: Any, key: bytes) -> None:
    def fail() -> None:
        with client.transaction() as tx:
            within(tx, octets).put(key, b"v")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with client.transaction() as tx:
        cache = within(tx, octets)
        cache.put(key, b"v")
        tx.rollback()
    assert octets.get(key) is None
    with client.transaction() as tx:
        cache = within(tx, octets)
        cache.put(key, b"v")
        tx.commit()
        assert octets.get(key) == b"v"
    for call in (tx.commit, tx.rollback, lambda: cache.get(key), lambda: cache.put(key, b"v")):
        with pytest.raises(TransactionError, match="is over"):
            call()
    with pytest.raises(TransactionError, match="is over"):
        within(tx, octets)


@real
def test_several_caches(client: Any, pair: list[Any], key: bytes) -> None:
    def work(last: bytes, version: bytes | None = None) -> None:
        with client.transaction() as tx:
            one, two = (within(tx, cache) for cache in pair)
            one.put(key, last)
            two.get(key)
            two.put(key, last)
            if version is not None:
                pair[1].put(key, version)

    work(b"1")
    assert [cache.get(key) for cache in pair] == [b"1", b"1"]
    with pytest.raises(TransactionConflictError, match="xa"):
        work(b"2", b"yours")
    assert [cache.get(key) for cache in pair] == [b"1", b"yours"]
    work(b"3")
    assert [cache.get(key) for cache in pair] == [b"3", b"3"]


@real
def test_caches_without_transactions(client: Any, octets: Any, key: bytes) -> None:
    plain = client.cache("octets", keys=BYTES, values=BYTES)

    def work(*caches: Any) -> None:
        with client.transaction() as tx:
            for cache in caches:
                within(tx, cache).put(key, b"v")

    for caches in ((plain,), (octets, plain), (plain, octets)):
        with pytest.raises(ServerError, match="ISPN006020"):
            work(*caches)
    assert octets.get(key) is None
    assert plain.get(key) is None


@pytest.mark.versions(since=Version.V2_7, embedded=True)
def test_the_embedded_server_has_no_transactions(client: Any, key: bytes) -> None:
    plain = client.cache("octets", keys=BYTES, values=BYTES)
    for names in (["octets"], ["octets", "many"]):
        caches = [client.cache(name, keys=BYTES, values=BYTES) for name in names]
        with pytest.raises(ServerError, match="transactions are not supported"):
            write(client, key, *caches)
    assert plain.get(key) is None


@real
@pytest.mark.versions(since=Version.V2_8)
def test_marshallers(client: Any, key: bytes) -> None:
    name = key.decode()
    texts = client.cache("tx", keys=TEXT, values=TEXT)
    with client.transaction() as tx:
        cache = within(tx, texts)
        cache.put(name, "grüße")
        assert cache.get(name) == "grüße"
        with pytest.raises(ValueError, match="has <"):
            within(tx, client.cache("tx", keys=BYTES, values=TEXT))
        same = within(tx, client.cache("tx", keys=TEXT, values=TEXT))
        assert same.get(name) == "grüße"
        with pytest.raises(TypeError):
            cache.put(name, object())
    assert client.cache("tx", keys=BYTES, values=BYTES).get(key) == "grüße".encode()


# ---- answers that do not come


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Loses answers to an operation, or its requests."""

    def lose(op: Op, *, sent: bool = True, times: int = 1) -> None:
        left = [times]
        waits, asks = SyncConnection.ask, AsyncConnection.ask

        def is_lost(asked: Op, at: bool) -> bool:
            left[0] -= asked is op and at is sent
            return asked is op and at is sent and left[0] >= 0

        def sync(self: SyncConnection, asked: Op, *more: Any) -> Response:
            if is_lost(asked, at=False):
                raise TransportError("lost")
            answer = waits(self, asked, *more)
            if is_lost(asked, at=True):
                raise TransportError("lost")
            return answer

        async def asynchronous(self: AsyncConnection, asked: Op, *more: Any) -> Response:
            if is_lost(asked, at=False):
                raise TransportError("lost")
            answer = await asks(self, asked, *more)
            if is_lost(asked, at=True):
                raise TransportError("lost")
            return answer

        monkeypatch.setattr(SyncConnection, "ask", sync)
        monkeypatch.setattr(AsyncConnection, "ask", asynchronous)

    return lose


def prepare(target: Target) -> Op:
    return Op.PREPARE_TX_2 if target.version >= Version.V2_9 else Op.PREPARE_TX


def write(client: Any, key: bytes, *caches: Any, read: bool = False) -> None:
    with client.transaction(timeout=10) as tx:
        for cache in caches:
            inside = within(tx, cache)
            if read:
                inside.get(key)
                cache.put(key, b"yours")
            inside.put(key, b"mine")


@real
def test_a_lost_answer_is_asked_for(
    client: Any, octets: Any, key: bytes, target: Target, lose: Callable[..., None]
) -> None:
    """The servers know what became of it."""
    lose(prepare(target))
    write(client, key, octets)
    assert octets.get(key) == b"mine"
    lose(prepare(target))
    with pytest.raises(TransactionError, match="rolled back") as caught:
        write(client, key, octets, read=True)
    assert not isinstance(caught.value, TransactionInDoubtError)
    assert octets.get(key) == b"yours"


@real
def test_in_doubt(
    client: Any, octets: Any, key: bytes, target: Target, lose: Callable[..., None]
) -> None:
    lose(prepare(target), sent=False)  # which nobody can tell from a request that is slow
    with pytest.raises(TransactionInDoubtError):
        write(client, key, octets)
    assert octets.get(key) is None
    lose(prepare(target))
    lose(Op.ROLLBACK_TX)
    with pytest.raises(TransactionInDoubtError):
        write(client, key, octets)
    assert octets.get(key) == b"mine"


@real
def test_in_doubt_between_caches(
    client: Any, pair: list[Any], key: bytes, target: Target, lose: Callable[..., None]
) -> None:
    lose(Op.COMMIT_TX)
    with pytest.raises(TransactionInDoubtError):
        write(client, key, *pair)
    assert [cache.get(key) for cache in pair] == [b"mine", b"mine"]


@real
def test_not_prepared(
    client: Any, pair: list[Any], key: bytes, target: Target, lose: Callable[..., None]
) -> None:
    lose(prepare(target))
    with pytest.raises(TransportError):
        write(client, key, *pair)
    assert [cache.get(key) for cache in pair] == [None, None]
    write(client, key, *pair)
    assert [cache.get(key) for cache in pair] == [b"mine", b"mine"]


@real
def test_a_commit_is_tried_again(
    servers: Servers,
    target: Target,
    key: bytes,
    lose: Callable[..., None],
) -> None:
    """Twice is as good as once."""
    lose(Op.COMMIT_TX, times=2)
    with connect(
        "sync",
        addresses=[servers.address(target.server)],
        protocol_version=target.version,
        legacy_server=target.is_legacy,
        max_retries=2,
    ) as client:
        pair = [client.cache(name, keys=BYTES, values=BYTES) for name in ("tx", "xa")]
        write(client, key, *pair)
        assert [cache.get(key) for cache in pair] == [b"mine", b"mine"]
