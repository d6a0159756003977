"""The embedded server answers as the newest real one does: the same requests, chosen by chance.

Entry versions are compared by where they came up first; times, and numbers of iterations, not.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from hotrod_codec import (
    CounterConfiguration,
    Duration,
    EncodeError,
    Metadata,
    Op,
    Response,
    TimeUnit,
    Version,
    layout,
    protostream,
)
from integration.conftest import Servers
from integration.embedded import EMBEDDED, Embedded
from integration.infinispan import MODERN
from integration.outcomes import Outcomes
from integration.peers import Peer, Target

pytestmark = pytest.mark.versions(since=Version.V4_1, embedded=False)

REQUESTS = 2500
KEYS = [b"key %d" % i for i in range(5)]
VALUES = [b"", b"one", b"two" * 50]
DURATIONS = [None, None, math.inf, 100, 50, Duration(3000, TimeUnit.MILLISECONDS), 7.5]
FLAGS = [0, 0, 1, 1, 2, 4, 6, 8, 0x10]
CACHES = ["octets", "octets", "", "mortal", "text", "objects", "proto"]
COUNTERS = [
    CounterConfiguration(initial=3),
    CounterConfiguration(initial=5, lower=-10, upper=10),
    CounterConfiguration(concurrency=4),
]
OPERATIONS = [
    *(Op.PUT, Op.GET, Op.PUT_IF_ABSENT, Op.REPLACE, Op.REPLACE_IF_UNMODIFIED, Op.REMOVE),
    *(Op.REMOVE_IF_UNMODIFIED, Op.CONTAINS_KEY, Op.GET_WITH_VERSION, Op.GET_WITH_METADATA),
    *(Op.SIZE, Op.BULK_GET, Op.BULK_GET_KEYS, Op.PUT_ALL, Op.GET_ALL, Op.CLEAR, Op.GET_STREAM),
    *(op for op in Op if "MULTIMAP" in op.name),
    *(Op.COUNTER_CREATE, Op.COUNTER_ADD_AND_GET, Op.COUNTER_GET, Op.COUNTER_CAS),
    *(Op.COUNTER_RESET, Op.COUNTER_REMOVE, Op.COUNTER_IS_DEFINED, Op.COUNTER_GET_AND_SET),
    Op.COUNTER_GET_CONFIGURATION,
]


class Side:
    """One of the two servers, and the entry versions that it has told."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.versions = [1]

    def ask(self, version: Version, op: Op, fields: dict[str, Any], told: int) -> dict[str, Any]:
        """What it answers, in a form that the other one's can be compared with.

        Args:
            told: Which of the entry versions that were told, counted back, to ask for.
        """
        if "entry_version" in fields:
            fields = fields | {"entry_version": self.versions[-told % len(self.versions)]}
        self._peer.version = version
        answer = self._peer.call(op, **fields)
        found = {"status": answer.status, "topology": answer.topology}
        return found | {name: self._comparable(name, answer) for name in answer.fields}

    def _comparable(self, name: str, answer: Response) -> Any:
        value = answer.fields[name]
        if name == "entry_version":
            return self._number(value)
        if name == "error":
            return value.partition(":")[0]
        if isinstance(value, Metadata):
            number = value.version if value.version <= 0 else self._number(value.version)
            return (number, value.lifespan, value.max_idle)
        return sorted(value) if isinstance(value, list) else value

    def _number(self, version: int) -> int:
        if version not in self.versions:
            self.versions.append(version)
        return self.versions.index(version)


def request(source: random.Random, name: str) -> tuple[Version, Op, dict[str, Any], int]:
    """A version, an operation and its arguments."""
    while True:
        op = source.choice(OPERATIONS)
        version = source.choice([v for v in Version if v >= Version.V2_0])
        found = layout(op)
        rare = op == Op.CLEAR and source.random() < 0.8
        if found.since <= version <= found.until and not rare:
            break
    cache = "multimap" if "MULTIMAP" in op.name else source.choice(CACHES)
    keys, values = KEYS, VALUES
    if cache in ("objects", "proto"):
        keys, values = (list(map(protostream.encode, given)) for given in (KEYS, VALUES))
    is_counter = op.name.startswith("COUNTER")
    choices: dict[str, Any] = {
        "key": source.choice(keys),
        "value": source.choice([0, 3, 11, -11] if is_counter else values),
        "lifespan": source.choice(DURATIONS),
        "max_idle": source.choice(DURATIONS),
        "entry_version": 0,
        "entries": [(key, source.choice(values)) for key in source.sample(keys, 2)],
        "keys": source.sample(keys, 3),
        "count": 0,
        "name": f"{name} {source.randrange(3)}",
        "config": source.choice(COUNTERS),
        "delta": source.choice([0, 1, -1, 5, -5, 100, -100, 2**62]),
        "expect": source.choice([0, 1, 5, 10]),
        "update": source.choice([0, 1, 5, 10, 11]),
        "supports_duplicates": False,
    }
    wanted = {each for field in found.request for each in field.names if field.since <= version}
    fields = {each: choices[each] for each in choices if each in wanted}
    flags = {} if is_counter else {"flags": source.choice(FLAGS)}
    told = 1 if source.random() < 0.7 else source.randrange(1, 20)
    return version, op, fields | flags | {"cache": "" if is_counter else cache}, told


@pytest.fixture
def sides(target: Target, servers: Servers) -> Iterator[list[Side]]:
    embedded = Embedded()
    embedded.start()
    try:
        addresses = [servers.address(target.server), embedded.addresses[0]]
        names = [target.server, EMBEDDED]
        peers = [
            Peer(address, Target(name, Version.V4_1), Outcomes().sightings)
            for address, name in zip(addresses, names, strict=True)
        ]
        for peer in peers:
            for cache in {*CACHES, "multimap"}:
                peer.call(Op.CLEAR, cache=cache)
        yield [Side(peer) for peer in peers]
        for peer in peers:
            peer.socket.close()
    finally:
        embedded.stop()


@pytest.mark.parametrize("seed", range(3))
def test_the_embedded_server_answers_as_the_newest_one(
    target: Target, sides: list[Side], key: bytes, seed: int
) -> None:
    assert target.server == MODERN
    source = random.Random(seed)
    asked = 0
    while asked < REQUESTS:
        version, op, fields, told = request(source, key.decode())
        try:
            real, embedded = (side.ask(version, op, fields, told) for side in sides)
        except EncodeError:
            continue  # not to be said in this version
        asked += 1
        assert embedded == real, (asked, version, op, fields)
