"""hotrod_codec.protostream against what Java writes and reads, what servers and clients said, and
whatever bytes there may be.

The recorded encodings are those of vectors/protostream.json.gz; the rows of COMMONS and READ were
written and read by protostream 6.0.4 and 5.0.14 in the same way.
"""

from __future__ import annotations

import enum
import importlib
import json
import math
import pickle
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import test_reference
import vector_data
from hotrod_codec import DecodeError, EncodeError, LimitError, MediaType, Version
from hotrod_codec import protostream as ps
from hotrod_codec.protostream import schemas
from test_reference import Frame

VECTORS = vector_data.protostream()
ENCODED = VECTORS["encode_vectors"]
READ_BY_JAVA = VECTORS["decode_vectors"]
COMMONS = "org.infinispan.protostream.commons."


def same(one: Any, other: Any) -> bool:
    """Equal and of the same types, with NaN equal to itself and 0.0 not to -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    if isinstance(one, list):
        return (
            len(one) == len(other)
            and getattr(one, "type", None) == getattr(other, "type", None)
            and all(map(same, one, other))
        )
    return bool(one == other)


# --- what Java wrote ------------------------------------------------------------------


def message(vector: dict[str, Any]) -> ps.Message:
    """The vectors' messages, written field by field."""

    def person(value: dict[str, Any]) -> bytes:
        out = b""
        for tag, name in ((b"\x0a", "name"), (b"\x12", ""), (b"\x1a", "tags")):
            for text in [value[name]] if name == "name" and name in value else value.get(name, []):
                out += tag + bytes([len(text)]) + text.encode()
            if tag == b"\x12" and "age" in value:
                out += b"\x10" + bytes([value["age"]])
        if "addr" in value:
            street = value["addr"]["street"].encode()
            out += b"\x22" + bytes([len(street) + 2]) + b"\x0a" + bytes([len(street)]) + street
        return out

    if vector["kind"] == "example.Person":
        return ps.Message("example.Person", person(vector["value"]))
    return typed(vector["value"])


def typed(value: dict[str, str]) -> ps.Message:
    text = value["s"].encode()
    return ps.Message(100042, b"\x0a" + bytes([len(text)]) + text)


def java_double(vector: dict[str, Any]) -> float:
    return float(vector["value"].replace("Infinity", "inf"))


def local(text: str) -> tuple[ps.LocalDate, ps.LocalTime]:
    """A date and a time of day with nanoseconds."""
    day, _, clock = text.partition("T")
    whole, _, fraction = clock.partition(".")
    nanos = ps.LocalTime.of(time.fromisoformat(whole or "00:00")).nano_of_day
    return (
        ps.LocalDate.of(date.fromisoformat(day)),
        ps.LocalTime(nanos + int(fraction.ljust(9, "0") or 0)),
    )


ENUMS = {
    "RED": ps.EnumValue("example.Color", 1),
    "GREEN": ps.EnumValue("example.Color", 2),
    "BLUE": ps.EnumValue(100043, 0),
    "PINK": ps.EnumValue(100043, 1),
}
# By the first word of a vector's name: its value in Python.
VALUES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "string": lambda v: v["value"],
    "int32": lambda v: ps.Int32(v["value"]),
    "int64": lambda v: v["value"],
    "double": java_double,
    "float": lambda v: ps.Float(java_double(v)),
    "bool": lambda v: v["value"],
    "bytes": lambda v: bytes.fromhex(v["value"]),
    "byte": lambda v: ps.Byte(v["value"]),
    "short": lambda v: ps.Short(v["value"]),
    "char": lambda v: ps.Char(chr(v["value"])),
    "date": lambda v: ps.Date(v["value"]),
    "instant": lambda v: ps.Instant(v["value"]["seconds"], v["value"]["nanos"]),
    "null": lambda v: None,
    "uuid": lambda v: UUID(v["value"]),
    "bigint": lambda v: ps.BigInteger(v["value"]),
    "bigdecimal": lambda v: Decimal(v["value"]),
    "localdate": lambda v: local(v["value"])[0],
    "localtime": lambda v: local("1970-01-01T" + v["value"])[1],
    "localdatetime": lambda v: ps.LocalDateTime(*local(v["value"])),
    "zoneddatetime": lambda v: ps.ZonedDateTime(
        int(datetime.fromisoformat(v["value"]).timestamp()), 0, "Z"
    ),
    "message": message,
    "enum": lambda v: ENUMS[v["value"]],
    "list": lambda v: [element(item) for item in v["value"]],
    "set": lambda v: ps.Container("LinkedHashSet", map(ps.Int32, v["value"])),
    "array": lambda v: ps.Container(
        {"string": "StringArray", "int": "IntArray", "object": "ObjectArray", "long": "LongArray"}[
            v["name"].split("/")[1]
        ],
        v["value"] if v["name"] == "array/long" else map(element, v["value"]),
    ),
}


def element(value: Any) -> Any:
    """Numbers in the vectors' lists are Java's Integers."""
    if isinstance(value, dict):
        return typed(value)
    return ps.Int32(value) if type(value) is int else value


def test_all_recorded_encodings_are_here() -> None:
    assert (len(ENCODED), len(READ_BY_JAVA)) == (105, 27)
    assert {vector["name"].split("/")[0] for vector in ENCODED} == set(VALUES)


@pytest.mark.parametrize("vector", ENCODED, ids=lambda v: v["name"])
def test_java_encoding(vector: dict[str, Any]) -> None:
    value = VALUES[vector["name"].split("/")[0]](vector)
    data = bytes.fromhex(vector["hex"])
    assert ps.encode(value) == data
    decoded = ps.decode(data)
    assert same(decoded, value)
    assert ps.encode(decoded) == data


