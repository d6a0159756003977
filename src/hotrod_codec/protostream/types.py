"""Values that ProtoStream tells apart and Python does not: an Integer and a Long, a Float and a
Double, a moment with nanoseconds. And what stands for messages, enums and containers.

Values only; how they are written, wrapping.py and commons.py know. Int32, Float, Char and their
kind are Python numbers and strings with a wire type: they compare, hash and compute as such. What
is computed from them is a plain number again.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar, Final, Self, SupportsFloat, SupportsIndex

__all__ = [
    "BigInteger",
    "BitSet",
    "Byte",
    "Char",
    "Container",
    "Date",
    "EnumValue",
    "Fixed32",
    "Fixed64",
    "Float",
    "Instant",
    "Int32",
    "Int64",
    "LocalDate",
    "LocalDateTime",
    "LocalTime",
    "Message",
    "MonthDay",
    "OffsetTime",
    "Period",
    "SFixed32",
    "SFixed64",
    "SInt32",
    "SInt64",
    "Short",
    "UInt32",
    "UInt64",
    "Year",
    "ZoneId",
    "ZoneOffset",
    "ZonedDateTime",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_DAY: Final = 86400 * 10**9


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: {value} is not within {low} and {high}")


def _check64(name: str, value: int) -> None:
    _check(name, value, -(2**63), 2**63 - 1)


def _check32(name: str, value: int) -> None:
    _check(name, value, -(2**31), 2**31 - 1)


class _Integer(int):
    """A number of a certain width. ValueError when it does not fit."""

    __slots__ = ()
    bits: ClassVar[int]
    signed: ClassVar[bool] = True

    def __new__(cls, value: SupportsIndex = 0, /) -> Self:
        number = operator.index(value)
        if isinstance(value, bool):
            raise TypeError(f"{cls.__name__}: expected a number, got a bool")
        low = -(1 << cls.bits - 1) if cls.signed else 0
        _check(cls.__name__, number, low, low + (1 << cls.bits) - 1)
        return super().__new__(cls, number)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int.__repr__(self)})"

    __str__ = int.__repr__

    @property
    def java(self) -> int:
        """The number that a Java reader gets: the same bits, signed."""
        number = int(self)
        return number - (1 << self.bits) if number >> self.bits - 1 > 0 else number


class Int32(_Integer):
    """Java's Integer."""

    __slots__ = ()
    bits = 32


class Int64(_Integer):
    """Java's Long. Decoding gives a plain int for it, which is encoded as a Long again."""

    __slots__ = ()
    bits = 64


class Short(_Integer):
    """Java's Short."""

    __slots__ = ()
    bits = 16


class Byte(_Integer):
    """Java's Byte, which has a sign."""

    __slots__ = ()
    bits = 8


class UInt32(_Integer):
    """Never written by Java, which reads it as the Integer `java`."""

    __slots__ = ()
    bits = 32
    signed = False


class UInt64(_Integer):
    """Never written by Java, which reads it as the Long `java`."""

    __slots__ = ()
    bits = 64
    signed = False


class Fixed32(_Integer):
    """Never written by Java, which reads it as the Integer `java`."""

    __slots__ = ()
    bits = 32
    signed = False


class Fixed64(_Integer):
    """Never written by Java, which reads it as the Long `java`."""

    __slots__ = ()
    bits = 64
    signed = False


class SInt32(_Integer):
    """Never written by Java, which reads it as an Integer."""

    __slots__ = ()
    bits = 32


class SInt64(_Integer):
    """Never written by Java, which reads it as a Long."""

    __slots__ = ()
    bits = 64


class SFixed32(_Integer):
    """Never written by Java, which reads it as an Integer."""

    __slots__ = ()
    bits = 32


class SFixed64(_Integer):
    """Never written by Java, which reads it as a Long."""

    __slots__ = ()
    bits = 64


class Float(float):
    """Java's Float: rounded to the nearest number of 32 bits. A plain float is a Double.

    Raises:
        ValueError: Beyond the range of 32 bits.
    """

    __slots__ = ()

    def __new__(cls, value: float = 0.0, /) -> Self:
        if isinstance(value, bool) or not isinstance(value, SupportsFloat):
            raise TypeError(f"Float: expected a number, got {type(value).__name__}")
        try:
            (rounded,) = struct.unpack("<f", struct.pack("<f", value))
        except OverflowError:
            raise ValueError(f"Float: {value!r} does not fit into 32 bits") from None
        return super().__new__(cls, rounded)

    def __repr__(self) -> str:
        return f"Float({float.__repr__(self)})"

    __str__ = float.__repr__


