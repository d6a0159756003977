"""What clients count of themselves where something fails, and where nobody wants to know.

The rest is in tests/integration/test_client_statistics.py."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from client.both import KINDS, connect
from client.threads import in_threads
from hotrod_codec import Client, EmbeddedServer, Op, ServerError
from hotrod_codec.client import CacheStatistics, ClientStatistics


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_nothing_is_counted_unless_it_is_wanted(server: EmbeddedServer, kind: str) -> None:
    with connect(kind, server.uri) as client:
        cache = client.cache()
        cache.put("k", "v")
        assert cache.get("k") == "v"
        assert cache.statistics == CacheStatistics()
        assert replace(client.statistics, connections=0) == ClientStatistics()
        assert client.statistics.connections == 1


def test_retries_and_times(server: EmbeddedServer, kind: str) -> None:
    with connect(kind, server.uri, statistics=True, request_timeout=0.2) as client:
        cache = client.cache()
        cache.put("k", "v")
        server.faults.drop(op=Op.GET, times=2)
        cache.get("k")
        found = cache.statistics
        assert (found.hits, found.retries) == (1, 2)
        assert found.average_read_time >= 0.4 > found.average_store_time > 0
        assert found.average_remove_time == 0
        server.faults.cut(at=3, op=Op.GET)
        assert cache.get_many(["k", "j"]) == ["v", None]
        found = client.statistics
        assert (found.hits, found.misses) == (2, 1)
        assert found.retries in (3, 4)  # what came behind the answer that broke off was lost too


def test_what_failed_is_nothing(server: EmbeddedServer, kind: str) -> None:
    with connect(kind, server.uri, statistics=True) as client:
        cache = client.cache()
        cache.size()
        for op, call in ((Op.GET, cache.get), (Op.REMOVE, cache.remove)):
            server.faults.status(op=op)
            with pytest.raises(ServerError):
                call("k")
        assert cache.statistics == CacheStatistics()


def test_threads_count_together(server: EmbeddedServer) -> None:
    with Client(server.uri, statistics=True) as client:
        cache = client.cache()

        def work(number: int) -> None:
            for i in range(50):
                cache.put(f"{number}", f"{i}")

        in_threads(4, work)
        assert cache.statistics.stores == 200
        client.close()
        assert client.statistics.stores == 200
        assert client.statistics.connections == 0


def test_counts_of_near_caches_stay(server: EmbeddedServer) -> None:
    client = Client(server.uri)
    cache = client.cache(near_cache=True)
    cache.put("k", "v")
    for _ in range(3):
        cache.get("k")
    before = client.statistics
    assert (before.near_hits, before.near_size) == (2, 1)
    client.close()
    after = client.statistics
    assert (after.near_hits, after.near_misses) == (2, 1)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads and fork
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_counts_on(server: EmbeddedServer) -> None:
    with Client(server.uri, statistics=True) as client:
        cache = client.cache()
        cache.put("k", "v")
        lock = client._dispatcher.book._locked()
        lock.acquire()  # as another thread may have it
        child = os.fork()
        if child == 0:  # nothing of pytest may run here
            code = 1
            try:
                cache.put("k", "w")
                code = 0 if cache.statistics.stores == 2 else 2
            finally:
                os._exit(code)
        lock.release()
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert cache.statistics.stores == 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_no_values_of_its_parent(server: EmbeddedServer) -> None:
    with connect("sync", server.uri) as client:
        cache = client.cache(near_cache=10)
        cache.put("k", "v")
        for _ in range(3):
            cache.get("k")
        before = client.statistics
        assert (before.near_size, before.near_hits, before.near_misses) == (1, 2, 1)
        child = os.fork()
        if child == 0:
            try:
                empty = client.statistics.near_size == 0
                for _ in range(3):
                    cache.get("k")
                found = client.statistics
                counts = found.near_size, found.near_hits, found.near_misses
                os._exit(0 if empty and counts == (1, 4, 2) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.statistics.near_size == 1