@pytest.mark.parametrize("vector", ENCODED, ids=lambda v: v["name"])
def test_every_proper_prefix_of_a_java_encoding_is_an_error(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    for n in range(1, len(data)):
        with pytest.raises(DecodeError) as caught:
            ps.decode(data[:n])
        assert 0 <= caught.value.offset <= n
        assert caught.value.op == "WrappedMessage"


# Java knows the schema, this package does not unless it is told.
NEEDS_SCHEMA = {
    "enum unknown value": ps.EnumValue("example.Color", 9),
    "unknown type name": ps.Message("Nop", b""),
    "unknown type id": ps.Message(2097151, b""),
}


@pytest.mark.parametrize("vector", READ_BY_JAVA, ids=lambda v: v["name"])
def test_what_java_reads(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    if vector["name"] in NEEDS_SCHEMA:
        assert same(ps.decode(data), NEEDS_SCHEMA[vector["name"]])
        return
    if "java_error" in vector:
        with pytest.raises(DecodeError):
            ps.decode(data)
        return
    value = ps.decode(data)
    java = vector["java_class"].rpartition(".")[2]
    if java in ("Integer", "Long"):
        assert getattr(value, "java", value) == int(vector["java_value"])
        wide = isinstance(value, ps.UInt64 | ps.Fixed64 | ps.SFixed64 | ps.SInt64)
        assert wide == (java == "Long")
    elif java == "String":
        assert same(value, vector["java_value"])
    elif java == "Instant":
        assert same(value, ps.Instant(7, 5))
    elif java == "Color":
        assert same(value, ENUMS[vector["java_value"]])
    else:
        assert java == "Typed"
        assert value.type in (100042, "example.Typed")
        assert value.payload.startswith(b"\x0a\x01z")


def test_an_enum_that_is_known_has_no_unknown_numbers() -> None:
    class Color(enum.IntEnum):
        RED = 1
        GREEN = 2

    types = ps.MessageTypes().add_enum(Color, name="example.Color")
    assert ps.decode(ps.encode(Color.GREEN, types=types), types=types) is Color.GREEN
    assert ps.encode(Color.GREEN, types=types) == ps.encode(ENUMS["GREEN"])
    with pytest.raises(DecodeError, match="9 is not a valid"):
        ps.decode(ps.encode(ps.EnumValue("example.Color", 9)), types=types)
    with pytest.raises(TypeError, match="add_enum"):
        ps.encode(Color.RED)


def test_integers_that_java_never_writes_are_written_too() -> None:
    for vector in READ_BY_JAVA[:8]:
        data = bytes.fromhex(vector["hex"])
        assert ps.encode(ps.decode(data)) == data


# Name in the package commons, value, payload as Java writes it.
COMMONS_OF_JAVA: list[tuple[str, Any, str]] = [
    ("BigDecimal", Decimal("0"), "0a01001000"),
    ("BigDecimal", Decimal("100"), "0a01641000"),
    ("BigDecimal", Decimal("1E+5"), "0a010110fbffffffffffffffff01"),
    ("BigDecimal", Decimal("-0.001"), "0a01ff1003"),
    ("BigInteger", ps.BigInteger(0), "0a0100"),
    ("BigInteger", ps.BigInteger(128), "0a020080"),
    ("BigInteger", ps.BigInteger(-128), "0a0180"),
    ("BigInteger", ps.BigInteger(-129), "0a02ff7f"),
    ("BigInteger", ps.BigInteger(255), "0a0200ff"),
    ("LocalDate", ps.LocalDate(0), "0800"),
    ("LocalDate", ps.LocalDate(-1), "08ffffffffffffffffff01"),
    ("LocalDate", ps.LocalDate(365241780471), "08f791edd0d00a"),
    ("LocalDate", ps.LocalDate(-365243219162), "08a686bbaeaff5ffffff01"),
    ("LocalTime", ps.LocalTime(0), "0800"),
    ("LocalTime", ps.LocalTime(86399999999999), "08ffffbb8ac9d213"),
    ("LocalDateTime", ps.LocalDateTime(ps.LocalDate(0), ps.LocalTime(0)), "0a02080012020800"),
    (
        "LocalDateTime",
        ps.LocalDateTime.of(datetime(1900, 1, 1, 1, 1, 1, 1)),
        "0a0b08a1b8feffffffffffff01120708e88beba4c66a",
    ),
    ("MonthDay", ps.MonthDay(2, 29), "0802101d"),
    (
        "OffsetTime",
        ps.OffsetTime(ps.LocalTime(3723000000004), "+05:30"),
        "0a070884dcdea0ad6c12080a062b30353a3330",
    ),
    ("OffsetTime", ps.OffsetTime(ps.LocalTime(0), "Z"), "0a02080012030a015a"),
    ("Period", ps.Period(1, 2, 3), "080110021803"),
    ("Period", ps.Period(), "080010001800"),
    ("Period", ps.Period(-1, 0, 5), "08ffffffffffffffffff0110001805"),
    ("Year", ps.Year(2024), "08e80f"),
    ("Year", ps.Year(-1), "08ffffffffffffffffff01"),
    ("Year", ps.Year(0), "0800"),
    ("ZoneId", ps.ZoneId("Europe/Paris"), "0a0c4575726f70652f5061726973"),
    ("ZoneOffset", ps.ZoneOffset("-03:00"), "0a062d30333a3030"),
    ("ZoneOffset", ps.ZoneOffset("Z"), "0a015a"),
    (
        "ZonedDateTime",
        ps.ZonedDateTime(1709206496, 789, "Europe/Paris"),
        "08e0d781af061095061a0c4575726f70652f5061726973",
    ),
    (
        "ZonedDateTime",
        ps.ZonedDateTime(-2208996000, 5, "+02:00"),
        "08e0cad5e2f7ffffffff0110051a062b30323a3030",
    ),
]
COMMONS_BY_ID: list[tuple[int, str, Any, str]] = [
    (1005, "UUID", UUID(int=0), "190000000000000000210000000000000000"),
    (1005, "UUID", UUID(int=2**128 - 2), "19ffffffffffffffff21feffffffffffffff"),
    (1013, "BitSet", ps.BitSet(b""), "0a00"),
    (1013, "BitSet", ps.BitSet.of([0, 9]), "0a020102"),
]


def by_name(name: str, payload: str) -> bytes:
    """The wrapping of a message of the package commons, as Java writes it."""
    full = (COMMONS + name).encode()
    body = bytes.fromhex(payload)
    return b"\x82\x01" + bytes([len(full)]) + full + b"\x8a\x01" + bytes([len(body)]) + body


@pytest.mark.parametrize(("name", "value", "payload"), COMMONS_OF_JAVA)
def test_java_type(name: str, value: Any, payload: str) -> None:
    assert ps.encode(value) == by_name(name, payload)
    assert same(ps.decode(by_name(name, payload)), value)
    assert ps.wire_type(value) == COMMONS + name


@pytest.mark.parametrize(("type_id", "name", "value", "payload"), COMMONS_BY_ID)
def test_java_type_with_a_type_id(type_id: int, name: str, value: Any, payload: str) -> None:
    body = bytes.fromhex(payload)
    key = bytes([type_id & 0x7F | 0x80, type_id >> 7])
    data = b"\x98\x01" + key + b"\x8a\x01" + bytes([len(body)]) + body
    assert ps.encode(value) == data
    assert same(ps.decode(data), value)
    assert same(ps.decode(by_name(name, payload)), value), "readers take the name as well"


def test_uuid_in_the_form_of_older_writers() -> None:
    assert ps.decode(bytes.fromhex("9801ed078a010408011002")) == UUID(int=1 << 64 | 2)


def test_a_month_stays_an_enum() -> None:
    name = (COMMONS + "Month").encode()
    data = b"\x82\x01" + bytes([len(name)]) + name + b"\x90\x01\x0b"
    assert ps.decode(data) == ps.EnumValue(COMMONS + "Month", 11)
    assert ps.encode(ps.decode(data)) == data


# Type, elements in Python, elements as Java writes them.
CONTAINERS_OF_JAVA: list[tuple[str, list[Any], str]] = [
    ("LinkedList", ["a"], "4a0161"),
    ("HashSet", ["a"], "4a0161"),
    ("TreeSet", [ps.Int32(1), ps.Int32(2)], "28012802"),
    ("BooleanArray", [True, False], "40014000"),
    ("ShortArray", [1, -1], "a80101a801ffffffffffffffffff01"),
    ("FloatArray", [1.5], "150000c03f"),
    ("DoubleArray", [1.5], "09000000000000f83f"),
    ("BoxedBooleanArray", [True, None], "4001d00101"),
    ("BoxedByteArray", [1, None], "b00101d00101"),
    ("BoxedShortArray", [2], "a80102"),
    ("BoxedIntegerArray", [3, None], "2803d00101"),
    ("BoxedLongArray", [4], "1804"),
    ("BoxedFloatArray", [1], "150000803f"),
    ("BoxedDoubleArray", [2], "090000000000000040"),
    ("StringArray", ["x", None], "4a0178d00101"),
    (
        "ObjectArray",
        [
            UUID(int=1 << 64 | 2),
            date(1970, 1, 2),
            ps.Instant(5, 6),
            ps.Date(7),
            ps.Char("c"),
            ps.Short(1),
            ps.Byte(2),
            ps.Float(1),
            2.0,
            5,
            b"\x01",
            None,
            ps.EnumValue(COMMONS + "Month", 4),
        ],
        "8a01199801ed078a011219010000000000000021020000000000000"
        "08a013482012c6f72672e696e66696e697370616e2e70726f746f73747265616d2e636f6d6d6f6e732e4c6f63"
        "616c446174658a010208018a0106c00105c80106b80107a00163a80101b00102150000803f09000000000000"
        "00401805520101d001018a012e8201286f72672e696e66696e697370616e2e70726f746f73747265616d2e63"
        "6f6d6d6f6e732e4d6f6e7468900104",
    ),
    (
        "ArrayList",
        [[[], None], ps.Instant(0), UUID(int=1 << 64 | 2)],
        "8a0170e2012c6f72672e696e66696e697370616e2e70726f746f73747265616d2e636f6d6d6f6e732e417272"
        "61794c697374d80102f201008a0135e2012c6f72672e696e66696e697370616e2e70726f746f73747265616d"
        "2e636f6d6d6f6e732e41727261794c697374d80100f20100d001018a0106c00100c801008a01199801ed078a"
        "0112190100000000000000210200000000000000",
    ),
]


def container(name: str, size: int, elements: str) -> bytes:
    full = (COMMONS + name).encode()
    head = b"\xe2\x01" + bytes([len(full)]) + full + b"\xd8\x01" + bytes([size]) + b"\xf2\x01\x00"
    return head + bytes.fromhex(elements)


@pytest.mark.parametrize(("name", "elements", "data"), CONTAINERS_OF_JAVA)
def test_java_container(name: str, elements: list[Any], data: str) -> None:
    wanted = container(name, len(elements), data)
    assert ps.encode(ps.Container(name, elements)) == wanted
    assert ps.encode(ps.Container(COMMONS + name, elements)) == wanted
    decoded = ps.decode(wanted)
    assert getattr(decoded, "type", "ArrayList") == name
    assert ps.encode(decoded) == wanted
    for n in range(1, len(wanted)):
        with pytest.raises(DecodeError):
            ps.decode(wanted[:n])


LIST = container("ArrayList", 1, "").hex()
# How Java reads odd bytes: a value, or None where it fails.
ODD: list[tuple[str, Any]] = [
    ("a801ffffffff0f", ps.Short(-1)),
    ("c00100c801ffffffffffffffffff01", ps.Instant(-1, 999_999_999)),
    ("c00100c8018094ebdc03", ps.Instant(1)),
    ("28ffffffffffffffffff7f", ps.Int32(-1)),
    ("28ffffffffffffffffff8001", None),
    ("408000", None),  # 5.0 reads false
    ("0900000000000000", None),
    (LIST + "28014a00", None),
    (LIST + "8a0100", [None]),
    (LIST + "8a01024a00", [""]),
    (LIST + "8a0103d00101", [None]),
    (LIST + "d00100", [None]),
    ("9801ed078a0104080110018a010408011001", None),
    ("9801ed078a01020801", None),
    ("9801ed078a0100", None),
    (by_name("BigInteger", "0a00").hex(), None),
    (by_name("BigInteger", "").hex(), None),
    (by_name("LocalDate", "").hex(), None),
    (by_name("BigDecimal", "0a023039").hex(), Decimal(12345)),
    ("9801009801009801008a0100", None),
    ("8a01008a0100", None),
    ("8201002801", None),
    ("0128", None),
    ("00", None),
    ("4a", None),
    ("8100", None),
    ("888080808010", None),
    ("8a800100", None),
]


@pytest.mark.parametrize(("data", "value"), ODD)
def test_odd_bytes_are_read_as_java_reads_them(data: str, value: Any) -> None:
    if value is not None:
        assert same(ps.decode(bytes.fromhex(data)), value)
        return
    with pytest.raises(DecodeError):
        ps.decode(bytes.fromhex(data))


def test_the_fields_of_a_container_may_come_in_any_order() -> None:
    name = (COMMONS + "ArrayList").encode()
    data = b"\xd8\x01\x01\xe2\x01" + bytes([len(name)]) + name + b"\xf2\x01\x00\x4a\x00"
    assert ps.decode(data) == [""]


# Read by Java in a way that loses or makes up something.
STRICTER: list[tuple[str, str]] = [
    ("900101", "has enum"),  # null
    ("a001f0a204", "70000 is not within 0 and 65535"),  # another char
    ("a801ffffff0f", "33554431 is not within -32768 and 32767"),  # -1
    ("b001ac02", "300 is not within -128 and 127"),  # 44
    ("c00107c00108", "there twice"),  # the second
    ("4a02ff61", "not UTF-8"),  # U+FFFD
    (LIST, "claims 1 elements, 0 bytes left"),  # a list of null
    (container("IntArray", 1, "5801").hex(), "element 0 at byte 52: no int32"),  # 1
]


@pytest.mark.parametrize(("data", "problem"), STRICTER)
def test_stricter_than_java(data: str, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        ps.decode(bytes.fromhex(data))


# --- Python's types -------------------------------------------------------------------


def test_the_type_of_an_int_does_not_depend_on_its_size() -> None:
    assert ps.encode(1).hex() == "1801"
    assert ps.encode(2**62)[0] == 0x18
    assert ps.encode(ps.Int32(1)).hex() == "2801"
    with pytest.raises(EncodeError, match="64 bits does not fit into a Long; BigInteger"):
        ps.encode(2**63)
    assert ps.encode(-(2**63)) == bytes.fromhex("1880808080808080808001")
    assert ps.decode(ps.encode(ps.BigInteger(2**63))) == 2**63


def test_a_number_with_a_wire_type_is_a_number() -> None:
    five = ps.Int32(5)
    assert five == 5
    assert five in {5}
    assert f"{five} {five!r}" == "5 Int32(5)"
    assert json.dumps([five, ps.Float(0.5), ps.Char("c")]) == '[5, 0.5, "c"]'
    assert type(five + 1) is int
    assert f"{ps.Float(0.5)} {ps.Float(0.5)!r}" == "0.5 Float(0.5)"
    assert f"{ps.Char('c')} {ps.Char('c')!r}" == "c Char('c')"
    assert f"{ps.BigInteger(7)} {ps.BigInteger(7)!r}" == "7 BigInteger(7)"
    assert ps.Float(0.1) == struct.unpack("<f", struct.pack("<f", 0.1))[0]
    assert ps.UInt32(2**32 - 1).java == -1
    assert ps.UInt64(5).java == 5
    assert ps.Int32(-5).java == -5


@pytest.mark.parametrize(
    "value",
    [ps.Int32(5), ps.Float(0.5), ps.Char("c"), ps.BigInteger(7), ps.Container("HashSet", [1])],
)
def test_values_survive_pickling_by_the_user(value: Any) -> None:
    assert same(pickle.loads(pickle.dumps(value)), value)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (ps.Int32, 2**31),
        (ps.Int64, -(2**63) - 1),
        (ps.Short, 32768),
        (ps.Byte, 128),
        (ps.UInt32, -1),
        (ps.UInt64, 2**64),
        (ps.Float, 1e39),
        (ps.Char, "ab"),
        (ps.Char, "\U0001f600"),
        (ps.Date, 2**63),
        (ps.LocalTime, -1),
        (ps.Year, 2**31),
        (lambda value: ps.Instant(0, value), 10**9),
        (lambda value: ps.MonthDay(value, 1), 13),
        (lambda value: ps.Message(value, b""), -1),
        (lambda value: ps.EnumValue(value, 1), ""),
        (lambda value: ps.EnumValue("x", value), 2**31),
        (ps.Instant.of, datetime(2024, 1, 1)),
        (ps.LocalDateTime.of, datetime(2024, 1, 1, tzinfo=UTC)),
        (ps.LocalTime.of, time(1, tzinfo=UTC)),
    ],
)
def test_values_that_do_not_fit(make: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        make(wrong)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (ps.Int32, True),
        (ps.Int32, "5"),
        (ps.Int32, 5.0),
        (ps.Float, "5"),
        (ps.Float, True),
        (ps.Char, 99),
        (lambda value: ps.Message(value, b""), True),
        (lambda value: ps.Container(value), None),
        (ps.encode, object()),
        (ps.encode, {"a": 1}),
        (ps.encode, {1, 2}),
        (ps.encode, 1j),
        (ps.encode, [object()]),
        (ps.encode, int),
        (lambda value: ps.encode(value, type="string"), b"a"),
        (lambda value: ps.encode(value, type="bytes"), "a"),
        (lambda value: ps.encode(value, type="int32"), "5"),
        (lambda value: ps.encode(value, type="bool"), 1),
        (lambda value: ps.encode(value, type="double"), "1"),
        (lambda value: ps.encode(value, type="date"), 5),
        (ps.decode, "text"),
        (ps.decode, 5),
        (ps.wire_type, object()),
    ],
)
def test_wrong_types(make: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(TypeError):
        make(wrong)


@pytest.mark.parametrize(
    ("value", "name", "data"),
    [
        ("a", "string", "4a0161"),
        (bytearray(b"a"), "bytes", "520161"),
        (True, "bool", "4001"),
        (5, "int32", "2805"),
        (ps.Int32(5), "int64", "1805"),
        (5, "double", "090000000000001440"),
        (1, "float", "150000803f"),
        ("a", "char", "a00161"),
        (5, "short", "a80105"),
        (5, "byte", "b00105"),
        (datetime(1970, 1, 1, 0, 0, 1, 2500, UTC), "date", "b801ea07"),
        (ps.Date(2), "date", "b80102"),
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "instant", "c00100c80100"),
        (ps.Instant(1), "instant", "c00101c80100"),
        (5, "uint32", "5805"),
        (5, "uint64", "2005"),
        (5, "fixed32", "3d05000000"),
        (5, "fixed64", "310500000000000000"),
        (-5, "sfixed32", "65fbffffff"),
        (-5, "sfixed64", "69fbffffffffffffff"),
        (-5, "sint32", "7009"),
        (-5, "sint64", "7809"),
    ],
)
def test_encode_with_a_type(value: Any, name: str, data: str) -> None:
    assert ps.encode(value, type=name).hex() == data
    assert ps.wire_type(ps.decode(bytes.fromhex(data))) == name


