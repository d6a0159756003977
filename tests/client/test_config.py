"""hotrod_codec.client.config: what is valid, what is said about the rest, and what goes first."""

from __future__ import annotations

import ssl
import subprocess
import sys
from dataclasses import fields
from datetime import timedelta
from typing import Any, Unpack

import pytest

from hotrod_codec import Client, ConfigurationError, Intelligence, ServerAddress, Version
from hotrod_codec.client.config import (
    UNBOUNDED,
    CacheSettings,
    ClusterSettings,
    Configuration,
    Settings,
    configure,
    environment,
)
from hotrod_codec.marshallers import BYTES, JSON, TEXT

SECRET = "tr0ub4dor"


def made(**settings: Unpack[Settings]) -> Configuration:
    """As a client makes it from its keywords, and without an environment."""
    return configure(settings=settings, variables={})


def test_defaults() -> None:
    c = Configuration()
    assert c.addresses == (("127.0.0.1", 11222),)
    assert c.protocol_version is None
    assert c.client_intelligence is Intelligence.HASH_DISTRIBUTION_AWARE
    assert (c.key_marshaller, c.value_marshaller) == (TEXT, TEXT)
    assert not c.tls
    assert c.make_ssl_context() is None
    assert (c.caches, c.clusters) == ({}, {})


def test_the_typed_keywords_are_the_fields() -> None:
    """Settings, which type checkers read, and Configuration have the same names."""
    assert list(Settings.__annotations__) == [each.name for each in fields(Configuration)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a", [("a", 11222)]),
        ("a:1", [("a", 1)]),
        (("a", 1), [("a", 1)]),
        ("a:1,b:2", [("a", 1), ("b", 2)]),
        ("a:1; b:2;", [("a", 1), ("b", 2)]),
        (["a", ("b", 2)], [("a", 11222), ("b", 2)]),
        ("[::1]:5", [("::1", 5)]),
        ("[::1]", [("::1", 11222)]),
        ("fe80::1", [("fe80::1", 11222)]),
    ],
)
def test_addresses(given: Any, expected: list[tuple[str, int]]) -> None:
    assert list(made(addresses=given).addresses) == expected


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("addresses", "a:99999", "99999 is no port; 1 to 65535 are"),
        ("addresses", "a:", "no port after the colon"),
        ("addresses", "[::1", "expected '[address]:port'"),
        ("addresses", "a:x1", "'x1' is no port"),
        ("addresses", "a:²", "is no port"),
        ("addresses", [], "at least one address"),
        ("addresses", 5, "expected addresses, got int"),
        ("addresses", [5], "expected 'host:port' or (host, port), got int"),
        ("addresses", "a b", "is no host"),
        ("protocol_version", "5.0", "'auto' and 1.0, 1.1"),
        ("protocol_version", 5, "'auto' and 1.0, 1.1"),
        ("client_intelligence", "clever", "basic, topology_aware, hash_distribution_aware"),
        ("client_intelligence", 4, "basic, topology_aware, hash_distribution_aware"),
        ("client_intelligence", True, "basic, topology_aware, hash_distribution_aware"),
        ("connect_timeout", 0, "more than 0 and up to"),
        ("connect_timeout", float("inf"), "more than 0 and up to"),
        ("connect_timeout", float("nan"), "more than 0 and up to"),
        ("request_timeout", "2", "expected seconds (a number or a timedelta), got str"),
        ("request_timeout", 1e10, "more than 0 and up to 4294967296 are valid"),
        ("operation_timeout", timedelta(0), "more than 0 and up to"),
        ("max_retries", -1, "0 or more is valid"),
        ("max_retries", 1.0, "expected int, got float"),
        ("max_connections", 0, "1 or more is valid"),
        ("batch_size", 2**31, "1 to 2147483647 is valid"),
        ("tls", "yes", "expected bool, got str"),
        ("key_marshaller", "pickle", "text, bytes, json, protostream and media types"),
        ("key_marshaller", 5, "expected a name or a Marshaller"),
        ("value_marshaller", "application/x-jdk-serialization", "value_marshaller"),
        ("sasl_mechanisms", "SCRAM-SHA-3", "SCRAM-SHA-512"),
        ("sasl_mechanisms", [], "SCRAM-SHA-512"),
        ("username", "", "expected text, got nothing"),
        ("trust_file", 5, "expected a path, got int"),
        ("limits", 5, "expected Limits, got int"),
        ("password", 5, "expected text, got int"),
        ("ssl_context", 5, "expected ssl.SSLContext, got int"),
        ("balancer", 5, "expected a callable"),
        ("address_map", 5, "expected a mapping or a callable"),
        ("clusters", "x", "expected a mapping by name"),
        ("clusters", {"x": "a:0"}, "clusters['x']: addresses: 0 is no port"),
        ("caches", {"x": {"force_returns": True}}, "did you mean force_return?"),
        ("caches", {"x": {"template": "t", "configuration": "c"}}, "only one of them"),
        ("trace_context", "jaeger", "'jaeger'; 'opentelemetry' and a callable are valid"),
        ("caches", {"x": {"near_cache": -1}}, "near_cache: -1; 0 or more is valid"),
        ("caches", {"x": {"near_cache": "all"}}, "near_cache: expected int, got str"),
        ("password", SECRET, "needs username"),
        ("client_key", "k.pem", "needs client_certificate"),
    ],
)
def test_a_mistake_is_named_with_what_is_valid(name: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Configuration(**{name: value})
    assert name in str(caught.value)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        configure(settings={"max_retries": -1, "connect_timeout": 0, "tls": 1})
    for name in ("max_retries", "connect_timeout", "tls"):
        assert f"{name}: " in str(caught.value)


def test_tracing_without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    for name in [name for name in sys.modules if name.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigurationError, match=r"pip install hotrod-codec\[opentelemetry\]"):
        made(trace_context="opentelemetry")


def test_opentelemetry_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys\n"
        "from hotrod_codec import Client\n"
        "Client()\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
        "Client(trace_context='opentelemetry')\n"
        "assert 'opentelemetry' in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == 0


@pytest.mark.parametrize(
    ("given", "kept"), [(None, None), (True, UNBOUNDED), (False, 0), (0, 0), (100, 100)]
)
def test_near_caches(given: bool | int | None, kept: int | None) -> None:
    assert made(caches={"a": {"near_cache": given}}).cache("a").near_cache == kept


def test_an_unknown_setting_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="conect_timeout: no such setting; did you mean"):
        configure(settings={"conect_timeout": 1})
    with pytest.raises(ConfigurationError, match="known: addresses, "):
        configure(settings={"zzzzzz": 1})


