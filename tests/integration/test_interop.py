"""The Java client and the JavaScript client: against the embedded server, and beside our client
on a real one, where each reads what the others wrote."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hotrod_codec import (
    CounterConfiguration,
    EmbeddedServer,
    Op,
    ServerAddress,
    Version,
    protostream,
    segment_of,
)
from hotrod_codec.client import Client, EventKind
from hotrod_codec.server.handler import Handler
from integration import foreign
from integration.clusters import told
from integration.conftest import Servers
from integration.embedded import CERTIFICATES, EMBEDDED, Embedded
from integration.foreign import Foreign, ForeignClient, ForeignError
from integration.infinispan import PASSWORD, STORE_PASSWORD, USER, make_key, run_tool
from integration.outcomes import Outcomes
from integration.peers import Peer, Target

JAVA_VERSIONS = ("3.0", "3.1", "4.0", "4.1")
# It has classes for 2.2, 2.5 and 2.9 as well, with less and less in them.
JAVASCRIPT_VERSIONS = ("2.2", "2.9", "3.0", "3.1", "4.0", "4.1", "auto")

SERVER_NAME = "hotrod-codec"
LUCK = "Gl\u00fcck \U0001f340"
ONE, THREE, GUARDED = "one", "three", "guarded"
SETUPS: dict[str, dict[str, Any]] = {
    ONE: {},
    THREE: {"nodes": 3},
    GUARDED: {"nodes": 3, "auth": True},
}


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    with foreign.java(tmp_path_factory.mktemp("java") / "errors") as process:
        yield process


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    with foreign.javascript(tmp_path_factory.mktemp("javascript") / "errors") as process:
        yield process


@pytest.fixture(scope="module")
def embedded_servers() -> Iterator[dict[str, Embedded]]:
    servers = {setup: Embedded(**arguments) for setup, arguments in SETUPS.items()}
    for server in servers.values():
        server.start()
    yield servers
    for server in servers.values():
        server.stop()


@pytest.fixture(params=SETUPS)
def setup(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def embedded(setup: str, embedded_servers: dict[str, Embedded]) -> Embedded:
    return embedded_servers[setup]


@pytest.fixture(params=JAVA_VERSIONS)
def java_version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def connect_java(
    process: Foreign, addresses: list[tuple[str, int]], *, guarded: bool = False, **more: str
) -> ForeignClient:
    properties: dict[str, object] = {
        "server_list": ";".join(f"{host}:{port}" for host, port in addresses),
        "connect_timeout": 20_000,
        "socket_timeout": 20_000,
        "max_retries": 1,
    }
    if guarded:
        properties |= {
            "use_auth": "true",
            "sasl_mechanism": "SCRAM-SHA-256",
            "auth_username": USER,
            "auth_password": PASSWORD,
            "auth_realm": "default",
            "auth_server_name": SERVER_NAME,
        }
    return process.connect(properties=properties | more)


@pytest.fixture
def java_client(
    java: Foreign, embedded: Embedded, setup: str, java_version: str
) -> Iterator[ForeignClient]:
    with connect_java(
        java, embedded.addresses, guarded=setup == GUARDED, protocol_version=java_version
    ) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A name, or the beginning of keys, that nobody else uses."""
    return secrets.token_hex(6)


# ------------------------------------------------------------------ Java, the embedded server


def text(value: str) -> list[Any]:
    return ["string", value]


class Form(NamedTuple):
    """A cache, the form of keys and values there, and some of both."""

    cache: str
    format: str
    key: list[Any]
    values: list[list[Any]]

    @property
    def where(self) -> dict[str, str]:
        return {"cache": self.cache, "format": self.format}


def forms(name: str) -> list[Form]:
    words = [text(LUCK), text("two")]
    raw = [["bytes", "00ff80"], ["bytes", "7b"]]
    return [
        Form("text", "text", text(name), words),
        Form("octets", "text", text(name), words),
        Form("proto", "text", text(name + "t"), words),
        Form("json", "json", text(json.dumps(name)), [text('{"a":[1,"x"]}'), text("5")]),
        Form("octets", "bytes", ["bytes", name + "00"], raw),
        Form("", "bytes", ["bytes", name + "01"], raw),
        Form("proto", "protostream", text(name), words),
        Form("proto", "protostream", ["bytes", name], raw),
        Form("proto", "protostream", text(name + "i"), [["int", -5], ["long", 2**40]]),
        Form("proto", "protostream", ["int", int(name[:6], 16)], [["bool", True], ["double", 0.5]]),
        Form("objects", "protostream", text(name), words),
    ]


