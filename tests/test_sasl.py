"""SASL against recorded exchanges, the RFCs' examples, itself, and those who lie."""

from __future__ import annotations

import base64
import importlib
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vector_data
from hotrod_codec import (
    AuthenticationError,
    EncodeError,
    Request,
    RequestContext,
    Response,
    ServerError,
    Status,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    sasl,
)

PASSWORD_MECHANISMS = [m for m in sasl.MECHANISMS if m not in ("EXTERNAL", "OAUTHBEARER")]
PROVING = [m for m in sasl.MECHANISMS if m.startswith(("SCRAM", "DIGEST"))]
SCRAM = [m for m in sasl.MECHANISMS if m.startswith("SCRAM")]
DIGEST = [m for m in sasl.MECHANISMS if m.startswith("DIGEST")]
SALT = b"twelve bytes"
SECRET = "pencil"


def client(mechanism: str, username: str = "user", password: str = SECRET, **options: Any) -> Any:
    return sasl.client_exchange(
        mechanism,
        username=username,
        password=password,
        **{"nonce": "client-nonce", "token": "tok.en", **options},
    )


def server(mechanism: str, credentials: sasl.Credentials | None = None, **options: Any) -> Any:
    defaults = {
        "credentials": {"user": SECRET} if credentials is None else credentials,
        "verify_token": {"tok.en": "user"}.get,
        "certificate_name": "user",
        "nonce": "server-nonce",
        "salt": SALT,
        "iterations": 4096,
    }
    return sasl.server_exchange(mechanism, **{**defaults, **options})


def no_change(_number: int, message: bytes) -> bytes:
    return message


def converse(
    client: sasl.ClientExchange,
    server: sasl.ServerExchange,
    change: Callable[[int, bytes], bytes] = no_change,
) -> list[bytes]:
    """Let the two talk until one is finished; `change` sits in between. All that was sent."""
    sent: list[bytes] = []

    def carried(message: bytes) -> bytes:
        sent.append(change(len(sent), message))
        return sent[-1]

    response: bytes | None = client.start()
    while response is not None:
        challenge = server.step(carried(response))
        completed = challenge is None
        response = client.step(b"" if challenge is None else carried(challenge), completed)
    return sent


# ---------------------------------------------------------------------------------------------
# Recorded exchanges


@dataclass
class Recorded:
    """One exchange as a client and a server had it."""

    id: str
    mechanism: str
    username: str
    password: str
    server_name: str
    steps: list[tuple[Request, Response]] = field(default_factory=list)

    @property
    def sent(self) -> list[bytes]:
        return [request.response for request, _ in self.steps]

    @property
    def answered(self) -> list[bytes | None]:
        return [None if r.completed else r.challenge for _, r in self.steps if not r.is_error]

    @property
    def refused(self) -> bool:
        return any(response.is_error for _, response in self.steps)

    def client(self) -> sasl.ClientExchange:
        return sasl.client_exchange(
            self.mechanism,
            username=self.username,
            password=self.password,
            nonce=self.client_nonce(),
            server_name=self.server_name,
        )

    def client_nonce(self) -> str:
        if self.mechanism.startswith("SCRAM"):
            return self.sent[0].decode().partition(",r=")[2]
        if self.mechanism.startswith("DIGEST"):
            return str(re.findall(r'cnonce="([^"]*)"', self.sent[1].decode())[0])
        return ""

    def server(self, password: str) -> sasl.ServerExchange:
        options: dict[str, Any] = {}
        challenge = self.steps[0][1].challenge or b""
        if self.mechanism.startswith("SCRAM"):
            nonce, salt, iterations = re.findall(r"(?:^|,)[rsi]=([^,]*)", challenge.decode())
            options["nonce"] = nonce.removeprefix(self.client_nonce())
            options["salt"] = base64.b64decode(salt)
            options["iterations"] = int(iterations)
        elif self.mechanism.startswith("DIGEST"):
            options["nonce"] = re.findall(r'nonce="([^"]*)"', challenge.decode())[0]
            options["realm"] = re.findall(r'realm="([^"]*)"', challenge.decode())[0]
        elif self.mechanism == "CRAM-MD5":
            options["nonce"] = re.findall("<(.*)@", challenge.decode())[0]
        return sasl.server_exchange(
            self.mechanism,
            credentials={self.username: password},
            certificate_name=self.username,
            server_name=self.server_name,
            **options,
        )


def decoded(request: bytes, response: bytes) -> tuple[Request, Response]:
    asked = decode_request(request)
    assert asked is not None
    answer = decode_response(response, asked)
    assert answer is not None
    return asked, answer


def recorded_documents() -> list[Recorded]:
    """The exchanges of sasl.json."""
    found = []
    for document in vector_data.sasl()["exchanges"]:
        exchange = Recorded(
            document["mechanism"],
            document["mechanism"],
            document["username"],
            "secret",
            document["server_name"],
        )
        for step in document["steps"]:
            frames = [bytes.fromhex(step[key]) for key in ("request_hex", "response_hex")]
            exchange.steps.append(decoded(*frames))
        found.append(exchange)
    return found


# PLAIN without a message; SCRAM begun without one, then with a made-up end: test_scram_server_...
NO_CLIENT_SAYS_THIS = [f"extended-ops-auth-{number:03}" for number in (6, 10, 11, 12)]


