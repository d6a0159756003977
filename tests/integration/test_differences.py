"""What the embedded server does otherwise than the real ones: all of it.

Their tests of the same things have `versions(embedded=False)`.
"""

from __future__ import annotations

from typing import Any

import pytest

from hotrod_codec import MediaType, Modification, Op, Status, Version, Xid
from integration.peers import Peer

pytestmark = pytest.mark.versions(embedded=True)

XID = Xid(1, b"global", b"branch")
UNSUPPORTED: dict[Op, dict[str, Any]] = {
    Op.QUERY: {"query": b"from Person"},
    Op.PREPARE_TX: {
        "xid": XID,
        "one_phase": False,
        "modifications": [Modification(b"k", 1, value=b"v")],
    },
    Op.PREPARE_TX_2: {
        "xid": XID,
        "one_phase": True,
        "recoverable": True,
        "timeout_ms": 1000,
        "modifications": [],
    },
    Op.COMMIT_TX: {"xid": XID},
    Op.ROLLBACK_TX: {"xid": XID},
    Op.FORGET_TX: {"xid": XID},
    Op.FETCH_TX_RECOVERY: {},
}


@pytest.mark.each_operation(*UNSUPPORTED)
def test_what_is_not_supported_is_an_error(peer: Peer, op: Op) -> None:
    answer = peer.call(op, **UNSUPPORTED[op])
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, op)
    assert "not supported by this server" in answer.error


@pytest.mark.operation(Op.PING)
@pytest.mark.versions(since=Version.V3_0)
def test_a_ping_does_not_list_what_is_not_supported(peer: Peer) -> None:
    assert set(UNSUPPORTED).isdisjoint(peer.call(Op.PING).opcodes)


def closed(peer: Peer) -> bool:
    return peer.socket.recv(1) == b""


@pytest.mark.operation(Op.PING)
@pytest.mark.parametrize("split", [0, 1, 4])
def test_behind_an_unknown_operation_the_connection_ends(lost_peer: Peer, split: int) -> None:
    request = lost_peer.encode(Op.PING, message_id=777)
    frame = bytearray(request.encode())
    frame[4] = 0x02
    if split:
        lost_peer.socket.sendall(frame[:split])
    lost_peer.socket.sendall(frame[split:])
    answer = lost_peer.receive(request)
    assert (answer.message_id, answer.status) == (777, Status.UNKNOWN_COMMAND)
    assert "0x02" in answer.error
    assert closed(lost_peer)


@pytest.mark.operation(Op.PING)
def test_behind_too_many_stray_bytes_the_connection_ends(lost_peer: Peer) -> None:
    request = lost_peer.encode(Op.PING)
    frame = request.encode()
    lost_peer.socket.sendall(frame + b"\xa5" * 100 + frame + b"\xa5" * 1000)
    answers = [lost_peer.receive(request) for _ in range(258)]
    assert [i for i, answer in enumerate(answers) if not answer.is_error] == [0, 101]
    errors = {(a.message_id, a.status) for a in answers if a.is_error}
    assert errors == {(0, Status.INVALID_MAGIC_OR_MESSAGE_ID)}
    assert closed(lost_peer)


@pytest.mark.operation(Op.GET)
@pytest.mark.versions(since=Version.V2_8)
def test_a_media_type_that_is_none_is_an_error(peer: Peer) -> None:
    answer = peer.call(Op.GET, key=b"k", key_media_type=MediaType("", id=99))
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, Op.GET)


@pytest.mark.operation(Op.GET_STREAM)
def test_a_stream_begins_where_it_is_asked_to(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"0123456789")
    for offset, expected in ((4, b"456789"), (10, b""), (99, b"")):
        answer = peer.call(Op.GET_STREAM, key=key, offset=offset)
        assert (answer.status, answer.value) == (Status.SUCCESS, expected)


@pytest.mark.operation(Op.ITERATION_START, Op.ITERATION_NEXT)
@pytest.mark.versions(until=Version.V2_3)
def test_in_2_3_a_filter_has_no_parameters(peer: Peer, key: bytes) -> None:
    peer.call(Op.CLEAR)
    peer.call(Op.PUT, key=key, value=b"one")
    name = "org.infinispan.server.hotrod.HotRodServer$ToEmptyBytesKeyValueFilterConverter"
    start = peer.call(Op.ITERATION_START, batch_size=2, filter_factory=name)
    found = peer.call(Op.ITERATION_NEXT, iteration_id=start.iteration_id).entries
    assert [(entry.key, entry.value) for entry in found] == [(key, b"")]