def test_java_one_key(java_client: ForeignClient, name: str) -> None:
    for form in forms(name):
        do, key, (one, two) = java_client, form.key, form.values
        on: dict[str, Any] = form.where | {"key": key}
        assert do("get", **on) is None
        assert not do("contains", **on)
        assert do("replace", value=one, **on) is None
        assert do("put", value=one, **on) is None
        assert do("get", **on) == one
        assert do("contains", **on)
        assert do("put", value=two, previous=True, **on) == one
        assert do("put_if_absent", value=one, previous=True, **on) == two
        assert do("replace", value=one, previous=True, **on) == two
        assert do("get", **on) == one
        assert do("remove", previous=True, **on) == one
        assert do("remove", previous=True, **on) is None
        assert do("put_if_absent", value=two, previous=True, **on) is None
        assert do("get", **on) == two
        do("remove", **on)


def test_java_versions_and_expiration(java_client: ForeignClient, name: str) -> None:
    do = java_client
    for form in forms(name):
        (one, two), on = form.values, form.where | {"key": form.key}
        assert do("get_with_metadata", **on) is None
        do("put", value=one, lifespan=100, max_idle=50, **on)
        first = do("get_with_metadata", **on)
        assert (first["value"], first["lifespan"], first["max_idle"]) == (one, 100, 50)
        assert not do("replace_with_version", value=two, version=first["version"] + 1, **on)
        assert do("replace_with_version", value=two, version=first["version"], **on)
        second = do("get_with_metadata", **on)
        assert (second["value"], second["lifespan"], second["max_idle"]) == (two, -1, -1)
        assert not do("remove_with_version", version=first["version"], **on)
        assert do("remove_with_version", version=second["version"], **on)
        assert do("get", **on) is None


def test_java_many_keys(java_client: ForeignClient) -> None:
    do, cache = java_client, "proto"
    do("clear", cache=cache)
    entries = [[["int", i], text(f"v{i}")] for i in range(200)]
    do("put_all", cache=cache, entries=entries)
    assert do("size", cache=cache) == 200
    asked = [["int", i] for i in range(150, 250)]
    assert sorted(do("get_all", cache=cache, keys=asked)) == entries[150:]
    assert sorted(do("iterate", cache=cache, batch=7)) == entries
    described = do("iterate_with_metadata", cache=cache, batch=1000)
    assert sorted([key, found["value"]] for key, found in described) == entries
    assert sorted(do("keys", cache=cache)) == [key for key, _ in entries]
    do("clear", cache=cache)
    assert do("size", cache=cache) == 0
    assert do("iterate", cache=cache) == []


@pytest.mark.parametrize("cache", ["text", "proto"])
def test_java_listeners(
    java_client: ForeignClient, embedded: Embedded, name: str, cache: str
) -> None:
    do = java_client
    on: dict[str, Any] = {"cache": cache, "format": {"text": "text"}.get(cache, "protostream")}
    key = text(name)
    do("clear", **on)
    do("listen", listener=name, **on)
    do("put", key=key, value=text("one"), **on)
    created = do("get_with_metadata", key=key, **on)["version"]
    do("put", key=key, value=text("two"), **on)
    modified = do("get_with_metadata", key=key, **on)["version"]
    do("remove", key=key, **on)
    do("put", key=key, value=text("short"), lifespan=5, **on)
    embedded.advance(6)
    assert do("get", key=key, **on) is None
    events = do("events", listener=name, count=5, **on)
    assert [event[:2] for event in events] == [
        [kind, key] for kind in ("created", "modified", "removed", "created", "expired")
    ]
    assert [event[2] for event in events[:2]] == [created, modified]
    do("unlisten", listener=name, **on)

    keys = [text(f"{name} {i}") for i in range(20)]
    do("put_all", entries=[[key, text("v")] for key in keys], **on)
    do("listen", listener=name, state=True, **on)
    events = do("events", listener=name, count=20, **on)
    assert sorted(event[1] for event in events) == sorted(keys)
    assert {event[0] for event in events} == {"created"}
    do("unlisten", listener=name, **on)


