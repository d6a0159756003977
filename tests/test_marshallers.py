"""hotrod_codec.marshallers: what each media type makes of values, and what it refuses."""

from __future__ import annotations

import gzip
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vector_data
from hotrod_codec import DecodeError, EncodeError, MediaType, protostream
from hotrod_codec.marshallers import (
    BYTES,
    JSON,
    PROTOSTREAM,
    TEXT,
    BytesMarshaller,
    JsonMarshaller,
    Marshaller,
    ProtoStreamMarshaller,
    TextMarshaller,
    many_decoder,
    many_encoder,
    marshaller_for,
    one_decoder,
    one_encoder,
)
from hotrod_codec.ops import MEDIA_TYPES

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("marshaller", "media_type", "number"),
    [
        (BYTES, "application/octet-stream", 3),
        (TEXT, "text/plain", 13),
        (JSON, "application/json", 2),
        (PROTOSTREAM, "application/x-protostream", 12),
    ],
)
def test_instances(marshaller: Marshaller[Any], media_type: str, number: int) -> None:
    assert str(marshaller.media_type) == media_type
    assert marshaller.media_type.id == number
    assert repr(marshaller).endswith(f"Marshaller {media_type}>")


@pytest.mark.parametrize(
    ("marshaller", "value", "data"),
    [
        (BYTES, b"\x00\xff", b"\x00\xff"),
        (TEXT, "naïve 😀", b"na\xc3\xafve \xf0\x9f\x98\x80"),
        (JSON, {"é": [1, None, True, 0.5]}, b'{"\xc3\xa9":[1,null,true,0.5]}'),
        (PROTOSTREAM, "key1", b"\x4a\x04key1"),
        (PROTOSTREAM, None, b""),
        (ProtoStreamMarshaller(type="int32"), 5, b"\x28\x05"),
    ],
)
def test_both_directions(marshaller: Marshaller[Any], value: Any, data: bytes) -> None:
    assert marshaller.encode(value) == data
    for form in (data, bytearray(data), memoryview(data)):
        assert marshaller.decode(form) == value


# As Java's String.getBytes has it; Python's own would write the machine's byte order.
@pytest.mark.parametrize(
    ("charset", "text", "data"),
    [
        ("utf-8", "é", "c3a9"),
        ("ISO-8859-1", "é", "e9"),
        ("windows-1252", "€", "80"),
        ("UTF-16", "a", "feff0061"),
        ("UTF-16", "", ""),
        ("UTF-16LE", "a", "6100"),
        ("UTF-32", "a", "00000061"),
    ],
)
def test_charsets(charset: str, text: str, data: str) -> None:
    marshaller = marshaller_for(f"text/plain; charset={charset}")
    assert marshaller.encode(text).hex() == data
    assert marshaller.decode(bytes.fromhex(data)) == text
    assert str(marshaller.media_type) == f"text/plain; charset={charset}"


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        ("utf-16", "0061"),
        ("utf-16", "fffe6100"),
        ("utf-32", "fffe000061000000"),
        ("utf-32", "0000feff00000061"),
    ],
)
def test_byte_order_marks_are_obeyed(charset: str, data: str) -> None:
    assert marshaller_for(f"text/plain; charset={charset}").decode(bytes.fromhex(data)) == "a"


@pytest.mark.parametrize(
    "charset", ["nope", "base64", "rot13", "idna", "unicode_escape", "punycode", "undefined", ""]
)
def test_what_is_no_charset(charset: str) -> None:
    with pytest.raises(EncodeError, match=r"media_type: .* is no charset"):
        TextMarshaller(f"text/plain; charset={charset}")


def test_quotes_and_case_of_the_parameter() -> None:
    assert TextMarshaller('text/plain; CharSet="ISO-8859-1"').encode("é") == b"\xe9"
    assert JsonMarshaller("application/json; charset=utf-16").encode("é") == (
        b"\xfe\xff\x00\x22\x00\xe9\x00\x22"
    )


