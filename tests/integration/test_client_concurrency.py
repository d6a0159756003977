"""The clients used by many at once, given up in the middle, closed and forked."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias

import pytest

from client.threads import in_threads
from hotrod_codec import AsyncClient, Client, TransportError
from hotrod_codec.marshallers import TEXT
from integration.conftest import Servers
from integration.peers import Target
from integration.proxy import STALL, Proxy

pytestmark = [pytest.mark.versions(newest=True), pytest.mark.usefixtures("deadline")]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
with suppress(ImportError):  # not on Windows
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """asyncio.run, with one event loop or another."""

    def run(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(main)

    return run


@pytest.fixture
def settings(target: Target, servers: Servers) -> dict[str, Any]:
    return {
        "addresses": [servers.address(target.server)],
        "protocol_version": target.version,
        "legacy_server": target.is_legacy,
    }


def entries_of(key: bytes, count: int = 500) -> dict[str, str]:
    return {f"{key.decode()} {i}": f"value {i}" for i in range(count)}


# ---- tasks --------------------------------------------------------------------------------------


def test_thousands_of_cancelled_requests_and_no_answer_is_mixed_up(
    settings: dict[str, Any], run: Run, key: bytes
) -> None:
    entries = entries_of(key)
    names = list(entries)

    async def main() -> None:
        chance = random.Random(1)
        cancelled = 0
        async with AsyncClient(max_in_flight=100, **settings) as client:
            cache = client.cache("octets")
            await cache.put_all(entries)

            async def one(i: int) -> None:
                name = names[i % 500]
                if i % 5 == 0:
                    await cache.put(name, entries[name])
                elif i % 5 == 1:
                    some = names[i % 500 : i % 500 + 3]
                    assert await cache.get_all(some) == {n: entries[n] for n in some}
                else:
                    assert await cache.get(name) == entries[name]

            for _ in range(30):
                tasks = [asyncio.create_task(one(i)) for i in range(200)]
                await asyncio.sleep(chance.random() * 0.002)
                for task in chance.sample(tasks, 120):
                    task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                cancelled += sum(isinstance(d, asyncio.CancelledError) for d in done)
                wrong = [d for d in done if d and not isinstance(d, asyncio.CancelledError)]
                assert wrong == []
            assert cancelled > 1000
            assert connections_of(client) == 1

    run(main())


def connections_of(client: AsyncClient) -> int:
    """How many a client has in this event loop."""
    return len(client._dispatcher.driver._here().all)


def test_cancelled_batches(settings: dict[str, Any], run: Run, key: bytes) -> None:
    entries = entries_of(key)
    keys = list(entries)

    async def main() -> None:
        async with AsyncClient(**settings) as client:
            cache = client.cache("octets")
            await cache.put_all(entries)
            for i in range(20):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.0005 * (i % 3)):
                        await cache.get_many(keys * 3)
            assert await cache.get_many(keys) == list(entries.values())

    run(main())


def test_all_requests_share_one_connection(settings: dict[str, Any], run: Run, key: bytes) -> None:
    async def main() -> None:
        async with AsyncClient(**settings) as client:
            cache = client.cache("octets")
            await cache.put(key.decode(), "A")
            found = await asyncio.gather(*(cache.get(key.decode()) for _ in range(1000)))
            assert found == ["A"] * 1000
            assert connections_of(client) == 1

    run(main())


def test_iterations_and_listeners_beside_requests(
    settings: dict[str, Any], run: Run, key: bytes
) -> None:
    entries = entries_of(key)

    async def main() -> None:
        async with AsyncClient(**settings) as client:
            cache = client.cache("many")
            await cache.clear()
            await cache.put_all(entries)
            found = {}
            # Not in the cache that is cleared: server 9.4 waits for itself when that takes more
            # than 100 events.
            async with await client.cache("octets").add_listener() as events:
                async for name, value in cache.entries(batch_size=50):
                    found[name] = value
                    assert await cache.get(name) == value
                await client.cache("octets").put(key.decode(), "A")
                event = await events.next(20)
                assert event is not None
                assert event.key == key.decode()
            assert found == entries
            await cache.clear()

    run(main())


def test_a_client_serves_one_loop_after_another(
    settings: dict[str, Any], run: Run, key: bytes
) -> None:
    client = AsyncClient(**settings)
    cache = client.cache("octets")

    async def main(value: str) -> None:
        await cache.put(key.decode(), value)
        assert await cache.get(key.decode()) == value
        await client.disconnect()

    for i in range(3):
        run(main(str(i)))
    run(client.close())


def test_a_client_serves_two_loops_at_once(settings: dict[str, Any], run: Run, key: bytes) -> None:
    client = AsyncClient(**settings)
    cache = client.cache("octets")

    async def work(name: str) -> None:
        for i in range(200):
            await cache.put(name, f"{name} {i}")
            assert await cache.get(name) == f"{name} {i}"
        await client.disconnect()

    in_threads(2, lambda number: run(work(f"{key.decode()} {number}")))
    run(client.close())


def test_closing_with_requests_of_tasks_in_flight(
    settings: dict[str, Any], run: Run, key: bytes
) -> None:
    async def main(proxy: Proxy) -> None:
        through: dict[str, Any] = settings | {"addresses": proxy.addresses[:1]}
        client = AsyncClient(**through)
        cache = client.cache("octets")
        await cache.put(key.decode(), "A")
        proxy.break_after(0, STALL)
        tasks = [asyncio.create_task(cache.get(key.decode())) for _ in range(10)]
        await asyncio.sleep(0.1)
        start = time.monotonic()
        await client.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, TransportError) for result in results)
        assert time.monotonic() - start < 5
        await client.close()
        with pytest.raises(TransportError, match="closed"):
            await cache.get(key.decode())

    with Proxy(settings["addresses"][0]) as proxy:
        run(main(proxy))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads and fork
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_a_loop_and_connections_of_its_own(
    settings: dict[str, Any], run: Run, key: bytes
) -> None:
    name = key.decode()

    async def in_child(client: AsyncClient) -> None:
        cache = client.cache("octets")
        assert await cache.get(name) == "A"
        await cache.put(name, "B")
        await client.close()

    async def main() -> None:
        async with AsyncClient(**settings) as client:
            cache = client.cache("octets")
            await cache.put(name, "A")
            before = set(client._dispatcher.driver._here().all)
            child = os.fork()
            if child == 0:
                exit_after(lambda: asyncio.run(in_child(client)))
            await asyncio.to_thread(check_exit, child)
            assert await cache.get(name) == "B"
            assert set(client._dispatcher.driver._here().all) == before

    run(main())


def exit_after(work: Callable[[], None]) -> None:
    """Do it in a forked child, where nothing of pytest may run."""
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def check_exit(child: int) -> None:
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# ---- threads ------------------------------------------------------------------------------------


def test_threads_share_a_client(settings: dict[str, Any], key: bytes) -> None:
    entries = entries_of(key)
    names = list(entries)
    with Client(max_connections=3, **settings) as client:
        cache = client.cache("octets")
        cache.put_all(entries)

        def work(number: int) -> None:
            chance = random.Random(number)
            for _ in range(100):
                keys = chance.sample(names, 5)
                assert cache.get(keys[0]) == entries[keys[0]]
                assert cache.get_many(keys) == [entries[k] for k in keys]
                assert cache.get_all(keys) == {k: entries[k] for k in keys}

        in_threads(12, work)
        assert len(client._dispatcher.driver._all) <= 3


def test_threads_increment(settings: dict[str, Any], key: bytes) -> None:
    """Versioned writes lose nothing."""
    with Client(**settings) as client:
        cache = client.cache("octets", keys=TEXT, values=TEXT)

        def work(_: int) -> None:
            for _ in range(25):
                cache.compute(key.decode(), lambda _, value: str(int(value or 0) + 1))

        in_threads(8, work)
        assert cache.get(key.decode()) == "200"


def test_an_iteration_leaves_the_pool_alone(settings: dict[str, Any], key: bytes) -> None:
    with Client(max_connections=1, **settings) as client:
        cache = client.cache("many")
        cache.clear()
        cache.put_all(entries_of(key, 100))
        for name, value in cache.entries(batch_size=10):
            assert cache.get(name) == value
        cache.clear()


def test_closing_with_requests_of_threads_in_flight(settings: dict[str, Any], key: bytes) -> None:
    with Proxy(settings["addresses"][0]) as proxy:
        through: dict[str, Any] = settings | {"addresses": proxy.addresses[:1]}
        client = Client(max_connections=1, **through)
        cache = client.cache("octets")
        cache.put(key.decode(), "A")
        proxy.break_after(0, STALL)
        started = threading.Barrier(5)

        def wait(number: int) -> None:
            started.wait()
            if number < 4:
                with pytest.raises(TransportError):
                    cache.get(key.decode())
                return
            time.sleep(0.2)
            start = time.monotonic()
            client.close()
            assert time.monotonic() - start < 5

        in_threads(5, wait)
        client.close()
        with pytest.raises(TransportError, match="closed"):
            cache.get(key.decode())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads and fork
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_connections_of_its_own(settings: dict[str, Any], key: bytes) -> None:
    name = key.decode()
    with Client(**settings) as client:
        cache = client.cache("many")
        cache.clear()
        cache.put(name, "A")
        entries = cache.entries()
        living = client._dispatcher.driver._living
        before = living()

        def in_child() -> None:
            assert cache.get(name) == "A"
            assert list(entries) == [(name, "A")]
            assert not any(mine is theirs for mine in living() for theirs in before)
            cache.put(name, "B")
            client.close()

        child = os.fork()
        if child == 0:
            exit_after(in_child)
        assert cache.get(name) in ("A", "B")
        check_exit(child)
        # The parent's connection is the one that it was.
        assert cache.get(name) == "B"
        assert living() == before
        cache.clear()
