"""Near caches with a Bloom filter: events of those keys only that the client may hold."""

from __future__ import annotations

import pytest

from hotrod_codec import Op, Status, murmur3
from integration.peers import Peer

ADD, UPDATE = Op.ADD_BLOOM_FILTER_NEAR_CACHE_LISTENER, Op.UPDATE_BLOOM_FILTER
MODIFIED, REMOVED = Op.CACHE_ENTRY_MODIFIED, Op.CACHE_ENTRY_REMOVED
BITS = 4096
SEEDS = (239, 1847, 2719)

pytestmark = pytest.mark.operation(ADD)


def bloom(*keys: bytes) -> bytes:
    """The filter that holds these keys."""
    bits = bytearray(BITS // 8)
    for key in keys:
        for seed in SEEDS:
            bit = abs(murmur3(key, seed)) % BITS
            bits[bit // 8] |= 1 << bit % 8
    return bytes(bits).rstrip(b"\0")


@pytest.fixture
def keys(peer: Peer, key: bytes) -> list[bytes]:
    """Three keys that are there; the connection has a listener without any in its filter."""
    keys = [b"%d %b" % (i, key) for i in range(3)]
    for k in keys:
        peer.call(Op.PUT, key=k, value=b"one")
    answer = peer.call(ADD, listener_id=b"near " + key, bloom_bits=BITS)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    return keys


def told(peer: Peer, observer: Peer, keys: list[bytes], count: int) -> list[bytes]:
    """Modify all keys; return those of which there is an event, in all `count`."""
    for key in keys:
        observer.call(Op.PUT, key=key, value=b"two")
    events = [peer.event() for _ in range(count)]
    assert {(event.op, event.custom_marker) for event in events} <= {(MODIFIED, 0)}
    return [event.key for event in events]


@pytest.mark.operation(MODIFIED)
def test_keys_that_were_read_with_metadata_are_told(
    peer: Peer, observer: Peer, keys: list[bytes]
) -> None:
    peer.call(Op.GET, key=keys[0])  # does not count
    peer.call(Op.GET_WITH_METADATA, key=keys[2])
    assert told(peer, observer, keys, 1) == [keys[2]]


@pytest.mark.operation(UPDATE, MODIFIED)
def test_keys_of_the_filter_are_told(peer: Peer, observer: Peer, keys: list[bytes]) -> None:
    answer = peer.call(UPDATE, bloom_filter=bloom(keys[0], keys[1]))
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    assert told(peer, observer, keys, 2) == keys[:2]


@pytest.mark.operation(UPDATE, REMOVED)
def test_an_update_replaces_the_filter(peer: Peer, observer: Peer, keys: list[bytes]) -> None:
    peer.call(UPDATE, bloom_filter=bloom(*keys))
    assert told(peer, observer, keys, 3) == keys
    assert peer.call(UPDATE, bloom_filter=b"").status == Status.SUCCESS
    assert told(peer, observer, keys, 0) == []
    peer.call(UPDATE, bloom_filter=bloom(keys[1]))
    observer.call(Op.REMOVE, key=keys[0])
    observer.call(Op.REMOVE, key=keys[1])
    event = peer.event()
    assert (event.op, event.key) == (REMOVED, keys[1])


@pytest.mark.operation(MODIFIED)
def test_new_entries_are_not_told(peer: Peer, observer: Peer, keys: list[bytes]) -> None:
    new = b"new " + keys[0]
    peer.call(UPDATE, bloom_filter=bloom(new))
    observer.call(Op.PUT, key=new, value=b"one")
    assert told(peer, observer, [new], 1) == [new]


@pytest.mark.operation(UPDATE)
def test_without_a_listener_there_is_no_filter(peer: Peer) -> None:
    answer = peer.call(UPDATE, bloom_filter=bloom(b"any"))
    assert (answer.status, answer.fields) == (Status.NOT_EXECUTED, {})


@pytest.mark.operation(Op.REMOVE_CLIENT_LISTENER, UPDATE)
def test_a_removed_listener_hears_no_more_but_the_filter_stays(
    peer: Peer, observer: Peer, key: bytes, keys: list[bytes]
) -> None:
    peer.call(UPDATE, bloom_filter=bloom(*keys))
    answer = peer.call(Op.REMOVE_CLIENT_LISTENER, listener_id=b"near " + key)
    assert answer.status == Status.SUCCESS
    assert told(peer, observer, keys, 0) == []
    assert peer.call(UPDATE, bloom_filter=bloom(*keys)).status == Status.SUCCESS
