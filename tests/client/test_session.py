"""hotrod_codec.client.session: byte strings in, byte strings out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import pytest

from hotrod_codec import (
    AuthenticationError,
    LimitError,
    Limits,
    Op,
    RequestTimeoutError,
    Response,
    ServerAddress,
    Status,
    TransportError,
    UnknownVersionError,
    Version,
    decode_request,
    encode_response,
)
from hotrod_codec.client.config import Configuration
from hotrod_codec.client.session import (
    NO_ANSWER,
    Greeting,
    Header,
    NotSentError,
    Piece,
    Session,
    handshake,
    handshake_versions,
)
from hotrod_codec.sasl import server_exchange

ADDRESS = ServerAddress("h", 1)
HEADER = Header("c")


class Waiter:
    def __init__(self) -> None:
        self.answers: list[Response] = []
        self.errors: list[Exception] = []

    def set_result(self, response: Response, /) -> None:
        self.answers.append(response)

    def set_exception(self, error: Exception, /) -> None:
        self.errors.append(error)


def session(**arguments: Any) -> Session:
    return Session(ADDRESS, Version.V4_1, **arguments)


def get(s: Session, key: bytes = b"k", deadline: float = 10.0) -> tuple[Waiter, int]:
    waiter = Waiter()
    request = decode_request(s.submit(Op.GET, waiter, deadline, 7, HEADER, {"key": key}))
    assert request is not None
    assert (request.cache, request.topology_id, request.key) == ("c", 7, key)
    return waiter, request.message_id


def found(message_id: int, value: bytes) -> bytes:
    return encode_response(Op.GET, message_id=message_id, value=value)


def receive(s: Session, data: bytes) -> None:
    view = s.buffer()
    view[: len(data)] = data
    s.received(len(data))


def test_ids_count_from_one_and_answers_may_come_in_any_order() -> None:
    s = session()
    (a, one), (b, two) = get(s), get(s)
    assert (one, two, s.pending) == (1, 2, 2)
    receive(s, found(2, b"b") + found(1, b"a"))
    assert [w.answers[0].value for w in (a, b)] == [b"a", b"b"]
    assert s.pending == 0


def test_answers_may_come_byte_by_byte() -> None:
    s = session()
    waiter, message_id = get(s)
    data = found(message_id, b"value")
    for i, byte in enumerate(data):
        assert len(waiter.answers) == 0, i
        receive(s, bytes([byte]))
    assert waiter.answers[0].value == b"value"


def test_an_abandoned_answer_is_read_and_dropped() -> None:
    s = session()
    a, one = get(s)
    b, two = get(s)
    s.abandon(one)
    assert (s.pending, s.abandoned) == (2, 1)
    receive(s, found(one, b"a") + found(two, b"b"))
    assert a.answers == a.errors == []
    assert b.answers[0].value == b"b"
    assert (s.pending, s.abandoned) == (0, 0)


def test_what_is_late_fails_and_its_answer_is_dropped() -> None:
    s = session()
    early, one = get(s, deadline=5.0)
    late, two = get(s, deadline=10.0)
    assert s.expire(4.9) == 0
    assert s.expire(5.0) == 1
    assert isinstance(early.errors[0], RequestTimeoutError)
    assert "GET: no answer from h:1" in str(early.errors[0])
    assert s.expire(6.0) == 0
    receive(s, found(one, b"a") + found(two, b"b"))
    assert (len(early.answers), late.answers[0].value) == (0, b"b")


def test_a_waiter_that_is_gone() -> None:
    """A future that was cancelled, whose task has not had its turn since."""
    loop = asyncio.new_event_loop()
    s = session(gone=(asyncio.InvalidStateError,))
    gone = [loop.create_future() for _ in range(3)]
    for future in gone[:2]:
        s.submit(Op.GET, future, 5.0, 7, HEADER, {"key": b"k"})
    waiter, three = get(s)
    s.submit(Op.GET, gone[2], 20.0, 7, HEADER, {"key": b"k"})
    for future in gone:
        future.cancel()
    receive(s, found(1, b"a") + found(three, b"b"))
    assert waiter.answers[0].value == b"b"
    assert (s.expire(5.0), s.pending) == (1, 2)
    s.fail(TransportError("gone"))
    assert s.pending == 0
    loop.close()


def gets(s: Session, *keys: bytes, deadline: float = 10.0) -> tuple[Piece, list[Any], list[Piece]]:
    """Gets for many keys at once: the piece, its results, and it again when it is whole."""
    results: list[Any] = [NO_ANSWER] * len(keys)
    whole: list[Piece] = []
    piece = Piece(results, 0, s.last_id + 1, len(keys), 100, whole.append)
    data = s.submit_many(Op.GET, piece, deadline, 7, HEADER, lambda e, i: e.get_many(keys, i))
    offset = 0
    for i, key in enumerate(keys):
        request = decode_request(data, offset)
        assert request is not None
        assert (request.message_id, request.key) == (piece.first_id + i, key)
        offset += request.size
    assert offset == len(data)
    return piece, results, whole


def test_answers_to_a_piece_go_to_their_places() -> None:
    s = session()
    alone, one = get(s)
    piece, results, whole = gets(s, b"x", b"y", b"z")
    assert (piece.first_id, s.last_id, s.pending) == (one + 1, one + 3, 4)
    receive(s, found(4, b"Z") + found(one, b"alone") + found(2, b"X"))
    assert (alone.answers[0].value, piece.left, whole) == (b"alone", 1, [])
    receive(s, found(3, b"Y"))
    assert results == [b"X", b"Y", b"Z"]
    assert (whole, s.pending) == ([piece], 0)


def test_a_piece_of_which_some_is_late() -> None:
    s = session()
    piece, results, whole = gets(s, b"x", b"y", deadline=5.0)
    receive(s, found(2, b"Y"))
    assert s.expire(5.0) == 1
    assert isinstance(results[0], RequestTimeoutError)
    assert (results[1], whole, s.abandoned) == (b"Y", [piece], 1)
    receive(s, found(1, b"X"))
    assert isinstance(results[0], RequestTimeoutError)
    assert (s.pending, s.abandoned) == (0, 0)


def test_an_abandoned_piece() -> None:
    s = session()
    piece, results, whole = gets(s, b"x", b"y", b"z")
    receive(s, found(2, b"Y"))
    s.abandon_piece(piece)
    assert (s.pending, s.abandoned) == (2, 2)
    receive(s, found(1, b"X") + found(3, b"Z"))
    assert (s.pending, s.abandoned, whole) == (0, 0, [])
    assert results == [NO_ANSWER, b"Y", NO_ANSWER]


def test_a_piece_that_cannot_be_said_has_no_ids() -> None:
    s = session()
    piece = Piece([None], 0, 1, 1, 100, lambda _: None)
    with pytest.raises(TypeError):
        s.submit_many(Op.GET, piece, 10.0, 7, HEADER, lambda e, i: e.get_many([5], i))  # type: ignore[list-item]
    assert (s.last_id, s.pending) == (0, 0)
    assert get(s)[1] == 1


def test_a_lost_connection_and_a_piece() -> None:
    s = session()
    sent, sent_results, sent_whole = gets(s, b"x", b"y")
    s.flushed_id = s.last_id
    _, unsent_results, _ = gets(s, b"z")
    s.fail(TransportError("gone"))
    assert [type(error) for error in sent_results] == [TransportError, TransportError]
    assert [type(error) for error in unsent_results] == [NotSentError]
    assert (s.pending, sent_whole) == (0, [sent])


def test_a_lost_connection_tells_what_was_not_sent() -> None:
    s = session()
    sent, _ = get(s)
    s.flushed_id = s.last_id
    unsent, _ = get(s)
    s.fail(TransportError("gone"))
    assert type(sent.errors[0]) is TransportError
    assert type(unsent.errors[0]) is NotSentError
    assert s.pending == 0
    with pytest.raises(NotSentError, match="gone"):
        get(s)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        found(99, b"v"),
        encode_response(Op.PUT, message_id=1),
        encode_response(Op.GET, message_id=0, status=Status.REQUEST_PARSING_ERROR, error="?"),
        encode_response(Op.GET, message_id=1, status=Status.UNKNOWN_COMMAND, error="?"),
    ],
    ids=["no magic", "unknown id", "wrong operation", "error to nobody", "out of step"],
)
def test_a_stream_that_makes_no_sense_ends_the_session(data: bytes) -> None:
    s = session()
    get(s)
    with pytest.raises(TransportError, match="h:1: "):
        receive(s, data)


def test_an_error_answer_is_an_answer() -> None:
    s = session()
    waiter, message_id = get(s)
    receive(
        s,
        encode_response(Op.GET, message_id=message_id, status=Status.SERVER_ERROR, error="no"),
    )
    assert waiter.answers[0].is_error
    assert get(s)[1] == 2


def test_an_answer_beyond_the_limits() -> None:
    s = session(limits=Limits(bytes=10))
    get(s)
    with pytest.raises(TransportError) as caught:
        receive(s, found(1, bytes(11)))
    assert isinstance(caught.value.__cause__, LimitError)


def test_events_go_to_their_listener() -> None:
    s = session()
    heard: list[Any] = []
    s.listen(b"id", heard.append)
    event = encode_response(
        Op.CACHE_ENTRY_CREATED, listener_id=b"id", key=b"k", entry_version=3, retried=False
    )
    other = event.replace(b"\x02id", b"\x02no")
    receive(s, event + other)
    assert [e.key for e in heard] == [b"k"]


def test_old_versions_have_no_media_types() -> None:
    from hotrod_codec.marshallers import TEXT

    header = Header("c", key_media_type=TEXT.media_type, value_media_type=TEXT.media_type)
    for version, expected in ((Version.V2_7, None), (Version.V2_8, "text/plain")):
        s = Session(ADDRESS, version)
        request = decode_request(s.submit(Op.GET, Waiter(), 1.0, 0, header, {"key": b"k"}))
        assert request is not None
        name = request.key_media_type.name if request.key_media_type else None
        assert (request.version, name) == (version, expected)


# ---- handshakes ---------------------------------------------------------------------------------


class Peer:
    """The server's side of a handshake, as a function of requests."""

    def __init__(self, answer: Callable[[Any], bytes], *, backwards: int = 0) -> None:
        self.answer = answer
        self.backwards = backwards  # how many turns it answers the last request first
        self.requests: list[Any] = []

    def speak(self, talk: Generator[bytes, bytes, Greeting], piece: int = 10**6) -> Greeting:
        out = next(talk)
        answers = b""
        try:
            while True:
                turn = []
                while out:
                    request = decode_request(out)
                    assert request is not None
                    self.requests.append(request)
                    turn.append(self.answer(request))
                    out = out[request.size :]
                if len(turn) > 1 and self.backwards:
                    self.backwards -= 1
                    turn.reverse()
                answers += b"".join(turn)
                assert answers, "the client waits for what does not come"
                out = talk.send(answers[:piece])
                answers = answers[piece:]
        except StopIteration as end:
            greeting: Greeting = end.value
            return greeting


