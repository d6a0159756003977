"""Values in chunks, as users of the clients have them."""

from __future__ import annotations

from typing import Any

import pytest

from hotrod_codec import Op, Version
from hotrod_codec.errors import EncodeError
from hotrod_codec.marshallers import BYTES, TEXT

VALUE = bytes(range(251)) * 400  # in no chunk twice the same

chunked = pytest.mark.operation(
    Op.START_GET_STREAM,
    Op.NEXT_GET_STREAM,
    Op.END_GET_STREAM,
    Op.START_PUT_STREAM,
    Op.NEXT_PUT_STREAM,
    Op.END_PUT_STREAM,
)


@pytest.fixture
def octets(client: Any) -> Any:
    return client.cache("octets", keys=BYTES, values=BYTES)


@chunked
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 100_000])
def test_there_and_back(octets: Any, key: bytes, size: int) -> None:
    value = VALUE[:size]
    with octets.put_stream(key, chunk_size=4096, lifespan=3600) as stream:
        assert not octets.contains_key(key)
        for at in range(0, size, 3000):
            assert stream.write(value[at : at + 3000]) == len(value[at : at + 3000])
        assert stream.stored is None
    assert stream.stored is True
    assert stream.closed
    assert octets.get(key) == value
    with octets.get_stream(key, chunk_size=4096) as stream:
        assert stream.metadata.lifespan == 3600
        assert stream.read() == value
        assert stream.read() == stream.read(7) == b""


@chunked
def test_one_long_write_is_several_chunks(octets: Any, key: bytes) -> None:
    with octets.put_stream(key, chunk_size=1000) as stream:
        stream.write(memoryview(VALUE))
        stream.write(b"")
        stream.write(bytearray(b"end"))
    assert octets.get(key) == VALUE + b"end"


@chunked
def test_reading_piece_by_piece(octets: Any, key: bytes) -> None:
    octets.put(key, VALUE)
    with octets.get_stream(key, chunk_size=1000) as stream:
        assert stream.read(1) == VALUE[:1]
        assert stream.read(0) == b""
        assert stream.read(2500) == VALUE[1:2501]
        buffer = bytearray(10)
        assert stream.readinto(buffer) == 10
        assert buffer == VALUE[2501:2511]
        assert stream.read(10**6) == VALUE[2511:]
        assert stream.readinto(buffer) == 0


@chunked
def test_a_missing_key_has_no_stream(octets: Any, key: bytes) -> None:
    assert octets.get_stream(key) is None


@chunked
def test_conditions(octets: Any, key: bytes) -> None:
    def put(value: bytes, **conditions: Any) -> bool | None:
        with octets.put_stream(key, **conditions) as stream:
            stream.write(value)
        found: bool | None = stream.stored
        return found

    for empty in (b"", b"v"):  # an empty value goes another way
        octets.remove(key)
        assert put(empty, version=5) is False
        assert put(empty, if_absent=True) is True
        assert put(b"w", if_absent=True) is False
        assert put(empty, if_absent=True) is False
        version = octets.get_with_metadata(key).version
        assert put(b"x", version=version) is True
        assert put(empty, version=version) is False
        assert octets.get(key) == b"x"
    with pytest.raises(EncodeError, match="if_absent"):
        octets.put_stream(key, if_absent=True, version=1)
    for wrong in ({"version": 0}, {"version": -1}, {"chunk_size": 0}):
        with pytest.raises(EncodeError, match="less than 1"):
            octets.put_stream(key, **wrong)
    with pytest.raises(EncodeError, match="less than 1"):
        octets.get_stream(key, chunk_size=0)


@chunked
def test_what_an_exception_leaves_is_not_stored(octets: Any, key: bytes) -> None:
    def fail() -> None:
        with octets.put_stream(key, chunk_size=10) as stream:
            stream.write(VALUE)
            streams.append(stream)
            raise ZeroDivisionError

    streams: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert not octets.contains_key(key)
    stream = octets.put_stream(key)
    stream.write(b"v")
    stream.abandon()
    streams.append(stream)
    for stream in streams:
        assert (stream.closed, stream.stored) == (True, None)
        stream.close()
        stream.abandon()
        with pytest.raises(ValueError, match="closed"):
            stream.write(b"v")
    assert not octets.contains_key(key)


@chunked
def test_a_reader_that_is_closed(octets: Any, key: bytes) -> None:
    octets.put(key, VALUE)
    stream = octets.get_stream(key, chunk_size=10)
    assert stream.read(15) == VALUE[:15]
    assert not stream.closed
    stream.close()
    stream.close()
    assert stream.closed
    with pytest.raises(ValueError, match="closed"):
        stream.read()


@chunked
def test_the_bytes_are_those_of_the_media_type(client: Any, key: bytes) -> None:
    name = key.decode()
    for cache in ("text", "proto"):
        texts = client.cache(cache, keys=TEXT, values=TEXT)
        with texts.put_stream(name) as stream:
            stream.write("grüße".encode())
        assert texts.get(name) == "grüße"
        with texts.get_stream(name) as stream:
            assert stream.read().decode() == "grüße"


@pytest.mark.versions(until=Version.V4_0)
def test_older_versions_have_none(octets: Any, key: bytes) -> None:
    for call in (octets.get_stream, octets.put_stream):
        with pytest.raises(EncodeError, match=r"from version 4\.1 on"):
            call(key)
