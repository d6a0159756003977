"""Both drivers against an embedded server that misbehaves on demand."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from typing_extensions import Buffer

from client.both import KINDS, connect, making
from hotrod_codec import (
    CounterConfiguration,
    EmbeddedServer,
    LimitError,
    Limits,
    Op,
    RequestTimeoutError,
    ServerAddress,
    ServerError,
    ServerFailureError,
    Status,
    TransportError,
)
from hotrod_codec.client import NotSentError
from hotrod_codec.client._sync.cache import GATHERED_FROM
from hotrod_codec.marshallers import TextMarshaller

KEYS = [f"key {i}" for i in range(1000)]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(kind: str) -> Iterator[Callable[..., Any]]:
    with making(kind) as make:
        yield make


# ---- answers that come late, broken, or not -----------------------------------------------------


def test_a_late_answer_is_not_taken_for_another(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(server, request_timeout=0.2, max_retries=0).cache()
    cache.put("a", "A")
    cache.put("b", "B")
    server.faults.delay(0.4, op=Op.GET)
    with pytest.raises(RequestTimeoutError, match="GET: no answer"):
        cache.get("a")
    for _ in range(30):
        assert cache.get("b") == "B"
        time.sleep(0.02)


def test_reads_are_tried_again_and_writes_are_not(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(server, request_timeout=0.2).cache()
    cache.put("a", "A")
    server.faults.drop(op=Op.GET)
    assert cache.get("a") == "A"
    server.faults.cut(at=3, op=Op.GET)
    assert cache.get("a") == "A"
    server.faults.drop(op=Op.PUT)
    before = server.requests[Op.PUT]
    with pytest.raises(RequestTimeoutError):
        cache.put("a", "B")
    server.faults.cut(at=3, op=Op.PUT)
    with pytest.raises(TransportError):
        cache.put("a", "C")
    assert server.requests[Op.PUT] == before + 2
    assert cache.get("a") == "C"


@pytest.mark.parametrize("node", range(3))
def test_a_silent_server_keeps_no_answers_of_others(
    cluster: EmbeddedServer, make: Callable[..., Any], node: int
) -> None:
    cache = make(cluster, request_timeout=0.5, max_retries=1).cache()
    expected = dict.fromkeys(KEYS, "v")
    cache.put_all(expected)
    cluster.faults.silence(node=node)
    assert cache.get_all(KEYS) == expected
    assert cache.get_many(KEYS) == list(expected.values())


@pytest.mark.parametrize("node", range(3))
def test_a_server_that_is_connected_slowly_takes_no_time_of_others(
    cluster: EmbeddedServer, make: Callable[..., Any], node: int
) -> None:
    expected = dict.fromkeys(KEYS, "v")
    make(cluster).cache().put_all(expected)
    other = cluster.addresses[(node + 1) % 3]
    client = make(None, addresses=[other], connect_timeout=0.6, request_timeout=0.5, max_retries=1)
    cache = client.cache()
    assert cache.get("no such key") is None
    cluster.faults.silence(node=node)
    assert cache.get_all(KEYS) == expected


def test_many_requests_may_take_longer_together_than_each(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    client = make(server, request_timeout=0.6, max_in_flight=1, max_retries=0)
    cache = client.cache(values="bytes")
    server.faults.delay(0.1, op=Op.PUT, times=None)
    server.faults.delay(0.1, op=Op.PUT_ALL, times=None)
    values = {f"{i}": bytes(600_000) for i in range(15)}
    cache.put_many(values)
    assert server.requests[Op.PUT] == 15
    cache.put_all(values)
    assert server.requests[Op.PUT_ALL] == 15
    assert cache.get_many(values) == list(values.values())


def test_queries_are_tried_again_and_statements_are_not(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    """They are the same operation."""
    cache = make(server, max_retries=2).cache(values="protostream")
    server.faults.cut(0, op=Op.QUERY, times=None)
    with pytest.raises(TransportError):
        cache.query("from Person")
    assert server.requests[Op.QUERY] == 3
    with pytest.raises(TransportError):
        cache.execute_statement("delete from Person")
    assert server.requests[Op.QUERY] == 4


def test_writes_are_tried_again_if_the_caller_says_so(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(server, request_timeout=0.2, retry_writes=True).cache()
    server.faults.drop(op=Op.PUT)
    server.faults.cut(at=3, op=Op.PUT)
    cache.put("a", "A")
    assert server.requests[Op.PUT] == 3
    assert cache.get("a") == "A"


def test_counters_are_changed_once_whatever_the_caller_says(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    counters = make(server, request_timeout=0.2, retry_writes=True).counters
    counters.define("c", CounterConfiguration())
    counter = counters.get("c")
    server.faults.drop(op=Op.COUNTER_ADD_AND_GET)
    with pytest.raises(RequestTimeoutError):
        counter.increment_and_get()
    server.faults.cut(at=3, op=Op.COUNTER_ADD_AND_GET)
    with pytest.raises(TransportError):
        counter.increment_and_get()
    assert counter.value() == 2


@pytest.mark.parametrize(
    ("op", "call"),
    [
        (Op.START_GET_STREAM, lambda cache: cache.get_stream("a")),
        (Op.START_PUT_STREAM, lambda cache: cache.put_stream("a")),
        (Op.ITERATION_START, lambda cache: next(iter(cache.keys()))),
        (Op.ITERATION_NEXT, lambda cache: next(iter(cache.keys()))),
        (Op.ADD_CLIENT_LISTENER, lambda cache: cache.add_listener()),
        (Op.GET_ALL, lambda cache: cache.get_all(["a"])),
    ],
    ids=lambda given: given.name if isinstance(given, Op) else "",
)
def test_no_answer_is_waited_for_longer_than_a_call_may_take(
    server: EmbeddedServer, make: Callable[..., Any], op: Op, call: Callable[[Any], Any]
) -> None:
    """And request_timeout is longer than a test may take."""
    settings = {"operation_timeout": 0.5, "request_timeout": 1000, "max_retries": 0}
    cache = make(server, **settings).cache()
    cache.put("a", "A")
    server.faults.drop(op=op)
    with pytest.raises(RequestTimeoutError):
        call(cache)


def test_a_call_without_time_to_connect_says_nothing_of_the_server(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    with EmbeddedServer() as elsewhere:
        client = make(
            server,
            clusters={"elsewhere": elsewhere.addresses},
            operation_timeout=0.3,
            connect_timeout=5,
        )
        cache = client.cache()
        server.faults.delay(1, op=Op.PING)
        with pytest.raises(NotSentError, match="not connected in time"):
            cache.get("a")
        for _ in range(10):  # asyncio goes on connecting meanwhile
            with suppress(NotSentError):
                assert cache.get("a") is None
                break
        assert client.current_cluster == ""
        assert elsewhere.connections == 0


def test_an_abandoned_write_never_comes_back(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    """What timed out is not sent again when its connection ends."""
    client = make(server, request_timeout=0.2)
    cache = client.cache()
    server.faults.drop(op=Op.PUT)
    with pytest.raises(RequestTimeoutError):
        cache.put("a", "OLD")
    cache.put("a", "NEW")
    server.stop_node(0)
    server.start_node(0)
    assert cache.get("a") is None
    cache.put("b", "B")
    time.sleep(0.3)
    assert server.requests[Op.PUT] == 3


@pytest.mark.parametrize("op", [Op.GET, Op.GET_ALL, Op.GET_WITH_METADATA])
def test_a_connection_cut_at_every_byte_of_an_answer(
    server: EmbeddedServer, make: Callable[..., Any], op: Op
) -> None:
    cache = make(server, request_timeout=2).cache()
    cache.put("a", "value")
    ask: dict[Op, Callable[[], Any]] = {
        Op.GET: lambda: cache.get("a"),
        Op.GET_ALL: lambda: cache.get_all(["a"])["a"],
        Op.GET_WITH_METADATA: lambda: cache.get_with_metadata("a").value,
    }
    for at in range(24):
        server.faults.cut(at=at, op=op)
        assert ask[op]() == "value"


def test_answers_byte_by_byte(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    cache = make(server).cache()
    cache.put_all({key: key for key in KEYS[:50]})
    server.faults.split(op=Op.GET_ALL)
    server.faults.split(op=Op.GET)
    assert cache.get_all(KEYS[:50]) == {key: key for key in KEYS[:50]}
    assert cache.get_many(KEYS[:50]) == KEYS[:50]


def test_a_silent_peer(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    cache = make(server, request_timeout=0.2, max_retries=1).cache()
    cache.put("a", "A")
    server.faults.silence()
    start = time.monotonic()
    with pytest.raises((RequestTimeoutError, TransportError)) as caught:
        cache.get("a")
    assert time.monotonic() - start < 5
    assert any("attempts: " in note for note in caught.value.__notes__)
    server.faults.clear()
    assert cache.get("a") == "A"


def test_a_name_that_nobody_answers(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may take as long as it likes to look it up."""
    look_up, done = socket.getaddrinfo, threading.Event()

    def slow(host: str, *rest: Any, **more: Any) -> Any:
        if host == "slow.test":
            done.wait(20)
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    client = make(None, addresses=("slow.test", 1), connect_timeout=0.3, max_retries=0)
    start = time.monotonic()
    try:
        with pytest.raises(TransportError, match=r"slow\.test:1: not connected within 0\.3 s"):
            client.cache().get("a")
        assert time.monotonic() - start < 10
    finally:
        done.set()


