"""One connection without its socket: requests in, bytes out; bytes in, results out.

Here: message ids, which answer belongs to whom, the handshake, what happens to those that nobody
waits for any more. A driver moves the bytes, waits, and knows the time.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal, NoReturn, Protocol, TypeAlias

from hotrod_codec import (
    CacheEncoder,
    Event,
    Limits,
    Reader,
    RequestContext,
    Response,
    decode_response,
    encode_request,
)
from hotrod_codec._ext.exchange import Begun, Exchange
from hotrod_codec.client.config import Configuration
from hotrod_codec.errors import (
    AuthenticationError,
    DecodeError,
    RequestTimeoutError,
    TransportError,
    shown,
)
from hotrod_codec.ops import Flag, Intelligence, Op, Status, Version
from hotrod_codec.sasl import choose_mechanism, client_exchange
from hotrod_codec.values import MediaType, ServerAddress

__all__ = [
    "NO_ANSWER",
    "NO_FLAGS",
    "ConnectError",
    "Fields",
    "Greeting",
    "Header",
    "Into",
    "NotSentError",
    "Piece",
    "Session",
    "View",
    "Waiter",
    "connect_error",
    "handshake",
    "handshake_versions",
    "name_of",
]

logger = logging.getLogger(__name__)

NO_FLAGS: Final = Flag(0)

Fields: TypeAlias = Mapping[str, Any] | bytes
"""The body of a request, as for encode_request; of GET it may be the key alone."""

Into: TypeAlias = Literal["pairs", "dict", "lists", "batch"]
"""What the list of an answer becomes."""


class NotSentError(TransportError):
    """The connection failed before anything of this request was sent: it was surely not done."""


class ConnectError(NotSentError):
    """A server cannot be reached, or is none."""


def connect_error(server: ServerAddress, error: Exception) -> ConnectError:
    """Why `server` cannot be used, with its name in front once."""
    name, text = name_of(server), str(error)
    return ConnectError(text if text.startswith(name) else f"{name}: {text}")


class Waiter(Protocol):
    """Who gets the answer to a request, such as a future: one of these is called, once."""

    def set_result(self, response: Any, /) -> None:
        """The answer, a Response, which may be an error answer."""

    def set_exception(self, error: Exception, /) -> None:
        """There will be no answer."""


class _NoAnswer:
    """Stands where an answer has not come."""

    def __repr__(self) -> str:
        return "no answer"


NO_ANSWER: Final = _NoAnswer()


class Piece:
    """Requests with consecutive ids that were sent together: takes their answers.

    Args:
        results: NO_ANSWER in each place. There go the answers: of a plain one only its value, as
            Reader.next_values has it; of any other the Response; or why there is none.
        start: The place of the first.
        first_id, count: Their ids.
        whole: Called when nothing more will come.

    Attributes:
        size: About how many bytes the requests were.
        left: How many answers have not come.
        op, deadline: As for `Session.submit`.
        forgotten: Whether nobody waits for them any more.
    """

    __slots__ = (
        "_results",
        "_start",
        "_whole",
        "count",
        "deadline",
        "first_id",
        "forgotten",
        "left",
        "op",
        "size",
    )

    op: Op
    deadline: float

    def __init__(
        self,
        results: list[Any],
        start: int,
        first_id: int,
        count: int,
        size: int,
        whole: Callable[[Piece], None],
    ) -> None:
        self._results = results
        self._start = start
        self._whole = whole
        self.first_id = first_id
        self.count = count
        self.left = count
        self.size = size
        self.forgotten = False

    def take_from(self, reader: Reader) -> int:
        """Take the plain answers that are next; how many they were."""
        results = None if self.forgotten else self._results
        return reader.next_values(results, self.first_id, self.count, self._start)

    def put(self, response: Response) -> None:
        """One answer, in whatever form."""
        if not self.forgotten:
            self._results[self._start + response.message_id - self.first_id] = response

    def end(self) -> None:
        """Nothing more will come."""
        if not self.forgotten:
            self._whole(self)

    def fail(self, error: Exception) -> None:
        """For this reason nothing more will come, or be of any use."""
        if self.forgotten:
            return
        results = self._results
        for place in range(self._start, self._start + self.count):
            if results[place] is NO_ANSWER:
                results[place] = error
        self.end()
        self.forgotten = True


# After these the server looks for the next request in the middle of this one.
_OUT_OF_STEP: Final = frozenset(
    {Status.INVALID_MAGIC_OR_MESSAGE_ID, Status.UNKNOWN_COMMAND, Status.UNKNOWN_VERSION}
)


def name_of(server: ServerAddress) -> str:
    """ "host:port", for messages."""
    host, port = shown(server.host, 100), server.port
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Header:
    """What stands in the headers of one view of a cache, beside the topology's id.

    Attributes:
        cache: The cache's name.
        flags: As they are.
        key_media_type, value_media_type: Left out in versions that have none.
    """

    __slots__ = ("_all", "_hash", "cache", "flags", "key_media_type", "value_media_type")

    def __init__(
        self,
        cache: str,
        flags: Flag = NO_FLAGS,
        key_media_type: MediaType | None = None,
        value_media_type: MediaType | None = None,
    ) -> None:
        self.cache = cache
        self.flags = flags
        self.key_media_type = key_media_type
        self.value_media_type = value_media_type
        self._all = cache, flags, key_media_type, value_media_type
        self._hash = hash(self._all)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Header) and self._all == other._all)

    def encoder(
        self,
        version: Version,
        intelligence: Intelligence,
        params: Mapping[str, bytes] | None = None,
    ) -> CacheEncoder:
        """What encodes requests with this header.

        Args:
            params: Further parameters, since 4.0.
        """
        typed = version >= Version.V2_8
        return CacheEncoder(
            self.cache,
            version=version,
            flags=self.flags,
            intelligence=intelligence,
            key_media_type=self.key_media_type if typed else None,
            value_media_type=self.value_media_type if typed else None,
            other_params=params,
        )


# The encoder of a header, and the contexts of its gets and puts.
View: TypeAlias = tuple[CacheEncoder, RequestContext, RequestContext]


class Session(Exchange):
    """The state of one connection that is past its handshake.

    Args:
        server: Whose, for messages.
        version: What the handshake found.
        intelligence: How much of its cluster the server shall tell.
        limits, legacy_server: As for Reader.
        gone: What waiters raise that are not there any more, such as a future that was cancelled.

    Attributes:
        version: Of all requests.
        heard: How many events have come for listeners.
    """

    failure: TransportError | None

    def __init__(
        self,
        server: ServerAddress,
        version: Version,
        *,
        intelligence: Intelligence = Intelligence.BASIC,
        limits: Limits | None = None,
        legacy_server: bool = False,
        gone: tuple[type[Exception], ...] = (),
    ) -> None:
        reader = Reader(limits=limits, legacy_server=legacy_server)
        super().__init__(reader)
        self.server = server
        self.version = version
        self._gone = gone
        self.intelligence = intelligence
        self.heard = 0
        self._pieces: list[Piece] = []  # with answers to come, in the order of their ids
        self._listeners: dict[bytes, Callable[[Event], None]] = {}

    @property
    def progress(self) -> int:
        """How many answers have come: tells a server that works from one that only keeps the line
        busy."""
        return self.last_id - self.pending

    def submit(
        self,
        op: Op,
        waiter: Waiter,
        deadline: float,
        topology_id: int,
        header: Header,
        fields: Fields,
        into: Into = "pairs",
    ) -> bytes:
        """The bytes of a request, whose answer `waiter` will get.

        Args:
            deadline: When to give up, on the clock of `expire`.
            fields: Of the body.
            into: What the answer's list becomes, as for Reader.expect.

        Raises:
            EncodeError: It cannot be said in this version. Nothing has happened.
            NotSentError: The session is over.
        """
        return self.request(op, waiter, deadline, topology_id, header, fields, into)

    def submit_many(
        self,
        op: Op,
        piece: Piece,
        deadline: float,
        topology_id: int,
        header: Header,
        encode: Callable[[CacheEncoder, int], bytes],
        into: Into = "pairs",
    ) -> bytes:
        """The bytes of several requests, whose answers `piece` will get; its ids have to be the
        next. Otherwise as `submit`.

        Args:
            encode: Gives the bytes of all of them, from the encoder and the first id.
        """
        if self.failure is not None:
            self.refuse()
        encoder = (self._views.get(header) or self._new_view(header))[0]
        if encoder.topology_id != topology_id:
            encoder.topology_id = topology_id
            self._topology_id = None
        first, count = piece.first_id, piece.count
        data = encode(encoder, first)
        self._reader.expect_many(encoder.context(op), first, count, into=into)
        piece.op, piece.deadline = op, deadline
        self._pieces.append(piece)
        self.pending += count
        self.last_id = first + count - 1
        return data

    def refuse(self) -> NoReturn:
        """Raise that it is over."""
        raise NotSentError(str(self.failure))

    def _new_view(self, header: Header) -> View:
        view = self._views[header] = self._view_of(header)
        return view

    def _view_of(self, header: Header, params: Mapping[str, bytes] | None = None) -> View:
        encoder = header.encoder(self.version, self.intelligence, params)
        return encoder, encoder.context(Op.GET), encoder.context(Op.PUT)

    def received(self, count: int, /) -> None:
        """Take `count` bytes that were read into `buffer()`; answer those whose answers are whole.

        Raises:
            TransportError: The server's bytes cannot be understood. Call `fail` with it.
        """
        reader = self._reader
        reader.commit(count)
        waiting, pieces = self._waiting, self._pieces
        while True:
            while pieces and self._take_plain(pieces[0]):
                pass
            if taken := reader.resolve(waiting, self._gone):
                self.pending -= taken
                if pieces:
                    continue
            try:
                message = reader.next()
            except DecodeError as error:
                raise TransportError(f"{name_of(self.server)}: {error}") from error
            if message is None:
                return
            if type(message) is Event:
                self._hear(message)
                continue
            message_id = message.message_id
            if message_id in waiting:
                self.pending -= 1
                self._give(waiting.pop(message_id), message)
            elif (piece := self._piece_of(message_id)) is not None:
                piece.put(message)
                self._count(piece, 1)
                self._take_plain(piece)
            else:
                self._unmatched(message)
                continue
            if message.is_error and message.status in _OUT_OF_STEP:
                raise TransportError(f"{name_of(self.server)}: {shown(message.error)}")

    def _give(self, begun: Begun | None, outcome: Response | Exception) -> None:
        if begun is None:
            self.abandoned -= 1
            return
        with suppress(*self._gone):
            if isinstance(outcome, Exception) or outcome.is_error or outcome.topology is not None:
                begun.end(outcome)
            else:
                begun.set_result(outcome)

    def _piece_of(self, message_id: int) -> Piece | None:
        place = bisect_right(self._pieces, message_id, key=_first_id) - 1
        if place < 0:
            return None
        piece = self._pieces[place]
        return piece if message_id < piece.first_id + piece.count else None

    def _take_plain(self, piece: Piece) -> bool:
        """Whether that was all of this piece."""
        taken = piece.take_from(self._reader)
        if taken:
            self._count(piece, taken)
        return not piece.left

    def _count(self, piece: Piece, taken: int) -> None:
        self.pending -= taken
        if piece.forgotten:
            self.abandoned -= taken
        piece.left -= taken
        if not piece.left:
            self._pieces.remove(piece)
            piece.end()

    def abandon(self, message_id: int) -> None:
        """Nobody waits for this answer any more. It is read and dropped when it comes."""
        if self._waiting.get(message_id) is not None:
            self._waiting[message_id] = None
            self.abandoned += 1

    def abandon_piece(self, piece: Piece) -> None:
        """As `abandon`, for all answers of a piece that have not come."""
        if not piece.forgotten:
            piece.forgotten = True
            self.abandoned += piece.left

    def expire(self, now: float) -> int:
        """Fail the requests whose deadlines are over; how many they were."""
        before = self.abandoned
        for message_id, begun in list(self._waiting.items()):
            if begun is not None and begun.deadline <= now:
                self.abandon(message_id)
                self._give(begun, self._late(begun.op))
        for piece in list(self._pieces):
            if piece.deadline <= now and not piece.forgotten:
                piece.fail(self._late(piece.op))
                self.abandoned += piece.left
        return self.abandoned - before

    def _late(self, op: Op) -> RequestTimeoutError:
        return RequestTimeoutError(f"{op.name}: no answer from {name_of(self.server)} in time")

    def fail(self, error: TransportError) -> None:
        """The connection is lost, and with it all answers."""
        if self.failure is None:
            self.failure = error
        waiting, pieces = dict(self._waiting), list(self._pieces)
        self._waiting.clear()
        self._pieces.clear()
        self.pending = self.abandoned = 0
        for message_id, begun in waiting.items():
            if begun is not None:
                self._give(begun, self._lost(message_id, begun.op, error))
        for piece in pieces:
            piece.fail(self._lost(piece.first_id, piece.op, error))

    def _lost(self, message_id: int, op: Op, error: TransportError) -> TransportError:
        kind = TransportError if message_id <= self.flushed_id else NotSentError
        lost = kind(f"{op.name}: {error}")
        lost.__cause__ = error
        return lost

    # ---- events

    def listen(self, listener_id: bytes, callback: Callable[[Event], None]) -> None:
        """Hand the events of this listener to `callback`. Before the request that adds it, as
        events may come before its answer."""
        self._listeners[listener_id] = callback

    def _hear(self, event: Event) -> None:
        callback = self._listeners.get(event.listener_id)
        if callback is not None:
            self.heard += 1
            callback(event)

    def _unmatched(self, message: Response) -> None:
        """An error that answers no request: of an event that could not be made, or worse."""
        error = f"{name_of(self.server)}: {shown(message.error)}"
        if message.status <= Status.REQUEST_PARSING_ERROR:
            raise TransportError(error)
        logger.warning("%s", error)


_first_id = attrgetter("first_id")


# ---------------------------------------------------------------------------------------------
# The handshake


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a handshake found.

    Attributes:
        version: The version to speak.
        server_version: The newest that the server has, as its byte; None: it did not say.
        opcodes: Of the requests that the server knows; empty: it did not say.
        mechanism: How the client authenticated.
    """

    version: Version
    server_version: int | None = None
    opcodes: frozenset[int] = frozenset()
    mechanism: str | None = None


