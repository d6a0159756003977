"""Servers, connections and the table of outcomes for the integration tests.

A test that wants `target` runs once for each server and version. Marks narrow that down:

    operation(Op.PUT, ...)            which operations the test is about, for the table; versions
                                      that lack one of them are left out
    each_operation(Op.PUT, ...)       run it once for each of these as `op`, if the version has it
    versions(since=, until=, legacy=) only these; legacy: only (True) or not (False) the 9.4 line

One server of each version is started per run, when first wanted; clusters one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hotrod_codec import Op, Version
from integration.infinispan import LEGACY, MODERN, Infinispan
from integration.outcomes import Outcomes
from integration.peers import VERSIONS, Peer, Target

OUTCOMES = pytest.StashKey[Outcomes]()

# Operations that came after 1.0. Written out: the tests are to find out if the codec is wrong.
SINCE = {
    Op.GET_WITH_METADATA: Version.V1_2,
    Op.BULK_GET_KEYS: Version.V1_2,
    Op.SIZE: Version.V2_0,
    Op.PUT_ALL: Version.V2_1,
    Op.GET_ALL: Version.V2_1,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("integration")
    group.addoption(
        "--servers",
        default=f"{MODERN},{LEGACY}",
        help=f"versions of Infinispan to test against (default: {MODERN},{LEGACY})",
    )
    group.addoption("--outcomes", type=Path, help="write a Markdown table of outcomes to this file")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = Outcomes()
    for line in (
        "operation(*ops): what the test is about",
        "each_operation(*ops): run the test for each of these",
        "versions(since=, until=, legacy=): where it applies",
    ):
        config.addinivalue_line("markers", line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" not in metafunc.fixturenames:
        return
    since, until, legacy = Version.V1_0, Version.V4_1, None
    for mark in metafunc.definition.iter_markers("operation"):
        since = max([since, *(SINCE.get(op, since) for op in mark.args)])
    for mark in metafunc.definition.iter_markers("versions"):
        since = max(since, mark.kwargs.get("since", since))
        until = min(until, mark.kwargs.get("until", until))
        legacy = mark.kwargs.get("legacy", legacy)
    targets = [
        target
        for server in str(metafunc.config.getoption("--servers")).split(",")
        for version in VERSIONS[server]
        if since <= version <= until
        and legacy in (None, (target := Target(server, version)).is_legacy)
    ]
    each = metafunc.definition.get_closest_marker("each_operation")
    if each is None:
        metafunc.parametrize("target", targets, ids=str)
        return
    pairs = [
        pytest.param(target, op, id=f"{target}-{op.name.lower()}", marks=pytest.mark.operation(op))
        for target in targets
        for op in each.args
        if SINCE.get(op, since) <= target.version
    ]
    metafunc.parametrize(("target", "op"), pairs)


def _target_of(item: pytest.Item) -> Target | None:
    parameters = getattr(item, "callspec", None)
    target = parameters.params.get("target") if parameters is not None else None
    return target if isinstance(target, Target) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)

    def by_file_and_server(item: pytest.Item) -> tuple[Path, str]:
        target = _target_of(item)
        return item.path, target.server if target is not None else ""

    # So that one cluster is needed after the other, not both in turn.
    items.sort(key=by_file_and_server)


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
    """The running servers: singles for the whole run, and at most one cluster."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[tuple[str, int], Infinispan] = {}

    def get(self, version: str, nodes: int = 1) -> Infinispan:
        wanted = (version, nodes)
        if wanted not in self._running:
            if nodes > 1:
                self._stop([key for key in self._running if key[1] > 1])
            server = Infinispan(version, nodes=nodes, folder=self._folder / f"{version}-{nodes}")
            server.start()
            self._running[wanted] = server
        return self._running[wanted]

    def stop(self) -> None:
        self._stop(list(self._running))

    def _stop(self, keys: list[tuple[str, int]]) -> None:
        for key in keys:
            self._running.pop(key).stop()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("servers"))
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
    with Peer(servers.get(target.server).addresses[0], target, outcomes.sightings) as peer:
        yield peer
        peer.check_in_step()


@pytest.fixture
def lost_peer(target: Target, servers: Servers, outcomes: Outcomes) -> Iterator[Peer]:
    """A connection to a single server, which may be out of step after the test."""
    with Peer(servers.get(target.server).addresses[0], target, outcomes.sightings) as peer:
        yield peer


@pytest.fixture
def observer(target: Target, servers: Servers) -> Iterator[Peer]:
    """A second connection, in a version that can tell everything of an entry: not under test."""
    witness = Target(target.server, Version.V2_0)
    with Peer(servers.get(target.server).addresses[0], witness, Outcomes().sightings) as peer:
        yield peer


@pytest.fixture
def key(request: pytest.FixtureRequest) -> bytes:
    """A key that no other test uses."""
    return str(request.node.name).encode()
