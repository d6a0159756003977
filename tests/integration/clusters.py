"""What the tests of clusters have in common: asking for topologies, waiting for one to settle."""

from __future__ import annotations

import time

from hotrod_codec import Intelligence, Op, ServerAddress, Topology
from integration.outcomes import Outcomes
from integration.peers import Peer, Target

NODES = 3
BASIC, TOPOLOGY, HASH = Intelligence


def ask(
    peer: Peer,
    intelligence: Intelligence = HASH,
    *,
    cache: str = "octets",
    topology_id: int = 0,
) -> Topology | None:
    answer = peer.call(Op.PING, cache=cache, intelligence=intelligence, topology_id=topology_id)
    topology = answer.topology
    assert topology is None or isinstance(topology, Topology)
    return topology


def told(peer: Peer, intelligence: Intelligence = HASH, cache: str = "octets") -> Topology:
    topology = ask(peer, intelligence, cache=cache)
    assert topology is not None
    return topology


def settle(members: list[Peer]) -> None:
    """Wait until no cache moves its entries about any more: all nodes say the same, twice."""
    deadline = time.monotonic() + 30
    before: list[Topology] = []
    while time.monotonic() < deadline:
        caches = ("octets", "segments20", "replicated")
        now = [told(peer, cache=cache) for cache in caches for peer in members]
        if now == before and len({topology.id for topology in now}) <= len(caches):
            return
        before = now
        time.sleep(0.5)
    raise TimeoutError("the cluster did not settle")


def counted(target: Target, addresses: list[ServerAddress], cache: str, name: str) -> list[int]:
    """A number of each node's own statistics: what it did for clients that asked this node."""
    return [int(_stats(target, address, cache)[name]) for address in addresses]


def _stats(target: Target, address: ServerAddress, cache: str) -> dict[str, str]:
    with Peer(address, target, Outcomes().sightings) as peer:
        stats: dict[str, str] = peer.call(Op.STATS, cache=cache).stats
        return stats
