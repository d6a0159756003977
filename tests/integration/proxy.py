"""What can go wrong between a client and a server: a relay that breaks connections on demand."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

CUT, RESET, STALL = "cut", "reset", "stall"

_ABORT = struct.pack("ii", 1, 0)
_HOST = "127.0.0.1"


class Proxy:
    """Passes everything on, between any number of clients and one server.

    It listens at two addresses: whoever fails at one of them can go to the other one at once.

    Attributes:
        addresses: Where it listens.
        slow: Whether every byte goes by itself.
        broken: Whether what `break_after` arranged has happened.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self.slow = False
        self.broken = False
        self._server = server
        self._how = ""
        self._left = 0
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listening = [socket.create_server((_HOST, 0)) for _ in range(2)]
        self.addresses = [(_HOST, int(s.getsockname()[1])) for s in self._listening]
        for listening in self._listening:
            _begin(self._accept, listening)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for listening in self._listening:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
            listening.close()
        with self._lock:
            sockets, self._sockets = list(self._sockets), set()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def break_after(self, count: int, how: str = CUT) -> None:
        """Let `count` more bytes of the server through, to whichever client. That one's connection
        then ends, is reset, or stays open and says nothing more; all others are fine."""
        with self._lock:
            self.broken = False
            self._left = count
            self._how = how

    def mend(self) -> None:
        """Nothing is arranged any more."""
        with self._lock:
            self._how = ""

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server, timeout=20)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets.add(client)
            _begin(self._relay, client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        """One thread for both directions, so that nobody waits for a socket that is closed."""
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), client, server:
            stalled = False
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source in ready:
                    data = source.recv(2**16)
                    if not data:
                        return
                    if source is client:
                        self._send(server, data)
                    elif not stalled:
                        passed, how = self._judge(data)
                        self._send(client, data[:passed])
                        if how == RESET:
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                        if how in (CUT, RESET):
                            return
                        stalled = how == STALL

    def _judge(self, data: bytes) -> tuple[int, str]:
        """How many bytes go on, and what happens then."""
        with self._lock:
            how = self._how
            if not how:
                return len(data), ""
            if len(data) <= self._left:
                self._left -= len(data)
                return len(data), ""
            self._how = ""
            self.broken = True
            return self._left, how

    def _send(self, to: socket.socket, data: bytes) -> None:
        if not self.slow:
            to.sendall(data)
            return
        for i in range(len(data)):
            to.sendall(data[i : i + 1])


def _begin(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, name="proxy", daemon=True).start()