class Char(str):
    """Java's Character: one UTF-16 unit, which may be half of a surrogate pair."""

    __slots__ = ()

    def __new__(cls, value: str, /) -> Self:
        if not isinstance(value, str):
            raise TypeError(f"Char: expected a str, got {type(value).__name__}")
        if len(value) != 1 or value > "\uffff":
            raise ValueError("Char: expected one character of at most U+FFFF")
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        return f"Char({str.__repr__(self)})"

    def __str__(self) -> str:
        return str.__str__(self[0])


class BigInteger(int):
    """java.math.BigInteger: any whole number."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"BigInteger({int.__repr__(self)})"

    __str__ = int.__repr__


def _utc(seconds: int, nanos: int, name: str) -> datetime:
    if nanos % 1000:
        raise ValueError(f"{name}: {nanos} ns are no whole number of microseconds")
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise ValueError(f"{name}: {seconds} s since 1970 is beyond the years of Python") from None


def _since_epoch(value: datetime, name: str) -> tuple[int, int]:
    """Seconds, microseconds."""
    if value.tzinfo is None:
        raise ValueError(f"{name}: the datetime has no time zone")
    since = value - _EPOCH
    return since.days * 86400 + since.seconds, since.microseconds


@dataclass(frozen=True, slots=True, order=True)
class Date:
    """java.util.Date: a moment in whole milliseconds since 1970."""

    millis: int

    def __post_init__(self) -> None:
        _check64("millis", self.millis)

    @classmethod
    def of(cls, value: datetime) -> Self:
        """The millisecond that holds `value`, which needs a time zone."""
        seconds, micros = _since_epoch(value, "Date")
        return cls(seconds * 1000 + micros // 1000)

    def to_datetime(self) -> datetime:
        """In UTC. Raises ValueError outside of the years 1 to 9999."""
        seconds, millis = divmod(self.millis, 1000)
        return _utc(seconds, millis * 10**6, "Date")


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """java.time.Instant. A datetime with a time zone is encoded as one.

    Attributes:
        seconds: Since 1970, rounded down.
        nanos: 0 to 999,999,999.
    """

    seconds: int
    nanos: int = 0

    def __post_init__(self) -> None:
        _check64("seconds", self.seconds)
        _check("nanos", self.nanos, 0, 999_999_999)

    @classmethod
    def of(cls, value: datetime) -> Self:
        """The moment of `value`, which needs a time zone (and loses it)."""
        seconds, micros = _since_epoch(value, "Instant")
        return cls(seconds, micros * 1000)

    def to_datetime(self) -> datetime:
        """In UTC. Raises ValueError when it has nanoseconds or a year beyond 1 to 9999."""
        return _utc(self.seconds, self.nanos, "Instant")


@dataclass(frozen=True, slots=True, order=True)
class LocalDate:
    """java.time.LocalDate, in days since 1970. A date is encoded as one."""

    epoch_day: int

    def __post_init__(self) -> None:
        _check64("epoch_day", self.epoch_day)

    @classmethod
    def of(cls, value: date) -> Self:
        """The day of `value`."""
        return cls(value.toordinal() - _EPOCH_ORDINAL)

    def to_date(self) -> date:
        """Raises ValueError outside of the years 1 to 9999."""
        ordinal = self.epoch_day + _EPOCH_ORDINAL
        if not 1 <= ordinal <= date.max.toordinal():
            raise ValueError(f"LocalDate: day {self.epoch_day} is beyond the years of Python")
        return date.fromordinal(ordinal)


@dataclass(frozen=True, slots=True, order=True)
class LocalTime:
    """java.time.LocalTime, in nanoseconds since midnight. A time without zone is encoded as one."""

    nano_of_day: int

    def __post_init__(self) -> None:
        _check("nano_of_day", self.nano_of_day, 0, _DAY - 1)

    @classmethod
    def of(cls, value: time) -> Self:
        """The time of day; ValueError when `value` has a time zone."""
        if value.tzinfo is not None:
            raise ValueError("LocalTime: the time has a time zone; OffsetTime keeps that")
        seconds = value.hour * 3600 + value.minute * 60 + value.second
        return cls(seconds * 10**9 + value.microsecond * 1000)

    def to_time(self) -> time:
        """Raises ValueError when it has nanoseconds."""
        return self._at(datetime.min).time()

    def _at(self, day: datetime) -> datetime:
        if self.nano_of_day % 1000:
            raise ValueError(
                f"LocalTime: {self.nano_of_day} ns are no whole number of microseconds"
            )
        return day + timedelta(microseconds=self.nano_of_day // 1000)


@dataclass(frozen=True, slots=True, order=True)
class LocalDateTime:
    """java.time.LocalDateTime. A datetime without time zone is encoded as one."""

    date: LocalDate
    time: LocalTime

    @classmethod
    def of(cls, value: datetime) -> Self:
        """Date and time of day; ValueError when `value` has a time zone."""
        if value.tzinfo is not None:
            raise ValueError("LocalDateTime: the datetime has a time zone; Instant takes that")
        return cls(LocalDate.of(value), LocalTime.of(value.time()))

    def to_datetime(self) -> datetime:
        """Raises ValueError when it has nanoseconds or a year beyond 1 to 9999."""
        return datetime.combine(self.date.to_date(), self.time.to_time())


@dataclass(frozen=True, slots=True)
class ZonedDateTime:
    """java.time.ZonedDateTime: a moment and the name of a zone ("Europe/Paris", "+02:00", "Z")."""

    seconds: int
    nanos: int
    zone: str

    def __post_init__(self) -> None:
        _check64("seconds", self.seconds)
        _check("nanos", self.nanos, 0, 999_999_999)

    @property
    def instant(self) -> Instant:
        """The moment, without its zone."""
        return Instant(self.seconds, self.nanos)


@dataclass(frozen=True, slots=True)
class OffsetTime:
    """java.time.OffsetTime: a time of day and its distance from UTC, such as "+05:30" or "Z"."""

    time: LocalTime
    offset: str


@dataclass(frozen=True, slots=True)
class ZoneId:
    """java.time.ZoneId."""

    name: str


@dataclass(frozen=True, slots=True)
class ZoneOffset:
    """java.time.ZoneOffset: "+05:30", "Z"."""

    name: str


@dataclass(frozen=True, slots=True, order=True)
class Year:
    """java.time.Year."""

    year: int

    def __post_init__(self) -> None:
        _check32("year", self.year)


@dataclass(frozen=True, slots=True, order=True)
class MonthDay:
    """java.time.MonthDay."""

    month: int
    day: int

    def __post_init__(self) -> None:
        _check("month", self.month, 1, 12)
        _check("day", self.day, 1, 31)


@dataclass(frozen=True, slots=True)
class Period:
    """java.time.Period."""

    years: int = 0
    months: int = 0
    days: int = 0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            _check32(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class BitSet:
    """java.util.BitSet: bit i is 1 << i % 8 of byte i // 8; no zero bytes at the end."""

    data: bytes

    @classmethod
    def of(cls, bits: Iterable[int]) -> Self:
        """The set of the numbers in `bits`."""
        number = 0
        for bit in bits:
            number |= 1 << bit
        return cls(number.to_bytes(-(-number.bit_length() // 8), "little"))

    def __iter__(self) -> Iterator[int]:
        return (i for i in range(8 * len(self.data)) if self.data[i // 8] >> i % 8 & 1)


def check_type(value: str | int) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"type: expected a name or a type id, got {type(value).__name__}")
    if isinstance(value, int):
        _check("type", value, 0, 2**31 - 1)
    elif not value:
        raise ValueError("type: the name is empty")


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """A message of a type that this package does not know.

    Attributes:
        type: The full name ("example.Person"), or the number of its @TypeId. If the schema has a
            type id, Java writes that and not the name: for a key, whose bytes have to be the
            same, use it too.
        payload: The message's own bytes.
    """

    type: str | int
    payload: bytes

    def __post_init__(self) -> None:
        check_type(self.type)

    def __repr__(self) -> str:
        return f"Message({self.type!r}, {len(self.payload)} bytes)"


@dataclass(frozen=True, slots=True)
class EnumValue:
    """A constant of a protobuf enum: the enum's full name or type id, and its number."""

    type: str | int
    number: int

    def __post_init__(self) -> None:
        check_type(self.type)
        _check32("number", self.number)


class Container(list[Any]):
    """A list that says which Java collection or array it is.

    Attributes:
        type: "ArrayList", "IntArray" and so on for those of ProtoStream, else a full name or a
            type id. A plain list is an ArrayList.
        payload: What the container's own message holds: nothing, for those of ProtoStream.
    """

    __slots__ = ("payload", "type")

    def __init__(
        self, type: str | int, elements: Iterable[Any] = (), *, payload: bytes = b""
    ) -> None:
        check_type(type)
        super().__init__(elements)
        self.type = type
        self.payload = payload

    def __repr__(self) -> str:
        return f"Container({self.type!r}, {list.__repr__(self)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _container, (self.type, list(self), self.payload)


def _container(type: str | int, elements: list[Any], payload: bytes) -> Container:
    return Container(type, elements, payload=payload)
