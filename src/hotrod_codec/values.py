"""Values that messages hold: durations, media types, metadata, topologies, limits.

Plain and immutable. Knows names and units; how they are written on the wire, csrc knows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from hotrod_codec.errors import EncodeError
from hotrod_codec.ops import MEDIA_TYPES, Op, TimeUnit, Version

__all__ = [
    "CounterConfiguration",
    "Duration",
    "FieldLayout",
    "Layout",
    "Limits",
    "MediaType",
    "Metadata",
    "Modification",
    "ServerAddress",
    "Topology",
    "Xid",
]

_NANOSECONDS: Final = {
    TimeUnit.NANOSECONDS: 1,
    TimeUnit.MICROSECONDS: 10**3,
    TimeUnit.MILLISECONDS: 10**6,
    TimeUnit.SECONDS: 10**9,
    TimeUnit.MINUTES: 60 * 10**9,
    TimeUnit.HOURS: 3600 * 10**9,
    TimeUnit.DAYS: 86400 * 10**9,
}
_THIRTY_DAYS: Final = 30 * 86400 * 10**9
_MAX_VLONG: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Duration:
    """A lifespan or max idle as a request carries it: an amount of a unit, unchanged.

    Decoding gives durations in this form, so that encoding them again loses nothing. Two of them
    are equal when amount and unit are; compare `seconds` otherwise.

    Attributes:
        amount: Of the unit, 0 to 2**64 - 1. An amount of 0 makes an entry expire at once. In
            versions until 2.9 more than 30 days are an absolute time since 1970 in that unit.
        unit: SECONDS to DAYS. Versions until 2.1 have seconds only.
    """

    amount: int
    unit: TimeUnit = TimeUnit.SECONDS

    def __post_init__(self) -> None:
        if self.unit not in _NANOSECONDS:
            raise ValueError(f"unit: {self.unit.name} has no amount; use None or math.inf")
        if not 0 <= self.amount <= _MAX_VLONG:
            raise ValueError(f"amount: {self.amount} is not within 0 and 2**64 - 1")

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return self.amount * _NANOSECONDS[self.unit] / 10**9

    def to_unit(self, unit: TimeUnit) -> Duration:
        """The duration in another unit, rounded up to a whole number of it."""
        nanoseconds = self.amount * _NANOSECONDS[self.unit]
        return Duration(-(-nanoseconds // _NANOSECONDS[unit]), unit)

    @classmethod
    def of(cls, value: float | timedelta, field: str, *, absolute_above_30_days: bool) -> Duration:
        """The duration of `value` seconds (or a timedelta) in the coarsest unit from seconds down
        that holds it exactly; less than a nanosecond is rounded up.

        Raises:
            EncodeError: Negative or zero (servers differ in what they make of it), or more than
                30 days where `absolute_above_30_days` says that the version takes that for a date.
        """
        if isinstance(value, timedelta):
            nanoseconds = (value.days * 86400 + value.seconds) * 10**9 + value.microseconds * 1000
        elif isinstance(value, int):
            nanoseconds = value * 10**9
        elif isinstance(value, float):
            if not math.isfinite(value * 10**9):
                raise EncodeError(f"{value} is no duration", field=field)
            nanoseconds = math.ceil(value * 10**9)
            if abs(value) >= 1e-3:  # a float holds about 16 digits: take no noise for nanoseconds
                nanoseconds = round(value * 10**6) * 10**3
        else:
            raise TypeError(
                f"{field}: expected None, seconds, a timedelta, math.inf or a Duration, "
                f"got {type(value).__name__}"
            )
        if nanoseconds <= 0:
            raise EncodeError(
                f"{value} is not positive; None keeps the cache's default, math.inf is immortal, "
                "Duration(0) expires at once",
                field=field,
            )
        if absolute_above_30_days and nanoseconds > _THIRTY_DAYS:
            raise EncodeError(
                f"{value} is more than 30 days, which versions until 2.9 take for a date since "
                "1970; pass a Duration with that date",
                field=field,
            )
        for unit in (
            TimeUnit.SECONDS,
            TimeUnit.MILLISECONDS,
            TimeUnit.MICROSECONDS,
            TimeUnit.NANOSECONDS,
        ):
            amount, rest = divmod(nanoseconds, _NANOSECONDS[unit])
            if rest == 0:
                break
        if amount > _MAX_VLONG:
            raise EncodeError(f"{value} does not fit into 64 bits of {unit.name}", field=field)
        return cls(amount, unit)


@dataclass(frozen=True, slots=True)
class MediaType:
    """The format of keys or values, as request headers (2.8) and ping answers (2.9) carry it.

    Attributes:
        name: "application/json"; "" for a number that is not in the protocol's table.
        params: Names and values, such as ("charset", "utf-8"), in order.
        custom: Sent by name although the protocol has a number for it.
        id: The protocol's number; None when the type goes by name.
    """

    name: str
    params: tuple[tuple[str, str], ...] = ()
    custom: bool = False
    id: int | None = None

    def __post_init__(self) -> None:
        if self.custom:
            if self.id is not None:
                raise ValueError("id: a custom media type goes by name")
            # Without a number there is no other way: one form of it is enough.
            object.__setattr__(self, "custom", self.name in _MEDIA_TYPE_IDS)
        elif self.id is None:
            object.__setattr__(self, "id", _MEDIA_TYPE_IDS.get(self.name))
        elif MEDIA_TYPES.get(self.id, "") != self.name:
            raise ValueError(f"id: {self.id} is not the number of {self.name!r}")

    @classmethod
    def parse(cls, text: str) -> MediaType:
        """The media type of a text such as "text/plain; charset=utf-8"."""
        name, *params = (part.strip() for part in text.split(";"))
        if name.count("/") != 1 or name.startswith("/") or name.endswith("/"):
            raise ValueError(
                f"{text!r} is no media type; it looks like 'text/plain; charset=utf-8'"
            )
        pairs = []
        for param in params:
            key, equals, value = param.partition("=")
            if not equals:
                raise ValueError(f"{text!r}: parameter {param!r} has no value")
            pairs.append((key.strip(), value.strip().strip('"')))
        return cls(name, tuple(pairs))

    def __str__(self) -> str:
        name = self.name or f"media type {self.id}"
        return "; ".join([name, *(f"{key}={value}" for key, value in self.params)])


_MEDIA_TYPE_IDS: Final = {name: number for number, name in MEDIA_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a server tells of an entry. [wire-core 7.2]

    Attributes:
        version: The entry's version; changes with each write. -1 in a previous value (4.0 and
            later): there was no entry.
        created: When the entry was written, milliseconds since 1970; None without a lifespan.
        lifespan: Whole seconds, rounded down; None: immortal.
        last_used: When the entry was last used, milliseconds since 1970; None without a max idle.
        max_idle: Whole seconds, rounded down; None: none.
    """

    version: int
    created: int | None = None
    lifespan: int | None = None
    last_used: int | None = None
    max_idle: int | None = None

    def __post_init__(self) -> None:
        if (self.created is None) != (self.lifespan is None):
            raise ValueError("created and lifespan go together: both or neither")
        if (self.last_used is None) != (self.max_idle is None):
            raise ValueError("last_used and max_idle go together: both or neither")


