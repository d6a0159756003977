"""Both clients against servers that mean no good: a typed error in time, bounded memory, and a
client that is of use afterwards. docs/bad-inputs.md lists what is tried here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import socket
import ssl
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from client.both import KINDS, connect, making
from client.rogue import SECONDS, Crook, Lie, Rogue, head, nothing_stays, text, varint
from hotrod_codec import (
    AuthenticationError,
    HotRodError,
    NodeSuspectedError,
    Op,
    Request,
    RequestTimeoutError,
    ServerAddress,
    ServerError,
    Status,
    Topology,
    TransportError,
    encode_response,
)
from hotrod_codec.client.session import ConnectError
from hotrod_codec.marshallers import TextMarshaller
from hotrod_codec.server.session import Session

SETTINGS: dict[str, Any] = {"connect_timeout": 5.0, "max_retries": 3}
IMPATIENT: dict[str, Any] = {"request_timeout": 0.1, "operation_timeout": 1.0, "max_retries": 0}
MEMORY = 48 * 2**20
CERTIFICATES = Path(__file__).parent.parent / "server" / "certificates"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with nothing_stays():
        yield


@pytest.fixture
def rogue() -> Iterator[Rogue]:
    with Rogue() as rogue:
        yield rogue


@pytest.fixture
def make(kind: str) -> Iterator[Callable[..., Any]]:
    with making(kind, **SETTINGS) as make:
        yield lambda rogue, **more: make(None if rogue is None else rogue.server, **more)


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def works(client: Any) -> None:
    """It is of use again, as soon as it has found out that its connection is not."""
    cache = client.cache()
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            cache.put("a", "A")
            assert cache.get("a") == "A"
            return
        except (TransportError, RequestTimeoutError):
            assert time.monotonic() < deadline


# ---- what is claimed and does not come ----------------------------------------------------------

HUGE = (2**28 + 1, 2**31 - 1, 2**32 - 1, 2**35 - 1)
ENDLESS = (2**20, 2**28 - 1)

Act = Callable[[Any], Any]


def iterate(cache: Any) -> Any:
    return list(cache.entries())


CALLS: dict[Op, Act] = {
    Op.GET: lambda client: client.cache().get("a"),
    Op.GET_ALL: lambda client: client.cache().get_all(["a"]),
    Op.GET_WITH_METADATA: lambda client: client.cache().get_with_metadata("a"),
    Op.STATS: lambda client: client.cache().stats(),
    Op.SIZE: lambda client: client.cache().size(),
    Op.PUT: lambda client: client.cache().put("b", "B"),
    Op.ITERATION_START: lambda client: iterate(client.cache()),
    Op.ITERATION_NEXT: lambda client: iterate(client.cache()),
    Op.COUNTER_GET_NAMES: lambda client: client.counters.names(),
    Op.EXEC: lambda client: client.admin.cache_names(),
}


def says(*parts: bytes, status: int = 0) -> Lie:
    return lambda s, q: head(q, status) + b"".join(parts)


def hash_aware(servers: int, segments: int, *, rest: bytes = b"") -> bytes:
    """A topology that claims so many servers and segments."""
    return b"\x01" + varint(7) + varint(servers) + rest + b"\x03" + varint(segments)


SERVER = text("127.0.0.1") + b"\x00\x01"

LIES: dict[str, tuple[Op, Lie]] = {
    "a value of 2 GiB that does not come": (Op.GET, says(varint(2**31 - 1), b"x" * 100)),
    "a value of 1 GiB that does not come": (Op.GET, says(varint(2**30), b"x" * 100)),
    "a length that never ends": (Op.GET, says(b"\xff" * 20)),
    "a status of no server": (Op.GET, says(status=0x77)),
    "an error that no server has": (Op.GET, says(text("what"), status=0xFE)),
    "an error text of 2 GiB": (Op.GET, says(varint(2**31 - 1), b"x", status=0x85)),
    "another operation's answer": (
        Op.GET,
        lambda s, q: b"\xa1" + varint(q.message_id) + b"\x02\0\0",
    ),
    "a request": (Op.GET, lambda s, q: b"\xa0" + varint(q.message_id) + b"\x29\x03\0\0\0\0\0"),
    "text": (Op.GET, lambda s, q: b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "zeros": (Op.GET, lambda s, q: bytes(1000)),
    "another id": (
        Op.GET,
        lambda s, q: head(q)[:1] + varint(q.message_id + 100) + head(q)[2:] + b"\1x",
    ),
    "an id of 64 bits": (Op.GET, lambda s, q: b"\xa1" + varint(2**64 - 1) + b"\x04\0\0\1x"),
    "an id of 70 bits": (Op.GET, lambda s, q: b"\xa1" + b"\xff" * 9 + b"\x7f\x04\0\0\1x"),
    "metadata of 2 GiB": (Op.GET_WITH_METADATA, says(b"\x03" + bytes(8) + varint(2**31 - 1))),
    "an id of an iteration of 2 GiB": (Op.ITERATION_START, says(varint(2**31 - 1))),
    "finished segments without end": (Op.ITERATION_NEXT, says(varint(2**31 - 1), b"\xff" * 99)),
    **{f"{n} entries": (Op.GET_ALL, says(varint(n), text("a"), text("A"))) for n in HUGE + ENDLESS},
    **{
        f"{n} statistics": (Op.STATS, says(varint(n), text("a"), text("1"))) for n in HUGE + ENDLESS
    },
    **{f"{n} counters": (Op.COUNTER_GET_NAMES, says(varint(n), text("a"))) for n in HUGE + ENDLESS},
    **{
        f"{n} entries of an iteration": (
            Op.ITERATION_NEXT,
            says(b"\0", varint(n), b"\x01\0", text("a"), text("A")),
        )
        for n in HUGE + ENDLESS
    },
    "a result of 2 GiB": (Op.EXEC, says(varint(2**31 - 1))),
    "a topology of 2**31 servers": (
        Op.GET,
        lambda s, q: head(q, topology=hash_aware(2**31 - 1, 1)) + b"\1x",
    ),
    "a topology of 2**20 servers that do not come": (
        Op.GET,
        lambda s, q: head(q, topology=hash_aware(2**20, 1)[:-2]),
    ),
    "a topology of 2**31 segments": (
        Op.GET,
        lambda s, q: head(q, topology=hash_aware(1, 2**31 - 1, rest=SERVER)) + b"\1x",
    ),
    "a topology of 2**20 segments that do not come": (
        Op.GET,
        lambda s, q: head(q, topology=hash_aware(1, 2**20, rest=SERVER) + b"\x01\x00"),
    ),
    "an owner that is none of the servers": (
        Op.GET,
        lambda s, q: head(q, topology=hash_aware(1, 1, rest=SERVER) + b"\x01\x07") + b"\1x",
    ),
    "255 owners of one segment": (
        Op.GET,
        lambda s, q: head(q, topology=hash_aware(1, 1, rest=SERVER) + b"\xff" + b"\x09" * 255),
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_lies(rogue: Rogue, make: Callable[..., Any], name: str) -> None:
    client = make(rogue, **IMPATIENT)
    works(client)
    op, lie = LIES[name]
    rogue.lies[op] = lie
    with little_memory(), pytest.raises((TransportError, RequestTimeoutError, ServerError)):
        CALLS[op](client)
    rogue.lies.clear()
    works(client)


# ---- answers in the wrong number, events that nobody asked for ----------------------------------


def test_an_answer_that_comes_twice(rogue: Rogue, make: Callable[..., Any]) -> None:
    cache = make(rogue).cache()
    cache.put("a", "A")
    rogue.lies[Op.GET] = lambda s, q: 2 * rogue.truth(s, q)
    for _ in range(20):
        assert cache.get("a") == "A"


def test_answers_that_nobody_asked_for(rogue: Rogue, make: Callable[..., Any]) -> None:
    """They cannot be read, as nobody knows how long they are: the connection ends, the request is
    sent again on another one."""
    cache = make(rogue).cache()
    cache.put("a", "A")

    def once(s: Session, q: Request) -> bytes:
        rogue.lies.clear()
        return b"\xa1" + varint(q.message_id + 7) + b"\x04\0\0" + text("B") + rogue.truth(s, q)

    rogue.lies[Op.GET] = once
    assert cache.get("a") == "A"
    assert cache.get_many(["a"] * 100) == ["A"] * 100


def event(listener_id: bytes, op: Op = Op.CACHE_ENTRY_CREATED, **fields: Any) -> bytes:
    if op is Op.CACHE_ENTRY_CREATED:
        fields = {"key": b"k", "entry_version": 1} | fields
    return encode_response(op, version="2.9", listener_id=listener_id, **fields)


def test_events_for_listeners_that_are_not_there(rogue: Rogue, make: Callable[..., Any]) -> None:
    cache = make(rogue).cache()
    cache.put("a", "A")
    flood = event(b"nobody") * 10_000
    rogue.lies[Op.GET] = lambda s, q: flood + rogue.truth(s, q) + flood
    with little_memory():
        for _ in range(5):
            assert cache.get("a") == "A"


COUNTED = {"name": "n", "state": 0, "old_value": 1, "new_value": 2}


def test_events_that_listeners_do_not_know(rogue: Rogue, make: Callable[..., Any]) -> None:
    """What a listener cannot read it leaves out; it goes on listening."""

    def add(s: Session, q: Request) -> bytes:
        known = q["listener_id"]
        return (
            event(known, Op.COUNTER, **COUNTED)
            + event(known, key=b"\xff\xfe")
            + rogue.truth(s, q)
            + event(known, Op.COUNTER, **COUNTED)
            + event(known, key=b"good")
        )

    rogue.lies[Op.ADD_CLIENT_LISTENER] = add
    listener = make(rogue).cache().add_listener()
    found = listener.next(5)
    assert (found.kind, found.key) == ("created", "good")
    listener.remove()


def test_a_marshaller_that_fails_is_no_end_of_a_listener(
    rogue: Rogue, make: Callable[..., Any]
) -> None:
    class Fragile(TextMarshaller):
        def decode(self, data: Any, /) -> str:
            if bytes(data) == b"bad":
                raise KeyError("bad")
            return super().decode(data)

    cache = make(rogue).cache(keys=Fragile())
    listener = cache.add_listener()
    cache.put("bad", "B")
    cache.put("good", "G")
    assert listener.next(5).key == "good"
    listener.remove()


def test_a_flood_of_events_that_nobody_takes(
    rogue: Rogue, make: Callable[..., Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, size = 80, 2**15
    monkeypatch.setattr(f"hotrod_codec.client._{kind}.subscriptions._MOST_BYTES", 64 * size)
    rogue.lies[Op.ADD_CLIENT_LISTENER] = lambda s, q: (
        rogue.truth(s, q)
        + b"".join(event(q["listener_id"], key=b"%d" % i + b"x" * size) for i in range(count))
    )
    cache = make(rogue).cache()
    listener = cache.add_listener()
    cache.put("last", "")
    deadline = time.monotonic() + SECONDS
    # Until all are there: whoever takes one before makes room for another one.
    while listener.dropped < count - 63 and time.monotonic() < deadline:
        cache.get("a")  # the loop of an AsyncClient runs meanwhile
    kept: list[str] = []
    while not kept or kept[-1] != "last":
        kept.append(listener.next(SECONDS).key)
    assert listener.dropped + len(kept) == count + 1
    assert len(kept) <= 64
    listener.remove()


def test_a_server_that_takes_listeners_and_hangs_up(rogue: Rogue, make: Callable[..., Any]) -> None:
    """No storm of connections."""

    def hang_up(s: Session, q: Request) -> bytes:
        asyncio.get_running_loop().call_soon(s.send.__self__.abort)  # type: ignore[attr-defined]
        return rogue.truth(s, q)

    rogue.lies[Op.ADD_CLIENT_LISTENER] = hang_up
    client = make(rogue)
    listener = client.cache().add_listener()
    before = rogue.server.requests[Op.ADD_CLIENT_LISTENER]
    time.sleep(0.5)
    assert rogue.server.requests[Op.ADD_CLIENT_LISTENER] - before < 8
    listener.remove()


# ---- slow, and never done -----------------------------------------------------------------------


@pytest.mark.parametrize("op", [Op.GET, Op.GET_ALL, Op.STATS, Op.ITERATION_NEXT])
def test_a_byte_now_and_then(rogue: Rogue, make: Callable[..., Any], op: Op) -> None:
    client = make(rogue, **IMPATIENT)
    works(client)
    rogue.lies[op] = lambda s, q: rogue.drip(s, head(q) + varint(100_000) + b"\x01", 0.02)
    with pytest.raises(RequestTimeoutError):
        CALLS[op](client)
    rogue.lies.clear()
    works(client)  # though the bytes still drip


def test_the_same_entries_for_ever(rogue: Rogue, make: Callable[..., Any]) -> None:
    cache = make(rogue).cache()
    again = b"\0" + varint(1000) + b"\x01" + 1000 * (b"\0" + text("a") + text("A"))
    rogue.lies[Op.ITERATION_NEXT] = lambda s, q: head(q) + again
    entries = cache.entries()
    assert next(entries) == ("a", "A")
    with pytest.raises(TransportError, match="for ever"):
        next(entries)


def test_entries_without_end(rogue: Rogue, make: Callable[..., Any]) -> None:
    """A cache may be as large as it likes: who reads decides when to stop."""
    cache = make(rogue).cache()
    numbers = itertools.count()

    def more(s: Session, q: Request) -> bytes:
        entries = b"".join(b"\0" + text(f"{next(numbers)}") + text("A") for _ in range(100))
        return head(q) + b"\0" + varint(100) + b"\x01" + entries

    rogue.lies[Op.ITERATION_NEXT] = more
    entries = cache.entries()
    assert len(list(itertools.islice(entries, 5000))) == 5000
    entries.close()
    assert rogue.server.requests[Op.ITERATION_END] == 1


def test_an_iteration_that_breaks_after_every_batch(rogue: Rogue, make: Callable[..., Any]) -> None:
    """It is begun again as often as there is something new, and max_retries times without."""
    cache = make(rogue).cache()

    def some(s: Session, q: Request) -> bytes:
        asyncio.get_running_loop().call_soon(s.send.__self__.close)  # type: ignore[attr-defined]
        return head(q) + b"\0\x01\x01\0" + text("a") + text("A")

    rogue.lies[Op.ITERATION_NEXT] = some
    with pytest.raises((TransportError, RequestTimeoutError)):
        list(cache.entries())
    assert rogue.server.requests[Op.ITERATION_START] <= 4


@pytest.mark.parametrize("length", [0, 2**20])
def test_strange_ids_of_iterations(rogue: Rogue, make: Callable[..., Any], length: int) -> None:
    cache = make(rogue).cache()
    cache.put("a", "A")
    strange = "\x1b" * length

    def start(s: Session, q: Request) -> bytes:
        rogue.truth(s, q)
        return head(q) + text(strange)

    def following(s: Session, q: Request) -> bytes:
        assert q["iteration_id"] == strange
        return head(q) + b"\0\0"

    rogue.lies |= {Op.ITERATION_START: start, Op.ITERATION_NEXT: following}
    assert list(cache.entries()) == []


def test_segments_that_are_not_there_are_finished(rogue: Rogue, make: Callable[..., Any]) -> None:
    cache = make(rogue).cache()
    cache.put("a", "A")

    def strange(s: Session, q: Request) -> bytes:
        answer = rogue.truth(s, q)[len(head(q)) :]
        return head(q) + text(b"\xff" * 100_000) + answer[1 + answer[0] :]

    rogue.lies[Op.ITERATION_NEXT] = strange
    assert list(cache.entries()) == [("a", "A")]


def test_many_requests_that_fail_for_ever(rogue: Rogue, make: Callable[..., Any]) -> None:
    """max_retries counts, however much time there is."""
    cache = make(rogue, max_retries=1).cache()
    cache.put("a", "A")
    rogue.server.faults.status(Status.NODE_SUSPECTED, op=Op.GET, times=10_000)
    with pytest.raises(NodeSuspectedError):
        cache.get_many(["a"] * 10)
    assert rogue.server.requests[Op.GET] == 20
    rogue.server.faults.clear()
    assert cache.get_many(["a"]) == ["A"]


# ---- topologies ---------------------------------------------------------------------------------


def topology(servers: Sequence[tuple[str, int]], owners: Sequence[Sequence[int]]) -> Topology:
    return Topology(
        next(IDS),
        tuple(ServerAddress(*server) for server in servers),
        hash_version=3,
        segment_owners=tuple(tuple(numbers) for numbers in owners),
    )


IDS = itertools.count(1000)


def tells(*servers: tuple[str, int], owners: Sequence[Sequence[int]] = ((0,),)) -> Lie:
    """The value "A", and another topology each time."""
    return lambda s, q: encode_response(
        q.op,
        version=q.version,
        message_id=q.message_id,
        value=b"A",
        topology=topology(servers, owners),
    )


NAMES = [
    "",
    " ",
    ".",
    "..",
    "a" * 64,
    "a." * 200,
    "x" * 100_000,
    "\0",
    "127.0.0.1\0.example.org",
    "127.0.0.1%eth0",
    "[::1",
    "::1::",
    "ä" * 70,
    "\u202e",
    "\x1b[2J",
    "http://127.0.0.1/",
    "999.999.999.999",
]


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:30] for name in NAMES])
def test_addresses_that_are_none(rogue: Rogue, make: Callable[..., Any], name: str) -> None:
    cache = make(rogue).cache()
    rogue.lies[Op.GET] = tells((name, 1))
    for _ in range(3):
        assert cache.get("a") == "A"
    assert cache.get_many(["a", "b"]) == ["A", "A"]


@pytest.mark.parametrize("name", ["", "a" * 64, "\0"], ids=["empty", "long", "NUL"])
def test_addresses_that_are_none_with_tls(kind: str, name: str) -> None:
    with Rogue(tls=str(CERTIFICATES / "server.pem")) as rogue:
        settings = SETTINGS | {"ssl_context": trusting("ca.pem")}
        with connect(kind, rogue.server.uri, **settings) as client:
            rogue.lies[Op.GET] = tells((name, 1))
            for _ in range(3):
                assert client.cache().get("a") == "A"


@pytest.mark.parametrize("port", [0, 1, 65535])
def test_addresses_that_point_nowhere(rogue: Rogue, make: Callable[..., Any], port: int) -> None:
    cache = make(rogue).cache()
    nowhere = itertools.count(2)
    rogue.lies[Op.GET] = lambda s, q: tells((f"127.0.0.{next(nowhere)}", port))(s, q)
    for _ in range(50):
        assert cache.get("a") == "A"


def test_a_topology_without_servers(rogue: Rogue, make: Callable[..., Any]) -> None:
    cache = make(rogue).cache()
    rogue.lies[Op.GET] = lambda s, q: head(q, topology=b"\x01\x07\0\0\0") + text("A")
    for _ in range(3):
        assert cache.get("a") == "A"


def test_a_topology_without_segments(rogue: Rogue, make: Callable[..., Any]) -> None:
    cache = make(rogue).cache()
    rogue.lies[Op.GET] = tells(rogue.server.address, owners=())
    for _ in range(3):
        assert cache.get("a") == "A"
    assert list(cache.entries()) == []


def test_segments_without_owners(rogue: Rogue, make: Callable[..., Any]) -> None:
    cache = make(rogue).cache()
    cache.put("a", "A")
    rogue.lies[Op.GET] = tells(rogue.server.address, owners=[()] * 256)
    for _ in range(3):
        assert cache.get("a") == "A"
    assert cache.get_all(["a"]) == {"a": "A"}
    assert list(cache.entries()) == [("a", "A")]


def test_the_same_server_many_times(rogue: Rogue, make: Callable[..., Any]) -> None:
    cache = make(rogue).cache()
    cache.put("a", "A")
    here = [rogue.server.address] * 200
    rogue.lies[Op.GET] = tells(*here, owners=[range(200)] * 256)
    for _ in range(3):
        assert cache.get("a") == "A"
    assert cache.get_all(["a"]) == {"a": "A"}
    assert list(cache.entries()) == [("a", "A")]
    assert rogue.server.connections < 5


def test_a_topology_of_all_there_may_be(rogue: Rogue, make: Callable[..., Any]) -> None:
    """2**16 servers, 2**20 segments: routing them takes memory for what came, and no time for
    each request that follows."""
    cache = make(rogue, request_timeout=30).cache()
    here = [rogue.server.address, *((f"10.0.{i >> 8}.{i & 255}", 1) for i in range(2**16 - 1))]
    frame = b""

    def once(s: Session, q: Request) -> bytes:
        nonlocal frame
        rogue.lies.clear()
        rogue.lies[Op.GET] = lambda s, q: head(q) + text("A")
        frame = tells(*here, owners=[(0, 1)] * 2**20)(s, q)
        return frame

    rogue.lies[Op.GET] = once
    for _ in range(200):
        assert cache.get("a") == "A"
    assert len(frame) > 3 * 2**20


def test_a_circle(rogue: Rogue, make: Callable[..., Any]) -> None:
    """Every answer says: not here, ask those; and those are the same."""
    cache = make(rogue).cache()

    def elsewhere(s: Session, q: Request) -> bytes:
        host, port = rogue.server.address
        return encode_response(
            Op.PING,
            version=q.version,
            message_id=q.message_id,
            status=Status.NODE_SUSPECTED,
            error="elsewhere",
            topology=topology([(host, port), ("localhost", port)], [(0, 1)]),
        )

    rogue.lies[Op.GET] = elsewhere
    with pytest.raises(NodeSuspectedError):
        cache.get("a")
    assert rogue.server.requests[Op.GET] == 4
    rogue.lies.clear()
    assert cache.get("a") is None


# ---- words --------------------------------------------------------------------------------------

ESCAPES = "\x1b[2J\x1b]0;owned\x07\r\nINFO all is well\n\u202e\x00\u2028"


def test_error_texts_do_not_command_terminals(rogue: Rogue, make: Callable[..., Any]) -> None:
    client = make(rogue)
    cache = client.cache()
    rogue.server.faults.status(Status.SERVER_ERROR, ESCAPES, op=Op.GET)
    with pytest.raises(ServerError) as caught:
        cache.get("a")
    assert str(caught.value).isprintable()
    assert caught.value.text == ESCAPES


def test_error_texts_are_cut(rogue: Rogue, make: Callable[..., Any]) -> None:
    client = make(rogue)
    cache = client.cache()
    rogue.server.faults.status(Status.SERVER_ERROR, "x" * 2**20, op=Op.GET)
    with pytest.raises(ServerError) as caught:
        cache.get("a")
    assert len(str(caught.value)) < 2000
    assert "1048576 characters" in str(caught.value)
    assert len(caught.value.text) == 2**20


def test_names_of_servers_do_not_command_terminals(
    rogue: Rogue, make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    cache = make(rogue).cache()
    rogue.lies[Op.GET] = tells((ESCAPES, 1), ("y" * 5000, 1))
    for _ in range(3):
        assert cache.get("a") == "A"
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("hotrod_codec")]
    assert any("topology" in line for line in ours)
    assert all(line.isprintable() and len(line) < 3000 for line in ours)


def test_statistics_of_all_kinds(rogue: Rogue, make: Callable[..., Any]) -> None:
    count = 20_000
    many = varint(count) + b"".join(text(f"name {i}") + text("9" * 15) for i in range(count))
    rogue.lies[Op.STATS] = lambda s, q: head(q) + many
    cache = make(rogue).cache()
    assert len(cache.stats()) == count
    huge = varint(2) + text("a") + text("9" * 10_000) + text("b") + text("1")
    rogue.lies[Op.STATS] = lambda s, q: head(q) + huge
    assert cache.stats() == {"b": 1}
    for strange in ("--1", "٣", "1e5", "", "-", "NaN", "²"):
        one = varint(2) + text("a") + text(strange) + text("b") + text("1")
        rogue.lies[Op.STATS] = lambda s, q, one=one: head(q) + one  # type: ignore[misc]
        assert cache.stats()["b"] == 1


@pytest.mark.parametrize("result", [b"[" * 100_000, b"{}", b"\xff", b"[1]", b'"x"', b"[null]"])
def test_results_of_tasks_that_are_none(
    rogue: Rogue, make: Callable[..., Any], result: bytes
) -> None:
    rogue.lies[Op.EXEC] = lambda s, q: head(q) + text(result)
    client = make(rogue)
    with pytest.raises(HotRodError):
        client.admin.cache_names()


@pytest.mark.parametrize("version", [0, 9, 10, 13, 42, 200, 255])
def test_versions_from_the_future(make: Callable[..., Any], rogue: Rogue, version: int) -> None:
    """The best version of those that both know, whatever the other one is."""

    def ping(s: Session, q: Request) -> bytes:
        answer = rogue.truth(s, q)
        if q.version >= 30:
            at = len(head(q)) + 2  # behind two media types that are not there
            assert answer[at] == 41
            return answer[:at] + bytes([version]) + answer[at + 1 :]
        return answer

    rogue.lies[Op.PING] = ping
    cache = make(rogue).cache()
    cache.put("a", "A")
    assert cache.get("a") == "A"


MEDIA = {
    "an unknown number": b"\x01\xff\x7f\0",
    "a name that is none": b"\x02" + text("\x1b[2J") + b"\0",
    "a long name": b"\x02" + text("application/" + "x" * 100_000) + b"\0",
    "parameters": b"\x02" + text("text/plain") + b"\x02" + 2 * (text("charset") + text("no-such")),
    "a kind of no kind": b"\x07",
}


@pytest.mark.parametrize("media", MEDIA)
def test_media_types_of_no_kind(rogue: Rogue, make: Callable[..., Any], media: str) -> None:
    """The client works with what it knows, or says what is wrong."""

    def ping(s: Session, q: Request) -> bytes:
        answer = rogue.truth(s, q)
        if q.version >= 30 and q.cache:
            at = len(head(q))
            return answer[:at] + MEDIA[media] * 2 + answer[at + 2 :]
        return answer

    rogue.lies[Op.PING] = ping
    client = make(rogue, request_timeout=0.5)
    with contextlib.suppress(TransportError, RequestTimeoutError):
        client.cache().put("a", "A")
    rogue.lies.clear()
    works(client)


# ---- before the first request -------------------------------------------------------------------


def hear(sock: socket.socket, count: int = 1) -> bytes:
    sock.settimeout(SECONDS)
    return sock.recv(count)


def drip(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        for byte in itertools.chain(data, itertools.repeat(data[-1])):
            sock.sendall(bytes([byte]))
            time.sleep(0.02)


def pour(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        for _ in range(10_000):
            sock.sendall(data)


def keep_quiet(sock: socket.socket) -> None:
    sock.settimeout(SECONDS)
    with contextlib.suppress(OSError):
        while sock.recv(2**16):
            pass


def after(heard: int, *said: bytes) -> Callable[[socket.socket], None]:
    """Hears so many bytes at the most, if any, says something, and closes."""

    def speak(sock: socket.socket) -> None:
        if heard:
            hear(sock, heard)
        sock.sendall(b"".join(said))

    return speak


def pour_text(sock: socket.socket) -> None:
    sock.sendall(b"\xa1\x01\x50\x85\0" + varint(2**20))
    pour(sock, b"x" * 2**16)


PING = b"\xa1\x01\x18\x00\x00"
SCRIPTS: dict[str, Callable[[socket.socket], None]] = {
    "closes at once": after(0),
    "closes when it has heard": after(1),
    "closes in the middle": after(1000, PING[:3]),
    "says nothing": keep_quiet,
    "drips": lambda sock: drip(sock, PING + b"\0\0\x29\x7f"),
    "drips without being asked": lambda sock: drip(sock, b"\xa1\xff"),
    "pours zeros": lambda sock: pour(sock, bytes(2**16)),
    "pours half an answer": pour_text,
    "pours pings": lambda sock: pour(sock, PING * 10_000),
    "speaks HTTP": after(0, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "speaks TLS": after(0, b"\x15\x03\x03\x00\x02\x02\x28"),
    "knows no version": after(1000, b"\xa1\x01\x50\x83\0", text("no")),
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_no_server_of_ours(make: Callable[..., Any], name: str, tls: bool) -> None:
    with Crook(SCRIPTS[name]) as crook:
        settings = IMPATIENT | {"connect_timeout": 0.15, "tls": tls}
        cache = make(None, addresses=crook.address, **settings).cache()
        with little_memory(), pytest.raises((ConnectError, ServerError)) as caught:
            cache.get("a")
        assert str(caught.value).isprintable()
        assert crook.visits <= 2 * 14


def test_another_server_is_asked_when_one_is_none(make: Callable[..., Any], rogue: Rogue) -> None:
    """Nothing of a request was sent before the handshake: even a write goes elsewhere."""
    with Crook(after(1)) as crook:
        client = make(None, addresses=[crook.address, rogue.server.address], max_retries=3)
        for i in range(10):
            client.cache().put(f"{i}", "A")
        assert client.cache().size() == 10


# ---- TLS ----------------------------------------------------------------------------------------


def trusting(name: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATES / name))


def server_side(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(CERTIFICATES / certificate))
    return context


@pytest.mark.parametrize(
    ("certificate", "settings", "problem"),
    [
        ("server.pem", {"tls": True}, "unable to get local issuer|self-signed"),
        ("server.pem", {"ssl_context": "ca.pem", "sni_host_name": "example.org"}, "mismatch"),
        ("expired.pem", {"ssl_context": "expired.pem"}, "expired"),
        ("expired.pem", {"ssl_context": "ca.pem"}, "self-signed|expired"),
    ],
)
def test_certificates_that_prove_nothing(
    make: Callable[..., Any], certificate: str, settings: dict[str, Any], problem: str
) -> None:
    if "ssl_context" in settings:
        settings = settings | {"ssl_context": trusting(settings["ssl_context"])}
    login = {"username": "user", "password": "never sent", "sasl_mechanisms": "PLAIN"}
    with Rogue(tls=str(CERTIFICATES / certificate), users={"user": "x"}) as rogue:
        client = make(None, addresses=rogue.server.address, max_retries=0, **settings, **login)
        with pytest.raises(ConnectError, match=problem):
            client.cache().get("a")
        assert not rogue.server.requests


@pytest.mark.parametrize("name", ["closes", "says nothing", "drips", "half an answer"])
def test_the_end_inside_of_tls(make: Callable[..., Any], name: str) -> None:
    context = server_side("server.pem")

    def speak(sock: socket.socket) -> None:
        sock.settimeout(SECONDS)
        with context.wrap_socket(sock, server_side=True) as wrapped:
            wrapped.recv(1000)
            if name == "says nothing":
                keep_quiet(wrapped)
            elif name == "drips":
                drip(wrapped, PING + b"\0\0\x29\x7f")
            elif name == "half an answer":
                wrapped.sendall(PING[:3])

    with Crook(speak) as crook:
        settings = {"connect_timeout": 0.15, "ssl_context": trusting("ca.pem"), "max_retries": 0}
        client = make(None, addresses=crook.address, **settings)
        with pytest.raises(ConnectError):
            client.cache().get("a")


# ---- SASL ---------------------------------------------------------------------------------------

SECRET = "correct horse battery staple"


def challenges(*parts: bytes, completed: bool = False, last: bytes | None = None) -> Lie:
    """One challenge after the other; behind them `last` for ever, or the end of the connection."""
    left = list(parts)

    def challenge(s: Session, q: Request) -> bytes:
        if not left and last is None:
            s.send.__self__.abort()  # type: ignore[attr-defined]
            return b""
        return head(q) + bytes([completed]) + text(left.pop(0) if left else last or b"")

    return challenge


def first(nonce: str = "", iterations: str = "4096", salt: str = "c2FsdHNhbHQ=") -> Lie:
    """SCRAM's first message of the server; {c} in `nonce` is the client's."""

    def answer(s: Session, q: Request) -> bytes:
        match = re.search(rb"r=([^,]+)", q["response"])
        assert match is not None
        number = nonce.format(c=match[1].decode())
        return head(q) + b"\0" + text(f"r={number},s={salt},i={iterations}")

    return answer


def offers(*names: str) -> Lie:
    return lambda s, q: head(q) + varint(len(names)) + b"".join(map(text, names))


SCRAM = offers("SCRAM-SHA-256")
DIGEST = offers("DIGEST-MD5")
AUTH: dict[str, tuple[Lie, Lie]] = {
    "the end before the first step": (SCRAM, challenges()),
    "the end after the first step": (SCRAM, challenges(b"r=x,s=c2FsdA==,i=4096")),
    "nothing to say": (SCRAM, challenges(last=b"")),
    "at once": (SCRAM, challenges(b"", completed=True)),
    "challenges for ever": (SCRAM, challenges(last=b"r=x,s=c2FsdA==,i=4096")),
    "challenges for ever, DIGEST": (
        DIGEST,
        challenges(last=b'nonce="n",charset=utf-8,algorithm=md5-sess'),
    ),
    "a huge challenge": (SCRAM, challenges(last=b"x" * 2 * 2**20)),
    "a huge list of directives": (DIGEST, challenges(last=b'realm="r",' * 10_000)),
    "a challenge of 2 GiB that does not come": (
        SCRAM,
        lambda s, q: head(q) + b"\0" + varint(2**31 - 1) + b"x",
    ),
    "2**31 iterations": (SCRAM, first("{c}x", str(2**31))),
    "2**64 iterations": (SCRAM, first("{c}x", str(2**64))),
    "3,000,000 iterations": (SCRAM, first("{c}x", "3000000")),
    "5 iterations": (SCRAM, first("{c}x", "5")),
    "no nonce": (SCRAM, first("")),
    "our nonce": (SCRAM, first("{c}")),
    "another nonce": (SCRAM, first("x{c}")),
    "no salt": (SCRAM, first("{c}x", salt="")),
    "PLAIN only": (offers("PLAIN"), challenges(b"", completed=True)),
    "OAUTHBEARER and PLAIN": (offers("OAUTHBEARER", "PLAIN"), challenges(b"", completed=True)),
    "CRAM-MD5 only": (offers("CRAM-MD5"), challenges(b"<1@x>")),
    "EXTERNAL only": (offers("EXTERNAL"), challenges(b"", completed=True)),
    "nothing": (offers(), challenges(b"", completed=True)),
    "names that command": (offers(ESCAPES, "\0" * 1000), challenges()),
    "many names": (offers(*["X-SECRET"] * 50_000), challenges()),
    "2**31 names": (lambda s, q: head(q) + varint(2**31 - 1), challenges()),
    "no answer about names": (lambda s, q: b"", challenges()),
}


@pytest.mark.parametrize("name", AUTH)
def test_servers_that_are_not_what_they_say(kind: str, name: str) -> None:
    with Rogue(users={"user": SECRET}) as rogue:
        rogue.lies |= dict(zip((Op.AUTH_MECH_LIST, Op.AUTH), AUTH[name], strict=True))
        heard: list[bytes] = []
        lie = rogue.lies[Op.AUTH]

        def listening(s: Session, q: Request) -> bytes:
            heard.append(q["response"])
            return lie(s, q)

        rogue.lies[Op.AUTH] = listening
        settings = IMPATIENT | {"connect_timeout": 0.3}
        settings |= {"username": "user", "password": SECRET}
        with connect(kind, addresses=rogue.server.address, **settings) as client:
            with (
                little_memory(),
                pytest.raises((AuthenticationError, TransportError)) as caught,
            ):
                client.cache().get("a")
            assert str(caught.value).isprintable()
            assert len(str(caught.value)) < 5000
            assert len(heard) <= 3
            assert all(SECRET.encode() not in said for said in heard)
            rogue.lies.clear()
            works(client)


def test_a_server_that_says_what_it_heard(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Rogue(users={"user": SECRET}, tls=str(CERTIFICATES / "server.pem")) as rogue:
        rogue.lies[Op.AUTH_MECH_LIST] = offers("PLAIN")
        rogue.lies[Op.AUTH] = lambda s, q: encode_response(
            Op.PING,
            version="2.0",
            message_id=q.message_id,
            status=Status.SERVER_ERROR,
            error=f"{q['response'].decode()} is wrong",
        )
        settings = SETTINGS | {"username": "user", "password": SECRET}
        settings["ssl_context"] = trusting("ca.pem")
        with connect(kind, addresses=rogue.server.address, **settings) as client:
            with pytest.raises(AuthenticationError, match="is wrong") as caught:
                client.cache().get("a")
            assert SECRET not in "".join(traceback.format_exception(caught.value))
            error: BaseException | None = caught.value
            while error is not None:
                assert SECRET not in f"{error!r} {vars(error)}"
                error = error.__cause__ or error.__context__
        assert SECRET not in caplog.text


# ---- nobody reads -------------------------------------------------------------------------------


def test_a_server_that_does_not_read(kind: str) -> None:
    """Requests time out, and connections do not pile up."""

    def deaf(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        version = b"\0\0\x29\0"
        request = hear(sock, 1000)
        assert request
        sock.sendall(PING + version + b"\xa1\x02\x18\0\0")
        while sock.fileno() != -1:
            time.sleep(0.02)

    with Crook(deaf) as crook:
        settings = IMPATIENT | {"protocol_version": "2.9"}
        with connect(kind, addresses=crook.address, **settings) as client:
            cache = client.cache()
            for _ in range(3):
                with pytest.raises((TransportError, RequestTimeoutError)):
                    cache.put("a", "x" * 50 * 2**20)
            if kind == "async":
                (home,) = client._inner._dispatcher.driver._homes.values()
                assert len(home.all) <= 3