def modern(newest: int) -> Callable[[Any], bytes]:
    def answer(request: Any) -> bytes:
        return encode_response(
            Op.PING,
            version=request.version,
            message_id=request.message_id,
            **({} if request.version < Version.V3_0 else ping_of(newest)),
        )

    return answer


def ping_of(newest: int) -> dict[str, Any]:
    return {"server_version": newest, "opcodes": [1, 3, 0x17]}


def legacy(request: Any) -> bytes:
    """Server 9.4: it takes every newer version for 2.9."""
    version = min(request.version, Version.V2_9)
    return encode_response(Op.PING, version=version, message_id=request.message_id)


def greet(configuration: Configuration, version: Version = Version.V3_1) -> Any:
    return handshake(configuration, version, nonce="n0nce", encrypted=False)


@pytest.mark.parametrize("piece", [1, 2, 7, 10**6])
@pytest.mark.parametrize(
    ("newest", "expected"), [(30, "3.0"), (31, "3.1"), (40, "4.0"), (41, "4.1"), (60, "4.1")]
)
@pytest.mark.parametrize("backwards", [0, 1])
def test_the_newest_version_that_both_have(
    newest: int, expected: str, piece: int, backwards: int
) -> None:
    """Answers may come in another order than requests."""
    peer = Peer(modern(newest), backwards=backwards)
    greeting = peer.speak(greet(Configuration()), piece)
    assert f"{greeting.version // 10}.{greeting.version % 10}" == expected
    assert greeting.server_version == newest
    assert greeting.opcodes == {1, 3, 0x17}


