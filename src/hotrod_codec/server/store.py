"""Caches and their entries: who holds what, until when, in which version.

Knows keys and values as bytes, time as milliseconds since 1970 (an argument or a function that is
given), nodes as numbers. Knows no request, no connection, no media type's content. Not thread-safe:
one event loop owns a `Cluster` and everything in it.
"""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

from hotrod_codec import segment_of, segments_of
from hotrod_codec.server.ownership import Owners, spread
from hotrod_codec.values import MediaType, Metadata

__all__ = [
    "DISTRIBUTED",
    "INVALIDATION",
    "LOCAL",
    "MODES",
    "REPLICATED",
    "Cache",
    "CacheConfiguration",
    "Change",
    "Cluster",
    "Entry",
    "Statistics",
]

DISTRIBUTED: Final = "distributed"
REPLICATED: Final = "replicated"
INVALIDATION: Final = "invalidation"
LOCAL: Final = "local"
MODES: Final = (DISTRIBUTED, REPLICATED, INVALIDATION, LOCAL)

NEVER: Final = -1
"""A duration that does not end."""

_MOST_SECONDS: Final = 2**31 - 1


class Entry:
    """A value with its version and durations (milliseconds, NEVER for none).

    The nodes that own a key share one Entry: all of them live in this process.
    """

    __slots__ = ("created", "last_used", "lifespan", "max_idle", "mortal", "value", "version")

    def __init__(self, value: Any, version: int, now: int, lifespan: int, max_idle: int) -> None:
        self.value = value
        self.version = version
        self.created = now
        self.last_used = now
        self.lifespan = lifespan
        self.max_idle = max_idle
        self.mortal = lifespan != NEVER or max_idle != NEVER

    def expired(self, now: int) -> bool:
        return (self.lifespan != NEVER and self.created + self.lifespan <= now) or (
            self.max_idle != NEVER and self.last_used + self.max_idle <= now
        )

    def metadata(self) -> Metadata:
        """What a client is told: whole seconds. [wire-core 7.2]"""
        if not self.mortal:
            return Metadata(self.version)
        immortal, restless = self.lifespan == NEVER, self.max_idle == NEVER
        return Metadata(
            self.version,
            None if immortal else self.created,
            None if immortal else min(self.lifespan // 1000, _MOST_SECONDS),
            None if restless else self.last_used,
            None if restless else min(self.max_idle // 1000, _MOST_SECONDS),
        )


class Change(Enum):
    """What happened to an entry."""

    CREATED = 1
    MODIFIED = 2
    REMOVED = 4
    EXPIRED = 8


class Watcher(Protocol):
    """Somebody who is told of changes."""

    def changed(self, change: Change, key: bytes, entry: Entry | None, old: Entry | None) -> None:
        """`entry` is the new one; `old` the one that was there."""


@dataclass(frozen=True, slots=True)
class CacheConfiguration:
    """How a cache stores.

    Attributes:
        media_type: Of keys and values as they are stored; None: as they come.
        key_media_type, value_media_type: The same where the two differ.
        mode: "distributed" (each entry on `owners` nodes), "replicated" (on all), "invalidation"
            or "local" (no topology is told).
        owners: Copies of each entry in a distributed cache; None: the server's.
        segments: Number of segments; None: the server's.
        lifespan, max_idle: What entries get that bring none: seconds, None for immortal.
        max_entries: The most that a node keeps; the least recently used go first.
    """

    media_type: str | None = None
    key_media_type: str | None = None
    value_media_type: str | None = None
    mode: str = DISTRIBUTED
    owners: int | None = None
    segments: int | None = None
    lifespan: float | None = None
    max_idle: float | None = None
    max_entries: int | None = None

    def __post_init__(self) -> None:
        for name in ("media_type", "key_media_type", "value_media_type"):
            text = getattr(self, name)
            if text is not None:
                MediaType.parse(text)
        if self.mode not in MODES:
            raise ValueError(f"mode: {self.mode!r} is none of {', '.join(MODES)}")
        for name, most in (("owners", 2**31), ("segments", 2**16), ("max_entries", 2**62)):
            number = getattr(self, name)
            if number is not None and not 1 <= number <= most:
                raise ValueError(f"{name}: {number} is not within 1 and {most}")
        for name in ("lifespan", "max_idle"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < 10**10:
                raise ValueError(f"{name}: {seconds} is no number of seconds; None is immortal")

    @property
    def key_type(self) -> MediaType | None:
        """What keys are stored as; None: as they come."""
        text = self.key_media_type or self.media_type
        return None if text is None else MediaType.parse(text)

    @property
    def value_type(self) -> MediaType | None:
        """What values are stored as; None: as they come."""
        text = self.value_media_type or self.media_type
        return None if text is None else MediaType.parse(text)


@dataclass(slots=True)
class Statistics:
    """What a node counts of a cache."""

    since: int = 0
    stores: int = 0
    hits: int = 0
    misses: int = 0
    remove_hits: int = 0
    remove_misses: int = 0


def _milliseconds(seconds: float | None) -> int:
    return NEVER if seconds is None else max(1, round(seconds * 1000))


class Cache:
    """One cache on all nodes of a cluster. Keys and values are bytes as they are stored."""

    guarded = False
    """Whether it looks at what is written: see `check` and `settle`."""

    def __init__(self, name: str, configuration: CacheConfiguration, cluster: Cluster) -> None:
        self.name = name
        self.configuration = configuration
        self.key_type = configuration.key_type
        self.value_type = configuration.value_type
        self.objects = (
            self.key_type is not None and self.key_type.name == "application/x-java-object"
        )
        self.json = any(
            found is not None and found.name == "application/json"
            for found in (self.key_type, self.value_type)
        )
        self.lifespan = _milliseconds(configuration.lifespan)
        self.max_idle = _milliseconds(configuration.max_idle)
        self.max_entries = configuration.max_entries or cluster.max_entries
        self.num_segments = configuration.segments or cluster.num_segments
        self.clustered = False
        self.watchers: list[Watcher] = []
        self.statistics: dict[int, Statistics] = {}
        self.has_mortal = False
        self._cluster = cluster
        self._now = cluster.now
        self._versions = cluster.versions
        self._stores: dict[int, dict[bytes, Entry]] = {}
        self._only: dict[bytes, Entry] | None = None
        self.owners: Owners = []
        self.topology_id = 0
        for node in cluster.members:
            self._add_store(node)
        if cluster.members:
            self._share(cluster.members)

    # ---- who holds what

    def _add_store(self, node: int) -> None:
        self._stores[node] = {} if self.max_entries is None else OrderedDict()
        self.statistics[node] = Statistics(since=self._now())

    def _share(self, members: list[int]) -> None:
        """The members are new: give each segment its owners."""
        self.clustered = self._cluster.clustered and self.configuration.mode != LOCAL
        copies = self.configuration.owners or self._cluster.num_owners
        if self.configuration.mode != DISTRIBUTED:
            copies = len(members)
        self.owners = spread(self.owners, members, self.num_segments, copies)
        self.topology_id = secrets.randbits(32) - 2**31
        self._only = None if len(members) > 1 else self._stores[members[0]]

    def join(self, node: int) -> None:
        """A node is there: it gets its share, and copies of the entries in it."""
        before = self.owners
        self._add_store(node)
        self._share(list(self._stores))
        self._move(before)

    def leave(self, node: int, *, hand_over: bool) -> None:
        """A node goes: the other owners make new copies.

        Args:
            hand_over: Whether the entries that only this node holds are saved.
        """
        before = self.owners
        if not hand_over:
            self._stores[node].clear()
            before = [tuple(owner for owner in owners if owner != node) for owners in before]
        rest = [other for other in self._stores if other != node]
        if rest:
            self._share(rest)
            self._move(before)
        else:
            self.owners, self._only = [], None
        del self._stores[node], self.statistics[node]

    def _move(self, before: Owners) -> None:
        """Copy to the new owners, then drop from those that are none any more."""
        moves = [
            (tuple(o for o in new if o not in old), tuple(o for o in old if o not in new))
            for old, new in itertools.zip_longest(before, self.owners, fillvalue=())
        ]
        if all(not gained and not lost for gained, lost in moves):
            return
        holders = [old[0] if old else None for old in before]
        for node, store in list(self._stores.items()):
            keys = list(store)
            for key, segment in zip(keys, self._segments(keys), strict=True):
                gained, lost = moves[segment]
                # Copies may have driven it out of all stores meanwhile.
                if gained and holders[segment] == node and (entry := store.get(key)) is not None:
                    for new in gained:
                        self._stores[new][key] = entry
                        self._bound(self._stores[new])
                if node in lost:
                    store.pop(key, None)

    def _segments(self, keys: list[bytes]) -> list[int]:
        found: list[int] = segments_of(keys, self.num_segments).tolist()
        return found

    def segment_of(self, key: bytes) -> int:
        return segment_of(key, self.num_segments)

    def by_segment(self, segments: Iterable[int] | None) -> Iterator[tuple[int, list[bytes]]]:
        """The keys of each segment that is asked for, in the segments' order, empty ones too."""
        wanted = range(self.num_segments) if segments is None else sorted(set(segments))
        keys = list(self.entries())
        sorted_keys: dict[int, list[bytes]] = {segment: [] for segment in wanted}
        for key, segment in zip(keys, self._segments(keys), strict=True):
            if segment in sorted_keys:
                sorted_keys[segment].append(key)
        return iter(sorted_keys.items())

    def _holders(self, key: bytes) -> list[dict[bytes, Entry]]:
        """The stores that hold, or would hold, this key, the primary owner's first."""
        if self._only is not None:
            return [self._only]
        return [self._stores[node] for node in self.owners[segment_of(key, self.num_segments)]]

    def held_by(self, node: int) -> tuple[int, int]:
        """How many entries a node holds, and of how many it is the primary owner."""
        store = self._stores.get(node, {})
        if self._only is not None:
            return len(store), len(store)
        keys = list(store)
        primary = sum(self.owners[segment][0] == node for segment in self._segments(keys))
        return len(keys), primary

    def keys_of(self, node: int) -> set[bytes]:
        """The keys that a node holds."""
        return set(self._stores.get(node, ()))

    # ---- entries

    def find(self, key: bytes) -> Entry | None:
        """The entry, which is thereby used; None when there is none or it has expired."""
        store = self._only
        if store is None:
            store = self._stores[self.owners[segment_of(key, self.num_segments)][0]]
        entry = store.get(key)
        if entry is None:
            return None
        if entry.mortal:
            now = self._now()
            if entry.expired(now):
                self._expire(key, entry)
                return None
            entry.last_used = now
        if self.max_entries is not None:
            for holder in self._holders(key):  # who drops it, drops it everywhere
                if key in holder:
                    holder.move_to_end(key)  # type: ignore[attr-defined]
        return entry

    def peek(self, key: bytes) -> Entry | None:
        """The entry, which is not used thereby; None when there is none or it has expired."""
        entry = self._holders(key)[0].get(key)
        return None if entry is None or (entry.mortal and entry.expired(self._now())) else entry

    def put(
        self,
        key: bytes,
        value: Any,
        lifespan: int,
        max_idle: int,
        old: Entry | None,
        *,
        told: bool = True,
        version: int | None = None,
    ) -> None:
        """Store a value; `old` is what `find` gave. Without a `version` it gets a new one."""
        if self.guarded:
            self.check(key)
        entry = self.keep(key, value, lifespan, max_idle, version)
        if told and self.watchers:
            self._tell(Change.CREATED if old is None else Change.MODIFIED, key, entry, old)
        if self.guarded:
            self.settle()

    def new_version(self) -> int:
        """A version that no entry ever had."""
        return next(self._versions)

    def keep(
        self, key: bytes, value: Any, lifespan: int, max_idle: int, version: int | None = None
    ) -> Entry:
        """Store a value without telling anybody."""
        if lifespan != NEVER and max_idle >= lifespan:
            max_idle = NEVER  # as servers do: it would never be the first to end
        if version is None:
            version = next(self._versions)
        entry = Entry(value, version, self._now(), lifespan, max_idle)
        if entry.mortal:
            self.has_mortal = True
        if self._only is not None:
            self._only[key] = entry
            if self.max_entries is not None:
                self._bound(self._only, key)
        else:
            for store in self._holders(key):
                store[key] = entry
                if self.max_entries is not None:
                    self._bound(store, key)
        return entry

    def check(self, key: bytes) -> None:
        """Whether this key may be written; a cache of its own kind may refuse."""

    def settle(self) -> None:
        """Something was written or removed; a cache of its own kind may look at it."""

    def remove(self, key: bytes, old: Entry | None, *, told: bool = True) -> None:
        """Remove what `find` gave. Listeners hear of the removal of nothing too."""
        if old is not None:
            self.drop(key)
        if told and self.watchers:
            self._tell(Change.REMOVED, key, None, old)
        if self.guarded:
            self.settle()

    def drop(self, key: bytes) -> None:
        """Remove an entry without telling anybody."""
        for store in self._holders(key):
            store.pop(key, None)

    def clear(self, *, told: bool = True) -> None:
        gone = self.entries() if told and self.watchers else {}
        for store in self._stores.values():
            store.clear()
        for key, entry in gone.items():
            self._tell(Change.REMOVED, key, None, entry)
        if self.guarded:
            self.settle()

    def configure(self, configuration: CacheConfiguration) -> None:
        """Take another configuration's durations and bound."""
        if configuration.max_entries is not None and self.max_entries is None:
            for node, store in self._stores.items():
                self._stores[node] = OrderedDict(store)
            self._only = next(iter(self._stores.values())) if len(self._stores) == 1 else None
        self.configuration = configuration
        self.lifespan = _milliseconds(configuration.lifespan)
        self.max_idle = _milliseconds(configuration.max_idle)
        self.max_entries = configuration.max_entries or self._cluster.max_entries
        for store in self._stores.values():
            self._bound(store)

    def entries(self) -> dict[bytes, Entry]:
        """All entries that have not expired; a copy."""
        if self.has_mortal:
            self.reap()
        found: dict[bytes, Entry] = {}
        for store in self._stores.values():
            found.update(store)
        return found

    def __len__(self) -> int:
        if self.has_mortal:
            self.reap()
        if self._only is not None:
            return len(self._only)
        return len(set().union(*self._stores.values()))

    def reap(self) -> None:
        """Remove what has expired; the listeners hear of it."""
        now = self._now()
        mortal = False
        for store in list(self._stores.values()):
            for key, entry in [item for item in store.items() if item[1].mortal]:
                mortal = True
                if entry.expired(now):
                    self._expire(key, entry)
        self.has_mortal = mortal

    def _expire(self, key: bytes, entry: Entry) -> None:
        gone = [store.pop(key, None) for store in self._holders(key)]
        if self.watchers and any(gone):
            self._tell(Change.EXPIRED, key, None, entry)

    def _bound(self, store: dict[bytes, Entry], used: bytes | None = None) -> None:
        """See that a node holds no more than it may: the least recently used entries go."""
        if self.max_entries is None:
            return
        if used is not None:
            store.move_to_end(used)  # type: ignore[attr-defined]
        while len(store) > self.max_entries:
            key = next(iter(store))
            del store[key]
            for other in self._holders(key):
                other.pop(key, None)

    def _tell(self, change: Change, key: bytes, entry: Entry | None, old: Entry | None) -> None:
        for watcher in list(self.watchers):
            watcher.changed(change, key, entry, old)


@dataclass(slots=True)
class Cluster:
    """The caches of all nodes.

    Attributes:
        members: The nodes that are there, by number, in the order of their joining.
        clustered: Whether topologies are told at all: there are, or were, several nodes.
        changed: Whether nodes came or went.
    """

    now: Callable[[], int]
    num_segments: int = 256
    num_owners: int = 2
    max_entries: int | None = None
    clustered: bool = False
    default_cache: str | None = None
    default_mode: str = DISTRIBUTED
    changed: bool = False
    members: list[int] = field(default_factory=list)
    caches: dict[str, Cache] = field(default_factory=dict)
    templates: dict[str, CacheConfiguration] = field(default_factory=dict)
    # Positive, never the same again, and not to be guessed from one run to the next.
    versions: Iterator[int] = field(
        default_factory=lambda: itertools.count(secrets.randbits(61) + 1)
    )

    def begin(self, nodes: int) -> None:
        """So many nodes, and no cache yet."""
        self.members[:] = range(nodes)
        self.clustered = nodes > 1
        self.changed = False
        self.caches.clear()
        self.templates.clear()

    def create(self, name: str, configuration: CacheConfiguration) -> Cache:
        cache = self.caches[name] = Cache(name, configuration, self)
        return cache

    def remove(self, name: str) -> None:
        self.caches.pop(name, None)

    def cache(self, name: str) -> Cache | None:
        """The cache of this name; the empty name is that of the default cache, if there is one."""
        if name:
            return self.caches.get(name)
        return None if self.default_cache is None else self.caches.get(self.default_cache)

    def join(self, node: int) -> None:
        self.changed = self.clustered = True
        self.members.append(node)
        for cache in self.caches.values():
            cache.join(node)

    def leave(self, node: int, *, hand_over: bool) -> None:
        self.changed = True
        self.members.remove(node)
        for cache in self.caches.values():
            cache.leave(node, hand_over=hand_over)

    def reap(self) -> None:
        for cache in self.caches.values():
            if cache.has_mortal:
                cache.reap()
