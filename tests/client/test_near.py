"""Near caches: what is kept and for how long, step by step; and near caches of threads, loops and
processes. What they do with a server is in tests/integration/test_client_near.py."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from client.both import KINDS, connect
from client.relay import until
from client.threads import in_threads
from hotrod_codec import (
    AsyncClient,
    Client,
    EmbeddedServer,
    Flag,
    Op,
    ServerError,
    Status,
    TransportError,
    Version,
)
from hotrod_codec.client.cluster import keys_come_back
from hotrod_codec.client.config import UNBOUNDED
from hotrod_codec.client.near import NearCounts, NearEntry, NearStore
from hotrod_codec.errors import ConfigurationError, EncodeError
from hotrod_codec.marshallers import BYTES, JSON, PROTOSTREAM, TEXT
from hotrod_codec.values import MediaType, Metadata

LOCAL = '<local-cache><encoding media-type="text/plain"/></local-cache>'


def entry(value: bytes = b"v", now: float = 0.0, wall: float = 0.0, **metadata: Any) -> NearEntry:
    return NearEntry(value, Metadata(1, **metadata), now, wall)


@pytest.fixture
def store() -> NearStore:
    store = NearStore(UNBOUNDED)
    store.connected(0)
    return store


def read(store: NearStore, key: bytes, found: NearEntry | None, generation: int = 0) -> None:
    store.fill(key, store.reserve(key, generation), found)


# ---- the store ----------------------------------------------------------------------------------


def test_what_was_read_is_found(store: NearStore) -> None:
    assert store.find(b"k", 0, 0) is None
    kept = entry()
    read(store, b"k", kept)
    read(store, b"nothing", None)
    assert store.find(b"k", 0, 0) is kept
    assert store.find(b"nothing", 0, 0) is None
    assert store.counts == NearCounts(hits=1, misses=2)
    assert len(store) == 1


def test_news_overtakes_an_answer(store: NearStore) -> None:
    """Asked; written by somebody, whose event comes first; then comes the old answer."""
    for news in (store.hear, store.invalidate):
        reservation = store.reserve(b"k", 0)
        news(b"k")
        store.fill(b"k", reservation, entry(b"old"))
        assert store.find(b"k", 0, 0) is None


def test_an_older_answer_does_not_fill_a_newer_reservation(store: NearStore) -> None:
    first = store.reserve(b"k", 0)
    store.hear(b"k")
    second = store.reserve(b"k", 0)
    store.fill(b"k", first, entry(b"old"))
    assert store.find(b"k", 0, 0) is None
    store.fill(b"k", second, entry(b"new"))
    found = store.find(b"k", 0, 0)
    assert found is not None
    assert found.value == b"new"


def test_two_readers_at_once_keep_one_answer(store: NearStore) -> None:
    first = store.reserve(b"k", 0)
    assert store.reserve(b"k", 0) is None
    store.fill(b"k", None, entry(b"second"))
    assert store.find(b"k", 0, 0) is None
    store.fill(b"k", first, entry(b"first"))
    assert store.find(b"k", 0, 0) is not None


def test_a_gap_ends_everything(store: NearStore) -> None:
    read(store, b"kept", entry())
    asked_before = store.reserve(b"k", 0)
    store.disconnected()
    assert store.find(b"kept", 0, 0) is None
    assert store.reserve(b"k", 0) is None
    store.fill(b"k", asked_before, entry())
    store.connected(0)
    store.fill(b"k", asked_before, entry())
    assert store.find(b"k", 0, 0) is None
    assert len(store) == 0
    assert store.counts.invalidations == 1


def test_another_cluster_has_other_entries(store: NearStore) -> None:
    read(store, b"k", entry())
    assert store.find(b"k", 0, 1) is None
    assert store.reserve(b"j", 1) is None
    store.connected(1)
    read(store, b"k", entry(), 1)
    assert store.find(b"k", 0, 1) is not None


def test_the_size_is_bounded() -> None:
    store = NearStore(3)
    store.connected(0)
    for key in (b"a", b"b", b"c"):
        read(store, key, entry())
    store.find(b"a", 0, 0)
    read(store, b"d", entry())
    assert [store.find(key, 0, 0) is not None for key in (b"a", b"b", b"c", b"d")] == [
        True,
        False,
        True,
        True,
    ]
    assert len(store) == 3


def test_an_entry_ends_with_its_lifespan(store: NearStore) -> None:
    """By our clock and the server's, whichever is earlier."""
    read(store, b"k", entry(now=100, wall=1005, created=1_000_000, lifespan=10))
    assert store.find(b"k", 104.9, 0) is not None
    assert store.find(b"k", 105, 0) is None
    assert len(store) == 0
    server_ahead = entry(now=100, wall=1000, created=2_000_000, lifespan=10)
    assert server_ahead.until == 110
    server_behind = entry(now=100, wall=1000, created=0, lifespan=10)
    assert server_behind.until < 100


