"""What a server tells of itself and of what went wrong: ping, stats, errors, broken requests."""

from __future__ import annotations

from typing import Any

import pytest

from hotrod_codec import MediaType, Op, Response, ServerError, Status, Version
from integration.peers import Peer

# ------------------------------------------------------------------ ping


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(until=Version.V2_8)
def test_a_ping_until_2_8_tells_nothing(peer: Peer) -> None:
    answer = peer.call(Op.PING)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(since=Version.V2_9)
@pytest.mark.parametrize(
    ("cache", "name"),
    [
        ("", "application/octet-stream"),
        ("octets", "application/octet-stream"),
        ("text", "text/plain"),
        ("objects", "application/x-java-object"),
    ],
)
def test_a_ping_from_2_9_on_tells_the_caches_media_types(peer: Peer, cache: str, name: str) -> None:
    answer = peer.call(Op.PING, cache=cache)
    assert answer.key_media_type.name == name
    assert answer.value_media_type.name == name


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(since=Version.V2_9, until=Version.V2_9)
def test_a_ping_of_2_9_tells_no_more_than_that(peer: Peer) -> None:
    assert list(peer.call(Op.PING).fields) == ["key_media_type", "value_media_type"]


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(since=Version.V3_0)
def test_a_ping_from_3_0_on_tells_what_the_server_can_do(peer: Peer) -> None:
    answer = peer.call(Op.PING)
    newest = Version.V4_1 if peer.target.is_modern else Version.V4_0
    assert answer.server_version == newest
    # The server's list also has operations that are no part of 2.9.
    asked = {Op.PUT, Op.GET, Op.PUT_IF_ABSENT, Op.REPLACE, Op.REMOVE, Op.CLEAR, Op.SIZE, Op.PING}
    assert asked <= set(answer.opcodes)
    assert len(answer.opcodes) == len(set(answer.opcodes)) > 50


# ------------------------------------------------------------------ statistics


@pytest.mark.operation(Op.STATS)
def test_stats_have_the_documented_names_and_numbers(peer: Peer) -> None:
    answer = peer.call(Op.STATS)
    assert answer.status == Status.SUCCESS
    names = {
        "timeSinceStart",
        "currentNumberOfEntries",
        "stores",
        "retrievals",
        "hits",
        "misses",
        "removeHits",
        "removeMisses",
    }
    assert names <= set(answer.stats)
    assert all(text.removeprefix("-").isdecimal() for text in answer.stats.values())


@pytest.mark.operation(Op.STATS)
def test_stats_count_what_was_done(peer: Peer, key: bytes) -> None:
    def change(before: dict[str, str], after: dict[str, str]) -> dict[str, int]:
        names = ("stores", "hits", "misses", "removeHits", "removeMisses")
        return {name: int(after[name]) - int(before[name]) for name in names}

    before = peer.call(Op.STATS).stats
    peer.call(Op.PUT, key=key, value=b"one")
    peer.call(Op.GET, key=key)
    peer.call(Op.GET, key=key)
    peer.call(Op.GET, key=b"missing " + key)
    peer.call(Op.REMOVE, key=key)
    peer.call(Op.REMOVE, key=key)
    after = peer.call(Op.STATS).stats
    expected = {"stores": 1, "hits": 2, "misses": 1, "removeHits": 1, "removeMisses": 1}
    assert change(before, after) == expected


@pytest.mark.operation(Op.STATS)
@pytest.mark.versions(legacy=False)
@pytest.mark.parametrize("is_there", [True, False], ids=["there", "absent"])
@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        (Op.CONTAINS_KEY, {}),
        (Op.REPLACE, {"value": b"two"}),
        (Op.REPLACE_IF_UNMODIFIED, {"value": b"two", "entry_version": 1}),
        (Op.REMOVE_IF_UNMODIFIED, {"entry_version": 1}),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Op) else "",
)
def test_who_looks_at_an_entry_counts_as_retrieving_it(
    peer: Peer, key: bytes, op: Op, arguments: dict[str, Any], is_there: bool
) -> None:
    if is_there:
        peer.call(Op.PUT, key=key, value=b"one")
    before = peer.call(Op.STATS).stats
    peer.call(op, key=key, **arguments)
    after = peer.call(Op.STATS).stats
    changed = {name for name in ("hits", "misses", "removeMisses") if after[name] != before[name]}
    assert changed == ({"hits"} if is_there else {"misses"})


@pytest.mark.operation(Op.STATS)
@pytest.mark.versions(since=Version.V2_4, legacy=False)
def test_a_single_server_has_global_numbers_too(peer: Peer) -> None:
    stats = peer.call(Op.STATS).stats
    own = {name for name in stats if name != "timeSinceStart" and not name.startswith("global")}
    assert {f"global{name[0].upper()}{name[1:]}" for name in own} <= set(stats)


