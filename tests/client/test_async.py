"""AsyncClient: tasks, cancellation, loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from client.relay import until
from client.rogue import Crook
from hotrod_codec import (
    AsyncClient,
    EmbeddedServer,
    EncodeError,
    Op,
    RequestTimeoutError,
    ServerAddress,
    TransportError,
    Version,
)
from hotrod_codec._ext.exchange import Turns
from hotrod_codec.client import NotSentError
from hotrod_codec.client._async.driver import Connection
from hotrod_codec.client.cluster import Call, Calls
from hotrod_codec.client.config import Configuration
from hotrod_codec.client.session import Header


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


def test_long_answers_that_came_while_the_loop_was_kept_from_running(
    server: EmbeddedServer,
) -> None:
    """They take many turns of the loop to be read."""

    async def main() -> None:
        async with AsyncClient(server.uri, request_timeout=0.3, max_retries=0) as client:
            cache = client.cache()
            await cache.put("long", "v" * 4_000_000)
            for _ in range(6):
                answer = asyncio.create_task(cache.get("long"))
                await asyncio.sleep(0.001)
                time.sleep(0.6)
                assert len(await answer or "") == 4_000_000
            await cache.put_all({f"{i}": "v" * 10_000 for i in range(1000)})
            count = 0
            async for _ in cache.entries(batch_size=200):
                count += 1
                if count % 200 == 0:
                    time.sleep(0.6)
            assert count == 1001

    asyncio.run(main())


def test_a_request_that_no_answer_comes_to_while_the_loop_is_kept_from_running(
    server: EmbeddedServer,
) -> None:
    async def main() -> None:
        async with AsyncClient(server.uri, request_timeout=0.3, max_retries=0) as client:
            cache = client.cache()
            await cache.put("a", "A")
            server.faults.drop(op=Op.GET)
            answer = asyncio.create_task(cache.get("a"))
            deadline = time.monotonic() + 20
            while not answer.done():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)
                time.sleep(0.1)
            with pytest.raises(RequestTimeoutError):
                await answer

    asyncio.run(main())


def test_more_at_once_than_may_be_in_flight(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with AsyncClient(server.uri, max_in_flight=10, request_timeout=5) as client:
            cache = client.cache()
            keys = [f"{i}" for i in range(300)]
            await cache.put_many((key, key) for key in keys)
            server.faults.delay(0.3, op=Op.GET, times=10)
            many = asyncio.create_task(cache.get_many(keys))
            await asyncio.sleep(0.15)
            assert server.requests[Op.GET] == 10
            # Those that come later wait behind it, and they get their turn.
            single = [asyncio.create_task(cache.get(key)) for key in keys]
            assert await many == keys
            assert await asyncio.gather(*single) == keys

    asyncio.run(main())


@pytest.mark.parametrize("singles", [63, 64, 65, 300])
def test_many_get_their_turn_among_single_requests(server: EmbeddedServer, singles: int) -> None:
    """However busy the connection is: none goes past those who wait for more room."""

    async def main() -> None:
        async with AsyncClient(server.uri, max_in_flight=64, request_timeout=5) as client:
            cache = client.cache()
            keys = [f"{i}" for i in range(400)]
            await cache.put_many((key, key) for key in keys)
            answers, busy = 0, True

            async def ask() -> None:
                nonlocal answers
                while busy:
                    assert await cache.get("7") == "7"
                    answers += 1

            tasks = [asyncio.create_task(ask()) for _ in range(singles)]
            while answers < singles:
                await asyncio.sleep(0)
            answers = 0
            assert await cache.get_many(keys) == keys
            # A piece is 8 requests: between two of them each of the others has its turn, or two.
            assert answers < 3 * singles * len(keys) / 8
            busy = False
            await asyncio.gather(*tasks)
            # Nothing of the room was lost: all of it can be used at once.
            server.faults.delay(0.2, op=Op.GET, times=64)
            before = server.requests[Op.GET]
            more = [asyncio.create_task(cache.get("7")) for _ in range(70)]
            await asyncio.sleep(0.1)
            assert server.requests[Op.GET] == before + 64
            await asyncio.gather(*more)

    asyncio.run(main())


def test_who_is_cancelled_in_line_leaves_its_room(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with AsyncClient(server.uri, max_in_flight=16, request_timeout=5) as client:
            cache = client.cache()
            keys = [f"{i}" for i in range(100)]
            await cache.put_many((key, key) for key in keys)
            for moment in range(60):
                singles = [asyncio.create_task(cache.get(key)) for key in keys[:30]]
                many = asyncio.create_task(cache.get_many(keys))
                for _ in range(moment):
                    await asyncio.sleep(0)
                many.cancel()
                for single in singles[::3]:
                    single.cancel()
                await asyncio.wait([many])
                await asyncio.gather(*singles, return_exceptions=True)
                assert await asyncio.gather(*map(cache.get, keys)) == keys
            connection = next(iter(client._dispatcher.driver._here().shared.values()))
            assert connection._reserved == 0 == connection.session.pending
            assert not connection._crowd
            assert connection.session.is_open

    asyncio.run(main())


def test_who_was_let_in_and_sends_nothing_leaves_its_room(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with AsyncClient(server.uri, max_in_flight=1, request_timeout=5) as client:
            cache = client.cache()
            await cache.put("a", "A")
            server.faults.delay(0.1, op=Op.GET)
            first = asyncio.create_task(cache.get("a"))
            wrong = [asyncio.create_task(cache.put("a", "B", lifespan=-1)) for _ in range(3)]
            last = asyncio.create_task(cache.get("a"))
            assert await first == await last == "A"
            for task in wrong:
                assert isinstance(task.exception(), EncodeError)

    asyncio.run(asyncio.wait_for(main(), 4))


def test_many_wait_no_longer_than_allowed(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with AsyncClient(
            server.uri, max_in_flight=10, request_timeout=0.3, max_retries=0
        ) as client:
            cache = client.cache()
            await cache.put("a", "A")
            server.faults.silence()
            with pytest.raises((TransportError, RequestTimeoutError)):
                await cache.get_many(["a"] * 50)

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


def unconnected() -> Connection:
    turns = Turns(asyncio.get_running_loop())
    return Connection(ServerAddress("h", 1), Configuration(), turns)


def test_what_is_received_into_is_shared_by_its_slices() -> None:
    """asyncio's TLS reads into slices of it."""

    async def main() -> None:
        view = unconnected().get_buffer(-1)
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
        connection = unconnected()
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