def test_java_counters(java_client: ForeignClient, name: str) -> None:
    do = java_client
    strong: dict[str, Any] = {"counter": name}
    assert not do("counter_is_defined", **strong)
    assert do("counter_define", type="UNBOUNDED_STRONG", initial=5, **strong)
    assert not do("counter_define", type="UNBOUNDED_STRONG", initial=6, **strong)
    assert do("counter_is_defined", **strong)
    assert name in do("counter_names")
    assert do("counter_get", **strong) == 5
    do("counter_listen", **strong)
    assert do("counter_add", value=-8, **strong) == -3
    assert do("counter_events", count=1) == [[5, -3, "VALID"]]
    assert do("counter_swap", expected=-3, value=2**62, **strong) == -3
    assert do("counter_swap", expected=-3, value=1, **strong) == 2**62
    assert do("counter_set", value=7, **strong) == 2**62
    do("counter_reset", **strong)
    assert do("counter_get", **strong) == 5
    assert len(do("counter_events", count=3)) == 3

    bounded: dict[str, Any] = {"counter": name + "b"}
    assert do("counter_define", type="BOUNDED_STRONG", initial=5, lower=0, upper=10, **bounded)
    assert do("counter_configuration", **bounded) == ["BOUNDED_STRONG", 5, 0, 10, "VOLATILE"]
    with pytest.raises(ForeignError, match="Upper bound reached"):
        do("counter_add", value=6, **bounded)
    with pytest.raises(ForeignError, match="Lower bound reached"):
        do("counter_add", value=-100, **bounded)

    weak: dict[str, Any] = {"counter": name + "w"}
    assert do("counter_define", type="WEAK", initial=1, **weak)
    do("counter_weak_add", value=4, **weak)
    assert do("counter_weak_get", **weak) == 5

    do("counter_remove", **strong)
    assert do("counter_get", **strong) == 5  # begins anew


def test_java_multimaps(java_client: ForeignClient, name: str) -> None:
    do, on = java_client, {"cache": "multimap", "key": text(name)}
    before = do("multimap_size", cache="multimap")
    for value in ("one", "two", "one"):
        do("multimap_put", value=text(value), **on)
    assert sorted(do("multimap_get", **on)) == [text("one"), text("two")]
    assert do("multimap_size", cache="multimap") == before + 2
    assert do("multimap_contains", value=text("two"), **on)
    assert do("multimap_remove", value=text("two"), **on)
    assert not do("multimap_contains", value=text("two"), **on)
    assert do("multimap_remove", **on)
    assert do("multimap_get", **on) == []


@pytest.mark.parametrize("java_version", ["4.1"], indirect=True)
def test_java_streams(java_client: ForeignClient, name: str) -> None:
    do, on = java_client, {"cache": "octets", "format": "bytes", "key": ["bytes", name]}
    value = ["bytes", secrets.token_hex(100_000)]
    do("stream_put", value=value, **on)
    assert do("stream_get", **on) == value
    assert do("get", **on) == value


def test_java_creates_caches(java_client: ForeignClient, name: str) -> None:
    do, on = java_client, {"cache": name, "format": "text"}
    with pytest.raises(ForeignError, match="no such cache"):
        do("get", key=text("k"), **on)
    configuration = '<replicated-cache><encoding media-type="text/plain"/></replicated-cache>'
    do("admin_create", configuration=configuration, **on)
    assert name in do("admin_names")
    do("put", key=text("k"), value=text("v"), **on)
    assert do("get", key=text("k"), **on) == text("v")
    do("admin_remove", **on)
    assert name not in do("admin_names")


