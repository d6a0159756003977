"""Cache listeners: real events, in each form that a listener can ask for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from hotrod_codec import Duration, Op, Response, Status, TimeUnit, Version, protostream
from integration.conftest import Servers
from integration.outcomes import Outcomes
from integration.peers import Peer, Target

ADD, REMOVE = Op.ADD_CLIENT_LISTENER, Op.REMOVE_CLIENT_LISTENER
CREATED, MODIFIED = Op.CACHE_ENTRY_CREATED, Op.CACHE_ENTRY_MODIFIED
REMOVED, EXPIRED = Op.CACHE_ENTRY_REMOVED, Op.CACHE_ENTRY_EXPIRED
PLAIN, CUSTOM, RAW = 0, 1, 2
KEY_VALUE_VERSION = "___eager-key-value-version-converter"

pytestmark = pytest.mark.operation(ADD)


@pytest.fixture
def writer(target: Target, servers: Servers) -> Iterator[Peer]:
    """A second connection, which makes the events: not under test, but able to say milliseconds."""
    witness = Target(target.server, Version.V2_9)
    with Peer(servers.address(target.server), witness, Outcomes().sightings) as peer:
        yield peer


@pytest.fixture
def listener(peer: Peer, key: bytes) -> Iterator[bytes]:
    """The id of a listener, which the test adds and which is removed after it."""
    yield b"listener of " + key
    assert peer.call(REMOVE, listener_id=b"listener of " + key).status == Status.SUCCESS


def add(peer: Peer, listener_id: bytes, **arguments: Any) -> None:
    answer = peer.call(ADD, listener_id=listener_id, **arguments)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {}), answer


def shown(event: Response) -> tuple[Op | None, bytes]:
    return event.op, event.key


def entry_version(peer: Peer, key: bytes) -> int:
    version: int = peer.call(Op.GET_WITH_VERSION, key=key).entry_version
    return version


@pytest.mark.operation(CREATED, MODIFIED, REMOVED)
def test_writes_of_others_are_told(peer: Peer, writer: Peer, listener: bytes, key: bytes) -> None:
    add(peer, listener)
    writer.call(Op.PUT, key=key, value=b"one")
    first = entry_version(writer, key)
    writer.call(Op.PUT, key=key, value=b"two")
    second = entry_version(writer, key)
    writer.call(Op.REMOVE, key=key)

    common = {"listener_id": listener, "custom_marker": PLAIN, "retried": False, "key": key}
    events = [peer.event() for _ in range(3)]
    assert [event.op for event in events] == [CREATED, MODIFIED, REMOVED]
    assert events[0].fields == common | {"entry_version": first}
    assert events[1].fields == common | {"entry_version": second}
    assert events[2].fields == common
    assert {event.status for event in events} == {Status.SUCCESS}
    assert {event.message_id for event in events} == {0}


@pytest.mark.operation(CREATED, MODIFIED, REMOVED)
def test_own_writes_are_told_before_or_after_their_answers(
    peer: Peer, listener: bytes, key: bytes
) -> None:
    add(peer, listener)
    peer.call(Op.PUT, key=key, value=b"one")
    peer.call(Op.PUT, key=key, value=b"two")
    peer.call(Op.REMOVE, key=key)
    told = [shown(peer.event()) for _ in range(3)]
    assert told == [(CREATED, key), (MODIFIED, key), (REMOVED, key)]


@pytest.mark.operation(EXPIRED)
def test_an_expired_entry_is_told(peer: Peer, writer: Peer, listener: bytes, key: bytes) -> None:
    add(peer, listener)
    writer.call(Op.PUT, key=key, value=b"one", lifespan=Duration(30, TimeUnit.MILLISECONDS))
    assert shown(peer.event()) == (CREATED, key)
    time.sleep(0.05)
    assert writer.call(Op.GET, key=key).status == Status.KEY_DOES_NOT_EXIST
    event = peer.event()
    assert event.op == EXPIRED
    assert event.fields == {
        "listener_id": listener,
        "custom_marker": PLAIN,
        "retried": False,
        "key": key,
    }


@pytest.mark.versions(until=Version.V2_0)
def test_2_0_is_told_too_although_it_has_no_such_event(
    peer: Peer, writer: Peer, listener: bytes, key: bytes
) -> None:
    add(peer, listener)
    writer.call(Op.PUT, key=key, value=b"one", lifespan=Duration(30, TimeUnit.MILLISECONDS))
    time.sleep(0.05)
    writer.call(Op.GET, key=key)
    assert [shown(peer.event()), shown(peer.event())] == [(CREATED, key), (EXPIRED, key)]


@pytest.mark.operation(REMOVED)
def test_the_removal_of_nothing(peer: Peer, writer: Peer, listener: bytes, key: bytes) -> None:
    # Only the newer servers tell it.
    add(peer, listener)
    assert writer.call(Op.REMOVE, key=key).status == Status.KEY_DOES_NOT_EXIST
    writer.call(Op.PUT, key=key, value=b"one")
    if not peer.target.is_legacy:
        assert shown(peer.event()) == (REMOVED, key)
    assert shown(peer.event()) == (CREATED, key)


@pytest.mark.operation(REMOVE)
def test_a_removed_listener_hears_no_more(peer: Peer, writer: Peer, key: bytes) -> None:
    add(peer, b"gone " + key)
    add(peer, b"stays " + key)
    assert peer.call(REMOVE, listener_id=b"gone " + key).status == Status.SUCCESS
    again = peer.call(REMOVE, listener_id=b"gone " + key).status
    assert again == (Status.SUCCESS if peer.target.is_legacy else Status.NOT_EXECUTED)
    writer.call(Op.PUT, key=key, value=b"one")
    assert peer.event().listener_id == b"stays " + key
    assert peer.call(REMOVE, listener_id=b"stays " + key).status == Status.SUCCESS


@pytest.mark.operation(CREATED)
def test_two_listeners_are_told_each(peer: Peer, writer: Peer, key: bytes) -> None:
    ids = {b"first " + key, b"second " + key}
    for listener_id in ids:
        add(peer, listener_id)
    writer.call(Op.PUT, key=key, value=b"one")
    events = [peer.event(), peer.event()]
    assert {event.listener_id for event in events} == ids
    assert {shown(event) for event in events} == {(CREATED, key)}
    for listener_id in ids:
        peer.call(REMOVE, listener_id=listener_id)


@pytest.mark.operation(CREATED)
def test_the_state_comes_as_created_entries(
    peer: Peer, writer: Peer, listener: bytes, key: bytes
) -> None:
    writer.call(Op.CLEAR)
    stored = {b"%b/%d" % (key, i): b"x" * i for i in range(20)}
    writer.call(Op.PUT_ALL, entries=list(stored.items()))
    request = peer.encode(ADD, listener_id=listener, include_state=True)
    assert peer.ask(request).status == Status.SUCCESS
    state = [peer.event() for _ in stored]
    assert {event.op for event in state} == {CREATED}
    assert {event.message_id for event in state} == {request.message_id}
    assert {event.key: event.entry_version for event in state} == {
        k: entry_version(writer, k) for k in stored
    }
    writer.call(Op.PUT, key=key, value=b"new")
    assert shown(peer.event()) == (CREATED, key)


@pytest.mark.operation(CREATED, MODIFIED, REMOVED)
@pytest.mark.versions(since=Version.V2_6)
@pytest.mark.parametrize(
    ("interests", "wanted"),
    [
        (0, [CREATED, MODIFIED, REMOVED]),
        (1, [CREATED]),
        (2, [MODIFIED]),
        (4, [REMOVED]),
        (6, [MODIFIED, REMOVED]),
    ],
)
def test_only_what_is_of_interest(
    peer: Peer, writer: Peer, listener: bytes, key: bytes, interests: int, wanted: list[Op]
) -> None:
    add(peer, listener, interests=interests)
    for k in (key, b"again " + key):
        writer.call(Op.PUT, key=k, value=b"one")
        writer.call(Op.PUT, key=k, value=b"two")
        writer.call(Op.REMOVE, key=k)
    told = [shown(peer.event()) for _ in range(2 * len(wanted))]
    assert told == [(op, k) for k in (key, b"again " + key) for op in wanted]


@pytest.mark.operation(EXPIRED)
@pytest.mark.versions(since=Version.V2_6)
def test_only_expirations(peer: Peer, writer: Peer, listener: bytes, key: bytes) -> None:
    add(peer, listener, interests=8)
    writer.call(Op.PUT, key=key, value=b"one", lifespan=Duration(30, TimeUnit.MILLISECONDS))
    time.sleep(0.05)
    writer.call(Op.GET, key=key)
    assert shown(peer.event()) == (EXPIRED, key)


# ------------------------------------------------------------------ data of one's own


class Converted(NamedTuple):
    """What ___eager-key-value-version-converter makes of an entry."""

    key: bytes
    value: bytes | None = None
    version: int | None = None


def converted(target: Target, event: Response) -> Converted:
    """What is in the event's data; unless they are raw, newer servers wrap key and value."""
    wrapped = event.custom_marker == CUSTOM and not target.is_legacy
    data = event.event_data
    parts: list[bytes] = []
    while data and len(parts) < 2:
        length = data[0]  # all are shorter than 128
        part = data[1 : 1 + length]
        parts.append(protostream.decode(part) if wrapped else part)
        data = data[1 + length :]
    if len(parts) == 1:
        return Converted(parts[0])
    return Converted(parts[0], parts[1], int.from_bytes(data, "big", signed=True))