def recorded_vectors() -> Iterator[Recorded]:
    """The exchanges among the captured frames, put together from their AUTH messages."""
    exchange = None
    for vector in vector_data.load_all():
        asked = decode_request(vector.request) if vector.request and vector.op == "AUTH" else None
        if asked is None or asked.mechanism.startswith("NO") or vector.id in NO_CLIENT_SAYS_THIS:
            continue
        assert vector.request is not None
        assert vector.response is not None
        step = decoded(vector.request, vector.response)
        begins = not asked.response or asked.response.startswith((b"\0", b"n,,"))
        if begins:
            passed = (vector.expected or {}).get("passed") or {}
            username, password = passed.get("user", "tester"), passed.get("password", "secret")
            if vector.source.startswith("hand-made"):  # nothing says what they would have been
                if asked.mechanism == "PLAIN":
                    _, username, password = asked.response.decode().split("\0")
                elif asked.mechanism.startswith("SCRAM"):
                    username = re.findall("n=([^,]*)", asked.response.decode())[0]
            name = passed.get("server_name", "infinispan")
            exchange = Recorded(vector.id, asked.mechanism, username, password, name)
        assert exchange is not None, vector.id
        exchange.steps.append(step)
        mechanism = asked.mechanism
        if step[1].is_error or step[1].completed or (not begins and mechanism != "CRAM-MD5"):
            yield exchange
            exchange = None


EXCHANGES = [*recorded_documents(), *recorded_vectors()]
ACCEPTED = [exchange for exchange in EXCHANGES if not exchange.refused]
REFUSED = [exchange for exchange in EXCHANGES if exchange.refused]


def test_recordings_are_all_there() -> None:
    assert sum(len(exchange.steps) for exchange in recorded_documents()) == 13
    assert {exchange.mechanism for exchange in ACCEPTED} >= {
        "PLAIN", "EXTERNAL", "CRAM-MD5", "DIGEST-MD5", "DIGEST-SHA-256", *SCRAM,
    }  # fmt: skip
    accepted_frames = sum(len(exchange.steps) for exchange in ACCEPTED)
    refused_frames = sum(len(exchange.steps) for exchange in REFUSED)
    assert (accepted_frames, refused_frames) == (13 + 41, 39)


@pytest.mark.parametrize("exchange", ACCEPTED, ids=lambda e: f"{e.id}-{e.mechanism}")
def test_client_says_what_was_recorded(exchange: Recorded) -> None:
    client = exchange.client()
    response: bytes | None = client.start()
    for request, answer in exchange.steps:
        assert not client.finished
        assert response == request.response
        response = client.receive(answer)
    assert response is None
    assert client.finished


@pytest.mark.parametrize("exchange", ACCEPTED, ids=lambda e: f"{e.id}-{e.mechanism}")
def test_server_says_what_was_recorded(exchange: Recorded) -> None:
    server = exchange.server("secret")
    assert [server.step(message) for message in exchange.sent] == exchange.answered
    assert server.finished
    assert server.username == exchange.username


@pytest.mark.parametrize("exchange", REFUSED, ids=lambda e: f"{e.id}-{e.mechanism}")
def test_recorded_refusals_are_authentication_errors(exchange: Recorded) -> None:
    client = exchange.client()
    response: bytes | None = client.start()
    for request, answer in exchange.steps[:-1]:
        assert response == request.response
        response = client.receive(answer)
    assert response == exchange.sent[-1]
    with pytest.raises(AuthenticationError, match="the server refused: ") as caught:
        client.receive(exchange.steps[-1][1])
    assert not client.finished
    assert isinstance(caught.value.__cause__, ServerError)
    assert caught.value.__cause__.status in (Status.REQUEST_PARSING_ERROR, Status.SERVER_ERROR)
    assert exchange.password not in str(caught.value).split()


@pytest.mark.parametrize(
    "exchange",
    [exchange for exchange in REFUSED if exchange.password == "wrong"],
    ids=lambda e: f"{e.id}-{e.mechanism}",
)
def test_recorded_wrong_passwords_are_refused(exchange: Recorded) -> None:
    server = exchange.server("secret")
    assert [server.step(message) for message in exchange.sent[:-1]] == exchange.answered
    with pytest.raises(AuthenticationError, match="wrong user name or password"):
        server.step(exchange.sent[-1])
    assert not server.finished
    assert server.username is None


def test_scram_server_asks_those_who_begin_with_nothing() -> None:
    by_id = {vector.id: vector for vector in vector_data.load("extended-ops")}
    steps = []
    for number in (10, 11, 12):
        vector = by_id[f"extended-ops-auth-{number:03}"]
        assert vector.request is not None
        assert vector.response is not None
        steps.append(decoded(vector.request, vector.response))
    server = sasl.server_exchange(
        "SCRAM-SHA-256",
        credentials={"user": "secret"},
        nonce="m'oTHF;#&c4alf%\\$doW%sMyk:Ey",
        salt=base64.b64decode("I79rGQgL9WHlhVMd"),
    )
    for request, response in steps[:2]:
        assert server.step(request.response) == response.challenge
    with pytest.raises(AuthenticationError):  # a nonce of its own: refused there, too
        server.step(steps[2][0].response)
    assert steps[2][1].status == Status.REQUEST_PARSING_ERROR


