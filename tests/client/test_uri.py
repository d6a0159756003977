"""hotrod_codec.client.uri: the parts of a URI, whatever stands in them."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotrod_codec import ConfigurationError
from hotrod_codec.client.config import Configuration, configure
from hotrod_codec.client.uri import parse_uri


def test_all_parts() -> None:
    uri = (
        "hotrods://me:pw@a:1,[::1]:2,b?sasl_mechanism=SCRAM-SHA-512&connect_timeout=1500"
        "&socket_timeout=3s&force_return_values=true&client_intelligence=BASIC&max_retries=0"
        "&protocol_version=AUTO&marshaller=org.infinispan.commons.marshall.UTF8StringMarshaller"
    )
    c = configure(uri, variables={})
    assert c.addresses == (("a", 1), ("::1", 2), ("b", 11222))
    assert (c.username, c.password, c.tls) == ("me", "pw", True)
    assert c.sasl_mechanisms == ("SCRAM-SHA-512",)
    assert (c.connect_timeout, c.request_timeout) == (1.5, 3.0)
    assert c.force_return
    assert c.client_intelligence == 1
    assert c.max_retries == 0
    assert c.protocol_version is None


def test_our_own_names_are_taken_too() -> None:
    found = parse_uri("hotrod://a?retry_writes=true&ping_interval=5s&max_connections=3&username=u")
    assert found["retry_writes"] is True
    assert found["ping_interval"] == timedelta(seconds=5)
    assert found["max_connections"] == 3
    assert found["username"] == "u"


@given(st.text(min_size=1), st.text(), st.lists(st.integers(1, 65535), min_size=1, max_size=4))
def test_any_login_survives(user: str, password: str, ports: list[int]) -> None:
    """Parts are split first and decoded afterwards."""
    hosts = ",".join(f"h{n}:{port}" for n, port in enumerate(ports))
    encoded = [quote(text.encode("utf-8", "replace"), safe="") for text in (user, password)]
    found = parse_uri(f"hotrod://{encoded[0]}:{encoded[1]}@{hosts}")
    assert found["username"] == user.encode("utf-8", "replace").decode()
    assert found["password"] == password.encode("utf-8", "replace").decode()
    assert found["addresses"] == [(f"h{n}", port) for n, port in enumerate(ports)]


def test_a_password_may_hold_colons_and_at_signs() -> None:
    found = parse_uri("hotrod://me:a:b@c@host")
    assert (found["username"], found["password"]) == ("me", "a:b@c")
    assert found["addresses"] == [("host", 11222)]


def test_a_plus_is_a_plus() -> None:
    assert parse_uri("hotrod://a?auth_username=x+y")["username"] == "x+y"


def test_a_path_and_a_fragment_are_ignored() -> None:
    assert parse_uri("hotrod://a:1/path?max_retries=1#x") == {
        "addresses": [("a", 1)],
        "max_retries": 1,
    }


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://a", "expected hotrod://… or hotrods://…"),
        ("a:11222", "expected hotrod://… or hotrods://…"),
        ("hotrod://", "server 1: '' is no host"),
        ("hotrod://a:70000", "server 1: 70000 is no port"),
        ("hotrod://a,[::1", "server 2: "),
        ("hotrod://:secret@a", "a user name is missing"),
        ("hotrod://a?max_retries", "parameter 'max_retries' has no value"),
        ("hotrod://a?max_retrys=1", "did you mean max_retries?"),
        ("hotrod://a?max_retries=x", "max_retries: 'x': expected a whole number"),
        ("hotrod://a?socket_timeout=soon", "expected milliseconds"),
        ("hotrod://a?socket_timeout=99999999999999999999", "that is too long"),
        ("hotrod://a?tcp_no_delay=maybe", "expected true or false"),
        ("hotrod://a?jmx=true", "jmx: makes no sense here"),
        ("hotrod://a?trust_store_file_name=x.jks", "keystores of Java are not read"),
        ("hotrod://a?marshaller=org.example.Own", "has no counterpart"),
        ("hotrod://a?caches=x", "no such parameter 'caches'"),
    ],
)
def test_a_mistake_is_said(uri: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_uri(uri)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_uri("hotrod://a:0?jmx=true&max_retries=x")
    assert str(caught.value).count("uri: ") == 3


def test_use_auth_false_drops_the_credentials() -> None:
    assert parse_uri("hotrod://me:pw@a?use_auth=false") == {"addresses": [("a", 11222)]}


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for uri in (text, f"hotrod://{text}", f"hotrod://a?{text}"):
        try:
            Configuration(**parse_uri(uri))
        except ConfigurationError:
            continue