def swallow(sock: socket.socket) -> None:
    """Take in all that comes, and say nothing."""
    while sock.recv(2**16):
        pass


def test_closing_while_somebody_connects() -> None:
    """That is an error for them: nobody cancelled them."""

    async def main() -> None:
        client = AsyncClient(addresses=silent.address, connect_timeout=30)
        reading = asyncio.create_task(client.cache().get("a"))
        while not silent.visits:
            await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(NotSentError, match="closed"):
            await asyncio.wait_for(reading, 20)

    with Crook(swallow) as silent:
        asyncio.run(main())


def test_cancelled_while_connecting() -> None:
    async def main() -> None:
        async with AsyncClient(addresses=silent.address, connect_timeout=30) as client:
            reading = asyncio.create_task(client.cache().get("a"))
            while not silent.visits:
                await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    with Crook(swallow) as silent:
        asyncio.run(main())


def test_another_cluster_for_all_loops_and_threads(server: EmbeddedServer) -> None:
    """Connections are closed by the loops that they belong to."""
    done = threading.Event()

    async def other_loop() -> None:
        asyncio.get_running_loop().set_debug(True)
        await client.cache().put("a", "A")
        connected.release()
        while not done.is_set():
            await asyncio.sleep(0.01)
        await client.disconnect()

    with EmbeddedServer() as other:
        client = AsyncClient(server.uri, clusters={"other": [other.address]})
        connected = threading.Semaphore(0)
        threads = [threading.Thread(target=lambda: asyncio.run(other_loop())) for _ in range(2)]
        for thread in threads:
            thread.start()
            assert connected.acquire(timeout=20)
        assert server.connections == 2
        try:
            assert client.switch_to_cluster("other")
            until(lambda: server.connections == 0)
        finally:
            done.set()
            for thread in threads:
                thread.join(20)


