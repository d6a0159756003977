"""Clients that mean no good, or are broken: bounded memory, a clear end, no harm to others."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hotrod_codec import (
    CacheEncoder,
    CounterConfiguration,
    EmbeddedServer,
    Op,
    Status,
    decode_request,
    decode_response,
    encode_request,
)
from server.peer import Peer

MAX_REQUEST = 2**20
SECONDS = 10.0
CERTIFICATES = Path(__file__).parent / "certificates"


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


# ---- what vanished clients leave ----------------------------------------------------------------


def vanish(peer: Peer) -> None:
    """A reset in the place of a goodbye."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_of_a_client_stays_when_it_vanishes(server: EmbeddedServer) -> None:
    handler = server._handler
    cache = handler.cache("")
    sessions: list[Any] = []
    truth = handler.handle

    def note(s: Any, q: Any) -> bytes:
        sessions.append(s)
        return truth(s, q)

    handler.handle = note  # type: ignore[method-assign]
    for _ in range(20):
        peer = Peer(server.address)
        peer.call(Op.PUT, key=b"k", value=b"v" * 100)
        peer.call(Op.COUNTER_CREATE, name="n", config=CounterConfiguration(initial=1))
        for i in range(5):
            assert peer.call(Op.ITERATION_START, batch_size=1).status == Status.SUCCESS
            peer.call(Op.START_PUT_STREAM, key=b"k", entry_version=0)
            peer.call(Op.ADD_CLIENT_LISTENER, listener_id=b"%d" % i)
            peer.call(Op.COUNTER_ADD_LISTENER, name="n", listener_id=b"%d" % i)
        peer.call(Op.ADD_BLOOM_FILTER_NEAR_CACHE_LISTENER, listener_id=b"near", bloom_bits=2**20)
        assert cache.watchers
        assert handler.counters.listeners
        vanish(peer)
    until(lambda: not server.connections)
    assert cache.watchers == []
    assert handler.counters.listeners == {}
    for s in sessions:
        assert not any((s.iterations, s.streams, s.blooms, s.on_close))


def test_who_hangs_up_is_not_written_to(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = CacheEncoder("")
    for _ in range(20):
        with Peer(server.address) as peer:
            peer.socket.sendall(encoder.put(b"long", b"v" * 20_000, message_id=1))
            peer.socket.sendall(encoder.get_many([b"long"] * 1000, 2))
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (
        server.connections or server.requests.get(Op.PUT, 0) < 20
    ):
        time.sleep(0.01)
    assert not server.connections
    assert server.requests[Op.PUT] == 20
    assert "socket.send() raised" not in caplog.text


def test_listeners_without_end(server: EmbeddedServer) -> None:
    with Peer(server.address) as peer:
        frame = b"".join(
            encode_request(Op.ADD_CLIENT_LISTENER, message_id=1, listener_id=b"%d" % i)
            for i in range(12_000)
        )
        peer.socket.sendall(frame)
        request = decode_request(frame)
        statuses = [peer.answer(request).status for _ in range(12_000)]
        assert statuses[-1] == Status.SERVER_ERROR
        assert statuses.count(Status.SUCCESS) == 10_000


# ---- floods -------------------------------------------------------------------------------------


def is_served(server: EmbeddedServer) -> bool:
    with contextlib.suppress(OSError), Peer(server.address) as peer:
        return peer.call(Op.PING).status == Status.SUCCESS
    return False


def test_a_flood_of_connections(server: EmbeddedServer) -> None:
    """As many as may be are served, the others are closed, and afterwards there are none."""
    sockets = []
    for _ in range(300):
        with contextlib.suppress(OSError):
            sockets.append(socket.create_connection(server.address, timeout=SECONDS))
    assert server.connections <= 50
    for sock in sockets:
        sock.close()
    until(lambda: is_served(server))  # those that it has still to accept stand in line before
    until(lambda: not server.connections)


def test_many_who_send_a_byte_now_and_then(server: EmbeddedServer) -> None:
    frame = encode_request(Op.PUT, message_id=300, key=b"slow", value=b"v" * 40)
    peers = [Peer(server.address) for _ in range(40)]
    with Peer(server.address) as other:
        for byte in frame[:-1]:
            for peer in peers:
                peer.socket.sendall(bytes([byte]))
            assert other.call(Op.PING).status == Status.SUCCESS
        assert server.requests.get(Op.PUT) is None
    for peer in peers:
        vanish(peer)
    until(lambda: not server.connections)


HELLO = bytes.fromhex("1603010200010001fc0303")


@pytest.mark.parametrize("said", [b"", HELLO[:3], HELLO, b"\xa0\x01\x29\x17\0\0\0\0", b"x" * 5000])
def test_half_open_tls(said: bytes) -> None:
    """Whoever is not past TLS keeps nobody from the server, and ends with it."""
    with EmbeddedServer(tls=str(CERTIFICATES / "server.pem"), max_connections=5) as server:
        sockets = [socket.create_connection(server.address, timeout=SECONDS) for _ in range(40)]
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.sendall(said)
        context = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))
        with Peer(server.address, context=context) as peer:
            assert peer.call(Op.PING).status == Status.SUCCESS
    for sock in sockets:
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(1000):
                pass
        sock.close()


