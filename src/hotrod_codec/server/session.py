"""What a server knows of one connection, without its socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hotrod_codec.sasl import ServerExchange

__all__ = ["RefusedError", "Session"]


class RefusedError(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True, eq=False)
class Session:
    """The state of one connection.

    Attributes:
        node: The number of the node that it leads to.
        send: Sends bytes that nobody asked for: events.
        encrypted: Whether it is a TLS connection.
        certificate_name: Whom the client's certificate names.
        user: Who has authenticated; None before.
        exchange: The SASL exchange that is under way.
        on_close: What to undo when the connection ends, by what it was for.
        iterations, streams, blooms: Cursors and filters of this connection.
    """

    node: int
    send: Callable[[bytes], None]
    encrypted: bool = False
    certificate_name: str | None = None
    user: str | None = None
    exchange: ServerExchange | None = None
    on_close: dict[Any, Callable[[], None]] = field(default_factory=dict)
    iterations: dict[str, Any] = field(default_factory=dict)
    streams: dict[int, Any] = field(default_factory=dict)
    blooms: dict[str, Any] = field(default_factory=dict)

    def close(self) -> None:
        """The connection is gone: nothing of it stays behind."""
        for undo in list(self.on_close.values()):
            undo()
        self.on_close.clear()
        self.iterations.clear()
        self.streams.clear()
        self.blooms.clear()
