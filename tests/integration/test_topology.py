"""Clusters of three: what servers tell of the topology, and whether it is true.

Truth is found by counting: a node's statistics say how many entries it holds, and so whether the
owners that a client computes from a key are those that the cluster gave it to.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from hotrod_codec import (
    HashWheel,
    Intelligence,
    Op,
    ServerAddress,
    Status,
    Topology,
    Version,
    segment_of,
    segments_of,
)
from integration.clusters import BASIC, HASH, NODES, TOPOLOGY, ask, told
from integration.outcomes import Outcomes
from integration.peers import Peer, Target
from integration.test_server import ARGUMENTS


@pytest.fixture
def members(
    addresses: list[ServerAddress], target: Target, outcomes: Outcomes
) -> Iterator[list[Peer]]:
    """A connection to each node."""
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(a, target, outcomes.sightings)) for a in addresses]
        yield peers
        for peer in peers:
            peer.check_in_step()


@pytest.fixture
def witness(addresses: list[ServerAddress], target: Target) -> Iterator[Peer]:
    """A connection in 2.9 to the first node: not under test."""
    with Peer(addresses[0], Target(target.server, Version.V2_9), Outcomes().sightings) as peer:
        yield peer


# ------------------------------------------------------------------ forms


@pytest.mark.operation(Op.PING, Op.GET)
def test_a_basic_client_is_told_nothing(node: Peer, key: bytes) -> None:
    assert ask(node, BASIC) is None
    assert node.call(Op.GET, key=key, intelligence=BASIC).topology is None


@pytest.mark.operation(Op.PING)
def test_a_topology_aware_client_is_told_the_servers(
    node: Peer, addresses: list[ServerAddress]
) -> None:
    topology = told(node, TOPOLOGY)
    assert len(topology.servers) == NODES
    assert set(topology.servers) == set(addresses)
    assert topology.hash_version is None
    assert topology.segment_owners is None
    assert topology.hash_ids is None


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(since=Version.V2_0)
@pytest.mark.parametrize(
    ("cache", "segments", "owners"), [("octets", 256, 2), ("segments20", 20, 2)]
)
def test_from_2_0_on_segments_have_owners(
    node: Peer, addresses: list[ServerAddress], cache: str, segments: int, owners: int
) -> None:
    topology = told(node, cache=cache)
    assert set(topology.servers) == set(addresses)
    assert len(topology.servers) == NODES
    assert topology.hash_version == 3
    assert topology.num_segments == segments
    assert topology.segment_owners is not None
    assert len(topology.segment_owners) == segments
    for segment in topology.segment_owners:
        assert len(segment) == len(set(segment)) == owners
    assert {segment[0] for segment in topology.segment_owners} == set(range(NODES))


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(since=Version.V2_0)
def test_everybody_owns_a_replicated_cache(node: Peer) -> None:
    topology = told(node, cache="replicated")
    assert topology.segment_owners is not None
    assert {frozenset(segment) for segment in topology.segment_owners} == {frozenset(range(NODES))}


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(since=Version.V2_0)
def test_an_invalidation_cache_has_no_hash(node: Peer, addresses: list[ServerAddress]) -> None:
    topology = told(node, cache="invalidation")
    assert set(topology.servers) == set(addresses)
    assert (topology.hash_version, topology.num_segments) == (0, 0)
    assert topology.segment_owners == ()


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(until=Version.V1_3)
def test_until_1_3_servers_have_places_on_a_wheel(
    node: Peer, addresses: list[ServerAddress]
) -> None:
    topology = told(node)
    assert set(topology.servers) == set(addresses)
    assert topology.hash_version == 2
    assert topology.key_owners == 2
    assert topology.hash_space == 2**31 - 1
    assert topology.virtual_nodes == (None if node.version == Version.V1_0 else 1)
    assert topology.hash_ids is not None
    assert len(topology.hash_ids) == len(topology.servers) > NODES
    assert topology.segment_owners is None


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(until=Version.V1_3)
@pytest.mark.parametrize("cache", ["replicated", "invalidation"])
def test_until_1_3_a_cache_that_is_not_distributed_has_no_wheel(
    node: Peer, addresses: list[ServerAddress], cache: str
) -> None:
    topology = told(node, cache=cache)
    assert set(topology.servers) == set(addresses)
    assert (topology.hash_version, topology.key_owners, topology.hash_space) == (0, 0, 0)
    assert topology.hash_ids == (0,) * NODES


# ------------------------------------------------------------------ when it is told


@pytest.mark.each_operation(*ARGUMENTS)
def test_any_answer_may_bring_the_topology(node: Peer, op: Op) -> None:
    # Of few segments: the 9.4 line works for a second to place 256 of them on a wheel.
    answer = node.call(op, cache="segments20", intelligence=HASH, **ARGUMENTS[op])
    assert not answer.is_error
    assert answer.topology == told(node, cache="segments20")


@pytest.mark.operation(Op.GET)
@pytest.mark.parametrize("intelligence", [TOPOLOGY, HASH], ids=lambda i: i.name.lower())
def test_the_answer_goes_on_behind_the_topology(
    node: Peer, key: bytes, intelligence: Intelligence
) -> None:
    node.call(Op.PUT, cache="segments20", key=key, value=b"one")
    answer = node.call(Op.GET, cache="segments20", key=key, intelligence=intelligence)
    assert (answer.topology is None, answer.value) == (False, b"one")


@pytest.mark.operation(Op.PING)
def test_who_knows_the_topology_is_not_told_again(node: Peer) -> None:
    assert ask(node, topology_id=told(node).id) is None


@pytest.mark.operation(Op.PING)
def test_who_knows_none_says_minus_one(node: Peer) -> None:
    assert ask(node, topology_id=-1) == told(node)


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize("distance", [1, -1])
def test_any_other_id_is_told_the_topology(node: Peer, distance: int) -> None:
    topology = told(node)
    assert ask(node, topology_id=topology.id + distance) == topology


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(legacy=True)
def test_the_9_4_line_tells_only_who_knows_an_older_one(node: Peer) -> None:
    topology = told(node)
    assert ask(node, topology_id=topology.id - 1) == topology
    assert ask(node, topology_id=topology.id + 1) is None


@pytest.mark.operation(Op.GET)
@pytest.mark.versions(since=Version.V2_8)
def test_an_error_brings_it_from_the_9_4_line_only(node: Peer, key: bytes) -> None:
    node.call(Op.PUT, key=key, value=b"one")
    answer = node.call(Op.GET, key=key, intelligence=HASH, value_media_type="image/png")
    assert answer.is_error
    assert answer.error
    assert answer.topology == (told(node) if node.target.is_legacy else None)


# ------------------------------------------------------------------ whether it is true


def random_keys(count: int) -> list[bytes]:
    source = random.Random(3)
    return [source.randbytes(source.randrange(1, 40)) for _ in range(count)]


def owners_of(topology: Topology, key: bytes) -> list[ServerAddress]:
    assert topology.segment_owners is not None
    segment = segment_of(key, len(topology.segment_owners))
    return [topology.servers[index] for index in topology.segment_owners[segment]]


def held(members: list[Peer], cache: str) -> dict[ServerAddress, int]:
    """How many entries each node holds."""
    # The full server does not count the current ones, and its approximation is exact at rest.
    name = "currentNumberOfEntries" if members[0].target.is_legacy else "approximateEntries"
    return counted(members, cache, name)


def counted(members: list[Peer], cache: str, name: str) -> dict[ServerAddress, int]:
    """A number of each node's statistics."""
    return {
        ServerAddress(*peer.socket.getpeername()): int(peer.call(Op.STATS, cache=cache).stats[name])
        for peer in members
    }


