"""Clients that mean no good, or are broken: bounded memory, a clear end, no harm to others."""

from __future__ import annotations

import random
import socket
import struct
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from hotrod_codec import EmbeddedServer, Op, Status, decode_request, decode_response, encode_request
from server.peer import Peer

MAX_REQUEST = 2**20


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(max_request=MAX_REQUEST, max_connections=50) as server:
        yield server
        # Whatever happened: the server answers, and quickly.
        with Peer(server.address) as peer:
            assert peer.call(Op.PUT, key=b"k", value=b"v").status == Status.SUCCESS
            assert peer.call(Op.GET, key=b"k").value == b"v"


def answers(data: bytes) -> list[int]:
    """The statuses of the error answers in `data`; anything else fails."""
    ping = decode_request(encode_request(Op.PING))
    assert ping is not None
    found = []
    while data:
        message = decode_response(data, ping)
        assert message is not None
        assert message.is_error, message
        found.append(int(message.status))
        data = data[message.size :]
    return found


def test_garbage_is_answered_and_ends_the_connection(server: EmbeddedServer) -> None:
    source = random.Random(11)
    for _ in range(200):
        with Peer(server.address) as peer:
            data = source.randbytes(source.randrange(1, 1000)).replace(b"\xa0", b"?")
            peer.socket.sendall(data)
            peer.socket.shutdown(socket.SHUT_WR)
            found = answers(peer.rest())
            assert found == [Status.INVALID_MAGIC_OR_MESSAGE_ID] * min(len(data), 256)


def test_changed_requests_never_do_harm(server: EmbeddedServer) -> None:
    source = random.Random(12)
    whole = [
        encode_request(Op.PUT, message_id=1, key=b"k" * 20, value=b"v" * 50, lifespan=5),
        encode_request(Op.GET_ALL, message_id=1, keys=[b"a", b"b", b"c"]),
        encode_request(Op.ITERATION_START, message_id=1, batch_size=5, segments=[1, 2, 3]),
        encode_request(Op.EXEC, message_id=1, task="@@cache@names", params={"a": b"b"}),
        encode_request(Op.ADD_CLIENT_LISTENER, message_id=1, listener_id=b"l", interests=3),
        encode_request(Op.AUTH, message_id=1, mechanism="PLAIN", response=b"\0a\0b"),
    ]
    for _ in range(300):
        frame = bytearray(source.choice(whole))
        for _ in range(source.randrange(1, 4)):
            frame[source.randrange(len(frame))] = source.randrange(256)
        with Peer(server.address) as peer:
            peer.socket.sendall(frame)
            peer.socket.shutdown(socket.SHUT_WR)
            peer.rest()  # it ends, however it ends


LENGTHS = [2**20 + 1, 2**27, 2**31 - 1, 2**32 - 1]


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@pytest.mark.parametrize("length", LENGTHS)
def test_a_length_that_is_not_there_takes_no_memory(server: EmbeddedServer, length: int) -> None:
    head = encode_request(Op.PUT, message_id=9, key=b"", value=b"")[:-3]
    tracemalloc.start()
    try:
        with Peer(server.address) as peer:
            peer.socket.sendall(head + varint(length) + b"x" * 1000)
            assert answers(peer.rest()) == [Status.REQUEST_PARSING_ERROR]
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def send_for(seconds: float, peer: Peer, data: bytes) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        peer.socket.sendall(data)


def test_a_request_may_not_grow_without_end(server: EmbeddedServer) -> None:
    # Each entry is small enough; there is just no end of them.
    head = encode_request(Op.PUT_ALL, message_id=9, entries=[])[:-1] + varint(2**28 - 1)
    entry = b"\x10" + b"k" * 16 + b"\x64" + b"v" * 100
    with Peer(server.address) as peer:
        peer.socket.sendall(head)
        with pytest.raises(OSError, match=r"reset|pipe|abort"):
            send_for(10, peer, entry * 500)
    assert server.requests.get(Op.PUT_ALL) is None


def test_who_sends_byte_by_byte_is_answered(server: EmbeddedServer) -> None:
    frame = encode_request(Op.PUT, message_id=300, key=b"slow", value=b"v" * 40)
    request = decode_request(frame)
    with Peer(server.address) as peer:
        for byte in frame:
            peer.socket.sendall(bytes([byte]))
            time.sleep(0.0005)
        assert peer.answer(request).status == Status.SUCCESS


@pytest.mark.parametrize("bad", [3, 4])
def test_who_sends_byte_by_byte_is_told_what_is_wrong(server: EmbeddedServer, bad: int) -> None:
    frame = bytearray(encode_request(Op.PING, message_id=300))
    frame[bad] = 0x02
    with Peer(server.address) as peer:
        for byte in frame[: bad + 1]:
            peer.socket.sendall(bytes([byte]))
            time.sleep(0.0005)
        request = decode_request(encode_request(Op.PING))
        answer = peer.answer(request)
        assert (answer.message_id, answer.is_error) == (300, True)
        assert peer.rest() == b""


