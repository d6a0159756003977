"""A blocking socket that speaks to an embedded server with the codec alone."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Self

from hotrod_codec import (
    Event,
    Op,
    Response,
    Topology,
    decode_request,
    decode_response,
    encode_request,
)

SECONDS = 10.0


class Peer:
    """One connection: one request, one answer. Events are kept."""

    def __init__(
        self,
        address: tuple[str, int],
        version: str = "4.1",
        *,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.version = version
        self.socket = socket.create_connection(address, timeout=SECONDS)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.events: list[Response] = []
        self._received = b""
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, op: Op, **arguments: Any) -> Any:
        """Send a request; return it, for `answer`."""
        self._last_id += 1
        arguments.setdefault("message_id", self._last_id)
        frame = encode_request(op, version=self.version, **arguments)
        self.socket.sendall(frame)
        return decode_request(frame)

    def call(self, op: Op, **arguments: Any) -> Response:
        return self.answer(self.send(op, **arguments))

    def told(self, op: Op, **arguments: Any) -> Topology:
        """The topology that comes with an answer."""
        found = self.call(op, **({"intelligence": 3} | arguments)).topology
        assert isinstance(found, Topology)
        return found

    def answer(self, request: Any) -> Response:
        """The next message that is no event."""
        while True:
            message = self.message(request)
            if not isinstance(message, Event):
                return message
            self.events.append(message)

    def message(self, request: Any) -> Response:
        while (message := decode_response(self._received, request)) is None:
            data = self.socket.recv(1 << 18)
            if not data:
                raise EOFError("the server closed the connection")
            self._received += data
        self._received = self._received[message.size :]
        return message

    def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        found = self._received
        try:
            while data := self.socket.recv(1 << 18):
                found += data
        except ConnectionResetError:
            pass
        return found
