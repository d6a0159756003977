"""Varints, and ProtoStream's short ways against the plain functions behind them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotrod_codec import DecodeError, EncodeError, decode_varint, encode_request, encode_varint
from hotrod_codec import protostream as ps
from hotrod_codec._ext.scalars import end_of_fitting, total_size, unzipped

UINT64 = st.integers(0, 2**64 - 1)
KNOWN = [
    (0, "00"),
    (1, "01"),
    (127, "7f"),
    (128, "8001"),
    (300, "ac02"),
    (16383, "ff7f"),
    (16384, "808001"),
    (2**32 - 1, "ffffffff0f"),
    (2**63 - 1, "ffffffffffffffff7f"),
    (2**64 - 1, "ffffffffffffffffff01"),
]


# --- varints --------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "data"), KNOWN)
def test_known_varints(number: int, data: str) -> None:
    assert encode_varint(number).hex() == data
    assert decode_varint(bytes.fromhex(data)) == (number, len(data) // 2)


@given(UINT64, st.binary(max_size=12), st.binary(max_size=12))
def test_a_varint_among_other_bytes(number: int, before: bytes, after: bytes) -> None:
    data = encode_varint(number)
    assert len(data) == max(1, -(-number.bit_length() // 7))
    found = (number, len(before) + len(data))
    assert decode_varint(before + data + after, len(before)) == found
    assert decode_varint(memoryview(bytearray(before + data + after)), len(before)) == found


@given(UINT64)
def test_every_proper_prefix_of_a_varint_is_an_error(number: int) -> None:
    data = encode_varint(number)
    for n in range(len(data)):
        with pytest.raises(DecodeError, match=r"^varint: number at byte 0: the data ends"):
            decode_varint(data[:n])


@given(st.integers(0, 2**32 - 1))
def test_a_varint_is_a_message_id_on_the_wire(number: int) -> None:
    frame = encode_request("ping", message_id=number)
    assert decode_varint(frame, 1) == (number, 1 + len(encode_varint(number)))


def test_padded_varints_are_read_as_the_codec_reads_them() -> None:
    assert decode_varint(b"\x81\x80\x00") == (1, 3)
    assert decode_varint(b"\x80" * 9 + b"\x00") == (0, 10)


@pytest.mark.parametrize("data", ["ff" * 9 + "02", "80" * 10 + "01", "ff" * 10, "80" * 9 + "7f"])
def test_a_varint_of_more_than_64_bits(data: str) -> None:
    with pytest.raises(DecodeError, match="more than 64 bits") as caught:
        decode_varint(b"\0" + bytes.fromhex(data), 1)
    assert (caught.value.op, caught.value.field, caught.value.offset) == ("varint", "number", 1)


@pytest.mark.parametrize("number", [-1, -(2**70), 2**64, 2**70])
def test_a_number_that_no_varint_holds(number: int) -> None:
    with pytest.raises(EncodeError, match=r"^varint: wants a number of 0 to 2\*\*64 - 1, got "):
        encode_varint(number)


def test_what_counts_as_a_number() -> None:
    class Index:
        def __index__(self) -> int:
            return 300

    assert encode_varint(Index()) == b"\xac\x02"
    assert encode_varint(True) == b"\x01"
    assert decode_varint(b"\0\xac\x02", Index.__index__(Index()) - 299) == (300, 3)
    wrong: Any
    for wrong in ("1", 1.0, None, b"1"):
        with pytest.raises(TypeError, match=r"^number: wants an int, got "):
            encode_varint(wrong)
    for wrong in ("text", 1, None):
        with pytest.raises(TypeError, match=r"^data: wants a bytes-like object, got "):
            decode_varint(wrong)
    wrong = "0"
    with pytest.raises(TypeError):
        decode_varint(b"\0", wrong)


@pytest.mark.parametrize("offset", [-1, 3, 2**63, -(2**70)])
def test_an_offset_outside_of_the_data(offset: int) -> None:
    with pytest.raises(ValueError, match=f"^offset: wants 0 to 2, got {offset}$"):
        decode_varint(b"\0\0", offset)
    with pytest.raises(DecodeError, match="at byte 2: the data ends"):
        decode_varint(b"\0\0", offset=2)


# --- ProtoStream: the short ways and the plain one ------------------------------------


def outcome(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, ...]:
    """Type and value, or the error with all that it tells."""
    try:
        value = call(*args, **options)
    except (TypeError, ValueError) as error:
        return type(error), str(error), vars(error)
    return type(value), value


def plain(short: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = short.__self__.plain
    return function


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.text(st.characters(codec=None)),  # surrogates, too
    st.text(st.characters(max_codepoint=127), min_size=120, max_size=140),
    st.binary(),
    st.integers(),
    st.integers(-(2**63) - 2, -(2**63) + 2),
    st.integers(2**63 - 2, 2**63 + 2),
    st.builds(ps.Int32, st.integers(-9, 9)),
    st.builds(ps.Char, st.just("x")),
    st.builds(bytearray, st.binary()),
    st.lists(st.text() | st.integers(), max_size=3),
)


@given(VALUES, st.sampled_from([None, "string", "bytes", "int64", "int32"]))
def test_encoding_is_the_same_on_both_ways(value: Any, type: str | None) -> None:
    assert outcome(ps.encode, value) == outcome(plain(ps.encode), value)
    expected = outcome(plain(ps.encode), value, type=type)
    assert outcome(ps.encode, value, type=type) == expected


@given(st.sampled_from([b"\x4a", b"\x52", b"\x18", b"\x28", b"\x40"]), st.binary(max_size=14))
@example(b"\x4a", b"\xff" * 9 + b"\x01")
@example(b"\x18", b"\xff" * 9 + b"\x7f")  # more than 64 bits: what is beyond is dropped
@example(b"\x4a", b"\x02\xc3\x28")
@example(b"\x4a", b"\x80\x00rest")
@example(b"\x4a", b"\x03ab")
def test_decoding_is_the_same_on_both_ways(tag: bytes, rest: bytes) -> None:
    for data in (tag + rest, rest, tag + bytes([max(len(rest) - 1, 0)]) + rest):
        expected = outcome(plain(ps.decode), data)
        assert outcome(ps.decode, data) == expected
        assert outcome(ps.decode, memoryview(data)) == expected


@given(VALUES)
def test_every_prefix_decodes_the_same_on_both_ways(value: Any) -> None:
    result = outcome(ps.encode, value)
    if isinstance(result[1], bytes):
        for n in range(len(result[1]) + 1):
            expected = outcome(plain(ps.decode), result[1][:n])
            assert outcome(ps.decode, result[1][:n]) == expected


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 3_000_000])
def test_long_strings_on_both_ways(size: int) -> None:
    for value in ("x" * size, "é" * size, b"x" * size):
        data = ps.encode(value)
        assert data == plain(ps.encode)(value)
        assert ps.decode(data) == plain(ps.decode)(data) == value


def test_both_ways_have_the_same_signature() -> None:
    for short in (ps.encode, ps.decode):
        shown, behind = inspect.signature(short), inspect.signature(plain(short))
        assert list(shown.parameters) == list(behind.parameters)
        for name, parameter in behind.parameters.items():
            assert shown.parameters[name].kind == parameter.kind
            assert shown.parameters[name].default == parameter.default
        assert "application/x-protostream" in (short.__doc__ or "")


@pytest.mark.parametrize(
    ("values", "size", "with_none"),
    [
        ([], 0, 0),
        ([b""], 0, 0),
        ([b"a", b"bcd"], 4, 4),
        ([b"a", None, b"bcd"], -1, 4),
        ([None], -1, 0),
        ([b"a", bytearray(b"b")], -1, -1),
        ([b"a", type("Bytes", (bytes,), {})(b"b")], -1, -1),
        (["a"], -1, -1),
        ([0], -1, -1),
    ],
)
def test_total_size(values: list[Any], size: int, with_none: int) -> None:
    assert (total_size(values), total_size(values, none=True)) == (size, with_none)


def test_total_size_of_no_list() -> None:
    wrong: list[Any] = [None, (b"a",), {b"a"}, b"a"]
    for values in wrong:
        with pytest.raises(TypeError, match="list"):
            total_size(values)


blobs = st.one_of(st.binary(max_size=9), st.binary(max_size=9).map(bytearray))


@given(
    items=st.lists(st.one_of(blobs, st.tuples(blobs, blobs)), min_size=1, max_size=20),
    size=st.integers(-1, 100),
    drawn=st.data(),
)
def test_end_of_fitting(items: list[Any], size: int, drawn: st.DataObject) -> None:
    start = drawn.draw(st.integers(0, len(items) - 1))
    stop = drawn.draw(st.integers(start + 1, len(items)))
    sizes = [3 + (len(i) if not isinstance(i, tuple) else len(i[0]) + len(i[1])) for i in items]
    end, total = end_of_fitting(items, start, stop, 3, size)
    assert start < end <= stop
    assert total == sum(sizes[start:end])
    assert total <= size or end == start + 1
    assert end == stop or total + sizes[end] > size


def test_what_does_not_fit_anywhere() -> None:
    for start, stop in ((0, 0), (-1, 1), (1, 1), (0, 3)):
        with pytest.raises(ValueError, match="nothing between"):
            end_of_fitting([b"a", b"b"], start, stop, 0, 100)
    with pytest.raises(TypeError):
        end_of_fitting([5], 0, 1, 0, 100)


def test_unzipped() -> None:
    assert unzipped([]) == ([], [], True)
    assert unzipped([(1, 2), (3, 4)]) == ([1, 3], [2, 4], True)
    for pair in ([3, 4], "34", iter((3, 4)), type("Pair", (tuple,), {})((3, 4))):
        first, second = (3, 4) if pair != "34" else ("3", "4")
        assert unzipped([(1, 2), pair]) == ([1, first], [2, second], False)
    wrong: list[tuple[Any, type[Exception], str]] = [
        ((1,), ValueError, "not enough values|need more than 1"),
        ((1, 2, 3), ValueError, "too many values"),
        (5, TypeError, "not iterable|unpack"),
    ]
    for pair, error, text in wrong:
        with pytest.raises(error, match=text):
            unzipped([(1, 2), pair])
