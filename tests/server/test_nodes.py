"""Nodes that join, leave and die: who owns what, what moves, and that nothing is lost."""

from __future__ import annotations

import itertools
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from hotrod_codec import EmbeddedServer, Op, ServerAddress, Status, Topology, segment_of
from hotrod_codec.server import CacheConfiguration
from hotrod_codec.server.ownership import Owners, spread
from server.peer import Peer

KEYS = [b"key %d" % i for i in range(500)]


def copies(owners: Owners) -> set[tuple[int, int]]:
    """Which segment has a copy where."""
    return {(segment, node) for segment, nodes in enumerate(owners) for node in nodes}


def check(owners: Owners, members: list[int], num_owners: int) -> None:
    """Everybody has a fair share, of copies and of segments that it is the primary owner of."""
    wanted = min(num_owners, len(members))
    assert all(len(nodes) == len(set(nodes)) == wanted for nodes in owners)
    load = Counter(node for nodes in owners for node in nodes)
    first = Counter(nodes[0] for nodes in owners)
    assert set(load) <= set(members)
    for count, total in ((load, len(owners) * wanted), (first, len(owners))):
        fair = total / len(members)
        found = [count[node] for node in members]
        assert min(found) >= int(fair) - 1, found
        assert max(found) <= fair + 2, found


@pytest.mark.parametrize("num_owners", [1, 2, 3])
@pytest.mark.parametrize("num_segments", [1, 20, 256])
def test_owners_move_no_more_than_they_must(num_owners: int, num_segments: int) -> None:
    source = random.Random(7)
    members = [0]
    owners = spread([], members, num_segments, num_owners)
    check(owners, members, num_owners)
    for step in range(1, 40):
        before = owners
        if len(members) < 2 or source.random() < 0.6:
            members = [*members, step]
            allowed = num_segments * min(num_owners, len(members)) / len(members) + 1
            if len(members) <= num_owners:
                allowed = num_segments  # one more copy of everything
        else:
            gone = source.choice(members)
            members = [node for node in members if node != gone]
            allowed = sum(gone in nodes for nodes in before) + len(members) + num_segments // 20
        owners = spread(before, members, num_segments, num_owners)
        check(owners, members, num_owners)
        moved = copies(owners) - copies(before)
        assert len(moved) <= allowed, (step, members)


# ------------------------------------------------------------------ with sockets


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    caches: dict[str, CacheConfiguration | str | None] = {
        "everywhere": CacheConfiguration(mode="replicated"),
        "once": CacheConfiguration(owners=1),
    }
    with EmbeddedServer(nodes=3, caches=caches) as server:
        yield server


def fill(server: EmbeddedServer, cache: str = "") -> None:
    with Peer(server.address) as peer:
        entries = [(key, b"of " + key) for key in KEYS]
        assert peer.call(Op.PUT_ALL, cache=cache, entries=entries).status == Status.SUCCESS


def told(server: EmbeddedServer, cache: str = "", topology_id: int = 0) -> Topology | None:
    with Peer(server.address) as peer:
        answer = peer.call(Op.PING, cache=cache, intelligence=3, topology_id=topology_id)
        assert answer.topology is None or isinstance(answer.topology, Topology)
        return answer.topology


def check_entries(server: EmbeddedServer, numbers: list[int], owners: int, cache: str = "") -> None:
    """Every entry is on its owners and nowhere else, and every node gives it."""
    topology = told(server, cache)
    assert topology is not None
    assert list(topology.servers) == [server.address_of(number) for number in numbers]
    assert topology.segment_owners is not None
    held = {number: server.keys_of(number, cache) for number in numbers}
    for key in KEYS:
        segment = segment_of(key, len(topology.segment_owners))
        expected = {numbers[index] for index in topology.segment_owners[segment]}
        assert {number for number in numbers if key in held[number]} == expected
        assert len(expected) == owners
    for address in server.addresses:
        with Peer(address) as peer:
            found = dict(peer.call(Op.GET_ALL, cache=cache, keys=KEYS).entries)
            assert found == {key: b"of " + key for key in KEYS}
            assert peer.call(Op.SIZE, cache=cache)["size"] == len(KEYS)


