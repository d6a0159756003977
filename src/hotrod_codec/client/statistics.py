"""What a client counts of itself: what its requests came to, and how long they took. No I/O.

Near caches count always, the rest is counted by clients with `statistics` (_async/counting.py).
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any, Final

from hotrod_codec import Response
from hotrod_codec.client.near import NearStore
from hotrod_codec.ops import Op, Status

__all__ = ["Book", "CacheStatistics", "ClientStatistics"]

_DONE: Final = frozenset(
    {
        Status.SUCCESS,
        Status.SUCCESS_WITH_PREVIOUS,
        Status.SUCCESS_OBJ_STORAGE,
        Status.SUCCESS_WITH_PREVIOUS_OBJ_STORAGE,
    }
)
_READ, _STORE, _REMOVE = range(3)
_KINDS: Final = {
    Op.GET: _READ,
    Op.GET_WITH_METADATA: _READ,
    Op.GET_WITH_VERSION: _READ,
    Op.CONTAINS_KEY: _READ,
    Op.GET_ALL: _READ,
    Op.PUT: _STORE,
    Op.PUT_IF_ABSENT: _STORE,
    Op.REPLACE: _STORE,
    Op.REPLACE_IF_UNMODIFIED: _STORE,
    Op.PUT_ALL: _STORE,
    Op.REMOVE: _REMOVE,
    Op.REMOVE_IF_UNMODIFIED: _REMOVE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """What a client did with a cache, up to now.

    Attributes:
        hits, misses: Keys that were read of servers and found, or not.
        stores, removes: Entries that were written and removed.
        average_read_time, average_store_time, average_remove_time: Seconds that each key took, with
            all attempts; of many at once, its share. 0: there was none.
        retries: Requests that were sent again.
        near_hits, near_misses: Reads that a near cache answered, and that it did not.
        near_invalidations: Values that a near cache removed because they may have changed.
        near_size: Values in near caches now.
    """

    hits: int = 0
    misses: int = 0
    stores: int = 0
    removes: int = 0
    average_read_time: float = 0.0
    average_store_time: float = 0.0
    average_remove_time: float = 0.0
    retries: int = 0
    near_hits: int = 0
    near_misses: int = 0
    near_invalidations: int = 0
    near_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStatistics(CacheStatistics):
    """What a client did with all of its caches, up to now; beside that of one cache:

    Attributes:
        connections: How many are open now.
    """

    connections: int = 0


class _Tally:
    """The counts of one cache."""

    def __init__(self) -> None:
        self.done = [0, 0, 0]
        self.not_done = [0, 0, 0]
        self.seconds = [0.0, 0.0, 0.0]
        self.retries = 0
        self.near = [0, 0, 0]  # of near caches that are over

    def add(self, other: _Tally) -> None:
        for name in ("done", "not_done", "seconds", "near"):
            pairs = zip(getattr(self, name), getattr(other, name), strict=True)
            setattr(self, name, [a + b for a, b in pairs])
        self.retries += other.retries

    def average(self, kind: int) -> float:
        count = self.done[kind] + self.not_done[kind]
        return self.seconds[kind] / count if count else 0.0


class Book:
    """The counts of a client's caches. May be used from several threads."""

    def __init__(self) -> None:
        self._tallies: dict[str, _Tally] = {}
        self._near: dict[int, NearStore] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()

    def note(self, cache: str, op: Op, item: Any, answer: Any, seconds: float) -> None:
        """A request was answered, without an error.

        Args:
            item: The fields of a request about many keys.
            answer: A Response, or what `Dispatcher.execute_many` gives.
            seconds: How long that took.
        """
        kind = _KINDS.get(op)
        if kind is None:
            return
        done, not_done = _result(op, item, answer)
        with self._locked():
            tally = self._tally(cache)
            tally.done[kind] += done
            tally.not_done[kind] += not_done
            tally.seconds[kind] += seconds

    def note_retries(self, cache: str, count: int) -> None:
        """So many requests are sent again."""
        with self._locked():
            self._tally(cache).retries += count

    def near_begins(self, store: NearStore) -> None:
        """There is a near cache."""
        with self._locked():
            self._near[id(store)] = store

    def near_ends(self, store: NearStore) -> None:
        """It is over; its counts are kept."""
        with self._locked():
            if self._near.pop(id(store), None) is not None:
                _add_near(self._tally(store.cache), store)

    def of_cache(self, name: str) -> CacheStatistics:
        """What one cache came to."""
        with self._locked():
            tally = _Tally()
            tally.add(self._tally(name))
        return CacheStatistics(**self._figures(tally, name))

    def of_client(self, connections: int) -> ClientStatistics:
        """What all of them came to."""
        with self._locked():
            total = _Tally()
            for tally in self._tallies.values():
                total.add(tally)
        return ClientStatistics(**self._figures(total, None), connections=connections)

    def _figures(self, tally: _Tally, cache: str | None) -> dict[str, Any]:
        stores = [s for s in list(self._near.values()) if cache in (None, s.cache)]
        for store in stores:
            _add_near(tally, store)
        return {
            "hits": tally.done[_READ],
            "misses": tally.not_done[_READ],
            "stores": tally.done[_STORE],
            "removes": tally.done[_REMOVE],
            "average_read_time": tally.average(_READ),
            "average_store_time": tally.average(_STORE),
            "average_remove_time": tally.average(_REMOVE),
            "retries": tally.retries,
            "near_hits": tally.near[0],
            "near_misses": tally.near[1],
            "near_invalidations": tally.near[2],
            "near_size": sum(map(len, stores)),
        }

    def _tally(self, cache: str) -> _Tally:
        return self._tallies.setdefault(cache, _Tally())

    def _locked(self) -> threading.Lock:
        if self._process != os.getpid():  # after a fork another thread may have had it
            self._process = os.getpid()
            self._lock = threading.Lock()
            for store in self._near.values():  # the parent's; only their counts go on
                _add_near(self._tally(store.cache), store)
            self._near = {}
        return self._lock


def _add_near(tally: _Tally, store: NearStore) -> None:
    c = store.counts
    for i, count in enumerate((c.hits, c.misses, c.invalidations)):
        tally.near[i] += count


def _result(op: Op, item: Any, answer: Any) -> tuple[int, int]:
    """For how many keys it was done, and for how many not."""
    if op is Op.GET_ALL:
        found = 0 if answer is None else len(answer.entries)
        return found, len(set(item["keys"])) - found  # of a key that comes twice there is one
    if op is Op.PUT_ALL:
        return len(item["entries"]), 0
    if isinstance(answer, Response):
        done = answer.status in _DONE
    else:
        done = answer is not None or op is Op.PUT
    return (1, 0) if done else (0, 1)
