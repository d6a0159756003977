"""Values in chunks: in one long request until 4.0, by start, next and end in 4.1."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import pytest

from hotrod_codec import (
    Flag,
    Op,
    Request,
    Response,
    Status,
    Version,
    decode_request,
    encode_request,
)
from integration.peers import Peer

PUT, IF_ABSENT = 0, -1  # what entry_version means instead of a version
LARGE = 50 * 2**20


def large_value() -> bytes:
    """50 MiB that do not repeat."""
    return b"".join(hashlib.sha256(b"%d" % i).digest() * 512 for i in range(LARGE // 2**14))


def pieces(value: bytes, size: int) -> list[bytes]:
    return [value[at : at + size] for at in range(0, len(value), size)]


def entry_version(peer: Peer, key: bytes) -> int:
    version: int = peer.call(Op.GET_WITH_VERSION, key=key).entry_version
    return version


# ------------------------------------------------------------------ until 4.0


@pytest.mark.operation(Op.PUT_STREAM)
@pytest.mark.parametrize(
    "chunks",
    [[], [b"one"], [b"o", b"n", b"e"], [b"x" * 127, b"y" * 128, b"z" * 70_000]],
    ids=["none", "one", "three", "long"],
)
def test_chunks_become_one_value(peer: Peer, key: bytes, chunks: list[bytes]) -> None:
    answer = peer.call(Op.PUT_STREAM, key=key, entry_version=PUT, chunks=chunks)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    assert peer.call(Op.GET, key=key).value == b"".join(chunks)


@pytest.mark.operation(Op.GET_STREAM)
@pytest.mark.parametrize("value", [b"", b"one", b"x" * 70_000], ids=len)
def test_a_stream_has_metadata_and_value(peer: Peer, key: bytes, value: bytes) -> None:
    peer.call(Op.PUT, key=key, value=value, lifespan=3600)
    answer = peer.call(Op.GET_STREAM, key=key)
    assert (answer.status, answer.value) == (Status.SUCCESS, value)
    assert (answer.metadata.lifespan, answer.metadata.max_idle) == (3600, None)
    assert answer.metadata.version == entry_version(peer, key)


@pytest.mark.operation(Op.GET_STREAM)
def test_a_missing_key_has_no_stream(peer: Peer, key: bytes) -> None:
    answer = peer.call(Op.GET_STREAM, key=key)
    assert (answer.status, answer.fields) == (Status.KEY_DOES_NOT_EXIST, {})


@pytest.mark.operation(Op.GET_STREAM)
@pytest.mark.versions(embedded=False)
def test_servers_send_too_much_behind_an_offset(lost_peer: Peer, key: bytes) -> None:
    # The length is what it should be, the bytes are all: what is left over is read as an answer.
    lost_peer.call(Op.PUT, key=key, value=b"0123456789")
    answer = lost_peer.call(Op.GET_STREAM, key=key, offset=4)
    assert (answer.status, answer.value) == (Status.SUCCESS, b"012345")
    assert lost_peer.unread(4) == b"6789"


@pytest.mark.operation(Op.PUT_STREAM)
def test_a_stream_has_durations(peer: Peer, key: bytes) -> None:
    arguments = {"entry_version": PUT, "chunks": [b"one"], "lifespan": 3600, "max_idle": 60}
    assert peer.call(Op.PUT_STREAM, key=key, **arguments).status == Status.SUCCESS
    metadata = peer.call(Op.GET_WITH_METADATA, key=key).metadata
    assert (metadata.lifespan, metadata.max_idle) == (3600, 60)


@pytest.mark.operation(Op.PUT_STREAM)
def test_put_stream_if_absent(peer: Peer, key: bytes) -> None:
    arguments = {"key": key, "entry_version": IF_ABSENT}
    assert peer.call(Op.PUT_STREAM, chunks=[b"one"], **arguments).status == Status.SUCCESS
    assert peer.call(Op.PUT_STREAM, chunks=[b"two"], **arguments).status == Status.NOT_EXECUTED
    assert peer.call(Op.GET, key=key).value == b"one"


@pytest.mark.operation(Op.PUT_STREAM)
def test_put_stream_if_unmodified(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    arguments = {"key": key, "entry_version": entry_version(peer, key)}
    assert peer.call(Op.PUT_STREAM, chunks=[b"two"], **arguments).status == Status.SUCCESS
    assert peer.call(Op.PUT_STREAM, chunks=[b"three"], **arguments).status == Status.NOT_EXECUTED
    assert peer.call(Op.GET, key=key).value == b"two"


@pytest.mark.operation(Op.PUT_STREAM)
def test_put_stream_gives_the_previous_value(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    answer = peer.call(
        Op.PUT_STREAM, key=key, entry_version=PUT, chunks=[b"two"], flags=Flag.FORCE_RETURN_VALUE
    )
    assert (answer.status, answer.previous) == (Status.SUCCESS_WITH_PREVIOUS, b"one")
    assert (answer.metadata is None) == (peer.version < Version.V4_0)


@pytest.mark.operation(Op.PUT_STREAM, Op.GET_STREAM)
@pytest.mark.versions(newest=True)
def test_fifty_mebibytes_there_and_back(peer: Peer, key: bytes) -> None:
    value = large_value()
    peer.socket.settimeout(60)
    answer = peer.call(Op.PUT_STREAM, key=key, entry_version=PUT, chunks=pieces(value, 2**16))
    assert answer.status == Status.SUCCESS
    assert peer.call(Op.GET_STREAM, key=key).value == value
    peer.call(Op.REMOVE, key=key)


# ------------------------------------------------------------------ 4.1


def started(peer: Peer, op: Op, key: bytes, **arguments: object) -> int:
    answer = peer.call(op, key=key, **arguments)
    assert answer.status == Status.SUCCESS
    stream_id: int = answer.stream_id
    return stream_id


def put_in_chunks(
    peer: Peer, key: bytes, chunks: list[bytes], *, flags: int = 0, **arguments: object
) -> Response:
    """Put a value in chunks; return the answer to the last one."""
    stream = started(peer, Op.START_PUT_STREAM, key, flags=flags, **arguments)
    for chunk in chunks[:-1]:
        answer = peer.call(Op.NEXT_PUT_STREAM, stream_id=stream, last=False, chunk=chunk)
        assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    return peer.call(Op.NEXT_PUT_STREAM, stream_id=stream, last=True, chunk=chunks[-1], flags=flags)


def get_in_chunks(peer: Peer, key: bytes, batch_size: int) -> list[Response]:
    """All answers of a stream up to the complete one."""
    answers = [peer.call(Op.START_GET_STREAM, key=key, batch_size=batch_size)]
    stream = answers[0].stream_id
    while not answers[-1].complete:
        answers.append(peer.call(Op.NEXT_GET_STREAM, stream_id=stream))
        assert answers[-1].stream_id == stream
    assert {answer.status for answer in answers} == {Status.SUCCESS}
    assert peer.call(Op.END_GET_STREAM, stream_id=stream).status == Status.SUCCESS
    return answers


@pytest.mark.operation(Op.START_PUT_STREAM, Op.NEXT_PUT_STREAM)
@pytest.mark.parametrize("chunks", [[b"one"], [b"o", b"n", b"e" * 70_000]], ids=len)
def test_next_by_next_becomes_one_value(peer: Peer, key: bytes, chunks: list[bytes]) -> None:
    answer = put_in_chunks(peer, key, chunks, entry_version=PUT, lifespan=3600, max_idle=math.inf)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    stored = peer.call(Op.GET_WITH_METADATA, key=key)
    assert (stored.value, stored.metadata.lifespan) == (b"".join(chunks), 3600)


@pytest.mark.operation(Op.START_GET_STREAM, Op.NEXT_GET_STREAM, Op.END_GET_STREAM)
@pytest.mark.parametrize(
    ("length", "batch_size", "count"), [(0, 10, 1), (10, 10, 1), (25, 10, 3), (70_000, 4096, 18)]
)
def test_a_value_comes_in_batches(
    peer: Peer, key: bytes, length: int, batch_size: int, count: int
) -> None:
    value = bytes(range(251)) * 300
    peer.call(Op.PUT, key=key, value=value[:length], lifespan=3600)
    answers = get_in_chunks(peer, key, batch_size)
    assert b"".join(answer.chunk for answer in answers) == value[:length]
    assert [len(answer.chunk) for answer in answers[:-1]] == [batch_size] * (count - 1)
    assert (answers[0].metadata.lifespan, answers[0].metadata.max_idle) == (3600, None)


@pytest.mark.operation(Op.START_GET_STREAM)
def test_a_missing_key_starts_no_stream(peer: Peer, key: bytes) -> None:
    answer = peer.call(Op.START_GET_STREAM, key=key, batch_size=10)
    assert (answer.status, answer.fields) == (Status.KEY_DOES_NOT_EXIST, {})


@pytest.mark.operation(Op.START_PUT_STREAM, Op.NEXT_PUT_STREAM)
def test_next_by_next_if_absent_or_unmodified(peer: Peer, key: bytes) -> None:
    assert put_in_chunks(peer, key, [b"one"], entry_version=IF_ABSENT).status == Status.SUCCESS
    again = put_in_chunks(peer, key, [b"two"], entry_version=IF_ABSENT)
    assert again.status == Status.NOT_EXECUTED
    version = entry_version(peer, key)
    assert put_in_chunks(peer, key, [b"3"], entry_version=version).status == Status.SUCCESS
    assert put_in_chunks(peer, key, [b"4"], entry_version=version).status == Status.NOT_EXECUTED
    assert peer.call(Op.GET, key=key).value == b"3"


@pytest.mark.operation(Op.START_PUT_STREAM, Op.NEXT_PUT_STREAM)
def test_the_last_next_gives_the_previous_value(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one", lifespan=3600)
    answer = put_in_chunks(
        peer, key, [b"t", b"wo"], entry_version=PUT, flags=Flag.FORCE_RETURN_VALUE
    )
    assert (answer.status, answer.previous) == (Status.SUCCESS_WITH_PREVIOUS, b"one")
    assert answer.metadata.lifespan == 3600


@pytest.mark.operation(Op.START_PUT_STREAM, Op.NEXT_PUT_STREAM, Op.END_PUT_STREAM)
def test_a_stream_that_is_given_up_stores_nothing(peer: Peer, key: bytes) -> None:
    stream = started(peer, Op.START_PUT_STREAM, key, entry_version=PUT)
    peer.call(Op.NEXT_PUT_STREAM, stream_id=stream, last=False, chunk=b"one")
    answer = peer.call(Op.END_PUT_STREAM, stream_id=stream)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    assert peer.call(Op.GET, key=key).status == Status.KEY_DOES_NOT_EXIST
    late = peer.call(Op.NEXT_PUT_STREAM, stream_id=stream, last=True, chunk=b"two")
    assert late.status == Status.REQUEST_PARSING_ERROR


@pytest.mark.operation(Op.NEXT_PUT_STREAM, Op.NEXT_GET_STREAM)
def test_next_of_an_unknown_stream_is_an_error(peer: Peer) -> None:
    for op, more in (
        (Op.NEXT_GET_STREAM, {}),
        (Op.NEXT_PUT_STREAM, {"last": False, "chunk": b"one"}),
    ):
        answer = peer.call(op, stream_id=-5, **more)
        assert (answer.status, answer.op) == (Status.REQUEST_PARSING_ERROR, op)


@pytest.mark.operation(Op.END_PUT_STREAM, Op.END_GET_STREAM)
def test_the_end_of_an_unknown_stream_is_none(peer: Peer) -> None:
    for op in (Op.END_PUT_STREAM, Op.END_GET_STREAM):
        assert peer.call(op, stream_id=-5).status == Status.SUCCESS


@pytest.mark.operation(Op.NEXT_PUT_STREAM)
@pytest.mark.parametrize("last", [False, True])
def test_a_chunk_must_not_be_empty(peer: Peer, key: bytes, last: bool) -> None:
    stream = started(peer, Op.START_PUT_STREAM, key, entry_version=PUT)
    answer = peer.call(Op.NEXT_PUT_STREAM, stream_id=stream, last=last, chunk=b"")
    assert answer.status == Status.REQUEST_PARSING_ERROR


@pytest.mark.operation(
    Op.START_PUT_STREAM, Op.NEXT_PUT_STREAM, Op.START_GET_STREAM, Op.NEXT_GET_STREAM
)
def test_fifty_mebibytes_by_next_there_and_back(peer: Peer, key: bytes) -> None:
    value = large_value()
    answer = put_in_chunks(peer, key, pieces(value, 2**20), entry_version=PUT)
    assert answer.status == Status.SUCCESS
    answers = get_in_chunks(peer, key, 2**20)
    assert len(answers) == 50
    assert b"".join(answer.chunk for answer in answers) == value
    peer.call(Op.REMOVE, key=key)


# ------------------------------------------------------------------ in a version that lacks them


def misplaced(peer: Peer, op: Op, version: Version, **fields: Any) -> Request:
    """A request of `version` under the header of the peer's version, which does not have it."""
    head = bytearray(peer.encode(Op.PING).encode())
    head[3] = op
    empty, whole = (
        encode_request(each, version=version, cache=peer.cache, **arguments)
        for each, arguments in ((Op.PING, dict[str, Any]()), (op, fields))
    )
    request = decode_request(bytes(head) + whole[len(empty) :])
    assert request is not None
    return request


