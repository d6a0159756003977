"""AsyncClient: tasks, cancellation, loops."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import cast

import pytest

from hotrod_codec import (
    AsyncClient,
    EmbeddedServer,
    Op,
    ServerAddress,
    TransportError,
    Version,
)
from hotrod_codec.client._async.driver import Connection
from hotrod_codec.client.config import Configuration


def test_thousands_of_cancelled_requests_and_no_answer_is_mixed_up(
    server: EmbeddedServer,
) -> None:
    async def main() -> None:
        chance = random.Random(1)
        cancelled = 0
        async with AsyncClient(server.uri, max_in_flight=100) as client:
            cache = client.cache()
            await cache.put_all({f"{i}": f"value {i}" for i in range(500)})

            async def one(i: int) -> None:
                assert await cache.get(f"{i % 500}") == f"value {i % 500}"

            for _ in range(30):
                tasks = [asyncio.create_task(one(i)) for i in range(200)]
                await asyncio.sleep(chance.random() * 0.002)
                for task in chance.sample(tasks, 120):
                    task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                cancelled += sum(isinstance(d, asyncio.CancelledError) for d in done)
                assert all(d is None or isinstance(d, asyncio.CancelledError) for d in done)
            assert cancelled > 1000
            assert server.connections == 1

    asyncio.run(main())


def test_cancelled_batches(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with AsyncClient(server.uri) as client:
            cache = client.cache()
            await cache.put_all({f"{i}": f"{i}" for i in range(500)})
            keys = [f"{i}" for i in range(500)]
            for i in range(20):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.0005 * (i % 3)):
                        await cache.get_many(keys * 3)
            assert await cache.get_many(keys) == keys

    asyncio.run(main())


def test_all_requests_share_one_connection_and_few_writes(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with AsyncClient(server.uri) as client:
            cache = client.cache()
            await cache.put("a", "A")
            found = await asyncio.gather(*(cache.get("a") for _ in range(1000)))
            assert found == ["A"] * 1000
            assert server.connections == 1

    asyncio.run(main())


def test_no_more_in_flight_than_allowed(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with AsyncClient(server.uri, max_in_flight=4, request_timeout=5) as client:
            cache = client.cache()
            await cache.put("a", "A")
            server.faults.delay(0.3, op=Op.GET, times=4)
            tasks = [asyncio.create_task(cache.get("a")) for _ in range(20)]
            await asyncio.sleep(0.15)
            assert server.requests[Op.GET] == 4
            assert await asyncio.gather(*tasks) == ["A"] * 20

    asyncio.run(main())


def test_a_client_serves_one_loop_after_another(server: EmbeddedServer) -> None:
    client = AsyncClient(server.uri)
    cache = client.cache()

    async def main(value: str) -> None:
        await cache.put("a", value)
        assert await cache.get("a") == value
        await client.disconnect()

    for i in range(3):
        asyncio.run(main(str(i)))
    asyncio.run(client.close())


def test_a_client_serves_two_loops_at_once(server: EmbeddedServer) -> None:
    client = AsyncClient(server.uri)
    cache = client.cache()
    problems: list[BaseException] = []

    async def work(name: str) -> None:
        for i in range(200):
            await cache.put(name, f"{name} {i}")
            assert await cache.get(name) == f"{name} {i}"
        await client.disconnect()

    def run(name: str) -> None:
        try:
            asyncio.run(work(name))
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(client.close())
    assert problems == []


def test_closing_with_requests_in_flight(server: EmbeddedServer) -> None:
    async def main() -> None:
        client = AsyncClient(server.uri)
        cache = client.cache()
        await cache.put("a", "A")
        server.faults.silence()
        tasks = [asyncio.create_task(cache.get("a")) for _ in range(10)]
        await asyncio.sleep(0.1)
        start = time.monotonic()
        await client.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, TransportError) for result in results)
        assert time.monotonic() - start < 5
        await client.close()
        with pytest.raises(TransportError, match="closed"):
            await cache.get("a")

    asyncio.run(main())


def test_a_quiet_connection_is_pinged(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with AsyncClient(server.uri, ping_interval=0.1, request_timeout=1) as client:
            await client.cache().put("a", "A")
            before = server.requests[Op.PING]
            await asyncio.sleep(0.6)
            assert server.requests[Op.PING] > before
            server.faults.silence()
            await asyncio.sleep(2)
            server.faults.clear()
            # The silent connection was given up without being asked for anything.
            async with asyncio.timeout(0.9):
                assert await client.cache().get("a") == "A"

    asyncio.run(main())


def test_what_is_received_into_is_shared_by_its_slices() -> None:
    """asyncio's TLS reads into slices of it."""

    async def main() -> None:
        view = Connection(ServerAddress("h", 1), Configuration()).get_buffer(-1)
        view[3:][0:1] = b"x"
        assert view[3] == ord("x")

    asyncio.run(main())


def test_other_loops_have_transports_of_their_own() -> None:
    """uvloop's are no asyncio.Transport."""

    class Transport:
        def get_extra_info(self, name: str) -> None:
            return None

        def write(self, data: bytes) -> None:
            written.append(data)

    written: list[bytes] = []

    async def main() -> None:
        connection = Connection(ServerAddress("h", 1), Configuration())
        connection.connection_made(cast(asyncio.BaseTransport, Transport()))
        greeting = asyncio.ensure_future(connection.greet(Version.V3_1, encrypted=False))
        await asyncio.sleep(0)
        assert len(written) == 1
        greeting.cancel()

    asyncio.run(main())


def test_a_peer_that_reads_nothing_stops_who_writes(server: EmbeddedServer) -> None:
    """Backpressure: writers wait, and fail in time."""

    async def main() -> None:
        blocker = await asyncio.start_server(swallow_nothing, "127.0.0.1", 0)
        port = blocker.sockets[0].getsockname()[1]
        async with AsyncClient(
            addresses=("127.0.0.1", port),
            request_timeout=0.5,
            max_retries=0,
            protocol_version="2.8",
        ) as client:
            cache = client.cache()
            big = "x" * 1_000_000
            results = await asyncio.gather(
                *(cache.put(f"{i}", big) for i in range(50)), return_exceptions=True
            )
            assert all(isinstance(result, Exception) for result in results)
        blocker.close()

    async def swallow_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):  # the handshake's ping, and that of the cache
            request = await reader.readexactly(14)
            writer.write(b"\xa1" + request[1:2] + b"\x18\x00\x00")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(5)
        writer.close()

    asyncio.run(main())
