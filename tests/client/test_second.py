"""Many keys at once: half of them goes by a second connection to the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from client.both import KINDS, connect, making
from client.relay import until
from hotrod_codec import (
    AsyncClient,
    EmbeddedServer,
    Op,
    RequestTimeoutError,
    ServerAddress,
    ServerError,
    Status,
    TransportError,
)
from hotrod_codec.client._sync.driver import _Run
from hotrod_codec.client.cluster import SHARED_FROM, Calls
from hotrod_codec.client.session import Header

KEYS = [f"key {i}" for i in range(2 * SHARED_FROM)]
HALF = sum(len(key) for key in KEYS) // 2
"""Bytes that half of the requests have at least."""


@pytest.fixture(params=[Op.GET, Op.GET_ALL], ids=["get", "get_all"])
def op(request: pytest.FixtureRequest) -> Op:
    """What keys are asked for by; in version 2.0 there is no GET_ALL."""
    return Op(request.param)


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, op: Op) -> Iterator[Callable[..., Any]]:
    version = "2.0" if op is Op.GET else "auto"
    with making(request.param, protocol_version=version) as make:
        yield make


def filled(client: Any) -> Any:
    cache = client.cache()
    cache.put_all((key, key) for key in KEYS)
    return cache


def received(server: EmbeddedServer) -> list[int]:
    """How many bytes came by each connection."""
    return sorted(c._received for node in server._nodes for c in list(node.connections))


def with_second(server: EmbeddedServer, client: Any) -> Any:
    """A cache for whose server there are two connections."""
    cache = filled(client)
    assert cache.get_many(KEYS) == KEYS
    until(lambda: server.connections == 2)
    assert cache.get("key 1") == "key 1"  # so that the client knows, too
    return cache


def test_half_goes_by_each(server: EmbeddedServer, make: Callable[..., Any], op: Op) -> None:
    cache = with_second(server, make(server))
    before, asked = received(server), server.requests[op]
    assert cache.get_many([*KEYS, "none"]) == [*KEYS, None]
    assert cache.get_many(reversed(KEYS)) == KEYS[::-1]
    assert all(more - less > 2 * HALF for less, more in zip(before, received(server), strict=True))
    assert server.requests[op] - asked == (4 * SHARED_FROM + 1 if op is Op.GET else 4 + 2)
    assert server.connections == 2


def test_few_go_by_one(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    cache = make(server).cache()
    few = {key: key for key in KEYS[: SHARED_FROM - 1]}
    for put in (cache.put_all, cache.put_many):
        put(few)
        assert cache.get_many(few) == list(few)
        assert cache.get_all(few) == few
    assert server.connections == 1


def test_writes_of_one_key_go_by_one(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    """Of several values for a key the last one counts: no request may overtake another."""
    cache = make(server).cache()
    for _ in range(3):
        cache.put_many(("a", str(i)) for i in range(4 * SHARED_FROM))
        assert cache.get("a") == str(4 * SHARED_FROM - 1)
        cache.put_many((key, str(i)) for i in range(3) for key in KEYS)
        assert cache.get_many(KEYS[:100]) == ["2"] * 100
    assert server.connections == 1


@pytest.mark.parametrize("method", ["put_many", "put_all"])
def test_writes_of_many_keys_go_by_both(
    server: EmbeddedServer, make: Callable[..., Any], method: str
) -> None:
    cache = make(server).cache()
    put = getattr(cache, method)
    put((key, "old") for key in KEYS)
    put((key, key) for key in KEYS)
    until(lambda: server.connections == 2)
    assert cache.get_many(KEYS) == KEYS
    before = received(server)
    put((key, key[::-1]) for key in KEYS)
    assert all(more - less > 2 * HALF for less, more in zip(before, received(server), strict=True))
    assert cache.get_all(KEYS) == {key: key[::-1] for key in KEYS}


@pytest.mark.parametrize("method", ["put_many", "put_all"])
def test_a_write_that_fails(server: EmbeddedServer, make: Callable[..., Any], method: str) -> None:
    cache = with_second(server, make(server))
    asked = Op.PUT if method == "put_many" or cache._state.version < 21 else Op.PUT_ALL
    put = getattr(cache, method)
    for _ in range(4):
        server.faults.status(Status.SERVER_ERROR, "broken", op=asked)
        with pytest.raises(ServerError, match="broken"):
            put((key, key) for key in KEYS)
    server.faults.cut(3, op=asked)
    with pytest.raises(TransportError):
        put((key, key) for key in KEYS)
    put((key, "new") for key in KEYS)
    assert cache.get_many(KEYS) == ["new"] * len(KEYS)


def test_each_server_has_its_second(make: Callable[..., Any]) -> None:
    with EmbeddedServer(nodes=2) as server:
        client = make(server)
        cache = filled(client)
        keys = KEYS * 2  # so that each node has enough of them
        for _ in range(2):
            assert cache.get_many(keys) == keys
        until(lambda: server.connections == 4)


@pytest.mark.parametrize("nodes", [1, 2])
def test_no_second_to_be_had(
    make: Callable[..., Any], caplog: pytest.LogCaptureFixture, nodes: int
) -> None:
    """Who cannot have one does with one, and does not ask each time."""
    with EmbeddedServer(nodes=nodes, max_connections=1) as server:
        with caplog.at_level("INFO", logger="hotrod_codec.client"):
            cache = filled(make(server, server_failure_timeout=60))
            for _ in range(8):
                assert cache.get_many(KEYS * nodes) == KEYS * nodes
        assert server.connections == nodes
        assert sum("no second connection" in line for line in caplog.messages) == nodes


def test_a_pool_of_one(server: EmbeddedServer) -> None:
    with connect("sync", server.uri, max_connections=1) as client:
        cache = filled(client)
        assert cache.get_many(KEYS) == KEYS
        assert server.connections == 1


@pytest.mark.parametrize("at", [0, 3, 9])
def test_either_connection_is_lost(
    server: EmbeddedServer, make: Callable[..., Any], op: Op, at: int
) -> None:
    cache = with_second(server, make(server))
    for _ in range(6):
        server.faults.cut(at, op=op)
        assert cache.get_many(KEYS) == KEYS
    assert cache.get_many(KEYS) == KEYS
    until(lambda: server.connections == 2)


def test_errors_of_either_half(server: EmbeddedServer, make: Callable[..., Any], op: Op) -> None:
    cache = with_second(server, make(server))
    for key in (0, len(KEYS) - 1):
        order = [*KEYS[key:], *KEYS[:key]]
        for each in {op, Op.GET}:
            server.faults.status(Status.SERVER_ERROR, "broken", op=each)
        with pytest.raises(ServerError, match="broken"):
            cache.get_many(order)
        assert cache.get_many(order) == order


def test_late_answers_are_not_taken_for_others(
    server: EmbeddedServer, make: Callable[..., Any], op: Op
) -> None:
    cache = with_second(server, make(server, request_timeout=0.3))
    for seconds in (0.5, 0.4):
        server.faults.delay(seconds, op=op, times=20 if op is Op.GET else 2)
        assert cache.get_many(KEYS) == KEYS
        assert cache.get_many(KEYS[::-1]) == KEYS[::-1]


def test_a_silent_server(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    """One wait for both halves, not one after the other."""
    cache = with_second(server, make(server, request_timeout=4, max_retries=0))
    server.faults.silence()
    start = time.monotonic()
    with pytest.raises(RequestTimeoutError):
        cache.get_many(KEYS)
    assert time.monotonic() - start < 7.5  # two waits are 8
    server.faults.clear()
    assert cache.get_many(KEYS) == KEYS


def test_what_came_while_the_other_half_was_read_is_not_late(server: EmbeddedServer) -> None:
    with connect("sync", server.uri) as client:
        state = filled(client)._state
        driver = client._dispatcher.driver
        keys = [key.encode() for key in KEYS]
        calls = Calls(Op.GET, state, Header("default"), keys, keys)
        results: list[Any] = [None] * len(KEYS)
        connection = driver.acquire(server.address, time.monotonic() + 5)
        run = _Run(connection, calls, time.monotonic() + 10, 0.1, results, 0, len(KEYS))
        run.renew()
        assert run.go_on()
        time.sleep(0.3)
        assert not run.take_much()
        assert results == keys
        driver.release(connection)


def test_a_server_that_comes_back(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    cache = with_second(server, make(server))
    server.stop_node(0)
    server.start_node(0)
    cache = filled(make(server))
    for _ in range(2):
        assert cache.get_many(KEYS) == KEYS
    until(lambda: server.connections >= 2)


def test_cancelled_wherever_they_are(server: EmbeddedServer) -> None:
    """On asyncio: of both halves nothing is left, and nobody gets their answers."""

    async def cancel(client: AsyncClient, moment: int) -> None:
        cache = client.cache()
        task = asyncio.create_task(cache.get_many(KEYS))
        for _ in range(moment):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        many, one = await asyncio.gather(cache.get_many(KEYS[::-1]), cache.get("key 7"))
        assert (many, one) == (KEYS[::-1], "key 7")

    async def main() -> None:
        async with AsyncClient(server.uri) as client:
            cache = client.cache()
            await cache.put_all((key, key) for key in KEYS)
            for moment in range(40):
                await cancel(client, moment)
            assert server.connections == 2
            home = client._dispatcher.driver._here()
            for connection in (*home.shared.values(), *home.second.values()):
                assert not connection.session.pending
                assert not connection.session.abandoned

    asyncio.run(main())


def test_first_and_second_while_the_client_closes(server: EmbeddedServer) -> None:
    """Nothing hangs, and no connection stays, whenever it is closed."""

    async def main(moment: int) -> None:
        client = AsyncClient(server.uri)
        cache = client.cache()
        await cache.put_all((key, key) for key in KEYS)
        task = asyncio.create_task(cache.get_many(KEYS))
        for _ in range(moment):
            await asyncio.sleep(0)
        await client.close()
        await asyncio.wait([task], timeout=5)
        assert task.done()
        task.exception()

    for moment in range(15):
        asyncio.run(asyncio.wait_for(main(moment), 20))
    until(lambda: server.connections == 0)


def test_servers_that_are_gone_lose_both() -> None:
    async def main(server: EmbeddedServer) -> None:
        async with AsyncClient(server.uri) as client:
            cache = client.cache()
            await cache.put_all((key, key) for key in KEYS)
            driver = client._dispatcher.driver
            for _ in range(3):
                assert await cache.get_many(KEYS * 2) == KEYS * 2
            home = driver._here()
            while len(home.second) < 2:
                await asyncio.sleep(0.001)
            gone: ServerAddress = server.address_of(1)
            server.kill_node(1)
            assert await cache.get_many(KEYS * 2) == KEYS * 2
            while gone in home.shared or gone in home.second:
                await asyncio.sleep(0.001)

    with EmbeddedServer(nodes=2) as server:
        asyncio.run(asyncio.wait_for(main(server), 20))


def test_parts_are_where_they_belong(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    """Whatever the number is by which it is halved."""
    cache = with_second(server, make(server))
    for count, more in pairwise(range(SHARED_FROM, SHARED_FROM + 4)):
        assert cache.get_many(KEYS[count:more] + KEYS[:count]) == KEYS[count:more] + KEYS[:count]