@pytest.mark.operation(Op.PING, Op.STATS)
@pytest.mark.versions(since=Version.V2_0)
@pytest.mark.parametrize("cache", ["octets", "segments20"])
def test_the_owners_of_a_keys_segment_hold_it(members: list[Peer], cache: str) -> None:
    topology = told(members[0], cache=cache)
    for key in random_keys(5):
        members[0].call(Op.CLEAR, cache=cache)
        members[0].call(Op.PUT, cache=cache, key=key, value=b"one")
        owners = owners_of(topology, key)
        expected = {server: int(server in owners) for server in topology.servers}
        assert held(members, cache) == expected


@pytest.mark.operation(Op.PING, Op.PUT_ALL, Op.STATS)
@pytest.mark.parametrize("cache", ["octets", "segments20"])
def test_each_node_holds_as_many_entries_as_its_segments(members: list[Peer], cache: str) -> None:
    topology = told(members[0], cache=cache)
    keys = list(dict.fromkeys(random_keys(500)))
    members[0].call(Op.CLEAR, cache=cache)
    members[0].call(Op.PUT_ALL, cache=cache, entries=[(key, b"one") for key in keys])
    assert topology.segment_owners is not None
    segments = segments_of(keys, len(topology.segment_owners)).tolist()
    expected = Counter(
        topology.servers[index] for s in segments for index in topology.segment_owners[s]
    )
    assert held(members, cache) == expected


