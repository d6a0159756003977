"""What a client's methods give back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from hotrod_codec.errors import HotRodError
from hotrod_codec.values import Metadata

__all__ = [
    "CacheEvent",
    "CounterBoundError",
    "CounterEvent",
    "CounterMissingError",
    "CounterState",
    "EventKind",
    "MetadataValue",
    "QueryEvent",
    "QueryEventKind",
    "QueryResult",
    "TransactionConflictError",
    "TransactionError",
    "TransactionInDoubtError",
]

K = TypeVar("K")
V = TypeVar("V")


class CounterMissingError(HotRodError, LookupError):
    """There is no such counter; define it first."""


class CounterBoundError(HotRodError, ArithmeticError):
    """A counter cannot go beyond its bound."""


class TransactionError(HotRodError):
    """A transaction was rolled back, or is over: nothing was written."""


class TransactionConflictError(TransactionError):
    """Others have changed what a transaction read: nothing was written, it may be tried anew."""


class TransactionInDoubtError(TransactionError):
    """Whether a transaction was committed is not known: the answer did not come, and the servers
    could not be asked, or did not know."""


@dataclass(frozen=True, slots=True)
class MetadataValue(Generic[V]):
    """A value, and what the server tells of its entry.

    Attributes:
        value: The value.
        version: The entry's version: it changes with each write. For replace_with_version and
            remove_with_version.
        created: When it was written, milliseconds since 1970; None without a lifespan.
        lifespan: Whole seconds; None: immortal.
        last_used: When it was last used, milliseconds since 1970; None without a max idle.
        max_idle: Whole seconds; None: none.
    """

    value: V = field(repr=False)
    version: int
    created: int | None = None
    lifespan: int | None = None
    last_used: int | None = None
    max_idle: int | None = None

    @classmethod
    def of(cls, value: V, metadata: Metadata) -> MetadataValue[V]:
        """A value with the metadata of an answer."""
        m = metadata
        return cls(value, m.version, m.created, m.lifespan, m.last_used, m.max_idle)


class EventKind(StrEnum):
    """What happened to an entry, or to the listener."""

    CREATED = "created"
    MODIFIED = "modified"
    REMOVED = "removed"
    EXPIRED = "expired"
    FAILOVER = "failover"
    """The listener's connection was lost, and it listens anew: events in between are lost."""


@dataclass(frozen=True, slots=True)
class CacheEvent(Generic[K]):
    """Something that happened in a cache.

    Attributes:
        kind: What.
        key: To whose entry; None for FAILOVER, and where a converter made the event.
        version: Of the entry that was created or modified.
        retried: Whether the event may have come before.
        data: What the server's converter made of it.
    """

    kind: EventKind
    key: K | None = field(default=None, repr=False)
    version: int | None = None
    retried: bool = False
    data: bytes | None = field(default=None, repr=False)


class CounterState(StrEnum):
    """How the value of a counter came about."""

    VALID = "valid"
    """It is what was wanted."""
    LOWER_BOUND_REACHED = "lower bound reached"
    """It was to be less than its lower bound."""
    UPPER_BOUND_REACHED = "upper bound reached"
    """It was to be more than its upper bound."""


@dataclass(frozen=True, slots=True)
class CounterEvent:
    """A counter that changed.

    Attributes:
        kind: MODIFIED; or FAILOVER, and then there is nothing else.
        name: The counter's.
        old_value, new_value: Its value before and after.
        old_state, new_state: How these came about.
    """

    kind: EventKind
    name: str = ""
    old_value: int = 0
    new_value: int = 0
    old_state: CounterState = CounterState.VALID
    new_state: CounterState = CounterState.VALID


@dataclass(frozen=True, slots=True)
class QueryResult(Generic[V]):
    """What a query found: the rows that were wanted, and how many there are.

    Attributes:
        rows: Each the tuple of its columns; without "select" of one, the entity.
        selects: Whether the query has "select", as far as the answer shows it: in JSON, rows do.
        hit_count: How many there are in all; None: the server did not say.
        hit_count_exact: Whether it counted them to the end; None: servers until 11 do not say.
    """

    rows: list[tuple[Any, ...]] = field(repr=False)
    selects: bool
    hit_count: int | None
    hit_count_exact: bool | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def entities(self) -> list[V]:
        """The values of the entries that were found.

        Raises:
            TypeError: The query has "select": there are columns.
        """
        if self.selects:
            raise TypeError("the query selects columns, which `rows` has")
        return [row[0] for row in self.rows]


class QueryEventKind(StrEnum):
    """What happened to an entry as a continuous query sees it, or to its listener."""

    JOINING = "joining"
    """It matches, and did not before."""
    UPDATED = "updated"
    """It still matches, with another value."""
    LEAVING = "leaving"
    """It does not match any more, or is gone."""
    FAILOVER = "failover"
    """The listener's connection was lost, and it listens anew: events in between are lost, and
    all that matches joins once more."""


@dataclass(frozen=True, slots=True)
class QueryEvent(Generic[K, V]):
    """Something that happened to what a continuous query finds.

    Attributes:
        kind: What.
        key: To whose entry; None for FAILOVER.
        value: Of the entry; for LEAVING the one that it had, if that is known. None with columns.
        columns: Of a query with "select".
    """

    kind: QueryEventKind
    key: K | None = field(default=None, repr=False)
    value: V | None = field(default=None, repr=False)
    columns: tuple[Any, ...] | None = field(default=None, repr=False)