def test_half_requests_keep_nobody_from_the_server(server: EmbeddedServer) -> None:
    frame = encode_request(Op.PUT, key=b"k", value=b"v" * 1000)
    peers = [Peer(server.address) for _ in range(40)]
    for peer in peers:
        peer.socket.sendall(frame[:500])
    with Peer(server.address) as other:
        assert other.call(Op.SIZE)["size"] == 0
    for peer in peers:
        peer.socket.close()


def test_who_does_not_wait_for_the_answer(server: EmbeddedServer) -> None:
    frames = b"".join(
        encode_request(Op.PUT, message_id=i, key=b"%d" % i, value=b"v") for i in range(200)
    )
    for linger in (False, True):
        for _ in range(20):
            with Peer(server.address) as peer:
                if linger:  # a reset in the place of a goodbye
                    option = struct.pack("ii", 1, 0)
                    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
                peer.socket.sendall(frames)
    deadline = time.monotonic() + 10
    while server.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.connections == 0


def test_too_many_connections(server: EmbeddedServer) -> None:
    peers = [Peer(server.address) for _ in range(50)]
    for peer in peers:
        peer.call(Op.PING)
    with Peer(server.address) as late:
        assert late.rest() == b""
    assert peers[0].call(Op.PING).status == Status.SUCCESS
    peers.pop().socket.close()
    deadline = time.monotonic() + 10
    while server.connections == 50 and time.monotonic() < deadline:
        time.sleep(0.01)
    with Peer(server.address) as other:
        assert other.call(Op.PING).status == Status.SUCCESS
    for peer in peers:
        peer.socket.close()


def test_who_reads_no_answers_is_not_read_from(server: EmbeddedServer) -> None:
    with Peer(server.address) as peer, Peer(server.address) as other:
        peer.call(Op.PUT, key=b"large", value=b"v" * 500_000)
        frame = encode_request(Op.GET, message_id=5, key=b"large")
        peer.socket.sendall(frame * 3000)
        done, before = 1, 0
        while done != before:  # until nothing more is done
            other.call(Op.PING)
            time.sleep(0.1)
            done, before = server.requests[Op.GET], done
        assert done < 100  # 50 MB of answers, of 1.5 GB
        # Whoever begins to read gets the rest.
        request = decode_request(frame)
        for _ in range(done + 20):
            assert len(peer.answer(request).value) == 500_000


def test_who_reads_no_events_is_cut_off(server: EmbeddedServer) -> None:
    with Peer(server.address) as listener, Peer(server.address) as writer:
        listener.call(
            Op.ADD_CLIENT_LISTENER,
            listener_id=b"l",
            converter_factory="___eager-key-value-version-converter",
            use_raw_data=True,
        )
        for i in range(200):
            writer.call(Op.PUT, key=b"k", value=b"%d" % i * 300_000)
            if server.connections == 1:
                break
        assert server.connections == 1


def test_there_are_bounds_on_what_one_connection_keeps_open(server: EmbeddedServer) -> None:
    with Peer(server.address) as peer:
        for op, arguments in (
            (Op.ITERATION_START, {"batch_size": 1}),
            (Op.START_PUT_STREAM, {"key": b"k", "entry_version": 0}),
        ):
            statuses = [peer.call(op, **arguments).status for _ in range(101)]
            assert statuses == [Status.SUCCESS] * 100 + [Status.SERVER_ERROR]


def test_a_stream_may_not_grow_without_end(server: EmbeddedServer) -> None:
    with Peer(server.address) as peer:
        stream = peer.call(Op.START_PUT_STREAM, key=b"k", entry_version=0).stream_id
        chunk = b"x" * 500_000
        statuses = [
            peer.call(Op.NEXT_PUT_STREAM, stream_id=stream, last=False, chunk=chunk).status
            for _ in range(6)
        ]
        assert statuses[:4] == [Status.SUCCESS] * 4
        assert statuses[4] == Status.SERVER_ERROR
        assert statuses[5] == Status.REQUEST_PARSING_ERROR


def test_it_stops_whatever_clients_do() -> None:
    server = EmbeddedServer()
    server.start()
    peers = [Peer(server.address) for _ in range(20)]
    peers[0].call(Op.PUT, key=b"large", value=b"v" * 1_000_000)
    for peer in peers[:10]:
        peer.socket.sendall(encode_request(Op.GET, key=b"large") * 100)  # nobody reads
    for peer in peers[10:]:
        peer.socket.sendall(encode_request(Op.PUT, key=b"k", value=b"v")[:-1])
    server.faults.delay(100)
    with Peer(server.address) as late:
        late.send(Op.PING)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 9  # of the ten that it gives itself
    for peer in peers:
        peer.socket.close()