async def _abort_all(client: AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
    for connection in list(client._dispatcher.driver._homes[loop].all):
        connection.abort("by a test")
        await connection.gone()


def test_another_loop_ends_while_the_client_is_closed(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at it and what it is told."""

    async def use(client: AsyncClient) -> None:
        await client.cache().put("a", "A")

    async def main() -> None:
        client = AsyncClient(server.uri)
        other = asyncio.new_event_loop()
        await asyncio.to_thread(other.run_until_complete, use(client))
        await use(client)
        await asyncio.to_thread(other.run_until_complete, _abort_all(client, other))
        other.close()
        monkeypatch.setattr(other, "is_closed", lambda: False)
        await client.close()
        monkeypatch.undo()

    asyncio.run(main())
    until(lambda: server.connections == 0)


@pytest.mark.parametrize(
    ("op", "begin"),
    [
        (Op.ITERATION_START, lambda cache: anext(cache.keys())),
        (Op.START_GET_STREAM, lambda cache: cache.get_stream("a")),
        (Op.START_PUT_STREAM, lambda cache: cache.put_stream("a")),
    ],
)
def test_what_was_begun_for_nobody_is_ended(
    server: EmbeddedServer, op: Op, begin: Callable[[Any], Any]
) -> None:
    """Whoever is cancelled while it begins does not know what to end."""

    async def main() -> None:
        async with AsyncClient(server.uri) as client:
            cache = client.cache()
            await cache.put("a", "A")
            (connection,) = server._nodes[0].connections
            session = connection.session
            server.faults.delay(0.1, op=op)
            beginning = asyncio.ensure_future(begin(cache))
            async with asyncio.timeout(20):
                while not (session.iterations or session.streams):
                    await asyncio.sleep(0.01)
                beginning.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await beginning
                while session.iterations or session.streams:
                    await asyncio.sleep(0.01)
            assert await cache.get("a") == "A"

    asyncio.run(main())


def test_an_iteration_that_is_dropped_is_ended(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with AsyncClient(server.uri) as client, asyncio.timeout(20):
            cache = client.cache()
            await cache.put_all({f"{i}": "A" for i in range(100)})
            async for _ in cache.entries(batch_size=10):
                break
            gc.collect()
            while Op.ITERATION_END not in server.requests:
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_connection_that_is_left_takes_no_requests(server: EmbeddedServer) -> None:
    """What it does not take was not sent, and may be tried elsewhere."""

    async def main() -> None:
        async with AsyncClient(server.uri) as client:
            cache = client.cache()
            await cache.put("a", "A")
            server.faults.delay(0.2, op=Op.GET)
            reading = asyncio.create_task(cache.get("a"))
            await asyncio.sleep(0.05)
            dispatcher = client._dispatcher
            connection = dispatcher.driver.ready(server.address, 0)
            assert connection is not None
            connection.retire()
            call = Call(Op.SIZE, dispatcher.cluster.cache(""), Header(""))
            with pytest.raises(NotSentError, match="takes no more requests"):
                await connection.request(call, asyncio.get_running_loop().time() + 10)
            assert await reading == "A"
            await cache.put("a", "B")
            assert await cache.get("a") == "B"

    asyncio.run(main())


def test_no_socket_is_forgotten(server: EmbeddedServer) -> None:
    """Whoever is cancelled while a connection is made, at whatever step, leaves none behind."""

    async def main() -> None:
        async with AsyncClient(server.uri) as client:
            cache = client.cache()
            await cache.put("a", "A")
            for steps in range(40):
                adding = asyncio.create_task(cache.add_listener())
                for _ in range(steps):
                    await asyncio.sleep(0)
                adding.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await (await adding).remove()
            async with asyncio.timeout(20):
                while server.connections > 1:
                    await asyncio.sleep(0.01)

    gc.disable()  # which would find them, some time
    try:
        asyncio.run(main())
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads and fork
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_that_was_forked_while_another_thread_looked_for_a_server(
    server: EmbeddedServer,
) -> None:
    client = AsyncClient(server.uri)

    async def get() -> str | None:
        found = await client.cache().get("a")
        await client.disconnect()
        return found

    with client._dispatcher.cluster._lock:
        child = os.fork()
        if child == 0:  # nothing of pytest may run here
            code = 1
            try:
                signal.alarm(10)
                code = 0 if asyncio.run(get()) is None else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_many_requests_for_a_connection_that_was_given_up_meanwhile(
    server: EmbeddedServer,
) -> None:
    """They were not sent, and say so: as they go elsewhere then, writes too."""

    async def main() -> None:
        async with AsyncClient(server.uri) as client:
            cache = client.cache()
            await cache.put("a", "A")
            driver = client._dispatcher.driver
            connection = await driver.acquire(server.address, time.monotonic() + 5)
            connection.retire()
            state = client._dispatcher.cluster.cache("")
            calls = Calls(Op.PUT, state, Header(""), [(b"b", b"B")], [b"b"])
            results: list[Any] = [None]
            await connection.request_many(calls, time.monotonic() + 5, results, 0, 1)
            assert isinstance(results[0], NotSentError)

    asyncio.run(main())
