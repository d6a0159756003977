"""The clients and a cluster of three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from client.both import KINDS, connect
from hotrod_codec import Op, ServerAddress, Status, Version, segment_of
from hotrod_codec.client import TransactionConflictError
from hotrod_codec.client.cluster import Cluster
from hotrod_codec.marshallers import BYTES, PROTOSTREAM, TEXT, BytesMarshaller, Marshaller
from integration.clusters import counted, told
from integration.outcomes import Outcomes
from integration.peers import Peer, Target

KEYS = 1000
PLAIN = BytesMarshaller("application/unknown")
KEYS_ONLY = "org.infinispan.server.hotrod.HotRodServer$ToEmptyBytesKeyValueFilterConverter"


@pytest.fixture(params=KINDS)
def client(
    request: pytest.FixtureRequest, target: Target, addresses: list[ServerAddress]
) -> Iterator[Any]:
    with connect(
        request.param,
        addresses=addresses[:1],
        protocol_version=target.version,
        legacy_server=target.is_legacy,
    ) as client:
        yield client


class Books:
    """What each node did for clients, by the nodes' own statistics: a node that passes a request
    on to another one counts it, the other one does not."""

    def __init__(self, target: Target, addresses: list[ServerAddress], cache: str) -> None:
        self._where = target, addresses, cache
        self._before = self._read()

    def _read(self) -> list[int]:
        stores = counted(*self._where, "stores")
        return [a + b for a, b in zip(stores, counted(*self._where, "retrievals"), strict=True)]

    def read(self) -> dict[ServerAddress, int]:
        """How many keys each node was asked for, since the last time."""
        before, self._before = self._before, self._read()
        news = [now - then for now, then in zip(self._before, before, strict=True)]
        return {a: n for a, n in zip(self._where[1], news, strict=True) if n}


@pytest.mark.versions(since=Version.V2_0)
@pytest.mark.parametrize(("cache", "keys"), [("octets", BYTES), ("text", BYTES), ("proto", TEXT)])
def test_every_key_goes_to_its_primary_owner(
    client: Any,
    target: Target,
    addresses: list[ServerAddress],
    key: bytes,
    cache: str,
    keys: Marshaller[Any],
) -> None:
    """Where keys are stored otherwise than they are sent, the stored form decides."""
    if cache == "proto" and target.version < Version.V2_9:
        return  # which does not tell how keys are stored
    chosen = client.cache(cache, keys=keys, values=keys)
    names = [keys.decode(key + b"%d" % i) for i in range(500)]
    chosen.put_many((name, name) for name in names)
    stored = [(PROTOSTREAM if cache == "proto" else keys).encode(name) for name in names]
    with Peer(addresses[0], Target(target.server, Version.V2_9), Outcomes().sightings) as peer:
        topology = told(peer, cache=cache)
    owners = topology.segment_owners
    assert owners
    books = Books(target, addresses, cache)
    assert chosen.get_many(names) == names
    segments = [segment_of(k, len(owners)) for k in stored]
    assert books.read() == Counter(topology.servers[owners[s][0]] for s in segments)


@pytest.mark.versions(newest=True)
@pytest.mark.parametrize("cache", ["octets", "segments20"])
def test_ten_thousand_keys_and_each_goes_to_its_primary_owner(
    client: Any, target: Target, addresses: list[ServerAddress], key: bytes, cache: str
) -> None:
    """Who owns which keys is what an iteration over each segment tells."""
    octets = client.cache(cache, keys=BYTES, values=BYTES)
    octets.clear()
    entries = {k: k for k in (key + b"%d" % i for i in range(10_000))}
    octets.put_all(entries)
    owner_of = primary_owners(target, addresses[0], cache)
    assert owner_of.keys() == entries.keys()
    books = Books(target, addresses, cache)
    for server in addresses:
        own = {k: k for k in entries if owner_of[k] == server}
        keys, few = list(own), list(own)[:500]

        def check(count: int, server: ServerAddress = server) -> None:
            assert books.read() == {server: count}

        octets.put_all(own)
        check(len(own))
        octets.put_many(own)
        check(len(own))
        assert octets.get_all(keys) == own
        check(len(own))
        assert octets.get_many(keys) == keys
        check(len(own))
        for k in few:
            octets.put(k, k)
            assert octets.get(k) == k
        check(2 * len(few))
    octets.clear()


def primary_owners(
    target: Target, address: ServerAddress, cache: str
) -> dict[bytes, ServerAddress]:
    """The keys as the servers store them, and who has their segments."""
    found: dict[bytes, ServerAddress] = {}
    with Peer(address, target, Outcomes().sightings) as peer:
        topology = told(peer, cache=cache)
        for segment, owners in enumerate(topology.segment_owners or ()):
            started = peer.call(
                Op.ITERATION_START,
                cache=cache,
                segments=[segment],
                filter_factory=KEYS_ONLY,
                filter_params=[],
                batch_size=10 * KEYS,
            )
            iteration_id = started.iteration_id
            answer = peer.call(Op.ITERATION_NEXT, cache=cache, iteration_id=iteration_id)
            assert answer.status == Status.SUCCESS, answer
            for entry in answer.entries:
                found[bytes(entry.key)] = topology.servers[owners[0]]
            peer.call(Op.ITERATION_END, cache=cache, iteration_id=iteration_id)
    return found


@pytest.mark.versions(since=Version.V2_7, newest=True)
@pytest.mark.parametrize("cache", ["multimap", "proto"])
def test_keys_of_multimaps_go_to_owners_of_what_is_sent(
    client: Any,
    target: Target,
    addresses: list[ServerAddress],
    key: bytes,
    cache: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Servers do not convert them as they do keys of plain caches."""
    if cache == "proto" and target.is_legacy:
        return  # which has multimaps in caches without media types only
    asked: dict[bytes | None, ServerAddress] = {}
    choose = Cluster.choose

    def noted(self: Cluster, state: Any, name: bytes | None, *more: Any) -> ServerAddress:
        asked[name] = choose(self, state, name, *more)
        return asked[name]

    multimap = client.multimap(cache, keys=PLAIN if target.is_legacy else TEXT, values=PLAIN)
    names = [key + b"%d" % i for i in range(50)]
    for name in names:
        given = name if target.is_legacy else name.decode()
        multimap.put(given, b"v")
        with monkeypatch.context() as patch:
            patch.setattr(Cluster, "choose", noted)
            assert multimap.get(given) == [b"v"]
    owners = primary_owners(target, addresses[0], cache)
    assert {name: asked[name] for name in names} == {name: owners[name] for name in names}


