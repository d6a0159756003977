"""The clients and clusters whose nodes die and come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from client.both import KINDS, connect, next_of
from hotrod_codec import AsyncClient, Client, RequestTimeoutError, ServerAddress, TransportError
from hotrod_codec.client import EventKind
from hotrod_codec.client.cluster import Routing
from hotrod_codec.errors import IllegalLifecycleStateError, NodeSuspectedError
from hotrod_codec.marshallers import BYTES
from integration.clusters import NODES, counted
from integration.conftest import Servers
from integration.embedded import EMBEDDED, Embedded
from integration.infinispan import Infinispan
from integration.load import SECONDS, Load, wait_until
from integration.peers import Target

pytestmark = [pytest.mark.versions(newest=True), pytest.mark.usefixtures("deadline")]

THREADS, TASKS = 8, 64
# What a write that is not tried again may fail with.
MAY_BE_DONE = TransportError, RequestTimeoutError, NodeSuspectedError, IllegalLifecycleStateError


@pytest.fixture
def cluster(
    target: Target, servers: Servers, addresses: list[ServerAddress], settled: set[str]
) -> Iterator[Any]:
    """A cluster whose nodes may die. The next test gets a whole one."""
    cluster = servers.get(target.server, nodes=NODES)
    yield cluster
    settled.discard(target.server)
    if not cluster.is_whole:
        servers.stop()


@pytest.fixture
def settings(target: Target, addresses: list[ServerAddress]) -> dict[str, Any]:
    return {
        "addresses": addresses[:1],
        "protocol_version": target.version,
        "legacy_server": target.is_legacy,
    }


def routing_of(client: Any) -> Routing:
    """What a client knows of who owns which keys."""
    inner = client if isinstance(client, Client | AsyncClient) else client._inner
    return inner._dispatcher.cluster.cache("octets").routing


def test_a_node_dies_under_load(
    cluster: Any,
    target: Target,
    addresses: list[ServerAddress],
    settings: dict[str, Any],
    key: bytes,
) -> None:
    """Nothing that was acknowledged is lost, no read fails, no answer is wrong; a write fails only
    if it was on its way when the node died; and the node gets its share again."""
    tasks_client = AsyncClient(**settings)
    with (
        Client(**settings) as client,
        Load(key + b" by a thread", THREADS) as threads,
        Load(key + b" by a task", TASKS) as tasks,
    ):
        loads = threads.in_threads(client, "octets"), tasks.in_tasks(tasks_client, "octets")
        for load in loads:
            load.go_on(20)
        cluster.kill_node(1)
        for load in loads:
            load.go_on(20)
            load.pace = 0.01  # leaves the processor to the node that starts
        cluster.start_node(1)
        wait_until(
            lambda: all(
                set(routing_of(one).servers) == set(addresses) for one in (client, tasks_client)
            )
        )
        wait_until(lambda: counted(target, addresses[1:2], "octets", "retrievals")[0] > 50)
        for load, workers in zip(loads, (THREADS, TASKS), strict=True):
            load.end()
            assert [error for error in load.errors if not isinstance(error, MAY_BE_DONE)] == []
            assert len(load.errors) <= workers
            assert load.lost_reads == []
            load.check(client, "octets")


class Survivor:
    """A client with a listener and an iteration that lasts longer than the servers."""

    def __init__(self, stack: ExitStack, kind: str, settings: dict[str, Any], key: bytes) -> None:
        self.client = stack.enter_context(connect(kind, **settings))
        self.cache = self.client.cache("octets", keys=BYTES, values=BYTES)
        self.keys = [b"%s %s %d" % (key, kind.encode(), i) for i in range(500)]
        self.entries = {k: k for k in self.keys}
        # Nodes of 9.4 have 50 threads for each other. Puts that listeners hear of take one and wait
        # for another node's: of many at once, all may wait for each other, and none is answered.
        self.at_once = 40 if settings.get("legacy_server") else len(self.keys)
        self.cache.put_all(self.entries)
        self.events = stack.enter_context(self.cache.add_listener())
        self.iteration = self.cache.entries(batch_size=10)
        next(self.iteration)

    def check_without_servers(self) -> None:
        cache, keys = self.cache, self.keys
        asks: list[Callable[[], Any]] = [
            lambda: cache.get(keys[0]),
            lambda: cache.put(keys[0], b"v"),
            lambda: cache.get_all(keys),
            lambda: cache.put_all(self.entries),
            lambda: cache.get_many(keys),
            lambda: cache.put_many(self.entries),
            cache.size,
            cache.add_listener,
            lambda: list(self.iteration),
            lambda: list(cache.entries()),
        ]
        for ask in asks:
            start = time.monotonic()
            with pytest.raises(TransportError):
                ask()
            assert time.monotonic() - start < SECONDS / 4
        while self.events.next(0.1) is not None:
            pass  # the nodes did not die all at once: it may have gone to another one

    def check_with_new_servers(self, fresh: Routing) -> None:
        cache, keys = self.cache, self.keys
        assert cache.get(keys[0]) is None
        cache.put(keys[0], b"v")
        assert cache.get(keys[0]) == b"v"
        for i in range(0, len(keys), self.at_once):
            cache.put_many((key, key) for key in keys[i : i + self.at_once])
        assert cache.get_many(keys) == keys
        assert cache.get_all(keys) == self.entries
        assert dict(cache.entries(batch_size=100)).items() >= self.entries.items()
        assert routing_of(self.client).segments == fresh.segments
        next_of(self.events, EventKind.FAILOVER)
        cache.remove(keys[0])
        while next_of(self.events, EventKind.REMOVED).key != keys[0]:
            pass


def test_all_nodes_are_started_anew(cluster: Any, settings: dict[str, Any], key: bytes) -> None:
    """What was in them is gone; the clients go on as they are."""
    with ExitStack() as stack:
        survivors = [Survivor(stack, kind, settings, key) for kind in KINDS]
        for node in range(NODES):
            cluster.kill_node(node)
        for survivor in survivors:
            survivor.check_without_servers()
        cluster.restart()
        with Client(**settings) as newcomer:
            newcomer.cache("octets").size()
            fresh = routing_of(newcomer)
        for survivor in survivors:
            survivor.check_with_new_servers(fresh)


# ---- another cluster ----------------------------------------------------------------------------


@pytest.fixture
def home(target: Target, tmp_path: Path) -> Iterator[Any]:
    """A server of its own, beside that of `servers`."""
    server = Embedded() if target.server == EMBEDDED else Infinispan(target.server, folder=tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.mark.versions(legacy=False)
def test_another_cluster_serves_while_the_own_one_is_dead(
    home: Any, servers: Servers, target: Target, key: bytes
) -> None:
    away = servers.address(target.server)
    settings = {"clusters": {"away": {"addresses": [away]}}, "protocol_version": target.version}
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connect(kind, addresses=home.addresses, **settings))
            for kind in KINDS
        ]
        caches = [client.cache("octets", keys=BYTES, values=BYTES) for client in clients]
        name = [key + kind.encode() for kind in KINDS]
        for i, cache in enumerate(caches):
            cache.put(name[i], b"home")
            assert clients[i].current_cluster == ""
        home.kill_node(0)
        for i, cache in enumerate(caches):
            assert cache.get(name[i]) is None
            assert clients[i].current_cluster == "away"
            cache.put(name[i], b"away")
            assert cache.get_many([name[i]]) == [b"away"]
        home.restart()
        for i, cache in enumerate(caches):
            assert cache.get(name[i]) == b"away"  # nobody goes back by themselves
            assert clients[i].switch_to_default_cluster()
            assert cache.get(name[i]) is None
            cache.put(name[i], b"home again")
            assert cache.get_all(name[i : i + 1]) == {name[i]: b"home again"}
            assert clients[i].switch_to_cluster("away")
            assert cache.get(name[i]) == b"away"
            assert not clients[i].switch_to_cluster("nowhere")
            assert clients[i].current_cluster == "away"