def test_entries_with_a_max_idle_are_not_kept(store: NearStore) -> None:
    idle = entry(last_used=0, max_idle=10)
    read(store, b"k", idle)
    assert store.find(b"k", 0, 0) is None
    assert not store.is_to_warn(entry())
    assert [store.is_to_warn(idle) for _ in range(3)] == [True, False, False]


def test_an_event_without_a_known_key_may_mean_any() -> None:
    for exact, key in ((True, None), (False, b"written otherwise")):
        store = NearStore(UNBOUNDED, exact_keys=exact)
        store.connected(0)
        read(store, b"k", entry())
        store.hear(key)
        assert store.find(b"k", 0, 0) is None


@pytest.mark.parametrize(
    ("sent", "stored", "version", "expected"),
    [
        (TEXT, PROTOSTREAM, Version.V4_1, True),
        (BYTES, PROTOSTREAM, Version.V4_1, True),
        (JSON, JSON, Version.V4_1, True),
        (JSON, PROTOSTREAM, Version.V4_1, False),
        (JSON, TEXT, Version.V4_1, False),
        (JSON, None, Version.V4_1, True),
        (JSON, None, Version.V2_8, False),
        (JSON, None, Version.V2_7, True),
        (TEXT, None, Version.V2_8, True),
    ],
)
def test_whether_keys_come_back_as_they_were_sent(
    sent: Any, stored: Any, version: Version, expected: bool
) -> None:
    kept: MediaType | None = None if stored is None else stored.media_type
    assert keys_come_back(sent.media_type, kept, version) is expected


# ---- caches -------------------------------------------------------------------------------------


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_caches_share_what_is_kept(server: EmbeddedServer, kind: str) -> None:
    with connect(kind, server.uri, caches={"def*": {"near_cache": 10}}) as client:
        first, second = client.cache("default"), client.cache("default")
        first.put("k", "v")
        assert first.get("k") == "v"
        before = sum(server.requests.values())
        assert second.get("k") == "v"
        assert second.with_flags(1).get("k") == "v"
        assert sum(server.requests.values()) == before
        assert server.requests[Op.ADD_CLIENT_LISTENER] == 1
        plain = client.cache("default", near_cache=False)
        plain.get("k")
        assert server.requests[Op.GET] == 1
        # A multimap is no cache of values that could be kept.
        assert client.multimap("default").size() >= 0


def test_streams_and_tasks_are_writes(kind: str) -> None:
    """Their own client sees them at once, without an event."""

    def change(_: Mapping[str, bytes]) -> bytes:
        return b""

    with (
        EmbeddedServer(tasks={"change": change}) as server,
        connect(kind, server.uri) as client,
    ):
        near = client.cache(near_cache=True)
        near.put("a", "A")
        for write in (b"stream", b""):
            assert near.get("a") is not None
            reads = server.requests[Op.GET_WITH_METADATA]
            stream = near.with_flags(Flag.SKIP_LISTENER_NOTIFICATION).put_stream("a")
            stream.write(write)
            stream.close()
            assert near.get("a") == write.decode()
            assert server.requests[Op.GET_WITH_METADATA] == reads + 1
        near.execute("change")
        near.get("a")
        assert server.requests[Op.GET_WITH_METADATA] == reads + 2
        assert near.with_marshallers(values="bytes").get("a") == b""
        assert server.requests[Op.GET] == 1


