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
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, runtime_checkable

from hotrod_codec._ext.scalars import fast_decode, fast_encode
from hotrod_codec.errors import EncodeError, LimitError
from hotrod_codec.protostream import types as t
from hotrod_codec.protostream._commons import BY_PYTHON, BY_TYPE, PACKAGE, put_text
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
    """A message of the `protobuf` package, or what looks like one. The package itself is never
    imported here."""

    DESCRIPTOR: Any

    def SerializeToString(self, *, deterministic: bool | None = None) -> bytes:
        """The bytes of the message; `deterministic`: of equal messages the same."""
        ...


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
            message_class: A class of `protobuf`, or any that has DESCRIPTOR, FromString and
                SerializeToString as those do.
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
                t.check_type(key)
                table[key] = read
        return self

    def key(self, cls: type) -> str | int | None:
        """What is written as the type of `cls`; None when it was not added."""
        return self._keys.get(cls)

    def message_reader(self, type: str | int) -> Callable[[bytes], Any] | None:
        """What makes messages of the type from their bytes; None: not added."""
        return self._readers.get(type)

    def enum_reader(self, type: str | int) -> Callable[[int], Any] | None:
        """What makes members of the enum from their numbers; None: not added."""
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


def _narrow(name: str, low: int, high: int) -> Callable[[Reader], int]:
    def read(reader: Reader) -> int:
        start = reader.pos
        value = reader.int32(name)
        if not low <= value <= high:
            raise reader.error(f"{value} is not within {low} and {high}", name, start)
        return value

    return read


_read_char = _narrow("char", 0, 0xFFFF)
_read_short = _narrow("short", -(2**15), 2**15 - 1)
_read_byte = _narrow("byte", -128, 127)


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
    tag(8, VARINT): lambda reader: reader.flag("bool"),
    tag(9, BYTES): lambda reader: reader.text("string"),
    tag(10, BYTES): lambda reader: reader.content("bytes"),
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


def _make_string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected str, got {type(value).__name__}")
    return str.__str__(value)  # of a subclass: the text alone


def _make_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        raise TypeError("expected bytes, got str")
    return as_bytes(value)


def _make_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected bool, got {type(value).__name__}")
    return value


def _make_double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {type(value).__name__}")
    return float(value)


def _make_date(value: Any) -> t.Date:
    return value if isinstance(value, t.Date) else t.Date.of(_moment(value))


def _make_instant(value: Any) -> t.Instant:
    return value if isinstance(value, t.Instant) else t.Instant.of(_moment(value))


def _moment(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"expected a datetime, got {type(value).__name__}")
    return value


# The scalars by name: what makes a value that is written as such.
_SCALARS: Final[dict[str, Callable[[Any], Any]]] = {
    "string": _make_string,
    "bytes": _make_bytes,
    "bool": _make_bool,
    "int32": t.Int32,
    "int64": t.Int64,
    "float": t.Float,
    "double": _make_double,
    "char": t.Char,
    "short": t.Short,
    "byte": t.Byte,
    "date": _make_date,
    "instant": _make_instant,
    "uint32": t.UInt32,
    "uint64": t.UInt64,
    "fixed32": t.Fixed32,
    "fixed64": t.Fixed64,
    "sfixed32": t.SFixed32,
    "sfixed64": t.SFixed64,
    "sint32": t.SInt32,
    "sint64": t.SInt64,
}

_NAMES: Final[dict[type, str]] = {
    str: "string",
    bytes: "bytes",
    bool: "bool",
    int: "int64",
    float: "double",
} | {cls: cls.__name__.lower() for cls in _PUT if cls.__module__ == t.__name__}


def _make(value: Any, type_name: str) -> Any:
    make = _SCALARS.get(type_name)
    if make is None:
        raise EncodeError(
            f"{type_name!r} is no scalar; there are {', '.join(_SCALARS)}", field="type"
        )
    try:
        return make(value)
    except TypeError as problem:
        raise TypeError(f"{type_name}: {problem}") from None
    except (ValueError, OverflowError) as problem:
        raise EncodeError(str(problem), field=type_name) from None