# 3.1 is the newest whose header every server since 9.4 can read; until 2.8 the answer to a ping
# has no body, so that it cannot be another than expected. [wire-core 11]
_NEWEST_HANDSHAKE: Final = Version.V3_1
_NEWEST_SIMPLE: Final = Version.V2_8
_MAGIC: Final = 0xA1

_LONGEST_ANSWER: Final = 2**20
"""Bytes of one answer before the server has proven who it is: they are read again and again."""


def handshake_versions(wanted: Version | None) -> tuple[Version, ...]:
    """The versions to try handshakes in, each on a connection of its own, until the server does
    not answer UnknownVersionError."""
    if wanted is not None:
        return (min(wanted, _NEWEST_HANDSHAKE),)
    return (_NEWEST_HANDSHAKE, *(v for v in reversed(Version) if v <= _NEWEST_SIMPLE))


def handshake(
    configuration: Configuration, version: Version, *, nonce: str, encrypted: bool
) -> Generator[bytes, bytes, Greeting]:
    """Authenticate and agree on a version: yields what to send, wants what was received.

    Args:
        version: One of `handshake_versions`.
        nonce: Random, for SCRAM and DIGEST.
        encrypted: Whether the connection is.

    Raises:
        UnknownVersionError: The server does not know `version`; try an older one.
        AuthenticationError: As it says.
        ServerError: The server refused to answer the ping.
        TransportError: The server's bytes cannot be understood.
    """
    talk = _Talk(configuration, version)
    mechanism = None
    if configuration.username is not None or configuration.token or configuration.sasl_mechanisms:
        mechanism = yield from _authenticate(talk, configuration, nonce, encrypted)
    wanted = configuration.protocol_version
    if version <= _NEWEST_SIMPLE or wanted == Version.V2_9:
        answer = yield from talk.ask(Op.PING)
        answer.raise_for_status()
        return Greeting(version if wanted is None else wanted, mechanism=mechanism)
    return (yield from _agree(talk, wanted, mechanism))


