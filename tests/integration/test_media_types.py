"""Media types of the header: the server converts between them and what the cache stores."""

from __future__ import annotations

import json

import pytest

from hotrod_codec import Flag, MediaType, Op, Status, Version, protostream
from integration.peers import Peer

pytestmark = pytest.mark.versions(since=Version.V2_8)

TEXT = MediaType("text/plain")
LATIN_1 = MediaType("text/plain", (("charset", "ISO-8859-1"),))
UTF_8 = MediaType("text/plain", (("charset", "UTF-8"),))


@pytest.mark.operation(Op.PUT, Op.GET)
def test_text_comes_back_in_the_charset_that_is_asked_for(peer: Peer, key: bytes) -> None:
    text = "Müßiggang"
    written = {"key_media_type": UTF_8, "value_media_type": UTF_8}
    peer.call(Op.PUT, cache="text", key=key, value=text.encode(), **written)
    for charset, name in ((LATIN_1, "latin-1"), (UTF_8, "utf-8")):
        answer = peer.call(
            Op.GET, cache="text", key=key, key_media_type=UTF_8, value_media_type=charset
        )
        assert answer.value.decode(name) == text


@pytest.mark.operation(Op.PUT, Op.GET)
def test_keys_are_converted_too(peer: Peer) -> None:
    key = f"Schlüssel {peer.target}"
    types = {"value_media_type": UTF_8, "key_media_type": LATIN_1}
    peer.call(Op.PUT, cache="text", key=key.encode("latin-1"), value=b"one", **types)
    types["key_media_type"] = UTF_8
    assert peer.call(Op.GET, cache="text", key=key.encode(), **types).value == b"one"


@pytest.mark.operation(Op.GET)
@pytest.mark.parametrize(
    "named",
    [
        MediaType("application/octet-stream"),
        MediaType("application/octet-stream", custom=True),
        "application/octet-stream",
        MediaType("application/unknown"),
        None,
    ],
    ids=["by number", "by name", "text", "unknown", "none"],
)
def test_each_way_to_name_the_stored_type(
    peer: Peer, key: bytes, named: MediaType | str | None
) -> None:
    peer.call(Op.PUT, key=key, value=b"\x00\xff")
    answer = peer.call(Op.GET, key=key, key_media_type=named, value_media_type=named)
    assert answer.value == b"\x00\xff"


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
def test_json_is_json_as_text_too(peer: Peer, key: bytes) -> None:
    document = {"name": "Ada", "years": [1815, 1852]}
    name = json.dumps(key.decode()).encode()
    as_json = {"key_media_type": "application/json", "value_media_type": "application/json"}
    peer.call(Op.PUT, cache="json", key=name, value=json.dumps(document).encode(), **as_json)
    for value_type in ("application/json", "text/plain"):
        answer = peer.call(
            Op.GET, cache="json", key=name, **(as_json | {"value_media_type": value_type})
        )
        assert json.loads(answer.value) == document


@pytest.mark.operation(Op.PUT, Op.GET, Op.PUT_IF_ABSENT)
def test_a_cache_of_objects_says_so_until_2_8(peer: Peer, key: bytes) -> None:
    text = {"key_media_type": TEXT, "value_media_type": TEXT, "cache": "objects"}
    hint = peer.version <= Version.V2_8
    forced = Flag.FORCE_RETURN_VALUE

    put = peer.call(Op.PUT, key=key, value=b"one", flags=forced, **text)
    again = peer.call(Op.PUT_IF_ABSENT, key=key, value=b"two", flags=forced, **text)
    get = peer.call(Op.GET, key=key, **text)

    assert put.status == (
        Status.SUCCESS_WITH_PREVIOUS_OBJ_STORAGE if hint else Status.SUCCESS_WITH_PREVIOUS
    )
    assert again.status == (
        Status.NOT_EXECUTED_WITH_PREVIOUS_OBJ_STORAGE if hint else Status.NOT_EXECUTED_WITH_PREVIOUS
    )
    assert get.status == (Status.SUCCESS_OBJ_STORAGE if hint else Status.SUCCESS)
    assert (again.previous, get.value) == (b"one", b"one")


# ------------------------------------------------------------------ protostream, newer servers

PROTOSTREAM = MediaType("application/x-protostream")
OCTETS = MediaType("application/octet-stream")
JSON = MediaType("application/json")


def typed(key: MediaType | None, value: MediaType | None) -> dict[str, MediaType | None]:
    return {"key_media_type": key, "value_media_type": value}


