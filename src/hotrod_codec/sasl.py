"""SASL, both sides, as exchanges of bytes: who am I, and is that really the server?

Here: the mechanisms' messages and proofs, and the choice of a mechanism. No I/O, no clock, no
randomness: what has to be random is an argument. How the messages travel (AUTH, 0x23) is the
codec's business, when they travel the session's and the server's.

    >>> from hotrod_codec import sasl
    >>> exchange = sasl.client_exchange("PLAIN", username="user", password="pencil")
    >>> exchange.start()                                # the response of the first AUTH request
    b'\\x00user\\x00pencil'
    >>> exchange.step(b"", completed=True) is None      # its answer; None: nothing more to send
    True
    >>> exchange.finished
    True

`completed` is what the AUTH response says, and it says False to the last message of SCRAM and
DIGEST, because that carries a challenge, the server's proof. So the exchange knows when it ends,
not the flag; one AUTH too many would begin another exchange.

Secrets stand in no repr and in no error message. Only authentication is negotiated (QOP "auth"):
there is no security layer behind it, TLS is that.
"""

from __future__ import annotations

import binascii
import enum
import hashlib
import hmac
import json
import re
import stringprep
import unicodedata
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hotrod_codec.errors import AuthenticationError, EncodeError, ServerError, shown

if TYPE_CHECKING:
    from hotrod_codec._ext.codec import Response

__all__ = [
    "MECHANISMS",
    "ClientExchange",
    "Credentials",
    "ServerExchange",
    "choose_mechanism",
    "client_exchange",
    "saslprep",
    "server_exchange",
]

_SCRAM: Final = {
    "SCRAM-SHA-512": "sha512",
    "SCRAM-SHA-384": "sha384",
    "SCRAM-SHA-256": "sha256",
    "SCRAM-SHA-1": "sha1",
}
_DIGEST: Final = {
    "DIGEST-SHA-512": "sha512",
    "DIGEST-SHA-384": "sha384",
    "DIGEST-SHA-256": "sha256",
    "DIGEST-SHA": "sha1",
    "DIGEST-MD5": "md5",
}
# In this order because what SCRAM sends costs a guesser thousands of hashes a password and what
# DIGEST sends costs one; CRAM-MD5 does not prove the server; the last two send the secret itself.
MECHANISMS: Final = (*_SCRAM, *_DIGEST, "EXTERNAL", "CRAM-MD5", "OAUTHBEARER", "PLAIN")
"""The mechanisms known here, strongest first."""

_SENDS_SECRET: Final = frozenset({"OAUTHBEARER", "PLAIN"})

Credentials: TypeAlias = Mapping[str, str] | Callable[[str], str | None]
"""The passwords of users, or a function that gives one, None for an unknown user. Names come
prepared with `saslprep` from PLAIN and SCRAM, as sent from DIGEST and CRAM-MD5."""


def choose_mechanism(
    offered: Collection[str],
    *,
    tls: bool,
    password: bool = True,
    token: bool = False,
    certificate: bool = False,
    wanted: Collection[str] = (),
) -> str:
    """The strongest mechanism that both sides can do.

    Args:
        offered: What the server answered to AUTH_MECH_LIST.
        tls: Whether the connection is encrypted. Without it PLAIN and OAUTHBEARER are not
            chosen, since everybody on the way could read the password or token.
        password, token, certificate: What there is to authenticate with. A certificate counts
            with `tls` only.
        wanted: The mechanisms that the user named: only these are considered, in this order, and
            to name PLAIN is to accept that it is readable. CRAM-MD5 has to be named as well: with
            it the server proves nothing.

    Raises:
        AuthenticationError: There is none; the message says why, for each one offered.
    """
    refused: dict[str, str] = {}
    candidates = tuple(wanted) or MECHANISMS
    for mechanism in candidates:
        if mechanism not in offered:
            continue
        if mechanism not in MECHANISMS:
            problem = "not known here"
        elif mechanism == "OAUTHBEARER" and not token:
            problem = "needs a token"
        elif mechanism == "EXTERNAL" and not (certificate and tls):
            problem = "needs TLS with a client certificate"
        elif mechanism not in ("OAUTHBEARER", "EXTERNAL") and not password:
            problem = "needs a user name and a password"
        elif not wanted and mechanism in _SENDS_SECRET and not tls:
            problem = "would send the secret readable: without TLS it has to be asked for by name"
        elif not wanted and mechanism == "CRAM-MD5":
            problem = "does not prove the server: it has to be asked for by name"
        else:
            return mechanism
        refused[mechanism] = problem
    for mechanism in offered:
        refused.setdefault(mechanism, "not known here" if not wanted else "not asked for")
    reasons = "; ".join(f"{name}: {problem}" for name, problem in refused.items())
    raise AuthenticationError(f"no mechanism can be used; offered: {shown(reasons) or 'nothing'}")