def test_encode_with_a_type_that_is_none_or_does_not_fit() -> None:
    with pytest.raises(EncodeError, match="type: 'Integer' is no scalar; there are string, bytes"):
        ps.encode(5, type="Integer")
    with pytest.raises(EncodeError, match="int32: Int32: 2147483648 is not within"):
        ps.encode(2**31, type="int32")
    with pytest.raises(EncodeError, match="Float: 1e\\+39 does not fit"):
        ps.encode(1e39, type="float")
    with pytest.raises(EncodeError, match="int32: Int32: 4294967296"):
        ps.encode(ps.Container("IntArray", [2**32]))


class Text(str):
    __slots__ = ()


class Number(int):
    def __repr__(self) -> str:
        return "no number"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (
            datetime(2024, 2, 29, 12, 34, 56, 789),
            ps.LocalDateTime(*local("2024-02-29T12:34:56.000789")),
        ),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), ps.Instant(1709208000)),
        (date(2024, 2, 29), ps.LocalDate(19782)),
        (time(12, 34, 56), ps.LocalTime(45296 * 10**9)),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        ((1, "a"), [1, "a"]),
        (Text("a"), "a"),
        (Number(5), 5),
    ],
)
def test_what_stands_for_another_type(value: Any, wanted: Any) -> None:
    assert ps.encode(value) == ps.encode(wanted)
    assert same(ps.decode(ps.encode(value)), wanted)
    assert ps.wire_type(value) == ps.wire_type(wanted)