@pytest.mark.versions(since=Version.V2_7, embedded=False)
def test_transactions(client: Any, target: Target, key: bytes) -> None:
    """Each request of one may go to another node."""
    pair = [client.cache(name, keys=BYTES, values=BYTES) for name in ("tx", "xa")]
    wrapped = [object.__getattribute__(c, "_inner") if hasattr(c, "_runner") else c for c in pair]
    keys = [key + b"%d" % i for i in range(10)]
    for number in range(5):
        for caches in (wrapped, wrapped[:1]):
            with client.transaction() as tx:
                for inside in map(tx.cache, caches):
                    for name in keys:
                        inside.put(name, (inside.get(name) or b"") + b"%d" % number)
    assert pair[0].get_all(keys) == dict.fromkeys(keys, b"0011223344")
    assert pair[1].get_all(keys) == dict.fromkeys(keys, b"01234")

    def work() -> None:
        with client.transaction() as tx:
            for inside in map(tx.cache, wrapped):
                for name in keys:
                    inside.get(name)
                    inside.put(name, b"mine")
            pair[1].put(keys[-1], b"yours")

    with pytest.raises(TransactionConflictError):
        work()
    assert pair[0].get_all(keys) == dict.fromkeys(keys, b"0011223344")
    assert pair[1].get_all(keys) == dict.fromkeys(keys, b"01234") | {keys[-1]: b"yours"}


def test_all_entries(client: Any, key: bytes) -> None:
    for name in ("many", "replicated"):
        cache = client.cache(name, keys=BYTES, values=BYTES)
        cache.clear()
        expected = {key + b"%d" % i: b"%d" % i for i in range(KEYS)}
        cache.put_all(expected)
        found = list(cache.entries(batch_size=100))
        assert len(found) == len(expected)
        assert dict(found) == expected
        cache.clear()
