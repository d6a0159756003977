"""Many keys by few requests: how they are asked for, and what follows where that fails."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client.both import KINDS, connect, making
from client.rogue import Lie, Rogue
from hotrod_codec import EmbeddedServer, Op, ServerError, Status, TransportError, encode_response
from hotrod_codec.client._sync.cache import _LONG_VALUE, _MOST_BYTES, _MOST_KEYS, GATHERED_FROM
from hotrod_codec.errors import RequestTimeoutError
from hotrod_codec.marshallers import TextMarshaller

KEYS = [f"key {i}" for i in range(1000)]
ENTRIES = {key: key.upper() for key in KEYS}
REFUSED = (
    "java.lang.SecurityException: ISPN000287: Unauthorized access: subject 'Subject with "
    "principal(s): [reader]' lacks 'BULK_READ' permission"
)

Make = Callable[..., Any]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    with making(request.param) as make:
        yield make


class Counted:
    """How many requests there were since the last look, of GET and of GET_ALL."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._before = self._now()

    def _now(self) -> tuple[int, int]:
        requests = self._server.requests
        return requests.get(Op.GET, 0), requests.get(Op.GET_ALL, 0)

    def __call__(self) -> tuple[int, int]:
        before, self._before = self._before, self._now()
        return self._before[0] - before[0], self._before[1] - before[1]


def filled(client: Any, **marshallers: Any) -> Any:
    """A cache whose values have been seen."""
    cache = client.cache(**marshallers)
    cache.put_all(ENTRIES)
    assert cache.get_many(KEYS) == list(ENTRIES.values())
    return cache


def test_how_many_requests(server: EmbeddedServer, make: Make) -> None:
    count = Counted(server)
    cache = filled(make(server))
    assert count() == (GATHERED_FROM, 2)  # the first show how long values are
    assert cache.get_many(KEYS) == list(ENTRIES.values())
    assert count() == (0, 2)
    assert cache.get_many(KEYS[: GATHERED_FROM - 1]) == list(ENTRIES.values())[: GATHERED_FROM - 1]
    assert count() == (GATHERED_FROM - 1, 0)
    assert cache.get_many(KEYS[:GATHERED_FROM]) == list(ENTRIES.values())[:GATHERED_FROM]
    assert count() == (0, 1)
    assert cache.get_all(KEYS) == ENTRIES
    assert count() == (0, 2)
    assert cache.get_all([]) == {}
    assert cache.get_many([]) == []
    assert count() == (0, 0)


def test_each_is_where_it_belongs(server: EmbeddedServer, make: Make) -> None:
    cache = filled(make(server))
    order = [*KEYS[500:], "none", *KEYS[:600], *["twice", KEYS[7]] * 3, *KEYS[::-1]]
    assert cache.get_many(order) == [ENTRIES.get(key) for key in order]
    assert cache.get_all(order) == ENTRIES
    assert cache.get_many(f"no {i}" for i in range(300)) == [None] * 300
    assert cache.get_all(f"no {i}" for i in range(300)) == {}
    cache.put("empty", "")
    assert cache.get_many([*KEYS, "empty"]) == [*ENTRIES.values(), ""]
    assert cache.get_all(["none", "empty"]) == {"empty": ""}


def test_a_cluster(cluster: EmbeddedServer, make: Make) -> None:
    cache = filled(make(cluster))
    count = Counted(cluster)
    order = [*KEYS[::-1], "none", *KEYS]
    assert cache.get_many(order) == [ENTRIES.get(key) for key in order]
    gets, all_at_once = count()
    assert gets == 0
    assert all_at_once == 6  # each node has about 667 of them, 512 in a request
    assert cache.get_all(order) == ENTRIES
    cluster.kill_node(1)
    assert cache.get_many(order) == [ENTRIES.get(key) for key in order]
    assert cache.get_all(order) == ENTRIES


@pytest.mark.parametrize("version", ["1.3", "2.0"])
def test_versions_that_have_no_get_all(server: EmbeddedServer, make: Make, version: str) -> None:
    cache = filled(make(server, protocol_version=version))
    count = Counted(server)
    assert cache.get_many(KEYS) == list(ENTRIES.values())
    assert cache.get_all(KEYS) == ENTRIES
    assert count() == (2 * len(KEYS), 0)