@pytest.mark.parametrize(
    "example",
    [e for e in vector_data.sasl()["rfc_examples"] if e["mechanism"].startswith("SCRAM")],
    ids=lambda e: e["source"],
)
def test_scram_examples_of_the_rfcs(example: dict[str, str]) -> None:
    nonce = example["client_first"].partition(",r=")[2]
    client = sasl.client_exchange(
        example["mechanism"],
        username=example["username"],
        password=example["password"],
        nonce=nonce,
    )
    all_nonces, salt, iterations = re.findall(r"[rsi]=([^,]*)", example["server_first"])
    server = sasl.server_exchange(
        example["mechanism"],
        credentials={example["username"]: example["password"]},
        nonce=all_nonces.removeprefix(nonce),
        salt=base64.b64decode(salt),
        iterations=int(iterations),
    )
    names = ("client_first", "server_first", "client_final", "server_final")
    assert converse(client, server) == [example[name].encode() for name in names]
    assert client.finished
    assert server.finished


def test_digest_example_of_the_rfc() -> None:
    (example,) = [e for e in vector_data.sasl()["rfc_examples"] if e["mechanism"] == "DIGEST-MD5"]
    protocol, server_name = example["digest_uri"].split("/")
    client = sasl.client_exchange(
        "DIGEST-MD5",
        username=example["username"],
        password=example["password"],
        nonce=example["cnonce"],
        protocol=protocol,
        server_name=server_name,
    )
    assert client.start() == b""
    challenge = (
        f'realm="{example["realm"]}",nonce="{example["nonce"]}",qop="auth",'
        "algorithm=md5-sess,charset=utf-8"
    )
    response = client.step(challenge.encode(), completed=False)
    assert response is not None
    assert f",response={example['response']}," in response.decode()
    assert client.step(f"rspauth={example['rspauth']}".encode(), completed=False) is None

    server = sasl.server_exchange(
        "DIGEST-MD5",
        credentials={example["username"]: example["password"]},
        realm=example["realm"],
        nonce=example["nonce"],
        protocol=protocol,
        server_name=server_name,
    )
    server.step(b"")
    assert server.step(response) == f"rspauth={example['rspauth']}".encode()


def test_messages_travel_in_auth_frames() -> None:
    client, server = make_pair("SCRAM-SHA-256")
    response = client.start()
    while response is not None:
        asked = decode_request(
            encode_request("auth", mechanism=client.mechanism, response=response)
        )
        assert asked is not None
        challenge = server.step(asked.response)
        frame = encode_response("auth", completed=challenge is None, challenge=challenge or b"")
        answer = decode_response(frame, RequestContext("auth"))
        assert isinstance(answer, Response)
        response = client.receive(answer)
    assert client.finished
    assert server.finished


# ---------------------------------------------------------------------------------------------
# The two sides with each other


def make_pair(mechanism: str) -> tuple[Any, Any]:
    return client(mechanism), server(mechanism)


AWKWARD = st.text(
    st.sampled_from(
        list(",=\"\\'; <>:/@%+ab0 \u00e4\u00df\u03c0\u05d0\u65e5\U0001f600\u00aa\u2168")
    )
    | st.characters(exclude_categories=["Cs", "Cc"]),
    min_size=1,
    max_size=20,
)


def prepares(text: str) -> bool:
    try:
        return bool(sasl.saslprep(text))
    except ValueError:
        return False


@pytest.mark.parametrize("mechanism", PASSWORD_MECHANISMS)
@settings(max_examples=40, deadline=None)
@given(username=AWKWARD, password=AWKWARD, realm=AWKWARD)
def test_any_name_and_password(mechanism: str, username: str, password: str, realm: str) -> None:
    known = username
    if mechanism == "PLAIN" or mechanism.startswith("SCRAM"):
        if not (prepares(username) and prepares(password)):
            with pytest.raises(EncodeError, match=r"^AUTH: (username|password): "):
                client(mechanism, username, password)
            return
        known = sasl.saslprep(username)
    client_side = client(mechanism, username, password)
    server_side = server(mechanism, {known: password}, realm=realm)
    converse(client_side, server_side)
    assert client_side.finished
    assert server_side.finished
    assert server_side.username == known


@pytest.mark.parametrize("mechanism", DIGEST)
@pytest.mark.parametrize("latin1", [False, True])
@pytest.mark.parametrize("name", ["j\u00fcrgen", "\u03c0", 'a\\"b,=\u00e4'])
def test_digest_server_takes_both_charsets(mechanism: str, latin1: bool, name: str) -> None:
    client_side = client(mechanism, name, "pa\u00df", latin1=latin1, realm="r\u00e4um")
    server_side = server(mechanism, {name: "pa\u00df"}, realm="r\u00e4um")
    converse(client_side, server_side)
    assert client_side.finished


def test_latin1_changes_only_what_is_hashed() -> None:
    challenge = b'nonce="n",charset=utf-8,algorithm=md5-sess'
    responses = []
    for latin1 in (False, True):
        exchange = client("DIGEST-MD5", "\u00fc", latin1=latin1)
        exchange.start()
        responses.append(exchange.step(challenge, False))
    one, other = (re.sub(rb"response=\w+", b"", response) for response in responses)
    assert one == other
    assert responses[0] != responses[1]