def test_no_entry_is_lost_when_nodes_die_one_by_one(server: EmbeddedServer) -> None:
    fill(server)
    check_entries(server, [0, 1, 2], 2)
    server.kill_node(1)
    check_entries(server, [0, 2], 2)
    server.kill_node(0)
    check_entries(server, [2], 1)
    assert server.start_node(1) == 1
    check_entries(server, [2, 1], 2)
    assert server.start_node() == 3
    check_entries(server, [2, 1, 3], 2)
    server.kill_node(2)
    check_entries(server, [1, 3], 2)


def test_everybody_has_a_replicated_cache(server: EmbeddedServer) -> None:
    fill(server, "everywhere")
    check_entries(server, [0, 1, 2], 3, "everywhere")
    assert server.start_node() == 3
    check_entries(server, [0, 1, 2, 3], 4, "everywhere")
    server.kill_node(0)
    check_entries(server, [1, 2, 3], 3, "everywhere")


def test_who_leaves_hands_over_what_nobody_else_has(server: EmbeddedServer) -> None:
    fill(server, "once")
    check_entries(server, [0, 1, 2], 1, "once")
    server.stop_node(2)
    check_entries(server, [0, 1], 1, "once")


def test_who_dies_takes_with_it_what_nobody_else_has(server: EmbeddedServer) -> None:
    fill(server, "once")
    lost = server.keys_of(2, "once")
    assert 0 < len(lost) < len(KEYS)
    server.kill_node(2)
    with Peer(server.address) as peer:
        found = {key for key, _ in peer.call(Op.GET_ALL, cache="once", keys=KEYS).entries}
    assert found == set(KEYS) - lost


def test_all_nodes_may_go_and_come_again(server: EmbeddedServer) -> None:
    fill(server)
    for number in range(3):
        server.stop_node(number)
    with pytest.raises(RuntimeError, match="no node"):
        _ = server.address
    for number in range(3):
        server.start_node(number)
    with Peer(server.address) as peer:
        assert peer.call(Op.SIZE)["size"] == 0
        peer.call(Op.PUT, key=b"k", value=b"v")
        assert peer.call(Op.GET, key=b"k").value == b"v"


def test_connections_of_a_dead_node_end_and_those_of_others_do_not(server: EmbeddedServer) -> None:
    peers = [Peer(address) for address in server.addresses]
    for peer in peers:
        peer.call(Op.PING)
    server.kill_node(1)
    assert peers[1].rest() == b""
    with pytest.raises(ConnectionRefusedError):
        Peer(server.address_of(1))
    for peer in (peers[0], peers[2]):
        assert peer.call(Op.PING).status == Status.SUCCESS
    for peer in peers:
        peer.socket.close()


def test_who_is_connected_is_told_of_a_change_once(server: EmbeddedServer) -> None:
    with Peer(server.address) as peer:
        known = peer.told(Op.PING)
        assert peer.call(Op.PING, intelligence=3, topology_id=known.id).topology is None
        port = server.address_of(2).port
        server.stop_node(2)
        fresh = peer.told(Op.GET, key=b"k", topology_id=known.id)
        assert len(fresh.servers) == 2
        assert fresh.id != known.id
        assert peer.call(Op.GET, key=b"k", intelligence=3, topology_id=fresh.id).topology is None
        server.start_node(2)
        last = peer.told(Op.PING, intelligence=2, topology_id=fresh.id)
        assert [address.port for address in last.servers].count(port) == 1
        assert last.segment_owners is None


def test_a_server_alone_becomes_a_cluster() -> None:
    with EmbeddedServer() as server, Peer(server.address) as peer:
        peer.call(Op.PUT, key=b"k", value=b"v")
        assert peer.call(Op.PING, intelligence=3).topology is None
        server.start_node()
        assert len(peer.told(Op.PING).servers) == 2
        assert b"k" in server.keys_of(1)


def test_clients_may_be_told_other_addresses() -> None:
    server = EmbeddedServer(nodes=2, advertise=lambda address: ("elsewhere", address.port + 1))
    with server, Peer(server.address) as peer:
        told = peer.told(Op.PING).servers
        assert list(told) == [("elsewhere", address.port + 1) for address in server.addresses]