def test_moments_to_python_and_back() -> None:
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_500, UTC)
    assert ps.Instant.of(moment) == ps.Instant(-1, 999_500_000)
    assert ps.Instant.of(moment).to_datetime() == moment
    assert ps.Date.of(moment) == ps.Date(-1)
    assert ps.Date(-1).to_datetime() == datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC)
    assert ps.LocalDate(-1).to_date() == date(1969, 12, 31)
    assert ps.LocalTime.of(time(1, 2, 3, 4)).to_time() == time(1, 2, 3, 4)
    assert ps.LocalDateTime.of(datetime(1, 1, 1)).to_datetime() == datetime(1, 1, 1)
    assert ps.ZonedDateTime(5, 6, "Z").instant == ps.Instant(5, 6)
    assert list(ps.BitSet.of([9, 0, 3])) == [0, 3, 9]
    for lossy in (
        ps.Instant(0, 1).to_datetime,
        ps.Instant(2**62).to_datetime,
        ps.Date(2**62).to_datetime,
        ps.LocalDate(10**9).to_date,
        ps.LocalTime(1).to_time,
    ):
        with pytest.raises(ValueError, match=r".+"):
            lossy()


@pytest.mark.parametrize("value", ["\ud83d", ps.Message("\ud83d", b""), ps.ZoneId("\ud83d")])
def test_half_a_character_cannot_be_written(value: Any) -> None:
    with pytest.raises(EncodeError, match="surrogates not allowed"):
        ps.encode(value)


@pytest.mark.parametrize(
    "value", [Decimal("NaN"), Decimal("Infinity"), Decimal((0, (1,), 2**31 + 1))]
)
def test_decimals_that_java_does_not_have(value: Decimal) -> None:
    with pytest.raises(EncodeError, match="BigDecimal: "):
        ps.encode(value)


def test_decimals_are_exact_and_bounded() -> None:
    digits = Decimal((1, (7,) * 5000, -2000))  # more than the context's precision, and than str's
    assert same(ps.decode(ps.encode(digits)), digits)
    with pytest.raises(EncodeError, match="limit 4096"):
        ps.encode(Decimal((0, (9,) * 10_000, 0)))
    body = b"\x0a\x81\x20" + b"\x7f" * 4097
    name = (COMMONS + "BigDecimal").encode()
    data = b"\x82\x01" + bytes([len(name)]) + name + b"\x8a\x01\x84\x20" + body
    with pytest.raises(LimitError, match="4097 bytes, limit 4096"):
        ps.decode(data)


def test_repr_has_lengths_in_place_of_payloads() -> None:
    assert repr(ps.Message("ex.P", b"secret")) == "Message('ex.P', 6 bytes)"
    assert "secret" not in repr(ps.QueryResponse((b"secret",), 1, 0))
    assert "secret" not in repr(ps.ContinuousQueryResult(ps.ResultType.JOINING, b"secret"))
    assert "secret" not in repr(ps.FilterResult(b"secret"))
    assert "secret" not in repr(ps.JsonQueryResponse(({"a": "secret"},)))


# --- bad input ------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_containers_may_be_so_deep_and_no_deeper() -> None:
    data = ps.encode(nested(ps.MAX_DEPTH))
    assert ps.decode(data) == nested(ps.MAX_DEPTH)
    with pytest.raises(LimitError, match="max_depth"):
        ps.decode(data, max_depth=ps.MAX_DEPTH - 1)
    with pytest.raises(EncodeError, match="64 deep"):
        ps.encode(nested(ps.MAX_DEPTH + 1))
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(EncodeError, match="64 deep"):
        ps.encode(endless)


