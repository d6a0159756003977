"""SASL and TLS: each mechanism that a server offers, with the right and with a wrong password."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from hotrod_codec import AuthenticationError, Op, Response, Status, sasl
from integration.conftest import Servers
from integration.infinispan import PASSWORD, SASL_MECHANISMS, TOKEN, USER
from integration.outcomes import Outcomes
from integration.peers import Peer, Target

SERVER_NAME = "hotrod-codec"
FULL = [str(name) for name in SASL_MECHANISMS.split()]
LEGACY: list[str] = ["DIGEST-MD5", "CRAM-MD5"]

pytestmark = pytest.mark.operation(Op.AUTH)


@pytest.fixture
def guarded(target: Target, servers: Servers, outcomes: Outcomes) -> Iterator[Peer]:
    """A connection to a server that wants to know who it is."""
    server = servers.get(target.server, auth=True)
    with Peer(server.addresses[0], target, outcomes.sightings) as peer:
        yield peer
        peer.check_in_step()


@pytest.fixture
def encrypted(target: Target, servers: Servers, outcomes: Outcomes) -> Iterator[Peer]:
    """The same over TLS."""
    server = servers.get(target.server, auth=True, tls=True)
    address = server.addresses[0]
    with Peer(address, target, outcomes.sightings, context=server.context) as peer:
        yield peer
        peer.check_in_step()


@pytest.fixture
def certified(target: Target, servers: Servers, outcomes: Outcomes) -> Iterator[Peer]:
    """The same over TLS, where the client has shown a certificate."""
    server = servers.get(target.server, auth=True, tls=True, certificates=True)
    address = server.addresses[0]
    with Peer(address, target, outcomes.sightings, context=server.context) as peer:
        yield peer
        peer.check_in_step()


@pytest.fixture
def token_taker(
    target: Target, servers: Servers, introspection: str, outcomes: Outcomes
) -> Iterator[Peer]:
    """A connection to a server that wants a token."""
    server = servers.get(target.server, auth=True, introspection=introspection)
    with Peer(server.addresses[0], target, outcomes.sightings) as peer:
        yield peer
        peer.check_in_step()


def exchange(mechanism: str, **arguments: Any) -> sasl.ClientExchange:
    given: dict[str, Any] = {
        "username": USER,
        "password": PASSWORD,
        "server_name": SERVER_NAME,
    }
    nonce = secrets.token_urlsafe(24)
    return sasl.client_exchange(mechanism, nonce=nonce, **(given | arguments))


def authenticate(peer: Peer, client: sasl.ClientExchange) -> list[Response]:
    """Go through the exchange; return the server's answers."""
    answers = []
    response: bytes | None = client.start()
    while response is not None:
        answer = peer.call(Op.AUTH, cache="", mechanism=client.mechanism, response=response)
        answers.append(answer)
        response = client.receive(answer)
    assert client.finished
    return answers


def check_authenticated(peer: Peer, key: bytes) -> None:
    assert peer.call(Op.PUT, key=key, value=b"one").status == Status.SUCCESS
    assert peer.call(Op.GET, key=key).value == b"one"


def check_refused(peer: Peer) -> None:
    answer = peer.call(Op.GET, key=b"k")
    assert answer.status == Status.SERVER_ERROR
    assert "ISPN006017" in answer.error


def mechanisms_of(target: Target) -> list[str]:
    return LEGACY if target.is_legacy else FULL


@pytest.mark.operation(Op.AUTH_MECH_LIST)
def test_the_mechanisms_are_told(guarded: Peer) -> None:
    answer = guarded.call(Op.AUTH_MECH_LIST, cache="")
    assert answer.status == Status.SUCCESS
    assert sorted(answer.mechanisms) == sorted(mechanisms_of(guarded.target))


def test_nothing_else_is_done_before(guarded: Peer) -> None:
    check_refused(guarded)


@pytest.mark.parametrize("mechanism", [*FULL, "CRAM-MD5"])
def test_the_right_password(guarded: Peer, key: bytes, mechanism: str) -> None:
    if mechanism not in mechanisms_of(guarded.target):
        answer = guarded.call(Op.AUTH, cache="", mechanism=mechanism, response=b"")
        assert (answer.status, answer.op) == (Status.SERVER_ERROR, Op.AUTH)
        check_refused(guarded)
        return
    answers = authenticate(guarded, exchange(mechanism))
    # Where the server has the last word, that is a challenge, and nothing is said to be completed.
    last_word = mechanism.startswith(("SCRAM", "DIGEST"))
    assert [answer.completed for answer in answers][-1] is not last_word
    check_authenticated(guarded, key)


@pytest.mark.versions(legacy=False, newest=True)
@pytest.mark.parametrize("mechanism", FULL)
def test_a_wrong_password_and_then_the_right_one(guarded: Peer, key: bytes, mechanism: str) -> None:
    with pytest.raises(AuthenticationError, match="refused"):
        authenticate(guarded, exchange(mechanism, password="wrong"))
    check_refused(guarded)
    authenticate(guarded, exchange(mechanism))
    check_authenticated(guarded, key)


@pytest.mark.versions(legacy=True)
@pytest.mark.parametrize("mechanism", LEGACY)
def test_a_wrong_password_spoils_the_connection(guarded: Peer, mechanism: str) -> None:
    for password in ("wrong", PASSWORD):
        with pytest.raises(AuthenticationError, match="refused"):
            authenticate(guarded, exchange(mechanism, password=password))
        check_refused(guarded)