@pytest.mark.parametrize("mechanism", sasl.MECHANISMS)
def test_every_mechanism_comes_to_an_end(mechanism: str) -> None:
    client_side, server_side = make_pair(mechanism)
    assert not client_side.finished
    converse(client_side, server_side)
    assert client_side.finished
    assert server_side.finished
    assert server_side.username == "user"
    for again in (client_side.start, lambda: client_side.step(b"", True)):
        with pytest.raises(RuntimeError):
            again()
    with pytest.raises(RuntimeError):
        server_side.step(b"")


def test_names_may_be_looked_up_by_a_function() -> None:
    def look_up(name: str) -> str | None:
        return SECRET if name == "user" else None

    for mechanism in PASSWORD_MECHANISMS:
        server_side = server(mechanism, look_up)
        converse(client(mechanism), server_side)
        assert server_side.username == "user"


@pytest.mark.parametrize("mechanism", PASSWORD_MECHANISMS)
def test_a_broken_look_up_is_no_wrong_password(mechanism: str) -> None:
    def look_up(name: str) -> str | None:
        raise OSError("database gone")

    with pytest.raises(OSError, match="database gone"):
        converse(client(mechanism), server(mechanism, look_up))


@pytest.mark.parametrize("authzid", ["", "user"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "EXTERNAL", "OAUTHBEARER", *DIGEST])
def test_acting_for_oneself(mechanism: str, authzid: str) -> None:
    server_side = server(mechanism)
    converse(client(mechanism, authzid=authzid), server_side)
    assert server_side.username == "user"


@pytest.mark.parametrize("mechanism", ["PLAIN", "EXTERNAL", "OAUTHBEARER", *DIGEST])
def test_acting_for_another_is_refused(mechanism: str) -> None:
    with pytest.raises(AuthenticationError, match="for another"):
        converse(client(mechanism, authzid="ad,m=in"), server(mechanism))


# ---------------------------------------------------------------------------------------------
# Those who lie


@pytest.mark.parametrize("mechanism", PASSWORD_MECHANISMS)
@pytest.mark.parametrize(
    ("username", "password"), [("user", "Pencil"), ("user", "pencil "), ("nobody", SECRET)]
)
def test_wrong_credentials(mechanism: str, username: str, password: str) -> None:
    server_side = server(mechanism)
    client_side = client(mechanism, username, password)
    with pytest.raises(AuthenticationError, match=r": wrong user name or password$"):
        converse(client_side, server_side)
    assert not server_side.finished
    assert not client_side.finished
    assert server_side.username is None


@pytest.mark.parametrize("mechanism", PASSWORD_MECHANISMS)
def test_unknown_users_do_not_have_the_empty_password(mechanism: str) -> None:
    password = SECRET if mechanism == "PLAIN" else ""
    server_side = server(mechanism, {})
    with pytest.raises(AuthenticationError, match=r": wrong user name or password$"):
        converse(client(mechanism, "nobody", password), server_side)
    assert not server_side.finished


@pytest.mark.parametrize("mechanism", SCRAM)
def test_unknown_users_look_like_known_ones(mechanism: str) -> None:
    first = client(mechanism, "nobody").start()
    known = server(mechanism, {"nobody": SECRET}).step(first)
    assert server(mechanism, {}).step(first) == known


@pytest.mark.parametrize("mechanism", PROVING)
def test_a_server_that_does_not_know_the_password_is_found_out(mechanism: str) -> None:
    """It accepts anything but cannot make the proof."""
    client_side = client(mechanism)
    impostor = server(mechanism, {"user": "guess"})
    response = client_side.start()
    response = client_side.step(impostor.step(response), False)
    other = server(mechanism, {"user": "guess"})
    converse(client(mechanism, "user", "guess"), other)
    honest = converse(client(mechanism, "user", "guess"), server(mechanism, {"user": "guess"}))
    with pytest.raises(AuthenticationError):
        client_side.step(honest[-1], False)
    assert not client_side.finished


@pytest.mark.parametrize("mechanism", PROVING)
@pytest.mark.parametrize("completed", [False, True])
@pytest.mark.parametrize(
    "proof", [b"", b"v=", b"rspauth=", b"e=other-error", b"\xff\xfe", b"v=AAAA"]
)
def test_missing_or_wrong_proof(mechanism: str, completed: bool, proof: bytes) -> None:
    client_side, server_side = make_pair(mechanism)
    client_side.step(server_side.step(client_side.start()), False)
    with pytest.raises(AuthenticationError, match=f"^{mechanism}: "):
        client_side.step(proof, completed)
    assert not client_side.finished
    with pytest.raises(RuntimeError):  # and does not become so by going on
        client_side.step(b"", True)
    assert not client_side.finished


@pytest.mark.parametrize("mechanism", [*PROVING, "CRAM-MD5"])
def test_completed_too_early(mechanism: str) -> None:
    client_side = client(mechanism)
    client_side.start()
    with pytest.raises(AuthenticationError):
        client_side.step(b"", completed=True)
    assert not client_side.finished


@pytest.mark.parametrize("mechanism", PROVING)
def test_the_final_proof_counts_with_either_flag(mechanism: str) -> None:
    client_side, server_side = make_pair(mechanism)
    final = server_side.step(client_side.step(server_side.step(client_side.start()), False))
    assert client_side.step(final, completed=True) is None
    assert client_side.finished