def test_long_values_come_one_by_one(server: EmbeddedServer, make: Make) -> None:
    cache = make(server).cache()
    long = dict.fromkeys(KEYS[:300], "v" * (_LONG_VALUE + 1))
    cache.put_all(long)
    count = Counted(server)
    for _ in range(2):
        assert cache.get_many(long) == list(long.values())
        assert count() == (300, 0)
    # What changes is noticed, be it by the first call that asked the old way.
    cache.put_all(dict.fromkeys(long, "short"))
    cache.get_many(long)
    assert count() == (300, 0)
    assert cache.get_many(long) == ["short"] * 300
    assert count() == (0, 1)
    cache.put_all(long)
    assert cache.get_many(long) == list(long.values())
    assert count() == (0, 1)
    assert cache.get_many(long) == list(long.values())
    assert count() == (300, 0)


def test_answers_are_of_some_size_at_the_most(server: EmbeddedServer, make: Make) -> None:
    cache = make(server).cache()
    size = 4 * _MOST_BYTES // _MOST_KEYS
    entries = dict.fromkeys(KEYS[:_MOST_KEYS], "v" * size)
    cache.put_all(entries)
    count = Counted(server)
    assert cache.get_all(entries) == entries
    assert count() == (0, 1)  # nobody has seen a value
    assert cache.get_all(entries) == entries
    assert count() == (0, 4)


def test_nothing_is_learnt_of_what_is_not_there(server: EmbeddedServer, make: Make) -> None:
    cache = make(server).cache()
    count = Counted(server)
    for _ in range(2):
        assert cache.get_many(KEYS) == [None] * 1000
        assert count() == (1000, 0)


def test_who_may_not_read_in_bulk(server: EmbeddedServer, make: Make) -> None:
    """GET_ALL wants another permission than GET has."""
    client = make(server)
    cache = filled(client)
    count = Counted(server)
    server.faults.status(Status.SERVER_ERROR, REFUSED, op=Op.GET_ALL, times=None)
    assert cache.get_many(KEYS) == list(ENTRIES.values())
    assert count() == (1000, 2)
    for again in (cache, client.cache()):  # it is not tried again
        assert again.get_many(KEYS) == list(ENTRIES.values())
        assert count() == (1000, 0)
    with pytest.raises(ServerError, match="BULK_READ"):
        cache.get_all(KEYS)


def test_one_request_is_refused(server: EmbeddedServer, make: Make) -> None:
    cache = filled(make(server))
    count = Counted(server)
    server.faults.status(Status.SERVER_ERROR, "broken", op=Op.GET_ALL)
    assert cache.get_many(KEYS) == list(ENTRIES.values())
    assert count() == (500, 2)
    assert cache.get_many(KEYS) == list(ENTRIES.values())
    assert count() == (0, 2)
    server.faults.status(Status.SERVER_ERROR, "broken", op=Op.GET_ALL)
    with pytest.raises(ServerError, match="broken"):
        cache.get_all(KEYS)
    # What is refused in either way is an error.
    for op in (Op.GET, Op.GET_ALL):
        server.faults.status(Status.SERVER_ERROR, "broken", op=op)
    with pytest.raises(ServerError, match=r"GET: .*broken"):
        cache.get_many(KEYS)
    assert cache.get_many(KEYS) == list(ENTRIES.values())


def test_what_is_tried_again(server: EmbeddedServer, make: Make) -> None:
    cache = filled(make(server, request_timeout=0.5))
    count = Counted(server)
    server.faults.status(Status.NODE_SUSPECTED, op=Op.GET_ALL, times=3)
    assert cache.get_many(KEYS) == list(ENTRIES.values())
    assert count() == (0, 5)
    for at in (0, 3, 9, 3000):
        server.faults.cut(at, op=Op.GET_ALL)
        assert cache.get_many(KEYS) == list(ENTRIES.values())
        server.faults.cut(at, op=Op.GET_ALL)
        assert cache.get_all(KEYS) == ENTRIES
    server.faults.drop(op=Op.GET_ALL)
    assert cache.get_many(KEYS) == list(ENTRIES.values())
    server.faults.split(op=Op.GET_ALL)
    assert cache.get_many(KEYS) == list(ENTRIES.values())
    assert count()[0] == 0


def test_what_fails_for_good_is_not_asked_for_in_another_way(
    server: EmbeddedServer, make: Make
) -> None:
    cache = filled(make(server, request_timeout=0.3, max_retries=1))
    count = Counted(server)
    for status in (Status.NODE_SUSPECTED, Status.ILLEGAL_LIFECYCLE_STATE):
        server.faults.status(status, op=Op.GET_ALL, times=None)
        with pytest.raises(ServerError):
            cache.get_many(KEYS)
        assert count() == (0, 4)
        server.faults.clear()
    server.faults.cut(0, op=Op.GET_ALL, times=None)
    with pytest.raises(TransportError):
        cache.get_many(KEYS)
    server.faults.clear()
    server.faults.drop(op=Op.GET_ALL, times=None)
    with pytest.raises(RequestTimeoutError):
        cache.get_many(KEYS)
    assert count()[0] == 0
    server.faults.clear()
    assert cache.get_many(KEYS) == list(ENTRIES.values())