def test_a_flood_of_attempts_to_get_in() -> None:
    users = {"user": "correct horse"}
    with EmbeddedServer(users=users, mechanisms=["PLAIN", "SCRAM-SHA-256"]) as server:
        attempt = encode_request(Op.AUTH, message_id=1, mechanism="PLAIN", response=b"\0user\0no")
        begin = encode_request(
            Op.AUTH, message_id=1, mechanism="SCRAM-SHA-256", response=b"n,,n=user,r=abcdef"
        )
        request = decode_request(attempt)
        with Peer(server.address) as peer, Peer(server.address) as other:
            peer.socket.sendall(attempt * 2000)
            for _ in range(2000):
                assert peer.answer(request).status == Status.REQUEST_PARSING_ERROR
            # An exchange that begins anew and anew is one exchange.
            peer.socket.sendall(begin * 100)
            found = [peer.answer(request) for _ in range(100)]
            assert any(answer.is_error for answer in found)
            assert "ISPN006017" in peer.call(Op.SIZE).error
            assert "ISPN006017" in other.call(Op.GET, key=b"k").error
            right = other.call(Op.AUTH, mechanism="PLAIN", response=b"\0user\0correct horse")
            assert right.completed
            assert other.call(Op.SIZE)["size"] == 0


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\0" * 1000,
        b"\0user\0" + b"x" * 500_000,
        b"\xff" * 100,
        b"user\0user\0correct horse\0",
    ],
)
@pytest.mark.parametrize(
    "mechanism", ["PLAIN", "SCRAM-SHA-256", "DIGEST-MD5", "CRAM-MD5", "X" * 9999]
)
def test_attempts_that_are_none(mechanism: str, response: bytes) -> None:
    offered = ["PLAIN", "SCRAM-SHA-256", "DIGEST-MD5", "CRAM-MD5"]
    with (
        EmbeddedServer(users={"user": "correct horse"}, mechanisms=offered) as server,
        Peer(server.address) as peer,
    ):
        for _ in range(3):
            peer.call(Op.AUTH, mechanism=mechanism, response=response)
        assert "ISPN006017" in peer.call(Op.SIZE).error


# ---- more than there is room for ----------------------------------------------------------------


def test_more_entries_than_there_may_be() -> None:
    with EmbeddedServer(max_entries=100) as server, Peer(server.address) as peer:
        peer.call(Op.PUT_ALL, entries={b"%d" % i: b"v" for i in range(5000)})
        for i in range(1000):
            peer.call(Op.PUT_IF_ABSENT, key=b"more %d" % i, value=b"v")
        assert peer.call(Op.SIZE)["size"] == 100
        assert peer.call(Op.GET, key=b"more 999").value == b"v"


def test_counters_of_huge_names(server: EmbeddedServer) -> None:
    config = CounterConfiguration(initial=1)
    with Peer(server.address) as peer:
        assert peer.call(Op.COUNTER_CREATE, name="\x1b" * 2**16, config=config).status == 0
        long = encode_request(
            Op.COUNTER_CREATE, message_id=7, name="n" * (2**20 + 1), config=config
        )
        peer.socket.sendall(long)
        assert answers(peer.rest()) == [Status.REQUEST_PARSING_ERROR]