@pytest.mark.parametrize("mechanism", ["PLAIN", "EXTERNAL"])
@pytest.mark.parametrize(("challenge", "completed"), [(b"", False), (b"x", False), (b"x", True)])
def test_no_proof_where_none_belongs(mechanism: str, challenge: bytes, completed: bool) -> None:
    client_side = client(mechanism)
    client_side.start()
    with pytest.raises(AuthenticationError):
        client_side.step(challenge, completed)
    assert not client_side.finished


@pytest.mark.parametrize("mechanism", [*PROVING, "CRAM-MD5"])
def test_an_exchange_cannot_be_replayed(mechanism: str) -> None:
    sent = converse(client(mechanism), server(mechanism, nonce="one"))
    other = server(mechanism, nonce="two")
    other.step(sent[0])
    with pytest.raises(AuthenticationError):
        other.step(sent[2])
    assert not other.finished

    # The server's words of yesterday do not convince today's client either.
    client_side = client(mechanism, nonce="another")
    client_side.start()
    if mechanism.startswith("SCRAM"):  # sees it at once, the others by the proof
        with pytest.raises(AuthenticationError):
            client_side.step(sent[1], False)
    else:
        client_side.step(sent[1], False)
        with pytest.raises(AuthenticationError):
            client_side.step(sent[3] if len(sent) > 3 else b"", False)
    assert not client_side.finished


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"nc=00000001", b"nc=00000002"),
        (b"qop=auth", b"qop=auth-conf"),
        (b"qop=auth", b"qop=auth,qop=auth"),
        (b"hotrod/infinispan", b"hotrod/elsewhere"),
        (b"hotrod/infinispan", b"imap/infinispan"),
        (b'realm="default"', b'realm="other"'),
        (b'realm="default",', b""),
        (b'nonce="server-nonce",', b""),
        (b'"server-nonce"', b'"server-nonces"'),
        (b'cnonce="client-nonce",', b""),
        (b'"client-nonce"', b'"client-nance"'),
        (b'username="user"', b'username="USER"'),
        (b'username="user"', b'username="user'),
        (b'username="user",', b""),
        (b"charset=utf-8", b"charset=utf-16"),
        (b"response=", b"response=0"),
        (b"response=", b"answer="),
        (b",", b"\0,"),
    ],
)
def test_tampered_digest_response(old: bytes, new: bytes) -> None:
    for mechanism in DIGEST:
        server_side = server(mechanism)

        def change(number: int, message: bytes) -> bytes:
            assert number != 2 or old in message
            return message.replace(old, new, 1) if number == 2 else message

        with pytest.raises(AuthenticationError):
            converse(client(mechanism), server_side, change)
        assert not server_side.finished


@pytest.mark.parametrize(
    ("challenge", "problem"),
    [
        (b'nonce="n",charset=utf-8', "algorithm is missing"),
        (b'nonce="n",algorithm=md5', "another algorithm"),
        (b"algorithm=md5-sess", "nonce is missing"),
        (b'nonce="",algorithm=md5-sess', "nonce is missing"),
        (b'nonce="n",nonce="n",algorithm=md5-sess', "nonce stands there 2 times"),
        (b'nonce="n",qop="auth-int,auth-conf",algorithm=md5-sess', "security layer"),
        (b'nonce="n",charset=latin-1,algorithm=md5-sess', "charset is not utf-8"),
        (b'nonce="n,algorithm=md5-sess', "no directive at byte 0 of 27"),
        (b"\xff", "no directive at byte 0 of 1"),
        (b'realm="\xff",nonce="n",charset=utf-8,algorithm=md5-sess', "not utf-8"),
        (b'realm="a",nonce="n",algorithm=md5-sess', "no realm 'b' but"),
    ],
)
def test_bad_digest_challenges(challenge: bytes, problem: str) -> None:
    client_side = client("DIGEST-MD5", realm="b")
    client_side.start()
    with pytest.raises(AuthenticationError, match=problem):
        client_side.step(challenge, False)


@pytest.mark.parametrize(
    "challenge",
    [
        b'realm="a",realm="b",nonce="n",qop="auth-conf, auth",algorithm=MD5-sess,charset=utf-8',
        b' nonce = "n" ,, realm="\\b",\r\n algorithm=md5-sess,stale=true,maxbuf=4096,cipher="x"',
        b"nonce=n,algorithm=md5-sess",
    ],
)
def test_unusual_digest_challenges(challenge: bytes) -> None:
    client_side = client("DIGEST-MD5", realm="b")
    client_side.start()
    response = client_side.step(challenge, False)
    assert b'realm="b",nonce="n"' in response


def test_digest_servers_of_latin1_only() -> None:
    challenge = b'nonce="n",algorithm=md5-sess'
    exchange = client("DIGEST-MD5", "\u00fc")
    exchange.start()
    assert exchange.step(challenge, False).startswith(b'username="\xfc"')
    exchange = client("DIGEST-MD5", "\u03c0")
    exchange.start()
    with pytest.raises(AuthenticationError, match="ISO 8859-1 only"):
        exchange.step(challenge, False)


