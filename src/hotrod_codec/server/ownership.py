"""Who owns which segment: an even share for everybody, and as few moves as that takes.

Pure: nodes are numbers, a segment's owners a tuple of them, the primary owner first.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["Owners", "spread"]

Owners: TypeAlias = list[tuple[int, ...]]


def spread(before: Owners, members: Sequence[int], num_segments: int, copies: int) -> Owners:
    """The owners of each segment.

    A copy moves only when its owner is gone, or to a node that holds too few. Who holds a copy
    already may become the primary owner: that moves nothing.

    Args:
        before: The owners until now; empty at first.
        members: The nodes that are there.
        copies: How many owners a segment shall have; there are no more than members.
    """
    copies = min(copies, len(members))
    there = set(members)
    owners = [[o for o in before[s] if o in there] if before else [] for s in range(num_segments)]
    load = Counter(dict.fromkeys(members, 0))
    load.update(owner for segment in owners for owner in segment)
    for segment in owners:
        while len(segment) > copies:
            load[segment[-1]] -= 1
            segment.pop()
        while len(segment) < copies:
            free = min((m for m in members if m not in segment), key=load.__getitem__)
            segment.append(free)
            load[free] += 1
    _level_copies(owners, load, num_segments * copies // len(members))
    _level_primaries(owners, members)
    return [tuple(segment) for segment in owners]


def _level_copies(owners: list[list[int]], load: Counter[int], fair: int) -> None:
    """Hand copies from who has most to who has too few, the backups first."""
    for poor in list(load):
        spare: dict[int, list[list[int]]] = {node: [] for node in load}
        for backup in (False, True):
            for segment in owners if load[poor] < fair else ():
                for node in segment[1:] if backup else segment[:1]:
                    spare[node].append(segment)
        while load[poor] < fair:
            rich = _giver(spare, load, poor)
            if rich is None:
                break
            segment = spare[rich].pop()
            segment[segment.index(rich)] = poor
            load[rich] -= 1
            load[poor] += 1


def _giver(spare: dict[int, list[list[int]]], load: Counter[int], poor: int) -> int | None:
    """The node with most copies of which it may hand one to `poor`: the last one in `spare`."""
    for rich, most in load.most_common():
        if most <= load[poor] + 1:
            break
        held = spare[rich]
        while held and poor in held[-1]:
            held.pop()
        if held:
            return rich
    return None


class _Heirs:
    """Which segments one node could take over from another as their primary owner."""

    def __init__(self, owners: list[list[int]]) -> None:
        self._between: defaultdict[tuple[int, int], list[list[int]]] = defaultdict(list)
        for segment in owners:
            self.add(segment)

    def add(self, segment: list[int]) -> None:
        for heir in segment[1:]:
            self._between[segment[0], heir].append(segment)

    def get(self, giver: int, heir: int) -> list[int] | None:
        found = self._between[giver, heir]
        while found and (found[-1][0] != giver or heir not in found[-1]):
            found.pop()  # its primary owner is another one meanwhile
        return found[-1] if found else None


def _level_primaries(owners: list[list[int]], members: Sequence[int]) -> None:
    """Let everybody be the primary owner of about as many segments.

    Where the busiest node has no segment that the idlest could take over, others stand between
    them: each takes over one from the one before it.
    """
    first = Counter(dict.fromkeys(members, 0))
    first.update(segment[0] for segment in owners)
    heirs = _Heirs(owners)
    for _ in range(len(owners)):
        chain = next(
            filter(None, (_chain(heirs, first, n) for n in sorted(first, key=first.__getitem__))),
            (),
        )
        if not chain:
            return
        for giver, heir in itertools.pairwise(chain):
            segment = heirs.get(giver, heir)
            assert segment is not None
            first[giver] -= 1
            first[heir] += 1
            segment.remove(heir)
            segment.insert(0, heir)
            heirs.add(segment)


def _chain(heirs: _Heirs, first: Counter[int], poor: int) -> tuple[int, ...]:
    """Nodes of which each one has a segment for the next one, the last one being `poor`, the first
    one having at least two more; empty when there are none."""
    chains: list[tuple[int, ...]] = [(poor,)]
    seen = {poor}
    for chain in chains:
        for giver in first:
            if giver not in seen and heirs.get(giver, chain[0]) is not None:
                if first[giver] > first[poor] + 1:
                    return (giver, *chain)
                seen.add(giver)
                chains.append((giver, *chain))
    return ()
