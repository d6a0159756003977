"""Operations on many entries or on the whole cache: clear, size, bulk reads, put_all, get_all."""

from __future__ import annotations

import pytest

from hotrod_codec import Op, Reader, Response, Status, Version
from integration.conftest import Servers
from integration.outcomes import Outcomes
from integration.peers import Peer, Target

MANY = 10_000


def fill(peer: Peer, key: bytes, count: int) -> dict[bytes, bytes]:
    """Put `count` entries, and nothing else, into the cache."""
    assert peer.call(Op.CLEAR).status == Status.SUCCESS
    entries = {b"%b/%d" % (key, i): b"value %d" % i for i in range(count)}
    for k, value in entries.items():
        peer.call(Op.PUT, key=k, value=value)
    return entries


@pytest.mark.operation(Op.CLEAR)
def test_clear_leaves_nothing(peer: Peer, key: bytes) -> None:
    entries = fill(peer, key, 3)
    answer = peer.call(Op.CLEAR)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    statuses = {peer.call(Op.GET, key=k).status for k in entries}
    assert statuses == {Status.KEY_DOES_NOT_EXIST}


@pytest.mark.operation(Op.SIZE)
@pytest.mark.parametrize("count", [0, 1, 200])
def test_size_counts_the_entries(peer: Peer, key: bytes, count: int) -> None:
    fill(peer, key, count)
    assert peer.call(Op.SIZE).fields == {"size": count}


@pytest.mark.operation(Op.BULK_GET)
def test_bulk_get_gives_every_entry_once(peer: Peer, key: bytes) -> None:
    entries = fill(peer, key, 150)
    answer = peer.call(Op.BULK_GET)
    assert answer.status == Status.SUCCESS
    assert sorted(answer.entries) == sorted(entries.items())


@pytest.mark.operation(Op.BULK_GET)
def test_bulk_get_gives_at_most_as_many_as_asked(peer: Peer, key: bytes) -> None:
    entries = fill(peer, key, 20)
    found = peer.call(Op.BULK_GET, count=7).entries
    assert len(found) == 7
    assert set(found) <= set(entries.items())
    assert len(peer.call(Op.BULK_GET, count=1000).entries) == 20


@pytest.mark.operation(Op.BULK_GET, Op.BULK_GET_KEYS)
def test_bulk_reads_of_an_empty_cache(peer: Peer) -> None:
    peer.call(Op.CLEAR)
    assert peer.call(Op.BULK_GET).entries == []
    assert peer.call(Op.BULK_GET_KEYS).keys == []


@pytest.mark.operation(Op.BULK_GET_KEYS)
@pytest.mark.parametrize("scope", [0, 1, 2])
def test_bulk_get_keys_gives_every_key_once(peer: Peer, key: bytes, scope: int) -> None:
    entries = fill(peer, key, 150)
    answer = peer.call(Op.BULK_GET_KEYS, scope=scope)
    assert answer.status == Status.SUCCESS
    assert sorted(answer.keys) == sorted(entries)


@pytest.mark.operation(Op.PUT_ALL, Op.GET_ALL)
def test_get_all_gives_what_put_all_stored(peer: Peer, key: bytes) -> None:
    entries = {b"%b/%d" % (key, i): bytes([i]) * i for i in range(200)}
    answer = peer.call(Op.PUT_ALL, entries=list(entries.items()))
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    found = peer.call(Op.GET_ALL, keys=list(entries))
    assert found.status == Status.SUCCESS
    assert len(found.entries) == len(entries)
    assert dict(found.entries) == entries


@pytest.mark.operation(Op.PUT_ALL)
def test_put_all_overwrites(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    peer.call(Op.PUT_ALL, entries=[(key, b"two")])
    assert peer.call(Op.GET, key=key).value == b"two"


@pytest.mark.operation(Op.PUT_ALL)
def test_put_all_gives_all_of_them_one_version(peer: Peer, key: bytes) -> None:
    keys = [key + bytes([i]) for i in range(3)]
    peer.call(Op.PUT_ALL, entries=[(k, b"one") for k in keys])
    versions = {peer.call(Op.GET_WITH_VERSION, key=k).entry_version for k in keys}
    assert len(versions) == 1


@pytest.mark.operation(Op.GET_ALL)
def test_get_all_leaves_missing_keys_out(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    found = peer.call(Op.GET_ALL, keys=[b"missing " + key, key, b"also missing " + key])
    assert found.entries == [(key, b"one")]
    assert peer.call(Op.GET_ALL, keys=[b"missing " + key]).entries == []


@pytest.mark.operation(Op.PUT_ALL, Op.GET_ALL)
def test_no_entries_and_no_keys(peer: Peer) -> None:
    assert peer.call(Op.PUT_ALL, entries=[]).status == Status.SUCCESS
    assert peer.call(Op.GET_ALL, keys=[]).entries == []


# Ten thousand entries in the cache "many", put there once for each server, read in small pieces.


@pytest.fixture
def many(servers: Servers, target: Target) -> dict[bytes, bytes]:
    entries = {b"key %d" % i: b"value %d" % i for i in range(MANY)}
    writer = Target(target.server, Version.V2_9)
    address = servers.address(target.server)
    with Peer(address, writer, Outcomes().sightings, cache="many") as peer:
        if peer.call(Op.SIZE)["size"] != MANY:
            peer.call(Op.PUT_ALL, entries=list(entries.items()))
    return entries


def read_in_pieces(peer: Peer, op: Op, most: int) -> Response:
    """Ask `op` of the cache "many"; take the answer in by at most `most` bytes at a time."""
    reader = Reader(legacy_server=peer.target.is_legacy)
    request = peer.encode(op, cache="many")
    reader.expect(request)
    peer.socket.sendall(request.encode())
    answer: Response | None = reader.next()
    while answer is None:
        count = peer.socket.recv_into(reader.buffer()[:most])
        assert count > 0, "the server closed the connection"
        reader.commit(count)
        answer = reader.next()
    assert reader.next() is None
    assert reader.buffered == 0
    peer.saw(op, answer)
    return answer


@pytest.mark.operation(Op.BULK_GET)
def test_ten_thousand_entries_in_small_pieces(peer: Peer, many: dict[bytes, bytes]) -> None:
    answer = read_in_pieces(peer, Op.BULK_GET, 1000)
    assert len(answer.entries) == MANY
    assert dict(answer.entries) == many


@pytest.mark.operation(Op.BULK_GET_KEYS)
def test_ten_thousand_keys_in_small_pieces(peer: Peer, many: dict[bytes, bytes]) -> None:
    answer = read_in_pieces(peer, Op.BULK_GET_KEYS, 777)
    assert sorted(answer.keys) == sorted(many)


@pytest.mark.operation(Op.GET_ALL)
def test_ten_thousand_entries_by_their_keys(peer: Peer, many: dict[bytes, bytes]) -> None:
    answer = peer.call(Op.GET_ALL, cache="many", keys=list(many))
    assert len(answer.entries) == MANY
    assert dict(answer.entries) == many