class _Talk:
    """One request after the other. Not a Reader's, because what the answer to a ping looks like
    shows only when it is there."""

    def __init__(self, configuration: Configuration, version: Version) -> None:
        self.version = version
        self.received = b""
        self.last_id = 0
        self._limits = configuration.limits

    def request(self, op: Op, version: Version, **fields: Any) -> bytes:
        self.last_id += 1
        return encode_request(op, version=version, message_id=self.last_id, **fields)

    def read(self, op: Op, version: Version, offset: int = 0) -> Response | None:
        """The answer that begins there; None: it goes on."""
        try:
            return decode_response(
                self.received, RequestContext(op, version), offset, limits=self._limits
            )
        except DecodeError as error:
            raise TransportError(f"this is no answer of a Hot Rod server: {error}") from error

    def take(self, data: bytes) -> None:
        """What came behind what came before."""
        self.received += data
        if len(self.received) > _LONGEST_ANSWER:
            raise TransportError(f"more than {_LONGEST_ANSWER} bytes, and no end of the answer")

    def ask(self, op: Op, **fields: Any) -> Generator[bytes, bytes, Response]:
        out = self.request(op, self.version, **fields)
        while True:
            self.take((yield out))
            out = b""
            answer = self.read(op, self.version)
            if answer is not None:
                self.received = self.received[answer.size :]
                return answer


