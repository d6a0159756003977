"""Multimaps: several values under a key, as a set or, from 4.0 on, with duplicates."""

from __future__ import annotations

from typing import Any

import pytest

from hotrod_codec import MediaType, Op, Status, Version, protostream
from integration.peers import Peer

GET, GET_WITH_METADATA = Op.GET_MULTIMAP, Op.GET_MULTIMAP_WITH_METADATA
PUT, SIZE = Op.PUT_MULTIMAP, Op.SIZE_MULTIMAP
REMOVE_KEY, REMOVE_ENTRY = Op.REMOVE_KEY_MULTIMAP, Op.REMOVE_ENTRY_MULTIMAP
CONTAINS_ENTRY, CONTAINS_KEY = Op.CONTAINS_ENTRY_MULTIMAP, Op.CONTAINS_KEY_MULTIMAP
CONTAINS_VALUE = Op.CONTAINS_VALUE_MULTIMAP


@pytest.fixture
def peer(peer: Peer) -> Peer:
    peer.cache = "multimap"
    return peer


def put(peer: Peer, key: bytes, *values: bytes, **arguments: Any) -> None:
    for value in values:
        answer = peer.call(PUT, key=key, value=value, **arguments)
        assert (answer.status, answer.fields) == (Status.SUCCESS, {})


def values(peer: Peer, key: bytes, **arguments: Any) -> list[bytes]:
    answer = peer.call(GET, key=key, **arguments)
    assert answer.status == Status.SUCCESS
    return sorted(answer.values)


@pytest.mark.operation(PUT, GET)
def test_a_key_has_several_values(peer: Peer, key: bytes) -> None:
    put(peer, key, b"one", b"two", b"", b"three" * 100)
    assert values(peer, key) == [b"", b"one", b"three" * 100, b"two"]


@pytest.mark.operation(PUT, GET)
def test_a_value_is_there_once(peer: Peer, key: bytes) -> None:
    put(peer, key, b"one", b"two", b"one")
    assert values(peer, key) == [b"one", b"two"]


@pytest.mark.operation(PUT, GET, CONTAINS_ENTRY)
@pytest.mark.versions(since=Version.V2_8, legacy=False)
@pytest.mark.parametrize(
    ("data", "named"),
    [
        (protostream.encode(b"one"), MediaType("application/x-protostream")),
        (protostream.encode("one"), MediaType("application/x-protostream")),
        (b"\xe9", MediaType("text/plain", (("charset", "ISO-8859-1"),))),
        (b"\xff", MediaType("application/json")),
    ],
    ids=["bytes", "string", "text", "json"],
)
def test_neither_keys_nor_values_are_converted(peer: Peer, data: bytes, named: MediaType) -> None:
    types = {"key_media_type": named, "value_media_type": named}
    put(peer, data, data, **types)
    assert values(peer, data, **types) == [data]
    assert values(peer, data) == [data]
    octets = dict.fromkeys(types, MediaType("application/octet-stream"))
    assert values(peer, data, **octets) == [data]
    assert peer.call(CONTAINS_ENTRY, key=data, value=data, **octets).result
    assert peer.call(REMOVE_KEY, key=data).result


@pytest.mark.operation(GET_WITH_METADATA)
def test_values_have_metadata(peer: Peer, key: bytes) -> None:
    put(peer, key, b"one", b"two")
    answer = peer.call(GET_WITH_METADATA, key=key)
    assert (answer.status, sorted(answer.values)) == (Status.SUCCESS, [b"one", b"two"])
    assert (answer.metadata.lifespan, answer.metadata.max_idle) == (None, None)


def check_no_values(peer: Peer, key: bytes) -> None:
    answer = peer.call(GET, key=key)
    if peer.target.is_legacy:  # which has an empty list of values
        assert (answer.status, answer.fields) == (Status.SUCCESS, {"values": []})
    else:
        assert (answer.status, answer.fields) == (Status.KEY_DOES_NOT_EXIST, {})


@pytest.mark.operation(GET)
def test_a_missing_key_has_no_values(peer: Peer, key: bytes) -> None:
    check_no_values(peer, key)


@pytest.mark.operation(GET_WITH_METADATA)
def test_a_missing_key_has_no_metadata(peer: Peer, key: bytes) -> None:
    answer = peer.call(GET_WITH_METADATA, key=key)
    assert (answer.status, answer.fields) == (Status.KEY_DOES_NOT_EXIST, {})
    # Server 9.4 has an entry that is none behind the status: read and dropped.
    assert answer.canonical is not peer.target.is_legacy