def test_a_call_that_took_too_long_makes_others_no_smaller(
    server: EmbeddedServer, make: Make
) -> None:
    """That values are long shows in some of them."""
    cache = filled(make(server, request_timeout=0.3, max_retries=0))
    server.faults.drop(op=Op.GET_ALL, times=None)
    with pytest.raises(RequestTimeoutError):
        cache.get_many(KEYS)
    server.faults.clear()
    count = Counted(server)
    assert len(cache.get_all(KEYS[:100])) == 100
    assert count() == (0, 1)
    assert cache.get_many(KEYS) == list(ENTRIES.values())
    assert count() == (GATHERED_FROM, 2)


def otherwise(rogue: Rogue) -> Lie:
    """Answers to GET_ALL with keys in another form, as of servers that convert them."""

    def lie(s: Any, q: Any) -> bytes:
        entries = [(key.replace(b" ", b"  "), key.upper()) for key in q["keys"]]
        return encode_response(
            Op.GET_ALL, version=q.version, message_id=q.message_id, entries=entries
        )

    return lie


@pytest.mark.parametrize("keys", ["text", "bytes"])
def test_keys_in_another_form(make: Make, keys: str) -> None:
    with Rogue() as rogue:
        cache = make(rogue.server).cache(keys=keys, values="bytes")
        wanted: list[Any] = KEYS[:]
        if keys == "bytes":
            wanted = [key.encode() for key in KEYS]
        values = [key.upper().encode() for key in KEYS]
        cache.put_all(zip(wanted, values, strict=True))
        cache.get_many(wanted)
        count = Counted(rogue.server)
        rogue.lies[Op.GET_ALL] = otherwise(rogue)
        assert cache.get_many(wanted) == values
        assert count()[0] == 1000
        assert cache.get_many(wanted) == values
        assert count() == (1000, 0)  # it is not tried again
        spaces: tuple[Any, Any] = (" ", "  ") if keys == "text" else (b" ", b"  ")
        asked = [*wanted[:9], wanted[0]]
        assert cache.get_all(asked) == {
            key.replace(*spaces): value for key, value in zip(wanted[:9], values, strict=False)
        }


def test_keys_that_may_be_written_in_several_ways(make: Make) -> None:
    """Of JSON a server may find the same key in two that differ: each is asked for."""
    with EmbeddedServer(caches={"p": "application/x-protostream"}) as server:
        cache = make(server).cache("p", keys="json", values="json")
        keys = [{"_type": "int32", "_value": i} for i in range(200)]
        cache.put_many((key, key) for key in keys)
        count = Counted(server)
        for _ in range(2):
            assert None not in cache.get_many(keys)
            assert count() == (200, 0)


@pytest.mark.parametrize("stored", ["application/x-protostream", "text/plain"])
@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "utf-16"])
def test_what_the_server_converts(make: Make, stored: str, charset: str) -> None:
    with EmbeddedServer(caches={"c": stored}) as server:
        marshaller = TextMarshaller(f"text/plain; charset={charset}")
        cache = make(server).cache("c", keys=marshaller, values=marshaller)
        entries = {f"k\xe4y {i}": f"v\xe4lue {i}" for i in range(300)}
        cache.put_all(entries)
        for _ in range(3):
            assert cache.get_many([*entries, "none"]) == [*entries.values(), None]
            assert cache.get_all([*entries, "none"]) == entries


class Reversed:
    """Keys that are no bytes objects when they are encoded, though nearly."""

    media_type = TextMarshaller().media_type

    def __init__(self, kind: Callable[[bytes], Any]) -> None:
        self._kind = kind

    def encode(self, value: str, /) -> Any:
        return self._kind(value[::-1].encode())

    def decode(self, data: Any, /) -> str:
        return bytes(data).decode()[::-1]


@pytest.mark.parametrize("kind", [memoryview, bytearray])
def test_what_is_like_bytes(server: EmbeddedServer, make: Make, kind: Any) -> None:
    cache = make(server).cache(keys=Reversed(kind))
    cache.put_many(ENTRIES)
    for _ in range(2):
        assert cache.get_many(KEYS) == list(ENTRIES.values())
        assert cache.get_all(KEYS) == ENTRIES