def _authenticate(
    talk: _Talk, configuration: Configuration, nonce: str, encrypted: bool
) -> Generator[bytes, bytes, str]:
    if talk.version < Version.V2_0:
        raise AuthenticationError(f"protocol version {talk.version!s} has no authentication")
    offered = yield from talk.ask(Op.AUTH_MECH_LIST)
    offered.raise_for_status()
    shown = configuration.client_certificate or configuration.ssl_context
    mechanism = choose_mechanism(
        offered.mechanisms,
        tls=encrypted or configuration.allow_plain_without_tls,
        password=configuration.username is not None,
        token=configuration.token is not None,
        certificate=encrypted and shown is not None,
        wanted=configuration.sasl_mechanisms or (),
    )
    exchange = client_exchange(
        mechanism,
        username=configuration.username or "",
        password=configuration.password or "",
        token=configuration.token or "",
        realm=configuration.realm,
        nonce=nonce,
        server_name=configuration.sasl_server_name,
    )
    response: bytes | None = exchange.start()
    while response is not None:
        answer = yield from talk.ask(Op.AUTH, mechanism=mechanism, response=response)
        response = exchange.receive(answer)
    return mechanism


def _agree(
    talk: _Talk, wanted: Version | None, mechanism: str | None
) -> Generator[bytes, bytes, Greeting]:
    """Server 9.4 answers a ping of 3.1 as one of 2.9, which is shorter: to wait for the rest would
    be for ever. A probe behind it tells: where the rest begins with the version of a newer server,
    the probe's answer begins with its magic, which is no version. The probe's answer may also come
    first; then it tells nothing, and another one is sent."""
    out = talk.request(Op.PING, talk.version)
    ping_id = talk.last_id
    probes = 0
    while True:
        if probes == 0:
            out += talk.request(Op.PING, _NEWEST_SIMPLE)
            probes = 1
        talk.take((yield out))
        out = b""
        while probes and len(talk.received) > 1 and talk.received[1] != ping_id:
            if (probe := talk.read(Op.PING, _NEWEST_SIMPLE)) is None:
                break
            talk.received = talk.received[probe.size :]
            probes -= 1
        if len(talk.received) < 2 or talk.received[1] != ping_id:
            continue
        old = talk.read(Op.PING, Version.V2_9)
        if old is None or (not old.is_error and old.size == len(talk.received)):
            continue
        old.raise_for_status()
        if talk.received[old.size] == _MAGIC:
            if talk.read(Op.PING, _NEWEST_SIMPLE, old.size) is not None:
                return Greeting(Version.V2_9 if wanted is None else wanted, mechanism=mechanism)
            continue
        answer = talk.read(Op.PING, talk.version)
        if answer is None:
            continue
        if probes and talk.read(Op.PING, _NEWEST_SIMPLE, answer.size) is None:
            continue
        best = max((v for v in Version if v <= answer.server_version), default=talk.version)
        return Greeting(
            best if wanted is None else wanted,
            server_version=answer.server_version,
            opcodes=frozenset(answer.opcodes),
            mechanism=mechanism,
        )
