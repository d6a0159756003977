"""Servers that mean no good: an embedded one that lies where it is told to, and sockets that never
were one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeAlias

from hotrod_codec import EmbeddedServer, Op, Request
from hotrod_codec.server.session import Session

Lie: TypeAlias = Callable[[Session, Request], bytes]

SECONDS = 30.0


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def text(value: str | bytes) -> bytes:
    """A string or a byte array as it stands in a frame."""
    data = value.encode() if isinstance(value, str) else value
    return varint(len(data)) + data


def head(q: Request, status: int = 0, *, topology: bytes = b"\0") -> bytes:
    """How the answer to `q` begins; what follows is up to the liar."""
    return b"\xa1" + varint(q.message_id) + bytes([q.op + 1, status]) + topology


class Rogue:
    """An embedded server that answers as it should, but for what `lies` has. Its clients are in
    the same process, and so is its memory."""

    def __init__(self, **settings: Any) -> None:
        self.server = EmbeddedServer(**settings)
        self.lies: dict[Op, Lie] = {}
        self._truth = self.server._handler.handle
        self.server._handler.handle = self._handle  # type: ignore[method-assign]

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.stop()

    def truth(self, s: Session, q: Request) -> bytes:
        """What a good server answers."""
        return self._truth(s, q)

    def _handle(self, s: Session, q: Request) -> bytes:
        return self.lies.get(q.op, self._truth)(s, q)

    def drip(self, s: Session, data: bytes, seconds: float) -> bytes:
        """Send `data` byte by byte, and its last byte for ever."""
        loop = asyncio.get_running_loop()

        def send(at: int) -> None:
            s.send(data[at : at + 1])
            loop.call_later(seconds, send, min(at + 1, len(data) - 1))

        send(0)
        return b""


class Crook:
    """A port where `script` speaks with whoever comes, each in a thread of its own."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self._script = script
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.visits = 0

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listening.getsockname()
        return host, port

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *error: object) -> None:
        for sock in (self._listening, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, name="crook", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                self.visits += 1
                self._sockets.append(sock)
                self._start(self._speak, sock)

    def _speak(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._script(sock)
        sock.close()


def _open_files() -> set[str]:
    """What this process has open, but for what looks."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return {name for name in found if "socket:" in name or "eventpoll" in name}


@contextlib.contextmanager
def nothing_stays() -> Iterator[None]:
    """Sockets and threads that are made inside are gone soon after its end."""
    can_look = os.path.isdir("/proc/self/fd")
    threads = set(threading.enumerate())
    files = _open_files() if can_look else set()
    yield
    deadline = time.monotonic() + SECONDS
    while True:
        new_threads = set(threading.enumerate()) - threads
        new_files = _open_files() - files if can_look else set()
        if not new_threads and not new_files:
            return
        assert time.monotonic() < deadline, (new_threads, new_files)
        gc.collect()
        time.sleep(0.01)