@pytest.mark.versions(newest=True)
def test_an_unknown_user(guarded: Peer) -> None:
    with pytest.raises(AuthenticationError, match="refused"):
        authenticate(guarded, exchange("DIGEST-MD5", username="nobody"))
    check_refused(guarded)


def test_an_unknown_mechanism(guarded: Peer) -> None:
    answer = guarded.call(Op.AUTH, cache="", mechanism="NO-SUCH", response=b"")
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, Op.AUTH)
    check_refused(guarded)


def test_one_message_too_many_is_never_the_last(guarded: Peer) -> None:
    # The server ends the exchange after its answer: who is fast meets the old one, and an error.
    authenticate(guarded, exchange("DIGEST-MD5"))
    answer = guarded.call(Op.AUTH, cache="", mechanism="DIGEST-MD5", response=b"")
    if answer.is_error:
        assert answer.status == Status.REQUEST_PARSING_ERROR
        assert "SaslException" in answer.error
    else:
        assert (answer.status, answer.completed) == (Status.SUCCESS, False)


def test_the_strongest_mechanism_is_chosen(guarded: Peer, key: bytes) -> None:
    offered = guarded.call(Op.AUTH_MECH_LIST, cache="").mechanisms
    mechanism = sasl.choose_mechanism(offered, tls=False)
    assert mechanism == ("DIGEST-MD5" if guarded.target.is_legacy else "SCRAM-SHA-512")
    authenticate(guarded, exchange(mechanism))
    check_authenticated(guarded, key)


# ------------------------------------------------------------------ TLS


@pytest.mark.versions(legacy=False, newest=True)
@pytest.mark.parametrize("mechanism", FULL)
def test_a_password_over_tls(encrypted: Peer, key: bytes, mechanism: str) -> None:
    check_refused(encrypted)
    with pytest.raises(AuthenticationError, match="refused"):
        authenticate(encrypted, exchange(mechanism, password="wrong"))
    authenticate(encrypted, exchange(mechanism))
    check_authenticated(encrypted, key)


@pytest.mark.operation(Op.AUTH_MECH_LIST)
@pytest.mark.versions(legacy=False)
def test_a_certificate_is_enough(certified: Peer, key: bytes) -> None:
    check_refused(certified)
    offered = certified.call(Op.AUTH_MECH_LIST, cache="").mechanisms
    assert offered == ["EXTERNAL"]
    assert sasl.choose_mechanism(offered, tls=True, password=False, certificate=True) == "EXTERNAL"
    answers = authenticate(certified, exchange("EXTERNAL", username="", password=""))
    assert [(answer.completed, answer.challenge) for answer in answers] == [(True, b"")]
    check_authenticated(certified, key)


# ------------------------------------------------------------------ tokens


@pytest.mark.operation(Op.AUTH_MECH_LIST)
@pytest.mark.versions(legacy=False)
def test_a_token_is_enough(token_taker: Peer, key: bytes) -> None:
    check_refused(token_taker)
    offered = token_taker.call(Op.AUTH_MECH_LIST, cache="").mechanisms
    assert offered == ["OAUTHBEARER"]
    answers = authenticate(token_taker, sasl.client_exchange("OAUTHBEARER", token=TOKEN))
    assert [(answer.completed, answer.challenge) for answer in answers] == [(False, b"")]
    check_authenticated(token_taker, key)


@pytest.mark.versions(legacy=False, embedded=False, newest=True)
def test_servers_cut_a_token_at_its_first_equals_sign(token_taker: Peer, key: bytes) -> None:
    authenticate(token_taker, sasl.client_exchange("OAUTHBEARER", token=TOKEN + "=="))
    check_authenticated(token_taker, key)


@pytest.mark.versions(legacy=False, embedded=False, newest=True)
def test_servers_refuse_a_token_as_the_rfc_has_it(token_taker: Peer) -> None:
    message = f"n,,\x01auth=Bearer {TOKEN}\x01\x01".encode()
    answer = token_taker.call(Op.AUTH, cache="", mechanism="OAUTHBEARER", response=message)
    assert answer.status == Status.REQUEST_PARSING_ERROR
    assert "ELY05045" in answer.error
    check_refused(token_taker)


@pytest.mark.versions(legacy=False)
def test_a_token_that_nobody_knows(token_taker: Peer) -> None:
    # Refused by a challenge, and by an error when that has been answered.
    client = sasl.client_exchange("OAUTHBEARER", token=TOKEN + "x")
    answer = token_taker.call(
        Op.AUTH, cache="", mechanism=client.mechanism, response=client.start()
    )
    assert not answer.is_error
    assert json.loads(base64.b64decode(answer.challenge)) == {"status": "invalid_token"}
    response = client.receive(answer)
    assert response is not None
    answer = token_taker.call(Op.AUTH, cache="", mechanism=client.mechanism, response=response)
    with pytest.raises(AuthenticationError, match="refused"):
        client.receive(answer)
    check_refused(token_taker)


# ------------------------------------------------------------------ no authentication


@pytest.mark.operation(Op.AUTH_MECH_LIST)
def test_a_server_that_asks_nobody(peer: Peer) -> None:
    answer = peer.call(Op.AUTH_MECH_LIST, cache="")
    assert (answer.status, answer.mechanisms) == (Status.SUCCESS, [])
    answer = peer.call(Op.AUTH, cache="", mechanism="PLAIN", response=b"\0user\0pencil")
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, Op.AUTH)
    assert answer.encode()[2] == 0x24  # and not 0x50, which errors have