@pytest.mark.parametrize(
    "challenge",
    [
        b"r=client-nonce-and,s=dHdlbHZlIGJ5dGVz",
        b"r=client-nonce,s=dHdlbHZlIGJ5dGVz,i=4096",
        b"r=other-nonce,s=dHdlbHZlIGJ5dGVz,i=4096",
        b"r=client-nonce-and,s=dHdlbHZlIGJ5dGVz,i=1",
        b"r=client-nonce-and,s=dHdlbHZlIGJ5dGVz,i=2000001",
        b"r=client-nonce-and,s=dHdlbHZlIGJ5dGVz,i=99999999999",
        b"r=client-nonce-and,s=!,i=4096",
        b"m=x,r=client-nonce-and,s=dHdlbHZlIGJ5dGVz,i=4096",
        b"e=unknown-user",
        b"v=AAAA",
        b"",
        b"\xff",
    ],
)
def test_bad_scram_challenges(challenge: bytes) -> None:
    client_side = client("SCRAM-SHA-256")
    client_side.start()
    with pytest.raises(AuthenticationError, match=r"^SCRAM-SHA-256: "):
        client_side.step(challenge, False)


@pytest.mark.parametrize(
    "message",
    [
        b"user\0pencil",
        b"\0user\0pencil\0",
        b"\0user\0",
        b"\0\0pencil",
        b"\0us\xff\0pencil",
        b"\0user\0\x07",
        b"",
    ],
)
def test_bad_plain_messages(message: bytes) -> None:
    server_side = server("PLAIN", {"user": SECRET, "": SECRET, "x": ""})
    with pytest.raises(AuthenticationError):
        server_side.step(message)
    assert not server_side.finished


def test_an_empty_password_lets_nobody_in_by_plain() -> None:
    with pytest.raises(AuthenticationError):
        server("PLAIN", {"user": ""}).step(b"\0user\0")


@pytest.mark.parametrize("mechanism", sasl.MECHANISMS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_message_never_does_harm(mechanism: str, data: st.DataObject) -> None:
    """One message cut, turned or prolonged on its way: an AuthenticationError on either side, or
    the same user as without (some bytes carry no meaning); never another exception."""
    target = data.draw(st.integers(0, 3), label="message")

    def change(number: int, message: bytes) -> bytes:
        if number != target:
            return message
        cut = data.draw(st.integers(0, len(message)), label="position")
        kind = data.draw(st.sampled_from(["cut", "turn", "insert", "replace"]), label="kind")
        if kind == "cut":
            return message[:cut]
        if kind == "insert":
            return message[:cut] + data.draw(st.binary(max_size=8)) + message[cut:]
        if kind == "replace":
            return data.draw(st.binary(max_size=60))
        return (
            message[:cut]
            + bytes(b ^ 1 << cut % 8 for b in message[cut : cut + 1])
            + message[cut + 1 :]
        )

    client_side, server_side = make_pair(mechanism)
    try:
        converse(client_side, server_side, change)
    except AuthenticationError:
        assert not client_side.finished
    else:
        assert client_side.finished
        assert server_side.username == "user"


@pytest.mark.parametrize("mechanism", SCRAM)
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_every_truncated_scram_message_is_noticed(mechanism: str, number: int) -> None:
    whole = converse(client(mechanism), server(mechanism))[number]
    for size in {1, 3, len(whole) // 2, len(whole) - 1}:
        client_side, server_side = make_pair(mechanism)

        def change(at: int, message: bytes, size: int = size) -> bytes:
            return message[:size] if at == number else message

        with pytest.raises(AuthenticationError):
            converse(client_side, server_side, change)


# ---------------------------------------------------------------------------------------------
# OAUTHBEARER


def test_bearer_message_has_the_form_that_servers_take() -> None:
    """The separator in letters. decisions.md: tokens"""
    exchange = sasl.client_exchange("OAUTHBEARER", token="eyJhbGciOi.eyJzdWIi.dBjftJeZ-4_")
    assert exchange.start() == b"n,,%x01auth=Bearer eyJhbGciOi.eyJzdWIi.dBjftJeZ-4_%x01%x01"
    exchange = sasl.client_exchange("OAUTHBEARER", token="t", authzid="a,b=c")
    assert exchange.start() == b"n,a=a=2Cb=3Dc,%x01auth=Bearer t%x01%x01"


def test_a_refused_token_is_acknowledged_before_it_fails() -> None:
    client_side, server_side = client("OAUTHBEARER", token="bad"), server("OAUTHBEARER")
    challenge = server_side.step(client_side.start())
    assert challenge is not None
    assert base64.b64decode(challenge) == b'{"status":"invalid_token"}'
    assert client_side.step(challenge, False) == b"%x01"
    with pytest.raises(AuthenticationError, match="token is not valid"):
        server_side.step(b"%x01")
    with pytest.raises(AuthenticationError, match="refused the token: 'invalid_token'"):
        client_side.step(b"", True)  # whatever it says: no token, no entry
    assert not client_side.finished


@pytest.mark.parametrize("separator", [b"\x01", b"%x01"])
def test_a_refusal_has_the_form_of_the_client(separator: bytes) -> None:
    challenge = server("OAUTHBEARER").step(separator.join([b"n,,", b"auth=Bearer bad", b"", b""]))
    assert challenge is not None
    if separator == b"%x01":
        challenge = base64.b64decode(challenge)
    assert challenge == b'{"status":"invalid_token"}'


@pytest.mark.parametrize("completed", [False, True])
def test_a_token_is_accepted_without_a_word(completed: bool) -> None:
    client_side = client("OAUTHBEARER")
    client_side.start()
    assert client_side.step(b"", completed) is None
    assert client_side.finished


def test_a_refusal_as_the_rfc_has_it() -> None:
    client_side = client("OAUTHBEARER")
    client_side.start()
    with pytest.raises(AuthenticationError, match="refused the token: 'invalid_token'"):
        client_side.step(b'{"status":"invalid_token"}', completed=True)


def test_a_refusal_that_is_called_complete() -> None:
    client_side = client("OAUTHBEARER")
    client_side.start()
    with pytest.raises(AuthenticationError, match="3 bytes that are not a status"):
        client_side.step(b"[1]", completed=True)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer tok.en\x01",
        b"p=tls-unique,,\x01auth=Bearer tok.en\x01\x01",
        b"n,a=x=,\x01auth=Bearer tok.en\x01\x01",
        b"n,,%x01auth=Bearer tok.en",
        b"n,,%x01%x01",
        b"n,,\x01auth=Bearer tok.en%x01%x01",
        b"\xff",
    ],
)
def test_bad_bearer_messages(message: bytes) -> None:
    with pytest.raises(AuthenticationError, match=r"malformed|not utf-8"):
        server("OAUTHBEARER").step(message)


