"""Listeners whose servers come and go."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

import pytest

from client.both import KINDS, SECONDS, connect, next_of
from client.relay import until
from client.rogue import Rogue, nothing_stays
from client.threads import in_threads
from hotrod_codec import (
    AsyncClient,
    Client,
    EmbeddedServer,
    Op,
    Request,
    ServerError,
    Status,
    encode_response,
)
from hotrod_codec.client import EventKind, QueryEventKind
from hotrod_codec.marshallers import PROTOSTREAM
from hotrod_codec.protostream import ContinuousQueryResult, ResultType
from hotrod_codec.server.session import Session
from hotrod_codec.values import CounterConfiguration


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_listener_comes_back_wherever_its_node_dies(cluster: EmbeddedServer, kind: str) -> None:
    with connect(kind, cluster.uri) as client:
        cache = client.cache()
        with cache.add_listener() as events:
            cache.put("a", "A")
            assert next_of(events, EventKind.CREATED).key == "a"
            for node in (0, 1):  # it was on one of these, or is on the third all the time
                cluster.kill_node(node)
                time.sleep(0.3)
                cluster.start_node(node)
            # What is written before it is back is not heard.
            deadline = time.monotonic() + SECONDS
            event: Any = None
            while event is None or event.kind is not EventKind.CREATED or event.key == "a":
                assert time.monotonic() < deadline
                key = f"b {time.monotonic()}"
                cache.get(key)  # a connection that is gone is found by a read
                cache.put(key, "B")
                event = events.next(0.1)
            assert event.version is not None


def test_a_listener_comes_back_after_a_restart(server: EmbeddedServer, kind: str) -> None:
    with connect(kind, server.uri) as client:
        cache = client.cache()
        with cache.add_listener() as events:
            server.stop_node(0)
            server.start_node(0)
            next_of(events, EventKind.FAILOVER)
            time.sleep(0.05)
            cache.get("a")  # the client's other connection is found to be gone
            cache.put("a", "A")
            assert next_of(events, EventKind.CREATED).key == "a"


def test_a_state_that_takes_longer_than_an_answer_may(server: EmbeddedServer, kind: str) -> None:
    """As long as something comes of it: it comes before the answer."""
    ended = threading.Event()

    def write(i: int) -> None:
        with Client(server.uri) as other:
            cache = other.cache()
            while i and not ended.is_set():
                cache.put("b", "B")
                time.sleep(0.02)
        if not i:
            try:
                listen()
            finally:
                ended.set()

    def listen() -> None:
        settings = {"request_timeout": 0.5, "ping_interval": 60}
        with connect(kind, server.uri, **settings) as client:
            cache = client.cache()
            cache.put("a", "A")
            server.faults.delay(1.5, op=Op.ADD_CLIENT_LISTENER)
            with cache.add_listener(include_state=True) as events:
                assert events.next(SECONDS).kind is EventKind.CREATED
                for _ in range(100):
                    assert events.next(SECONDS).kind is not EventKind.FAILOVER

    in_threads(2, write)


def test_the_state_comes_behind_the_failover(cluster: EmbeddedServer, kind: str) -> None:
    """Who forgets at a failover what it knew has it all again."""
    keys = {f"{i}" for i in range(10)}
    with connect(kind, cluster.uri) as client:
        cache = client.cache()
        cache.put_all(dict.fromkeys(keys, "v"))
        with cache.add_listener(include_state=True) as events:
            assert {events.next(SECONDS).key for _ in keys} == keys
            nodes = iter(range(3))
            while (event := events.next(0.5)) is None:
                cluster.stop_node(number := next(nodes))
                cluster.start_node(number)
            assert event.kind is EventKind.FAILOVER
            assert {events.next(SECONDS).key for _ in keys} == keys


@pytest.mark.parametrize("what", ["cache", "counter"])
def test_a_listener_that_is_removed_while_it_comes_back(
    server: EmbeddedServer, kind: str, what: str
) -> None:
    """It is not added again, tells nothing, and its connection goes."""
    heard: list[Any] = []
    with connect(kind, server.uri) as client:
        cache = client.cache()
        cache.put("a", "A")
        client.counters.define("c", CounterConfiguration())
        counter = client.counters.get("c")
        listener = (cache if what == "cache" else counter).add_listener(heard.append)
        server.faults.delay(0.3, op=Op.PING, times=None)
        pings = server.requests[Op.PING]
        server.stop_node(0)
        server.start_node(0)
        until(lambda: listener.next(0.01) or server.requests[Op.PING] > pings)
        listener.remove()
        server.faults.clear()
        time.sleep(0.3)
        cache.put("b", "B")  # the client's own connection is there again
        counter.increment_and_get()
        until(lambda: cache.get("b") and server.connections == 1)
        adding = Op.ADD_CLIENT_LISTENER if what == "cache" else Op.COUNTER_ADD_LISTENER
        assert server.requests[adding] == 1
        assert heard == []


def test_what_cannot_be_added(server: EmbeddedServer, kind: str) -> None:
    with connect(kind, server.uri) as client:
        with pytest.raises(ServerError, match="nobody"):
            client.cache().add_listener(filter_factory="nobody")
        with pytest.raises(ValueError, match="born"):
            client.cache().add_listener(kinds=["born"])
        server.faults.status(Status.SERVER_ERROR, "no", op=Op.ADD_CLIENT_LISTENER)
        with pytest.raises(ServerError, match="no"):
            client.cache().add_listener()


def test_callbacks_that_fail_end_nothing(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []
    arrived = threading.Semaphore(0)

    def callback(event: Any) -> None:
        heard.append(event.key)
        arrived.release()
        raise RuntimeError("this callback is broken")

    with Client(server.uri) as client:
        cache = client.cache()
        with cache.add_listener(callback):
            for key in "abc":
                cache.put(key, key)
                assert arrived.acquire(timeout=20)
    assert heard == ["a", "b", "c"]
    assert "this callback is broken" in caplog.text


def test_nothing_remains_of_a_removed_listener(server: EmbeddedServer) -> None:
    with Client(server.uri) as client:
        cache = client.cache()
        cache.put("a", "A")
        with nothing_stays():
            for _ in range(5):
                listener = cache.add_listener()
                listener.remove()
                listener.remove()
                assert list(listener) == []
        until(lambda: server.connections == 1)


def test_iterating_in_a_loop(server: EmbeddedServer) -> None:
    async def main() -> list[tuple[str, str | None]]:
        heard = []
        async with AsyncClient(server.uri) as client:
            cache = client.cache()

            async def write() -> None:
                for key in "abc":
                    await cache.put(key, key)

            async with await cache.add_listener(kinds=["created"]) as events:
                writing = asyncio.create_task(write())
                async for event in events:
                    heard.append((event.kind.value, event.key))
                    if len(heard) == 3:
                        break
                await writing
        return heard

    assert asyncio.run(main()) == [("created", "a"), ("created", "b"), ("created", "c")]


def test_closing_the_client_ends_its_listeners(server: EmbeddedServer) -> None:
    client = Client(server.uri)
    listener = client.cache().add_listener()
    client.close()
    assert listener.next(20) is None


def test_a_cache_that_is_removed(server: EmbeddedServer, kind: str) -> None:
    """Whoever listens to it hears of the next one of its name."""
    with connect(kind, server.uri) as client:
        cache = client.cache("c")
        client.admin.create_cache("c", "<local-cache/>")
        with cache.add_listener() as events:
            client.admin.remove_cache("c")
            client.admin.create_cache("c", "<local-cache/>")
            next_of(events, EventKind.FAILOVER)
            cache.put("k", "v")
            assert next_of(events, EventKind.CREATED).key == "k"


def test_closing_the_client_while_a_listener_comes_back(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is made while the client closes does not stay."""

    async def main() -> None:
        connecting, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        connect = loop.create_connection

        async def slowly(*args: Any, **settings: Any) -> Any:
            made = await connect(*args, **settings)
            connecting.set()
            await go_on.wait()
            return made

        async with AsyncClient(server.uri) as client:
            listener = await client.cache().add_listener()
            monkeypatch.setattr(loop, "create_connection", slowly)
            assert listener._connection is not None
            listener._connection.interrupt("a test")
            await connecting.wait()
        go_on.set()
        assert await listener.next(20) is None
        async with asyncio.timeout(20):
            while server.connections:
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_counter_listener_whose_removal_is_cancelled(server: EmbeddedServer) -> None:
    """It listens no more all the same."""

    async def main() -> None:
        async with AsyncClient(server.uri) as client:
            await client.counters.define("c", CounterConfiguration())
            listener = await client.counters.add_listener("c")
            server.faults.drop(op=Op.COUNTER_REMOVE_LISTENER)
            before = server.requests[Op.COUNTER_REMOVE_LISTENER]
            removing = asyncio.create_task(listener.remove())
            async with asyncio.timeout(20):
                while server.requests[Op.COUNTER_REMOVE_LISTENER] == before:
                    await asyncio.sleep(0.01)
                removing.cancel()
                assert [event async for event in listener] == []

    asyncio.run(main())


