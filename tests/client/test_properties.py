"""hotrod_codec.client.properties: Java's syntax, and every name that the Java client has."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotrod_codec import ConfigurationError
from hotrod_codec.client.config import Configuration, configure
from hotrod_codec.client.properties import PREFIX, keywords_of, parse_properties, read_properties
from hotrod_codec.client.texts import PROPERTIES, Senseless


def parsed(text: str) -> dict[str, str]:
    return dict(parse_properties(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", {"a": "b"}),
        ("a:b", {"a": "b"}),
        ("a b", {"a": "b"}),
        ("  a  =  b ", {"a": "b "}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("# a=b\n! c=d\n\n \t\n", {}),
        ("a=b#c", {"a": "b#c"}),
        ("a=b \\\n   c", {"a": "b c"}),
        ("a=b\\\r\n c", {"a": "bc"}),
        ("a=b\\\\\nc=d", {"a": "b\\", "c": "d"}),
        ("a\\=b=c", {"a=b": "c"}),
        ("a\\ b=c", {"a b": "c"}),
        ("a\\:b c", {"a:b": "c"}),
        ("a=\\t\\n\\r\\f\\q", {"a": "\t\n\r\fq"}),
        ("a=\\u00e9\\uD83D\\uDE00", {"a": "é😀"}),
        ("a=b\\\n# no comment", {"a": "b# no comment"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=b\\", {"a": "b"}),
        ("= b", {"": "b"}),
        ("a==b", {"a": "=b"}),
    ],
)
def test_syntax(text: str, expected: dict[str, str]) -> None:
    assert parsed(text) == expected


def test_a_broken_escape_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"\\u: expected four hexadecimal digits"):
        parsed("a=\\u12")


def escaped(text: str, *, is_name: bool) -> str:
    """As java.util.Properties.store writes it."""
    out = []
    for i, c in enumerate(text):
        if c in "\t\n\r\f":
            out.append({"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}[c])
        elif c in "=:#!\\" or (c == " " and (is_name or i == 0)):
            out.append("\\" + c)
        elif " " <= c <= "~":
            out.append(c)
        else:
            data = c.encode("utf-16-be")
            out += [f"\\u{data[n : n + 2].hex()}" for n in range(0, len(data), 2)]
    return "".join(out)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(TEXTS, TEXTS))
def test_what_java_writes_is_read(properties: dict[str, str]) -> None:
    text = "".join(
        f"{escaped(name, is_name=True)}={escaped(value, is_name=False)}\n"
        for name, value in properties.items()
    )
    assert parsed(text) == properties


def keywords(text: str, **variables: str) -> dict[str, Any]:
    lines = [PREFIX + line for line in text.splitlines()]
    return keywords_of(parsed("\n".join(lines)), variables)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "hotrod-client.properties"
    path.write_bytes(
        """
        # the Java client's file
        infinispan.client.hotrod.server_list = a:1;b;[::1]:3
        infinispan.client.hotrod.auth_username = Zoë
        infinispan.client.hotrod.auth_password = pw
        infinispan.client.hotrod.sasl_mechanism = SCRAM-SHA-256
        infinispan.client.hotrod.socket_timeout = 5000
        infinispan.client.hotrod.connect_timeout = 2s
        infinispan.client.hotrod.server_failure_timeout = 0
        infinispan.client.hotrod.cluster.nyc = n:1;n2
        infinispan.client.hotrod.cache.users.force_return_values = true
        infinispan.client.hotrod.cache.[a.b].template_name = org.infinispan.DIST_SYNC
        infinispan.client.hotrod.cache.users.marshaller = \\
            org.infinispan.commons.marshall.ProtoStreamMarshaller
        other.thing = ignored
        """.encode("iso-8859-1")
    )
    c = configure(properties=path, variables={})
    assert c.addresses == (("a", 1), ("b", 11222), ("::1", 3))
    assert (c.username, c.password) == ("Zoë", "pw")
    assert (c.request_timeout, c.connect_timeout) == (5.0, 2.0)
    assert c.server_failure_timeout > 3e9  # never, in Java's words
    assert c.clusters["nyc"].addresses == (("n", 1), ("n2", 11222))
    assert c.cache("users").force_return is True
    marshaller = c.cache("users").value_marshaller
    assert marshaller is not None
    assert marshaller.media_type.name == "application/x-protostream"
    assert c.cache("a.b").template == "org.infinispan.DIST_SYNC"


def test_other_properties_override_the_uri() -> None:
    found = keywords("max_retries=1\nuri=hotrod://a:1?max_retries=5&batch_size=7")
    assert (found["max_retries"], found["batch_size"]) == (1, 7)


def test_variables_are_expanded() -> None:
    found = keywords("auth_username=${ME}\nauth_realm=${R:default}\nsni_host_name=${NO}", ME="zoe")
    assert found == {"username": "zoe", "realm": "default", "sni_host_name": "${NO}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mode=INVALIDATED", {"near_cache": True}),
        ("mode=INVALIDATED\nmax_entries=-1", {"near_cache": True}),
        ("max_entries=100\nmode=INVALIDATED", {"near_cache": 100}),
        ("mode=DISABLED\nmax_entries=100", {"near_cache": False}),
        ("max_entries=100", {}),
    ],
)
def test_near_caches(text: str, expected: dict[str, Any]) -> None:
    found = keywords("\n".join(f"cache.x.near_cache.{line}" for line in text.splitlines()))
    assert found == {"caches": {"x": expected}}
    Configuration(**found)


# Values for the names whose text is not free.
SAMPLES = {
    "client_intelligence": "BASIC",
    "protocol_version": "AUTO",
    "marshaller": "org.infinispan.commons.marshall.IdentityMarshaller",
    "key_store_type": "PEM",
    "trust_store_type": "PEM",
    "sasl_mechanism": "SCRAM-SHA-512",
    "server_list": "a:1",
    "uri": "hotrod://a",
    "key_store_password": "x",
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_name_of_the_java_client_is_read_or_said_to_make_no_sense(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    known = PROPERTIES[name]
    value = SAMPLES.get(name, "true" if is_boolean(name) else "1")
    with caplog.at_level(logging.WARNING):
        found = keywords(f"{name}={value}")
    if isinstance(known, Senseless):
        assert found == {}
        assert name in caplog.text
    else:
        assert not caplog.records
        if "password" in found:
            found["username"] = "me"
        Configuration(**found)


def is_boolean(name: str) -> bool:
    return name.startswith(("tcp_", "use_", "force_")) or name in (
        "ssl_hostname_validation",
        "statistics",
    )


def test_what_makes_no_sense_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        keywords(
            "jmx=true\ncache.x.near_cache.bloom_filter=true\nnonsense=1\ncache.x.nonsense=1\n"
            "sasl_properties.x=1\nauth_password=tr0ub4dor\nauth_username=me"
        )
    (record,) = caplog.records
    assert record.name == "hotrod_codec.client.properties"
    said = record.getMessage()
    for name in ("jmx", "cache.x.near_cache.bloom_filter", "nonsense", "cache.x.nonsense"):
        assert name in said
    assert "tr0ub4dor" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_retries=x", "max_retries: 'x': expected a whole number"),
        ("key_store_type=JKS", "key_store_type: 'JKS': only PEM is read"),
        ("key_store_file_name=my.p12", "keystores of Java are not read"),
        ("cache.x.configuration_uri=http://a/b", "only files are read"),
        ("cache.x.configuration_uri=/no/such/file", "No such file"),
        ("cache.x.marshaller=org.example.Own", "has no counterpart"),
        ("cache.x.near_cache.mode=ON", "'ON': expected DISABLED or INVALIDATED"),
        ("cache.x.near_cache.max_entries=x", "expected a whole number"),
        ("uri=http://a", "expected hotrod://"),
    ],
)
def test_a_mistake_is_said(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        keywords(text)
    assert said in str(caught.value)


def test_a_cache_s_definition_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    path.write_text('{"local-cache": {}}')
    found = keywords(f"cache.x.configuration_uri=file://{path}")
    assert found["caches"]["x"] == {"configuration": '{"local-cache": {}}'}


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.properties: No such file"):
        read_properties(tmp_path / "none.properties")
    path = tmp_path / "bad.properties"
    path.write_text(f"{PREFIX}max_retries=x")
    with pytest.raises(ConfigurationError, match=r"bad\.properties: .*max_retries: 'x'"):
        read_properties(path)


def test_the_intelligence_of_a_cluster(tmp_path: Path) -> None:
    """As Infinispan's documentation has it; in any order."""
    file = tmp_path / "hotrod-client.properties"
    name = "infinispan.client.hotrod.cluster"
    lines = [f"{name}.intelligence.NYC=BASIC", f"{name}.NYC=n:1;n2", f"{name}.LON=l"]
    for order in (lines, lines[::-1]):
        file.write_text("\n".join(order))
        clusters = configure(properties=file).clusters
        assert clusters["NYC"].addresses == (("n", 1), ("n2", 11222))
        assert clusters["NYC"].client_intelligence == 1
        assert clusters["LON"].client_intelligence is None
        assert set(clusters) == {"NYC", "LON"}
    file.write_text(lines[0])
    with pytest.raises(ConfigurationError, match=r"intelligence\.NYC: there is no cluster\.NYC"):
        read_properties(file)