@pytest.mark.parametrize(
    "message",
    [
        b"n,,\x01host=h\x01port=11222\x01auth=bearer tok.en\x01\x01",
        b"n,,%x01auth=Bearer tok.en%x01",  # Java's client
        b"n,,%x01auth=Bearer tok.en%x01%x01",  # JavaScript's client
    ],
)
def test_bearer_messages_of_others(message: bytes) -> None:
    server_side = server("OAUTHBEARER")
    assert server_side.step(message) is None
    assert server_side.username == "user"


# ---------------------------------------------------------------------------------------------
# Choosing

OFFERED = [
    "PLAIN", "DIGEST-MD5", "CRAM-MD5", "SCRAM-SHA-1", "GSSAPI", "DIGEST-SHA-512",
    "SCRAM-SHA-256", "OAUTHBEARER", "EXTERNAL", "SCRAM-SHA-512",
]  # fmt: skip


def test_the_strongest_mechanism_is_chosen() -> None:
    left = list(OFFERED)
    chosen = []
    while left:
        try:
            chosen.append(sasl.choose_mechanism(left, tls=True, token=True, certificate=True))
        except AuthenticationError:
            break
        left.remove(chosen[-1])
    assert chosen == [
        "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-SHA-512", "DIGEST-MD5",
        "EXTERNAL", "OAUTHBEARER", "PLAIN",
    ]  # fmt: skip
    assert left == ["CRAM-MD5", "GSSAPI"]


@pytest.mark.parametrize("secret_sender", ["PLAIN", "OAUTHBEARER"])
def test_secrets_are_not_sent_without_tls(secret_sender: str) -> None:
    with pytest.raises(AuthenticationError, match=f"{secret_sender}: would send the secret"):
        sasl.choose_mechanism([secret_sender], tls=False, token=True)
    assert sasl.choose_mechanism([secret_sender], tls=True, token=True) == secret_sender
    wanted = [secret_sender]
    assert sasl.choose_mechanism(OFFERED, tls=False, token=True, wanted=wanted) == secret_sender


def test_only_what_can_be_done_is_chosen() -> None:
    def choose(**have: Any) -> str:
        return sasl.choose_mechanism(OFFERED, **{"tls": True, "password": False, **have})

    assert choose(token=True) == "OAUTHBEARER"
    assert choose(certificate=True) == "EXTERNAL"
    assert choose(password=True, certificate=True) == "SCRAM-SHA-512"
    with pytest.raises(AuthenticationError, match="EXTERNAL: needs TLS with a client certificate"):
        choose(tls=False, certificate=True)
    with pytest.raises(AuthenticationError, match="GSSAPI: not known here"):
        choose()
    with pytest.raises(AuthenticationError, match="offered: nothing"):
        sasl.choose_mechanism([], tls=True)


def test_wishes_are_followed_in_their_order() -> None:
    wanted = ["SCRAM-SHA-384", "CRAM-MD5", "SCRAM-SHA-512"]
    assert sasl.choose_mechanism(OFFERED, tls=False, wanted=wanted) == "CRAM-MD5"
    with pytest.raises(AuthenticationError, match="GSSAPI: not known here"):
        sasl.choose_mechanism(OFFERED, tls=True, wanted=["GSSAPI"])
    with pytest.raises(AuthenticationError, match="PLAIN: not asked for"):
        sasl.choose_mechanism(OFFERED, tls=True, wanted=["SCRAM-SHA-384"])


def test_what_servers_really_offer() -> None:
    for vector in vector_data.load("auth"):
        if vector.op != "AUTH_MECH_LIST" or vector.request is None or vector.response is None:
            continue
        _, answer = decoded(vector.request, vector.response)
        if answer.is_error:
            continue
        offered = answer.mechanisms
        if offered == ["EXTERNAL"]:
            assert sasl.choose_mechanism(offered, tls=True, certificate=True) == "EXTERNAL"
            continue
        expected = "SCRAM-SHA-512" if "SCRAM-SHA-512" in offered else "DIGEST-MD5"
        assert sasl.choose_mechanism(offered, tls=False) == expected


# ---------------------------------------------------------------------------------------------
# Arguments, secrets, preparation


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),  # the examples of RFC 4013, section 3
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u05d0\u05d1", "\u05d0\u05d1"),
        ("", ""),
    ],
)
def test_saslprep(text: str, prepared: str) -> None:
    assert sasl.saslprep(text) == prepared