# ---------------------------------------------------------------------------------------------
# Exchanges. A mechanism is a generator that reads like its exchange: it yields what is sent and
# gets what came; the classes around it keep the state.


@dataclass(frozen=True, slots=True)
class _Answer:
    challenge: bytes
    completed: bool


_ClientSteps: TypeAlias = Generator[bytes, _Answer, None]
# Returns the final challenge (None when there is none) and the name of the user.
_ServerSteps: TypeAlias = Generator[bytes, bytes, tuple[bytes | None, str]]


# To prepare names and passwords takes its time for each character.
_LONGEST_RESPONSE: Final = 2**14

# What is shorter stands in any text: to hide it there would tell it.
_SHORTEST_HIDDEN: Final = 6


class _State(enum.Enum):
    NEW = "not started"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class ClientExchange:
    """The client's side of one authentication; `client_exchange` makes it.

    Send what `start` gives in an AUTH request, hand each answer to `receive` (or its fields to
    `step`) and send what that gives, until it gives None. An object serves once.
    """

    def __init__(self, mechanism: str, steps: _ClientSteps, secrets: tuple[str, ...] = ()) -> None:
        self._mechanism = mechanism
        self._steps = steps
        self._state = _State.NEW
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_HIDDEN]

    @property
    def mechanism(self) -> str:
        """Its name; every AUTH request of the exchange repeats it."""
        return self._mechanism

    @property
    def finished(self) -> bool:
        """Whether the server accepted and, in SCRAM and DIGEST, proved that it knows us."""
        return self._state is _State.FINISHED

    def start(self) -> bytes:
        """The first response, which may be empty."""
        if self._state is not _State.NEW:
            raise RuntimeError(f"{self._mechanism}: an exchange starts once")
        self._state = _State.RUNNING
        return next(self._steps)

    def step(self, challenge: bytes, completed: bool) -> bytes | None:
        """The response to `challenge`; None when the exchange is finished.

        Raises:
            AuthenticationError: The challenge is malformed, or the server's proof is wrong or
                missing. Do not use the connection.
        """
        if self._state is not _State.RUNNING:
            raise RuntimeError(f"{self._mechanism}: the exchange is {self._state.value}")
        # An abandoned generator must not look like one that came to its end.
        self._state = _State.FAILED
        try:
            response = self._steps.send(_Answer(bytes(challenge), completed))
        except StopIteration:
            self._state = _State.FINISHED
            return None
        self._state = _State.RUNNING
        return response

    def receive(self, response: Response) -> bytes | None:
        """`step` with the fields of an AUTH response.

        Raises:
            AuthenticationError: As `step`; or the server refused: its words, and as the cause
                the ServerError with its status. The connection stays usable, for another try.
        """
        refusal = None
        try:
            response.raise_for_status()
        except ServerError as error:
            # Not raised from here: it would keep the words that it must not repeat.
            refusal = self._without_secrets(error)
        if refusal is not None:
            self._state = _State.FAILED
            text = f"{self._mechanism}: the server refused: {shown(refusal.text)}"
            raise AuthenticationError(text) from refusal
        return self.step(response.challenge, response.completed)

    def _without_secrets(self, error: ServerError) -> ServerError:
        """The same error. PLAIN tells the server the password; it shall not tell it our log."""
        text = error.text
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return type(error)(text, status=error.status, op=error.op, message_id=error.message_id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._mechanism}, {self._state.value}>"


