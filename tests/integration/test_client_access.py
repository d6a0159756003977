"""The clients where one has to say who one is, and where all is encrypted."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from client.both import KINDS, connect
from hotrod_codec import AuthenticationError, ServerError, TransportError, Version
from hotrod_codec.marshallers import BYTES
from integration.conftest import Servers
from integration.infinispan import PASSWORD, READER, SASL_MECHANISMS, TOKEN, USER
from integration.peers import Target

LEGACY = ["DIGEST-MD5", "CRAM-MD5"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def guarded(target: Target, servers: Servers) -> Any:
    """A server that wants to know who it is."""
    return servers.get(target.server, auth=True)


@pytest.fixture
def encrypted(target: Target, servers: Servers) -> Any:
    """The same over TLS."""
    return servers.get(target.server, auth=True, tls=True)


@pytest.fixture
def certified(target: Target, servers: Servers) -> Any:
    """The same, and it wants certificates of clients."""
    return servers.get(target.server, auth=True, tls=True, certificates=True)


@pytest.fixture
def token_taker(target: Target, servers: Servers, introspection: str) -> Any:
    """A server that wants a token."""
    return servers.get(target.server, auth=True, introspection=introspection)


def check(kind: str, server: Any, target: Target, key: bytes, **settings: Any) -> None:
    settings.setdefault("sasl_server_name", "hotrod-codec")
    with connect(
        kind,
        addresses=[server.addresses[0]],
        protocol_version=target.version,
        legacy_server=target.is_legacy,
        **settings,
    ) as client:
        octets = client.cache("octets", keys=BYTES, values=BYTES)
        octets.put(key, b"v")
        assert octets.get(key) == b"v"
        assert octets.get_many([key] * 10) == [b"v"] * 10


@pytest.mark.versions(since=Version.V2_0)
def test_the_strongest_mechanism_by_default(
    guarded: Any, target: Target, kind: str, key: bytes
) -> None:
    check(kind, guarded, target, key, username=USER, password=PASSWORD)


@pytest.mark.versions(since=Version.V2_0, newest=True)
@pytest.mark.parametrize("mechanism", SASL_MECHANISMS.split())
def test_each_mechanism(
    guarded: Any, target: Target, kind: str, key: bytes, mechanism: str
) -> None:
    if target.is_legacy and mechanism not in LEGACY:
        mechanism = "CRAM-MD5"
    check(
        kind, guarded, target, key, username=USER, password=PASSWORD, sasl_mechanisms=(mechanism,)
    )


@pytest.mark.versions(since=Version.V2_0, newest=True)
def test_wrong_passwords(guarded: Any, target: Target, kind: str, key: bytes) -> None:
    with pytest.raises(AuthenticationError) as caught:
        check(kind, guarded, target, key, username=USER, password="sw0rdfish")
    assert "sw0rdfish" not in str(caught.value)


@pytest.mark.versions(since=Version.V2_0, legacy=False)
def test_tls(encrypted: Any, target: Target, kind: str, key: bytes) -> None:
    login = {"username": USER, "password": PASSWORD, "sni_host_name": "localhost"}
    check(kind, encrypted, target, key, ssl_context=encrypted.context, **login)
    check(
        kind,
        encrypted,
        target,
        key,
        ssl_context=encrypted.context,
        sasl_mechanisms=("PLAIN",),
        **login,
    )


@pytest.mark.versions(legacy=False, newest=True)
def test_certificates_are_checked(encrypted: Any, target: Target, kind: str, key: bytes) -> None:
    login = {"username": USER, "password": PASSWORD, "max_retries": 0}
    with pytest.raises(TransportError, match="certificate"):
        check(kind, encrypted, target, key, tls=True, sni_host_name="localhost", **login)
    with pytest.raises(TransportError, match="certificate"):
        check(
            kind,
            encrypted,
            target,
            key,
            ssl_context=encrypted.context,
            sni_host_name="elsewhere.example",
            **login,
        )


@pytest.mark.versions(legacy=False, newest=True)
def test_plain_where_tls_is_spoken(encrypted: Any, target: Target, kind: str, key: bytes) -> None:
    with pytest.raises(TransportError):
        check(kind, encrypted, target, key, max_retries=0, connect_timeout=2)


@pytest.mark.versions(since=Version.V2_0, legacy=False)
def test_a_certificate_is_enough(certified: Any, target: Target, kind: str, key: bytes) -> None:
    assert isinstance(certified.context, ssl.SSLContext)
    check(
        kind,
        certified,
        target,
        key,
        ssl_context=certified.context,
        sni_host_name="localhost",
        sasl_mechanisms=("EXTERNAL",),
    )


@pytest.mark.versions(legacy=False, newest=True)
def test_a_token_is_enough(token_taker: Any, target: Target, kind: str, key: bytes) -> None:
    # Without TLS everybody could read it: it has to be asked for by name.
    asked = {"sasl_mechanisms": "OAUTHBEARER"}
    check(kind, token_taker, target, key, token=TOKEN, **asked)
    with pytest.raises(AuthenticationError, match="OAUTHBEARER") as caught:
        check(kind, token_taker, target, key, token="sw0rdfish", **asked)
    assert "sw0rdfish" not in str(caught.value)
    with pytest.raises(AuthenticationError, match="without TLS"):
        check(kind, token_taker, target, key, token=TOKEN)


@pytest.mark.versions(since=Version.V2_1, legacy=False, embedded=False)
def test_who_may_read_entries_but_not_many(
    guarded: Any, target: Target, kind: str, key: bytes
) -> None:
    keys = [key + b"%d" % i for i in range(300)]
    settings: dict[str, Any] = {
        "addresses": [guarded.addresses[0]],
        "protocol_version": target.version,
        "password": PASSWORD,
        "sasl_server_name": "hotrod-codec",
    }
    with (
        connect(kind, username=USER, **settings) as owner,
        connect(kind, username=READER, **settings) as reader,
    ):
        whole = owner.cache("guarded", keys=BYTES, values=BYTES)
        whole.put_all((key, key) for key in keys)
        cache = reader.cache("guarded", keys=BYTES, values=BYTES)
        for _ in range(3):
            assert cache.get_many([*keys, b"none"]) == [*keys, None]
        assert whole.get_all(keys) == {key: key for key in keys}
        with pytest.raises(ServerError, match="BULK_READ"):
            cache.get_all(keys)
        with pytest.raises(ServerError, match="WRITE"):
            cache.put(key, b"v")
        assert reader._dispatcher.cluster.cache("guarded").refuses_many
