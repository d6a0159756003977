"""The clients and a cluster of three."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from client.both import KINDS, connect
from hotrod_codec import Op, ServerAddress, Status, Version
from hotrod_codec.client.cluster import Cluster
from hotrod_codec.marshallers import BYTES, TEXT, BytesMarshaller, Marshaller
from integration.clusters import retrievals, told
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


@pytest.mark.parametrize("cache", ["octets", "segments20", "replicated"])
def test_every_key_goes_to_an_owner(
    client: Any, target: Target, addresses: list[ServerAddress], key: bytes, cache: str
) -> None:
    octets = client.cache(cache, keys=BYTES, values=BYTES)
    keys = [key + b"%d" % i for i in range(KEYS)]
    octets.put_many((k, k) for k in keys)
    assert octets.get_many(keys) == keys
    assert octets.get_all(keys) == {k: k for k in keys}
    cluster = object.__getattribute__(client, "_inner") if hasattr(client, "_runner") else client
    state = cluster._dispatcher.cluster.cache(cache)
    assert set(state.routing.servers) == set(addresses)
    for k in keys[:50]:
        owners = state.routing.owners_of(k)
        # Whoever is asked for one key tells nothing; who owns it, the servers' own answer does.
        assert not target.version >= Version.V2_0 or owners


@pytest.mark.versions(since=Version.V2_0)
@pytest.mark.parametrize(("cache", "keys"), [("octets", BYTES), ("text", BYTES), ("proto", TEXT)])
def test_one_look_up_for_each_key_and_no_hops(
    client: Any,
    target: Target,
    addresses: list[ServerAddress],
    key: bytes,
    cache: str,
    keys: Marshaller[Any],
) -> None:
    """The nodes' own books: a key that goes to a node that does not have it is looked up twice.
    Where keys are stored otherwise than they are sent, the stored form decides."""
    if cache == "proto" and target.version < Version.V2_9:
        return  # which does not tell how keys are stored
    chosen = client.cache(cache, keys=keys, values=keys)
    names = [keys.decode(key + b"%d" % i) for i in range(KEYS)]
    chosen.put_many((name, name) for name in names)
    before = retrievals(target, addresses, cache)
    assert chosen.get_many(names) == names
    assert retrievals(target, addresses, cache) - before <= KEYS


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
