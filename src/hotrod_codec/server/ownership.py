"""Who owns which segment: an even share for everybody, and as few moves as that takes.

Pure: nodes are numbers, a segment's owners a tuple of them, the primary owner first.
"""

from __future__ import annotations

from collections import Counter
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
    _level_primaries(owners, members, num_segments // len(members))
    return [tuple(segment) for segment in owners]


def _level_copies(owners: list[list[int]], load: Counter[int], fair: int) -> None:
    """Hand copies from who has most to who has too few, the backups first."""
    for poor in list(load):
        while load[poor] < fair:
            rich, index = _giver(owners, load, poor)
            if index is None:
                break
            owners[index][owners[index].index(rich)] = poor
            load[rich] -= 1
            load[poor] += 1


def _giver(owners: list[list[int]], load: Counter[int], poor: int) -> tuple[int, int | None]:
    """The node with most copies and a segment that it may hand to `poor`."""
    for rich, most in load.most_common():
        if most <= load[poor] + 1:
            break
        held = [i for i, s in enumerate(owners) if rich in s and poor not in s]
        if held:
            return rich, min(held, key=lambda i: owners[i][0] == rich)
    return poor, None


def _level_primaries(owners: list[list[int]], members: Sequence[int], fair: int) -> None:
    """Let everybody be the primary owner of about as many segments."""
    first = Counter(dict.fromkeys(members, 0))
    first.update(segment[0] for segment in owners)
    for _ in range(len(owners)):
        poor = min(first, key=first.__getitem__)
        if first[poor] >= fair:
            break
        able = [s for s in owners if poor in s[1:]]
        segment = max(able, key=lambda s: first[s[0]], default=None)
        if segment is None or first[segment[0]] <= first[poor] + 1:
            break
        first[segment[0]] -= 1
        first[poor] += 1
        segment.remove(poor)
        segment.insert(0, poor)
