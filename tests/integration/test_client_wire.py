"""The clients and connections that end, are reset, fall silent or are slow: at every byte of what
a server says there is a right answer or an error with a name, never a wrong answer, never none."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import pytest

from client.both import KINDS, connect
from hotrod_codec import RequestTimeoutError, TransportError, Version
from hotrod_codec.marshallers import BYTES
from integration.conftest import Servers, is_full
from integration.embedded import EMBEDDED
from integration.infinispan import PASSWORD, USER
from integration.peers import Target
from integration.proxy import CUT, RESET, STALL, Proxy

pytestmark = [pytest.mark.versions(newest=True), pytest.mark.usefixtures("deadline")]

LOGIN = {"username": USER, "password": PASSWORD, "sasl_server_name": "hotrod-codec"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def proxy(target: Target, servers: Servers) -> Iterator[Proxy]:
    """The way to a single server."""
    with Proxy(servers.address(target.server)) as proxy:
        yield proxy


@pytest.fixture
def guarded(target: Target, servers: Servers) -> Iterator[Proxy]:
    """The way to one that wants to know who it is."""
    with Proxy(servers.get(target.server, auth=True).addresses[0]) as proxy:
        yield proxy


def connected(kind: str, proxy: Proxy, target: Target, **settings: Any) -> Any:
    # Who fails at one address shall go to the other at once.
    settings = {"server_failure_timeout": 0.001} | settings
    return connect(kind, addresses=proxy.addresses, legacy_server=target.is_legacy, **settings)


def at_every_byte(
    proxy: Proxy,
    ways: tuple[str, ...],
    ask: Callable[[], None],
    warm: Callable[[], Any] | None = None,
) -> int:
    """Ask again and again, each time breaking the connection a byte later, until there is nothing
    left to break; how many bytes it were. `warm` makes connections, so that no handshake breaks."""
    for count in itertools.count():
        for how in ways:
            if warm is not None:
                for _ in proxy.addresses:
                    warm()
            proxy.break_after(count, how)
            try:
                ask()
            except BaseException as error:
                error.add_note(f"{how} after {count} bytes")
                raise
        if not proxy.broken:
            proxy.mend()
            return count
    raise AssertionError


@pytest.fixture
def ways(target: Target, pytestconfig: pytest.Config) -> tuple[str, ...]:
    """How connections end."""
    all_of_them = target.server == EMBEDDED or is_full(pytestconfig)
    return (CUT, RESET) if all_of_them else (CUT,)


def test_a_connection_that_ends_within_an_answer(
    proxy: Proxy, kind: str, target: Target, key: bytes, ways: tuple[str, ...]
) -> None:
    keys = [b"%s %d" % (key, i) for i in range(3)]
    with connected(kind, proxy, target) as client:
        cache = client.cache("octets", keys=BYTES, values=BYTES)
        cache.put_all({k: k for k in keys})

        def get() -> None:
            assert cache.get(key + b" 1") == key + b" 1"

        def get_with_metadata() -> None:
            assert cache.get_with_metadata(keys[2]).value == keys[2]

        def get_all() -> None:
            assert cache.get_all(keys) == {k: k for k in keys}

        def get_many() -> None:
            assert cache.get_many(keys) == keys

        for ask, least in ((get, 10), (get_with_metadata, 20), (get_all, 30), (get_many, 30)):
            assert at_every_byte(proxy, ways, ask, lambda: cache.get(key)) > least


def test_a_connection_that_ends_within_the_answer_to_a_write(
    proxy: Proxy, kind: str, target: Target, key: bytes, ways: tuple[str, ...]
) -> None:
    """With leave to do so it is tried again; without, it may be done or not, and fails."""
    numbers = itertools.count()
    failed = 0
    with (
        connected(kind, proxy, target) as client,
        connected(kind, proxy, target, retry_writes=True) as insistent,
    ):
        once = client.cache("octets", keys=BYTES, values=BYTES)
        again = insistent.cache("octets", keys=BYTES, values=BYTES)
        once.put(key, b"first")

        def put_again() -> None:
            value = b"%d" % next(numbers)
            again.put(key, value)
            assert again.get(key) == value

        def put_previous() -> None:
            before, value = again.get(key), b"%d" % next(numbers)
            assert again.get_and_put(key, value) in (before, value)

        def put_once() -> None:
            nonlocal failed
            value = b"%d" % next(numbers)
            try:
                once.put(key, value)
            except TransportError:
                failed += 1  # and is done: the server has answered
            assert once.get(key) == value

        for ask, cache in ((put_again, again), (put_previous, again), (put_once, once)):
            assert at_every_byte(proxy, ways, ask, partial(cache.get, key)) >= 5
        assert failed == 5 * len(ways)


def test_a_connection_that_ends_within_an_iteration(
    proxy: Proxy, kind: str, target: Target, key: bytes, ways: tuple[str, ...]
) -> None:
    with connected(kind, proxy, target) as client:
        many = client.cache("many", keys=BYTES, values=BYTES)
        many.clear()
        expected = sorted((b"%s %d" % (key, i), b"%d" % i) for i in range(6))
        many.put_all(dict(expected))

        def iterate() -> None:
            assert sorted(many.entries(batch_size=3)) == expected

        assert at_every_byte(proxy, ways, iterate) > 100
        many.clear()


def test_a_connection_that_ends_within_the_handshake(
    proxy: Proxy, kind: str, target: Target, key: bytes, ways: tuple[str, ...]
) -> None:
    def meet() -> None:
        with connected(kind, proxy, target) as client:
            cache = client.cache("octets", keys=BYTES, values=BYTES)
            assert cache.get(key) is None
            assert version_of(client) == target.version

    assert at_every_byte(proxy, ways, meet) > 20


def version_of(client: Any) -> Version:
    """What client and server agreed on."""
    inner = getattr(client, "_inner", client)
    version: Version = inner._dispatcher.cluster.cache("octets").version
    return version


def test_a_connection_that_ends_while_the_client_says_who_it_is(
    guarded: Proxy,
    kind: str,
    target: Target,
    key: bytes,
    ways: tuple[str, ...],
    pytestconfig: pytest.Config,
) -> None:
    def meet(mechanism: str) -> None:
        with connected(kind, guarded, target, sasl_mechanisms=(mechanism,), **LOGIN) as client:
            assert client.cache("octets", keys=BYTES, values=BYTES).get(key) is None

    mechanisms = ["DIGEST-MD5"]
    if is_full(pytestconfig) and not target.is_legacy:
        mechanisms.append("SCRAM-SHA-256")  # is made to take its time
    for mechanism in mechanisms:
        assert at_every_byte(guarded, ways, partial(meet, mechanism)) > 100


def test_a_peer_that_falls_silent(proxy: Proxy, kind: str, target: Target, key: bytes) -> None:
    with ExitStack() as stack:

        def client(**settings: Any) -> Any:
            settings = {"request_timeout": 0.3, "connect_timeout": 0.3} | settings
            return stack.enter_context(connected(kind, proxy, target, **settings))

        for count in (0, 1, 4, 20):
            proxy.break_after(count, STALL)  # in the handshake, or in the first answers
            cache = client().cache("octets", keys=BYTES, values=BYTES)
            assert cache.get(key) is None
            assert proxy.broken
        cache.put(key, b"v")
        for count in (0, 1, 4):
            proxy.break_after(count, STALL)
            assert cache.get(key) == b"v"
            assert proxy.broken
            proxy.break_after(count, STALL)
            with suppress(RequestTimeoutError, TransportError):
                cache.put(key, b"v")
            assert cache.get_all([key]) == {key: b"v"}
        patient = client(max_retries=0).cache("octets", keys=BYTES, values=BYTES)
        patient.get(key)
        proxy.break_after(2, STALL)
        with pytest.raises(RequestTimeoutError):
            patient.get(key)
        assert patient.get(key) == b"v"


def test_a_slow_peer(guarded: Proxy, kind: str, target: Target, key: bytes) -> None:
    """Byte by byte, in both directions."""
    guarded.slow = True
    keys = [b"%s %d" % (key, i) for i in range(20)]
    entries = {k: k for k in keys}
    mechanisms = ("DIGEST-MD5",) if target.is_legacy else None
    with connected(kind, guarded, target, sasl_mechanisms=mechanisms, **LOGIN) as client:
        cache = client.cache("many", keys=BYTES, values=BYTES)
        cache.clear()
        cache.put(keys[0], b"v")
        assert cache.get(keys[0]) == b"v"
        cache.put_all(entries)
        assert cache.get_all(keys) == entries
        assert cache.get_many(keys) == keys
        assert dict(cache.entries(batch_size=7)) == entries
        with cache.add_listener() as events:
            assert cache.remove(keys[0])
            assert events.next(20).key == keys[0]
        cache.clear()
