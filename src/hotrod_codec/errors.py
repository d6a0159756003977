"""Errors, all of them. Knows nothing of bytes; every layer may raise from here.

    HotRodError
    ├─ ConfigurationError (ValueError)      what a client or server was told makes no sense
    ├─ EncodeError (ValueError)             cannot be said in this version; nothing was sent
    ├─ DecodeError (ValueError)             the peer's bytes are not Hot Rod
    │  └─ LimitError                        a length or count exceeds a limit of ours
    ├─ ServerError                          the server refused; one subclass per status
    ├─ TransportError (ConnectionError)     the connection failed or was closed
    ├─ RequestTimeoutError (TimeoutError)   our own deadline passed
    └─ AuthenticationError                  who we are was not accepted, or the server not proven

Messages say where, what was found and what was wanted, with lengths in place of keys and values.
"""

from __future__ import annotations

from typing import Any

from hotrod_codec.ops import Op, Status

__all__ = [
    "AuthenticationError",
    "CommandTimeoutError",
    "ConfigurationError",
    "DecodeError",
    "EncodeError",
    "HotRodError",
    "IllegalLifecycleStateError",
    "InvalidMagicOrMessageIdError",
    "LimitError",
    "NodeSuspectedError",
    "RequestParsingError",
    "RequestTimeoutError",
    "ServerError",
    "ServerFailureError",
    "TransportError",
    "UnknownCommandError",
    "UnknownVersionError",
    "server_error",
]

_LONGEST = 1000


def shown(text: str, most: int = _LONGEST) -> str:
    """What a peer wrote, fit for messages and logs: `most` characters of it, and for those that a
    terminal would obey (line ends among them) their escapes."""
    cut = text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


class HotRodError(Exception):
    """Base of all errors of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Constructors make the message from its parts; what is restored has its message already.
        return _restored, (type(self), self.args, vars(self))


def _restored(
    kind: type[HotRodError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> HotRodError:
    error = kind.__new__(kind, *args)
    error.args = args  # OSError leaves that to its constructor
    vars(error).update(attributes)
    return error


class ConfigurationError(HotRodError, ValueError):
    """What a client was told makes no sense. Names each setting that is wrong."""


class EncodeError(HotRodError, ValueError):
    """A message cannot be said in its protocol version. Nothing was encoded.

    Attributes:
        op: The operation, in upper case; "" when the operation itself is unknown.
        field: The argument that is wrong.
    """

    op: str
    field: str

    def __init__(self, problem: str, *, op: str = "", field: str = "") -> None:
        where = ": ".join(part for part in (op, field) if part)
        super().__init__(f"{where}: {problem}" if where else problem)
        self.op = op
        self.field = field


class DecodeError(HotRodError, ValueError):
    """The peer's bytes are not Hot Rod. The connection cannot be used any more: without its fields
    the end of a frame cannot be found.

    Attributes:
        op: What was being read, such as "GET response"; "response" before the operation is known.
        field: The field that is wrong, with its index where it is an item of a list.
        offset: Where that field begins: bytes from the start of the data, or for a Reader from
            the start of the stream.
    """

    op: str
    field: str
    offset: int

    def __init__(self, problem: str, *, op: str, field: str, offset: int) -> None:
        super().__init__(f"{op}: {field} at byte {offset}: {problem}")
        self.op = op
        self.field = field
        self.offset = offset


class LimitError(DecodeError):
    """A length or count exceeds a limit. The message names the limit and how to raise it."""


class ServerError(HotRodError):
    """The server answered that it could not do what was asked. The connection stays usable
    unless the status is one of 0x81 to 0x84.

    Attributes:
        status: What kind of failure.
        op: The operation that failed, if it is known.
        message_id: Of the request; 0 when the server could not tell.
        text: The server's own words, usually of a Java exception, as they came: the message of
            this error has them as `shown` makes them.
    """

    status: Status
    op: Op | None
    message_id: int
    text: str

    def __init__(self, text: str, *, status: Status, op: Op | None, message_id: int) -> None:
        name = op.name if op is not None else "unknown request"
        super().__init__(f"{name}: {shown(text)} (status {status:#04x}, message {message_id})")
        self.text = text
        self.status = status
        self.op = op
        self.message_id = message_id


class InvalidMagicOrMessageIdError(ServerError):
    """0x81: the server found no request where one should begin. Close the connection."""


class UnknownCommandError(ServerError):
    """0x82: the server does not know this operation. Close the connection."""


class UnknownVersionError(ServerError):
    """0x83: the server does not know this protocol version. Try an older one."""


class RequestParsingError(ServerError):
    """0x84: the server could not parse the request, or there is no such cache."""


class ServerFailureError(ServerError):
    """0x85: the server failed while doing it. It may or may not have been done."""


class CommandTimeoutError(ServerError, TimeoutError):
    """0x86: the server ran out of time. It may or may not have been done."""


class NodeSuspectedError(ServerError):
    """0x87: a node of the cluster left meanwhile. Another try may succeed."""


class IllegalLifecycleStateError(ServerError):
    """0x88: the server or the cache is stopping. Another server may do it."""


_BY_STATUS: dict[Status, type[ServerError]] = {
    Status.INVALID_MAGIC_OR_MESSAGE_ID: InvalidMagicOrMessageIdError,
    Status.UNKNOWN_COMMAND: UnknownCommandError,
    Status.UNKNOWN_VERSION: UnknownVersionError,
    Status.REQUEST_PARSING_ERROR: RequestParsingError,
    Status.SERVER_ERROR: ServerFailureError,
    Status.COMMAND_TIMEOUT: CommandTimeoutError,
    Status.NODE_SUSPECTED: NodeSuspectedError,
    Status.ILLEGAL_LIFECYCLE_STATE: IllegalLifecycleStateError,
}


def server_error(text: str, *, status: Status, op: Op | None, message_id: int) -> ServerError:
    """The exception for an error answer, by its status."""
    return _BY_STATUS[status](text, status=status, op=op, message_id=message_id)


class TransportError(HotRodError, ConnectionError):
    """The connection failed, or the server closed it."""


class RequestTimeoutError(HotRodError, TimeoutError):
    """Our own deadline passed before the answer came. The connection stays usable; whether the
    request was carried out is not known."""


class AuthenticationError(HotRodError):
    """The server did not accept who we are, or could not prove who it is."""