@pytest.mark.versions(since=Version.V4_0, until=Version.V4_0, legacy=False)
def test_what_servers_make_of_a_get_by_next_in_4_0(lost_peer: Peer, key: bytes) -> None:
    lost_peer.call(Op.PUT, key=key, value=b"one")
    start = misplaced(lost_peer, Op.START_GET_STREAM, Version.V4_1, key=key, batch_size=9)
    answer = lost_peer.ask(start)
    if lost_peer.target.is_modern:
        assert (answer.status, answer.complete, answer.chunk) == (Status.SUCCESS, True, b"one")
        lost_peer.check_in_step()
    else:
        assert answer.status == Status.UNKNOWN_COMMAND


@pytest.mark.versions(since=Version.V2_6, until=Version.V4_0, legacy=False)
def test_what_servers_make_of_a_put_by_next_until_4_0(lost_peer: Peer, key: bytes) -> None:
    start = misplaced(lost_peer, Op.START_PUT_STREAM, Version.V4_1, key=key, entry_version=PUT)
    answer = lost_peer.ask(start)
    if not lost_peer.target.is_modern:
        assert answer.status == Status.UNKNOWN_COMMAND
    elif lost_peer.version < Version.V4_0:
        assert answer.status == Status.SERVER_ERROR
    else:
        assert answer.status == Status.SUCCESS
        fields = {"stream_id": answer.stream_id, "last": True, "chunk": b"one"}
        answer = lost_peer.ask(misplaced(lost_peer, Op.NEXT_PUT_STREAM, Version.V4_1, **fields))
        assert answer.is_error


@pytest.mark.versions(since=Version.V4_1)
def test_the_long_requests_in_4_1(lost_peer: Peer, key: bytes) -> None:
    lost_peer.call(Op.PUT, key=key, value=b"one")
    answer = lost_peer.ask(misplaced(lost_peer, Op.GET_STREAM, Version.V4_0, key=key))
    assert (answer.status, answer.value) == (Status.SUCCESS, b"one")
    fields = {"key": key, "entry_version": PUT, "chunks": [b"two"]}
    answer = lost_peer.ask(misplaced(lost_peer, Op.PUT_STREAM, Version.V4_0, **fields))
    assert answer.status == Status.REQUEST_PARSING_ERROR
    assert lost_peer.call(Op.GET, key=key).value == b"one"
