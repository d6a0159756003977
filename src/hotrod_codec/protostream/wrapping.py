"""WrappedMessage: how ProtoStream, and so Infinispan, writes a key or value of any type.

Here: encode and decode, and the registry of the user's own messages. The format: [wire-extended 8].

Reading is as strict as Java's: exactly one scalar, or a type with exactly one message or number,
or a container. Bytes after a scalar are ignored, as Java ignores them. Stricter than Java: text
that is not UTF-8, a char, short or byte that does not fit, an enum's number without its type, and
a container with fewer elements than it claims are errors.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, runtime_checkable
from uuid import UUID

from hotrod_codec.errors import EncodeError, LimitError
from hotrod_codec.protostream import types as t
from hotrod_codec.protostream._commons import BY_PYTHON, BY_TYPE, COMMONS, PACKAGE, put_text
from hotrod_codec.protostream._fields import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Reader,
    as_bytes,
    put_bytes,
    put_varint,
    signed64,
    tag,
    tag_name,
    varint,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "MAX_DEPTH",
    "WRAPPED_MESSAGE_ID",
    "MessageTypes",
    "ProtobufMessage",
    "decode",
    "encode",
    "wire_type",
]

MAX_DEPTH: Final = 64
"""How deep containers may lie in each other."""

WRAPPED_MESSAGE_ID: Final = 0
"""The type id of WrappedMessage itself."""

_OP: Final = "WrappedMessage"

_TYPE_NAME, _MESSAGE, _ENUM, _TYPE_ID = (
    tag(16, BYTES),
    tag(17, BYTES),
    tag(18, VARINT),
    tag(19, VARINT),
)
_SECONDS, _NANOS, _NULL = tag(24, VARINT), tag(25, VARINT), tag(26, VARINT)
_SIZE, _CONTAINER_NAME, _CONTAINER_ID, _CONTAINER_MESSAGE = (
    tag(27, VARINT),
    tag(28, BYTES),
    tag(29, VARINT),
    tag(30, BYTES),
)
_CONTAINER_TAGS: Final = {_SIZE, _CONTAINER_NAME, _CONTAINER_ID, _CONTAINER_MESSAGE}
_NULL_ELEMENT: Final = varint(_NULL) + b"\x01"

# Java's containers and, where their elements have one, the type of these.
_CONTAINERS: Final[dict[str, str | None]] = {
    "ArrayList": None,
    "LinkedList": None,
    "HashSet": None,
    "LinkedHashSet": None,
    "TreeSet": None,
    "ObjectArray": None,
    "StringArray": "string",
    "BooleanArray": "bool",
    "ShortArray": "short",
    "IntArray": "int32",
    "LongArray": "int64",
    "FloatArray": "float",
    "DoubleArray": "double",
    "BoxedBooleanArray": "bool",
    "BoxedByteArray": "byte",
    "BoxedShortArray": "short",
    "BoxedIntegerArray": "int32",
    "BoxedLongArray": "int64",
    "BoxedFloatArray": "float",
    "BoxedDoubleArray": "double",
}


# --- the user's own messages ----------------------------------------------------------


@runtime_checkable
class ProtobufMessage(Protocol):
    """A message of the `protobuf` package, or what looks like one."""

    DESCRIPTOR: Any

    def SerializeToString(self) -> bytes: ...


class MessageTypes:
    """Which classes stand for which messages and enums of the schema.

        >>> types = MessageTypes()
        >>> types.add(Person).add(Address, type_id=100042)
        >>> decode(encode(person, types=types), types=types) == person
        True

    Encoding a `protobuf` message needs no registration unless its type has a @TypeId, which the
    classes made by protoc do not know.
    """

    def __init__(self) -> None:
        self._keys: dict[type, str | int] = {}
        self._readers: dict[str | int, Callable[[Any], Any]] = {}
        self._enums: dict[str | int, Callable[[int], Any]] = {}

    def add(
        self, message_class: Any, /, *, name: str | None = None, type_id: int | None = None
    ) -> Self:
        """Take `message_class` for a type.

        Args:
            message_class: A class of `protobuf`, or any with FromString(bytes) and
                SerializeToString().
            name: The message's full name; by default that of the class's DESCRIPTOR.
            type_id: Its @TypeId, if the schema has one: then it is written in place of the name.
        """
        if not hasattr(message_class, "FromString"):
            raise TypeError(f"{message_class!r} has no FromString; messages of protobuf have")
        name = name or str(message_class.DESCRIPTOR.full_name)
        return self._add(message_class, name, type_id, self._readers, message_class.FromString)

    def add_enum(
        self, enum_class: type[enum.IntEnum], /, *, name: str, type_id: int | None = None
    ) -> Self:
        """Take `enum_class` for the enum `name`. Decoding a number that it lacks is an error."""
        return self._add(enum_class, name, type_id, self._enums, enum_class)

    def _add(
        self,
        cls: type,
        name: str,
        type_id: int | None,
        table: dict[str | int, Callable[[Any], Any]],
        read: Callable[[Any], Any],
    ) -> Self:
        self._keys[cls] = name if type_id is None else type_id
        for key in (name, type_id):
            if key is not None:
                t._check_type(key)
                table[key] = read
        return self

    def key(self, cls: type) -> str | int | None:
        """What is written as the type of `cls`; None when it was not added."""
        return self._keys.get(cls)

    def message_reader(self, type: str | int) -> Callable[[bytes], Any] | None:
        return self._readers.get(type)

    def enum_reader(self, type: str | int) -> Callable[[int], Any] | None:
        return self._enums.get(type)


# --- scalars --------------------------------------------------------------------------


def _put_string(out: bytearray, value: str) -> None:
    put_text(out, 9, value, "string")


def _put_int64(out: bytearray, value: int) -> None:
    if not -(2**63) <= value < 2**63:
        raise EncodeError(
            f"a number of {value.bit_length()} bits does not fit into a Long; "
            "BigInteger holds any number",
            field="int64",
        )
    put_varint(out, 3, value)


def _put_float(out: bytearray, value: float) -> None:
    out.append(tag(2, FIXED32))
    out += struct.pack("<f", value)


def _put_double(out: bytearray, value: float) -> None:
    out.append(tag(1, FIXED64))
    out += struct.pack("<d", value)


def _fixed(number: int, size: int) -> Callable[[bytearray, int], None]:
    start = tag(number, FIXED32 if size == 4 else FIXED64)

    def put(out: bytearray, value: int) -> None:
        out.append(start)
        out += (value & (1 << 8 * size) - 1).to_bytes(size, "little")

    return put


def _varint(number: int) -> Callable[[bytearray, int], None]:
    return lambda out, value: put_varint(out, number, value)


def _zigzag(number: int) -> Callable[[bytearray, int], None]:
    return lambda out, value: put_varint(out, number, value << 1 ^ value >> 63)


def _put_instant(out: bytearray, value: t.Instant) -> None:
    put_varint(out, 24, value.seconds)
    put_varint(out, 25, value.nanos)


_PUT: Final[dict[type, Callable[[bytearray, Any], None]]] = {
    str: _put_string,
    bytes: lambda out, value: put_bytes(out, 10, value),
    bool: lambda out, value: put_varint(out, 8, value),
    int: _put_int64,
    float: _put_double,
    t.Int32: _varint(5),
    t.Int64: _varint(3),
    t.Float: _put_float,
    t.Char: lambda out, value: put_varint(out, 20, ord(value)),
    t.Short: _varint(21),
    t.Byte: _varint(22),
    t.Date: lambda out, value: put_varint(out, 23, value.millis),
    t.Instant: _put_instant,
    t.UInt64: _varint(4),
    t.Fixed64: _fixed(6, 8),
    t.Fixed32: _fixed(7, 4),
    t.UInt32: _varint(11),
    t.SFixed32: _fixed(12, 4),
    t.SFixed64: _fixed(13, 8),
    t.SInt32: _zigzag(14),
    t.SInt64: _zigzag(15),
}


def _narrow(number: int, name: str, low: int, high: int) -> Callable[[Reader], int]:
    def read(reader: Reader) -> int:
        start = reader.pos
        value = reader.int32(name)
        if not low <= value <= high:
            raise reader.error(f"{value} is not within {low} and {high}", name, start)
        return value

    return read


_read_char = _narrow(20, "char", 0, 0xFFFF)
_read_short = _narrow(21, "short", -(2**15), 2**15 - 1)
_read_byte = _narrow(22, "byte", -128, 127)


def _from_fixed(size: int, name: str, *, signed: bool) -> Callable[[Reader], int]:
    return lambda reader: int.from_bytes(reader.fixed(size, name), "little", signed=signed)


_read_fixed64 = _from_fixed(8, "fixed64", signed=False)
_read_fixed32 = _from_fixed(4, "fixed32", signed=False)
_read_sfixed64 = _from_fixed(8, "sfixed64", signed=True)
_read_sfixed32 = _from_fixed(4, "sfixed32", signed=True)


def _unzigzag(value: int) -> int:
    return value >> 1 ^ -(value & 1)


_GET: Final[dict[int, Callable[[Reader], Any]]] = {
    tag(1, FIXED64): lambda reader: struct.unpack("<d", reader.fixed(8, "double"))[0],
    tag(2, FIXED32): lambda reader: t.Float(struct.unpack("<f", reader.fixed(4, "float"))[0]),
    tag(3, VARINT): lambda reader: reader.int64("int64"),
    tag(4, VARINT): lambda reader: t.UInt64(reader.varint("uint64")),
    tag(5, VARINT): lambda reader: t.Int32(reader.int32("int32")),
    tag(6, FIXED64): lambda reader: t.Fixed64(_read_fixed64(reader)),
    tag(7, FIXED32): lambda reader: t.Fixed32(_read_fixed32(reader)),
    tag(8, VARINT): lambda reader: reader.bool("bool"),
    tag(9, BYTES): lambda reader: reader.text("string"),
    tag(10, BYTES): lambda reader: reader.bytes("bytes"),
    tag(11, VARINT): lambda reader: t.UInt32(reader.varint("uint32") & 0xFFFFFFFF),
    tag(12, FIXED32): lambda reader: t.SFixed32(_read_sfixed32(reader)),
    tag(13, FIXED64): lambda reader: t.SFixed64(_read_sfixed64(reader)),
    tag(14, VARINT): lambda reader: t.SInt32(_unzigzag(reader.varint("sint32") & 0xFFFFFFFF)),
    tag(15, VARINT): lambda reader: t.SInt64(_unzigzag(reader.varint("sint64"))),
    tag(20, VARINT): lambda reader: t.Char(chr(_read_char(reader))),
    tag(21, VARINT): lambda reader: t.Short(_read_short(reader)),
    tag(22, VARINT): lambda reader: t.Byte(_read_byte(reader)),
    tag(23, VARINT): lambda reader: t.Date(reader.int64("date")),
}


def _instance(cls: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not cls:
            raise TypeError(f"expected {cls.__name__}, got {type(value).__name__}")
        return value

    return check


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {type(value).__name__}")
    return float(value)


def _binary(value: Any) -> bytes:
    if isinstance(value, str):
        raise TypeError("expected bytes, got str")
    return as_bytes(value)


def _big_decimal(value: Any) -> Decimal:
    if isinstance(value, bool | float) or not isinstance(value, int | Decimal):
        raise TypeError(f"expected a Decimal or an int, got {type(value).__name__}")
    return Decimal(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected str, got {type(value).__name__}")
    return value[:] if type(value) is str else "".join(value)


# The `type` argument of encode: protobuf's names, those of Java's types in lower case, and commons.
_MAKE: Final[dict[str, Callable[[Any], Any]]] = {
    "string": _text,
    "bytes": _binary,
    "bool": _instance(bool),
    "int32": t.Int32,
    "int64": t.Int64,
    "float": t.Float,
    "double": _double,
    "char": t.Char,
    "short": t.Short,
    "byte": t.Byte,
    "date": lambda value: value if type(value) is t.Date else t.Date.of(value),
    "instant": lambda value: value if type(value) is t.Instant else t.Instant.of(value),
    "uint32": t.UInt32,
    "uint64": t.UInt64,
    "fixed32": t.Fixed32,
    "fixed64": t.Fixed64,
    "sfixed32": t.SFixed32,
    "sfixed64": t.SFixed64,
    "sint32": t.SInt32,
    "sint64": t.SInt64,
    "BigInteger": lambda value: t.BigInteger(t._Integer.__index__(value)),
    "BigDecimal": _big_decimal,
    "UUID": _instance(UUID),
    "LocalDate": lambda value: value if type(value) is t.LocalDate else t.LocalDate.of(value),
    "LocalTime": lambda value: value if type(value) is t.LocalTime else t.LocalTime.of(value),
    "LocalDateTime": lambda value: (
        value if type(value) is t.LocalDateTime else t.LocalDateTime.of(value)
    ),
}
