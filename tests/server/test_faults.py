"""Faults on demand: what a test of a client can arrange."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hotrod_codec import EmbeddedServer, Op, Status
from server.peer import Peer


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(nodes=2) as server:
        yield server


@pytest.fixture
def peer(server: EmbeddedServer) -> Iterator[Peer]:
    with Peer(server.address) as peer:
        peer.call(Op.PUT, key=b"k", value=b"v")
        yield peer


def test_a_late_answer_is_overtaken(server: EmbeddedServer, peer: Peer) -> None:
    server.faults.delay(0.2, op=Op.GET)
    began = time.monotonic()
    late = peer.send(Op.GET, key=b"k")
    ping = peer.call(Op.PING)
    assert ping.message_id == late.message_id + 1
    assert peer.answer(late).value == b"v"
    assert time.monotonic() - began >= 0.2


def test_a_dropped_answer_never_comes_but_it_was_done(server: EmbeddedServer, peer: Peer) -> None:
    server.faults.drop(op=Op.PUT)
    peer.send(Op.PUT, key=b"k", value=b"new")
    answer = peer.call(Op.GET, key=b"k")
    assert (answer.op, answer.value) == (Op.GET, b"new")


def test_silence_lasts_until_it_is_cleared(server: EmbeddedServer, peer: Peer) -> None:
    server.faults.silence(node=0)
    for _ in range(2):
        peer.send(Op.PING)
    request = peer.send(Op.PING)
    peer.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        peer.answer(request)
    peer.socket.settimeout(10)
    with Peer(server.addresses[1]) as other:
        assert other.call(Op.GET, key=b"k").value == b"v"
    server.faults.clear()
    assert peer.call(Op.GET, key=b"k").value == b"v"


def whole_answer(peer: Peer) -> bytes:
    answer = peer.call(Op.GET, key=b"k", message_id=77).encode()
    assert len(answer) == 7
    return answer


@pytest.mark.parametrize("at", range(8))
def test_an_answer_is_cut_at_any_byte(server: EmbeddedServer, peer: Peer, at: int) -> None:
    expected = whole_answer(peer)
    server.faults.cut(at, op=Op.GET)
    # What was asked in the same breath is answered, as far as it came before.
    ping = peer.send(Op.PING)
    peer.send(Op.GET, key=b"k", message_id=77)
    peer.send(Op.PING)
    assert peer.answer(ping).status == Status.SUCCESS
    assert peer.rest() == expected[:at]
    with Peer(server.address) as again:
        assert again.call(Op.GET, key=b"k").value == b"v"


def test_byte_by_byte(server: EmbeddedServer, peer: Peer) -> None:
    server.faults.split(times=2)
    requests = [peer.send(Op.GET, key=b"k") for _ in range(3)]
    assert [peer.answer(request).value for request in requests] == [b"v"] * 3


def test_an_error_instead_of_doing_it(server: EmbeddedServer, peer: Peer) -> None:
    server.faults.status(Status.NODE_SUSPECTED, "gone", op=Op.PUT)
    answer = peer.call(Op.PUT, key=b"k", value=b"new")
    assert (answer.status, answer.error) == (Status.NODE_SUSPECTED, "gone")
    assert peer.call(Op.GET, key=b"k").value == b"v"
    assert peer.call(Op.PUT, key=b"k", value=b"new").status == Status.SUCCESS


def test_bytes_in_an_answers_place(server: EmbeddedServer, peer: Peer) -> None:
    server.faults.replace(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    peer.send(Op.PING)
    assert peer.socket.recv(1000) == b"HTTP/1.1 400 Bad Request\r\n\r\n"


def test_faults_come_in_order_and_as_often_as_said(server: EmbeddedServer, peer: Peer) -> None:
    server.faults.status(Status.COMMAND_TIMEOUT, times=2)
    server.faults.status(Status.SERVER_ERROR, op=Op.GET)
    seen = [peer.call(Op.GET, key=b"k").status for _ in range(4)]
    assert seen == [0x86, 0x86, 0x85, 0]
    assert not server.faults.active


def test_events_that_may_be_repeated_say_so(server: EmbeddedServer, peer: Peer) -> None:
    peer.call(Op.ADD_CLIENT_LISTENER, listener_id=b"l")
    server.faults.retried_events = True
    peer.call(Op.PUT, key=b"k", value=b"new")
    server.faults.retried_events = False
    peer.call(Op.PUT, key=b"k", value=b"newer")
    assert [event.retried for event in peer.events] == [True, False]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("delay", (-1,)),
        ("cut", (-1,)),
        ("status", (Status.SUCCESS,)),
    ],
)
def test_faults_that_make_no_sense(
    server: EmbeddedServer, name: str, arguments: tuple[object, ...]
) -> None:
    with pytest.raises(ValueError, match=r"negative|within|no error"):
        getattr(server.faults, name)(*arguments)
    with pytest.raises(ValueError, match="times"):
        server.faults.drop(times=0)