@pytest.mark.parametrize(
    ("marshaller", "value", "problem"),
    [
        (BYTES, "text", "application/octet-stream: expected bytes, got str"),
        (BYTES, 5, "application/octet-stream: expected bytes, got int"),
        (BYTES, None, "application/octet-stream: expected bytes, got NoneType"),
        (TEXT, b"text", "text/plain: expected str, got bytes"),
        (TEXT, None, "text/plain: expected str, got NoneType"),
        (JSON, b"", "application/json: Object of type bytes is not JSON serializable"),
        (JSON, {"a": {1, 2}}, "application/json: Object of type set"),
        (JSON, {1: 2}, "application/json: keys are str, not int"),
        (JSON, [{"a": ({None: 1},)}], "application/json: keys are str, not NoneType"),
        (PROTOSTREAM, {"a": 1}, "dict has no type in ProtoStream"),
        (ProtoStreamMarshaller(type="int32"), "5", "int32: "),
    ],
)
def test_values_of_the_wrong_type(marshaller: Marshaller[Any], value: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        marshaller.encode(value)


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("marshaller", "value", "problem"),
    [
        (TEXT, "a\ud83d", "text/plain: character 1 is not in utf-8"),
        (TextMarshaller("text/plain; charset=ascii"), "é", "character 0 is not in ascii"),
        (JSON, math.nan, "application/json: Out of range float values"),
        (JSON, endless(), "application/json: Circular reference"),
        (JSON, deep(), "application/json: nested too deep"),
        (JSON, "\ud83d", "application/json: character 1 is not in utf-8"),
        (PROTOSTREAM, 2**63, "int64: "),
    ],
)
def test_values_that_cannot_be_said(marshaller: Marshaller[Any], value: Any, problem: str) -> None:
    with pytest.raises(EncodeError, match=problem):
        marshaller.encode(value)


@pytest.mark.parametrize(
    ("marshaller", "data", "problem"),
    [
        (TEXT, b"ab\xff", "text/plain: value at byte 2: not utf-8"),
        (TextMarshaller("text/plain; charset=utf-16"), b"a", "not utf-16"),
        (JSON, b'"\xff"', "application/json: value at byte 1: not utf-8"),
        (JSON, b"", "application/json: value at byte 0: not JSON"),
        (JSON, b'"\xc3\xa9",', "application/json: value at byte 4: not JSON: Extra data"),
        (JSON, b"NaN", "NaN is no number of JSON"),
        (JSON, b"[-Infinity]", "-Infinity is no number of JSON"),
        (JSON, b"[" * 100_000, "nested too deep"),
        (JSON, b"1" * 5000, "not JSON: Exceeds the limit"),
        (PROTOSTREAM, b"\x4a\x05a", "WrappedMessage: string at byte 1"),
        (PROTOSTREAM, pickle.dumps(1), "WrappedMessage: "),
    ],
)
def test_bytes_that_are_something_else(
    marshaller: Marshaller[Any], data: bytes, problem: str
) -> None:
    with pytest.raises(DecodeError, match=problem):
        marshaller.decode(data)


@pytest.mark.parametrize("marshaller", [BYTES, TEXT, JSON, PROTOSTREAM])
def test_only_bytes_are_decoded(marshaller: Marshaller[Any]) -> None:
    for wrong in ("text", 5, None):
        with pytest.raises(TypeError):
            marshaller.decode(wrong)  # type: ignore[arg-type]


# Of the protocol's table, what has no marshaller.
JAVA_ONLY = {
    "application/x-java-object",
    "application/x-jboss-marshalling",
    "application/x-infinispan-marshalling",
}


@pytest.mark.parametrize("name", MEDIA_TYPES.values())
def test_every_media_type_of_the_protocol(name: str) -> None:
    if name in JAVA_ONLY:
        with pytest.raises(EncodeError, match=f"{name}: only Java reads this; BytesMarshaller"):
            marshaller_for(name)
        return
    marshaller = marshaller_for(name)
    assert marshaller.media_type == MediaType.parse(name)
    value = "a" if name.startswith("text/") or name.endswith(("json", "protostream")) else b"a"
    assert marshaller.decode(marshaller.encode(value)) == value


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("application/vnd.api+json", JsonMarshaller),
        ("APPLICATION/JSON", JsonMarshaller),
        ("application/xml", TextMarshaller),
        ("text/x-mine", TextMarshaller),
        ("image/png", BytesMarshaller),
        (MediaType("application/x-protostream"), ProtoStreamMarshaller),
    ],
)
def test_other_media_types(name: str | MediaType, kind: type) -> None:
    assert type(marshaller_for(name)) is kind


@pytest.mark.parametrize("name", ["application/x-mine", "application/x-python-pickle", "audio/ogg"])
def test_unknown_media_types(name: str) -> None:
    with pytest.raises(EncodeError, match=f"media_type: {name}: there is no marshaller for this"):
        marshaller_for(name)


def test_what_is_no_media_type() -> None:
    with pytest.raises(ValueError, match="is no media type"):
        marshaller_for("json")


@given(TEXTS)
def test_text_round_trip(text: str) -> None:
    for charset in ("utf-8", "utf-16", "utf-16-le", "utf-32"):
        marshaller = marshaller_for(f"text/plain; charset={charset}")
        data = marshaller.encode(text)
        # A mark at the beginning is taken for the byte order, by Java as well.
        if not (charset == "utf-32" and text.startswith("\ufeff")):
            assert marshaller.decode(data) == text


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | TEXTS,
        lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    )
)
def test_json_round_trip(value: Any) -> None:
    data = JSON.encode(value)
    assert JSON.decode(data) == value
    assert json.loads(data) == value


