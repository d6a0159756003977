"""Values in chunks: streams that are left, or lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import shutil
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from client.relay import until
from hotrod_codec import AsyncClient, Cache, Client, EmbeddedServer, Op, TransportError
from hotrod_codec.client import AsyncCache
from hotrod_codec.marshallers import BYTES

VALUE = bytes(range(251)) * 400


@pytest.fixture
def cache(server: EmbeddedServer) -> Iterator[Cache[bytes, bytes]]:
    with Client(server.uri, max_retries=0) as client:
        cache = client.cache(keys=BYTES, values=BYTES)
        cache.put(b"k", VALUE)
        yield cache


@contextlib.asynccontextmanager
async def in_a_loop(server: EmbeddedServer) -> AsyncGenerator[AsyncCache[bytes, bytes], None]:
    """As the fixture `cache`."""
    async with AsyncClient(server.uri) as client:
        cache = client.cache(keys=BYTES, values=BYTES)
        await cache.put(b"k", VALUE)
        yield cache


def test_streams_are_files(cache: Cache[bytes, bytes]) -> None:
    text = "".join(f"line {i}\n" for i in range(1000))
    with cache.put_stream(b"text", chunk_size=100) as target:
        shutil.copyfileobj(io.BytesIO(text.encode()), target)
        assert (target.readable(), target.writable(), target.seekable()) == (False, True, False)
    source: Any = cache.get_stream(b"text", chunk_size=100)
    assert (source.readable(), source.writable(), source.seekable()) == (True, False, False)
    with io.TextIOWrapper(io.BufferedReader(source), "utf-8") as lines:
        assert list(lines) == text.splitlines(keepends=True)
    assert source.closed


def test_iteration_gives_chunks(cache: Cache[bytes, bytes]) -> None:
    stream = cache.get_stream(b"k", chunk_size=40_000)
    assert stream is not None
    assert stream.read(1) == VALUE[:1]
    assert [len(chunk) for chunk in stream] == [39_999, 40_000, 20_400]


def test_an_abandoned_stream_is_ended(server: EmbeddedServer, cache: Cache[bytes, bytes]) -> None:
    reader = cache.get_stream(b"k", chunk_size=10)
    assert reader is not None
    reader.read(5)
    writer = cache.put_stream(b"new")
    writer.write(b"v")
    del reader, writer
    gc.collect()
    assert server.requests[Op.END_GET_STREAM] == 1
    assert server.requests[Op.END_PUT_STREAM] == 1
    assert not cache.contains_key(b"new")
    assert server.connections == 1


def test_an_abandoned_stream_is_ended_in_a_loop(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with in_a_loop(server) as cache:
            reader = await cache.get_stream(b"k", chunk_size=10)
            assert reader is not None
            async for chunk in reader:
                assert chunk == VALUE[:10]
                break
            writer = await cache.put_stream(b"new")
            await writer.write(b"v")
            del reader, writer
            gc.collect()
            for _ in range(100):
                await asyncio.sleep(0.01)
                if server.requests[Op.END_GET_STREAM] and server.requests[Op.END_PUT_STREAM]:
                    break
            assert server.requests[Op.END_GET_STREAM] == 1
            assert server.requests[Op.END_PUT_STREAM] == 1
            assert not await cache.contains_key(b"new")

    asyncio.run(main())


def test_a_cancelled_read_leaves_the_connection_usable(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with in_a_loop(server) as cache:
            reader = await cache.get_stream(b"k", chunk_size=10)
            assert reader is not None
            await reader.read(10)
            server.faults.delay(0.2, op=Op.NEXT_GET_STREAM)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.05)
            assert await cache.get(b"k") == VALUE
            with pytest.raises(ValueError, match="closed"):  # which is not the end of the value
                await reader.read()
            assert server.connections == 1

    asyncio.run(main())


def test_a_lost_connection_is_an_error(server: EmbeddedServer, cache: Cache[bytes, bytes]) -> None:
    reader = cache.get_stream(b"k", chunk_size=10)
    writer = cache.put_stream(b"new", chunk_size=10)
    assert reader is not None
    server.faults.cut(5, op=Op.NEXT_GET_STREAM)
    server.faults.cut(0, op=Op.NEXT_PUT_STREAM)
    with pytest.raises(TransportError):
        reader.read()
    with pytest.raises(ValueError, match="closed"):
        reader.read()
    with pytest.raises(TransportError):
        writer.write(VALUE)
    assert writer.closed
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"v")
    writer.close()
    assert writer.stored is None
    reader.close()


def test_a_stream_begins_at_another_server(cluster: EmbeddedServer) -> None:
    with Client(cluster.uri) as client:
        cache = client.cache(keys=BYTES, values=BYTES)
        keys = [b"%d" % i for i in range(30)]
        cache.put_many((key, VALUE) for key in keys)
        cluster.stop_node(2)
        for key in keys:
            stream = cache.get_stream(key)
            assert stream is not None
            with stream:
                assert stream.read() == VALUE
            with cache.put_stream(key) as target:
                target.write(b"new")
        assert cache.get_many(keys) == [b"new"] * len(keys)


def test_closed_while_somebody_waits(server: EmbeddedServer) -> None:
    async def main() -> None:
        async with in_a_loop(server) as cache:
            reader = await cache.get_stream(b"k", chunk_size=10)
            assert reader is not None
            writer = await cache.put_stream(b"new", chunk_size=10)
            server.faults.delay(0.2, op=Op.NEXT_GET_STREAM)
            server.faults.delay(0.2, op=Op.NEXT_PUT_STREAM)
            waiting = [
                asyncio.ensure_future(reader.read()),
                asyncio.ensure_future(writer.write(VALUE)),
            ]
            await asyncio.sleep(0.05)
            await reader.close()
            await writer.abandon()
            for task in waiting:
                with pytest.raises(ValueError, match="stream was closed"):
                    await task
            for stream in (reader.read(), writer.write(b"more")):
                with pytest.raises(ValueError, match="closed"):
                    await stream
            await reader.close()
            await writer.close()
            assert writer.stored is None
            assert await cache.get(b"new") is None
            assert server.requests[Op.END_GET_STREAM] == server.requests[Op.END_PUT_STREAM] == 1

    asyncio.run(main())


def test_closed_by_another_thread(server: EmbeddedServer, cache: Cache[bytes, bytes]) -> None:
    reader = cache.get_stream(b"k", chunk_size=10)
    assert reader is not None
    server.faults.delay(0.3, op=Op.NEXT_GET_STREAM)
    found: list[BaseException] = []

    def read() -> None:
        try:
            reader.read()
        except ValueError as error:
            found.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: server.requests.get(Op.NEXT_GET_STREAM, 0) == 1)
    reader.close()
    thread.join(10)
    assert [str(error) for error in found] == ["the stream was closed"]
    assert server.requests[Op.END_GET_STREAM] == 1
    assert cache.get(b"k") == VALUE