@pytest.mark.operation(Op.PING, Op.STATS)
@pytest.mark.versions(since=Version.V2_0, legacy=False)
def test_the_first_owner_is_the_primary_one(members: list[Peer]) -> None:
    # The full server also counts the entries of which a node is the primary owner.
    topology = told(members[0])
    for key in random_keys(5):
        members[0].call(Op.CLEAR)
        members[0].call(Op.PUT, key=key, value=b"one")
        first = owners_of(topology, key)[0]
        expected = {server: int(server == first) for server in topology.servers}
        assert counted(members, "octets", "approximateEntriesUnique") == expected


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(until=Version.V1_3)
@pytest.mark.parametrize("cache", ["octets", "segments20"])
def test_the_wheel_leads_to_the_segments_primary_owner(
    node: Peer, witness: Peer, cache: str
) -> None:
    wheel_topology, segment_topology = told(node, cache=cache), told(witness, cache=cache)
    assert wheel_topology.hash_ids is not None
    assert wheel_topology.hash_space is not None
    wheel = HashWheel(
        wheel_topology.hash_ids,
        hash_space=wheel_topology.hash_space,
        virtual_nodes=wheel_topology.virtual_nodes,
    )
    keys = random_keys(20_000)
    agreeing = sum(
        wheel_topology.servers[wheel.owner_of(key)] == owners_of(segment_topology, key)[0]
        for key in keys
    )
    # From 1.1 on the wheel only comes close to the borders of the segments.
    assert agreeing >= len(keys) * (1 if node.version == Version.V1_0 else 0.999)


@pytest.mark.operation(Op.PUT, Op.GET)
def test_every_node_gives_what_another_one_was_given(members: list[Peer], key: bytes) -> None:
    for i, peer in enumerate(members):
        peer.call(Op.PUT, key=key + bytes([i]), value=bytes([i]))
    for peer in members:
        values = [peer.call(Op.GET, key=key + bytes([i])).value for i in range(NODES)]
        assert values == [bytes([i]) for i in range(NODES)]


@pytest.mark.operation(Op.STATS)
@pytest.mark.versions(since=Version.V2_4)
def test_stats_of_a_cluster_have_global_numbers_from_2_4_on(
    members: list[Peer], key: bytes
) -> None:
    for peer in members:
        peer.call(Op.CLEAR)
        peer.call(Op.PUT, key=key, value=b"one")
    stats = members[0].call(Op.STATS).stats
    names = ("CurrentNumberOfEntries", "Stores", "Retrievals", "Hits", "Misses")
    assert {f"global{name}" for name in names} <= set(stats)
    assert int(stats["globalStores"]) >= NODES


@pytest.mark.operation(Op.STATS)
@pytest.mark.versions(until=Version.V2_3)
def test_stats_until_2_3_are_of_the_node_alone(node: Peer) -> None:
    answer = node.call(Op.STATS)
    assert answer.status == Status.SUCCESS
    assert not [name for name in answer.stats if name.startswith("global")]
