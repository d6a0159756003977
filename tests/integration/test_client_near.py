"""Near caches of the clients: what is read once stays here, and is never older than it may be."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client.both import connect
from client.relay import Relay, until
from hotrod_codec import Op, Version
from hotrod_codec.marshallers import BYTES
from integration.conftest import Servers
from integration.peers import Target

pytestmark = pytest.mark.versions(since=Version.V2_0)
once = pytest.mark.versions(newest=True)

READ = Op.GET_WITH_METADATA


@pytest.fixture
def client(relayed_client: Any) -> Any:
    return relayed_client


@pytest.fixture
def near(client: Any) -> Any:
    """A cache with a near cache of any size."""
    return client.cache("octets", keys=BYTES, values=BYTES, near_cache=True)


@pytest.fixture
def other(target: Target, servers: Servers) -> Iterator[Any]:
    """The same cache as somebody else sees it."""
    with connect(
        "sync",
        addresses=[servers.address(target.server)],
        protocol_version=target.version,
        legacy_server=target.is_legacy,
    ) as client:
        yield client.cache("octets", keys=BYTES, values=BYTES)


@pytest.fixture
def reads(relay: Relay) -> Callable[[Callable[[], Any]], int]:
    """How often a server is asked for values while something is done."""

    def count(work: Callable[[], Any]) -> int:
        before = relay.requests[READ]
        work()
        return relay.requests[READ] - before

    return count


def test_what_was_read_is_not_read_again(near: Any, key: bytes, reads: Any) -> None:
    near.put(key, b"v")
    assert near.get(key) == b"v"
    assert reads(lambda: near.get(key)) == 0
    assert near.get(key) == b"v"
    found = near.get_with_metadata(key)
    assert (found.value, found.lifespan) == (b"v", None)
    assert near.replace_with_version(key, b"w", found.version)
    assert near.get(key) == b"w"


def test_what_others_write_is_told(near: Any, other: Any, key: bytes, reads: Any) -> None:
    other.put(key, b"1")
    assert near.get(key) == b"1"
    other.put(key, b"2")
    until(lambda: near.get(key) == b"2")
    assert reads(lambda: near.get(key)) == 0
    other.remove(key)
    until(lambda: near.get(key) is None)
    assert reads(lambda: near.get(key)) == 1  # that there is nothing is not remembered


def put_in_chunks(cache: Any, key: bytes) -> None:
    with cache.put_stream(key) as stream:
        stream.write(b"new")


WRITES: dict[str, Callable[[Any, bytes], Any]] = {
    "put": lambda cache, key: cache.put(key, b"new"),
    "replace": lambda cache, key: cache.replace(key, b"new"),
    "get_and_put": lambda cache, key: cache.get_and_put(key, b"new"),
    "put_all": lambda cache, key: cache.put_all({key: b"new"}),
    "put_many": lambda cache, key: cache.put_many([(key, b"new")]),
    "compute": lambda cache, key: cache.compute(key, lambda k, v: b"new"),
    "put_stream": lambda cache, key: put_in_chunks(cache, key),
    "another view": lambda cache, key: cache.with_flags(1).put(key, b"new"),
}
REMOVALS: dict[str, Callable[[Any, bytes], Any]] = {
    "remove": lambda cache, key: cache.remove(key),
    "remove_with_version": lambda cache, key: cache.remove_with_version(
        key, cache.get_with_metadata(key).version
    ),
    "clear": lambda cache, key: cache.clear(),
}


@once
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize("how", [*WRITES, *REMOVALS])
def test_own_writes_are_seen_at_once(client: Any, key: bytes, how: str) -> None:
    many = client.cache("many", keys=BYTES, values=BYTES, near_cache=10)
    many.put(key, b"old")
    for _ in range(20):
        assert many.get(key) == b"old"
        assert many.get(key) == b"old"
        if how in WRITES:
            WRITES[how](many, key)
            assert many.get(key) == b"new"
        else:
            REMOVALS[how](many, key)
            assert many.get(key) is None
        many.put(key, b"old")


@once
def test_a_conditional_write_that_fails_looks_again(near: Any, other: Any, key: bytes) -> None:
    """The value here may be the reason; a loop around it would go on for ever."""
    near.put(key, b"old")
    near.get(key)
    version = near.get_with_metadata(key).version
    other.put(key, b"new")
    assert not near.replace_with_version(key, b"mine", version)
    assert near.get(key) == b"new"


@once
def test_many_at_once(client: Any, relay: Relay, key: bytes, reads: Any) -> None:
    near = client.cache("octets", keys=BYTES, values=BYTES, near_cache=1000)
    keys = [key + b"%d" % i for i in range(20)]
    entries = {k: b"!" + k for k in keys[:10]}
    near.put_all(entries)
    assert near.get_many(keys[:5]) == [entries[k] for k in keys[:5]]
    assert near.get_many([]) == []
    # Five are here, five are read now, ten are not there at all.
    assert reads(lambda: near.get_all(keys)) == 15
    assert near.get_all(keys) == entries
    assert reads(lambda: near.get_all(keys[:10])) == 0
    before = relay.requests[Op.CONTAINS_KEY]
    assert near.contains_key(keys[0])
    assert not near.contains_key(keys[19])
    assert relay.requests[Op.CONTAINS_KEY] == before + 1


@once
def test_the_least_recently_used_go(client: Any, key: bytes, reads: Any) -> None:
    near = client.cache("octets", keys=BYTES, values=BYTES, near_cache=2)
    a, b, c = (key + suffix for suffix in (b"a", b"b", b"c"))
    near.put_all({a: b"A", b: b"B", c: b"C"})
    near.get_many([a, b])
    near.get(a)
    near.get(c)  # b goes
    assert reads(lambda: near.get_many([a, c])) == 0
    assert reads(lambda: near.get(b)) == 1


@once
def test_nothing_outlives_its_lifespan(near: Any, key: bytes, reads: Any) -> None:
    near.put(key, b"v", lifespan=2)
    assert near.get(key) == b"v"
    assert reads(lambda: near.get(key)) == 0
    time.sleep(2.1)
    assert near.get(key) is None


@once
def test_a_max_idle_needs_the_server(
    near: Any, key: bytes, reads: Any, caplog: pytest.LogCaptureFixture
) -> None:
    near.put(key, b"v", lifespan=math.inf, max_idle=100)
    assert reads(lambda: [near.get(key) for _ in range(3)]) == 3
    told = [r for r in caplog.records if r.levelno == logging.WARNING and "max idle" in r.message]
    assert len(told) == 1


@once
def test_while_no_events_come_nothing_is_kept(
    near: Any, other: Any, relay: Relay, key: bytes, reads: Any
) -> None:
    """What was read while nobody told of changes may have changed since."""
    other.put(key, b"1")
    other.put(key + b" other", b"v")
    assert near.get(key) == b"1"
    assert reads(lambda: near.get(key)) == 0
    relay.cut_listeners()
    other.put(key, b"2")
    until(lambda: near.get(key) == b"2")
    assert reads(lambda: [near.get(key) for _ in range(3)]) == 3
    relay.let_listen()
    other.put(key, b"3")
    listens_again(near, key, reads)
    assert near.get(key) == b"3"
    other.put(key, b"4")
    until(lambda: near.get(key) == b"4")


def listens_again(near: Any, key: bytes, reads: Any) -> None:
    """Wait until values are kept again; another key shows it, so that nobody looks at this one."""
    until(lambda: reads(lambda: near.get(key + b" other")) == 0)


@once
def test_what_changes_while_the_listener_moves_is_not_missed(
    near: Any, other: Any, relay: Relay, key: bytes, reads: Any
) -> None:
    """Again and again: the value before the gap is never given after it."""
    other.put(key + b" other", b"v")
    listens_again(near, key, reads)
    for i in range(10):
        value = b"%d" % i
        other.put(key, value)
        until(lambda value=value: near.get(key) == value)  # type: ignore[misc]
        relay.cut_listeners()
        other.put(key, value + b"!")
        until(lambda: reads(lambda: near.get(key + b" other")) == 1)
        relay.let_listen()
        listens_again(near, key, reads)
        assert near.get(key) == value + b"!"