@given(st.binary(max_size=40))
def test_any_bytes_end_in_a_value_or_an_error(data: bytes) -> None:
    for marshaller in (TEXT, JSON, PROTOSTREAM, marshaller_for("text/plain; charset=utf-16")):
        try:
            marshaller.decode(data)
        except DecodeError as problem:
            assert 0 <= problem.offset <= len(data)  # noqa: PT017


def test_no_marshaller_runs_what_it_reads() -> None:
    bomb = pickle.dumps(gzip.GzipFile)
    assert BYTES.decode(bomb) == bomb
    for marshaller in (TEXT, JSON, PROTOSTREAM):
        with pytest.raises(DecodeError):
            marshaller.decode(bomb)
    package = Path(protostream.__file__).parent.parent
    for source in (package / "marshallers.py", *sorted((package / "protostream").glob("*.py"))):
        assert "import pickle" not in source.read_text(encoding="utf-8")


def test_recorded_strings_of_java() -> None:
    """Keys and values of Java's client with its default marshaller."""
    counted = 0
    for vector in vector_data.load("query"):
        passed = (vector.expected or {}).get("passed") or {}
        body = ((vector.fields or {}).get("request") or {}).get("body") or {}
        for name in ("key", "value"):
            if isinstance(passed.get(name), str) and isinstance(body.get(name), str):
                counted += 1
                assert PROTOSTREAM.encode(passed[name]).hex() == body[name], vector.id
                assert PROTOSTREAM.decode(bytes.fromhex(body[name])) == passed[name], vector.id
    assert counted > 200


# ---- many at once


class _Shouting(TextMarshaller):
    def encode(self, value: str, /) -> bytes:
        return super().encode(value.upper())

    def decode(self, data: Any, /) -> str:
        return super().decode(data).lower()


MANY: list[tuple[Marshaller[Any], list[Any]]] = [
    (BYTES, [b"a", b""]),
    (BYTES, [b"a", bytearray(b"b"), memoryview(b"c")]),
    (TEXT, ["a", "\u00e9", ""]),
    (TEXT, ["a", type("Str", (str,), {})("b")]),
    (TextMarshaller("text/plain; charset=iso-8859-1"), ["a", "\u00e9"]),
    (_Shouting(), ["a", "b"]),
    (JSON, [{"a": 1}, None, "x"]),
    (PROTOSTREAM, ["a", 5, None]),
]


@pytest.mark.parametrize(("marshaller", "values"), MANY)
def test_many_are_as_each(marshaller: Marshaller[Any], values: list[Any]) -> None:
    datas = many_encoder(marshaller)(values)
    assert datas == [marshaller.encode(value) for value in values]
    assert {type(data) for data in datas} == {bytes}
    encode, decode = one_encoder(marshaller), one_decoder(marshaller)
    assert [encode(value) for value in values] == datas
    expected = [marshaller.decode(data) for data in datas]
    assert [decode(data) for data in datas] == expected
    assert [decode(cast(Any, memoryview(data))) for data in datas] == expected
    assert list(many_decoder(marshaller)(datas)) == expected
    with_none = [None, *datas, None]
    assert list(many_decoder(marshaller)(with_none)) == [None, *expected, None]
    assert many_encoder(marshaller)([]) == list(many_decoder(marshaller)([])) == []


@pytest.mark.parametrize(
    ("marshaller", "values"),
    [(BYTES, [b"a", 5]), (TEXT, ["a", b"b"]), (TEXT, ["a", "\ud800"]), (JSON, [1, {1}])],
)
def test_one_of_many_cannot_be_said(marshaller: Marshaller[Any], values: list[Any]) -> None:
    with pytest.raises((TypeError, EncodeError)) as expected:
        marshaller.encode(values[1])
    for encode in (many_encoder(marshaller), lambda values: one_encoder(marshaller)(values[1])):
        with pytest.raises(type(expected.value)) as caught:
            encode(values)
        assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize(("marshaller", "data"), [(TEXT, b"\xff"), (JSON, b"{"), (TEXT, 5)])
def test_those_before_one_that_is_wrong(marshaller: Marshaller[Any], data: Any) -> None:
    """They are not lost."""
    good = marshaller.encode("a")
    values = iter(many_decoder(marshaller)([good, good, data, good]))
    assert [next(values), next(values)] == ["a", "a"]
    with pytest.raises((TypeError, DecodeError)) as expected:
        marshaller.decode(data)
    each: tuple[Callable[[], Any], ...] = (
        lambda: next(values),
        lambda: one_decoder(marshaller)(data),
    )
    for decode in each:
        with pytest.raises(type(expected.value)) as caught:
            decode()
        assert str(caught.value) == str(expected.value)