def test_a_recursion_bomb_is_an_error() -> None:
    data = b""
    for _ in range(2000):
        size = len(data)
        length = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
        data = container("ArrayList", 1, "") + b"\x8a\x01" + length + data
    with pytest.raises(LimitError):
        ps.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        "4affffffff07",
        "52ffffffffffffffffff01",
        "8201ffffffff0f",
        "9801018a01ffffffff07",
        "e20101" + "78" + "d801ffffffff07f20100" + "4000" * 10,
        "e20101" + "78" + "d801ffffffffffffffffff01f20100",
        "e20101" + "78" + "d80100f201ffffffff07",
    ],
)
def test_a_claimed_length_is_compared_with_what_is_there(data: str) -> None:
    with pytest.raises(DecodeError, match=r"bytes left|, \d+ left"):
        ps.decode(bytes.fromhex(data))


def test_errors_say_where() -> None:
    with pytest.raises(
        DecodeError, match=r"WrappedMessage: string at byte 1: wants 5 bytes, 1 left"
    ):
        ps.decode(bytes.fromhex("4a0561"))
    with pytest.raises(DecodeError, match=r"field 31 \(varint\) at byte 0: unexpected"):
        ps.decode(bytes.fromhex("f80101"))
    with pytest.raises(DecodeError, match="value at byte 0: has type id; wants a type name or"):
        ps.decode(bytes.fromhex("9801ca8d06"))
    with pytest.raises(DecodeError, match="BigInteger at byte 51: has no field 1"):
        ps.decode(by_name("BigInteger", ""))


@given(st.binary(max_size=60))
def test_any_bytes_end_in_a_value_or_an_error(data: bytes) -> None:
    for read in (
        ps.decode,
        ps.QueryRequest.decode,
        ps.QueryRequest.decode_json,
        ps.QueryResponse.decode,
        ps.JsonQueryResponse.decode,
        ps.ContinuousQueryResult.decode,
        ps.FilterResult.decode,
        ps.unwrap_entity,
        ps.unwrap_column,
    ):
        try:
            read(data)
        except DecodeError as problem:
            assert 0 <= problem.offset <= len(data)  # noqa: PT017


def mutations(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Recorded bytes with some of them changed, left out or put in."""

    @st.composite
    def mutated(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(data)))
            data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
        return bytes(data)

    return mutated()


@given(mutations([bytes.fromhex(vector["hex"]) for vector in ENCODED + READ_BY_JAVA]))
def test_almost_right_bytes_end_in_a_value_or_an_error(data: bytes) -> None:
    try:
        value = ps.decode(data)
    except DecodeError:
        return
    # What was read can be written, and is read as the same then.
    assert same(ps.decode(ps.encode(value)), value)


# --- round trips ----------------------------------------------------------------------

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = TEXT.filter(bool)
# Names of the user's own: those of ProtoStream have their elements' types, and short forms.
TYPES = NAMES.map("own.".__add__) | st.integers(10**6, 2**31 - 1)
LOCAL_TIMES = st.builds(ps.LocalTime, st.integers(0, 86400 * 10**9 - 1))
LOCAL_DATES = st.builds(ps.LocalDate, INT64)
NANOS = st.integers(0, 10**9 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)


def integers(make: Callable[[int], Any], low: int, bits: int) -> st.SearchStrategy[Any]:
    return st.builds(make, st.integers(low, low + 2**bits - 1))


SCALARS = st.one_of(
    TEXT,
    st.binary(),
    st.booleans(),
    INT64,
    st.floats(allow_nan=False) | st.just(math.nan),
    st.builds(ps.Float, st.floats(allow_nan=False, width=32) | st.just(math.nan)),
    integers(ps.Int32, -(2**31), 32),
    integers(ps.Short, -(2**15), 16),
    integers(ps.Byte, -128, 8),
    integers(ps.UInt32, 0, 32),
    integers(ps.UInt64, 0, 64),
    integers(ps.Fixed32, 0, 32),
    integers(ps.Fixed64, 0, 64),
    integers(ps.SInt32, -(2**31), 32),
    integers(ps.SInt64, -(2**63), 64),
    integers(ps.SFixed32, -(2**31), 32),
    integers(ps.SFixed64, -(2**63), 64),
    st.builds(ps.Char, st.integers(0, 0xFFFF).map(chr)),
    st.builds(ps.Date, INT64),
)
MESSAGES = st.one_of(
    st.builds(ps.Instant, INT64, NANOS),
    st.builds(ps.Message, TYPES, st.binary()),
    st.builds(ps.EnumValue, TYPES, INT32),
    st.uuids(),
    st.decimals(allow_nan=False, allow_infinity=False).filter(
        lambda d: not d.is_zero() or not d.is_signed()
    ),
    st.builds(ps.BigInteger, st.integers()),
    LOCAL_DATES,
    LOCAL_TIMES,
    st.builds(ps.LocalDateTime, LOCAL_DATES, LOCAL_TIMES),
    st.builds(ps.ZonedDateTime, INT64, NANOS, TEXT),
    st.builds(ps.OffsetTime, LOCAL_TIMES, TEXT),
    st.builds(ps.Period, INT32, INT32, INT32),
    st.builds(ps.Year, INT32),
    st.builds(ps.MonthDay, st.integers(1, 12), st.integers(1, 31)),
    st.builds(ps.BitSet, st.binary()),
    st.builds(ps.ZoneId, TEXT),
    st.builds(ps.ZoneOffset, TEXT),
)
ANYTHING = st.recursive(
    st.none() | SCALARS | MESSAGES,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.builds(
            ps.Container,
            TYPES | st.sampled_from(["HashSet", "LinkedList", "TreeSet", "ObjectArray"]),
            st.lists(inner, max_size=5),
            payload=st.binary(),
        )
    ),
    max_leaves=20,
)


@given(ANYTHING)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    data = ps.encode(value)
    decoded = ps.decode(data)
    assert same(decoded, value)
    assert ps.encode(decoded) == data
    assert same(ps.decode(memoryview(bytearray(data))), value)


@given(SCALARS)
def test_a_scalar_by_the_name_of_its_type(value: Any) -> None:
    assert ps.encode(value, type=ps.wire_type(value)) == ps.encode(value)


@given(SCALARS, st.binary())
def test_bytes_after_a_scalar_are_ignored(value: Any, rest: bytes) -> None:
    assert same(ps.decode(ps.encode(value) + rest), value)


# --- the user's own messages ----------------------------------------------------------


class Typed:
    """example.Typed of the vectors, written by hand: what a class needs to be taken for one of
    protobuf's."""

    class DESCRIPTOR:
        full_name = "example.Typed"

    def __init__(self, s: str) -> None:
        self.s = s

    def SerializeToString(self, *, deterministic: bool | None = None) -> bytes:
        if not self.s:
            raise ValueError("s is not set")
        return b"\x0a" + bytes([len(self.s)]) + self.s.encode()

    @classmethod
    def FromString(cls, data: bytes) -> Typed:
        if data[:1] != b"\x0a":
            raise ValueError("no field 1")
        return cls(data[2 : 2 + data[1]].decode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Typed) and self.s == other.s

    __hash__ = None  # type: ignore[assignment]


def test_a_user_message_by_name_and_by_type_id() -> None:
    by_name = bytes.fromhex("82010d6578616d706c652e54797065648a01030a017a")
    by_id = bytes.fromhex("9801ca8d068a01030a017a")
    assert ps.encode(Typed("z")) == by_name
    assert ps.decode(by_name) == ps.Message("example.Typed", b"\x0a\x01z")
    types = ps.MessageTypes().add(Typed, type_id=100042)
    assert ps.encode(Typed("z"), types=types) == by_id
    assert ps.decode(by_id, types=types) == ps.decode(by_name, types=types) == Typed("z")
    assert ps.decode(ps.encode([Typed("z"), None], types=types), types=types) == [Typed("z"), None]
    other = ps.MessageTypes().add(Typed, name="other.Name")
    assert ps.encode(Typed("z"), types=other) == ps.encode(ps.Message("other.Name", b"\x0a\x01z"))


def test_a_user_message_that_fails() -> None:
    types = ps.MessageTypes().add(Typed)
    with pytest.raises(EncodeError, match="Typed: s is not set"):
        ps.encode(Typed(""))
    with pytest.raises(DecodeError, match=r"message at byte 19: example.Typed: no field 1"):
        ps.decode(ps.encode(ps.Message("example.Typed", b"\x12\x00")), types=types)
    with pytest.raises(TypeError, match="no FromString"):
        ps.MessageTypes().add(int)


def test_messages_of_protobuf() -> None:

    descriptor_pb2 = importlib.import_module("google.protobuf.descriptor_pb2")
    descriptor_pool = importlib.import_module("google.protobuf.descriptor_pool")
    message_factory = importlib.import_module("google.protobuf.message_factory")
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="example", syntax="proto2")
    field = file.message_type.add(name="Typed").field.add(name="s", number=1, type=9, label=1)
    assert field.name == "s"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    cls = message_factory.GetMessageClass(pool.FindMessageTypeByName("example.Typed"))

    types = ps.MessageTypes().add(cls, type_id=100042)
    data = bytes.fromhex("9801ca8d068a01030a017a")
    assert ps.encode(cls(s="z"), types=types) == data
    assert ps.decode(data, types=types) == cls(s="z")
    assert ps.encode(cls(s="z")).hex() == "82010d6578616d706c652e54797065648a01030a017a"
    with pytest.raises(DecodeError, match="100042"):
        ps.decode(bytes.fromhex("9801ca8d068a01020a05"), types=types)