class ServerExchange:
    """The server's side of one authentication; `server_exchange` makes it.

    Hand each AUTH request's response to `step`. Bytes that it gives are the challenge of an
    answer with completed = 0, None is an answer with completed = 1 and no challenge; whether the
    client is authenticated, `finished` says. An object serves once.
    """

    def __init__(self, mechanism: str, steps: _ServerSteps) -> None:
        self._mechanism = mechanism
        self._steps = steps
        self._state = _State.RUNNING
        self._username: str | None = None
        next(steps)

    @property
    def mechanism(self) -> str:
        """Its name."""
        return self._mechanism

    @property
    def finished(self) -> bool:
        """Whether the client is authenticated."""
        return self._state is _State.FINISHED

    @property
    def username(self) -> str | None:
        """Who the client is; None until `finished`."""
        return self._username

    def step(self, response: bytes) -> bytes | None:
        """The challenge that answers `response`, None when there is nothing left to say.

        Raises:
            AuthenticationError: The client is not who it says, or its message is malformed.
                Unknown users and wrong passwords give the same message.
        """
        if self._state is not _State.RUNNING:
            raise RuntimeError(f"{self._mechanism}: the exchange is {self._state.value}")
        self._state = _State.FAILED
        if len(response) > _LONGEST_RESPONSE:
            raise _malformed(self._mechanism, f"a message of {len(response)} bytes")
        try:
            challenge = self._steps.send(bytes(response))
        except StopIteration as end:
            final: bytes | None
            final, self._username = end.value
            self._state = _State.FINISHED
            return final
        self._state = _State.RUNNING
        return challenge

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._mechanism}, {self._state.value}>"


def client_exchange(
    mechanism: str,
    *,
    username: str = "",
    password: str = "",
    token: str = "",
    authzid: str = "",
    realm: str | None = None,
    nonce: str = "",
    protocol: str = "hotrod",
    server_name: str = "infinispan",
    latin1: bool = False,
) -> ClientExchange:
    """The client's side of `mechanism`.

    Args:
        username, password: For all mechanisms but EXTERNAL and OAUTHBEARER.
        token: For OAUTHBEARER.
        authzid: Who to act as, when that is somebody else. Not in SCRAM and CRAM-MD5.
        realm: For DIGEST: one of those that the server names; None is its first.
        nonce: For SCRAM and DIGEST: printable ASCII, never used before, such as
            ``secrets.token_urlsafe(24)``.
        protocol, server_name: For DIGEST: what the server calls itself.
        latin1: For DIGEST: hash what ISO 8859-1 can hold in it, as RFC 2831 and the Java
            runtime's own servers do (Infinispan 9.4 embedded), instead of in UTF-8, as all
            current servers do. It matters for names and passwords that are not ASCII.

    Raises:
        EncodeError: `mechanism` is not one of MECHANISMS, or an argument cannot be sent in it.
    """
    if mechanism not in MECHANISMS:
        raise _unusable("mechanism", f"{mechanism!r} is not one of {', '.join(MECHANISMS)}")
    for field, value in (("username", username), ("password", password), ("authzid", authzid)):
        _check_text(field, value)
    if mechanism not in ("EXTERNAL", "OAUTHBEARER") and not username:
        raise _unusable("username", f"{mechanism} needs one")
    if authzid and (mechanism in _SCRAM or mechanism == "CRAM-MD5"):
        raise _unusable("authzid", f"{mechanism} acts for the user who authenticates only")

    steps: _ClientSteps
    if mechanism in _SCRAM:
        _check_nonce(nonce, forbidden=",")
        _prepared("username", username)
        _prepared("password", password)
        steps = _scram_client(mechanism, username, password, nonce)
    elif mechanism in _DIGEST:
        _check_nonce(nonce, forbidden=',"\\')
        uri = f"{protocol}/{server_name}"
        _check_text("server_name", uri)
        if realm is not None:
            _check_text("realm", realm)
        steps = _digest_client(mechanism, username, password, authzid, realm, nonce, uri, latin1)
    elif mechanism == "CRAM-MD5":
        steps = _cram_client(username, password)
    elif mechanism == "OAUTHBEARER":
        if not _TOKEN.fullmatch(token):
            raise _unusable("token", f"{len(token)} characters that are not those of a token")
        steps = _oauthbearer_client(token, _prepared("authzid", authzid))
    elif mechanism == "EXTERNAL":
        steps = _single_message_client(mechanism, authzid.encode())
    else:
        names = [_prepared("authzid", authzid), _prepared("username", username)]
        secret = _prepared("password", password)
        if not secret:
            raise _unusable("password", "PLAIN needs one")
        steps = _single_message_client(mechanism, "\0".join([*names, secret]).encode())
    told = (password, token) if mechanism in _SENDS_SECRET else ()
    return ClientExchange(mechanism, steps, told)


