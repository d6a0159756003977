"""Client: threads, processes, its pool."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from hotrod_codec import AuthenticationError, Client, EmbeddedServer, Op, TransportError


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Do it in many threads at once; fail if one of them does."""
    problems: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not any(thread.is_alive() for thread in threads)
    if problems:
        raise problems[0]


def test_threads_share_a_client(cluster: EmbeddedServer) -> None:
    with Client(cluster.uri, max_connections=3) as client:
        cache = client.cache()
        cache.put_all({f"{i}": f"value {i}" for i in range(500)})

        def work(number: int) -> None:
            chance = random.Random(number)
            for _ in range(100):
                keys = [str(chance.randrange(500)) for _ in range(5)]
                assert cache.get(keys[0]) == f"value {keys[0]}"
                assert cache.get_many(keys) == [f"value {key}" for key in keys]
                assert cache.get_all(keys) == {key: f"value {key}" for key in keys}

        in_threads(12, work)
        assert cluster.connections <= 9


def test_threads_increment(server: EmbeddedServer) -> None:
    """Versioned writes lose nothing."""
    with Client(server.uri) as client:
        cache = client.cache(values="protostream")

        def work(_: int) -> None:
            for _ in range(25):
                cache.compute("n", lambda key, value: (value or 0) + 1)

        in_threads(8, work)
        assert cache.get("n") == 200


def test_a_full_pool_is_waited_for(server: EmbeddedServer) -> None:
    server.faults.delay(0.3, op=Op.GET)
    with Client(server.uri, max_connections=1) as client:
        cache = client.cache()
        in_threads(3, lambda _: cache.get("a"))  # type: ignore[arg-type]
        assert server.connections == 1


def test_a_full_pool_is_not_waited_for_longer_than_allowed(server: EmbeddedServer) -> None:
    with Client(server.uri, max_connections=1, operation_timeout=0.3, max_retries=0) as client:
        cache = client.cache()
        cache.put("a", "A")
        driver = client._dispatcher.driver
        taken = driver.acquire(server.address, time.monotonic() + 1)
        with pytest.raises(TransportError, match="max_connections"):
            cache.put("a", "B")
        driver.release(taken)
        assert cache.get("a") == "A"


class Interrupt(BaseException):
    """What Ctrl-C or a worker's time limit raises, between any two instructions."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals that can be timed: POSIX")
# Sockets that are interrupted while they are made close by themselves.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_anywhere(server: EmbeddedServer) -> None:
    def ring(*_: object) -> None:
        raise Interrupt

    expected = {f"{i}": f"value {i}" for i in range(50)}
    interrupts = 0
    pause = random.Random(1)
    with Client(server.uri, max_connections=2, operation_timeout=5) as client:
        cache = client.cache()
        cache.put_all(expected)
        before = signal.signal(signal.SIGALRM, ring)
        try:
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                try:
                    signal.setitimer(signal.ITIMER_REAL, pause.uniform(0.0001, 0.003))
                    while True:
                        key = pause.choice(list(expected))
                        assert cache.get(key) == expected[key]
                        assert cache.get_many([key, "0"]) == [expected[key], "value 0"]
                except Interrupt:
                    interrupts += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert interrupts > 100
        in_threads(4, lambda i: check(cache.get(f"{i}") == expected[f"{i}"]))
        gc.collect()
        assert server.connections <= 2


def check(true: bool) -> None:
    assert true


def test_an_iteration_leaves_the_pool_alone(server: EmbeddedServer) -> None:
    with Client(server.uri, max_connections=1) as client:
        cache = client.cache()
        cache.put_all({f"{i}": f"{i}" for i in range(100)})
        for key, value in cache.entries(batch_size=10):
            assert cache.get(key) == value


def test_closing_with_requests_in_flight(server: EmbeddedServer) -> None:
    client = Client(server.uri)
    cache = client.cache()
    cache.put("a", "A")
    server.faults.silence()
    started = threading.Barrier(5)
    ended: list[Exception] = []

    def wait() -> None:
        started.wait()
        with pytest.raises(TransportError) as caught:
            cache.get("a")
        ended.append(caught.value)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(0.2)
    start = time.monotonic()
    client.close()
    for thread in threads:
        thread.join(10)
    assert len(ended) == 4
    assert time.monotonic() - start < 5
    client.close()
    with pytest.raises(TransportError, match="closed"):
        cache.get("a")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads and fork
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_connections_of_its_own(server: EmbeddedServer) -> None:
    with Client(server.uri) as client:
        cache = client.cache()
        cache.put("a", "A")
        entries = cache.entries()
        before = server.requests[Op.PING]
        child = os.fork()
        if child == 0:  # nothing of pytest may run here
            code = 1
            try:
                works = cache.get("a") == "A" and list(entries) == [("a", "A")]
                cache.put("b", "B")
                client.close()
                code = 0 if works else 2
            finally:
                os._exit(code)
        assert cache.get("a") == "A"
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        # The parent's connection is the one that it was.
        assert cache.get("b") == "B"
        assert server.requests[Op.PING] == before + 4  # two connections of the child, no other


def test_no_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    secret = "tr0ub4dor"
    caplog.set_level("DEBUG")
    with EmbeddedServer(users={"user": secret + "!"}) as server:
        client = Client(addresses=server.address, username="user", password=secret)
        cache = client.cache()
        with pytest.raises(AuthenticationError) as caught:
            cache.get(secret)
        shown = [repr(client), repr(cache), repr(client.configuration), caplog.text]
        error: BaseException | None = caught.value
        while error is not None:
            shown.append(repr(error))
            error = error.__cause__ or error.__context__
        assert not any(secret in text for text in shown)
        client.close()


def test_importing_the_package_needs_neither_sockets_nor_loops() -> None:
    code = (
        "import hotrod_codec, sys; "
        "sys.exit(any(m in sys.modules for m in ('asyncio', 'ssl', 'socket')))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == 0


def test_the_sync_client_needs_no_loop() -> None:
    code = "from hotrod_codec import Client; import sys; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == 0