# --- queries: what clients and servers said -------------------------------------------

# Payloads that encoding does not write in the same way.
NOT_CANONICAL = {
    "extended-ops-query-013": "JSON typed by hand without four of the six keys",
    "extended-ops-query-014": "JSON typed by hand without five of the six keys",
}
# Payloads of raw-error are no queries: they test what a server does with those.
QUERY_AREAS = ("extended-ops", "query")


def query_frames(*, requests: bool) -> Iterator[tuple[Frame, bytes]]:
    """All frames of the operation QUERY with their payloads."""
    for area in QUERY_AREAS:
        for frame in test_reference.frames_of(area):
            if frame.message["op"] == "QUERY" and (frame.request is None) == requests:
                payload = frame.message["body"].get("query" if requests else "result")
                if payload is not None:
                    yield frame, payload


def is_json(frame: Frame) -> bool:
    return (frame.message.get("value_media_type") or {}).get("id") == 2


def test_every_recorded_query_request() -> None:
    counted = 0
    for frame, payload in query_frames(requests=True):
        name = frame.vector.id
        counted += 1
        if is_json(frame):
            request = ps.QueryRequest.decode_json(payload)
            assert (request.encode_json() == payload) == (name not in NOT_CANONICAL), name
            assert request.query == json.loads(payload)["queryString"]
            continue
        request = ps.QueryRequest.decode(payload)
        assert (request.encode() == payload) == (name not in NOT_CANONICAL), name
        passed = (frame.vector.expected or {}).get("passed")
        if passed is not None:
            assert request.query == passed["query"], name
            assert dict(request.parameters) == passed.get("params", {}), name
            assert request.start_offset in (passed.get("offset"), -1), name
            assert request.max_results in (passed.get("max"), -1), name
            # Clients before 10 say otherwise where to look.
            assert (request.query_mode == "FETCH") == ("9.4.19" in frame.vector.source), name
            assert (request.local is None) == ("9.4.19" in frame.vector.source), name
    assert counted == 255


def book(message: ps.Message) -> dict[str, Any]:
    """A reader of interop.Book, of its own."""
    assert message.type == "interop.Book"
    data = message.payload
    fields: dict[str, Any] = {}
    while data:
        if data[0] in (0x0A, 0x12):
            fields["title" if data[0] == 0x0A else "author"] = data[2 : 2 + data[1]].decode()
            data = data[2 + data[1] :]
        elif data[0] == 0x18:
            fields["year"] = data[1] & 0x7F | data[2] << 7
            data = data[3:]
        else:
            assert data[0] == 0x21
            (fields["price"],) = struct.unpack("<d", data[1:9])
            data = data[9:]
    return fields


def test_every_recorded_query_response() -> None:
    counted = 0
    for frame, payload in query_frames(requests=False):
        name = frame.vector.id
        counted += 1
        response = ps.QueryResponse.decode(payload)
        assert response.encode() == payload, name
        returned = (frame.vector.expected or {}).get("returned")
        if returned is None:
            continue
        if "count" in returned:
            assert (response.hit_count, response.results) == (returned["count"], ()), name
            continue
        rows = response.rows()
        if response.projection_size:
            assert [list(row) for row in rows] == returned["rows"], name
        else:
            assert [book(row) for row in rows] == returned["rows"], name
        assert response.num_results == len(rows), name
    assert counted == 211


def test_prefixes_of_recorded_payloads_are_errors_or_shorter_payloads() -> None:
    # Protobuf does not say where a message ends: what ends between two fields is a message.
    for requests, cls in ((True, ps.QueryRequest), (False, ps.QueryResponse)):
        seen = {payload for frame, payload in query_frames(requests=requests) if not is_json(frame)}
        for payload in sorted(seen)[::5]:
            for n in range(len(payload)):
                try:
                    decoded = cls.decode(payload[:n])
                except DecodeError as problem:
                    assert problem.op == cls.__name__  # noqa: PT017
                else:
                    assert decoded.encode() == payload[:n]


def test_the_six_ways_in_which_results_are_wrapped() -> None:
    entity = bytes.fromhex("5211 82010465782e50 8a01070a03616e6e101e")
    person = ps.Message("ex.P", bytes.fromhex("0a03616e6e101e"))
    assert ps.unwrap_entity(entity) == person
    assert ps.unwrap_column(bytes.fromhex("9801008a0113") + entity) == person
    assert ps.unwrap_column(bytes.fromhex("4a03636964")) == "cid"
    assert same(ps.unwrap_column(bytes.fromhex("2832")), ps.Int32(50))
    assert same(ps.unwrap_column(bytes.fromhex("1803")), 3)
    assert ps.unwrap_column(b"") is None
    assert ps.unwrap_column(bytes.fromhex("52024a00")) == b"\x4a\x00", "a column of bytes"
    assert ps.unwrap_entity(entity[2:]) == person, "not wrapped twice"


def test_answers_of_a_server() -> None:
    stored = ps.encode(ps.Message("ex.P", b"\x0a\x01a"))
    entities = ps.QueryResponse.of_entities([stored], hit_count=7)
    assert entities == ps.QueryResponse((b"\x52\x0d" + stored,), 1, 0, 7, True)
    assert entities.rows() == [ps.Message("ex.P", b"\x0a\x01a")]
    rows = ps.QueryResponse.of_rows([("a", 5), (None, b"x")], columns=2)
    assert ps.QueryResponse.decode(rows.encode()).rows() == [("a", 5), (None, b"x")]
    assert ps.QueryResponse.of_entities([]).encode().hex() == "0800100020002801"
    with pytest.raises(EncodeError, match="wants 2 columns, got 1"):
        ps.QueryResponse.of_rows([("a",)], columns=2)


REQUESTS = st.builds(
    ps.QueryRequest,
    TEXT,
    st.none() | INT64,
    st.none() | INT32,
    st.dictionaries(TEXT, SCALARS | MESSAGES, max_size=3),
    st.none() | st.booleans(),
    st.none() | INT32,
)