def server_exchange(
    mechanism: str,
    *,
    credentials: Credentials | None = None,
    verify_token: Callable[[str], str | None] | None = None,
    certificate_name: str | None = None,
    realm: str = "default",
    nonce: str = "",
    salt: bytes = b"",
    iterations: int = 20_000,
    protocol: str = "hotrod",
    server_name: str = "infinispan",
) -> ServerExchange:
    """The server's side of `mechanism`.

    Args:
        credentials: For all mechanisms but EXTERNAL and OAUTHBEARER.
        verify_token: For OAUTHBEARER: the user whom a token stands for, None for a bad one.
        certificate_name: For EXTERNAL: the user whom the client's certificate names.
        realm: For DIGEST.
        nonce: For SCRAM, DIGEST and CRAM-MD5: printable ASCII, never used before.
        salt: For SCRAM: 12 or more random bytes.
        iterations: For SCRAM: what a guess shall cost; at least 4096.
        protocol, server_name: For DIGEST and CRAM-MD5: what this server calls itself.

    Raises:
        AuthenticationError: `mechanism`, which is the client's wish, is not one of MECHANISMS or
            there is nothing to verify it with.
        ValueError: `nonce`, `salt` or `iterations` is not as said above.
    """
    if mechanism not in MECHANISMS:
        raise AuthenticationError(f"unknown mechanism, of {len(mechanism)} characters")
    steps: _ServerSteps
    if mechanism == "EXTERNAL":
        steps = _external_server(certificate_name)
    elif mechanism == "OAUTHBEARER":
        if verify_token is None:
            raise AuthenticationError("OAUTHBEARER: tokens are not accepted here")
        steps = _oauthbearer_server(verify_token)
    elif credentials is None:
        raise AuthenticationError(f"{mechanism}: passwords are not accepted here")
    elif mechanism == "PLAIN":
        steps = _plain_server(credentials)
    elif mechanism in _SCRAM:
        _check_nonce(nonce, forbidden=",")
        if len(salt) < 12 or iterations < 4096:
            raise ValueError("SCRAM wants 12 bytes of salt and 4096 iterations at least")
        steps = _scram_server(mechanism, credentials, nonce, salt, iterations)
    elif mechanism in _DIGEST:
        _check_nonce(nonce, forbidden=',"\\')
        uri = f"{protocol}/{server_name}"
        steps = _digest_server(mechanism, credentials, realm, nonce, uri)
    else:
        _check_nonce(nonce, forbidden=" <>@")
        steps = _cram_server(credentials, f"<{nonce}@{server_name}>".encode())
    return ServerExchange(mechanism, steps)


# ---------------------------------------------------------------------------------------------
# Names, passwords, nonces