def test_a_size_that_is_none(server: EmbeddedServer) -> None:
    said = "near_cache: -1; 0 or more is valid"
    with Client(server.uri) as client, pytest.raises(ConfigurationError, match=said):
        client.cache(near_cache=-1)


def test_values_are_everybodys_own(server: EmbeddedServer, kind: str) -> None:
    with connect(kind, server.uri) as client:
        cache = client.cache(values="json", near_cache=True)
        cache.put("k", [1, 2])
        cache.get("k").append(3)
        cache.get("k").append(3)
        assert cache.get("k") == [1, 2]


def test_a_listener_that_is_refused(server: EmbeddedServer, kind: str) -> None:
    """Reads work without it, and it is tried again."""
    server.faults.status(Status.SERVER_ERROR, "no listeners", op=Op.ADD_CLIENT_LISTENER, times=3)
    with connect(kind, server.uri) as client:
        cache = client.cache(near_cache=True)
        cache.put("k", "v")

        def is_kept() -> bool:
            before = server.requests.get(Op.GET_WITH_METADATA, 0)
            assert cache.get("k") == "v"
            return server.requests[Op.GET_WITH_METADATA] == before

        assert not is_kept()
        until(is_kept)


def test_another_cluster(kind: str) -> None:
    with EmbeddedServer() as first, EmbeddedServer() as second:
        for server, value in ((first, "first"), (second, "second")):
            with Client(server.uri) as client:
                client.cache().put("k", value)
        clusters = {"other": [second.address]}
        with connect(kind, addresses=first.address, clusters=clusters) as client:
            cache = client.cache(near_cache=True)
            assert cache.get("k") == "first"
            assert cache.get("k") == "first"
            assert client.switch_to_cluster("other")
            assert cache.get("k") == "second"
            # In this order: the loop, and with it the listener, goes on only while it is read.
            until(lambda: cache.get("k") and second.requests.get(Op.ADD_CLIENT_LISTENER))
            with Client(second.uri) as writer:
                writer.cache().put("k", "new")
            until(lambda: cache.get("k") == "new")
            assert client.switch_to_default_cluster()
            assert cache.get("k") == "first"


def test_a_cache_that_is_removed(server: EmbeddedServer, kind: str) -> None:
    """Its servers forget who wants to hear of it; one of the same name has nothing of it."""
    with connect(kind, server.uri) as client, Client(server.uri) as other:
        other.admin.create_cache("c", LOCAL)
        near, plain = client.cache("c", near_cache=True), other.cache("c")
        for value in ("first", "second"):
            plain.put("k", value)
            assert near.get("k") == value
            client.admin.remove_cache("c")
            with pytest.raises(ServerError, match="CacheNotFound"):
                near.get("k")
            other.admin.create_cache("c", LOCAL)
            assert near.get("k") is None
        plain.put("k", "third")
        until(lambda: near.get("k") == "third" and client.statistics.near_size == 1)
        plain.put("k", "fourth")
        until(lambda: near.get("k") == "fourth")


def test_nodes_come_and_go(cluster: EmbeddedServer, kind: str) -> None:
    """Wherever the listener was: what others write is seen, and nothing old is given again."""
    with (
        connect(kind, cluster.uri) as client,
        Client(cluster.uri, retry_writes=True) as writer,
    ):
        near, plain = client.cache(near_cache=True), writer.cache()
        keys = [f"key {i}" for i in range(20)]
        for node in (0, 1, 2):
            before = dict.fromkeys(keys, f"{node} before")
            plain.put_all(before)
            until(lambda before=before: near.get_all(keys) == before)  # type: ignore[misc]
            cluster.kill_node(node)
            after = dict.fromkeys(keys, f"{node} after")
            plain.put_many(after)
            until(lambda after=after: near.get_all(keys) == after)  # type: ignore[misc]
            assert near.get_all(keys) == after
            cluster.start_node(node)


def test_old_versions_have_no_listeners(server: EmbeddedServer, kind: str) -> None:
    with (
        connect(kind, server.uri, protocol_version="1.3") as client,
        pytest.raises(EncodeError, match=r"2\.0"),
    ):
        client.cache(near_cache=True).get("k")