@pytest.mark.operation(REMOVE_ENTRY)
def test_one_value_is_removed(peer: Peer, key: bytes) -> None:
    put(peer, key, b"one", b"two")
    for removed in (True, False):
        answer = peer.call(REMOVE_ENTRY, key=key, value=b"one")
        assert (answer.status, answer.fields) == (Status.SUCCESS, {"result": removed})
    assert values(peer, key) == [b"two"]


@pytest.mark.operation(REMOVE_KEY)
def test_all_values_are_removed(peer: Peer, key: bytes) -> None:
    put(peer, key, b"one", b"two")
    for removed in (True, False):
        answer = peer.call(REMOVE_KEY, key=key)
        assert (answer.status, answer.fields) == (Status.SUCCESS, {"result": removed})
    check_no_values(peer, key)


@pytest.mark.operation(SIZE)
def test_size_counts_pairs(peer: Peer, key: bytes) -> None:
    peer.call(Op.CLEAR)
    assert peer.call(SIZE)["size"] == 0
    put(peer, key, b"one", b"two")
    put(peer, b"other " + key, b"one")
    answer = peer.call(SIZE)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {"size": 3})


@pytest.mark.operation(CONTAINS_ENTRY, CONTAINS_KEY, CONTAINS_VALUE)
def test_what_is_in_there(peer: Peer, key: bytes) -> None:
    value = b"value of " + key
    put(peer, key, value, b"two")
    questions: list[tuple[Op, dict[str, bytes], bool]] = [
        (CONTAINS_ENTRY, {"key": key, "value": value}, True),
        (CONTAINS_ENTRY, {"key": key, "value": b"three"}, False),
        (CONTAINS_ENTRY, {"key": b"missing", "value": value}, False),
        (CONTAINS_KEY, {"key": key}, True),
        (CONTAINS_KEY, {"key": b"missing"}, False),
        (CONTAINS_VALUE, {"value": value}, True),
        (CONTAINS_VALUE, {"value": b"no " + value}, False),
    ]
    for op, arguments, expected in questions:
        answer = peer.call(op, **arguments)
        assert (answer.status, answer.fields) == (Status.SUCCESS, {"result": expected})


@pytest.mark.operation(PUT, REMOVE_ENTRY, CONTAINS_ENTRY, CONTAINS_VALUE)
def test_durations_are_taken_and_have_no_effect(peer: Peer, key: bytes) -> None:
    durations = {"lifespan": 3600, "max_idle": 60}
    put(peer, key, b"one", b"two", **durations)
    metadata = peer.call(GET_WITH_METADATA, key=key).metadata
    assert (metadata.lifespan, metadata.max_idle) == (None, None)
    assert peer.call(CONTAINS_ENTRY, key=key, value=b"one", **durations).result is True
    assert peer.call(CONTAINS_VALUE, value=b"one", **durations).result is True
    assert peer.call(REMOVE_ENTRY, key=key, value=b"one", **durations).result is True


DUPLICATES = {"supports_duplicates": True}


@pytest.mark.versions(since=Version.V4_0)
@pytest.mark.operation(PUT, GET, GET_WITH_METADATA, SIZE, CONTAINS_ENTRY)
def test_with_duplicates_a_value_is_there_as_often_as_put(peer: Peer, key: bytes) -> None:
    peer.call(Op.CLEAR)
    put(peer, key, b"one", b"two", b"one", **DUPLICATES)
    assert values(peer, key, **DUPLICATES) == [b"one", b"one", b"two"]
    found = peer.call(GET_WITH_METADATA, key=key, **DUPLICATES)
    assert sorted(found.values) == [b"one", b"one", b"two"]
    assert peer.call(SIZE, **DUPLICATES)["size"] == 3
    assert peer.call(CONTAINS_ENTRY, key=key, value=b"one", **DUPLICATES).result is True
    assert peer.call(CONTAINS_KEY, key=key, **DUPLICATES).result is True
    assert peer.call(CONTAINS_VALUE, value=b"two", **DUPLICATES).result is True


@pytest.mark.versions(since=Version.V4_0)
@pytest.mark.operation(REMOVE_ENTRY, REMOVE_KEY)
def test_all_duplicates_are_removed_at_once(peer: Peer, key: bytes) -> None:
    put(peer, key, b"one", b"two", b"one", **DUPLICATES)
    assert peer.call(REMOVE_ENTRY, key=key, value=b"one", **DUPLICATES).result is True
    assert values(peer, key, **DUPLICATES) == [b"two"]
    assert peer.call(REMOVE_KEY, key=key, **DUPLICATES).result is True
