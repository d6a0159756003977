"""Servers, connections and the table of outcomes for the integration tests.

A test that wants `target` runs once for each server and version. Marks narrow that down:

    operation(Op.PUT, ...)            which operations the test is about, for the table; versions
                                      that lack one of them are left out
    each_operation(Op.PUT, ...)       run it once for each of these as `op`, if the version has it
    versions(since=, until=)          only these
    versions(legacy=)                 only (True) or not (False) the 9.4 line
    versions(embedded=)               only (True) or not (False) the embedded server of this package
    versions(newest=True)             of those, only each server's newest, unless run with --full

Tests are sorted so that one server, or one cluster, runs at a time.

`pytest tests/integration` takes real servers unless `--servers` names others. In a run of all
tests, where these are a part only, it is the embedded server: that needs neither Java nor time.
"""

from __future__ import annotations

import faulthandler
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from client.both import KINDS, connect
from client.relay import Relay
from hotrod_codec import Op, ServerAddress, Version
from integration.clusters import NODES, settle
from integration.embedded import EMBEDDED, Embedded
from integration.infinispan import HOST, LEGACY, MODERN, OLDER, Infinispan
from integration.outcomes import Outcomes
from integration.peers import Peer, Target, versions_of
from integration.tokens import introspection_service

RUN = secrets.token_hex(3)
DEADLINE = 240
# Fixtures that want a server, or several, of their own setup.
SETUPS = ("addresses", "guarded", "encrypted", "certified", "token_taker")
# Fixtures that want a client in another language.
FOREIGN = {"java", "javascript"}
OUTCOMES = pytest.StashKey[Outcomes]()
TESTED = pytest.StashKey[set[tuple[Op, Target]]]()

# Which versions have what, beside all versions. Written out: the tests are to find out if the codec
# is wrong.
SINCE = {
    Version.V1_2: "GET_WITH_METADATA BULK_GET_KEYS",
    Version.V1_3: "QUERY",
    Version.V2_0: """
        AUTH_MECH_LIST AUTH ADD_CLIENT_LISTENER REMOVE_CLIENT_LISTENER SIZE
        CACHE_ENTRY_CREATED CACHE_ENTRY_MODIFIED CACHE_ENTRY_REMOVED
    """,
    Version.V2_1: "EXEC PUT_ALL GET_ALL CACHE_ENTRY_EXPIRED",
    Version.V2_3: "ITERATION_START ITERATION_NEXT ITERATION_END",
    Version.V2_6: "GET_STREAM PUT_STREAM",
    Version.V2_7: """
        PREPARE_TX COMMIT_TX ROLLBACK_TX
        COUNTER_CREATE COUNTER_GET_CONFIGURATION COUNTER_IS_DEFINED COUNTER_ADD_AND_GET
        COUNTER_RESET COUNTER_GET COUNTER_CAS COUNTER_ADD_LISTENER COUNTER_REMOVE_LISTENER
        COUNTER_REMOVE COUNTER_GET_NAMES COUNTER
        GET_MULTIMAP GET_MULTIMAP_WITH_METADATA PUT_MULTIMAP REMOVE_KEY_MULTIMAP
        REMOVE_ENTRY_MULTIMAP SIZE_MULTIMAP CONTAINS_ENTRY_MULTIMAP CONTAINS_KEY_MULTIMAP
        CONTAINS_VALUE_MULTIMAP
    """,
    Version.V2_9: "FORGET_TX FETCH_TX_RECOVERY PREPARE_TX_2",
    Version.V3_1: "ADD_BLOOM_FILTER_NEAR_CACHE_LISTENER UPDATE_BLOOM_FILTER COUNTER_GET_AND_SET",
    Version.V4_1: """
        START_GET_STREAM NEXT_GET_STREAM END_GET_STREAM
        START_PUT_STREAM NEXT_PUT_STREAM END_PUT_STREAM
    """,
}
UNTIL = {Version.V4_0: "GET_STREAM PUT_STREAM"}
FIRST = {Op[name]: version for version, names in SINCE.items() for name in names.split()}
LAST = {Op[name]: version for version, names in UNTIL.items() for name in names.split()}


def exists(op: Op, version: Version) -> bool:
    return FIRST.get(op, Version.V1_0) <= version <= LAST.get(op, Version.V4_1)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("integration")
    group.addoption(
        "--servers",
        help=f"versions of Infinispan, {EMBEDDED} (default: {MODERN},{LEGACY})",
    )
    group.addoption(
        "--full",
        action="store_true",
        help=f"{OLDER} as well, and in every version what else runs in the newest one only",
    )
    group.addoption(
        "--address",
        action="append",
        default=[],
        metavar="SERVER=PORT",
        help="use the single server that runs on this port, do not start one",
    )
    group.addoption("--outcomes", type=Path, help="write a Markdown table of outcomes to this file")


def servers_of(config: pytest.Config) -> list[str]:
    given = config.getoption("--servers", None)
    if given is not None:
        return str(given).split(",")
    here = Path(__file__).parent
    wanted = [Path(arg.partition("::")[0]).resolve() for arg in config.args]
    if not any(path.is_relative_to(here) for path in wanted):
        return [EMBEDDED]
    return [MODERN, OLDER, LEGACY] if is_full(config) else [MODERN, LEGACY]