def saslprep(text: str) -> str:
    """`text` in the form in which names and passwords are compared (RFC 4013, stored strings).

    Raises:
        ValueError: It holds a character that may not be in one. The message does not say which.
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(table(character) for character in prepared for table in _PROHIBITED):
        raise ValueError("holds a character that SASLprep prohibits")
    # RFC 3454, 6: right-to-left text holds no left-to-right character and is so at both ends.
    if any(map(stringprep.in_table_d1, prepared)) and (
        any(map(stringprep.in_table_d2, prepared))
        or not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1]))
    ):
        raise ValueError("mixes writing directions as SASLprep prohibits")
    return prepared


_PROHIBITED: Final = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def _unusable(field: str, problem: str) -> EncodeError:
    return EncodeError(problem, op="AUTH", field=field)


def _check_text(field: str, value: str) -> None:
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise _unusable(field, "holds a NUL or half a surrogate pair")


def _prepared(field: str, value: str) -> str:
    try:
        prepared = saslprep(value)
    except ValueError as error:
        raise _unusable(field, str(error)) from None
    if value and not prepared:
        raise _unusable(field, "SASLprep leaves nothing of it")
    return prepared


def _check_nonce(nonce: str, *, forbidden: str) -> None:
    if not nonce or any(not "!" <= c <= "~" or c in forbidden for c in nonce):
        raise _unusable("nonce", f"wants printable ASCII without blanks and {forbidden!r}")


def _text(mechanism: str, data: bytes, charset: str = "utf-8") -> str:
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        pass
    # Not inside the except clause: that error holds the bytes, and they may hold a password.
    raise AuthenticationError(f"{mechanism}: a message that is not {charset}")


def _password_of(credentials: Credentials, username: str) -> str | None:
    if isinstance(credentials, Mapping):
        return credentials.get(username)
    return credentials(username)


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _rejected(mechanism: str) -> AuthenticationError:
    return AuthenticationError(f"{mechanism}: wrong user name or password")


def _malformed(mechanism: str, what: str) -> AuthenticationError:
    return AuthenticationError(f"{mechanism}: {what}")


# ---------------------------------------------------------------------------------------------
# PLAIN (RFC 4616), EXTERNAL (RFC 4422, appendix A)


def _check_end(mechanism: str, answer: _Answer) -> None:
    if answer.challenge:
        raise _malformed(mechanism, f"{len(answer.challenge)} bytes where nothing is left to say")
    if not answer.completed:
        raise _malformed(mechanism, "the server goes on where the mechanism ends")


def _single_message_client(mechanism: str, message: bytes) -> _ClientSteps:
    answer = yield message
    _check_end(mechanism, answer)


def _plain_server(credentials: Credentials) -> _ServerSteps:
    response = yield b""
    parts = _text("PLAIN", response).split("\0")
    if len(parts) != 3:
        raise _malformed("PLAIN", f"a message of {len(parts)} parts instead of 3")
    try:
        authzid, username, password = map(saslprep, parts)
    except ValueError:
        raise _rejected("PLAIN") from None
    stored = _password_of(credentials, username)
    try:
        matches = _equal(password, saslprep(stored or ""))
    except ValueError:  # no client can send that password
        matches = False
    if stored is None or not (matches and username and password):
        raise _rejected("PLAIN")
    _check_authzid("PLAIN", authzid, username)
    return None, username


def _external_server(certificate_name: str | None) -> _ServerSteps:
    response = yield b""
    if certificate_name is None:
        raise AuthenticationError("EXTERNAL: the client showed no certificate")
    _check_authzid("EXTERNAL", _text("EXTERNAL", response), certificate_name)
    return None, certificate_name


def _check_authzid(mechanism: str, authzid: str, username: str) -> None:
    if authzid not in ("", username):
        raise AuthenticationError(f"{mechanism}: a user may not act for another one")


# ---------------------------------------------------------------------------------------------
# SCRAM (RFC 5802, 7677), by the library scramp. It has no SCRAM-SHA-384, which differs in nothing
# but the hash, so that is told to it; the recorded exchanges in the tests would notice if a
# release no longer listened. Channel binding is not used: no Hot Rod peer does.

# A server that is not proven yet shall not keep us busy for more than about a second. Infinispan
# has 20,000; scramp allows 10,000,000.
_MAX_ITERATIONS: Final = 2_000_000


@contextmanager
def _scram_errors(mechanism: str) -> Iterator[None]:
    import scramp  # type: ignore[import-untyped]  # loaded by those who need it

    try:
        yield
    except scramp.ScramException as error:
        cause = error.__cause__
        if cause is not None and not isinstance(cause, scramp.ScramException | ValueError):
            raise cause from None  # the caller's own, from looking up a password
        raise AuthenticationError(f"{mechanism}: {error}") from None


def _scram_client(mechanism: str, username: str, password: str, nonce: str) -> _ClientSteps:
    import scramp

    base = "SCRAM-SHA-512" if mechanism == "SCRAM-SHA-384" else mechanism
    scram: Any
    with _scram_errors(mechanism):
        scram = scramp.ScramClient([base], username, password, c_nonce=nonce)
    scram.hf = getattr(hashlib, _SCRAM[mechanism])

    answer = yield scram.get_client_first().encode()
    if answer.completed:
        raise _malformed(mechanism, "the server ended it without proof")
    first = _text(mechanism, answer.challenge)
    iterations = re.search(r",i=([0-9]+)", first)
    if iterations and (len(iterations[1]) > 9 or int(iterations[1]) > _MAX_ITERATIONS):
        wanted = shown(iterations[1], 20)
        raise _malformed(mechanism, f"{wanted} iterations, {_MAX_ITERATIONS} at most")
    with _scram_errors(mechanism):
        scram.set_server_first(first)
        final: str = scram.get_client_final()
    answer = yield final.encode()
    if not answer.challenge:
        raise _malformed(mechanism, "the server's proof is missing")
    with _scram_errors(mechanism):
        scram.set_server_final(_text(mechanism, answer.challenge))


def _scram_server(
    mechanism: str, credentials: Credentials, nonce: str, salt: bytes, iterations: int
) -> _ServerSteps:
    import scramp

    base = "SCRAM-SHA-512" if mechanism == "SCRAM-SHA-384" else mechanism
    scram_mechanism: Any = scramp.ScramMechanism(base)
    scram_mechanism.hf = getattr(hashlib, _SCRAM[mechanism])
    username = ""
    known = False

    def keys(name: str) -> tuple[bytes, bytes, bytes, int]:
        nonlocal username, known
        username = name
        password = _password_of(credentials, name)
        known = password is not None
        # An unknown user gets keys as well: who asks shall not see the difference.
        made: tuple[bytes, bytes, bytes, int] = scram_mechanism.make_auth_info(
            password or "", iteration_count=iterations, salt=salt
        )
        return made

    scram: Any = scram_mechanism.make_server(keys, s_nonce=nonce)
    response = yield b""
    if not response:  # a client that lets the server begin
        response = yield b""
    with _scram_errors(mechanism):
        scram.set_client_first(_text(mechanism, response))
        first: str = scram.get_server_first()
    response = yield first.encode()
    message = _text(mechanism, response)
    with _scram_errors(mechanism):
        try:
            scram.set_client_final(message)
        except scramp.ScramException as error:
            if getattr(error.server_error, "value", "") == "invalid-proof":
                raise _rejected(mechanism) from None
            raise
        final: str = scram.get_server_final()
    if not known:
        raise _rejected(mechanism)
    return final.encode(), username


# ---------------------------------------------------------------------------------------------
# DIGEST-MD5 (RFC 2831) and its siblings with other hashes. Those are Elytron's (the library in
# Infinispan): they change the hash everywhere, and "algorithm=md5-sess" stays as it is.

_NONCE_COUNT: Final = b"00000001"  # each exchange has a nonce of its own
_DIRECTIVE: Final = re.compile(
    rb"[ \t\r\n]*([!#-'*+.0-9A-Z^-z|~-]+)[ \t\r\n]*=[ \t\r\n]*"
    rb'(?:"((?:[^"\\]|\\.)*)"|([^ \t\r\n,"]+))[ \t\r\n]*(?:,[, \t\r\n]*|$)',
    re.DOTALL,
)


def _directives(mechanism: str, data: bytes) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    at = 0
    while at < len(data):
        match = _DIRECTIVE.match(data, at)
        if match is None:
            raise _malformed(mechanism, f"no directive at byte {at} of {len(data)}")
        name, quoted, plain = match.groups()
        value = plain if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL)
        found.setdefault(name.decode().lower(), []).append(value)
        at = match.end()
    return found


def _directive(mechanism: str, found: dict[str, list[bytes]], name: str) -> bytes | None:
    values = found.get(name, [])
    if len(values) > 1:
        raise _malformed(mechanism, f"{name} stands there {len(values)} times")
    return values[0] if values else None


def _required(mechanism: str, found: dict[str, list[bytes]], name: str) -> bytes:
    value = _directive(mechanism, found, name)
    if not value:
        raise _malformed(mechanism, f"{name} is missing")
    return value


def _charset(mechanism: str, found: dict[str, list[bytes]]) -> str:
    charset = _directive(mechanism, found, "charset")
    if charset is None:
        return "iso-8859-1"
    if charset.lower() != b"utf-8":
        raise _malformed(mechanism, "charset is not utf-8")
    return "utf-8"


def _quoted(value: bytes) -> bytes:
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", value) + b'"'


def _encodable(text: str, charset: str) -> bool:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def _hashed_form(text: str, charset: str, latin1: bool) -> bytes:
    """The bytes of `text` in the hash of name, realm and password."""
    if latin1 and _encodable(text, "iso-8859-1"):
        return text.encode("iso-8859-1")
    return text.encode(charset)


@dataclass(frozen=True, slots=True, repr=False)
class _Digest:
    """What both sides hash; RFC 2831, 2.1.2.1."""

    hash_name: str
    user_hash: bytes  # of name:realm:password
    nonce: bytes
    cnonce: bytes
    uri: bytes
    authzid: bytes

    def proof(self, method: bytes) -> bytes:
        """The client's proof with the method "AUTHENTICATE", the server's with none."""
        a1 = b":".join([self.user_hash, self.nonce, self.cnonce])
        if self.authzid:
            a1 += b":" + self.authzid
        a2 = method + b":" + self.uri
        parts = [self._hex(a1), self.nonce, _NONCE_COUNT, self.cnonce, b"auth", self._hex(a2)]
        return self._hex(b":".join(parts))

    def _hex(self, data: bytes) -> bytes:
        return binascii.hexlify(hashlib.new(self.hash_name, data).digest())


def _user_hash(
    hash_name: str, username: str, realm: str, password: str, charset: str, latin1: bool
) -> bytes:
    parts = (_hashed_form(part, charset, latin1) for part in (username, realm, password))
    return hashlib.new(hash_name, b":".join(parts)).digest()


def _digest_client(
    mechanism: str,
    username: str,
    password: str,
    authzid: str,
    realm: str | None,
    cnonce: str,
    uri: str,
    latin1: bool,
) -> _ClientSteps:
    answer = yield b""
    if answer.completed:
        raise _malformed(mechanism, "the server ended it without proof")
    found = _directives(mechanism, answer.challenge)
    charset = _charset(mechanism, found)
    nonce = _required(mechanism, found, "nonce")
    algorithms = {"md5-sess", f"{_DIGEST[mechanism]}-sess"}
    algorithm = _text(mechanism, _required(mechanism, found, "algorithm"), "ascii")
    if algorithm.lower() not in algorithms:
        raise _malformed(mechanism, "the server wants another algorithm than the mechanism's")
    qop = _directive(mechanism, found, "qop")
    if qop is not None and b"auth" not in re.split(rb"[, \t]+", qop):
        raise _malformed(
            mechanism, "the server wants a security layer (auth-int, auth-conf); use TLS instead"
        )
    realms = [_text(mechanism, offered, charset) for offered in found.get("realm", [])]
    if realm is None:
        chosen = realms[0] if realms else None
    elif realms and realm not in realms:
        raise _malformed(mechanism, f"the server has no realm {realm!r} but {realms!r}")
    else:
        chosen = realm
    texts = (username, chosen or "", authzid, uri)
    if not all(_encodable(text, charset) for text in (*texts, password)):
        raise _malformed(mechanism, "the server takes names and passwords in ISO 8859-1 only")
    sent_username, sent_realm, sent_authzid, sent_uri = (text.encode(charset) for text in texts)
    hash_name = _DIGEST[mechanism]
    user_hash = _user_hash(hash_name, username, chosen or "", password, charset, latin1)
    digest = _Digest(hash_name, user_hash, nonce, cnonce.encode(), sent_uri, sent_authzid)

    # The order is that of the Java client, byte for byte.
    parts = [b"charset=utf-8"] if charset == "utf-8" else []
    parts.append(b"username=" + _quoted(sent_username))
    if chosen is not None:
        parts.append(b"realm=" + _quoted(sent_realm))
    parts += [
        b"nonce=" + _quoted(nonce),
        b"nc=" + _NONCE_COUNT,
        b"cnonce=" + _quoted(digest.cnonce),
        b"digest-uri=" + _quoted(digest.uri),
        b"maxbuf=65536",
        b"response=" + digest.proof(b"AUTHENTICATE"),
        b"qop=auth",
    ]
    if authzid:
        parts.append(b"authzid=" + _quoted(sent_authzid))
    answer = yield b",".join(parts)
    if not answer.challenge:
        raise _malformed(mechanism, "the server's proof is missing")
    found = _directives(mechanism, answer.challenge)
    proof = _required(mechanism, found, "rspauth")
    if not hmac.compare_digest(proof, digest.proof(b"")):
        raise _malformed(mechanism, "the server's proof is wrong: it does not know the password")


def _digest_server(
    mechanism: str, credentials: Credentials, realm: str, nonce: str, uri: str
) -> _ServerSteps:
    response = yield b""
    if response:
        raise _malformed(mechanism, "the first message has to be empty")
    response = yield b"realm=%b,nonce=%b,charset=utf-8,algorithm=md5-sess" % (
        _quoted(realm.encode()),
        _quoted(nonce.encode()),
    )
    found = _directives(mechanism, response)
    charset = _charset(mechanism, found)
    username = _text(mechanism, _required(mechanism, found, "username"), charset)
    given_realm = _text(mechanism, _directive(mechanism, found, "realm") or b"", charset)
    given_uri = _required(mechanism, found, "digest-uri")
    authzid = _directive(mechanism, found, "authzid") or b""
    cnonce = _required(mechanism, found, "cnonce")
    proof = _required(mechanism, found, "response")
    if not _equal(_text(mechanism, _required(mechanism, found, "nonce"), charset), nonce):
        raise _malformed(mechanism, "the nonce is not that of this exchange")
    if _required(mechanism, found, "nc") != _NONCE_COUNT:
        raise _malformed(mechanism, "the nonce was used before")
    if (_directive(mechanism, found, "qop") or b"auth") != b"auth":
        raise _malformed(mechanism, "a security layer is not offered, only qop=auth")
    if _text(mechanism, given_uri, charset).lower() != uri.lower():
        raise _malformed(mechanism, "digest-uri names another service or server")
    if given_realm != realm:
        raise _malformed(mechanism, "the realm is not the one that was offered")

    stored = _password_of(credentials, username)
    matching = None
    # Clients disagree on the charset of what is hashed; see `latin1` of client_exchange.
    for latin1 in (False, True):
        try:
            user_hash = _user_hash(
                _DIGEST[mechanism], username, realm, stored or "", charset, latin1
            )
        except UnicodeEncodeError:
            continue
        digest = _Digest(_DIGEST[mechanism], user_hash, nonce.encode(), cnonce, given_uri, authzid)
        if hmac.compare_digest(proof, digest.proof(b"AUTHENTICATE")):
            matching = digest
    if stored is None or matching is None:
        raise _rejected(mechanism)
    _check_authzid(mechanism, _text(mechanism, authzid, charset), username)
    return b"rspauth=" + matching.proof(b""), username


# ---------------------------------------------------------------------------------------------
# CRAM-MD5 (RFC 2195): old servers offer little else. The server proves nothing.


def _cram_response(username: str, password: str, challenge: bytes) -> bytes:
    proof = hmac.new(password.encode(), challenge, "md5").hexdigest()
    return f"{username} {proof}".encode()


def _cram_client(username: str, password: str) -> _ClientSteps:
    answer = yield b""
    if answer.completed or not answer.challenge:
        raise _malformed("CRAM-MD5", "the server's challenge is missing")
    answer = yield _cram_response(username, password, answer.challenge)
    _check_end("CRAM-MD5", answer)


def _cram_server(credentials: Credentials, challenge: bytes) -> _ServerSteps:
    response = yield b""
    if response:
        raise _malformed("CRAM-MD5", "the first message has to be empty")
    response = yield challenge
    username, blank, _ = _text("CRAM-MD5", response).rpartition(" ")
    if not blank:
        raise _malformed("CRAM-MD5", "a message without user name")
    stored = _password_of(credentials, username)
    expected = _cram_response(username, stored or "", challenge)
    if not hmac.compare_digest(response, expected) or stored is None:
        raise _rejected("CRAM-MD5")
    return None, username


# ---------------------------------------------------------------------------------------------
# OAUTHBEARER (RFC 7628). Real servers and clients write the RFC's separator, the byte 01, as the
# four letters in which its grammar has it, and the refusal in base64. decisions.md: tokens

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_REFUSAL: Final = b'{"status":"invalid_token"}'
_LETTERS: Final = "%x01"


def _oauthbearer_client(token: str, authzid: str) -> _ClientSteps:
    header = "a=" + authzid.replace("=", "=3D").replace(",", "=2C") if authzid else ""
    answer = yield f"n,{header},{_LETTERS}auth=Bearer {token}{_LETTERS}{_LETTERS}".encode()
    if not answer.challenge:  # and nothing is said to be completed by real servers
        return
    # A refusal comes as a challenge, which has to be answered before the server says no.
    reason = _refusal_status(answer.challenge)
    if not answer.completed:
        yield _LETTERS.encode()
    raise _malformed("OAUTHBEARER", f"the server refused the token: {reason}")


def _refusal_status(challenge: bytes) -> str:
    try:
        if not challenge.startswith(b"{"):
            challenge = binascii.a2b_base64(challenge)
        status = json.loads(challenge)["status"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return f"{len(challenge)} bytes that are not a status"
    return ascii(status)[:100] if isinstance(status, str) else "no status"


def _oauthbearer_server(verify_token: Callable[[str], str | None]) -> _ServerSteps:
    response = yield b""
    message = _text("OAUTHBEARER", response)
    has_letters = "\x01" not in message
    if has_letters:
        message = message.replace(_LETTERS, "\x01")
        if not message.endswith("\x01\x01"):  # Java's client
            message += "\x01"
    match = re.fullmatch(r"[ny],(?:a=([^,]+))?,\x01((?:[A-Za-z]+=[^\x01]*\x01)+)\x01", message)
    if match is None:
        raise _malformed("OAUTHBEARER", "malformed message")
    authzid, pairs = match.groups(default="")
    if re.search("=(?!2C|3D)", authzid):
        raise _malformed("OAUTHBEARER", "malformed name")
    values = dict(pair.split("=", 1) for pair in pairs.split("\x01") if pair)
    scheme, _, token = values.get("auth", "").partition(" ")
    username = None
    if scheme.lower() == "bearer" and _TOKEN.fullmatch(token):
        username = verify_token(token)
    if username is None:
        yield binascii.b2a_base64(_REFUSAL, newline=False) if has_letters else _REFUSAL
        raise AuthenticationError("OAUTHBEARER: the token is not valid")
    _check_authzid("OAUTHBEARER", authzid.replace("=2C", ",").replace("=3D", "="), username)
    return None, username
