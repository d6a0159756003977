"""Counters: strong, bounded and weak ones, and the events of those who listen to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hotrod_codec import CounterConfiguration, Op, Status, Version
from integration.conftest import Servers
from integration.outcomes import Outcomes
from integration.peers import Peer, Target

COUNTERS = "org.infinispan.COUNTER"
STRONG = CounterConfiguration(initial=7)
BOUNDED = CounterConfiguration(initial=5, lower=-10, upper=10)
WEAK = CounterConfiguration(initial=3, concurrency=4)
LOWEST, HIGHEST = -(2**63), 2**63 - 1
VALID, AT_LOWER, AT_UPPER = range(3)


@pytest.fixture
def peer(peer: Peer) -> Peer:
    peer.cache = COUNTERS
    return peer


@pytest.fixture
def name(key: bytes) -> str:
    return key.decode()


def create(peer: Peer, name: str, config: CounterConfiguration = STRONG) -> None:
    answer = peer.call(Op.COUNTER_CREATE, name=name, config=config)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})


def value(peer: Peer, name: str) -> int:
    found: int = peer.call(Op.COUNTER_GET, name=name).value
    return found


@pytest.mark.operation(Op.COUNTER_CREATE, Op.COUNTER_GET_CONFIGURATION, Op.COUNTER_GET)
@pytest.mark.parametrize(
    "config",
    [
        CounterConfiguration(),
        CounterConfiguration(initial=-1),
        CounterConfiguration(initial=HIGHEST),
        BOUNDED,
        CounterConfiguration(initial=LOWEST, lower=LOWEST, upper=HIGHEST),
        WEAK,
        CounterConfiguration(concurrency=300),
        CounterConfiguration(initial=2, persistent=True),
        CounterConfiguration(initial=2, lower=0, upper=3, persistent=True),
        CounterConfiguration(initial=2, concurrency=1, persistent=True),
    ],
    ids=str,
)
def test_a_counter_is_what_it_was_created_as(
    peer: Peer, name: str, config: CounterConfiguration
) -> None:
    create(peer, name, config)
    answer = peer.call(Op.COUNTER_GET_CONFIGURATION, name=name)
    assert (answer.status, answer.config) == (Status.SUCCESS, config)
    assert value(peer, name) == config.initial


@pytest.mark.operation(Op.COUNTER_CREATE)
def test_a_counter_is_created_once(peer: Peer, name: str) -> None:
    create(peer, name)
    answer = peer.call(Op.COUNTER_CREATE, name=name, config=BOUNDED)
    assert (answer.status, answer.fields) == (Status.NOT_EXECUTED, {})
    assert peer.call(Op.COUNTER_GET_CONFIGURATION, name=name).config == STRONG


@pytest.mark.operation(Op.COUNTER_IS_DEFINED)
def test_is_defined_answers_by_status(peer: Peer, name: str) -> None:
    assert peer.call(Op.COUNTER_IS_DEFINED, name=name).status == Status.NOT_EXECUTED
    create(peer, name)
    assert peer.call(Op.COUNTER_IS_DEFINED, name=name).status == Status.SUCCESS


@pytest.mark.operation(Op.COUNTER_GET_NAMES)
def test_names_are_told(peer: Peer, name: str) -> None:
    assert name not in peer.call(Op.COUNTER_GET_NAMES).names
    create(peer, name)
    assert name in peer.call(Op.COUNTER_GET_NAMES).names


@pytest.mark.operation(Op.COUNTER_ADD_AND_GET, Op.COUNTER_GET)
def test_add_and_get(peer: Peer, name: str) -> None:
    create(peer, name)
    for delta, sum_ in ((1, 8), (0, 8), (-10, -2), (2**40, 2**40 - 2)):
        answer = peer.call(Op.COUNTER_ADD_AND_GET, name=name, delta=delta)
        assert (answer.status, answer.value) == (Status.SUCCESS, sum_)
    assert value(peer, name) == 2**40 - 2


@pytest.mark.operation(Op.COUNTER_ADD_AND_GET)
@pytest.mark.parametrize(("delta", "bound"), [(6, 10), (-16, -10), (2**62, 10)])
def test_a_bound_is_not_passed(peer: Peer, name: str, delta: int, bound: int) -> None:
    create(peer, name, BOUNDED)
    for _ in range(2):
        answer = peer.call(Op.COUNTER_ADD_AND_GET, name=name, delta=delta)
        assert (answer.status, answer.fields) == (Status.NOT_EXECUTED_WITH_PREVIOUS, {})
        assert value(peer, name) == bound


@pytest.mark.operation(Op.COUNTER_ADD_AND_GET)
def test_a_weak_counter_adds_without_telling(peer: Peer, name: str) -> None:
    create(peer, name, WEAK)
    answer = peer.call(Op.COUNTER_ADD_AND_GET, name=name, delta=4)
    assert (answer.status, answer.value) == (Status.SUCCESS, 0)
    assert value(peer, name) == 7


@pytest.mark.operation(Op.COUNTER_RESET)
def test_reset_sets_the_initial_value(peer: Peer, name: str) -> None:
    create(peer, name)
    peer.call(Op.COUNTER_ADD_AND_GET, name=name, delta=10)
    answer = peer.call(Op.COUNTER_RESET, name=name)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    assert value(peer, name) == STRONG.initial


@pytest.mark.operation(Op.COUNTER_CAS)
def test_compare_and_set_answers_the_value_before(peer: Peer, name: str) -> None:
    create(peer, name)
    done = peer.call(Op.COUNTER_CAS, name=name, expect=7, update=-9)
    assert (done.status, done.value) == (Status.SUCCESS, 7)
    refused = peer.call(Op.COUNTER_CAS, name=name, expect=7, update=1)
    assert (refused.status, refused.value) == (Status.SUCCESS, -9)
    assert value(peer, name) == -9


@pytest.mark.operation(Op.COUNTER_CAS)
def test_compare_and_set_beyond_a_bound(peer: Peer, name: str) -> None:
    create(peer, name, BOUNDED)
    answer = peer.call(Op.COUNTER_CAS, name=name, expect=5, update=11)
    assert (answer.status, answer.fields) == (Status.NOT_EXECUTED_WITH_PREVIOUS, {})
    answer = peer.call(Op.COUNTER_CAS, name=name, expect=4, update=11)
    assert (answer.status, answer.value) == (Status.SUCCESS, 5)


@pytest.mark.operation(Op.COUNTER_CAS)
def test_compare_and_set_of_a_weak_counter_is_an_error(peer: Peer, name: str) -> None:
    create(peer, name, WEAK)
    answer = peer.call(Op.COUNTER_CAS, name=name, expect=3, update=4)
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, Op.COUNTER_CAS)


@pytest.mark.operation(Op.COUNTER_GET_AND_SET)
def test_get_and_set(peer: Peer, name: str) -> None:
    create(peer, name, BOUNDED)
    answer = peer.call(Op.COUNTER_GET_AND_SET, name=name, value=-3)
    assert (answer.status, answer.value) == (Status.SUCCESS, 5)
    assert value(peer, name) == -3
    answer = peer.call(Op.COUNTER_GET_AND_SET, name=name, value=11)
    assert (answer.status, answer.fields) == (Status.NOT_EXECUTED_WITH_PREVIOUS, {})


@pytest.mark.operation(Op.COUNTER_REMOVE)
def test_a_removed_counter_begins_anew(peer: Peer, name: str) -> None:
    create(peer, name)
    peer.call(Op.COUNTER_ADD_AND_GET, name=name, delta=10)
    answer = peer.call(Op.COUNTER_REMOVE, name=name)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    assert peer.call(Op.COUNTER_IS_DEFINED, name=name).status == Status.SUCCESS
    assert value(peer, name) == STRONG.initial


NO_COUNTER = Status.KEY_DOES_NOT_EXIST
UNDEFINED: dict[Op, tuple[Status, dict[str, Any]]] = {
    Op.COUNTER_GET_CONFIGURATION: (NO_COUNTER, {}),
    Op.COUNTER_ADD_AND_GET: (NO_COUNTER, {"delta": 1}),
    Op.COUNTER_RESET: (NO_COUNTER, {}),
    Op.COUNTER_GET: (NO_COUNTER, {}),
    Op.COUNTER_CAS: (NO_COUNTER, {"expect": 1, "update": 2}),
    Op.COUNTER_ADD_LISTENER: (NO_COUNTER, {"listener_id": b"nobody"}),
    Op.COUNTER_REMOVE_LISTENER: (NO_COUNTER, {"listener_id": b"nobody"}),
    Op.COUNTER_REMOVE: (Status.SUCCESS, {}),
    Op.COUNTER_GET_AND_SET: (NO_COUNTER, {"value": 1}),
}


@pytest.mark.each_operation(*UNDEFINED)
def test_an_undefined_counter(peer: Peer, name: str, op: Op) -> None:
    status, arguments = UNDEFINED[op]
    answer = peer.call(op, name=name, **arguments)
    assert (answer.status, answer.fields) == (status, {})


# ------------------------------------------------------------------ listeners


@pytest.fixture
def other(target: Target, servers: Servers) -> Iterator[Peer]:
    """A second connection, which changes counters: not under test."""
    witness = Target(target.server, Version.V2_9)
    with Peer(servers.address(target.server), witness, Outcomes().sightings) as peer:
        peer.cache = COUNTERS
        yield peer


def listen(peer: Peer, name: str, listener_id: bytes) -> Status:
    return peer.call(Op.COUNTER_ADD_LISTENER, name=name, listener_id=listener_id).status


def forget(peer: Peer, name: str, listener_id: bytes) -> Status:
    return peer.call(Op.COUNTER_REMOVE_LISTENER, name=name, listener_id=listener_id).status


@pytest.mark.operation(Op.COUNTER_ADD_LISTENER, Op.COUNTER_REMOVE_LISTENER, Op.COUNTER)
def test_changes_of_others_are_told(peer: Peer, other: Peer, name: str, key: bytes) -> None:
    create(peer, name)
    assert listen(peer, name, key) == Status.SUCCESS
    other.call(Op.COUNTER_ADD_AND_GET, name=name, delta=-10)
    other.call(Op.COUNTER_RESET, name=name)
    events = [peer.event(), peer.event()]
    common = {"name": name, "listener_id": key, "state": VALID}
    assert events[0].fields == common | {"old_value": 7, "new_value": -3}
    assert events[1].fields == common | {"old_value": -3, "new_value": 7}
    assert {(event.op, event.message_id) for event in events} == {(Op.COUNTER, 0)}
    assert forget(peer, name, key) == Status.SUCCESS
    other.call(Op.COUNTER_ADD_AND_GET, name=name, delta=1)


@pytest.mark.operation(Op.COUNTER)
def test_an_event_tells_of_bounds(peer: Peer, other: Peer, name: str, key: bytes) -> None:
    create(peer, name, BOUNDED)
    listen(peer, name, key)
    for delta in (100, -5, -100):
        other.call(Op.COUNTER_ADD_AND_GET, name=name, delta=delta)
    changes = [
        (e.state & 3, e.old_value, e.state >> 2, e.new_value)
        for e in (peer.event(), peer.event(), peer.event())
    ]
    assert changes == [
        (VALID, 5, AT_UPPER, 10),
        (AT_UPPER, 10, VALID, 5),
        (VALID, 5, AT_LOWER, -10),
    ]
    forget(peer, name, key)


@pytest.mark.operation(Op.COUNTER, Op.COUNTER_ADD_AND_GET)
def test_a_bound_is_reached_by_what_would_go_beyond(peer: Peer, name: str, key: bytes) -> None:
    """To have its value is not enough, and what moves it frees it."""
    create(peer, name, BOUNDED)
    listen(peer, name, key)
    reached, done = Status.NOT_EXECUTED_WITH_PREVIOUS, Status.SUCCESS
    for delta, status in (
        (5, done), (0, done), (1, reached), (0, reached), (1, reached), (-1, done), (1, done),
        (-20, done), (0, done), (-1, reached), (0, reached), (20, done), (1, reached),
    ):  # fmt: skip
        assert peer.call(Op.COUNTER_ADD_AND_GET, name=name, delta=delta).status == status
    assert peer.call(Op.COUNTER_CAS, name=name, expect=10, update=10).status == done
    assert peer.call(Op.COUNTER_ADD_AND_GET, name=name, delta=0).status == done
    changes = [
        (e.old_value, e.state & 3, e.new_value, e.state >> 2)
        for e in (peer.event() for _ in range(9))
    ]
    assert changes == [
        (5, VALID, 10, VALID),
        (10, VALID, 10, AT_UPPER),
        (10, AT_UPPER, 9, VALID),
        (9, VALID, 10, VALID),
        (10, VALID, -10, VALID),
        (-10, VALID, -10, AT_LOWER),
        (-10, AT_LOWER, 10, VALID),
        (10, VALID, 10, AT_UPPER),
        (10, AT_UPPER, 10, VALID),
    ]
    forget(peer, name, key)


@pytest.mark.operation(Op.COUNTER_ADD_LISTENER, Op.COUNTER_REMOVE_LISTENER, Op.COUNTER)
def test_one_listener_of_two_counters(peer: Peer, other: Peer, name: str, key: bytes) -> None:
    names = [f"{name} {i}" for i in range(2)]
    for each in names:
        create(peer, each)
    assert [listen(peer, each, key) for each in names] == [Status.SUCCESS, Status.NOT_EXECUTED]
    for each in names:
        other.call(Op.COUNTER_ADD_AND_GET, name=each, delta=1)
    assert [peer.event().name for _ in names] == names
    # NOT_EXECUTED: there are others; SUCCESS: that was the last.
    assert [forget(peer, each, key) for each in names] == [Status.NOT_EXECUTED, Status.SUCCESS]
    assert forget(peer, names[0], key) == Status.KEY_DOES_NOT_EXIST


@pytest.mark.operation(Op.COUNTER_REMOVE_LISTENER)
def test_no_name_removes_a_listener_from_all(
    peer: Peer, other: Peer, name: str, key: bytes
) -> None:
    names = [f"{name} {i}" for i in range(2)]
    for each in names:
        create(peer, each)
        listen(peer, each, key)
    assert forget(peer, "", key) == Status.SUCCESS
    for each in names:
        other.call(Op.COUNTER_ADD_AND_GET, name=each, delta=1)
        assert forget(peer, each, key) == Status.KEY_DOES_NOT_EXIST


@pytest.mark.operation(Op.COUNTER)
def test_own_changes_are_told_before_or_after_their_answers(
    peer: Peer, name: str, key: bytes
) -> None:
    create(peer, name, WEAK)
    listen(peer, name, key)
    for delta in (1, 2, 3):
        assert peer.call(Op.COUNTER_ADD_AND_GET, name=name, delta=delta).value == 0
    assert [peer.event().new_value for _ in range(3)] == [4, 6, 9]
    forget(peer, name, key)
