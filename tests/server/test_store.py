"""Entries without sockets: expiry, the bound on their number, who is told of what."""

from __future__ import annotations

from typing import Any

import pytest

from hotrod_codec import Client, EmbeddedServer, Op, Status
from hotrod_codec.server import configuration
from hotrod_codec.server.store import NEVER, Cache, CacheConfiguration, Change, Cluster, Entry
from server.peer import Peer


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


class Witness:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Change, bytes, Any, Any]] = []

    def changed(self, change: Change, key: bytes, entry: Entry | None, old: Entry | None) -> None:
        new, before = (None if e is None else e.value for e in (entry, old))
        self.told.append((change, key, new, before))


def make(clock: Clock, nodes: int = 1, **arguments: Any) -> Cache:
    cluster = Cluster(clock, num_segments=20, members=list(range(nodes)))
    return cluster.create("c", CacheConfiguration(**arguments))


def put(cache: Cache, key: bytes, lifespan: int = NEVER, max_idle: int = NEVER) -> None:
    cache.put(key, b"v", lifespan, max_idle, cache.find(key))


@pytest.mark.parametrize("hand_over", [True, False])
@pytest.mark.parametrize(("nodes", "owners", "bound"), [(5, 3, 10), (6, 4, 6)])
def test_copies_that_drive_others_out(nodes: int, owners: int, bound: int, hand_over: bool) -> None:
    """Who gets copies may have to let entries go that are still to be copied."""
    cluster = Cluster(Clock(), num_owners=owners, members=list(range(nodes)))
    caches = [
        cluster.create(f"{n}", CacheConfiguration(segments=n, max_entries=bound)) for n in (16, 64)
    ]
    for cache in caches:
        for i in range(100):
            put(cache, b"%d" % i)
    for node in range(nodes - 1):
        cluster.leave(node, hand_over=hand_over)
        for cache in caches:
            for member in cluster.members:
                assert cache.held_by(member)[0] <= bound
            for key in cache.entries():
                assert cache.find(key) is not None


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_lifespan_ends_to_the_millisecond(nodes: int) -> None:
    clock = Clock()
    cache = make(clock, nodes)
    put(cache, b"k", lifespan=100)
    clock.now += 99
    assert cache.find(b"k") is not None
    clock.now += 1
    assert cache.peek(b"k") is None
    assert cache.find(b"k") is None
    assert len(cache) == 0
    assert sum(cache.held_by(node)[0] for node in range(nodes)) == 0


def test_use_puts_off_the_end_of_a_max_idle_but_not_of_a_lifespan() -> None:
    clock = Clock()
    cache = make(clock)
    put(cache, b"idle", max_idle=100)
    put(cache, b"both", lifespan=250, max_idle=100)
    for _ in range(3):
        clock.now += 80
        assert cache.find(b"idle") is not None
        assert cache.find(b"both") is not None
    clock.now += 80
    assert cache.find(b"idle") is not None
    assert cache.find(b"both") is None
    assert cache.peek(b"idle") is not None  # this is no use
    clock.now += 100
    assert cache.find(b"idle") is None


def test_what_has_expired_is_told_once_whoever_finds_it() -> None:
    clock, witness = Clock(), Witness()
    cache = make(clock, nodes=2)
    put(cache, b"k", lifespan=10)
    put(cache, b"other")
    cache.watchers.append(witness)
    clock.now += 10
    cache.reap()
    cache.reap()
    assert cache.find(b"k") is None
    assert witness.told == [(Change.EXPIRED, b"k", None, b"v")]
    assert not cache.has_mortal
    assert len(cache) == 1


def test_a_write_over_what_has_expired_creates() -> None:
    clock, witness = Clock(), Witness()
    cache = make(clock)
    put(cache, b"k", lifespan=10)
    clock.now += 10
    cache.watchers.append(witness)
    put(cache, b"k")
    put(cache, b"k")
    changes = [change for change, *_ in witness.told]
    assert changes == [Change.EXPIRED, Change.CREATED, Change.MODIFIED]


def test_every_write_has_a_version_of_its_own() -> None:
    cache = make(Clock())
    versions = set()
    for _ in range(3):
        put(cache, b"k")
        entry = cache.find(b"k")
        assert entry is not None
        versions.add(entry.version)
        cache.remove(b"k", entry)
    assert len(versions) == 3
    assert all(0 < version < 2**63 for version in versions)


# ------------------------------------------------------------------ no more than so many


def test_the_least_recently_used_entry_goes_first() -> None:
    cache = make(Clock(), max_entries=3)
    for key in (b"a", b"b", b"c"):
        put(cache, key)
    cache.find(b"a")
    put(cache, b"b")
    put(cache, b"d")
    assert list(cache.entries()) == [b"a", b"b", b"d"]
    put(cache, b"e")
    assert list(cache.entries()) == [b"b", b"d", b"e"]


def test_each_node_of_a_cluster_keeps_no_more() -> None:
    cache = make(Clock(), nodes=3, max_entries=10)
    for i in range(500):
        put(cache, b"key %d" % i)
        assert max(cache.held_by(node)[0] for node in range(3)) <= 10
    assert 10 <= len(cache) <= 15
    # Where one copy goes, the other ones go as well: no old value comes back.
    held = sum(cache.held_by(node)[0] for node in range(3))
    assert held == 2 * len(cache)


