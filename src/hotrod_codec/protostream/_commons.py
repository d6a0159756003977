"""The messages of package org.infinispan.protostream.commons: UUID, BigDecimal, java.time.

One row for each type: how its payload is written and read. The wrapping around the payload is
wrapping.py's. Java's readers fail on an absent field; so does this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from hotrod_codec.errors import DecodeError, EncodeError, LimitError
from hotrod_codec.protostream import types
from hotrod_codec.protostream._fields import (
    BYTES,
    FIXED64,
    VARINT,
    Reader,
    put_bytes,
    put_varint,
    signed32,
    signed64,
    tag,
)

PACKAGE: Final = "org.infinispan.protostream.commons."

# Python needs quadratic time from binary to decimal digits.
_MAX_DECIMAL_BYTES: Final = 4096

_Fields = dict[int, Any]


@dataclass(frozen=True, slots=True)
class Common:
    """A row. `fields` are the tags that `read` may find, with what each must be."""

    name: str
    type_id: int | None
    python: type
    fields: tuple[int, ...]
    put: Callable[[bytearray, Any], None]
    get: Callable[[_Fields], Any]

    @property
    def full_name(self) -> str:
        return PACKAGE + self.name

    def payload(self, value: Any) -> bytes:
        out = bytearray()
        self.put(out, value)
        return bytes(out)

    def read(self, reader: Reader) -> Any:
        """The value of the message that `reader` is at the start of.

        Raises:
            DecodeError: A field is missing, or the values are none of this type.
        """
        start = reader.pos
        fields: _Fields = {}
        while reader.left:
            found = reader.tag()
            if found not in self.fields:
                reader.skip(found)
            elif found & 7 == VARINT:
                fields[found >> 3] = reader.varint(self.name)
            elif found & 7 == FIXED64:
                fields[found >> 3] = int.from_bytes(reader.fixed(8, self.name), "little")
            else:
                fields[found >> 3] = reader.inner(self.name)
        try:
            return self.get(fields)
        except KeyError as missing:
            raise reader.error(f"has no field {missing}", self.name, start) from None
        except DecodeError:
            raise
        except ValueError as problem:
            raise reader.error(str(problem), self.name, start) from None


def _varint(number: int) -> int:
    return tag(number, VARINT)


def _bytes(number: int) -> int:
    return tag(number, BYTES)


def _content(reader: Reader) -> bytes:
    return reader.data[reader.pos : reader.end]


def _text(reader: Reader) -> str:
    # The tag's length is behind us: read the rest as text.
    try:
        return _content(reader).decode()
    except UnicodeDecodeError as problem:
        raise reader.error(
            f"not UTF-8: {problem.reason}", "text", reader.pos + problem.start
        ) from None


def put_text(out: bytearray, number: int, value: str, field: str) -> None:
    try:
        data = value.encode()
    except UnicodeEncodeError as problem:
        raise EncodeError(f"cannot be UTF-8: {problem.reason}", field=field) from None
    put_bytes(out, number, data)


def _put_uuid(out: bytearray, value: UUID) -> None:
    out.append(tag(3, FIXED64))
    out += value.bytes[:8][::-1]
    out.append(tag(4, FIXED64))
    out += value.bytes[8:][::-1]


def _get_uuid(fields: _Fields) -> UUID:
    # 1 and 2 are the form of older writers.
    high, low = (1, 2) if 1 in fields else (3, 4)
    return UUID(int=fields[high] << 64 | fields[low])


def _two_complement(value: int) -> bytes:
    bits = (value if value >= 0 else ~value).bit_length()
    return value.to_bytes(bits // 8 + 1, "big", signed=True)


def _number(reader: Reader) -> int:
    if not reader.left:
        raise ValueError("a number of no bytes")
    return int.from_bytes(_content(reader), "big", signed=True)


def _put_big_decimal(out: bytearray, value: Decimal) -> None:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise EncodeError(f"{value} is no finite number", field="BigDecimal")
    if not -(2**31) <= -exponent < 2**31:
        raise EncodeError(f"a scale of {-exponent} does not fit into 32 bits", field="BigDecimal")
    # Through a Decimal without exponent: a str of so many digits may be forbidden.
    unscaled = int(Decimal((sign, digits, 0)))
    data = _two_complement(unscaled)
    if len(data) > _MAX_DECIMAL_BYTES:
        raise EncodeError(f"{len(data)} bytes, limit {_MAX_DECIMAL_BYTES}", field="BigDecimal")
    put_bytes(out, 1, data)
    put_varint(out, 2, -exponent)


def _get_big_decimal(fields: _Fields) -> Decimal:
    reader: Reader = fields[1]
    if reader.left > _MAX_DECIMAL_BYTES:
        raise LimitError(
            f"{reader.left} bytes, limit {_MAX_DECIMAL_BYTES}",
            op=reader.op,
            field="BigDecimal",
            offset=reader.pos,
        )
    sign, digits, _ = Decimal(_number(reader)).as_tuple()
    return Decimal((sign, digits, -signed32(fields.get(2, 0))))


def _put_local_date_time(out: bytearray, value: types.LocalDateTime) -> None:
    put_bytes(out, 1, LOCAL_DATE.payload(value.date))
    put_bytes(out, 2, LOCAL_TIME.payload(value.time))


def _put_offset_time(out: bytearray, value: types.OffsetTime) -> None:
    put_bytes(out, 1, LOCAL_TIME.payload(value.time))
    put_bytes(out, 2, ZONE_OFFSET.payload(types.ZoneOffset(value.offset)))


def _put_zoned(out: bytearray, value: types.ZonedDateTime) -> None:
    put_varint(out, 1, value.seconds)
    put_varint(out, 2, value.nanos)
    put_text(out, 3, value.zone, "ZonedDateTime")


def _put_period(out: bytearray, value: types.Period) -> None:
    put_varint(out, 1, value.years)
    put_varint(out, 2, value.months)
    put_varint(out, 3, value.days)


def _put_month_day(out: bytearray, value: types.MonthDay) -> None:
    put_varint(out, 1, value.month)
    put_varint(out, 2, value.day)


LOCAL_DATE: Final = Common(
    "LocalDate",
    None,
    types.LocalDate,
    (_varint(1),),
    lambda out, value: put_varint(out, 1, value.epoch_day),
    lambda fields: types.LocalDate(signed64(fields[1])),
)
LOCAL_TIME: Final = Common(
    "LocalTime",
    None,
    types.LocalTime,
    (_varint(1),),
    lambda out, value: put_varint(out, 1, value.nano_of_day),
    lambda fields: types.LocalTime(fields[1]),
)
ZONE_OFFSET: Final = Common(
    "ZoneOffset",
    None,
    types.ZoneOffset,
    (_bytes(1),),
    lambda out, value: put_text(out, 1, value.name, "ZoneOffset"),
    lambda fields: types.ZoneOffset(_text(fields[1])),
)

COMMONS: Final = (
    Common("UUID", 1005, UUID, (8, 16, 25, 33), _put_uuid, _get_uuid),
    Common(
        "BigInteger",
        None,
        types.BigInteger,
        (_bytes(1),),
        lambda out, value: put_bytes(out, 1, _two_complement(value)),
        lambda fields: types.BigInteger(_number(fields[1])),
    ),
    Common(
        "BigDecimal", None, Decimal, (_bytes(1), _varint(2)), _put_big_decimal, _get_big_decimal
    ),
    Common(
        "BitSet",
        1013,
        types.BitSet,
        (_bytes(1),),
        lambda out, value: put_bytes(out, 1, value.data),
        lambda fields: types.BitSet(_content(fields[1])),
    ),
    LOCAL_DATE,
    LOCAL_TIME,
    Common(
        "LocalDateTime",
        None,
        types.LocalDateTime,
        (_bytes(1), _bytes(2)),
        _put_local_date_time,
        lambda fields: types.LocalDateTime(LOCAL_DATE.read(fields[1]), LOCAL_TIME.read(fields[2])),
    ),
    Common(
        "ZonedDateTime",
        None,
        types.ZonedDateTime,
        (_varint(1), _varint(2), _bytes(3)),
        _put_zoned,
        lambda fields: types.ZonedDateTime(
            signed64(fields[1]), signed32(fields[2]), _text(fields[3])
        ),
    ),
    Common(
        "OffsetTime",
        None,
        types.OffsetTime,
        (_bytes(1), _bytes(2)),
        _put_offset_time,
        lambda fields: types.OffsetTime(
            LOCAL_TIME.read(fields[1]), ZONE_OFFSET.read(fields[2]).name
        ),
    ),
    Common(
        "ZoneId",
        None,
        types.ZoneId,
        (_bytes(1),),
        lambda out, value: put_text(out, 1, value.name, "ZoneId"),
        lambda fields: types.ZoneId(_text(fields[1])),
    ),
    ZONE_OFFSET,
    Common(
        "Year",
        None,
        types.Year,
        (_varint(1),),
        lambda out, value: put_varint(out, 1, value.year),
        lambda fields: types.Year(signed32(fields[1])),
    ),
    Common(
        "MonthDay",
        None,
        types.MonthDay,
        (_varint(1), _varint(2)),
        _put_month_day,
        lambda fields: types.MonthDay(signed32(fields[1]), signed32(fields[2])),
    ),
    Common(
        "Period",
        None,
        types.Period,
        (_varint(1), _varint(2), _varint(3)),
        _put_period,
        lambda fields: types.Period(*(signed32(fields[number]) for number in (1, 2, 3))),
    ),
)
"""All of them but Date and Instant, which have fields of their own in a WrappedMessage, and the
enum Month, which stays an EnumValue."""

BY_PYTHON: Final = {row.python: row for row in COMMONS}
BY_TYPE: Final[dict[str | int, Common]] = {row.full_name: row for row in COMMONS} | {
    row.type_id: row for row in COMMONS if row.type_id is not None
}