@given(REQUESTS)
def test_query_request_round_trip(request: ps.QueryRequest) -> None:
    data = request.encode()
    decoded = ps.QueryRequest.decode(data)
    assert decoded.encode() == data
    assert (decoded.query, decoded.start_offset) == (request.query, request.start_offset)
    assert (decoded.max_results, decoded.local) == (request.max_results, request.local)
    assert decoded.hit_count_accuracy == request.hit_count_accuracy
    assert all(map(same, decoded.parameters.values(), request.parameters.values()))


@given(
    st.builds(
        ps.QueryRequest,
        TEXT,
        st.none() | INT64,
        st.none() | INT32,
        st.dictionaries(TEXT, TEXT | INT64 | st.booleans(), max_size=3),
        st.none() | st.booleans(),
        st.none() | INT32,
    )
)
def test_query_request_round_trip_in_json(request: ps.QueryRequest) -> None:
    data = request.encode_json()
    assert set(json.loads(data)) == {
        "queryString",
        "startOffset",
        "maxResults",
        "hitCountAccuracy",
        "namedParameters",
        "local",
    }
    assert ps.QueryRequest.decode_json(data) == request


@given(
    st.builds(
        ps.QueryResponse.of_rows,
        st.lists(st.tuples(st.none() | SCALARS, st.none() | MESSAGES), max_size=4),
        columns=st.just(2),
        hit_count=st.none() | st.integers(0, 2**31 - 1),
    )
)
def test_query_response_round_trip(response: ps.QueryResponse) -> None:
    data = response.encode()
    assert ps.QueryResponse.decode(data) == response
    assert ps.QueryResponse.decode(data).encode() == data


def test_json_query_response() -> None:
    text = b'{"hit_count":2,"hit_count_exact":true,"hits":[{"hit":{"_type":"ex.P","n":"a"}}]}'
    response = ps.JsonQueryResponse.decode(text)
    assert response == ps.JsonQueryResponse(({"_type": "ex.P", "n": "a"},), 2, True)
    assert response.encode() == text
    old = b'{"total_results":1,"hits":[{"hit":{"*":{"n":"a"}}}]}'
    assert ps.JsonQueryResponse.decode(old) == ps.JsonQueryResponse(({"*": {"n": "a"}},), 1)
    assert ps.JsonQueryResponse.decode(old).encode() == old


@pytest.mark.parametrize(
    ("read", "data", "problem"),
    [
        (ps.QueryRequest.decode, b"", "query at byte 0: missing"),
        (ps.QueryRequest.decode, bytes.fromhex("0a0161 2a03 0a0178"), "wants a name and a value"),
        (ps.QueryRequest.decode, bytes.fromhex("0a0161 2a05 0a0178 1200"), "a name and a value"),
        (ps.QueryRequest.decode, bytes.fromhex("0a0161 2a07 0a0178 120208 01"), "parameter value"),
        (ps.QueryRequest.decode, bytes.fromhex("0a0161 3002"), "2 is neither 0 nor 1"),
        (ps.QueryRequest.decode, bytes.fromhex("0a0161 13"), "not a form that is in use"),
        (ps.QueryResponse.decode, bytes.fromhex("0801"), "results at byte 2: 0, the counts say 1"),
        (ps.QueryResponse.decode, bytes.fromhex("10ffffffffffffffffff01"), "-1 columns"),
        (ps.QueryRequest.decode_json, b"[]", "not an object"),
        (ps.QueryRequest.decode_json, b"{", "not JSON"),
        (ps.QueryRequest.decode_json, b"\xff", "not JSON"),
        (ps.QueryRequest.decode_json, b"[" * 100_000, "not JSON"),
        (ps.QueryRequest.decode_json, b"{}", "queryString at byte 0: missing"),
        (ps.QueryRequest.decode_json, b'{"queryString":5}', "expected str, got int"),
        (ps.QueryRequest.decode_json, b'{"queryString":"","local":1}', "expected bool, got int"),
        (ps.QueryRequest.decode_json, b'{"queryString":"","maxResults":true}', "got bool"),
        (ps.QueryRequest.decode_json, b'{"queryString":"","namedParameters":[1]}', "objects"),
        (ps.JsonQueryResponse.decode, b'{"hits":[{}]}', "wants objects with a hit"),
        (ps.ContinuousQueryResult.decode, b"\x4a\x00", "expected a message of type 4403"),
        (ps.ContinuousQueryResult.decode, bytes.fromhex("9801b3228a0100"), "result at byte 0"),
        (ps.ContinuousQueryResult.decode, bytes.fromhex("9801b3228a01020803"), "key at byte 2"),
        (ps.ContinuousQueryResult.decode, bytes.fromhex("9801b3228a01020800"), "no type 0"),
        (ps.FilterResult.decode, bytes.fromhex("9801b3228a0100"), "of type 4402 or 1000103"),
    ],
)
def test_bad_envelopes(read: Callable[[bytes], Any], data: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        read(data)


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (ps.QueryRequest("a", start_offset=2**63), "start_offset: 9223372036854775808 does not"),
        (ps.QueryRequest("a", max_results=2**31), "max_results: "),
        (ps.QueryRequest("a", hit_count_accuracy=-(2**31) - 1), "hit_count_accuracy: "),
        (ps.QueryRequest("a", parameters={"x": None}), "cannot be null"),
        (ps.QueryRequest("a", local=True, query_mode="FETCH"), "takes the place of local"),
        (ps.QueryRequest("\ud83d"), "query: cannot be UTF-8"),
    ],
)
def test_requests_that_cannot_be_said(request_: ps.QueryRequest, problem: str) -> None:
    with pytest.raises(EncodeError, match=problem):
        request_.encode()


@given(st.builds(ps.QueryRequest, TEXT, st.none() | INT64, st.none() | INT32))
def test_query_request_round_trip_in_json_of_9_4(request: ps.QueryRequest) -> None:
    data = request.encode_json(legacy_server=True)
    assert json.loads(data) == {
        "queryString": request.query,
        "startOffset": request.start_offset,
        "maxResults": request.max_results,
    }
    assert ps.QueryRequest.decode_json(data) == request


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ps.QueryRequest("a", parameters={"x": 1}), "parameters"),
        (ps.QueryRequest("a", local=False), "local"),
        (ps.QueryRequest("a", hit_count_accuracy=-1), "hit_count_accuracy"),
        (ps.QueryRequest("a", query_mode="FETCH"), "query_mode"),
        (ps.QueryRequest("a", max_results=2**31), "max_results"),
    ],
)
def test_requests_that_cannot_be_said_in_json_of_9_4(request_: ps.QueryRequest, field: str) -> None:
    with pytest.raises(EncodeError) as caught:
        request_.encode_json(legacy_server=True)
    assert caught.value.field == field


def test_requests_that_cannot_be_said_in_json() -> None:
    with pytest.raises(EncodeError, match="query_mode: has no place in JSON"):
        ps.QueryRequest("a", query_mode="FETCH").encode_json()
    with pytest.raises(EncodeError, match="cannot be JSON"):
        ps.QueryRequest("a", parameters={"x": math.nan}).encode_json()
    with pytest.raises(TypeError, match=r"parameters\['x'\]: JSON has no bytes"):
        ps.QueryRequest("a", parameters={"x": b""}).encode_json()


def test_parameters_as_java_converts_them() -> None:
    class Color(enum.IntEnum):
        RED = 1

    converted = ps.as_query_parameters(
        {
            "bool": True,
            "enum": ps.EnumValue("ex.C", 2),
            "python": Color.RED,
            "date": ps.Date(1500),
            "instant": ps.Instant(-1, 999_000_000),
            "datetime": datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC),
            "other": "a",
        }
    )
    assert converted == {
        "bool": "true",
        "enum": 2,
        "python": 1,
        "date": 1500,
        "instant": -1,
        "datetime": 1500,
        "other": "a",
    }
    assert type(converted["enum"]) is type(converted["python"]) is ps.Int32
    recorded = ps.QueryRequest("from ex.P p where p.a > :x", parameters={"x": ps.Int32(35)})
    assert recorded.encode().hex().endswith("2a070a017812022823")


