"""hotrod_codec.client.cluster: which server, and what next."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest

from hotrod_codec import (
    AuthenticationError,
    HashWheel,
    Intelligence,
    LimitError,
    Op,
    RequestTimeoutError,
    ServerAddress,
    Status,
    Topology,
    TransportError,
    Version,
    segment_of,
)
from hotrod_codec.client.cluster import (
    Call,
    Calls,
    Cluster,
    RoundRobin,
    Routing,
    Statement,
    may_retry,
)
from hotrod_codec.client.config import Configuration
from hotrod_codec.client.session import ConnectError, Header, NotSentError
from hotrod_codec.errors import server_error

A, B, C, D = (ServerAddress(name, 1) for name in "abcd")
KEYS = [str(i).encode() for i in range(1000)]


def cluster(*addresses: ServerAddress, **settings: Any) -> Cluster:
    return Cluster(Configuration(addresses=addresses or (A,), **settings))


def topology(*servers: ServerAddress, id: int = 5, segments: int = 60) -> Topology:
    n = len(servers)
    owners = tuple((i % n, (i + 1) % n) if n > 1 else (0,) for i in range(segments))
    return Topology(id, servers, hash_version=3, segment_owners=owners)


def test_before_the_first_topology_the_given_servers_take_turns() -> None:
    c = cluster(A, B)
    state = c.cache("x")
    assert state.routing.topology_id == -1
    assert [c.choose(state, b"k", (), 0.0) for _ in range(4)] == [A, B, A, B]


def test_keys_go_to_their_primary_owners() -> None:
    c = cluster()
    state = c.cache("x")
    known = topology(A, B, C)
    assert c.learn(state, known, c.generation)
    assert known.segment_owners is not None
    for key in KEYS:
        primary = known.segment_owners[segment_of(key, 60)][0]
        assert c.choose(state, key, (), 0.0) == known.servers[primary]
    assert {c.choose(state, None, (), 0.0) for _ in range(3)} == {A, B, C}


def many(c: Cluster, keys: Sequence[bytes | None]) -> Calls:
    return Calls(Op.GET, c.cache("x"), Header("x"), list(keys), keys)


def test_many_keys_are_split_as_each_of_them_would_be() -> None:
    c = cluster()
    state = c.cache("x")
    assert c.split(many(c, KEYS), range(1000), (), 0.0) == {A: range(1000)}
    c.learn(state, topology(A, B, C), c.generation)
    calls = many(c, KEYS)
    split = c.split(calls, range(1000), (), 0.0)
    assert sorted(i for indices in split.values() for i in indices) == list(range(1000))
    for server, indices in split.items():
        assert list(indices) == sorted(indices)
        assert {c.choose(state, KEYS[i], (), 0.0) for i in indices} == {server}
        assert calls.only(indices).items == [KEYS[i] for i in indices]
    some = c.split(calls, list(split[B]), (B,), 0.0)
    assert B not in some
    assert sorted(i for indices in some.values() for i in indices) == list(split[B])
    c.server_failed(B, 0.0)
    for server, indices in c.split(calls, range(1000), (), 1.0).items():
        assert {c.choose(state, KEYS[i], (), 1.0) for i in indices} == {server}


def test_many_keys_without_owners_take_turns() -> None:
    c = cluster(A, B)
    split = c.split(many(c, KEYS[:4]), range(4), (), 0.0)
    assert split == {A: [0, 2], B: [1, 3]}
    state = c.cache("x")
    nobody = topology(A, B)
    assert nobody.segment_owners is not None
    segments = (*nobody.segment_owners[:-1], ())
    c.learn(state, replace(nobody, segment_owners=segments), c.generation)
    found = state.routing.split(KEYS)
    assert set(found) == {A, B, None}
    assert {segment_of(KEYS[i], 60) for i in found[None]} == {59}
    assert set(c.split(many(c, KEYS), range(1000), (), 0.0)) == {A, B}


def test_the_wheel_splits_as_it_chooses() -> None:
    wheel = HashWheel([3, 9], hash_space=10_000)
    routing = Routing(1, [A, B], wheel=wheel)
    for server, indices in routing.split(KEYS).items():
        assert {routing.owners_of(KEYS[i]) for i in indices} == {(server,)}


def test_pieces_of_many_requests() -> None:
    c = cluster()
    calls = many(c, [b"x" * 60] * 10)
    assert calls.cut(0, 100, 10**6) == (10, 1000)
    assert calls.cut(2, 3, 10**6) == (5, 300)
    assert calls.cut(2, 100, 250) == (4, 200)
    assert calls.cut(9, 100, 1) == (10, 100)
    encoder = Header("x").encoder(Version.V4_1, Intelligence.BASIC)
    assert calls.encoded(encoder, 5, 3, 5) == encoder.get_many([b"x" * 60] * 2, 5)
    fields = [{"keys": [b"a"]}, {"keys": [b"b", b"c"]}]
    both = Calls(Op.GET_ALL, c.cache("x"), Header("x"), fields, [None, None])
    assert both.encoded(encoder, 5, 0, 2) == encoder.get_all([b"a"], 5) + encoder.get_all(
        [b"b", b"c"], 6
    )


@pytest.mark.parametrize("op", [Op.GET, Op.PUT, Op.REMOVE])
@pytest.mark.parametrize("seed", range(20))
def test_pieces_are_in_order_and_no_longer_than_they_may_be(op: Op, seed: int) -> None:
    draw = random.Random(seed)
    c = cluster()
    sizes = [draw.choice((1, 20, 20, 20, 3000)) for _ in range(500)]
    items: list[Any] = [bytes(size) for size in sizes]
    if op is Op.PUT:
        items = [(key[: len(key) // 2], key[len(key) // 2 :]) for key in items]
    elif op is Op.REMOVE:
        items = [{"key": key} for key in items]
    calls = Calls(op, c.cache("x"), Header("x"), items, [None] * 500)
    start = pieces = 0
    while start < 500:
        most, size = draw.randrange(1, 300), draw.choice((1, 100, 2000, 10_000))
        stop, total = calls.cut(start, most, size)
        assert start < stop <= min(start + most, 500)
        assert total == sum(sizes[start:stop]) + 40 * (stop - start)
        assert total <= size or stop == start + 1
        start, pieces = stop, pieces + 1
    assert pieces > 5


def test_when_the_primary_fails_the_backup_is_next() -> None:
    c = cluster()
    state = c.cache("x")
    known = topology(A, B, C)
    c.learn(state, known, c.generation)
    assert known.segment_owners is not None
    for key in KEYS[:50]:
        first, second = known.segment_owners[segment_of(key, 60)]
        assert c.choose(state, key, [known.servers[first]], 0.0) == known.servers[second]


def test_topologies_are_per_cache_and_compared_for_equality_only() -> None:
    c = cluster()
    x, y = c.cache("x"), c.cache("y")
    assert c.learn(x, topology(A, B, id=-7), c.generation)
    assert not c.learn(x, topology(C, id=-7), c.generation)
    assert c.learn(x, topology(C, id=-9), c.generation)
    assert x.routing.servers == (C,)
    assert y.routing.servers == (A,)
    assert c.servers() == {A, C}


def test_after_a_restart_a_known_number_may_be_of_another_topology() -> None:
    """Servers until 9.4 count from the beginning when all of them are started anew."""
    c = cluster()
    x, y = c.cache("x"), c.cache("y")
    c.learn(x, topology(A, B), c.generation)
    c.learn(y, topology(C, D), c.generation)
    c.server_lost(A)
    assert (x.routing.topology_id, y.routing.topology_id) == (-1, 5)
    assert x.routing.servers == (A, B)
    assert c.choose(x, KEYS[0], (), 0.0) in (A, B)
    assert c.learn(x, topology(B, A), c.generation)
    assert x.routing.servers == (B, A)


def test_a_topology_without_owners() -> None:
    c = cluster()
    state = c.cache("x")
    c.learn(state, Topology(5, (A, B)), c.generation)
    assert {c.choose(state, b"k", (), 0.0) for _ in range(4)} == {A, B}


def test_segments_without_owners_and_topologies_without_servers() -> None:
    c = cluster()
    state = c.cache("x")
    assert not c.learn(state, Topology(4, ()), c.generation)
    c.learn(state, Topology(5, (A, B), hash_version=3, segment_owners=((),) * 4), c.generation)
    assert {c.choose(state, b"k", (), 0.0) for _ in range(4)} == {A, B}


def test_the_wheel_of_1_x() -> None:
    c = cluster()
    state = c.cache("x")
    ids = (100, 2**30, 2**30 + 2**29)
    known = Topology(5, (A, B, A), hash_version=2, key_owners=2, hash_space=2**31 - 1, hash_ids=ids)
    c.learn(state, known, c.generation)
    wheel = HashWheel(ids, hash_space=2**31 - 1)
    for key in KEYS:
        assert c.choose(state, key, (), 0.0) == known.servers[wheel.owner_of(key)]
    assert state.routing.servers == (A, B)


def test_a_server_that_failed_is_left_alone_for_a_while() -> None:
    c = cluster(A, B, server_failure_timeout=30)
    state = c.cache("x")
    c.server_failed(A, now=100.0)
    assert {c.choose(state, None, (), 129.9) for _ in range(4)} == {B}
    assert {c.choose(state, None, (), 130.0) for _ in range(4)} == {A, B}
    c.server_failed(A, now=200.0)
    c.server_works(A)
    assert {c.choose(state, None, (), 201.0) for _ in range(4)} == {A, B}


def test_the_given_servers_when_those_of_the_topology_cannot_be_reached() -> None:
    """Containers tell addresses that mean nothing outside."""
    c = cluster(A)
    state = c.cache("x")
    c.learn(state, topology(B, C), c.generation)
    for server in (B, C):
        c.server_failed(server, 0.0)
    assert {c.choose(state, key, (), 1.0) for key in KEYS[:20]} == {A}
    # The topology stays: servers would only tell the same one again.
    assert state.routing.topology_id == 5


def test_all_have_failed_and_are_tried_all_the_same() -> None:
    c = cluster(A, B)
    state = c.cache("x")
    for server in (A, B):
        c.server_failed(server, 0.0)
    first = c.choose(state, None, (), 1.0)
    second = c.choose(state, None, (first,), 1.0)
    assert {first, second} == {A, B}
    assert c.choose(state, None, (A, B), 1.0) in (A, B)


@pytest.mark.parametrize(
    "address_map", [{("b", 1): ("d", 1)}, lambda host, port: ("d" if host == "b" else host, port)]
)
def test_addresses_as_they_can_be_reached(address_map: Any) -> None:
    c = cluster(A, address_map=address_map)
    state = c.cache("x")
    c.learn(state, topology(B, C), c.generation)
    assert state.routing.servers == (D, C)


def test_another_balancer() -> None:
    class Last:
        def __init__(self) -> None:
            self.servers: Sequence[ServerAddress] = ()

        def set_servers(self, servers: Sequence[ServerAddress], /) -> None:
            self.servers = servers

        def next_server(self, failed: Collection[ServerAddress], /) -> ServerAddress:
            return [s for s in self.servers if s not in failed][-1]

    c = cluster(A, B, balancer=Last)
    assert c.choose(c.cache("x"), None, (), 0.0) == B


def test_round_robin_skips_what_failed() -> None:
    balancer = RoundRobin()
    balancer.set_servers((A, B, C))
    assert [balancer.next_server({B}) for _ in range(4)] == [A, C, A, C]
    assert balancer.next_server({A, B, C}) in (A, B, C)


# ---- other clusters -----------------------------------------------------------------------------


def test_another_cluster_when_all_servers_of_this_one_failed() -> None:
    c = cluster(A, B, clusters={"nyc": "c:1", "lon": "d:1"})
    state = c.cache("x")
    before = c.generation
    c.server_failed(A, 0.0)
    assert c.choose(state, None, (), 1.0) == B
    c.server_failed(B, 1.0)
    assert c.choose(state, None, (), 2.0) == C
    assert (c.name, state.routing.topology_id) == ("nyc", -2)
    # What is still on its way from the old cluster is of no interest any more.
    assert not c.learn(state, topology(A, B), before)
    assert c.learn(state, topology(C), c.generation)
    c.server_failed(C, 3.0)
    assert c.choose(state, None, (), 4.0) == D
    assert c.name == "lon"


def test_a_request_that_failed_everywhere_is_no_reason_to_leave_the_cluster() -> None:
    c = cluster(A, clusters={"nyc": "c:1"})
    assert c.choose(c.cache("x"), None, [A], 0.0) == A
    assert c.name == ""


def test_switching_by_hand() -> None:
    c = cluster(A, clusters={"nyc": {"addresses": "c:1", "client_intelligence": "basic"}})
    state = c.cache("x")
    state.known = True
    assert c.switch("nyc")
    assert (c.intelligence.name, state.known) == ("BASIC", False)
    assert c.choose(state, None, (), 0.0) == C
    assert not c.switch("tokyo")
    assert c.switch("")
    assert c.choose(state, None, (), 0.0) == A


def test_switching_by_hand_to_a_cluster_that_was_dead() -> None:
    c = cluster(A, clusters={"nyc": "c:1"})
    state = c.cache("x")
    c.server_failed(A, 0.0)
    assert c.choose(state, None, (), 1.0) == C
    assert c.switch("")
    assert c.choose(state, None, (), 2.0) == A
    c.server_failed(A, 3.0)
    assert c.choose(state, None, (), 4.0) == C


# ---- trying again -------------------------------------------------------------------------------


def answered(status: Status) -> Exception:
    return server_error("?", status=status, op=Op.GET, message_id=1)


def too_large() -> Exception:
    error = TransportError("?")
    error.__cause__ = TransportError("?")
    error.__cause__.__cause__ = LimitError("?", op="GET", field="value", offset=0)
    return error


@pytest.mark.parametrize(
    ("error", "read", "write", "allowed_write"),
    [
        (NotSentError("?"), True, True, True),
        (ConnectError("?"), True, True, True),
        (TransportError("?"), True, False, True),
        (RequestTimeoutError("?"), True, False, True),
        (answered(Status.NODE_SUSPECTED), True, False, True),
        (answered(Status.ILLEGAL_LIFECYCLE_STATE), True, False, True),
        (answered(Status.COMMAND_TIMEOUT), False, False, False),
        (answered(Status.SERVER_ERROR), False, False, False),
        (answered(Status.REQUEST_PARSING_ERROR), False, False, False),
        (AuthenticationError("?"), False, False, False),
        (ValueError("?"), False, False, False),
        (too_large(), False, False, False),
    ],
)
def test_what_may_be_tried_again(
    error: Exception, read: bool, write: bool, allowed_write: bool
) -> None:
    assert may_retry(error, reads=True, retry_writes=False) is read
    assert may_retry(error, reads=False, retry_writes=False) is write
    assert may_retry(error, reads=False, retry_writes=True) is allowed_write


def test_what_reads() -> None:
    state, header = cluster().cache(""), Header("")
    for op in (Op.GET, Op.QUERY, Op.SIZE):
        assert Call(op, state, header).reads
    for op in (Op.PUT, Op.CLEAR, Op.EXEC, Op.COUNTER_ADD_AND_GET):
        assert not Call(op, state, header).reads
    assert not Statement(Op.QUERY, state, header).reads
