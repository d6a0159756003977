"""What a near cache holds, and when it may be trusted. No I/O; time is an argument.

A near cache keeps values that were read, as the bytes that came, until an event of the server or a
write of one's own says that they are not true any more. It is right only as long as events come:
`connected` and `disconnected` say that. A value that is being read may be overtaken by the news of
its end, so each read makes a reservation first, and what removes the value removes the reservation
as well. [client-behaviour 8]
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

from hotrod_codec.values import Metadata

__all__ = ["NearEntry", "NearStore"]


class NearEntry:
    """A value as it came from a server.

    Attributes:
        value: Encoded: who gets it decodes it, so that nobody can change it for others.
        metadata: What came with it.
        until: When its lifespan is over, on the clock of `find`.
    """

    __slots__ = ("metadata", "until", "value")

    def __init__(self, value: bytes, metadata: Metadata, now: float, wall: float) -> None:
        """
        Args:
            now: On the clock of `find`, from before the value was asked for.
            wall: The same in seconds since 1970, as servers tell the time.
        """
        self.value = value
        self.metadata = metadata
        self.until = math.inf
        if metadata.lifespan is not None and metadata.created is not None:
            # Servers tell of an expired entry when they find it, which may be much later. Their
            # clock may be another one; nothing lives for longer than from now on.
            age = max(0.0, wall - metadata.created / 1000)
            self.until = now + metadata.lifespan - age


@dataclass(slots=True)
class NearCounts:
    """What happened in a near cache: reads that it answered, reads that it did not, and values
    that were removed because they may have changed."""

    hits: int = 0
    misses: int = 0
    invalidations: int = 0


class NearStore:
    """The values of one near cache. All methods may be called from several threads.

    Args:
        cache: Its name.
        max_entries: The least recently used ones go when there are more.
        exact_keys: Whether keys in events have the form in which they were sent; see
            `keys_come_back`.

    Attributes:
        counts: What happened so far.
        turned_at: For who reads it: when others had a turn.
    """

    def __init__(self, max_entries: int, *, cache: str = "", exact_keys: bool = True) -> None:
        self.cache = cache
        self.counts = NearCounts()
        self.turned_at = -math.inf
        self._max_entries = max_entries
        self._exact_keys = exact_keys
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, NearEntry] = OrderedDict()
        self._reserved: dict[bytes, object] = {}
        self._generation: int | None = None
        self._warned = False

    def __len__(self) -> int:
        return len(self._entries)

    # ---- reading

    def find(self, key: bytes, now: float, generation: int) -> NearEntry | None:
        """What is held under a key.

        Args:
            generation: Of the cluster that is asked now.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or generation != self._generation:
                self.counts.misses += 1
                return None
            if entry.until <= now:
                del self._entries[key]
                self.counts.misses += 1
                return None
            self._entries.move_to_end(key)
            self.counts.hits += 1
            return entry

    def reserve(self, key: bytes, generation: int) -> object | None:
        """Before a server is asked for a key: for `fill`. None: what it answers cannot be kept."""
        with self._lock:
            if generation != self._generation or key in self._reserved:
                return None
            reservation = self._reserved[key] = object()
            return reservation

    def fill(self, key: bytes, reservation: object | None, entry: NearEntry | None) -> None:
        """After that: keep the answer, if nothing has happened to the key meanwhile.

        Args:
            entry: None: there is none, or no answer.
        """
        if reservation is None:
            return
        with self._lock:
            if self._reserved.get(key) is not reservation:
                return
            del self._reserved[key]
            # Servers have to know when an entry with a max idle is used: such are not kept.
            if entry is None or entry.metadata.max_idle is not None:
                return
            self._entries[key] = entry
            self._entries.move_to_end(key)
            if len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)

    def is_to_warn(self, entry: NearEntry) -> bool:
        """Whether this is the first entry that cannot be kept because of its max idle."""
        if entry.metadata.max_idle is None or self._warned:
            return False
        self._warned = True
        return True

    # ---- what is not true any more

    def invalidate(self, key: bytes) -> None:
        """The entry of a key was written by us, perhaps."""
        with self._lock:
            self._reserved.pop(key, None)
            if self._entries.pop(key, None) is not None:
                self.counts.invalidations += 1

    def hear(self, key: bytes | None) -> None:
        """An event says that the entry of a key has changed."""
        if key is not None and self._exact_keys:
            self.invalidate(key)
        else:
            self.clear()

    def clear(self) -> None:
        """Everything may have changed."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        self.counts.invalidations += len(self._entries)
        self._entries.clear()
        self._reserved.clear()

    # ---- whether events come

    def connected(self, generation: int) -> None:
        """From now on events come, from a cluster of this generation."""
        with self._lock:
            self._clear()
            self._generation = generation

    def disconnected(self) -> None:
        """No events come any more."""
        with self._lock:
            self._generation = None
            self._clear()