# --- continuous queries, filters, iterations ------------------------------------------


def test_every_recorded_continuous_query() -> None:
    counted = {"events": 0, "filtered": 0, "listeners": 0, "iterations": 0}
    for area in QUERY_AREAS:
        for frame in test_reference.frames_of(area):
            body = frame.message["body"]
            data = body.get("event_data")
            factory = body.get("filter_factory")
            if data is not None and data.startswith(b"\x98\x01\xb2\x22"):
                counted["filtered"] += 1
                found = ps.FilterResult.decode(data)
                assert found.encode() == data, frame.vector.id
                assert found.entity() == ps.Message("ex.P", b"\n\x03cid\x102")
            elif data is not None and data.startswith(b"\x98\x01"):
                counted["events"] += 1
                result = ps.ContinuousQueryResult.decode(data)
                assert result.encode() == data, frame.vector.id
                assert result.legacy == ("9.4.19" in frame.vector.source), frame.vector.id
                for word, kind in (("joining", 1), ("updated", 2), ("leaving", 3)):
                    if f"query: {word}" in frame.vector.note:
                        assert result.result is ps.ResultType(kind), frame.vector.id
                entity = result.entity()
                assert entity.type in ("interop.Book", "ex.P"), frame.vector.id
                assert isinstance(ps.decode(result.key), str), frame.vector.id
            elif factory == ps.CONTINUOUS_QUERY_FACTORY:
                counted["listeners"] += 1
                assert body["converter_factory"] == factory
                assert body["converter_params"] == []
                assert body["use_raw_data"] is body["include_state"] is True
                assert_parameters(body["filter_params"])
            elif factory == ps.ITERATION_FILTER_FACTORY:
                counted["iterations"] += 1
                assert_parameters(body["filter_params"])
    assert counted == {"events": 94, "filtered": 1, "listeners": 21, "iterations": 28}


def assert_parameters(params: list[bytes]) -> None:
    query, *rest = map(ps.decode, params)
    pairs = dict(zip(rest[::2], rest[1::2], strict=True))
    assert list(ps.factory_parameters(query, pairs)) == params


def test_columns_of_every_recorded_iteration() -> None:
    forms = set()
    for frame in test_reference.frames_of("query"):
        if "projection of two" not in frame.vector.note or frame.request is None:
            continue
        for entry in frame.message["body"].get("entries") or ():
            title, year = ps.iterated_columns(entry["values"])
            assert (type(title), type(year)) == (str, ps.Int32), frame.vector.id
            forms.add(len(entry["values"]))
    assert forms == {1, 2}, "an array until 2.9, columns from 3.0 on"


# As the Java classes of 16.0.7 write them.
STORED = bytes.fromhex("82010465782e508a0100")
RESULTS_OF_JAVA: list[tuple[Any, str]] = [
    (ps.FilterResult(b"\x52\x0a" + STORED), "9801b2228a010e0a0c520a82010465782e508a0100"),
    (
        ps.FilterResult(b"\x52\x0a" + STORED, (), (b"\x28\x05", b"\x4a\x01x", b"")),
        "9801b2228a01190a0c520a82010465782e508a01001a0228051a034a01781a00",
    ),
    (
        ps.FilterResult(None, (b"\x4a\x01a", b"\x28\x05", b""), (b"\x18\x07",)),
        "9801b2228a010f12034a01611202280512001a021807",
    ),
    (
        ps.ContinuousQueryResult(ps.ResultType.UPDATED, b"\x4a\x01k", STORED),
        "9801b3228a0113080212034a016b1a0a82010465782e508a0100",
    ),
    (
        ps.ContinuousQueryResult(ps.ResultType.LEAVING, b"\x4a\x01k"),
        "9801b3228a0107080312034a016b",
    ),
    (
        ps.ContinuousQueryResult(
            ps.ResultType.JOINING, b"\x4a\x01k", None, (b"\x4a\x01a", b"\x28\x05", b"")
        ),
        "9801b3228a0112080112034a016b22034a0161220228052200",
    ),
]


@pytest.mark.parametrize(("result", "data"), RESULTS_OF_JAVA)
def test_event_results_of_java(result: Any, data: str) -> None:
    assert result.encode().hex() == data
    decoded = type(result).decode(bytes.fromhex(data))
    assert decoded == result
    assert decoded.columns() in ((), ("a", 5, None))
    assert decoded.entity() in (None, ps.Message("ex.P", b""))
    for n in range(len(data) // 2):
        with pytest.raises(DecodeError):
            type(result).decode(bytes.fromhex(data)[:n])


def test_event_results_of_old_servers() -> None:
    old = ps.FilterResult(STORED, legacy=True)
    assert old.encode().hex() == "9801a7853d8a010c0a0a82010465782e508a0100"
    assert ps.FilterResult.decode(old.encode()) == old
    assert old.entity() == ps.Message("ex.P", b"")
    left = ps.ContinuousQueryResult(ps.ResultType.LEAVING, b"k", legacy=True)
    assert left.encode().hex() == "9801a8853d8a0105080012016b"
    assert ps.ContinuousQueryResult.decode(left.encode()) == left


# --- the cache of schemas -------------------------------------------------------------


def test_every_recorded_schema() -> None:
    counted = 0
    for frame in test_reference.frames_of("query"):
        message = frame.message
        if frame.request is not None or message.get("cache") != schemas.CACHE:
            continue
        passed = (frame.vector.expected or {}).get("passed")
        version = message["version"]
        # The Java client marshals these with the marshaller of all its caches.
        as_string = ps.encode if version >= Version.V2_8 else _as_text(version)
        if passed is not None and "value" in passed:
            counted += 1
            assert as_string(passed["key"]) == message["body"]["key"], frame.vector.id
            assert as_string(passed["value"]) == message["body"]["value"], frame.vector.id
            assert schemas.file_name(passed["key"]) == passed["key"]
        elif "errors of the schema" in frame.vector.note:
            counted += 1
            assert ps.decode(message["body"]["key"]).endswith(schemas.ERRORS_KEY)
    assert counted == 40


def _as_text(version: int) -> Callable[[str], bytes]:
    return lambda text: schemas.encode_text(text, version)


def test_schema_conventions() -> None:
    assert schemas.errors_key("person.proto") == "person.proto.errors"
    assert schemas.failing_files("a.proto\nb.proto\n") == ("a.proto", "b.proto")
    assert schemas.failing_files(None) == ()
    for wrong in ("person.txt", ".proto", ""):
        with pytest.raises(EncodeError, match=r"does not end in '\.proto'"):
            schemas.file_name(wrong)
    assert schemas.media_type(Version.V4_1) == MediaType.parse("text/plain")
    assert schemas.media_type(Version.V2_7) is None
    for version, data in ((Version.V2_8, b"\xc3\xa9"), (Version.V2_7, b"\x4a\x02\xc3\xa9")):
        assert schemas.encode_text("é", version) == data
        assert schemas.decode_text(data, version) == "é"
        with pytest.raises(EncodeError):
            schemas.encode_text("\ud83d", version)
        with pytest.raises(DecodeError):
            schemas.decode_text(b"\xff", version)
    with pytest.raises(DecodeError, match="expected a string, got int"):
        schemas.decode_text(b"\x18\x01", Version.V2_7)