@pytest.mark.parametrize(
    "text", ["\u0007", "\u06271", "a\u0627", "\u0627a\u0627", "\ue000", "\u0221"]
)
def test_saslprep_prohibits(text: str) -> None:
    with pytest.raises(ValueError, match="SASLprep prohibits"):
        sasl.saslprep(text)


def test_scramp_prepares_as_we_do() -> None:
    """SCRAM is prepared by scramp, PLAIN by us: a user shall be the same in both."""
    utils = importlib.import_module("scramp.utils")
    for text in [
        "I\u00adX",
        "\u00aa",
        "\u2168",
        "a\u00a0b",
        "\u05d0\u05d1",
        "",
        "\uff21",
        "\u1e9b\u0323",
    ]:
        assert utils.saslprep(text) == sasl.saslprep(text)


@pytest.mark.parametrize(
    ("mechanism", "arguments", "name"),
    [
        ("GSSAPI", {}, "mechanism"),
        ("PLAIN", {"username": ""}, "username"),
        ("PLAIN", {"password": ""}, "password"),
        ("PLAIN", {"username": "a\0b"}, "username"),
        ("PLAIN", {"password": "\ud800"}, "password"),
        ("SCRAM-SHA-256", {"username": ""}, "username"),
        ("SCRAM-SHA-256", {"username": "\u00ad"}, "username"),
        ("SCRAM-SHA-256", {"password": "\u0007"}, "password"),
        ("SCRAM-SHA-256", {"nonce": ""}, "nonce"),
        ("SCRAM-SHA-256", {"nonce": "a,b"}, "nonce"),
        ("SCRAM-SHA-256", {"authzid": "other"}, "authzid"),
        ("CRAM-MD5", {"authzid": "other"}, "authzid"),
        ("DIGEST-MD5", {"nonce": 'a"b'}, "nonce"),
        ("DIGEST-MD5", {"realm": "\0"}, "realm"),
        ("OAUTHBEARER", {"token": ""}, "token"),
        ("OAUTHBEARER", {"token": "a\x01b"}, "token"),
        ("EXTERNAL", {"authzid": "a\0"}, "authzid"),
    ],
)
def test_arguments_that_cannot_be_sent(
    mechanism: str, arguments: dict[str, str], name: str
) -> None:
    with pytest.raises(EncodeError) as caught:
        client(mechanism, **arguments)
    assert caught.value.op == "AUTH"
    assert caught.value.field == name


@pytest.mark.parametrize("mechanism", ["PLAIN", *SCRAM])
def test_a_stored_password_that_nobody_can_send(mechanism: str) -> None:
    with pytest.raises(AuthenticationError):
        converse(client(mechanism), server(mechanism, {"user": "\u0007"}))


def test_an_exchange_shows_how_far_it_is() -> None:
    exchange = client("PLAIN")
    assert repr(exchange) == "<ClientExchange PLAIN, not started>"
    exchange.start()
    assert repr(exchange) == "<ClientExchange PLAIN, running>"
    exchange.step(b"", completed=True)
    assert repr(exchange) == "<ClientExchange PLAIN, finished>"
    assert repr(server("PLAIN")) == "<ServerExchange PLAIN, running>"


def test_servers_refuse_what_they_do_not_do() -> None:
    with pytest.raises(AuthenticationError, match="unknown mechanism"):
        server("NO-SUCH")
    for mechanism in PASSWORD_MECHANISMS:
        with pytest.raises(AuthenticationError, match="passwords are not accepted"):
            sasl.server_exchange(mechanism, nonce="n", salt=SALT)
    with pytest.raises(AuthenticationError, match="tokens are not accepted"):
        sasl.server_exchange("OAUTHBEARER")
    with pytest.raises(AuthenticationError, match="no certificate"):
        sasl.server_exchange("EXTERNAL").step(b"user")


@pytest.mark.parametrize("wrong", [{"nonce": ""}, {"salt": b"short"}, {"iterations": 1}])
def test_servers_own_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"nonce|salt"):
        server("SCRAM-SHA-1", **wrong)


@pytest.mark.parametrize("mechanism", sasl.MECHANISMS)
def test_secrets_stand_nowhere(mechanism: str) -> None:
    secret = "s3cret-Tok.en"
    users = {"user": secret}
    client_side = client(mechanism, "user", secret, token=secret)
    server_side = server(mechanism, users, verify_token=lambda _: None)
    shown = [repr(client_side), repr(server_side)]

    def spoil(number: int, message: bytes) -> bytes:
        shown.extend(map(repr, (client_side, server_side)))
        return message.replace(b"user", b"us\xffer").replace(b"r=", b"r=x").replace(b"=", b"==")

    for change in (spoil, lambda _, message: message + b"\xff"):
        for side in (client_side, client(mechanism, "user", secret, token=secret)):
            try:
                converse(side, server(mechanism, users, verify_token=lambda _: None), change)
            except (AuthenticationError, RuntimeError) as error:
                shown.append("".join(traceback.format_exception(error)))
                shown.append(repr(error.__context__))
    assert not any(secret in text for text in shown)
    assert any(mechanism in text for text in shown)


def test_scramp_is_loaded_when_it_is_needed() -> None:
    program = (
        "import sys, hotrod_codec.sasl as s; "
        "s.client_exchange('PLAIN', username='u', password='p').start(); "
        "sys.exit('scramp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
