"""Many requests before the first answer: answers come in any order and are told apart by id."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from hotrod_codec import Op, Reader, Request, Response, Status
from integration.peers import Peer


def exchange(peer: Peer, requests: Sequence[Request]) -> tuple[dict[int, Response], bytes]:
    """Send all requests in one go; return the answers by message id, and their bytes."""
    reader = Reader(legacy_server=peer.target.is_legacy)
    for request in requests:
        reader.expect(request)
    peer.socket.sendall(b"".join(request.encode() for request in requests))
    answers: dict[int, Response] = {}
    stream = bytearray()
    while len(answers) < len(requests):
        data = peer.socket.recv(1 << 16)
        assert data, "the server closed the connection"
        stream += data
        reader.feed(data)
        for answer in reader:
            assert isinstance(answer, Response)
            assert answer.message_id not in answers
            answers[answer.message_id] = answer
    for request in requests:
        peer.saw(request.op, answers[request.message_id])
    assert reader.pending_requests == 0
    assert reader.buffered == 0
    return answers, bytes(stream)


def mixed(peer: Peer, key: bytes) -> list[Request]:
    """Requests whose answers differ in form; all are of keys that nothing else writes."""
    peer.call(Op.PUT, key=key, value=b"present")
    requests = []
    for i in range(25):
        requests += [
            peer.encode(Op.PUT, key=b"%b/%d" % (key, i), value=b"x" * i),
            peer.encode(Op.GET, key=key),
            peer.encode(Op.GET, key=b"missing " + key),
            peer.encode(Op.STATS),
            peer.encode(Op.GET_WITH_VERSION, key=key),
            peer.encode(Op.PING),
            peer.encode(Op.GET, key=key, cache="nowhere"),
            peer.encode(Op.CONTAINS_KEY, key=key),
        ]
    return requests


@pytest.mark.operation(Op.GET)
def test_a_thousand_gets_at_once(peer: Peer, key: bytes) -> None:
    values = {b"%b/%d" % (key, i): b"value %d" % i for i in range(100)}
    for k, value in values.items():
        peer.call(Op.PUT, key=k, value=value)
    requests = [peer.encode(Op.GET, key=k) for k in values for _ in range(10)]
    answers, _ = exchange(peer, requests)
    for request in requests:
        assert answers[request.message_id].value == values[request.key]


@pytest.mark.operation(Op.PUT)
def test_a_thousand_puts_at_once(peer: Peer, key: bytes) -> None:
    values = {b"%b/%d" % (key, i): b"value %d" % i for i in range(1000)}
    requests = [peer.encode(Op.PUT, key=k, value=value) for k, value in values.items()]
    answers, _ = exchange(peer, requests)
    assert {answer.status for answer in answers.values()} == {Status.SUCCESS}
    for k in random.Random(1).sample(sorted(values), 20):
        assert peer.call(Op.GET, key=k).value == values[k]


@pytest.mark.operation(Op.PUT, Op.GET, Op.STATS, Op.GET_WITH_VERSION, Op.PING, Op.CONTAINS_KEY)
def test_different_operations_at_once(peer: Peer, key: bytes) -> None:
    requests = mixed(peer, key)
    answers, _ = exchange(peer, requests)
    for request in requests:
        answer = answers[request.message_id]
        assert answer.op == request.op
        if request.cache == "nowhere":
            assert answer.status == Status.REQUEST_PARSING_ERROR
        elif request.op == Op.GET:
            assert answer.value == (b"present" if request.key == key else None)
        elif request.op == Op.GET_WITH_VERSION:
            assert answer.value == b"present"
        else:
            assert answer.status == Status.SUCCESS


@pytest.mark.operation(Op.PUT, Op.GET, Op.STATS, Op.GET_WITH_VERSION, Op.PING, Op.CONTAINS_KEY)
def test_the_pieces_of_a_stream_do_not_matter(peer: Peer, key: bytes) -> None:
    requests = mixed(peer, key)
    answers, stream = exchange(peer, requests)
    pieces = random.Random(2)
    reader = Reader(legacy_server=peer.target.is_legacy)
    for request in requests:
        reader.expect(request)
    again = {}
    at = 0
    while at < len(stream):
        size = pieces.choice([1, 1, 2, 3, 50])
        reader.feed(stream[at : at + size])
        at += size
        for answer in reader:
            again[answer.message_id] = answer
    assert again == answers
    assert b"".join(answer.encode() for answer in again.values()) == stream


@pytest.mark.operation(Op.GET)
def test_large_answers_among_small_ones(peer: Peer, key: bytes) -> None:
    large = bytes(range(256)) * 2048
    peer.call(Op.PUT, key=key, value=large)
    requests = []
    for _ in range(8):
        requests.append(peer.encode(Op.GET, key=key))
        requests += [peer.encode(Op.CONTAINS_KEY, key=key) for _ in range(5)]
    answers, _ = exchange(peer, requests)
    for request in requests:
        answer = answers[request.message_id]
        assert answer.status == Status.SUCCESS
        if request.op == Op.GET:
            assert answer.value == large
    peer.call(Op.REMOVE, key=key)