@pytest.mark.parametrize("piece", [1, 2, 7, 10**6])
@pytest.mark.parametrize("backwards", [0, 1])
def test_server_9_4_is_known_by_its_short_answer(piece: int, backwards: int) -> None:
    peer = Peer(legacy, backwards=backwards)
    assert peer.speak(greet(Configuration()), piece).version is Version.V2_9


def test_older_servers_refuse_and_are_tried_again() -> None:
    def answer(request: Any) -> bytes:
        if request.version <= Version.V2_5:
            return encode_response(Op.PING, version="2.5", message_id=request.message_id)
        return encode_response(
            Op.PING,
            version="2.5",
            message_id=request.message_id,
            status=Status.UNKNOWN_VERSION,
            error="2.5",
        )

    *refused, accepted = handshake_versions(None)[:5]
    assert refused == [Version.V3_1, Version.V2_8, Version.V2_7, Version.V2_6]
    for version in refused:
        with pytest.raises(UnknownVersionError):
            Peer(answer).speak(greet(Configuration(), version))
    assert Peer(answer).speak(greet(Configuration(), accepted)).version is Version.V2_5


@pytest.mark.parametrize("version", list(Version))
def test_a_fixed_version_is_kept(version: Version) -> None:
    configuration = Configuration(protocol_version=version)
    (first,) = handshake_versions(configuration.protocol_version)
    peer = Peer(modern(41))
    assert peer.speak(greet(configuration, first)).version is version
    assert peer.requests[0].version == min(version, Version.V3_1)