def test_the_bound_holds_when_nodes_leave() -> None:
    clock = Clock()
    cluster = Cluster(clock, num_segments=20, members=[0, 1, 2])
    cache = cluster.create("c", CacheConfiguration(max_entries=10))
    for i in range(100):
        put(cache, b"key %d" % i)
    cluster.leave(1, hand_over=True)
    cluster.leave(0, hand_over=False)
    assert 0 < len(cache) <= 10


def test_a_bound_may_come_later() -> None:
    cache = make(Clock())
    for i in range(20):
        put(cache, b"%d" % i)
    cache.configure(CacheConfiguration(max_entries=5))
    put(cache, b"new")
    assert len(cache) == 5


def test_a_server_with_a_bound() -> None:
    with EmbeddedServer(max_entries=100) as server, Peer(server.address) as peer:
        entries = [(b"%d" % i, b"v") for i in range(1000)]
        assert peer.call(Op.PUT_ALL, entries=entries).status == Status.SUCCESS
        assert peer.call(Op.SIZE)["size"] == 100
        assert peer.call(Op.GET, key=b"0").status == Status.KEY_DOES_NOT_EXIST
        assert peer.call(Op.GET, key=b"999").value == b"v"


def test_time_may_be_told_to_pass() -> None:
    with EmbeddedServer() as server, Peer(server.address) as peer:
        peer.call(Op.PUT, key=b"k", value=b"v", lifespan=3600)
        server.advance(3599)
        assert peer.call(Op.GET, key=b"k").value == b"v"
        server.advance(1)
        assert peer.call(Op.GET, key=b"k").status == Status.KEY_DOES_NOT_EXIST
        with pytest.raises(ValueError, match="seconds"):
            server.advance(-1)


# ------------------------------------------------------------------ configurations

XML = """
<infinispan><!-- one cache --><cache-container>
  <distributed-cache name="x" owners="3" segments="40" mode="SYNC">
    <encoding media-type="text/plain"/><expiration lifespan="60000" max-idle="-1"/>
    <memory max-count="100" when-full="REMOVE"/>
  </distributed-cache>
</cache-container></infinispan>
"""
JSON = """
{"distributed-cache": {"owners": 3, "segments": 40, "encoding": {"media-type": "text/plain"},
 "expiration": {"lifespan": "1m", "max-idle": -1}, "memory": {"max-count": 100}}}
"""
YAML = """
distributedCache:
  owners: "3"   # more than usual
  segments: 40
  encoding:
    mediaType: "text/plain"
  expiration:
    lifespan: 60000
    maxIdle: -1
  memory:
    maxCount: 100
"""


@pytest.mark.parametrize("text", [XML, JSON, YAML], ids=["xml", "json", "yaml"])
def test_a_configuration_in_each_form(text: str) -> None:
    assert configuration.parse(text) == CacheConfiguration(
        "text/plain", owners=3, segments=40, lifespan=60.0, max_entries=100
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<local-cache",
        '<!DOCTYPE a [<!ENTITY b "c">]><local-cache/>',
        "<a><local-cache/><replicated-cache/></a>",
        "{",
        "{}",
        "[1]",
        '{"local-cache": {"expiration": {"lifespan": "soon"}}}',
        '{"local-cache": {"memory": {"max-count": []}}}',
        '{"local-cache": {"encoding": {"media-type": 5}}}',
        '{"a":' * 5000,
        "<a>" * 5000,
        "no colon here",
        "- a list",
        "x" * (2**20 + 1),
    ],
    ids=range(15),
)
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        configuration.parse(text)


def test_who_writes_does_not_suffer_for_who_listens() -> None:
    """The converter makes bytes of bytes, and the values of a multimap are several."""
    with EmbeddedServer() as server, Peer(server.address) as peer:
        peer.call(
            Op.ADD_CLIENT_LISTENER,
            listener_id=b"l",
            converter_factory="___eager-key-value-version-converter",
            use_raw_data=True,
        )
        assert peer.call(Op.PUT_MULTIMAP, key=b"k", value=b"v").status == Status.SUCCESS
        assert peer.call(Op.GET_MULTIMAP, key=b"k").values == [b"v"]


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("mode", ["replicated", "distributed"])
def test_what_is_read_all_the_time_stays(nodes: int, mode: str) -> None:
    """No node takes it for the oldest, though one alone is asked for it."""
    configuration = CacheConfiguration(mode=mode, max_entries=50)
    with (
        EmbeddedServer(nodes=nodes, caches={"few": configuration}) as server,
        Client(server.uri) as client,
    ):
        cache = client.cache("few")
        hot = dict.fromkeys([f"hot {i}" for i in range(5)], "v")
        cache.put_all(hot)
        for i in range(300):
            assert cache.get_all(hot) == hot, i
            cache.put(f"cold {i}", "v")


def test_a_lower_bound_holds_at_once() -> None:
    definition = (
        '<local-cache><encoding media-type="text/plain"/><memory max-count="100"/></local-cache>'
    )
    with EmbeddedServer() as server, Client(server.uri) as client:
        client.admin.create_cache("few", definition)
        cache = client.cache("few")
        cache.put_all({f"k{i}": "v" for i in range(100)})
        client.admin.update_configuration_attribute("few", "memory.max-count", "10")
        assert cache.size() == 10
