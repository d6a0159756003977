"""Client: threads, processes, its pool."""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import time

import pytest

from client.threads import in_threads
from hotrod_codec import Client, EmbeddedServer, Op, TransportError


def test_a_full_pool_is_waited_for(server: EmbeddedServer) -> None:
    server.faults.delay(0.3, op=Op.GET)
    with Client(server.uri, max_connections=1) as client:
        cache = client.cache()
        in_threads(3, lambda _: cache.get("a"))  # type: ignore[arg-type]
        assert server.connections == 1


def test_who_waits_for_a_connection_has_a_turn(server: EmbeddedServer) -> None:
    """Others ask again and again, and have just had it."""
    done = [0] * 6

    def work(i: int) -> None:
        deadline = time.monotonic() + 15
        while min(done) < 20 and time.monotonic() < deadline:
            cache.get("a")
            done[i] += 1

    with Client(server.uri, max_connections=2, operation_timeout=5) as client:
        cache = client.cache()
        cache.put("a", "A")
        in_threads(len(done), work)
        assert min(done) >= 20
        assert server.connections <= 2
        assert not any(pool.waiting for pool in client._dispatcher.driver._pools.values())


def test_who_waits_for_a_connection_of_a_client_that_is_closed(server: EmbeddedServer) -> None:
    """Nobody connects any more, one after the other."""
    client = Client(server.uri, max_connections=1)
    cache = client.cache()
    cache.put("a", "A")
    server.faults.silence()
    before = server.requests[Op.PING]

    def work(i: int) -> None:
        if i:
            with pytest.raises(TransportError, match="closed"):
                cache.get("a")
        else:
            deadline = time.monotonic() + 10
            while len(client._dispatcher.driver._pools[server.address].waiting) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            client.close()

    in_threads(5, work)
    assert server.requests[Op.PING] == before


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

    # In a function of its own: CPython 3.13 may ring at the end of a loop's turn, where it takes
    # the `try` around the loop to be over.
    def use() -> None:
        # Python drops what is raised in callbacks of the collector: ring again then.
        again = time.monotonic() + 0.1
        while time.monotonic() < again:
            key = pause.choice(list(expected))
            for _ in range(3):  # from the second on, with a connection at hand
                assert cache.get(key) == expected[key]
                cache.put(key, expected[key])
            assert cache.get_many([key, "0"]) == [expected[key], "value 0"]

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
                    use()
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


def test_an_error_that_is_kept_keeps_no_place_in_the_pool(server: EmbeddedServer) -> None:
    with Client(server.uri, max_connections=1, max_retries=0, operation_timeout=5) as client:
        cache = client.cache()
        server.stop_node(0)
        errors = []
        for _ in range(3):
            with pytest.raises(TransportError, match=r"refused|reset|closed") as caught:
                cache.get("a")
            errors.append(caught.value)
        server.start_node(0)
        assert cache.get("a") is None


def test_importing_the_package_needs_neither_sockets_nor_loops() -> None:
    code = (
        "import hotrod_codec, sys; "
        "sys.exit(any(m in sys.modules for m in ('asyncio', 'ssl', 'socket')))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == 0


def test_the_sync_client_needs_no_loop() -> None:
    code = "from hotrod_codec import Client; import sys; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == 0