def guarded(mechanism: str, password: str) -> Callable[[Any], bytes]:
    exchange = server_exchange(
        mechanism,
        credentials={"user": password},
        nonce="s3rver",
        salt=b"0123456789ab",
        iterations=4096,
    )

    def answer(request: Any) -> bytes:
        arguments = {"version": request.version, "message_id": request.message_id}
        if request.op is Op.AUTH_MECH_LIST:
            return encode_response(request.op, mechanisms=[mechanism], **arguments)
        if request.op is Op.PING:
            return modern(41)(request)
        try:
            challenge = exchange.step(request.response)
        except AuthenticationError as error:
            return encode_response(
                request.op, status=Status.REQUEST_PARSING_ERROR, error=str(error), **arguments
            )
        return encode_response(
            request.op, completed=challenge is None, challenge=challenge or b"", **arguments
        )

    return answer


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "DIGEST-MD5"])
def test_authentication_comes_first(mechanism: str) -> None:
    peer = Peer(guarded(mechanism, "pencil"))
    greeting = peer.speak(greet(Configuration(username="user", password="pencil")), 5)
    assert (greeting.version, greeting.mechanism) == (Version.V4_1, mechanism)
    assert peer.requests[0].op is Op.AUTH_MECH_LIST
    assert peer.requests[-1].op is Op.PING


def test_a_wrong_password() -> None:
    peer = Peer(guarded("SCRAM-SHA-256", "pencil"))
    with pytest.raises(AuthenticationError) as caught:
        peer.speak(greet(Configuration(username="user", password="sw0rdfish")))
    assert "sw0rdfish" not in str(caught.value)


def test_the_password_is_not_sent_readable() -> None:
    configuration = Configuration(username="user", password="pencil")
    with pytest.raises(AuthenticationError, match="PLAIN"):
        Peer(guarded("PLAIN", "pencil")).speak(greet(configuration))
    allowed = Configuration(username="user", password="pencil", sasl_mechanisms=("PLAIN",))
    greeting = Peer(guarded("PLAIN", "pencil")).speak(greet(allowed))
    assert greeting.mechanism == "PLAIN"


def test_what_is_no_hot_rod_server() -> None:
    with pytest.raises(TransportError, match="no answer of a Hot Rod server"):
        Peer(lambda request: b"HTTP/1.1 400 Bad Request\r\n").speak(greet(Configuration()))