# ------------------------------------------------------------------ a cache of Java objects


@pytest.mark.each_operation(Op.PING, Op.STATS, Op.SIZE, Op.CLEAR, Op.BULK_GET, Op.BULK_GET_KEYS)
@pytest.mark.versions(since=Version.V2_4, until=Version.V2_8)
def test_from_2_4_to_2_8_every_answer_hints_at_stored_objects(peer: Peer, op: Op) -> None:
    assert peer.call(op, cache="objects").status == Status.SUCCESS_OBJ_STORAGE


@pytest.mark.each_operation(Op.PING, Op.STATS)
@pytest.mark.versions(since=Version.V2_9)
def test_from_2_9_on_no_answer_hints_at_stored_objects(peer: Peer, op: Op) -> None:
    assert peer.call(op, cache="objects").status == Status.SUCCESS


# ------------------------------------------------------------------ errors

ARGUMENTS: dict[Op, dict[str, Any]] = {
    Op.PUT: {"key": b"k", "value": b"v"},
    Op.GET: {"key": b"k"},
    Op.PUT_IF_ABSENT: {"key": b"k", "value": b"v"},
    Op.REPLACE: {"key": b"k", "value": b"v"},
    Op.REPLACE_IF_UNMODIFIED: {"key": b"k", "entry_version": 1, "value": b"v"},
    Op.REMOVE: {"key": b"k"},
    Op.REMOVE_IF_UNMODIFIED: {"key": b"k", "entry_version": 1},
    Op.CONTAINS_KEY: {"key": b"k"},
    Op.GET_WITH_VERSION: {"key": b"k"},
    Op.CLEAR: {},
    Op.STATS: {},
    Op.PING: {},
    Op.BULK_GET: {},
    Op.GET_WITH_METADATA: {"key": b"k"},
    Op.BULK_GET_KEYS: {},
    Op.SIZE: {},
    Op.PUT_ALL: {"entries": [(b"k", b"v")]},
    Op.GET_ALL: {"keys": [b"k"]},
}


@pytest.mark.each_operation(*ARGUMENTS)
def test_an_unknown_cache_is_an_error(peer: Peer, op: Op) -> None:
    answer = peer.call(op, cache="nowhere", **ARGUMENTS[op])
    assert (answer.op, answer.is_error) == (op, True)
    assert answer.status == Status.REQUEST_PARSING_ERROR
    assert "CacheNotFoundException" in answer.error
    with pytest.raises(ServerError, match="CacheNotFoundException"):
        answer.raise_for_status()


def exchange(peer: Peer, frame: bytes) -> Response:
    """Send these bytes instead of a request; return the first answer, read as one to PING."""
    peer.socket.sendall(frame)
    return peer.receive(peer.encode(Op.PING))


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(embedded=False)
def test_an_unknown_operation_is_an_error(peer: Peer) -> None:
    frame = bytearray(peer.encode(Op.PING, message_id=77).encode())
    frame[3] = 0x02  # the code of an answer, never of a request
    answer = exchange(peer, bytes(frame))
    assert (answer.message_id, answer.status) == (77, Status.UNKNOWN_COMMAND)
    assert answer.error


@pytest.mark.operation(Op.PING)
def test_a_stray_byte_is_an_error_of_no_request(peer: Peer) -> None:
    peer.call(Op.PING)  # by its first byte the full server tells Hot Rod from HTTP
    answer = exchange(peer, b"\xa5")
    assert (answer.message_id, answer.status) == (0, Status.INVALID_MAGIC_OR_MESSAGE_ID)
    assert answer.error


@pytest.mark.operation(Op.GET)
@pytest.mark.versions(since=Version.V2_8)
def test_a_media_type_that_cannot_be_converted_is_an_error(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    answer = peer.call(Op.GET, key=key, value_media_type="image/png")
    assert answer.status == Status.SERVER_ERROR
    assert "image/png" in answer.error


@pytest.mark.operation(Op.GET)
@pytest.mark.versions(since=Version.V2_8, embedded=False)
def test_after_a_broken_header_every_byte_is_an_error(lost_peer: Peer) -> None:
    # The server stops reading at the unknown media type and looks for a request in what follows.
    key = b"no request begins here"
    request = lost_peer.encode(Op.GET, key=key, key_media_type=MediaType("", id=99))
    lost_peer.socket.sendall(request.encode())
    answers = [lost_peer.receive(request) for _ in range(1 + len(key))]
    assert answers[0].status == Status.SERVER_ERROR
    # Older servers forget whose header they were reading.
    known = lost_peer.target.is_modern
    assert answers[0].message_id == (request.message_id if known else 0)
    for answer in answers[1:]:
        assert (answer.message_id, answer.status) == (0, Status.INVALID_MAGIC_OR_MESSAGE_ID)