def test_events_reach_listeners_of_all_nodes(server: EmbeddedServer) -> None:
    with Peer(server.addresses[0]) as listener, Peer(server.addresses[2]) as writer:
        listener.call(Op.ADD_CLIENT_LISTENER, listener_id=b"l")
        keys = KEYS[:30]
        for key in keys:
            writer.call(Op.PUT, key=key, value=b"v")
        listener.call(Op.PING)
        while len(listener.events) < len(keys):
            listener.events.append(listener.message(listener.send(Op.PING)))
        told = [e.key for e in listener.events if e.op == Op.CACHE_ENTRY_CREATED]
        assert told == keys


def test_what_was_acknowledged_survives_nodes_that_die_under_load(server: EmbeddedServer) -> None:
    """Writers on two nodes; meanwhile others die, come back and join."""
    stored: list[dict[bytes, bytes]] = [{}, {}]
    ending = threading.Event()

    def write(number: int) -> None:
        with Peer(server.address_of(number * 2)) as peer:
            for i in itertools.count():
                if ending.is_set():
                    return
                key, value = b"%d %d" % (number, i % 3000), b"%d" % i
                assert peer.call(Op.PUT, key=key, value=value).status == Status.SUCCESS
                stored[number][key] = value

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, number) for number in range(2)]
        try:
            for _ in range(5):
                server.kill_node(1)
                server.start_node(1)
                new = server.start_node()
                server.kill_node(new)
        finally:
            ending.set()
        for writer in writers:
            writer.result(10)
    expected = stored[0] | stored[1]
    assert len(expected) > 20
    for address in server.addresses:
        with Peer(address) as peer:
            assert dict(peer.call(Op.GET_ALL, keys=list(expected)).entries) == expected


def test_there_are_no_such_nodes(server: EmbeddedServer) -> None:
    server.stop_node(1)
    for action, node, problem in (
        (server.stop_node, 1, "does not run"),
        (server.start_node, 0, "runs already"),
    ):
        with pytest.raises(ValueError, match=problem):
            action(node)
    with pytest.raises(IndexError):
        server.kill_node(9)


def test_nobody_comes_in_before_all_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told to a server without caches would be forgotten when it gets them."""
    refused: list[ServerAddress] = []
    begin = EmbeddedServer._begin

    def watched(server: EmbeddedServer) -> None:
        for node in (0, 1):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(server.address_of(node))
            refused.append(server.address_of(node))
        begin(server)

    monkeypatch.setattr(EmbeddedServer, "_begin", watched)
    with EmbeddedServer(nodes=2) as server:
        assert refused == server.addresses


@pytest.mark.parametrize("end", ["kill_node", "stop_node"])
def test_a_request_that_comes_while_its_node_goes(
    end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not carried out by a node that holds nothing any more."""
    with EmbeddedServer(nodes=2) as server, Peer(server.address_of(0)) as peer:
        assert peer.call(Op.PING).status == Status.SUCCESS
        loop = server._loop
        assert loop is not None
        busy = threading.Event()

        def hold() -> None:
            busy.set()
            time.sleep(0.3)  # in which the node is told to go
            loop.call_soon(lambda: peer.send(Op.PUT, key=b"k", value=b"v"))

        loop.call_soon_threadsafe(hold)
        assert busy.wait(10)
        getattr(server, end)(0)
        with suppress(ConnectionResetError):
            assert peer.socket.recv(1) == b""
    assert "failed" not in caplog.text


@pytest.mark.parametrize("end", ["kill_node", "stop_node", "stop"])
def test_a_connection_that_comes_while_its_node_goes(end: str) -> None:
    """It ends as others do; its client does not wait for ever for a server that is not there."""
    with EmbeddedServer(nodes=2) as server, socket.socket() as sock:
        assert server._loop is not None
        address = server.address_of(0)
        busy = threading.Event()

        def be_busy() -> None:
            busy.set()
            time.sleep(0.3)

        server._loop.call_soon_threadsafe(be_busy)
        assert busy.wait(10)
        # Both of these are there when it looks again.
        sock.settimeout(10)
        sock.connect(address)
        if end == "stop":
            server.stop()
        else:
            getattr(server, end)(0)
        with suppress(ConnectionResetError):
            assert sock.recv(1) == b""
