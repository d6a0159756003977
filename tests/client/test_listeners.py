"""Listeners whose servers come and go."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from client.both import KINDS, connect, next_of
from hotrod_codec import AsyncClient, Client, EmbeddedServer, Op, ServerError, Status
from hotrod_codec.client import EventKind


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
            time.sleep(0.3)
            cache.get("b")
            cache.put("b", "B")
            while (event := next_of(events, EventKind.CREATED)).key != "b":
                pass
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
        before = threading.active_count(), server.connections
        for _ in range(5):
            listener = cache.add_listener()
            listener.remove()
            listener.remove()
            assert list(listener) == []
        deadline = time.monotonic() + 20
        while (threading.active_count(), server.connections) != before:
            assert time.monotonic() < deadline
            time.sleep(0.01)


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