class Xid(NamedTuple):
    """A transaction's id. [wire-extended 3.1]

    Attributes:
        format_id: Signed 32 bits.
        global_id, branch_id: 1 to 64 bytes each.
    """

    format_id: int
    global_id: bytes
    branch_id: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Modification:
    """One write of a transaction. [wire-extended 3.2]

    Attributes:
        key: The key.
        control: Bits: 1 the key was not read, 2 it did not exist, 4 it is removed. With neither 1
            nor 2 it must still have `entry_version`.
        entry_version: The version that was read; None with control 1 or 2.
        value: The new value; None with control 4.
        lifespan, max_idle: As in any request.
    """

    key: bytes
    control: int
    entry_version: int | None = None
    value: bytes | None = None
    lifespan: float | timedelta | Duration | None = None
    max_idle: float | timedelta | Duration | None = None

    def __repr__(self) -> str:
        value = "None" if self.value is None else f"{len(self.value)} bytes"
        return (
            f"Modification({len(self.key)} bytes, control={self.control}, "
            f"entry_version={self.entry_version}, value={value}, "
            f"lifespan={self.lifespan!r}, max_idle={self.max_idle!r})"
        )


@dataclass(frozen=True, slots=True)
class CounterConfiguration:
    """How a counter is defined. [wire-extended 1.2]

    Attributes:
        initial: The value it begins with.
        lower, upper: Bounds of a bounded counter, both or neither.
        concurrency: Makes the counter weak: how many updates may run side by side.
        persistent: Whether the value survives a restart of the cluster.
    """

    initial: int = 0
    lower: int | None = None
    upper: int | None = None
    concurrency: int | None = None
    persistent: bool = False

    def __post_init__(self) -> None:
        if (self.lower is None) != (self.upper is None):
            raise ValueError("lower and upper go together: both or neither")
        if self.concurrency is not None and self.lower is not None:
            raise ValueError("a weak counter (concurrency) has no bounds")


