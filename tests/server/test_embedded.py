"""EmbeddedServer from Python: starting, stopping, what it is given."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from hotrod_codec import EmbeddedServer, Op, Status
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
    before = threading.active_count()
    with EmbeddedServer(nodes=2) as server:
        peer = Peer(server.address)
        addresses = server.addresses
    assert peer.rest() == b""
    peer.socket.close()
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=1)
    assert threading.active_count() == before
    server.stop()


def test_it_may_start_again_with_nothing_in_it() -> None:
    server = EmbeddedServer()
    for _ in range(2):
        with server, Peer(server.address) as peer:
            assert peer.call(Op.SIZE)["size"] == 0
            peer.call(Op.PUT, key=b"k", value=b"v")


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