def test_java_speaks_the_version_that_it_was_told(
    java_client: ForeignClient, java_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    handle = Handler.handle

    def watched(handler: Handler, session: Any, request: Any) -> bytes:
        seen.add((request.op, request.version))
        return handle(handler, session, request)

    monkeypatch.setattr(Handler, "handle", watched)
    java_client("get", cache="text", format="text", key=text("k"))
    major, minor = java_version.split(".")
    assert (Op.GET, Version(int(major) * 10 + int(minor))) in seen


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-512", "DIGEST-MD5", "PLAIN"])
def test_java_mechanisms(
    java: Foreign, embedded_servers: dict[str, Embedded], mechanism: str, name: str
) -> None:
    addresses = embedded_servers[GUARDED].addresses
    with connect_java(java, addresses, guarded=True, sasl_mechanism=mechanism) as client:
        client("put", cache="text", format="text", key=text(name), value=text("v"))
        assert client("get", cache="text", format="text", key=text(name)) == text("v")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"auth_password": "guess"}, "ISPN004077: Closing channel"),
        ({"sasl_mechanism": "EXTERNAL"}, "ISPN004077: Closing channel"),
        ({"use_auth": "false"}, "ISPN006017: Operation 'GET' requires authentication"),
    ],
    ids=["password", "mechanism", "nothing"],
)
def test_java_has_to_log_in(
    java: Foreign, embedded_servers: dict[str, Embedded], wrong: dict[str, str], message: str
) -> None:
    addresses = embedded_servers[GUARDED].addresses
    with (
        connect_java(java, addresses, guarded=True, **wrong) as client,
        pytest.raises(ForeignError, match=message),
    ):
        client("get", cache="text", format="text", key=text("k"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what Java and JavaScript need for TLS: whom to trust, and a key of one's own,
    with a certificate that names USER."""
    folder = tmp_path_factory.mktemp("keys")
    store = ("-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-noprompt")
    trusted = str(CERTIFICATES / "ca.pem")
    for name, file in (("trust", trusted), ("client", str(make_key(folder, "client", USER)))):
        target = str(folder / f"{name}-trust.pfx")
        run_tool(
            "keytool", "-importcert", "-file", file, "-alias", name, "-keystore", target, *store
        )
    return folder


@pytest.fixture(scope="module")
def encrypted(keys: Path) -> Iterator[dict[bool, EmbeddedServer]]:
    """Servers that speak TLS: one takes passwords, and one certificates."""
    common: dict[str, Any] = {"caches": {"text": "text/plain"}, "server_name": SERVER_NAME}
    tls = str(CERTIFICATES / "server.pem")
    with (
        EmbeddedServer(tls=tls, users={USER: PASSWORD}, **common) as by_password,
        EmbeddedServer(
            tls=tls, client_ca=str(keys / "client.pem"), mechanisms=["EXTERNAL"], **common
        ) as by_certificate,
    ):
        yield {False: by_password, True: by_certificate}


def java_tls(keys: Path, *, certificate: bool) -> dict[str, str]:
    properties = {
        "use_ssl": "true",
        "sni_host_name": "localhost",
        "trust_store_file_name": str(keys / "trust-trust.pfx"),
        "trust_store_type": "PKCS12",
        "trust_store_password": STORE_PASSWORD,
    }
    if certificate:
        properties |= {
            "key_store_file_name": str(keys / "client.pfx"),
            "key_store_type": "PKCS12",
            "key_store_password": STORE_PASSWORD,
        }
    return properties


@pytest.mark.parametrize(
    "mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "DIGEST-MD5", "PLAIN", "EXTERNAL"]
)
def test_java_over_tls(
    java: Foreign,
    keys: Path,
    encrypted: dict[bool, EmbeddedServer],
    java_version: str,
    mechanism: str,
    name: str,
) -> None:
    by_certificate = mechanism == "EXTERNAL"
    server = encrypted[by_certificate]
    on: dict[str, Any] = {"cache": "text", "format": "text"}
    entries = [[text(f"{name} {i}"), text(LUCK)] for i in range(50)]
    more = java_tls(keys, certificate=by_certificate) | {"protocol_version": java_version}
    with connect_java(java, [server.address], guarded=True, sasl_mechanism=mechanism, **more) as do:
        do("clear", **on)
        do("put_all", entries=entries, **on)
        assert do("get", key=entries[0][0], **on) == text(LUCK)
        assert sorted(do("iterate", batch=9, **on)) == sorted(entries)


def test_java_checks_certificates_and_so_does_the_server(
    java: Foreign, keys: Path, encrypted: dict[bool, EmbeddedServer]
) -> None:
    strangers = java_tls(keys, certificate=False) | {
        "trust_store_file_name": str(keys / "client-trust.pfx")
    }
    nobody = java_tls(keys, certificate=False)
    for server, more in ((encrypted[False], strangers), (encrypted[True], nobody)):
        with (
            connect_java(java, [server.address], guarded=True, max_retries="0", **more) as do,
            pytest.raises(ForeignError),
        ):
            do("get", cache="text", format="text", key=text("k"))


@pytest.mark.parametrize("cache", ["octets", "segments20", "replicated"])
def test_java_asks_the_owner(
    java: Foreign, embedded_servers: dict[str, Embedded], java_version: str, cache: str, name: str
) -> None:
    addresses = embedded_servers[THREE].addresses
    keys = [f"{name}{i:04x}" for i in range(150)]
    target = Target(EMBEDDED, Version.V2_9)

    def hits(port: int) -> int:
        with Peer(("127.0.0.1", port), target, Outcomes().sightings) as peer:
            return int(peer.call(Op.STATS, cache=cache)["stats"]["hits"])

    with Peer(addresses[0], target, Outcomes().sightings) as peer:
        topology = told(peer, cache=cache)
    assert topology.segment_owners
    expected = dict.fromkeys((port for _, port in addresses), 0)
    for key in keys:
        segment = segment_of(bytes.fromhex(key), len(topology.segment_owners))
        expected[topology.servers[topology.segment_owners[segment][0]].port] += 1
    assert all(expected.values())

    on: dict[str, Any] = {"cache": cache, "format": "bytes"}
    with connect_java(java, addresses[:1], protocol_version=java_version) as client:
        assert len(client("topology", **on)) == 3
        for key in keys:
            client("put", key=["bytes", key], value=["bytes", "00"], **on)
        before = {port: hits(port) for port in expected}
        for key in keys:
            assert client("get", key=["bytes", key], **on) == ["bytes", "00"]
    assert {port: hits(port) - before[port] for port in expected} == expected


def test_java_goes_on_when_nodes_die_and_join(java: Foreign, java_version: str) -> None:
    on: dict[str, Any] = {"cache": "users", "format": "text"}
    entries = [[text(f"k{i}"), text(f"v{i}")] for i in range(100)]
    with EmbeddedServer(nodes=3, caches={"users": "text/plain"}) as server:
        addresses = [(host, port) for host, port in server.addresses]
        with connect_java(
            java, addresses, protocol_version=java_version, max_retries="5"
        ) as client:
            client("put_all", entries=entries, **on)
            server.kill_node(1)
            for key, value in entries:
                assert client("get", key=key, **on) == value
            assert len(client("topology", **on)) == 2
            server.start_node(1)
            assert sorted(client("iterate", batch=9, **on)) == sorted(entries)
            assert len(client("topology", **on)) == 3


# ------------------------------------------------------------------ JavaScript, the same


def connect_javascript(
    process: Foreign,
    addresses: list[tuple[str, int]],
    cache: str,
    version: str = "auto",
    *,
    guarded: bool = False,
    form: str = "text/plain",
    **more: Any,
) -> ForeignClient:
    options: dict[str, Any] = {
        "version": version,
        "cacheName": cache,
        "dataFormat": {"keyType": form, "valueType": form},
    }
    if guarded:
        options["authentication"] = {
            "enabled": True,
            "saslMechanism": "SCRAM-SHA-256",
            "userName": USER,
            "password": PASSWORD,
            "serverName": SERVER_NAME,
        }
    servers = [{"host": host, "port": port} for host, port in addresses]
    return process.connect(servers=servers, options=options | more)


class JavaScript:
    """Connects the JavaScript client to the server under test."""

    def __init__(
        self, process: Foreign, embedded: Embedded, version: str, *, guarded: bool
    ) -> None:
        self._process = process
        self._guarded = guarded
        self.version = version
        self.embedded = embedded

    def connect(self, cache: str, form: str = "text/plain") -> ForeignClient:
        return connect_javascript(
            self._process,
            self.embedded.addresses,
            cache,
            self.version,
            guarded=self._guarded,
            form=form,
        )

    def has(self, since: str) -> bool:
        return self.version == "auto" or self.version >= since


def scripts(*versions: str) -> list[tuple[str, str]]:
    """Setups and versions, but for 2.2, where it cannot log in, on a guarded server."""
    pairs = [(setup, version) for setup in SETUPS for version in versions]
    return [pair for pair in pairs if pair != (GUARDED, "2.2")]


@pytest.fixture(params=scripts(*JAVASCRIPT_VERSIONS), ids="-".join)
def script(
    request: pytest.FixtureRequest, javascript: Foreign, embedded_servers: dict[str, Embedded]
) -> JavaScript:
    setup, version = request.param
    return JavaScript(javascript, embedded_servers[setup], version, guarded=setup == GUARDED)


def test_javascript_one_key(script: JavaScript, name: str) -> None:
    lasting = {"lifespan": "100s", "maxIdle": "50s"}
    previous = {"previous": True}
    value = LUCK
    with script.connect("text") as do:
        if script.version == "auto":
            assert do("version") == "4.1"
        assert do("get", key=name) is None
        assert not do("contains", key=name)
        assert not do("replace", key=name, value=value)
        do("put", key=name, value=value, options=lasting)
        assert do("get", key=name) == value
        assert not do("put_if_absent", key=name, value="other")
        first = do("get_with_metadata", key=name)
        assert (first["value"], first["lifespan"], first["maxIdle"]) == (value, 100, 50)
        assert not do("replace_with_version", key=name, value="two", version="00" * 8)
        assert do("replace_with_version", key=name, value="two", version=first["version"])
        assert not do("remove_with_version", key=name, version=first["version"])
        old = do("put", key=name, value="three", options=previous)
        assert (old if isinstance(old, str) else old["value"]) == "two"
        second = do("get_with_metadata", key=name)
        assert (second["value"], second["lifespan"]) == ("three", -1)
        assert do("remove_with_version", key=name, version=second["version"])
        assert not do("remove", key=name)


def test_javascript_many_keys(script: JavaScript) -> None:
    with script.connect("text") as do:
        do("clear")
        entries = {f"k{i}": f"v{i}" for i in range(100)}
        do("put_all", entries=[{"key": key, "value": value} for key, value in entries.items()])
        assert do("size") == 100
        found = do("get_all", keys=["k1", "k99", "k100"])
        assert {one["key"]: one["value"] for one in found} == {"k1": "v1", "k99": "v99"}
        if script.has("2.5"):
            for metadata in (False, True):
                found = do("iterate", batch=7, metadata=metadata)
                assert len(found) == 100
                assert {one["key"]: one["value"] for one in found} == entries
                assert all(bool(one.get("version")) == metadata for one in found)
        do("clear")
        assert do("size") == 0


def test_javascript_listeners(script: JavaScript, name: str) -> None:
    with script.connect("text") as do:
        do("listen", listener=name)
        versions = []
        for value in ("one", "two"):
            do("put", key=name, value=value)
            versions.append(do("get_with_metadata", key=name)["version"])
        do("remove", key=name)
        do("put", key=name, value="short", options={"lifespan": "5s"})
        script.embedded.advance(6)
        assert do("get", key=name) is None
        events = do("events", listener=name, count=5)
        kinds = ["created", "modified", "removed", "created", "expired"]
        assert [event[:2] for event in events] == [[kind, name] for kind in kinds]
        assert [event[2] for event in events[:2]] == versions
        assert do("unlisten", listener=name)


@pytest.mark.parametrize("script", scripts("3.1", "4.1"), ids="-".join, indirect=True)
def test_javascript_counters_and_multimaps(script: JavaScript, name: str) -> None:
    with script.connect("multimap") as do:
        counter: dict[str, Any] = {"counter": name}
        configuration = {"type": "strong", "initialValue": 5, "storage": "volatile"}
        assert not do("counter_is_defined", **counter)
        assert do("counter_define", configuration=configuration, **counter)
        assert do("counter_configuration", **counter) == configuration
        assert do("counter_add", value=-8, **counter) == -3
        assert do("counter_set", value=9, **counter) == -3
        assert do("counter_swap", expected=9, value=11, **counter) == 9
        assert do("counter_get", **counter) == 11
        assert do("counter_reset", **counter)
        assert do("counter_get", **counter) == 5
        assert do("counter_remove", **counter)

        before = do("multimap_size")
        for value in ("one", "two", "one"):
            do("multimap_put", key=name, value=value)
        assert sorted(do("multimap_get", key=name)) == ["one", "two"]
        assert do("multimap_size") == before + 2
        assert do("multimap_contains", key=name, value="two")
        assert do("multimap_remove", key=name)
        assert do("multimap_get", key=name) == []


@pytest.mark.parametrize("script", scripts("2.9", "4.1"), ids="-".join, indirect=True)
def test_javascript_objects_are_json(script: JavaScript, name: str) -> None:
    document = {"name": name, "years": [1815, 1852]}
    with script.connect("json", "application/json") as do:
        do("put", key={"id": name}, value=document)
        assert do("get", key={"id": name}) == document


@pytest.mark.parametrize("version", ["2.9", "4.1"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
def test_javascript_over_tls(
    javascript: Foreign,
    encrypted: dict[bool, EmbeddedServer],
    version: str,
    mechanism: str,
    name: str,
) -> None:
    ssl = {
        "enabled": True,
        "secureProtocol": "TLS_method",
        "trustCerts": [str(CERTIFICATES / "ca.pem")],
        "sniHostName": "localhost",
    }
    authentication = {
        "enabled": True,
        "saslMechanism": mechanism,
        "userName": USER,
        "password": PASSWORD,
        "serverName": SERVER_NAME,
    }
    host, port = encrypted[False].address
    with connect_javascript(
        javascript, [(host, port)], "text", version, ssl=ssl, authentication=authentication
    ) as do:
        entries = {f"{name} {i}": LUCK for i in range(50)}
        do("clear")
        do("put_all", entries=[{"key": key, "value": value} for key, value in entries.items()])
        assert do("get", key=f"{name} 1") == LUCK
        assert {one["key"]: one["value"] for one in do("iterate", batch=9)} == entries


def test_javascript_learns_the_topology(script: JavaScript) -> None:
    with script.connect("text") as do:
        do("get", key="k")
        members = {(one["host"], one["port"]) for one in do("topology")}
    assert members == set(script.embedded.addresses)


# ------------------------------------------------------------------ all of them, one server


class Written(NamedTuple):
    """How one value is told to each client."""

    cache: str
    form: str
    python: Any
    java: list[Any]
    javascript: Any = None


Int32, Int64 = protostream.Int32, protostream.Int64

VALUES = [
    Written("text", "text", LUCK, text(LUCK), LUCK),
    Written("octets", "text", "text", text("text"), "text"),
    Written("proto", "text", "text", text("text"), "text"),
    Written("json", "json", {"a": [1, "\u00fc"]}, text('{"a":[1,"\u00fc"]}'), {"a": [1, "\u00fc"]}),
    Written("json", "json", "text", text('"text"'), "text"),
    Written("text", "json", {"a": None}, text('{"a":null}'), {"a": None}),
    Written("octets", "bytes", b"\0\xff\x80", ["bytes", "00ff80"]),
    Written("proto", "bytes", b"\0\xff\x80", ["bytes", "00ff80"]),
    Written("proto", "protostream", LUCK, text(LUCK)),
    Written("proto", "protostream", b"\0\xff", ["bytes", "00ff"]),
    Written("proto", "protostream", Int32(-5), ["int", -5]),
    Written("proto", "protostream", Int64(2**40), ["long", 2**40]),
    Written("proto", "protostream", 2**63 - 1, ["long", 2**63 - 1]),
    Written("proto", "protostream", 0.1, ["double", 0.1]),
    Written("proto", "protostream", True, ["bool", True]),
    Written("objects", "protostream", "text", text("text")),
]


def same(one: Any, other: Any, form: str) -> bool:
    """Whether two values are the same, JSON whatever its spaces."""
    if form == "json":
        return one is not None and json.loads(one[1]) == json.loads(other[1])
    return bool(one == other)


@pytest.fixture(params=["real", "embedded"])
def address(
    request: pytest.FixtureRequest,
    target: Target,
    servers: Servers,
    embedded_servers: dict[str, Embedded],
) -> tuple[str, int]:
    if request.param == "embedded":
        return embedded_servers[ONE].addresses[0]
    return servers.address(target.server)


@pytest.fixture
def python(address: tuple[str, int]) -> Iterator[Client]:
    with Client(addresses=[address]) as client:
        yield client


def java_key(form: str, key: str) -> list[Any]:
    if form == "bytes":
        return ["bytes", key.encode().hex()]
    return text(json.dumps(key) if form == "json" else key)


def python_key(form: str, key: str) -> Any:
    return key.encode() if form == "bytes" else key


def kind_of(one: Written) -> str:
    return f"{one.cache}-{one.form}-{type(one.python).__name__}"


on_real_servers = pytest.mark.versions(newest=True, legacy=False)


@on_real_servers
@pytest.mark.parametrize("one", VALUES, ids=kind_of)
def test_java_reads_what_we_write_and_we_what_java_writes(
    java: Foreign, address: tuple[str, int], python: Client, one: Written, name: str
) -> None:
    cache: Any = python.cache(one.cache, keys=one.form, values=one.form)
    on: dict[str, Any] = {"cache": one.cache, "format": one.form}
    with connect_java(java, [address]) as do:
        key, theirs = python_key(one.form, name), java_key(one.form, name)
        cache.put(key, one.python, lifespan=100)
        found = do("get_with_metadata", key=theirs, **on)
        assert same(found["value"], one.java, one.form)
        mine = cache.get_with_metadata(key)
        assert (found["version"], found["lifespan"]) == (mine.version, 100)

        assert do("replace_with_version", key=theirs, value=one.java, version=mine.version, **on)
        assert not cache.replace_with_version(key, one.python, mine.version)
        assert cache.get(key) == one.python
        assert type(cache.get(key)) is type(mine.value)
        assert cache.remove(key)
        assert do("get", key=theirs, **on) is None

        do("put", key=theirs, value=one.java, lifespan=100, **on)
        found = cache.get_with_metadata(key)
        assert (found.value, found.lifespan) == (one.python, 100)


def check_many(
    java: Foreign, addresses: list[tuple[str, int]], cache: str, form: str, name: str
) -> None:
    """Both write fifty keys; both read and iterate all hundred."""
    ours = [f"{name} ours {i}" for i in range(50)]
    theirs = [f"{name} theirs {i}" for i in range(50)]
    on: dict[str, Any] = {"cache": cache, "format": form}
    with Client(addresses=addresses) as python, connect_java(java, addresses) as do:
        entries: Any = python.cache(cache, keys=form, values=form)
        entries.clear()
        entries.put_all({python_key(form, key): python_key(form, key) for key in ours})
        pairs = [[java_key(form, key), java_key(form, key)] for key in theirs]
        do("put_all", entries=pairs, **on)

        keys = [java_key(form, key) for key in ours]
        expected = [[key, key] for key in keys]
        assert sorted(do("get_all", keys=keys, **on)) == sorted(expected)
        wanted = [python_key(form, key) for key in theirs]
        assert entries.get_all(wanted) == {key: key for key in wanted}

        assert do("size", **on) == entries.size() == 100
        assert sorted(do("iterate", batch=9, **on)) == sorted(expected + pairs)
        mine = [python_key(form, key) for key in ours + theirs]
        assert dict(entries.entries(batch_size=9)) == {key: key for key in mine}


each_form = pytest.mark.parametrize(
    ("cache", "form"),
    [("text", "text"), ("json", "json"), ("octets", "bytes"), ("proto", "protostream")],
)


@on_real_servers
@each_form
def test_java_and_we_write_many(
    java: Foreign, address: tuple[str, int], cache: str, form: str, name: str
) -> None:
    check_many(java, [address], cache, form, name)


@on_real_servers
@each_form
def test_java_and_we_write_many_in_a_cluster(
    java: Foreign, addresses: list[ServerAddress], cache: str, form: str, name: str
) -> None:
    first = addresses[:1]  # both find the others
    check_many(java, [(host, port) for host, port in first], cache, form, name)


@on_real_servers
def test_java_hears_of_our_writes_and_we_of_javas(
    java: Foreign, address: tuple[str, int], python: Client, name: str
) -> None:
    cache = python.cache("text")
    on: dict[str, Any] = {"cache": "text", "format": "text"}
    key = text(name)
    with connect_java(java, [address]) as do:
        do("listen", listener=name, **on)
        cache.put(name, "one")
        cache.put(name, "two")
        cache.remove(name)
        heard = do("events", listener=name, count=3, **on)
        assert [event[:2] for event in heard] == [
            [kind, key] for kind in ("created", "modified", "removed")
        ]
        do("unlisten", listener=name, **on)

        with cache.add_listener() as listener:
            do("put", key=key, value=text("one"), **on)
            version = do("get_with_metadata", key=key, **on)["version"]
            do("remove", key=key, **on)
            created, removed = listener.next(20), listener.next(20)
        assert created is not None
        assert removed is not None
        assert (created.kind, created.key, created.version) == (EventKind.CREATED, name, version)
        assert (removed.kind, removed.key) == (EventKind.REMOVED, name)


@on_real_servers
def test_java_and_we_count_and_collect_together(
    java: Foreign, address: tuple[str, int], python: Client, name: str
) -> None:
    with connect_java(java, [address]) as do:
        counter: dict[str, Any] = {"counter": name}
        bounds = CounterConfiguration(initial=5, lower=0, upper=10)
        assert python.counters.define(name, bounds)
        assert do("counter_configuration", **counter) == ["BOUNDED_STRONG", 5, 0, 10, "VOLATILE"]
        assert do("counter_add", value=2, **counter) == 7
        assert python.counters.get(name).add_and_get(3) == 10
        with pytest.raises(ForeignError, match="Upper bound reached"):
            do("counter_add", value=1, **counter)
        assert do("counter_define", type="WEAK", initial=1, counter=name + "w")
        assert python.counters.get(name + "w").value() == 1
        assert {name, name + "w"} <= python.counters.names()

        collected = python.multimap("multimap", keys="protostream", values="protostream")
        on: dict[str, Any] = {"cache": "multimap", "key": text(name)}
        collected.put(name, "ours")
        do("multimap_put", value=text("theirs"), **on)
        assert sorted(collected.get(name)) == ["ours", "theirs"]
        assert sorted(do("multimap_get", **on)) == [text("ours"), text("theirs")]
        assert do("multimap_remove", value=text("ours"), **on)
        assert collected.get(name) == ["theirs"]
        assert collected.remove(name)
        assert do("multimap_get", **on) == []


@on_real_servers
@pytest.mark.parametrize(
    "one",
    [one for one in VALUES if one.javascript is not None],
    ids=kind_of,
)
def test_javascript_reads_what_we_write_and_we_what_javascript_writes(
    javascript: Foreign, address: tuple[str, int], python: Client, one: Written, name: str
) -> None:
    cache: Any = python.cache(one.cache, keys=one.form, values=one.form)
    form = {"text": "text/plain", "json": "application/json"}[one.form]
    with connect_javascript(javascript, [address], one.cache, form=form) as do:
        cache.put(name, one.python)
        assert do("get", key=name) == one.javascript
        do("put", key=name, value=one.javascript, options={"lifespan": "100s"})
        found = cache.get_with_metadata(name)
        assert (found.value, found.lifespan) == (one.python, 100)
