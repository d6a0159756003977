"""What type checkers see: mypy and pyright read this file, running it proves little."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, assert_type

from hotrod_codec import (
    AsyncCache,
    AsyncClient,
    Cache,
    Client,
    CounterConfiguration,
    EmbeddedServer,
)
from hotrod_codec.client import (
    CacheEvent,
    CacheStatistics,
    ClientStatistics,
    Counter,
    CounterEvent,
    CounterListener,
    Listener,
    MetadataValue,
    Multimap,
    QueryEvent,
    QueryListener,
    QueryResult,
    TransactionCache,
    ValueReader,
    ValueWriter,
)
from hotrod_codec.marshallers import BYTES, JSON, TEXT


def test_sync() -> None:
    with (
        EmbeddedServer(tasks={"greeting": lambda parameters: b""}) as server,
        Client(server.uri, connect_timeout=1) as client,
    ):
        assert_type(client, Client)
        text = assert_type(client.cache(), Cache[str, str])
        assert_type(client.cache("default", keys=BYTES, values=BYTES), Cache[bytes, bytes])
        assert_type(client.cache("default", keys=TEXT), Cache[str, str])
        assert_type(client.cache("default", values=JSON), Cache[str, Any])
        assert_type(client.cache("default", values="json"), Cache[Any, Any])
        assert_type(client.cache("default", near_cache=10), Cache[str, str])
        assert_type(client.cache("default", values=JSON, near_cache=True), Cache[str, Any])
        assert_type(text.put("a", "A"), str | None)
        assert_type(text.get("a"), str | None)
        assert_type(text.put_if_absent("a", "A"), bool)
        assert_type(text.get_with_metadata("a"), MetadataValue[str] | None)
        assert_type(text.get_all(["a"]), dict[str, str])
        assert_type(text.get_many(["a"]), list[str | None])
        assert_type(text.entries(), Generator[tuple[str, str], None])
        assert_type(text.keys(), Generator[str, None])
        assert_type(text.compute("a", lambda key, value: (value or "") + key), str | None)
        assert_type(text.stats(), dict[str, int])
        assert_type(text.statistics, CacheStatistics)
        assert_type(client.statistics, ClientStatistics)
        assert_type(text.merge("a", "B", lambda old, new: old + new), str | None)
        assert_type(text.contains_value("x"), bool)
        assert_type(text.with_marshallers(values=BYTES), Cache[str, bytes])
        assert_type(text.with_marshallers(keys=BYTES), Cache[bytes, str])
        assert_type(text.with_marshallers(keys=BYTES, values=JSON), Cache[bytes, Any])
        assert_type(text.with_marshallers(values="json"), Cache[Any, Any])
        assert_type(client.execute("greeting", {"who": "bob"}), str | None)
        assert_type(client.execute("greeting", values=BYTES), bytes | None)
        assert_type(text.execute("greeting"), str | None)
        assert_type(client.admin.schemas.names(), list[str])
        with text.put_stream("s") as target:
            assert_type(target, ValueWriter)
            assert_type(target.write(b"v"), int)
        source = assert_type(text.get_stream("s"), ValueReader | None)
        assert source is not None
        assert_type(source.read(), bytes)
        assert_type(next(iter(source), b""), bytes)
        assert_type(client.multimap("default"), Multimap[str, str])
        assert_type(client.counters.get("n"), Counter)
        client.counters.define("n", CounterConfiguration())
        with client.counters.add_listener("n") as changes:
            assert_type(changes, CounterListener)
            assert_type(changes.next(0), CounterEvent | None)
        with text.add_listener() as events:
            assert_type(events, Listener[str])
            assert_type(events.next(0), CacheEvent[str] | None)


def what_the_embedded_server_cannot_do(client: Client, text: Cache[str, str]) -> None:
    with client.transaction() as tx:
        of_tx = assert_type(tx.cache(text), TransactionCache[str, str])
        assert_type(of_tx.get("a"), str | None)
        assert_type(of_tx.remove("a"), bool)
    assert_type(text.query("from P"), QueryResult[str])
    assert_type(text.query("from P").entities, list[str])
    assert_type(text.query("select p from P").rows, list[tuple[Any, ...]])
    assert_type(text.execute_statement("delete from P"), int)
    with text.add_query_listener("from P") as events:
        assert_type(events, QueryListener[str, str])
        assert_type(events.next(0), QueryEvent[str, str] | None)


async def what_is_checked_only(client: AsyncClient) -> None:
    text = assert_type(client.cache(), AsyncCache[str, str])
    assert_type(await text.get("a"), str | None)
    assert_type(await text.get_all(["a"]), dict[str, str])
    async with client.transaction() as tx:
        assert_type(await tx.cache(text).get("a"), str | None)
    async with await text.put_stream("s") as target:
        await target.write(b"v")
    source = await text.get_stream("s")
    assert source is not None
    async for chunk in source:
        assert_type(chunk, bytes)
    assert_type(await text.query("from P"), QueryResult[str])
    assert_type(text.entries(), AsyncGenerator[tuple[str, str], None])
    assert_type(client.cache("b", keys=BYTES, values=BYTES), AsyncCache[bytes, bytes])
    async for key, value in text.entries():
        assert_type(key, str)
        assert_type(value, str)
    await text.put(1, "A")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncClient(conect_timeout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
