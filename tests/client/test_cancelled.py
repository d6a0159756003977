"""Tasks that are cancelled wherever they are: they leave nothing at the server, and no answer goes
to somebody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest

from hotrod_codec import AsyncClient, CounterConfiguration, EmbeddedServer

ENTRIES = {f"key {i}": f"value {i}" for i in range(300)}
LONG = "x" * 300_000


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(nodes=2) as server:
        yield server


async def iterate(client: AsyncClient) -> None:
    async for key, value in client.cache().entries(batch_size=10):
        assert ENTRIES.get(key, LONG) == value


async def read_in_chunks(client: AsyncClient) -> None:
    reader = await client.cache().get_stream("long", chunk_size=20_000)
    assert reader is not None
    async with reader:
        async for _ in reader:
            pass


async def write_in_chunks(client: AsyncClient) -> None:
    async with await client.cache().put_stream("long", chunk_size=100_000) as writer:
        await writer.write(LONG.encode())


async def listen(client: AsyncClient) -> None:
    async with await client.cache().add_listener() as listener:
        await listener.next(0.005)


async def listen_to_a_counter(client: AsyncClient) -> None:
    async with await client.counters.add_listener("counter") as listener:
        await listener.next(0.005)


async def begin_a_near_cache(client: AsyncClient) -> None:
    async with AsyncClient(addresses=client.configuration.addresses) as other:
        await other.cache(near_cache=True).get("key 1")


async def connect_anew(client: AsyncClient) -> None:
    await client.disconnect()
    assert await client.cache().get("key 1") == "value 1"


WAYS: dict[str, Callable[[AsyncClient], Awaitable[object]]] = {
    "get": lambda client: client.cache().get("key 1"),
    "get_many": lambda client: client.cache().get_many(list(ENTRIES)),
    "put_many": lambda client: client.cache().put_many(ENTRIES),
    "get_all": lambda client: client.cache().get_all(list(ENTRIES)),
    "put_all": lambda client: client.cache().put_all(ENTRIES),
    "iterate": iterate,
    "read in chunks": read_in_chunks,
    "write in chunks": write_in_chunks,
    "listen": listen,
    "listen to a counter": listen_to_a_counter,
    "begin a near cache": begin_a_near_cache,
    "connect anew": connect_anew,
}


def at(server: EmbeddedServer) -> Counter[str]:
    """What clients have at a server, and tasks here."""
    handler = server._handler
    sessions = [c.session for node in server._nodes for c in list(node.connections)]
    return Counter(
        connections=len(sessions),
        streams=sum(len(session.streams) for session in sessions),
        iterations=sum(len(session.iterations) for session in sessions),
        counter_listeners=len(handler.counters.listeners),
        listeners=len(handler.cluster.caches["default"].watchers),
        tasks=len(asyncio.all_tasks()),
    )


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left(server: EmbeddedServer, way: str) -> None:
    async def run(client: AsyncClient) -> None:
        await WAYS[way](client)

    async def until_all_is_gone(most: Counter[str]) -> None:
        async with asyncio.timeout(20):
            while not at(server) <= most:
                await asyncio.sleep(0.002)

    async def main() -> None:
        async with AsyncClient(server.uri) as client:
            cache = client.cache()
            await cache.put_all(ENTRIES)
            await cache.put("long", LONG)
            await client.counters.define("counter", CounterConfiguration())
            assert len(await cache.get_many(list(ENTRIES))) == len(ENTRIES)  # both nodes
            most = at(server)
            for moment in range(40):
                task = asyncio.create_task(run(client))
                if moment % 2:
                    await asyncio.sleep(moment * 0.0003)
                else:
                    for _ in range(moment):
                        await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                await until_all_is_gone(most)
                assert await cache.get("key 7") == "value 7"
            assert await cache.get_many(list(ENTRIES)) == list(ENTRIES.values())

    asyncio.run(main())
