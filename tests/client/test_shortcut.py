"""Requests of the client for threads that go the short way, and what does not stay on it."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import pytest

from client.threads import in_threads
from hotrod_codec import (
    Client,
    EmbeddedServer,
    EncodeError,
    NodeSuspectedError,
    Op,
    RequestTimeoutError,
    ServerFailureError,
    Status,
    TransportError,
    Version,
    encode_response,
)
from hotrod_codec.client._sync.dispatch import Dispatcher
from hotrod_codec.client._sync.driver import Connection
from hotrod_codec.client.cluster import CacheState, Routing
from hotrod_codec.client.session import Header, Session
from hotrod_codec.values import ServerAddress

ADDRESS = ServerAddress("peer", 1)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[Op]:
    """Of the requests of clients that are made from now on, those that went the long way."""
    found: list[Op] = []
    request = Dispatcher.request

    def noted(self: Dispatcher, op: Op, *args: Any, **more: Any) -> Any:
        found.append(op)
        return request(self, op, *args, **more)

    monkeypatch.setattr(Dispatcher, "request", noted)
    return found


def idle(client: Client) -> list[Connection]:
    """The connections that nobody uses, all of them as if they had been used just now: so slow as a
    machine may be, time decides nothing."""
    pools = client._dispatcher.driver._pools.values()
    found = [connection for pool in pools for connection in pool.idle]
    for connection in found:
        connection.released_at = math.inf
    return found


def warm(client: Client) -> Any:
    """A cache with an entry, its connection at hand."""
    cache = client.cache()
    cache.put("a", "A")
    assert len(idle(client)) == 1
    return cache


def until(what: Callable[[], Any]) -> None:
    while not what():
        time.sleep(0.001)


# ---- with a server ------------------------------------------------------------------------------


def test_what_goes_the_short_way(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri) as client:
        cache = warm(client)
        (connection,) = idle(client)
        slow.clear()
        asked: list[tuple[Callable[[], Any], Any]] = [
            (lambda: cache.get("a"), "A"),
            (lambda: cache.get("b"), None),
            (lambda: cache.put("b", "B"), None),
            (lambda: cache.put("c", "C", lifespan=100), None),
            (lambda: cache.get("b"), "B"),
            (lambda: cache.get("a"), "A"),
        ]
        for ask, answer in asked:
            assert idle(client) == [connection]
            assert ask() == answer
            assert connection.session.pending == 0
            assert connection.session._waiting == {}
            assert connection.released_at < math.inf
        assert slow == []
        assert server.connections == 1


def test_what_does_not(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri) as client:
        cache = warm(client)
        (connection,) = idle(client)
        failed = client._dispatcher.cluster.failed

        def disconnect() -> None:
            failed.clear()
            client._dispatcher.driver.disconnect()

        changes: list[Callable[[], object]] = [
            lambda: setattr(connection, "released_at", -math.inf),
            lambda: failed.update({ServerAddress("another", 1): math.inf}),
            disconnect,
        ]
        for change in changes:
            idle(client)
            change()
            slow.clear()
            assert cache.get("a") == "A"
            assert slow == [Op.GET]
        assert len(idle(client)) == 1
        slow.clear()
        assert cache.get("a") == "A"
        assert slow == []


def test_every_key_goes_to_its_owner(cluster: EmbeddedServer, slow: list[Op]) -> None:
    with Client(cluster.uri) as client:
        cache = client.cache()
        keys = [f"{i}" for i in range(60)]
        for key in keys:
            cache.put(key, key)
        slow.clear()
        for key in keys:
            assert len(idle(client)) == 3
            assert cache.get(key) == key
        assert slow == []


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_an_answer_byte_by_byte(server: EmbeddedServer, slow: list[Op], size: int) -> None:
    with Client(server.uri) as client:
        cache = warm(client)
        cache.put("a", "A" * size)
        (connection,) = idle(client)
        server.faults.split(op=Op.GET)
        slow.clear()
        assert cache.get("a") == "A" * size
        assert slow == []
        assert idle(client) == [connection]


def test_a_long_answer(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri) as client:
        cache = warm(client)
        value = "".join(f"{i}" for i in range(500_000))
        cache.put("a", value)
        idle(client)
        slow.clear()
        assert cache.get("a") == value
        assert slow == []


def test_a_request_in_pieces(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri) as client:
        cache = warm(client)
        (connection,) = idle(client)
        connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        value = "".join(f"{i}" for i in range(500_000))
        slow.clear()
        cache.put("a", value)
        assert slow == []
        assert idle(client) == [connection]
        assert cache.get("a") == value
        assert slow == []


def test_an_answer_that_comes_too_late(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri, request_timeout=0.2, max_retries=0) as client:
        cache = warm(client)
        (connection,) = idle(client)
        server.faults.delay(0.5, op=Op.GET)
        slow.clear()
        with pytest.raises(RequestTimeoutError, match=r"^GET: no answer from .* in time$"):
            cache.get("a")
        assert slow == []
        assert idle(client) == [connection]
        assert connection.session.abandoned == 1
        cache.put("b", "B")  # another connection, as this one has an answer to come
        assert slow == [Op.PUT]
        assert cache.get("b") == "B"


def test_error_answers(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri) as client:
        cache = warm(client)
        (connection,) = idle(client)
        slow.clear()
        server.faults.status(Status.SERVER_ERROR, "broken", op=Op.GET)
        with pytest.raises(ServerFailureError, match="broken") as broken:
            cache.get("a")
        assert not hasattr(broken.value, "__notes__")
        assert idle(client) == [connection]
        server.faults.status(Status.NODE_SUSPECTED, op=Op.PUT)
        with pytest.raises(NodeSuspectedError):
            cache.put("a", "B")
        assert slow == []
        idle(client)
        server.faults.status(Status.NODE_SUSPECTED, op=Op.GET)
        assert cache.get("a") == "A"
        assert slow == [Op.GET]  # the second attempt


def test_attempts_are_noted(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri, max_retries=2) as client:
        cache = warm(client)
        server.faults.cut(at=0, op=Op.GET, times=None)
        before = server.requests.get(Op.GET, 0)
        slow.clear()
        with pytest.raises(TransportError, match=r"GET: .* closed the connection") as caught:
            cache.get("a")
        assert slow == [Op.GET]
        assert server.requests[Op.GET] - before == 3
        (note,) = caught.value.__notes__
        assert note.startswith("attempts: ")
        assert note.count("127.0.0.1") == 3


def test_a_write_that_was_sent_is_not_sent_again(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri) as client:
        cache = warm(client)
        server.faults.cut(at=0, op=Op.PUT)
        before = server.requests[Op.PUT]
        slow.clear()
        with pytest.raises(TransportError, match=r"PUT: .* closed the connection"):
            cache.put("a", "B")
        assert slow == []
        assert server.requests[Op.PUT] == before + 1
        assert cache.get("a") == "B"


def test_a_topology_in_an_answer(cluster: EmbeddedServer, slow: list[Op]) -> None:
    with Client(cluster.uri) as client:
        cache = client.cache()
        for i in range(60):
            cache.put(f"{i}", "A")
        state = client._dispatcher.cluster.cache("")
        before = state.routing.topology_id
        key = next(f"{i}" for i in range(60) if owner(state, f"{i}") == cluster.address_of(0))
        cluster.stop_node(2)
        idle(client)
        slow.clear()
        assert cache.get(key) == "A"
        assert slow == []
        assert state.routing.topology_id != before
        assert cluster.address_of(2) not in state.routing.servers


def owner(state: CacheState, key: str) -> ServerAddress:
    return state.routing.owners_of(key.encode())[0]


def test_what_cannot_be_said(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri) as client:
        cache = warm(client)
        (connection,) = idle(client)
        slow.clear()
        for error, lifespan in ((EncodeError, -5), (TypeError, "long")):
            with pytest.raises(error):
                cache.put("a", "B", lifespan=lifespan)
            assert idle(client) == [connection]
            assert connection.session.pending == 0
        assert cache.get("a") == "A"
        assert slow == []
        assert server.connections == 1


def test_closed_meanwhile(server: EmbeddedServer, slow: list[Op]) -> None:
    server.faults.delay(30, op=Op.GET)
    with Client(server.uri) as client:
        cache = warm(client)
        slow.clear()
        problems: list[Exception] = []

        def ask() -> None:
            try:
                cache.get("a")
            except TransportError as error:
                problems.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: server.requests.get(Op.GET))
        client.close()
        thread.join(20)
        (problem,) = problems
        assert "closed" in str(problem)
        assert slow == []
        with pytest.raises(TransportError, match="the client is closed"):
            cache.get("a")


def test_a_pool_that_was_retired_meanwhile(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri) as client:
        cache = warm(client)
        slow.clear()
        server.faults.delay(0.3, op=Op.GET)
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(cache.get("a")))
        thread.start()
        until(lambda: server.requests.get(Op.GET))
        client._dispatcher.driver.disconnect()
        thread.join(20)
        assert found == ["A"]
        assert slow == []
        assert client._dispatcher.driver.connections == 0
        until(lambda: server.connections == 0)
        assert cache.get("a") == "A"


def test_who_waits_for_a_connection_is_told(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri, max_connections=1) as client:
        cache = warm(client)
        (pool,) = client._dispatcher.driver._pools.values()
        server.faults.delay(0.3, op=Op.GET)
        slow.clear()
        in_threads(2, lambda _: cache.get("a"))
        assert len(slow) == 1  # it found no connection
        (connection,) = idle(client)
        turn: SimpleQueue[Any] = SimpleQueue()
        pool.waiting.append(turn)
        assert cache.get("a") == "A"
        assert turn.get_nowait() is connection
        assert not pool.idle
        pool.idle.append(connection)


def test_many_threads(server: EmbeddedServer, slow: list[Op]) -> None:
    with Client(server.uri, max_connections=4) as client:
        cache = client.cache()

        def work(number: int) -> None:
            for i in range(300):
                key, value = f"{number}-{i % 7}", f"{i}"
                cache.put(key, value)
                assert cache.get(key) == value

        in_threads(4, work)
        assert len(slow) < 8 * 300
        assert server.connections <= 4


def test_those_who_count_count(server: EmbeddedServer) -> None:
    with Client(server.uri, statistics=True) as client:
        cache = warm(client)
        for key in ("a", "a", "b"):
            idle(client)
            cache.get(key)
        counted = cache.statistics
        assert (counted.hits, counted.misses, counted.stores) == (2, 1, 1)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads and fork
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_connections_of_its_own(server: EmbeddedServer) -> None:
    with Client(server.uri) as client:
        cache = warm(client)
        child = os.fork()
        if child == 0:
            found = [cache.get("a") for _ in range(20)]
            os._exit(0 if found == ["A"] * 20 else 1)
        assert os.waitpid(child, 0)[1] == 0
        idle(client)
        assert cache.get("a") == "A"


# ---- one connection, its other end at hand ------------------------------------------------------


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    with ExitStack() as stack:
        ours, theirs = socket.socketpair()
        stack.enter_context(theirs)
        theirs.settimeout(20)
        connection = Connection(ADDRESS, ours, Session(ADDRESS, Version.V4_1), 60.0)
        yield connection, theirs
        connection.abort("over")


STATE = CacheState("c", Routing(7, [ADDRESS]), None)  # type: ignore[arg-type]
HEADER = Header("c")


def get(connection: Connection, seconds: float = 20.0) -> Any:
    now = time.monotonic()
    return connection.ask(Op.GET, STATE, HEADER, {"key": b"k"}, "pairs", now + seconds, now)


def answer(message_id: int, value: bytes) -> bytes:
    return encode_response(Op.GET, version="4.1", message_id=message_id, value=value)


def test_answers_that_come_with_others(ends: tuple[Connection, socket.socket]) -> None:
    connection, peer = ends
    with pytest.raises(RequestTimeoutError, match="peer:1"):
        get(connection, 0.05)
    session = connection.session
    assert (session.pending, session.abandoned) == (1, 1)
    assert connection.usable
    peer.sendall(answer(1, b"late") + answer(2, b"value"))
    assert get(connection).value == b"value"
    assert (session.pending, session.abandoned) == (0, 0)
    peer.sendall(answer(3, b"value") + b"\xa1")
    assert get(connection).value == b"value"
    peer.sendall(answer(4, b"value")[1:])
    assert get(connection).value == b"value"


def test_what_is_no_answer(ends: tuple[Connection, socket.socket]) -> None:
    connection, peer = ends
    peer.sendall(answer(2, b"value"))
    with pytest.raises(TransportError, match=r"GET: peer:1: .*waits for no answer"):
        get(connection)
    assert not connection.usable


def test_nobody_takes_a_request(ends: tuple[Connection, socket.socket]) -> None:
    connection, _ = ends
    now = time.monotonic()
    fields = {"key": b"k", "value": b"v" * 10_000_000}
    with pytest.raises(TransportError, match="PUT: peer:1 took no request in time"):
        connection.ask(Op.PUT, STATE, HEADER, fields, "pairs", now + 0.1, now)
    assert not connection.usable
    with pytest.raises(TransportError, match="took no request"):
        get(connection)


def test_the_other_end_is_gone(ends: tuple[Connection, socket.socket]) -> None:
    connection, peer = ends
    peer.close()
    with pytest.raises(TransportError, match=r"GET: peer:1: \[Errno "):
        get(connection)
    assert connection._descriptor == -1


def test_the_deadline_is_for_all_pieces(ends: tuple[Connection, socket.socket]) -> None:
    connection, peer = ends
    over = threading.Event()

    def trickle() -> None:
        data = answer(1, b"v" * 100)
        for i in range(len(data) - 1):
            peer.sendall(data[i : i + 1])
            if over.wait(0.05):
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    with pytest.raises(RequestTimeoutError):
        get(connection, 0.4)
    over.set()
    thread.join(20)
    assert connection.session.abandoned == 1