class ServerAddress(NamedTuple):
    """Where a server of the cluster listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Topology:
    """A cluster as a server describes it, in the form that the client's version and intelligence
    ask for. [wire-core 4]

    =================== ========= =============================================================
    form                versions  attributes beside `id` and `servers`
    =================== ========= =============================================================
    list of servers     all       none: `hash_version` is None
    hash wheel          1.0       key_owners, hash_version, hash_space, hash_ids
    hash wheel          1.1-1.3   the same and virtual_nodes
    owners of segments  2.0-4.1   hash_version, num_segments, segment_owners
    =================== ========= =============================================================

    Attributes:
        id: Opaque; compare for equality only. Negative numbers are usual.
        servers: In a wheel a server recurs, once for each of its places.
        hash_version: 3 (segments), 2 (wheel, MurmurHash3), 1 (wheel, MurmurHash2), 0: no hash.
        segment_owners: For each segment the indices of its owners in `servers`, primary first.
        num_segments: Number of segments; by default that of `segment_owners`.
        key_owners: Copies of each entry.
        hash_space: Number of places on the wheel.
        virtual_nodes: Places that each server has.
        hash_ids: For each of `servers` its place (1.0) or base hash code (1.1 to 1.3).
    """

    id: int
    servers: tuple[ServerAddress, ...]
    hash_version: int | None = None
    segment_owners: tuple[tuple[int, ...], ...] | None = None
    num_segments: int | None = None
    key_owners: int | None = None
    hash_space: int | None = None
    virtual_nodes: int | None = None
    hash_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        servers: Iterable[tuple[str, int]] = self.servers
        object.__setattr__(self, "servers", tuple(ServerAddress(*s) for s in servers))
        if self.segment_owners is not None and self.num_segments is None:
            object.__setattr__(self, "num_segments", len(self.segment_owners))
        if self.hash_version is None:
            return
        if (self.segment_owners is None) == (self.hash_ids is None):
            raise ValueError("a hash_version needs either segment_owners or hash_ids")
        if self.hash_ids is not None and len(self.hash_ids) != len(self.servers):
            raise ValueError("hash_ids: one for each of servers")


@dataclass(frozen=True, slots=True)
class FieldLayout:
    """A field of a body.

    Attributes:
        names: Its name in Python; two where the field has two values, such as lifespan and
            max_idle.
        kind: How it is written: the hr_kind of csrc/hotrod.h in lower case, such as "bytes".
        since: The first version that has it.
        optional: Whether it may be left out when encoding.
    """

    names: tuple[str, ...]
    kind: str
    since: Version
    optional: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """What frames of an operation (or event) hold behind their header, in order.

    Attributes:
        op: The operation.
        request_code: Its opcode in requests; None for an event.
        response_code: Its opcode in responses.
        since, until: The versions that have it.
        request, response: The fields; those of a response as far as its status carries them.
    """

    op: Op
    request_code: int | None
    response_code: int
    since: Version
    until: Version
    request: tuple[FieldLayout, ...]
    response: tuple[FieldLayout, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a decoder takes. A frame beyond a limit is a LimitError that names it.

    Memory is only ever taken for bytes that have arrived, never for a length that is claimed;
    limits bound what a peer can make a reader hold.

    Attributes:
        bytes: Length of a key, a value or another byte array.
        text: Length of a string: names, hosts, error texts.
        items: Items of a list: entries, keys, statistics.
        params: Parameters of a media type, other parameters of a request.
        servers: Servers (or places on the wheel) of a topology.
        segments: Segments of a topology.
    """

    bytes: int = 2**30
    text: int = 2**20
    items: int = 2**28
    params: int = 2**10
    servers: int = 2**20
    segments: int = 2**20

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not hasattr(value, "__index__"):
                raise TypeError(f"{name}: expected int, got {type(value).__name__}")
            if not 0 <= value < 2**63:
                raise ValueError(f"{name}: {value} is not within 0 and 2**63 - 1")