def put_typed(
    peer: Peer, cache: str, key: bytes, value: bytes, stored_as: MediaType | None
) -> None:
    """Put a value under a key that is not converted."""
    answer = peer.call(Op.PUT, cache=cache, key=key, value=value, **typed(None, stored_as))
    assert answer.status == Status.SUCCESS, answer


def read_as(peer: Peer, cache: str, key: bytes, value_type: MediaType | None) -> bytes | None:
    answer = peer.call(Op.GET, cache=cache, key=key, **typed(None, value_type))
    assert not answer.is_error, answer
    value: bytes | None = answer.value
    return value


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize(
    ("written", "as_type", "read", "read_type"),
    [
        ("text", TEXT, protostream.encode("text"), None),
        (protostream.encode("text"), PROTOSTREAM, b"text", TEXT),
        (protostream.encode(b"\x00\xff"), PROTOSTREAM, b"\x00\xff", OCTETS),
        (b"\x00\xff", OCTETS, protostream.encode(b"\x00\xff"), PROTOSTREAM),
        (protostream.encode("text"), PROTOSTREAM, protostream.encode("text"), OCTETS),
        (protostream.encode(protostream.Int32(-5)), PROTOSTREAM, b"-5", TEXT),
        (protostream.encode(2**40), PROTOSTREAM, b"1099511627776", TEXT),
        (protostream.encode(True), PROTOSTREAM, b"true", TEXT),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else str(value),
)
def test_what_a_cache_of_protostream_makes_of_it(
    peer: Peer,
    key: bytes,
    written: str | bytes,
    as_type: MediaType,
    read: bytes,
    read_type: MediaType | None,
) -> None:
    wrapped = protostream.encode(key)
    data = written.encode() if isinstance(written, str) else written
    put_typed(peer, "proto", wrapped, data, as_type)
    assert read_as(peer, "proto", wrapped, read_type) == read


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize(
    ("value", "document"),
    [
        (protostream.Int32(5), {"_type": "int32", "_value": 5}),
        (2**40, {"_type": "int64", "_value": 2**40}),
        ("text", {"_type": "string", "_value": "text"}),
        (True, {"_type": "bool", "_value": True}),
        (1.5, {"_type": "double", "_value": 1.5}),
        (b"\x00\xff", {"_type": "bytes", "_value": "AP8="}),
    ],
    ids=repr,
)
def test_scalars_of_protostream_in_json(
    peer: Peer, key: bytes, value: object, document: dict[str, object]
) -> None:
    wrapped = protostream.encode(key)
    put_typed(peer, "proto", wrapped, protostream.encode(value), PROTOSTREAM)
    found = read_as(peer, "proto", wrapped, JSON)
    assert found is not None
    assert json.loads(found) == document
    put_typed(peer, "proto", wrapped, json.dumps(document).encode(), JSON)
    assert read_as(peer, "proto", wrapped, None) == protostream.encode(value)


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
def test_the_same_key_as_text_and_as_protostream(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, cache="proto", key=key, value=b"one", **typed(TEXT, TEXT))
    answer = peer.call(
        Op.GET, cache="proto", key=protostream.encode(key.decode()), **typed(PROTOSTREAM, TEXT)
    )
    assert answer.value == b"one"


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize(
    ("cache", "value", "as_type"),
    [
        ("proto", b'"text"', JSON),
        ("proto", b"{", JSON),
        ("proto", b"5", JSON),
        ("octets", b"\xff\xff no message", PROTOSTREAM),
    ],
)
def test_what_cannot_be_converted_is_an_error(
    peer: Peer, key: bytes, cache: str, value: bytes, as_type: MediaType
) -> None:
    stored_key = protostream.encode(key) if cache == "proto" else key
    answer = peer.call(Op.PUT, cache=cache, key=stored_key, value=value, **typed(None, as_type))
    assert answer.status == Status.SERVER_ERROR
    assert answer.error
    assert read_as(peer, cache, stored_key, None) is None


@pytest.mark.operation(Op.PUT)
@pytest.mark.versions(legacy=False)
def test_a_cache_of_bytes_is_no_place_for_json(peer: Peer, key: bytes) -> None:
    answer = peer.call(Op.PUT, key=key, value=b"{}", **typed(None, JSON))
    expected = Status.SERVER_ERROR if peer.target.is_modern else Status.SUCCESS
    assert answer.status == expected


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize(
    ("written", "read"),
    [(protostream.encode(b"one"), b"one"), (protostream.encode("one"), protostream.encode("one"))],
    ids=["bytes", "text"],
)
def test_a_cache_of_bytes_unwraps_only_bytes(
    peer: Peer, key: bytes, written: bytes, read: bytes
) -> None:
    put_typed(peer, "octets", key, written, PROTOSTREAM)
    assert read_as(peer, "octets", key, None) == read
    assert read_as(peer, "octets", key, OCTETS) == read
    assert read_as(peer, "octets", key, PROTOSTREAM) == protostream.encode(read)


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize("value", [b"{", b'{"a":1}', b'"text"', b"text"])
def test_a_cache_of_text_takes_json_as_it_is(peer: Peer, key: bytes, value: bytes) -> None:
    put_typed(peer, "text", key, value, JSON)
    assert read_as(peer, "text", key, None) == value
    assert read_as(peer, "text", key, TEXT) == value


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
def test_a_cache_of_json_takes_text_that_is_json(peer: Peer, key: bytes) -> None:
    key = json.dumps(key.decode()).encode()
    put_typed(peer, "json", key, b'{"a":1}', TEXT)
    found = read_as(peer, "json", key, JSON)
    assert found is not None
    assert json.loads(found) == {"a": 1}
    answer = peer.call(Op.PUT, cache="json", key=key, value=b"{", **typed(None, TEXT))
    assert answer.status == Status.SERVER_ERROR


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize("named", [OCTETS, None], ids=["bytes", "none"])
def test_a_cache_of_json_takes_bytes_that_are_json_and_gives_none(
    peer: Peer, key: bytes, named: MediaType | None
) -> None:
    name = json.dumps(key.decode()).encode()
    as_bytes = {"cache": "json", "key": name, **typed(named, named)}
    assert peer.call(Op.PUT, value=b'{"a":1}', **as_bytes).status == Status.SUCCESS
    assert read_as(peer, "json", name, JSON) == b'{"a":1}'
    read = peer.call(Op.GET, **as_bytes).status
    assert read == (Status.SERVER_ERROR if peer.target.is_modern else Status.SUCCESS)
    assert peer.call(Op.PUT, value=b"{", **as_bytes).status == Status.SERVER_ERROR
    assert peer.call(Op.PUT, value=b"5", **(as_bytes | {"key": b"{"})).status == Status.SERVER_ERROR
    assert read_as(peer, "json", name, JSON) == b'{"a":1}'


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize("cache", ["text", "octets"])
@pytest.mark.parametrize(
    ("content", "is_json"),
    [
        (b'{"a":1}', True),
        (b'"text"', True),
        (b" 5 6", True),
        (b'{"a":1}[2]', True),
        (b"", True),
        (b"text", False),
        (b"{", False),
        (b"5x", False),
        (b'{"a":1}x', False),
        (b'{"a":1}}', False),
        (b"NaN", False),
    ],
)
def test_what_is_read_as_json_has_to_be_json_values(
    peer: Peer, key: bytes, cache: str, content: bytes, is_json: bool
) -> None:
    put_typed(peer, cache, key, content, None)
    answer = peer.call(Op.GET, cache=cache, key=key, **typed(None, JSON))
    assert answer.status == (Status.SUCCESS if is_json else Status.SERVER_ERROR)
    assert not is_json or answer.value == content


@pytest.mark.operation(Op.SIZE, Op.CLEAR)
@pytest.mark.versions(legacy=False)
def test_types_do_not_matter_where_nothing_is_converted(peer: Peer, key: bytes) -> None:
    put_typed(peer, "many", key, b"one", None)
    assert peer.call(Op.SIZE, cache="many", **typed(JSON, JSON)).size >= 1
    assert peer.call(Op.CLEAR, cache="many", **typed(JSON, JSON)).status == Status.SUCCESS


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize(
    ("written", "as_type", "read", "read_type"),
    [
        (b"text", TEXT, protostream.encode("text"), PROTOSTREAM),
        (protostream.encode("text"), PROTOSTREAM, b"text", TEXT),
        (protostream.encode(protostream.Int32(5)), PROTOSTREAM, b"5", TEXT),
        (b"text", TEXT, b"text", TEXT),
    ],
    ids=["text-protostream", "protostream-text", "number-text", "text-text"],
)
@pytest.mark.parametrize("cache", ["text", "objects"])
def test_text_and_objects_as_protostream(
    peer: Peer,
    key: bytes,
    cache: str,
    written: bytes,
    as_type: MediaType,
    read: bytes,
    read_type: MediaType,
) -> None:
    arguments = {"cache": cache, "key": key}
    peer.call(Op.PUT, **arguments, value=written, **typed(TEXT, as_type))
    answer = peer.call(Op.GET, **arguments, **typed(TEXT, read_type))
    assert answer.value == read