def test_what_is_counted(server: EmbeddedServer, make: Make) -> None:
    client = make(server, statistics=True)
    cache = filled(client)
    before = client.statistics
    cache.get_many([*KEYS, "none"])
    cache.get_all([*KEYS, "none"])
    found = client.statistics
    assert (found.hits - before.hits, found.misses - before.misses) == (2000, 2)


def test_a_call_has_one_time_for_all(server: EmbeddedServer, make: Make) -> None:
    """Also for the first keys, which are asked for one by one."""
    cache = make(server, operation_timeout=1.0, request_timeout=0.9, max_retries=0).cache()
    cache.put_all(ENTRIES)
    server.faults.delay(0.8, op=Op.GET, times=GATHERED_FROM)
    server.faults.delay(0.8, op=Op.GET_ALL, times=None)
    with pytest.raises(RequestTimeoutError):
        cache.get_many(KEYS)


@pytest.mark.parametrize("first", ["long", "short"])
def test_one_value_tells_nothing_of_the_others(
    server: EmbeddedServer, make: Make, first: str
) -> None:
    cache = make(server).cache()
    one = "v" * 3_000_000 if first == "long" else "v"
    other = "v" if first == "long" else "v" * (2 * _LONG_VALUE)
    entries = dict.fromkeys(KEYS, other)
    cache.put("one", one)
    cache.put_all(entries)
    assert cache.get_all(["one"]) == {"one": one}
    count = Counted(server)
    if first == "long":
        assert cache.get_all(entries) == entries
        assert count() == (0, 2)
    else:
        assert cache.get_many(entries) == list(entries.values())
        assert count() == (1000, 0)


def test_what_is_asked_for_again_counts_once(server: EmbeddedServer, make: Make) -> None:
    client = make(server, statistics=True)
    cache = filled(client)
    keys = [
        key for pair in zip(KEYS, (f"no {i}" for i in range(1000)), strict=True) for key in pair
    ]
    before, count = client.statistics, Counted(server)
    server.faults.status(Status.SERVER_ERROR, "broken", op=Op.GET_ALL)
    assert cache.get_many(keys) == [ENTRIES.get(key) for key in keys]
    assert count() == (500, 4)
    found = client.statistics
    assert (found.hits - before.hits, found.misses - before.misses) == (1000, 1000)


def test_keys_that_come_twice_are_no_misses(server: EmbeddedServer, make: Make) -> None:
    client = make(server, statistics=True)
    cache = filled(client)
    before = client.statistics
    assert cache.get_many(KEYS[:2] * 150) == list(ENTRIES.values())[:2] * 150
    assert cache.get_all(KEYS[:2] * 150) == {key: ENTRIES[key] for key in KEYS[:2]}
    assert client.statistics.hits > before.hits
    assert client.statistics.misses == before.misses


class SlowLine:
    """A port that leads to a server, whose answers come at `rate` bytes in a second."""

    def __init__(self, server: tuple[str, int], rate: float) -> None:
        self._server, self._rate = server, rate
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = self._door.getsockname()[:2]
        self._all = [self._door]
        threading.Thread(target=self._welcome, daemon=True).start()

    def close(self) -> None:
        for sock in self._all:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _welcome(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._door.accept()
                there = socket.create_connection(self._server)
                self._all += [here, there]
                for way in ((here, there, 0.0), (there, here, 1 / self._rate)):
                    threading.Thread(target=self._pass_on, args=way, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket, seconds: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2**14):
                sink.sendall(data)
                time.sleep(len(data) * seconds)
            sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_are_longer_than_those_before(server: EmbeddedServer, kind: str) -> None:
    """So many of them in one answer may take too long: the next time that shows in the first."""
    long = dict.fromkeys(KEYS[:256], "v" * 30_000)
    with connect(kind, server.uri) as other:
        other.cache().put_all(dict.fromkeys(KEYS[256:], "v") | long)
    line = SlowLine(server.address, 4e6)
    settings: dict[str, Any] = {"client_intelligence": "basic", "request_timeout": 0.5}
    try:
        with connect(kind, addresses=[line.address], max_retries=0, **settings) as client:
            cache = client.cache()
            assert cache.get_many(KEYS[256:]) == ["v"] * 744
            with pytest.raises(RequestTimeoutError):
                cache.get_many(long)
            assert cache.get_many(long) == list(long.values())
    finally:
        line.close()