def test_a_closed_client_gives_nothing(server: EmbeddedServer) -> None:
    client = Client(server.uri)
    cache = client.cache(near_cache=True)
    cache.put("k", "v")
    assert cache.get("k") == "v"
    client.close()
    with pytest.raises(TransportError, match="closed"):
        cache.get("k")


def test_threads_see_their_own_writes(server: EmbeddedServer) -> None:
    with Client(server.uri) as client:
        cache = client.cache(near_cache=True)
        names = [f"thread {i}" for i in range(6)]

        def work(number: int) -> None:
            for i in range(60):
                cache.put(names[number], f"{i}")
                assert cache.get(names[number]) == f"{i}"
                for name in names:
                    cache.get(name)
                assert cache.get(names[number]) == f"{i}"

        in_threads(len(names), work)
        assert cache.get_all(names) == dict.fromkeys(names, "59")


def test_readers_end_with_the_last_value(server: EmbeddedServer) -> None:
    """However reads, writes of others and their events overtake each other."""
    done = threading.Event()
    with Client(server.uri) as client, Client(server.uri) as writer:
        near, plain = client.cache(near_cache=True), writer.cache()

        def work(number: int) -> None:
            if number == 0:
                for i in range(300):
                    plain.put("k", f"{i}")
                done.set()
            else:
                while not done.is_set():
                    near.get("k")

        in_threads(5, work)
        until(lambda: near.get("k") == "299")
        for _ in range(50):
            assert near.get("k") == "299"


def test_each_loop_has_its_own(server: EmbeddedServer) -> None:
    client = AsyncClient(server.uri)
    cache = client.cache(near_cache=True)

    async def main(value: str) -> None:
        await cache.put("k", value)
        for _ in range(3):
            assert await cache.get("k") == value
        await client.disconnect()
        assert await cache.get("k") == value  # with new connections
        await client.disconnect()

    for value in ("first", "second"):
        asyncio.run(main(value))
    until(lambda: server.connections == 0)


READS: dict[str, Callable[[Any], Any]] = {
    "get": lambda cache: cache.get("k"),
    "get_many": lambda cache: cache.get_many(["k"]),
    "contains_key": lambda cache: cache.contains_key("k"),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_loop_that_only_reads_hears_of_changes(
    server: EmbeddedServer, read: Callable[[Any], Any]
) -> None:
    """Values that are here are given without waiting for anything; events have their turn."""

    async def main() -> None:
        async with AsyncClient(server.uri) as client:
            cache = client.cache(near_cache=True)
            await cache.put("k", "old")
            await cache.get("k")
            before = await read(cache)
            changer = threading.Thread(target=change)
            changer.start()
            deadline = time.monotonic() + 20
            while await read(cache) == before:
                assert time.monotonic() < deadline
            changer.join()

    def change() -> None:
        with Client(server.uri) as client:
            client.cache().remove("k")

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads and fork
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_hears_of_changes_itself(server: EmbeddedServer) -> None:
    with Client(server.uri) as client:
        cache = client.cache(near_cache=True)
        cache.put("k", "old")
        assert cache.get("k") == "old"
        child_has_read, has_read = os.pipe()
        written, has_written = os.pipe()
        child = os.fork()
        if child == 0:  # nothing of pytest may run here
            code = 1
            try:
                first = [cache.get("k"), cache.get("k")]
                os.write(has_read, b"!")
                os.read(written, 1)
                until(lambda: cache.get("k") == "new")
                code = 0 if first == ["old", "old"] else 2
            finally:
                os._exit(code)
        os.read(child_has_read, 1)
        with Client(server.uri) as other:
            other.cache().put("k", "new")
        os.write(has_written, b"!")
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        until(lambda: cache.get("k") == "new")
        for end in (child_has_read, has_read, written, has_written):
            os.close(end)


def test_values_that_are_none(server: EmbeddedServer, kind: str) -> None:
    """A null of JSON is a value, too."""
    with connect(kind, server.uri) as client:
        entries = {"null": None, "one": 1}
        plain = client.cache(values="json")
        plain.put_all(entries)
        assert plain.get_all([*entries, "none"]) == entries
        near = client.cache(values="json", near_cache=10)
        for _ in range(2):
            assert near.get_all([*entries, "none"]) == entries
            assert near.get_many([*entries, "none"]) == [None, 1, None]