@pytest.mark.parametrize("first", ["closed", "silent"])
def test_a_name_with_several_addresses(
    server: EmbeddedServer, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    look_up = socket.getaddrinfo
    with ExitStack() as stack:
        useless = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = useless.getsockname()
        if first == "closed":
            useless.close()
        else:
            _fill(useless, stack)
        addresses = [address, server.address]

        def several(host: str, port: int, *rest: Any, **more: Any) -> Any:
            if host != "several.test":
                return look_up(host, port, *rest, **more)
            return [found for a in addresses for found in look_up(*a, *rest, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", several)
        client = make(None, addresses=("several.test", 1), connect_timeout=3, max_retries=0)
        cache = client.cache()
        cache.put("a", "A")
        assert cache.get("a") == "A"


def _fill(listening: socket.socket, stack: ExitStack) -> None:
    """Let nobody connect to it any more: whoever tries hears nothing."""
    while True:
        sock = stack.enter_context(socket.socket())
        sock.settimeout(0.3)
        try:
            sock.connect(listening.getsockname())
        except TimeoutError:
            return


def test_the_whole_operation_has_a_deadline(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(server, request_timeout=0.2, operation_timeout=0.5, max_retries=1000).cache()
    cache.put("a", "A")
    server.faults.silence()
    start = time.monotonic()
    with pytest.raises((RequestTimeoutError, TransportError)):
        cache.get("a")
    assert time.monotonic() - start < 10


def test_an_answer_beyond_our_limits_is_not_asked_for_again(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(server, limits=Limits(bytes=1000)).cache()
    cache.put("a", "x" * 2000)
    with pytest.raises(TransportError, match="limit") as caught:
        cache.get("a")
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, LimitError):
        cause = cause.__cause__
    assert isinstance(cause, LimitError)
    assert server.requests[Op.GET] == 1
    assert cache.get("b") is None


def test_error_answers(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    cache = make(server).cache()
    cache.put("a", "A")
    server.faults.status(Status.SERVER_ERROR, "broken", op=Op.GET)
    with pytest.raises(ServerFailureError, match="broken"):
        cache.get("a")
    server.faults.status(Status.NODE_SUSPECTED, op=Op.GET)
    assert cache.get("a") == "A"
    server.faults.status(Status.ILLEGAL_LIFECYCLE_STATE, op=Op.PUT)
    with pytest.raises(ServerError):
        cache.put("a", "B")


def test_some_of_many(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    """One failure among many reads is tried again, and only that one."""
    cache = make(server, request_timeout=0.5).cache()
    keys = KEYS[: GATHERED_FROM - 1]  # more are not asked for one by one
    cache.put_many((key, key) for key in keys)
    before = server.requests.get(Op.GET, 0)
    server.faults.status(Status.NODE_SUSPECTED, op=Op.GET, times=3)
    assert cache.get_many(keys) == keys
    assert server.requests[Op.GET] == before + len(keys) + 3
    server.faults.cut(at=4, op=Op.GET)
    assert cache.get_many(keys) == keys


def test_many_are_tried_as_often_as_one(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    cache = make(server, max_retries=2).cache()
    cache.put("a", "A")
    server.faults.cut(at=0, op=Op.GET, times=None)
    for ask, keys in ((cache.get, "a"), (cache.get_many, ["a"])):
        before = server.requests.get(Op.GET, 0)
        with pytest.raises(TransportError):
            ask(keys)
        assert server.requests[Op.GET] - before == 3


def test_large_values(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    cache = make(server).cache()
    values = {f"large {i}": str(i) * 500_000 for i in range(10)}
    cache.put_many(values)
    assert cache.get_many(values) == list(values.values())
    cache.put_all(values)
    assert cache.get_all(values) == values


def test_long_lists_become_several_requests(make: Callable[..., Any]) -> None:
    """Servers close connections for longer requests than they take."""
    with EmbeddedServer(max_request=2 * 2**20) as server:
        cache = make(server).cache()
        values = {f"long {i}": "x" * 100_000 for i in range(50)} | {"longest": "y" * 1_500_000}
        cache.put_all(values)
        assert cache.get_all(values) == values
        assert server.requests[Op.PUT_ALL] > 4


# ---- servers that come and go -------------------------------------------------------------------


def test_nobody_is_there(make: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = make(None, addresses=("127.0.0.1", port), max_retries=1)
    with pytest.raises(TransportError, match=f":{port}"):
        client.cache().get("a")


def test_a_host_that_accepts_and_says_nothing(make: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()[:2]
        client = make(None, addresses=address, connect_timeout=0.2, max_retries=0)
        with pytest.raises(TransportError, match=r"not connected within 0.2 s"):
            client.cache().get("a")


def test_a_restarted_server(server: EmbeddedServer, make: Callable[..., Any]) -> None:
    cache = make(server).cache()
    cache.put("a", "A")
    server.stop_node(0)
    with pytest.raises(TransportError):
        cache.get("a")
    server.start_node(0)
    time.sleep(0.3)
    cache.put("a", "B")
    assert cache.get("a") == "B"


def test_every_key_goes_to_its_owner(cluster: EmbeddedServer, make: Callable[..., Any]) -> None:
    """The server's books: what each node was asked for are keys that it holds."""
    asked: dict[int, set[bytes]] = {0: set(), 1: set(), 2: set()}
    handler = cluster._handler
    original = handler.handle

    def note(s: Any, q: Any) -> bytes:
        if q.op in (Op.PUT, Op.GET):
            asked[s.node].add(q.key)
        return original(s, q)

    handler.handle = note  # type: ignore[method-assign]
    cache = make(cluster).cache()
    cache.put_many((key, key) for key in KEYS)
    for key in KEYS[:100]:
        assert cache.get(key) == key
    topology_owners = {node: cluster.keys_of(node) for node in asked}
    assert sum(len(keys) for keys in asked.values()) == len(KEYS)
    for node, keys in asked.items():
        assert len(keys) > 100
        assert keys <= topology_owners[node]


def test_a_node_dies_and_another_takes_over(
    cluster: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(cluster, request_timeout=2).cache()
    cache.put_all({key: key for key in KEYS})
    cluster.kill_node(1)
    assert cache.get_all(KEYS) == {key: key for key in KEYS}
    assert [cache.get(key) for key in KEYS[:200]] == KEYS[:200]
    for key in KEYS[:200]:
        cache.put(key, "new")
    number = cluster.start_node(1)
    assert [cache.get(key) for key in KEYS[:200]] == ["new"] * 200
    before = sum(cluster.requests.values())
    assert [cache.get(key) for key in KEYS] == ["new"] * 200 + KEYS[200:]
    assert number == 1
    assert sum(cluster.requests.values()) - before < len(KEYS) + 20


def test_an_iteration_goes_on_when_a_node_dies(
    cluster: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(cluster, request_timeout=2).cache()
    cache.put_all({key: key for key in KEYS})
    found: list[str] = []
    for key in cache.keys(batch_size=10):
        found.append(key)
        if len(found) == 50:
            cluster.kill_node(0)
        if len(found) == 600:
            cluster.start_node(0)
            cluster.kill_node(2)
    assert sorted(found) == sorted(KEYS)


@pytest.mark.parametrize("at", [0, 1, 5, 20])
def test_an_iteration_goes_on_when_a_connection_breaks(
    server: EmbeddedServer, make: Callable[..., Any], at: int
) -> None:
    cache = make(server, request_timeout=2).cache()
    cache.put_all({key: key for key in KEYS})
    found: list[str] = []
    for key, value in cache.entries(batch_size=100):
        assert key == value
        found.append(key)
        if len(found) in (50, 500, 950):
            server.faults.cut(at=at, op=Op.ITERATION_NEXT)
    assert sorted(found) == sorted(KEYS)


def test_an_iteration_asks_one_batch_ahead(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(server).cache()
    cache.put_all({key: key for key in KEYS})
    entries = cache.entries(batch_size=10)
    found = [next(entries)]
    for batch in range(1, 4):
        deadline = time.monotonic() + 5
        # Though no event loop runs meanwhile.
        while server.requests[Op.ITERATION_NEXT] < batch + 1 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)
        assert server.requests[Op.ITERATION_NEXT] == batch + 1
        found += [next(entries) for _ in range(10)]
    found += list(entries)
    assert sorted(found) == sorted((key, key) for key in KEYS)


def test_an_iteration_asks_servers_side_by_side(
    cluster: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(cluster).cache()
    cache.put_all({key: key for key in KEYS})
    entries = cache.entries(batch_size=10)
    found = [next(entries) for _ in range(21)]
    assert cluster.requests[Op.ITERATION_START] == 3
    found += list(entries)
    assert sorted(found) == sorted((key, key) for key in KEYS)
    assert cluster.requests[Op.ITERATION_START] == 3


def test_an_iteration_of_some_servers_that_is_left_is_ended_at_all(
    cluster: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(cluster).cache()
    cache.put_all({key: key for key in KEYS})
    entries = cache.entries(batch_size=10)
    for _ in range(25):
        next(entries)
    entries.close()
    assert cluster.requests[Op.ITERATION_END] == cluster.requests[Op.ITERATION_START] == 3
    assert cache.get(KEYS[0]) == KEYS[0]


def test_an_iteration_that_is_left_is_ended(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    cache = make(server).cache()
    cache.put_all({key: key for key in KEYS})
    entries = cache.entries(batch_size=10)
    next(entries)
    entries.close()
    assert server.requests[Op.ITERATION_END] == 1


def test_an_iteration_with_a_value_that_cannot_be_read_is_ended(
    server: EmbeddedServer, make: Callable[..., Any]
) -> None:
    class Fussy(TextMarshaller):
        def decode(self, data: Buffer, /) -> str:
            return {key.encode(): key for key in KEYS if key != KEYS[15]}[bytes(data)]

    cache = make(server).cache(values=Fussy())
    cache.put_all({key: key for key in KEYS})
    with pytest.raises(KeyError):
        list(cache.entries(batch_size=10))
    assert server.requests[Op.ITERATION_END] == 1
    assert server.requests[Op.ITERATION_NEXT] < 100


def test_addresses_of_containers(cluster: EmbeddedServer, make: Callable[..., Any]) -> None:
    """The cluster tells addresses that cannot be reached: what was given goes on serving."""
    real = cluster.address_of(0)
    for node in cluster._nodes[1:]:
        node.address = ServerAddress("127.0.0.1", node.number)
    cache = make(None, addresses=real, connect_timeout=0.5).cache()
    cache.put_all({key: key for key in KEYS[:50]})
    assert cache.get_many(KEYS[:50]) == KEYS[:50]
    assert [cache.get(key) for key in KEYS[:50]] == KEYS[:50]


def test_addresses_as_they_can_be_reached(
    cluster: EmbeddedServer, make: Callable[..., Any]
) -> None:
    real = cluster.addresses
    told = [ServerAddress("10.0.0.1", node.number + 1) for node in cluster._nodes]
    for node, address in zip(cluster._nodes, told, strict=True):
        node.address = address
    address_map = dict(zip(told, real, strict=True))
    cache = make(None, addresses=real[0], address_map=address_map).cache()
    cache.put_all({key: key for key in KEYS[:50]})
    assert cache.get_many(KEYS[:50]) == KEYS[:50]
    assert all(node.connections for node in cluster._nodes)


def test_other_clusters(make: Callable[..., Any]) -> None:
    with EmbeddedServer() as home, EmbeddedServer() as away:
        client = make(home, clusters={"away": away.address}, connect_timeout=1)
        cache = client.cache()
        cache.put("a", "home")
        assert client.switch_to_cluster("away")
        assert cache.get("a") is None
        cache.put("a", "away")
        assert client.switch_to_default_cluster()
        assert cache.get("a") == "home"
        assert not client.switch_to_cluster("nowhere")
        home.stop()
        assert cache.get("a") == "away"
        assert client.current_cluster == "away"


def test_what_is_there_may_be_none(server: EmbeddedServer) -> None:
    """A null of JSON is a value: it is not made again, and not for ever."""
    with connect("sync", server.uri) as client:
        cache = client.cache(values="json")
        cache.put("k", None)
        found: list[Any] = []

        def compute() -> None:
            found.append(cache.compute_if_absent("k", lambda key: 5))

        thread = threading.Thread(target=compute, daemon=True)
        thread.start()
        thread.join(5)
        asked = server.requests.get(Op.PUT_IF_ABSENT, 0)
        client.close()  # a loop without end would go on
        assert (found, asked) == ([None], 0)