# --- encoding -------------------------------------------------------------------------


@fast_encode
def encode(value: Any, *, type: str | None = None, types: MessageTypes | None = None) -> bytes:
    """The whole of it; the documented `encode` only adds short ways (_ext/scalars.pyx)."""
    out = bytearray()
    if type is not None:
        value = _make(value, type)
    if value is not None:
        _put(out, value, types, 0)
    return bytes(out)


def wire_type(value: Any) -> str:
    """What `encode` makes of `value`: "int64", "string", "null", or the full name (or type id) of
    a message, an enum or a container."""
    if value is None:
        return "null"
    if isinstance(value, t.Message | t.EnumValue):
        return str(value.type)
    if isinstance(value, list | tuple):
        return str(_container_type(value))
    value = _plain(value)
    if (name := _NAMES.get(type(value))) is not None:
        return name
    if (common := BY_PYTHON.get(type(value))) is not None:
        return common.full_name
    raise TypeError(f"{type(value).__name__} has no type in ProtoStream")


def _plain(value: Any) -> Any:
    """The value of a type in our tables that stands for `value`."""
    cls = type(value)
    if cls in _PUT or cls in BY_PYTHON or isinstance(value, enum.Enum):
        return value
    if isinstance(value, datetime):
        return t.LocalDateTime.of(value) if value.tzinfo is None else t.Instant.of(value)
    if isinstance(value, date):
        return t.LocalDate.of(value)
    if isinstance(value, time):
        return t.LocalTime.of(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    # Subclasses of the user's own, such as numpy's float64.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return value


def _put(out: bytearray, value: Any, types: MessageTypes | None, depth: int) -> None:
    """All but null, which is written differently in a container."""
    if (put := _PUT.get(type(value))) is not None:
        put(out, value)
    elif isinstance(value, t.Message):
        _put_type(out, value.type, 16, 19)
        put_bytes(out, 17, value.payload)
    elif isinstance(value, t.EnumValue):
        _put_type(out, value.type, 16, 19)
        put_varint(out, 18, value.number)
    elif isinstance(value, list | tuple):
        _put_container(out, value, types, depth)
    elif (common := BY_PYTHON.get(type(value))) is not None:
        _put_type(out, common.type_id or common.full_name, 16, 19)
        put_bytes(out, 17, common.payload(value))
    elif isinstance(value, ProtobufMessage) and not isinstance(value, type):
        _put_user_message(out, value, types)
    elif isinstance(value, enum.Enum):
        _put_user_enum(out, value, types)
    else:
        try:
            plain = _plain(value)
        except ValueError as problem:
            raise EncodeError(str(problem), field=type(value).__name__) from None
        if plain is value:
            raise TypeError(
                f"{type(value).__name__} has no type in ProtoStream; Message takes the bytes of "
                "any message of the schema, Container says which collection a list is"
            )
        _put(out, plain, types, depth)


def _put_type(out: bytearray, type: str | int, name_field: int, id_field: int) -> None:
    if isinstance(type, int):
        put_varint(out, id_field, type)
    else:
        put_text(out, name_field, type, "type")


def _put_user_message(out: bytearray, value: ProtobufMessage, types: MessageTypes | None) -> None:
    key = types.key(type(value)) if types is not None else None
    _put_type(out, key if key is not None else str(value.DESCRIPTOR.full_name), 16, 19)
    try:
        # Maps in one order: the bytes may be a key.
        payload = value.SerializeToString(deterministic=True)
    except Exception as problem:  # of protobuf, which we do not import to name it
        raise EncodeError(str(problem), field=type(value).__name__) from problem
    put_bytes(out, 17, payload)


def _put_user_enum(out: bytearray, value: enum.Enum, types: MessageTypes | None) -> None:
    key = types.key(type(value)) if types is not None else None
    if key is None:
        raise TypeError(
            f"{type(value).__name__} is not known; MessageTypes.add_enum says which enum of the "
            "schema it is"
        )
    _put_type(out, key, 16, 19)
    put_varint(out, 18, value.value)


def _container_type(value: list[Any] | tuple[Any, ...]) -> str | int:
    name = value.type if isinstance(value, t.Container) else "ArrayList"
    return PACKAGE + name if name in _CONTAINERS else name


def _put_container(
    out: bytearray, value: list[Any] | tuple[Any, ...], types: MessageTypes | None, depth: int
) -> None:
    if depth >= MAX_DEPTH:
        raise EncodeError(f"containers lie in each other {depth} deep", field="container")
    container = _container_type(value)
    _put_type(out, container, 28, 29)
    put_varint(out, 27, len(value))
    put_bytes(out, 30, value.payload if isinstance(value, t.Container) else b"")
    wants = _element_type(container)
    for element in value:
        if element is None:
            out += _NULL_ELEMENT
            continue
        if wants is not None:
            element = _make(element, wants)
        start = len(out)
        _put(out, element, types, depth + 1)
        # A scalar stands by itself; all else is wrapped once more, to say where it ends.
        if not _is_scalar(out, start):
            inner = bytes(out[start:])
            del out[start:]
            put_bytes(out, 17, inner)


def _element_type(container: str | int) -> str | None:
    if isinstance(container, int) or not container.startswith(PACKAGE):
        return None
    return _CONTAINERS.get(container.removeprefix(PACKAGE))


def _is_scalar(out: bytearray, start: int) -> bool:
    value = out[start] if out[start] < 0x80 else out[start] & 0x7F | out[start + 1] << 7
    return value in _GET


# --- decoding -------------------------------------------------------------------------


@fast_decode
def decode(
    data: Buffer, /, *, types: MessageTypes | None = None, max_depth: int = MAX_DEPTH
) -> Any:
    """The whole of it; the documented `decode` only adds short ways (_ext/scalars.pyx)."""
    reader = Reader(as_bytes(data), _OP)
    return _read(reader, types, max_depth, nulls=False)


def _read(reader: Reader, types: MessageTypes | None, depth: int, *, nulls: bool) -> Any:
    if not reader.left:
        return None
    start = reader.pos
    found = reader.tag()
    if (get := _GET.get(found)) is not None:
        return get(reader)
    if found == _NULL:
        if not nulls:
            raise reader.error("a null outside of a container", tag_name(found), start)
        reader.flag("null")
        return None
    if found in _CONTAINER_TAGS:
        reader.pos = start
        return _read_container(reader, types, depth)
    reader.pos = start
    return _read_typed(reader, types, depth)


# Field: name for errors.
_TYPED: Final = {
    _TYPE_NAME: "type name",
    _TYPE_ID: "type id",
    _MESSAGE: "message",
    _ENUM: "enum",
    _SECONDS: "seconds",
    _NANOS: "nanos",
}


def _read_typed(reader: Reader, types: MessageTypes | None, depth: int) -> Any:
    start = reader.pos
    fields: dict[int, Any] = {}
    places: dict[int, int] = {}
    while reader.left:
        place = reader.pos
        found = reader.tag()
        name = _TYPED.get(found)
        if name is None:
            raise reader.error("unexpected", tag_name(found), place)
        if found in fields:
            raise reader.error("there twice", name, place)
        places[found] = place
        if found == _TYPE_NAME:
            fields[found] = reader.text(name)
        elif found == _MESSAGE:
            fields[found] = reader.inner(name)
        elif found in (_TYPE_ID, _ENUM, _NANOS):
            fields[found] = reader.int32(name)
        else:
            fields[found] = reader.int64(name)
    there = set(fields)
    if there == {_SECONDS, _NANOS}:
        # Java takes any number here and carries over.
        carry, nanos = divmod(fields[_NANOS], 10**9)
        return t.Instant(signed64(fields[_SECONDS] + carry), nanos)
    for type_tag in (_TYPE_NAME, _TYPE_ID):
        if there in ({type_tag, _MESSAGE}, {type_tag, _ENUM}):
            break
    else:
        raise reader.error(
            f"has {' and '.join(_TYPED[found] for found in fields)}; wants a type name or a type "
            "id with a message or an enum, or seconds with nanos",
            "value",
            start,
        )
    key: str | int = fields[type_tag]
    if not _is_type(key):
        raise reader.error(f"{key!r} is no type", _TYPED[type_tag], places[type_tag])
    if _ENUM in fields:
        return _read_enum(reader, key, fields[_ENUM], types, places[_ENUM])
    return _read_message(fields[_MESSAGE], key, types)


def _is_type(key: str | int) -> bool:
    return key != "" if isinstance(key, str) else key >= 0


def _read_enum(
    reader: Reader, key: str | int, number: int, types: MessageTypes | None, place: int
) -> Any:
    read = types.enum_reader(key) if types is not None else None
    if read is None:
        return t.EnumValue(key, number)
    try:
        return read(number)
    except ValueError as problem:
        raise reader.error(str(problem), "enum", place) from None


def _read_message(reader: Reader, key: str | int, types: MessageTypes | None) -> Any:
    payload = reader.data[reader.pos : reader.end]
    read = types.message_reader(key) if types is not None else None
    if read is not None:
        start = reader.pos
        try:
            return read(payload)
        except Exception as problem:  # of protobuf, which we do not import to name it
            raise reader.error(f"{key}: {problem}", "message", start) from problem
    common = BY_TYPE.get(key)
    return common.read(reader) if common is not None else t.Message(key, payload)


def _read_container(reader: Reader, types: MessageTypes | None, depth: int) -> Any:
    start = reader.pos
    if depth <= 0:
        raise LimitError(
            "containers lie in each other deeper than max_depth",
            op=reader.op,
            field="container",
            offset=start,
        )
    fields: dict[int, Any] = {}
    for _ in range(3):
        place = reader.pos
        if not reader.left:
            raise reader.error("wants a type, a size and a message", "container", start)
        found = reader.tag()
        if found not in _CONTAINER_TAGS or found in fields:
            raise reader.error("unexpected", tag_name(found), place)
        if found == _CONTAINER_NAME:
            fields[found] = reader.text("container type")
        elif found == _CONTAINER_MESSAGE:
            fields[found] = reader.content("container message")
        else:
            fields[found] = reader.int32("container size" if found == _SIZE else "container type")
    key: str | int = fields.get(_CONTAINER_NAME, fields.get(_CONTAINER_ID, ""))
    if _SIZE not in fields or _CONTAINER_MESSAGE not in fields:
        raise reader.error("wants a type, a size and a message", "container", start)
    if not _is_type(key):
        raise reader.error(f"{key!r} is no type", "container type", start)
    size: int = fields[_SIZE]
    # The shortest element takes two bytes.
    if not 0 <= size <= reader.left // 2:
        raise reader.error(
            f"claims {size} elements, {reader.left} bytes left", "container size", start
        )
    wants = _element_type(key)
    elements = []
    for index in range(size):
        place = reader.pos
        element = _read_element(reader, types, depth - 1)
        if wants is not None and element is not None and _NAMES.get(type(element)) != wants:
            raise reader.error(f"no {wants}", f"element {index}", place)
        elements.append(element)
    if reader.left:
        raise reader.error(f"{reader.left} bytes after the last element", "container", reader.pos)
    if isinstance(key, str) and key.removeprefix(PACKAGE) in _CONTAINERS:
        key = key.removeprefix(PACKAGE)
    if key == "ArrayList" and not fields[_CONTAINER_MESSAGE]:
        return elements
    return t.Container(key, elements, payload=fields[_CONTAINER_MESSAGE])


def _read_element(reader: Reader, types: MessageTypes | None, depth: int) -> Any:
    place = reader.pos
    found = reader.tag()
    if (get := _GET.get(found)) is not None:
        return get(reader)
    if found == _NULL:
        reader.flag("null")
        return None
    if found != _MESSAGE:
        raise reader.error("unexpected", f"element: {tag_name(found)}", place)
    return _read(reader.inner("element"), types, depth, nulls=True)