@pytest.mark.operation(CREATED, MODIFIED, REMOVED)
@pytest.mark.parametrize("raw", [False, True], ids=["custom", "raw"])
def test_a_converter_makes_the_data(
    peer: Peer, writer: Peer, listener: bytes, key: bytes, raw: bool
) -> None:
    if peer.version >= Version.V2_1:
        add(peer, listener, converter_factory=KEY_VALUE_VERSION, use_raw_data=raw)
    else:
        raw = False
        add(peer, listener, converter_factory=KEY_VALUE_VERSION)
    writer.call(Op.PUT, key=key, value=b"one")
    first = entry_version(writer, key)
    writer.call(Op.PUT, key=key, value=b"two")
    second = entry_version(writer, key)
    writer.call(Op.REMOVE, key=key)
    events = [peer.event() for _ in range(3)]
    assert [event.op for event in events] == [CREATED, MODIFIED, REMOVED]
    assert {event.custom_marker for event in events} == {RAW if raw else CUSTOM}
    assert {"key", "entry_version"}.isdisjoint(events[0].fields)
    assert [converted(peer.target, event) for event in events] == [
        Converted(key, b"one", first),
        Converted(key, b"two", second),
        Converted(key),
    ]


@pytest.mark.operation(REMOVED)
def test_a_converter_takes_parameters(
    peer: Peer, writer: Peer, listener: bytes, key: bytes
) -> None:
    # With any parameter this one adds the old value to what is removed.
    writer.call(Op.PUT, key=key, value=b"one")
    version = entry_version(writer, key)
    add(
        peer,
        listener,
        converter_factory=KEY_VALUE_VERSION,
        converter_params=[protostream.encode("x")],
    )
    writer.call(Op.REMOVE, key=key)
    event = peer.event()
    assert event.op == REMOVED
    assert converted(peer.target, event) == Converted(key, b"one", version)


@pytest.mark.parametrize("kind", ["filter", "converter"])
def test_an_unknown_factory_is_an_error(peer: Peer, key: bytes, kind: str) -> None:
    factory: dict[str, Any] = {f"{kind}_factory": "nowhere", f"{kind}_params": [b"", b"x"]}
    answer = peer.call(ADD, listener_id=b"never " + key, **factory)
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, ADD)
    assert "nowhere" in answer.error
