"""A cluster as clients are told it, in each version's form. [wire-core 4]"""

from __future__ import annotations

import functools
import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import Final, TypeAlias

from hotrod_codec import murmur3, segments_of
from hotrod_codec.server.store import DISTRIBUTED, INVALIDATION, Cache
from hotrod_codec.values import ServerAddress, Topology

__all__ = ["Addresses", "topology_of"]

Addresses: TypeAlias = Callable[[int], ServerAddress]
"""Where a node can be reached, by its number."""

_SPACE: Final = 2**31 - 1
_CANDIDATES: Final = 2**19


def topology_of(cache: Cache, addresses: Addresses, kind: str) -> Topology:
    """The topology of a cache.

    Args:
        kind: "servers" (for clients that know no hash), "segments" (2.0 and later), "wheel 1.0" or
            "wheel" (1.1 to 1.3).
    """
    members = list(cache.statistics)
    servers = tuple(addresses(node) for node in members)
    if kind == "servers":
        return Topology(cache.topology_id, servers)
    mode = cache.configuration.mode
    if kind == "segments":
        if mode == INVALIDATION:
            return Topology(cache.topology_id, servers, hash_version=0, segment_owners=())
        index = {node: i for i, node in enumerate(members)}
        owners = tuple(tuple(index[node] for node in owners) for owners in cache.owners)
        return Topology(cache.topology_id, servers, hash_version=3, segment_owners=owners)
    virtual_nodes = None if kind == "wheel 1.0" else 1
    if mode != DISTRIBUTED:
        return Topology(
            cache.topology_id,
            servers,
            hash_version=0,
            key_owners=0,
            hash_space=0,
            virtual_nodes=virtual_nodes,
            hash_ids=(0,) * len(servers),
        )
    places = _segment_ends(cache.num_segments)
    if virtual_nodes is not None:
        places = _bases(places)
    return Topology(
        cache.topology_id,
        tuple(addresses(owners[0]) for owners in cache.owners),
        hash_version=2,
        key_owners=len(cache.owners[0]),
        hash_space=_SPACE,
        virtual_nodes=virtual_nodes,
        hash_ids=places,
    )


def _segment_ends(num_segments: int) -> tuple[int, ...]:
    """The last place on the wheel of each segment: who has it, has the whole segment."""
    size = -(-(2**31) // num_segments)
    return tuple(min((i + 1) * size - 1, _SPACE) for i in range(num_segments))


@functools.cache
def _candidates() -> tuple[list[int], list[int]]:
    """Many numbers' places on the wheel in order, and the numbers."""
    keys = [struct.pack("<i", base) for base in range(_CANDIDATES)]
    # A segment holds two places: near enough to bring the numbers in order.
    places = segments_of(keys, 2**30)
    order = places.argsort().tolist()
    return [int(place) * 2 for place in places[order].tolist()], order


@functools.lru_cache(maxsize=16)
def _bases(places: tuple[int, ...]) -> tuple[int, ...]:
    """Numbers whose hashes are close below these places: from 1.1 on clients hash once more."""
    ordered, numbers = _candidates()
    found = []
    for place in places:
        at = max(0, bisect_right(ordered, place) - 1)
        if murmur3(struct.pack("<i", numbers[at])) & _SPACE > place and at:
            at -= 1
        found.append(numbers[at])
    return tuple(found)