def test_values_are_kept_in_one_form() -> None:
    c = made(
        protocol_version="2.9",
        client_intelligence="basic",
        connect_timeout=timedelta(milliseconds=1500),
        key_marshaller="bytes",
        value_marshaller="application/json",
        sasl_mechanisms="PLAIN",
        address_map={("10.0.0.1", 11222): ("127.0.0.1", 31222)},
        clusters={"nyc": "n:1", "lon": {"addresses": "l", "client_intelligence": 1}},
        caches={"a*": {"force_return": True}, "ab": CacheSettings(force_return=False)},
    )
    assert c.protocol_version is Version.V2_9
    assert c.client_intelligence is Intelligence.BASIC
    assert c.connect_timeout == 1.5
    assert c.key_marshaller is BYTES
    assert c.value_marshaller.media_type == JSON.media_type
    assert c.sasl_mechanisms == ("PLAIN",)
    assert c.address_map == {("10.0.0.1", 11222): ("127.0.0.1", 31222)}
    assert c.clusters["nyc"] == ClusterSettings(addresses=(ServerAddress("n", 1),))
    assert c.clusters["lon"].client_intelligence is Intelligence.BASIC
    assert c.cache("ab").force_return is False
    assert c.cache("abc").force_return is True
    assert c.cache("b").force_return is None


