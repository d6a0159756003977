"""EmbeddedServer from Python: starting, stopping, what it is given."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from hotrod_codec import CounterConfiguration, EmbeddedServer, Op, Status
from hotrod_codec.server import CacheConfiguration
from server.peer import Peer


def test_the_codec_alone_needs_no_asyncio() -> None:
    code = "import hotrod_codec, sys; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_unknown_name_of_the_package() -> None:
    import hotrod_codec

    with pytest.raises(AttributeError, match="EmbeddedSerfer"):
        hotrod_codec.EmbeddedSerfer  # type: ignore[attr-defined]  # noqa: B018


def test_put_and_get() -> None:
    with EmbeddedServer() as server, Peer(server.address) as peer:
        assert peer.call(Op.PUT, key=b"k", value=b"v").status == Status.SUCCESS
        assert peer.call(Op.GET, key=b"k").value == b"v"
        assert server.uri == f"hotrod://127.0.0.1:{server.address.port}"
        assert (server.requests, server.connections) == ({Op.PUT: 1, Op.GET: 1}, 1)


def test_tasks_are_functions() -> None:
    def upper(parameters: Mapping[str, bytes]) -> bytes:
        return parameters["text"].upper()

    tasks: dict[str, Any] = {"upper": upper, "wrong": lambda _: "text", "@@cache@names": upper}
    with EmbeddedServer(tasks=tasks) as server, Peer(server.address) as peer:
        assert peer.call(Op.EXEC, task="upper", params={"text": b"abc"}).result == b"ABC"
        wrong = peer.call(Op.EXEC, task="upper")
        assert (wrong.status, wrong.error) == (Status.SERVER_ERROR, "KeyError: 'text'")
        assert "gave str, not bytes" in peer.call(Op.EXEC, task="wrong").error
        assert peer.call(Op.EXEC, task="@@cache@names").result.startswith(b"[")
        assert "ISPN027002" in peer.call(Op.EXEC, task="lower").error
        gone = peer.call(Op.EXEC, task="upper", params={"text": b"abc"}, cache="nowhere")
        assert "CacheNotFound" in gone.error


def test_caches_are_given_by_name() -> None:
    caches: dict[str, CacheConfiguration | str | None] = {
        "text": "text/plain",
        "mortal": CacheConfiguration("application/octet-stream", lifespan=60),
    }
    with EmbeddedServer(caches=caches) as server, Peer(server.address) as peer:
        assert peer.call(Op.PING, cache="text").key_media_type.name == "text/plain"
        peer.call(Op.PUT, cache="mortal", key=b"k", value=b"v")
        found = peer.call(Op.GET_WITH_METADATA, cache="mortal", key=b"k")
        assert found.metadata.lifespan == 60


def test_everything_ends_with_it() -> None:
    before = set(threading.enumerate())
    with EmbeddedServer(nodes=2) as server:
        peer = Peer(server.address)
        addresses = server.addresses
    assert peer.rest() == b""
    peer.socket.close()
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=1)
    assert set(threading.enumerate()) <= before
    server.stop()


def test_it_may_start_again_with_nothing_in_it() -> None:
    server = EmbeddedServer()
    for _ in range(2):
        with server, Peer(server.address) as peer:
            assert peer.call(Op.SIZE)["size"] == 0
            peer.call(Op.PUT, key=b"k", value=b"v")


def test_reset_leaves_nothing_but_addresses_and_connections() -> None:
    caches: dict[str, CacheConfiguration | str | None] = {
        "text": "text/plain",
        "mortal": CacheConfiguration(lifespan=60),
    }
    with EmbeddedServer(caches=caches) as server, Peer(server.address) as peer:
        uri = server.uri
        peer.call(Op.ADD_CLIENT_LISTENER, listener_id=b"l", include_state=False)
        for cache in ("", "text", "mortal"):
            peer.call(Op.PUT, cache=cache, key=b"k", value=b"v")
        task = {"name": b"new", "configuration": b"local-cache: {}"}
        peer.call(Op.EXEC, task="@@cache@create", params=task)
        peer.call(Op.EXEC, task="@@template@create", params=task)
        peer.call(Op.EXEC, task="@@cache@remove", params={"name": b"text"})
        peer.call(Op.COUNTER_CREATE, name="c", config=CounterConfiguration())
        server.advance(3600)
        server.faults.drop()
        server.faults.retried_events = True
        assert [event.op for event in peer.events] == [Op.CACHE_ENTRY_CREATED]
        server.reset()

        assert server.uri == uri
        assert server.requests == {}
        assert not server.faults.active
        assert not server.faults.retried_events
        names = json.loads(peer.call(Op.EXEC, task="@@cache@names", params={})["result"])
        assert sorted(name for name in names if name[0] != "_") == ["default", "mortal", "text"]
        found = peer.call(Op.EXEC, task="@@cache@templates", params={})["result"]
        assert json.loads(found) == []
        assert peer.call(Op.COUNTER_IS_DEFINED, name="c").status == Status.NOT_EXECUTED
        for cache in ("", "text", "mortal"):
            assert peer.call(Op.SIZE, cache=cache)["size"] == 0
        # The connection is the same, and so is its listener; time is the world's again.
        peer.call(Op.PUT, key=b"again", value=b"v")
        assert [event.op for event in peer.events[1:]] == [
            Op.CACHE_ENTRY_REMOVED,
            Op.CACHE_ENTRY_CREATED,
        ]
        before = time.time() * 1000
        peer.call(Op.PUT, cache="mortal", key=b"k", value=b"v")
        metadata = peer.call(Op.GET_WITH_METADATA, cache="mortal", key=b"k").metadata
        assert before - 1 <= metadata.created <= time.time() * 1000


def test_reset_brings_nodes_back_and_sends_new_ones_away() -> None:
    with EmbeddedServer(nodes=2) as server:
        addresses = server.addresses
        with Peer(server.address) as peer:
            first = peer.told(Op.PUT, key=b"k", value=b"v")
            server.start_node()
            server.kill_node(0)
            server.reset()
        assert server.addresses == addresses
        with Peer(server.address) as peer:
            topology = peer.told(Op.PING, topology_id=first.id)
            assert list(topology.servers) == addresses
            assert peer.call(Op.SIZE)["size"] == 0
        server.stop_node(0)
        server.stop_node(1)
        server.reset()
        assert server.addresses == addresses


def test_reset_makes_one_node_alone_again() -> None:
    with EmbeddedServer() as server:
        server.start_node()
        server.reset()
        assert len(server.addresses) == 1
        with Peer(server.address) as peer:
            assert peer.call(Op.PING, intelligence=3, topology_id=-1).topology is None


def test_reset_starts_a_server_that_was_stopped() -> None:
    with EmbeddedServer() as server:
        addresses = server.addresses
        server.start_node()
        server.stop()
        server.reset()
        assert server.addresses == addresses


def test_a_port_that_is_taken() -> None:
    with EmbeddedServer() as server:
        second = EmbeddedServer(port=server.address.port)
        with pytest.raises(OSError, match=str(server.address.port)):
            second.start()
        second.stop()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nodes", 0),
        ("port", 70_000),
        ("max_entries", 0),
        ("num_segments", 0),
        ("num_owners", 0),
        ("mechanisms", ["NO-SUCH"]),
        ("caches", {"a": "no media type"}),
        ("client_ca", "somewhere.pem"),
    ],
)
def test_arguments_that_make_no_sense(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name if name != "caches" else "media type"):
        EmbeddedServer(**{name: value})  # type: ignore[arg-type]
