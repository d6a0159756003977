"""SASL on the server's side: who may come in, by which mechanism. [wire-core 9.4]"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hotrod_codec import Request, encode_varint
from hotrod_codec.errors import AuthenticationError
from hotrod_codec.ops import Op, Status
from hotrod_codec.sasl import MECHANISMS, ServerExchange, server_exchange
from hotrod_codec.server.session import RefusedError, Session

if TYPE_CHECKING:
    from hotrod_codec.server.handler import Handler

__all__ = ["OPERATIONS", "Authenticator"]

_PASSWORDS: Final = tuple(name for name in MECHANISMS if name.startswith(("SCRAM-", "DIGEST-")))


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Who may come in.

    Attributes:
        users: Passwords by user.
        tokens: Users by token.
        mechanisms: What is offered; by default SCRAM and DIGEST, PLAIN and OAUTHBEARER to encrypted
            connections, and EXTERNAL to those with a client's certificate.
        server_name: What the server calls itself in DIGEST.
    """

    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    mechanisms: Collection[str] | None = None
    server_name: str = "infinispan"

    def __post_init__(self) -> None:
        for name in self.mechanisms or ():
            if name not in MECHANISMS:
                raise ValueError(f"mechanisms: {name!r} is none of {', '.join(MECHANISMS)}")

    def offered(self, session: Session) -> list[str]:
        """The mechanisms for this connection, strongest first."""
        if self.mechanisms is not None:
            return [name for name in MECHANISMS if name in self.mechanisms]
        return [
            *(_PASSWORDS if self.users else ()),
            *(["EXTERNAL"] if session.certificate_name is not None else []),
            *(["OAUTHBEARER"] if self.tokens and session.encrypted else []),
            *(["PLAIN"] if self.users and session.encrypted else []),
        ]

    def begin(self, session: Session, mechanism: str) -> ServerExchange:
        """The first step of an exchange.

        Raises:
            RefusedError: The mechanism is not offered.
        """
        if mechanism not in self.offered(session):
            raise RefusedError(
                Status.SERVER_ERROR,
                f"java.lang.IllegalArgumentException: ISPN006025: Invalid mech '{mechanism[:64]}'",
            )
        return server_exchange(
            mechanism,
            credentials=self.users,
            verify_token=self.tokens.get,
            certificate_name=session.certificate_name,
            nonce=secrets.token_urlsafe(24),
            salt=secrets.token_bytes(16),
            server_name=self.server_name,
        )


def _mechanisms(h: Handler, s: Session, q: Request) -> bytes:
    offered = [] if h.authenticator is None else h.authenticator.offered(s)
    return h.reply(q, None, mechanisms=offered)


def _authenticate(h: Handler, s: Session, q: Request) -> bytes:
    if h.authenticator is None:
        answer = bytearray(h.error(q, Status.SERVER_ERROR, "no authentication is configured here"))
        # Servers answer this one, and only this one, under its own code. [wire-core 9.4]
        answer[answer.index(_ERROR_CODE, 1 + len(encode_varint(q.message_id)))] = _AUTH_CODE
        return bytes(answer)
    exchange = s.exchange
    if exchange is None:
        exchange = s.exchange = h.authenticator.begin(s, q["mechanism"])
    try:
        challenge = exchange.step(q["response"])
    except AuthenticationError as error:
        s.exchange = None
        raise RefusedError(
            Status.REQUEST_PARSING_ERROR, f"javax.security.sasl.SaslException: {error}"
        ) from None
    if exchange.finished:
        s.exchange = None
        s.user = exchange.username
    # Real servers take a token and do not say that anything is completed.
    completed = challenge is None and exchange.mechanism != "OAUTHBEARER"
    return h.reply(q, None, completed=completed, challenge=challenge or b"")


_ERROR_CODE: Final = 0x50
_AUTH_CODE: Final = 0x24


OPERATIONS: Final[dict[Op, Callable[[Handler, Session, Request], bytes]]] = {
    Op.AUTH_MECH_LIST: _mechanisms,
    Op.AUTH: _authenticate,
}
