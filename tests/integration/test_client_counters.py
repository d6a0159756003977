"""Listeners of counters: what changes is told, also after the connection was lost."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from client.both import connect
from client.relay import Relay, until
from hotrod_codec import CounterConfiguration, Op, Status, Version
from hotrod_codec.client import (
    CounterBoundError,
    CounterEvent,
    CounterMissingError,
    CounterState,
    EventKind,
)
from integration.conftest import Servers
from integration.outcomes import Outcomes
from integration.peers import Peer, Target

pytestmark = pytest.mark.versions(since=Version.V2_7)

VALID, LOWER, UPPER = CounterState


@pytest.fixture
def client(relayed_client: Any) -> Any:
    return relayed_client


@pytest.fixture
def name(client: Any, key: bytes) -> str:
    """A counter between 0 and 10."""
    name = key.decode()
    client.counters.define(name, CounterConfiguration(initial=5, lower=0, upper=10))
    return name


def changed(name: str, old: int, new: int, *states: CounterState) -> CounterEvent:
    return CounterEvent(EventKind.MODIFIED, name, old, new, *states)


def test_changes_are_told(client: Any, name: str) -> None:
    counter = client.counters.get(name)
    with counter.add_listener() as events:
        counter.add_and_get(3)
        assert events.next(10) == changed(name, 5, 8)
        with pytest.raises(CounterBoundError):
            counter.add_and_get(3)
        assert events.next(10) == changed(name, 8, 10, VALID, UPPER)
        counter.compare_and_set(10, 1)
        assert events.next(10) == changed(name, 10, 1, UPPER, VALID)
        with pytest.raises(CounterBoundError):
            counter.add_and_get(-3)
        assert events.next(10) == changed(name, 1, 0, VALID, LOWER)
        counter.reset()
        assert events.next(10) == changed(name, 0, 5, LOWER, VALID)
    assert events.next(1) is None


@pytest.mark.versions(newest=True)
def test_several_counters_and_several_listeners(client: Any, name: str) -> None:
    names = [f"{name} {i}" for i in range(3)]
    for each in names:
        client.counters.define(each, CounterConfiguration())
    with (
        client.counters.add_listener(*names[:2]) as two,
        client.counters.add_listener(*names) as three,
    ):
        for each in names:
            client.counters.get(each).increment_and_get()
        assert [two.next(10).name for _ in range(2)] == names[:2]
        assert [three.next(10).name for _ in names] == names


@pytest.mark.versions(newest=True)
def test_a_counter_that_is_not_there(client: Any, name: str) -> None:
    with pytest.raises(CounterMissingError, match="nothing"):
        client.counters.add_listener(name, f"nothing of {name}")
    with client.counters.get(name).add_listener() as events:
        client.counters.get(name).increment_and_get()
        assert events.next(10) == changed(name, 5, 6)


@pytest.mark.versions(newest=True)
def test_it_listens_anew(client: Any, relay: Relay, name: str) -> None:
    counter = client.counters.get(name)
    with counter.add_listener() as events:
        for _ in range(3):
            relay.cut_listeners()
            counter.increment_and_get()
            relay.let_listen()
            assert until(lambda: events.next(0.1)).kind is EventKind.FAILOVER
            counter.decrement_and_get()
            # A server that is busy may tell late of what was before.
            until(lambda: events.next(1) == changed(name, 6, 5))


@pytest.mark.versions(newest=True)
def test_nothing_remains_at_the_server(
    client: Any, target: Target, servers: Servers, name: str
) -> None:
    """Not even after it was closed, an id is known that was not removed."""
    listener = client.counters.get(name).add_listener()
    listener_id = listener._id
    listener.remove()
    listener.remove()
    with Peer(servers.address(target.server), target, Outcomes().sightings) as peer:
        peer.cache = "org.infinispan.COUNTER"
        answer = peer.call(Op.COUNTER_REMOVE_LISTENER, name="", listener_id=listener_id)
    assert answer.status == Status.KEY_DOES_NOT_EXIST


@pytest.mark.versions(newest=True)
def test_callbacks(target: Target, servers: Servers, client: Any, name: str) -> None:
    heard: list[CounterEvent] = []
    arrived = threading.Semaphore(0)

    def callback(event: CounterEvent) -> None:
        heard.append(event)
        arrived.release()

    with (
        connect("sync", addresses=[servers.address(target.server)]) as other,
        other.counters.add_listener(name, callback=callback),
    ):
        client.counters.get(name).increment_and_get()
        assert arrived.acquire(timeout=10)
    assert heard == [changed(name, 5, 6)]


@pytest.mark.versions(since=Version.V3_1)
def test_a_value_is_set_and_the_one_before_told(client: Any, name: str) -> None:
    counter = client.counters.get(name)
    assert counter.get_and_set(7) == 5
    assert counter.value() == 7
    with pytest.raises(CounterBoundError):
        counter.get_and_set(11)
    with pytest.raises(CounterMissingError):
        client.counters.get(f"no {name}").get_and_set(1)
