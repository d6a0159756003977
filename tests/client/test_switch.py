"""What caches that are in use know of a cluster, when the client goes to another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client.both import KINDS, making
from client.rogue import Rogue
from hotrod_codec import EmbeddedServer, Op, Status, Version

Make = Callable[..., Any]

ENTRIES = {f"k{i}": "v" for i in range(400)}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    with making(request.param) as make:
        yield make


def be_old(rogue: Rogue) -> None:
    """Know no version beyond 2.0."""

    def lie(s: Any, q: Any) -> bytes:
        if q.version > Version.V2_0:
            return rogue.server._handler.error(q, Status.UNKNOWN_VERSION, "unknown version")
        return rogue.truth(s, q)

    rogue.lies.update(dict.fromkeys(Op, lie))


def test_it_may_be_older(server: EmbeddedServer, make: Make) -> None:
    with Rogue() as old:
        be_old(old)
        client = make(server, clusters={"old": [old.server.address]})
        cache = client.cache()
        cache.put_all(ENTRIES)
        assert cache.get_many(ENTRIES) == list(ENTRIES.values())
        assert client.switch_to_cluster("old")
        cache.put_all(ENTRIES)
        assert cache.get_many(ENTRIES) == list(ENTRIES.values())
        assert cache.get_all(ENTRIES) == ENTRIES
        assert set(cache.keys()) == set(ENTRIES)
        assert cache.get_with_metadata("k0").value == "v"


def test_a_cache_that_it_has_not_is_made(server: EmbeddedServer, make: Make) -> None:
    definition = '<local-cache><encoding media-type="text/plain"/></local-cache>'
    with EmbeddedServer() as other:
        client = make(
            server,
            clusters={"other": [other.address]},
            caches={"users": {"configuration": definition}},
        )
        cache = client.cache("users")
        cache.put("ada", "1")
        assert client.switch_to_cluster("other")
        cache.put("ada", "2")
        assert cache.get("ada") == "2"
        assert client.switch_to_cluster("")
        assert cache.get("ada") == "1"


def test_whether_one_may_read_in_bulk_is_asked_again(server: EmbeddedServer, make: Make) -> None:
    with EmbeddedServer() as other:
        client = make(server, clusters={"other": [other.address]})
        cache = client.cache()
        cache.put_all(ENTRIES)
        cache.get_many(ENTRIES)
        server.faults.status(Status.SERVER_ERROR, "java.lang.SecurityException", op=Op.GET_ALL)
        cache.get_many(ENTRIES)
        client.switch_to_cluster("other")
        cache.put_all(ENTRIES)
        for _ in range(2):
            assert cache.get_many(ENTRIES) == list(ENTRIES.values())
        assert other.requests[Op.GET_ALL] > 0


def test_a_cache_that_was_removed_and_made_anew(server: EmbeddedServer, make: Make) -> None:
    """It may store keys in another way, which decides where they are."""
    client = make(server)
    for media_type in ("text/plain", "application/x-protostream", "text/plain"):
        definition = f'<local-cache><encoding media-type="{media_type}"/></local-cache>'
        client.admin.create_cache("again", definition)
        cache = client.cache("again")
        cache.put_all(ENTRIES)
        assert cache.get_many(ENTRIES) == list(ENTRIES.values())
        client.admin.remove_cache("again")