DEEP = 100_000
BOMBS = {
    "a billion laughs": '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><a>&c;</a>',
    "comments that do not end": "<" + "<!--" * 200_000,
    "comments": "<a>" + "<!---->" * 100_000 + "</a>",
    "deep XML": "<a>" * DEEP + "</a>" * DEEP,
    "attributes": "<local-cache " + " ".join(f'a{i}=""' for i in range(5_000)) + "/>",
    "deep JSON": '{"a":' * DEEP,
    "deep JSON that ends": '{"a":' * DEEP + "1" + "}" * DEEP,
    "long numbers": '{"local-cache":{"memory":{"max-count":' + "9" * 100_000 + "}}}",
    "many segments": '{"distributed-cache":{"segments":2000000000}}',
    "many owners": '{"distributed-cache":{"owners":2000000000}}',
    "long life": '{"local-cache":{"expiration":{"lifespan":"' + "9" * 500 + '"}}}',
    "deep YAML": "\n".join(" " * i + "a:" for i in range(1400)),
    "YAML without colons": "a" * 1_000_000,
    "YAML of blanks": "a:" + " " * 500_000 + "\n" + " " * 500_000 + "b",
    "too long": "{" + " " * 2**20,
    "NUL": "<\0>",
    "escapes": "\x1b[2J",
}


@pytest.mark.parametrize("name", BOMBS)
def test_configurations_that_are_bombs(name: str) -> None:
    with EmbeddedServer() as server, Peer(server.address) as peer:
        params = {"name": b"bomb", "configuration": BOMBS[name].encode()}
        tracemalloc.start()
        try:
            answer = peer.call(Op.EXEC, task="@@cache@create", params=params)
            assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
        finally:
            tracemalloc.stop()
        if not answer.is_error:
            peer.call(Op.PUT, cache="bomb", key=b"k", value=b"v")
        assert len(answer.error or "") < 1000
        assert answer.is_error or name in ("attributes", "many owners")
        assert peer.call(Op.PING).status == Status.SUCCESS


SCHEMAS = ["/*" * 200_000, '"\\' * 200_000, "'" * 400_001, "{" * 500_000, "message " * 100_000]


@pytest.mark.parametrize("content", SCHEMAS, ids=[content[:8] for content in SCHEMAS])
def test_schemas_that_are_bombs(server: EmbeddedServer, content: str) -> None:
    params = {"name": b"a.proto", "content": content.encode(), "op": b"c"}
    with Peer(server.address) as peer:
        answer = peer.call(Op.EXEC, task="@@schemas@createOrUpdate", params=params)
        assert b"Syntax error" in answer.result


def test_names_that_command_terminals(server: EmbeddedServer) -> None:
    """What a client calls things comes back in answers, not in the log."""
    strange = "\x1b[2J\r\n"
    with Peer(server.address) as peer:
        assert peer.call(Op.GET, cache=strange, key=b"k").is_error
        assert peer.call(Op.EXEC, task=strange * 100, params={}).is_error


# ---- who may come -------------------------------------------------------------------------------


def test_it_listens_on_the_loopback_unless_told_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedServer(nodes=2) as server:
        assert server.is_local
        for node in server._nodes:
            assert node._listening is not None
            assert {s.getsockname()[0] for s in node._listening.sockets} == {"127.0.0.1"}
    assert not caplog.records


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::ffff:0.0.0.0", ""])
def test_whoever_listens_for_all_is_told_so(host: str, caplog: pytest.LogCaptureFixture) -> None:
    server = EmbeddedServer(host=host)
    assert not server.is_local
    with contextlib.suppress(OSError):  # there may be no IPv6 here
        server.start()
    server.stop()
    assert "no loopback address: other machines can connect" in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_address_is_nothing_to_talk_about(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = EmbeddedServer(host=host)
    assert server.is_local
    with contextlib.suppress(OSError):
        server.start()
    server.stop()
    assert not caplog.records
