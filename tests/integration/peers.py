"""A blocking socket that speaks Hot Rod with the codec alone, and what it has seen.

Every message that passes here is held to the same rule: a request decodes to what encodes to the
same bytes, and so does whatever the server sent.
"""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from hotrod_codec import (
    Op,
    Request,
    Response,
    Version,
    decode_request,
    decode_response,
    encode_request,
)
from integration.infinispan import LEGACY, MODERN, OLDER, is_legacy

# Nothing here takes a server longer; a codec that waits for bytes that never come fails by it.
SECONDS = 10.0

VERSIONS: dict[str, tuple[Version, ...]] = {
    MODERN: tuple(v for v in Version if v >= Version.V2_0),
    OLDER: tuple(v for v in Version if Version.V2_0 <= v <= Version.V4_0),
    LEGACY: tuple(v for v in Version if v <= Version.V2_9),
}


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
        return is_legacy(self.server)

    @property
    def short_previous(self) -> bool:
        """Whether 1.x answers come as only the 9.4 line writes them."""
        return self.is_legacy and self.version < Version.V2_0


@dataclass
class Sightings:
    """Which statuses were seen, by target and operation."""

    statuses: Counter[tuple[Target, Op, int]] = field(default_factory=Counter)


class Peer:
    """One connection to one server, in one version: one request, one answer.

    Arguments of `call` are those of encode_request; `cache` is "octets" unless given.
    """

    def __init__(
        self,
        address: tuple[str, int],
        target: Target,
        sightings: Sightings,
        *,
        cache: str = "octets",
    ) -> None:
        self.target = target
        self.version = target.version
        self.cache = cache
        self.socket = socket.create_connection(address, timeout=SECONDS)
        self._sightings = sightings
        self._last_id = 0
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
        """Send one request and return its answer."""
        request = self.encode(op, **arguments)
        self.socket.sendall(request.encode())
        answer = self.receive(request)
        assert answer.message_id == request.message_id
        return answer

    def receive(self, request: Request) -> Response:
        """The next message, read as the answer to `request`."""
        try:
            while (answer := self._decoded(request)) is None:
                self._receive_more()
        except Exception as error:
            error.add_note(f"request  {request.encode()[:512].hex(' ')}")
            error.add_note(f"received {self._received[:512].hex(' ')}")
            raise
        frame = bytes(self._received[: answer.size])
        assert answer.encode() == frame
        del self._received[: answer.size]
        self.saw(request.op, answer)
        return answer

    def saw(self, op: Op, answer: Response) -> None:
        self._sightings.statuses[self.target, op, int(answer.status)] += 1

    def check_in_step(self) -> None:
        """Nothing is left unread, and the next request is answered: no answer was misread."""
        assert not self._received, f"left over: {self._received[:64].hex(' ')}"
        assert not self.call(Op.PING).is_error

    def _decoded(self, request: Request) -> Response | None:
        return decode_response(self._received, request, short_previous=self.target.short_previous)

    def _receive_more(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._received += data