@pytest.mark.parametrize(
    "settings",
    [
        {"trust_file": "ca.pem"},
        {"client_certificate": "c.pem"},
        {"sni_host_name": "name"},
        {"tls_ciphers": "HIGH"},
        {"ssl_context": ssl.create_default_context()},
    ],
)
def test_tls_settings_switch_it_on(settings: dict[str, Any]) -> None:
    assert Configuration(**settings).tls


def test_a_context_excludes_files() -> None:
    with pytest.raises(ConfigurationError, match="ssl_context: excludes trust_file"):
        made(ssl_context=ssl.create_default_context(), trust_file="ca.pem")


def test_tls_is_safe_by_default() -> None:
    context = made(tls=True).make_ssl_context()
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_hostname_validation_can_be_left_out_and_nothing_else() -> None:
    context = made(tls=True, hostname_validation=False).make_ssl_context()
    assert context is not None
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("name", ["trust_file", "client_certificate"])
def test_unreadable_files_are_named(name: str, tmp_path: Any) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(ConfigurationError, match=f"{name}: .*missing.pem: No such file"):
        Configuration(**{name: missing}).make_ssl_context()
    missing.write_text("not PEM")
    with pytest.raises(ConfigurationError, match=f"{name}: .*missing.pem: "):
        Configuration(**{name: missing}).make_ssl_context()


def test_bad_ciphers_are_named() -> None:
    with pytest.raises(ConfigurationError, match="tls_ciphers: "):
        made(tls_ciphers="NONSENSE").make_ssl_context()


def test_what_comes_first(tmp_path: Any) -> None:
    path = tmp_path / "hotrod-client.properties"
    path.write_text(
        "infinispan.client.hotrod.server_list = file:1\n"
        "infinispan.client.hotrod.max_retries = 1\n"
        "infinispan.client.hotrod.batch_size = 1\n"
    )
    c = configure(
        "hotrod://uri:2?max_retries=2&connect_timeout=2s",
        properties=path,
        settings={"connect_timeout": 3},
        variables={"HOTROD_USERNAME": "env", "HOTROD_PASSWORD": SECRET},
    )
    assert c.addresses == (("uri", 2),)
    assert (c.max_retries, c.batch_size, c.connect_timeout) == (2, 1, 3.0)
    assert (c.username, c.password) == ("env", SECRET)


def test_the_environment_s_password_is_for_its_user_only() -> None:
    variables = {"HOTROD_USERNAME": "env", "HOTROD_PASSWORD": SECRET}
    c = configure(settings={"username": "env"}, variables=variables)
    assert c.password == SECRET
    c = configure(settings={"username": "other"}, variables=variables)
    assert c.password is None
    c = configure(settings={"username": "other"}, variables={"HOTROD_PASSWORD": SECRET})
    assert c.password == SECRET
    c = configure(settings={"token": "t"}, variables=variables)
    assert (c.username, c.password) == (None, None)
    assert environment({"HOTROD_PASSWORD": "", "HOTROD_TOKEN": "t"}) == {"token": "t"}


def test_configuration_needs_no_sockets() -> None:
    code = (
        "import sys, hotrod_codec.client.config, hotrod_codec.client.uri, "
        "hotrod_codec.client.properties;"
        "print(sorted({'ssl', 'asyncio', 'socket'} & sys.modules.keys()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert out.stdout.strip() == "[]", out.stderr


def test_every_setting_says_what_it_means() -> None:
    for each in fields(Configuration):
        assert each.metadata["doc"].endswith((".", "`.")), each.name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("josn", "'josn'; text, bytes, json, protostream and media types are valid"),
        ("x/y", "there is no marshaller for this"),
        (5, "expected a name or a Marshaller .*, got int"),
    ],
)
def test_marshallers_that_are_none(given: Any, said: str) -> None:
    """In settings and in calls."""
    with pytest.raises(ConfigurationError, match=said):
        Configuration(key_marshaller=given)
    with Client() as client:
        for arguments in ({"keys": given}, {"values": given}):
            with pytest.raises(ValueError, match=said):
                client.cache(**arguments)
            with pytest.raises(ValueError, match=said):
                client.cache().with_marshallers(**arguments)
