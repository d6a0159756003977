"""What a client counts of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from client.both import KINDS
from hotrod_codec import Version
from hotrod_codec.client import CacheStatistics
from hotrod_codec.marshallers import BYTES
from integration.conftest import Servers, client_of
from integration.peers import Target


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, target: Target, servers: Servers) -> Iterator[Any]:
    here = [servers.address(target.server)]
    with client_of(target, request.param, here, statistics=True) as client:
        yield client


@pytest.fixture
def octets(client: Any) -> Any:
    return client.cache("octets", keys=BYTES, values=BYTES)


def counts(of: CacheStatistics) -> tuple[int, int, int, int]:
    return of.hits, of.misses, of.stores, of.removes


def test_one_key(octets: Any, key: bytes) -> None:
    assert octets.get(key) is None
    octets.put(key, b"v")
    assert octets.get(key) == b"v"
    assert octets.contains_key(key)
    version = octets.get_with_metadata(key).version
    assert counts(octets.statistics) == (3, 1, 1, 0)
    assert not octets.put_if_absent(key, b"w")
    assert octets.get_and_put(key, b"w") == b"v"
    assert not octets.replace_with_version(key, b"x", version)
    assert octets.replace(key, b"y")
    assert not octets.remove_with_version(key, version)
    assert octets.remove(key)
    assert not octets.remove(key)
    assert counts(octets.statistics) == (3, 1, 3, 1)


def test_many_keys_count_each(client: Any, octets: Any, key: bytes) -> None:
    keys = [key + b"%d" % i for i in range(10)]
    octets.put_all((k, b"v") for k in keys[:4])
    octets.put_many((k, b"v") for k in keys[4:6])
    octets.get_many(keys)
    octets.get_all(keys[4:])
    assert counts(octets.statistics) == (8, 8, 6, 0)
    many = client.cache("many", keys=BYTES, values=BYTES)
    many.put(key, b"v")
    assert counts(many.statistics) == (0, 0, 1, 0)
    assert counts(client.statistics) == (8, 8, 7, 0)
    assert client.statistics.connections >= 1
    assert counts(client.cache("text").statistics) == (0, 0, 0, 0)


@pytest.mark.versions(since=Version.V2_0, newest=True)
def test_near_caches(client: Any, key: bytes) -> None:
    near = client.cache("octets", keys=BYTES, values=BYTES, near_cache=True)
    near.put(key, b"v")
    for _ in range(3):
        assert near.get(key) == b"v"
    found = near.statistics
    assert counts(found) == (1, 0, 1, 0)
    assert (found.near_hits, found.near_misses, found.near_size) == (2, 1, 1)
    near.put(key, b"w")
    found = client.statistics
    assert (found.near_invalidations, found.near_size) == (1, 0)
