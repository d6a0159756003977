"""A relay between clients and a server: counts requests, and cuts connections with listeners."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

from hotrod_codec import Op, Reader

_LISTENING = (Op.ADD_CLIENT_LISTENER, Op.COUNTER_ADD_LISTENER)


class Relay:
    """Stands before `server`, on a port of its own.

    Attributes:
        requests: How many there were of each operation.
        params: The other parameters of the latest of each.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self.requests: Counter[Op] = Counter()
        self.params: dict[Op, dict[str, bytes]] = {}
        self._server = server
        self._door = socket.create_server(("127.0.0.1", 0))
        self._all: list[tuple[socket.socket, socket.socket]] = []
        self._listening: list[tuple[socket.socket, socket.socket]] = []
        self._refusing = False
        self._lock = threading.Lock()
        threading.Thread(target=self._welcome, daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it can be reached."""
        host, port = self._door.getsockname()
        return str(host), int(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for pair in self._all:
            _end(pair)

    @property
    def listeners(self) -> int:
        """On how many connections listeners were added that were not cut since."""
        return len(self._listening)

    def cut_listeners(self) -> None:
        """Close the connections that have listeners, and let nobody listen until `let_listen`."""
        with self._lock:
            self._refusing = True
            pairs, self._listening = self._listening, []
        for pair in pairs:
            _end(pair)

    def let_listen(self) -> None:
        """Listeners may be added again."""
        self._refusing = False

    # ---- threads

    def _welcome(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
                server = socket.create_connection(self._server)
            except OSError:
                return
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = client, server
            self._all.append(pair)
            threading.Thread(target=self._carry_requests, args=(pair,), daemon=True).start()
            threading.Thread(target=_carry, args=(server, client), daemon=True).start()

    def _carry_requests(self, pair: tuple[socket.socket, socket.socket]) -> None:
        client, server = pair
        reader = Reader("server")
        with contextlib.suppress(OSError):
            while data := client.recv(2**16):
                reader.feed(data)
                for request in reader:
                    self.params[request.op] = request.other_params
                    if not self._lets_through(request.op, pair):
                        return
                server.sendall(data)
        _end(pair)

    def _lets_through(self, op: Any, pair: tuple[socket.socket, socket.socket]) -> bool:
        with self._lock:
            self.requests[op] += 1
            if op not in _LISTENING:
                return True
            if not self._refusing:
                self._listening.append(pair)
                return True
        _end(pair)
        return False


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(2**16):
            target.sendall(data)
    _end((source, target))


def _end(pair: tuple[socket.socket, socket.socket]) -> None:
    for each in pair:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


def until(what: Callable[[], Any]) -> Any:
    """Wait for something to be true."""
    deadline = time.monotonic() + 20
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)
    return found