def is_full(config: pytest.Config) -> bool:
    return bool(config.getoption("--full", False))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = Outcomes()
    config.stash[TESTED] = set()
    for line in (
        "operation(*ops): what the test is about",
        "each_operation(*ops): run the test for each of these",
        "versions(since=, until=, legacy=, embedded=, newest=): where it applies",
    ):
        config.addinivalue_line("markers", line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" not in metafunc.fixturenames:
        return
    marks = [mark.kwargs for mark in metafunc.definition.iter_markers("versions")]
    ops = [op for mark in metafunc.definition.iter_markers("operation") for op in mark.args]
    since = max((mark["since"] for mark in marks if "since" in mark), default=Version.V1_0)
    until = min((mark["until"] for mark in marks if "until" in mark), default=Version.V4_1)
    legacy = next((mark["legacy"] for mark in marks if "legacy" in mark), None)
    embedded = next((mark["embedded"] for mark in marks if "embedded" in mark), None)
    newest = any(mark.get("newest", False) for mark in marks)
    targets = []
    for server in servers_of(metafunc.config):
        found = [
            target
            for version in versions_of(server)
            if since <= version <= until and all(exists(op, version) for op in ops)
            if legacy in (None, (target := Target(server, version)).is_legacy)
            if embedded in (None, server == EMBEDDED)
        ]
        targets += found[-1:] if newest and not is_full(metafunc.config) else found
    each = metafunc.definition.get_closest_marker("each_operation")
    if each is None:
        metafunc.parametrize("target", targets, ids=str)
        return
    pairs = [
        pytest.param(target, op, id=f"{target}-{op.name.lower()}", marks=pytest.mark.operation(op))
        for target in targets
        for op in each.args
        if exists(op, target.version)
    ]
    metafunc.parametrize(("target", "op"), pairs)


def _target_of(item: pytest.Item) -> Target | None:
    parameters = getattr(item, "callspec", None)
    target = parameters.params.get("target") if parameters is not None else None
    return target if isinstance(target, Target) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            target = _target_of(item)
            if target is None or target.server != EMBEDDED:
                item.add_marker(pytest.mark.integration)
            for mark in item.iter_markers("operation"):
                if target is not None:
                    config.stash[TESTED].update((op, target) for op in mark.args)

    def by_server(item: pytest.Item) -> tuple[str, list[bool], Path]:
        target = _target_of(item)
        fixtures = getattr(item, "fixturenames", ())
        setup = [name in fixtures for name in SETUPS]
        return target.server if target is not None else "", setup, item.path

    def applies(item: pytest.Item) -> bool:
        """Whether there is what it needs: a server; Java, which real servers need as well; npm;
        and for what looks at all tests, all of them."""
        fixtures = getattr(item, "fixturenames", ())
        return not (
            ("target" in fixtures and _target_of(item) is None)
            or ("tested" in fixtures and not everything)
            or (FOREIGN.intersection(fixtures) and not has_java)
            or ("javascript" in fixtures and shutil.which("npm") is None)
        )

    has_java = servers_of(config) != [EMBEDDED]
    collected = {item.path for item in items}
    everything = all(file in collected for file in here.glob("test_*.py"))
    config.hook.pytest_deselected(items=[item for item in items if not applies(item)])
    items[:] = [item for item in items if applies(item)]
    # One server or cluster runs at a time: all tests that want it come together.
    items.sort(key=by_server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    target = _target_of(item)
    if target is not None and (report.when == "call" or report.failed):
        for mark in item.iter_markers("operation"):
            for op in mark.args:
                item.config.stash[OUTCOMES].note(op, target, passed=report.passed)
    return report  # type: ignore[return-value]


def pytest_sessionfinish(session: pytest.Session) -> None:
    file: Path | None = session.config.getoption("--outcomes", None)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(session.config.stash[OUTCOMES].markdown(), encoding="utf-8")


class Servers:
    """The running server, or cluster: one at a time, those that were given by address aside."""

    def __init__(self, folder: Path, given: dict[str, tuple[str, int]]) -> None:
        self._folder = folder
        self._given = given
        self._running: Infinispan | Embedded | None = None
        self._setup: tuple[object, ...] = ()
        self._is_ahead = False

    def address(self, version: str) -> tuple[str, int]:
        """Where the single server is that everybody may use."""
        return self._given[version] if version in self._given else self.get(version).addresses[0]

    def get(
        self,
        version: str,
        *,
        nodes: int = 1,
        auth: bool = False,
        tls: bool = False,
        certificates: bool = False,
        introspection: str | None = None,
    ) -> Infinispan | Embedded:
        setup = (version, nodes, auth, tls, certificates, introspection)
        # A clock that was set forward is no matter of the next test.
        if self._running is None or self._setup != setup or self._is_ahead:
            self.stop()
            server: Infinispan | Embedded
            if version == EMBEDDED:
                server = Embedded(
                    nodes=nodes,
                    auth=auth,
                    tls=tls,
                    certificates=certificates,
                    tokens=introspection is not None,
                )
            else:
                server = Infinispan(
                    version,
                    nodes=nodes,
                    auth=auth,
                    tls=tls,
                    certificates=certificates,
                    introspection=introspection,
                    folder=Path(tempfile.mkdtemp(prefix=f"{version}-{nodes}", dir=self._folder)),
                )
            server.start()
            self._running, self._setup = server, setup
        return self._running

    def wait(self, version: str, seconds: float) -> None:
        """Let time pass for a server's entries; that of the embedded one can be told to."""
        if version not in self._given and isinstance(self._running, Embedded):
            self._running.advance(seconds)
            self._is_ahead = True
        else:
            time.sleep(seconds)

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None
            self._is_ahead = False


@pytest.fixture(scope="session")
def servers(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Servers]:
    given = [text.rpartition("=") for text in pytestconfig.getoption("--address", ()) or ()]
    addresses = {version: (HOST, int(port)) for version, _, port in given}
    servers = Servers(tmp_path_factory.mktemp("servers"), addresses)
    try:
        yield servers
    finally:
        servers.stop()


@pytest.fixture(scope="session")
def outcomes(pytestconfig: pytest.Config) -> Outcomes:
    return pytestconfig.stash[OUTCOMES]


@pytest.fixture
def peer(target: Target, servers: Servers, outcomes: Outcomes) -> Iterator[Peer]:
    """A connection to a single server, which has to be in step after the test."""
    with Peer(servers.address(target.server), target, outcomes.sightings) as peer:
        yield peer
        peer.check_in_step()


@pytest.fixture
def wait(target: Target, servers: Servers) -> Callable[[float], None]:
    """Lets seconds pass for the single server's entries."""
    return lambda seconds: servers.wait(target.server, seconds)


@pytest.fixture
def lost_peer(target: Target, servers: Servers, outcomes: Outcomes) -> Iterator[Peer]:
    """A connection to a single server, which may be out of step after the test."""
    with Peer(servers.address(target.server), target, outcomes.sightings) as peer:
        yield peer


@pytest.fixture
def observer(target: Target, servers: Servers) -> Iterator[Peer]:
    """A second connection, in a version that can tell everything of an entry: not under test."""
    witness = Target(target.server, Version.V2_0)
    with Peer(servers.address(target.server), witness, Outcomes().sightings) as peer:
        yield peer


@pytest.fixture(scope="session")
def tested(pytestconfig: pytest.Config) -> set[tuple[Op, Target]]:
    """Which operations the collected tests are about, by server and version."""
    return pytestconfig.stash[TESTED]


@pytest.fixture(scope="session")
def settled() -> set[str]:
    """The clusters that have come to rest."""
    return set()


@pytest.fixture
def addresses(target: Target, servers: Servers, settled: set[str]) -> list[ServerAddress]:
    """Where the cluster's nodes are."""
    addresses = [ServerAddress(*a) for a in servers.get(target.server, nodes=NODES).addresses]
    if target.server not in settled:
        witness = Target(target.server, Version.V2_9)
        with ExitStack() as stack:
            settle([stack.enter_context(Peer(a, witness, Outcomes().sightings)) for a in addresses])
        settled.add(target.server)
    return addresses


@pytest.fixture
def node(addresses: list[ServerAddress], target: Target, outcomes: Outcomes) -> Iterator[Peer]:
    """A connection to the first node."""
    with Peer(addresses[0], target, outcomes.sightings) as peer:
        yield peer
        peer.check_in_step()


@pytest.fixture(scope="session")
def introspection() -> Iterator[str]:
    """The URL of a service that knows one token."""
    with introspection_service() as url:
        yield url


@pytest.fixture
def deadline() -> Iterator[None]:
    """A test that hangs, or a server that does not start, ends everything, and says where."""
    faulthandler.dump_traceback_later(DEADLINE, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> bytes:
    """A key that no other test uses, in no other run."""
    return f"{request.node.path.stem} {request.node.name} {RUN}".encode()


# ---- clients


def client_of(target: Target, kind: str, addresses: list[Any], **settings: Any) -> Any:
    """A client that speaks the target's version."""
    settings = {"protocol_version": target.version} | settings
    return connect(kind, addresses=addresses, legacy_server=target.is_legacy, **settings)


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, target: Target, servers: Servers) -> Iterator[Any]:
    """A client of the target that tries nothing again."""
    here = [servers.address(target.server)]
    with client_of(target, request.param, here, max_retries=0) as client:
        yield client


@pytest.fixture
def relay(target: Target, servers: Servers) -> Iterator[Relay]:
    """What a test can cut between a client and the target."""
    with Relay(servers.address(target.server)) as relay:
        yield relay


@pytest.fixture(params=KINDS)
def relayed_client(request: pytest.FixtureRequest, target: Target, relay: Relay) -> Iterator[Any]:
    """A client that sees the target through the relay only."""
    with client_of(target, request.param, [relay.address], client_intelligence="basic") as client:
        yield client