class Picky:
    """A marshaller that does not take everything, and says so in its own way."""

    media_type = PROTOSTREAM.media_type

    def encode(self, value: str, /) -> bytes:
        return value.encode()

    def decode(self, data: Any, /) -> str:
        return {b"good": "good"}[bytes(data)]


@pytest.mark.parametrize("what", ["listener", "query"])
def test_events_that_a_marshaller_does_not_take(
    kind: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are left out, and the listener goes on."""

    def lie(s: Session, q: Request) -> bytes:
        def event(key: bytes) -> bytes:
            fields: dict[str, Any] = {"custom_marker": 0, "key": key, "entry_version": 1}
            if what == "query":
                found = ContinuousQueryResult(ResultType.JOINING, key, b"good")
                fields = {"custom_marker": 2, "event_data": found.encode()}
            return encode_response(
                Op.CACHE_ENTRY_CREATED,
                version=q.version,
                message_id=0,
                listener_id=q["listener_id"],
                retried=False,
                **fields,
            )

        answer = encode_response(q.op, version=q.version, message_id=q.message_id)
        return answer + event(b"bad") + event(b"good")

    with Rogue() as rogue:
        rogue.lies[Op.ADD_CLIENT_LISTENER] = lie
        with connect(kind, rogue.server.uri) as client:
            cache = client.cache(keys=Picky(), values=Picky())
            if what == "listener":
                events = cache.add_listener()
            else:
                events = cache.add_query_listener("from P")
            event = events.next(20)
            assert event.key == "good"
            assert event.kind in (EventKind.CREATED, QueryEventKind.JOINING)
            assert rogue.server.requests[Op.ADD_CLIENT_LISTENER] == 1
            events.remove()
    assert "an event that cannot be read" in caplog.text


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_does_not_wait_for_its_parent_s_events(server: EmbeddedServer) -> None:
    with connect("sync", server.uri) as client:
        cache = client.cache()
        listener = cache.add_listener()
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(20)
                ended = listener.next() is None and list(listener) == []
                os._exit(0 if ended and cache.get("none") is None else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        cache.put("k", "v")
        assert listener.next(SECONDS).key == "k"
