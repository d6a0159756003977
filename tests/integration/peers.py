"""A blocking socket that speaks Hot Rod with the codec alone, and what it has seen.

Every message that passes here is held to the same rules: a request decodes to what encodes to the
same bytes, and so does whatever the server sent; and at the end of a test, a Reader that gets the
whole conversation in pieces finds the same messages in it.
"""

from __future__ import annotations

import random
import socket
import ssl
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Self

from hotrod_codec import (
    Event,
    Op,
    Reader,
    Request,
    Response,
    Version,
    decode_request,
    decode_response,
    encode_request,
)
from integration.embedded import EMBEDDED
from integration.infinispan import LEGACY, MODERN, OLDER, is_legacy

# Nothing here takes a server longer; a codec that waits for bytes that never come fails by it.
SECONDS = 20.0

# Longer conversations are not read a second time.
REPLAYED_BYTES = 100_000

VERSIONS: dict[str, tuple[Version, ...]] = {
    MODERN: tuple(v for v in Version if v >= Version.V2_0),
    OLDER: tuple(v for v in Version if Version.V2_0 <= v <= Version.V4_0),
    LEGACY: tuple(v for v in Version if v <= Version.V2_9),
    EMBEDDED: tuple(Version),
}


def versions_of(server: str) -> tuple[Version, ...]:
    """The versions that a server speaks; a release not known here should speak as MODERN does."""
    return VERSIONS.get(server, VERSIONS[MODERN])


def version_text(version: Version) -> str:
    return f"{version // 10}.{version % 10}"


@dataclass(frozen=True)
class Target:
    """Which server is spoken to, in which version."""

    server: str
    version: Version

    def __str__(self) -> str:
        return f"{self.server}-{version_text(self.version)}"

    @property
    def is_legacy(self) -> bool:
        return self.server != EMBEDDED and is_legacy(self.server)

    @property
    def is_modern(self) -> bool:
        """Whether it does as the newest server does."""
        return self.server in (MODERN, EMBEDDED)


@dataclass
class Sightings:
    """Which statuses were seen, by target and operation."""

    statuses: Counter[tuple[Target, Op, int]] = field(default_factory=Counter)


class Peer:
    """One connection to one server, in one version: one request, one answer, and events.

    Arguments of `call` are those of encode_request; `cache` is "octets" unless given.
    """

    def __init__(
        self,
        address: tuple[str, int],
        target: Target,
        sightings: Sightings,
        *,
        cache: str = "octets",
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.target = target
        self.version = target.version
        self.cache = cache
        self.socket = socket.create_connection(address, timeout=SECONDS)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._sightings = sightings
        self._last_id = 0
        self._received = bytearray()
        self._events: deque[Response] = deque()
        self._asked: list[Request] = []
        self._heard: list[Response] = []
        self._heard_bytes = 0
        self._may_replay = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def encode(self, op: Op, **arguments: Any) -> Request:
        """The request that `call` would send; its bytes are `.encode()`."""
        self._last_id += 1
        arguments.setdefault("cache", self.cache)
        arguments.setdefault("message_id", self._last_id)
        frame = encode_request(op, version=self.version, **arguments)
        request = decode_request(frame)
        assert request is not None
        assert request.size == len(frame)
        assert request.encode() == frame
        return request

    def call(self, op: Op, **arguments: Any) -> Response:
        """Send one request and return its answer; events that come before it are kept."""
        return self.ask(self.encode(op, **arguments))

    def ask(self, request: Request) -> Response:
        """Send a request that is encoded already and return its answer."""
        self.socket.sendall(request.encode())
        answer = self._answer(request)
        assert answer.message_id == request.message_id
        self._asked.append(request)
        return answer

    def receive(self, request: Request) -> Response:
        """The next message that is no event, read as the answer to `request`, which it may not
        be."""
        self._may_replay = False
        return self._answer(request)

    def _answer(self, request: Request) -> Response:
        while True:
            message = self._next_message(request)
            if not isinstance(message, Event):
                self.saw(request.op, message)
                return message
            self._events.append(message)

    def event(self) -> Response:
        """The next event: one that came already, or the next message."""
        if not self._events:
            message = self._next_message(self.encode(Op.PING))
            assert isinstance(message, Event)
            return message
        return self._events.popleft()

    def unread(self, count: int) -> bytes:
        """The next `count` bytes, which are no message."""
        self._may_replay = False
        while len(self._received) < count:
            self._receive_more()
        found = bytes(self._received[:count])
        del self._received[:count]
        return found

    def saw(self, op: Op, answer: Response) -> None:
        self._sightings.statuses[self.target, op, int(answer.status)] += 1

    def check_in_step(self) -> None:
        """Nothing is left unread, and the next request is answered: no answer was misread."""
        assert not self._received, f"left over: {self._received[:64].hex(' ')}"
        assert not self._events, f"{len(self._events)} events that nobody expected"
        assert not self.call(Op.PING, cache="").is_error
        assert not self._events
        self._check_reader()

    def _next_message(self, request: Request) -> Response:
        try:
            while (message := self._decoded(request)) is None:
                self._receive_more()
        except Exception as error:
            error.add_note(f"request  {request.encode()[:512].hex(' ')}")
            error.add_note(f"received {self._received[:512].hex(' ')}")
            raise
        assert message.encode() == self._received[: message.size]
        del self._received[: message.size]
        if isinstance(message, Event):
            assert message.op is not None
            self.saw(message.op, message)
        self._heard_bytes += message.size
        if self._heard_bytes <= REPLAYED_BYTES:
            self._heard.append(message)
        return message

    def _decoded(self, request: Request) -> Response | None:
        return decode_response(self._received, request, legacy_server=self.target.is_legacy)

    def _receive_more(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._received += data

    def _check_reader(self) -> None:
        """A Reader finds the same messages in what came, whatever the pieces."""
        if self._heard_bytes > REPLAYED_BYTES or not self._may_replay:
            return
        reader = Reader(legacy_server=self.target.is_legacy)
        for request in self._asked:
            reader.expect(request)
        stream = b"".join(message.encode() for message in self._heard)
        pieces = random.Random(len(stream))
        found = []
        at = 0
        while at < len(stream):
            size = pieces.choice([1, 2, 5, 30, 200, 4000])
            reader.feed(stream[at : at + size])
            at += size
            found += list(reader)
        assert found == self._heard
        assert (reader.pending_requests, reader.buffered) == (0, 0)
